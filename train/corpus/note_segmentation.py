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
    multiple = round(semitones_to_ratio(pitch - lower_pitch))
    return multiple >= 1 and abs(pitch - lower_pitch - 12 * math.log2(multiple)) < PERIOD_SEMITONES


def spectra(samples: Sliceable, hop: int, first: int, stop: int) -> Samples:
    """Return the magnitudes of the frames from ``first`` to ``stop``, [frames, bins]."""
    width = HOPS * hop
    frames = windows(samples, first * hop, stop - first, hop, width)
    magnitudes: Samples = np.abs(np.fft.rfft(frames * np.hanning(width).astype(np.float32))).astype(np.float32)
    return magnitudes


def level_of_partials(magnitudes: Samples, rate: int, pitch: float, sounding_pitch: float | None) -> Doubles:
    """Return the level of a note's partials in dB, [frames], of those apart from another note's if there are two."""
    hertz = midi_to_hz(pitch) * np.arange(1, PARTIALS + 1)
    hertz = hertz[hertz < 0.45 * rate]
    if sounding_pitch is not None:
        ratio, bin_hertz = hertz / midi_to_hz(sounding_pitch), rate / (2 * (magnitudes.shape[1] - 1))
        resolved = np.abs(ratio - np.round(ratio)) * midi_to_hz(sounding_pitch) > APART_BINS * bin_hertz
        hertz = hertz[resolved] if resolved.sum() >= 2 else hertz
    power = np.square(_peaks(magnitudes, rate, hertz)).sum(1)
    level: Doubles = 10 * np.log10(power + 1e-18)
    return level


def level_without(samples: Sliceable, rate: int, hop: int, first: int, stop: int, sounding_pitch: float) -> Doubles:
    """Return the level of the remainder without a note that sounds on, in dB, [frames].

    Each frame's period is the one within `DRIFT` that leaves least.
    """
    width, period = LEVEL_HOPS * hop, rate / midi_to_hz(sounding_pitch)
    shortest = max(int(period / semitones_to_ratio(DRIFT)) - 1, 1)
    longest = int(period * semitones_to_ratio(DRIFT)) + 2
    start, end = first * hop - width // 2 - longest, (stop - 1) * hop + width // 2
    available = samples[max(start, 0) : min(end, len(samples))]
    sound = np.pad(available, (max(-start, 0), max(end - len(samples), 0))).astype(np.float64)
    power = np.empty((longest - shortest + 1, stop - first))
    for index, lag in enumerate(range(shortest, longest + 1)):
        remainder = sound[longest:] - sound[longest - lag : len(sound) - lag]
        running_sums = np.cumsum(np.pad(np.square(remainder), (1, 0)))
        power[index] = running_sums[width::hop] - running_sums[:-width:hop]
    shorter_power, lag_power, longer_power = power[:-2], power[1:-1], power[2:]
    slope, curve = shorter_power - longer_power, np.maximum(shorter_power - 2 * lag_power + longer_power, 1e-12)
    least_power = np.where(
        (lag_power <= shorter_power) & (lag_power <= longer_power), lag_power - slope**2 / (8 * curve), lag_power
    ).min(0)  # YIN's step 5
    level: Doubles = 10 * np.log10(np.maximum(least_power, 0) / width + 1e-12)
    return level


def rise(level: Doubles, begin: int, default_frame: int) -> int:
    """Return the frame where the rise to the first peak from ``begin`` on starts, else ``default_frame``.

    It is the last one near the lowest level before the peak.
    """
    later_levels = level[begin:]
    peak = begin + int(np.argmax(later_levels >= later_levels.max() - 3.0))
    padded_level = np.pad(level, SMOOTH // 2, mode="edge")
    smooth_level = np.convolve(padded_level, np.full(SMOOTH, 1 / SMOOTH), mode="valid")
    lowest_db = max(float(smooth_level[: peak + 1].min()), level[peak] - DEEP_DB)
    rise_db = level[peak] - lowest_db
    low_frames = np.flatnonzero(level[: peak + 1] <= lowest_db + ONSET_SHARE * rise_db)
    return int(low_frames[-1]) + 1 if rise_db >= ONSET_RISE_DB and len(low_frames) else default_frame


def overtone(magnitudes: Samples, rate: int, pitch: float, sounding_pitch: float | None) -> int:
    """Return the number of the partial that is the note's true pitch: 1, or more if ``pitch`` is a subharmonic.

    Partials of another note that still sounds do not count: two notes repeat in a common period.
    """
    numbers, candidates = np.arange(1, TESTED_PARTIALS + 1), SUBHARMONICS[-1:]
    numbers = numbers[numbers * midi_to_hz(pitch) < 0.45 * rate]
    if sounding_pitch is not None and is_multiple(sounding_pitch, pitch) and sounding_pitch - pitch > PERIOD_SEMITONES:
        numbers = numbers[numbers % round(semitones_to_ratio(sounding_pitch - pitch)) > 0]
        candidates = SUBHARMONICS
    power = np.square(_peaks(magnitudes, rate, midi_to_hz(pitch) * numbers)).mean(0)
    for number in candidates:
        multiples = numbers % number == 0
        if (
            multiples.any()
            and not multiples.all()
            and power[~multiples].max() < power[multiples].max() * 10 ** (-BELOW_DB / 10)
        ):
            return number
    return 1


def pitch_without(
    samples: Sliceable, rate: int, hop: int, first: int, stop: int, pitch: float, sounding_pitch: float
) -> float:
    """Return the remainder's pitch if ``pitch`` may be the two notes' common period, else ``pitch``.

    A common period lies far below the note before, and the remainder's pitch is a multiple of it.
    """
    if sounding_pitch - pitch < SUBHARMONIC_SEMITONES or is_multiple(pitch, sounding_pitch):
        return pitch
    width, lag = HOPS * hop, round(rate / midi_to_hz(sounding_pitch))
    longest = min(int(np.ceil(rate / LOWEST_REMAINDER_HZ)) + 1, width // 2)
    frames = windows(samples, first * hop + longest // 2, stop - first, hop, width + lag)
    notes, depths = yin(frames[:, lag:] - frames[:, :-lag], rate, longest)
    voiced_notes = notes[depths < VOICED]
    if len(voiced_notes) < PITCHED_REMAINDER_SHARE * len(notes):
        return pitch
    remainder_pitch = float(np.median(voiced_notes))
    multiple = round(semitones_to_ratio(remainder_pitch - pitch))
    return remainder_pitch if 1 < multiple <= max(SUBHARMONICS) and is_multiple(remainder_pitch, pitch) else pitch


def _peaks(magnitudes: Samples, rate: int, hertz: npt.NDArray[np.floating[Any]]) -> Doubles:
    bins = magnitudes.shape[1]
    centre_bins = np.round(hertz * 2 * (bins - 1) / rate).astype(np.intp)
    neighbours = [magnitudes[:, np.clip(centre_bins + offset, 0, bins - 1)] for offset in (-1, 0, 1)]
    peaks: Doubles = np.max(neighbours, axis=0).astype(np.float64)
    return peaks


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

    frames = _measure_frames(samples, rate)
    voiced = (frames.depth < VOICED) & (frames.level > frames.level.max() - QUIET_DB)
    if not voiced.any():
        return []
    # The mean is circular: a tuning repeats every semitone.
    tuning_phasors = np.exp(2j * np.pi * median_filter(frames.pitch[voiced], VIBRATO_FRAMES))
    tuning = float(np.angle(tuning_phasors.mean()) / (2 * np.pi))  # of the instrument, in semitones
    weights = np.where(voiced, np.sqrt(np.clip(1 - frames.depth / VOICED, 0, 1)), 0.0)
    path = _key_path(np.where(voiced, frames.pitch - tuning, 0.0), weights)
    notes = _place_notes(samples, rate, frames, _runs(path, frames), voiced)
    strikes = _split_strikes(notes, frames, rate)
    return _segments(strikes, frames, len(samples))


def is_melody(samples: Sliceable, track: Samples, rate: int) -> bool:
    """Return whether a recording, with its `pitch_track`, is a row of notes of different pitches."""
    if single_note(track) is not None:
        return False
    beginning = track[: int(HEARD_SECONDS * rate) // HOP]
    if np.isfinite(beginning).sum() < PITCHED_SHARE * len(beginning):
        return False
    notes = segment_notes(samples[: len(beginning) * HOP], rate)
    deviations = [beginning[note.start // HOP : note.stop // HOP + 1] - note.pitch for note in notes]
    semitones_off = (
        np.abs(np.concatenate([deviation[np.isfinite(deviation)] for deviation in deviations]))
        if deviations
        else np.zeros(0)
    )
    return len(notes) >= FEWEST_NOTES and bool(
        np.sum(semitones_off < IN_TUNE_SEMITONES) >= STEADY_SHARE * np.isfinite(beginning).sum()
    )


def _hop(rate: int) -> int:
    return 1 << round(math.log2(HOP_SECONDS * rate))


def _measure_frames(samples: Sliceable, rate: int) -> _Frames:
    hop = _hop(rate)
    count = -(-len(samples) // hop)
    pitch, depth = np.zeros(count), np.full(count, np.inf)
    level, bands = np.empty(count), np.empty((BANDS, count), np.float32)
    mel = _mel(rate, 4 * hop)
    for first in range(0, count, PIECE):
        piece = slice(first, min(first + PIECE, count))
        size = piece.stop - first
        for hops, lowest in WINDOWS:
            width = hops * hop
            longest = min(int(np.ceil(rate / lowest)) + 1, width // 2)
            frames = windows(samples, first * hop + longest // 2, size, hop, width)
            notes, depths = yin(frames, rate, longest)
            unpitched = depth[piece] >= VOICED
            pitch[piece] = np.where(unpitched, notes, pitch[piece])
            depth[piece] = np.where(unpitched, depths, depth[piece])
        frames = windows(samples, first * hop, size, hop, 4 * hop)
        level[piece] = 10 * np.log10(np.mean(frames[:, hop : 3 * hop] ** 2, axis=1) + 1e-12)
        power = np.square(np.abs(np.fft.rfft(frames * np.hanning(4 * hop).astype(np.float32))))
        bands[:, piece] = 10 * np.log10(np.maximum(mel @ power.T, 1e-10))
    return _Frames(hop, pitch, depth, level, _flux(np.maximum(bands, bands.max() - 80)))


def _mel(rate: int, width: int) -> Samples:
    import librosa

    filters: Samples = librosa.filters.mel(sr=rate, n_fft=width, n_mels=BANDS)
    return filters


def _flux(bands: Samples) -> Doubles:
    import librosa

    flux = librosa.onset.onset_strength(S=bands, lag=3, max_size=3, center=False)
    return np.asarray(flux, np.float64)


def _key_path(pitch: Doubles, weights: Doubles) -> npt.NDArray[np.intp]:
    """Return the likeliest key of each frame, -1 for silence, [frames]; ``weights`` of its pitch are 0 to 1."""
    states = len(KEYS) + 1
    back_pointers = np.empty((len(pitch), states), np.int16)
    cost, state_numbers = np.zeros(states), np.arange(states)
    for frame, (note, weight) in enumerate(zip(pitch.tolist(), weights.tolist(), strict=True)):
        # A change costs the same from any state, so only the cheapest one competes with staying.
        best_state = int(cost.argmin())
        stays = cost <= cost[best_state] + KEY_CHANGE_COST
        back_pointers[frame] = np.where(stays, state_numbers, best_state)
        cost = np.where(stays, cost, cost[best_state] + KEY_CHANGE_COST)
        cost[:-1] += (
            weight * np.minimum(np.square((note - KEYS) / TOLERANCE) / 2, LARGEST_KEY_COST)
            + (1 - weight) * UNPITCHED_KEY_COST
        )
        cost[-1] += weight * PITCHED_SILENCE_COST
    path = np.empty(len(pitch), np.intp)
    state = int(cost.argmin())
    for frame in reversed(range(len(pitch))):
        path[frame] = state
        state = back_pointers[frame, state]
    return np.where(path == len(KEYS), -1, path + KEYS[0])


def _runs(path: npt.NDArray[np.intp], frames: _Frames) -> list[tuple[int, int, int]]:
    """Return (first, last, key) of each note in a path, without slips."""
    bounds = [0, *(np.flatnonzero(np.diff(path)) + 1).tolist(), len(path)]
    runs: list[tuple[int, int, int]] = []
    for first, last in itertools.pairwise(bounds):
        key, length = int(path[first]), last - first
        slip = length < SLIP_FRAMES and np.median(frames.depth[first:last]) > SLIP_DEPTH
        if key < 0 or length < SHORTEST_FRAMES or slip:
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
    brief, joined = run_last - run_first < ATTACK_FRAMES, first - run_last <= STRIKE_FRAMES
    return brief and joined and any(abs(key - run_key - interval) < 0.5 for interval in MULTIPLES)


def _place_notes(
    samples: Sliceable,
    rate: int,
    frames: _Frames,
    runs: list[tuple[int, int, int]],
    voiced: npt.NDArray[np.bool_],
) -> list[_Note]:
    notes: list[_Note] = []
    for index, (first, last, key) in enumerate(runs):
        voiced_pitch = frames.pitch[first:last][voiced[first:last]]
        voiced_pitch = voiced_pitch[np.abs(voiced_pitch - key) < 1]  # without the attack's
        pitch = float(np.median(voiced_pitch)) if len(voiced_pitch) else float(key)
        previous_run = runs[index - 1] if index else None
        previous_sounds = previous_run is not None and first - previous_run[1] < RELEASE_FRAMES
        earliest = min(first, max(0, first - FRAMES_BEFORE, notes[-1].first + SHORTEST_FRAMES - 1 if notes else 0))
        stop = min(first + FRAMES_AFTER, last)
        magnitudes = spectra(samples, frames.hop, earliest, stop)
        sounding_pitch = notes[-1].pitch if previous_sounds and notes else None
        pitch += 12 * math.log2(overtone(magnitudes[first - earliest :], rate, pitch, sounding_pitch))
        if sounding_pitch is not None:
            pitch = pitch_without(samples, rate, frames.hop, first, stop, pitch, sounding_pitch)
        if sounding_pitch is None or is_multiple(pitch, sounding_pitch):
            level = level_of_partials(magnitudes, rate, pitch, sounding_pitch)
        else:
            level = level_without(samples, rate, frames.hop, earliest, stop, sounding_pitch)
        onset = earliest + rise(level, max(first - earliest - 4, 0), first - earliest)
        onset = _tongued_onset(frames, onset, first)
        joined = previous_run is not None and bool(notes) and first - previous_run[1] <= 2
        follows = joined and _is_slurred(frames.level, notes[-1].first, onset, last)
        if follows and abs(pitch - notes[-1].pitch) < 0.5:  # one note, half of it heard an octave low
            notes[-1].last = last
            continue
        if notes and onset > notes[-1].first:
            notes[-1].last = min(notes[-1].last, onset)
        notes.append(_Note(onset, last, pitch, follows))
    return notes


def _tongued_onset(frames: _Frames, onset: int, first: int) -> int:
    """Return the lowest point between an onset and an attack after the change of pitch at ``first``, else the onset.

    Fingers move before the tongue: the pitch changes in the last moments of the note before.
    """
    level = frames.level[onset : first + STRIKE_FRAMES]
    if not len(level):
        return onset
    lowest = int(level.argmin())
    attack_frames = slice(onset + lowest, onset + lowest + PEAK_FRAMES)
    fall_db, rise_db = level[: lowest + 1].max() - level[lowest], frames.level[attack_frames].max() - level[lowest]
    attacked = min(fall_db, rise_db) >= GAP_DB and frames.flux[attack_frames].max() >= TONGUED_FLUX_DB
    return onset + lowest if attacked else onset


def _is_slurred(level: Doubles, previous_first: int, onset: int, last: int) -> bool:
    softer = min(
        np.median(level[previous_first : max(onset, previous_first + 1)]),
        np.median(level[onset : max(last, onset + 1)]),
    )
    return bool(level[max(previous_first, onset - RELEASE_FRAMES // 2) : onset + 2].min() > softer - SLURRED_DB)


def _split_strikes(notes: list[_Note], frames: _Frames, rate: int) -> list[_Note]:
    if not notes:
        return []
    flux, level = frames.flux, frames.level
    peaks = np.flatnonzero((flux[1:-1] > flux[:-2]) & (flux[1:-1] >= flux[2:])) + 1
    median_flux = float(np.median([flux[max(0, note.first - 6) : note.first + 12].max() for note in notes]))
    relative_flux = flux / max(median_flux, LEAST_FLUX)
    early_frames = round(EARLY_SECONDS * rate / frames.hop)
    strikes: list[_Note] = []
    for note in notes:
        begins = [note.first]
        for peak in peaks[(peaks > note.first) & (peaks < note.last - 6)].tolist():
            onset = peak - early_frames
            if not _is_strike(level, begins[-1], peak, relative_flux[peak]):
                continue
            if onset - begins[-1] >= STRIKE_FRAMES:
                begins.append(onset)
        ends = [*begins[1:], note.last]
        for first, last in zip(begins, ends, strict=True):
            strikes.append(_Note(first, last, note.pitch, note.follows and first == begins[0]))
    return [strike for strike in strikes if strike.last - strike.first >= SHORTEST_FRAMES]


def _is_strike(level: Doubles, begin: int, peak: int, relative_flux: float) -> bool:
    levels = level[begin : peak + 1]
    trough = len(levels[:-9]) + int(levels[-9:].argmin())
    fall_db = levels[: trough + 1].max() - levels[trough]  # else it is the second half of one attack
    rise_db = level[peak : peak + PEAK_FRAMES].max() - levels[trough]
    struck = relative_flux >= FLUX and fall_db >= FALL_DB and rise_db >= RISE_DB
    return bool(struck or (relative_flux >= SOFT_FLUX and min(fall_db, rise_db) >= GAP_DB))


def _segments(notes: list[_Note], frames: _Frames, length: int) -> list[NoteSegment]:
    segments = []
    for index, note in enumerate(notes):
        next_note = notes[index + 1] if index + 1 < len(notes) else None
        latest = len(frames.level) if next_note is None else max(next_note.first, note.first + 1)
        level = frames.level[note.first : latest]
        loudest = int(level.argmax())
        quiet = np.flatnonzero(level[loudest:] < level[loudest] - ENDED_DB)
        end = note.first + loudest + int(quiet[0]) if len(quiet) else latest
        stop = min(min(end, latest) * frames.hop, length)
        segments.append(NoteSegment(note.first * frames.hop, stop, note.pitch, note.follows))
    return segments
