"""Standard MIDI File parser: bytes to tracks of messages, with times in ticks.

"Standard MIDI Files 1.0" (MIDI Manufacturers Association, RP-001). mido rejects files that others play (F7 escapes,
unknown chunks, odd key signatures), and misreads SMPTE time and 32768 or more tracks.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from struct import unpack

from .decode import CLOCK, MESSAGE_LENGTHS

# The recorder's sequencer-specific meta event (7D: for non-commercial use): events at one tick are in played order. A
# text annotation may follow, or a private event: its kind, below the codes of text characters, and its data.
OURS = b"\x7f\x7dtimbrel"
OWN_EVENTS = 8  # number of kinds of private events, from 0
OWN = 0xFF  # status of a private event in a `MidiTrack`


class SmfError(Exception):
    """Without the file's name."""


@dataclass
class MidiTrack:
    """``messages`` (tick, status, data), ``tempos`` (tick, microseconds a quarter), ``notes`` (tick, text).

    Messages are channel messages, MIDI clock statuses without data, or `OWN` with a private event's data. `OURS` sets
    ``in_order``.
    """

    messages: list[tuple[int, int, bytes]] = field(default_factory=list)
    tempos: list[tuple[int, int]] = field(default_factory=list)
    end: int = 0
    in_order: bool = False
    notes: list[tuple[int, str]] = field(default_factory=list)


def parse(data: bytes) -> tuple[int, int, list[MidiTrack]]:
    """Type, division and tracks of a file that starts with ``MThd``.

    Raises:
        SmfError: truncated or broken.
    """
    chunks = _chunks(data)
    _, header = next(chunks)
    if len(header) < 6:
        raise SmfError(f"its header holds {len(header)} bytes; 6 are needed")
    kind, declared, division = unpack(">HHH", header[:6])
    if kind > 2:
        raise SmfError(f"a file of type {kind}; types 0, 1 and 2 exist")
    tracks: list[MidiTrack] = []
    while len(tracks) < declared:
        name, body = next(chunks, (b"", b""))
        if not name:
            raise SmfError(f"it holds {len(tracks)} of its {declared} tracks: it was cut off")
        if name == b"MTrk":  # the format requires to skip other chunks
            tracks.append(_parse_track(body, len(tracks) + 1))
    return kind, division, tracks


def _chunks(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    at = 0
    while at < len(data):
        if at + 8 > len(data):
            raise SmfError(f"cut off: the chunk at byte {at} holds {len(data) - at} of the 8 bytes of its head")
        name, length = data[at : at + 4], int.from_bytes(data[at + 4 : at + 8])
        body = data[at + 8 : at + 8 + length]
        if len(body) < length:
            raise SmfError(f"cut off: the chunk at byte {at} holds {len(body)} of {length} bytes")
        yield name, body
        at += 8 + length


def _parse_track(body: bytes, number: int) -> MidiTrack:
    track = MidiTrack()
    try:
        for track.end, status, data in _raw_events(body):
            if status < 0xF0:
                track.messages.append((track.end, status, data))
            elif status == 0xF7:  # arbitrary bytes; of realtime messages, the clock's are kept
                track.messages += [(track.end, byte, b"") for byte in data if byte in CLOCK]
            elif status == 0xFF and data.startswith(OURS):
                track.in_order = True
                said = data[len(OURS) :]
                if said and said[0] < OWN_EVENTS:
                    track.messages.append((track.end, OWN, said))
                elif said:
                    track.notes.append((track.end, said.decode(errors="replace")))
            elif status == 0xFF and data[0] == 0x2F:
                break
            elif status == 0xFF and data[0] == 0x51:
                if len(data) != 4 or not any(data[1:]):
                    raise SmfError(f"a tempo of 0x{data[1:].hex()}; 3 bytes, not all 0, are needed")
                track.tempos.append((track.end, int.from_bytes(data[1:])))
    except IndexError as error:
        raise SmfError(f"track {number} ends within an event") from error
    except SmfError as problem:
        raise SmfError(f"track {number} is broken: {problem}") from problem
    return track


def _raw_events(body: bytes) -> Iterator[tuple[int, int, bytes]]:
    at, tick, running = 0, 0, 0
    while at < len(body):
        delta, at = _variable_length(body, at)
        tick += delta
        status = body[at]
        if status >= 0x80:
            at += 1
        elif running:  # kept across meta and system exclusive events: more files rely on it than break
            status = running
        else:
            raise SmfError(f"0x{status:02x} at byte {at}, where a status must be")
        if status < 0xF0:
            running = status
            start, length = at, MESSAGE_LENGTHS[status >> 4]
        elif status in (0xF0, 0xF7):
            length, start = _variable_length(body, at)
        elif status == 0xFF:
            length, start = _variable_length(body, at + 1)
        else:
            raise SmfError(f"status 0x{status:02x} before byte {at}, which no file may hold")
        end = start + length
        if end > len(body):
            raise IndexError
        if status < 0xF0 and max(body[start:end]) > 0x7F:
            raise SmfError(f"a message of status 0x{status:02x} with data above 0x7f at byte {at}")
        yield tick, status, body[at : at + 1] + body[start:end] if status == 0xFF else body[start:end]
        at = end


def _variable_length(body: bytes, at: int) -> tuple[int, int]:
    value = 0
    for place in range(at, at + 4):
        value = value << 7 | body[place] & 0x7F
        if body[place] < 0x80:
            return value, place + 1
    raise SmfError(f"a number of more than four bytes at byte {at}")
