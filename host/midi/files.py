"""Standard MIDI Files to events in output samples, and the private events in them.

A byte of kind, one of channel; values as big-endian doubles, exact; then the target's name in UTF-8.
"""

import struct
from bisect import bisect_right
from collections.abc import Collection, Iterable, Sequence
from fractions import Fraction
from itertools import groupby, takewhile
from pathlib import Path
from typing import NamedTuple

from ..errors import UserError
from ..events import (
    AllOff,
    Clock,
    ControlChange,
    ControllersReset,
    DataEntry,
    Event,
    NoteOff,
    NoteOn,
    ParameterChange,
    ParameterTouch,
    Tempo,
    Timing,
)
from .controllers import CONFIGURATION, HOLDING_PEDALS, LOWER, PRESSED, UPPER, ControllerReader, group_of, resized
from .decode import CLOCK, EXCLUSIVE, channel_event, exclusive_event
from .parser import HEADER, OWN, RIFF, RMID, MidiTrack, SmfError, parse

TURN, HOLD = 0, 1
_TURN = struct.Struct(">BBd")
_HOLD = struct.Struct(">BB?")


def to_bytes(event: ParameterChange | ParameterTouch) -> bytes:
    """Omits the time."""
    if isinstance(event, ParameterChange):
        head_bytes = _TURN.pack(TURN, event.channel, event.value)
    else:
        head_bytes = _HOLD.pack(HOLD, event.channel, event.down)
    return head_bytes + event.target.encode(errors="replace")


def from_bytes(time: int, data: bytes) -> ParameterChange | ParameterTouch:
    """Raise SmfError for invalid bytes."""
    try:
        event_kind, channel, value = (_TURN if data[0] == TURN else _HOLD).unpack_from(data)
        target = data[(_TURN if event_kind == TURN else _HOLD).size :].decode()
    except (struct.error, UnicodeDecodeError):
        event_kind = channel = -1
    if event_kind not in (TURN, HOLD) or channel not in range(16):
        raise SmfError(f"an event of timbrel's own that it does not know: 0x{data.hex()}; record it again")
    return (
        ParameterChange(time, channel, target, value)
        if event_kind == TURN
        else ParameterTouch(time, channel, target, value)
    )


LARGEST_BYTES = 16 << 20  # five million events, which take a gigabyte; a symphony takes one of these MiB
HEAD_BYTES = 12  # of a RIFF file: its name, size and form
LONGEST_SECONDS = 36_000  # ten hours: a longer file has a broken delta time
DEFAULT_TEMPO = 500_000  # microseconds a quarter note, 120 BPM: the format's default
# SMPTE frames a second, by the header's value
FRAME_RATES = {24: Fraction(24), 25: Fraction(25), 29: Fraction(30_000, 1001), 30: Fraction(30)}


class Performance(NamedTuple):
    """Events of a MIDI file, in order of time, in samples from its start.

    At one sample a held key's note-off precedes its next note-on, except in timbrel's recordings, which keep the played
    order.
    """

    events: list[Event]
    length: int  # end of the longest track
    channels: list[int]  # those with notes
    warnings: list[str]
    recorded: bool = False  # by timbrel, live; one preset receives all channels without their own
    notes: Sequence[tuple[int, str]] = ()  # annotations for `read_notes` of host.preset.recording_notes

    def without_channels(self, channels: Collection[int]) -> "Performance":
        remaining_channels = [channel for channel in self.channels if channel not in channels]
        silence_warnings = (
            ["every channel that has notes is left out: the output is silence"]
            if self.channels and not remaining_channels
            else []
        )
        events = [event for event in self.events if isinstance(event, Timing) or event.channel not in channels]
        return self._replace(events=events, channels=remaining_channels, warnings=[*self.warnings, *silence_warnings])


def read_performance(path: Path, sample_rate: int) -> Performance:
    """Read a Standard MIDI File of any type, in metrical or SMPTE time.

    Times are rounded to samples once, so they never drift. Channel messages, MIDI clock (F7 escapes) and all tracks'
    tempos become events; tempos of timbrel's recordings only scale ticks. Others are skipped.

    Raises:
        UserError: unreadable, broken, no MIDI file, or longer than ten hours.
    """
    return parse_performance(_read_midi_bytes(path), str(path), sample_rate)


def parse_performance(midi_bytes: bytes, source: str, sample_rate: int) -> Performance:
    """As `read_performance`, from the bytes of a file; ``source`` names it in errors."""
    try:
        file_type, division, tracks, parse_remarks = parse(midi_bytes)
        clock = _Clock.from_division(division)
        sequences = [[track] for track in tracks] if file_type == 2 else [tracks]
        performance = _perform(sequences, clock, sample_rate)
    except SmfError as parse_error:
        raise UserError(f"cannot read {source}: {parse_error}") from parse_error
    return performance._replace(warnings=[*parse_remarks, *performance.warnings])


def performance_of_events(events: Sequence[Event], length: int) -> Performance:
    """Return events, in order of time, as the performance of a file with these events, ``length`` samples long."""
    settled_events = _settle(events)
    release_events, unreleased_count, pedal_channels = _releases(settled_events, length)
    channels = sorted({event.channel for event in settled_events if isinstance(event, NoteOn)})
    warnings = _warnings(channels, unreleased_count, pedal_channels)
    return Performance([*settled_events, *release_events], length, channels, warnings)


class _Clock(NamedTuple):
    """Microseconds over ticks a quarter note, or SMPTE ticks."""

    unit_seconds: Fraction
    follows_tempo: bool

    @classmethod
    def from_division(cls, division: int) -> "_Clock":
        if not division & 0x8000:
            if division == 0:
                raise SmfError("0 ticks a quarter note in its header; at least 1 is needed")
            return cls(Fraction(1, 1_000_000 * division), follows_tempo=True)
        frame_rate, ticks_per_frame = 256 - (division >> 8), division & 0xFF
        if frame_rate not in FRAME_RATES or ticks_per_frame == 0:
            raise SmfError(
                f"SMPTE time of {frame_rate} frames, {ticks_per_frame} ticks each; 24, 25, 29 or 30 and 1 to 255 exist"
            )
        return cls(1 / (FRAME_RATES[frame_rate] * ticks_per_frame), follows_tempo=False)


class _TempoMap:
    """Converts ticks to a clock's units, over changes of tempo."""

    def __init__(self, tracks: Sequence[MidiTrack], clock: _Clock) -> None:
        changes = [change for track in tracks for change in track.tempos] if clock.follows_tempo else []
        self.changes = sorted(changes, key=lambda change: change[0])  # ticks, microseconds a quarter note
        self._change_ticks = [0]
        self._change_units = [0]
        self._tempos = [DEFAULT_TEMPO if clock.follows_tempo else 1]
        for tick, tempo in self.changes:
            self._change_units.append(self.units(tick))
            self._change_ticks.append(tick)
            self._tempos.append(tempo)

    def units(self, tick: int) -> int:
        """Units from the start to a tick."""
        change_index = bisect_right(self._change_ticks, tick) - 1
        return self._change_units[change_index] + (tick - self._change_ticks[change_index]) * self._tempos[change_index]


def _perform(sequences: Sequence[Sequence[MidiTrack]], clock: _Clock, sample_rate: int) -> Performance:
    """Play sequences of tracks, one after another."""
    samples_per_unit = clock.unit_seconds * sample_rate
    events: list[Event] = []
    annotations: list[tuple[int, str]] = []
    unreleased_count, start_units = 0, 0
    pedal_channels: set[int] = set()  # channels whose pedals are down at the end of a sequence
    for tracks in sequences:
        tempo_map = _TempoMap(tracks, clock)
        end_units = start_units + tempo_map.units(max((track.end for track in tracks), default=0))
        if end_units * clock.unit_seconds > LONGEST_SECONDS:
            hours = float(end_units * clock.unit_seconds / 3600)
            raise SmfError(f"it lasts {hours:.3g} hours; at most {LONGEST_SECONDS // 3600} can be played")
        messages = sorted((message for track in tracks for message in track.messages), key=lambda message: message[0])
        sequence_events = [
            _event(_round(samples_per_unit * (start_units + tempo_map.units(tick))), status, data)
            for tick, status, data in messages
        ]
        annotations += [
            (_round(samples_per_unit * (start_units + tempo_map.units(tick))), text)
            for track in tracks
            for tick, text in track.notes
        ]
        if not any(track.in_order for track in tracks):
            tempo_events = [
                Tempo(_round(samples_per_unit * (start_units + tempo_map.units(tick))), 60e6 / microseconds)
                for tick, microseconds in tempo_map.changes
            ]
            sequence_events = sorted([*tempo_events, *_settle(sequence_events)], key=lambda event: event.time)
        release_events, sequence_unreleased_count, sequence_pedal_channels = _releases(
            sequence_events, _round(samples_per_unit * end_units)
        )
        unreleased_count += sequence_unreleased_count
        pedal_channels |= sequence_pedal_channels
        events += [*sequence_events, *release_events]
        start_units = end_units
    channels = sorted({event.channel for event in events if isinstance(event, NoteOn)})
    warnings = _warnings(channels, unreleased_count, pedal_channels)
    if len(sequences) > 1:
        warnings.insert(0, f"a file of type 2: its {len(sequences)} patterns are played one after another")
    is_recorded = any(track.in_order for sequence in sequences for track in sequence)
    return Performance(events, _round(samples_per_unit * start_units), channels, warnings, is_recorded, annotations)


def _releases(events: Sequence[Event], time: int) -> tuple[list[Event], int, set[int]]:
    """Events at sample ``time`` that lift keys and pedals left down; how many keys, and the pedals' channels."""
    held_keys, held_pedals = _left_down(events)
    release_events: list[Event] = [NoteOff(time, channel, key) for channel, key in held_keys]
    release_events += [ControlChange(time, channel, number, 0) for channel, number in held_pedals]
    return release_events, sum(held_keys.values()), {channel for channel, _ in held_pedals}


def _warnings(channels: Sequence[int], unreleased_count: int, pedal_channels: Collection[int]) -> list[str]:
    """Return warnings of a performance with notes on ``channels``."""
    warnings = []
    if not channels:
        warnings.append("no notes: the output is silence")
    if unreleased_count:
        warnings.append(
            f"{unreleased_count} note{'s' * (unreleased_count > 1)} without a note-off: released at the end"
        )
    if pedal_channels:
        channel_list = (
            f"channel{'s' * (len(pedal_channels) > 1)} "
            f"{', '.join(str(channel + 1) for channel in sorted(pedal_channels))}"
        )
        warnings.append(f"a pedal of {channel_list} is never lifted: lifted at the end")
    return warnings


def _round(value: Fraction) -> int:
    """Round to the nearest integer, halves up."""
    return (2 * value.numerator + value.denominator) // (2 * value.denominator)


def _event(time: int, status: int, data: bytes) -> Event:
    """Return the event of a track's message, at sample ``time``."""
    if status in CLOCK:
        return Clock(time, CLOCK[status])
    if status == EXCLUSIVE and (event := exclusive_event(time, data)) is not None:
        return event
    if status == OWN:
        return from_bytes(time, data)
    return channel_event(time, status, data[0], data[-1])


def _settle(events: Sequence[Event]) -> list[Event]:
    """A held key's note-off precedes its note-on at the same sample; a silent key's note has zero length."""
    settled_events: list[Event] = []
    held_notes: set[tuple[int, float]] = set()
    for _, event_group in groupby(events, key=lambda event: event.time):
        simultaneous_events: list[Event] = []
        struck_notes: dict[tuple[int, float], NoteOn] = {}
        for event in event_group:
            if isinstance(event, NoteOn):
                struck_notes.setdefault((event.channel, event.key), event)
            if isinstance(event, NoteOff):
                note_address = (event.channel, event.key)
                if note_address in struck_notes and note_address in held_notes:
                    simultaneous_events.insert(simultaneous_events.index(struck_notes[note_address]), event)
                    held_notes.discard(note_address)
                    continue
                held_notes.discard(note_address)
            simultaneous_events.append(event)
        for event in simultaneous_events:
            if isinstance(event, NoteOn):
                held_notes.add((event.channel, event.key))
            elif isinstance(event, NoteOff):
                held_notes.discard((event.channel, event.key))
        settled_events += simultaneous_events
    return settled_events


def _left_down(events: Iterable[Event]) -> tuple[dict[tuple[int, float], bool], list[tuple[int, int]]]:
    """Channels and numbers of the keys without a note-off, and of the pedals that are down after the last event.

    Keys that all notes off has released are False: presets that start zones may take its channel for a member's.
    """
    keys: dict[tuple[int, float], bool] = {}
    pedals: dict[tuple[int, int], None] = {}
    controller_reader, zone_sizes = ControllerReader(), {LOWER: 0, UPPER: 0}
    for event in events:
        match controller_reader.read(event):
            case NoteOn(_, channel, key):
                keys[channel, key] = True
            case NoteOff(_, channel, key):
                keys.pop((channel, key), None)
            case ControlChange(_, channel, number, value) if number in HOLDING_PEDALS:
                pedals.pop((channel, number), None)
                if value >= PRESSED:
                    pedals[channel, number] = None
            case AllOff(_, channel):
                group_channel = group_of(zone_sizes, channel)
                keys = {
                    address: is_held and group_of(zone_sizes, address[0]) != group_channel
                    for address, is_held in keys.items()
                }
            case ControllersReset(_, channel):
                pedals = {address: None for address in pedals if address[0] != channel}
            case DataEntry(_, channel, True, parameter, "coarse", member_count) if parameter == CONFIGURATION:
                zone_sizes = resized(zone_sizes, channel, member_count) if channel in zone_sizes else zone_sizes
    return keys, list(pedals)


def _read_midi_bytes(path: Path) -> bytes:
    if path.is_dir():
        raise UserError(f"cannot read {path}: it is a folder; give a MIDI file")
    try:
        with path.open("rb") as file:
            head_bytes = file.read(HEAD_BYTES)
            if not head_bytes:
                raise UserError(f"cannot read {path}: it is empty; give a MIDI file")
            if not head_bytes.startswith(HEADER) and not (head_bytes.startswith(RIFF) and head_bytes.endswith(RMID)):
                raise UserError(f"cannot read {path}: it is not a MIDI file (no MThd at its start); give one that is")
            byte_blocks = (file.read(LARGEST_BYTES >> 8) for _ in range(1 << 8))
            midi_bytes = head_bytes + b"".join(takewhile(bool, byte_blocks))
            if file.read(1):
                raise UserError(f"cannot read {path}: it has more than {LARGEST_BYTES >> 20} MiB; give a smaller file")
            return midi_bytes
    except FileNotFoundError:
        raise UserError(f"cannot read {path}: there is no such file; give a MIDI file") from None
    except OSError as error:
        raise UserError(f"cannot read {path}: {error.strerror or error}") from None
