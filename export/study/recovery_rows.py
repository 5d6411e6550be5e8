"""Rows of the recovery study: each method finds codes of sounds."""

import hashlib
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import torch

from ...host.arrays import Array, Integers
from ...host.engines.clip.synthesis import SpectraSound
from ...host.errors import UserError
from ...host.kinds.card_fields import UniformPrior
from ...host.model.card import Card
from ...host.model.encoder import Encoder
from ...host.model.model import Model
from ...host.resynthesis.distance import distance_db, measures
from ...host.resynthesis.refinement import SearchResult, SearchTarget
from ...host.spectra import log_mel
from ...train.corpus.store import Corpus
from ...train.families.classifier.network import Classifier
from ...train.families.gan.data import Places, places
from ...train.families.gan.recipe import ClipFrames
from ...train.families.invert.network import block_activations
from ...train.metrics.clips import SCORED_CLIPS, inception_score, scored_indices
from ...train.sampling import random_indices
from ..measures.clips import accuracy_scale, commonest_share
from ..measures.floors import Scale, SoundSet, floors, mean_error, squared_errors
from ..recovery.search import CodeSearcher, Further, SearchOptions, SearchStage
from ..reports.report import Figures

TABLES = {"generated": "sounds that the generator made", "recorded": "recordings of the test split"}
UNKNOWN_LABEL = -1  # to a classifier, which never answers it
OTHER_SOUNDS = 512  # of the set, as answers
SLOPES = 200  # of the publication's hybrid
# Of the publication's search, which allows 50 000: most settle within two hundred, and ours ends with as many.
ONE_START = SearchStage(1000, pooled=1, kept_starts=1)
BATCH = 64  # clips decoded or encoded at a time: a thousand of them fill memory
JUDGES = ("", "second_")  # prefixes of the figures of each judge
RECOVERED_CORRELATION = 0.99  # correlation from which a code counts as recovered
# Rows by name, with descriptions; the first are the publication's.
ROWS = {
    "asked": "the sounds themselves",
    "gradient-one": "L-BFGS from one random code, for each label if there are any",
    "network": "the inverting network",
    "hybrid": "the network, then 200 slopes of L-BFGS",
    "gradient": "ours: L-BFGS from sixteen random codes, on pooled spectrograms first",
    "least-squares": "ours: the network, then least squares",
    "perceptual": "ours: the same with the perceptual term kept",
}
FURTHER = {  # for an inverted generator
    "network-codes": "the network without the perceptual loss, trained on codes of generated sounds",
    "tuned-clip": "ours: an autoencoder and its own encoder",
}
FAST_ROWS = ("asked", "network", "network-codes", "tuned-clip")  # rows without a search, measured on more sounds
FAST_SOUNDS = SCORED_CLIPS  # of a table, all seeds together


FOUND_AGAIN = "found_again"


def correlations_of(codes: Array, originals: Array) -> Array:
    """Return the correlation of each code with its original, [codes, latents] each; 0 of a constant code: [codes]."""
    centred = [rows - rows.mean(1, keepdims=True, dtype=np.float64) for rows in (codes, originals)]
    lengths = np.prod([np.sqrt(np.square(rows).sum(1)) for rows in centred], 0)
    correlations: Array = np.prod(centred, 0).sum(1) / np.maximum(lengths, 1e-12)
    return correlations


CODE_SCALE = Scale(
    "Codes found again",
    ".0%",
    np.asarray,
    lambda originals, codes: correlations_of(codes, originals) >= RECOVERED_CORRELATION,
    mean_error,
    rises=True,
)


@dataclass(frozen=True)
class MeasuredRow:
    """Measurements of a row, [sounds].

    Args:
        sounds: decoded, [sounds, samples].
        mse: of samples; other distances are as in `measures`.
        correlation: of found with original codes; NaN without originals.
        words: the labels that the sounds should have; empty for sounds without one.
        right: classified as that label, else as the target, by each judge, [judges, sounds].
        posteriors: of each judge, [judges, sounds, labels].
    """

    sounds: Array
    mse: npt.NDArray[np.floating]
    spectrogram_mse: Array
    ssim: Array
    log_mel_db: Array
    correlation: Array
    words: npt.NDArray[np.str_]
    right: npt.NDArray[np.bool_]
    posteriors: Array
    seconds: Array

    @property
    def has_codes(self) -> bool:
        """Return whether the sounds' codes are known: recovered codes are compared with them."""
        return not np.isnan(self.correlation).any()

    @property
    def found_again(self) -> npt.NDArray[np.bool_]:
        """Codes that count as recovered, [sounds]."""
        return self.correlation >= RECOVERED_CORRELATION

    def write(self, path: Path) -> None:
        with path.open("wb") as file:
            np.savez(file, **{field.name: getattr(self, field.name) for field in fields(self)})

    @staticmethod
    def read(path: Path, count: int) -> "MeasuredRow | None":
        """Load a row; None unless it has ``count`` sounds and all fields."""
        if not path.exists():
            return None
        with np.load(path) as file:
            if {field.name for field in fields(MeasuredRow)} - set(file.files):
                return None
            row = MeasuredRow(**{field.name: file[field.name] for field in fields(MeasuredRow)})
        return row if len(row.sounds) == count else None


class RecoveryTargets(NamedTuple):
    """Sounds, [sounds, samples], their labels' numbers and words (empty without labels), and codes if known."""

    sounds: Array
    labels: Integers
    words: npt.NDArray[np.str_]
    codes: Array | None

    def first(self, count: int) -> "RecoveryTargets":
        codes = None if self.codes is None else self.codes[:count]
        return RecoveryTargets(self.sounds[:count], self.labels[:count], self.words[:count], codes)


def joined_targets(targets: Sequence[RecoveryTargets]) -> RecoveryTargets:
    """Return the sounds of all seeds as one set, without codes."""
    sounds, labels, words = (np.concatenate(parts) for parts in list(zip(*targets, strict=True))[:3])
    return RecoveryTargets(sounds, labels, words, None)


def deviation_of(seed_values: Sequence[float]) -> float:
    """Return the sample deviation over seeds; 0 for one."""
    return float(np.std(seed_values, ddof=1)) if len(seed_values) > 1 else 0.0


class RecoverySize(NamedTuple):
    """``clips`` sounds per table and seed for rows that search, more for `FAST_ROWS`."""

    seeds: int
    clips: int


class RecoveryBench:
    """Measures ``rows`` for a clip model and its encoder."""

    def __init__(
        self,
        corpus: Corpus,
        model: Model,
        judges: Sequence[Classifier],
        size: RecoverySize,
        frames: ClipFrames | None = None,
        further: dict[str, Model] | None = None,
    ) -> None:
        """Take clips as an inverted generator's ``frames``, and measure `FURTHER` by the ``further`` models, if any.

        Without ``frames``, recordings are scaled to a peak of 1. The first of the ``judges`` is the perceptual term.

        Raises:
            UserError: the test split has fewer labelled recordings than there are seeds.
        """
        card = model.card
        self._corpus, self._model, self._judges, self._encoder = corpus, model, judges, Encoder(model)
        self._frames = frames or ClipFrames(
            sample_rate=card.sample_rate,
            frame_length=card.frame_length,
            hop_length=card.frame_length,
            normalised=True,
        )
        self._further_models = further or {}
        self.rows = ROWS | FURTHER if further else ROWS
        self._labels, self.rate = card.labels, card.sample_rate
        self._words = card.labels or judges[0].words  # of recordings
        self._levels = card.transform_length is None  # the code includes the loudness
        self._test_places = places(corpus, "test", self._frames, self._words)
        self._size = size
        self._recorded_posteriors: Array | None = None
        if len(self._test_places) < size.seeds:
            raise UserError(
                f"corpus {corpus.folder} has {len(self._test_places)} recordings in its test split with a label such "
                f"as {', '.join(self._words[:3])}, and each of {size.seeds} seeds needs one; give another corpus, or "
                "fewer --seeds"
            )

    def stamp(self, table: str, row_name: str) -> str:
        """Return a name for a row's file that changes with the models, the judges and the recordings."""
        digest = hashlib.sha256(self._model.sha256.encode())
        if table == "recorded":
            digest.update(f"{self._corpus.clips_digest()} {self._size.seeds}".encode())
        if row_name in self._further_models:
            digest.update(self._further_models[row_name].sha256.encode())
        for judge in self._judges:
            digest.update(judge.scores.weight.detach().numpy().tobytes())
        return digest.hexdigest()[:12]

    def count(self, table: str, row_name: str) -> int:
        """Return the number of sounds of a row with each seed; recordings are never repeated."""
        seeds, count = self._size
        if row_name in FAST_ROWS:
            count = max(count, -(-FAST_SOUNDS // seeds))
        return count if table == "generated" else min(count, len(self._test_places) // seeds)

    def measured(self, table: str, row_name: str, seed: int) -> MeasuredRow:
        """Find codes of a row's sounds, and measure the sounds that they make."""
        count = self.count(table, row_name)
        targets = self.targets(table, seed).first(count)
        start_time = time.perf_counter()
        sounds, codes = self._methods(seed)[row_name](targets)
        return self.measure(targets, sounds, codes, (time.perf_counter() - start_time) / count)

    def targets(self, table: str, seed: int) -> RecoveryTargets:
        """Return the sounds of a table that a seed draws; rows with fewer take the first ones."""
        count = self.count(table, "asked")
        return self._generated(seed, count) if table == "generated" else self._recorded(seed, count)

    def measure(
        self, targets: RecoveryTargets, sounds: Array, codes: Array | None, seconds_per_sound: float
    ) -> MeasuredRow:
        """Compare ``sounds`` [sounds, samples], and their codes if known, with their targets."""
        count = len(sounds)
        if not self._levels:
            sounds = scaled_to_loudness(sounds, targets.sounds)
        distances = [measures(*pair, self.rate, gain_counts=True) for pair in zip(targets.sounds, sounds, strict=True)]
        posteriors = self._posteriors(sounds)
        words = self._classes(posteriors)
        correlations = np.full(count, np.nan)
        if codes is not None and targets.codes is not None:
            correlations = correlations_of(codes, targets.codes)
        return MeasuredRow(
            sounds=sounds,
            mse=np.square(sounds - targets.sounds, dtype=np.float64).mean(1),
            spectrogram_mse=np.array([distance.spectrogram_mse for distance in distances]),
            ssim=np.array([distance.ssim for distance in distances]),
            log_mel_db=np.array([distance.log_mel_db for distance in distances]),
            correlation=correlations,
            words=targets.words,
            right=words == self._target_words(targets),
            posteriors=posteriors,
            seconds=np.full(count, seconds_per_sound),
        )

    def figures(self, table: str, rows_by_seed: Sequence[MeasuredRow], original_rows: Sequence[MeasuredRow]) -> Figures:
        """Return the mean of each figure over seeds, and its deviation; scores are of all sounds as one part."""
        count_per_seed = len(rows_by_seed[0].sounds)
        posteriors = np.concatenate([row.posteriors for row in rows_by_seed], 1)
        if table == "recorded":
            recorded = np.concatenate([row.posteriors[:, :count_per_seed] for row in original_rows], 1)
        else:
            recorded = self._of_recordings(posteriors.shape[1])
        figures: Figures = {"sounds": posteriors.shape[1]}
        for prefix, judge_posteriors, recorded_posteriors in zip(JUDGES, posteriors, recorded, strict=False):
            figures[f"{prefix}inception_score"] = inception_score(judge_posteriors)
            figures[f"{prefix}recorded_score"] = inception_score(recorded_posteriors)
        seed_values: dict[str, list[float]] = {
            "mse": [float(row.mse.mean()) for row in rows_by_seed],
            "spectrogram_mse": [float(row.spectrogram_mse.mean()) for row in rows_by_seed],
            "ssim": [float(row.ssim.mean()) for row in rows_by_seed],
            "log_mel_db": [float(row.log_mel_db.mean()) for row in rows_by_seed],
            **{
                f"{prefix}accuracy": [float(row.right[judge_index].mean()) for row in rows_by_seed]
                for judge_index, prefix in enumerate(JUDGES[: len(self._judges)])
            },
            "share": [
                float(row.right[0].mean() / max(float(original.right[0, :count_per_seed].mean()), 1e-12))
                for row, original in zip(rows_by_seed, original_rows, strict=True)
            ],
            "seconds": [float(row.seconds.mean()) for row in rows_by_seed],
        }
        if all(row.has_codes for row in rows_by_seed):
            seed_values[FOUND_AGAIN] = [float(row.found_again.mean()) for row in rows_by_seed]
        return figures | {name: [float(np.mean(values)), deviation_of(values)] for name, values in seed_values.items()}

    def _posteriors(self, sounds: Array) -> Array:
        """Return label probabilities by each judge, [judges, sounds, labels]."""
        return np.stack([judge.judge(sounds, self.rate).posteriors for judge in self._judges])

    def _classes(self, posteriors: Array) -> npt.NDArray[np.str_]:
        """Return the most probable words by each judge, [judges, sounds]."""
        classes: npt.NDArray[np.str_] = np.array(self._judges[0].words)[posteriors.argmax(2)]
        return classes

    def _target_words(self, targets: RecoveryTargets) -> npt.NDArray[np.str_]:
        """Return the labels of targets by each judge, [judges, sounds]: their own, or the judge's."""
        target_words: npt.NDArray[np.str_] = np.where(
            targets.words == "", self._classes(self._posteriors(targets.sounds)), targets.words
        )
        return target_words

    def _of_recordings(self, count: int) -> Array:
        """Return posteriors of recordings of the test and training splits, [judges, ``count`` at most, labels]."""
        if self._recorded_posteriors is None:
            split_clips = []
            for split in ("test", "train"):
                pieces = places(self._corpus, split, self._frames, self._words)
                clip_indices = scored_indices(len(pieces))
                split_clips.append(pieces.take_clips(self._corpus, clip_indices, self._frames.normalised))
            clips = np.concatenate(split_clips)
            self._recorded_posteriors = self._posteriors(clips[scored_indices(len(clips))])
        return self._recorded_posteriors[:, scored_indices(self._recorded_posteriors.shape[1], count)]

    def floors(self, table: str, count: int) -> dict[str, Figures]:
        """Return the floors of a table's rows with ``count`` sounds of each seed, by measure.

        The set is other generated sounds, or training clips.
        """
        seeds = range(self._size.seeds)
        targets = joined_targets([self.targets(table, seed).first(count) for seed in seeds])
        if table == "generated":
            other_targets = self._generated(len(seeds), OTHER_SOUNDS)
            clips, other_clips = np.arange(len(targets.sounds)), len(targets.sounds) + np.arange(OTHER_SOUNDS)
        else:
            training_places = places(self._corpus, "train", self._frames, self._words)
            indices = random_indices(len(training_places), OTHER_SOUNDS, np.random.default_rng(0))
            other_targets, other_clips = (
                self._clips_of(training_places, indices),
                training_places.recordings_of(indices),
            )
            test_indices = np.concatenate([self._recorded_indices(seed, count) for seed in seeds])
            clips = len(training_places.clips) + self._test_places.recordings_of(test_indices)
        training_set, test_set = (
            SoundSet(sounds.sounds, sound_clips, takes=[word or None for word in sounds.words.tolist()])
            for sounds, sound_clips in ((other_targets, other_clips), (targets, clips))
        )
        floor_figures = floors(
            self._scales(targets, other_targets), training_set, test_set, len(self._model.card.latents)
        )
        if other_targets.codes is None:
            return floor_figures
        # Another generated sound's code, noise and the mean code: principal components of all latents are the code.
        seed_codes = [codes for seed in seeds if (codes := self._generated(seed, count).codes) is not None]
        code_sets = SoundSet(other_targets.codes, other_clips), SoundSet(np.concatenate(seed_codes), clips)
        return floor_figures | floors({FOUND_AGAIN: CODE_SCALE}, *code_sets, 0)

    def _scales(self, targets: RecoveryTargets, other_targets: RecoveryTargets) -> dict[str, Scale]:
        """Return the measures of `figures` that have floors; ``other_targets`` are the set's sounds."""

        def compared(name: str) -> Callable[[Array, Array], Array]:
            return lambda targets, answers: np.array(
                [
                    getattr(measures(*pair, self.rate, gain_counts=True), name)
                    for pair in zip(targets, answers, strict=True)
                ]
            )

        scales = {
            "mse": Scale("MSE", ".5f", np.asarray, squared_errors, mean_error),
            "spectrogram_mse": Scale(
                "MSE, spectra", ".6f", np.asarray, compared("spectrogram_mse"), mean_error, spans=False
            ),
            "ssim": Scale("SSIM", ".4f", np.asarray, compared("ssim"), mean_error, rises=True, spans=False),
            "log_mel_db": Scale(
                "Log-mel, dB", ".1f", lambda sounds: log_mel(sounds, self.rate), distance_db, mean_error
            ),
        }
        class_numbers = {word: number for number, word in enumerate(self._judges[0].words)}
        judge_words = zip(
            JUDGES, self._judges, self._target_words(targets), self._target_words(other_targets), strict=False
        )
        for prefix, judge, words, other_words in judge_words:
            numbers = np.array([class_numbers.get(word, UNKNOWN_LABEL) for word in words])
            word_numbers = np.unique(np.concatenate([other_words, words]), return_inverse=True)[1]
            chance = commonest_share(word_numbers[: len(other_words)], word_numbers[len(other_words) :])
            scale = accuracy_scale(judge.judge, self.rate, numbers, chance)
            scales[f"{prefix}accuracy"] = replace(scale, label=f"{scale.label}{' by the second' if prefix else ''}")
        return scales

    def _methods(self, seed: int) -> dict[str, Callable[[RecoveryTargets], tuple[Array, Array | None]]]:
        """Return by row name a search for targets: decoded sounds, and codes if they compare with the targets'."""
        search_options = SearchOptions(seed=seed, gain_counts=self._levels)
        return {
            "asked": lambda targets: (targets.sounds, targets.codes),
            "gradient-one": lambda targets: self._decoded(
                CodeSearcher(self._model, replace(search_options, starts=1, stages=(ONE_START,))).gradient(
                    self._targets(targets, encoded=False)
                )
            ),
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
            "network-codes": lambda targets: self._decoded(
                self._encoded(targets, Encoder(self._further_models["network-codes"]))
            ),
            "tuned-clip": self._tuned_again,
        }

    def _perceived(self, targets: RecoveryTargets) -> tuple[Array, Array | None]:
        """Search by least squares with the perceptual term."""
        options = SearchOptions(gain_counts=self._levels, further=self._further(targets.sounds))
        return self._decoded(CodeSearcher(self._model, options).hybrid(self._targets(targets)))

    def _tuned_again(self, targets: RecoveryTargets) -> tuple[Array, Array | None]:
        """Encode targets and decode them by `tuned-clip`."""
        tuned = self._further_models["tuned-clip"]
        codes, labels = encoded(Encoder(tuned), targets.sounds)
        label_indices = np.array([label or 0 for label in labels])
        return scaled_to_loudness(sounds_of(tuned, codes, label_indices), targets.sounds), None

    def _further(self, sounds: Array) -> Further:
        """The squares sum to the perceptual term."""
        with torch.no_grad():
            target_activations = [
                layer.flatten(1) for layer in block_activations(self._judges[0], torch.from_numpy(sounds), self.rate)
            ]

        def activation_residuals(frames: torch.Tensor, indices: torch.Tensor) -> torch.Tensor:
            activations = [layer.flatten(1) for layer in block_activations(self._judges[0], frames, self.rate)]
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

    def _encoded(self, targets: RecoveryTargets, encoder: Encoder | None = None) -> list[SearchResult]:
        """Return an encoder's codes and labels as search results; by default of the network's."""
        return [
            SearchResult(code.astype(np.float64), label, None, np.nan, True)
            for code, label in zip(*encoded(encoder or self._encoder, targets.sounds), strict=True)
        ]

    def _decoded(self, search_results: Sequence[SearchResult]) -> tuple[Array, Array]:
        """Return the sounds and codes of search results."""
        codes = np.stack([recovery.code for recovery in search_results]).astype(np.float32)
        label_indices = np.array([recovery.label or 0 for recovery in search_results])
        return sounds_of(self._model, codes, label_indices), codes

    def _generated(self, seed: int, count: int) -> RecoveryTargets:
        """Return a seed's generated sounds."""
        codes = draw_codes(self._model.card, count, np.random.default_rng([seed, 0]))
        label_indices = np.arange(count) % max(1, len(self._labels))
        sounds = sounds_of(self._model, codes, label_indices)
        if not self._levels:
            sounds = np.divide(sounds, np.abs(sounds).max(1, keepdims=True))
        return RecoveryTargets(sounds, label_indices, np.array(self._labels or [""])[label_indices], codes)

    def _recorded(self, seed: int, count: int) -> RecoveryTargets:
        """Return a seed's recordings; no two seeds share one."""
        return self._clips_of(self._test_places, self._recorded_indices(seed, count))

    def _recorded_indices(self, seed: int, count: int) -> Integers:
        """Return the places of a seed's recordings, [count]."""
        shuffled_indices: Integers = np.random.default_rng(1).permutation(len(self._test_places))
        return shuffled_indices[seed :: self._size.seeds][:count]

    def _clips_of(self, clip_places: Places, indices: Integers) -> RecoveryTargets:
        """Return the clips of some places."""
        labels = clip_places.labels[clip_places.recordings_of(indices)]
        clips = clip_places.take_clips(self._corpus, indices, self._frames.normalised)
        return RecoveryTargets(clips, labels, np.array(self._words)[labels], None)


def sounds_of(model: Model, codes: Array, labels: Integers) -> Array:
    """Decode as hosts do, [codes, samples]."""
    card = model.card
    frame_batches = [model.decode(codes[batch], labels[batch]) for batch in _batches(len(codes))]
    if card.transform_length is None:
        return np.concatenate(frame_batches)
    synthesise = SpectraSound(card.frame_length, card.transform_length, card.hop_length, card.envelope_points)
    return np.concatenate([synthesise(frames) for frames in frame_batches])


def encoded(encoder: Encoder, sounds: Array) -> tuple[Array, list[int | None]]:
    """Return codes, [sounds, latents], and the most probable labels, None without labels."""
    code_batches: list[Array] = []
    label_indices: list[int | None] = []
    for batch in _batches(len(sounds)):
        codes, labels = encoder.encode_with_labels(sounds[batch])
        code_batches.append(codes)
        label_indices += [None] * len(codes) if labels is None else [int(row.argmax()) for row in labels]
    return np.concatenate(code_batches), label_indices


def _batches(count: int) -> list[slice]:
    return [slice(batch_start, batch_start + BATCH) for batch_start in range(0, count, BATCH)]


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
