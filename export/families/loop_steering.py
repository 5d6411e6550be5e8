"""Steering of loops: sounds as hosts generate them, the effect of knobs, and rotation so that first knobs move
measures."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from ...host.arrays import Array, Doubles
from ...train.corpus.store import Corpus
from ...train.families.loops.data import TILTS_DB, lateness, loops, retimed, sliced, tilted
from ...train.families.loops.network import LoopNetwork
from ...train.families.loops.recipe import LoopRecipe
from ...train.families.loops.synthesis import sound_of
from ...train.metrics.rhythm import LoopMeasures, groove
from ...train.sampling import thinned
from ..kinds.stream import HEAT
from ..reports.report import SEED

COARSE = 2  # iterations of phase fitting for sounds that are only measured


def played(
    network: LoopNetwork,
    recipe: LoopRecipe,
    codes: Tensor,
    steered: Tensor,
    bars: float,
    seed: int,
    loudest_db: float = math.inf,
) -> Array:
    """Continue the codes of slices [steps, components], which may be empty, at a steering code [latents]: [samples].

    Args:
        network: on the CPU.
        codes: from the start of a bar.
        loudest_db: as in `sound_of`.
    """
    random_generator = torch.Generator().manual_seed(seed)
    slice_count = round(bars * recipe.frames.bar)
    slice_codes = network.continued(codes[None], steered[None], slice_count, HEAT, random_generator)[0]
    return sound_of(network, recipe, slice_codes, loudest_db, float(network.late(steered)))


@torch.no_grad()
def all_played(network: LoopNetwork, recipe: LoopRecipe, steered: Tensor, bars: int, seed: int) -> list[Array]:
    """Generate sounds from an empty seed, per steering code [codes, latents]."""
    empty_seed = torch.zeros(len(steered), 0, recipe.network.components)
    random_generator = torch.Generator().manual_seed(seed)
    slice_codes = network.continued(empty_seed, steered, bars * recipe.frames.bar, HEAT, random_generator)
    late_steps = network.late(steered)
    return [
        sound_of(network, recipe, loop_codes, late=float(late_steps[code_index]), turns=COARSE)
        for code_index, loop_codes in enumerate(slice_codes)
    ]


NAMES = LoopMeasures._fields
RIDGE = 3.0  # in codes: the ridge, which shrinks directions that few codes support
RANDOM_CODES, RANDOM_BARS = 64, 4  # random codes to play, and their length in bars: some seconds of work
MOST_DEVIATIONS = 2.0  # deviations: limit of random codes
LEAST_CORRELATION = 0.3  # minimum correlation of a direction
MOST_LOOPS = 64  # loops to measure, evenly spaced
NEGLIGIBLE = 1e-6


@dataclass(frozen=True)
class SteeringRotation:
    """A rotation of the steering space: ``codes = middle + knobs @ directions``, undone by ``inverse``.

    Args:
        middle: mean code of training loops, [latents].
        directions: of knobs, [latents, latents], by row; training loops deviate by 1.
        names: of knobs, the first ones by measure.
        correlations: of the first knobs with their measures in generated sound.
        ends: range over training loops and variants, [2, latents].
    """

    middle: Doubles
    directions: Doubles
    inverse: Doubles
    names: list[str]
    correlations: dict[str, float]
    ends: Doubles


@torch.no_grad()
def fit_rotation(network: LoopNetwork, recipe: LoopRecipe, corpus: Corpus) -> SteeringRotation:
    """Find the directions of measures by regression over generated sound of random codes.

    Recorded loops' codes may describe ignored features.
    """
    loop_codes = training_codes(network, recipe, corpus)
    mean_code, covariance_root, _ = _whitening(loop_codes, tolerated_variances(network))
    random_codes = (
        mean_code
        + np.random.default_rng(SEED)
        .standard_normal((RANDOM_CODES, len(mean_code)))
        .clip(-MOST_DEVIATIONS, MOST_DEVIATIONS)
        @ covariance_root
    )
    sounds = all_played(network, recipe, torch.from_numpy(random_codes).float(), RANDOM_BARS, SEED)
    frame_settings = recipe.frames
    measures = [
        groove(sound, frame_settings.sample_rate, frame_settings.hop_length, frame_settings.steps_per_beat)
        for sound in sounds
    ]
    return rotation_of(loop_codes, random_codes, measures, tolerated_variances(network))


def training_codes(network: LoopNetwork, recipe: LoopRecipe, corpus: Corpus) -> Doubles:
    """Return training loops' steering codes, tilted and in all timings, [loops, latents]."""
    training_loops, codes = thinned(loops(corpus, "train", recipe), MOST_LOOPS), []
    delays_steps, step_samples = lateness(recipe), recipe.frames.hop_length
    tilts_db = np.linspace(*TILTS_DB, len(delays_steps))
    for loop_index, clip in enumerate(training_loops):
        sound = np.array(corpus.samples(clip))
        for delay_index, delay_steps in enumerate(delays_steps):
            tilt_db = tilts_db[(loop_index + delay_index) % len(delays_steps)]
            samples = tilted(retimed(sound, corpus.rate, step_samples, delay_steps), corpus.rate, tilt_db)
            raw_features = network.features.raw(torch.from_numpy(sliced(samples, recipe)))
            codes.append(network.encode(raw_features[None])[0].double().numpy())
    return np.array(codes)


def tolerated_variances(network: LoopNetwork) -> Doubles:
    """Return variances that keep a steering code's meaning, [latents]."""
    variances: Doubles = network.vague.exp().double().numpy()
    return variances


def rotation_of(
    codes: Doubles, random_codes: Doubles, measures: Sequence[LoopMeasures], variances: Doubles
) -> SteeringRotation:
    """Return the rotation for codes of loops [loops, latents], and other codes [codes, latents] with measures.

    Codes are whitened as if within ``variances`` [latents], then rotated: no knob moves along two directions.
    """
    mean_code, covariance_root, whitening_matrix = _whitening(codes, variances)
    whitened_codes = (random_codes - mean_code) @ whitening_matrix
    directions, knob_names = [], []
    for measure_index, knob_name in enumerate(NAMES):
        direction = _direction(whitened_codes, np.array([measure[measure_index] for measure in measures]))
        if direction is not None:
            directions.append(direction)
            knob_names.append(knob_name)
    rotation_matrix = _basis(np.array(directions).reshape(-1, len(mean_code)))
    correlations = {
        knob_name: _correlation(
            whitened_codes @ rotation_matrix[knob_index], np.array([m[NAMES.index(knob_name)] for m in measures])
        )
        for knob_index, knob_name in enumerate(knob_names)
    }
    unnamed_knobs = [f"latent {knob_index}" for knob_index in range(len(knob_names), len(mean_code))]
    knob_positions = (codes - mean_code) @ whitening_matrix @ rotation_matrix.T
    knob_ends = np.stack([knob_positions.min(0), knob_positions.max(0)])
    return SteeringRotation(
        mean_code,
        rotation_matrix @ covariance_root,
        whitening_matrix @ rotation_matrix.T,
        knob_names + unnamed_knobs,
        correlations,
        knob_ends,
    )


def _whitening(codes: Doubles, variances: Doubles) -> tuple[Doubles, Doubles, Doubles]:
    """Return the mean of codes, the root of their covariance plus ``variances``, and the root's inverse."""
    mean_code = codes.mean(0)
    covariance = (codes - mean_code).T @ (codes - mean_code) / len(codes) + np.diag(variances)
    eigenvalues, eigenvectors = np.linalg.eigh(covariance)
    return (
        mean_code,
        (eigenvectors * np.sqrt(eigenvalues)) @ eigenvectors.T,
        (eigenvectors / np.sqrt(eigenvalues)) @ eigenvectors.T,
    )


def _direction(whitened: Doubles, measured: Doubles) -> Doubles | None:
    """Return the unit direction of whitened codes along which a measure grows, by ridge regression; None if unclear."""
    is_defined = np.isfinite(measured)
    if is_defined.sum() < 2 or measured[is_defined].std() < NEGLIGIBLE:
        return None
    defined_codes, standard_scores = (
        whitened[is_defined],
        (measured[is_defined] - measured[is_defined].mean()) / measured[is_defined].std(),
    )
    defined_codes = defined_codes - defined_codes.mean(0)
    direction = np.linalg.solve(
        defined_codes.T @ defined_codes + RIDGE * np.eye(defined_codes.shape[1]), defined_codes.T @ standard_scores
    )
    direction_length = float(np.linalg.norm(direction))
    if direction_length < NEGLIGIBLE or _correlation(defined_codes @ direction, standard_scores) < LEAST_CORRELATION:
        return None
    return np.asarray(direction / direction_length)


def _basis(directions: Doubles) -> Doubles:
    """Return an orthonormal basis: the directions, rotated as little as possible (Löwdin, 1950), and others."""
    direction_count, n = directions.shape
    left_vectors, _, right_vectors = np.linalg.svd(directions, full_matrices=True)
    return (
        np.concatenate([left_vectors @ right_vectors[:direction_count], right_vectors[direction_count:]])
        if direction_count
        else np.eye(n)
    )


def _correlation(first: Doubles, second: Doubles) -> float:
    """Return the correlation where the second is defined; 0 if one is constant."""
    is_defined = np.isfinite(second)
    if min(first[is_defined].std(), second[is_defined].std()) < NEGLIGIBLE:
        return 0.0
    return float(np.corrcoef(first[is_defined], second[is_defined])[0, 1])


STEERED_BARS = 16  # measured at each end of a knob
UNITS = {"density": "onsets a beat", "brightness": "octaves over 1 Hz", "swing": "steps late"}


@torch.no_grad()
def steering(
    network: LoopNetwork, recipe: LoopRecipe, rotation: SteeringRotation
) -> dict[str, dict[str, float | None]]:
    """Return named knobs' measures at low end, middle and high end; None if undefined."""
    step_samples, rate = recipe.frames.hop_length, recipe.frames.sample_rate
    measures_by_knob: dict[str, dict[str, float | None]] = {}
    empty_seed = torch.zeros(0, recipe.network.components)

    def measure_knob(knob_index: int, position: float) -> LoopMeasures:
        steering_code = torch.from_numpy(rotation.middle + position * rotation.directions[knob_index]).float()
        sound = played(network, recipe, empty_seed, steering_code, STEERED_BARS, SEED)
        return groove(sound, rate, step_samples, recipe.frames.steps_per_beat)

    middle_measures = measure_knob(0, 0.0)
    for knob_index, knob_name in enumerate(rotation.correlations):
        low_measures, high_measures = (
            measure_knob(knob_index, end_position) for end_position in rotation.ends[:, knob_index]
        )
        measure_by_end = {
            "low": getattr(low_measures, knob_name),
            "middle": getattr(middle_measures, knob_name),
            "high": getattr(high_measures, knob_name),
        }
        measures_by_knob[knob_name] = {
            end: float(measure) if np.isfinite(measure) else None for end, measure in measure_by_end.items()
        }
    return measures_by_knob


def effects(measures_by_knob: dict[str, dict[str, float | None]]) -> dict[str, str]:
    """Describe what each named knob changes, from the figures of `steering`."""
    return {
        knob_name: f"{_number(measure_by_end['low'])} to {_number(measure_by_end['high'])} {UNITS[knob_name]}"
        for knob_name, measure_by_end in measures_by_knob.items()
    }


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:.2f}"
