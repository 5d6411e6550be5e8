"""Where the latents are: their knobs, and what moves them by itself, as functions of time."""

import math
from bisect import bisect_right
from collections import deque
from collections.abc import Callable, Sequence
from typing import NamedTuple, Protocol

import numpy as np
import numpy.typing as npt

from ..contract.card import Card
from ..controls import RAMP_SECONDS, Ramp
from ..dsp import white_noise
from ..events import Clock
from ..patch.preset import MORPH, MotionSettings, Preset, WalkSettings

Array = npt.NDArray[np.float32]
Doubles = npt.NDArray[np.float64]
Code = Sequence[float]  # one number a latent
Spans = Sequence[tuple[float, float]]  # low and high of each latent

TICKS_A_BEAT = 24  # of the MIDI clock, in a quarter note
FOR_EVER = 2.0**50  # samples: 700 years, and a power of two, so that dividing by it rounds nothing
AVERAGED = 24  # ticks from whose distance the next one is foretold: a beat evens out the jitter of a USB port
LONGEST_TICK_SECONDS = 0.125  # 20 BPM; a longer gap is a pause
RANDOM_VALUES = 4096  # cycles until a random motion repeats: more than an hour at one a second
RANDOM_STRIDE = 997  # values between the places where successive random motions begin
STEP_SECONDS = 0.25  # of a walk: between turns, where its bound does not ask for shorter steps
STEP_OF_BOUND = 0.25  # the longest step of a walk: two steps in any direction stay within the bound of a code passed
TURN = 0.35  # a walk turns by some 19 degrees a step: at one deviation a second it keeps its direction for about four
PULLS = (0.0, 0.25, 0.5, 0.75, 1.0)  # how much a step at the bound turns to the nearest training code; the least does
WALK_VALUES = 65_521  # random numbers until a walk's turns repeat: a prime, so hours go by with any number of latents
WALK_STRIDE = 7919  # numbers between the places where seeds begin
# How near to the centre (in half spans) or to opposite directions (in 1 + cosine: 18 degrees) a great circle begins to
# go over to the straight line: there the least move of a knob would throw it to the other side.
UNSURE = 0.05


def straight(first: Code, then: Code, part: float, spans: Spans) -> list[float]:
    """The code ``part``, 0 to 1, of the way from one to another; both ends are exact."""
    if part == 1.0:
        return list(then)
    return [a + (b - a) * part for a, b in zip(first, then, strict=True)]


def great_circle(first: Code, then: Code, part: float, spans: Spans) -> list[float]:
    """The code ``part``, 0 to 1, of the way around the middle of the spans; both ends are exact.

    Each latent counts from the middle of its span, in half spans. The distance from there changes evenly, and so does
    the direction's angle w, as in "slerp" (Shoemake, Animating rotation with quaternion curves, SIGGRAPH 1985):
    u(t) = (sin((1 - t) w) u(0) + sin(t w) u(1)) / sin(w). Opposite ends have no one such way, and the centre has no
    direction: from a little before, the way goes over to the straight line, which it is there.
    """
    line = straight(first, then, part, spans)
    if part in (0.0, 1.0):
        return line
    middles = [(low + high) / 2 for low, high in spans]
    halves = [(high - low) / 2 for low, high in spans]
    ends = [[(x - m) / h for x, m, h in zip(end, middles, halves, strict=True)] for end in (first, then)]
    near, far = (math.hypot(*end) for end in ends)
    if near == 0.0 or far == 0.0:
        return line
    pairs = [(a / near, b / far) for a, b in zip(*ends, strict=True)]
    together = math.hypot(*(a + b for a, b in pairs))
    sure = min(1.0, together * together / 2 / UNSURE, near / UNSURE, far / UNSURE)
    angle = 2 * math.atan2(math.hypot(*(a - b for a, b in pairs)), together)
    sine = math.sin(angle)
    if sine <= 0.0 or sure == 0.0:  # one direction, or two opposite ones
        return line
    radius = near + (far - near) * part
    before, after = (radius * math.sin(share * angle) / sine for share in (1.0 - part, part))
    return [
        x + sure * (m + h * (before * a + after * b) - x)
        for x, m, h, (a, b) in zip(line, middles, halves, pairs, strict=True)
    ]


WAYS = {"linear": straight, "spherical": great_circle}


class Beats:
    """Quarter notes since the start, as a function of time that never steps but to 0.

    Without a MIDI clock they pass at the preset's tempo. A tick says where the beat is, and how fast it goes: from
    there the beat moves on to where the next tick will be, at the time when that is due, and waits there if it is late.
    """

    def __init__(self, tempo_bpm: float, sample_rate: int) -> None:
        samples = 60 * sample_rate / tempo_bpm
        self._line = Ramp(0.0, 1)
        self._line.move(0, FOR_EVER / samples, FOR_EVER)
        self._interval = samples / TICKS_A_BEAT
        self._longest = LONGEST_TICK_SECONDS * sample_rate
        self._heard: deque[int] = deque(maxlen=AVERAGED + 1)
        self._ticks: float | None = None  # where the last tick was, in ticks
        self._running = True

    def value(self, time: int) -> float:
        """At one sample."""
        return self._line.value(time)

    def clock(self, event: Clock) -> None:
        """A message of the MIDI clock."""
        match event.message:
            case "tick":
                self._listen(event.time)
                if self._running:
                    self._advance(event.time)
            case "start":  # the next tick is beat 0 (MIDI 1.0)
                self._running, self._ticks = True, -1.0
                self._line.jump(event.time, 0.0)
            case "stop":
                self._running = False
                self._line.jump(event.time, self.value(event.time))
            case "continue":
                self._running = True

    def forget(self, time: int) -> None:
        """Drop what only matters before ``time``."""
        self._line.forget(time)

    def _listen(self, time: int) -> None:
        if self._heard and time - self._heard[-1] > self._longest:
            self._heard.clear()
        self._heard.append(time)
        if len(self._heard) > 1:
            self._interval = max(1.0, (self._heard[-1] - self._heard[0]) / (len(self._heard) - 1))

    def _advance(self, time: int) -> None:
        self._ticks = self.value(time) * TICKS_A_BEAT if self._ticks is None else self._ticks + 1
        self._line.move(time, (self._ticks + 1) / TICKS_A_BEAT, self._interval)


class Mover(Protocol):
    """One motion of a preset: what it adds to its target, or where it takes all latents."""

    target: str | None  # None: all latents
    in_beats: bool

    def at(self, place: float) -> list[float]:
        """All latents, or the one number to add; ``place`` is in samples, or in beats if `in_beats`."""

    def forget(self, time: int) -> None:
        """Drop what only matters before sample ``time``."""


def make_mover(settings: MotionSettings, number: int, preset: Preset, card: Card, sample_rate: int) -> Mover:
    """What moves as ``settings`` say, the preset's motion of that number."""
    spans = [(latent.low, latent.high) for latent in card.latents]
    if settings.walk is not None:
        return Walk(settings.walk, preset.latent_values(card), card, sample_rate)
    if settings.times is not None:
        return Course(settings, settings.times, sample_rate, spans)
    return Cycle(settings, number, preset.tempo_bpm, sample_rate, spans)


class Cycle:
    """A shape around a knob, or a closed path: both come back after a number of seconds or beats."""

    def __init__(self, settings: MotionSettings, number: int, tempo_bpm: float, sample_rate: int, spans: Spans) -> None:
        """``number`` tells random motions apart; ``tempo_bpm`` is the nominal tempo."""
        self.target = settings.target
        self.in_beats = settings.beats is not None
        self._phase = settings.phase
        if settings.beats is not None:
            self._pace, rate_hz = 1 / settings.beats, tempo_bpm / 60 / settings.beats
        else:
            rate_hz = settings.rate_hz or 0.0
            self._pace = rate_hz / sample_rate
        self._edge = min(0.5, rate_hz * RAMP_SECONDS)  # cycles that a saw takes to fall: nothing steps
        self._shape = settings.shape
        self._low, self._high = settings.offsets
        self._noise: list[float] = []
        if settings.shape == "random":
            begin = number * RANDOM_STRIDE
            self._noise = white_noise(begin + RANDOM_VALUES)[begin:].tolist()
        self._path = settings.path or []
        self._way, self._spans = WAYS[settings.legs], spans

    def at(self, place: float) -> list[float]:
        """As `Mover.at`."""
        cycles = place * self._pace + self._phase
        if not self._path:
            level = (1.0 + self._wave(cycles)) / 2
            return [self._low * (1.0 - level) + self._high * level]
        way = cycles % 1.0 * len(self._path)
        leg = math.floor(way)
        first, then = (self._path[point % len(self._path)] for point in (leg, leg + 1))
        return self._way(first, then, way - leg, self._spans)

    def forget(self, time: int) -> None:
        """Nothing to drop."""

    def _wave(self, cycles: float) -> float:
        """-1 to 1; a sine, a triangle and a square rise through 0 where a cycle begins, a saw leaves -1."""
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


class Course:
    """A path whose codes have times: it rests at its ends, or goes round between the first time and the last."""

    target: str | None = None
    in_beats = False

    def __init__(self, settings: MotionSettings, times: Sequence[float], sample_rate: int, spans: Spans) -> None:
        """``times`` are in seconds, one a code; of a loop one more, when it is back at the first code."""
        path = settings.path or []
        self._codes = [*path, path[0]] if settings.loop else path
        self._times = [time * sample_rate for time in times]
        self._loop = settings.loop
        self._way, self._spans = WAYS[settings.legs], spans

    def at(self, place: float) -> list[float]:
        """As `Mover.at`."""
        first, last = self._times[0], self._times[-1]
        if self._loop and place > last:
            place = first + (place - first) % (last - first)
        leg = bisect_right(self._times, place)
        if leg in (0, len(self._times)):
            return list(self._codes[max(leg - 1, 0)])
        start, end = self._times[leg - 1 : leg + 1]
        before, after = self._codes[leg - 1 : leg + 1]
        return self._way(before, after, (place - start) / (end - start), self._spans)

    def forget(self, time: int) -> None:
        """Nothing to drop."""


class _Step(NamedTuple):
    """Where a step of a walk ends: in deviations, and as a code; and in which direction it went."""

    place: Doubles
    heading: Doubles
    code: list[float]


class Walk:
    """A random walk: steps of one length in straight lines, each in a direction a little beside the last one's.

    Lengths are in deviations of each latent. A step that would leave what lies within the bound of the training codes
    is turned to the nearest of them, by as much as it takes; one that would leave a latent's span is reflected there. A
    step begins and ends within the bound of one and the same code, so that all of it lies there. From a code beyond
    the bound, where a preset may begin, the walk goes straight to the nearest training code.

    Each step follows from the one before it and from its number, so it does not matter in how many threads they are
    taken.
    """

    target: str | None = None
    in_beats = False

    def __init__(self, settings: WalkSettings, start: Code, card: Card, sample_rate: int) -> None:
        """``start`` is where it begins at sample 0; a latent that never varied in training stays there."""
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
        self._samples = self._length / settings.speed * sample_rate
        self._noise = white_noise(WALK_VALUES).astype(np.float64)
        self._seed = settings.seed
        self._rest = np.array(start, np.float64)
        place = np.clip(self._rest[self._axes] / self._deviations, self._low, self._high)
        self._steps = {0: self._step(place, np.zeros(len(self._axes)))}
        self._last = 0

    def at(self, place: float) -> list[float]:
        """As `Mover.at`; not earlier than the last ``forget``."""
        way = max(place, 0.0) / self._samples
        step = math.floor(way)
        for number in range(self._last, step + 1):
            self._steps[number + 1] = self._next(number, self._steps[number])
            self._last = number + 1
        return straight(self._steps[step].code, self._steps[step + 1].code, way - step, ())

    def forget(self, time: int) -> None:
        """Drop what only matters before sample ``time``."""
        first = min(math.floor(max(time, 0) / self._samples), self._last)
        for number in [number for number in self._steps if number < first]:
            del self._steps[number]

    def _next(self, number: int, last: _Step) -> _Step:
        """The step that follows on the one of a number."""
        count = len(self._axes)
        drawn = self._seed * WALK_STRIDE + number * count
        chance = self._noise.take(np.arange(drawn, drawn + count), mode="wrap") * math.sqrt(3 / count)
        ahead = _unit(last.heading + TURN * chance)  # the chance has length 1 on average
        before = self._to_marks(last.place)
        home = _unit(self._marks[before.argmin()] - last.place)
        for pull in PULLS:
            heading = _unit((1 - pull) * ahead + pull * home)
            end = last.place + self._length * heading
            heading = np.where((end < self._low) | (end > self._high), -heading, heading)
            place = np.clip(last.place + self._length * heading, self._low, self._high)
            if np.any((before <= self._bound) & (self._to_marks(place) <= self._bound)):
                break
        return self._step(place, heading)

    def _step(self, place: Doubles, heading: Doubles) -> _Step:
        code = self._rest.copy()
        code[self._axes] = place * self._deviations
        return _Step(place, heading, code.tolist())

    def _to_marks(self, place: Doubles) -> Doubles:
        distances: Doubles = np.sqrt(np.square(self._marks - place).sum(1))
        return distances


def _unit(vector: Doubles) -> Doubles:
    """Of length 1, in the direction of a vector; zeros have none and stay."""
    length = math.sqrt(float(vector @ vector))
    return vector / length if length > 0 else vector


class Latents:
    """The latents of a preset at any time.

    A morph leads from the knobs to another code. A path or a walk takes the place of both, other motion is added; what
    moves stays in the range that the card gives. When the beat begins anew, what follows it glides there as a knob
    would.
    """

    def __init__(self, preset: Preset, card: Card, sample_rate: int, far: Code | None = None) -> None:
        """``sample_rate`` is that of all times; ``far`` is the code at the other end of the preset's morph."""
        ramp = round(RAMP_SECONDS * sample_rate)
        self.knobs = [Ramp(value, ramp) for value in preset.latent_values(card)]
        self.targets = {f"latent.{index}": knob for index, knob in enumerate(self.knobs)}  # what can be turned
        self._places = {target: index for index, target in enumerate(self.targets)}
        self._far = far
        self._way = straight
        if preset.morph is not None:
            self.targets[MORPH] = Ramp(0.0, ramp)
            self._way = WAYS[preset.morph.shape]
        self._spans = [(latent.low, latent.high) for latent in card.latents]
        movers = [make_mover(m, number, preset, card, sample_rate) for number, m in enumerate(preset.motion)]
        movers.sort(key=lambda mover: mover.target is not None)  # what moves all first: the others are added to it
        # What is left of where a mover was when its beat began anew fades away.
        self._movers = [(mover, [Ramp(0.0, ramp) for _ in mover.at(0.0)]) for mover in movers]
        self._beats = Beats(preset.tempo_bpm, sample_rate)
        moved = {mover.target for mover in movers}
        everything = far is not None or None in moved
        self._moved = [i for i in range(len(self.knobs)) if everything or f"latent.{i}" in moved]
        self._rows: dict[int, tuple[float, ...]] = {}
        self._latest = -1  # no row was ever asked for later than this

    def at(self, times: npt.NDArray[np.int64]) -> Array:
        """[times, n_latents], none earlier than the last ``forget``."""
        rows = self._rows  # all voices ask for the same times
        for time in times.tolist():
            if time not in rows:
                rows[time] = self.row(time)
                self._latest = max(self._latest, time)
        return np.array([rows[time] for time in times.tolist()], np.float32)

    def row(self, time: int) -> tuple[float, ...]:
        """The latents at one sample."""
        values = [ramp.value(time) for ramp in self.knobs]
        if self._far is not None:
            values = self._way(values, self._far, self._morphed(time), self._spans)
        for mover, left in self._movers:
            if mover.target is None:
                values = self._offsets(mover, left, time)
            elif mover.target != MORPH:
                values[self._places[mover.target]] += self._offsets(mover, left, time)[0]
        for index in self._moved:
            low, high = self._spans[index]
            values[index] = min(max(values[index], low), high)
        return tuple(values)

    def turn(self, time: int, target: str, value: float) -> None:
        """Turn the knob of a target from sample ``time`` on; times of turns and clock messages never go back."""
        self.targets[target].move(time, value)
        if time <= self._latest:
            self._drop(lambda known: known >= time)

    def clock(self, event: Clock) -> None:
        """A message of the MIDI clock; a start takes the beat back to 0."""
        followers = [(mover, left) for mover, left in self._movers if mover.in_beats and event.message == "start"]
        before = [self._offsets(mover, left, event.time) for mover, left in followers]
        self._beats.clock(event)
        for (mover, left), was in zip(followers, before, strict=True):
            for ramp, old, new in zip(left, was, mover.at(self._beats.value(event.time)), strict=True):
                ramp.jump(event.time, old - new)
                ramp.move(event.time, 0.0)
        self._drop(lambda known: known >= event.time)

    def forget(self, time: int) -> None:
        """Drop what only matters before ``time``."""
        self._beats.forget(time)
        for ramps in (self.targets.values(), *(left for _, left in self._movers)):
            for ramp in ramps:
                ramp.forget(time)
        for mover, _ in self._movers:
            mover.forget(time)
        self._drop(lambda known: known < time)

    def _drop(self, which: Callable[[int], bool]) -> None:
        for known in [known for known in self._rows if which(known)]:
            del self._rows[known]

    def _morphed(self, time: int) -> float:
        """How far the morph is, 0 to 1."""
        amount = self.targets[MORPH].value(time)
        for mover, left in self._movers:
            if mover.target == MORPH:
                amount += self._offsets(mover, left, time)[0]
        return min(max(amount, 0.0), 1.0)

    def _offsets(self, mover: Mover, left: Sequence[Ramp], time: int) -> list[float]:
        place = self._beats.value(time) if mover.in_beats else time
        return [value + ramp.value(time) for value, ramp in zip(mover.at(place), left, strict=True)]


def _triangle(part: float) -> float:
    return 2 * abs(2 * ((part - 0.25) % 1.0) - 1) - 1
