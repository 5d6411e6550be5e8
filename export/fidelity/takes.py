"""Compares the difference of two strikes with that of two recordings of one key and velocity."""

import contextlib
import itertools
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

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

Array = npt.NDArray[np.float32]

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
    recorded, played = [], []
    for note, velocity in notes:
        take = second_take(corpus, note, others)
        if take is None:
            continue
        held = min(note.held_seconds, take.held_seconds)
        length = round(COMMON * held * rate)
        recorded.append(_apart(note.sound[:length], take.sound[:length], rate))
        struck = strikes(patch, note.single.key, velocity, held, STRIKES)
        played += [_apart(one[:length], other[:length], rate) for one, other in itertools.combinations(struck, 2)]
        if len(recorded) == PAIRS:
            break
    if not recorded:
        return None
    figures: Figures = {"pairs": len(recorded)}
    for name, rows in (("recorded", recorded), ("played", played)):
        shape, level = np.median(rows, axis=0).tolist()
        figures[name] = {"shape_db": shape, "level_db": level}
    return figures


def strikes(patch: Patch, key: int, velocity: int, held_seconds: float, count: int) -> list[Array]:
    """Strike a key some times, and return the mono sound of each while it is held, [samples] at the model's rate."""
    rate = patch.model.card.sample_rate
    held = max(1, round(held_seconds * rate))
    starts = [number * (held + round(REST_SECONDS * rate)) for number in range(count)]
    events: list[Event] = []
    for start in starts:
        events += [NoteOn(start, 0, key, velocity), NoteOff(start + held, 0, key)]
    performance = Performance(events=events, length=starts[-1] + held, channels=[0], warnings=[])
    with contextlib.closing(Rack({0: patch}, rate)) as rack:
        sound = np.concatenate([mix for _, mix, _ in blocks(rack, performance, 0.0, rate)], axis=1).mean(0)
    return [sound[start : start + held] for start in starts]


def _apart(one: Array, other: Array, rate: int) -> tuple[float, float]:
    count = min(len(one), len(other))
    levels = [float(envelope_db(sound[np.newaxis], rate)[0].max()) for sound in (one, other)]
    return sustain_db(one[:count], other[:count], rate), abs(levels[0] - levels[1])
