"""Mixes the sides of a stereo sound to mono with the power of both.

The mean of two sides loses level where they differ: 3 dB where they are independent, all where they are opposite.
"""

import math
from collections.abc import Iterator

import numpy as np

from ...host.signal import overlapped_hops, stft, window
from ...host.spectra import mix_spectra
from .pitch import Samples, Sliceable

WINDOW_SECONDS = 4096 / 44100
HOPS = 4  # in a window: squares of overlapping Hann windows have a constant sum, `WINDOW_SUM`
WINDOW_SUM = np.float32(1.5)
PIECE = 256  # hops at once, 6 s: bounds memory


def mix_sides(left: Sliceable, right: Sliceable, rate: int) -> Iterator[Samples]:
    """Yield blocks of the mono mix of two sides, [samples] in all.

    Its short-time spectrum has the root of the sides' mean power in every bin, with the phase of their mean, or of the
    louder side where the mean is weaker by 40 dB. Overlapping frames are added with a second window, which gives the
    sound of the nearest spectrum (Griffin and Lim, IEEE Trans. ASSP 32, 1984, equation 6). Equal sides stay as they
    are, within rounding.
    """
    hop = 2 ** round(math.log2(WINDOW_SECONDS * rate)) // HOPS
    frame_length, hop_count = HOPS * hop, -(-len(left) // hop)
    for first_hop in range(0, hop_count, PIECE):
        end_hop = min(first_hop + PIECE, hop_count)
        # All frames that reach into the piece.
        start_sample, end_sample = (first_hop - HOPS + 1) * hop, (end_hop + HOPS - 1) * hop
        left_spectra, right_spectra = (
            stft(_zero_padded(side, start_sample, end_sample), frame_length, hop) for side in (left, right)
        )
        frames = np.fft.irfft(mix_spectra(left_spectra, right_spectra), frame_length).astype(np.float32)
        hops = overlapped_hops(frames * window("hann", frame_length) / WINDOW_SUM, hop)
        mixed_samples = hops[HOPS - 1 : HOPS - 1 + end_hop - first_hop].reshape(-1)
        yield mixed_samples[: len(left) - first_hop * hop]


def mix_to_mono(channels: Samples, rate: int) -> Samples:
    """Return the mono sound, [samples], of one channel or two sides, [channels, samples]."""
    if len(channels) == 1:
        return channels.reshape(-1)
    left, right = channels
    return np.concatenate([np.zeros(0, np.float32), *mix_sides(left, right, rate)])


def _zero_padded(side: Sliceable, start: int, end: int) -> Samples:
    """Return the samples from ``start`` to ``end``, zero beyond the sound."""
    available_samples = side[max(start, 0) : min(end, len(side))]
    return np.pad(available_samples, (max(-start, 0), max(end - len(side), 0)))
