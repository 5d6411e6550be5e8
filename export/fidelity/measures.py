"""Distances between a note and a recording: spectral shape, partials' frequencies, envelope, brightness, attack."""

import functools
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import scipy

from ...host.arrays import Array, Doubles
from ...host.signal import window
from ...host.spectra import MOMENT_SECONDS, centred_frames, centroids, mel_edges_hz, mel_triangles
from ...host.spectra import envelope_db as levels_db
from ...train.corpus.pitch import pitch_track
from ...train.metrics.clips import attack_seconds, rise

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
    transform_length = PADDED * len(sound)
    bin_powers = np.square(np.abs(np.fft.rfft(sound.astype(np.float64) * window("hann", len(sound)), transform_length)))
    bin_levels = 10 * np.log10(np.maximum(bin_powers, 1e-24))
    bin_hz = rate / transform_length
    searched_bins = np.arange(int(APART_HZ / 2 / bin_hz), len(bin_levels) - 1)
    maximum_bins = searched_bins[
        (bin_levels[searched_bins] > bin_levels[searched_bins - 1])
        & (bin_levels[searched_bins] >= bin_levels[searched_bins + 1])
    ]
    maximum_bins = maximum_bins[bin_levels[maximum_bins] > bin_levels.max() - SOFTEST_DB]
    peak_bins: list[int] = []
    for peak_bin in maximum_bins[np.argsort(-bin_levels[maximum_bins])].tolist():
        if all(abs(peak_bin - stronger_bin) > APART_HZ / bin_hz for stronger_bin in peak_bins):
            peak_bins.append(peak_bin)
    centre_bins = np.array(peak_bins, np.intp)
    left_levels, peak_levels, right_levels = (
        bin_levels[centre_bins - 1],
        bin_levels[centre_bins],
        bin_levels[centre_bins + 1],
    )
    # The vertex of a parabola through the three levels lies between bins.
    bin_offsets = np.clip(
        (left_levels - right_levels) / np.minimum(2 * (left_levels - 2 * peak_levels + right_levels), -1e-9), -0.5, 0.5
    )
    reach_bins = int(AROUND_HZ / bin_hz)
    surrounding_levels = np.array(
        [np.median(bin_levels[max(peak_bin - reach_bins, 0) : peak_bin + reach_bins]) for peak_bin in peak_bins]
    )
    return SpectralPeaks(
        (centre_bins + bin_offsets) * bin_hz,
        peak_levels - peak_levels.max(initial=-240.0),
        peak_levels - surrounding_levels > STANDS_OUT_DB,
        bin_powers,
        bin_hz,
    )


def partial_cents(recording: Array, rendition: Array, rate: int) -> float | None:
    """Return the median distance of a recording's partials to those of another sound, in cents; None without partials.

    Clear peaks within 30 dB of the strongest count. One without a partner within 50 cents counts as 50.
    """
    recorded_peaks, played_peaks = spectral_peaks(recording, rate), spectral_peaks(rendition, rate)
    recorded_hz = recorded_peaks.hertz[recorded_peaks.clear & (recorded_peaks.levels > -LOUD_DB)]
    if not len(recorded_hz) or not len(played_peaks.hertz):
        return None
    distances_cents = np.abs(1200 * np.log2(played_peaks.hertz / recorded_hz[:, np.newaxis])).min(1)
    return float(np.median(np.minimum(distances_cents, FAR_CENTS)))


FRAME, OVERLAP, BANDS = 2048, 4, 64  # samples, windows over each sample, mel bands
HOP = FRAME // OVERLAP
RANGE_DB = 50.0  # below a recording's loudest frame; softer frames are tail and noise
FLOOR_DB = -80.0  # floor of a band below its frame's level: inaudible beside the rest
SUSTAINED, SUSTAIN_RANGE_DB = 0.8, 20.0  # of a sound, and below its loudest frame: the part without a release
HIGHEST_HZ = 6000.0  # of bands that tell sounds apart: above it the noise of rooms and codecs' lowpass tell recordings
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
    """Distances of a sound to a recording, from `nearness`.

    ``sides_db`` is that of `sides_distance`, of stereo ones, and ``zimtohrli`` that of `perceptual_distance`.
    """

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
    late_ms: float
    brightness: float | None
    sides_db: float | None = None
    zimtohrli: float | None = None


def mel(rate: int, frame_length: int = FRAME) -> Doubles:
    """Return the mel filter bank, [bins, 64]: triangles of height 1."""
    return mel_triangles(rate, frame_length, BANDS).T


def windowed(sound: Array, shape: Array, hop: int) -> Array:
    """Return frames of a sound, [frames, len(shape)], times a window and without their offset.

    An offset is inaudible, and would count as the loudest part of some notes.
    """
    frames = centred_frames(sound, len(shape), hop)
    offsets = (frames @ shape)[:, np.newaxis] / shape.sum()
    shaped: Array = (frames - offsets) * shape
    return shaped


def course(sound: Array, rate: int, frame_length: int = FRAME) -> SpectralCourse:
    """Measure a sound, [samples], in periodic Hann windows, centered from the first sample on, a quarter apart.

    The padding is silence, whose shape is -80 dB in all bands.
    """
    window_shape = window("hann", frame_length)
    magnitudes = np.abs(np.fft.rfft(windowed(sound, window_shape, frame_length // OVERLAP))).astype(np.float64)
    bin_powers = np.square(magnitudes)
    # over all bins, including negative frequencies
    total_powers = 2 * bin_powers.sum(1) - bin_powers[:, 0] - bin_powers[:, -1]
    mean_squares = total_powers / (frame_length * np.square(window_shape, dtype=np.float64).sum())
    band_shares = 2 * (bin_powers @ mel(rate, frame_length)) / np.maximum(total_powers, SILENT)[:, np.newaxis]
    bins_hz = np.linspace(0, rate / 2, frame_length // 2 + 1)
    centroids_hz = centroids(magnitudes, bins_hz)
    return SpectralCourse(
        levels=10 * np.log10(np.maximum(mean_squares, SILENT)),
        shapes=10 * np.log10(np.maximum(band_shares, 10 ** (FLOOR_DB / 10))),
        brightness=np.log2(np.maximum(centroids_hz, 1.0)),
    )


def counted(recording: SpectralCourse) -> npt.NDArray[np.bool_]:
    """Return a mask of the frames within 50 dB of the loudest, [frames]."""
    is_loud: npt.NDArray[np.bool_] = recording.levels > recording.levels.max() - RANGE_DB
    return is_loud


def alike(recording: SpectralCourse, rendition: SpectralCourse) -> npt.NDArray[np.bool_]:
    """Return a mask of the counted frames where the other sound is not silent, [frames].

    Silent frames are 80 dB below its loudest: `envelope_db` measures an early end. If they are more than half of the
    counted frames, all of these are compared.
    """
    is_counted = counted(recording)
    is_audible = is_counted & (rendition.levels > rendition.levels.max() + FLOOR_DB)
    return is_audible if 2 * is_audible.sum() >= is_counted.sum() else is_counted


def bands_below(highest_hz: float, rate: int, bands: int) -> int:
    """Return how many of the mel bands up to half the rate end below a frequency."""
    return int(np.searchsorted(mel_edges_hz(rate, bands)[2:], highest_hz, side="right"))


def held_shapes(sound: Array, rate: int) -> Doubles:
    """Return `SpectralCourse.shapes` of the frames within 20 dB of the loudest, [frames, 64]."""
    sound_course = course(sound, rate)
    return sound_course.shapes[_loud(sound_course.levels)]


def _loud(levels: Doubles) -> npt.NDArray[np.bool_]:
    """Return a mask of the frames within 20 dB of the loudest, [frames]."""
    is_loud: npt.NDArray[np.bool_] = levels > levels.max() - SUSTAIN_RANGE_DB
    return is_loud


def _held_length(samples: int) -> int:
    """Return how many of a sound's samples its held part has."""
    return max(1, round(SUSTAINED * samples))


def _held_db(measure: Callable[[Array], tuple[Doubles, Doubles]], recording: Array, rendition: Array) -> float:
    """Return the distance of the held parts' shapes; ``measure`` returns levels, [frames], and shapes."""
    held_samples = _held_length(len(recording))
    (recorded_levels, recorded_shapes), (_, rendered_shapes) = (
        measure(sound[:held_samples]) for sound in (recording, rendition)
    )
    return float(np.sqrt(np.square(recorded_shapes - rendered_shapes).mean(1))[_loud(recorded_levels)].mean())


def shape_db(recording: SpectralCourse, rendition: SpectralCourse) -> float:
    """Return the distance of the normalized spectra of equally long courses, in dB.

    The root mean square over bands of the difference of `SpectralCourse.shapes`, averaged over the frames of `alike`.
    """
    distances_db = np.sqrt(np.square(recording.shapes - rendition.shapes).mean(1))
    return float(distances_db[alike(recording, rendition)].mean())


def onset_db(recording: SpectralCourse, rendition: SpectralCourse, rate: int) -> float:
    """Return `shape_db` of the frames of the first 46 ms."""
    distances_db = np.sqrt(np.square(recording.shapes - rendition.shapes).mean(1))
    is_onset = np.arange(len(distances_db)) * HOP <= ONSET_SECONDS * rate
    is_compared = is_onset & alike(recording, rendition)
    return float(distances_db[is_compared if is_compared.any() else is_onset].mean())


def sustain_db(recording: Array, rendition: Array, rate: int) -> float:
    """Return `shape_db` of the first four fifths of two sounds, [samples] both.

    Only frames within 20 dB of the first sound's loudest count.
    """
    return _held_db(lambda sound: course(sound, rate)[:2], recording, rendition)


@functools.cache
def quarter_tones(rate: int) -> Doubles:
    """Return quarter-tone filters from 370 Hz to Nyquist, [bins, bands]: 1 where a bin's center is in a band."""
    band_count = int(24 * np.log2(rate / 2 / QUARTER_HZ))
    edges_hz = QUARTER_HZ * 2 ** (np.arange(band_count + 1) / 24)
    band_indices = np.searchsorted(edges_hz, np.arange(LONG // 2 + 1) * rate / LONG, side="right") - 1
    weights: Doubles = (band_indices[:, np.newaxis] == np.arange(band_count)).astype(np.float64)
    return weights


def quarter_db(recording: Array, rendition: Array, rate: int) -> float:
    """Return `sustain_db` in quarter tones from 370 Hz, in frames of 8192 samples, 2048 apart.

    Detects noise in a partial's place, and misplaced partials.
    """
    return _held_db(lambda sound: _quarters(sound, rate), recording, rendition)


def _quarters(sound: Array, rate: int) -> tuple[Doubles, Doubles]:
    """Return frame levels, and shares of power in quarter tones, [frames, bands], both in dB."""
    frames = centred_frames(sound, LONG, LONG // 4)
    bin_powers = np.square(np.abs(np.fft.rfft(frames * window("hann", LONG)))).astype(np.float64)
    total_powers = np.maximum(bin_powers.sum(1), SILENT)
    band_shares = bin_powers @ quarter_tones(rate) / total_powers[:, np.newaxis]
    return 10 * np.log10(total_powers), 10 * np.log10(np.maximum(band_shares, 10 ** (FLOOR_DB / 10)))


def change_db(sound: Array, rate: int) -> float | None:
    """Return the mean absolute change of bands between frames of the held part, in dB; None for a single frame.

    The held part is as in `sustain_db`.
    """
    held_course = course(sound[: _held_length(len(sound))], rate)
    is_loud = _loud(held_course.levels)
    are_both_loud = is_loud[1:] & is_loud[:-1]
    band_changes_db = np.abs(np.diff(held_course.shapes[:, CHANGING], axis=0))[are_both_loud]
    return float(band_changes_db.mean()) if len(band_changes_db) else None


def slow_change_db(sound: Array, rate: int) -> float | None:
    """Return the mean deviation of bands' levels, means of 0.1 s, from lines in the held part: beats, in dB."""
    held_course = course(sound[: _held_length(len(sound))], rate)
    loud_indices = np.flatnonzero(_loud(held_course.levels))
    band_levels = (held_course.levels[:, np.newaxis] + held_course.shapes)[
        loud_indices[0] + SLOW : loud_indices[-1] + 1, BEATING
    ]
    if len(band_levels) < 2 * SLOW:
        return None
    smoothed_levels = scipy.ndimage.uniform_filter1d(band_levels, SLOW, axis=0)
    return float(scipy.signal.detrend(smoothed_levels, axis=0).std(0).mean())


def vibrato_cents(sound: Array, rate: int) -> float:
    """Return the standard deviation of a held part's pitch by YIN, in cents; 0 without a pitch.

    Its windows of 93 ms (at 44.1 kHz) smooth a vibrato of 6 Hz to half.
    """
    track_cents = 100 * pitch_track(sound[: _held_length(len(sound))], rate).astype(np.float64)
    voiced_cents = track_cents[np.isfinite(track_cents)]
    deviations_cents = voiced_cents - np.median(voiced_cents) if len(voiced_cents) else voiced_cents
    deviations_cents = deviations_cents[np.abs(deviations_cents) < SAME_NOTE_CENTS]
    return float(deviations_cents.std()) if len(deviations_cents) >= FEWEST_FRAMES else 0.0


def envelope_db(recording: SpectralCourse, rendition: SpectralCourse) -> float:
    """Return the standard deviation of the difference of level envelopes in dB, so that gain is ignored.

    Over the recording's counted frames, relative to each sound's loudest of these, -50 dB at least.
    """
    is_counted = counted(recording)
    recorded_levels, rendered_levels = (
        np.maximum(side.levels[is_counted] - side.levels[is_counted].max(), -RANGE_DB)
        for side in (recording, rendition)
    )
    return float((recorded_levels - rendered_levels).std())


def decay_percent(recording: SpectralCourse, rendition: SpectralCourse, rate: int) -> float | None:
    """Return the difference of the rates of decay, in percent of the recording's; None where that is sustained.

    Rates are slopes of straight lines through levels, from the loudest frame over four fifths of the rest, while both
    are counted.
    """
    loudest_frame_index = int(recording.levels.argmax())
    are_both_counted = (counted(recording) & counted(rendition))[loudest_frame_index:]
    recorded_fall, rendered_fall = (
        _fall(side.levels[loudest_frame_index:], are_both_counted, rate) for side in (recording, rendition)
    )
    return None if recorded_fall < RINGING_DB_SECOND else float(100 * abs(rendered_fall / recorded_fall - 1))


def fall_db_second(sound_course: SpectralCourse, rate: int) -> float:
    """Return the rate of a sound's decay as `decay_percent` measures it, in dB a second; 0 for a short one."""
    loudest_frame_index = int(sound_course.levels.argmax())
    return _fall(sound_course.levels[loudest_frame_index:], counted(sound_course)[loudest_frame_index:], rate)


def _fall(levels: Doubles, counted_frames: npt.NDArray[np.bool_], rate: int) -> float:
    """Return the slope of a line through four fifths of the first levels in the mask, [frames]."""
    fitted_count = int(SUSTAINED * (counted_frames.argmin() if not counted_frames.all() else len(counted_frames)))
    if fitted_count < FEWEST_FRAMES:
        return 0.0
    centred_seconds = (np.arange(fitted_count) - (fitted_count - 1) / 2) * HOP / rate
    return float(-(centred_seconds @ levels[:fitted_count]) / np.square(centred_seconds).sum())


def brightness(recording: SpectralCourse, rendition: SpectralCourse) -> float | None:
    """Return Pearson's correlation of the brightness over the frames of `alike`, -1 to 1.

    0 if only the other sound's is constant; None if the recording's is.
    """
    is_compared = alike(recording, rendition)
    recorded_octaves, rendered_octaves = recording.brightness[is_compared], rendition.brightness[is_compared]
    if recorded_octaves.std() < STILL:
        return None
    return 0.0 if rendered_octaves.std() < STILL else float(np.corrcoef(recorded_octaves, rendered_octaves)[0, 1])


def late_ms(recording: Array, rendition: Array, rate: int) -> float:
    """Return how much later than a recording rises from -24 to -12 dB a sound reaches -12 dB, from its first sample.

    Silence, breath and noise before the recording's rise do not count.
    """
    (rises, heard), (_, heard_late) = (
        rise(levels_db(sound[np.newaxis], rate)[0].astype(np.float64)) for sound in (recording, rendition)
    )
    return 1000 * MOMENT_SECONDS * (heard_late - (heard - rises))


def nearness(recording: Array, rendition: Array, rate: int) -> NoteDistance:
    """Compare a sound with a recording, [samples] both, of equal length and aligned onsets.

    ``attack_ms`` is the difference of the times to within 3 dB of the loudest moment; ``change``, ``slow_change`` and
    ``vibrato`` (None for a steady recording) are ratios to the recording's.
    """
    recorded_course, rendered_course = course(recording, rate), course(rendition, rate)
    attacks_seconds = attack_seconds(np.stack([recording, rendition]), rate)
    vibratos_cents = vibrato_cents(recording, rate), vibrato_cents(rendition, rate)
    return NoteDistance(
        shape_db(recorded_course, rendered_course),
        sustain_db(recording, rendition, rate),
        quarter_db(recording, rendition, rate),
        onset_db(recorded_course, rendered_course, rate),
        _ratio(change_db(recording, rate), change_db(rendition, rate)),
        _ratio(slow_change_db(recording, rate), slow_change_db(rendition, rate)),
        vibratos_cents[1] / vibratos_cents[0] if vibratos_cents[0] >= STEADY_CENTS else None,
        envelope_db(recorded_course, rendered_course),
        decay_percent(recorded_course, rendered_course, rate),
        partial_cents(recording, rendition, rate),
        1000 * abs(float(attacks_seconds[0]) - float(attacks_seconds[1])),
        late_ms(recording, rendition, rate),
        brightness(recorded_course, rendered_course),
    )


def _ratio(recorded: float | None, played: float | None) -> float | None:
    return played / recorded if recorded and played is not None else None
