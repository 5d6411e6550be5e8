"""Synthesis at the model's rate: renders voices, their sum and gains from events.

Events change functions of time, and voices are summed in fixed parts: neither block sizes nor the number of processes
change a sample.
"""

from bisect import bisect_left
from collections.abc import Collection, Mapping, Sequence
from typing import Any, Protocol

import numpy as np

from ..arrays import Array
from ..engines.engine import Engine, VoiceSound
from ..events import Event
from .envelope import envelope_levels
from .events import EventProcessor
from .voice import Voice
from .voices import PARTS


def share(number: int, processes: int) -> range:
    return range(number, PARTS, processes)


class Elsewhere(Protocol):
    """Another process, which renders other parts from the same events."""

    @property
    def end(self) -> int | None:
        """First sample not rendered; None while open."""

    def schedule(self, events: Sequence[Event], until: int) -> None:
        """Send the last events before sample ``until``, and request its samples."""

    def sums(self, start: int, count: int, sides: int) -> dict[int, Array]:
        """Wait for requested samples by part, [sides, count]; sides: 1 or 2."""

    def take_streams(self) -> tuple[Collection[int], list[VoiceSound]]:
        """Wait for its parts and, at its end, their streams in order of voices."""


class Synthesis:
    def __init__(
        self,
        engine: Engine[Any],
        processor: EventProcessor,
        *,
        parts: Collection[int] = range(PARTS),
        elsewhere: Sequence[Elsewhere] = (),
    ) -> None:
        self._engine, self._processor = engine, processor
        self._parts, self._elsewhere = set(parts), list(elsewhere)
        self._voices = processor.voices
        self.now = 0  # the next sample

    def process(self, events: Sequence[Event], count: int) -> Array:
        """Next ``count`` samples, [2, count]; ``events``: all of the block, in order of time."""
        start = self.now
        if any(process.end is not None and process.end < start + count for process in self._elsewhere):
            return self._process_across_an_end(events, count)
        sums = self.sums(events, count)
        for process in self._elsewhere:
            theirs = process.sums(start, count, self._engine.channels)
            sums |= {(self._voices.first_bus or 0, part): sound for part, sound in theirs.items()}
        buses = [self._bus_sound(bus, sums, count) for bus in sorted({bus for bus, _ in sums})]
        self.forget()
        return sum(buses[1:], buses[0]) if buses else np.zeros((2, count), np.float32)

    def _bus_sound(self, bus: int, sums: Mapping[tuple[int, int], Array], count: int) -> Array:
        """Sum of its parts, with its volume and pan, [2, count]; ``self.now`` is the block's end."""
        mix = np.zeros((self._engine.channels, count), np.float32)
        for place in sorted(sums):
            if place[0] == bus:
                mix += sums[place]
        level, start = self._processor.level(bus), self.now - count
        stereo = np.empty((2, count), np.float32)
        np.multiply(mix[0], level.left.block(start, count), out=stereo[0])
        np.multiply(mix[-1], level.right.block(start, count), out=stereo[1])
        return stereo

    def prepare(self) -> None:
        """As `Engine.prepare`, for parts rendered here."""
        voices = self._own_voices()
        self._engine.prepare([voice.stream for voice in voices], self._processor.motion_of(voices), self.now)

    def _process_across_an_end(self, events: Sequence[Event], count: int) -> Array:
        end = min(process.end for process in self._elsewhere if process.end is not None)
        count_before = end - self.now
        due_end = bisect_left(events, end, key=lambda event: event.time)
        first = [self.process(events[:due_end], count_before)] if count_before else []
        for process in [process for process in self._elsewhere if process.end == end]:
            self._elsewhere.remove(process)
            parts, streams = process.take_streams()
            for voice, stream in zip((v for v in self._voices if v.part in parts), streams, strict=True):
                voice.stream = stream
            self._parts.update(parts)
        return np.concatenate([*first, self.process(events[due_end:], count - count_before)], axis=1)

    def streams(self) -> list[VoiceSound]:
        return [voice.stream for voice in self._own_voices()]

    def sums(self, events: Sequence[Event], count: int) -> dict[tuple[int, int], Array]:
        """Next samples by bus and part rendered here, before volume and pan, [channels, count].

        Call `forget` afterwards.
        """
        start = self.now
        for event in events:
            self._processor.apply(event)
        steal = self._voices.steal_samples
        for voice in self._voices:
            voice.stream.end = voice.end(steal)
        voices = self._own_voices()
        motion = self._processor.motion_of(voices)
        streams = self._engine.render([voice.stream for voice in voices], motion, start, count)
        levels = envelope_levels([voice.envelope for voice in voices], start, count)
        for voice, level in zip(voices, levels, strict=True):
            voice.shape(level, start, steal)
        sums: dict[tuple[int, int], Array] = {}
        for voice, sound in zip(voices, np.multiply(streams, levels[:, np.newaxis]) if voices else (), strict=True):
            if (place := (voice.bus, voice.part)) in sums:
                sums[place] += sound
            else:
                sums[place] = sound
        self.now = start + count
        self._voices.retire(self.now)
        return sums

    def _own_voices(self) -> list[Voice]:
        return [voice for voice in self._voices if voice.part in self._parts]

    def forget(self) -> None:
        self._processor.forget(self.now - self._engine.lookback)
