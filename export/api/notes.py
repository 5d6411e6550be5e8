"""Notes and knob movements from Python, as events."""

import itertools
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from operator import index
from typing import Any, NamedTuple

import numpy as np

from ...host.errors import UserError, nearest
from ...host.events import Event, NoteOff, NoteOn, ParameterChange
from ...host.midi.performance import LONGEST_SECONDS, Performance

STEP_SECONDS = 0.005  # between the values of a moving knob; the player's own ramps smooth them

Points = float | Sequence[tuple[float, float]]  # a position, or (seconds, position) pairs in order of time


@dataclass(frozen=True)
class Note:
    """A note: MIDI ``key`` 0 to 127 (60 is C4), ``start`` and ``duration`` in seconds, ``velocity`` 1 to 127.

    Raises:
        UserError: a value is out of its range.
    """

    key: int
    start: float = 0.0
    duration: float = 1.0
    velocity: int = 100

    def __post_init__(self) -> None:
        for name, low, high in (("key", 0, 127), ("velocity", 1, 127)):
            value = getattr(self, name)
            try:
                whole = index(value)
            except TypeError:
                raise UserError(f"Note: {name} {value!r} is not a whole number; give {low} to {high}") from None
            if not low <= whole <= high:
                raise UserError(f"Note: {name} {value!r} is out of range; give {low} to {high}")
        if not 0 <= number("Note: start", self.start) <= LONGEST_SECONDS:
            raise UserError(f"Note: start {self.start!r} is out of range; give 0 to {LONGEST_SECONDS} seconds")
        if not 0 < number("Note: duration", self.duration) <= LONGEST_SECONDS:
            raise UserError(f"Note: duration {self.duration!r} is out of range; give seconds, more than 0")


class KnobRange(NamedTuple):
    """A knob: the ``target`` as in presets, and its ``low``, ``high`` and ``rest`` in ``unit``."""

    target: str
    low: float
    high: float
    rest: float
    unit: str


def performance_of(notes: Iterable[Note], sample_rate: int) -> Performance:
    """Return the notes as events; a restruck key is released first.

    Raises:
        UserError: no `Note`.
    """
    given = list(notes)
    for note in given:
        if not isinstance(note, Note):
            raise UserError(f"{note!r} is no timbrel.Note; give notes, or the path of a MIDI file")
    timed: list[tuple[int, int, int, Event]] = []
    following: dict[int, int] = {}  # the start of each key's next note
    length = 0
    for note in sorted(given, key=lambda note: (note.start, note.duration), reverse=True):
        key, start = index(note.key), round(float(note.start) * sample_rate)
        end = max(start + 1, round((float(note.start) + float(note.duration)) * sample_rate))
        length = max(length, end)
        again = following.get(key, end)
        following[key] = start
        if again == start:  # of strikes at once the longest counts
            continue
        timed.append((start, 1, key, NoteOn(start, 0, key, index(note.velocity))))
        timed.append((min(end, again), 0, key, NoteOff(min(end, again), 0, key)))
    timed.sort(key=lambda entry: entry[:3])
    warnings = [] if timed else ["no notes: the output is silence"]
    return Performance([event for *_, event in timed], length, [0] if timed else [], warnings)


def knob_changes(
    knobs: Mapping[str, Points], known: Mapping[str, KnobRange], channels: Iterable[int], sample_rate: int
) -> list[ParameterChange]:
    """Return changes of knobs, by name or target, in order of time.

    Positions are 0 to 1 of a knob's range; lines join points, and both ends hold.

    Raises:
        UserError: an unknown knob, or points that are not in order of time.
    """
    targets = {knob.target: knob for knob in known.values()}
    changes: list[ParameterChange] = []
    on = list(channels)
    for name, points in knobs.items():
        knob = known.get(name) or targets.get(name)
        if knob is None:
            raise UserError(f"no knob is named {name!r}{nearest(name, [*known, *targets])}")
        for seconds, position in _moments(name, points):
            value = knob.low + position * (knob.high - knob.low)
            changes += [ParameterChange(round(seconds * sample_rate), channel, knob.target, value) for channel in on]
    return sorted(changes, key=lambda change: change.time)


def _moments(name: str, points: Points) -> list[tuple[float, float]]:
    pairs: list[Any] = [(0.0, points)]
    if isinstance(points, Iterable) and np.ndim(points) > 0:  # an array of numpy may be one number
        pairs = list(points)
    if not pairs:
        raise UserError(f"knob {name!r} has no points; give (seconds, position) pairs, or one position")
    for pair in pairs:
        if isinstance(pair, str) or not hasattr(pair, "__len__") or len(pair) != 2:
            raise UserError(f"knob {name!r}: {pair!r} is no pair; give (seconds, position)")
        seconds, position = (number(f"knob {name!r}: ", part) for part in pair)
        if not 0 <= position <= 1:
            raise UserError(f"knob {name!r}: position {position:g} is out of range; give 0 to 1 of its range")
        if not 0 <= seconds <= LONGEST_SECONDS:
            raise UserError(f"knob {name!r}: {seconds:g} s is out of range; give 0 to {LONGEST_SECONDS} seconds")
    pairs = [(float(seconds), float(position)) for seconds, position in pairs]
    moments = [(0.0, pairs[0][1])]
    for (began, low), (ended, high) in itertools.pairwise(pairs):
        if ended < began:
            raise UserError(f"knob {name!r}: {ended:g} s comes after {began:g} s; give points in order of time")
        steps = max(1, math.ceil((ended - began) / STEP_SECONDS)) if high != low else 1
        parts = np.arange(1, steps + 1) / steps
        moments += [(float(began + p * (ended - began)), float(low + p * (high - low))) for p in parts]
    return moments


def number(name: str, value: object) -> float:
    """Return a finite number; raise UserError for all else."""
    if isinstance(value, int | float | np.number | np.ndarray) and np.ndim(value) == 0 and math.isfinite(value):
        return float(value)
    raise UserError(f"{name} {value!r} is no number; give one")
