"""Decodes MIDI byte streams, and programs of presets.

mido's parser drops messages with running status or interrupted by clock, and is five times slower.
"""

from collections.abc import Sequence
from typing import Literal

from ..events import (
    ChannelPressure,
    Clock,
    ControlChange,
    Event,
    KeyPressure,
    MasterTuning,
    NoteOff,
    NoteOn,
    PitchBend,
    ProgramChange,
    SystemReset,
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
EXCLUSIVE, EXCLUSIVE_END = 0xF0, 0xF7  # begin and end of a system exclusive message
LONGEST_EXCLUSIVE = 16  # data bytes of a message that may have a meaning here
# Data of messages that reset all channels; None is the device's number, which any value fits.
RESETS: tuple[tuple[int | None, ...], ...] = (
    (0x7E, None, 0x09, 0x01),  # General MIDI On (MMA RP-003)
    (0x7E, None, 0x09, 0x03),  # General MIDI 2 On (MMA RP-024)
    (0x41, None, 0x42, 0x12, 0x40, 0x00, 0x7F, 0x00, 0x41),  # GS reset (Roland)
    (0x41, None, 0x42, 0x12, 0x00, 0x00, 0x7F, 0x00, 0x01),  # GS system mode 1 (Roland SC-88)
    (0x41, None, 0x42, 0x12, 0x00, 0x00, 0x7F, 0x01, 0x00),  # GS system mode 2
    (0x43, None, 0x4C, 0x00, 0x00, 0x7E, 0x00),  # XG System On (Yamaha)
    (0x43, None, 0x4C, 0x00, 0x00, 0x7F, 0x00),  # XG all parameter reset
)
ALL_DEVICES = 0x7F  # the number that all devices obey
GENERAL_MIDI_ON = bytes([EXCLUSIVE, 0x7E, ALL_DEVICES, 0x09, 0x01, EXCLUSIVE_END])
# Master tunings, in universal real-time messages (MMA CA-25).
TUNINGS: dict[tuple[int, ...], Literal["fine", "coarse"]] = {(0x7F, 0x04, 0x03): "fine", (0x7F, 0x04, 0x04): "coarse"}


class MidiDecoder:
    """Takes a port's bytes in chunks of any size; never fails (MIDI 1.0 Detailed Specification).

    System exclusive and common messages end running status. Of system exclusive messages, those of `exclusive_event`
    count. Active sensing is skipped: ports report disconnection.
    """

    def __init__(self) -> None:
        self._status = 0  # running status; 0: none
        self._data_count = 0  # data bytes of its messages
        self._first_byte: int | None = None  # the first of two data bytes
        self._exclusive_data: bytearray | None = None  # data of an unfinished system exclusive message

    def feed(self, data: bytes, time: int) -> list[Event]:
        """Events completed by ``data``, all at sample ``time``."""
        events: list[Event] = []
        for byte in data:
            if byte < 0x80:
                if self._exclusive_data is not None and len(self._exclusive_data) <= LONGEST_EXCLUSIVE:
                    self._exclusive_data.append(byte)
                if not self._status:
                    continue
                if self._data_count == 2 and self._first_byte is None:
                    self._first_byte = byte
                    continue
                first_byte, second_byte = (byte, 0) if self._first_byte is None else (self._first_byte, byte)
                self._first_byte = None
                events.append(channel_event(time, self._status, first_byte, second_byte))
            elif byte in CLOCK:
                events.append(Clock(time, CLOCK[byte]))
            elif byte < 0xF0:
                self._status, self._data_count, self._first_byte = byte, MESSAGE_LENGTHS[byte >> 4], None
                self._exclusive_data = None
            elif byte < 0xF8:
                event = exclusive_event(time, self._exclusive_data or b"") if byte == EXCLUSIVE_END else None
                events += [event] if event is not None else []
                self._status, self._first_byte = 0, None
                self._exclusive_data = bytearray() if byte == EXCLUSIVE else None
            elif byte == SYSTEM_RESET:
                self._status, self._first_byte, self._exclusive_data = 0, None, None
                events += reset_events(time)
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


def exclusive_event(time: int, data: Sequence[int]) -> MasterTuning | SystemReset | None:
    """The meaning of a system exclusive message; ``data``: its bytes between status and end."""
    for pattern in RESETS:
        if len(data) == len(pattern) and all(
            expected in (received, None) for expected, received in zip(pattern, data, strict=True)
        ):
            return SystemReset(time)
    match list(data):
        case [group, _, *address, low, high] if (group, *address) in TUNINGS:
            return MasterTuning(time, TUNINGS[group, *address], high << 7 | low)
    return None


def exclusive_bytes(event: MasterTuning | SystemReset) -> bytes:
    """A message that `exclusive_event` understands as this event."""
    if isinstance(event, SystemReset):
        return GENERAL_MIDI_ON
    group, *address = next(
        tuning_address for tuning_address, tuning_part in TUNINGS.items() if tuning_part == event.part
    )
    return bytes([EXCLUSIVE, group, ALL_DEVICES, *address, event.value & 0x7F, event.value >> 7, EXCLUSIVE_END])


def reset_events(time: int) -> list[Event]:
    """Events that reset controllers and release notes on all channels."""
    controller_numbers = (RESET_CONTROLLERS, ALL_NOTES_OFF)
    return [ControlChange(time, channel, number, 0) for channel in range(16) for number in controller_numbers]


BANK_COARSE, BANK_FINE = 0, 32  # controllers (MIDI 1.0)
PROGRAMS = 128  # in a bank


class Programs:
    """The bank of channels that share a preset."""

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


def missing_program(number: int, program_count: int) -> str:
    """A warning."""
    return f"program {number + 1} asked for, but the set has {program_count}"
