"""Random walk through codes, bounded by the distance to training codes."""

import math
from typing import NamedTuple

import numpy as np

from ...arrays import Doubles
from ...contract.card import Card
from ...noise import white_noise
from ...patch.motions import WalkSettings
from .interpolation import Code, straight

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


class RandomWalk:
    """Straight steps of equal length in standard deviations, each turned slightly from the last.

    Each lies wholly within the bound of one training code. To stay there, or from a start beyond, it turns toward the
    nearest one; latent ranges reflect it. A step depends only on its predecessor and number, so threads do not change
    it.
    """

    target: str | None = None
    in_beats = False

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
        self._samples = self._length / settings.speed * card.sample_rate
        self._noise = white_noise(WALK_VALUES).astype(np.float64)
        self._seed = settings.seed
        self._rest = np.array(start, np.float64)
        place = np.clip(self._rest[self._axes] / self._deviations, self._low, self._high)
        self._steps = {0: self._step(place, np.zeros(len(self._axes)))}
        self._last = 0

    def at(self, place: float) -> list[float]:
        way = max(place, 0.0) / self._samples
        step = math.floor(way)
        for number in range(self._last, step + 1):
            self._steps[number + 1] = self._next(number, self._steps[number])
            self._last = number + 1
        return straight(self._steps[step].code, self._steps[step + 1].code, way - step, ())

    def forget(self, time: int) -> None:
        first = min(math.floor(max(time, 0) / self._samples), self._last)
        for number in [number for number in self._steps if number < first]:
            del self._steps[number]

    def _next(self, number: int, last: _Step) -> _Step:
        count = len(self._axes)
        drawn = self._seed * WALK_STRIDE + number * count
        chance = self._noise.take(np.arange(drawn, drawn + count), mode="wrap") * math.sqrt(3 / count)
        ahead = _unit(last.heading + TURN * chance)  # the random vector has length 1 on average
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
    length = math.sqrt(float(vector @ vector))
    return vector / length if length > 0 else vector
