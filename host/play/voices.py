"""Which voices sound: keys, pedals, polyphony and stealing, and the one voice that several keys share."""

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ..controls import RAMP_SECONDS, Ramp
from ..engines.stream import Stream
from .envelope import STEAL_SECONDS, Envelope
from .mpe import Touch

Array = npt.NDArray[np.float32]
Note = tuple[int, int]  # channel and key: with MPE, one key may be down on two channels

PARTS = 4  # in which voices are added up: as many processes can share them


@dataclass(slots=True, eq=False)
class Voice:
    """An engine's stream × an envelope × velocity, and whether a key holds it.

    ``part`` is that in which it is added up. ``touch`` is what the finger does to this note alone, where the controller
    tells (MPE).
    """

    note: Note
    part: int
    gain: Ramp
    envelope: Envelope
    stream: Stream
    touch: Touch | None = None
    down: bool = True
    stolen_at: int | None = None

    @property
    def key(self) -> int:
        """MIDI key that it sounds."""
        return self.note[1]

    def end(self, steal: int) -> int | None:
        """First sample from which nothing sounds any more, or None while that is open."""
        end = self.envelope.end
        if self.stolen_at is None:
            return end
        stolen = self.stolen_at + steal
        return stolen if end is None else min(stolen, end)

    def level(self, start: int, count: int, steal: int) -> np.float32 | Array:
        """Envelope × velocity (× the fade of a stolen voice) over a block: one number, or [count]."""
        level = self.envelope.block(start, count) * self.gain.block(start, count)
        if self.touch is not None:
            level = level * self.touch.level.block(start, count)
        if self.stolen_at is None or self.stolen_at >= start + count:
            return level
        left = np.clip((self.stolen_at + steal - np.arange(start, start + count)) / steal, 0.0, 1.0)
        faded: Array = level * (left * left * left).astype(np.float32)
        return faded

    def forget(self, time: int) -> None:
        """Drop what only matters before ``time``."""
        self.gain.forget(time)
        if self.touch is not None:
            self.touch.forget(time)
        if self.stream.pitch is not None:
            self.stream.pitch.forget(time)
        if self.stream.chord is not None:
            self.stream.chord.forget(time)


class Voices(ABC):
    """The voices of one instrument; every method takes the sample at which it happens, in order of time.

    A voice that gives way fades out in 5 ms while its successor sounds.
    """

    def __init__(
        self,
        sample_rate: int,
        begin: Callable[[float, int], Stream],
        shape: Callable[[int], Envelope],
        release: Callable[[], int],
        touch: Callable[[int], Touch | None],
        zone: Callable[[int], int | None],
        tuning: Mapping[int, float],
    ) -> None:
        """Where a voice comes from.

        ``begin(pitch, time)`` makes a stream, ``shape(time)`` an envelope, ``release()`` gives release samples,
        ``touch(channel)`` what a finger on a channel does, None where notes have nothing of their own.
        ``zone(channel)`` is the MPE zone that a channel is in, None outside: pedals and what ends all notes are for one
        zone, or for all channels outside. ``tuning`` has the pitch of each key that may go down, in equal-tempered
        semitones where 69 is 440 Hz.
        """
        self._begin, self._shape, self._release, self._touch, self._zone = begin, shape, release, touch, zone
        self._tuning = tuning
        self._steal = max(1, round(STEAL_SECONDS * sample_rate))
        self._ramp = round(RAMP_SECONDS * sample_rate)
        self._voices: list[Voice] = []
        self._down: set[Note] = set()
        self._pedals: set[int | None] = set()  # zones whose pedal is down
        self._sostenuto: dict[int | None, set[Note]] = {}  # what it holds, by zone whose pedal is down

    def __iter__(self) -> Iterator[Voice]:
        return iter(self._voices)

    def __len__(self) -> int:
        return len(self._voices)

    @property
    def steal_samples(self) -> int:
        """How long a stolen voice takes to fade."""
        return self._steal

    @property
    def keys_down(self) -> list[int]:
        """Keys that are pressed, lowest first."""
        return sorted(key for _, key in self._down)

    @abstractmethod
    def note_on(self, time: int, key: int, gain: float, channel: int = 0) -> None:
        """A key goes down. ``gain`` is what its velocity means."""

    @abstractmethod
    def note_off(self, time: int, key: int, channel: int = 0) -> None:
        """A key comes up: what sounds for it is released, or waits for a pedal."""

    @abstractmethod
    def _settle(self, time: int) -> None:
        """Let go of what neither a key nor a pedal holds any more."""

    def pedal(self, time: int, down: bool, zone: int | None = None) -> None:
        """The sustain pedal (CC 64) moves: all dampers of its zone are up while it is down."""
        if down:
            self._pedals.add(zone)
        else:
            self._pedals.discard(zone)
        self._settle(time)

    def sostenuto(self, time: int, down: bool, zone: int | None = None) -> None:
        """The sostenuto pedal (CC 66) moves: it holds the keys that are down at the moment it goes down."""
        if not down:
            self._sostenuto.pop(zone, None)
            self._settle(time)
        elif zone not in self._sostenuto:
            self._sostenuto[zone] = {note for note in self._down if self._zone(note[0]) == zone}

    def release_all(self, time: int, zone: int | None = None) -> None:
        """All notes off (CC 123): keys come up; the pedals still hold what they hold."""
        self._lift(zone)
        for voice in self._voices:
            if self._zone(voice.note[0]) == zone:
                voice.down = False
        self._settle(time)

    def silence(self, time: int, zone: int | None = None) -> None:
        """All sound off (CC 120): everything fades in 5 ms."""
        self._lift(zone)
        for voice in list(self._voices):
            if self._zone(voice.note[0]) == zone:
                self._cut(voice, time)

    def victim(self, time: int) -> Voice | None:
        """Who gives way first: the voice released longest ago, else the oldest; None if nothing sounds."""
        sounding = self._sounding(time)
        released = [v for v in sounding if v.envelope.off is not None]
        if released:
            return min(released, key=lambda v: v.envelope.off or 0)
        return sounding[0] if sounding else None

    def count(self, time: int) -> int:
        """Voices that sound, but for those that fade for another."""
        return len(self._sounding(time))

    def touches(self, channel: int) -> list[Touch]:
        """What moves the notes of a channel whose keys are down."""
        return [v.touch for v in self._voices if v.touch is not None and v.down and v.note[0] == channel]

    def shed(self, time: int) -> None:
        """Give up one voice."""
        voice = self.victim(time)
        if voice is not None:
            self._cut(voice, time)

    def forget(self, time: int) -> None:
        """Drop what only matters before ``time``."""
        for voice in self._voices:
            voice.forget(time)

    def retire(self, time: int) -> None:
        """Forget voices that have ended by sample ``time``."""
        self._voices = [v for v in self._voices if not self._ended(v, time)]

    def _holds(self, note: Note) -> bool:
        """Whether a key or a pedal keeps a note from ending."""
        zone = self._zone(note[0])
        return note in self._down or zone in self._pedals or note in self._sostenuto.get(zone, ())

    def _lift(self, zone: int | None) -> None:
        """No key of a zone is down any more."""
        self._down = {note for note in self._down if self._zone(note[0]) != zone}

    def _sound(self, time: int, note: Note, gain: float) -> Voice:
        channel, key = note
        stream = self._begin(self._tuning[key], time)
        parts = [voice.part for voice in self._sounding(time)]
        part = min(range(PARTS), key=parts.count)  # that with the fewest voices: parts are alike in cost
        voice = Voice(note, part, Ramp(gain, self._ramp), self._shape(time), stream, self._touch(channel))
        self._voices.append(voice)
        return voice

    def _let_go(self, voice: Voice, time: int) -> None:
        voice.down = False
        if voice.envelope.off is None:
            voice.envelope.off = time
            voice.envelope.release = self._release()

    def _cut(self, voice: Voice, time: int) -> None:
        if voice.stolen_at is None:
            voice.down = False
            voice.stolen_at = time
            if voice.envelope.on == time:  # it never sounded
                self._voices.remove(voice)

    def _sounding(self, time: int) -> list[Voice]:
        """Voices that count, the oldest first: those that fade for another do not."""
        return [v for v in self._voices if v.stolen_at is None and not self._ended(v, time)]

    def _ended(self, voice: Voice, time: int) -> bool:
        end = voice.end(self._steal)
        return end is not None and time >= end


class Poly(Voices):
    """A key is a voice; when all are in use the one released longest ago gives way, else the oldest."""

    def __init__(
        self,
        limit: int,
        sample_rate: int,
        begin: Callable[[float, int], Stream],
        shape: Callable[[int], Envelope],
        release: Callable[[], int],
        touch: Callable[[int], Touch | None],
        zone: Callable[[int], int | None],
        tuning: Mapping[int, float],
    ) -> None:
        """``limit``: voices that sound at a time, those that fade for another not counted."""
        super().__init__(sample_rate, begin, shape, release, touch, zone, tuning)
        self._limit = limit

    def note_on(self, time: int, key: int, gain: float, channel: int = 0) -> None:
        """A key goes down: a voice begins, and one of the same key is released."""
        note = (channel, key)
        self._down.add(note)
        for voice in self._voices:
            if voice.note == note:
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
    """A key begins a voice that goes on when it comes up; pressed again, it is as if it came up only then.

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

    def __init__(
        self,
        legato: bool,
        chord: bool,
        sample_rate: int,
        begin: Callable[[float, int], Stream],
        shape: Callable[[int], Envelope],
        release: Callable[[], int],
        touch: Callable[[int], Touch | None],
        zone: Callable[[int], int | None],
        tuning: Mapping[int, float],
    ) -> None:
        """``chord``: with the pitch classes of all keys, and ``legato`` whatever it says."""
        super().__init__(sample_rate, begin, shape, release, touch, zone, tuning)
        self._legato, self._chord = legato or chord, chord
        self._held: list[_Held] = []  # by a key or a pedal, the last pressed last
        self._last: Note | None = None  # what sounded last
        self._pitch: Ramp | None = None  # of the last voice: where a glide begins
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
        """All sound off: nothing is held that could come back."""
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
        elif held[-1].note != self._last:
            self._play(time, self._legato)

    def _play(self, time: int, slurred: bool) -> None:
        """Sound the last of the held keys, by the voice that sounds where that is possible."""
        last = self._held[-1]
        self._last = last.note
        going = [v for v in self._sounding(time) if v.envelope.off is None] if slurred else []
        if going:
            self._lead(going[0], time)
            return
        for voice in list(self._voices):
            self._cut(voice, time)
        voice = self._sound(time, last.note, last.gain)
        begin = self._tuning[voice.key] if self._pitch is None else self._pitch.value(time)
        voice.stream.pitch = Ramp(begin, 1)
        if self._chord:
            voice.stream.chord = Ramp(0, 1)
        self._lead(voice, time)

    def _lead(self, voice: Voice, time: int) -> None:
        """Send a voice to what the held keys say."""
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
        self._pitch = pitch
