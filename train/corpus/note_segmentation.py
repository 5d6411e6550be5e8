"""Cuts recordings of melodies into notes, also where a note begins while the note before still sounds.

Pitch and loudness find the notes: the likeliest path through keys and silence, whose changes cost (Viterbi 1967). Each
onset is then moved to where the sound without the note before begins to rise, since a slow attack is audible long
before its pitch is. A key that is played again shows as a peak of spectral flux with a rise of level.

The remainder, a sound less itself a period earlier, contains no note of that period (cancellation: De Cheveigné, J.
Acoust. Soc. Am. 93(6), 1993). It rises where the next note begins, even under a louder release. If all partials of the
next note are partials of the note before, nothing remains; their own level must rise.
"""

import itertools
import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from ...host.arrays import Doubles
from ...host.signal import mean_deviation
from ...host.spectra import mel_filters
from ...host.units import midi_to_hz, semitones_to_ratio
from .pitch import HOP, LOWEST_HZ, VOICED, Samples, Sliceable, single_note, windows, yin

HOPS = 8  # of a spectrum, 46 ms: partials of notes from 90 Hz on are apart
PARTIALS = 10  # of a note, which show its onset
APART_BINS = 1.5  # between partials of two notes that a spectrum can tell apart
DRIFT = 0.25  # semitones of vibrato, which the period of the note before follows
LEVEL_HOPS = 2  # of the level of the remainder, 12 ms
SMOOTH = 5  # frames: noise makes single ones quiet
DEEP_DB = 32.0  # below the first peak of a note, nothing of it is heard
ONSET_SHARE = 0.25  # of the rise in dB, where a note begins; noise and vibrato pass a smaller part
ONSET_RISE_DB = 4.0  # least rise of an onset
SUBHARMONICS: tuple[int, ...] = (5, 4, 3, 2)
TESTED_PARTIALS = 15  # of a heard pitch's partials
BELOW_DB = 14.0  # of other partials under those of a subharmonic
PERIOD_SEMITONES = 0.3  # semitones between a note that sounds on and a multiple of the pitch: a common period
SUBHARMONIC_SEMITONES = 8.0  # semitones under the note before: the common period of a third or a wider interval
LOWEST_REMAINDER_HZ = 60.0  # of a remainder's pitch, with two periods in a spectrum's window
PITCHED_REMAINDER_SHARE = 0.5  # share of frames whose remainder must have a pitch


def is_multiple(pitch: float, lower_pitch: float) -> bool:
    """Return whether a note's frequency is a multiple of a lower one's."""
    nearest_multiple = round(semitones_to_ratio(pitch - lower_pitch))
    return nearest_multiple >= 1 and abs(pitch - lower_pitch - 12 * math.log2(nearest_multiple)) < PERIOD_SEMITONES


def spectra(samples: Sliceable, hop: int, first: int, stop: int) -> Samples:
    """Return the magnitudes of the frames from ``first`` to ``stop``, [frames, bins]."""
    window_length = HOPS * hop
    frames = windows(samples, first * hop, stop - first, hop, window_length)
    return np.abs(np.fft.rfft(frames * np.hanning(window_length).astype(np.float32))).astype(np.float32)


def level_of_partials(magnitudes: Samples, rate: int, pitch: float, sounding_pitch: float | None) -> Doubles:
    """Return the level of a note's partials in dB, [frames], of those apart from another note's if there are two."""
    partial_hz = midi_to_hz(pitch) * np.arange(1, PARTIALS + 1)
    partial_hz = partial_hz[partial_hz < 0.45 * rate]
    if sounding_pitch is not None:
        partial_ratios, bin_hz = partial_hz / midi_to_hz(sounding_pitch), rate / (2 * (magnitudes.shape[1] - 1))
        is_resolved = (
            np.abs(partial_ratios - np.round(partial_ratios)) * midi_to_hz(sounding_pitch) > APART_BINS * bin_hz
        )
        partial_hz = partial_hz[is_resolved] if is_resolved.sum() >= 2 else partial_hz
    frame_power = np.square(_peaks(magnitudes, rate, partial_hz)).sum(1)
    levels_db: Doubles = 10 * np.log10(frame_power + 1e-18)
    return levels_db


def level_without(samples: Sliceable, rate: int, hop: int, first: int, stop: int, sounding_pitch: float) -> Doubles:
    """Return the level of the remainder without a note that sounds on, in dB, [frames].

    Each frame's period is the one within `DRIFT` that leaves least.
    """
    window_length, period_samples = LEVEL_HOPS * hop, rate / midi_to_hz(sounding_pitch)
    shortest_lag = max(int(period_samples / semitones_to_ratio(DRIFT)) - 1, 1)
    longest_lag = int(period_samples * semitones_to_ratio(DRIFT)) + 2
    start_sample, end_sample = first * hop - window_length // 2 - longest_lag, (stop - 1) * hop + window_length // 2
    available_samples = samples[max(start_sample, 0) : min(end_sample, len(samples))]
    padded_sound = np.pad(available_samples, (max(-start_sample, 0), max(end_sample - len(samples), 0))).astype(
        np.float64
    )
    lag_powers = np.empty((longest_lag - shortest_lag + 1, stop - first))
    for lag_index, lag in enumerate(range(shortest_lag, longest_lag + 1)):
        remainder = padded_sound[longest_lag:] - padded_sound[longest_lag - lag : len(padded_sound) - lag]
        running_sums = np.cumsum(np.pad(np.square(remainder), (1, 0)))
        lag_powers[lag_index] = running_sums[window_length::hop] - running_sums[:-window_length:hop]
    shorter_power, lag_power, longer_power = lag_powers[:-2], lag_powers[1:-1], lag_powers[2:]
    slope, curve = shorter_power - longer_power, np.maximum(shorter_power - 2 * lag_power + longer_power, 1e-12)
    least_power = np.where(
        (lag_power <= shorter_power) & (lag_power <= longer_power), lag_power - slope**2 / (8 * curve), lag_power
    ).min(0)  # YIN's step 5
    levels_db: Doubles = 10 * np.log10(np.maximum(least_power, 0) / window_length + 1e-12)
    return levels_db


def rise(level: Doubles, begin: int, default_frame: int) -> int:
    """Return the frame where the rise to the first peak from ``begin`` on starts, else ``default_frame``.

    It is the last one near the lowest level before the peak.
    """
    later_levels = level[begin:]
    peak_frame = begin + int(np.argmax(later_levels >= later_levels.max() - 3.0))
    padded_level = np.pad(level, SMOOTH // 2, mode="edge")
    smooth_level = np.convolve(padded_level, np.full(SMOOTH, 1 / SMOOTH), mode="valid")
    lowest_db = max(float(smooth_level[: peak_frame + 1].min()), level[peak_frame] - DEEP_DB)
    rise_db = level[peak_frame] - lowest_db
    low_frames = np.flatnonzero(level[: peak_frame + 1] <= lowest_db + ONSET_SHARE * rise_db)
    return int(low_frames[-1]) + 1 if rise_db >= ONSET_RISE_DB and len(low_frames) else default_frame


def overtone(magnitudes: Samples, rate: int, pitch: float, sounding_pitch: float | None) -> int:
    """Return the number of the partial that is the note's true pitch: 1, or more if ``pitch`` is a subharmonic.

    Partials of another note that still sounds do not count: two notes repeat in a common period.
    """
    partial_numbers, candidate_numbers = np.arange(1, TESTED_PARTIALS + 1), SUBHARMONICS[-1:]
    partial_numbers = partial_numbers[partial_numbers * midi_to_hz(pitch) < 0.45 * rate]
    if sounding_pitch is not None and is_multiple(sounding_pitch, pitch) and sounding_pitch - pitch > PERIOD_SEMITONES:
        partial_numbers = partial_numbers[partial_numbers % round(semitones_to_ratio(sounding_pitch - pitch)) > 0]
        candidate_numbers = SUBHARMONICS
    partial_powers = np.square(_peaks(magnitudes, rate, midi_to_hz(pitch) * partial_numbers)).mean(0)
    for candidate_number in candidate_numbers:
        are_multiples = partial_numbers % candidate_number == 0
        if (
            are_multiples.any()
            and not are_multiples.all()
            and partial_powers[~are_multiples].max() < partial_powers[are_multiples].max() * 10 ** (-BELOW_DB / 10)
        ):
            return candidate_number
    return 1


def pitch_without(
    samples: Sliceable, rate: int, hop: int, first: int, stop: int, pitch: float, sounding_pitch: float
) -> float:
    """Return the remainder's pitch if ``pitch`` may be the two notes' common period, else ``pitch``.

    A common period lies far below the note before, and the remainder's pitch is a multiple of it.
    """
    if sounding_pitch - pitch < SUBHARMONIC_SEMITONES or is_multiple(pitch, sounding_pitch):
        return pitch
    window_length, lag = HOPS * hop, round(rate / midi_to_hz(sounding_pitch))
    longest_lag = min(int(np.ceil(rate / LOWEST_REMAINDER_HZ)) + 1, window_length // 2)
    frames = windows(samples, first * hop + longest_lag // 2, stop - first, hop, window_length + lag)
    frame_notes, depths = yin(frames[:, lag:] - frames[:, :-lag], rate, longest_lag)
    voiced_notes = frame_notes[depths < VOICED]
    if len(voiced_notes) < PITCHED_REMAINDER_SHARE * len(frame_notes):
        return pitch
    remainder_pitch = float(np.median(voiced_notes))
    multiple = round(semitones_to_ratio(remainder_pitch - pitch))
    return remainder_pitch if 1 < multiple <= max(SUBHARMONICS) and is_multiple(remainder_pitch, pitch) else pitch


def _peaks(magnitudes: Samples, rate: int, hertz: npt.NDArray[np.floating[Any]]) -> Doubles:
    """Return the largest magnitude within a bin of each frequency, [frames, frequencies]."""
    bin_count = magnitudes.shape[1]
    centre_bins = np.round(hertz * 2 * (bin_count - 1) / rate).astype(np.intp)
    neighbour_magnitudes = [magnitudes[:, np.clip(centre_bins + offset, 0, bin_count - 1)] for offset in (-1, 0, 1)]
    peak_magnitudes: Doubles = np.max(neighbour_magnitudes, axis=0).astype(np.float64)
    return peak_magnitudes


HOP_SECONDS = 256 / 44100  # between frames; the hop is a power of two, of 5 to 8 ms
WINDOWS = ((8, 60.0), (16, LOWEST_HZ))  # hops and lowest Hz: short for sharp boundaries, long for low notes
PIECE = 1024  # frames analysed at once, 6 s at 44.1 kHz: bounds memory
QUIET_DB = 45.0  # below the recording's loudest moment: no note
KEYS = np.arange(28, 109)  # E1 to C8
TOLERANCE = 0.3  # semitones: deviation of a frame's pitch from its key, as of vibrato
LARGEST_KEY_COST = 6.0  # most that one frame counts against a key
UNPITCHED_KEY_COST, PITCHED_SILENCE_COST = 1.5, 3.0  # of a key in an unpitched frame, of silence in a pitched one
VIBRATO_FRAMES = 31  # frames of a cycle of vibrato, which is no tuning
KEY_CHANGE_COST = 9.0  # cost of a change of key: some 15 ms of clear pitch
SHORTEST_FRAMES = 12  # frames of a note, 70 ms
SLIP_DEPTH, SLIP_FRAMES = 0.12, 18  # fewer frames with larger depths are a slip, such as an octave at an attack
FRAMES_BEFORE, FRAMES_AFTER = 36, 26  # frames around a change of pitch that are searched for the onset
RELEASE_FRAMES = 60  # frames after another note: its release still sounds
RISE_DB, FALL_DB = 4.0, 2.0  # least rise and least fall before it where a key is struck again
GAP_DB = 10.0  # a fall and a rise that large are two notes, though the second begins softly
TONGUED_FLUX_DB = 2.5  # an attack, where fingers or the pitch moved before
MULTIPLES = tuple(12 * math.log2(number) for number in (3, 4, 5))  # semitones; melodies rarely leap so far
ATTACK_FRAMES = 25  # frames of an attack, 150 ms, which may have a subharmonic's pitch, as a bow's
PEAK_FRAMES = 16  # frames from an attack to its loudest moment, 90 ms
STRIKE_FRAMES = 14  # frames between attacks of one key, 80 ms
EARLY_SECONDS = 0.010  # by which the flux peaks after an onset
FLUX, SOFT_FLUX = 0.6, 0.4  # of the median note's: an attack of the same key, and one after a gap
LEAST_FLUX = 2.5  # dB: vibrato, tremolo and beats stay below six tenths of it
SLURRED_DB = 12.0  # a note follows without a gap if the level between is never so far below the softer of both
ENDED_DB = 50.0  # below its loudest moment, a note has died away
BANDS = 80  # of the flux
HEARD_SECONDS = 60.0  # of a recording: enough to recognise a melody
FEWEST_NOTES = 3  # notes of a melody
PITCHED_SHARE = 0.5  # of its frames; a room answers between staccato notes
IN_TUNE_SEMITONES, STEADY_SHARE = 0.3, 0.7  # the share of pitched frames so near to their note: a glide has .6


@dataclass(frozen=True)
class NoteSegment:
    """A note of a recording, from sample ``start`` to ``stop``.

    ``pitch`` is a MIDI note with fractions. ``slurred`` notes follow another without a gap.
    """

    start: int
    stop: int
    pitch: float
    slurred: bool


@dataclass
class _Frames:
    """Measures of each frame: pitch in MIDI notes, depth of YIN's dip, level and spectral flux in dB, [frames]."""

    hop: int
    pitch: Doubles
    depth: Doubles
    level: Doubles
    flux: Doubles


@dataclass
class _Note:
    first: int
    last: int
    pitch: float
    follows: bool  # without a gap


def segment_notes(samples: Sliceable, rate: int) -> list[NoteSegment]:
    """Return the notes of a mono recording, in order; none if nothing in it has a pitch.

    Of two notes at once, one is found.
    """
    from scipy.ndimage import median_filter  # lazy: most trainings cut no notes, and it takes 0.3 s

    frame_measures = _measure_frames(samples, rate)
    is_voiced = (frame_measures.depth < VOICED) & (frame_measures.level > frame_measures.level.max() - QUIET_DB)
    if not is_voiced.any():
        return []
    tuning_semitones, _ = mean_deviation(median_filter(frame_measures.pitch[is_voiced], VIBRATO_FRAMES))
    pitch_weights = np.where(is_voiced, np.sqrt(np.clip(1 - frame_measures.depth / VOICED, 0, 1)), 0.0)
    key_path = _key_path(np.where(is_voiced, frame_measures.pitch - tuning_semitones, 0.0), pitch_weights)
    notes = _place_notes(samples, rate, frame_measures, _runs(key_path, frame_measures), is_voiced)
    struck_notes = _split_strikes(notes, frame_measures, rate)
    return _segments(struck_notes, frame_measures, len(samples))


def is_melody(samples: Sliceable, track: Samples, rate: int) -> bool:
    """Return whether a recording, with its `pitch_track`, is a row of notes of different pitches."""
    if single_note(track) is not None:
        return False
    heard_track = track[: int(HEARD_SECONDS * rate) // HOP]
    if np.isfinite(heard_track).sum() < PITCHED_SHARE * len(heard_track):
        return False
    notes = segment_notes(samples[: len(heard_track) * HOP], rate)
    note_deviations = [heard_track[note.start // HOP : note.stop // HOP + 1] - note.pitch for note in notes]
    semitones_off = (
        np.abs(np.concatenate([deviation[np.isfinite(deviation)] for deviation in note_deviations]))
        if note_deviations
        else np.zeros(0)
    )
    return len(notes) >= FEWEST_NOTES and bool(
        np.sum(semitones_off < IN_TUNE_SEMITONES) >= STEADY_SHARE * np.isfinite(heard_track).sum()
    )


def _hop(rate: int) -> int:
    """Return the samples between frames."""
    return 1 << round(math.log2(HOP_SECONDS * rate))


def _measure_frames(samples: Sliceable, rate: int) -> _Frames:
    hop = _hop(rate)
    frame_count = -(-len(samples) // hop)
    pitch, depth = np.zeros(frame_count), np.full(frame_count, np.inf)
    levels_db, band_levels_db = np.empty(frame_count), np.empty((BANDS, frame_count), np.float32)
    band_filters = mel_filters(rate, 4 * hop, BANDS)
    for first_frame in range(0, frame_count, PIECE):
        frame_range = slice(first_frame, min(first_frame + PIECE, frame_count))
        piece_frames = frame_range.stop - first_frame
        for window_hops, lowest_hz in WINDOWS:
            window_length = window_hops * hop
            longest_lag = min(int(np.ceil(rate / lowest_hz)) + 1, window_length // 2)
            frames = windows(samples, first_frame * hop + longest_lag // 2, piece_frames, hop, window_length)
            notes, depths = yin(frames, rate, longest_lag)
            is_unpitched = depth[frame_range] >= VOICED
            pitch[frame_range] = np.where(is_unpitched, notes, pitch[frame_range])
            depth[frame_range] = np.where(is_unpitched, depths, depth[frame_range])
        frames = windows(samples, first_frame * hop, piece_frames, hop, 4 * hop)
        levels_db[frame_range] = 10 * np.log10(np.mean(frames[:, hop : 3 * hop] ** 2, axis=1) + 1e-12)
        power = np.square(np.abs(np.fft.rfft(frames * np.hanning(4 * hop).astype(np.float32))))
        band_levels_db[:, frame_range] = 10 * np.log10(np.maximum(band_filters @ power.T, 1e-10))
    return _Frames(hop, pitch, depth, levels_db, _flux(np.maximum(band_levels_db, band_levels_db.max() - 80)))


def _flux(band_levels_db: Samples) -> Doubles:
    """Return the spectral flux of levels, [bands, frames], in dB."""
    import librosa

    flux = librosa.onset.onset_strength(S=band_levels_db, lag=3, max_size=3, center=False)
    return np.asarray(flux, np.float64)


def _key_path(pitch: Doubles, weights: Doubles) -> npt.NDArray[np.intp]:
    """Return the likeliest key of each frame, -1 for silence, [frames]; ``weights`` of its pitch are 0 to 1."""
    state_count = len(KEYS) + 1
    back_pointers = np.empty((len(pitch), state_count), np.int16)
    costs, state_indices = np.zeros(state_count), np.arange(state_count)
    for frame, (note, weight) in enumerate(zip(pitch.tolist(), weights.tolist(), strict=True)):
        # A change costs the same from any state, so only the cheapest one competes with staying.
        best_state = int(costs.argmin())
        is_staying = costs <= costs[best_state] + KEY_CHANGE_COST
        back_pointers[frame] = np.where(is_staying, state_indices, best_state)
        costs = np.where(is_staying, costs, costs[best_state] + KEY_CHANGE_COST)
        costs[:-1] += (
            weight * np.minimum(np.square((note - KEYS) / TOLERANCE) / 2, LARGEST_KEY_COST)
            + (1 - weight) * UNPITCHED_KEY_COST
        )
        costs[-1] += weight * PITCHED_SILENCE_COST
    path = np.empty(len(pitch), np.intp)
    state = int(costs.argmin())
    for frame in reversed(range(len(pitch))):
        path[frame] = state
        state = back_pointers[frame, state]
    return np.where(path == len(KEYS), -1, path + KEYS[0])


def _runs(path: npt.NDArray[np.intp], frames: _Frames) -> list[tuple[int, int, int]]:
    """Return (first, last, key) of each note in a path, without slips."""
    run_bounds = [0, *(np.flatnonzero(np.diff(path)) + 1).tolist(), len(path)]
    runs: list[tuple[int, int, int]] = []
    for first, last in itertools.pairwise(run_bounds):
        key, frame_count = int(path[first]), last - first
        is_slip = frame_count < SLIP_FRAMES and np.median(frames.depth[first:last]) > SLIP_DEPTH
        if key < 0 or frame_count < SHORTEST_FRAMES or is_slip:
            continue
        if runs and runs[-1][2] == key and first - runs[-1][1] < SLIP_FRAMES:
            gap_levels = frames.level[runs[-1][1] - 1 : first + 1]
            if gap_levels.min() > gap_levels[0] - 6.0:  # a slip within one note
                runs[-1] = runs[-1][0], last, key
                continue
        if runs and _is_attack(runs[-1], first, key):
            first = runs.pop()[0]
        runs.append((first, last, key))
    return runs


def _is_attack(run: tuple[int, int, int], first: int, key: int) -> bool:
    """Return whether a run is the attack of the note of ``key`` from ``first`` on, with a subharmonic's pitch."""
    run_first, run_last, run_key = run
    is_brief, is_joined = run_last - run_first < ATTACK_FRAMES, first - run_last <= STRIKE_FRAMES
    return is_brief and is_joined and any(abs(key - run_key - interval) < 0.5 for interval in MULTIPLES)


def _place_notes(
    samples: Sliceable,
    rate: int,
    frames: _Frames,
    runs: list[tuple[int, int, int]],
    is_voiced: npt.NDArray[np.bool_],
) -> list[_Note]:
    """Return the notes of runs from their onsets on; a run that only repeats the note before joins it."""
    notes: list[_Note] = []
    for index, (first_frame, last_frame, key) in enumerate(runs):
        voiced_pitch = frames.pitch[first_frame:last_frame][is_voiced[first_frame:last_frame]]
        voiced_pitch = voiced_pitch[np.abs(voiced_pitch - key) < 1]  # without the attack's
        pitch = float(np.median(voiced_pitch)) if len(voiced_pitch) else float(key)
        previous_run = runs[index - 1] if index else None
        is_previous_sounding = previous_run is not None and first_frame - previous_run[1] < RELEASE_FRAMES
        earliest_frame = min(
            first_frame, max(0, first_frame - FRAMES_BEFORE, notes[-1].first + SHORTEST_FRAMES - 1 if notes else 0)
        )
        stop_frame = min(first_frame + FRAMES_AFTER, last_frame)
        magnitudes = spectra(samples, frames.hop, earliest_frame, stop_frame)
        sounding_pitch = notes[-1].pitch if is_previous_sounding and notes else None
        pitch += 12 * math.log2(overtone(magnitudes[first_frame - earliest_frame :], rate, pitch, sounding_pitch))
        if sounding_pitch is not None:
            pitch = pitch_without(samples, rate, frames.hop, first_frame, stop_frame, pitch, sounding_pitch)
        if sounding_pitch is None or is_multiple(pitch, sounding_pitch):
            levels_db = level_of_partials(magnitudes, rate, pitch, sounding_pitch)
        else:
            levels_db = level_without(samples, rate, frames.hop, earliest_frame, stop_frame, sounding_pitch)
        onset_frame = earliest_frame + rise(
            levels_db, max(first_frame - earliest_frame - 4, 0), first_frame - earliest_frame
        )
        onset_frame = _tongued_onset(frames, onset_frame, first_frame)
        is_joined = previous_run is not None and bool(notes) and first_frame - previous_run[1] <= 2
        is_following = is_joined and _is_slurred(frames.level, notes[-1].first, onset_frame, last_frame)
        if is_following and abs(pitch - notes[-1].pitch) < 0.5:  # one note, half of it heard an octave low
            notes[-1].last = last_frame
            continue
        if notes and onset_frame > notes[-1].first:
            notes[-1].last = min(notes[-1].last, onset_frame)
        notes.append(_Note(onset_frame, last_frame, pitch, is_following))
    return notes


def _tongued_onset(frames: _Frames, onset: int, first: int) -> int:
    """Return the lowest point between an onset and an attack after the change of pitch at ``first``, else the onset.

    Fingers move before the tongue: the pitch changes in the last moments of the note before.
    """
    levels_db = frames.level[onset : first + STRIKE_FRAMES]
    if not len(levels_db):
        return onset
    lowest_offset = int(levels_db.argmin())
    attack_frames = slice(onset + lowest_offset, onset + lowest_offset + PEAK_FRAMES)
    fall_db, rise_db = (
        levels_db[: lowest_offset + 1].max() - levels_db[lowest_offset],
        frames.level[attack_frames].max() - levels_db[lowest_offset],
    )
    is_attacked = min(fall_db, rise_db) >= GAP_DB and frames.flux[attack_frames].max() >= TONGUED_FLUX_DB
    return onset + lowest_offset if is_attacked else onset


def _is_slurred(levels_db: Doubles, previous_first: int, onset: int, last: int) -> bool:
    """Return whether the level between two notes stays near that of the softer one."""
    softer_db = min(
        np.median(levels_db[previous_first : max(onset, previous_first + 1)]),
        np.median(levels_db[onset : max(last, onset + 1)]),
    )
    return bool(levels_db[max(previous_first, onset - RELEASE_FRAMES // 2) : onset + 2].min() > softer_db - SLURRED_DB)


def _split_strikes(notes: list[_Note], frames: _Frames, rate: int) -> list[_Note]:
    """Split notes where their key is struck again; drop short ones."""
    if not notes:
        return []
    flux, levels_db = frames.flux, frames.level
    peak_frames = np.flatnonzero((flux[1:-1] > flux[:-2]) & (flux[1:-1] >= flux[2:])) + 1
    median_flux = float(np.median([flux[max(0, note.first - 6) : note.first + 12].max() for note in notes]))
    relative_flux = flux / max(median_flux, LEAST_FLUX)
    early_frames = round(EARLY_SECONDS * rate / frames.hop)
    struck_notes: list[_Note] = []
    for note in notes:
        onset_frames = [note.first]
        for peak_frame in peak_frames[(peak_frames > note.first) & (peak_frames < note.last - 6)].tolist():
            onset_frame = peak_frame - early_frames
            if not _is_strike(levels_db, onset_frames[-1], peak_frame, relative_flux[peak_frame]):
                continue
            if onset_frame - onset_frames[-1] >= STRIKE_FRAMES:
                onset_frames.append(onset_frame)
        end_frames = [*onset_frames[1:], note.last]
        for first_frame, last_frame in zip(onset_frames, end_frames, strict=True):
            struck_notes.append(
                _Note(first_frame, last_frame, note.pitch, note.follows and first_frame == onset_frames[0])
            )
    return [struck_note for struck_note in struck_notes if struck_note.last - struck_note.first >= SHORTEST_FRAMES]


def _is_strike(levels_db: Doubles, begin_frame: int, peak_frame: int, relative_flux: float) -> bool:
    """Return whether a peak of flux, with the fall and rise of level around it, begins a note."""
    levels_to_peak = levels_db[begin_frame : peak_frame + 1]
    trough_offset = len(levels_to_peak[:-9]) + int(levels_to_peak[-9:].argmin())
    # Else it is the second half of one attack.
    fall_db = levels_to_peak[: trough_offset + 1].max() - levels_to_peak[trough_offset]
    rise_db = levels_db[peak_frame : peak_frame + PEAK_FRAMES].max() - levels_to_peak[trough_offset]
    is_struck = relative_flux >= FLUX and fall_db >= FALL_DB and rise_db >= RISE_DB
    return bool(is_struck or (relative_flux >= SOFT_FLUX and min(fall_db, rise_db) >= GAP_DB))


def _segments(notes: list[_Note], frames: _Frames, length: int) -> list[NoteSegment]:
    """Return notes in samples, until they have died away or the next one begins."""
    segments = []
    for note_index, note in enumerate(notes):
        next_note = notes[note_index + 1] if note_index + 1 < len(notes) else None
        latest_frame = len(frames.level) if next_note is None else max(next_note.first, note.first + 1)
        levels_db = frames.level[note.first : latest_frame]
        loudest_offset = int(levels_db.argmax())
        quiet_offsets = np.flatnonzero(levels_db[loudest_offset:] < levels_db[loudest_offset] - ENDED_DB)
        end_frame = note.first + loudest_offset + int(quiet_offsets[0]) if len(quiet_offsets) else latest_frame
        stop_sample = min(min(end_frame, latest_frame) * frames.hop, length)
        segments.append(NoteSegment(note.first * frames.hop, stop_sample, note.pitch, note.follows))
    return segments
