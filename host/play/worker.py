"""Worker processes, which compute some of the voices of a rack.

Threads would wait for each other: half of the work is Python's, and only one thread at a time may run that.
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

from ..engines.protocol import VoiceSound
from ..engines.request import MAX_BLOCK
from ..errors import Failure
from ..events import Event
from ..interrupts import SIGNALS, held
from ..patch.library import Patch
from .event_processor import engine_and_hands
from .synthesis import Synthesis, share

Array = npt.NDArray[np.float32]

# A fork has all modules and models at once. On systems other than Linux, some libraries do not survive it.
START = "fork" if sys.platform == "linux" else "spawn"
SIDES = 2  # channels of a voice's sound, at most
BLOCKS_AHEAD = 4  # for which a ring has room, where two are asked for
SILENCE: Array = np.zeros((SIDES, 1), np.float32)
LEAVE = "leave"  # the message to a worker whose parts are wanted back
WATCHED_SECONDS, WATCHED_BLOCKS = 0.2, 8  # the least over which it is judged whether workers pay: a steady figure
PAYS = 1.2  # processors that all must get together: with one, a single process does as much, and needs no copies
HELD_UP = 1.1  # elapsed time over processor time of a process that waits for a processor; else it had little to do
LEAVE_SECONDS = 1.0  # that a worker is given to end, before it is killed

# Events travel as plain tuples, which cost a seventh of what dataclasses do.
KINDS: tuple[type, ...] = get_args(Event)
FIELDS = {kind: attrgetter(*(field.name for field in dataclasses.fields(kind))) for kind in KINDS}
NUMBERS = {kind: number for number, kind in enumerate(KINDS)}


@dataclass(frozen=True)
class Work:
    """The cost of some work: seconds that passed, and seconds of a processor."""

    passed: float = 0.0
    spent: float = 0.0

    @classmethod
    def now(cls) -> "Work":
        """Return the work of this process so far, from an arbitrary beginning."""
        return cls(time.perf_counter(), time.process_time())

    def __add__(self, other: "Work") -> "Work":
        return Work(self.passed + other.passed, self.spent + other.spent)

    def __sub__(self, other: "Work") -> "Work":
        return Work(self.passed - other.passed, self.spent - other.spent)


class Worker:
    """A process that hears the events that the rack hears, works ahead, and leaves its sums in shared memory."""

    def __init__(self, patches: Mapping[int, Patch], parts: Sequence[int], sample_rate: int) -> None:
        """Start it.

        Args:
            patches: by MIDI channel.
            parts: of the voices, those that it computes.
            sample_rate: of the output, in Hz.
        """
        context: Any = multiprocessing.get_context(START)  # its type has no Process
        self._connection, theirs = context.Pipe()
        highest = max((patch.model.card.sample_rate for patch in patches.values()), default=sample_rate)
        self._length = BLOCKS_AHEAD * MAX_BLOCK * math.ceil(highest / sample_rate)
        self._parts = parts
        rooms = {channel: context.RawArray(ctypes.c_float, len(parts) * SIDES * self._length) for channel in patches}
        self._rings = {channel: _ring(room, len(parts)) for channel, room in rooms.items()}
        self._requested = dict.fromkeys(patches, 0)  # samples that it is to compute, by channel
        self._computed = dict.fromkeys(patches, 0)  # samples that are computed
        self._read = dict.fromkeys(patches, 0)  # samples that were read, so that their room is free
        self._streams: dict[int, list[VoiceSound]] = {}  # streams that it handed over, by channel
        self._leaving = False
        self.waited = 0.0  # seconds that the rack waited for its messages
        self.work = Work()
        self._process = context.Process(
            target=_work, args=(theirs, self._connection, rooms, patches, parts), name="voices", daemon=True
        )
        with held():  # a stop must not meet the process before it knows what to do with one
            self._process.start()
        theirs.close()

    def of(self, channel: int) -> "WorkerChannel":
        """Return the worker as one channel's instrument uses it."""
        return WorkerChannel(self, channel)

    def hear(self, channel: int, events: Sequence[Event], until: int) -> None:
        """See `Elsewhere.hear`, for a channel; the worker computes ahead as far as its ring has room."""
        until = min(until, self._read[channel] + self._length)
        if self._leaving or (not events and until <= self._requested[channel]):
            return
        self._requested[channel] = max(until, self._requested[channel])
        plain = [(NUMBERS[type(event)], FIELDS[type(event)](event)) for event in events]
        with contextlib.suppress(OSError):  # who waits for its sums will notice that it is gone
            self._connection.send((channel, plain, until))

    def sums(self, channel: int, start: int, count: int, sides: int) -> dict[int, Array]:
        """See `Elsewhere.sums`, for a channel.

        Raises:
            Failure: the process is gone.
            Exception: what went wrong there, as it would have here.
        """
        self.hear(channel, [], start + count)  # if there was no room when its events came
        while self._computed[channel] < start + count:
            self._listen()
        self._read[channel] = start + count  # read before it hears more
        places = _ring_places(start, count, self._length)
        return {part: ring[:sides, places] for part, ring in zip(self._parts, self._rings[channel], strict=True)}

    def leave(self) -> None:
        """Have it compute what it was asked for, and then hand its parts over."""
        self._leaving = True
        with contextlib.suppress(OSError):  # as above
            self._connection.send(LEAVE)

    def end(self, channel: int) -> int | None:
        """See `Elsewhere.end`, for a channel."""
        return self._requested[channel] if self._leaving else None

    def hand_over(self, channel: int) -> tuple[Sequence[int], list[VoiceSound]]:
        """See `Elsewhere.hand_over`, for a channel.

        Raises:
            Failure: the process is gone.
            Exception: what went wrong there.
        """
        while channel not in self._streams:
            self._listen()
        return self._parts, self._streams.pop(channel)

    def _listen(self) -> None:
        """Wait for its next message."""
        began = time.perf_counter()
        try:
            told = self._connection.recv()
        except (EOFError, OSError):
            raise Failure(
                "a process that computes some of the voices ended, perhaps for lack of memory; close other "
                "programs and try again"
            ) from None
        self.waited += time.perf_counter() - began
        if isinstance(told, Exception):
            raise told
        if isinstance(told, dict):
            self._streams = told
        else:
            whose, self._computed[whose], work = told
            self.work += work

    def close(self) -> None:
        """End the process."""
        with contextlib.suppress(OSError):  # it is gone already
            self._connection.send(None)  # processes that were begun later hold this end too, so closing it says nothing
        self._connection.close()
        self._process.join(LEAVE_SECONDS)
        if self._process.exitcode is None:
            self._process.kill()
            self._process.join()
        self._process.close()


class WorkerChannel:
    """A worker as one channel's instrument uses it: a `synthesis.Elsewhere`."""

    def __init__(self, worker: Worker, channel: int) -> None:
        self._worker, self._channel = worker, channel

    @property
    def end(self) -> int | None:
        """See `Elsewhere.end`."""
        return self._worker.end(self._channel)

    def hear(self, events: Sequence[Event], until: int) -> None:
        """See `Elsewhere.hear`."""
        self._worker.hear(self._channel, events, until)

    def sums(self, start: int, count: int, sides: int) -> dict[int, Array]:
        """See `Elsewhere.sums`."""
        return self._worker.sums(self._channel, start, count, sides)

    def hand_over(self) -> tuple[Sequence[int], list[VoiceSound]]:
        """See `Elsewhere.hand_over`."""
        return self._worker.hand_over(self._channel)


class Crew:
    """The workers of a rack, which leave where other work wants the processors.

    Several processes do more than one only if they get more of the processors than one would, and wait for whoever
    gets the least.
    """

    def __init__(self, patches: Mapping[int, Patch], sample_rate: int, processes: int) -> None:
        """Start the workers; where the system cannot start all of them, there are none.

        Args:
            patches: by MIDI channel.
            sample_rate: of the output, in Hz.
            processes: the number of processes that share the voices, with this one.
        """
        self._workers: list[Worker] = []
        self._active: list[Worker] = []  # those that may be told to leave
        self._own_work = Work()
        self._watched_blocks = 0  # since the workers are watched
        self._watched_since: float | None = None
        try:
            for number in range(1, processes):
                self._workers.append(Worker(patches, share(number, processes), sample_rate))
        except OSError:
            self.close()
        except BaseException:
            self.close()
            raise
        # Refined phases depend on which frames are refined together, so the moment of leaving would be heard.
        if not any(patch.preset.play.phase == "best" for patch in patches.values()):
            self._active = list(self._workers)

    def of(self, channel: int) -> list[WorkerChannel]:
        """Return the workers as one channel's instrument uses them."""
        return [other.of(channel) for other in self._workers]

    @contextlib.contextmanager
    def working(self) -> Iterator[None]:
        """Measure the work inside, without the time that it waits for the workers, and judge whether they pay."""
        since, waited = Work.now(), self._waited_seconds()
        yield
        now = Work.now()
        work = now - since
        self._own_work += Work(work.passed - (self._waited_seconds() - waited), work.spent)
        self._watched_blocks += 1
        if not self._active:
            return
        if self._watched_since is None:
            if all(other.work.passed for other in self._active):  # all have begun
                self._watch(now.passed)
        elif self._watched_blocks >= WATCHED_BLOCKS and now.passed - self._watched_since >= WATCHED_SECONDS:
            self._judge(now.passed, now.passed - self._watched_since)

    def _judge(self, now: float, watched_seconds: float) -> None:
        """Have the workers leave if they do not pay."""
        works = [self._own_work, *(other.work for other in self._active)]
        processors = sum(work.spent for work in works) / watched_seconds
        if processors < PAYS and any(work.passed > HELD_UP * work.spent for work in works):
            for other in self._active:
                other.leave()
            self._active.clear()
        self._watch(now)

    def _watch(self, now: float) -> None:
        self._watched_since, self._watched_blocks, self._own_work = now, 0, Work()
        for other in self._active:
            other.work = Work()

    def _waited_seconds(self) -> float:
        return sum(other.waited for other in self._workers)

    def close(self) -> None:
        """End the workers."""
        for other in self._workers:
            other.close()
        self._workers.clear()
        self._active.clear()


def _ring(room: "ctypes.Array[ctypes.c_float]", parts: int) -> Array:
    ring: Array = np.ctypeslib.as_array(room).reshape(parts, SIDES, -1)
    return ring


def _ring_places(start: int, count: int, length: int) -> slice | npt.NDArray[np.intp]:
    """Return where samples lie in a ring: a slice, which costs nothing, but for those across its end."""
    first = start % length
    return slice(first, first + count) if first + count <= length else np.arange(start, start + count) % length


def _work(
    connection: "Connection[Any, Any]",
    other_end: "Connection[Any, Any]",
    rooms: Mapping[int, "ctypes.Array[ctypes.c_float]"],
    patches: Mapping[int, Patch],
    parts: Sequence[int],
) -> None:
    """Play until the rack is gone, which a forked process would not see while it holds both ends."""
    for number in SIGNALS:  # what stops the rack, often with all its processes, ends this one through the rack
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
    """Compute what the rack asks for, until it says that this is all."""
    playing = {channel: Synthesis(*engine_and_hands(patch), parts=parts) for channel, patch in patches.items()}
    rings = {channel: _ring(room, len(parts)) for channel, room in rooms.items()}
    waiting: dict[int, list[Event]] = {channel: [] for channel in patches}
    done = dict.fromkeys(patches, 0)
    while (message := connection.recv()) is not None:
        if message == LEAVE:
            connection.send({channel: synthesis.streams() for channel, synthesis in playing.items()})
            return
        channel, plain, until = message
        waiting[channel] += [KINDS[number](*fields) for number, fields in plain]
        while done[channel] < until:
            since = Work.now()
            start, end = done[channel], min(until, done[channel] + MAX_BLOCK)
            due = bisect_left(waiting[channel], end, key=lambda event: event.time)
            computed = playing[channel].sums(waiting[channel][:due], end - start)
            playing[channel].forget()
            del waiting[channel][:due]
            places = _ring_places(start, end - start, rings[channel].shape[-1])
            for room, part in zip(rings[channel], parts, strict=True):
                sound = computed.get(part, SILENCE)
                room[: len(sound), places] = sound
            done[channel] = end
            connection.send((channel, end, Work.now() - since))


def _portable(error: Exception) -> Exception:
    """Return an error that can be sent to another process, with its traceback as a note."""
    error.add_note("".join(traceback.format_exception(error)))
    try:
        pickle.loads(pickle.dumps(error))
    except Exception:  # some have arguments of their own
        return RuntimeError(f"{type(error).__name__}: {error}")
    return error
