"""Compares generated clips with recordings: distances of sets, loudness envelopes, diversity, classifier figures."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from ...host.arrays import Array, Doubles, Integers
from ...host.resynthesis.distance import FRAME, distances_db, log_mel, mel, sounding_frames
from ...host.signal import window
from ..sampling import evenly_spaced

Vectors = Array | Doubles

LEAST_PROBABILITY = 1e-12  # a probability: lower ones add nothing to an entropy


def frechet(first: Vectors, second: Vectors) -> float:
    """Return the squared Fréchet distance of Gaussians fitted to two sets [vectors, dimensions].

    (Dowson and Landau, Journal of Multivariate Analysis 1982; Heusel et al., NIPS 2017.) The root of the product of
    covariances A and B has the trace of the root of A^½ B A^½: nothing is inverted, and two vectors suffice. Small
    samples overestimate: compare sets of equal size.
    """
    first, second = np.asarray(first, np.float64), np.asarray(second, np.float64)
    a, b = np.atleast_2d(np.cov(first.T)), np.atleast_2d(np.cov(second.T))
    values, axes = np.linalg.eigh(a)
    root = (axes * np.sqrt(np.maximum(values, 0))) @ axes.T
    cross_trace = np.sqrt(np.maximum(np.linalg.eigvalsh(root @ b @ root), 0)).sum()
    mean_shift = np.square(first.mean(0) - second.mean(0)).sum()
    return float(max(mean_shift + np.trace(a) + np.trace(b) - 2 * cross_trace, 0.0))


def inception_score(posteriors: Array, splits: int = 10) -> tuple[float, float]:
    """Return the inception score of ``posteriors`` [clips, labels], the mean over parts, and its deviation.

    (Salimans et al., NIPS 2016, section 4.) Exp of the mean divergence of posteriors from the marginal is from 1 to the
    number of labels. Compare sets of equal size. Rows are shuffled, since corpora are sorted.
    """
    shuffled = np.random.default_rng(0).permutation(posteriors.astype(np.float64))
    parts = np.array_split(shuffled, max(1, min(splits, len(posteriors))))
    scores = []
    for part in parts:
        marginal = part.mean(0, keepdims=True)
        divergence = part * (
            np.log(np.maximum(part, LEAST_PROBABILITY)) - np.log(np.maximum(marginal, LEAST_PROBABILITY))
        )
        scores.append(np.exp(divergence.sum(1).mean()))
    return float(np.mean(scores)), float(np.std(scores))


def pairwise(distances: Array) -> float:
    count = len(distances)
    return float((distances.sum() - np.trace(distances)) / max(count * (count - 1), 1))


def pairwise_within(distances: Array, labels: npt.NDArray[np.int64]) -> float | None:
    """Return the mean distance of pairs with one label, [items] each; None without such pairs."""
    alike = (labels[:, np.newaxis] == labels) & ~np.eye(len(labels), dtype=bool)
    return float(distances[alike].mean()) if alike.any() else None


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
        self.test_nearest = _nearest_distances(distances_db(self.test, self.train))
        test_distances = distances_db(self.test, self.test)
        self.test_diversity_db = pairwise(test_distances)
        self.test_label_diversity_db = None if labels is None else pairwise_within(test_distances, labels)

    def figures(self, clips: Array, labels: Integers | None = None) -> Figures:
        """Return figures of at least two clips [clips, samples]; ``labels`` are requested indices [clips]."""
        levels = log_mel(clips, self.rate)
        distances = distances_db(levels, levels)
        training_draws = [sounding_frames(self.train[indices]) for indices in drawings(len(self.train), len(clips))]
        return Figures(
            clips=len(clips),
            likeness=likeness(
                sounding_frames(_match_count(levels, self.train)), training_draws, sounding_frames(self.test)
            ),
            nearest=_nearest_distances(distances_db(levels, self.train)),
            test_nearest=self.test_nearest,
            diversity_db=pairwise(distances),
            test_diversity_db=self.test_diversity_db,
            label_diversity_db=None if labels is None else pairwise_within(distances, labels),
            test_label_diversity_db=self.test_label_diversity_db,
            told=self._judged(clips, labels),
        )

    def _judged(self, clips: Array, labels: Integers | None) -> ClassifierFigures | None:
        if self.judge is None or self.judged is None:
            return None
        (train, test), judged = self.judged, self.judge(clips, self.rate)
        training_draws = [train.features[indices] for indices in drawings(len(train.features), len(clips))]
        return ClassifierFigures(
            score=inception_score(_match_count(judged.posteriors, test.posteriors)),
            real_score=inception_score(_match_count(test.posteriors, judged.posteriors)),
            likeness=likeness(_match_count(judged.features, train.features), training_draws, test.features),
            accuracy=None if labels is None else float((judged.posteriors.argmax(1) == labels).mean()),
        )


def likeness(generated: Vectors, trains: Sequence[Vectors], test: Vectors) -> FrechetDistances:
    """Return distances of made and training vectors to test vectors, [vectors, dimensions].

    Fewer than two vectors count as zeros.
    """
    generated, test, *trains = [
        vectors if len(vectors) > 1 else np.zeros((2, vectors.shape[1])) for vectors in (generated, test, *trains)
    ]
    return FrechetDistances(frechet(generated, test), float(np.mean([frechet(train, test) for train in trains])))


def drawings(available: int, drawn_count: int) -> list[Integers]:
    """Return indices of random clips: five times ``drawn_count``, or all once.

    Evenly spaced ones would be nearer to the test's.
    """
    if drawn_count >= available:
        return [np.arange(available)]
    rng = np.random.default_rng(0)
    return [rng.choice(available, drawn_count, replace=False) for _ in range(DRAWINGS)]


def _match_count(vectors: Array, reference: Array) -> Array:
    return vectors[evenly_spaced(len(vectors), len(reference))]


def _nearest_distances(distances: Array) -> NearestClipDistances:
    nearest = distances.min(1)
    return NearestClipDistances(float(np.median(nearest)), float(np.quantile(nearest, 0.1)))


WINDOW_SECONDS = 0.01  # a half period at 50 Hz, so that a kick's own wave does not count as its loudness
STEP_SECONDS = 0.001  # a third of the tolerance of attacks
ATTACK_DB = 3.0  # below the loudest: the end of the attack
LOUDNESS_RANGE_DB = 50.0  # under a clip's loudest moment: softer sound does not count
SILENT_DB = -100.0  # under full scale: silence


def envelope_db(clips: Array, rate: int) -> Array:
    """Return the RMS of 10 ms windows of clips [clips, samples], a millisecond apart: [clips, moments].

    In dB of full scale, -100 at least; the first window is centred on the first sample.
    """
    width = max(1, round(WINDOW_SECONDS * rate))
    squares = np.pad(np.square(clips, dtype=np.float64), ((0, 0), (width // 2 + 1, width)))
    sums = np.cumsum(squares, axis=1)  # the first window is summed from its second place on
    middles = np.arange(0, clips.shape[1] / rate, STEP_SECONDS) * rate
    first = middles.astype(np.int64)
    power = np.maximum(sums[:, first + width] - sums[:, first], 0) / width
    levels: Array = (10 * np.log10(np.maximum(power, 10 ** (SILENT_DB / 10)))).astype(np.float32)
    return levels


def attack_seconds(clips: Array, rate: int) -> Array:
    """Return seconds until clips first come within 3 dB of their loudest moment: [clips]."""
    levels = envelope_db(clips, rate)
    attack_steps = (levels >= levels.max(1, keepdims=True) - ATTACK_DB).argmax(1)
    seconds: Array = (attack_steps * STEP_SECONDS).astype(np.float32)
    return seconds


def envelope_distance_db(target: Array, rendered: Array, rate: int) -> Array:
    """Return the RMS difference of envelopes of clips [clips, samples]: [clips].

    It covers moments where either is less than 50 dB under the target's loudest; softer levels count as that floor.
    """
    target_db, rendered_db = envelope_db(target, rate), envelope_db(rendered, rate)
    floor = np.maximum(target_db.max(1, keepdims=True) - LOUDNESS_RANGE_DB, SILENT_DB)
    sounding = np.maximum(target_db, rendered_db) > floor
    difference_db = np.where(sounding, np.maximum(target_db, floor) - np.maximum(rendered_db, floor), 0)
    distance: Array = np.sqrt(np.square(difference_db).sum(1) / np.maximum(sounding.sum(1), 1))
    return distance


LOWEST_DB = -80.0  # of full scale, the floor: drums mask softer sound
BATCH_SPECTRA = 4096  # spectra in memory at once: 32 MB
CELLS = 1 << 24  # distances in memory at once: 64 MB
THRESHOLD_QUANTILE = 0.99  # of the distances between recordings: those of their own rarest moments


def mel_frames(sound: Array, rate: int, hop: int) -> Array:
    """Return mel levels of a sound [samples] in dB of full scale, -80 at least: [1 + samples // hop, 64].

    Hann windows of 1024 samples are centred from the first sample on. A full-scale sine has about 0 dB in its band.
    """
    shape = window("hann", FRAME)
    padded = np.pad(sound.astype(np.float32, copy=False), FRAME // 2)
    pieces = np.lib.stride_tricks.sliding_window_view(padded, FRAME)[::hop]
    weights = mel(rate) / np.maximum(mel(rate).max(0), 1e-12)
    levels = np.empty((len(pieces), weights.shape[1]), np.float32)
    for first in range(0, len(pieces), BATCH_SPECTRA):
        spectra = np.fft.rfft(pieces[first : first + BATCH_SPECTRA] * shape)
        power = (np.square(spectra.real) + np.square(spectra.imag)) @ weights * (2 / shape.sum()) ** 2
        levels[first : first + BATCH_SPECTRA] = 10 * np.log10(np.maximum(power, 10 ** (LOWEST_DB / 10)))
    return levels


class KnownFrames:
    """The mel frames of two or more clips [samples], ``hop`` samples apart.

    ``threshold_db``: 99th percentile of distances from a frame to the nearest of another clip.
    """

    def __init__(self, clips: Sequence[Array], rate: int, hop: int) -> None:
        self.rate, self.hop = rate, hop
        frames = [mel_frames(clip, rate, hop) for clip in clips]
        self._frames = np.concatenate(frames)
        owners = np.repeat(np.arange(len(frames)), [len(clip_frames) for clip_frames in frames])
        self.threshold_db = float(np.quantile(self._nearest(self._frames, owners, owners), THRESHOLD_QUANTILE))

    def distances_db(self, sound: Array) -> Array:
        """Return each frame's RMS distance to the nearest known frame."""
        return self._nearest(mel_frames(sound, self.rate, self.hop))

    def share_within(self, sound: Array) -> float:
        return float(np.mean(self.distances_db(sound) <= self.threshold_db))

    def _nearest(self, frames: Array, frame_owners: Integers | None = None, owners: Integers | None = None) -> Array:
        """Squares are expanded around the levels' middle, where they are small and so exact."""
        references = self._frames - np.float32(LOWEST_DB / 2)
        squares = np.square(references).sum(1)
        nearest = np.empty(len(frames), np.float32)
        step = max(1, CELLS // len(references))
        for first in range(0, len(frames), step):
            queries = frames[first : first + step] - np.float32(LOWEST_DB / 2)
            square_distances = np.square(queries).sum(1)[:, np.newaxis] - 2 * (queries @ references.T) + squares
            if frame_owners is not None and owners is not None:
                square_distances[frame_owners[first : first + step, np.newaxis] == owners] = np.inf
            nearest[first : first + step] = square_distances.min(1)
        distances: Array = np.sqrt(np.maximum(nearest, 0) / references.shape[1])
        return distances
