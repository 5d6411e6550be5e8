"""Assigns voices to keys: each key has its own, or one voice is for all of them."""

import math
from collections.abc import Mapping
from dataclasses import dataclass

from ..controls import Ramp
from ..kinds.kind import Keying
from ..patch.preset import PlaySettings
from .voices import Makers, Voice, Voices

Note = tuple[int, int]  # channel and key: with MPE, one key may be down on two channels


class Poly(Voices):
    """A voice for each key; when all are in use, the one released longest ago is stolen, else the oldest."""

    def __init__(self, limit: int, chokes: Mapping[int, str], sample_rate: int, makers: Makers) -> None:
        """Begin.

        Args:
            limit: how many voices sound at a time, those that fade for another not counted.
            chokes: the group of each key that has one: it cuts what sounds of its group.
        """
        super().__init__(sample_rate, makers)
        self._limit, self._chokes = limit, chokes

    def note_on(self, time: int, key: int, gain: float, channel: int = 0) -> None:
        """A key goes down: a voice begins, and one of the same key is released."""
        note = (channel, key)
        self._down.add(note)
        group = self._chokes.get(key)
        for voice in list(self._voices):
            if group is not None and self._chokes.get(voice.key) == group:
                self._cut(voice, time)
            elif voice.note == note:
                self._let_go(voice, time)
        if len(self._sounding(time)) >= self._limit:
            self.shed(time)
        self._sound(time, note, gain)

    def note_off(self, time: int, key: int, channel: int = 0) -> None:
        """A key comes up: its voice is released, or waits for a pedal."""
        note = (channel, key)
        self._down.discard(note)
        for voice in self._voices:
            if voice.note == note and voice.down:
                voice.down = False
                if not self._holds(note):
                    self._let_go(voice, time)

    def _settle(self, time: int) -> None:
        for voice in self._voices:
            if not voice.down and not self._holds(voice.note):
                self._let_go(voice, time)


class Latch(Poly):
    """A voice for each key, which sounds on when its key comes up; pressed again, the key counts as released.

    Pedals hold what is let go, and all notes off (CC 123) lets go of every key.
    """

    def note_on(self, time: int, key: int, gain: float, channel: int = 0) -> None:
        """A key goes down: its voice is released, on whatever channel it was begun, or one begins if none is held."""
        held = next((voice.note for voice in self._sounding(time) if voice.key == key and voice.down), None)
        if held is None:
            super().note_on(time, key, gain, channel)
        else:
            super().note_off(time, key, held[0])

    def note_off(self, time: int, key: int, channel: int = 0) -> None:
        """A key comes up: nothing changes."""


class Struck(Poly):
    """A voice for each key, which sounds to its own end: that its key comes up changes nothing.

    All notes off (CC 123) lets go of every key.
    """

    def note_off(self, time: int, key: int, channel: int = 0) -> None:
        """A key comes up: what it has struck sounds on."""
        self._down.discard((channel, key))


@dataclass(slots=True)
class _Held:
    note: Note
    gain: float


class Solo(Voices):
    """One voice for all keys.

    Mono: the last key pressed sounds, and when it comes up the one before it that is still held. Each strikes anew,
    or, ``legato``, a key that is pressed while another is down leads the same voice on: its envelope goes on, its
    level ramps to the new velocity. ``glide_samples`` long its pitch slides, in even semitones, from where it was.

    Chord: the voice has the pitch classes nearest to all keys that are held, in the octave of the lowest, and the
    velocity of the last; always legato.
    """

    def __init__(self, legato: bool, chord: bool, sample_rate: int, makers: Makers) -> None:
        """Begin; with ``chord`` the voice has the pitch classes of all keys, and is ``legato`` whatever that says."""
        super().__init__(sample_rate, makers)
        self._legato, self._chord = legato or chord, chord
        self._held: list[_Held] = []  # by a key or a pedal, the last pressed last
        self._last_note: Note | None = None  # what sounded last
        self._last_pitch: Ramp | None = None  # of the last voice: where a glide begins
        self.glide_samples = 0

    def note_on(self, time: int, key: int, gain: float, channel: int = 0) -> None:
        """A key goes down: it sounds."""
        note = (channel, key)
        slurred = self._legato and bool(self._down - {note})
        self._down.add(note)
        self._held = [held for held in self._held if held.note != note] + [_Held(note, gain)]
        self._play(time, slurred)

    def note_off(self, time: int, key: int, channel: int = 0) -> None:
        """A key comes up: the voice goes to the keys that are still held, or is released."""
        self._down.discard((channel, key))
        self._settle(time)

    def silence(self, time: int, zone: int | None = None) -> None:
        """Let all sound fade in 5 ms; no key is held that could sound again."""
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
        """Sound the last of the held keys, by the voice that sounds where that is possible."""
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
        """Lead a voice to pitch, level and touch of the held keys."""
        last, pitch = self._held[-1], voice.stream.pitch
        assert pitch is not None
        voice.note = last.note
        voice.gain.move(time, last.gain)
        if voice.touch is not None and (touch := self._touch(last.note[0])) is not None:
            voice.touch.follow(time, touch)
        pitches = [self._tuning[held.note[1]] for held in self._held]
        if voice.stream.chord is not None:
            classes = {math.floor(pitch + 0.5) % 12 for pitch in pitches}  # the nearest: models know no others
            voice.stream.chord.jump(time, sum(1 << pitch_class for pitch_class in classes))
            pitch.jump(time, min(pitches))
        elif self.glide_samples > 0:
            pitch.move(time, pitches[-1], self.glide_samples)
        else:
            pitch.jump(time, pitches[-1])
        self._last_pitch = pitch


def keyed(play: PlaySettings, keying: Keying, sample_rate: int, makers: Makers) -> Poly | Solo:
    """Return the voices that keys play as [play] and the kind of model say."""
    if play.mode != "poly":
        return Solo(play.legato, play.mode == "chord", sample_rate, makers)
    way = Latch if keying.holds else Struck if keying.strikes else Poly
    return way(play.voices, keying.chokes, sample_rate, makers)
