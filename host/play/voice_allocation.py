"""Voice allocation: keys, pedals, polyphony, release and voice stealing."""

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from ..arrays import Array
from ..engines.protocol import VoiceSound
from ..ramps import RAMP_SECONDS, Ramp
from .envelope import STEAL_SECONDS, Envelope
from .gestures.note_offsets import NOTHING, Note, NoteOffsets, nothing
from .gestures.trajectory import Gesture
from .mpe import NoteExpression

PARTS = 4  # summing parts of voices: the most processes that can share them


@dataclass(slots=True, eq=False)
class Voice:
    """An engine's stream × envelope × velocity; ``own``: offsets from velocity and key.

    ``bus``: `Makers.bus` of its channel when it began.
    ``down``: its own key press lasts. ``replaced_at``: its key was struck again while a pedal held it.
    """

    note: Note
    bus: int
    part: int
    gain: Ramp
    envelope: Envelope
    stream: VoiceSound
    touch: NoteExpression | None = None
    gesture: Gesture | None = None
    own: NoteOffsets = NOTHING
    down: bool = True
    replaced_at: int | None = None
    stolen_at: int | None = None

    @property
    def key(self) -> int:
        return self.note[1]

    @property
    def spare_since(self) -> int | None:
        """Its release, or the next strike of its key: the earliest such voice is stolen first."""
        return self.replaced_at if self.envelope.off is None else self.envelope.off

    def end(self, steal: int) -> int | None:
        """First silent sample; None while open."""
        end = self.envelope.end
        if self.stream.over is not None and (end is None or end > self.stream.over):
            end = self.stream.over
        if self.stolen_at is None:
            return end
        stolen = self.stolen_at + steal
        return stolen if end is None else min(stolen, end)

    def shape(self, level: Array, start: int, steal: int) -> None:
        """Multiply the envelope over a block, [count], by velocity, touch, gesture and a steal's fade."""
        count = len(level)
        level *= self.gain.block(start, count)
        if self.touch is not None:
            level *= self.touch.level.block(start, count)
        if self.gesture is not None:
            level *= self.gesture.gain(start, count)
        if self.stolen_at is not None and self.stolen_at < start + count:
            left = np.clip((self.stolen_at + steal - np.arange(start, start + count)) / steal, 0.0, 1.0)
            level *= (left * left * left).astype(np.float32)

    def forget(self, time: int) -> None:
        self.gain.forget(time)
        if self.touch is not None:
            self.touch.forget(time)
        if self.gesture is not None:
            self.gesture.forget(time)
        if self.stream.pitch is not None:
            self.stream.pitch.forget(time)
        if self.stream.chord is not None:
            self.stream.chord.forget(time)


def _by_spare_time(voice: Voice) -> float:
    return math.inf if voice.spare_since is None else voice.spare_since


def in_tune(channel: int) -> float:
    return 0.0


def no_gesture(time: int, note: Note, pitch: float, added: Mapping[str, float]) -> None: ...


class Makers(NamedTuple):
    """Factories of voices: ``start_stream(pitch, time, key)``, ``gesture(time, note, pitch, added)`` and others.

    ``added``: offsets of ``own(note)``; ``tuned(channel)``: semitones; ``release(added)`` returns samples. Pedals and
    all notes off apply to one ``group(channel)``: an MPE zone's master, or the channel. Choke groups, melodies, volume
    and pan are those of one ``bus(channel)``: common to all zones, or the channel. ``tuning``: pitches of playable
    keys, in semitones, 69 for 440 Hz.
    """

    start_stream: Callable[[float, int, int], VoiceSound]
    shape: Callable[[int, Mapping[str, float]], Envelope]
    release: Callable[[Mapping[str, float]], int]
    touch: Callable[[int], NoteExpression | None]
    group: Callable[[int], int]
    bus: Callable[[int], int]
    tuning: Mapping[int, float]
    gesture: Callable[[int, Note, float, Mapping[str, float]], Gesture | None] = no_gesture
    own: Callable[[Note], NoteOffsets] = nothing
    tuned: Callable[[int], float] = in_tune


class Voices(ABC):
    """The voices of one instrument; ``time`` is in samples and never decreases."""

    def __init__(self, sample_rate: int, makers: Makers) -> None:
        """``sample_rate`` is the model's, in Hz."""
        self._start_stream, self._shape, self._release = makers.start_stream, makers.shape, makers.release
        self._touch, self._group, self._bus, self._tuning = makers.touch, makers.group, makers.bus, makers.tuning
        self._gesture, self._own, self._tuned = makers.gesture, makers.own, makers.tuned
        self.steal_samples = max(1, round(STEAL_SECONDS * sample_rate))
        self._ramp = round(RAMP_SECONDS * sample_rate)
        self._voices: list[Voice] = []
        self._down: set[Note] = set()
        self._pedals: set[int] = set()  # groups with pedal down
        self._sostenuto: dict[int, set[Note]] = {}  # held notes, by group with pedal down
        self.first_bus: int | None = None  # of the first voice; other processes share its voices alone

    def __iter__(self) -> Iterator[Voice]:
        return iter(self._voices)

    def __len__(self) -> int:
        return len(self._voices)

    @abstractmethod
    def note_on(self, time: int, key: int, gain: float, channel: int = 0) -> None:
        """``gain`` is that of the key's velocity."""

    @abstractmethod
    def note_off(self, time: int, key: int, channel: int = 0) -> None:
        """Pedals may hold the key's voice."""

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
            self._sostenuto[group] = {note for note in self._down if self._group(note[0]) == group}

    def release_all(self, time: int, group: int = 0) -> None:
        """Release a group's keys (all notes off, CC 123), but not pedals."""
        self._lift_keys(group)
        for voice in self._voices:
            if self._group(voice.note[0]) == group:
                voice.down = False
        self._settle(time)

    def silence(self, time: int, group: int = 0) -> None:
        """Steal a group's voices (all sound off, CC 120)."""
        self._lift_keys(group)
        for voice in list(self._voices):
            if self._group(voice.note[0]) == group:
                self._cut(voice, time)

    def victim(self, time: int) -> Voice | None:
        """The voice to steal: the earliest released or replaced, else the oldest."""
        return min(self._sounding(time), key=_by_spare_time, default=None)

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
        steal = self.steal_samples
        self._voices = [v for v in self._voices if (end := v.end(steal)) is None or time < end]

    def _holds(self, note: Note) -> bool:
        return note in self._down or self._pedal_holds(note)

    def _pedal_holds(self, note: Note) -> bool:
        group = self._group(note[0])
        return group in self._pedals or note in self._sostenuto.get(group, ())

    def _lift_keys(self, group: int) -> None:
        self._down = {note for note in self._down if self._group(note[0]) != group}

    def _sound(self, time: int, note: Note, gain: float, bus: int) -> Voice:
        channel, key = note
        stream = self._start_stream(self._tuning[key], time, key)
        if stream.over is not None and (tuned := self._tuned(channel)) < 0:  # tuned down, it plays longer
            stream.over = time + math.ceil((stream.over - time) * 2 ** (-tuned / 12))
        if self.first_bus is None:
            self.first_bus = bus
        parts = [voice.part for voice in self._sounding(time)]
        # The part with the fewest voices, to balance the load; workers send the sums of one bus.
        part = min(range(PARTS), key=parts.count) if bus == self.first_bus else 0
        own = self._own(note)
        gesture = self._gesture(time, note, self._tuning[key], own.others)
        envelope = self._shape(time, own.others)
        if gesture is not None:
            envelope.attack = gesture.attack(envelope.attack)
        strength = Ramp(gain, self._ramp)
        voice = Voice(note, bus, part, strength, envelope, stream, self._touch(channel), gesture, own)
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
            if voice.envelope.on == time:  # it has played no sample
                self._voices.remove(voice)

    def _sounding(self, time: int) -> list[Voice]:
        steal = self.steal_samples
        return [v for v in self._voices if v.stolen_at is None and ((end := v.end(steal)) is None or time < end)]
