"""Sets how many threads torch computes with: one for each processor that other programs leave free.

Torch's threads share each sum and wait for each other many times a step, so where other work wants one of their
processors, all are as slow as the one that is held up. The system counts what every processor has done and what this
process has had of it; the difference is the work of others, and needs no trial.
"""

import math
import os
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch

from ..host.cpu_load import SLACK, processors_worked

WINDOW_SECONDS = 0.25  # of steps, over which the load is measured: 25 of the ticks that most systems count
WINDOWS = 4  # the busiest of the last ones decides: fewer threads at once, more after a second


class Threads:
    """Keeps torch at as many threads as processors are free, at most its own count, and at least one.

    ``OMP_NUM_THREADS``, if set, is obeyed.
    """

    def __init__(
        self,
        device: torch.device,
        clock: Callable[[], float] = time.perf_counter,
        everybody: Callable[[], float] | None = None,
        own: Callable[[], float] = time.process_time,
        use: Callable[[int], None] = torch.set_num_threads,
    ) -> None:
        """Begin with as many threads as torch has now.

        Args:
            device: that computes; on others than the CPU, threads do not matter.
            clock: in seconds.
            everybody: seconds that the processors which this process may use have worked, added up, for whomever;
                asked of the system if None.
            own: those of them that this process has had.
            use: told the count for the steps that follow.
        """
        self._clock, self._own, self._use = clock, own, use
        self._everybody = everybody or processors_worked()
        self._most = self._count = torch.get_num_threads()
        self._follows = self._most > 1 and device.type == "cpu" and "OMP_NUM_THREADS" not in os.environ
        self._others = deque[float](maxlen=WINDOWS)  # processors that others kept busy, in each window
        self._ended = -math.inf  # when the last step did
        self._since = (0.0, 0.0, 0.0)  # when the window began, and what everybody and this process had had then

    def close(self) -> None:
        """Give torch all its threads back."""
        self._take(self._most)

    @contextmanager
    def step(self) -> Iterator[None]:
        """Go around a step of training: only the load beside steps counts, not that of what lies between them."""
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
        return self._clock(), self._everybody(), self._own()

    def _follow(self) -> None:
        now = self._look()
        seconds, everybody, own = (after - before for after, before in zip(now, self._since, strict=True))
        self._since = now
        self._others.append((everybody - own) / seconds)
        self._take(max(1, min(self._most, math.floor(self._most - max(self._others) + SLACK))))

    def _take(self, count: int) -> None:
        if count != self._count:
            self._use(count)
            self._count = count
