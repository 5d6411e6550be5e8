"""Single notes of a corpus: selects held-out ones, cuts them out of their clips, tunes them, finds second takes."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import NamedTuple

import numpy as np
import soxr

from ...host.arrays import Array
from ...host.kinds.card_fields import PITCH_CLASSES
from ...host.model.gesture import tuning_of
from ...host.spectra import MOMENT_SECONDS, SILENT_DB, envelope_db
from ...host.units import semitones_to_ratio
from ...host.velocity import LOUDEST, SQUARED_DB
from ...train.corpus.clip_table import Clip, Split
from ...train.corpus.file_names import best_reading, number_readings, spelling_readings
from ...train.corpus.pitch import single_note
from ...train.corpus.store import Corpus
from ...train.metrics.clips import rise
from ...train.sampling import thinned

HELD_OUT: tuple[Split, ...] = ("test", "val")  # no weight was trained on either; validation selected the checkpoint
ONSET_DB, KEPT_SECONDS = 40.0, 0.008  # below a recording's loudest moment: its onset, so long before its rise at most
RANGE_DB = 50.0  # below it: its end
RELEASED_DB_SECOND = 60.0  # a faster fall is a release: rooms decay by 60 dB a second, strings ring longer
SUSTAINED_DB, RELEASED_DB = 20.0, 15.0  # range below the loudest moment where a note is held; fall after a release
RISEN_DB, STRUCK_SECONDS = 3.0, 0.1  # under the loudest moment, and after that: a struck string falls fast at first
RELEASED_SECONDS = 0.1  # kept after a known release, though the note may have fallen below its range
FARTHEST_TUNING = 0.75  # semitones between a note and that of its name: further off, the name counts otherwise, or lies
FEWEST_NAMED, NAMED_SHARE = 4, 0.75  # notes of an instrument so near to their names, and the share of them
MOST_TUNED = 1024  # notes of a corpus that tell how instruments are tuned
LEVELLED = 256  # training notes searched for the loudest
FEWEST_OF_TWO = 6  # notes: a soft and a loud one of three keys say more than one of six keys


class SingleNote(NamedTuple):
    """A clip of a single note, with its detected MIDI pitch (fractional), and how far that lies off its key."""

    clip: Clip
    pitch: float
    tuning: float = 0.0

    @property
    def in_tune(self) -> float:
        """Pitch less tuning."""
        return self.pitch - self.tuning

    @property
    def key(self) -> int:
        return int(np.clip(np.floor(self.in_tune + 0.5), 0, 127))


@dataclass(frozen=True)
class RecordedNote:
    """A note from its onset to its end, [samples].

    ``held_seconds`` is the time of the release, ``level_db`` the loudest moment in dBFS, ``start`` the onset's sample.
    """

    single: SingleNote
    sound: Array
    held_seconds: float
    level_db: float
    start: int = 0


class NoteSound(NamedTuple):
    """The sound of a note.

    Args:
        mono: [samples].
        sides: left and right side, [2, samples]; None beside a mono recording.
    """

    mono: Array
    sides: Array | None = None

    def channel(self, number: int) -> Array:
        """Return the left side for 0, the right one for 1, else the mono sound, also where there are no sides."""
        return self.mono if self.sides is None or number > 1 else self.sides[number]

    def shorten(self, sample_count: int) -> "NoteSound":
        """Return the first samples."""
        return NoteSound(self.mono[:sample_count], None if self.sides is None else self.sides[:, :sample_count])


def singles(corpus: Corpus, split: Split) -> list[SingleNote]:
    """Return a split's single notes by detected pitch, regardless of labels.

    A note within 75 cents of that of its file's name, or of a sampler's key, is tuned so far off. Others are as far
    off keys as their instrument is: an instrument between two keys would mix each note with the next one's.
    """
    tunings = _tunings(corpus)
    notes = []
    for clip in corpus.clips(split):
        if (pitch := single_note(corpus.pitch(clip))) is not None:
            tuning = tunings.get((clip.label, clip.program), NO_TUNING)
            notes.append(SingleNote(clip, pitch, tuning.of(clip, pitch)))
    return notes


class _Tuning(NamedTuple):
    """An instrument's deviation from keys in semitones, and keys by the names of its files, in any octave."""

    semitones: float = 0.0
    keys: Mapping[str, int] = MappingProxyType({})

    def of(self, clip: Clip, pitch: float) -> float:
        """Return how far a note lies off its key."""
        key = self.keys.get(clip.name)
        deviation = None if key is None else _deviation(pitch, key)
        return self.semitones if deviation is None or abs(deviation) > FARTHEST_TUNING else deviation


NO_TUNING = _Tuning()


def _tunings(corpus: Corpus) -> dict[tuple[str, int | None], _Tuning]:
    """Return tunings of instruments, by label and program, from as many notes as matter."""
    clips_by_instrument: dict[tuple[str, int | None], list[tuple[Clip, float]]] = {}
    for clip in thinned([clip for split in ("train", *HELD_OUT) for clip in corpus.clips(split)], MOST_TUNED):
        if (pitch := single_note(corpus.pitch(clip))) is not None:
            clips_by_instrument.setdefault((clip.label, clip.program), []).append((clip, pitch))
    return {instrument: _tuning(notes) for instrument, notes in clips_by_instrument.items()}


def _tuning(notes: Sequence[tuple[Clip, float]]) -> _Tuning:
    """Return the tuning of an instrument's notes; names of files count where most agree with the sounds."""
    semitones = tuning_of(np.array([pitch for _, pitch in notes]))
    pitch_by_file = {clip.name: pitch for clip, pitch in notes if clip.onset_seconds is None}
    readings = [*spelling_readings(pitch_by_file), *(one for one in number_readings(pitch_by_file) if one.sure)]
    reading = best_reading(readings, pitch_by_file)
    keys = {} if reading is None else reading.single_notes()
    keys |= {clip.name: clip.key for clip, _ in notes if clip.key is not None}
    deviations = [_deviation(pitch, keys[clip.name]) for clip, pitch in notes if clip.name in keys]
    near = [deviation for deviation in deviations if abs(deviation) <= FARTHEST_TUNING]
    if len(near) < max(FEWEST_NAMED, NAMED_SHARE * len(notes)):
        return _Tuning(semitones)
    return _Tuning(semitones + round(float(np.median(near)) - semitones), keys)


def _deviation(pitch: float, key: int) -> float:
    """Return the semitones from a key to a pitch of any octave, -6 to 6."""
    return (pitch - key + PITCH_CLASSES / 2) % PITCH_CLASSES - PITCH_CLASSES / 2


def held_out(corpus: Corpus, count: int, seed: int) -> list[SingleNote]:
    """Select at most ``count`` held-out notes, sorted by key: of the test split, and if too few, of validation.

    Skips validation if no training note has a key of the test notes: its keys were trained. Each key gets one note
    before any gets two.
    """
    picked_notes: list[SingleNote] = []
    rng = np.random.default_rng(seed)
    trained_keys = {single.key for single in singles(corpus, "train")}
    for split in HELD_OUT:
        picked_notes += spread(singles(corpus, split), count - len(picked_notes), rng)
        if trained_keys and picked_notes and not trained_keys & {single.key for single in picked_notes}:
            break
    return sorted(picked_notes, key=lambda note: (note.key, note.clip.name))


def spread(
    notes: Sequence[SingleNote], count: int, rng: np.random.Generator, loudness: Sequence[float] = ()
) -> list[SingleNote]:
    """Draw at most ``count`` notes, equally many per key; if some keys get one less, those kept are evenly spaced.

    With ``loudness``, [notes], each key's softest note comes first, then its loudest, then random ones. If not every
    key can have those of its two that there are, evenly spaced keys have both.
    """
    if len(loudness):
        key_counts = Counter(note.key for note in notes)
        keys = sorted(key_counts)
        if FEWEST_OF_TWO <= count < sum(min(key_count, 2) for key_count in key_counts.values()):
            kept_keys = {keys[int(i)] for i in np.linspace(0, len(keys) - 1, count // 2).round()}
            kept_indices = [note_index for note_index, note in enumerate(notes) if note.key in kept_keys]
            notes, loudness = (
                [notes[note_index] for note_index in kept_indices],
                [loudness[note_index] for note_index in kept_indices],
            )
    notes_by_round: dict[int, list[SingleNote]] = {}
    counts_by_key: dict[int, int] = {}
    note_order = [int(note_index) for note_index in rng.permutation(len(notes))]
    if len(loudness):
        note_order.sort(key=lambda note_index: loudness[note_index])
        indices_by_key = {
            key: [note_index for note_index in note_order if notes[note_index].key == key]
            for key in {note.key for note in notes}
        }
        end_indices = {
            note_index for key_indices in indices_by_key.values() for note_index in (key_indices[0], key_indices[-1])
        }
        middle_indices = [
            int(note_index) for note_index in rng.permutation(len(notes)) if int(note_index) not in end_indices
        ]
        note_order = [note_index for note_index in note_order if note_index in end_indices] + middle_indices
    for note_index in note_order:
        note = notes[note_index]
        counts_by_key[note.key] = counts_by_key.get(note.key, 0) + 1
        notes_by_round.setdefault(counts_by_key[note.key], []).append(note)
    picked_notes: list[SingleNote] = []
    for round_number in sorted(notes_by_round):
        round_notes = sorted(notes_by_round[round_number], key=lambda note: note.key)
        picked_count = min(count - len(picked_notes), len(round_notes))
        picked_notes += [round_notes[int(i)] for i in np.linspace(0, len(round_notes) - 1, picked_count).round()]
    return picked_notes


def note_of(corpus: Corpus, single: SingleNote) -> RecordedNote:
    """Cut a note out of its clip, and find its release.

    It begins 8 ms before its `rise` at most: hands, breath and keys before it would make it late.
    The release is where the level starts to fall faster than 60 dB a second until the end: the stop of a blown or bowed
    tone, or the end of a decaying one. A fall by 15 dB as fast and without return is the release too, from within 20 dB
    of the loudest moment, 0.1 s after the attack or later: then noise and knocks may follow. High strings fall as fast
    when struck, and ring on. A corpus that says when notes were released decides; then the note ends as far below its
    level at the release as others below their loudest moment: of a note that has nearly rung out, the release counts.
    """
    return cut(single, corpus.samples(single.clip), corpus.rate)


def cut(single: SingleNote, sound: Array, rate: int) -> RecordedNote:
    """Return the note in a sound, [samples], as `note_of` does."""
    step_levels = envelope_db(sound[np.newaxis], rate)[0].astype(np.float64)
    loudest_level = float(step_levels.max())
    first_step = max(
        int(np.argmax(step_levels > loudest_level - ONSET_DB)),
        rise(step_levels)[0] - round(KEPT_SECONDS / MOMENT_SECONDS),
    )
    last_step = int(np.flatnonzero(step_levels > loudest_level - RANGE_DB)[-1])
    note_levels = step_levels[first_step : last_step + 1]
    # The slope puts the maximum where the level starts to fall faster than it until the end.
    tilted_levels = note_levels + RELEASED_DB_SECOND * MOMENT_SECONDS * np.arange(len(note_levels))
    release_step = int(np.argmax(tilted_levels))
    is_sounding = note_levels > loudest_level - SUSTAINED_DB
    is_sounding[: int(np.argmax(note_levels > loudest_level - RISEN_DB)) + round(STRUCK_SECONDS / MOMENT_SECONDS)] = (
        False
    )
    stop_step = int(np.argmax(np.where(is_sounding, tilted_levels, -np.inf)))
    fallen_step = stop_step + round(RELEASED_DB / RELEASED_DB_SECOND / MOMENT_SECONDS)
    if is_sounding.any() and note_levels[fallen_step:].max(initial=-np.inf) <= note_levels[stop_step] - RELEASED_DB:
        release_step = stop_step
    if (held_seconds := single.clip.held_seconds) is not None:
        release_step = min(round(held_seconds / MOMENT_SECONDS) - first_step, len(note_levels) - 1)
        released_step = first_step + release_step + round(RELEASED_SECONDS / MOMENT_SECONDS)
        is_audible = step_levels > max(float(note_levels[release_step]) - RANGE_DB, SILENT_DB)
        last_step = max(int(np.flatnonzero(is_audible)[-1]), min(released_step, len(step_levels) - 1))
    start_sample, stop_sample = (round(step * MOMENT_SECONDS * rate) for step in (first_step, last_step + 1))
    return RecordedNote(
        single,
        np.array(sound[start_sample:stop_sample], np.float32),
        max(release_step, 1) * MOMENT_SECONDS,
        loudest_level,
        start_sample,
    )


def sides_of(corpus: Corpus, note: RecordedNote) -> Array:
    """Return the left and right side of a note from `note_of`, [2, samples]; of a mono sound both alike."""
    return corpus.sides(note.single.clip)[:, note.start : note.start + len(note.sound)]


def tuned_sides(corpus: Corpus, single: SingleNote, pitch: float) -> Array:
    """Return `sides_of` a note resampled to a pitch, as `tune_to`."""
    return transpose(sides_of(corpus, note_of(corpus, single)), pitch - single.pitch, corpus.rate)


def velocity(note: RecordedNote, loudest_db: float) -> int:
    """Return a note's labelled velocity, or the one that its level gives."""
    labelled_velocity = note.single.clip.velocity
    if labelled_velocity is not None:
        return max(1, labelled_velocity)
    return int(np.clip(round(LOUDEST * 10 ** ((note.level_db - loudest_db) / SQUARED_DB)), 1, LOUDEST))


def loudest_db(corpus: Corpus, notes: Sequence[SingleNote]) -> float:
    """Return the loudest moment among notes in dBFS; measures every n-th of many."""
    sampled_notes = notes[:: max(1, -(-len(notes) // LEVELLED))]
    return max(float(envelope_db(corpus.samples(note.clip)[np.newaxis], corpus.rate).max()) for note in sampled_notes)


def tuned(note: RecordedNote, rate: int) -> RecordedNote:
    """Return a note resampled to its key."""
    return tune_to(note, note.single.key, rate)


def second_take(corpus: Corpus, note: RecordedNote, notes: Sequence[SingleNote]) -> RecordedNote | None:
    """Return another recording of a note's key and velocity, tuned to the key; None if there is none.

    Of the same instrument, with the nearest held duration.
    """
    target_note = note.single
    if target_note.clip.velocity is None:
        return None
    takes = [
        tuned(note_of(corpus, single), corpus.rate)
        for single in notes
        if single.clip.name != target_note.clip.name
        and (single.key, single.clip.velocity) == (target_note.key, target_note.clip.velocity)
        and is_same_instrument(single, target_note)
    ]
    return min(takes, key=lambda take: abs(take.held_seconds - note.held_seconds), default=None)


def is_same_instrument(first: SingleNote, second: SingleNote) -> bool:
    return (first.clip.label, first.clip.program) == (second.clip.label, second.clip.program)


def tune_to(note: RecordedNote, pitch: float, rate: int) -> RecordedNote:
    """Return a note resampled to a pitch."""
    semitones = pitch - note.single.pitch
    sound = transpose(note.sound, semitones, rate)
    return RecordedNote(note.single, sound, note.held_seconds / semitones_to_ratio(semitones), note.level_db)


def transpose(sound: Array, semitones: float, rate: int) -> Array:
    """Return a sound, [..., samples], played so much higher."""
    transposed: Array = soxr.resample(sound.T, rate * semitones_to_ratio(semitones), rate).T.astype(np.float32)
    return transposed
