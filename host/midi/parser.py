"""Standard MIDI File parser: bytes to tracks of messages, with times in ticks.

"Standard MIDI Files 1.0" (MIDI Manufacturers Association, RP-001). mido rejects files that others play (F7 escapes,
unknown chunks, odd key signatures), and misreads SMPTE time and 32768 or more tracks.
"""

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from struct import unpack

from ..events import MasterTuning, SystemReset
from .decode import CLOCK, EXCLUSIVE, EXCLUSIVE_END, MESSAGE_LENGTHS, MidiDecoder, exclusive_bytes

# The recorder's sequencer-specific meta event (7D: for non-commercial use): events at one tick are in played order. A
# text annotation may follow, or a private event: its kind, below the codes of text characters, and its data.
OURS = b"\x7f\x7dtimbrel"
OWN_EVENTS = 8  # number of kinds of private events, from 0
OWN = 0xFF  # status of a private event in a `MidiTrack`
HEADER, TRACK = b"MThd", b"MTrk"  # names of chunks
RIFF, RMID = b"RIFF", b"RMID"  # name and form of a RIFF file around a MIDI file (MMA RP-029)


class SmfError(Exception):
    """Without the file's name."""


@dataclass
class MidiTrack:
    """``messages`` (tick, status, data), ``tempos`` (tick, microseconds a quarter), ``notes`` (tick, text).

    Messages are channel messages, MIDI clock statuses without data, `EXCLUSIVE` with the data of a message that
    `exclusive_event` understands, or `OWN` with a private event's data. `OURS` sets ``in_order``.
    """

    messages: list[tuple[int, int, bytes]] = field(default_factory=list)
    tempos: list[tuple[int, int]] = field(default_factory=list)
    end: int = 0
    in_order: bool = False
    notes: list[tuple[int, str]] = field(default_factory=list)


def parse(data: bytes) -> tuple[int, int, list[MidiTrack], list[str]]:
    """Type, division, tracks and remarks of a file that starts with ``MThd``, or with ``RIFF`` around one.

    A track ends at its end-of-track event where its length is wrong, and bytes before a track that are no chunk are
    skipped; both are remarked.

    Raises:
        SmfError: truncated or broken.
    """
    remarks: list[str] = []
    if data.startswith(RIFF):
        data = _riff_content(data)
        remarks.append("a RIFF around a MIDI file (RMID): the file in it is played")
    header_bytes, position = _chunk(data, 0)
    if len(header_bytes) < 6:
        raise SmfError(f"its header holds {len(header_bytes)} bytes; 6 are needed")
    file_type, declared_count, division = unpack(">HHH", header_bytes[:6])
    if file_type > 2:
        raise SmfError(f"a file of type {file_type}; types 0, 1 and 2 exist")
    tracks: list[MidiTrack] = []
    stray_count, mismatched_numbers = 0, list[int]()  # bytes; numbers of tracks with a wrong length
    while len(tracks) < declared_count:
        chunk_start = _next_chunk(data, position)
        if chunk_start == len(data):
            raise SmfError(f"it holds {len(tracks)} of its {declared_count} tracks: it was cut off")
        stray_count += chunk_start - position
        if data[chunk_start : chunk_start + 4] != TRACK:  # the format requires to skip other chunks
            _, position = _chunk(data, chunk_start)
            continue
        track, position, length_fits = _track(data, chunk_start, len(tracks) + 1)
        tracks.append(track)
        if not length_fits:
            mismatched_numbers.append(len(tracks))
    if mismatched_numbers:
        more_text = f" and {len(mismatched_numbers) - 1} more" if len(mismatched_numbers) > 1 else ""
        remarks.append(
            f"the length of track {mismatched_numbers[0]}{more_text} is wrong: all events are whole, and played"
        )
    if stray_count:
        remarks.append(f"{stray_count} stray byte{'s' * (stray_count > 1)} between tracks: skipped")
    return file_type, division, tracks, remarks


def _riff_content(data: bytes) -> bytes:
    """The MIDI file in a RIFF file."""
    position = 12  # bytes of RIFF's head: its name, size and form
    while position + 8 <= len(data):
        chunk_name, chunk_length = (
            data[position : position + 4],
            int.from_bytes(data[position + 4 : position + 8], "little"),
        )
        content = data[position + 8 : position + 8 + chunk_length]
        if chunk_name == b"data" and content.startswith(HEADER):
            return content
        position += 8 + chunk_length + chunk_length % 2  # chunks begin at even bytes
    raise SmfError("a RIFF file without a MIDI file in it")


def _chunk(data: bytes, position: int) -> tuple[bytes, int]:
    """Content and end of a chunk."""
    if position + 8 > len(data):
        raise SmfError(f"cut off: the chunk at byte {position} holds {len(data) - position} of the 8 bytes of its head")
    chunk_end = position + 8 + int.from_bytes(data[position + 4 : position + 8])
    if chunk_end > len(data):
        raise SmfError(
            f"cut off: the chunk at byte {position} holds {len(data) - position - 8} "
            f"of {chunk_end - position - 8} bytes"
        )
    return data[position + 8 : chunk_end], chunk_end


def _next_chunk(data: bytes, position: int) -> int:
    """Start of the chunk at ``position``, or after stray bytes; the end of the data if there is none."""
    if _is_chunk(data, position):
        return position
    track_start = data.find(TRACK, position)
    if track_start >= 0:
        return track_start
    if len(data) - position >= 8 and not data[position : position + 4].isalnum():
        raise SmfError(f"{len(data) - position} stray bytes at byte {position}, and no track after them: it is damaged")
    _chunk(data, position)  # raises the reason
    return position


def _is_chunk(data: bytes, position: int) -> bool:
    """Return whether a chunk or the end of the data is here; a track's length may be wrong."""
    chunk_name = data[position : position + 4]
    fits = position + 8 <= len(data) and position + 8 + int.from_bytes(data[position + 4 : position + 8]) <= len(data)
    return (
        position == len(data)
        or chunk_name == TRACK
        or (fits and chunk_name.isascii() and chunk_name.decode().isprintable())
    )


def _track(data: bytes, position: int, track_number: int) -> tuple[MidiTrack, int, bool]:
    """Return the track whose chunk is here, its end, and whether its length is right."""
    content_start = position + 8
    declared_end = content_start + int.from_bytes(data[position + 4 : content_start])
    is_end_at_chunk = declared_end <= len(data) and _is_chunk(data, declared_end)
    track_error = SmfError(f"track {track_number} has no end")
    try:
        track, track_end = _parse_track(data, content_start, min(declared_end, len(data)), track_number)
        if track_end == declared_end or (
            is_end_at_chunk and (track_end is None or data[track_end : track_end + 4] != TRACK)
        ):
            return track, declared_end, True
    except SmfError as error:
        if is_end_at_chunk:
            raise
        track_error = error
    with contextlib.suppress(SmfError):
        track, track_end = _parse_track(data, content_start, len(data), track_number)
        if track_end is not None:
            return track, track_end, False
    _chunk(data, position)  # a file that was cut off says so
    raise track_error


def _parse_track(data: bytes, start: int, stop: int, track_number: int) -> tuple[MidiTrack, int | None]:
    """Return the track, and where its end-of-track event ends; None without one."""
    track, exclusive_decoder = MidiTrack(), MidiDecoder()
    try:
        for track.end, status, body_bytes, event_end in _raw_events(data, start, stop):
            if status < 0xF0:
                track.messages.append((track.end, status, body_bytes))
            elif status in (EXCLUSIVE, EXCLUSIVE_END):  # a message; its continuation, or arbitrary bytes
                prefix_bytes = b"" if status == EXCLUSIVE_END else bytes([EXCLUSIVE])
                for event in exclusive_decoder.feed(prefix_bytes + body_bytes, 0):
                    if isinstance(event, MasterTuning | SystemReset):
                        track.messages.append((track.end, EXCLUSIVE, exclusive_bytes(event)[1:-1]))
                if status == EXCLUSIVE_END:  # of realtime messages, the clock's are kept
                    track.messages += [(track.end, byte, b"") for byte in body_bytes if byte in CLOCK]
            elif status == 0xFF and body_bytes.startswith(OURS):
                track.in_order = True
                own_body = body_bytes[len(OURS) :]
                if own_body and own_body[0] < OWN_EVENTS:
                    track.messages.append((track.end, OWN, own_body))
                elif own_body:
                    track.notes.append((track.end, own_body.decode(errors="replace")))
            elif status == 0xFF and body_bytes[0] == 0x2F:
                return track, event_end
            elif status == 0xFF and body_bytes[0] == 0x51:
                if len(body_bytes) != 4 or not any(body_bytes[1:]):
                    raise SmfError(f"a tempo of 0x{body_bytes[1:].hex()}; 3 bytes, not all 0, are needed")
                track.tempos.append((track.end, int.from_bytes(body_bytes[1:])))
    except IndexError as error:
        raise SmfError(f"track {track_number} ends within an event") from error
    except SmfError as problem:
        raise SmfError(f"track {track_number} is broken: {problem}") from problem
    return track, None


def _raw_events(data: bytes, start: int, stop: int) -> Iterator[tuple[int, int, bytes, int]]:
    """Yield tick, status, body and end of each event."""
    position, tick, running_status = start, 0, 0
    while position < stop:
        delta_ticks, position = _variable_length(data, position, stop)
        tick += delta_ticks
        if position >= stop:
            raise IndexError
        status = data[position]
        if status >= 0x80:
            position += 1
        elif running_status:  # kept across meta and system exclusive events: more files rely on it than break
            status = running_status
        else:
            raise SmfError(f"0x{status:02x} at byte {position - start}, where a status must be")
        if status < 0xF0:
            running_status = status
            data_start, data_length = position, MESSAGE_LENGTHS[status >> 4]
        elif status in (0xF0, 0xF7):
            data_length, data_start = _variable_length(data, position, stop)
        elif status == 0xFF:
            data_length, data_start = _variable_length(data, position + 1, stop)
        else:
            raise SmfError(f"status 0x{status:02x} before byte {position - start}, which no file may hold")
        event_end = data_start + data_length
        if event_end > stop:
            raise IndexError
        if status < 0xF0 and max(data[data_start:event_end]) > 0x7F:
            raise SmfError(f"a message of status 0x{status:02x} with data above 0x7f at byte {position - start}")
        yield (
            tick,
            status,
            data[position : position + 1] + data[data_start:event_end]
            if status == 0xFF
            else data[data_start:event_end],
            event_end,
        )
        position = event_end


def _variable_length(data: bytes, position: int, stop: int) -> tuple[int, int]:
    """Return a number of variable length, and the position after it."""
    value = 0
    for byte_position in range(position, position + 4):
        if byte_position >= stop:
            raise IndexError
        value = value << 7 | data[byte_position] & 0x7F
        if data[byte_position] < 0x80:
            return value, byte_position + 1
    raise SmfError(f"a number of more than four bytes at byte {position}")
