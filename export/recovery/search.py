"""Searches for latent codes: by gradient descent from many starts, or least squares from a network's code.

``gradient`` follows Keyes et al., "Latent Vector Recovery of Audio GANs", 2020, section 4.2: L-BFGS on the mean
absolute error of spectrograms, with stochastic clipping; many starts and coarse-to-fine spectrograms are added.
``hybrid`` refines a network's code; the host refines magnitude clips.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import librosa
import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from ...host.arrays import Array
from ...host.engines.clip.synthesis import POOLED, QUIETEST, SpectraSound
from ...host.errors import UserError
from ...host.kinds.table import kind_of
from ...host.model.card import Card
from ...host.model.model import Model
from ...host.resynthesis.refinement import SearchResult, SearchTarget, refined
from ..kinds.clip import MagnitudeView
from ..kinds.search_view import TargetSound, View, short_spectra, sizes
from ..kinds.table import KINDS
from ..onnx_to_torch import RebuiltDecoder
from .optimizers import LeastSquares, Minimiser, Objective, least_squares

BANDS = 64  # mel bands, as in the evaluation of sounds
SOFTEST = 1e-4  # power below a sound's loudest band, -40 dB: softer is masked
LEVELS, FINE = 1.0, 1.0  # weights: of a root mean square of 10 dB, and of all single amplitudes

Further = Callable[[Tensor, Tensor], Tensor]  # decoded frames and their target indices → residuals [rows, m]


class FrameDistance:
    """Compares frames with targets by amplitudes, at equal energy unless gain counts."""

    def __init__(self, view: View, targets: Sequence[TargetSound], further: Further | None = None) -> None:
        self._view, self._further = view, further
        self._target = self._levelled(torch.stack([target.amplitudes for target in targets]))
        bands = min(BANDS, view.length // 4)
        mel = librosa.filters.mel(sr=view.card.sample_rate, n_fft=view.length, n_mels=bands)
        self._mel = torch.from_numpy(mel.T[:, mel.any(1)].copy())
        power = self._target.square() @ self._mel
        self._loudest = power.amax((1, 2), keepdim=True).clamp_min(1e-12)
        self._levels = _log_levels(power, self._loudest)
        roots = self._target.sqrt()
        self._size = roots.square().sum((1, 2), keepdim=True).sqrt().clamp_min(1e-12)
        self._roots = roots / self._size
        envelopes = [target.envelope for target in targets if target.envelope is not None]
        self._envelope = _envelope_levels(torch.stack(envelopes)) if envelopes else None

    def difference(self, frames: Tensor, indices: Tensor, pooled: int = 1) -> Tensor:
        """Return the mean absolute difference of amplitudes, relative to the target's mean, [rows].

        (Keyes et al. 2020, equation 1; the divisor does not move the minimum.)

        Args:
            frames: decoded, [rows, frame_width].
            indices: target indices, [rows].
            pooled: size of average pooling, which removes local minima.
        """
        decoded, target = self._levelled(self._view.decoded(frames)), self._target[indices]
        if pooled > 1:
            size = (min(pooled, decoded.shape[1]), pooled)
            decoded, target = (
                F.avg_pool2d(amplitudes[:, None], size, ceil_mode=True)[:, 0] for amplitudes in (decoded, target)
            )
        return (decoded - target).abs().sum((1, 2)) / target.sum((1, 2)).clamp_min(1e-12)

    def residuals(self, frames: Tensor, indices: Tensor) -> Tensor:
        """Return residuals, [rows, m], of mel-band levels, envelopes and, unless noise, roots of amplitudes."""
        decoded = self._levelled(self._view.decoded(frames))
        power = decoded.square() @ self._mel
        loudest = power.amax((1, 2), keepdim=True) if not self._view.gain_counts else self._loudest[indices]
        levels = (_log_levels(power, loudest) - self._levels[indices]).flatten(1)
        parts = [levels * (LEVELS / levels.shape[1] ** 0.5)]
        envelope = self._view.envelope(frames)
        if envelope is not None and self._envelope is not None:
            parts.append((_envelope_levels(envelope) - self._envelope[indices]) * (LEVELS / envelope.shape[1] ** 0.5))
        if not self._view.smooth:
            parts.append(FINE * ((decoded + 1e-9).sqrt() / self._size[indices] - self._roots[indices]).flatten(1))
        if self._further is not None:
            parts.append(self._further(frames, indices))
        return torch.cat(parts, 1)

    def _levelled(self, amplitudes: Tensor) -> Tensor:
        if self._view.gain_counts:
            return amplitudes
        energy = amplitudes.square().sum((1, 2), keepdim=True)
        return amplitudes * (energy + 1e-12).rsqrt()


def _log_levels(power: Tensor, loudest: Tensor) -> Tensor:
    return (power / (loudest + 1e-12) + SOFTEST).log10()


def _envelope_levels(envelope: Tensor) -> Tensor:
    power = envelope.square()
    return _log_levels(power, power.amax(1, keepdim=True))


class ClipSoundView(View):
    """Synthesized clips; frames are samples, [rows, frame_length]."""

    def __init__(self, card: Card) -> None:
        super().__init__(card)
        assert card.transform_length is not None
        self.length = card.transform_length
        self._host = SpectraSound(card.frame_length, self.length, card.hop_length, card.envelope_points)

    def target_sound(self, frames: Array) -> TargetSound:
        sounds = torch.from_numpy(frames)
        envelope = self.envelope(sounds)
        return TargetSound(self.decoded(sounds)[0], None, None if envelope is None else envelope[0])

    def decoded(self, frames: Tensor) -> Tensor:
        return sizes(short_spectra(frames, self.length, self.card.hop_length))

    def envelope(self, frames: Tensor) -> Tensor | None:
        """Return envelopes, smooth as the host's, [rows, points]."""
        points = self.card.envelope_points
        return _pooled(frames.view(len(frames), points, -1).square().mean(2)) if points else None

    def played(self, frames: Tensor) -> Tensor:
        """Synthesize as hosts do, [rows, frame_length]; not differentiable."""
        return torch.from_numpy(self._host(frames.numpy()))


def _pooled(power: Tensor) -> Tensor:
    mean = F.avg_pool1d(power[:, None], POOLED, 1, POOLED // 2)[:, 0]
    return (mean + float(QUIETEST) ** 2).sqrt()


STARTS = 16  # of a gradient search; at least one per label
ROUNDS = 20  # evaluations between two progress reports
FOUND_LOSS = 3e-3  # of a sound's amplitudes: smaller differences count as found
EVALUATIONS = 80  # of least squares: most need fifteen
EXACT_LOSS = 1e-7  # of a sound's roots, squared: -70 dB
RANDOM_CODES, RESTARTS = 128, 6  # random codes, and the nearest of them from which least squares begins again
BATCH_FRAMES = 64  # frames decoded per batch: those of long clips fill memory
SEED = 0

Progress = Callable[[float], None]


class SearchStage(NamedTuple):
    """Evaluations per start, pooling factor, and starts kept."""

    evaluations: int
    pooled: int
    kept_starts: int


STAGES = (SearchStage(40, 4, 4), SearchStage(60, 2, 2), SearchStage(900, 1, 1))


@dataclass(frozen=True)
class SearchOptions:
    """``starts`` are per sound. ``gain_counts``: codes determine loudness; None: as the model's kind."""

    seed: int = SEED
    stages: Sequence[SearchStage] = STAGES
    starts: int = STARTS
    gain_counts: bool | None = None
    further: Further | None = None


def gradient(model: Model, sounds: Sequence[SearchTarget], progress: Progress | None = None) -> list[SearchResult]:
    return CodeSearcher(model).gradient(sounds, progress)


def hybrid(model: Model, sounds: Sequence[SearchTarget], progress: Progress | None = None) -> list[SearchResult]:
    return CodeSearcher(model).hybrid(sounds, progress)


class CodeSearcher:
    """Searches a model's codes; raises `UserError` if it cannot be searched."""

    def __init__(self, model: Model, options: SearchOptions | None = None) -> None:
        self.options = options or SearchOptions()
        self._model, self._card, self._decoder, self._view = (
            model,
            model.card,
            RebuiltDecoder(model),
            _view_of(model.card),
        )
        self._sounding = ClipSoundView(model.card) if isinstance(self._view, MagnitudeView) else None
        self._played = self._sounding or self._view
        if self.options.gain_counts is not None:
            self._view.gain_counts = self._played.gain_counts = self.options.gain_counts
        self._low, self._high = span(model.card)
        # Clips of samples have several minima: least squares begins again from other codes.
        self._many_minima = model.card.transform_length is None and kind_of(model.card).of_clips

    def gradient(self, sounds: Sequence[SearchTarget], progress: Progress | None = None) -> list[SearchResult]:
        """Search from random codes, at least one for each label."""
        targets, classes = self._targets(sounds)
        likeness = FrameDistance(self._view, targets)
        generator = torch.Generator().manual_seed(self.options.seed)
        starts = max(self.options.starts, len(self._card.labels))
        groups = torch.arange(len(sounds)).repeat_interleave(starts)
        labels_in_turn = torch.arange(starts).repeat(len(sounds)) % max(1, len(self._card.labels))
        labels = classes[groups] if self._card.keyed else labels_in_turn
        points = torch.rand(len(groups), len(self._low), generator=generator)
        total, evaluated = sum(stage.evaluations for stage in self.options.stages), 0
        for stage in self.options.stages:
            objective = self._difference(likeness, groups, labels, stage.pooled)
            minimiser = Minimiser(objective, points, groups, "stochastic", FOUND_LOSS, generator)
            for first in range(0, stage.evaluations, ROUNDS):
                ended = minimiser.run(min(ROUNDS, stage.evaluations - first))
                evaluated += min(ROUNDS, stage.evaluations - first)
                if progress is not None:
                    progress(evaluated / total)
            best_rows = _best_rows(ended.losses, groups, stage.kept_starts)
            points, groups, labels = ended.points[best_rows].float(), groups[best_rows], labels[best_rows]
        played = self._likeness(sounds)
        return self._search_results(points, groups, labels, ended.settled[best_rows], played, [None] * len(sounds))

    def hybrid(self, sounds: Sequence[SearchTarget], progress: Progress | None = None) -> list[SearchResult]:
        if self._sounding is not None:
            return refined(self._model, sounds, progress, self._further_of_clips())
        played, points, groups, labels = self._starts(sounds)
        encoder_missed = self._missed_shares(played, points, groups, labels)
        ends = []
        for number in range(len(sounds)):
            ends.append(self._refine_code(played, number, points[number], labels[number]))
            if progress is not None:
                progress((number + 1) / len(sounds))
        refined_points = torch.stack([end.point for end in ends])
        settled = torch.tensor([end.settled for end in ends])
        return self._search_results(refined_points, groups, labels, settled, played, encoder_missed.tolist())

    def descent(self, sounds: Sequence[SearchTarget], evaluations: int) -> list[SearchResult]:
        """Refine codes by L-BFGS, as the publication's hybrid."""
        played, points, groups, labels = self._starts(sounds)
        encoder_missed = self._missed_shares(played, points, groups, labels)
        objective = self._difference(FrameDistance(self._view, self._targets(sounds)[0]), groups, labels, 1)
        generator = torch.Generator().manual_seed(self.options.seed)
        ended = Minimiser(objective, points, groups, "stochastic", FOUND_LOSS, generator).run(evaluations)
        return self._search_results(
            ended.points.float(), groups, labels, ended.settled, played, encoder_missed.tolist()
        )

    def _refine_code(self, played: FrameDistance, number: int, point: Tensor, label: Tensor) -> LeastSquares:
        target_index = torch.tensor([number])

        def residuals(points: Tensor) -> Tensor:
            return played.residuals(self._decoded(points, label.expand(len(points))), target_index)

        best = least_squares(residuals, point, EVALUATIONS, EXACT_LOSS)
        if not self._many_minima or best.loss <= EXACT_LOSS:
            return best
        generator = torch.Generator().manual_seed(self.options.seed)
        random_points = torch.rand(RANDOM_CODES, len(point), generator=generator)
        with torch.no_grad():
            losses = residuals(random_points).square().sum(1)
        for start in random_points[losses.argsort()[:RESTARTS]]:
            best = min(best, least_squares(residuals, start, EVALUATIONS, EXACT_LOSS), key=lambda end: end.loss)
            if best.loss <= EXACT_LOSS:
                break
        return best

    def _further_of_clips(self) -> Callable[[Array, int], Array] | None:
        further = self.options.further
        if further is None:
            return None

        def clip_residuals(clips: Array, number: int) -> Array:
            with torch.no_grad():
                residuals: Array = further(torch.from_numpy(clips), torch.tensor([number])).numpy()
            return residuals

        return clip_residuals

    def _starts(self, sounds: Sequence[SearchTarget]) -> tuple[FrameDistance, Tensor, Tensor, Tensor]:
        played, groups = self._likeness(sounds), torch.arange(len(sounds))
        codes = torch.tensor(np.stack([sound.code for sound in sounds if sound.code is not None]))
        points = ((codes - self._low) / (self._high - self._low)).clamp(0, 1).float()
        if not self._card.labels:
            return played, points, groups, self._targets(sounds)[1]
        if all(sound.label is not None for sound in sounds):
            return played, points, groups, torch.tensor([sound.label for sound in sounds])
        constant_labels = [torch.full_like(groups, label) for label in range(len(self._card.labels))]
        nearest = torch.stack(
            [self._missed_shares(played, points, groups, labels) for labels in constant_labels]
        ).argmin(0)
        start_labels = [
            int(guess) if sound.label is None else sound.label for sound, guess in zip(sounds, nearest, strict=True)
        ]
        return played, points, groups, torch.tensor(start_labels)

    def _likeness(self, sounds: Sequence[SearchTarget]) -> FrameDistance:
        return FrameDistance(
            self._played, [self._played.target_sound(sound.frames) for sound in sounds], self.options.further
        )

    def _targets(self, sounds: Sequence[SearchTarget]) -> tuple[list[TargetSound], Tensor]:
        targets = [self._view.target_sound(sound.frames) for sound in sounds]
        return targets, torch.tensor([sound.condition or 0 for sound in targets])

    def _decoded(self, points: Tensor, labels: Tensor) -> Tensor:
        conditions = labels[:, None].float()
        if self._card.conditions and self._card.partials is None:
            conditions = torch.nn.functional.one_hot(labels, self._card.conditions).float()
        frames: Tensor = self._decoder((self._low + points * (self._high - self._low)).float(), conditions)
        return self._view.convert_frames(frames, labels)

    def _difference(self, likeness: FrameDistance, groups: Tensor, labels: Tensor, pooled: int) -> Objective:
        def difference(points: Tensor, rows: Tensor) -> Tensor:
            batches = zip(torch.split(points, BATCH_FRAMES), torch.split(rows, BATCH_FRAMES), strict=True)
            differences = [
                likeness.difference(self._decoded(batch, labels[row]), groups[row], pooled) for batch, row in batches
            ]
            return torch.cat(differences)

        return difference

    def _missed_shares(self, played: FrameDistance, points: Tensor, groups: Tensor, labels: Tensor) -> Tensor:
        shares = []
        with torch.no_grad():
            for rows in torch.split(torch.arange(len(points)), BATCH_FRAMES):
                frames = self._decoded(points[rows], labels[rows])
                sounds = frames if self._sounding is None else self._sounding.played(frames)
                shares.append(played.difference(sounds, groups[rows]))
        return torch.cat(shares)

    def _search_results(
        self,
        points: Tensor,
        groups: Tensor,
        labels: Tensor,
        settled: Tensor,
        played: FrameDistance,
        encoder_missed: Sequence[float | None],
    ) -> list[SearchResult]:
        codes = torch.clamp(self._low + points.double() * (self._high - self._low), self._low, self._high).numpy()
        missed_shares = self._missed_shares(played, points, groups, labels)
        return [
            SearchResult(code, int(label) if self._card.labels else None, encoder_share, float(missed), bool(converged))
            for code, label, encoder_share, missed, converged in zip(
                codes, labels, encoder_missed, missed_shares, settled, strict=True
            )
        ]


def span(card: Card) -> tuple[Tensor, Tensor]:
    low, high = ([getattr(latent, end) for latent in card.latents] for end in ("low", "high"))
    return torch.tensor(low, dtype=torch.float64), torch.tensor(high, dtype=torch.float64)


def _best_rows(losses: Tensor, groups: Tensor, count: int) -> Tensor:
    order = sorted(range(len(losses)), key=lambda row: (int(groups[row]), float(losses[row])))
    group_counts: dict[int, int] = {}
    best_rows = []
    for row in order:
        group = int(groups[row])
        group_counts[group] = group_counts.get(group, 0) + 1
        if group_counts[group] <= count:
            best_rows.append(row)
    return torch.tensor(best_rows)


def _view_of(card: Card) -> View:
    if (view := KINDS[card.kind].view) is None:
        kinds = ", ".join(repr(name) for name, kind in KINDS.items() if kind.view is not None)
        raise UserError(f"model {card.name!r} is of kind {card.kind!r}, and codes are searched for models of {kinds}")
    return view(card)
