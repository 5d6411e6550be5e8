"""Clip decoding in a separate process, into shared memory."""

import contextlib
import weakref
from multiprocessing.heap import Arena

import numpy as np

from ...arrays import Array
from ...engines.model_process import Away, ModelProcess
from .clip_cache import Label, SingleClipDecoder
from .resampled_clip import ClipMemory, ResampledClip

MOST_BYTES = 1 << 28  # of shared clip memory
FLOAT_BYTES = 4


class ClipDecodeWorker:
    """Decodes in its own process; in the caller's while it starts, and when memory is full."""

    def __init__(self, decoder: SingleClipDecoder, length: int, clips: int) -> None:
        self._decoder, self._length = decoder, length
        size = ResampledClip.size(length)
        count = max(1, min(clips, MOST_BYTES // (size * FLOAT_BYTES)))
        arena = Arena(count * size * FLOAT_BYTES)
        self._memory = ClipMemory(_rooms(arena, size).ravel())
        self._free = list(range(count))
        self._server = ModelProcess("clips", decoder, _put, arena, size)

    def clip(self, label: Label, code: Array) -> ResampledClip:
        if self._free:
            number = self._free.pop()
            clip = ResampledClip.stored(self._memory, number, self._length)
            weakref.finalize(clip, self._free.append, number)
            with contextlib.suppress(Away):
                self._server.ask((number, label, code))
                return clip
        clip = self._decoder.clip(label, code)
        clip.prepare()
        return clip


def _put(decoder: SingleClipDecoder, asked: tuple[int, Label, Array], arena: Arena, size: int) -> None:
    number, label, code = asked
    decoder.clip(label, code).put(_rooms(arena, size)[number])


def _rooms(arena: Arena, size: int) -> Array:
    rooms: Array = np.frombuffer(arena.buffer, np.float32)
    return rooms[: len(rooms) // size * size].reshape(-1, size)
