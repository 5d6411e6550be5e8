"""Automation of renderings: positions of knobs and bends over time, as events."""

import itertools
import math
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from ...host.arguments import check_text, mapping, number, value_text
from ...host.errors import UserError, nearest
from ...host.events import ControlChange, DataEntry, Event, ParameterChange, PitchBend, SystemReset, retimed
from ...host.midi.controllers import BEND_RANGE, ENTRY, RESET
from ...host.midi.files import LONGEST_SECONDS

STEP_SECONDS = 0.005  # between the values of a moving knob; the player's own ramps smooth them
MOST_BEND_SEMITONES = 24.0  # two octaves, as wheels of synthesizers reach at most
WHEEL = 8192  # steps of a pitch wheel from rest to its end

# A value; (seconds, value) pairs in order of time, also as an array [points, 2]; an array with a value a sample.
Points = float | Sequence[tuple[float, float]] | npt.NDArray[Any]


class KnobRange(NamedTuple):
    """A knob of `Instrument.knobs`.

    Attributes:
        target: its name in presets, such as ``latent.0``.
        low, high: the ends of its range, in ``unit``.
        rest: its value in the preset, in ``unit``.
        unit: such as dB, Hz or s; empty for plain numbers.
    """

    target: str
    low: float
    high: float
    rest: float
    unit: str


def knob_changes(
    knobs: Mapping[str, Points], ranges: Mapping[str, KnobRange], channels: Iterable[int], sample_rate: int
) -> list[ParameterChange]:
    """Return changes of knobs, by name or target, in order of time.

    Positions are 0 to 1 of a knob's range; lines join points, and both ends hold.

    Raises:
        UserError: an unknown knob, or points that are no points, or not in order of time.
    """
    ranges_by_target = {knob.target: knob for knob in ranges.values()}
    changes: list[ParameterChange] = []
    channel_list = list(channels)
    for knob_name, points in mapping("knobs", knobs).items():
        check_text("knob", knob_name)
        knob_range = ranges.get(knob_name) or ranges_by_target.get(knob_name)
        if knob_range is None:
            raise UserError(f"no knob is named {knob_name!r}{nearest(knob_name, [*ranges, *ranges_by_target])}")
        bounds = _Bounds(f"knob {knob_name!r}", "position", 0.0, 1.0, "of its range")
        for seconds, position in _moments(bounds, points, sample_rate):
            value = knob_range.low + position * (knob_range.high - knob_range.low)
            changes += [
                ParameterChange(round(seconds * sample_rate), channel, knob_range.target, value)
                for channel in channel_list
            ]
    return sorted(changes, key=lambda change: change.time)


def bend_events(points: Points, channels: Iterable[int], sample_rate: int) -> list[Event]:
    """Return events that bend all notes of channels, 0 to 15, by semitones, in order of time.

    A wheel's range is a power of two, so that semitones and quarter tones are exact; its steps are at most 0.4 cents.
    Each bend sets the range anew: the music may have set another.

    Raises:
        UserError: a bend out of range, or points that are not in order of time.
    """
    bounds = _Bounds("bend", "value", -MOST_BEND_SEMITONES, MOST_BEND_SEMITONES, "semitones")
    moments = _moments(bounds, points, sample_rate)
    largest_semitones = max(abs(semitones) for _, semitones in moments)
    range_semitones = 2 ** math.ceil(math.log2(max(largest_semitones, 1.0)))
    if largest_semitones == range_semitones:
        range_semitones *= 2  # the upper end of a wheel lies a step below its range
    events: list[Event] = []
    channel_list = list(channels)
    for seconds, semitones in moments:
        time, value = round(seconds * sample_rate), round(semitones / range_semitones * WHEEL)
        for channel in channel_list:
            events.append(DataEntry(time, channel, True, BEND_RANGE, "coarse", range_semitones))
            events.append(PitchBend(time, channel, value))
    return events


def hold_bends(events: Iterable[Event], bends: Collection[Event]) -> Iterator[Event]:
    """Yield events, with the present ones of ``bends`` again after messages that may reset wheels or set their range.

    Files often begin with such messages, at the time of the first bend.
    """
    bend_ids = set(map(id, bends))
    present_bends: dict[tuple[int, type], Event] = {}
    for event in events:
        yield event
        if isinstance(event, DataEntry | PitchBend) and id(event) in bend_ids:
            present_bends[event.channel, type(event)] = event
        elif isinstance(event, SystemReset) or (isinstance(event, ControlChange) and event.number in (RESET, *ENTRY)):
            yield from (retimed(bend, event.time) for bend in present_bends.values())


class _Bounds(NamedTuple):
    """A curve's name, and its values' name, range and unit, for messages."""

    name: str
    value_name: str
    low: float
    high: float
    unit: str

    @property
    def pair(self) -> str:
        return f"(seconds, {self.value_name})"

    def check(self, value: float) -> None:
        if not self.low <= value <= self.high:
            raise UserError(
                f"{self.name}: {self.value_name} {value:g} is out of range; "
                f"give {self.low:g} to {self.high:g} {self.unit}"
            )


def _moments(bounds: _Bounds, points: Points, sample_rate: int) -> list[tuple[float, float]]:
    """Return (seconds, value) pairs that lie close enough to sound like the lines between the points."""
    if isinstance(points, np.ndarray) and points.ndim == 1:
        return _sampled_moments(bounds, points, sample_rate)
    pairs: list[Any] = [(0.0, points)]
    if isinstance(points, np.ndarray):
        if points.ndim and (points.ndim != 2 or points.shape[1] != 2):
            raise UserError(
                f"{bounds.name}: an array of shape {points.shape} is no curve; give one {bounds.value_name} a sample, "
                f"or {bounds.pair} in each row"
            )
        pairs = list(points) if points.ndim else pairs  # an array of numpy may be one number
    elif isinstance(points, Iterable) and not isinstance(points, str | bytes | Mapping):
        pairs = list(points)
    if not pairs:
        raise UserError(f"{bounds.name} has no points; give {bounds.pair} pairs, or one {bounds.value_name}")
    for pair in pairs:
        if isinstance(pair, str) or not hasattr(pair, "__len__") or len(pair) != 2:
            raise UserError(f"{bounds.name}: {value_text(pair)} is no pair; give {bounds.pair}")
        seconds, value = (number(f"{bounds.name}:", coordinate) for coordinate in pair)
        bounds.check(value)
        if not 0 <= seconds <= LONGEST_SECONDS:
            raise UserError(f"{bounds.name}: {seconds:g} s is out of range; give 0 to {LONGEST_SECONDS} seconds")
    pairs = [(float(seconds), float(value)) for seconds, value in pairs]
    moments = [(0.0, pairs[0][1])]
    for (start_seconds, start_value), (end_seconds, end_value) in itertools.pairwise(pairs):
        if end_seconds < start_seconds:
            raise UserError(
                f"{bounds.name}: {end_seconds:g} s comes after {start_seconds:g} s; give points in order of time"
            )
        step_count = max(1, math.ceil((end_seconds - start_seconds) / STEP_SECONDS)) if end_value != start_value else 1
        fractions = np.arange(1, step_count + 1) / step_count
        moments += [
            (
                float(start_seconds + fraction * (end_seconds - start_seconds)),
                float(start_value + fraction * (end_value - start_value)),
            )
            for fraction in fractions
        ]
    return moments


def _sampled_moments(bounds: _Bounds, values: npt.NDArray[Any], sample_rate: int) -> list[tuple[float, float]]:
    """Return (seconds, value) pairs of an array with a value a sample, where they change."""
    if not len(values):
        raise UserError(f"{bounds.name} has no values; give one a sample")
    if values.dtype.kind not in "fiu" or not np.isfinite(values).all():
        raise UserError(f"{bounds.name}: its array of {values.dtype} has other values than finite numbers; give those")
    bounds.check(float(values.min()))
    bounds.check(float(values.max()))
    step_samples = max(1, round(STEP_SECONDS * sample_rate))
    places = np.append(np.arange(0, len(values) - 1, step_samples), len(values) - 1)
    changed = np.append(True, values[places[1:]] != values[places[:-1]])
    return [(place / sample_rate, float(values[place])) for place in places[changed].tolist()]
