"""Adapts torch's threads to the CPU cores that other processes leave idle.

The threads wait for each other many times a step: one delayed thread slows all.
"""

import math
import os
import time
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager

import torch

from ..host.processors import SLACK, processors_worked

WINDOW_SECONDS = 0.25  # of steps, to measure the load: 25 ticks on most systems
WINDOWS = 4  # the busiest of the last ones decides: fewer threads at once, more after a second


class Threads:
    """As many torch threads as idle cores; ``OMP_NUM_THREADS``, if set, has priority."""

    def __init__(self, device: torch.device) -> None:
        self._system_seconds = processors_worked()
        self._most_threads = self._thread_count = torch.get_num_threads()
        self._follows = self._most_threads > 1 and device.type == "cpu" and "OMP_NUM_THREADS" not in os.environ
        self._other_cores = deque[float](maxlen=WINDOWS)  # cores busy with other processes, in each window
        self._step_ended = -math.inf  # when the last step ended
        self._window_readings = (0.0, 0.0, 0.0)  # start of the window, and CPU seconds of all and of this process then

    def close(self) -> None:
        self._take(self._most_threads)

    @contextmanager
    def step(self) -> Iterator[None]:
        """Load between steps does not count."""
        if not self._follows:
            yield
            return
        if time.perf_counter() - self._step_ended > WINDOW_SECONDS:
            self._window_readings = self._look()
        yield
        self._step_ended = time.perf_counter()
        if self._step_ended - self._window_readings[0] >= WINDOW_SECONDS:
            self._follow()

    def _look(self) -> tuple[float, float, float]:
        """Return the time, and CPU seconds of all processes and of this one."""
        return time.perf_counter(), self._system_seconds(), time.process_time()

    def _follow(self) -> None:
        """End a window: use the cores that other processes left idle in the last ones."""
        clock_readings = self._look()
        window_seconds, system_seconds, process_seconds = (
            end_reading - start_reading
            for end_reading, start_reading in zip(clock_readings, self._window_readings, strict=True)
        )
        self._window_readings = clock_readings
        self._other_cores.append((system_seconds - process_seconds) / window_seconds)
        self._take(max(1, min(self._most_threads, math.floor(self._most_threads - max(self._other_cores) + SLACK))))

    def _take(self, thread_count: int) -> None:
        """Set the number of torch threads."""
        if thread_count != self._thread_count:
            torch.set_num_threads(thread_count)
            self._thread_count = thread_count
