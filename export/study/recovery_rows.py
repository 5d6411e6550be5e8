"""Rows of the recovery study: each method finds codes of sounds."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import torch

from ...host.arrays import Array, Integers
from ...host.engines.clip.synthesis import SpectraSound
from ...host.kinds.card_fields import UniformPrior
from ...host.model.card import Card
from ...host.model.encoder import Encoder
from ...host.model.model import Model
from ...host.resynthesis.distance import measures
from ...host.resynthesis.refinement import SearchResult, SearchTarget
from ...train.corpus.store import Corpus
from ...train.families.classifier.network import Classifier
from ...train.families.gan.data import places
from ...train.families.gan.recipe import ClipFrames
from ...train.families.invert.network import block_activations
from ...train.metrics.clips import inception_score
from ...train.sampling import random_indices
from ..recovery.search import CodeSearcher, Further, SearchOptions
from ..reports.report import Figures

TABLES = {"generated": "sounds that the generator made", "recorded": "recordings of the test split"}
SLOPES = 200  # of the publication's hybrid
RECOVERED_CORRELATION = 0.99  # correlation from which a code counts as recovered
# Rows by name, with descriptions; the first are the publication's.
ROWS = {
    "asked": "the sounds themselves",
    "gradient": "L-BFGS from many random codes",
    "network": "the inverting network",
    "hybrid": "the network, then 200 slopes of L-BFGS",
    "least-squares": "ours: the network, then least squares",
    "perceptual": "ours: the same with the perceptual term kept",
}
FURTHER = {  # for an inverted generator
    "tuned-clip": "ours: an autoencoder and its own encoder",
}


@dataclass(frozen=True)
class MeasuredRow:
    """Measurements of a row, [sounds].

    Args:
        sounds: decoded, [sounds, samples].
        mse: of samples; other distances are as in `measures`.
        correlation: of found with original codes; NaN without originals.
        posteriors: of the classifier, [sounds, labels].
    """

    sounds: Array
    mse: npt.NDArray[np.floating]
    spectrogram_mse: Array
    ssim: Array
    log_mel_db: Array
    correlation: Array
    right: Array
    posteriors: Array
    seconds: Array

    def write(self, path: Path) -> None:
        with path.open("wb") as file:
            np.savez(file, **{field.name: getattr(self, field.name) for field in fields(self)})

    @staticmethod
    def read(path: Path, count: int) -> "MeasuredRow | None":
        """Load a row; None unless it has ``count`` sounds."""
        if not path.exists():
            return None
        with np.load(path) as file:
            row = MeasuredRow(**{field.name: file[field.name] for field in fields(MeasuredRow)})
        return row if len(row.sounds) == count else None


class RecoveryTargets(NamedTuple):
    """Sounds, [sounds, samples], label numbers, and codes if known."""

    sounds: Array
    labels: Integers
    codes: Array | None


class RecoveryBench:
    """Measures ``rows`` for a clip model and its encoder."""

    def __init__(
        self,
        corpus: Corpus,
        model: Model,
        judge: Classifier,
        frames: ClipFrames | None = None,
        tuned: Model | None = None,
    ) -> None:
        """Take clips as an inverted generator's ``frames``, and measure `FURTHER` by the ``tuned`` autoencoder, if any.

        Without ``frames``, recordings are scaled to a peak of 1.
        """
        card = model.card
        self._corpus, self._model, self._judge, self._encoder = corpus, model, judge, Encoder(model)
        self._frames = frames or ClipFrames(
            sample_rate=card.sample_rate,
            frame_length=card.frame_length,
            hop_length=card.frame_length,
            normalised=True,
        )
        self._tuned = tuned
        self.rows = ROWS if tuned is None else ROWS | FURTHER
        self._words, self.rate = card.labels, card.sample_rate
        self._levels = card.transform_length is None  # the code includes the loudness
        self.stamp = model.sha256[:12]

    @property
    def recordings(self) -> int:
        return len(places(self._corpus, "test", self._frames, self._words))

    def measured(self, table: str, row_name: str, seed: int, count: int) -> MeasuredRow:
        targets = self._generated(seed, count) if table == "generated" else self._recorded(seed, count)
        start_time = time.perf_counter()
        sounds, codes = self._methods(seed)[row_name](targets)
        seconds_per_sound = (time.perf_counter() - start_time) / count
        if not self._levels:
            sounds = scaled_to_loudness(sounds, targets.sounds)
        distances = [measures(*pair, self.rate, gain_counts=True) for pair in zip(targets.sounds, sounds, strict=True)]
        posteriors = self._judge.judge(sounds, self.rate).posteriors
        correlations = np.full(count, np.nan)
        if codes is not None and targets.codes is not None:
            correlations = np.array([np.corrcoef(*pair)[0, 1] for pair in zip(codes, targets.codes, strict=True)])
        return MeasuredRow(
            sounds=sounds,
            mse=np.square(sounds - targets.sounds, dtype=np.float64).mean(1),
            spectrogram_mse=np.array([distance.spectrogram_mse for distance in distances]),
            ssim=np.array([distance.ssim for distance in distances]),
            log_mel_db=np.array([distance.log_mel_db for distance in distances]),
            correlation=correlations,
            right=np.array([self._judge.words[label_index] for label_index in posteriors.argmax(1)])
            == self._names(targets.labels),
            posteriors=posteriors,
            seconds=np.full(count, seconds_per_sound),
        )

    def figures(self, rows_by_seed: Sequence[MeasuredRow], original_rows: Sequence[MeasuredRow]) -> Figures:
        """Return the mean of each figure over seeds, and its deviation."""
        scores = [inception_score(row.posteriors)[0] for row in rows_by_seed]
        seed_values: dict[str, list[float]] = {
            "inception_score": scores,
            "mse": [float(row.mse.mean()) for row in rows_by_seed],
            "spectrogram_mse": [float(row.spectrogram_mse.mean()) for row in rows_by_seed],
            "ssim": [float(row.ssim.mean()) for row in rows_by_seed],
            "log_mel_db": [float(row.log_mel_db.mean()) for row in rows_by_seed],
            "accuracy": [float(row.right.mean()) for row in rows_by_seed],
            "share": [
                float(row.right.mean() / max(float(original.right.mean()), 1e-12))
                for row, original in zip(rows_by_seed, original_rows, strict=True)
            ],
            "seconds": [float(row.seconds.mean()) for row in rows_by_seed],
        }
        if not any(np.isnan(row.correlation).any() for row in rows_by_seed):
            seed_values["found_again"] = [
                float((row.correlation >= RECOVERED_CORRELATION).mean()) for row in rows_by_seed
            ]
        return {name: [float(np.mean(values)), float(np.std(values))] for name, values in seed_values.items()}

    def _methods(self, seed: int) -> dict[str, Callable[[RecoveryTargets], tuple[Array, Array | None]]]:
        """Return by row name a search for targets: decoded sounds, and codes if they compare with the targets'."""
        search_options = SearchOptions(seed=seed, gain_counts=self._levels)
        return {
            "asked": lambda targets: (targets.sounds, targets.codes),
            "gradient": lambda targets: self._decoded(
                CodeSearcher(self._model, search_options).gradient(self._targets(targets, encoded=False))
            ),
            "network": lambda targets: self._decoded(self._encoded(targets)),
            "hybrid": lambda targets: self._decoded(
                CodeSearcher(self._model, search_options).descent(self._targets(targets), SLOPES)
            ),
            "least-squares": lambda targets: self._decoded(
                CodeSearcher(self._model, search_options).hybrid(self._targets(targets))
            ),
            "perceptual": self._perceived,
            "tuned-clip": self._tuned_again,
        }

    def _perceived(self, targets: RecoveryTargets) -> tuple[Array, Array | None]:
        """Search by least squares with the perceptual term."""
        options = SearchOptions(gain_counts=self._levels, further=self._further(targets.sounds))
        return self._decoded(CodeSearcher(self._model, options).hybrid(self._targets(targets)))

    def _tuned_again(self, targets: RecoveryTargets) -> tuple[Array, Array | None]:
        """Encode targets and decode them by `tuned-clip`."""
        assert self._tuned is not None
        codes, labels = Encoder(self._tuned).encode_with_labels(targets.sounds)
        label_indices = np.zeros(len(codes), np.intp) if labels is None else labels.argmax(1)
        return scaled_to_loudness(sounds_of(self._tuned, codes, label_indices), targets.sounds), None

    def _further(self, sounds: Array) -> Further:
        """The squares sum to the perceptual term."""
        with torch.no_grad():
            target_activations = [
                layer.flatten(1) for layer in block_activations(self._judge, torch.from_numpy(sounds), self.rate)
            ]

        def activation_residuals(frames: torch.Tensor, indices: torch.Tensor) -> torch.Tensor:
            activations = [layer.flatten(1) for layer in block_activations(self._judge, frames, self.rate)]
            scales = [(len(activations) * layer.shape[1]) ** -0.5 for layer in activations]
            layer_activations = zip(activations, target_activations, scales, strict=True)
            return torch.cat([(decoded - layer[indices]) * scale for decoded, layer, scale in layer_activations], 1)

        return activation_residuals

    def _targets(self, targets: RecoveryTargets, *, encoded: bool = True) -> list[SearchTarget]:
        if not encoded:
            return [SearchTarget(sound[np.newaxis], None, None) for sound in targets.sounds]
        encoder_results = self._encoded(targets)
        return [
            SearchTarget(sound[np.newaxis], recovery.code, recovery.label)
            for sound, recovery in zip(targets.sounds, encoder_results, strict=True)
        ]

    def _encoded(self, targets: RecoveryTargets) -> list[SearchResult]:
        """Return the encoder's codes and labels as search results."""
        codes, labels = self._encoder.encode_with_labels(targets.sounds)
        label_indices = [None] * len(codes) if labels is None else [int(row.argmax()) for row in labels]
        return [
            SearchResult(code.astype(np.float64), label, None, np.nan, True)
            for code, label in zip(codes, label_indices, strict=True)
        ]

    def _decoded(self, search_results: Sequence[SearchResult]) -> tuple[Array, Array]:
        """Return the sounds and codes of search results."""
        codes = np.stack([recovery.code for recovery in search_results]).astype(np.float32)
        label_indices = np.array([recovery.label or 0 for recovery in search_results])
        return sounds_of(self._model, codes, label_indices), codes

    def _generated(self, seed: int, count: int) -> RecoveryTargets:
        codes = draw_codes(self._model.card, count, np.random.default_rng([seed, 0]))
        label_indices = np.arange(count) % max(1, len(self._words))
        sounds = sounds_of(self._model, codes, label_indices)
        if not self._levels:
            sounds = np.divide(sounds, np.abs(sounds).max(1, keepdims=True))
        return RecoveryTargets(sounds, label_indices, codes)

    def _recorded(self, seed: int, count: int) -> RecoveryTargets:
        clip_places = places(self._corpus, "test", self._frames, self._words)
        clip_indices = np.resize(random_indices(len(clip_places), count, np.random.default_rng([seed, 1])), count)
        return RecoveryTargets(
            clip_places.take_clips(self._corpus, clip_indices, self._frames.normalised),
            clip_places.labels[clip_places.recordings_of(clip_indices)],
            None,
        )

    def _names(self, label_indices: Integers) -> npt.NDArray[np.str_]:
        return np.array([self._words[label] if self._words else "" for label in label_indices])


def sounds_of(model: Model, codes: Array, labels: Integers) -> Array:
    """Decode as hosts do, [codes, samples]."""
    card, frames = model.card, model.decode(codes, labels)
    if card.transform_length is None:
        return frames
    synthesise = SpectraSound(card.frame_length, card.transform_length, card.hop_length, card.envelope_points)
    return synthesise(frames)


def scaled_to_loudness(sounds: Array, references: Array) -> Array:
    """Scale sounds to others' loudness, [sounds, samples] each."""
    power_ratios = np.square(references).mean(1) / np.maximum(np.square(sounds).mean(1), 1e-12)
    scaled: Array = (sounds * np.sqrt(power_ratios)[:, np.newaxis]).astype(np.float32)
    return scaled


def draw_codes(card: Card, count: int, rng: np.random.Generator) -> Array:
    """Draw codes from a model's prior within knob ranges, [count, n_latents]."""
    shape = (count, len(card.latents))
    if isinstance(card.prior, UniformPrior):
        return rng.uniform(*card.prior.uniform, shape).astype(np.float32)
    mean, deviation = (0.0, 1.0) if card.prior is None else card.prior.normal
    low, high = ([getattr(latent, end) for latent in card.latents] for end in ("low", "high"))
    codes = rng.normal(mean, deviation, shape)
    while (is_outside := (codes < low) | (codes > high)).any():
        codes = np.where(is_outside, rng.normal(mean, deviation, shape), codes)
    return codes.astype(np.float32)
