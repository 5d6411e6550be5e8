"""Music from Python: notes, MIDI files, mido's messages, and objects shaped like pretty_midi's, as performances."""

import io
import itertools
import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields, replace
from operator import attrgetter, index
from pathlib import Path
from typing import Any, NamedTuple, SupportsIndex

import numpy as np

from ...host.arguments import elements, number, value_text, whole_number
from ...host.errors import UserError
from ...host.events import ControlChange, Event, NoteOff, NoteOn, PitchBend
from ...host.midi.decode import MidiDecoder
from ...host.midi.files import (
    LONGEST_SECONDS,
    Performance,
    parse_performance,
    performance_of_events,
    read_performance,
)

DRUMS = 10  # General MIDI's channel of percussion
MELODIC = [channel for channel in range(1, 17) if channel != DRUMS]


@dataclass(frozen=True)
class Note:
    """A note.

    Attributes:
        key: 0 to 127, a MIDI key; 60 is C4. Between whole keys, as 60.5, it sounds on the line between their pitches.
        start: seconds from the beginning, 0 to 36000.
        duration: seconds from its start to its release, above 0.
        velocity: 1 to 127, a whole number.
        channel: MIDI channel, 1 to 16.

    Raises:
        UserError: a value is out of its range.
    """

    key: float
    start: float = 0.0
    duration: float = 1.0
    velocity: int = 100
    channel: int = 1

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            if isinstance(value, np.ndarray) and not value.ndim:  # its number, which has a hash
                object.__setattr__(self, field.name, value.item())
        if not 0 <= number("Note: key", self.key) <= 127:
            raise UserError(f"Note: key {self.key!r} is out of range; give 0 to 127")
        whole_number("Note: velocity", self.velocity, 1, 127)
        whole_number("Note: channel", self.channel, 1, 16)
        if not 0 <= number("Note: start", self.start) <= LONGEST_SECONDS:
            raise UserError(f"Note: start {self.start!r} is out of range; give 0 to {LONGEST_SECONDS} seconds")
        if not 0 < number("Note: duration", self.duration) <= LONGEST_SECONDS:
            raise UserError(f"Note: duration {self.duration!r} is out of range; give seconds, more than 0")


# A MIDI file's path, or mido's MidiFile; a note, or several; mido's messages with absolute seconds; pretty_midi's
# notes, instruments or PrettyMIDI. Attributes distinguish the classes, so neither package is needed.
Music = str | os.PathLike[str] | Note | Iterable[Note] | Any


def performance_of_music(music: Music, sample_rate: int) -> tuple[Performance, str]:
    """Return music as events in samples of ``sample_rate``, and its name for messages.

    Raises:
        UserError: a file cannot be read, or the music is none of `Music`.
    """
    if isinstance(music, str | os.PathLike):
        return read_performance(Path(music), sample_rate), os.fspath(music)
    if hasattr(music, "tracks") and hasattr(music, "save"):
        midi_file = io.BytesIO()
        music.save(file=midi_file)
        return parse_performance(midi_file.getvalue(), "the MIDI file", sample_rate), "the MIDI file"
    if isinstance(music, list) and hasattr(music, "name"):
        raise UserError("a mido.MidiTrack has times in ticks of its file; give the whole mido.MidiFile")
    if hasattr(music, "instruments"):
        return _instruments_performance(
            elements("the music's instruments", music.instruments), sample_rate
        ), "the music"
    parts = [music] if isinstance(music, Note) or hasattr(music, "notes") else _listed(music)
    if parts and all(hasattr(part, "notes") for part in parts):
        return _instruments_performance(parts, sample_rate), "the music"
    if parts and all(hasattr(part, "bytes") and hasattr(part, "time") for part in parts):
        return _messages_performance(parts, sample_rate), "the messages"
    return performance_of(map(_as_note, parts), sample_rate), "the notes"


def performance_of(notes: Iterable[Note], sample_rate: int) -> Performance:
    """Return the notes as events; a restruck key of a channel is released first."""
    return _performance(notes, [], sample_rate)


class _Timed(NamedTuple):
    """An event with its place among those of its sample: keys are released, controllers move, keys are pressed."""

    time: int
    order: int
    channel: int
    key: float
    event: Event


def _performance(notes: Iterable[Note], controllers: Sequence[Event], sample_rate: int) -> Performance:
    """Return notes and controllers' events, whose times are samples, in order of time."""
    timed = [_Timed(event.time, 1, 0, place, event) for place, event in enumerate(controllers)]
    next_start_samples: dict[tuple[int, float], int] = {}  # the start of each key's next note
    length_samples = max((event.time for event in controllers), default=0)
    channels: set[int] = set()
    for note in sorted(notes, key=lambda note: (note.start, note.duration), reverse=True):
        key = int(note.key) if note.key == int(note.key) else float(note.key)
        channel, start_sample = index(note.channel) - 1, round(float(note.start) * sample_rate)
        end_sample = max(start_sample + 1, round((float(note.start) + float(note.duration)) * sample_rate))
        length_samples = max(length_samples, end_sample)
        next_start_sample = next_start_samples.get((channel, key), end_sample)
        next_start_samples[channel, key] = start_sample
        if next_start_sample == start_sample:  # of strikes at once the longest counts
            continue
        channels.add(channel)
        release_sample = min(end_sample, next_start_sample)
        note_on = NoteOn(start_sample, channel, key, index(note.velocity))
        timed.append(_Timed(start_sample, 2, channel, key, note_on))
        timed.append(_Timed(release_sample, 0, channel, key, NoteOff(release_sample, channel, key)))
    timed.sort(key=lambda entry: entry[:4])
    warnings = [] if channels else ["no notes: the output is silence"]
    return Performance([entry.event for entry in timed], length_samples, sorted(channels), warnings)


def _listed(music: Any) -> list[Any]:
    try:
        return list(music)
    except TypeError:
        raise UserError(f"{value_text(music)} is no music; give the path of a MIDI file, or notes") from None


def _as_note(part: Any) -> Note:
    """Return a note of pretty_midi's shape as one of ours."""
    if isinstance(part, Note):
        return part
    if all(hasattr(part, name) for name in ("pitch", "velocity", "start", "end")):
        start, end = (number(f"note: {name}", getattr(part, name)) for name in ("start", "end"))
        return Note(part.pitch, start, end - start, part.velocity)
    raise UserError(
        f"{value_text(part)} is no timbrel.Note; give notes, mido's messages, pretty_midi's instruments, or a MIDI "
        "file's path"
    )


def _instruments_performance(instruments: Sequence[Any], sample_rate: int) -> Performance:
    """Play instruments on channels of their own in order, drums on channel 10."""
    melodic_channels = iter(MELODIC)
    notes: list[Note] = []
    controllers: list[Event] = []
    for instrument in instruments:
        (instrument_notes,) = _fields("instrument", instrument, "notes")
        channel = DRUMS if getattr(instrument, "is_drum", False) else next(melodic_channels, None)
        if channel is None:
            raise UserError(f"more than {len(MELODIC)} instruments beside drums; MIDI has channels for {len(MELODIC)}")
        notes += [replace(_as_note(note), channel=channel) for note in elements("notes", instrument_notes)]
        for change in elements("control_changes", getattr(instrument, "control_changes", [])):
            seconds, controller, value = _fields("control change", change, "time", "number", "value")
            time = _sample("control change", seconds, sample_rate)
            controllers.append(control_change(time, controller, value, channel))
        for bend in elements("pitch_bends", getattr(instrument, "pitch_bends", [])):
            seconds, pitch = _fields("pitch bend", bend, "time", "pitch")
            value = whole_number("pitch bend:", pitch, -8192, 8191)
            controllers.append(PitchBend(_sample("pitch bend", seconds, sample_rate), channel - 1, value))
    return _performance(notes, sorted(controllers, key=attrgetter("time")), sample_rate)


def _fields(kind: str, part: Any, *names: str) -> list[Any]:
    """Return attributes of a part of pretty_midi's music; raise UserError if one is missing."""
    if missing_name := next((name for name in names if not hasattr(part, name)), None):
        raise UserError(f"{kind} {value_text(part)} has no {missing_name}; give objects of pretty_midi's shape")
    return [getattr(part, name) for name in names]


def _messages_performance(messages: Sequence[Any], sample_rate: int) -> Performance:
    """Play mido's messages; ``time`` is in seconds from the beginning, as pedalboard takes them."""
    played = [message for message in messages if not getattr(message, "is_meta", False)]
    times = [_sample("message", message.time, sample_rate) for message in played]
    for (earlier_time, earlier), (later_time, later) in itertools.pairwise(zip(times, played, strict=True)):
        if later_time < earlier_time:
            raise UserError(
                f"a message at {later.time:g} s comes after one at {earlier.time:g} s; times are seconds from the "
                "beginning, in order: add up differences with itertools.accumulate, or give the whole mido.MidiFile"
            )
    decoder, events = MidiDecoder(), list[Event]()
    for time, message in zip(times, played, strict=True):
        try:
            message_bytes = bytes(message.bytes())
        except (TypeError, ValueError) as error:
            raise UserError(f"message {value_text(message)} gives no bytes of MIDI ({error}); give mido's") from None
        events += decoder.feed(message_bytes, time)
    return performance_of_events(events, max((event.time for event in events), default=0))


def _sample(name: str, seconds: object, sample_rate: int) -> int:
    """Return the sample of a time; raise UserError for one out of range."""
    time_seconds = number(f"{name}: time", seconds)
    if not 0 <= time_seconds <= LONGEST_SECONDS:
        raise UserError(f"{name}: time {time_seconds:g} is out of range; give 0 to {LONGEST_SECONDS} seconds")
    return round(time_seconds * sample_rate)


def control_change(time: int, controller: SupportsIndex, value: SupportsIndex, channel: int) -> ControlChange:
    """Return a controller's move; raise UserError for data out of range. ``channel``: 1 to 16."""
    number_and_value = (
        whole_number(f"control change: {name}", data, 0, 127)
        for name, data in (("controller", controller), ("value", value))
    )
    return ControlChange(time, whole_number("channel", channel, 1, 16) - 1, *number_and_value)
