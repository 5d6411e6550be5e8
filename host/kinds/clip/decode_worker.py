"""Clips decoded by a process of its own, into memory that both processes see."""

import contextlib
import weakref
from multiprocessing.heap import Arena

import numpy as np
import numpy.typing as npt

from ...engines.model_process import Away, ModelProcess
from .octaves import ResampledClip, Rooms
from .store import Label, SingleClipDecoder

Array = npt.NDArray[np.float32]
MOST_BYTES = 1 << 28  # of clips that two processes share
FLOAT_BYTES = 4


class ClipDecodeWorker:
    """Decodes in another process: until that is there, if it ends, and where its memory is full, in this one.

    It ends with its last holder.
    """

    def __init__(self, decoder: SingleClipDecoder, length: int, clips: int) -> None:
        """Have the process start.

        Args:
            decoder: what decodes.
            length: of a clip, in samples.
            clips: how many are kept at a time, at most.
        """
        self._decoder, self._length = decoder, length
        size = ResampledClip.size(length)
        count = max(1, min(clips, MOST_BYTES // (size * FLOAT_BYTES)))
        arena = Arena(count * size * FLOAT_BYTES)
        self._rooms = Rooms(_rooms(arena, size).ravel())
        self._free = list(range(count))
        self._server = ModelProcess("clips", decoder, _put, arena, size)

    def clip(self, label: Label, code: Array) -> ResampledClip:
        """Return the clip of a code, [n_latents], and of a label, with all its copies."""
        if self._free:
            number = self._free.pop()
            clip = ResampledClip.there(self._rooms, number, self._length)
            weakref.finalize(clip, self._free.append, number)
            with contextlib.suppress(Away):
                self._server.ask((number, label, code))
                return clip
        clip = self._decoder.clip(label, code)
        clip.prepare()
        return clip


def _put(decoder: SingleClipDecoder, asked: tuple[int, Label, Array], arena: Arena, size: int) -> None:
    """Decode a clip into its room."""
    number, label, code = asked
    decoder.clip(label, code).put(_rooms(arena, size)[number])


def _rooms(arena: Arena, size: int) -> Array:
    """Return shared memory as rooms for clips, [clips, size]."""
    rooms: Array = np.frombuffer(arena.buffer, np.float32)
    return rooms[: len(rooms) // size * size].reshape(-1, size)
