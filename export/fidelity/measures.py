"""Distances between a note and a recording: spectral shape, partials' frequencies, envelope, brightness, attack."""

import functools
from collections.abc import Callable
from typing import NamedTuple

import librosa
import numpy as np
import numpy.typing as npt
import scipy

from ...host.arrays import Array, Doubles
from ...host.signal import window
from ...train.corpus.pitch import pitch_track
from ...train.metrics.clips import attack_seconds

SECONDS, SHORTEST = 0.75, 4096  # of the long spectrum, and the fewest samples
PADDED = 4  # zero-padding: a parabola then finds a peak within a hundredth of a bin
SOFTEST_DB = 50.0  # below the strongest peak
APART_HZ = 21.5  # nearer peaks are one partial that beats: two bins of 4096 samples at 44.1 kHz
STANDS_OUT_DB, AROUND_HZ = 15.0, 65.0  # of a clear peak, over the median around it
LOUD_DB = 30.0  # below the strongest peak: partials of `partial_cents`
FAR_CENTS = 50.0  # a partial that is missing counts as so far away


class SpectralPeaks(NamedTuple):
    """The strongest peak comes first.

    Attributes:
        hertz: frequencies, [peaks].
        levels: in dB below the strongest, [peaks].
        clear: whether they stand out, [peaks].
        power: of the whole spectrum, [bins].
        bin_hz: distance of bins.
    """

    hertz: Doubles
    levels: Doubles
    clear: npt.NDArray[np.bool_]
    power: Doubles
    bin_hz: float


def spectral_peaks(sound: Array, rate: int) -> SpectralPeaks:
    """Return the peaks of the first 0.75 s after a note's loudest sample."""
    sound = np.pad(sound, (0, max(SHORTEST - len(sound), 0)))
    sound = sound[min(int(np.abs(sound).argmax()), len(sound) - SHORTEST) :][: round(SECONDS * rate)]
    size = PADDED * len(sound)
    power = np.square(np.abs(np.fft.rfft(sound.astype(np.float64) * window("hann", len(sound)), size)))
    levels = 10 * np.log10(np.maximum(power, 1e-24))
    bin_hz = rate / size
    inside = np.arange(int(APART_HZ / 2 / bin_hz), len(levels) - 1)
    top = inside[(levels[inside] > levels[inside - 1]) & (levels[inside] >= levels[inside + 1])]
    top = top[levels[top] > levels.max() - SOFTEST_DB]
    kept: list[int] = []
    for at in top[np.argsort(-levels[top])].tolist():
        if all(abs(at - other) > APART_HZ / bin_hz for other in kept):
            kept.append(at)
    middle = np.array(kept, np.intp)
    below, here, above = levels[middle - 1], levels[middle], levels[middle + 1]
    off = np.clip((below - above) / np.minimum(2 * (below - 2 * here + above), -1e-9), -0.5, 0.5)
    reach = int(AROUND_HZ / bin_hz)
    around = np.array([np.median(levels[max(at - reach, 0) : at + reach]) for at in kept])
    return SpectralPeaks(
        (middle + off) * bin_hz, here - here.max(initial=-240.0), here - around > STANDS_OUT_DB, power, bin_hz
    )


def partial_cents(asked: Array, given: Array, rate: int) -> float | None:
    """Return the median distance of a recording's partials to those of another sound, in cents; None without partials.

    Clear peaks within 30 dB of the strongest count. One without a partner within 50 cents counts as 50.
    """
    own, other = spectral_peaks(asked, rate), spectral_peaks(given, rate)
    heard = own.hertz[own.clear & (own.levels > -LOUD_DB)]
    if not len(heard) or not len(other.hertz):
        return None
    cents = np.abs(1200 * np.log2(other.hertz / heard[:, np.newaxis])).min(1)
    return float(np.median(np.minimum(cents, FAR_CENTS)))


FRAME, HOP, BANDS = 2048, 512, 64  # samples, samples, mel bands
RANGE_DB = 50.0  # below a recording's loudest frame; softer frames are tail and noise
FLOOR_DB = -80.0  # floor of a band below its frame's level: inaudible beside the rest
SUSTAINED, SUSTAIN_RANGE_DB = 0.8, 20.0  # of a sound, and below its loudest frame: the part without a release
LONG, QUARTER_HZ = 8192, 370.0  # samples of long frames; above, a quarter tone is wider than two of their bins
CHANGING = slice(2, 48)  # bands for `change_db`: below are rumble and hum, above mostly noise
BEATING, SLOW = slice(16, 32), 9  # bands and frames of `slow_change_db`: 0.1 s at 44.1 kHz
ONSET_SECONDS = 0.046  # of an attack: four frames
RINGING_DB_SECOND = 6.0  # a sound that falls more slowly is sustained
FEWEST_FRAMES = 8  # to measure a decay, or a vibrato
STEADY_CENTS = 2.0  # deviation of a pitch track: less is YIN's own, and no vibrato
SAME_NOTE_CENTS = 100.0  # from the median of a track: further off it is noise or an attack
STILL = 0.01  # octaves: less movement of the brightness counts as constant
SILENT = 1e-12  # mean square, -120 dBFS: keeps logarithms finite


class SpectralCourse(NamedTuple):
    """Frame-by-frame measures of a sound.

    Args:
        levels: root mean square under the window in dBFS, [frames].
        shapes: share of the power in each mel band in dB, -80 at least, [frames, 64].
        brightness: spectral centroid in octaves above 1 Hz, [frames].
    """

    levels: Doubles
    shapes: Doubles
    brightness: Doubles


class NoteDistance(NamedTuple):
    """Distances of a sound to a recording, from `nearness`."""

    shape_db: float
    sustain_db: float
    quarter_db: float
    onset_db: float
    change: float | None
    slow_change: float | None
    vibrato: float | None
    envelope_db: float
    decay_percent: float | None
    partial_cents: float | None
    attack_ms: float
    brightness: float | None


@functools.cache
def mel(rate: int) -> Doubles:
    """Return the mel filter bank, [bins, 64]: triangles of height 1, spaced evenly on Slaney's scale."""
    weights: Doubles = librosa.filters.mel(sr=rate, n_fft=FRAME, n_mels=BANDS, norm=None, dtype=np.float64).T
    return weights


def course(sound: Array, rate: int) -> SpectralCourse:
    """Measure a sound, [samples], in periodic Hann windows of 2048 samples, centered every 512 from the first on.

    The padding is silence, whose shape is -80 dB in all bands.
    """
    shape = window("hann", FRAME)
    frames = np.lib.stride_tricks.sliding_window_view(np.pad(sound, FRAME // 2), FRAME)[::HOP] * shape
    magnitudes = np.abs(np.fft.rfft(frames)).astype(np.float64)
    power = np.square(magnitudes)
    whole = 2 * power.sum(1) - power[:, 0] - power[:, -1]  # over all bins, including negative frequencies
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
    """Return a mask of the frames within 50 dB of the loudest, [frames]."""
    loud: npt.NDArray[np.bool_] = asked.levels > asked.levels.max() - RANGE_DB
    return loud


def alike(asked: SpectralCourse, given: SpectralCourse) -> npt.NDArray[np.bool_]:
    """Return a mask of the counted frames where the other sound is not silent, [frames].

    Silent frames are 80 dB below its loudest: `envelope_db` measures an early end. If they are more than half of the
    counted frames, all of these are compared.
    """
    which = counted(asked)
    both = which & (given.levels > given.levels.max() + FLOOR_DB)
    return both if 2 * both.sum() >= which.sum() else which


def held_shapes(sound: Array, rate: int) -> Doubles:
    """Return `SpectralCourse.shapes` of the frames within 20 dB of the loudest, [frames, 64]."""
    measured = course(sound, rate)
    return measured.shapes[_loud(measured.levels)]


def _loud(levels: Doubles) -> npt.NDArray[np.bool_]:
    loud: npt.NDArray[np.bool_] = levels > levels.max() - SUSTAIN_RANGE_DB
    return loud


def _held_length(samples: int) -> int:
    return max(1, round(SUSTAINED * samples))


def _held_db(measure: Callable[[Array], tuple[Doubles, Doubles]], asked: Array, given: Array) -> float:
    """Return the distance of the held parts' shapes; ``measure`` returns levels, [frames], and shapes."""
    length = _held_length(len(asked))
    (levels, first), (_, second) = (measure(sound[:length]) for sound in (asked, given))
    return float(np.sqrt(np.square(first - second).mean(1))[_loud(levels)].mean())


def shape_db(asked: SpectralCourse, given: SpectralCourse) -> float:
    """Return the distance of the normalized spectra of equally long courses, in dB.

    The root mean square over bands of the difference of `SpectralCourse.shapes`, averaged over the frames of `alike`.
    """
    apart = np.sqrt(np.square(asked.shapes - given.shapes).mean(1))
    return float(apart[alike(asked, given)].mean())


def onset_db(asked: SpectralCourse, given: SpectralCourse, rate: int) -> float:
    """Return `shape_db` of the frames of the first 46 ms."""
    apart = np.sqrt(np.square(asked.shapes - given.shapes).mean(1))
    first = np.arange(len(apart)) * HOP <= ONSET_SECONDS * rate
    heard = first & alike(asked, given)
    return float(apart[heard if heard.any() else first].mean())


def sustain_db(asked: Array, given: Array, rate: int) -> float:
    """Return `shape_db` of the first four fifths of two sounds, [samples] both.

    Only frames within 20 dB of the first sound's loudest count.
    """
    return _held_db(lambda sound: course(sound, rate)[:2], asked, given)


@functools.cache
def quarter_tones(rate: int) -> Doubles:
    """Return quarter-tone filters from 370 Hz to Nyquist, [bins, bands]: 1 where a bin's center is in a band."""
    bands = int(24 * np.log2(rate / 2 / QUARTER_HZ))
    edges = QUARTER_HZ * 2 ** (np.arange(bands + 1) / 24)
    band = np.searchsorted(edges, np.arange(LONG // 2 + 1) * rate / LONG, side="right") - 1
    weights: Doubles = (band[:, np.newaxis] == np.arange(bands)).astype(np.float64)
    return weights


def quarter_db(asked: Array, given: Array, rate: int) -> float:
    """Return `sustain_db` in quarter tones from 370 Hz, in frames of 8192 samples, 2048 apart.

    Detects noise in a partial's place, and misplaced partials.
    """
    return _held_db(lambda sound: _quarters(sound, rate), asked, given)


def _quarters(sound: Array, rate: int) -> tuple[Doubles, Doubles]:
    """Return frame levels, and shares of power in quarter tones, [frames, bands], both in dB."""
    frames = np.lib.stride_tricks.sliding_window_view(np.pad(sound, LONG // 2), LONG)[:: LONG // 4]
    power = np.square(np.abs(np.fft.rfft(frames * window("hann", LONG)))).astype(np.float64)
    whole = np.maximum(power.sum(1), SILENT)
    shares = power @ quarter_tones(rate) / whole[:, np.newaxis]
    return 10 * np.log10(whole), 10 * np.log10(np.maximum(shares, 10 ** (FLOOR_DB / 10)))


def change_db(sound: Array, rate: int) -> float | None:
    """Return the mean absolute change of bands between frames of the held part, in dB; None for a single frame.

    The held part is as in `sustain_db`.
    """
    measured = course(sound[: _held_length(len(sound))], rate)
    loud = _loud(measured.levels)
    both = loud[1:] & loud[:-1]
    moved = np.abs(np.diff(measured.shapes[:, CHANGING], axis=0))[both]
    return float(moved.mean()) if len(moved) else None


def slow_change_db(sound: Array, rate: int) -> float | None:
    """Return the mean deviation of bands' levels, means of 0.1 s, from lines in the held part: beats, in dB."""
    measured = course(sound[: _held_length(len(sound))], rate)
    loud = np.flatnonzero(_loud(measured.levels))
    levels = (measured.levels[:, np.newaxis] + measured.shapes)[loud[0] + SLOW : loud[-1] + 1, BEATING]
    if len(levels) < 2 * SLOW:
        return None
    smooth = scipy.ndimage.uniform_filter1d(levels, SLOW, axis=0)
    return float(scipy.signal.detrend(smooth, axis=0).std(0).mean())


def vibrato_cents(sound: Array, rate: int) -> float:
    """Return the standard deviation of a held part's pitch by YIN, in cents; 0 without a pitch.

    Its windows of 93 ms (at 44.1 kHz) smooth a vibrato of 6 Hz to half.
    """
    track = 100 * pitch_track(sound[: _held_length(len(sound))], rate).astype(np.float64)
    heard = track[np.isfinite(track)]
    off = heard - np.median(heard) if len(heard) else heard
    off = off[np.abs(off) < SAME_NOTE_CENTS]
    return float(off.std()) if len(off) >= FEWEST_FRAMES else 0.0


def envelope_db(asked: SpectralCourse, given: SpectralCourse) -> float:
    """Return the standard deviation of the difference of level envelopes in dB, so that gain is ignored.

    Over the recording's counted frames, relative to each sound's loudest of these, -50 dB at least.
    """
    which = counted(asked)
    first, second = (np.maximum(of.levels[which] - of.levels[which].max(), -RANGE_DB) for of in (asked, given))
    return float((first - second).std())


def decay_percent(asked: SpectralCourse, given: SpectralCourse, rate: int) -> float | None:
    """Return the difference of the rates of decay, in percent of the recording's; None where that is sustained.

    Rates are slopes of straight lines through levels, from the loudest frame over four fifths of the rest, while both
    are counted.
    """
    begin = int(asked.levels.argmax())
    both = (counted(asked) & counted(given))[begin:]
    first, second = (_fall(of.levels[begin:], both, rate) for of in (asked, given))
    return None if first < RINGING_DB_SECOND else float(100 * abs(second / first - 1))


def fall_db_second(given: SpectralCourse, rate: int) -> float:
    """Return the rate of a sound's decay as `decay_percent` measures it, in dB a second; 0 for a short one."""
    begin = int(given.levels.argmax())
    return _fall(given.levels[begin:], counted(given)[begin:], rate)


def _fall(levels: Doubles, which: npt.NDArray[np.bool_], rate: int) -> float:
    """Return the slope of a line through four fifths of the first levels of ``which``, [frames]."""
    count = int(SUSTAINED * (which.argmin() if not which.all() else len(which)))
    if count < FEWEST_FRAMES:
        return 0.0
    times = (np.arange(count) - (count - 1) / 2) * HOP / rate
    return float(-(times @ levels[:count]) / np.square(times).sum())


def brightness(asked: SpectralCourse, given: SpectralCourse) -> float | None:
    """Return Pearson's correlation of the brightness over the frames of `alike`, -1 to 1.

    0 if only the other sound's is constant; None if the recording's is.
    """
    which = alike(asked, given)
    first, second = asked.brightness[which], given.brightness[which]
    if first.std() < STILL:
        return None
    return 0.0 if second.std() < STILL else float(np.corrcoef(first, second)[0, 1])


def nearness(asked: Array, given: Array, rate: int) -> NoteDistance:
    """Compare a sound with a recording, [samples] both, of equal length and aligned onsets.

    ``attack_ms`` is the difference of the times to within 3 dB of the loudest moment; ``change``, ``slow_change`` and
    ``vibrato`` (None for a steady recording) are ratios to the recording's.
    """
    first, second = course(asked, rate), course(given, rate)
    attacks = attack_seconds(np.stack([asked, given]), rate)
    vibratos = vibrato_cents(asked, rate), vibrato_cents(given, rate)
    return NoteDistance(
        shape_db(first, second),
        sustain_db(asked, given, rate),
        quarter_db(asked, given, rate),
        onset_db(first, second, rate),
        _ratio(change_db(asked, rate), change_db(given, rate)),
        _ratio(slow_change_db(asked, rate), slow_change_db(given, rate)),
        vibratos[1] / vibratos[0] if vibratos[0] >= STEADY_CENTS else None,
        envelope_db(first, second),
        decay_percent(first, second, rate),
        partial_cents(asked, given, rate),
        1000 * abs(float(attacks[0]) - float(attacks[1])),
        brightness(first, second),
    )


def _ratio(recorded: float | None, played: float | None) -> float | None:
    return played / recorded if recorded and played is not None else None
