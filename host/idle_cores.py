"""CPU load: counts cores that other processes leave idle."""

import math
import time
from collections.abc import Callable

import psutil

SLACK = 0.25  # of a core: constant load of an idle desktop's programs
GLANCE_SECONDS = 0.1  # ten ticks of most systems: a busy process uses nine of them or more


def processors_worked() -> Callable[[], float]:
    """A function that totals our cores' busy seconds, without time stolen by a VM host."""
    allowed = _allowed()

    def worked() -> float:
        times = psutil.cpu_times(percpu=True)
        return sum(_worked(times[number]) for number in allowed if number < len(times))

    return worked


def free_processors() -> int:
    """This process's idle cores, at least one; sleeps for `GLANCE_SECONDS`."""
    worked = processors_worked()
    began, before = time.perf_counter(), worked()
    time.sleep(GLANCE_SECONDS)
    others = (worked() - before) / (time.perf_counter() - began)
    return max(1, math.floor(len(_allowed()) - others + SLACK))


def _allowed() -> list[int]:
    process = psutil.Process()
    if hasattr(process, "cpu_affinity"):
        return list(process.cpu_affinity())
    return list(range(psutil.cpu_count() or 1))


def _worked(times: object) -> float:
    return sum(getattr(times, kind, 0.0) for kind in ("user", "nice", "system", "irq", "softirq"))
