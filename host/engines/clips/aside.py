"""Clips decoded by a process of its own.

A thread that decodes shares its interpreter with the one that sounds, which then waits for it again and again: with a
knob that moved all the time, a block of 16 held voices took one and a half times as long.
"""

import multiprocessing
import pickle
import signal
import weakref
from multiprocessing.connection import Connection
from multiprocessing.heap import Arena

import numpy as np
import numpy.typing as npt

from ...errors import UserError
from ...stop import SIGNALS
from .clip import Clip, Rooms
from .store import Decoder, Label

Array = npt.NDArray[np.float32]
MOST_BYTES = 1 << 28  # of clips that two processes share
FLOAT_BYTES = 4


class Aside:
    """Decodes in another process: until that is there, if it ends, and where its memory is full, in this one.

    It ends with its last holder.
    """

    def __init__(self, decoder: Decoder, length: int, clips: int) -> None:
        """Have the process start.

        Args:
            decoder: what decodes.
            length: of a clip, in samples.
            clips: how many are kept at a time, at most.
        """
        self._decoder, self._length = decoder, length
        size = Clip.size(length)
        count = max(1, min(clips, MOST_BYTES // (size * FLOAT_BYTES)))
        arena = Arena(count * size * FLOAT_BYTES)
        self._rooms = Rooms(_rooms(arena, size).ravel())
        self._free = list(range(count))
        context = multiprocessing.get_context("spawn")
        self._pipe, theirs = context.Pipe()
        self._process = context.Process(
            target=_serve, args=(theirs, arena, size, pickle.dumps(decoder)), name="clips", daemon=True
        )
        self._process.start()
        theirs.close()
        self._there, self._gone = False, False

    def clip(self, label: Label, code: Array) -> Clip:
        """Return the clip of a code, [n_latents], and of a label, with all its copies."""
        if self._is_there() and self._free:
            number = self._free.pop()
            try:
                self._pipe.send((number, label, code))
                problem: Exception | None = self._pipe.recv()
            except (EOFError, OSError):
                self._gone = True
            else:
                clip = Clip.there(self._rooms, number, self._length)
                weakref.finalize(clip, self._free.append, number)
                if problem is not None:
                    raise problem
                return clip
        clip = self._decoder.clip(label, code)
        clip.prepare()
        return clip

    def _is_there(self) -> bool:
        """Return whether the process can be asked; it is not if it opened another file than this one."""
        try:
            if not self._there and not self._gone and self._pipe.poll(0):
                self._there, self._gone = True, self._pipe.recv() != self._decoder.stamp
        except (EOFError, OSError):
            self._gone = True
        return self._there and not self._gone


def _serve(pipe: Connection, arena: Arena, size: int, pickled: bytes) -> None:
    """Be the process: say that it is there, and decode until nobody asks any more."""
    for number in SIGNALS:
        if number != signal.SIGTERM:  # by which whoever began it ends it
            signal.signal(number, signal.SIG_IGN)
    rooms = _rooms(arena, size)
    try:
        decoder: Decoder = pickle.loads(pickled)
        pipe.send(decoder.stamp)
        while True:
            number, label, code = pipe.recv()
            try:
                decoder.clip(label, code).put(rooms[number])
            except Exception as error:  # told to whoever asks
                pipe.send(error)
            else:
                pipe.send(None)
    except (EOFError, OSError, UserError):  # nobody asks, or the model has gone
        return


def _rooms(arena: Arena, size: int) -> Array:
    """Return shared memory as rooms for clips, [clips, size]."""
    rooms: Array = np.frombuffer(arena.buffer, np.float32)
    return rooms[: len(rooms) // size * size].reshape(-1, size)
