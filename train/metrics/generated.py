"""Clips that a network made, beside the recordings that it learned from and those that it never heard, in figures."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from ...host.resynthesis.log_mel import distances_db, log_mel, sounding_frames
from .distribution_distance import Vectors, frechet, inception_score, pairwise

Array = npt.NDArray[np.float32]
Ints = npt.NDArray[np.int64]


class Judged(NamedTuple):
    """Outputs of a classifier for clips: probabilities of labels [clips, labels], and features [clips, features]."""

    posteriors: Array
    features: Array


Judge = Callable[[Array, int], Judged]  # of clips [clips, samples] and their rate in Hz

DRAWINGS = 5  # of training clips: their mean distance is steady to a tenth


@dataclass(frozen=True)
class FrechetDistances:
    """The Fréchet distances to the test clips.

    Args:
        made: of the clips that were made.
        train: of as many training clips, drawn by chance, a mean over five drawings: what the same sounds have.
    """

    made: float
    train: float

    @property
    def ratio(self) -> float:
        """Return how many times as far the clips that were made are: 1 is as near as recordings are."""
        return self.made / max(self.train, 1e-12)


@dataclass(frozen=True)
class NearestClipDistances:
    """Distances of clips from that clip of the training split that is nearest to each, in dB.

    Args:
        median: of the clips.
        closest: the tenth part of them lies nearer than this: a few that are copied show here first.
    """

    median: float
    closest: float


@dataclass(frozen=True)
class ClassifierFigures:
    """The figures that a classifier gives of clips that were made.

    Args:
        score: inception score and its deviation over ten parts, of the clips made, of as many as there are test clips.
        real_score: the same of the test clips, of as many as there are clips made.
        likeness: on its penultimate features.
        accuracy: share of the clips made that are taken for the label that was asked for; None if none was asked for.
    """

    score: tuple[float, float]
    real_score: tuple[float, float]
    likeness: FrechetDistances
    accuracy: float | None


@dataclass(frozen=True)
class Figures:
    """The figures of a set of clips that were made.

    Args:
        clips: how many they are.
        likeness: on log-mel frames, in dB².
        nearest: of the clips made.
        test_nearest: of the test clips: who only learned, and copied nothing, comes no nearer than these.
        diversity_db: the mean distance of every two clips made; 0 where all are the same.
        test_diversity_db: the same of the test clips.
        told: by a classifier; None without one.
    """

    clips: int
    likeness: FrechetDistances
    nearest: NearestClipDistances
    test_nearest: NearestClipDistances
    diversity_db: float
    test_diversity_db: float
    told: ClassifierFigures | None


class Recordings:
    """The training and the test clips of a corpus: what sets of clips that were made are compared with.

    What is known of them is computed once, so that training can ask for figures again and again.

    Args:
        train, test: [clips, samples], two or more of both, as long as the clips that are made.
        rate: of all, in Hz.
        judge: a classifier, as `Classifier.judge`; None does without its figures.
    """

    def __init__(self, train: Array, test: Array, rate: int, judge: Judge | None = None) -> None:
        self.rate, self.judge = rate, judge
        self.train, self.test = log_mel(train, rate), log_mel(test, rate)
        self.told = (judge(train, rate), judge(test, rate)) if judge else None
        self.test_nearest = _nearness(distances_db(self.test, self.train))
        self.test_diversity_db = pairwise(distances_db(self.test, self.test))

    def figures(self, made: Array, labels: Ints | None = None) -> Figures:
        """Return the figures of clips that were made.

        Args:
            made: [clips, samples], two or more.
            labels: the numbers of the labels that they were asked for with, [clips]; None if they were not.
        """
        levels = log_mel(made, self.rate)
        drawn = [sounding_frames(self.train[some]) for some in drawings(len(self.train), len(made))]
        return Figures(
            clips=len(made),
            likeness=likeness(sounding_frames(_as_many(levels, self.train)), drawn, sounding_frames(self.test)),
            nearest=_nearness(distances_db(levels, self.train)),
            test_nearest=self.test_nearest,
            diversity_db=pairwise(distances_db(levels, levels)),
            test_diversity_db=self.test_diversity_db,
            told=self._told(made, labels),
        )

    def _told(self, made: Array, labels: Ints | None) -> ClassifierFigures | None:
        if self.judge is None or self.told is None:
            return None
        (train, test), now = self.told, self.judge(made, self.rate)
        drawn = [train.features[some] for some in drawings(len(train.features), len(made))]
        return ClassifierFigures(
            score=inception_score(_as_many(now.posteriors, test.posteriors)),
            real_score=inception_score(_as_many(test.posteriors, now.posteriors)),
            likeness=likeness(_as_many(now.features, train.features), drawn, test.features),
            accuracy=None if labels is None else float((now.posteriors.argmax(1) == labels).mean()),
        )


def likeness(made: Vectors, trains: Sequence[Vectors], test: Vectors) -> FrechetDistances:
    """Return how like a test's vectors are those of clips made, and drawings of the training's: [vectors, dimensions].

    Fewer than two vectors, as silence has, are taken for a spread of none around zero.
    """
    made, test, *trains = [part if len(part) > 1 else np.zeros((2, part.shape[1])) for part in (made, test, *trains)]
    return FrechetDistances(frechet(made, test), float(np.mean([frechet(train, test) for train in trains])))


def drawings(found: int, wanted: int) -> list[Ints]:
    """Return which of ``found`` clips are drawn, the same at each call: five times ``wanted``, or once all there are.

    By chance, since clips lie in order of their labels and speakers: evenly spaced ones are more alike to the test's
    than any that are made independently could be.
    """
    if wanted >= found:
        return [np.arange(found)]
    rng = np.random.default_rng(0)
    return [rng.choice(found, wanted, replace=False) for _ in range(DRAWINGS)]


def evenly(found: int, wanted: int) -> Ints:
    """Return at most ``wanted`` places of ``found``, evenly spaced."""
    return np.linspace(0, found - 1, min(found, wanted)).astype(np.int64)


def _as_many(some: Array, others: Array) -> Array:
    return some[evenly(len(some), len(others))]


def _nearness(distances: Array) -> NearestClipDistances:
    nearest = distances.min(1)
    return NearestClipDistances(float(np.median(nearest)), float(np.quantile(nearest, 0.1)))
