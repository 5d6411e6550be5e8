"""Measures how near a note comes to a recording: the shape of its spectra, courses of level and brightness, attack."""

import functools
from typing import NamedTuple

import librosa
import numpy as np
import numpy.typing as npt

from ...host.dsp import window
from ...train.metrics.loudness import attack_seconds

Array = npt.NDArray[np.float32]
Double = npt.NDArray[np.float64]

FRAME, HOP, BANDS = 2048, 512, 64  # samples, samples, mel bands
RANGE_DB = 50.0  # under a recording's loudest frame: what is softer is tail and noise, and does not count
FLOOR_DB = -80.0  # under a frame's level, where bands end: what is below cannot be heard beside the rest
SUSTAINED, SUSTAIN_RANGE_DB = 0.8, 20.0  # of a sound, and under its loudest frame: the held part, without its release
STILL = 0.01  # octaves: a brightness that moves less is a line, along which nothing can be followed
SILENT = 1e-12  # mean square, -120 dB of full scale: keeps logarithms finite


class Course(NamedTuple):
    """Measures of a sound from frame to frame.

    ``levels`` [frames] are root mean squares under the window, in dB of full scale; ``shapes`` [frames, 64] the share
    of each frame's power that lies in each mel band, in dB, -80 at least; ``brightness`` [frames] the spectral
    centroid, in octaves above 1 Hz.
    """

    levels: Double
    shapes: Double
    brightness: Double


class Nearness(NamedTuple):
    """The nearness of a sound to a recording; see `nearness`."""

    shape_db: float
    sustain_db: float
    envelope_db: float
    attack_ms: float
    brightness: float | None


@functools.cache
def mel(rate: int) -> Double:
    """Weights of a frame's bins in mel bands, [bins, 64]: triangles of height 1, even on Slaney's scale."""
    weights: Double = librosa.filters.mel(sr=rate, n_fft=FRAME, n_mels=BANDS, norm=None, dtype=np.float64).T
    return weights


def course(sound: Array, rate: int) -> Course:
    """Measure periodic Hann windows of 2048 samples, whose middles lie 512 apart from the first sample on.

    Before and after the sound is silence, whose shape is -80 dB in all bands.

    Args:
        sound: [samples].
        rate: in Hz.
    """
    shape = window("hann", FRAME)
    frames = np.lib.stride_tricks.sliding_window_view(np.pad(sound, FRAME // 2), FRAME)[::HOP] * shape
    magnitudes = np.abs(np.fft.rfft(frames)).astype(np.float64)
    power = np.square(magnitudes)
    whole = 2 * power.sum(1) - power[:, 0] - power[:, -1]  # of all bins, negative frequencies among them
    square = whole / (FRAME * np.square(shape, dtype=np.float64).sum())
    shares = 2 * (power @ mel(rate)) / np.maximum(whole, SILENT)[:, np.newaxis]
    hertz = np.linspace(0, rate / 2, FRAME // 2 + 1)
    centroid = (magnitudes @ hertz) / np.maximum(magnitudes.sum(1), SILENT)
    return Course(
        levels=10 * np.log10(np.maximum(square, SILENT)),
        shapes=10 * np.log10(np.maximum(shares, 10 ** (FLOOR_DB / 10))),
        brightness=np.log2(np.maximum(centroid, 1.0)),
    )


def counted(asked: Course) -> npt.NDArray[np.bool_]:
    """Return which frames of a recording lie within 50 dB of its loudest: [frames]."""
    loud: npt.NDArray[np.bool_] = asked.levels > asked.levels.max() - RANGE_DB
    return loud


def alike(asked: Course, given: Course) -> npt.NDArray[np.bool_]:
    """Return the frames whose spectra are compared: those that count in which the other sound is not silent: [frames].

    It is where it lies 80 dB under its loudest frame: that it has ended is for `envelope_db` to say. What is silent in
    more than half of the frames that count is compared in all of them.
    """
    which = counted(asked)
    both = which & (given.levels > given.levels.max() + FLOOR_DB)
    return both if 2 * both.sum() >= which.sum() else which


def shape_db(asked: Course, given: Course) -> float:
    """Return the distance of spectra without their levels, in dB.

    The root mean square over 64 bands of the difference of `Course.shapes`, a mean over the frames of `alike`.

    Args:
        asked: the recording's.
        given: the other sound's, of as many frames.
    """
    apart = np.sqrt(np.square(asked.shapes - given.shapes).mean(1))
    return float(apart[alike(asked, given)].mean())


def sustain_db(asked: Array, given: Array, rate: int) -> float:
    """Return the distance of the shapes of the held parts, in dB: the first four fifths of two sounds, [samples] both.

    As `shape_db`, over the frames within 20 dB of the first sound's loudest.
    """
    length = max(1, round(SUSTAINED * len(asked)))
    first, second = (course(sound[:length], rate) for sound in (asked, given))
    loud = first.levels > first.levels.max() - SUSTAIN_RANGE_DB
    return float(np.sqrt(np.square(first.shapes - second.shapes).mean(1))[loud].mean())


def envelope_db(asked: Course, given: Course) -> float:
    """Return the distance of the courses of level, in dB.

    The root mean square over the frames that count of the difference of levels, each under its own loudest of these
    frames and -50 dB at least, less the mean difference: gain is none.

    Args:
        asked, given: as `shape_db`.
    """
    which = counted(asked)
    first, second = (np.maximum(of.levels[which] - of.levels[which].max(), -RANGE_DB) for of in (asked, given))
    return float((first - second).std())


def brightness(asked: Course, given: Course) -> float | None:
    """Return Pearson's correlation of the courses of brightness over the frames of `alike`, -1 to 1.

    0 where the other sound's stands still (moves by less than a hundredth of an octave); None where the recording's
    does: there is nothing to follow.

    Args:
        asked, given: as `shape_db`.
    """
    which = alike(asked, given)
    first, second = asked.brightness[which], given.brightness[which]
    if first.std() < STILL:
        return None
    return 0.0 if second.std() < STILL else float(np.corrcoef(first, second)[0, 1])


def nearness(asked: Array, given: Array, rate: int) -> Nearness:
    """Return how near a sound comes to a recording, [samples] both, of one length; both begin to sound at once.

    ``attack_ms`` is how far the times differ at which each has come within 3 dB of its loudest moment (see
    `attack_seconds`); for the others see `shape_db`, `sustain_db`, `envelope_db` and `brightness`.
    """
    first, second = course(asked, rate), course(given, rate)
    attacks = attack_seconds(np.stack([asked, given]), rate)
    return Nearness(
        shape_db(first, second),
        sustain_db(asked, given, rate),
        envelope_db(first, second),
        1000 * abs(float(attacks[0]) - float(attacks[1])),
        brightness(first, second),
    )
