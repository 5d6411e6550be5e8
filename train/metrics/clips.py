"""Compares generated clips with recordings: distances of sets, loudness envelopes, diversity, classifier figures."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from ...host.arrays import Array, Doubles, Integers
from ...host.resynthesis.distance import distances_db, sounding_frames
from ...host.spectra import LOWEST_FRAME_DB, MOMENT_SECONDS, SILENT_DB, envelope_db, log_mel, mel_frames
from ..sampling import evenly_spaced, random_indices

Vectors = Array | Doubles

HEARD_DB, RISES_DB = -12.0, -24.0  # below a note's loudest moment
LEAST_PROBABILITY = 1e-12  # a probability: lower ones add nothing to an entropy


def frechet(first: Vectors, second: Vectors) -> float:
    """Return the squared Fréchet distance of Gaussians fitted to two sets [vectors, dimensions].

    (Dowson and Landau, Journal of Multivariate Analysis 1982; Heusel et al., NIPS 2017.) The root of the product of
    covariances A and B has the trace of the root of A^½ B A^½: nothing is inverted, and two vectors suffice. Small
    samples overestimate: compare sets of equal size.
    """
    first, second = np.asarray(first, np.float64), np.asarray(second, np.float64)
    a, b = np.atleast_2d(np.cov(first.T)), np.atleast_2d(np.cov(second.T))
    eigenvalues, eigenvectors = np.linalg.eigh(a)
    root_of_a = (eigenvectors * np.sqrt(np.maximum(eigenvalues, 0))) @ eigenvectors.T
    cross_trace = np.sqrt(np.maximum(np.linalg.eigvalsh(root_of_a @ b @ root_of_a), 0)).sum()
    mean_shift = np.square(first.mean(0) - second.mean(0)).sum()
    return float(max(mean_shift + np.trace(a) + np.trace(b) - 2 * cross_trace, 0.0))


def inception_score(posteriors: Array) -> float:
    """Return the inception score of ``posteriors`` [clips, labels], all in one part.

    (Salimans et al., NIPS 2016, section 4.) Exp of the mean divergence of posteriors from the marginal is from 1 to the
    number of labels, and at most the number of clips. Few clips score less: compare sets of equal size, from 300 on.
    """
    posteriors = posteriors.astype(np.float64)
    log_posteriors, log_marginal = (
        np.log(np.maximum(probabilities, LEAST_PROBABILITY)) for probabilities in (posteriors, posteriors.mean(0))
    )
    return float(np.exp((posteriors * (log_posteriors - log_marginal)).sum(1).mean()))


SCORED_CLIPS = 1000  # clips in an inception score, at most: more hardly change it


def scored_indices(count: int, most: int = SCORED_CLIPS) -> Integers:
    """Return the indices of at most ``most`` of ``count`` clips for an inception score.

    They are random, since even spacing may skip a label of recordings in which labels alternate.
    """
    return random_indices(count, most, np.random.default_rng(0))


def pairwise(distances: Array) -> float:
    """Return the mean of ``distances`` [items, items] between different items."""
    count = len(distances)
    return float((distances.sum() - np.trace(distances)) / max(count * (count - 1), 1))


def pairwise_within(distances: Array, labels: npt.NDArray[np.int64]) -> float | None:
    """Return the mean distance of pairs with one label, [items] each; None without such pairs."""
    is_same_label = (labels[:, np.newaxis] == labels) & ~np.eye(len(labels), dtype=bool)
    return float(distances[is_same_label].mean()) if is_same_label.any() else None


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
        score, real_score: inception scores of ``scored`` made clips, and of as many test and training clips.
        likeness: on the classifier's penultimate features.
        accuracy: share of clips classified as the requested label; None without labels.
    """

    score: float
    real_score: float
    scored: int
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
        silent_share, test_silent_share: of the time of all clips, as `silent_shares`.
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
    silent_share: float
    test_silent_share: float
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
        self.test_silent_share = float(silent_shares(test, rate).mean())
        self.test_label_diversity_db = None if labels is None else pairwise_within(test_distances, labels)

    def figures(self, clips: Array, labels: Integers | None = None, scored: Array | None = None) -> Figures:
        """Return figures of at least two clips [clips, samples].

        Args:
            labels: requested indices, [clips].
            scored: clips for the inception score, [clips, samples]; None for ``clips``. Recordings of both parts are
                scored beside them: a test part alone is too small.
        """
        mel_levels = log_mel(clips, self.rate)
        pair_distances_db = distances_db(mel_levels, mel_levels)
        drawn_frames = [
            sounding_frames(self.train[clip_indices]) for clip_indices in drawings(len(self.train), len(clips))
        ]
        return Figures(
            clips=len(clips),
            likeness=likeness(
                sounding_frames(_match_count(mel_levels, self.train)), drawn_frames, sounding_frames(self.test)
            ),
            nearest=_nearest_distances(distances_db(mel_levels, self.train)),
            test_nearest=self.test_nearest,
            diversity_db=pairwise(pair_distances_db),
            test_diversity_db=self.test_diversity_db,
            label_diversity_db=None if labels is None else pairwise_within(pair_distances_db, labels),
            test_label_diversity_db=self.test_label_diversity_db,
            silent_share=float(silent_shares(clips, self.rate).mean()),
            test_silent_share=self.test_silent_share,
            told=self._judged(clips, labels, scored),
        )

    def _judged(self, clips: Array, labels: Integers | None, scored: Array | None) -> ClassifierFigures | None:
        """Return the classifier's figures of clips; None without a classifier."""
        if self.judge is None or self.judged is None:
            return None
        (judged_train, judged_test), judged_clips = self.judged, self.judge(clips, self.rate)
        drawn_features = [
            judged_train.features[clip_indices] for clip_indices in drawings(len(judged_train.features), len(clips))
        ]
        recorded_posteriors = np.concatenate([judged_test.posteriors, judged_train.posteriors])
        generated_posteriors = judged_clips.posteriors if scored is None else self.judge(scored, self.rate).posteriors
        scored_count = min(len(generated_posteriors), len(recorded_posteriors))
        score, real_score = (
            inception_score(posteriors[scored_indices(len(posteriors), scored_count)])
            for posteriors in (generated_posteriors, recorded_posteriors)
        )
        return ClassifierFigures(
            score=score,
            real_score=real_score,
            scored=scored_count,
            likeness=likeness(
                _match_count(judged_clips.features, judged_train.features), drawn_features, judged_test.features
            ),
            accuracy=None if labels is None else float((judged_clips.posteriors.argmax(1) == labels).mean()),
        )


def likeness(generated: Vectors, trains: Sequence[Vectors], test: Vectors) -> FrechetDistances:
    """Return distances of made and training vectors to test vectors, [vectors, dimensions].

    Fewer than two vectors count as zeros.
    """
    generated, test, *trains = [
        vectors if len(vectors) > 1 else np.zeros((2, vectors.shape[1])) for vectors in (generated, test, *trains)
    ]
    return FrechetDistances(frechet(generated, test), float(np.mean([frechet(train, test) for train in trains])))


def drawings(available_count: int, drawn_count: int) -> list[Integers]:
    """Return indices of random clips: five times ``drawn_count``, or all once.

    Evenly spaced ones would be nearer to the test's.
    """
    if drawn_count >= available_count:
        return [np.arange(available_count)]
    rng = np.random.default_rng(0)
    return [rng.choice(available_count, drawn_count, replace=False) for _ in range(DRAWINGS)]


def _match_count(vectors: Array, reference: Array) -> Array:
    """Return as many vectors as ``reference`` has, at most, evenly spaced."""
    return vectors[evenly_spaced(len(vectors), len(reference))]


def _nearest_distances(distances: Array) -> NearestClipDistances:
    """Return figures of ``distances`` [clips, training clips] in dB."""
    nearest_db = distances.min(1)
    return NearestClipDistances(float(np.median(nearest_db)), float(np.quantile(nearest_db, 0.1)))


ATTACK_DB = 3.0  # below the loudest: the end of the attack
LOUDNESS_RANGE_DB = 50.0  # under a clip's loudest moment: softer sound does not count


def rise(levels: Doubles) -> tuple[int, int]:
    """Return the moments from which a note rises to its loudest, and at which it is heard, by levels in dB, [moments].

    It rises from the last moment more than 24 dB below the loudest, and is heard from 12 dB below: breath, hands and
    keys before it are softer.
    """
    relative_levels = levels - levels.max()
    heard_moment = int(np.argmax(relative_levels > HEARD_DB))
    soft_moments = np.flatnonzero(relative_levels[:heard_moment] <= RISES_DB)
    return int(soft_moments[-1]) + 1 if len(soft_moments) else 0, heard_moment


def attack_seconds(clips: Array, rate: int) -> Array:
    """Return seconds until clips first come within 3 dB of their loudest moment: [clips]."""
    levels_db = envelope_db(clips, rate)
    attack_steps = (levels_db >= levels_db.max(1, keepdims=True) - ATTACK_DB).argmax(1)
    seconds: Array = (attack_steps * MOMENT_SECONDS).astype(np.float32)
    return seconds


def silent_shares(clips: Array, rate: int) -> Array:
    """Return each clip's share of moments more than 50 dB under its loudest; 1 of a silent clip: [clips]."""
    levels_db = envelope_db(clips, rate)
    quietest_db = np.maximum(levels_db.max(1, keepdims=True) - LOUDNESS_RANGE_DB, SILENT_DB)
    shares: Array = (levels_db <= quietest_db).mean(1, dtype=np.float32)
    return shares


def envelope_distance_db(target: Array, rendered: Array, rate: int) -> Array:
    """Return the RMS difference of envelopes of clips [clips, samples]: [clips].

    It covers moments where either is less than 50 dB under the target's loudest; softer levels count as that floor.
    """
    target_db, rendered_db = envelope_db(target, rate), envelope_db(rendered, rate)
    floor_db = np.maximum(target_db.max(1, keepdims=True) - LOUDNESS_RANGE_DB, SILENT_DB)
    is_sounding = np.maximum(target_db, rendered_db) > floor_db
    difference_db = np.where(is_sounding, np.maximum(target_db, floor_db) - np.maximum(rendered_db, floor_db), 0)
    rms_db: Array = np.sqrt(np.square(difference_db).sum(1) / np.maximum(is_sounding.sum(1), 1))
    return rms_db


CELLS = 1 << 24  # distances in memory at once: 64 MB
THRESHOLD_QUANTILE = 0.99  # of the distances between recordings: those of their own rarest moments


class KnownFrames:
    """The mel frames of two or more clips [samples], ``hop`` samples apart.

    ``threshold_db``: 99th percentile of distances from a frame to the nearest of another clip.
    """

    def __init__(self, clips: Sequence[Array], rate: int, hop: int) -> None:
        self.rate, self.hop = rate, hop
        frames_by_clip = [mel_frames(clip, rate, hop) for clip in clips]
        self._frames = np.concatenate(frames_by_clip)
        clip_indices = np.repeat(np.arange(len(frames_by_clip)), [len(clip_frames) for clip_frames in frames_by_clip])
        self.threshold_db = float(
            np.quantile(self._nearest(self._frames, clip_indices, clip_indices), THRESHOLD_QUANTILE)
        )

    def distances_db(self, sound: Array) -> Array:
        """Return each frame's RMS distance to the nearest known frame."""
        return self._nearest(mel_frames(sound, self.rate, self.hop))

    def share_within(self, sound: Array) -> float:
        """Return the share of frames within the threshold."""
        return float(np.mean(self.distances_db(sound) <= self.threshold_db))

    def _nearest(
        self, frames: Array, frame_clip_indices: Integers | None = None, known_clip_indices: Integers | None = None
    ) -> Array:
        """Return each frame's distance to the nearest known one, of another clip if clip indices are given.

        Squares are expanded around the levels' middle, where they are small and so exact.
        """
        references = self._frames - np.float32(LOWEST_FRAME_DB / 2)
        reference_squares = np.square(references).sum(1)
        nearest_squares = np.empty(len(frames), np.float32)
        batch_length = max(1, CELLS // len(references))
        for first_frame in range(0, len(frames), batch_length):
            query_frames = frames[first_frame : first_frame + batch_length] - np.float32(LOWEST_FRAME_DB / 2)
            square_distances = (
                np.square(query_frames).sum(1)[:, np.newaxis] - 2 * (query_frames @ references.T) + reference_squares
            )
            if frame_clip_indices is not None and known_clip_indices is not None:
                square_distances[
                    frame_clip_indices[first_frame : first_frame + batch_length, np.newaxis] == known_clip_indices
                ] = np.inf
            nearest_squares[first_frame : first_frame + batch_length] = square_distances.min(1)
        rms_distances: Array = np.sqrt(np.maximum(nearest_squares, 0) / references.shape[1])
        return rms_distances
