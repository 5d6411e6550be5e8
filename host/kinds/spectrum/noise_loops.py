"""Seamless loops of white noise and its low bands, as overlap-add frames."""

import functools
import itertools

import numpy as np

from ...arrays import Array, Spectrum
from ...noise import white_noise
from ...stft import from_middle
from .frame_shape import FrameShape, window_of

LOOP_SAMPLES = 65536  # 1.5 s at 44.1 kHz, too long to be heard as a loop


@functools.lru_cache(maxsize=4)
def white_frames(shape: FrameShape) -> Spectrum:
    """Transforms of noise of variance 1, [frames, bins], with phases at frames' middles."""
    return _transforms(white_loop(shape), shape)


@functools.lru_cache(maxsize=4)
def low_frames(shape: FrameShape, edges: tuple[float, ...]) -> Spectrum:
    """Transforms of low bands of the same noise, [frames, bands, nonzero bins].

    With the noise that `tapered` keeps above the last edge, bands of equal level sum to white noise. ``edges``, in
    bins, are one more than bands; the last band extends to the taper's end.
    """
    loop, left = white_loop(shape), _left(round(edges[-1]))
    last = len(left) - 1
    places = np.arange(len(loop) // 2 + 1) * shape.length / len(loop)
    whole = np.fft.rfft(loop) * (1 - np.interp(places, np.arange(last + 1), left))
    bands = [
        np.fft.irfft(np.where((places >= low) & (places < high), whole, 0), len(loop)).astype(np.float32)
        for low, high in itertools.pairwise((*edges[:-1], last))
    ]
    bins = last + shape.taps + 1
    spectra = np.stack([_transforms(band, shape)[:, :bins] for band in bands], axis=1)
    spectra.setflags(write=False)
    return spectra


def _left(first: int) -> Array:
    left: Array = tapered((np.arange(4 * first) >= first).astype(np.float32)[np.newaxis])[0]
    until = int(np.argmax(left > 1 - 1e-6)) + 1
    return left[:until]


def white_loop(shape: FrameShape) -> Array:
    """White noise of variance 1, a whole number of hops."""
    hop = shape.length // shape.overlap
    loop: Array = np.sqrt(np.float32(3)) * white_noise(-(-max(LOOP_SAMPLES, 2 * shape.length) // hop) * hop)
    return loop


def _transforms(loop: Array, shape: FrameShape) -> Spectrum:
    hop = shape.length // shape.overlap
    wrapped = np.concatenate([loop, loop[: shape.length - hop]])
    frames = np.lib.stride_tricks.sliding_window_view(wrapped, shape.length)[::hop] * window_of(shape)
    spectra: Spectrum = np.fft.rfft(frames, axis=-1).astype(np.complex64)
    spectra *= from_middle(spectra.shape[1]) / np.float32(shape.overlap * shape.terms[0])
    spectra.setflags(write=False)
    return spectra


def tapered(level: Array) -> Array:
    """Smooth noise levels, [rows, bins]: filters decay within half a frame, so that ringing does not wrap.

    Twice averages bins by 1/4, 1/2, 1/4: a filter times the square of a Hann window.
    """
    for _ in range(2):
        quarter = level * np.float32(0.25)
        level = level * np.float32(0.5)
        level[:, 1:] += quarter[:, :-1]
        level[:, 0] += quarter[:, 1]  # mirrored beyond either end
        level[:, :-1] += quarter[:, 1:]
        level[:, -1] += quarter[:, -2]
    return level
