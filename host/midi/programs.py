"""The numbers by which MIDI asks for presets."""

from ..events import ControlChange, Event

BANK_COARSE, BANK_FINE = 0, 32  # controllers (MIDI 1.0)
PROGRAMS = 128  # in a bank


class Programs:
    """Counts programs on by 128 a bank, as bank selects have chosen it, on the channels that share a preset."""

    def __init__(self) -> None:
        self._bank = 0

    def hear(self, event: Event) -> None:
        """Take a bank select; nothing else is one. The coarse half puts the fine one at 0."""
        match event:
            case ControlChange(number=number, value=value) if number == BANK_COARSE:
                self._bank = value * 128
            case ControlChange(number=number, value=value) if number == BANK_FINE:
                self._bank = self._bank // 128 * 128 + value

    def number(self, program: int) -> int:
        """Return what a program change to 0-127 asks for now, counted from 0 through all banks."""
        return self._bank * PROGRAMS + program
