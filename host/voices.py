"""Which voices sound: keys, pedal, polyphony and stealing."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from .engines.spectrum import Stream
from .envelope import STEAL_SECONDS, Envelope

Array = npt.NDArray[np.float32]


@dataclass(slots=True, eq=False)
class Voice:
    """An engine's stream × an envelope × velocity, and whether a key or the pedal holds it."""

    key: int
    gain: float
    envelope: Envelope
    stream: Stream
    down: bool = True
    stolen_at: int | None = None

    def end(self, steal: int) -> int | None:
        """First sample from which nothing sounds any more, or None while that is open."""
        end = self.envelope.end
        if self.stolen_at is None:
            return end
        stolen = self.stolen_at + steal
        return stolen if end is None else min(stolen, end)

    def level(self, start: int, count: int, steal: int) -> np.float32 | Array:
        """Envelope × velocity (× the fade of a stolen voice) over a block: one number, or [count]."""
        level = self.envelope.block(start, count) * np.float32(self.gain)
        if self.stolen_at is None or self.stolen_at >= start + count:
            return level
        left = np.clip((self.stolen_at + steal - np.arange(start, start + count)) / steal, 0.0, 1.0)
        faded: Array = level * (left * left * left).astype(np.float32)
        return faded


@dataclass(slots=True)
class _Held:
    key: int
    gain: float


class Voices:
    """The voices of one instrument; every method takes the sample at which it happens, in order of time.

    Poly: a key is a voice; when all are in use the one released longest ago gives way, else the oldest. Mono: the last
    key pressed sounds, and when it comes up the one before it that is still held. A voice that gives way fades out in
    5 ms while its successor sounds.
    """

    def __init__(
        self,
        limit: int,
        mode: Literal["poly", "mono"],
        sample_rate: int,
        begin: Callable[[int, int], Stream],
        shape: Callable[[int], Envelope],
        release: Callable[[], int],
    ) -> None:
        """``begin(key, time)`` makes a stream, ``shape(time)`` an envelope, ``release()`` gives release samples."""
        self._limit, self._mode = limit, mode
        self._begin, self._shape, self._release = begin, shape, release
        self._steal = max(1, round(STEAL_SECONDS * sample_rate))
        self._voices: list[Voice] = []
        self._held: list[_Held] = []  # mono: keys that are down, the last one last
        self._last: int | None = None  # mono: the key that sounded last, down or held by the pedal
        self._pedal = False

    def __iter__(self) -> Iterator[Voice]:
        return iter(self._voices)

    def __len__(self) -> int:
        return len(self._voices)

    @property
    def steal_samples(self) -> int:
        """How long a stolen voice takes to fade."""
        return self._steal

    def note_on(self, time: int, key: int, gain: float) -> None:
        """A key goes down. ``gain`` is what its velocity means."""
        if self._mode == "mono":
            self._held = [h for h in self._held if h.key != key] + [_Held(key, gain)]
            self._last = key
            self._cut_all(time)
        else:
            for voice in self._voices:
                if voice.key == key:
                    self._let_go(voice, time)
            self._make_room(time)
        self._sound(time, key, gain)

    def note_off(self, time: int, key: int) -> None:
        """A key comes up: its voice is released, or waits for the pedal."""
        if self._mode == "mono":
            self._held = [h for h in self._held if h.key != key]
            if key == self._last and not self._pedal:
                self._sound_next(time)
            return
        for voice in self._voices:
            if voice.key == key and voice.down:
                voice.down = False
                if not self._pedal:
                    self._let_go(voice, time)

    def pedal(self, time: int, down: bool) -> None:
        """The sustain pedal (CC 64) moves."""
        self._pedal = down
        if down:
            return
        if self._mode == "mono":
            if self._last not in [h.key for h in self._held]:
                self._sound_next(time)
            return
        for voice in self._voices:
            if not voice.down:
                self._let_go(voice, time)

    def release_all(self, time: int) -> None:
        """All notes off (CC 123): keys come up; the pedal still holds what it holds."""
        self._held.clear()
        for voice in self._voices:
            voice.down = False
        if not self._pedal:
            self._let_all_go(time)

    def silence(self, time: int) -> None:
        """All sound off (CC 120): everything fades in 5 ms."""
        self._held.clear()
        self._cut_all(time)

    def retire(self, time: int) -> None:
        """Forget voices that have ended by sample ``time``."""
        self._voices = [v for v in self._voices if not self._ended(v, time)]

    def _sound(self, time: int, key: int, gain: float) -> None:
        self._voices.append(Voice(key, gain, self._shape(time), self._begin(key, time)))

    def _sound_next(self, time: int) -> None:
        """Mono: what sounds gives way to the last key that is still down, if there is one."""
        if not self._held:
            self._let_all_go(time)
            return
        held = self._held[-1]
        self._last = held.key
        self._cut_all(time)
        self._sound(time, held.key, held.gain)

    def _let_all_go(self, time: int) -> None:
        for voice in self._voices:
            self._let_go(voice, time)

    def _let_go(self, voice: Voice, time: int) -> None:
        if voice.envelope.off is None:
            voice.envelope.off = time
            voice.envelope.release = self._release()

    def _make_room(self, time: int) -> None:
        sounding = [v for v in self._voices if v.stolen_at is None and not self._ended(v, time)]
        if len(sounding) < self._limit:
            return
        released = [v for v in sounding if v.envelope.off is not None]
        victim = min(released, key=lambda v: v.envelope.off or 0) if released else sounding[0]
        self._cut(victim, time)

    def _cut_all(self, time: int) -> None:
        for voice in list(self._voices):
            self._cut(voice, time)

    def _cut(self, voice: Voice, time: int) -> None:
        if voice.stolen_at is None:
            voice.down = False
            voice.stolen_at = time
            if voice.envelope.on == time:  # it never sounded
                self._voices.remove(voice)

    def _ended(self, voice: Voice, time: int) -> bool:
        end = voice.end(self._steal)
        return end is not None and time >= end
