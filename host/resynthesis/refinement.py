"""Refines codes of magnitude clip models, by least squares on the log-mel distance that `timbrel recover` prints.

The residuals' sum of squares is (`distance.distance_db` / 10)². Each step solves the damped normal equations of
Levenberg and Marquardt (Marquardt, "An algorithm for least-squares estimation of nonlinear parameters", J. SIAM 1963)
with several dampings, and keeps the nearest clip as played. Phase reconstruction has no useful gradient, so the
Jacobian holds the best code's host phases; in the first steps the recording's, which recovers the exact code of sounds
that the model made. A full Jacobian costs a clip for each latent, so steps update its strongest directions alone.
"""

import functools
from collections.abc import Callable, Sequence
from typing import NamedTuple, Protocol

import numpy as np

from ..arrays import Array, Doubles, Spectrum
from ..engines.clip.synthesis import SpectraSound
from ..model.card import Card
from ..model.model import Model
from ..spectra import CLIP_FRAME, CLIP_HOP, LOWEST_DB, log_mel
from .codes import Span
from .distance import sounding

MARGIN = 3  # frame lengths on either side of a frame: transposing two octaves down reads a window four times as long


class SearchTarget(NamedTuple):
    """A request: one code for all frames of a sound."""

    frames: Array  # [frames, samples] at the model's rate, each centred in its row
    code: Doubles | None  # [n_latents], the encoder's; None without, as ``label``
    label: int | None


class SearchResult(NamedTuple):
    """The missed shares are None without the encoder's code, or if the search minimises the printed distance."""

    code: Doubles
    label: int | None  # its number
    encoder_missed: float | None  # share of the sound that the encoder's code misses
    missed: float | None  # the same of this code
    settled: bool  # the search converged


class Search(Protocol):
    def __call__(
        self, model: Model, sounds: Sequence[SearchTarget], progress: Callable[[float], None] | None = None
    ) -> list[SearchResult]:
        """A result for each sound; ``progress`` receives 0 to 1.

        Raises:
            UserError: the model's decoder cannot be searched.
        """


Residuals = Callable[[Doubles], Array]  # codes [rows, n_latents] → residuals [rows, m]
Further = Callable[[Array, int], Array]  # clips and their sound's index → residuals [clips, m]

FIRST_STEPS, STEPS = 8, 12  # with the recording's phases, and the host's: most sounds need four to seven
DAMPINGS = (0.01, 0.1, 1.0, 10.0, 100.0)  # of the mean curvature: small ones suit long slopes, large ones sharp bends
GAIN = 0.005  # of the sum of squares: the last step gains less
NEAR, GAIN_NEAR = 0.02, 0.0005  # a distance of 1.4 dB: the model made the sound itself, so the exact code exists
MOST_STEPS = 30
ASIDE = 1e-3  # of a latent's span, the finite-difference step: smaller steps drown in float32 noise
UNIT_DB = 10.0  # of residuals: a distance of 10 dB is a sum of squares of 1
STRONGEST = 0.99  # of the squares of the slopes: a quarter to a half of the directions has so much
TOGETHER = 16  # Jacobian columns computed at once: limits the memory for spectra


def can_refine(card: Card) -> bool:
    return card.transform_length is not None and card.domain == "magnitude"


def refined(
    model: Model,
    sounds: Sequence[SearchTarget],
    progress: Callable[[float], None] | None = None,
    further: Further | None = None,
) -> list[SearchResult]:
    """Refine the encoder's codes of clips (a `Search`).

    Codes stay in the training span (`Span`), none farther from its sound than the encoder's, clamped. ``further`` adds
    residuals of clips, such as a classifier's outputs.
    """
    refiner = _Refining(model)
    results: list[SearchResult] = []
    for sound_index, target in enumerate(sounds):
        further_residuals = (
            None if further is None else (lambda clips, sound_index=sound_index: further(clips, sound_index))
        )
        results.append(refiner.refine(target, further_residuals))
        if progress is not None:
            progress((sound_index + 1) / len(sounds))
    return results


class _Target:
    """The sound to be met, and the residuals of clips from it."""

    def __init__(self, clip: Array, card: Card, further: Callable[[Array], Array] | None) -> None:
        self._rate, self._further = card.sample_rate, further
        self._target_levels = log_mel(clip[np.newaxis], card.sample_rate)[0]
        self._sounding_cells = sounding(self._target_levels)
        last_frame = int(np.flatnonzero(self._sounding_cells.any(1)).max(initial=0))
        self._frame_count = last_frame + 1
        assert card.transform_length is not None
        self.spectrum_count = (
            -(-(last_frame * CLIP_HOP + CLIP_FRAME // 2 + card.transform_length // 2) // card.hop_length) + 1
        )
        self.needs_whole_clip = further is not None  # these residuals depend on the whole clip

    def residuals(self, clips: Array, *, to_end: bool = False) -> Array:
        """``to_end``: up to the target's end only, where the clips' loudest cell must lie."""
        if to_end and not self.needs_whole_clip:
            clips = clips[:, : self._frame_count * CLIP_HOP + CLIP_FRAME]
        clip_levels = log_mel(clips, self._rate)[:, : self._frame_count]
        lacking_frames = self._frame_count - clip_levels.shape[1]
        clip_levels = (
            np.pad(clip_levels, ((0, 0), (0, lacking_frames), (0, 0)), constant_values=LOWEST_DB)
            if lacking_frames > 0
            else clip_levels
        )
        sounding_cells = self._sounding_cells[: self._frame_count]
        scaled_differences: Array = (clip_levels - self._target_levels[: self._frame_count])[:, sounding_cells] / (
            UNIT_DB * np.maximum(1, sounding_cells.sum()) ** 0.5
        )
        return (
            scaled_differences
            if self._further is None
            else np.concatenate([scaled_differences, self._further(clips)], axis=1)
        )


class _Refining:
    def __init__(self, model: Model) -> None:
        card = model.card
        assert card.transform_length is not None
        self._model, self._card, self._span = model, card, Span(card)
        self._sound = SpectraSound(card.frame_length, card.transform_length, card.hop_length, card.envelope_points)

    def refine(self, search_target: SearchTarget, further: Callable[[Array], Array] | None) -> SearchResult:
        assert search_target.code is not None
        target = _Target(search_target.frames[0], self._card, further)
        code = self._span.into(search_target.code)
        label_index = (
            search_target.label
            if search_target.label is not None or not self._card.labels
            else self._label(target, code)
        )
        recorded_phasors = self._cut(target, self._sound.own_phasors(search_target.frames[0]))

        def played(codes: Doubles) -> Array:
            """Residuals of the codes' clips, as the host plays them."""
            return target.residuals(self._sound(self._decoded(codes, label_index)))

        def as_recorded(codes: Doubles) -> Array:
            """Residuals of the codes' clips with the recording's phases."""
            return target.residuals(
                self._sound.at_phasors(self._decoded(codes, label_index), recorded_phasors), to_end=True
            )

        first_code, _ = self._descend(code, FIRST_STEPS, as_recorded, lambda _: as_recorded, full_jacobian_count=1)
        code = min((code, first_code), key=lambda candidate: _loss(played(candidate[np.newaxis])[0]))
        residuals_near = functools.partial(self._residuals_at, target, label_index=label_index)
        code, is_settled = self._descend(code, STEPS, played, residuals_near, full_jacobian_count=2)
        return SearchResult(code, label_index, None, None, is_settled)

    def _descend(
        self,
        code: Doubles,
        step_count: int,
        residuals: Residuals,
        residuals_near: Callable[[Doubles], Residuals],
        full_jacobian_count: int,
    ) -> tuple[Doubles, bool]:
        """``residuals_near`` returns residuals near a code, smooth enough for slopes.

        The last of ``full_jacobian_count`` follows a step of an updated one that hardly gained.
        """
        best_residuals = residuals(code[np.newaxis])[0]
        slopes: Doubles | None = None
        for step in range(MOST_STEPS):
            if step >= step_count and _loss(best_residuals) > NEAR:
                break
            if slopes is None or _loss(best_residuals) < NEAR:  # near the model's own sounds, weak directions decide
                is_full, slopes = True, self._jacobian(residuals_near(code), code)
            else:
                is_full, slopes = False, self._updated(slopes, residuals_near(code), code)
            full_jacobian_count -= is_full
            trial_codes = self._trials(code, best_residuals, slopes)
            trial_residuals = residuals(trial_codes)
            best_index = min(range(len(trial_codes)), key=lambda row: _loss(trial_residuals[row]))
            loss_before, loss_after = _loss(best_residuals), _loss(trial_residuals[best_index])
            if loss_after < loss_before:
                code, best_residuals = trial_codes[best_index], trial_residuals[best_index]
            if not loss_after < (1 - (GAIN if loss_after > NEAR else GAIN_NEAR)) * loss_before:
                if is_full or full_jacobian_count <= 0:
                    return code, True
                slopes = None
        return code, False

    def _residuals_at(self, target: _Target, code: Doubles, label_index: int | None) -> Residuals:
        """The residuals of codes with this code's phases."""
        phasors = self._cut(target, self._sound.phasors(self._decoded(code[np.newaxis], label_index)[0]))
        return lambda codes: target.residuals(
            self._sound.at_phasors(self._decoded(codes, label_index), phasors), to_end=True
        )

    def _cut(self, target: _Target, phasors: Spectrum) -> Spectrum:
        """Phasors up to the target's end, if later ones have no effect."""
        return phasors if target.needs_whole_clip else phasors[: target.spectrum_count]

    def _label(self, target: _Target, code: Doubles) -> int:
        """Index of the label whose clip is nearest to the target."""
        label_indices = range(len(self._card.labels))
        clips = np.concatenate(
            [self._sound(self._decoded(code[np.newaxis], label_index)) for label_index in label_indices]
        )
        return int(np.square(target.residuals(clips)).sum(1).argmin())

    def _decoded(self, codes: Doubles, label_index: int | None) -> Array:
        """Decode codes, all with one label."""
        return self._model.decode(codes.astype(np.float32), np.full(len(codes), label_index or 0))

    def _jacobian(self, residuals: Residuals, code: Doubles) -> Doubles:
        """Slopes of residuals, [n_latents, m], over steps in spans."""
        step_sizes = np.where(code > self._span.middle, -ASIDE, ASIDE)  # inside the span
        return self._differences(residuals, code, np.diag(step_sizes)) / step_sizes[:, np.newaxis]

    def _updated(self, slopes: Doubles, residuals: Residuals, code: Doubles) -> Doubles:
        """Return slopes, measured again along the strongest directions of the former ones."""
        squared_slopes, directions = np.linalg.eigh(slopes @ slopes.T)
        strong_count = int(np.searchsorted(np.cumsum(squared_slopes[::-1]), STRONGEST * squared_slopes.sum())) + 1
        strong_directions = directions[:, -strong_count:].T
        measured_slopes = self._differences(residuals, code, ASIDE * strong_directions) / ASIDE
        return slopes + strong_directions.T @ (measured_slopes - strong_directions @ slopes)

    def _differences(self, residuals: Residuals, code: Doubles, steps: Doubles) -> Doubles:
        """Return differences of residuals, [steps, m], after steps in spans, [steps, n_latents]."""
        moved_codes = np.concatenate([code[np.newaxis], code + steps * self._span.width])
        chunk_starts = range(0, len(moved_codes), TOGETHER)
        residual_rows = np.concatenate(
            [residuals(moved_codes[chunk_start : chunk_start + TOGETHER]) for chunk_start in chunk_starts]
        ).astype(np.float64)
        return residual_rows[1:] - residual_rows[0]

    def _trials(self, code: Doubles, residual: Array, slopes: Doubles) -> Doubles:
        """Return a code for each damping, [dampings, n_latents]; latents at a limit do not pass it."""
        gradient = slopes @ residual
        is_limited = self._span.beyond(code, -gradient)
        free_slopes = np.where(is_limited[:, np.newaxis], 0.0, slopes)
        curvature = free_slopes @ free_slopes.T
        mean_curvature = max(float(curvature.diagonal().mean()), 1e-30)
        damped_curvatures = curvature + np.multiply.outer(DAMPINGS, mean_curvature * np.eye(len(code)))
        trial_steps = np.linalg.solve(damped_curvatures, np.where(is_limited, 0.0, gradient)[:, np.newaxis])[..., 0]
        return np.stack([self._span.into(code - trial_step * self._span.width) for trial_step in trial_steps])


def _loss(residual: Array) -> float:
    """Infinite if any residual is NaN."""
    return float(np.nan_to_num(np.square(residual, dtype=np.float64).sum(), nan=np.inf))
