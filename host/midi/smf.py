"""The bytes of a Standard MIDI File as tracks of messages, before any time is counted.

The format is that of "Standard MIDI Files 1.0" (MIDI Manufacturers Association, RP-001). It is read here, not by mido:
mido refuses files that others play (F7 escapes, chunks of other kinds, odd key signatures), takes SMPTE time for a
negative number of ticks, and a count of 32768 tracks or more for none at all.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from struct import unpack

from .decode import CLOCK, MESSAGE_LENGTHS

# A sequencer-specific meta event (7D: for non-commercial use) by which the recorder says that events at one tick are
# in the order in which they were played. A note may follow, a text for whoever renders it, or an event that MIDI has no
# message for: its kind, below every character of a text, and its data.
OURS = b"\x7f\x7dtimbrel"
OWN_EVENTS = 8  # kinds of such events, from 0 on
OWN = 0xFF  # the status of such an event in a `MidiTrack`


class SmfError(Exception):
    """Says what is wrong with the bytes; the caller adds the file's name."""


@dataclass
class MidiTrack:
    """One track: ``messages`` (tick, status, data), ``tempos`` (tick, microseconds a quarter), ``end`` in ticks.

    A message is a channel message, a status of the MIDI clock without data, or `OWN` with the data of an event of
    ours. ``in_order`` is said by `OURS`, which ``notes`` (tick, text) follow.
    """

    messages: list[tuple[int, int, bytes]] = field(default_factory=list)
    tempos: list[tuple[int, int]] = field(default_factory=list)
    end: int = 0
    in_order: bool = False
    notes: list[tuple[int, str]] = field(default_factory=list)


def parse(data: bytes) -> tuple[int, int, list[MidiTrack]]:
    """Return the type, the division and the tracks of a whole file, which begins with ``MThd``.

    Raises:
        Broken: it is cut off, or holds bytes that no MIDI file may hold.
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
        if name == b"MTrk":  # other chunks are to be passed over, says the format
            tracks.append(_parse_track(body, len(tracks) + 1))
    return kind, division, tracks


def _chunks(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    """The (name, body) of each chunk in turn."""
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
    """Parse track ``number`` (from 1) until its end mark, or else until its bytes end."""
    track = MidiTrack()
    try:
        for track.end, status, data in _raw_events(body):
            if status < 0xF0:
                track.messages.append((track.end, status, data))
            elif status == 0xF7:  # any bytes: of those that may stand anywhere, the clock's are kept
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
    """The (tick, status, data) of each event; a meta event's data begin with its type."""
    at, tick, running = 0, 0, 0
    while at < len(body):
        delta, at = _variable_length(body, at)
        tick += delta
        status = body[at]
        if status >= 0x80:
            at += 1
        elif running:  # kept across meta and system exclusive events, which more files rely on than break by
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
    """Return a number of up to four bytes, seven bits each, and the place after it."""
    value = 0
    for place in range(at, at + 4):
        value = value << 7 | body[place] & 0x7F
        if body[place] < 0x80:
            return value, place + 1
    raise SmfError(f"a number of more than four bytes at byte {at}")
