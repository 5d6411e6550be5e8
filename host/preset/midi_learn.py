"""MIDI learn: detects the controller that the user moved, also an endless encoder, and binds it in a preset's text.

Comments of the text stay.
"""

import tomllib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from types import MappingProxyType
from typing import Any, Literal, get_args

from ..errors import UserError
from ..events import RESERVED_CC, ControlChange, DataEntry, Event
from ..units import Range
from .text import appended, is_knob_of, with_value, without_entries, without_entry, without_knob

# Named by the values of one step up and one step down; a fast turn sends larger steps: 66, 67 ...
Encoder = Literal["65/63", "1/127", "1/65"]
ENCODERS: tuple[Encoder, ...] = get_args(Encoder)
FASTEST = 20  # steps in one message; 15 is the most that controllers send
LEAST_MESSAGES = 5
REPEATS = 0.25  # least share of repeated values: a knob with a position repeats none
_STEPS: Mapping[Encoder, Callable[[int], int]] = {
    "65/63": lambda value: value - 64,  # offset binary
    "1/127": lambda value: value if value < 64 else value - 128,  # two's complement
    "1/65": lambda value: value if value < 64 else 64 - value,  # sign and magnitude
}


def encoder_steps(encoder: Encoder, value: int) -> int:
    """Steps, -64 to 63, of a controller's ``value``, 0 to 127."""
    return _STEPS[encoder](value)


def possible_encoders(values: Sequence[int]) -> list[Encoder]:
    """Encoders that send such values, one after the other; none for a knob with a position.

    Turned one way, two encoders send the same values.
    """
    if len(values) < LEAST_MESSAGES:
        return []
    return [encoder for encoder in ENCODERS if _sends(encoder, values)]


def _sends(encoder: Encoder, values: Sequence[int]) -> bool:
    """Return whether an encoder may send such values."""
    steps = [encoder_steps(encoder, value) for value in values]
    if not all(0 < abs(step) <= FASTEST for step in steps):
        return False
    # Between up and down.
    has_leaps = any(abs(next_value - value) > 2 * FASTEST for value, next_value in pairwise(values))
    repeat_count = sum(value == next_value for value, next_value in pairwise(values))
    return has_leaps or repeat_count >= REPEATS * (len(steps) - 1)


REST_SECONDS = 0.7  # without a move: the user has chosen
TOGETHER_SECONDS = 0.25  # between the ends of simultaneous moves
LEAST_TRAVEL = 8  # of 127: a brushed knob moves less
FLICKER = 1  # jitter of a worn knob at rest
SWITCH = {0, 127}  # the values of a button, or of a knob's touch sensor
MOST_VALUES = 64  # kept of a controller: enough to tell an encoder
MEANINGS = {
    0: "bank select",
    6: "data entry",
    32: "bank select, fine",
    38: "data entry, fine",
    64: "the sustain pedal",
    96: "data increment",
    97: "data decrement",
    98: "the number of an NRPN, fine",
    99: "the number of an NRPN",
    100: "the number of an RPN, fine",
    101: "the number of an RPN",
    120: "all sound off",
    121: "reset all controllers",
    122: "local control",
    123: "all notes off",
    124: "omni mode off",
    125: "omni mode on",
    126: "mono mode",
    127: "poly mode",
}


@dataclass(frozen=True)
class LearnedKnob:
    """A controller: a CC's ``number``, or an ``nrpn``; ``relative`` if it sends steps."""

    number: int | None = None
    nrpn: int | None = None
    relative: Encoder | None = None

    @property
    def source(self) -> str:
        return f"CC {self.number}" if self.nrpn is None else f"NRPN {self.nrpn}"

    @property
    def keys(self) -> dict[str, int | str]:
        """Keys of its ``[[cc]]`` table."""
        keys = {"number": self.number, "nrpn": self.nrpn, "relative": self.relative}
        return {key: value for key, value in keys.items() if value is not None}

    def __str__(self) -> str:
        return self.source if self.relative is None else f"{self.source} (an encoder, {self.relative})"


@dataclass
class _Turn:
    """``steady_value``: value without flicker; ``steps``: NRPN increments and decrements.

    ``values``: none of reserved controllers, of which many repeat, such as the number of an NRPN.
    """

    low: int
    high: int
    steady_value: int
    seconds: float
    values: list[int] = field(default_factory=list)
    steps: int = 0

    @property
    def encoders(self) -> list[Encoder]:
        return possible_encoders(self.values)

    @property
    def is_switch(self) -> bool:
        return set(self.values) <= SWITCH and not self.steps

    @property
    def travel(self) -> int:
        """Of 127; an encoder's steps, at least `LEAST_TRAVEL`."""
        if self.steps:
            return self.steps + LEAST_TRAVEL
        if encoders := self.encoders:
            return sum(abs(encoder_steps(encoders[0], value)) for value in self.values) + LEAST_TRAVEL
        return self.high - self.low

    def move(self, value: int, seconds: float, reserved: bool) -> None:
        self.low, self.high = min(self.low, value), max(self.high, value)
        if not reserved:
            self.values = [*self.values[1 - MOST_VALUES :], value]
        if abs(value - self.steady_value) > FLICKER or self.encoders:
            self.steady_value, self.seconds = value, seconds

    def step(self, seconds: float) -> None:
        self.steps, self.seconds = self.steps + 1, seconds


class MovedKnob:
    def __init__(self, bound_targets: Mapping[str, str], report: Callable[[str], None]) -> None:
        """``bound_targets``: those of rejected controllers, by `LearnedKnob.source`; ``report`` receives reasons."""
        self._bound_targets, self._report = bound_targets, report
        self._turns: dict[LearnedKnob, _Turn] = {}  # ordered by last event
        self._unclear: set[LearnedKnob] = set()  # encoders that the user was told to turn both ways

    def add_event(self, seconds: float, event: Event | None) -> LearnedKnob | None:
        """Return the controller once found; ``event``: from `ControllerReader.knob`, or None as time passes."""
        if _at_rest(self._turns, seconds):
            knob = self.choice()
            if knob is not None:
                return knob
            # Turned one way, an encoder is not known yet.
            self._turns = {knob: turn for knob, turn in self._turns.items() if len(turn.encoders) > 1}
        if isinstance(event, DataEntry) and not event.registered:
            knob = LearnedKnob(nrpn=event.parameter)
        elif isinstance(event, ControlChange):
            knob = LearnedKnob(number=event.number)
        else:
            return None
        turn = self._turns.pop(knob, None) or _Turn(event.value, event.value, event.value, seconds)
        if isinstance(event, ControlChange) or event.part == "coarse":
            turn.move(event.value, seconds, knob.number in RESERVED_CC)
        elif event.part != "fine":
            turn.step(seconds)
        self._turns[knob] = turn
        return None

    def choice(self) -> LearnedKnob | None:
        """The widest of the last moves, the latest of equals; a switch only if nothing else moved."""
        wide_turns = {knob: turn for knob, turn in self._turns.items() if turn.travel >= LEAST_TRAVEL}
        wide_turns = {knob: turn for knob, turn in wide_turns.items() if not turn.is_switch} or wide_turns
        last_seconds = max((turn.seconds for turn in wide_turns.values()), default=0.0)
        simultaneous_turns = {
            knob: turn for knob, turn in wide_turns.items() if last_seconds - turn.seconds <= TOGETHER_SECONDS
        }
        # Skip the LSB of a 14-bit controller.
        coarse_knobs = [knob for knob in simultaneous_turns if _coarse_half(knob) not in simultaneous_turns]
        free_knobs = [
            knob for knob in coarse_knobs if knob.number not in RESERVED_CC and knob.source not in self._bound_targets
        ]
        # Stable: the latest of equals is last.
        ranked_knobs = sorted(free_knobs or coarse_knobs, key=lambda knob: simultaneous_turns[knob].travel)
        if free_knobs:
            return self._with_encoder(ranked_knobs[-1], simultaneous_turns[ranked_knobs[-1]])
        if ranked_knobs:
            source, cc_number, bound_targets = ranked_knobs[-1].source, ranked_knobs[-1].number, self._bound_targets
            meaning = "" if cc_number is None else MEANINGS.get(cc_number, "")
            reason = (
                f"moves {bound_targets[source]} already"
                if source in bound_targets
                else f"is {meaning} in MIDI, not for maps"
            )
            self._report(f"{source} {reason}; move another knob")
        return None

    def _with_encoder(self, knob: LearnedKnob, turn: _Turn) -> LearnedKnob | None:
        """With the kind of encoder, or None if both directions must tell it."""
        encoders = [] if knob.number is None else turn.encoders
        if len(encoders) > 1:
            if knob not in self._unclear:
                self._unclear.add(knob)
                self._report(f"{knob.source} sends steps, {' or '.join(encoders)}; turn it the other way as well")
            return None
        return LearnedKnob(knob.number, knob.nrpn, encoders[0] if encoders else None)


def _coarse_half(knob: LearnedKnob) -> LearnedKnob | None:
    """The controller of the coarse half, if ``knob`` may be the fine half of a 14-bit controller."""
    return LearnedKnob(knob.number - 32) if knob.number is not None and 32 <= knob.number < 64 else None


def _at_rest(turns: Mapping[LearnedKnob, _Turn], now: float) -> bool:
    """Return whether a controller has moved, and none since `REST_SECONDS`."""
    move_seconds = [turn.seconds for turn in turns.values() if turn.travel >= LEAST_TRAVEL]
    return bool(move_seconds) and now - max(move_seconds) >= REST_SECONDS


Controller = Mapping[str, int | str | None]  # its number, nrpn or pressure, and its channel, None for all
OF_A_KNOB = ("number", "bits", "relative", "nrpn", "channel")  # a map's keys for its controller


def with_targets(text: str, names: Mapping[str, str]) -> str:
    """Replace names of targets in ``[[cc]]`` tables by the targets; ``names``: targets by name."""
    for map_index, entry in enumerate(tomllib.loads(text).get("cc", [])):
        if isinstance(entry, dict) and entry.get("target") in names:
            text = with_value(text, ("cc", map_index, "target"), names[entry["target"]])
    return text


def bound(
    text: str,
    controller: Mapping[str, int | str],
    target: str,
    span: Range,
    names: Mapping[str, str] = MappingProxyType({}),
) -> tuple[str, list[str]]:
    """Bind a controller to ``target``; return the text and the controller's other targets.

    An existing map keeps range and curve; a new one covers ``span``. Errors as in `text`.

    Args:
        controller: its keys of a ``[[cc]]`` table: ``number``, perhaps ``relative``, or ``nrpn``.
        names: targets by name, as the text may have them.
    """
    fields = tomllib.loads(text)
    knob_targets = [f"latent.{index}" for index in range(len(fields.get("knobs", [])))]
    target_names = [target, *(name for name, named_target in names.items() if named_target == target)]
    map_indices = [
        map_index
        for map_index, cc_map in enumerate(fields.get("cc", []))
        if any(is_knob_of(cc_map, spelling) for spelling in target_names)
    ]
    if target in knob_targets and controller.keys() == {"number"}:
        knob_index = knob_targets.index(target)
        if any(fields["cc"][map_index].get("number") == controller["number"] for map_index in map_indices):
            text = without_knob(text, knob_index)
        else:
            text = with_value(text, ("knobs", knob_index), controller["number"])
    elif map_indices:
        text = without_entries(text, "cc", lambda map_index, cc_map: map_index in map_indices[1:])
        for key, value in controller.items():
            text = with_value(text, ("cc", map_indices[0], key), value)
        for key in OF_A_KNOB:
            if key in fields["cc"][map_indices[0]] and key not in controller:
                text = without_entry(text, ("cc", map_indices[0], key))
    else:
        if target in knob_targets:
            text = without_knob(text, knob_targets.index(target))
        text = appended(text, "cc", {**controller, "target": target, "low": float(span[0]), "high": float(span[1])})
    source_item = next(iter(controller.items()))
    source_maps = [cc_map for cc_map in tomllib.loads(text).get("cc", []) if source_item in cc_map.items()]
    return text, [cc_map["target"] for cc_map in source_maps if cc_map["target"] not in target_names]


def shaped(
    text: str, target: str, controller: Controller, default_shape: Mapping[str, float], shape: Mapping[str, float]
) -> str:
    """Set ``low``, ``high`` and ``curve`` of a target's controller; errors as in `text`.

    ``default_shape``: values of keys that the text omits, and still omits where they stay.
    """
    fields = tomllib.loads(text)
    if (knob_index := _knob(fields, target, controller)) is not None:
        changed_shape = {key: value for key, value in shape.items() if value != default_shape[key]}
        new_map = {"number": controller["number"], "target": target, **changed_shape}
        return appended(without_knob(text, knob_index), "cc", new_map) if changed_shape else text
    map_index, cc_map = _table(fields, target, controller)
    for key, value in shape.items():
        if value != cc_map.get(key, default_shape[key]):
            text = with_value(text, ("cc", map_index, key), value)
    return text


def unbound(text: str, target: str, controller: Controller) -> str:
    """Remove one controller of a target; errors as in `text`."""
    fields = tomllib.loads(text)
    if (knob_index := _knob(fields, target, controller)) is not None:
        return without_knob(text, knob_index)
    map_index, _ = _table(fields, target, controller)
    return without_entries(text, "cc", lambda number, _: number == map_index)


def _knob(fields: Mapping[str, Any], target: str, controller: Controller) -> int | None:
    """Index of a target's controller in the list ``knobs``, None if not there."""
    for knob_index, cc_number in enumerate(fields.get("knobs", [])):
        if target == f"latent.{knob_index}" and controller == {"number": cc_number, "channel": None}:
            return knob_index
    return None


def _table(fields: Mapping[str, Any], target: str, controller: Controller) -> tuple[int, Mapping[str, Any]]:
    """Index and fields of a target's controller among ``[[cc]]`` tables."""
    for map_index, cc_map in enumerate(fields.get("cc", [])):
        if cc_map["target"] == target and all(cc_map.get(key) == value for key, value in controller.items()):
            return map_index, cc_map
    raise UserError(f"the preset has no such controller of {target} any more; open the control's menu again")
