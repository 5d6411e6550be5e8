"""Floors and references of a row: figures of answers that need no training, in the row's own measure and on its sounds.

Floors are answers that know nothing of the sound: silence, the mean of the training sounds, white noise, another sound,
chance. References are comparisons, not conditions: the nearest training sound, as many principal
components as the code has numbers, a second take.
"""

from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import scipy

from ...host.arrays import Array, Doubles, Integers
from ...train.corpus.clip_table import Clip
from ...train.metrics.clips import frechet

GROUPS = 10  # of clips, left out one at a time: the relative error of a deviation is a quarter
RANDOM_ANSWERS = 16  # at least, of white noise and of other sounds: of few test sounds, several draws are averaged
ROWS = 1024  # of distances at a time: 64 MB beside 16384 training sounds
SEED = 2020

Figures = dict[str, Any]
Rows = npt.NDArray[Any]  # of sounds: features, or terms of a measure


@dataclass(frozen=True)
class SoundSet:
    """Sounds of a split, [sounds, ...], as measures take them.

    Args:
        clips: the recording of each, [sounds]; sounds of one recording are not each other's answers.
        classes: pitch classes that the decoder receives beside its code, [sounds]; None without.
        takes: equal for takes of one sound, None for a sound without others; empty if no sound has any.
        positions: of sounds in their recordings, [sounds]; a second take is at the nearest one. None for whole clips.
    """

    sounds: Array
    clips: Integers
    classes: Integers | None = None
    takes: Sequence[Hashable] = ()
    positions: Integers | None = None


@dataclass(frozen=True)
class Scale:
    """A measure of answers to sounds.

    Args:
        label, form: as of `Measure`.
        features: of sounds, [sounds, ...]; distances are between them.
        terms: of features of targets and of answers, for instance errors, [sounds, ...].
        value: the figure of terms of all sounds, or of some.
        rises: the larger, the better.
        spans: features can be averaged and projected; else answers are sounds alone.
        compares_sets: another sound is a reference, since sets are compared.
        chance: the figure of guesses.
    """

    label: str
    form: str
    features: Callable[[Array], Rows]
    terms: Callable[[Rows, Rows], Rows]
    value: Callable[[Rows], float]
    rises: bool = False
    spans: bool = True
    compares_sets: bool = False
    chance: float | None = None


def mean_error(terms: Rows) -> float:
    return float(np.mean(terms, dtype=np.float64))


def squared_errors(targets: Rows, answers: Rows) -> Doubles:
    """Return the mean square error of each sound, [sounds]."""
    differences = np.square(targets - answers, dtype=np.float64)
    means: Doubles = differences.reshape(len(targets), -1).mean(1)
    return means


def energies(targets: Rows, answers: Rows) -> Doubles:
    """Return the energies of errors and of targets, [sounds, 2]."""
    return np.stack(
        [np.square(rows, dtype=np.float64).reshape(len(targets), -1).sum(1) for rows in (targets - answers, targets)],
        1,
    )


def energy_ratio(terms: Rows) -> float:
    error_energy, target_energy = terms.sum(0)
    return float(error_energy / max(target_energy, 1e-12))


def energy_ratio_db(terms: Rows) -> float:
    return 10 * float(np.log10(max(energy_ratio(terms), 1e-12)))


def set_scale(label: str, form: str, features: Callable[[Array], Rows], vectors: Callable[[Rows], Doubles]) -> Scale:
    """Return the scale of Fréchet distances between sets of answers and of targets, by ``vectors`` of features.

    ``vectors`` returns [vectors, dimensions].
    """
    return Scale(
        label,
        form,
        features,
        lambda targets, answers: np.stack([targets, answers], 1),
        lambda terms: frechet(vectors(terms[:, 1]), vectors(terms[:, 0])),
        compares_sets=True,
    )


def floors(
    scales: Mapping[str, Scale],
    training: SoundSet,
    test: SoundSet,
    numbers: int,
    decoded: Array | None = None,
    *,
    silence: Array | None = None,
    noise: Array | None = None,
) -> Figures:
    """Return the floors and references of each measure, beside the row's figure of ``decoded`` sounds.

    Args:
        numbers: of a code; without any, there are no principal components.
        decoded: the row's answers to the test sounds, [sounds, ...]; without them, `compare_row` adds its figure.
        silence, noise: answers, [sounds, ...], where zeros and Gaussian noise of the level of training sounds are none.
    """
    rng = np.random.default_rng(SEED)
    draw_count = -(-RANDOM_ANSWERS // len(test.sounds))
    answers = {
        "silence": [np.zeros_like(test.sounds) if silence is None else silence],
        "noise": [white_noise(training.sounds, test.sounds.shape, rng) for _ in range(draw_count)]
        if noise is None
        else [noise],
    }
    index_draws = [indices for _ in range(draw_count) if (indices := _random_indices(training, test, rng)) is not None]
    if index_draws:
        answers["another"] = [training.sounds[indices] for indices in index_draws]
    takes = _takes(training, test, rng)
    return {
        name: _scale_figures(scale, training, test, numbers, decoded, answers, takes) for name, scale in scales.items()
    }


def _scale_figures(
    scale: Scale,
    training: SoundSet,
    test: SoundSet,
    numbers: int,
    decoded: Array | None,
    answers: Mapping[str, Sequence[Array]],
    takes: tuple[Integers, Array] | None,
) -> Figures:
    """Return the figures of `floors` for one measure; several ``answers`` of one name are averaged."""
    targets = scale.features(test.sounds)

    def figure(answer_features: Rows) -> float:
        return scale.value(scale.terms(targets, answer_features))

    floor_figures = {
        name: float(np.mean([figure(scale.features(sounds)) for sounds in draws])) for name, draws in answers.items()
    }
    references: dict[str, float] = {}
    if scale.compares_sets and "another" in floor_figures:
        references["another"] = floor_figures.pop("another")
    if scale.spans:
        features = scale.features(training.sounds)
        floor_figures["mean"] = figure(np.broadcast_to(features.mean(0), targets.shape))
        if training.classes is not None and test.classes is not None:
            floor_figures["class_mean"] = figure(_class_means(features, training.classes, test.classes))
        if not scale.compares_sets:
            if (indices := nearest_rows(features, targets, training.clips, test.clips)) is not None:
                references["nearest"] = figure(features[indices])
            if numbers:
                references["components"] = figure(project_onto_components(features, targets, numbers))
    if scale.chance is not None:
        floor_figures["chance"] = scale.chance
    if takes is not None:
        indices, take_sounds = takes
        answer_features = np.array(targets)
        answer_features[indices] = scale.features(take_sounds)
        references["take"] = scale.value(scale.terms(targets, answer_features)[indices])
    floored: Figures = {
        "label": scale.label,
        "form": scale.form,
        "rises": scale.rises,
        "numbers": numbers,
        "floors": floor_figures,
        "references": references,
    }
    if decoded is None:
        return floored
    terms = scale.terms(targets, scale.features(decoded))
    return compare_row(floored, scale.value(terms), jackknife_deviation(scale.value, terms, test.clips))


def compare_row(floored: Figures, value: float, value_deviation: float | None) -> Figures:
    """Return a measure's floors with a row's figure, its deviation, and the floor that it is not better than, if any.

    A row is better than a floor if it is better than the best one by more than its deviation, and than the floor's own
    over draws, if ``floored`` has ``deviations``.
    """
    sign = 1 if floored["rises"] else -1
    best = best_floor(floored)
    least_lead = max(value_deviation or 0.0, floored.get("deviations", {}).get(best, 0.0))
    is_better = sign * (value - floored["floors"][best]) > least_lead
    return {
        **floored,
        "value": value,
        "deviation": value_deviation,
        "not_better_than": None if is_better else best,
    }


def best_floor(floored: Figures) -> str:
    """Return the name of a measure's best floor."""
    sign = 1 if floored["rises"] else -1
    floor_figures: dict[str, float] = floored["floors"]
    return max(floor_figures, key=lambda name: sign * floor_figures[name])


def jackknife_deviation(value: Callable[[Rows], float], terms: Rows, clips: Integers) -> float | None:
    """Return the deviation of a figure over sounds, from those of all but one of ten groups of clips each.

    None of a single clip.
    """
    _, clip_numbers = np.unique(clips, return_inverse=True)
    group_count = min(GROUPS, int(clip_numbers.max()) + 1)
    if group_count < 2:
        return None
    groups = np.random.default_rng(SEED).permutation(int(clip_numbers.max()) + 1)[clip_numbers] % group_count
    figures = np.array([value(terms[groups != group]) for group in range(group_count)])
    return float(np.sqrt((group_count - 1) / group_count * np.square(figures - figures.mean()).sum()))


def white_noise(sounds: Array, shape: tuple[int, ...], rng: np.random.Generator) -> Array:
    """Return Gaussian noise with the root mean square of sounds."""
    level = np.sqrt(np.square(sounds, dtype=np.float64).mean())
    noise: Array = (level * rng.standard_normal(shape)).astype(np.float32)
    return noise


def nearest_rows(training: Rows, targets: Rows, training_clips: Integers, target_clips: Integers) -> Integers | None:
    """Return the index of each target's nearest row of training of another clip, by the sum of squares, [targets].

    None if a target has no such row.
    """
    training, targets = training.reshape(len(training), -1), targets.reshape(len(targets), -1)
    centre = training.mean(0)  # small squares are more exact
    rows = training - centre
    row_energies = np.square(rows, dtype=np.float64).sum(1)
    indices = []
    for start in range(0, len(targets), ROWS):
        distances = row_energies - 2 * ((targets[start : start + ROWS] - centre) @ rows.T)
        distances[target_clips[start : start + ROWS, np.newaxis] == training_clips] = np.inf
        if np.isinf(distances.min(1)).any():
            return None
        indices.append(distances.argmin(1))
    return np.concatenate(indices).astype(np.int64)


def project_onto_components(training: Rows, targets: Rows, numbers: int) -> Rows:
    """Return targets as the mean and the first principal components of training describe them, [targets, ...]."""
    target_rows = targets.reshape(len(targets), -1)
    centre, axes = _principal_axes(training, numbers)
    answers: Array = (centre + (target_rows - centre) @ axes @ axes.T).astype(np.float32)
    return answers.reshape(targets.shape)


def principal_scores(rows: Rows, numbers: int) -> Doubles:
    """Return the first principal components of rows [rows, ...], as codes: [rows, numbers], or fewer."""
    centre, axes = _principal_axes(rows, numbers)
    scores: Doubles = (rows.reshape(len(rows), -1) - centre) @ axes
    return scores


def _principal_axes(training: Rows, numbers: int) -> tuple[Doubles, Rows]:
    """Return the mean of training, [values], and its first principal axes, [values, numbers]."""
    rows = training.reshape(len(training), -1)
    centre = rows.mean(0, dtype=np.float64)
    rows = (rows - centre).astype(np.float32)
    numbers = min(numbers, *rows.shape)
    if rows.shape[1] <= rows.shape[0]:
        axes = _leading_eigenvectors(rows.T @ rows, numbers)
    else:  # few sounds of many values: their products have the same components
        axes = rows.T @ _leading_eigenvectors(rows @ rows.T, numbers)
        axes /= np.maximum(np.linalg.norm(axes, axis=0), 1e-12)
    return centre, axes


def _leading_eigenvectors(products: Rows, count: int) -> Doubles:
    """Return the eigenvectors of the largest eigenvalues, [rows, count]."""
    size = len(products)
    vectors: Doubles = scipy.linalg.eigh(products.astype(np.float64), subset_by_index=(size - count, size - 1))[1]
    return vectors


def _class_means(features: Rows, training_classes: Integers, test_classes: Integers) -> Rows:
    """Return the mean of training features of each test sound's class, or of all where the class has none."""
    means = np.repeat(features.mean(0, keepdims=True), int(test_classes.max()) + 1, 0)
    for number in np.intersect1d(training_classes, test_classes):
        means[number] = features[training_classes == number].mean(0)
    return means[test_classes]


def _random_indices(training: SoundSet, test: SoundSet, rng: np.random.Generator) -> Integers | None:
    """Return the index of a random training sound of another clip for each test sound: of its class, where it can be.

    None if a test sound has none.
    """
    training_indices = np.zeros(len(test.sounds), np.int64)
    classes = np.zeros(len(test.sounds), np.int64) if test.classes is None else test.classes
    for clip, number in dict.fromkeys(zip(test.clips.tolist(), classes.tolist(), strict=True)):
        candidates = training.clips != clip
        if training.classes is not None and (candidates & (training.classes == number)).any():
            candidates &= training.classes == number
        if not candidates.any():
            return None
        indices = np.flatnonzero((test.clips == clip) & (classes == number))
        training_indices[indices] = rng.choice(np.flatnonzero(candidates), len(indices))
    return training_indices


def _takes(training: SoundSet, test: SoundSet, rng: np.random.Generator) -> tuple[Integers, Array] | None:
    """Return the indices of test sounds that have a take in another clip, and a random take of each.

    Takes of training and test sounds count, those at the nearest position in their recordings.
    """
    candidates: dict[Hashable, list[tuple[SoundSet, int]]] = {}
    for sound_set in (training, test):
        for index, take in enumerate(sound_set.takes):
            if take is not None:
                candidates.setdefault(take, []).append((sound_set, index))
    taken_indices, take_sounds = [], []
    for index, take in enumerate(test.takes):
        other_takes = [
            (abs(_position(sound_set, place) - _position(test, index)), rng.random(), sound_set.sounds[place])
            for sound_set, place in candidates.get(take, [])
            if sound_set.clips[place] != test.clips[index]
        ]
        if other_takes:
            taken_indices.append(index)
            take_sounds.append(min(other_takes, key=lambda candidate: candidate[:2])[2])
    return (np.array(taken_indices, np.int64), np.stack(take_sounds)) if taken_indices else None


def _position(sound_set: SoundSet, index: int) -> int:
    return 0 if sound_set.positions is None else int(sound_set.positions[index])


def take_of(clip: Clip) -> Hashable:
    """Return the label, key and velocity that takes of one sound share; None of a clip without label and key."""
    return (clip.label, clip.key, clip.velocity) if clip.label or clip.key is not None else None
