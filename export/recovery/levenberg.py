"""Levenberg-Marquardt least squares of few parameters in a box, with Broyden updates of the Jacobian.

(Marquardt, J. SIAM 1963.) A Jacobian follows narrow valleys, but costs ten evaluations. So each evaluation updates it
(Broyden, Mathematics of Computation 1965, equation 4.5); it is computed again once, when updates stop helping.
"""

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from .lbfgs import held_at_bounds

Residuals = Callable[[Tensor], Tensor]  # points [some, n] → residuals [some, m]

TOGETHER = 64  # Jacobian columns per batch: more fill memory
ASIDE = 1e-3  # finite-difference step, of the box: smaller ones drown in single precision
JACOBIANS = 2  # a third gains a hundredth
DAMPING, LEAST, MOST = 1e-2, 1e-6, 1e6  # of the mean curvature: with a new Jacobian, and bounds
EASIER, HARDER = 0.3, 4.0  # factors after a step that gained, and one that did not
GAIN, PATIENCE = 2e-2, 2  # this many steps in a row below this relative gain: the Jacobian is stale
TINY = 1e-12  # keeps divisors above 0


class LeastSquares(NamedTuple):
    """The best point, [n], its loss, and whether the search converged."""

    point: Tensor
    loss: float
    evaluations: int
    settled: bool


def least_squares(residuals: Residuals, point: Tensor, evaluations: int, found: float) -> LeastSquares:
    """Minimize the sum of squared residuals in the unit box.

    Args:
        point: the start, [n], 0 to 1.
        found: a sum of squares that ends the search.
    """
    best = point.float().clamp(0, 1)[None]
    with torch.no_grad():
        rest = residuals(best)
        ways, jacobians = _jacobian(residuals, best), 1
        loss, damping, idle = float(rest.square().sum()), DAMPING, 0
        for count in range(1, evaluations):
            if loss <= found:
                return LeastSquares(best[0], loss, count, True)
            if idle == PATIENCE:
                if jacobians == JACOBIANS:
                    return LeastSquares(best[0], loss, count, True)
                ways, jacobians, damping, idle = _jacobian(residuals, best), jacobians + 1, DAMPING, 0
            trial = _aimed(best[0], rest[0], ways, damping)[None]
            step, given = trial - best, residuals(trial)
            tried = float(given.square().sum())
            idle = 0 if tried < (1 - GAIN) * loss else idle + 1
            if torch.isfinite(given).all():
                ways += step.T / step.square().sum().clamp_min(TINY) @ (given - rest - step @ ways)
            if tried < loss:
                best, rest, loss, damping = trial, given, tried, max(damping * EASIER, LEAST)
            else:
                damping = min(damping * HARDER, MOST)
    return LeastSquares(best[0], loss, evaluations, loss <= found)


def _jacobian(residuals: Residuals, point: Tensor) -> Tensor:
    aside = torch.where(point > 0.5, -ASIDE, ASIDE)  # inside the box
    points = point + torch.diag(aside[0])
    moved = torch.cat([residuals(part) for part in torch.split(points, TOGETHER)])
    return (moved - residuals(point)) / aside.T


def _aimed(point: Tensor, rest: Tensor, ways: Tensor, damping: float) -> Tensor:
    slope = ways @ rest
    held = held_at_bounds(point, slope)
    free = ways.masked_fill(held[:, None], 0.0)
    curvature = free @ free.T
    usual = curvature.diagonal().mean().clamp_min(1e-30)
    damped = curvature + damping * usual * torch.eye(len(point))
    step: Tensor = torch.linalg.solve(damped, slope.masked_fill(held, 0.0))
    return (point - step).clamp(0, 1)
