"""Real-time scheduling of the render thread: priority, garbage collection, thread switches, memory."""

import contextlib
import ctypes
import functools
import gc
import os
import sys

LONGEST_SPIN = 10_000_000  # microseconds of realtime work without a pause before the system kills the process
BESIDES, SOUND = 1, 2  # realtime priorities, below those of the cards' own threads
# Longest time that another Python thread holds the interpreter lock. The waiting render thread wakes at this interval:
# at 5 us it starved the lock's holder, because it has priority, and a busy machine stalled.
SWITCH_SECONDS = 5e-5
# The same of other threads that want the lock while a block is rendered: at 50 us, one that computes, as a preset is
# loaded, takes it again and again. Longer, a lock that the block gave up comes back too late.
BLOCK_SWITCH_SECONDS = 1e-3
# Each block allocates and frees its arrays. Memory that the C library returned to the system comes back page by page;
# each page costs as much as a thousand of its numbers. Arrays larger than a block's are still returned.
BLOCK_BYTES, KEPT_BYTES = 1 << 22, 1 << 26
TRIM_THRESHOLD, MMAP_THRESHOLD = -1, -3  # glibc's mallopt parameters


def hurry(priority: int) -> None:
    """Set SCHED_FIFO for this thread and its new threads, if permitted (Linux)."""
    if sys.platform != "linux":
        return
    import resource

    try:
        os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(priority))
    except PermissionError:
        return
    # A runaway realtime process must not lock up the machine.
    resource.setrlimit(resource.RLIMIT_RTTIME, (LONGEST_SPIN, LONGEST_SPIN))


def hurry_no_more() -> None:
    if sys.platform == "linux":
        os.sched_setscheduler(0, os.SCHED_OTHER, os.sched_param(0))


class undisturbed:
    """Disables garbage collection, shortens thread switches, keeps freed memory."""

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


class waiting:
    """Has the render thread, once it has waited, take the interpreter lock soon and keep it for its block."""

    def __enter__(self) -> None:
        sys.setswitchinterval(SWITCH_SECONDS)

    def __exit__(self, *_: object) -> None:
        sys.setswitchinterval(BLOCK_SWITCH_SECONDS)


@functools.cache
def _c_library() -> ctypes.CDLL:
    """The C library, loaded once: a loading defines a class, which no collector removes while sound is made."""
    return ctypes.CDLL(None)


def let_memory_go() -> None:
    """Return freed memory to the system (glibc)."""
    if sys.platform == "linux":
        with contextlib.suppress(AttributeError):  # another C library
            _c_library().malloc_trim(0)


def _keep_memory() -> None:
    if sys.platform == "linux":
        with contextlib.suppress(AttributeError):  # another C library
            mallopt = _c_library().mallopt
            mallopt(MMAP_THRESHOLD, BLOCK_BYTES)
            mallopt(TRIM_THRESHOLD, KEPT_BYTES)
