"""Reads sound files as mono at any rate."""

import contextlib
from collections import deque
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from ..arrays import Array
from ..errors import UserError
from ..files import check_regular
from .resampling import Resampler
from .sound_files import SoundReader, sound_reader

LARGEST_SOUND = 1 << 30  # bytes of a sound that a preset names: 46 minutes of stereo in floats at 48 kHz
LOWEST_RATE = 1000  # Hz; a lower rate is a broken header, and upsampling would exhaust memory


@contextlib.contextmanager
def opened(sound: Path, data: bytes | None = None) -> Iterator[SoundReader]:
    """Raise UserError as `sound_reader`, and below `LOWEST_RATE`."""
    with sound_reader(sound, data) as reader:
        if reader.sample_rate < LOWEST_RATE:
            raise UserError(f"{sound} claims a rate of {reader.sample_rate} Hz; give a sound of {LOWEST_RATE} or more")
        yield reader


def mono(reader: SoundReader, rate: int) -> Iterator[Array]:
    """The channels' mean at ``rate``, [n] a block; channels in antiphase are inverted."""
    signs = reader.mix_signs()
    resampler = Resampler(reader.sample_rate, rate, 1) if reader.sample_rate != rate else None
    for block in reader:
        mix = (block if signs is None else block * signs[:, np.newaxis]).mean(axis=0, keepdims=True)
        yield (mix if resampler is None else resampler.process(mix))[0]
    if resampler is not None:
        yield resampler.flush()[0]


def end_of(sound: Path, rate: int, most: int, data: bytes | None = None) -> Array:
    """Last samples, [n], 1 to ``most``, in constant memory.

    Raises:
        UserError: unreadable, or no regular file of at most `LARGEST_SOUND`.
    """
    if data is None:
        check_regular(sound, LARGEST_SOUND)
    kept: deque[Array] = deque()
    with opened(sound, data) as reader:
        for block in mono(reader, rate):
            kept.append(block)
            while sum(map(len, kept)) - len(kept[0]) >= most:
                kept.popleft()
    return np.concatenate(kept)[-most:]
