"""The sounding half of an instrument, all at the model's rate: events in; voices, sums and gains out.

It knows no device and no clock. Events take effect on their sample, because everything that moves is a function of
time: a block first lets all its events write into those functions, then computes them. So the division into blocks
changes nothing, and live playing and rendering share every sample. Voices are added up in parts, and the parts to the
mix: whoever computes a part, the sums are the same to the bit.
"""

from bisect import bisect_left
from collections.abc import Collection, Sequence
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from ..engines.protocol import Engine, VoiceSound
from ..events import Event
from .event_processor import EventProcessor
from .voices import PARTS, Voice

Array = npt.NDArray[np.float32]


def share(number: int, processes: int) -> range:
    """Return the parts that process ``number`` of ``processes`` computes."""
    return range(number, PARTS, processes)


class Elsewhere(Protocol):
    """Another process that plays the same events and computes other parts."""

    @property
    def end(self) -> int | None:
        """Return the sample from which on it computes nothing any more; None while that is open."""
        ...

    def hear(self, events: Sequence[Event], until: int) -> None:
        """Have it compute all samples before ``until``; these are their last events, in order of time."""
        ...

    def sums(self, start: int, count: int, sides: int) -> dict[int, Array]:
        """Wait for its parts of samples that it was to compute, [sides, count], 1 or 2 sides as the engine has."""
        ...

    def hand_over(self) -> tuple[Collection[int], list[VoiceSound]]:
        """Wait for its parts' numbers, and their voices' streams as they are at its end, in the order of the voices."""
        ...


class Synthesis:
    """The voices of one preset, before its effects."""

    def __init__(
        self,
        engine: Engine[Any],
        hands: EventProcessor,
        *,
        parts: Collection[int] = range(PARTS),
        elsewhere: Sequence[Elsewhere] = (),
    ) -> None:
        """Make it ready to sound.

        Args:
            engine, hands: of the preset, as `engine_and_hands` makes them together.
            parts: of the voices, those that are computed here.
            elsewhere: the processes that compute the others.
        """
        self._engine, self._hands = engine, hands
        self._parts, self._elsewhere = set(parts), list(elsewhere)
        self._voices, self._motion = hands.voices, hands.motion
        self._now = 0

    @property
    def ready(self) -> bool:
        """See `Engine.ready`."""
        return self._engine.ready

    @property
    def age_ms(self) -> float | None:
        """See `Engine.age_ms`."""
        return self._engine.age_ms

    def current_latents(self) -> list[float]:
        """Return the code of the sample that is computed next, without what fingers do to single notes."""
        return [float(value) for value in self._motion.latents([0], np.array([self._now], np.int64))[0]]

    def spare(self) -> tuple[bool, float] | None:
        """See `EventProcessor.spare`, at the sample that is computed next."""
        return self._hands.spare(self._now)

    def process(self, events: Sequence[Event], count: int) -> Array:
        """Return the next ``count`` samples, [2, count].

        Args:
            events: those that fall into this block, in order of time, in samples from the very beginning; whoever
                computes other parts has heard them.
        """
        start = self._now
        if any(other.end is not None and other.end < start + count for other in self._elsewhere):
            return self._process_across_an_end(events, count)
        sums = self.sums(events, count)
        for other in self._elsewhere:
            sums |= other.sums(start, count, self._engine.channels)
        mix = np.zeros((self._engine.channels, count), np.float32)
        for part in sorted(sums):
            mix += sums[part]
        sides = self._motion.left.block(start, count), self._motion.right.block(start, count)
        stereo = np.stack([mix[0] * sides[0], mix[-1] * sides[1]])
        self.forget()
        return stereo

    def prepare(self) -> None:
        """See `Engine.prepare`: for its own parts, after the samples that `process` gave last."""
        voices = self._own_voices()
        self._engine.prepare([voice.stream for voice in voices], self._hands.motion_of(voices), self._now)

    def _process_across_an_end(self, events: Sequence[Event], count: int) -> Array:
        """Do as `process`, where another process leaves its parts to this one within the block."""
        end = min(other.end for other in self._elsewhere if other.end is not None)
        before = end - self._now
        due = bisect_left(events, end, key=lambda event: event.time)
        first = [self.process(events[:due], before)] if before else []
        for other in [other for other in self._elsewhere if other.end == end]:
            self._elsewhere.remove(other)
            parts, streams = other.hand_over()
            for voice, stream in zip((v for v in self._voices if v.part in parts), streams, strict=True):
                voice.stream = stream
            self._parts.update(parts)
        return np.concatenate([*first, self.process(events[due:], count - before)], axis=1)

    def streams(self) -> list[VoiceSound]:
        """Return the streams of its own parts' voices, as they are at the next sample."""
        return [voice.stream for voice in self._own_voices()]

    def sums(self, events: Sequence[Event], count: int) -> dict[int, Array]:
        """Return the next samples of each of its own parts that sounds, before volume and pan, [channels, count].

        Arguments are those of `process`; call `forget` afterwards.
        """
        start = self._now
        for event in events:
            self._hands.hear(event)
        steal = self._voices.steal_samples
        for voice in self._voices:
            voice.stream.end = voice.end(steal)
        voices = self._own_voices()
        motion = self._hands.motion_of(voices)
        streams = self._engine.render([voice.stream for voice in voices], motion, start, count)
        levels = np.empty((len(voices), 1, count), np.float32)
        for voice, level in zip(voices, levels, strict=True):
            level[0] = voice.level(start, count, steal)
        sums: dict[int, Array] = {}
        for voice, sound in zip(voices, np.multiply(streams, levels) if voices else (), strict=True):
            if voice.part in sums:
                sums[voice.part] += sound
            else:
                sums[voice.part] = sound
        self._now = start + count
        self._voices.retire(self._now)
        return sums

    def _own_voices(self) -> list[Voice]:
        return [voice for voice in self._voices if voice.part in self._parts]

    def forget(self) -> None:
        """Drop what only matters before the next sample."""
        self._hands.forget(self._now - self._engine.lookback)
