"""Log-mel spectrograms of clips, and how far two clips lie apart in them."""

import functools

import numpy as np
import numpy.typing as npt

from ..dsp import window

Array = npt.NDArray[np.float32]
Double = npt.NDArray[np.float64]

BANDS = 64
FRAME, HOP = 1024, 256  # samples, at the clip's own rate
KNEE_HZ, MEL_HZ, MEL_STEP = 1000.0, 200 / 3, np.log(6.4) / 27  # Slaney's scale: a mel below, and of a logarithm above
LOWEST_DB = -90.0  # under a clip's loudest cell, where levels end: what is below cannot be heard
RANGE_DB = 40.0  # under it, the cells that are compared: what is softer is covered by it
SILENT = 1e-10  # power of the loudest cell, -100 dB: what is quieter is no sound
TOGETHER = 16  # clips whose spectra are in memory at once: 140 MB for four seconds at 44.1 kHz


@functools.cache
def mel(rate: int) -> Array:
    """Weights of a transform's bins in mel bands, [bins, bands]: triangles of area 1, even on Slaney's scale.

    (Slaney, "Auditory Toolbox", 1998: hertz up to 1 kHz, logarithms above. As librosa has it, which hosts do without.)
    """
    edges = _hertz(np.linspace(0.0, float(_mels(np.array([rate / 2]))[0]), BANDS + 2))
    low, middle, high = edges[:-2], edges[1:-1], edges[2:]
    hertz = np.arange(FRAME // 2 + 1)[:, np.newaxis] * rate / FRAME
    triangles = np.minimum((hertz - low) / (middle - low), (high - hertz) / (high - middle))
    weights: Array = (np.maximum(triangles, 0) * 2 / (high - low)).astype(np.float32)
    weights.setflags(write=False)
    return weights


def _mels(hertz: Double) -> Double:
    above = np.maximum(hertz, KNEE_HZ)
    mels: Double = np.minimum(hertz, KNEE_HZ) / MEL_HZ + np.log(above / KNEE_HZ) / MEL_STEP
    return mels


def _hertz(mels: Double) -> Double:
    knee = KNEE_HZ / MEL_HZ
    hertz: Double = np.minimum(mels, knee) * MEL_HZ * np.exp(MEL_STEP * np.maximum(mels - knee, 0))
    return hertz


def log_mel(clips: Array, rate: int) -> Array:
    """Levels of mel bands in dB under each clip's loudest cell, from 0 down to -90: [clips, frames, bands].

    Power of periodic Hann windows of 1024 samples, whose middles lie 256 samples apart from the first sample on; before
    and after a clip is silence. A clip has ``1 + samples // 256`` frames; all of a silent one lies at -90 dB.

    Args:
        clips: [clips, samples]; what is shorter than others ends in zeros.
        rate: in Hz; at rates above 60 kHz the lowest bands lie between bins, and stay at -90 dB.
    """
    parts = [_levels(clips[first : first + TOGETHER], rate) for first in range(0, len(clips), TOGETHER)]
    return np.concatenate(parts) if parts else np.zeros((0, 1 + clips.shape[1] // HOP, BANDS), np.float32)


def _levels(clips: Array, rate: int) -> Array:
    padded = np.pad(clips.astype(np.float32, copy=False), ((0, 0), (FRAME // 2, FRAME // 2)))
    frames = np.lib.stride_tricks.sliding_window_view(padded, FRAME, axis=1)[:, ::HOP]
    spectra = np.fft.rfft(frames * window("hann", FRAME))
    power = (np.square(spectra.real) + np.square(spectra.imag)).astype(np.float32) @ mel(rate)
    loudest = power.max((1, 2), keepdims=True)
    shares = np.where(loudest < SILENT, 0, power / np.maximum(loudest, SILENT))
    levels: Array = 10 * np.log10(np.maximum(shares, 10 ** (LOWEST_DB / 10))).astype(np.float32)
    return np.maximum(levels, np.float32(LOWEST_DB))


def sounding(levels: Array) -> npt.NDArray[np.bool_]:
    """Return which cells of clips lie within 40 dB of their clip's loudest; none do of a silent clip: as ``levels``."""
    return levels > -RANGE_DB


def distance_db(asked: Array, given: Array) -> Array:
    """Return how far the sound given lies from that asked for, of each clip from the one in its place, in dB: [clips].

    The root mean square of the differences of levels, over those cells of the clip asked for that lie within 40 dB of
    its loudest. Gain changes nothing, nor does silence after a clip, nor what is added where the clip asked for is
    silent. Nothing is as far as 90 dB; from a silent clip everything is 0 dB away.

    Args:
        asked, given: levels as `log_mel` gives them, [clips, frames, bands].
    """
    cells = sounding(asked)
    squares = np.square(asked - given, dtype=np.float64, where=cells, out=np.zeros(asked.shape))
    apart: Array = np.sqrt(squares.sum((1, 2)) / np.maximum(cells.sum((1, 2)), 1)).astype(np.float32)
    return apart


def distances_db(asked: Array, given: Array) -> Array:
    """Return how far each clip given lies from each asked for, as `distance_db`: [asked clips, given clips].

    Squares are multiplied out, as products of matrices are a hundred times as fast: distances below .05 dB are not
    exact.

    Args:
        asked, given: levels, [clips, frames, bands]; of as many frames.
    """
    middle = np.float32(LOWEST_DB / 2)  # around which levels are small: their squares are then more exact
    cells = sounding(asked).reshape(len(asked), -1).astype(np.float32)
    a = (asked.reshape(len(asked), -1) - middle) * cells
    b = given.reshape(len(given), -1) - middle
    squares = np.square(a).sum(1)[:, None] - 2 * (a @ b.T) + cells @ np.square(b).T
    apart: Array = np.sqrt(np.maximum(squares, 0) / np.maximum(cells.sum(1), 1)[:, None])
    return apart


def sounding_frames(levels: Array) -> Double:
    """Those frames of clips in which a band sounds, one after another, -40 dB at least: [frames, bands]."""
    frames = levels.reshape(-1, levels.shape[-1])
    kept: Double = np.maximum(frames[frames.max(1) > -RANGE_DB], -RANGE_DB).astype(np.float64)
    return kept
