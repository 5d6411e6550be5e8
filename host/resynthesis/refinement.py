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
from .codes import Span
from .distance import FRAME, HOP, LOWEST_DB, log_mel, sounding

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
    search = _Refining(model)
    results: list[SearchResult] = []
    for number, sound in enumerate(sounds):
        more = None if further is None else (lambda clips, number=number: further(clips, number))
        results.append(search.refine(sound, more))
        if progress is not None:
            progress((number + 1) / len(sounds))
    return results


class _Target:
    def __init__(self, clip: Array, card: Card, further: Callable[[Array], Array] | None) -> None:
        self._rate, self._further = card.sample_rate, further
        self._levels = log_mel(clip[np.newaxis], card.sample_rate)[0]
        self._cells = sounding(self._levels)
        last = int(np.flatnonzero(self._cells.any(1)).max(initial=0))
        self._frames = last + 1
        assert card.transform_length is not None
        self.spectra = -(-(last * HOP + FRAME // 2 + card.transform_length // 2) // card.hop_length) + 1
        self.whole = further is not None  # these residuals depend on the whole clip

    def residuals(self, clips: Array, *, to_end: bool = False) -> Array:
        """``to_end``: up to the target's end only, where the clips' loudest cell must lie."""
        if to_end and not self.whole:
            clips = clips[:, : self._frames * HOP + FRAME]
        levels = log_mel(clips, self._rate)[:, : self._frames]
        lacking = self._frames - levels.shape[1]
        levels = np.pad(levels, ((0, 0), (0, lacking), (0, 0)), constant_values=LOWEST_DB) if lacking > 0 else levels
        cells = self._cells[: self._frames]
        differences: Array = (levels - self._levels[: self._frames])[:, cells] / (
            UNIT_DB * np.maximum(1, cells.sum()) ** 0.5
        )
        return differences if self._further is None else np.concatenate([differences, self._further(clips)], axis=1)


class _Refining:
    def __init__(self, model: Model) -> None:
        card = model.card
        assert card.transform_length is not None
        self._model, self._card, self._span = model, card, Span(card)
        self._sound = SpectraSound(card.frame_length, card.transform_length, card.hop_length, card.envelope_points)

    def refine(self, sought: SearchTarget, further: Callable[[Array], Array] | None) -> SearchResult:
        assert sought.code is not None
        target = _Target(sought.frames[0], self._card, further)
        code = self._span.into(sought.code)
        label = sought.label if sought.label is not None or not self._card.labels else self._label(target, code)
        recorded_phasors = self._cut(target, self._sound.own_phasors(sought.frames[0]))

        def played(codes: Doubles) -> Array:
            return target.residuals(self._sound(self._decoded(codes, label)))

        def as_recorded(codes: Doubles) -> Array:
            return target.residuals(self._sound.at_phasors(self._decoded(codes, label), recorded_phasors), to_end=True)

        first, _ = self._descend(code, FIRST_STEPS, as_recorded, lambda _: as_recorded, full_jacobians=1)
        code = min((code, first), key=lambda candidate: _loss(played(candidate[np.newaxis])[0]))
        residuals_near = functools.partial(self._residuals_at, target, label=label)
        code, settled = self._descend(code, STEPS, played, residuals_near, full_jacobians=2)
        return SearchResult(code, label, None, None, settled)

    def _descend(
        self,
        code: Doubles,
        steps: int,
        residuals: Residuals,
        residuals_near: Callable[[Doubles], Residuals],
        full_jacobians: int,
    ) -> tuple[Doubles, bool]:
        """``residuals_near`` returns residuals near a code, smooth enough for slopes.

        The last of ``full_jacobians`` follows a step of an updated one that hardly gained.
        """
        residual = residuals(code[np.newaxis])[0]
        slopes: Doubles | None = None
        for step in range(MOST_STEPS):
            if step >= steps and _loss(residual) > NEAR:
                break
            if slopes is None or _loss(residual) < NEAR:  # near the model's own sounds, weak directions decide
                full, slopes = True, self._jacobian(residuals_near(code), code)
            else:
                full, slopes = False, self._updated(slopes, residuals_near(code), code)
            full_jacobians -= full
            trials = self._trials(code, residual, slopes)
            tried = residuals(trials)
            best = min(range(len(trials)), key=lambda row: _loss(tried[row]))
            loss_before, loss_after = _loss(residual), _loss(tried[best])
            if loss_after < loss_before:
                code, residual = trials[best], tried[best]
            if not loss_after < (1 - (GAIN if loss_after > NEAR else GAIN_NEAR)) * loss_before:
                if full or full_jacobians <= 0:
                    return code, True
                slopes = None
        return code, False

    def _residuals_at(self, target: _Target, code: Doubles, label: int | None) -> Residuals:
        phasors = self._cut(target, self._sound.phasors(self._decoded(code[np.newaxis], label)[0]))
        return lambda codes: target.residuals(self._sound.at_phasors(self._decoded(codes, label), phasors), to_end=True)

    def _cut(self, target: _Target, phasors: Spectrum) -> Spectrum:
        return phasors if target.whole else phasors[: target.spectra]

    def _label(self, target: _Target, code: Doubles) -> int:
        labels = range(len(self._card.labels))
        clips = np.concatenate([self._sound(self._decoded(code[np.newaxis], label)) for label in labels])
        return int(np.square(target.residuals(clips)).sum(1).argmin())

    def _decoded(self, codes: Doubles, label: int | None) -> Array:
        return self._model.decode(codes.astype(np.float32), np.full(len(codes), label or 0))

    def _jacobian(self, residuals: Residuals, code: Doubles) -> Doubles:
        aside = np.where(code > self._span.middle, -ASIDE, ASIDE)  # inside the span
        return self._differences(residuals, code, np.diag(aside)) / aside[:, np.newaxis]

    def _updated(self, slopes: Doubles, residuals: Residuals, code: Doubles) -> Doubles:
        """Return slopes, measured again along the strongest directions of the former ones."""
        squares, directions = np.linalg.eigh(slopes @ slopes.T)
        count = int(np.searchsorted(np.cumsum(squares[::-1]), STRONGEST * squares.sum())) + 1
        strongest = directions[:, -count:].T
        measured = self._differences(residuals, code, ASIDE * strongest) / ASIDE
        updated: Doubles = slopes + strongest.T @ (measured - strongest @ slopes)
        return updated

    def _differences(self, residuals: Residuals, code: Doubles, steps: Doubles) -> Doubles:
        """Return differences of residuals, [steps, m], after steps in spans, [steps, n_latents]."""
        moved_codes = np.concatenate([code[np.newaxis], code + steps * self._span.width])
        parts = range(0, len(moved_codes), TOGETHER)
        rows = np.concatenate([residuals(moved_codes[first : first + TOGETHER]) for first in parts]).astype(np.float64)
        differences: Doubles = rows[1:] - rows[0]
        return differences

    def _trials(self, code: Doubles, residual: Array, slopes: Doubles) -> Doubles:
        """Latents at a limit do not pass it."""
        downhill = slopes @ residual
        limited = self._span.beyond(code, -downhill)
        free = np.where(limited[:, np.newaxis], 0.0, slopes)
        curvature = free @ free.T
        usual = max(float(curvature.diagonal().mean()), 1e-30)
        damped = curvature + np.multiply.outer(DAMPINGS, usual * np.eye(len(code)))
        steps = np.linalg.solve(damped, np.where(limited, 0.0, downhill)[:, np.newaxis])[..., 0]
        return np.stack([self._span.into(code - step * self._span.width) for step in steps])


def _loss(residual: Array) -> float:
    """Infinite if any residual is NaN."""
    return float(np.nan_to_num(np.square(residual, dtype=np.float64).sum(), nan=np.inf))
