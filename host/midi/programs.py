"""MIDI bank select and program change: numbers presets."""

from ..events import ControlChange, Event

BANK_COARSE, BANK_FINE = 0, 32  # controllers (MIDI 1.0)
PROGRAMS = 128  # in a bank


class Programs:
    """For channels that share a preset."""

    def __init__(self) -> None:
        self._bank = 0

    def apply(self, event: Event) -> None:
        """Bank select; the coarse half resets the fine one."""
        match event:
            case ControlChange(number=number, value=value) if number == BANK_COARSE:
                self._bank = value * 128
            case ControlChange(number=number, value=value) if number == BANK_FINE:
                self._bank = self._bank // 128 * 128 + value

    def number(self, program: int) -> int:
        """Number program 0-127 over all banks."""
        return self._bank * PROGRAMS + program


def missing_program(number: int, programs: int) -> str:
    return f"program {number + 1} asked for, but the set has {programs}"
