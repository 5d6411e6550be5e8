"""Selects the training notes of a model's gestures."""

from collections.abc import Sequence

import numpy as np

from ...host.arrays import Array
from ...train.corpus.store import Corpus
from ..fidelity.measures import course, shape_db
from ..fidelity.notes import SingleNote, note_of, spread

MOST_NOTES, MOST_NOTES_OF_SEVERAL = 256, 1024  # limits for one instrument, and for several together: 4 to 10 kB a note
FEWEST_KEYS = 3  # median per instrument: a group with fewer is a single note or an articulation, not an instrument
SEED = 0  # of the choice of notes
SAME_DB = 0.5  # of shape: less is one recording at two levels, such as a soundfont's; two takes lie 2 dB apart


def with_attacks(notes: list[SingleNote]) -> list[SingleNote]:
    """Return notes that are not slurred, if they have enough keys: a key struck alone begins as they do."""
    attacked = [single for single in notes if not single.clip.slurred]
    return attacked if len({single.key for single in attacked}) >= FEWEST_KEYS else notes


def distinct_notes(corpus: Corpus, notes: Sequence[SingleNote]) -> list[SingleNote]:
    """Return notes without those that are a louder one of their key, played softer; takes of one velocity stay."""
    rivals: dict[tuple[str, int | None, int], list[SingleNote]] = {}
    for single in notes:
        if single.clip.velocity is not None:
            rivals.setdefault((*instrument_of(single), single.key), []).append(single)
    repeated: set[str] = set()
    for key_notes in rivals.values():
        if len({_velocity(single) for single in key_notes}) < 2:
            continue
        distinct_sounds: list[tuple[int, Array]] = []
        for single in sorted(key_notes, key=_velocity, reverse=True):
            sound = note_of(corpus, single).sound
            louder_sounds = [louder for velocity, louder in distinct_sounds if velocity > _velocity(single)]
            if any(_distance_db(louder_sound, sound, corpus.rate) < SAME_DB for louder_sound in louder_sounds):
                repeated.add(single.clip.name)
            else:
                distinct_sounds.append((_velocity(single), sound))
    return [single for single in notes if single.clip.name not in repeated]


def _distance_db(first: Array, second: Array, rate: int) -> float:
    """Return the `shape_db` of two notes, as far as both last."""
    sample_count = min(len(first), len(second))
    return shape_db(course(first[:sample_count], rate), course(second[:sample_count], rate))


def _velocity(single: SingleNote) -> int:
    return single.clip.velocity or 0


def select_notes(corpus: Corpus, candidates: Sequence[SingleNote]) -> list[SingleNote]:
    """Select notes that spread over keys and loudness, as many of each instrument, or all that it has."""
    loudness = [_loudness(corpus, single) for single in candidates]
    indices_by_instrument: dict[tuple[str, int | None], list[int]] = {}
    for note_index, single in enumerate(candidates):
        indices_by_instrument.setdefault(instrument_of(single), []).append(note_index)
    key_counts = [
        len({candidates[note_index].key for note_index in note_indices})
        for note_indices in indices_by_instrument.values()
    ]
    note_limit = MOST_NOTES if len(indices_by_instrument) == 1 else MOST_NOTES_OF_SEVERAL
    if np.median(key_counts) < FEWEST_KEYS or FEWEST_KEYS * len(indices_by_instrument) > note_limit:
        return spread(candidates, note_limit, np.random.default_rng(SEED), loudness)
    note_counts = _shares([len(note_indices) for note_indices in indices_by_instrument.values()], note_limit)
    return [
        note
        for note_indices, note_count in zip(indices_by_instrument.values(), note_counts, strict=True)
        for note in spread(
            [candidates[note_index] for note_index in note_indices],
            note_count,
            np.random.default_rng(SEED),
            [loudness[note_index] for note_index in note_indices],
        )
    ]


def _shares(counts: Sequence[int], limit: int) -> list[int]:
    """Return equal shares of a limit, [instruments]; those with fewer than theirs leave the rest to the others."""
    shares = [0] * len(counts)
    for place, instrument in enumerate(sorted(range(len(counts)), key=counts.__getitem__)):
        shares[instrument] = min(counts[instrument], (limit - sum(shares)) // (len(counts) - place))
    return shares


def instrument_of(single: SingleNote) -> tuple[str, int | None]:
    return single.clip.label, single.clip.program


def _loudness(corpus: Corpus, single: SingleNote) -> float:
    """Return a note's velocity, or the peak of its samples without one."""
    if single.clip.velocity is not None:
        return float(single.clip.velocity)
    return float(np.abs(corpus.samples(single.clip)).max())
