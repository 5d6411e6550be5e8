"""Chooses the recordings to compare with: single notes that training never saw, and a sampler's for them."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import soxr

from ...host.units import semitones_to_ratio
from ...train.corpus.pitch import single_note
from ...train.corpus.store import Clip, Corpus, Split
from ...train.metrics.loudness import STEP_SECONDS, envelope_db

Array = npt.NDArray[np.float32]

HELD_OUT: tuple[Split, ...] = ("test", "val")  # no weight was trained on either; the latter chose the checkpoint
ONSET_DB = 40.0  # under a recording's loudest moment: there it begins to sound
RANGE_DB = 50.0  # under it, where it has ended
RELEASED_DB_SECOND = 60.0  # what falls faster was let go: rooms give back 60 dB in a second, strings ring longer
SUSTAINED_DB, RELEASED_DB = 20.0, 15.0  # under its loudest, where it is held; by which it falls when it is let go
FADE_SECONDS = 0.2  # of a sampler's key that is let go: the release of the first preset
LEVELLED = 256  # training notes that are asked for the loudest
FEWEST_OF_TWO = 6  # notes of which a soft and a loud one of three keys tell more than one of six
LISTENED = 32  # of a key, among which the one as loud is looked for
LOUDEST, SQUARED_DB = 127, 40.0  # MIDI's; the host's gain is the velocity's square: 40 dB a tenfold velocity


class Single(NamedTuple):
    """A clip that is a single note: the MIDI note heard in it, with fractions."""

    clip: Clip
    pitch: float

    @property
    def key(self) -> int:
        """Return the key that is nearest."""
        return int(np.clip(np.floor(self.pitch + 0.5), 0, 127))


@dataclass(frozen=True)
class RecordedNote:
    """A recorded note: from where it begins to sound to where it has ended, [samples], and how a key plays it.

    ``held_seconds`` is when it was let go, ``level_db`` its loudest moment in dB of full scale.
    """

    single: Single
    sound: Array
    held_seconds: float
    level_db: float


def singles(corpus: Corpus, split: Split) -> list[Single]:
    """Return the clips of a split that are single notes, by the pitch that was heard, whatever they are labelled."""
    heard = [(clip, single_note(corpus.pitch(clip))) for clip in corpus.clips(split)]
    return [Single(clip, pitch) for clip, pitch in heard if pitch is not None]


def held_out(corpus: Corpus, count: int, seed: int) -> list[Single]:
    """Choose at most ``count`` notes that training never saw: the test split's, and if these are few validation's.

    Where no training note has a key of the test split's, notes of validation are left out: their keys were heard. Each
    key has one before any has two; which ones, chance decides by ``seed``. They come in the order of their keys.
    """
    chosen: list[Single] = []
    rng = np.random.default_rng(seed)
    trained = {single.key for single in singles(corpus, "train")}
    for split in HELD_OUT:
        chosen += spread(singles(corpus, split), count - len(chosen), rng)
        if trained and chosen and not trained & {single.key for single in chosen}:
            break
    return sorted(chosen, key=lambda note: (note.key, note.clip.name))


def spread(
    notes: Sequence[Single], count: int, rng: np.random.Generator, loudness: Sequence[float] = ()
) -> list[Single]:
    """Draw at most ``count`` notes, of all keys alike; where not every key can have another, of keys evenly spread.

    Where ``loudness`` is given, [notes], the softest of each key comes first, then its loudest, then what chance draws;
    and where not every key can have two, both of as many keys, evenly spread, as can.
    """
    if len(loudness):
        keys = sorted({note.key for note in notes})
        if FEWEST_OF_TWO <= count < 2 * len(keys):
            kept = {keys[int(i)] for i in np.linspace(0, len(keys) - 1, count // 2).round()}
            places = [place for place, note in enumerate(notes) if note.key in kept]
            notes, loudness = [notes[place] for place in places], [loudness[place] for place in places]
    rounds: dict[int, list[Single]] = {}
    taken: dict[int, int] = {}
    drawn = [int(place) for place in rng.permutation(len(notes))]
    if len(loudness):
        drawn.sort(key=lambda place: loudness[place])
        of_key = {key: [place for place in drawn if notes[place].key == key] for key in {note.key for note in notes}}
        ends = {place for places in of_key.values() for place in (places[0], places[-1])}
        rest = [int(place) for place in rng.permutation(len(notes)) if int(place) not in ends]
        drawn = [place for place in drawn if place in ends] + rest
    for place in drawn:
        note = notes[place]
        taken[note.key] = taken.get(note.key, 0) + 1
        rounds.setdefault(taken[note.key], []).append(note)
    chosen: list[Single] = []
    for turn in sorted(rounds):
        ordered = sorted(rounds[turn], key=lambda note: note.key)
        room = min(count - len(chosen), len(ordered))
        chosen += [ordered[int(i)] for i in np.linspace(0, len(ordered) - 1, room).round()]
    return chosen


def note_of(corpus: Corpus, single: Single) -> RecordedNote:
    """Cut a note out of its clip, and find when it was let go.

    That is the moment after which it falls faster than 60 dB a second until it has ended: of a tone that is blown or
    bowed where the player stops, of one that rings out its end. Noise and knocks after a tone are none of it: where it
    falls as fast by 15 dB from within 20 dB of its loudest moment, and stays there, it was let go.
    """
    return cut(single, corpus.samples(single.clip), corpus.rate)


def cut(single: Single, sound: Array, rate: int) -> RecordedNote:
    """Return the note that a sound, [samples], holds; see `note_of`."""
    levels = envelope_db(sound[np.newaxis], rate)[0].astype(np.float64)
    loudest = float(levels.max())
    first = int(np.argmax(levels > loudest - ONSET_DB))
    last = int(np.flatnonzero(levels > loudest - RANGE_DB)[-1])
    kept = levels[first : last + 1]
    risen = kept + RELEASED_DB_SECOND * STEP_SECONDS * np.arange(len(kept))
    held = int(np.argmax(risen))
    stops = int(np.argmax(np.where(kept > loudest - SUSTAINED_DB, risen, -np.inf)))
    fallen = stops + round(RELEASED_DB / RELEASED_DB_SECOND / STEP_SECONDS)
    if kept[fallen:].max(initial=-np.inf) <= kept[stops] - RELEASED_DB:
        held = stops
    begin, end = (round(moment * STEP_SECONDS * rate) for moment in (first, last + 1))
    return RecordedNote(single, np.array(sound[begin:end], np.float32), max(held, 1) * STEP_SECONDS, loudest)


def velocity(note: RecordedNote, loudest_db: float) -> int:
    """Return the velocity that a note was played at: its label's, else the one that is as much softer than the loudest.

    Args:
        loudest_db: the level of the loudest training note, which 127 plays.
    """
    labelled = note.single.clip.velocity
    if labelled is not None:
        return max(1, labelled)
    return int(np.clip(round(LOUDEST * 10 ** ((note.level_db - loudest_db) / SQUARED_DB)), 1, LOUDEST))


def loudest_db(corpus: Corpus, notes: Sequence[Single]) -> float:
    """Return the level of the loudest of some notes' moments, in dB of full scale; of many every n-th is asked."""
    few = notes[:: max(1, -(-len(notes) // LEVELLED))]
    return max(float(envelope_db(corpus.samples(note.clip)[np.newaxis], corpus.rate).max()) for note in few)


def tuned(note: RecordedNote, rate: int) -> RecordedNote:
    """Return a note played as much faster or slower as brings it to its key."""
    return _turned(note, note.single.key, rate)


def sampled(corpus: Corpus, note: RecordedNote, known: Sequence[Single]) -> RecordedNote | None:
    """Return a key as a sampler of the training notes plays it; None where there is no other note than the one asked.

    That is a recording of the nearest key, its own among them, of the same instrument where clips say which (label and
    program); of these the one of the nearest velocity where clips say it; then one that is held as long, if there is
    any, else the longest; and then the one that is nearly as loud, as dynamics go with loudness. It is played faster or
    slower until it has the key's pitch, and fades where the key is let go.
    """
    own = note.single
    others = [single for single in known if single.clip.name != own.clip.name]
    others = [single for single in others if _plays_with(single, own)] or others
    if not others:
        return None
    nearest = min(abs(single.key - own.key) for single in others)
    of_key = [single for single in others if abs(single.key - own.key) == nearest]
    few = of_key[:: max(1, -(-len(of_key) // LISTENED))]
    turned = [_turned(note_of(corpus, single), own.key, corpus.rate) for single in few]
    longest = min(note.held_seconds, max(one.held_seconds for one in turned))
    best = min(
        turned,
        key=lambda one: (_softer(one, note), one.held_seconds < longest, abs(one.level_db - note.level_db)),
    )
    return _let_go(best, note.held_seconds, corpus.rate)


def second_take(corpus: Corpus, note: RecordedNote, others: Sequence[Single]) -> RecordedNote | None:
    """Return another recording of a note's key and velocity, tuned to the key; None where there is none.

    It is of the same instrument, and of several the one that is held for nearly as long.
    """
    own = note.single
    if own.clip.velocity is None:
        return None
    takes = [
        tuned(note_of(corpus, single), corpus.rate)
        for single in others
        if single.clip.name != own.clip.name
        and (single.key, single.clip.velocity) == (own.key, own.clip.velocity)
        and _plays_with(single, own)
    ]
    return min(takes, key=lambda take: abs(take.held_seconds - note.held_seconds), default=None)


def _plays_with(one: Single, other: Single) -> bool:
    """Return whether two notes are of one instrument, as far as clips say it."""
    return (one.clip.label, one.clip.program) == (other.clip.label, other.clip.program)


def _softer(one: RecordedNote, other: RecordedNote) -> int:
    """Return how far two notes' velocities are from each other; 0 where one of them has none."""
    first, second = one.single.clip.velocity, other.single.clip.velocity
    return 0 if first is None or second is None else abs(first - second)


def _turned(note: RecordedNote, pitch: float, rate: int) -> RecordedNote:
    """Return a note played as much faster or slower as gives it another pitch."""
    ratio = semitones_to_ratio(pitch - note.single.pitch)
    sound = soxr.resample(note.sound, rate * ratio, rate).astype(np.float32)
    return RecordedNote(note.single, sound, note.held_seconds / ratio, note.level_db)


def _let_go(note: RecordedNote, held_seconds: float, rate: int) -> RecordedNote:
    """Return a note whose key is let go at a moment, if it still sounds then: it fades as a preset's release does."""
    if note.held_seconds <= held_seconds:
        return note
    seconds = np.arange(len(note.sound)) / rate - held_seconds
    fade = np.clip(1 - seconds / FADE_SECONDS, 0, 1) ** 3
    return RecordedNote(note.single, (note.sound * fade).astype(np.float32), held_seconds, note.level_db)
