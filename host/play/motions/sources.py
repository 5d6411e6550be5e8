"""Modulation sources: LFOs, random motion and timed paths as functions of time."""

import math
from bisect import bisect_right
from collections.abc import Sequence
from typing import Protocol

from ...contract.card import Card
from ...noise import white_noise
from ...patch.motions import MotionSettings
from ...ramps import RAMP_SECONDS
from .interpolation import WAYS, Code, Spans
from .random_walk import RandomWalk

RANDOM_VALUES = 4096  # cycles until random motion repeats: over an hour at 1 Hz
RANDOM_STRIDE = 997  # offset between the sequences of successive random motions


class MotionSource(Protocol):
    """An offset to a target, or a path of all latents."""

    target: str | None  # None: all latents
    in_beats: bool

    def at(self, place: float) -> list[float]:
        """All latents, or one offset; ``place`` in samples, or in beats if `in_beats`."""

    def forget(self, time: int) -> None:
        """Drop data only needed before ``time``."""


def make_mover(settings: MotionSettings, number: int, rest: Code, tempo_bpm: float, card: Card) -> MotionSource:
    if settings.walk is not None:
        return RandomWalk(settings.walk, rest, card)
    if settings.times is not None:
        return TimedPath(settings, settings.times, card.sample_rate, card.spans)
    return Cycle(settings, number, tempo_bpm, card.sample_rate, card.spans)


class Cycle:
    """An LFO around a knob, or a closed path, with a period in seconds or beats."""

    def __init__(self, settings: MotionSettings, number: int, tempo_bpm: float, sample_rate: int, spans: Spans) -> None:
        self.target = settings.target
        self.in_beats = settings.beats is not None
        self._phase = settings.phase
        if settings.beats is not None:
            self._pace, rate_hz = 1 / settings.beats, tempo_bpm / 60 / settings.beats
        else:
            rate_hz = settings.rate_hz or 0.0
            self._pace = rate_hz / sample_rate
        self._edge = min(0.5, rate_hz * RAMP_SECONDS)  # fall time of a saw in cycles: values never jump
        self._shape = settings.shape
        self._low, self._high = settings.offsets
        self._noise: list[float] = []
        if settings.shape == "random":
            begin = number * RANDOM_STRIDE
            self._noise = white_noise(begin + RANDOM_VALUES)[begin:].tolist()
        self._path = settings.path or []
        self._way, self._spans = WAYS[settings.legs], spans

    def at(self, place: float) -> list[float]:
        cycles = place * self._pace + self._phase
        if not self._path:
            level = (1.0 + self._wave(cycles)) / 2
            return [self._low * (1.0 - level) + self._high * level]
        way = cycles % 1.0 * len(self._path)
        leg = math.floor(way)
        first, then = (self._path[point % len(self._path)] for point in (leg, leg + 1))
        return self._way(first, then, way - leg, self._spans)

    def forget(self, time: int) -> None: ...

    def _wave(self, cycles: float) -> float:
        """-1 to 1; sine, triangle and square start at 0 rising, a saw at -1."""
        part = cycles % 1.0
        match self._shape:
            case "sine":
                return math.sin(2 * math.pi * part)
            case "triangle":
                return _triangle(part)
            case "square":
                return min(max(_triangle(part) / (2 * self._edge), -1.0), 1.0)
            case "saw":
                return min(2 * part / (1 - self._edge) - 1, 2 * (1 - part) / self._edge - 1)
            case "random":
                cycle = math.floor(cycles)
                first, then = (self._noise[count % RANDOM_VALUES] for count in (cycle, cycle + 1))
                return first + (then - first) * part


class TimedPath:
    """Rests at its ends, or loops."""

    target: str | None = None
    in_beats = False

    def __init__(self, settings: MotionSettings, times: Sequence[float], sample_rate: int, spans: Spans) -> None:
        """``times``: seconds, one per code; a loop has one more, its return to the start."""
        path = settings.path or []
        self._codes = [*path, path[0]] if settings.loop else path
        self._times = [time * sample_rate for time in times]
        self._loop = settings.loop
        self._way, self._spans = WAYS[settings.legs], spans

    def at(self, place: float) -> list[float]:
        first, last = self._times[0], self._times[-1]
        if self._loop and place > last:
            place = first + (place - first) % (last - first)
        leg = bisect_right(self._times, place)
        if leg in (0, len(self._times)):
            return list(self._codes[max(leg - 1, 0)])
        start, end = self._times[leg - 1 : leg + 1]
        before, after = self._codes[leg - 1 : leg + 1]
        return self._way(before, after, (place - start) / (end - start), self._spans)

    def forget(self, time: int) -> None: ...


def _triangle(part: float) -> float:
    return 2 * abs(2 * ((part - 0.25) % 1.0) - 1) - 1
