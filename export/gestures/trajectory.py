"""Measures a recorded note's trajectory: levels, codes, vibrato, and modes, which are free partials that decay.

Times are those of the recording; encoding may resample it. Vibrato is the movement of the pitch around the note's key,
from the phases of partials.

A long spectrum gives the frequencies of modes, and with the free partials of short frames the share of a band's noise
that is theirs: noise has peaks too, but low ones, and none that stays.
"""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import scipy

from ...host.arrays import Array, Doubles, Indices
from ...host.model.card import Card, in_deviations
from ...host.model.gesture import MOST_POINTS, NO_MODES, VIBRATO_CENTS, band_energy
from ...host.model.partials import in_bins, orders
from ...host.resynthesis.codes import QUIET_FRAME
from ...host.signal import medoid
from ...host.spectra import ENVELOPE_SECONDS, MOMENT_SECONDS, SILENT_DB, envelope_db
from ...host.units import INAUDIBLE_HZ, midi_to_hz
from ...train.families.partials.data import split_frames
from ..fidelity.floors import frames_of
from ..fidelity.measures import HOP, RINGING_DB_SECOND, SpectralPeaks, course, fall_db_second, spectral_peaks
from ..fidelity.notes import RANGE_DB, RecordedNote, tuned
from .code_fitting import LONGEST_SECONDS, CodeFitter

Steps = npt.NDArray[np.int8]

STEP = HOP // 4  # samples between phases
WINDOW_SECONDS = 0.03  # of the phases: a fifth of a fast vibrato's period
FEWEST_PERIODS, MOST_PERIODS = 5, 40  # in a window: partials apart, and a lobe that holds the vibrato
LOBE_SHARE = 0.75  # of half a lobe: the most that a partial may move; higher ones are not measured
TONAL_SHARE = 0.5  # share of the power up to the highest of them; less is noise without a pitch
LOUD_DB = 15.0  # below the loudest window; softer ones are an attack or the room
MOST_CENTS = 60.0  # of vibrato: more is another note, or a jump between registers
STEADY_CENTS = 0.5  # standard deviation: less is no movement
FEWEST_PITCHED = 8  # moments with a pitch
# Fine grid at onset and release, then ever coarser: later details of 10 ms are inaudible.
LEVELS = (0, 2, 4, 6, 8, 10, 13, 16, 20, 25, 32, 40, 50, 64, 80, 100, 128, 160, 200, 250, 320, 400, 500, 640, 800)
LEVELS_MS = (*LEVELS, 1000, 1280, 1600, 2000, 2560)
CODES_MS = (0, 20, 40, 70, 100, 150, 200, 300, 450, 700, 1000, 1500, 2200)
RELEASE_LEVELS_MS = (0, 10, 20, 30, 45, 60, 80, 100, 130, 170, 220, 300, 400, 550, 750, 1000)
RELEASE_CODES_MS = (0, 50, 100, 200, 400)
LEVELS_AT, CODES_AT, RELEASE_LEVELS_AT, RELEASE_CODES_AT = (
    np.array(grid) / 1000 for grid in (LEVELS_MS, CODES_MS, RELEASE_LEVELS_MS, RELEASE_CODES_MS)
)
SHARP_SECONDS = 0.02  # up to here levels are those of 10 ms windows, later ones means around each moment
RINGS_DB = -30.0  # relative to the maximum, at release: a softer note rang out, if nobody says that it was released
SHORTEST_RELEASE = 0.08  # seconds: a shorter recording says nothing about the release
STEEPEST_DB_SECOND = 300.0  # limit for extrapolated releases
STEADY = (0.5, 0.9)  # the part of a held note that continues under a longer key: ends before the player stops
SILENT_LEVEL = 1e-6  # of full scale: a note with a softer loudest frame has no codes
STEADY_SECONDS = 0.25  # shortest steady part to measure wander
SMOOTH_SECONDS = 0.046  # smoothing of power for wander: two periods of the lowest bass, which are not wander


def vibrato_of(note: RecordedNote, rate: int) -> Steps:
    """Return the movement of a note's pitch while held, in steps of `VIBRATO_CENTS`, one each `HOP` samples.

    It is 0 in the median. Moments without a pitch have that of the nearest ones. Empty without movement.
    """
    tuned_note = tuned(note, rate)
    held_samples = min(round(min(tuned_note.held_seconds, LONGEST_SECONDS) * rate), (MOST_POINTS - 1) * HOP)
    cents, is_pitched = _pitches(tuned_note.sound[:held_samples].astype(np.float64), midi_to_hz(note.single.key), rate)
    if is_pitched.sum() < FEWEST_PITCHED:
        return np.zeros(0, np.int8)
    cents = cents - np.median(cents[is_pitched])
    is_pitched &= np.abs(cents) < MOST_CENTS
    moment_indices = np.arange(len(cents))
    # The filter removes single slips.
    cents = scipy.ndimage.median_filter(np.interp(moment_indices, moment_indices[is_pitched], cents[is_pitched]), 3)
    if cents.std() < STEADY_CENTS:
        return np.zeros(0, np.int8)
    steps: Steps = np.round(cents / VIBRATO_CENTS).astype(np.int8)
    return steps


def _pitches(sound: Doubles, hertz: float, rate: int) -> tuple[Doubles, npt.NDArray[np.bool_]]:
    """Return cents off a pitch at multiples of `HOP`, and a mask of pitched moments, [moments] both.

    Each partial's phase turns by its frequency; means weight squares of amplitudes. Constant offsets, as of stiff
    strings, do not count.
    """
    window_size = round(np.clip(WINDOW_SECONDS, FEWEST_PERIODS / hertz, MOST_PERIODS / hertz) * rate)
    highest_hz = LOBE_SHARE * 2 * rate / window_size / (2 ** (MOST_CENTS / 1200) - 1)
    partial_numbers = np.arange(1, 1 + max(1, int(highest_hz / hertz)))
    sample_offsets = np.arange(window_size) - window_size // 2
    window = np.hanning(window_size)
    padded = np.pad(sound, (window_size // 2, window_size))
    short_frames = np.lib.stride_tricks.sliding_window_view(padded, window_size)[: len(sound) + 1 : STEP]
    phasors = short_frames @ (window[:, np.newaxis] * _turns(sample_offsets, hertz * partial_numbers / rate))
    phasors *= _turns(np.arange(len(short_frames)) * STEP, hertz * partial_numbers / rate)
    power_spectra = np.square(np.abs(np.fft.rfft(short_frames * window)))[
        :, : round((partial_numbers[-1] + 0.5) * hertz * window_size / rate)
    ]
    window_power = 2 * power_spectra.sum(1) / window_size
    phase_steps = phasors[1:] * phasors[:-1].conj()
    phase_steps *= np.exp(-1j * np.angle(phase_steps.sum(0)))
    weights = np.abs(phase_steps) * partial_numbers
    relative_offsets = np.angle(phase_steps) / (2 * np.pi * hertz * STEP / rate)
    kernel = np.ones(HOP // STEP)
    mean_offsets = np.convolve((weights * relative_offsets).sum(1), kernel) / np.maximum(
        np.convolve((weights * partial_numbers).sum(1), kernel), 1e-30
    )
    tonal_power = 2 * np.square(np.abs(phasors)).sum(1) * np.square(window).sum() / np.square(window.sum())
    is_pitched = (tonal_power > TONAL_SHARE * window_power) & (
        window_power > window_power.max() * 10 ** (-LOUD_DB / 10)
    )
    # Windows at the ends are not full.
    is_pitched[: window_size // 2 // STEP] = is_pitched[(len(sound) - window_size // 2) // STEP :] = False
    moment_slice = slice(HOP // STEP // 2 - 1, None, HOP // STEP)
    cents = 1200 * np.log2(np.maximum(1 + mean_offsets[moment_slice], 0.5))
    return cents[: len(is_pitched[:: HOP // STEP])], is_pitched[:: HOP // STEP][: len(cents)]


def _turns(times: npt.NDArray[np.intp], frequencies: Doubles) -> npt.NDArray[np.complex128]:
    """Return phasors that turn back by frequencies, in cycles a sample, [times, frequencies]."""
    turns: npt.NDArray[np.complex128] = np.exp(-2j * np.pi * np.outer(times, frequencies))
    return turns


class NoteTrajectory(NamedTuple):
    """A note's levels, and the frames to encode under ``condition``.

    Attributes:
        levels: in dB relative to the maximum, [LEVELS_AT].
        course: while held, smooth, `MOMENT_SECONDS` apart.
        fall: in dB a second, after ``levels``.
        fading: ``levels`` and ``fall`` if the held note goes on fading, as a struck one does.
        release_levels: in dB relative to the release, [RELEASE_LEVELS_AT]; None if the note rang out or was cut off.
        frames: [points, frame_length]: the note's own, the first ``held_points`` of `CODES_AT`, and the first of
            `RELEASE_CODES_AT`.
        steady_levels: in dB, a millisecond apart.
        steady_frames: [frames, frame_length], ``frame_seconds`` apart.
        image: of a stereo corpus's notes, as in `image_curves`.
    """

    note: RecordedNote
    condition: float
    levels: Doubles
    course: Doubles
    fall: float
    fading: tuple[Doubles, float]
    release_levels: Doubles | None
    frames: Array
    held_points: int
    steady_levels: Doubles
    steady_frames: Array
    frame_seconds: float
    image: Doubles | None = None


class NoteCodes(NamedTuple):
    """A note's own code, [n_latents], and offsets from it at `CODES_AT` and `RELEASE_CODES_AT`, [times, n_latents]."""

    code: Doubles
    held_offsets: Doubles
    release_offsets: Doubles | None


def measured_trajectory(note: RecordedNote, coder: CodeFitter) -> NoteTrajectory | None:
    """Measure a note at the model's sample rate; None if it is silent."""
    card = coder.card
    resampled_sound, speed_ratio = coder.resample_note(note.sound, note.single)
    condition = coder.condition(note.single)
    frame_seconds = card.hop_length / card.sample_rate * speed_ratio
    frame_times = np.arange(0.0, max(len(note.sound) / card.sample_rate, frame_seconds), frame_seconds)
    frames = _frames(resampled_sound, frame_times / speed_ratio, card)
    frame_levels = frames.std(axis=1)
    is_sounding = frame_levels >= QUIET_FRAME * frame_levels.max()
    if frame_levels.max() < SILENT_LEVEL:
        return None
    levels = _levels(note, card.sample_rate)
    release_index = min(len(levels) - 1, round(note.held_seconds / MOMENT_SECONDS))
    held_frames = np.flatnonzero(
        is_sounding & ((frame_times <= note.held_seconds) | (frame_times == frame_times[is_sounding][0]))
    )
    held_codes = coder.encoded(frames[held_frames], np.full(len(held_frames), condition)).astype(np.float64)
    has_rung_out = levels[release_index] <= (RINGS_DB if note.single.clip.held_seconds is None else -RANGE_DB)
    decay_db_second = _fall(levels[: release_index + 1])
    fall = decay_db_second if has_rung_out else 0.0
    is_released = not has_rung_out and (len(levels) - 1 - release_index) * MOMENT_SECONDS >= SHORTEST_RELEASE
    held_code_times = CODES_AT[(note.held_seconds > CODES_AT) | (CODES_AT == 0)]
    release_code_times = (
        note.held_seconds + RELEASE_CODES_AT[frame_times[is_sounding][-1] - note.held_seconds >= RELEASE_CODES_AT]
    )
    code_times = np.concatenate([held_code_times, release_code_times if is_released else release_code_times[:0]])
    is_steady = _steady_mask(np.arange(len(levels), dtype=np.float64) * MOMENT_SECONDS, note.held_seconds)
    return NoteTrajectory(
        note=note,
        condition=condition,
        levels=_held_levels(levels[: release_index + 1], fall),
        course=(held_course := _smooth(levels[: release_index + 1])),
        fall=fall,
        fading=(_held_levels(levels[: release_index + 1], decay_db_second), decay_db_second),
        release_levels=_release_levels(levels[release_index:], float(held_course[-1])) if is_released else None,
        frames=np.concatenate(
            [
                frames[held_frames[medoid(held_codes * in_deviations(card))]][np.newaxis],
                _frames(resampled_sound, code_times / speed_ratio, card),
            ]
        ),
        held_points=len(held_code_times),
        steady_levels=_smooth(levels)[is_steady],
        steady_frames=frames[is_sounding & _steady_mask(frame_times, note.held_seconds)],
        frame_seconds=frame_seconds,
    )


def codes_of(course: NoteTrajectory, codes: Doubles) -> NoteCodes:
    """Build a note's codes from its frames' codes, [points, n_latents].

    Beyond the recording, a held note has its own code, a release its last.
    """
    code, held_codes, recorded_release = codes[0], codes[1 : 1 + course.held_points], codes[1 + course.held_points :]
    held_padding = np.broadcast_to(code, (len(CODES_AT) - len(held_codes), len(code)))
    release_offsets = None
    if course.release_levels is not None:
        release_codes = recorded_release if len(recorded_release) else held_codes[-1:]
        release_padding = np.broadcast_to(release_codes[-1], (len(RELEASE_CODES_AT) - len(release_codes), len(code)))
        release_offsets = np.concatenate([release_codes, release_padding]) - code
    return NoteCodes(code, np.concatenate([held_codes, held_padding]) - code, release_offsets)


def _frames(sound: Array, middle_seconds: Doubles, card: Card) -> Array:
    """Cut frames around moments in seconds, [moments, frame_length]."""
    half_length = card.frame_length // 2
    padded = np.pad(sound, (half_length, card.frame_length))
    starts = np.clip(np.round(middle_seconds * card.sample_rate).astype(np.int64), 0, len(sound))
    frames: Array = np.lib.stride_tricks.sliding_window_view(padded, card.frame_length)[starts]
    return frames


def _levels(note: RecordedNote, rate: int) -> Doubles:
    """Return a note's levels in dB relative to the loudest, `MOMENT_SECONDS` apart."""
    highpassed_sound = scipy.signal.sosfilt(
        scipy.signal.butter(2, INAUDIBLE_HZ, "highpass", fs=rate, output="sos"), note.sound
    )
    levels = envelope_db(highpassed_sound[np.newaxis].astype(np.float32), rate)[0].astype(np.float64)
    relative_levels: Doubles = np.maximum(levels - levels.max(), SILENT_DB)
    return relative_levels


def _held_levels(levels: Doubles, fall: float) -> Doubles:
    """Return levels at `LEVELS_AT`; beyond the recording the steady level, or a fall."""
    end_seconds = (len(levels) - 1) * MOMENT_SECONDS
    steady_start, steady_end = (round(share * (len(levels) - 1)) for share in STEADY)
    steady_level = _decibels(levels[steady_start : steady_end + 1])
    later_levels = levels[-1] - fall * (LEVELS_AT - end_seconds) if fall else np.full(len(LEVELS_AT), steady_level)
    held_levels: Doubles = np.where(end_seconds >= LEVELS_AT, _means(levels, LEVELS_AT), later_levels)
    return held_levels


def _release_levels(levels: Doubles, held_level: float) -> Doubles:
    """Return levels at `RELEASE_LEVELS_AT` relative to the one held before, from 0 down, and beyond the recording.

    The powers that never rise and are nearest to the recorded ones (isotonic regression) are a release without its
    beats and its room's noise. The first level is 0, or the sound would click. Windows at the recording's end are not
    full.
    """
    full_levels = levels[: len(levels) - round(ENVELOPE_SECONDS / MOMENT_SECONDS)]
    end_seconds = (len(full_levels) - 1) * MOMENT_SECONDS
    falling_power = scipy.optimize.isotonic_regression(10 ** (full_levels / 10), increasing=False).x
    falling_levels = 10 * np.log10(falling_power) - held_level
    slope_db_second = min(max(-falling_levels[-1] / end_seconds, 1.0), STEEPEST_DB_SECOND)
    later_levels = falling_levels[-1] - slope_db_second * (RELEASE_LEVELS_AT - end_seconds)
    release_levels: Doubles = np.where(
        end_seconds >= RELEASE_LEVELS_AT, _means(falling_levels, RELEASE_LEVELS_AT), later_levels
    )
    release_levels[0] = 0.0
    return np.minimum.accumulate(np.minimum(release_levels, 0.0))


def _means(levels: Doubles, moments: Doubles) -> Doubles:
    """Return the mean power around moments in seconds, up to halfway between them, in dB."""
    cumulative_power = np.concatenate([[0.0], np.cumsum(10 ** (levels / 10))])
    midpoints = (moments[1:] + moments[:-1]) / 2
    begin_seconds, end_seconds = (np.concatenate(edges) for edges in (([0.0], midpoints), (midpoints, moments[-1:])))
    begin_indices, end_indices = (
        np.clip(np.round(edge_seconds / MOMENT_SECONDS).astype(int), 0, len(levels))
        for edge_seconds in (begin_seconds, end_seconds)
    )
    moment_indices = np.clip(np.round(moments / MOMENT_SECONDS).astype(int), 0, len(levels) - 1)
    is_wide = (moments > SHARP_SECONDS) & (end_indices > begin_indices)
    mean_power = (cumulative_power[end_indices] - cumulative_power[begin_indices]) / np.maximum(
        end_indices - begin_indices, 1
    )
    means: Doubles = np.where(is_wide, 10 * np.log10(np.maximum(mean_power, 1e-20)), levels[moment_indices])
    return means


def _fall(levels: Doubles) -> float:
    """Return how fast the second half of levels falls, in dB a second."""
    second_half = levels[len(levels) // 2 :]
    centred_steps = np.arange(len(second_half)) - (len(second_half) - 1) / 2
    return max(
        0.0, float(-(centred_steps @ second_half) / max(float(centred_steps @ centred_steps), 1.0)) / MOMENT_SECONDS
    )


def _smooth(levels: Doubles) -> Doubles:
    """Smooth the power of levels over `SMOOTH_SECONDS`."""
    width_steps = round(SMOOTH_SECONDS / MOMENT_SECONDS)
    power = scipy.ndimage.uniform_filter1d(10 ** (levels / 10), width_steps, mode="nearest", origin=width_steps % 2 - 1)
    smooth: Doubles = 10 * np.log10(np.maximum(power, 1e-20))
    return smooth


def _steady_mask(seconds: Doubles, duration: float) -> npt.NDArray[np.bool_]:
    """Return the mask of moments in the steady part of a note."""
    is_steady: npt.NDArray[np.bool_] = (seconds >= STEADY[0] * duration) & (seconds <= STEADY[1] * duration)
    return is_steady


def _decibels(levels: Doubles) -> float:
    """Return the level of the mean power of levels."""
    return float(10 * np.log10(np.mean(10 ** (levels / 10))))


MOST_MODES = 40  # modes of a note
STRUCK_SHARE = 0.2  # of a held note: a struck one is loudest before
LOBE_BINS, SAME_BINS = 2.5, 1.0  # bins of a frame: a peak so near to a harmonic is heard as that, and as that alone
BESIDE_BINS = 1.5  # bins of a frame on either side of a mode that hold its energy
NEAR_SHARE = 0.15  # of the fundamental, from a harmonic
APART_BINS = 2.0  # bins of a frame between a mode and its free partials
STEADY_SHARE = 0.2  # least share of a band's noise for a mode without a harmonic
IN_TUNE_CENTS = 0.5  # a harmonic so near to its place stays
FREE_CENTS = 20.0  # from the nearest harmonic
FRAMES = 32  # short frames of a note


class NoteModes(NamedTuple):
    """A note's modes.

    Attributes:
        modes: as in `NoteWay`, [modes, 3].
        free: share of its partials' power that is far off harmonics.
        struck: whether it is loudest in its first fifth, and fades.
    """

    modes: Doubles = NO_MODES
    free: float = 0.0
    struck: bool = False


def modes_of(note: RecordedNote, card: Card) -> NoteModes:
    """Return the modes of a note at the card's rate; none unless it is struck."""
    layout, rate = card.partials, card.sample_rate
    sound, keys = tuned(note, rate).sound[: round(note.held_seconds * rate)], np.array([note.single.key])
    if layout is None or frames_of(card) is None or len(sound) < card.frame_length:
        return NoteModes()
    note_course = course(sound, rate)
    if fall_db_second(note_course, rate) < RINGING_DB_SECOND or note_course.levels.argmax() > STRUCK_SHARE * len(
        note_course.levels
    ):
        return NoteModes()
    peaks = spectral_peaks(sound, rate)
    peak_bins = peaks.hertz * card.frame_length / rate
    fundamental_bin, comb_bins = in_bins(keys, card)[0], (in_bins(keys, card) * orders(layout, keys))[0]
    harmonics = _harmonics(peak_bins, peaks.clear, comb_bins)
    harmonic_bins = comb_bins[np.maximum(harmonics, 1) - 1]
    free_shares, noise_shares = (
        _free_shares(sound, keys[0], peak_bins, card),
        _shares(peaks, peak_bins, harmonic_bins[harmonics > 0], card),
    )
    noise_shares = np.maximum(free_shares, noise_shares)
    noise_shares[
        (noise_shares < STEADY_SHARE) | ((harmonics > 0) & (np.abs(peak_bins - harmonic_bins) < SAME_BINS))
    ] = 0.0
    is_mistuned = np.abs(1200 * np.log2(peak_bins / harmonic_bins)) >= IN_TUNE_CENTS
    mode_peak_indices = np.flatnonzero((noise_shares > 0) | ((harmonics > 0) & is_mistuned))[:MOST_MODES]
    nearest_bins = comb_bins[np.abs(comb_bins - peak_bins[:, np.newaxis]).argmin(1)]
    is_free, peak_power = np.abs(1200 * np.log2(peak_bins / nearest_bins)) > FREE_CENTS, 10 ** (peaks.levels / 10)
    modes = np.stack(
        [peak_bins[mode_peak_indices] / fundamental_bin, harmonics[mode_peak_indices], noise_shares[mode_peak_indices]],
        axis=1,
    )
    return NoteModes(modes, float(peak_power[is_free].sum() / peak_power.sum()), struck=True)


def _harmonics(peak_bins: Doubles, is_clear: npt.NDArray[np.bool_], comb_bins: Doubles) -> Indices:
    """Return the harmonic, counted from 1, that each peak is decoded as, or 0, [peaks]; ``comb_bins``: all harmonics.

    A peak in a harmonic's lobe comes first. The next one is that harmonic at lower keys, where lobes are wider.
    """
    harmonics = np.zeros(len(peak_bins), np.intp)
    distances = np.abs(comb_bins - peak_bins[:, np.newaxis])
    nearest_indices = distances.argmin(1)
    for reach_bins in (LOBE_BINS, max(LOBE_BINS, NEAR_SHARE * comb_bins[0])):
        for peak_index in np.flatnonzero(is_clear & (harmonics == 0) & (distances.min(1) <= reach_bins)).tolist():
            if nearest_indices[peak_index] + 1 not in harmonics:
                harmonics[peak_index] = nearest_indices[peak_index] + 1
    return harmonics


def _free_shares(sound: Array, key: int, peak_bins: Doubles, card: Card) -> Doubles:
    """Return the share of free partials at each peak in the noise of its band, [peaks]."""
    frame_settings = frames_of(card)
    assert frame_settings is not None
    loudest_start = min(int(np.abs(sound).argmax()), len(sound) - card.frame_length)
    short_frames = np.lib.stride_tricks.sliding_window_view(sound[loudest_start:], card.frame_length)[
        :: card.hop_length
    ][:FRAMES]
    partials, layout, levels = split_frames(short_frames, np.full(len(short_frames), float(key)), frame_settings)
    frame_powers = np.square(short_frames.std(axis=1, dtype=np.float64))[:, np.newaxis]
    partial_bins, strengths = layout.free(partials)
    power = np.square(strengths, dtype=np.float64) * frame_powers
    band_noise = (10 ** (levels[:, layout.harmonics :] / 10) * frame_powers).sum(0) * band_energy(card)
    nearest_peak_indices = np.abs(partial_bins[:, :, np.newaxis] - peak_bins).argmin(2)
    is_beside_peak = np.abs(partial_bins - peak_bins[nearest_peak_indices]) <= APART_BINS
    energy_by_peak = np.bincount(nearest_peak_indices[is_beside_peak], power[is_beside_peak], len(peak_bins))
    shares: Doubles = np.minimum(energy_by_peak / np.maximum(band_noise[_bands(peak_bins, card)], 1e-20), 1.0)
    return shares


def _shares(peaks: SpectralPeaks, peak_bins: Doubles, harmonic_bins: Doubles, card: Card) -> Doubles:
    """Return the share of clear peaks in the long spectrum of their bands, without ``harmonic_bins``, [peaks]."""
    spectrum_bins = np.arange(len(peaks.power)) * peaks.bin_hz * card.frame_length / card.sample_rate
    noise_power = peaks.power.copy()
    for center_bin in harmonic_bins:
        noise_power[np.abs(spectrum_bins - center_bin) <= LOBE_BINS] = 0.0
    band_indices = _bands(spectrum_bins, card)
    band_noise = np.bincount(band_indices, noise_power, band_indices.max() + 1)[_bands(peak_bins, card)]
    peak_energy = np.array(
        [noise_power[np.abs(spectrum_bins - center_bin) <= BESIDE_BINS].sum() for center_bin in peak_bins]
    )
    shares: Doubles = np.where(peaks.clear, np.minimum(peak_energy / np.maximum(band_noise, 1e-20), 1.0), 0.0)
    return shares


def _bands(frequency_bins: Doubles, card: Card) -> Indices:
    """Return the noise band of each frequency in bins."""
    assert card.partials is not None
    band_indices = (
        np.searchsorted(card.partials.edges_hz, frequency_bins * card.sample_rate / card.frame_length, side="right") - 1
    )
    return np.clip(band_indices, 0, card.partials.bands - 1)
