"""Least squares over few numbers, by Jacobians: Levenberg and Marquardt's method inside a box.

(Marquardt, "An algorithm for least-squares estimation of nonlinear parameters", J. SIAM 1963.) Where a code can give a
sound exactly the residuals vanish, and each step squares what is left; a search by slopes alone takes hundreds of steps
along valleys that a Jacobian sees. Its columns, one a latent, are computed forwards in one batch.
"""

from collections.abc import Callable

import torch
from torch import Tensor

from .lbfgs import Ended

Residuals = Callable[[Tensor, Tensor], Tensor]  # points [some, n], the numbers of their rows → residuals [some, m]

TOGETHER = 128  # columns of Jacobians computed at once
DAMPING, LEAST, MOST = 1e-2, 1e-9, 1e6  # of the mean curvature: at first, and its bounds
EASIER, HARDER = 0.2, 4.0  # what it is multiplied by after a step that gained, and one that did not
GAIN, PATIENCE = 5e-3, 2  # so many steps in turn that gain less than this share of the loss are the end


def least_squares(residuals: Residuals, points: Tensor, steps: int, found: float) -> Ended:
    """Minimise the sum of squared residuals of each row, from a point in the unit box or at its ends.

    Args:
        residuals: of a row they must not depend on other rows.
        points: [rows, n], 0 to 1.
        steps: the most of a row, each with a Jacobian.
        found: a sum of squares that ends a row's search.
    """
    rows, n = points.shape
    x = points.float().clamp(0, 1)
    loss, damping = torch.full((rows,), torch.inf), torch.full((rows,), DAMPING)
    taken, idle = torch.zeros(rows, dtype=torch.long), torch.zeros(rows, dtype=torch.long)
    active = torch.ones(rows, dtype=torch.bool)
    while len(left := active.nonzero()[:, 0]):
        for part in torch.split(left, max(1, TOGETHER // n)):
            rest, ways = _jacobian(residuals, x[part], part)
            before = rest.square().sum(1)
            moved, after, damping[part] = _step(residuals, x[part], part, before, damping[part], rest, ways)
            gained = before - after
            idle[part] = torch.where(gained > GAIN * before, 0, idle[part] + 1)
            idle[part] = torch.where(gained > 0, idle[part], PATIENCE)
            x[part], loss[part] = moved, after
        taken[left] += 1
        active = (idle < PATIENCE) & (loss > found) & (taken < steps)
    settled = (idle >= PATIENCE) | (loss <= found)
    return Ended(x.double(), loss.double(), taken, settled)


def _jacobian(residuals: Residuals, points: Tensor, rows: Tensor) -> tuple[Tensor, Tensor]:
    """Return the residuals of rows, [some, m], and how they change along each coordinate, [some, n, m]."""
    some, n = points.shape
    many, along = points.repeat_interleave(n, 0), torch.eye(n).repeat(some, 1)
    numbers = rows.repeat_interleave(n)
    with torch.no_grad():
        rest, ways, *_ = torch.func.jvp(lambda at: residuals(at, numbers), (many,), (along,))
    return rest[::n], ways.view(some, n, -1)


def _step(
    residuals: Residuals, points: Tensor, rows: Tensor, before: Tensor, damping: Tensor, rest: Tensor, ways: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """Return points that gain, or those given where nothing does; their losses; and the damping for the next step."""
    slope = (ways @ rest[:, :, None])[:, :, 0]
    held = ((points <= 0) & (slope > 0)) | ((points >= 1) & (slope < 0))
    ways = ways.masked_fill(held[:, :, None], 0.0)
    slope = slope.masked_fill(held, 0.0)
    curvature = ways @ ways.transpose(1, 2)
    usual = curvature.diagonal(dim1=1, dim2=2).mean(1).clamp_min(1e-30)
    best, after, open_ = points.clone(), before.clone(), torch.ones(len(points), dtype=torch.bool)
    while open_.any():
        damped = curvature + (damping * usual)[:, None, None] * torch.eye(points.shape[1])
        trial = (points - torch.linalg.solve(damped, slope)).clamp(0, 1)
        with torch.no_grad():
            loss = residuals(trial[open_], rows[open_]).square().sum(1)
        gains = torch.zeros_like(open_)
        gains[open_] = loss < before[open_]
        best[gains], after[gains] = trial[gains], loss[gains[open_]]
        damping = torch.where(gains, damping * EASIER, torch.where(open_, damping * HARDER, damping))
        open_ = open_ & ~gains & (damping < MOST)
    return best, after, damping.clamp(LEAST, MOST / HARDER)
