"""A random walk through codes, within a bound of those of training."""

import math
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from ...contract.card import Card
from ...dsp import white_noise
from ...patch.motions import WalkSettings
from .interpolation import Code, straight

Doubles = npt.NDArray[np.float64]
STEP_SECONDS = 0.25  # between a walk's turns, where its bound does not ask for shorter steps
STEP_OF_BOUND = 0.25  # the longest step of a walk: two steps in any direction stay within the bound of a code passed
TURN = 0.35  # a walk turns by some 19 degrees a step: at one deviation a second it keeps its direction for about four
PULLS = (0.0, 0.25, 0.5, 0.75, 1.0)  # how much a step at the bound turns to the nearest training code; the least does
WALK_VALUES = 65_521  # random numbers until a walk's turns repeat: a prime, so hours go by with any number of latents
WALK_STRIDE = 7919  # numbers between the places where seeds begin


class _Step(NamedTuple):
    """The end of a step of a walk, in deviations and as a code, and the direction in which it went."""

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

    def __init__(self, settings: WalkSettings, start: Code, card: Card) -> None:
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
        self._samples = self._length / settings.speed * card.sample_rate
        self._noise = white_noise(WALK_VALUES).astype(np.float64)
        self._seed = settings.seed
        self._rest = np.array(start, np.float64)
        place = np.clip(self._rest[self._axes] / self._deviations, self._low, self._high)
        self._steps = {0: self._step(place, np.zeros(len(self._axes)))}
        self._last = 0

    def at(self, place: float) -> list[float]:
        """See `Mover.at`; not earlier than the last ``forget``."""
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
        """Return the step after ``last``, which is the one of a number."""
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
    """Return a vector of length 1 in the same direction; zeros have none and stay."""
    length = math.sqrt(float(vector @ vector))
    return vector / length if length > 0 else vector
