"""Compares the difference of two strikes with that of two recordings of one key and velocity."""

import contextlib
import itertools
from collections.abc import Sequence

import numpy as np

from ...host.arrays import Array
from ...host.events import Event, NoteOff, NoteOn
from ...host.midi.performance import Performance
from ...host.patch.library import Patch
from ...host.play.rack import Rack
from ...host.render import blocks
from ...train.corpus.store import Corpus
from ...train.metrics.loudness import envelope_db
from ..reports.report import Figures
from .measures import sustain_db
from .notes import RecordedNote, SingleNote, second_take

PAIRS = 8  # of recordings
STRIKES = 4  # of each key, all compared with each other
COMMON = 0.9  # of the shorter recording's held part: releases at other times are no difference of takes
REST_SECONDS = 1.0  # between strikes


def take_variety(
    patch: Patch, corpus: Corpus, notes: Sequence[tuple[RecordedNote, int]], others: Sequence[SingleNote]
) -> Figures | None:
    """Return medians of the differences of takes, in shape of the held part and in level, in dB; None without takes.

    Args:
        notes: tuned recordings, and the velocities to play them with.
        others: where their second takes may lie.
    """
    rate = corpus.rate
    pairs: dict[frozenset[str], tuple[RecordedNote, RecordedNote, int]] = {}
    for note, velocity in notes:
        take = second_take(corpus, note, others)
        if take is not None and len(pairs) < PAIRS:
            pairs.setdefault(frozenset({note.single.clip.name, take.single.clip.name}), (note, take, velocity))
    if not pairs:
        return None
    asked = [
        (note.single.key, velocity, min(note.held_seconds, take.held_seconds))
        for note, take, velocity in pairs.values()
    ]
    recorded, played = [], []
    for (note, take, _), (_, _, held), struck in zip(
        pairs.values(), asked, strikes(patch, asked, STRIKES), strict=True
    ):
        length = round(COMMON * held * rate)
        recorded.append(_apart(note.sound[:length], take.sound[:length], rate))
        played += [_apart(one[:length], other[:length], rate) for one, other in itertools.combinations(struck, 2)]
    figures: Figures = {"pairs": len(recorded)}
    for name, rows in (("recorded", recorded), ("played", played)):
        shape, level = np.median(rows, axis=0).tolist()
        figures[name] = {"shape_db": shape, "level_db": level}
    return figures


def strikes(patch: Patch, notes: Sequence[tuple[int, int, float]], count: int) -> list[list[Array]]:
    """Strike each note (key, velocity, seconds held) some times in one performance.

    Return the mono sound of each while held, [samples] at the model's rate. The first strike of all is left out, since
    it plays the nearest recording and no take.
    """
    rate = patch.model.card.sample_rate
    events: list[Event] = []
    places: list[tuple[int, int]] = []
    now = 0
    for key, velocity, seconds in [notes[0], *(note for note in notes for _ in range(count))]:
        held = max(1, round(seconds * rate))
        events += [NoteOn(now, 0, key, velocity), NoteOff(now + held, 0, key)]
        places.append((now, now + held))
        now += held + round(REST_SECONDS * rate)
    performance = Performance(events=events, length=now, channels=[0], warnings=[])
    with contextlib.closing(Rack({0: patch}, rate)) as rack:
        mixes = np.concatenate([mix for _, mix, _ in blocks(rack, performance, 0.0, rate)], axis=1)
    sound = mixes.mean(0, dtype=np.float32)
    struck = [sound[start:end] for start, end in places[1:]]
    return [struck[at : at + count] for at in range(0, len(struck), count)]


def _apart(one: Array, other: Array, rate: int) -> tuple[float, float]:
    count = min(len(one), len(other))
    levels = [float(envelope_db(sound[np.newaxis], rate)[0].max()) for sound in (one, other)]
    return sustain_db(one[:count], other[:count], rate), abs(levels[0] - levels[1])
