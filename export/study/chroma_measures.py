"""Measures a network for the chroma study, beside its floors."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch

from ...host.arrays import Array, Integers
from ...host.errors import UserError
from ...host.model.model import Model
from ...host.signal import chroma
from ...host.units import PITCH_CLASSES
from ...train.families.chroma.network import ChromaAutoencoder
from ...train.families.chroma.recipe import ChromaRecipe
from ...train.run import Run, trained
from ..measures import codes as latent_statistics
from ..measures.floors import Scale, SoundSet, floors, mean_error, principal_scores, squared_errors
from ..measures.frames import SILENT, FrameSample, decode, draw, encode, frame_floors
from ..measures.sounds import silence_message
from ..reports.report import SEED, Figures

Answers = npt.NDArray[np.int8]

SCALE = 1e4  # of errors in tables
MEAN_SQUARE, ACCURACY, FILLED, CORRELATION = "mean_square", "accuracy", "filled", "correlation"  # with floors
TEST_MSE = Scale("Test MSE, 10⁻⁴", ".2f", np.asarray, squared_errors, lambda terms: SCALE * mean_error(terms))

ALL_FRAMES = 1 << 40  # frames: more than any split has
TRAINING_FRAMES = 16384  # codes of an embedding: 134 MB of spectra, more points than a picture shows
PLAYED_SHARE = 0.02  # of the pitched frames: rarer pitch classes are errors of the pitch tracker
CELLS = 32  # along each of two latents; training codes are many for each of the 1024
EDGE = 0.1  # of each latent's range, from either end: 36 % of a square
MOVED_CODES, MOVED_STEPS = 256, 17  # codes whose latents are moved one at a time, and positions over its range
ROWS = 256  # decoded at once: their spectra take 2 MB and stay in the cache while their chroma is found


@dataclass(frozen=True)
class TrainingCodes:
    """Codes [frames, latents] and their notes' pitch classes, [frames]."""

    latents: Array
    notes: Integers


def measure(run: Run) -> tuple[Figures, TrainingCodes]:
    """Return figures and training codes of the best checkpoint.

    ``mean_square`` is the publication's, over all bins of all test frames.

    Raises:
        UserError: no training or no test frame is audible.
    """
    recipe = run.recipe
    assert isinstance(recipe, ChromaRecipe)
    network, checkpoint_name, step = trained(run, "best")
    assert isinstance(network, ChromaAutoencoder)
    corpus, frame_settings = run.corpus(), recipe.frames
    is_folded = frame_settings.fold is not None and run.info.tonal
    rng = np.random.default_rng(SEED)
    train_sample = draw(corpus, "train", frame_settings, is_folded, TRAINING_FRAMES, rng)
    test_sample = draw(corpus, "test", frame_settings, is_folded, ALL_FRAMES, rng)
    if train_sample is None or test_sample is None:
        raise UserError(silence_message(corpus, "test frame"))
    decoded_spectra = decode(
        network, encode(network, test_sample.spectra, test_sample.pitch_classes), test_sample.pitch_classes
    )
    codes = TrainingCodes(encode(network, train_sample.spectra, train_sample.pitch_classes), _notes(train_sample))
    latent_figures = latent_statistics.latent_figures(codes.latents, None)
    floor_figures = frame_floors(
        train_sample,
        test_sample,
        decoded_spectra,
        recipe.network.latents,
        {MEAN_SQUARE: TEST_MSE},
        conditioned=network.conditioned,
    )
    last_log = run.logged()[-1]
    figures: Figures = {
        "checkpoint": checkpoint_name,
        "step": step,
        "steps": last_log["step"],
        "seconds": last_log["seconds"],
        "training_frames": train_sample.frames_in_split,
        "test_frames": len(test_sample),
        "mean_square": float(np.mean(np.square(test_sample.spectra - decoded_spectra), dtype=np.float64)),
        "folded": is_folded,
        "floors": floor_figures
        | {ACCURACY: accuracy_floors(train_sample, test_sample, frame_settings.sample_rate)}
        | embedding_floors(train_sample.spectra, codes.latents),
        "notes": _played(train_sample),
        "bounds": [[float(latent.min()), float(latent.max())] for latent in codes.latents.T],
        "latents": latent_figures,
        "dead": bool(all(dimension["dead"] for dimension in latent_figures["dimensions"])),
        "filled": filled(codes.latents) if codes.latents.shape[1] == 2 else None,
        "moved": pitch_class_changes(
            network,
            frame_settings.sample_rate,
            frame_settings.frame_length,
            codes.latents,
            train_sample.pitch_classes,
            rng,
        ),
        "posterior": posterior(network, train_sample) if recipe.network.variational else None,
    }
    return figures, codes


def _notes(sample: FrameSample) -> Integers:
    """Return the pitch class of each frame's note, or the tracked one where its recording has no note, [frames]."""
    source_notes = np.array([source.note for source in sample.sources])
    return np.where(np.isfinite(source_notes), np.round(np.nan_to_num(source_notes)) % 12, sample.pitch_classes).astype(
        np.int64
    )


def _played(sample: FrameSample) -> list[int]:
    """Return the pitch classes that are played often enough."""
    source_notes = np.array([source.note for source in sample.sources])
    class_counts = np.bincount(np.round(source_notes[np.isfinite(source_notes)]).astype(np.int64) % 12, minlength=12)
    return [int(k) for k in np.flatnonzero(class_counts > PLAYED_SHARE * class_counts.sum())]


def accuracy_floors(train: FrameSample, test: FrameSample, rate: int) -> Figures:
    """Return floors of the accuracy over the mesh: of sounds that know nothing of the notes of the test frames."""
    notes, played_notes = _notes(test), _played(train)
    frame_length = 2 * (test.spectra.shape[1] - 1)

    def strongest_classes(spectra: Array) -> Integers:
        energies = chroma(spectra, rate, frame_length)
        return np.where(energies.max(1) > 0, energies.argmax(1), SILENT).astype(np.int64)

    scale = Scale(
        "Accuracy over the mesh",
        "percent",
        strongest_classes,
        lambda targets, answers: answers == notes,
        mean_error,
        rises=True,
        spans=False,
        chance=1 / len(played_notes),
    )
    floor_figures: Figures = frame_floors(train, test, None, 0, {ACCURACY: scale}, conditioned=False)[ACCURACY]
    return floor_figures


def embedding_floors(spectra: Array, latents: Array) -> dict[str, Figures]:
    """Return floors of an embedding of frames [frames, bins]: of the cells that its codes fill, and their correlation.

    Answers are codes that know nothing of the frames: constant ones, normal noise. The reference has as many principal
    components of the frames. Cells are those of two latents.
    """

    def code_scale(label: str, form: str, value: Callable[[Array], float], *, rises: bool) -> Scale:
        return Scale(label, form, np.asarray, lambda _, codes: codes, value, rises, spans=False, compares_sets=True)

    scales = {CORRELATION: code_scale("Correlation", ".2f", latent_statistics.largest_correlation, rises=False)}
    if latents.shape[1] == 2:
        scales[FILLED] = code_scale("Filled", "percent", filled, rises=True)
    codes = SoundSet(latents, np.zeros(len(latents), np.int64))  # of one clip: codes of others are no answer
    floor_figures = floors(scales, codes, codes, latents.shape[1])
    scores = principal_scores(spectra, latents.shape[1])
    for name, figures in floor_figures.items():
        figures["references"]["components"] = scales[name].value(scores)
    return floor_figures


def filled(latents: Array) -> float:
    """Return the share of grid cells that contain a code [frames, 2]."""
    low, high = np.percentile(latents, latent_statistics.SPAN, axis=0)
    if np.any(high - low < latent_statistics.DEAD):
        return 0.0
    grid_positions = (latents - low) / (high - low)
    cell_counts, _, _ = np.histogram2d(grid_positions[:, 0], grid_positions[:, 1], CELLS, ((0, 1), (0, 1)))
    return float(np.mean(cell_counts > 0))


def pitch_class_changes(
    network: ChromaAutoencoder,
    rate: int,
    length: int,
    latents: Array,
    pitch_classes: Integers,
    rng: np.random.Generator,
) -> list[float]:
    """Return per latent the share of codes whose strongest pitch class changes over its span.

    ``latents`` are [frames, latents], decoded in ``pitch_classes`` [frames].
    """
    code_indices = rng.permutation(len(latents))[:MOVED_CODES]
    codes, conditions = latents[code_indices], pitch_classes[code_indices]

    def strongest(codes: Array, conditions: Integers) -> Integers:
        classes: Integers = chroma(decode(network, codes, conditions), rate, length).argmax(1)
        return classes

    original_classes = strongest(codes, conditions)
    shares = []
    for latent_index, (low, high) in enumerate(np.percentile(latents, latent_statistics.SPAN, axis=0).T):
        swept_codes = np.repeat(codes[None], MOVED_STEPS, 0)
        swept_codes[:, :, latent_index] = np.linspace(low, high, MOVED_STEPS)[:, None]
        swept_classes = strongest(swept_codes.reshape(-1, codes.shape[1]), np.tile(conditions, MOVED_STEPS))
        shares.append(float(np.mean((swept_classes.reshape(MOVED_STEPS, -1) != original_classes).any(0))))
    return shares


@torch.no_grad()
def posterior(network: ChromaAutoencoder, sample: FrameSample) -> list[Figures]:
    """Return each latent's divergence from the standard normal prior in nats, and whether it collapsed.

    ``mean`` is the root mean square of the means.
    """
    one_hot = torch.eye(12)[torch.from_numpy(sample.pitch_classes)]
    mean, log_variance = network.distribution(torch.from_numpy(sample.spectra), one_hot)
    assert log_variance is not None
    divergence = 0.5 * (mean.square() + log_variance.exp() - 1 - log_variance)
    statistics = zip(divergence.mean(0), mean.square().mean(0).sqrt(), log_variance.exp().mean(0), strict=True)
    return [
        {
            "divergence": float(d),
            "mean": float(m),
            "variance": float(v),
            "collapsed": bool(d < latent_statistics.COLLAPSED_NATS),
        }
        for d, m, v in statistics
    ]


def mesh(side: int, latents: int) -> Array:
    """Return a regular mesh of the unit cube with its faces, [side ** latents, latents], the last latent fastest."""
    axis = np.linspace(0, 1, side, dtype=np.float32)
    return np.stack(np.meshgrid(*[axis] * latents, indexing="ij"), -1).reshape(-1, latents)


def strongest(model: Model, points: Array, pitch_class: int, progress: Callable[[float], None]) -> Answers:
    """Return the strongest pitch class of points [points, latents] decoded on ``pitch_class``, or `SILENT`."""
    card = model.card
    answers = np.empty(len(points), np.int8)
    for batch_start in range(0, len(points), ROWS):
        batch = points[batch_start : batch_start + ROWS]
        frames = model.decode(batch, np.full(len(batch), pitch_class))
        chroma_energy = chroma(frames, card.sample_rate, card.frame_length)
        answers[batch_start : batch_start + ROWS] = np.where(chroma_energy.max(1) > 0, chroma_energy.argmax(1), SILENT)
        progress((batch_start + len(batch)) / len(points))
    return answers


def accuracy(answers: dict[int, Answers], side: int, latents: int) -> Figures:
    """Return the share of `mesh` points with the requested pitch class, overall and by class; None if not requested.

    ``edge``, for two latents, is the share of mismatches within `EDGE` of the sides; None without mismatches.
    """
    mismatch_masks = {
        pitch_class: strongest_classes != pitch_class for pitch_class, strongest_classes in answers.items()
    }
    figures: Figures = {
        "mesh": side,
        "overall": float(np.mean([1 - w.mean() for w in mismatch_masks.values()])),
        "by_pitch_class": {
            name: float(1 - mismatch_masks[k].mean()) if k in mismatch_masks else None
            for k, name in enumerate(PITCH_CLASSES)
        },
        "edge": None,
    }
    mismatch_count = sum(int(w.sum()) for w in mismatch_masks.values())
    if latents == 2 and mismatch_count:
        is_near_edge = np.abs(mesh(side, latents) - 0.5).max(1) > 0.5 - EDGE
        figures["edge"] = sum(int((w & is_near_edge).sum()) for w in mismatch_masks.values()) / mismatch_count
    return figures
