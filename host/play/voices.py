"""The voices that sound: keys, pedals, polyphony and stealing, and the one voice that several keys share."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from ..controls import RAMP_SECONDS, Ramp
from ..engines.protocol import VoiceSound
from .envelope import STEAL_SECONDS, Envelope
from .gestures.note_values import NOTHING, Own, nothing
from .gestures.trajectory import Gesture
from .mpe import NoteExpression

Array = npt.NDArray[np.float32]
Note = tuple[int, int]  # channel and key: with MPE, one key may be down on two channels
PARTS = 4  # in which voices are added up: so many processes can share them


@dataclass(slots=True, eq=False)
class Voice:
    """An engine's stream × an envelope × velocity, and whether a key holds it.

    ``part`` is that in which it is added up. ``touch`` is what the finger does to this note alone, where the controller
    tells (MPE); ``gesture`` the way that it goes by itself, where the model has gestures; ``own`` what its velocity and
    its key add, from its beginning on.
    """

    note: Note
    part: int
    gain: Ramp
    envelope: Envelope
    stream: VoiceSound
    touch: NoteExpression | None = None
    gesture: Gesture | None = None
    own: Own = NOTHING
    down: bool = True
    stolen_at: int | None = None

    @property
    def key(self) -> int:
        """Return the MIDI key that it sounds."""
        return self.note[1]

    def end(self, steal: int) -> int | None:
        """Return the first sample from which nothing sounds any more, or None while that is open."""
        end = self.envelope.end
        if self.stream.over is not None and (end is None or end > self.stream.over):
            end = self.stream.over
        if self.stolen_at is None:
            return end
        stolen = self.stolen_at + steal
        return stolen if end is None else min(stolen, end)

    def level(self, start: int, count: int, steal: int) -> np.float32 | Array:
        """Return envelope × velocity (× the fade of a stolen voice) over a block: one number, or [count]."""
        level = self.envelope.block(start, count) * self.gain.block(start, count)
        if self.touch is not None:
            level = level * self.touch.level.block(start, count)
        if self.gesture is not None:
            level = level * self.gesture.gain(start, count)
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
        if self.gesture is not None:
            self.gesture.forget(time)
        if self.stream.pitch is not None:
            self.stream.pitch.forget(time)
        if self.stream.chord is not None:
            self.stream.chord.forget(time)


def no_gesture(time: int, note: Note, pitch: float, added: Mapping[str, float]) -> None:
    """Give a note no way of its own."""


class Makers(NamedTuple):
    """The functions that make voices, and what they read.

    ``begin(pitch, time, key)`` makes a stream, ``shape(time, added)`` an envelope, ``release(added)`` gives release
    samples, ``touch(channel)`` what a finger on a channel does, None where notes have nothing of their own, and
    ``gesture(time, note, pitch, added)`` the way of a note of a pitch that begins, None where none has any; ``added``
    is what the note adds to targets, as its ``own(note)`` says. ``zone(channel)`` is the MPE zone that a channel is in,
    None outside: pedals and what ends all notes are for one zone, or for all channels outside. ``tuning`` has the pitch
    of each key that may go down, in equal-tempered semitones where 69 is 440 Hz.
    """

    begin: Callable[[float, int, int], VoiceSound]
    shape: Callable[[int, Mapping[str, float]], Envelope]
    release: Callable[[Mapping[str, float]], int]
    touch: Callable[[int], NoteExpression | None]
    zone: Callable[[int], int | None]
    tuning: Mapping[int, float]
    gesture: Callable[[int, Note, float, Mapping[str, float]], Gesture | None] = no_gesture
    own: Callable[[Note], Own] = nothing


class Voices(ABC):
    """The voices of one instrument; every method takes the sample at which something happens, in order of time.

    A voice that is stolen fades out in 5 ms while its successor sounds.
    """

    def __init__(self, sample_rate: int, makers: Makers) -> None:
        """Begin without a voice; ``sample_rate`` is the model's, in Hz."""
        self._begin, self._shape, self._release = makers.begin, makers.shape, makers.release
        self._touch, self._zone, self._tuning = makers.touch, makers.zone, makers.tuning
        self._gesture, self._own = makers.gesture, makers.own
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
        """Return the length of a stolen voice's fade, in samples."""
        return self._steal

    @abstractmethod
    def note_on(self, time: int, key: int, gain: float, channel: int = 0) -> None:
        """A key goes down; ``gain`` is that of its velocity."""

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
        """Let all keys come up (all notes off, CC 123); the pedals still hold what they hold."""
        self._lift_keys(zone)
        for voice in self._voices:
            if self._zone(voice.note[0]) == zone:
                voice.down = False
        self._settle(time)

    def silence(self, time: int, zone: int | None = None) -> None:
        """Let everything fade in 5 ms (all sound off, CC 120)."""
        self._lift_keys(zone)
        for voice in list(self._voices):
            if self._zone(voice.note[0]) == zone:
                self._cut(voice, time)

    def victim(self, time: int) -> Voice | None:
        """Return the voice to steal first: that released longest ago, else the oldest; None if nothing sounds."""
        sounding = self._sounding(time)
        released = [v for v in sounding if v.envelope.off is not None]
        if released:
            return min(released, key=lambda v: v.envelope.off or 0)
        return sounding[0] if sounding else None

    def count(self, time: int) -> int:
        """Return the number of voices that sound, without stolen ones, which fade."""
        return len(self._sounding(time))

    def touches(self, channel: int) -> list[NoteExpression]:
        """Return the touches of a channel's notes whose keys are down."""
        return [v.touch for v in self._voices if v.touch is not None and v.down and v.note[0] == channel]

    def shed(self, time: int) -> None:
        """Steal one voice: it fades in 5 ms."""
        voice = self.victim(time)
        if voice is not None:
            self._cut(voice, time)

    def forget(self, time: int) -> None:
        """Drop what only matters before ``time``."""
        for voice in self._voices:
            voice.forget(time)

    def retire(self, time: int) -> None:
        """Forget voices that have ended by sample ``time``."""
        steal = self._steal
        self._voices = [v for v in self._voices if (end := v.end(steal)) is None or time < end]

    def _holds(self, note: Note) -> bool:
        """Return whether a key or a pedal keeps a note from ending."""
        zone = self._zone(note[0])
        return note in self._down or zone in self._pedals or note in self._sostenuto.get(zone, ())

    def _lift_keys(self, zone: int | None) -> None:
        """Count all keys of a zone as up."""
        self._down = {note for note in self._down if self._zone(note[0]) != zone}

    def _sound(self, time: int, note: Note, gain: float) -> Voice:
        channel, key = note
        stream = self._begin(self._tuning[key], time, key)
        parts = [voice.part for voice in self._sounding(time)]
        part = min(range(PARTS), key=parts.count)  # the part with the fewest voices: parts should cost alike
        own = self._own(note)
        gesture = self._gesture(time, note, self._tuning[key], own.others)
        envelope = self._shape(time, own.others)
        if gesture is not None:
            envelope.attack = gesture.attack(envelope.attack)
        voice = Voice(note, part, Ramp(gain, self._ramp), envelope, stream, self._touch(channel), gesture, own)
        self._voices.append(voice)
        return voice

    def _let_go(self, voice: Voice, time: int) -> None:
        voice.down = False
        if voice.envelope.off is None:
            envelope, release = voice.envelope, self._release(voice.own.others)
            envelope.off = time
            if voice.gesture is None:
                envelope.release = release
            else:
                envelope.release, envelope.closes = voice.gesture.let_go(time, release)

    def _cut(self, voice: Voice, time: int) -> None:
        if voice.stolen_at is None:
            voice.down = False
            voice.stolen_at = time
            if voice.envelope.on == time:  # it never sounded
                self._voices.remove(voice)

    def _sounding(self, time: int) -> list[Voice]:
        """Return the voices that sound, the oldest first, without stolen ones, which fade."""
        steal = self._steal
        return [v for v in self._voices if v.stolen_at is None and ((end := v.end(steal)) is None or time < end)]
