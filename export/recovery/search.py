"""Searches for latent codes: by gradient descent from many starts, or least squares from a network's code.

``gradient`` follows Keyes et al., "Latent Vector Recovery of Audio GANs", 2020, section 4.2: L-BFGS on the mean
absolute error of spectrograms, with stochastic clipping; many starts and coarse-to-fine spectrograms are added.
``hybrid`` refines a network's code; the host refines magnitude clips.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

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
from ...host.spectra import mel_filters
from ..kinds.clip import MagnitudeView
from ..kinds.kind import TargetSound, View, short_spectra, sizes
from ..kinds.table import KINDS, known_kinds
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
        band_count = min(BANDS, view.length // 4)
        band_filters = mel_filters(view.card.sample_rate, view.length, band_count)
        self._mel = torch.from_numpy(band_filters.T[:, band_filters.any(1)].copy())
        target_power = self._target.square() @ self._mel
        self._loudest = target_power.amax((1, 2), keepdim=True).clamp_min(1e-12)
        self._levels = _log_levels(target_power, self._loudest)
        target_roots = self._target.sqrt()
        self._size = target_roots.square().sum((1, 2), keepdim=True).sqrt().clamp_min(1e-12)
        self._roots = target_roots / self._size
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
            pool_size = (min(pooled, decoded.shape[1]), pooled)
            decoded, target = (
                F.avg_pool2d(amplitudes[:, None], pool_size, ceil_mode=True)[:, 0] for amplitudes in (decoded, target)
            )
        return (decoded - target).abs().sum((1, 2)) / target.sum((1, 2)).clamp_min(1e-12)

    def residuals(self, frames: Tensor, target_indices: Tensor) -> Tensor:
        """Return residuals, [rows, m], of mel-band levels, envelopes and, unless noise, roots of amplitudes."""
        decoded_amplitudes = self._levelled(self._view.decoded(frames))
        power = decoded_amplitudes.square() @ self._mel
        loudest_power = (
            power.amax((1, 2), keepdim=True) if not self._view.gain_counts else self._loudest[target_indices]
        )
        level_differences = (_log_levels(power, loudest_power) - self._levels[target_indices]).flatten(1)
        residual_parts = [level_differences * (LEVELS / level_differences.shape[1] ** 0.5)]
        envelope = self._view.envelope(frames)
        if envelope is not None and self._envelope is not None:
            residual_parts.append(
                (_envelope_levels(envelope) - self._envelope[target_indices]) * (LEVELS / envelope.shape[1] ** 0.5)
            )
        if not self._view.smooth:
            residual_parts.append(
                FINE
                * (
                    (decoded_amplitudes + 1e-9).sqrt() / self._size[target_indices] - self._roots[target_indices]
                ).flatten(1)
            )
        if self._further is not None:
            residual_parts.append(self._further(frames, target_indices))
        return torch.cat(residual_parts, 1)

    def _levelled(self, amplitudes: Tensor) -> Tensor:
        """Scale amplitudes to equal energy unless gain counts."""
        if self._view.gain_counts:
            return amplitudes
        energy = amplitudes.square().sum((1, 2), keepdim=True)
        return amplitudes * (energy + 1e-12).rsqrt()


def _log_levels(power: Tensor, loudest: Tensor) -> Tensor:
    """Return logarithms of power relative to the loudest, soft ones masked."""
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
        point_count = self.card.envelope_points
        return _pooled(frames.view(len(frames), point_count, -1).square().mean(2)) if point_count else None

    def played(self, frames: Tensor) -> Tensor:
        """Synthesize as hosts do, [rows, frame_length]; not differentiable."""
        return torch.from_numpy(self._host(frames.numpy()))


def _pooled(power: Tensor) -> Tensor:
    """Return root mean squares, smoothed over `POOLED` points."""
    mean_power = F.avg_pool1d(power[:, None], POOLED, 1, POOLED // 2)[:, 0]
    return (mean_power + float(QUIETEST) ** 2).sqrt()


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
        targets, conditions = self._targets(sounds)
        frame_distance = FrameDistance(self._view, targets)
        generator = torch.Generator().manual_seed(self.options.seed)
        start_count = max(self.options.starts, len(self._card.labels))
        groups = torch.arange(len(sounds)).repeat_interleave(start_count)
        labels_in_turn = torch.arange(start_count).repeat(len(sounds)) % max(1, len(self._card.labels))
        labels = conditions[groups] if self._card.keyed else labels_in_turn
        points = torch.rand(len(groups), len(self._low), generator=generator)
        total_evaluations, evaluated_count = sum(stage.evaluations for stage in self.options.stages), 0
        for stage in self.options.stages:
            objective = self._difference(frame_distance, groups, labels, stage.pooled)
            minimiser = Minimiser(objective, points, groups, FOUND_LOSS, generator)
            for round_start in range(0, stage.evaluations, ROUNDS):
                search_end = minimiser.run(min(ROUNDS, stage.evaluations - round_start))
                evaluated_count += min(ROUNDS, stage.evaluations - round_start)
                if progress is not None:
                    progress(evaluated_count / total_evaluations)
            best_rows = _best_rows(search_end.losses, groups, stage.kept_starts)
            points, groups, labels = search_end.points[best_rows].float(), groups[best_rows], labels[best_rows]
        played_distance = self._likeness(sounds)
        return self._search_results(played_distance, points, groups, labels, search_end.settled[best_rows])

    def hybrid(self, sounds: Sequence[SearchTarget], progress: Progress | None = None) -> list[SearchResult]:
        """Refine the codes of encoders by least squares."""
        if self._sounding is not None:
            return refined(self._model, sounds, progress, self._further_of_clips())
        played_distance, points, groups, labels = self._starts(sounds)
        search_ends = []
        for sound_index in range(len(sounds)):
            search_ends.append(
                self._refine_code(played_distance, sound_index, points[sound_index], labels[sound_index])
            )
            if progress is not None:
                progress((sound_index + 1) / len(sounds))
        refined_points = torch.stack([end.point for end in search_ends])
        are_settled = torch.tensor([end.settled for end in search_ends])
        return self._search_results(played_distance, refined_points, groups, labels, are_settled, points)

    def descent(self, sounds: Sequence[SearchTarget], evaluations: int) -> list[SearchResult]:
        """Refine codes by L-BFGS, as the publication's hybrid."""
        played_distance, points, groups, labels = self._starts(sounds)
        objective = self._difference(FrameDistance(self._view, self._targets(sounds)[0]), groups, labels, 1)
        generator = torch.Generator().manual_seed(self.options.seed)
        search_end = Minimiser(objective, points, groups, FOUND_LOSS, generator).run(evaluations)
        return self._search_results(
            played_distance, search_end.points.float(), groups, labels, search_end.settled, points
        )

    def _refine_code(
        self, played_distance: FrameDistance, sound_index: int, point: Tensor, label: Tensor
    ) -> LeastSquares:
        """Refine a code by least squares, begun again from random codes where there are several minima."""
        target_index = torch.tensor([sound_index])

        def residuals(points: Tensor) -> Tensor:
            return played_distance.residuals(self._decoded(points, label.expand(len(points))), target_index)

        best_end = least_squares(residuals, point, EVALUATIONS, EXACT_LOSS)
        if not self._many_minima or best_end.loss <= EXACT_LOSS:
            return best_end
        generator = torch.Generator().manual_seed(self.options.seed)
        random_points = torch.rand(RANDOM_CODES, len(point), generator=generator)
        with torch.no_grad():
            losses = residuals(random_points).square().sum(1)
        for start_point in random_points[losses.argsort()[:RESTARTS]]:
            best_end = min(
                best_end, least_squares(residuals, start_point, EVALUATIONS, EXACT_LOSS), key=lambda end: end.loss
            )
            if best_end.loss <= EXACT_LOSS:
                break
        return best_end

    def _further_of_clips(self) -> Callable[[Array, int], Array] | None:
        """Return `SearchOptions.further` for clips of one target and its index; None without it."""
        further = self.options.further
        if further is None:
            return None

        def clip_residuals(clips: Array, sound_index: int) -> Array:
            with torch.no_grad():
                residuals: Array = further(torch.from_numpy(clips), torch.tensor([sound_index])).numpy()
            return residuals

        return clip_residuals

    def _starts(self, sounds: Sequence[SearchTarget]) -> tuple[FrameDistance, Tensor, Tensor, Tensor]:
        """Return the distance of played sounds, encoders' points in the unit box, their groups and labels."""
        played_distance, groups = self._likeness(sounds), torch.arange(len(sounds))
        codes = torch.tensor(np.stack([sound.code for sound in sounds if sound.code is not None]))
        points = ((codes - self._low) / (self._high - self._low)).clamp(0, 1).float()
        if not self._card.labels:
            return played_distance, points, groups, self._targets(sounds)[1]
        if all(sound.label is not None for sound in sounds):
            return played_distance, points, groups, torch.tensor([sound.label for sound in sounds])
        constant_labels = [torch.full_like(groups, label) for label in range(len(self._card.labels))]
        nearest_labels = torch.stack(
            [self._missed_shares(played_distance, points, groups, labels) for labels in constant_labels]
        ).argmin(0)
        start_labels = [
            int(nearest_label) if sound.label is None else sound.label
            for sound, nearest_label in zip(sounds, nearest_labels, strict=True)
        ]
        return played_distance, points, groups, torch.tensor(start_labels)

    def _likeness(self, sounds: Sequence[SearchTarget]) -> FrameDistance:
        """Return the distance to sounds as hosts play them."""
        return FrameDistance(
            self._played, [self._played.target_sound(sound.frames) for sound in sounds], self.options.further
        )

    def _targets(self, sounds: Sequence[SearchTarget]) -> tuple[list[TargetSound], Tensor]:
        """Return sounds in the view's terms, and their conditions."""
        targets = [self._view.target_sound(sound.frames) for sound in sounds]
        return targets, torch.tensor([sound.condition or 0 for sound in targets])

    def _decoded(self, points: Tensor, labels: Tensor) -> Tensor:
        """Decode points of the unit box, [rows, n], to the view's frames."""
        conditions = labels[:, None].float()
        if self._card.conditions and self._card.partials is None:
            conditions = torch.nn.functional.one_hot(labels, self._card.conditions).float()
        frames: Tensor = self._decoder((self._low + points * (self._high - self._low)).float(), conditions)
        return self._view.convert_frames(frames, labels)

    def _difference(self, frame_distance: FrameDistance, groups: Tensor, labels: Tensor, pooled: int) -> Objective:
        """Return losses of points by rows, to minimise."""

        def difference(points: Tensor, row_indices: Tensor) -> Tensor:
            batches = zip(torch.split(points, BATCH_FRAMES), torch.split(row_indices, BATCH_FRAMES), strict=True)
            differences = [
                frame_distance.difference(self._decoded(batch_points, labels[batch_rows]), groups[batch_rows], pooled)
                for batch_points, batch_rows in batches
            ]
            return torch.cat(differences)

        return difference

    def _missed_shares(self, played_distance: FrameDistance, points: Tensor, groups: Tensor, labels: Tensor) -> Tensor:
        """Return the difference of points' played sounds from their targets, [rows]."""
        shares = []
        with torch.no_grad():
            for row_indices in torch.split(torch.arange(len(points)), BATCH_FRAMES):
                frames = self._decoded(points[row_indices], labels[row_indices])
                sounds = frames if self._sounding is None else self._sounding.played(frames)
                shares.append(played_distance.difference(sounds, groups[row_indices]))
        return torch.cat(shares)

    def _search_results(
        self,
        played_distance: FrameDistance,
        points: Tensor,
        groups: Tensor,
        labels: Tensor,
        are_settled: Tensor,
        encoded_points: Tensor | None = None,
    ) -> list[SearchResult]:
        """Return a result for each point, with the difference that the encoder's point had, if it began there."""
        encoder_missed_shares: Sequence[float | None] = [None] * len(points)
        if encoded_points is not None:
            encoder_missed_shares = self._missed_shares(played_distance, encoded_points, groups, labels).tolist()
        codes = torch.clamp(self._low + points.double() * (self._high - self._low), self._low, self._high).numpy()
        missed_shares = self._missed_shares(played_distance, points, groups, labels)
        return [
            SearchResult(
                code,
                int(label) if self._card.labels else None,
                encoder_missed_share,
                float(missed_share),
                bool(converged),
            )
            for code, label, encoder_missed_share, missed_share, converged in zip(
                codes, labels, encoder_missed_shares, missed_shares, are_settled, strict=True
            )
        ]


def span(card: Card) -> tuple[Tensor, Tensor]:
    """Return knobs' low and high ends, [latents] each."""
    low, high = ([getattr(latent, end) for latent in card.latents] for end in ("low", "high"))
    return torch.tensor(low, dtype=torch.float64), torch.tensor(high, dtype=torch.float64)


def _best_rows(losses: Tensor, groups: Tensor, count: int) -> Tensor:
    """Return the indices of the ``count`` best rows of each group."""
    sorted_rows = sorted(range(len(losses)), key=lambda row: (int(groups[row]), float(losses[row])))
    group_counts: dict[int, int] = {}
    best_rows = []
    for row in sorted_rows:
        group = int(groups[row])
        group_counts[group] = group_counts.get(group, 0) + 1
        if group_counts[group] <= count:
            best_rows.append(row)
    return torch.tensor(best_rows)


def _view_of(card: Card) -> View:
    if (view := KINDS[card.kind].view) is None:
        kinds = ", ".join(repr(name) for name, kind in known_kinds().items() if kind.view is not None)
        raise UserError(f"model {card.name!r} is of kind {card.kind!r}, and codes are searched for models of {kinds}")
    return view(card)
