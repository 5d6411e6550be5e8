"""Selects held-out single notes, and imitates them with a sampler of the training notes."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import soxr

from ...host.arrays import Array
from ...host.units import semitones_to_ratio
from ...train.corpus.clip_table import Clip, Split
from ...train.corpus.pitch import single_note
from ...train.corpus.store import Corpus
from ...train.metrics.clips import STEP_SECONDS, envelope_db

HELD_OUT: tuple[Split, ...] = ("test", "val")  # no weight was trained on either; validation selected the checkpoint
ONSET_DB = 40.0  # below a recording's loudest moment: its onset
RANGE_DB = 50.0  # below it: its end
RELEASED_DB_SECOND = 60.0  # a faster fall is a release: rooms decay by 60 dB a second, strings ring longer
SUSTAINED_DB, RELEASED_DB = 20.0, 15.0  # range below the loudest moment where a note is held; fall after a release
RISEN_DB, STRUCK_SECONDS = 3.0, 0.1  # under the loudest moment, and after that: a struck string falls fast at first
FADE_SECONDS = 0.2  # release of a sampler's key, as in the first preset
LEVELLED = 256  # training notes searched for the loudest
FEWEST_OF_TWO = 6  # notes: a soft and a loud one of three keys say more than one of six keys
LISTENED = 32  # of a key, searched for one of equal loudness
LOUDEST, SQUARED_DB = 127, 40.0  # MIDI's; the host's gain is the velocity squared: 40 dB per factor of ten


class SingleNote(NamedTuple):
    """A clip of a single note, with its detected MIDI pitch (fractional)."""

    clip: Clip
    pitch: float

    @property
    def key(self) -> int:
        return int(np.clip(np.floor(self.pitch + 0.5), 0, 127))


@dataclass(frozen=True)
class RecordedNote:
    """A note from its onset to its end, [samples].

    ``held_seconds`` is the time of the release, ``level_db`` the loudest moment in dBFS.
    """

    single: SingleNote
    sound: Array
    held_seconds: float
    level_db: float


def singles(corpus: Corpus, split: Split) -> list[SingleNote]:
    """Return a split's single notes by detected pitch, regardless of labels."""
    pitched_clips = [(clip, single_note(corpus.pitch(clip))) for clip in corpus.clips(split)]
    return [SingleNote(clip, pitch) for clip, pitch in pitched_clips if pitch is not None]


def held_out(corpus: Corpus, count: int, seed: int) -> list[SingleNote]:
    """Select at most ``count`` held-out notes, sorted by key: of the test split, and if too few, of validation.

    Skips validation if no training note has a key of the test notes: its keys were trained. Each key gets one note
    before any gets two.
    """
    picked_notes: list[SingleNote] = []
    rng = np.random.default_rng(seed)
    trained = {single.key for single in singles(corpus, "train")}
    for split in HELD_OUT:
        picked_notes += spread(singles(corpus, split), count - len(picked_notes), rng)
        if trained and picked_notes and not trained & {single.key for single in picked_notes}:
            break
    return sorted(picked_notes, key=lambda note: (note.key, note.clip.name))


def spread(
    notes: Sequence[SingleNote], count: int, rng: np.random.Generator, loudness: Sequence[float] = ()
) -> list[SingleNote]:
    """Draw at most ``count`` notes, equally many per key; if some keys get one less, those kept are evenly spaced.

    With ``loudness``, [notes], each key's softest note comes first, then its loudest, then random ones. If not every
    key can have two, evenly spaced keys have both.
    """
    if len(loudness):
        keys = sorted({note.key for note in notes})
        if FEWEST_OF_TWO <= count < 2 * len(keys):
            kept_keys = {keys[int(i)] for i in np.linspace(0, len(keys) - 1, count // 2).round()}
            places = [place for place, note in enumerate(notes) if note.key in kept_keys]
            notes, loudness = [notes[place] for place in places], [loudness[place] for place in places]
    rounds: dict[int, list[SingleNote]] = {}
    counts_by_key: dict[int, int] = {}
    order = [int(place) for place in rng.permutation(len(notes))]
    if len(loudness):
        order.sort(key=lambda place: loudness[place])
        places_by_key = {
            key: [place for place in order if notes[place].key == key] for key in {note.key for note in notes}
        }
        ends = {place for places in places_by_key.values() for place in (places[0], places[-1])}
        middle_places = [int(place) for place in rng.permutation(len(notes)) if int(place) not in ends]
        order = [place for place in order if place in ends] + middle_places
    for place in order:
        note = notes[place]
        counts_by_key[note.key] = counts_by_key.get(note.key, 0) + 1
        rounds.setdefault(counts_by_key[note.key], []).append(note)
    picked_notes: list[SingleNote] = []
    for turn in sorted(rounds):
        ordered = sorted(rounds[turn], key=lambda note: note.key)
        room = min(count - len(picked_notes), len(ordered))
        picked_notes += [ordered[int(i)] for i in np.linspace(0, len(ordered) - 1, room).round()]
    return picked_notes


def note_of(corpus: Corpus, single: SingleNote) -> RecordedNote:
    """Cut a note out of its clip, and find its release.

    The release is where the level starts to fall faster than 60 dB a second until the end: the stop of a blown or bowed
    tone, or the end of a decaying one. A fall by 15 dB as fast and without return is the release too, from within 20 dB
    of the loudest moment, 0.1 s after the attack or later: then noise and knocks may follow. High strings fall as fast
    when struck, and ring on.
    """
    return cut(single, corpus.samples(single.clip), corpus.rate)


def cut(single: SingleNote, sound: Array, rate: int) -> RecordedNote:
    """Return the note in a sound, [samples], as `note_of` does."""
    levels = envelope_db(sound[np.newaxis], rate)[0].astype(np.float64)
    loudest = float(levels.max())
    first = int(np.argmax(levels > loudest - ONSET_DB))
    last = int(np.flatnonzero(levels > loudest - RANGE_DB)[-1])
    note_levels = levels[first : last + 1]
    # The slope puts the maximum where the level starts to fall faster than it until the end.
    tilted_levels = note_levels + RELEASED_DB_SECOND * STEP_SECONDS * np.arange(len(note_levels))
    release_step = int(np.argmax(tilted_levels))
    sounding = note_levels > loudest - SUSTAINED_DB
    sounding[: int(np.argmax(note_levels > loudest - RISEN_DB)) + round(STRUCK_SECONDS / STEP_SECONDS)] = False
    stop_step = int(np.argmax(np.where(sounding, tilted_levels, -np.inf)))
    fallen_step = stop_step + round(RELEASED_DB / RELEASED_DB_SECOND / STEP_SECONDS)
    if sounding.any() and note_levels[fallen_step:].max(initial=-np.inf) <= note_levels[stop_step] - RELEASED_DB:
        release_step = stop_step
    begin, end = (round(moment * STEP_SECONDS * rate) for moment in (first, last + 1))
    return RecordedNote(single, np.array(sound[begin:end], np.float32), max(release_step, 1) * STEP_SECONDS, loudest)


def velocity(note: RecordedNote, loudest_db: float) -> int:
    labelled = note.single.clip.velocity
    if labelled is not None:
        return max(1, labelled)
    return int(np.clip(round(LOUDEST * 10 ** ((note.level_db - loudest_db) / SQUARED_DB)), 1, LOUDEST))


def loudest_db(corpus: Corpus, notes: Sequence[SingleNote]) -> float:
    """Return the loudest moment among notes in dBFS; measures every n-th of many."""
    sampled_notes = notes[:: max(1, -(-len(notes) // LEVELLED))]
    return max(float(envelope_db(corpus.samples(note.clip)[np.newaxis], corpus.rate).max()) for note in sampled_notes)


def tuned(note: RecordedNote, rate: int) -> RecordedNote:
    return _tuned_to(note, note.single.key, rate)


def sampled(corpus: Corpus, note: RecordedNote, training_notes: Sequence[SingleNote]) -> RecordedNote | None:
    """Play a note's key as a sampler of the training notes would; None if there is no other note.

    Selects the nearest key, of the same instrument (label and program) if known. Ties are resolved by velocity if
    labeled, sufficient length (else the longest), then level, since dynamics follow loudness. The recording is
    resampled to the key's pitch, and faded at the release.
    """
    target = note.single
    candidates = [single for single in training_notes if single.clip.name != target.clip.name]
    candidates = [single for single in candidates if _same_instrument(single, target)] or candidates
    if not candidates:
        return None
    nearest_distance = min(abs(single.key - target.key) for single in candidates)
    nearest_notes = [single for single in candidates if abs(single.key - target.key) == nearest_distance]
    sampled_notes = nearest_notes[:: max(1, -(-len(nearest_notes) // LISTENED))]
    tuned_notes = [_tuned_to(note_of(corpus, single), target.key, corpus.rate) for single in sampled_notes]
    longest = min(note.held_seconds, max(candidate.held_seconds for candidate in tuned_notes))
    best = min(
        tuned_notes,
        key=lambda candidate: (
            _velocity_gap(candidate, note),
            candidate.held_seconds < longest,
            abs(candidate.level_db - note.level_db),
        ),
    )
    return _release(best, note.held_seconds, corpus.rate)


def second_take(corpus: Corpus, note: RecordedNote, notes: Sequence[SingleNote]) -> RecordedNote | None:
    """Return another recording of a note's key and velocity, tuned to the key; None if there is none.

    Of the same instrument, with the nearest held duration.
    """
    target = note.single
    if target.clip.velocity is None:
        return None
    takes = [
        tuned(note_of(corpus, single), corpus.rate)
        for single in notes
        if single.clip.name != target.clip.name
        and (single.key, single.clip.velocity) == (target.key, target.clip.velocity)
        and _same_instrument(single, target)
    ]
    return min(takes, key=lambda take: abs(take.held_seconds - note.held_seconds), default=None)


def _same_instrument(first: SingleNote, second: SingleNote) -> bool:
    return (first.clip.label, first.clip.program) == (second.clip.label, second.clip.program)


def _velocity_gap(candidate: RecordedNote, note: RecordedNote) -> int:
    first, second = candidate.single.clip.velocity, note.single.clip.velocity
    return 0 if first is None or second is None else abs(first - second)


def _tuned_to(note: RecordedNote, pitch: float, rate: int) -> RecordedNote:
    ratio = semitones_to_ratio(pitch - note.single.pitch)
    sound = soxr.resample(note.sound, rate * ratio, rate).astype(np.float32)
    return RecordedNote(note.single, sound, note.held_seconds / ratio, note.level_db)


def _release(note: RecordedNote, held_seconds: float, rate: int) -> RecordedNote:
    if note.held_seconds <= held_seconds:
        return note
    seconds = np.arange(len(note.sound)) / rate - held_seconds
    fade = np.clip(1 - seconds / FADE_SECONDS, 0, 1) ** 3
    return RecordedNote(note.single, (note.sound * fade).astype(np.float32), held_seconds, note.level_db)
