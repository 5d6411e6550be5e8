"""MIDI byte stream decoder.

mido's parser drops messages with running status or interrupted by clock, and is five times slower.
"""

from typing import Literal

from ..events import (
    ChannelPressure,
    Clock,
    ControlChange,
    Event,
    KeyPressure,
    NoteOff,
    NoteOn,
    PitchBend,
    ProgramChange,
)

MESSAGE_LENGTHS = {0x8: 2, 0x9: 2, 0xA: 2, 0xB: 2, 0xC: 1, 0xD: 1, 0xE: 2}  # data bytes after each channel status
CLOCK: dict[int, Literal["tick", "start", "continue", "stop"]] = {
    0xF8: "tick",
    0xFA: "start",
    0xFB: "continue",
    0xFC: "stop",
}
SYSTEM_RESET = 0xFF
RESET_CONTROLLERS, ALL_NOTES_OFF = 121, 123


class MidiDecoder:
    """Takes a port's bytes in chunks of any size; never fails (MIDI 1.0 Detailed Specification).

    System exclusive and common messages end running status; their data are skipped, as is active sensing: ports report
    disconnection.
    """

    def __init__(self) -> None:
        self._status = 0  # running status; 0: none
        self._length = 0  # data bytes of its messages
        self._first: int | None = None  # the first of two data bytes

    def feed(self, data: bytes, time: int) -> list[Event]:
        """Events completed by ``data``, all at sample ``time``."""
        events: list[Event] = []
        for byte in data:
            if byte < 0x80:
                if not self._status:
                    continue
                if self._length == 2 and self._first is None:
                    self._first = byte
                    continue
                first, second = (byte, 0) if self._first is None else (self._first, byte)
                self._first = None
                events.append(channel_event(time, self._status, first, second))
            elif byte in CLOCK:
                events.append(Clock(time, CLOCK[byte]))
            elif byte < 0xF0:
                self._status, self._length, self._first = byte, MESSAGE_LENGTHS[byte >> 4], None
            elif byte < 0xF8:
                self._status, self._first = 0, None
            elif byte == SYSTEM_RESET:
                self._status, self._first = 0, None
                events += let_go(time)
        return events


def channel_event(time: int, status: int, first: int, second: int) -> Event:
    """``status`` is 0x80 to 0xEF, with one or two data bytes."""
    channel = status & 0x0F
    match status >> 4:
        case 0x9 if second > 0:
            return NoteOn(time, channel, first, second)
        case 0x8 | 0x9:  # a note-on of velocity 0 is a note-off
            return NoteOff(time, channel, first)
        case 0xB:
            return ControlChange(time, channel, first, second)
        case 0xE:
            return PitchBend(time, channel, (second << 7 | first) - 8192)
        case 0xD:
            return ChannelPressure(time, channel, first)
        case 0xA:
            return KeyPressure(time, channel, first, second)
        case _:
            return ProgramChange(time, channel, first)


def let_go(time: int) -> list[Event]:
    """Events that reset controllers and release notes on all channels."""
    numbers = (RESET_CONTROLLERS, ALL_NOTES_OFF)
    return [ControlChange(time, channel, number, 0) for channel in range(16) for number in numbers]
