"""The work of others: how many processors they leave free."""

import math
import time
from collections.abc import Callable

import psutil

SLACK = 0.25  # of a processor that others may use all the time, as the programs of an idle desktop do
GLANCE_SECONDS = 0.1  # ten of the ticks that most systems count: a busy process has had nine of them or more


def processors_worked() -> Callable[[], float]:
    """Return what adds up the seconds that the processors of this process have worked, not those that a host took."""
    allowed = _allowed()

    def worked() -> float:
        times = psutil.cpu_times(percpu=True)
        return sum(_worked(times[number]) for number in allowed if number < len(times))

    return worked


def free_processors() -> int:
    """Return how many of this process's processors others leave free just now, at least one.

    It sleeps for `GLANCE_SECONDS`, so that nothing of the work it sees is its own.
    """
    worked = processors_worked()
    began, before = time.perf_counter(), worked()
    time.sleep(GLANCE_SECONDS)
    others = (worked() - before) / (time.perf_counter() - began)
    return max(1, math.floor(len(_allowed()) - others + SLACK))


def _allowed() -> list[int]:
    """Return the numbers of the processors that this process may use."""
    process = psutil.Process()
    if hasattr(process, "cpu_affinity"):
        return list(process.cpu_affinity())
    return list(range(psutil.cpu_count() or 1))


def _worked(times: object) -> float:
    return sum(getattr(times, kind, 0.0) for kind in ("user", "nice", "system", "irq", "softirq"))
