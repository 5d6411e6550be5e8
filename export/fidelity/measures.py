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
LONG, QUARTER_HZ = 8192, 370.0  # samples of long frames; from there on a quarter tone is wider than two of their bins
CHANGING = slice(2, 48)  # bands whose changes count: below lie rumble and hum, above little but noise
STILL = 0.01  # octaves: a brightness that moves less is a line, along which nothing can be followed
SILENT = 1e-12  # mean square, -120 dB of full scale: keeps logarithms finite


class SpectralCourse(NamedTuple):
    """Measures of a sound from frame to frame.

    ``levels`` [frames] are root mean squares under the window, in dB of full scale; ``shapes`` [frames, 64] the share
    of each frame's power that lies in each mel band, in dB, -80 at least; ``brightness`` [frames] the spectral
    centroid, in octaves above 1 Hz.
    """

    levels: Double
    shapes: Double
    brightness: Double


class NoteDistance(NamedTuple):
    """The nearness of a sound to a recording; see `nearness`."""

    shape_db: float
    sustain_db: float
    quarter_db: float
    change: float | None
    envelope_db: float
    attack_ms: float
    brightness: float | None


@functools.cache
def mel(rate: int) -> Double:
    """Weights of a frame's bins in mel bands, [bins, 64]: triangles of height 1, even on Slaney's scale."""
    weights: Double = librosa.filters.mel(sr=rate, n_fft=FRAME, n_mels=BANDS, norm=None, dtype=np.float64).T
    return weights


def course(sound: Array, rate: int) -> SpectralCourse:
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
    return SpectralCourse(
        levels=10 * np.log10(np.maximum(square, SILENT)),
        shapes=10 * np.log10(np.maximum(shares, 10 ** (FLOOR_DB / 10))),
        brightness=np.log2(np.maximum(centroid, 1.0)),
    )


def counted(asked: SpectralCourse) -> npt.NDArray[np.bool_]:
    """Return which frames of a recording lie within 50 dB of its loudest: [frames]."""
    loud: npt.NDArray[np.bool_] = asked.levels > asked.levels.max() - RANGE_DB
    return loud


def alike(asked: SpectralCourse, given: SpectralCourse) -> npt.NDArray[np.bool_]:
    """Return the frames whose spectra are compared: those that count in which the other sound is not silent: [frames].

    It is where it lies 80 dB under its loudest frame: that it has ended is for `envelope_db` to say. What is silent in
    more than half of the frames that count is compared in all of them.
    """
    which = counted(asked)
    both = which & (given.levels > given.levels.max() + FLOOR_DB)
    return both if 2 * both.sum() >= which.sum() else which


def shape_db(asked: SpectralCourse, given: SpectralCourse) -> float:
    """Return the distance of spectra without their levels, in dB.

    The root mean square over 64 bands of the difference of `SpectralCourse.shapes`, a mean over the frames of `alike`.

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


@functools.cache
def quarter_tones(rate: int) -> Double:
    """Weights of bins in quarter tones from 370 Hz to half the rate, [bins, bands]: 1 where a bin's middle lies in."""
    bands = int(24 * np.log2(rate / 2 / QUARTER_HZ))
    edges = QUARTER_HZ * 2 ** (np.arange(bands + 1) / 24)
    band = np.searchsorted(edges, np.arange(LONG // 2 + 1) * rate / LONG, side="right") - 1
    weights: Double = (band[:, np.newaxis] == np.arange(bands)).astype(np.float64)
    return weights


def quarter_db(asked: Array, given: Array, rate: int) -> float:
    """Return the distance of quarter-tone spectra of the held parts, in dB: `sustain_db` in narrow bands.

    Frames are of 8192 samples, 2048 apart, bands quarter tones from 370 Hz on: noise that stands where a partial should
    is seen, as is a partial that lies beside its place.
    """
    length = max(1, round(SUSTAINED * len(asked)))
    first, second = (_quarters(sound[:length], rate) for sound in (asked, given))
    loud = first[1] > first[1].max() - SUSTAIN_RANGE_DB
    return float(np.sqrt(np.square(first[0] - second[0]).mean(1))[loud].mean())


def _quarters(sound: Array, rate: int) -> tuple[Double, Double]:
    """Return the shares of frames' power in quarter tones in dB, [frames, bands], and the frames' levels in dB."""
    frames = np.lib.stride_tricks.sliding_window_view(np.pad(sound, LONG // 2), LONG)[:: LONG // 4]
    power = np.square(np.abs(np.fft.rfft(frames * window("hann", LONG)))).astype(np.float64)
    whole = np.maximum(power.sum(1), SILENT)
    shares = power @ quarter_tones(rate) / whole[:, np.newaxis]
    return 10 * np.log10(np.maximum(shares, 10 ** (FLOOR_DB / 10))), 10 * np.log10(whole)


def change_db(sound: Array, rate: int) -> float | None:
    """Return by how much bands change from frame to frame where a sound is held, in dB; None of a single frame.

    The mean size of the change of `SpectralCourse.shapes` in the bands 2 to 47, over frames within 20 dB of the loudest
    of the first four fifths.
    """
    measured = course(sound[: max(1, round(SUSTAINED * len(sound)))], rate)
    loud = measured.levels > measured.levels.max() - SUSTAIN_RANGE_DB
    both = loud[1:] & loud[:-1]
    moved = np.abs(np.diff(measured.shapes[:, CHANGING], axis=0))[both]
    return float(moved.mean()) if len(moved) else None


def envelope_db(asked: SpectralCourse, given: SpectralCourse) -> float:
    """Return the distance of the courses of level, in dB.

    The root mean square over the frames that count of the difference of levels, each under its own loudest of these
    frames and -50 dB at least, less the mean difference: gain is none.

    Args:
        asked, given: as `shape_db`.
    """
    which = counted(asked)
    first, second = (np.maximum(of.levels[which] - of.levels[which].max(), -RANGE_DB) for of in (asked, given))
    return float((first - second).std())


def brightness(asked: SpectralCourse, given: SpectralCourse) -> float | None:
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


def nearness(asked: Array, given: Array, rate: int) -> NoteDistance:
    """Return how near a sound comes to a recording, [samples] both, of one length; both begin to sound at once.

    ``attack_ms`` is how far the times differ at which each has come within 3 dB of its loudest moment (see
    `attack_seconds`), ``change`` how many times as much the other's bands change as the recording's (`change_db`); for
    the others see `shape_db`, `sustain_db`, `envelope_db` and `brightness`.
    """
    first, second = course(asked, rate), course(given, rate)
    attacks = attack_seconds(np.stack([asked, given]), rate)
    changes = change_db(asked, rate), change_db(given, rate)
    return NoteDistance(
        shape_db(first, second),
        sustain_db(asked, given, rate),
        quarter_db(asked, given, rate),
        changes[1] / changes[0] if changes[0] and changes[1] is not None else None,
        envelope_db(first, second),
        1000 * abs(float(attacks[0]) - float(attacks[1])),
        brightness(first, second),
    )
