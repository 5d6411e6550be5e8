"""Modulation sources as functions of time: LFOs, random walks, timed paths and the beat."""

import math
from abc import ABC, abstractmethod
from bisect import bisect_right
from collections import deque
from collections.abc import Sequence
from typing import Generic, NamedTuple, Protocol, TypeVar

import numpy as np

from ..arrays import Array, Doubles
from ..events import BeatSync, Clock, Tempo
from ..model.card import Card
from ..model.learned_path import LearnedPath
from ..preset.motions import LearnedPathSettings, MotionSettings, WalkSettings
from ..ramps import RAMP_SECONDS, Ramp
from ..signal import white_noise

FOR_EVER = 2.0**50  # samples: 700 years, and a power of two for exact division
TICKS_A_BEAT = 24  # MIDI clocks a quarter note
AVERAGED = 24  # ticks in the tempo average: one beat smooths the jitter of a USB port
LONGEST_TICK_SECONDS = 0.125  # 20 BPM; a longer gap is a pause


class Beats:
    """Quarter notes since the start, as a function of time that only jumps to 0.

    A clock tick moves the beat to the next tick's position, where it waits for a late tick.
    """

    def __init__(self, tempo_bpm: float, sample_rate: int) -> None:
        samples = 60 * sample_rate / tempo_bpm
        self._beat = Ramp(0.0, 1)
        self._beat.move(0, FOR_EVER / samples, FOR_EVER)
        self._tick_samples = samples / TICKS_A_BEAT
        self._rate, self._samples = sample_rate, Ramp(samples, 1)
        self._longest_tick = LONGEST_TICK_SECONDS * sample_rate
        self._tick_times: deque[int] = deque(maxlen=AVERAGED + 1)
        self._last_tick: float | None = None  # position, in ticks
        self._running = True

    def value(self, time: int) -> float:
        return self._beat.value(time)

    def samples(self, time: int) -> float:
        return self._samples.value(time)

    def apply(self, event: Clock | Tempo | BeatSync) -> None:
        """Tempos are ignored after MIDI clock."""
        match event:
            case Tempo(time, bpm):
                if not self._tick_times:
                    self._run_at(time, bpm)
            case BeatSync():
                self._go_on(event)
            case Clock(time, "tick"):
                self._measure_tempo(time)
                if self._running:
                    self._advance(time)
            case Clock(time, "start"):  # the next tick is beat 0 (MIDI 1.0)
                self._running, self._last_tick = True, -1.0
                self._beat.jump(time, 0.0)
            case Clock(time, "stop"):
                self._running = False
                self._beat.jump(time, self.value(time))
            case Clock(_, "continue"):
                self._running = True

    def sync(self, time: int) -> BeatSync:
        """The event by which another rack goes on with the beat from sample ``time``."""
        beat, next_beat, samples = self._beat.under_way(time)
        return BeatSync(
            time,
            beat,
            next_beat,
            samples / self._rate,
            self._tick_samples / self._rate,
            self._last_tick,
            (time - self._tick_times[-1]) / self._rate if self._tick_times else None,
            self._running,
        )

    def forget(self, time: int) -> None:
        self._beat.forget(time)
        self._samples.forget(time)

    def _run_at(self, time: int, bpm: float) -> None:
        samples = 60 * self._rate / bpm
        beat = self.value(time)
        self._beat.jump(time, beat)
        self._beat.move(time, beat + FOR_EVER / samples, FOR_EVER)
        self._tick_samples = samples / TICKS_A_BEAT
        self._samples.jump(time, samples)

    def _go_on(self, sync: BeatSync) -> None:
        self._beat.jump(sync.time, sync.beat)
        self._beat.move(sync.time, sync.next_beat, sync.seconds * self._rate)
        self._tick_samples = sync.tick_seconds * self._rate
        self._samples.jump(sync.time, self._tick_samples * TICKS_A_BEAT)
        self._last_tick, self._running = sync.last_tick, sync.is_running
        if sync.tick_age is not None:
            self._tick_times.append(sync.time - round(sync.tick_age * self._rate))

    def _measure_tempo(self, time: int) -> None:
        if self._tick_times and time - self._tick_times[-1] > self._longest_tick:
            self._tick_times.clear()
        self._tick_times.append(time)
        if len(self._tick_times) > 1:
            self._tick_samples = max(1.0, (self._tick_times[-1] - self._tick_times[0]) / (len(self._tick_times) - 1))
            self._samples.jump(time, self._tick_samples * TICKS_A_BEAT)

    def _advance(self, time: int) -> None:
        self._last_tick = self.value(time) * TICKS_A_BEAT if self._last_tick is None else self._last_tick + 1
        self._beat.move(time, (self._last_tick + 1) / TICKS_A_BEAT, self._tick_samples)


Code = Sequence[float]  # one number a latent
Spans = Sequence[tuple[float, float]]  # low and high of each latent
# Distance from the centre (in half spans) or from opposite directions (in 1 + cosine: 18 degrees) where the blend into
# the straight line starts: there the least move of a knob would flip the great circle to the other side.
UNSURE = 0.05


def straight(first: Code, then: Code, part: float, spans: Spans) -> list[float]:
    """``part`` is 0 to 1; both ends are exact."""
    if part == 1.0:
        return list(then)
    return [a + (b - a) * part for a, b in zip(first, then, strict=True)]


def great_circle(first: Code, then: Code, part: float, spans: Spans) -> list[float]:
    """Interpolate at ``part``, 0 to 1, around the middle of the spans; both ends are exact.

    Latents count in half spans from the middle. Radius and direction angle w change evenly, as in "slerp" (Shoemake,
    Animating rotation with quaternion curves, SIGGRAPH 1985): u(t) = (sin((1 - t) w) u(0) + sin(t w) u(1)) / sin(w).
    Near the center and opposite directions it blends into a straight line.
    """
    line = straight(first, then, part, spans)
    if part in (0.0, 1.0):
        return line
    middles = [(low + high) / 2 for low, high in spans]
    halves = [(high - low) / 2 for low, high in spans]
    ends = [[(x - m) / h for x, m, h in zip(end, middles, halves, strict=True)] for end in (first, then)]
    first_radius, last_radius = (math.hypot(*end) for end in ends)
    if first_radius == 0.0 or last_radius == 0.0:
        return line
    pairs = [(a / first_radius, b / last_radius) for a, b in zip(*ends, strict=True)]
    together = math.hypot(*(a + b for a, b in pairs))
    sure = min(1.0, together * together / 2 / UNSURE, first_radius / UNSURE, last_radius / UNSURE)
    angle = 2 * math.atan2(math.hypot(*(a - b for a, b in pairs)), together)
    sine = math.sin(angle)
    if sine <= 0.0 or sure == 0.0:  # one direction, or two opposite ones
        return line
    radius = first_radius + (last_radius - first_radius) * part
    first_weight, last_weight = (radius * math.sin(share * angle) / sine for share in (1.0 - part, part))
    return [
        x + sure * (m + h * (first_weight * a + last_weight * b) - x)
        for x, m, h, (a, b) in zip(line, middles, halves, pairs, strict=True)
    ]


WAYS = {"linear": straight, "spherical": great_circle}


STEP_SECONDS = 0.25  # interval between turns, unless the bound needs shorter steps
STEP_OF_BOUND = 0.25  # longest step: two steps in any direction stay within the bound of a code
TURN = 0.35  # about 19 degrees a step: at one deviation a second a direction lasts about four seconds
PULLS = (0.0, 0.25, 0.5, 0.75, 1.0)  # tried turns toward the nearest training code; the least one applies
WALK_VALUES = 65_521  # random numbers until turns repeat: a prime, so hours with any number of latents
WALK_STRIDE = 7919  # offset between the sequences of seeds


class _Step(NamedTuple):
    place: Doubles
    heading: Doubles
    code: list[float]


class _HasCode(Protocol):
    @property
    def code(self) -> list[float]: ...


StepT = TypeVar("StepT", bound=_HasCode)


class _Steps(ABC, Generic[StepT]):
    """A way of all latents in straight lines from step to step, each computed from the one before."""

    target: str | None = None
    in_beats = False

    def __init__(self, first: StepT, samples: float) -> None:
        """``samples``: from step to step."""
        self._steps, self._last, self._samples = {0: first}, 0, samples

    @abstractmethod
    def _next(self, number: int, last: StepT) -> StepT:
        """Step ``number`` + 1, from step ``number``."""

    def at(self, place: float) -> list[float]:
        marks = max(place, 0.0) / self._samples
        step = math.floor(marks)
        for number in range(self._last, step + 1):
            self._steps[number + 1] = self._next(number, self._steps[number])
            self._last = number + 1
        return straight(self._steps[step].code, self._steps[step + 1].code, marks - step, ())

    def forget(self, time: int) -> None:
        self.at(time)  # a silent hour is not left for the note after it
        first = math.floor(max(time, 0) / self._samples)
        for number in [number for number in self._steps if number < first]:
            del self._steps[number]


class RandomWalk(_Steps[_Step]):
    """Straight steps of equal length in standard deviations, each turned slightly from the last.

    Each lies wholly within the bound of one training code. To stay there, or from a start beyond, it turns toward the
    nearest one; latent ranges reflect it. A step depends only on its predecessor and number, so threads do not change
    it.
    """

    def __init__(self, settings: WalkSettings, start: Code, card: Card) -> None:
        """``start``: code at sample 0; latents constant in training stay there."""
        deviations = np.array([latent.std for latent in card.latents])
        self._axes = np.flatnonzero(deviations > 0)
        self._deviations = deviations[self._axes]
        self._low, self._high = (
            np.array([getattr(latent, end) for latent in card.latents])[self._axes] / self._deviations
            for end in ("low", "high")
        )
        marks = np.array([mark.latent for mark in card.landmarks])[:, self._axes] / self._deviations
        self._marks = np.clip(marks, self._low, self._high)
        self._bound = settings.bound
        self._length = min(settings.speed * STEP_SECONDS, settings.bound * STEP_OF_BOUND)
        self._noise = white_noise(WALK_VALUES).astype(np.float64)
        self._seed = settings.seed
        self._rest = np.array(start, np.float64)
        place = np.clip(self._rest[self._axes] / self._deviations, self._low, self._high)
        first_step = self._step(place, np.zeros(len(self._axes)))
        super().__init__(first_step, self._length / settings.speed * card.sample_rate)

    def _next(self, number: int, last: _Step) -> _Step:
        count = len(self._axes)
        first_number = self._seed * WALK_STRIDE + number * count
        chance = self._noise.take(np.arange(first_number, first_number + count), mode="wrap") * math.sqrt(3 / count)
        free_heading = _unit(last.heading + TURN * chance)  # the random vector has length 1 on average
        marks_before = self._to_marks(last.place)
        home = _unit(self._marks[marks_before.argmin()] - last.place)
        for pull in PULLS:
            heading = _unit((1 - pull) * free_heading + pull * home)
            end = last.place + self._length * heading
            heading = np.where((end < self._low) | (end > self._high), -heading, heading)
            place = np.clip(last.place + self._length * heading, self._low, self._high)
            if np.any((marks_before <= self._bound) & (self._to_marks(place) <= self._bound)):
                break
        return self._step(place, heading)

    def _step(self, place: Doubles, heading: Doubles) -> _Step:
        code = self._rest.copy()
        code[self._axes] = place * self._deviations
        return _Step(place, heading, code.tolist())

    def _to_marks(self, place: Doubles) -> Doubles:
        distances: Doubles = np.sqrt(np.square(self._marks - place).sum(1))
        return distances


class _LearnedStep(NamedTuple):
    state: Array  # [1, state]
    row: Array  # the code, [1, n_latents]
    code: list[float]


class LearnedWalk(_Steps[_LearnedStep]):
    """Steps of a learned path, from the code at sample 0 on; each depends on its predecessor, seed and number only."""

    def __init__(self, settings: LearnedPathSettings, start: Code, path: LearnedPath) -> None:
        self._path, self._seed = path, settings.seed
        first_step = _LearnedStep(path.at_rest(), np.array([start], np.float32), list(start))
        super().__init__(first_step, path.layout.step_length / settings.speed)

    def _next(self, number: int, last: _LearnedStep) -> _LearnedStep:
        row, state = self._path.follow(last.row, last.state, self._seed, number)
        return _LearnedStep(state, row, row[0].tolist())


def _unit(vector: Doubles) -> Doubles:
    length = math.sqrt(float(vector @ vector))
    return vector / length if length > 0 else vector


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


def make_mover(
    settings: MotionSettings, number: int, rest: Code, tempo_bpm: float, card: Card, path: LearnedPath | None
) -> MotionSource:
    if settings.learned is not None:
        assert path is not None
        return LearnedWalk(settings.learned, rest, path)
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
        path_place = cycles % 1.0 * len(self._path)
        leg = math.floor(path_place)
        first, then = (self._path[point % len(self._path)] for point in (leg, leg + 1))
        return self._way(first, then, path_place - leg, self._spans)

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
        first_code, last_code = self._codes[leg - 1 : leg + 1]
        return self._way(first_code, last_code, (place - start) / (end - start), self._spans)

    def forget(self, time: int) -> None: ...


def _triangle(part: float) -> float:
    return 2 * abs(2 * ((part - 0.25) % 1.0) - 1) - 1
