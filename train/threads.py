"""Adapts torch's threads to the CPU cores that other processes leave idle.

The threads wait for each other many times a step: one delayed thread slows all.
"""

import math
import os
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch

from ..host.workers import SLACK, processors_worked

WINDOW_SECONDS = 0.25  # of steps, to measure the load: 25 ticks on most systems
WINDOWS = 4  # the busiest of the last ones decides: fewer threads at once, more after a second


class Threads:
    """As many torch threads as idle cores; ``OMP_NUM_THREADS``, if set, has priority."""

    def __init__(
        self,
        device: torch.device,
        clock: Callable[[], float] = time.perf_counter,
        system_seconds: Callable[[], float] | None = None,
        process_seconds: Callable[[], float] = time.process_time,
        use: Callable[[int], None] = torch.set_num_threads,
    ) -> None:
        """``system_seconds`` returns CPU seconds of all processes on its cores (None: the system's).

        ``process_seconds`` returns those of this process.
        """
        self._clock, self._process_seconds, self._use = clock, process_seconds, use
        self._system_seconds = system_seconds or processors_worked()
        self._most = self._count = torch.get_num_threads()
        self._follows = self._most > 1 and device.type == "cpu" and "OMP_NUM_THREADS" not in os.environ
        self._others = deque[float](maxlen=WINDOWS)  # cores busy with other processes, in each window
        self._ended = -math.inf  # when the last step ended
        self._since = (0.0, 0.0, 0.0)  # start of the window, and CPU seconds of all and of this process then

    def close(self) -> None:
        self._take(self._most)

    @contextmanager
    def step(self) -> Iterator[None]:
        """Load between steps does not count."""
        if not self._follows:
            yield
            return
        if self._clock() - self._ended > WINDOW_SECONDS:
            self._since = self._look()
        yield
        self._ended = self._clock()
        if self._ended - self._since[0] >= WINDOW_SECONDS:
            self._follow()

    def _look(self) -> tuple[float, float, float]:
        return self._clock(), self._system_seconds(), self._process_seconds()

    def _follow(self) -> None:
        measured = self._look()
        seconds, system_seconds, process_seconds = (
            end - start for end, start in zip(measured, self._since, strict=True)
        )
        self._since = measured
        self._others.append((system_seconds - process_seconds) / seconds)
        self._take(max(1, min(self._most, math.floor(self._most - max(self._others) + SLACK))))

    def _take(self, count: int) -> None:
        if count != self._count:
            self._use(count)
            self._count = count
