"""Voice assignment: polyphonic, latched, one-shot, mono, legato and chord modes."""

import math
from collections.abc import Mapping
from dataclasses import dataclass

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
        group = self._chokes.get(key)
        for voice in list(self._voices):
            if group is not None and self._chokes.get(voice.key) == group:
                self._cut(voice, time)
            elif voice.note == note:
                self._replace(voice, time)
        if len(self._voices) >= self._limit and self.count(time) >= self._limit:
            self.shed(time)
        self._sound(time, note, gain)

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
        held = next((voice.note for voice in self._sounding(time) if voice.key == key and voice.down), None)
        if held is None:
            super().note_on(time, key, gain, channel)
        else:
            super().note_off(time, key, held[0])

    def note_off(self, time: int, key: int, channel: int = 0) -> None: ...


class Struck(PolyAssignment):
    """One voice per key, which plays to its end or all notes off (CC 123)."""

    def note_off(self, time: int, key: int, channel: int = 0) -> None:
        self._down.discard((channel, key))


@dataclass(slots=True)
class _Held:
    note: Note
    gain: float


class MonoAssignment(Voices):
    """One voice for all keys: plays the last key pressed, or after its release the previous held key.

    With ``legato``, overlapping keys continue the envelope, and the level ramps. Pitch glides linearly in semitones
    during ``glide_samples``. A chord has the pitch classes nearest to all held keys, in the octave of the lowest, at
    the last velocity, always legato.
    """

    def __init__(self, legato: bool, chord: bool, sample_rate: int, makers: Makers) -> None:
        super().__init__(sample_rate, makers)
        self._legato, self._chord = legato or chord, chord
        self._held: list[_Held] = []  # by a key or a pedal, in order of presses
        self._last_note: Note | None = None  # last played
        self._last_pitch: Ramp | None = None  # of the last voice: the start of a glide
        self.glide_samples = 0

    def note_on(self, time: int, key: int, gain: float, channel: int = 0) -> None:
        note = (channel, key)
        slurred = self._legato and bool(self._down - {note})
        self._down.add(note)
        self._held = [held for held in self._held if held.note != note] + [_Held(note, gain)]
        self._play(time, slurred)

    def note_off(self, time: int, key: int, channel: int = 0) -> None:
        self._down.discard((channel, key))
        self._settle(time)

    def silence(self, time: int, zone: int | None = None) -> None:
        self._held = [held for held in self._held if self._zone(held.note[0]) != zone]
        super().silence(time, zone)

    def _settle(self, time: int) -> None:
        held = [held for held in self._held if self._holds(held.note)]
        changed = len(held) < len(self._held)
        self._held = held
        if not changed:
            return
        if not held:
            for voice in self._voices:
                self._let_go(voice, time)
        elif self._chord:
            for voice in self._sounding(time):
                self._lead(voice, time)
        elif held[-1].note != self._last_note:
            self._play(time, self._legato)

    def _play(self, time: int, slurred: bool) -> None:
        last = self._held[-1]
        self._last_note = last.note
        going = [v for v in self._sounding(time) if v.envelope.off is None] if slurred else []
        if going:
            self._lead(going[0], time)
            return
        for voice in list(self._voices):
            self._cut(voice, time)
        voice = self._sound(time, last.note, last.gain)
        begin = self._tuning[voice.key] if self._last_pitch is None else self._last_pitch.value(time)
        voice.stream.pitch = Ramp(begin, 1)
        if self._chord:
            voice.stream.chord = Ramp(0, 1)
        self._lead(voice, time)

    def _lead(self, voice: Voice, time: int) -> None:
        last, pitch = self._held[-1], voice.stream.pitch
        assert pitch is not None
        voice.note = last.note
        voice.gain.move(time, last.gain)
        if voice.touch is not None and (touch := self._touch(last.note[0])) is not None:
            voice.touch.follow(time, touch)
        pitches = [self._tuning[held.note[1]] for held in self._held]
        if voice.stream.chord is not None:
            classes = {math.floor(pitch + 0.5) % 12 for pitch in pitches}  # the nearest: models have no others
            voice.stream.chord.jump(time, sum(1 << pitch_class for pitch_class in classes))
            pitch.jump(time, min(pitches))
        elif self.glide_samples > 0:
            pitch.move(time, pitches[-1], self.glide_samples)
        else:
            pitch.jump(time, pitches[-1])
        self._last_pitch = pitch


def keyed(play: PlaySettings, keying: Keying, sample_rate: int, makers: Makers) -> PolyAssignment | MonoAssignment:
    if play.mode != "poly":
        return MonoAssignment(play.legato, play.mode == "chord", sample_rate, makers)
    way = Latch if keying.holds else Struck if keying.strikes else PolyAssignment
    return way(play.voices, keying.chokes, sample_rate, makers)
