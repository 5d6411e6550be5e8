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
FOOT = 0.25  # of the rise in dB, where a note begins; noise and vibrato pass a smaller part
ONSET_RISE_DB = 4.0  # least rise of an onset
SUBHARMONICS: tuple[int, ...] = (5, 4, 3, 2)
LOOKED_AT = 15  # of a heard pitch's partials
BELOW_DB = 14.0  # of other partials under those of a subharmonic
COMMON = 0.3  # semitones between a note that sounds on and a multiple of the pitch: a common period
FAR_BELOW = 8.0  # semitones under the note before: the common period of a third or a wider interval
LOWEST_REMAINDER_HZ = 60.0  # of a remainder's pitch, with two periods in a spectrum's window
CLEAR = 0.5  # share of frames whose remainder must have a pitch


def is_multiple(pitch: float, other: float) -> bool:
    times = round(semitones_to_ratio(pitch - other))
    return times >= 1 and abs(pitch - other - 12 * math.log2(times)) < COMMON


def spectra(samples: Sliceable, hop: int, first: int, stop: int) -> Samples:
    """Return the magnitudes of the frames from ``first`` to ``stop``, [frames, bins]."""
    width = HOPS * hop
    cut = windows(samples, first * hop, stop - first, hop, width)
    magnitudes: Samples = np.abs(np.fft.rfft(cut * np.hanning(width).astype(np.float32))).astype(np.float32)
    return magnitudes


def level_of_partials(magnitudes: Samples, rate: int, pitch: float, other: float | None) -> Doubles:
    """Return the level of a note's partials in dB, [frames], of those apart from another note's if there are two."""
    hertz = midi_to_hz(pitch) * np.arange(1, PARTIALS + 1)
    hertz = hertz[hertz < 0.45 * rate]
    if other is not None:
        ratio, bin_hertz = hertz / midi_to_hz(other), rate / (2 * (magnitudes.shape[1] - 1))
        apart = np.abs(ratio - np.round(ratio)) * midi_to_hz(other) > APART_BINS * bin_hertz
        hertz = hertz[apart] if apart.sum() >= 2 else hertz
    power = np.square(_peaks(magnitudes, rate, hertz)).sum(1)
    level: Doubles = 10 * np.log10(power + 1e-18)
    return level


def level_without(samples: Sliceable, rate: int, hop: int, first: int, stop: int, other: float) -> Doubles:
    """Return the level of the remainder without a note that sounds on, in dB, [frames].

    Each frame's period is the one within `DRIFT` that leaves least.
    """
    width, period = LEVEL_HOPS * hop, rate / midi_to_hz(other)
    shortest = max(int(period / semitones_to_ratio(DRIFT)) - 1, 1)
    longest = int(period * semitones_to_ratio(DRIFT)) + 2
    start, end = first * hop - width // 2 - longest, (stop - 1) * hop + width // 2
    inside = samples[max(start, 0) : min(end, len(samples))]
    sound = np.pad(inside, (max(-start, 0), max(end - len(samples), 0))).astype(np.float64)
    power = np.empty((longest - shortest + 1, stop - first))
    for row, lag in enumerate(range(shortest, longest + 1)):
        remainder = sound[longest:] - sound[longest - lag : len(sound) - lag]
        sums = np.cumsum(np.pad(np.square(remainder), (1, 0)))
        power[row] = sums[width::hop] - sums[:-width:hop]
    before, at, after = power[:-2], power[1:-1], power[2:]
    slope, curve = before - after, np.maximum(before - 2 * at + after, 1e-12)
    least = np.where((at <= before) & (at <= after), at - slope**2 / (8 * curve), at).min(0)  # YIN's step 5
    level: Doubles = 10 * np.log10(np.maximum(least, 0) / width + 1e-12)
    return level


def rise(level: Doubles, begin: int, otherwise: int) -> int:
    """Return the frame where the rise to the first peak from ``begin`` on starts, else ``otherwise``.

    It is the last one near the lowest level before the peak.
    """
    late = level[begin:]
    peak = begin + int(np.argmax(late >= late.max() - 3.0))
    around = np.pad(level, SMOOTH // 2, mode="edge")
    smooth = np.convolve(around, np.full(SMOOTH, 1 / SMOOTH), mode="valid")
    lowest = max(float(smooth[: peak + 1].min()), level[peak] - DEEP_DB)
    risen = level[peak] - lowest
    below = np.flatnonzero(level[: peak + 1] <= lowest + FOOT * risen)
    return int(below[-1]) + 1 if risen >= ONSET_RISE_DB and len(below) else otherwise


def overtone(magnitudes: Samples, rate: int, pitch: float, other: float | None) -> int:
    """Return the number of the partial that is the note's true pitch: 1, or more if ``pitch`` is a subharmonic.

    Partials of another note that still sounds do not count: two notes repeat in a common period.
    """
    numbers, candidates = np.arange(1, LOOKED_AT + 1), SUBHARMONICS[-1:]
    numbers = numbers[numbers * midi_to_hz(pitch) < 0.45 * rate]
    if other is not None and is_multiple(other, pitch) and other - pitch > COMMON:
        numbers = numbers[numbers % round(semitones_to_ratio(other - pitch)) > 0]
        candidates = SUBHARMONICS
    power = np.square(_peaks(magnitudes, rate, midi_to_hz(pitch) * numbers)).mean(0)
    for number in candidates:
        own = numbers % number == 0
        if own.any() and not own.all() and power[~own].max() < power[own].max() * 10 ** (-BELOW_DB / 10):
            return number
    return 1


def pitch_without(samples: Sliceable, rate: int, hop: int, first: int, stop: int, pitch: float, other: float) -> float:
    """Return the remainder's pitch if ``pitch`` may be the two notes' common period, else ``pitch``.

    A common period lies far below the note before, and the remainder's pitch is a multiple of it.
    """
    if other - pitch < FAR_BELOW or is_multiple(pitch, other):
        return pitch
    width, lag = HOPS * hop, round(rate / midi_to_hz(other))
    longest = min(int(np.ceil(rate / LOWEST_REMAINDER_HZ)) + 1, width // 2)
    cut = windows(samples, first * hop + longest // 2, stop - first, hop, width + lag)
    found, depth = yin(cut[:, lag:] - cut[:, :-lag], rate, longest)
    heard = found[depth < VOICED]
    if len(heard) < CLEAR * len(found):
        return pitch
    remaining = float(np.median(heard))
    times = round(semitones_to_ratio(remaining - pitch))
    return remaining if 1 < times <= max(SUBHARMONICS) and is_multiple(remaining, pitch) else pitch


def _peaks(magnitudes: Samples, rate: int, hertz: npt.NDArray[np.floating[Any]]) -> Doubles:
    bins = magnitudes.shape[1]
    middle = np.round(hertz * 2 * (bins - 1) / rate).astype(np.intp)
    around = [magnitudes[:, np.clip(middle + step, 0, bins - 1)] for step in (-1, 0, 1)]
    peaks: Doubles = np.max(around, axis=0).astype(np.float64)
    return peaks


HOP_SECONDS = 256 / 44100  # between frames; the hop is a power of two, of 5 to 8 ms
WINDOWS = ((8, 60.0), (16, LOWEST_HZ))  # hops and lowest Hz: short for sharp boundaries, long for low notes
PIECE = 1024  # frames analysed at once, 6 s at 44.1 kHz: bounds memory
QUIET_DB = 45.0  # below the recording's loudest moment: no note
KEYS = np.arange(28, 109)  # E1 to C8
TOLERANCE = 0.3  # semitones: deviation of a frame's pitch from its key, as of vibrato
FAR = 6.0  # most that one frame counts against a key
UNSURE, SOUNDING = 1.5, 3.0  # cost of a key in an unpitched frame, and of silence in a pitched one
CYCLE = 31  # frames of a cycle of vibrato, which is no tuning
CHANGE = 9.0  # cost of a change of key: some 15 ms of clear pitch
SHORTEST = 12  # frames of a note, 70 ms
SHAKY, SHORT = 0.12, 18  # depth beyond which a note of fewer frames is a slip, such as an octave at an attack
BACK, AHEAD = 36, 26  # frames around a change of pitch that are searched for the onset
NEAR = 60  # frames after another note: its release still sounds
RISE_DB, FALL_DB = 4.0, 2.0  # least rise and least fall before it where a key is struck again
GAP_DB = 10.0  # a fall and a rise that large are two notes, though the second begins softly
TONGUED = 2.5  # dB of flux: an attack, where fingers or the pitch moved before
MULTIPLES = tuple(12 * math.log2(number) for number in (3, 4, 5))  # semitones; melodies rarely leap so far
ATTACK = 25  # frames of an attack, 150 ms, which may have a subharmonic's pitch, as a bow's
PEAK = 16  # frames from an attack to its loudest moment, 90 ms
AGAIN = 14  # frames between attacks of one key, 80 ms
EARLY_SECONDS = 0.010  # by which the flux peaks after an onset
FLUX, SOFT_FLUX = 0.6, 0.4  # of the median note's: an attack of the same key, and one after a gap
LEAST_FLUX = 2.5  # dB: vibrato, tremolo and beats stay below six tenths of it
SLURRED_DB = 12.0  # a note follows without a gap if the level between is never so far below the softer of both
ENDED_DB = 50.0  # below its loudest moment, a note has died away
BANDS = 80  # of the flux
HEARD_SECONDS = 60.0  # of a recording: enough to recognise a melody
FEWEST = 3  # notes of a melody
PITCHED = 0.5  # of its frames; a room answers between staccato notes
IN_TUNE, STEADY = 0.3, 0.7  # semitones, and the share of pitched frames so near to their note: a glide has .6


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

    frames = _measured(samples, rate)
    voiced = (frames.depth < VOICED) & (frames.level > frames.level.max() - QUIET_DB)
    if not voiced.any():
        return []
    turns = np.exp(2j * np.pi * median_filter(frames.pitch[voiced], CYCLE))
    tuning = float(np.angle(turns.mean()) / (2 * np.pi))  # of the instrument, in semitones
    sure = np.where(voiced, np.sqrt(np.clip(1 - frames.depth / VOICED, 0, 1)), 0.0)
    path = _key_path(np.where(voiced, frames.pitch - tuning, 0.0), sure)
    notes = _settled(samples, rate, frames, _runs(path, frames), voiced)
    parts = _struck_again(notes, frames, rate)
    return _segments(parts, frames, len(samples))


def is_melody(samples: Sliceable, track: Samples, rate: int) -> bool:
    """Return whether a recording, with its `pitch_track`, is a row of notes of different pitches."""
    if single_note(track) is not None:
        return False
    heard = track[: int(HEARD_SECONDS * rate) // HOP]
    if np.isfinite(heard).sum() < PITCHED * len(heard):
        return False
    notes = segment_notes(samples[: len(heard) * HOP], rate)
    apart = [heard[note.start // HOP : note.stop // HOP + 1] - note.pitch for note in notes]
    near = np.abs(np.concatenate([part[np.isfinite(part)] for part in apart])) if apart else np.zeros(0)
    return len(notes) >= FEWEST and bool(np.sum(near < IN_TUNE) >= STEADY * np.isfinite(heard).sum())


def _hop(rate: int) -> int:
    return 1 << round(math.log2(HOP_SECONDS * rate))


def _measured(samples: Sliceable, rate: int) -> _Frames:
    hop = _hop(rate)
    count = -(-len(samples) // hop)
    pitch, depth = np.zeros(count), np.full(count, np.inf)
    level, bands = np.empty(count), np.empty((BANDS, count), np.float32)
    mel = _mel(rate, 4 * hop)
    for first in range(0, count, PIECE):
        part = slice(first, min(first + PIECE, count))
        size = part.stop - first
        for hops, lowest in WINDOWS:
            width = hops * hop
            longest = min(int(np.ceil(rate / lowest)) + 1, width // 2)
            cut = windows(samples, first * hop + longest // 2, size, hop, width)
            found, dip = yin(cut, rate, longest)
            unknown = depth[part] >= VOICED
            pitch[part] = np.where(unknown, found, pitch[part])
            depth[part] = np.where(unknown, dip, depth[part])
        cut = windows(samples, first * hop, size, hop, 4 * hop)
        level[part] = 10 * np.log10(np.mean(cut[:, hop : 3 * hop] ** 2, axis=1) + 1e-12)
        power = np.square(np.abs(np.fft.rfft(cut * np.hanning(4 * hop).astype(np.float32))))
        bands[:, part] = 10 * np.log10(np.maximum(mel @ power.T, 1e-10))
    return _Frames(hop, pitch, depth, level, _flux(np.maximum(bands, bands.max() - 80)))


def _mel(rate: int, width: int) -> Samples:
    import librosa

    filters: Samples = librosa.filters.mel(sr=rate, n_fft=width, n_mels=BANDS)
    return filters


def _flux(bands: Samples) -> Doubles:
    import librosa

    flux = librosa.onset.onset_strength(S=bands, lag=3, max_size=3, center=False)
    return np.asarray(flux, np.float64)


def _key_path(pitch: Doubles, sure: Doubles) -> npt.NDArray[np.intp]:
    """Return the likeliest key of each frame, -1 for silence, [frames]; ``sure`` is the weight of its pitch, 0 to 1."""
    states = len(KEYS) + 1
    back = np.empty((len(pitch), states), np.int16)
    cost, every = np.zeros(states), np.arange(states)
    for frame, (note, weight) in enumerate(zip(pitch.tolist(), sure.tolist(), strict=True)):
        best = int(cost.argmin())
        stays = cost <= cost[best] + CHANGE
        back[frame] = np.where(stays, every, best)
        cost = np.where(stays, cost, cost[best] + CHANGE)
        cost[:-1] += weight * np.minimum(np.square((note - KEYS) / TOLERANCE) / 2, FAR) + (1 - weight) * UNSURE
        cost[-1] += weight * SOUNDING
    path = np.empty(len(pitch), np.intp)
    state = int(cost.argmin())
    for frame in reversed(range(len(pitch))):
        path[frame] = state
        state = back[frame, state]
    return np.where(path == len(KEYS), -1, path + KEYS[0])


def _runs(path: npt.NDArray[np.intp], frames: _Frames) -> list[tuple[int, int, int]]:
    """Return (first, last, key) of each note in a path, without slips."""
    bounds = [0, *(np.flatnonzero(np.diff(path)) + 1).tolist(), len(path)]
    runs: list[tuple[int, int, int]] = []
    for first, last in itertools.pairwise(bounds):
        key, length = int(path[first]), last - first
        slip = length < SHORT and np.median(frames.depth[first:last]) > SHAKY
        if key < 0 or length < SHORTEST or slip:
            continue
        if runs and runs[-1][2] == key and first - runs[-1][1] < SHORT:
            between = frames.level[runs[-1][1] - 1 : first + 1]
            if between.min() > between[0] - 6.0:  # a slip within one note
                runs[-1] = runs[-1][0], last, key
                continue
        if runs and _is_attack(runs[-1], first, key):
            first = runs.pop()[0]
        runs.append((first, last, key))
    return runs


def _is_attack(run: tuple[int, int, int], first: int, key: int) -> bool:
    """Return whether a run is the attack of the note of ``key`` from ``first`` on, with a subharmonic's pitch."""
    begun, ended, heard = run
    brief, joined = ended - begun < ATTACK, first - ended <= AGAIN
    return brief and joined and any(abs(key - heard - interval) < 0.5 for interval in MULTIPLES)


def _settled(
    samples: Sliceable,
    rate: int,
    frames: _Frames,
    runs: list[tuple[int, int, int]],
    voiced: npt.NDArray[np.bool_],
) -> list[_Note]:
    notes: list[_Note] = []
    for place, (first, last, key) in enumerate(runs):
        heard = frames.pitch[first:last][voiced[first:last]]
        heard = heard[np.abs(heard - key) < 1]  # without the attack's
        pitch = float(np.median(heard)) if len(heard) else float(key)
        before = runs[place - 1] if place else None
        near = before is not None and first - before[1] < NEAR
        earliest = min(first, max(0, first - BACK, notes[-1].first + SHORTEST - 1 if notes else 0))
        stop = min(first + AHEAD, last)
        magnitudes = spectra(samples, frames.hop, earliest, stop)
        sounding = notes[-1].pitch if near and notes else None
        pitch += 12 * math.log2(overtone(magnitudes[first - earliest :], rate, pitch, sounding))
        if sounding is not None:
            pitch = pitch_without(samples, rate, frames.hop, first, stop, pitch, sounding)
        if sounding is None or is_multiple(pitch, sounding):
            level = level_of_partials(magnitudes, rate, pitch, sounding)
        else:
            level = level_without(samples, rate, frames.hop, earliest, stop, sounding)
        onset = earliest + rise(level, max(first - earliest - 4, 0), first - earliest)
        onset = _tongued(frames, onset, first)
        joined = before is not None and bool(notes) and first - before[1] <= 2
        follows = joined and _is_slurred(frames.level, notes[-1].first, onset, last)
        if follows and abs(pitch - notes[-1].pitch) < 0.5:  # one note, half of it heard an octave low
            notes[-1].last = last
            continue
        if notes and onset > notes[-1].first:
            notes[-1].last = min(notes[-1].last, onset)
        notes.append(_Note(onset, last, pitch, follows))
    return notes


def _tongued(frames: _Frames, onset: int, first: int) -> int:
    """Return the lowest point between an onset and an attack after the change of pitch at ``first``, else the onset.

    Fingers move before the tongue: the pitch changes in the last moments of the note before.
    """
    level = frames.level[onset : first + AGAIN]
    if not len(level):
        return onset
    lowest = int(level.argmin())
    after = slice(onset + lowest, onset + lowest + PEAK)
    fallen, risen = level[: lowest + 1].max() - level[lowest], frames.level[after].max() - level[lowest]
    attacked = min(fallen, risen) >= GAP_DB and frames.flux[after].max() >= TONGUED
    return onset + lowest if attacked else onset


def _is_slurred(level: Doubles, before: int, onset: int, last: int) -> bool:
    softer = min(np.median(level[before : max(onset, before + 1)]), np.median(level[onset : max(last, onset + 1)]))
    return bool(level[max(before, onset - NEAR // 2) : onset + 2].min() > softer - SLURRED_DB)


def _struck_again(notes: list[_Note], frames: _Frames, rate: int) -> list[_Note]:
    if not notes:
        return []
    flux, level = frames.flux, frames.level
    peaks = np.flatnonzero((flux[1:-1] > flux[:-2]) & (flux[1:-1] >= flux[2:])) + 1
    usual = float(np.median([flux[max(0, note.first - 6) : note.first + 12].max() for note in notes]))
    sharp = flux / max(usual, LEAST_FLUX)
    early = round(EARLY_SECONDS * rate / frames.hop)
    parts: list[_Note] = []
    for note in notes:
        begins = [note.first]
        for peak in peaks[(peaks > note.first) & (peaks < note.last - 6)].tolist():
            onset = peak - early
            if not _is_struck(level, begins[-1], peak, sharp[peak]):
                continue
            if onset - begins[-1] >= AGAIN:
                begins.append(onset)
        ends = [*begins[1:], note.last]
        for first, last in zip(begins, ends, strict=True):
            parts.append(_Note(first, last, note.pitch, note.follows and first == begins[0]))
    return [part for part in parts if part.last - part.first >= SHORTEST]


def _is_struck(level: Doubles, begin: int, peak: int, sharp: float) -> bool:
    before = level[begin : peak + 1]
    trough = len(before[:-9]) + int(before[-9:].argmin())
    fallen = before[: trough + 1].max() - before[trough]  # else it is the second half of one attack
    risen = level[peak : peak + PEAK].max() - before[trough]
    struck = sharp >= FLUX and fallen >= FALL_DB and risen >= RISE_DB
    return bool(struck or (sharp >= SOFT_FLUX and min(fallen, risen) >= GAP_DB))


def _segments(notes: list[_Note], frames: _Frames, length: int) -> list[NoteSegment]:
    found = []
    for place, note in enumerate(notes):
        after = notes[place + 1] if place + 1 < len(notes) else None
        latest = len(frames.level) if after is None else max(after.first, note.first + 1)
        level = frames.level[note.first : latest]
        loudest = int(level.argmax())
        quiet = np.flatnonzero(level[loudest:] < level[loudest] - ENDED_DB)
        end = note.first + loudest + int(quiet[0]) if len(quiet) else latest
        stop = min(min(end, latest) * frames.hop, length)
        found.append(NoteSegment(note.first * frames.hop, stop, note.pitch, note.follows))
    return found
