"""Worker processes that synthesize a part of a rack's voices into shared memory.

Threads would wait for the GIL: half of the work is Python code.
"""

import contextlib
import ctypes
import dataclasses
import math
import multiprocessing
import pickle
import signal
import sys
import time
import traceback
from bisect import bisect_left
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection
from operator import attrgetter
from typing import Any, get_args

import numpy as np
import numpy.typing as npt

from ..arrays import Array
from ..engines.engine import MAX_BLOCK, VoiceSound
from ..errors import Failure
from ..events import Event
from ..interrupts import SIGNALS, defer_signals
from ..preset.library import Patch
from .events import engine_and_processor
from .synthesis import Synthesis, share

# A fork inherits all loaded modules and models. Outside Linux, some libraries do not survive a fork.
START = "fork" if sys.platform == "linux" else "spawn"
SIDES = 2  # most channels of a voice's sound
BLOCKS_AHEAD = 4  # capacity of a ring; two are requested
SILENCE: Array = np.zeros((SIDES, 1), np.float32)
LEAVE = "leave"  # message to a worker: exit and return the voices
WATCHED_SECONDS, WATCHED_BLOCKS = 0.2, 8  # least time of measurement before workers are judged, for a stable figure
PAYS = 1.2  # least processors in total: with one, a single process is as fast, without copies
HELD_UP = 1.1  # least ratio of elapsed to processor time of a process that waits for a processor; else it was idle
LEAVE_SECONDS = 1.0  # timeout of a worker's exit before it is killed

# Events are sent as plain tuples: a seventh of the cost of dataclasses.
KINDS: tuple[type, ...] = get_args(Event)
FIELDS = {kind: attrgetter(*(field.name for field in dataclasses.fields(kind))) for kind in KINDS}
NUMBERS = {kind: number for number, kind in enumerate(KINDS)}


@dataclass(frozen=True)
class WorkTime:
    """Seconds."""

    elapsed: float = 0.0
    processor: float = 0.0

    @classmethod
    def now(cls) -> "WorkTime":
        return cls(time.perf_counter(), time.process_time())

    def __add__(self, other: "WorkTime") -> "WorkTime":
        return WorkTime(self.elapsed + other.elapsed, self.processor + other.processor)

    def __sub__(self, other: "WorkTime") -> "WorkTime":
        return WorkTime(self.elapsed - other.elapsed, self.processor - other.processor)


class Worker:
    def __init__(self, patches: Mapping[int, Patch], parts: Sequence[int], sample_rate: int) -> None:
        context: Any = multiprocessing.get_context(START)  # its type has no Process
        self._connection, theirs = context.Pipe()
        highest = max((patch.model.card.sample_rate for patch in patches.values()), default=sample_rate)
        length = BLOCKS_AHEAD * MAX_BLOCK * math.ceil(highest / sample_rate)
        self._parts = parts
        rooms = {channel: context.RawArray(ctypes.c_float, len(parts) * SIDES * length) for channel in patches}
        self._rings = {channel: _ring(room, len(parts)) for channel, room in rooms.items()}
        self.computed = dict.fromkeys(patches, 0)  # samples, by channel
        self.streams: dict[int, list[VoiceSound]] = {}  # returned voice streams, by channel
        self.leaving = False
        self.waited = 0.0  # seconds that the rack waited for messages
        self.work = WorkTime()
        self._process = context.Process(
            target=_work, args=(theirs, self._connection, rooms, patches, parts), name="voices", daemon=True
        )
        with defer_signals():  # no signal before the process has set its handlers
            self._process.start()
        theirs.close()

    def of(self, channel: int) -> "WorkerChannel":
        return WorkerChannel(self, channel, self._parts, self._rings[channel])

    def send(self, message: Any) -> None:
        with contextlib.suppress(OSError):  # `listen` detects that the process has exited
            self._connection.send(message)

    def leave(self) -> None:
        """Request exit after pending work; the worker then returns its voices."""
        self.leaving = True
        self.send(LEAVE)

    def listen(self) -> None:
        """Wait for a message.

        Raises:
            Failure: the process has exited.
            Exception: an error in the process.
        """
        began = time.perf_counter()
        try:
            message = self._connection.recv()
        except (EOFError, OSError):
            raise Failure(
                "a process that computes some of the voices ended, perhaps for lack of memory; close other "
                "programs and try again"
            ) from None
        self.waited += time.perf_counter() - began
        if isinstance(message, Exception):
            raise message
        if isinstance(message, dict):
            self.streams = message
        else:
            channel, self.computed[channel], work = message
            self.work += work

    def close(self) -> None:
        self.send(None)  # later forks hold this end too, so closing it has no effect
        self._connection.close()
        self._process.join(LEAVE_SECONDS)
        if self._process.exitcode is None:
            self._process.kill()
            self._process.join()
        self._process.close()


class WorkerChannel:
    """One channel's `synthesis.Elsewhere`; errors as in `Worker.listen`."""

    def __init__(self, worker: Worker, channel: int, parts: Sequence[int], rings: Array) -> None:
        self._worker, self._channel, self._parts, self._rings = worker, channel, parts, rings
        self._length = rings.shape[-1]
        self._requested = 0  # samples
        self._read = 0  # samples whose space is free again

    @property
    def end(self) -> int | None:
        return self._requested if self._worker.leaving else None

    def schedule(self, events: Sequence[Event], until: int) -> None:
        """The worker renders ahead until its ring is full."""
        until = min(until, self._read + self._length)
        if self._worker.leaving or (not events and until <= self._requested):
            return
        self._requested = max(until, self._requested)
        plain = [(NUMBERS[type(event)], _fields(event)) for event in events]
        self._worker.send((self._channel, plain, until))

    def sums(self, start: int, count: int, sides: int) -> dict[int, Array]:
        self.schedule([], start + count)  # the ring may have been full when the events arrived
        while self._worker.computed[self._channel] < start + count:
            self._worker.listen()
        self._read = start + count  # the caller reads before the next send
        places = _ring_places(start, count, self._length)
        return {part: ring[:sides, places] for part, ring in zip(self._parts, self._rings, strict=True)}

    def take_streams(self) -> tuple[Sequence[int], list[VoiceSound]]:
        while self._channel not in self._worker.streams:
            self._worker.listen()
        return self._parts, self._worker.streams.pop(self._channel)


class WorkerPool:
    """Workers of a rack; they exit when other programs need the processors."""

    def __init__(self, patches: Mapping[int, Patch], sample_rate: int, processes: int) -> None:
        """Start the workers, or none if the system cannot start all; ``processes`` includes this one."""
        self._workers: list[Worker] = []
        self._active: list[Worker] = []  # workers that may be stopped
        self._own_work = WorkTime()
        self._watched_blocks = 0  # since the start of the measurement
        self._watched_since: float | None = None
        try:
            for number in range(1, processes):
                self._workers.append(Worker(patches, share(number, processes), sample_rate))
        except OSError:
            self.close()
        except BaseException:
            self.close()
            raise
        # Refined phases depend on the frames refined together, so an exit would be audible.
        if not any(patch.preset.play.phase == "best" for patch in patches.values()):
            self._active = list(self._workers)

    def of(self, channel: int) -> list[WorkerChannel]:
        return [worker.of(channel) for worker in self._workers]

    @contextlib.contextmanager
    def working(self) -> Iterator[None]:
        """Measure the work inside, without waits; stop workers that do not pay."""
        start_time, waited = WorkTime.now(), self._waited_seconds()
        yield
        now = WorkTime.now()
        work = now - start_time
        self._own_work += WorkTime(work.elapsed - (self._waited_seconds() - waited), work.processor)
        self._watched_blocks += 1
        if not self._active:
            return
        if self._watched_since is None:
            if all(worker.work.elapsed for worker in self._active):  # all have started
                self._watch(now.elapsed)
        elif self._watched_blocks >= WATCHED_BLOCKS and now.elapsed - self._watched_since >= WATCHED_SECONDS:
            self._judge(now.elapsed, now.elapsed - self._watched_since)

    def _judge(self, now: float, watched_seconds: float) -> None:
        works = [self._own_work, *(worker.work for worker in self._active)]
        processors = sum(work.processor for work in works) / watched_seconds
        if processors < PAYS and any(work.elapsed > HELD_UP * work.processor for work in works):
            for worker in self._active:
                worker.leave()
            self._active.clear()
        self._watch(now)

    def _watch(self, now: float) -> None:
        self._watched_since, self._watched_blocks, self._own_work = now, 0, WorkTime()
        for worker in self._active:
            worker.work = WorkTime()

    def _waited_seconds(self) -> float:
        return sum(worker.waited for worker in self._workers)

    def close(self) -> None:
        for worker in self._workers:
            worker.close()
        self._workers.clear()
        self._active.clear()


def _fields(event: Event) -> tuple[Any, ...]:
    fields = FIELDS[type(event)](event)
    return fields if isinstance(fields, tuple) else (fields,)  # of one field


def _ring(room: "ctypes.Array[ctypes.c_float]", parts: int) -> Array:
    ring: Array = np.ctypeslib.as_array(room).reshape(parts, SIDES, -1)
    return ring


def _ring_places(start: int, count: int, length: int) -> slice | npt.NDArray[np.intp]:
    first = start % length
    return slice(first, first + count) if first + count <= length else np.arange(start, start + count) % length


def _work(
    connection: "Connection[Any, Any]",
    other_end: "Connection[Any, Any]",
    rooms: Mapping[int, "ctypes.Array[ctypes.c_float]"],
    patches: Mapping[int, Patch],
    parts: Sequence[int],
) -> None:
    """Close ``other_end``: a process with both ends would miss the rack's exit."""
    for number in SIGNALS:  # signals often reach all processes; the rack ends this one
        signal.signal(number, signal.SIG_DFL if number == signal.SIGTERM else signal.SIG_IGN)
    other_end.close()
    with contextlib.suppress(EOFError, ConnectionError):
        try:
            _play(connection, rooms, patches, parts)
        except (EOFError, ConnectionError):
            raise
        except Exception as error:
            connection.send(_portable(error))


def _play(
    connection: "Connection[Any, Any]",
    rooms: Mapping[int, "ctypes.Array[ctypes.c_float]"],
    patches: Mapping[int, Patch],
    parts: Sequence[int],
) -> None:
    playing = {channel: Synthesis(*engine_and_processor(patch), parts=parts) for channel, patch in patches.items()}
    rings = {channel: _ring(room, len(parts)) for channel, room in rooms.items()}
    waiting: dict[int, list[Event]] = {channel: [] for channel in patches}
    rendered_counts = dict.fromkeys(patches, 0)
    while (message := connection.recv()) is not None:
        if message == LEAVE:
            connection.send({channel: synthesis.streams() for channel, synthesis in playing.items()})
            return
        channel, plain, block_end = message
        waiting[channel] += [KINDS[number](*fields) for number, fields in plain]
        while rendered_counts[channel] < block_end:
            start_time = WorkTime.now()
            start, end = rendered_counts[channel], min(block_end, rendered_counts[channel] + MAX_BLOCK)
            due_end = bisect_left(waiting[channel], end, key=lambda event: event.time)
            sums = playing[channel].sums(waiting[channel][:due_end], end - start)
            computed = {part: sound for (_, part), sound in sums.items()}  # of the first bus alone
            playing[channel].forget()
            del waiting[channel][:due_end]
            places = _ring_places(start, end - start, rings[channel].shape[-1])
            for room, part in zip(rings[channel], parts, strict=True):
                sound = computed.get(part, SILENCE)
                room[: len(sound), places] = sound
            rendered_counts[channel] = end
            connection.send((channel, end, WorkTime.now() - start_time))


def _portable(error: Exception) -> Exception:
    error.add_note("".join(traceback.format_exception(error)))
    try:
        pickle.loads(pickle.dumps(error))
    except Exception:  # some have custom arguments
        return RuntimeError(f"{type(error).__name__}: {error}")
    return error
