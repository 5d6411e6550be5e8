"""MIDI learn: detects the controller that the user moved."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from ..events import RESERVED_CC, ControlChange, DataEntry, Event
from .encoders import Encoder, encoder_steps, possible_encoders

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
