"""Voice assignment: polyphonic, latched, one-shot, mono, legato and chord modes."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

from ..kinds.kind import Keying
from ..patch.preset import PlaySettings
from ..ramps import Ramp
from .gestures.note_offsets import Note
from .voice_allocation import Makers, Voice, Voices


class PolyAssignment(Voices):
    """One voice per key press.

    A new press of a key releases the voice before, as its note-off does: a pedal that holds the note lets it ring.
    """

    def __init__(self, limit: int, chokes: Mapping[int, str], sample_rate: int, makers: Makers) -> None:
        """``limit`` excludes stolen voices; a new note cuts its group of ``chokes``, by key."""
        super().__init__(sample_rate, makers)
        self._limit, self._chokes = limit, chokes

    def note_on(self, time: int, key: int, gain: float, channel: int = 0) -> None:
        note = (channel, key)
        self._down.add(note)
        choke, bus = self._chokes.get(key), self._bus(channel)
        for voice in list(self._voices):
            if choke is not None and self._chokes.get(voice.key) == choke and voice.bus == bus:
                self._cut(voice, time)
            elif voice.note == note:
                self._replace(voice, time)
        if len(self._voices) >= self._limit and self.count(time) >= self._limit:
            self.shed(time)
        self._sound(time, note, gain, bus)

    def note_off(self, time: int, key: int, channel: int = 0) -> None:
        note = (channel, key)
        self._down.discard(note)
        for voice in self._voices:
            if voice.note == note and voice.down:
                voice.down = False
                if not self._pedal_holds(note):
                    self._let_go(voice, time)

    def _replace(self, voice: Voice, time: int) -> None:
        voice.down = False
        if not self._pedal_holds(voice.note):
            self._let_go(voice, time)
        elif voice.replaced_at is None:
            voice.replaced_at = time

    def _settle(self, time: int) -> None:
        for voice in self._voices:
            if not voice.down and not self._pedal_holds(voice.note):
                self._let_go(voice, time)


class Latch(PolyAssignment):
    """One voice per key, held until a second press.

    Pedals hold released notes; all notes off (CC 123) releases all.
    """

    def note_on(self, time: int, key: int, gain: float, channel: int = 0) -> None:
        latched = [v for v in self._sounding(time) if v.key == key and v.down and v.bus == self._bus(channel)]
        if latched:
            super().note_off(time, key, latched[0].note[0])
        else:
            super().note_on(time, key, gain, channel)

    def note_off(self, time: int, key: int, channel: int = 0) -> None: ...


class Struck(PolyAssignment):
    """One voice per key, which plays to its end or all notes off (CC 123)."""

    def note_off(self, time: int, key: int, channel: int = 0) -> None:
        self._down.discard((channel, key))


@dataclass(slots=True)
class _Held:
    note: Note
    gain: float


@dataclass(slots=True)
class _Line:
    """The melody of a bus."""

    glide_samples: int
    held: list[_Held] = field(default_factory=list)  # by a key or a pedal, in order of presses
    last_note: Note | None = None  # last played
    last_pitch: Ramp | None = None  # of the last voice: the start of a glide


class MonoAssignment(Voices):
    """One voice for all keys of a bus: plays the last key pressed, or after its release the previous held key.

    With ``legato``, overlapping keys continue the envelope, and the level ramps. Pitch glides linearly in semitones
    during ``glide_samples``. A chord has the pitch classes nearest to all held keys, in the octave of the lowest, at
    the last velocity, always legato.
    """

    def __init__(self, legato: bool, chord: bool, sample_rate: int, makers: Makers) -> None:
        super().__init__(sample_rate, makers)
        self._legato, self._chord = legato or chord, chord
        self._lines: dict[int, _Line] = {}  # by bus
        self.glide_samples = 0  # of buses without a `glide` of their own

    def glide(self, bus: int, samples: int) -> None:
        self._line(bus).glide_samples = samples

    def note_on(self, time: int, key: int, gain: float, channel: int = 0) -> None:
        note, bus = (channel, key), self._bus(channel)
        slurred = self._legato and any(self._bus(down[0]) == bus for down in self._down - {note})
        self._down.add(note)
        line = self._line(bus)
        line.held = [held for held in line.held if held.note != note] + [_Held(note, gain)]
        self._play(time, bus, slurred)

    def note_off(self, time: int, key: int, channel: int = 0) -> None:
        self._down.discard((channel, key))
        self._settle(time)

    def silence(self, time: int, group: int = 0) -> None:
        for line in self._lines.values():
            line.held = [held for held in line.held if self._group(held.note[0]) != group]
        super().silence(time, group)

    def _line(self, bus: int) -> _Line:
        return self._lines.setdefault(bus, _Line(self.glide_samples))

    def _settle(self, time: int) -> None:
        for bus, line in self._lines.items():
            held = [held for held in line.held if self._holds(held.note)]
            changed = len(held) < len(line.held)
            line.held = held
            if not changed:
                continue
            if not held:
                for voice in self._voices:
                    if voice.bus == bus:
                        self._let_go(voice, time)
            elif self._chord:
                for voice in self._sounding(time):
                    if voice.bus == bus:
                        self._lead(voice, time, line)
            elif held[-1].note != line.last_note:
                self._play(time, bus, self._legato)

    def _play(self, time: int, bus: int, slurred: bool) -> None:
        line = self._lines[bus]
        last = line.held[-1]
        line.last_note = last.note
        going = [v for v in self._sounding(time) if v.bus == bus and v.envelope.off is None] if slurred else []
        if going:
            self._lead(going[0], time, line)
            return
        for voice in [voice for voice in self._voices if voice.bus == bus]:
            self._cut(voice, time)
        voice = self._sound(time, last.note, last.gain, bus)
        begin = self._tuning[voice.key] if line.last_pitch is None else line.last_pitch.value(time)
        voice.stream.pitch = Ramp(begin, 1)
        if self._chord:
            voice.stream.chord = Ramp(0, 1)
        self._lead(voice, time, line)

    def _lead(self, voice: Voice, time: int, line: _Line) -> None:
        last, pitch = line.held[-1], voice.stream.pitch
        assert pitch is not None
        voice.note = last.note
        voice.gain.move(time, last.gain)
        if voice.touch is not None and (touch := self._touch(last.note[0])) is not None:
            voice.touch.follow(time, touch)
        pitches = [self._tuning[held.note[1]] for held in line.held]
        if voice.stream.chord is not None:
            classes = {math.floor(pitch + 0.5) % 12 for pitch in pitches}  # the nearest: models have no others
            voice.stream.chord.jump(time, sum(1 << pitch_class for pitch_class in classes))
            pitch.jump(time, min(pitches))
        elif line.glide_samples > 0:
            pitch.move(time, pitches[-1], line.glide_samples)
        else:
            pitch.jump(time, pitches[-1])
        line.last_pitch = pitch


def keyed(play: PlaySettings, keying: Keying, sample_rate: int, makers: Makers) -> PolyAssignment | MonoAssignment:
    if play.mode != "poly":
        return MonoAssignment(play.legato, play.mode == "chord", sample_rate, makers)
    way = Latch if keying.holds else Struck if keying.strikes else PolyAssignment
    return way(play.voices, keying.chokes, sample_rate, makers)
