"""Sampler of the training notes: plays a key from the nearest recording, with the colour between two recorded keys.

Fidelity reports compare an instrument with it: both have the same recordings.
"""

import dataclasses
import functools
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from ...host.arrays import Array, Doubles
from ...host.signal import window
from ...host.spectra import centred_frames
from ...train.corpus.store import Corpus
from .measures import FLOOR_DB, SILENT, SUSTAIN_RANGE_DB
from .notes import NoteSound, RecordedNote, SingleNote, is_same_instrument, note_of, tune_to, tuned_sides

FADE_SECONDS = 0.2  # release of a sampler's key, as in the first preset
MOST_RECORDINGS = 32  # of a key, searched for the best
FARTHEST_KEYS = 12  # semitones to the neighbour: beyond an octave keys have another register's colour
FARTHEST_VELOCITY = 16  # of the neighbour, the distance of two dynamic marks: louder notes are brighter
FARTHEST_DB = 6.0  # the same of notes without velocities
FRAME, HOP = 4096, 1024  # samples
BANDS_PER_OCTAVE = 3  # wide enough that a band's gain moves no partial alone from the fourth on
LOWEST_HZ = 50.0  # centre of the lowest band
MOST_GAIN_DB = 20.0  # between noise floors
RING_SECONDS = 0.1  # of the filter, on both sides


class SampledNote(NamedTuple):
    """A key as the sampler plays it.

    Args:
        note: the nearest recording at the key's pitch, with its colour moved and a release.
        sound: of this note, with sides beside a stereo recording.
        neighbour: the recording beyond the key that moves the colour; None without one.
        share: of the neighbour in the colour, 0 to 0.5.
    """

    note: RecordedNote
    sound: NoteSound
    neighbour: SingleNote | None
    share: float


def sample_note(corpus: Corpus, note: RecordedNote, training_notes: Sequence[SingleNote]) -> SampledNote | None:
    """Play a note's key as a sampler of the training notes would; None if there is no other note.

    Selects the nearest key, of the same instrument (label and program) if known. Ties are resolved by velocity if
    labeled, sufficient length (else the longest), then level, since dynamics follow loudness. The recording is
    resampled to the key's pitch, and faded at the release.

    Where the key has no recording, the nearest one on its other side is a neighbour, if it is at most an octave away
    and of near dynamics. It is tuned to the key as well. The played recording gets the levels between both in third
    octaves, in dB, by the keys' distances, from a filter of zero phase: attack and movement stay its own.
    """
    target_note, rate = note.single, corpus.rate
    candidates = [single for single in training_notes if single.clip.name != target_note.clip.name]
    candidates = [single for single in candidates if is_same_instrument(single, target_note)] or candidates
    if not candidates:
        return None
    semitones = min(abs(single.key - target_note.key) for single in candidates)
    nearest_note = _best_recording(
        corpus, note, [single for single in candidates if abs(single.key - target_note.key) == semitones]
    )
    channels = nearest_note.sound[np.newaxis]
    if corpus.channels(target_note.clip) == 2:
        channels = np.concatenate([channels, tuned_sides(corpus, nearest_note.single, target_note.key)])
    neighbour_note, share = _neighbour(corpus, note, nearest_note.single.key, candidates), 0.0
    if neighbour_note is not None:
        share = semitones / abs(neighbour_note.single.key - nearest_note.single.key)
        gains_db = share * (band_levels(neighbour_note.sound, rate) - band_levels(nearest_note.sound, rate))
        channels = apply_gains(channels, gains_db, rate)
    if nearest_note.held_seconds > note.held_seconds:
        channels = _fade(channels, note.held_seconds, rate)
    played_note = dataclasses.replace(
        nearest_note, sound=channels[0], held_seconds=min(nearest_note.held_seconds, note.held_seconds)
    )
    return SampledNote(
        played_note,
        NoteSound(channels[0], channels[1:] if len(channels) > 1 else None),
        None if neighbour_note is None else neighbour_note.single,
        share,
    )


def _best_recording(corpus: Corpus, note: RecordedNote, singles: Sequence[SingleNote]) -> RecordedNote:
    """Return the recording most like a note in velocity, length and level, tuned to its key."""
    searched_singles = singles[:: max(1, -(-len(singles) // MOST_RECORDINGS))]
    recordings = [tune_to(note_of(corpus, single), note.single.key, corpus.rate) for single in searched_singles]
    sufficient_seconds = min(note.held_seconds, max(recording.held_seconds for recording in recordings))
    return min(
        recordings,
        key=lambda recording: (
            _velocity_gap(recording, note) or 0,
            recording.held_seconds < sufficient_seconds,
            abs(recording.level_db - note.level_db),
        ),
    )


def _neighbour(
    corpus: Corpus, note: RecordedNote, nearest_key: int, candidates: Sequence[SingleNote]
) -> RecordedNote | None:
    """Return the nearest recording of near dynamics on the other side of a key, tuned to it; None without one."""
    target_key = note.single.key
    direction = np.sign(target_key - nearest_key)
    for distance in range(1, FARTHEST_KEYS + 1):
        singles = [single for single in candidates if single.key == target_key + direction * distance]
        if direction and singles:
            recording = _best_recording(corpus, note, singles)
            velocity_gap = _velocity_gap(recording, note)
            if velocity_gap is None and abs(recording.level_db - note.level_db) <= FARTHEST_DB:
                return recording
            if velocity_gap is not None and velocity_gap <= FARTHEST_VELOCITY:
                return recording
    return None


def _velocity_gap(recording: RecordedNote, note: RecordedNote) -> int | None:
    """Return the difference of labelled velocities; None without labels."""
    velocities = recording.single.clip.velocity, note.single.clip.velocity
    return None if velocities[0] is None or velocities[1] is None else abs(velocities[0] - velocities[1])


def band_levels(sound: Array, rate: int) -> Doubles:
    """Return the share of the power in each third octave of a held part, [samples], in dB, -80 at least: [bands].

    The mean of the frames within 20 dB of the loudest.
    """
    frame_powers = np.square(np.abs(np.fft.rfft(centred_frames(sound, FRAME, HOP) * window("hann", FRAME))))
    total_powers = frame_powers.sum(1)
    is_held = total_powers >= total_powers.max() * 10 ** (-SUSTAIN_RANGE_DB / 10)
    mean_powers = frame_powers[is_held].mean(0, dtype=np.float64)
    band_shares = _third_octaves(rate) @ mean_powers / max(mean_powers.sum(), SILENT)
    levels: Doubles = 10 * np.log10(np.maximum(band_shares, 10 ** (FLOOR_DB / 10)))
    return levels


def apply_gains(channels: Array, gains_db: Doubles, rate: int) -> Array:
    """Filter sounds, [channels, samples], by gains of third octaves, [bands], with zero phase.

    The gains are less their mean over the power of the first channel: its level stays.
    """
    ring_samples = round(RING_SECONDS * rate)
    padded_channels = np.pad(channels, ((0, 0), (ring_samples, ring_samples)))
    spectra = np.fft.rfft(padded_channels)
    bins_hz = np.fft.rfftfreq(padded_channels.shape[1], 1 / rate)
    bin_octaves = np.log2(np.maximum(bins_hz, 1.0) / LOWEST_HZ)
    band_octaves = np.arange(len(gains_db)) / BANDS_PER_OCTAVE
    gains = 10 ** (np.interp(bin_octaves, band_octaves, np.clip(gains_db, -MOST_GAIN_DB, MOST_GAIN_DB)) / 20)
    powers = np.square(np.abs(spectra[0]))
    gains *= np.sqrt(powers.sum() / max((powers * np.square(gains)).sum(), SILENT))
    filtered_channels = np.fft.irfft(spectra * gains, padded_channels.shape[1])
    return filtered_channels[:, ring_samples:-ring_samples].astype(np.float32)


@functools.cache
def _third_octaves(rate: int) -> Doubles:
    """Return triangles over the logarithm of frequency, [bands, bins]: height 1 at a band's centre, 0 at the next."""
    bins_hz = np.fft.rfftfreq(FRAME, 1 / rate)
    band_count = int(BANDS_PER_OCTAVE * np.log2(rate / 2 / LOWEST_HZ)) + 1
    bin_bands = BANDS_PER_OCTAVE * np.log2(np.maximum(bins_hz, 1.0) / LOWEST_HZ)
    triangles: Doubles = np.maximum(0, 1 - np.abs(bin_bands - np.arange(band_count)[:, np.newaxis]))
    return triangles


def _fade(channels: Array, held_seconds: float, rate: int) -> Array:
    """Fade sounds, [channels, samples], after ``held_seconds``."""
    seconds_after_release = np.arange(channels.shape[1]) / rate - held_seconds
    fade_gains = np.clip(1 - seconds_after_release / FADE_SECONDS, 0, 1) ** 3
    return (channels * fade_gains).astype(np.float32)
