"""Mixes the sides of a stereo sound to mono with the power of both.

The mean of two sides loses level where they differ: 3 dB where they are independent, all where they are opposite.
"""

import itertools
import math
from collections.abc import Iterable, Iterator
from typing import Protocol

import numpy as np

from ..arrays import Array
from ..signal import overlapped_hops, stft, window
from ..spectra import mix_spectra

WINDOW_SECONDS = 4096 / 44100
HOPS = 4  # in a window: squares of overlapping Hann windows have a constant sum, `WINDOW_SUM`
WINDOW_SUM = np.float32(1.5)
PIECE = 256  # hops at once, 6 s: bounds memory


class Sliceable(Protocol):
    def __len__(self) -> int: ...

    def __getitem__(self, part: slice, /) -> Array: ...


def mix_blocks(blocks: Iterable[Array], rate: int) -> Iterator[Array]:
    """Yield the mono mix, [samples] in all, of blocks of two sides, [2, n] each, in constant memory.

    Its short-time spectrum has the root of the sides' mean power in every bin, with the phase of their mean, or of the
    louder side where the mean is weaker by 40 dB. Overlapping frames are added with a second window, which gives the
    sound of the nearest spectrum (Griffin and Lim, IEEE Trans. ASSP 32, 1984, equation 6). Equal sides stay as they
    are, within rounding.
    """
    hop = _hop_samples(rate)
    context_length = (HOPS - 1) * hop  # on either side of a piece: all frames that reach into it
    sides, missing_count = np.zeros((2, context_length), np.float32), 0
    end_block = np.zeros((2, context_length + hop), np.float32)
    for block in itertools.chain(blocks, [end_block]):
        sides = np.concatenate([sides, block], axis=1)
        missing_count += 0 if block is end_block else block.shape[1]
        while (hop_count := min(PIECE, (sides.shape[1] - 2 * context_length) // hop)) > 0:
            piece = _mix_piece(sides[:, : 2 * context_length + hop_count * hop], hop)[:missing_count]
            sides, missing_count = sides[:, hop_count * hop :], missing_count - len(piece)
            yield piece


def mix_sides(left: Sliceable, right: Sliceable, rate: int) -> Iterator[Array]:
    """As `mix_blocks`, of two sides, [samples]."""
    block_length = PIECE * _hop_samples(rate)
    block_starts = range(0, len(left), block_length)
    return mix_blocks(
        (np.stack([side[start : start + block_length] for side in (left, right)]) for start in block_starts), rate
    )


def mix_to_mono(channels: Array, rate: int) -> Array:
    """Return the mono sound, [samples], of one channel or two sides, [channels, samples]."""
    if len(channels) == 1:
        return channels.reshape(-1)
    return np.concatenate([np.zeros(0, np.float32), *mix_blocks([channels], rate)])


def _hop_samples(rate: int) -> int:
    return 2 ** round(math.log2(WINDOW_SECONDS * rate)) // HOPS


def _mix_piece(sides: Array, hop: int) -> Array:
    """Mix sides, [2, samples], without the first and the last three hops, which other pieces reach into."""
    frame_length = HOPS * hop
    left_spectra, right_spectra = (stft(side, frame_length, hop) for side in sides)
    frames = np.fft.irfft(mix_spectra(left_spectra, right_spectra), frame_length).astype(np.float32)
    hops = overlapped_hops(frames * window("hann", frame_length) / WINDOW_SUM, hop)
    return hops[HOPS - 1 : 1 - HOPS].reshape(-1)
