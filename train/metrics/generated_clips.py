"""Compares generated clips with recordings: distances, diversity, classifier figures."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from ...host.arrays import Array, Integers
from ...host.resynthesis.log_mel import distances_db, log_mel, sounding_frames
from ..sampling import evenly_spaced
from .distribution_distance import Vectors, frechet, inception_score, pairwise, pairwise_within


class JudgedClips(NamedTuple):
    """Probabilities [clips, labels] and features [clips, features]."""

    posteriors: Array
    features: Array


Judge = Callable[[Array, int], JudgedClips]  # arguments: clips [clips, samples], and their rate in Hz

DRAWINGS = 5  # of training clips: makes their mean distance accurate to a tenth


@dataclass(frozen=True)
class FrechetDistances:
    """Fréchet distances of made and training clips (mean of five random sets) to test clips."""

    made: float
    train: float

    @property
    def ratio(self) -> float:
        """1 for recordings."""
        return self.made / max(self.train, 1e-12)


@dataclass(frozen=True)
class NearestClipDistances:
    """Distances to the nearest training clip, in dB."""

    median: float
    closest: float


@dataclass(frozen=True)
class ClassifierFigures:
    """A classifier's figures of made clips.

    Args:
        score, real_score: inception scores of made and as many test clips, and deviations over ten parts.
        likeness: on the classifier's penultimate features.
        accuracy: share of clips classified as the requested label; None without labels.
    """

    score: tuple[float, float]
    real_score: tuple[float, float]
    likeness: FrechetDistances
    accuracy: float | None


@dataclass(frozen=True)
class Figures:
    """Figures of made clips.

    Args:
        likeness: on log-mel frames, in dB².
        test_nearest: bounds networks that copy nothing.
        diversity_db, test_diversity_db: mean distance of all pairs of clips.
        label_diversity_db, test_label_diversity_db: of pairs with one label; None without labels.
        told: None without a classifier.
    """

    clips: int
    likeness: FrechetDistances
    nearest: NearestClipDistances
    test_nearest: NearestClipDistances
    diversity_db: float
    test_diversity_db: float
    label_diversity_db: float | None
    test_label_diversity_db: float | None
    told: ClassifierFigures | None


class Recordings:
    """A corpus's ``train`` and ``test`` clips, [clips, samples], at least two each, as long as made clips.

    ``rate`` is in Hz, ``labels`` test clips' indices [clips].
    """

    def __init__(
        self, train: Array, test: Array, rate: int, judge: Judge | None = None, labels: Integers | None = None
    ) -> None:
        self.rate, self.judge = rate, judge
        self.train, self.test = log_mel(train, rate), log_mel(test, rate)
        self.judged = (judge(train, rate), judge(test, rate)) if judge else None
        self.test_nearest = _nearness(distances_db(self.test, self.train))
        apart = distances_db(self.test, self.test)
        self.test_diversity_db = pairwise(apart)
        self.test_label_diversity_db = None if labels is None else pairwise_within(apart, labels)

    def figures(self, made: Array, labels: Integers | None = None) -> Figures:
        """Return figures of at least two clips [clips, samples]; ``labels`` are requested indices [clips]."""
        levels = log_mel(made, self.rate)
        apart = distances_db(levels, levels)
        drawn = [sounding_frames(self.train[some]) for some in drawings(len(self.train), len(made))]
        return Figures(
            clips=len(made),
            likeness=likeness(sounding_frames(_as_many(levels, self.train)), drawn, sounding_frames(self.test)),
            nearest=_nearness(distances_db(levels, self.train)),
            test_nearest=self.test_nearest,
            diversity_db=pairwise(apart),
            test_diversity_db=self.test_diversity_db,
            label_diversity_db=None if labels is None else pairwise_within(apart, labels),
            test_label_diversity_db=self.test_label_diversity_db,
            told=self._judged(made, labels),
        )

    def _judged(self, made: Array, labels: Integers | None) -> ClassifierFigures | None:
        if self.judge is None or self.judged is None:
            return None
        (train, test), now = self.judged, self.judge(made, self.rate)
        drawn = [train.features[some] for some in drawings(len(train.features), len(made))]
        return ClassifierFigures(
            score=inception_score(_as_many(now.posteriors, test.posteriors)),
            real_score=inception_score(_as_many(test.posteriors, now.posteriors)),
            likeness=likeness(_as_many(now.features, train.features), drawn, test.features),
            accuracy=None if labels is None else float((now.posteriors.argmax(1) == labels).mean()),
        )


def likeness(made: Vectors, trains: Sequence[Vectors], test: Vectors) -> FrechetDistances:
    """Return distances of made and training vectors to test vectors, [vectors, dimensions].

    Fewer than two vectors count as zeros.
    """
    made, test, *trains = [part if len(part) > 1 else np.zeros((2, part.shape[1])) for part in (made, test, *trains)]
    return FrechetDistances(frechet(made, test), float(np.mean([frechet(train, test) for train in trains])))


def drawings(found: int, wanted: int) -> list[Integers]:
    """Return indices of random clips: five times ``wanted``, or all once.

    Evenly spaced ones would be nearer to the test's.
    """
    if wanted >= found:
        return [np.arange(found)]
    rng = np.random.default_rng(0)
    return [rng.choice(found, wanted, replace=False) for _ in range(DRAWINGS)]


def _as_many(some: Array, others: Array) -> Array:
    return some[evenly_spaced(len(some), len(others))]


def _nearness(distances: Array) -> NearestClipDistances:
    nearest = distances.min(1)
    return NearestClipDistances(float(np.median(nearest)), float(np.quantile(nearest, 0.1)))
