"""Frames of white noise and of its low bands, which follow each other without a seam."""

import functools
import itertools

import numpy as np
import numpy.typing as npt

from ...dsp import from_middle, white_noise
from .shape import FrameShape, window_of

Array = npt.NDArray[np.float32]
Spectrum = npt.NDArray[np.complex64]

LOOP_SAMPLES = 65536  # 1.5 s at 44.1 kHz, too long to be heard as a loop


@functools.lru_cache(maxsize=4)
def white_frames(shape: FrameShape) -> Spectrum:
    """Return the transforms of a loop of white noise of variance 1, [frames, bins], around each frame's middle."""
    return _transforms(white_loop(shape), shape)


@functools.lru_cache(maxsize=4)
def low_frames(shape: FrameShape, edges: tuple[float, ...]) -> Spectrum:
    """Return the same of bands of that noise, of which the transforms' first bins hold all: [frames, bands, bins].

    With what `tapered` leaves of white noise from the last edge on, bands of the same level sum to white noise.

    Args:
        shape: of the frames.
        edges: of the bands, in bins, one more than there are bands; the last reaches as far as something is missing.
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
    """Return the part of white noise from a bin on that `tapered` leaves in the first bins, up to one of 1."""
    left: Array = tapered((np.arange(4 * first) >= first).astype(np.float32)[np.newaxis])[0]
    until = int(np.argmax(left > 1 - 1e-6)) + 1
    return left[:until]


def white_loop(shape: FrameShape) -> Array:
    """Return white noise of variance 1, whole hops of it."""
    hop = shape.length // shape.overlap
    loop: Array = np.sqrt(np.float32(3)) * white_noise(-(-max(LOOP_SAMPLES, 2 * shape.length) // hop) * hop)
    return loop


def _transforms(loop: Array, shape: FrameShape) -> Spectrum:
    """Return the transforms of a loop's frames, [frames, bins], around each one's middle."""
    hop = shape.length // shape.overlap
    wrapped = np.concatenate([loop, loop[: shape.length - hop]])
    frames = np.lib.stride_tricks.sliding_window_view(wrapped, shape.length)[::hop] * window_of(shape)
    spectra: Spectrum = np.fft.rfft(frames, axis=-1).astype(np.complex64)
    spectra *= from_middle(spectra.shape[1]) / np.float32(shape.overlap * shape.terms[0])
    spectra.setflags(write=False)
    return spectra


def tapered(level: Array) -> Array:
    """Return noise levels, [rows, bins], whose filters are silent half a frame away: what they ring on does not wrap.

    Twice a mean of each bin and its neighbours by 1/4, 1/2, 1/4: a filter times the square of a Hann window.
    """
    for _ in range(2):
        quarter = level * np.float32(0.25)
        level = level * np.float32(0.5)
        level[:, 1:] += quarter[:, :-1]
        level[:, 0] += quarter[:, 1]  # beyond either end it is its own mirror image
        level[:, :-1] += quarter[:, 1:]
        level[:, -1] += quarter[:, -2]
    return level
