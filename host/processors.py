"""Processors that other programs leave idle."""

import math
import os
import time
from collections.abc import Callable

import psutil

SLACK = 0.25  # of a core: constant load of an idle desktop's programs
GLANCE_SECONDS = 0.1  # ten ticks of most systems: a busy process uses nine of them or more


def processors_worked() -> Callable[[], float]:
    """A function that totals our cores' busy seconds, without time stolen by a VM host."""
    core_indices = _allowed()

    def total_busy_seconds() -> float:
        core_times = psutil.cpu_times(percpu=True)
        return sum(_worked(core_times[core_index]) for core_index in core_indices if core_index < len(core_times))

    return total_busy_seconds


class FreeProcessors:
    """Watches the cores that this process may use, from its creation on; itself and its ended children excepted."""

    def __init__(self) -> None:
        self._total_busy_seconds = processors_worked()
        self._begin = self._look()
        self._was_counted = False

    def count(self) -> int:
        """Cores that other processes left idle since the last count (on Windows in a new glance), at least one.

        Sleeps until `GLANCE_SECONDS` have passed since then.
        """
        if self._was_counted and os.name == "nt":  # os.times has no times of children there: workers count as others
            self._begin = self._look()
        self._was_counted = True
        time.sleep(max(0.0, GLANCE_SECONDS - (time.perf_counter() - self._begin[0])))
        begin, self._begin = self._begin, self._look()
        seconds, busy_seconds, own_seconds = (end - start for end, start in zip(self._begin, begin, strict=True))
        other_cores = max(0.0, busy_seconds - own_seconds) / seconds
        return max(1, math.floor(len(_allowed()) - other_cores + SLACK))

    def _look(self) -> tuple[float, float, float]:
        """Return the time, and CPU seconds of all processes and of this one with its children."""
        return time.perf_counter(), self._total_busy_seconds(), sum(os.times()[:4])


def _allowed() -> list[int]:
    """Return the indices of the cores that this process may use."""
    process = psutil.Process()
    if hasattr(process, "cpu_affinity"):
        return list(process.cpu_affinity())
    return list(range(psutil.cpu_count() or 1))


def _worked(core_times: object) -> float:
    """Return the seconds that a core was busy."""
    return sum(getattr(core_times, field_name, 0.0) for field_name in ("user", "nice", "system", "irq", "softirq"))
