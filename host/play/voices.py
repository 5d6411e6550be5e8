"""Voice allocation: keys, pedals, polyphony, play modes, release and voice stealing."""

import math
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from ..engines.engine import VoiceMaker
from ..events import nearest_key
from ..kinds.kind import Keying
from ..preset.preset import PlaySettings
from ..preset.tuning import pitch_of
from ..ramps import RAMP_SECONDS, Ramp
from .gestures import NO_OFFSETS, GesturePlayer, Note, NoteValues
from .mpe import MpeChannels, NoteExpression
from .parameters import Parameters
from .trajectory import Gesture
from .voice import STEAL_SECONDS, Voice

PARTS = 4  # summing parts of voices: the most processes that can share them


def _by_spare_time(voice: Voice) -> float:
    return math.inf if voice.spare_since is None else voice.spare_since


class VoiceFactory:
    """Begins a preset's voices, as its parameters, tuning and gestures stand at the note-on.

    Refers neither to voices nor to the event processor: live playing disables the garbage collector, so objects must
    not form reference cycles.
    """

    def __init__(
        self,
        engine: VoiceMaker[Any],
        parameters: Parameters,
        mpe: MpeChannels,
        tuning: Mapping[int, float],
        velocities: Mapping[Note, int],
        note_values: NoteValues | None,
        gestures: GesturePlayer | None,
        known_bend: float,
    ) -> None:
        """``tuning``: pitches of playable keys, in semitones, 69 for 440 Hz; ``velocities``: of struck keys.

        ``known_bend``: as `EngineRequest.bend`.
        """
        self._engine, self._parameters, self.mpe, self._tuning = engine, parameters, mpe, tuning
        self._velocities = velocities
        self._note_values, self._gestures, self._known_bend = note_values, gestures, known_bend

    def pitch(self, key: float) -> float:
        """Pitch of a playable key, in semitones, 69 for 440 Hz."""
        pitch = pitch_of(key, self._tuning)
        assert pitch is not None  # the dispatcher passes over others
        return pitch

    def start_voice(self, time: int, note: Note, gain: float, bus: int, part: int) -> Voice:
        channel, key = note
        self.mpe.last_channel = channel
        pitch = self.pitch(key)
        stream = self._engine.start_stream(pitch, time, nearest_key(key), self._velocities[note])
        offsets = NO_OFFSETS if self._note_values is None else self._note_values.offsets(note)
        gesture: Gesture | None = None
        if self._gestures is not None:
            gesture = self._gestures.start_gesture(time, note, pitch, offsets.by_target)
        envelope = self._parameters.envelope(time, offsets.by_target)
        if gesture is not None:
            envelope.attack = gesture.attack(envelope.attack)
        strength = Ramp(gain, round(RAMP_SECONDS * self._parameters.sample_rate))
        voice = Voice(note, bus, part, strength, envelope, stream, self.mpe.touch(channel), gesture, offsets)
        self.lengthen(voice, time)
        return voice

    def lengthen(self, voice: Voice, time: int) -> None:
        """Let a voice's stream end later where its bend, tuning included, is lower than the engine expects."""
        if voice.stream.over is None or voice.stream.over <= time:
            return
        touch, wheel = voice.touch, self.mpe.wheel(voice.note[0])
        bend = wheel.bend.target if touch is None else touch.bend.target + touch.masters[-1][1].target
        if (semitones := -bend - self._known_bend) > voice.lower:
            left_samples = (voice.stream.over - time) * 2 ** ((semitones - voice.lower) / 12)
            voice.stream.over, voice.lower = time + math.ceil(left_samples), semitones

    def release_samples(self, voice: Voice) -> int:
        return self._parameters.release_samples(voice.offsets.by_target)


class Voices(ABC):
    """The voices of one instrument; ``time`` is in samples and never decreases."""

    def __init__(self, sample_rate: int, factory: VoiceFactory) -> None:
        """``sample_rate`` is the model's, in Hz."""
        self._factory, self._mpe = factory, factory.mpe
        self.steal_samples = max(1, round(STEAL_SECONDS * sample_rate))
        self._voices: list[Voice] = []
        self._ends: dict[int, int] = {}  # by bus, of the latest voice that has ended
        self.endings = 0  # releases and steals so far
        self._down: set[Note] = set()
        self._pedals: set[int] = set()  # groups with pedal down
        self._sostenuto: dict[int, set[Note]] = {}  # held notes, by group with pedal down
        self.first_bus: int | None = None  # of the first voice; other processes share its voices alone

    def __iter__(self) -> Iterator[Voice]:
        return iter(self._voices)

    def __len__(self) -> int:
        return len(self._voices)

    @abstractmethod
    def note_on(self, time: int, key: float, gain: float, channel: int = 0) -> None:
        """``gain`` is that of the key's velocity."""

    @abstractmethod
    def note_off(self, time: int, key: float, channel: int = 0) -> None:
        """Pedals may hold the key's voice."""

    def latches(self, key: float, channel: int) -> bool:
        """Return whether a second press ends a key."""
        return False

    def follow_bends(self, time: int) -> None:
        """Let streams that end by themselves end later where a bend has gone far down."""
        for voice in self._voices:
            self._factory.lengthen(voice, time)

    @abstractmethod
    def _settle(self, time: int) -> None: ...

    def pedal(self, time: int, down: bool, group: int = 0) -> None:
        """Sustain pedal (CC 64) of a group."""
        if down:
            self._pedals.add(group)
        else:
            self._pedals.discard(group)
        self._settle(time)

    def sostenuto(self, time: int, down: bool, group: int = 0) -> None:
        """Sostenuto pedal (CC 66): it holds keys that are down at its press."""
        if not down:
            self._sostenuto.pop(group, None)
            self._settle(time)
        elif group not in self._sostenuto:
            self._sostenuto[group] = {note for note in self._down if self._mpe.group(note[0]) == group}

    def release_all(self, time: int, group: int = 0) -> None:
        """Release a group's keys (all notes off, CC 123), but not pedals."""
        self._lift_keys(group)
        for voice in self._voices:
            if self._mpe.group(voice.note[0]) == group:
                voice.down = False
        self._settle(time)

    def silence(self, time: int, group: int = 0) -> None:
        """Steal a group's voices (all sound off, CC 120)."""
        self._lift_keys(group)
        for voice in list(self._voices):
            if self._mpe.group(voice.note[0]) == group:
                self._cut(voice, time)

    def victim(self, time: int) -> Voice | None:
        """The voice to steal: the earliest released or replaced, else the oldest."""
        return min(self._sounding(time), key=_by_spare_time, default=None)

    def silent_since(self, time: int, bus: int | None = None) -> int | None:
        """Return the end of the notes that began before sample ``time``, of one ``bus`` or all; None if one sounds."""
        since = max(self._ends.values(), default=0) if bus is None else self._ends.get(bus, 0)
        for voice in self._voices:
            if voice.stream.on < time and bus in (None, voice.bus):
                end = voice.end(self.steal_samples)
                if end is None or end > time:
                    return None
                since = max(since, end)
        return since

    def count(self, time: int) -> int:
        return len(self._sounding(time))

    def touches(self, channel: int) -> list[NoteExpression]:
        return [v.touch for v in self._voices if v.touch is not None and v.down and v.note[0] == channel]

    def shed(self, time: int) -> None:
        if (voice := self.victim(time)) is not None:
            self._cut(voice, time)

    def forget(self, time: int) -> None:
        for voice in self._voices:
            voice.forget(time)

    def retire(self, time: int) -> None:
        sounding = []
        for voice in self._voices:
            if (end := voice.end(self.steal_samples)) is None or time < end:
                sounding.append(voice)
            else:
                self._ends[voice.bus] = max(self._ends.get(voice.bus, 0), end)
        self._voices = sounding

    def _holds(self, note: Note) -> bool:
        return note in self._down or self._pedal_holds(note)

    def _pedal_holds(self, note: Note) -> bool:
        group = self._mpe.group(note[0])
        return group in self._pedals or note in self._sostenuto.get(group, ())

    def _lift_keys(self, group: int) -> None:
        self._down = {note for note in self._down if self._mpe.group(note[0]) != group}

    def _start_voice(self, time: int, note: Note, gain: float, bus: int) -> Voice:
        if self.first_bus is None:
            self.first_bus = bus
        parts = [voice.part for voice in self._sounding(time)]
        # The part with the fewest voices, to balance the load; workers send the sums of one bus.
        part = min(range(PARTS), key=parts.count) if bus == self.first_bus else 0
        voice = self._factory.start_voice(time, note, gain, bus, part)
        self._voices.append(voice)
        return voice

    def _release(self, voice: Voice, time: int) -> None:
        voice.down = False
        if voice.envelope.off is None:
            self.endings += 1
            voice.release(time, self._factory.release_samples(voice))

    def _cut(self, voice: Voice, time: int) -> None:
        if voice.stolen_at is None:
            self.endings += 1
            voice.down = False
            voice.stolen_at = time
            if voice.envelope.on == time:  # it has played no sample
                self._voices.remove(voice)

    def _sounding(self, time: int) -> list[Voice]:
        steal = self.steal_samples
        return [v for v in self._voices if v.stolen_at is None and ((end := v.end(steal)) is None or time < end)]


class PolyAssignment(Voices):
    """One voice per key press.

    A new press of a key releases the voice before, as its note-off does: a pedal that holds the note lets it ring.
    """

    def __init__(self, limit: int, chokes: Mapping[int, str], sample_rate: int, factory: VoiceFactory) -> None:
        """``limit`` excludes stolen voices; a new note cuts its group of ``chokes``, by key."""
        super().__init__(sample_rate, factory)
        self._limit, self._chokes = limit, chokes

    def note_on(self, time: int, key: float, gain: float, channel: int = 0) -> None:
        note = (channel, key)
        self._down.add(note)
        choke, bus = self._chokes.get(nearest_key(key)), self._mpe.bus(channel)
        for voice in list(self._voices):
            if choke is not None and self._chokes.get(nearest_key(voice.key)) == choke and voice.bus == bus:
                self._cut(voice, time)
            elif voice.note == note:
                self._replace(voice, time)
        if len(self._voices) >= self._limit and self.count(time) >= self._limit:
            self.shed(time)
        self._start_voice(time, note, gain, bus)

    def note_off(self, time: int, key: float, channel: int = 0) -> None:
        note = (channel, key)
        self._down.discard(note)
        for voice in self._voices:
            if voice.note == note and voice.down:
                voice.down = False
                if not self._pedal_holds(note):
                    self._release(voice, time)

    def _replace(self, voice: Voice, time: int) -> None:
        voice.down = False
        if not self._pedal_holds(voice.note):
            self._release(voice, time)
        elif voice.replaced_at is None:
            voice.replaced_at = time

    def _settle(self, time: int) -> None:
        for voice in self._voices:
            if not voice.down and not self._pedal_holds(voice.note):
                self._release(voice, time)


class Latch(PolyAssignment):
    """One voice per key, held until a second press.

    Pedals hold released notes; all notes off (CC 123) releases all.
    """

    def note_on(self, time: int, key: float, gain: float, channel: int = 0) -> None:
        if self._latched(self._sounding(time), key, channel):
            self.unlatch(time, key, channel)
        else:
            super().note_on(time, key, gain, channel)

    def note_off(self, time: int, key: float, channel: int = 0) -> None: ...

    def latches(self, key: float, channel: int) -> bool:
        return bool(self._latched(self._voices, key, channel))

    def unlatch(self, time: int, key: float, channel: int) -> None:
        """End a latched key."""
        for voice in self._latched(self._sounding(time), key, channel)[:1]:
            super().note_off(time, key, voice.note[0])

    def _latched(self, voices: list[Voice], key: float, channel: int) -> list[Voice]:
        bus = self._mpe.bus(channel)
        return [v for v in voices if v.key == key and v.down and v.stolen_at is None and v.bus == bus]


class Struck(PolyAssignment):
    """One voice per key, which plays to its end or all notes off (CC 123)."""

    def note_off(self, time: int, key: float, channel: int = 0) -> None:
        self._down.discard((channel, key))


@dataclass(slots=True)
class _HeldNote:
    note: Note
    gain: float


@dataclass(slots=True)
class _Line:
    """The melody of a bus."""

    glide_samples: int
    held_notes: list[_HeldNote] = field(default_factory=list)  # by a key or a pedal, in order of presses
    last_note: Note | None = None  # last played
    last_pitch: Ramp | None = None  # of the last voice: the start of a glide


class MonoAssignment(Voices):
    """One voice for all keys of a bus: plays the last key pressed, or after its release the previous held key.

    With ``legato``, overlapping keys continue the envelope, and the level ramps. Pitch glides linearly in semitones
    during ``glide_samples``. A chord has the pitch classes nearest to all held keys, in the octave of the lowest, at
    the last velocity, always legato.
    """

    def __init__(self, legato: bool, chord: bool, sample_rate: int, factory: VoiceFactory) -> None:
        super().__init__(sample_rate, factory)
        self._legato, self._chord = legato or chord, chord
        self._lines: dict[int, _Line] = {}  # by bus
        self.glide_samples = 0  # of buses without a `glide` of their own

    def glide(self, bus: int, samples: int) -> None:
        self._line(bus).glide_samples = samples

    def note_on(self, time: int, key: float, gain: float, channel: int = 0) -> None:
        note, bus = (channel, key), self._mpe.bus(channel)
        slurred = self._legato and any(self._mpe.bus(down[0]) == bus for down in self._down - {note})
        self._down.add(note)
        line = self._line(bus)
        line.held_notes = [held_note for held_note in line.held_notes if held_note.note != note] + [
            _HeldNote(note, gain)
        ]
        self._play(time, bus, slurred)

    def note_off(self, time: int, key: float, channel: int = 0) -> None:
        self._down.discard((channel, key))
        self._settle(time)

    def silence(self, time: int, group: int = 0) -> None:
        for line in self._lines.values():
            line.held_notes = [
                held_note for held_note in line.held_notes if self._mpe.group(held_note.note[0]) != group
            ]
        super().silence(time, group)

    def _line(self, bus: int) -> _Line:
        return self._lines.setdefault(bus, _Line(self.glide_samples))

    def _settle(self, time: int) -> None:
        for bus, line in self._lines.items():
            held_notes = [held_note for held_note in line.held_notes if self._holds(held_note.note)]
            changed = len(held_notes) < len(line.held_notes)
            line.held_notes = held_notes
            if not changed:
                continue
            if not held_notes:
                for voice in self._voices:
                    if voice.bus == bus:
                        self._release(voice, time)
            elif self._chord:
                for voice in self._sounding(time):
                    if voice.bus == bus:
                        self._lead(voice, time, line)
            elif held_notes[-1].note != line.last_note:
                self._play(time, bus, self._legato)

    def _play(self, time: int, bus: int, slurred: bool) -> None:
        line = self._lines[bus]
        last = line.held_notes[-1]
        line.last_note = last.note
        going = [v for v in self._sounding(time) if v.bus == bus and v.envelope.off is None] if slurred else []
        if going:
            self._lead(going[0], time, line)
            return
        for voice in [voice for voice in self._voices if voice.bus == bus]:
            self._cut(voice, time)
        voice = self._start_voice(time, last.note, last.gain, bus)
        begin = self._factory.pitch(voice.key) if line.last_pitch is None else line.last_pitch.value(time)
        voice.stream.pitch = Ramp(begin, 1)
        if self._chord:
            voice.stream.chord = Ramp(0, 1)
        self._lead(voice, time, line)

    def _lead(self, voice: Voice, time: int, line: _Line) -> None:
        last, pitch = line.held_notes[-1], voice.stream.pitch
        assert pitch is not None
        voice.note = last.note
        voice.gain.move(time, last.gain)
        if voice.touch is not None and (touch := self._mpe.touch(last.note[0])) is not None:
            voice.touch.follow(time, touch)
        pitches = [self._factory.pitch(held_note.note[1]) for held_note in line.held_notes]
        if voice.stream.chord is not None:
            classes = {math.floor(pitch + 0.5) % 12 for pitch in pitches}  # the nearest: models have no others
            voice.stream.chord.jump(time, sum(1 << pitch_class for pitch_class in classes))
            pitch.jump(time, min(pitches))
        elif line.glide_samples > 0:
            pitch.move(time, pitches[-1], line.glide_samples)
        else:
            pitch.jump(time, pitches[-1])
        line.last_pitch = pitch


def keyed(
    play: PlaySettings, keying: Keying, sample_rate: int, factory: VoiceFactory
) -> PolyAssignment | MonoAssignment:
    if play.mode != "poly":
        return MonoAssignment(play.legato, play.mode == "chord", sample_rate, factory)
    assignment = Latch if keying.holds else Struck if keying.strikes else PolyAssignment
    return assignment(play.voices, keying.chokes, sample_rate, factory)
