"""MIDI learn: detects the controller that the user moved."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from ..events import RESERVED_CC, ControlChange, Event

REST_SECONDS = 0.7  # without a move: the user has chosen
TOGETHER_SECONDS = 0.25  # between the ends of simultaneous moves
LEAST_TRAVEL = 8  # of 127: a brushed knob moves less
FLICKER = 1  # jitter of a worn knob at rest
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


@dataclass
class _Turn:
    """``stands``: value without flicker."""

    low: int
    high: int
    stands: int
    seconds: float

    @property
    def travel(self) -> int:
        return self.high - self.low

    def move(self, value: int, seconds: float) -> None:
        self.low, self.high = min(self.low, value), max(self.high, value)
        if abs(value - self.stands) > FLICKER:
            self.stands, self.seconds = value, seconds


class MovedKnob:
    def __init__(self, taken: Mapping[int, str], say: Callable[[str], None]) -> None:
        """``taken``: rejected controllers and their targets; ``say`` receives reasons."""
        self._taken, self._say = taken, say
        self._turns: dict[int, _Turn] = {}  # ordered by last event

    def add_event(self, seconds: float, event: Event | None) -> int | None:
        """Return the controller once found; ``event`` None only passes time."""
        if _rested(self._turns, seconds):
            number = self.choice()
            if number is not None:
                return number
            self._turns.clear()
        if isinstance(event, ControlChange):
            turn = self._turns.pop(event.number, None) or _Turn(event.value, event.value, event.value, seconds)
            turn.move(event.value, seconds)
            self._turns[event.number] = turn
        return None

    def choice(self) -> int | None:
        """The widest of the last moves, the latest of equals."""
        wide = {number: turn for number, turn in self._turns.items() if turn.travel >= LEAST_TRAVEL}
        end = max((turn.seconds for turn in wide.values()), default=0.0)
        together = {number: turn for number, turn in wide.items() if end - turn.seconds <= TOGETHER_SECONDS}
        # Skip the LSB of a 14-bit controller.
        coarse = [number for number in together if number - 32 not in together or number >= 64]
        free = [number for number in coarse if number not in RESERVED_CC and number not in self._taken]
        ranked = sorted(free or coarse, key=lambda number: together[number].travel)  # stable: latest of equals last
        if free:
            return ranked[-1]
        if ranked:
            number, taken = ranked[-1], self._taken
            why = (
                f"moves {taken[number]} already" if number in taken else f"is {MEANINGS[number]} in MIDI, not for maps"
            )
            self._say(f"CC {number} {why}; move another knob")
        return None


def _rested(turns: Mapping[int, _Turn], now: float) -> bool:
    moves = [turn.seconds for turn in turns.values() if turn.travel >= LEAST_TRAVEL]
    return bool(moves) and now - max(moves) >= REST_SECONDS
