"""Lets the thread that makes sound go before others, and nothing disturb it: priorities, the collector, memory."""

import contextlib
import ctypes
import gc
import os
import sys

LONGEST_SPIN = 10_000_000  # microseconds of realtime work without a pause, after which the system ends the process
BESIDES, SOUND = 1, 2  # realtime priorities: lower than those that cards' own threads have
# How long another Python thread may keep the interpreter from the one that renders. Who waits for it wakes that often:
# at 5 us the waiter, before all others, left the one that holds it no time to go on, and a busy machine stood still.
SWITCH_SECONDS = 5e-5
# A block's arrays come and go. What the C library gives back to the system in between comes again page by page, each of
# which takes as long as a thousand of its numbers; arrays that are larger than a block's go back as before.
BLOCK_BYTES, KEPT_BYTES = 1 << 22, 1 << 26
TRIM_THRESHOLD, MMAP_THRESHOLD = -1, -3  # by the numbers that glibc has for mallopt


def hurry(priority: int) -> None:
    """Ask the system to run this thread, and those that it starts, before all others, where that is allowed."""
    if sys.platform != "linux":
        return
    import resource

    try:
        os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(priority))
    except PermissionError:
        return
    # Whatever goes wrong in a process that goes before all others, the machine stays usable.
    resource.setrlimit(resource.RLIMIT_RTTIME, (LONGEST_SPIN, LONGEST_SPIN))


def hurry_no_more() -> None:
    """Let this thread wait its turn again, as before `hurry`."""
    if sys.platform == "linux":
        os.sched_setscheduler(0, os.SCHED_OTHER, os.sched_param(0))


class undisturbed:
    """While sound is made: no collector, no new memory, and no other thread keeps the interpreter for long."""

    def __enter__(self) -> None:
        _keep_memory()
        self._interval, self._collected = sys.getswitchinterval(), gc.isenabled()
        sys.setswitchinterval(SWITCH_SECONDS)
        gc.collect()
        gc.freeze()
        gc.disable()

    def __exit__(self, *_: object) -> None:
        sys.setswitchinterval(self._interval)
        gc.unfreeze()
        if self._collected:
            gc.enable()


def let_memory_go() -> None:
    """Give what is freed by now back to the system, where the C library is glibc: opening a model takes much memory."""
    if sys.platform == "linux":
        with contextlib.suppress(AttributeError):  # another C library
            ctypes.CDLL(None).malloc_trim(0)


def _keep_memory() -> None:
    """Have freed memory kept for what comes next, from now on, where the C library is glibc."""
    if sys.platform == "linux":
        with contextlib.suppress(AttributeError):  # another C library
            mallopt = ctypes.CDLL(None).mallopt
            mallopt(MMAP_THRESHOLD, BLOCK_BYTES)
            mallopt(TRIM_THRESHOLD, KEPT_BYTES)
