"""Least squares over few numbers, inside a box: Levenberg and Marquardt's steps by a Jacobian that is kept up to date.

(Marquardt, "An algorithm for least-squares estimation of nonlinear parameters", J. SIAM 1963.) A Jacobian sees along
narrow valleys that a search by slopes crosses hundreds of times, and costs as much as some ten evaluations. So it is
computed where the search begins, and corrected by what each evaluation tells of it (Broyden, "A class of methods for
solving nonlinear simultaneous equations", Mathematics of Computation 1965, equation 4.5); where the corrected one no
longer leads on it is computed once more. Its columns, one a latent, are differences of points in one batch.
"""

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

Residuals = Callable[[Tensor], Tensor]  # points [some, n] → residuals [some, m]

TOGETHER = 64  # columns of a Jacobian computed at once: more fill memory
ASIDE = 1e-3  # of the box, to the points of differences: less drowns in single precision
JACOBIANS = 2  # a third gains a hundredth
DAMPING, LEAST, MOST = 1e-2, 1e-6, 1e6  # of the mean curvature: with a new Jacobian, and its bounds
EASIER, HARDER = 0.3, 4.0  # what it is multiplied by after a step that gained, and one that did not
GAIN, PATIENCE = 2e-2, 2  # so many steps in turn that gain less than this share of the loss: the Jacobian leads nowhere
TINY = 1e-12  # keeps divisors above 0


class Least(NamedTuple):
    """The best point that was met, [n], its loss, and whether the search came to an end of its own."""

    point: Tensor
    loss: float
    evaluations: int
    settled: bool


def least_squares(residuals: Residuals, point: Tensor, evaluations: int, found: float) -> Least:
    """Minimise the sum of squared residuals from a point in the unit box or at its ends.

    Args:
        point: [n], 0 to 1.
        evaluations: the most.
        found: a sum of squares that ends the search.
    """
    best = point.float().clamp(0, 1)[None]
    with torch.no_grad():
        rest = residuals(best)
        ways, jacobians = _jacobian(residuals, best), 1
        loss, damping, idle = float(rest.square().sum()), DAMPING, 0
        for count in range(1, evaluations):
            if loss <= found:
                return Least(best[0], loss, count, True)
            if idle == PATIENCE:
                if jacobians == JACOBIANS:
                    return Least(best[0], loss, count, True)
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
    return Least(best[0], loss, evaluations, loss <= found)


def _jacobian(residuals: Residuals, point: Tensor) -> Tensor:
    """Return how residuals change along each coordinate from a point [1, n], [n, m]."""
    aside = torch.where(point > 0.5, -ASIDE, ASIDE)  # inside the box
    points = point + torch.diag(aside[0])
    moved = torch.cat([residuals(part) for part in torch.split(points, TOGETHER)])
    return (moved - residuals(point)) / aside.T


def _aimed(point: Tensor, rest: Tensor, ways: Tensor, damping: float) -> Tensor:
    """Return where a damped step leads; coordinates stay at an end of the box that lower losses lie beyond."""
    slope = ways @ rest
    held = ((point <= 0) & (slope > 0)) | ((point >= 1) & (slope < 0))
    free = ways.masked_fill(held[:, None], 0.0)
    curvature = free @ free.T
    usual = curvature.diagonal().mean().clamp_min(1e-30)
    damped = curvature + damping * usual * torch.eye(len(point))
    step: Tensor = torch.linalg.solve(damped, slope.masked_fill(held, 0.0))
    return (point - step).clamp(0, 1)
