"""Batched L-BFGS, and Levenberg-Marquardt least squares, in a box.

(Liu and Nocedal, Mathematical Programming 1989.) Doubling and halving find the weak Wolfe conditions, also where slopes
jump, as with absolute differences (Lewis and Overton, Mathematical Programming 2013, algorithm 2.6).

(Marquardt, J. SIAM 1963.) A Jacobian follows narrow valleys, but costs ten evaluations. So each evaluation updates it
(Broyden, Mathematics of Computation 1965, equation 4.5); it is computed again once, when updates stop helping.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, NamedTuple

import torch
from torch import Tensor

Objective = Callable[[Tensor, Tensor], Tensor]  # points [some, n], row indices [some] → losses [some]
Clipping = Literal["stochastic", "nearest"]

MEMORY = 10  # stored steps: more gain little (Liu and Nocedal, section 4)
FIRST_STEP = 0.05  # of the box, on average over directions: the first step, and after a jump
ARMIJO, WOLFE = 1e-4, 0.9  # sufficient decrease and curvature of a step (Nocedal and Wright 2006, section 3.1)
TRIES = 20  # of a line search: down to a millionth of its first step
PATIENCE, GAIN = 10, 1e-3  # stop after this many steps that together gain less than this share of the loss
TINY = 1e-30  # keeps divisors above 0


def held_at_bounds(points: Tensor, slope: Tensor) -> Tensor:
    """Return the coordinates at a bound with lower losses beyond it."""
    return ((points <= 0) & (slope > 0)) | ((points >= 1) & (slope < 0))


@dataclass
class SearchEnd:
    """Results of a minimization.

    Args:
        points: best of each row, [rows, n], 0 to 1.
        losses, evaluations: [rows].
        settled: a row converged, or another of its group reached the goal, [rows].
    """

    points: Tensor
    losses: Tensor
    evaluations: Tensor
    settled: Tensor


class Minimiser:
    def __init__(
        self,
        objective: Objective,
        points: Tensor,
        groups: Tensor,
        clipping: Clipping,
        goal: float,
        generator: torch.Generator,
    ) -> None:
        """Start at ``points``, [rows, n], 0 to 1.

        Args:
            objective: losses must not depend on other rows.
            groups: of rows with the same target, [rows]: all stop once one has found it.
            clipping: coordinates outside the box become random inside it (``stochastic``: Lipton and Tripathi, "Precise
                recovery of latent vectors from generative adversarial networks", 2017), or are clamped (``nearest``).
            goal: a loss that ends a group's search.
        """
        self._objective, self._groups, self._goal, self._generator = objective, groups, goal, generator
        self._jumps = clipping == "stochastic"
        rows, n = points.shape
        self._x = points.double().clamp(0, 1)
        self._slope, self._direction = torch.zeros_like(self._x), torch.zeros_like(self._x)
        self._loss = torch.full((rows,), torch.inf).double()
        self._stride, self._low_stride = torch.zeros(rows).double(), torch.zeros(rows).double()
        self._high_stride = torch.full((rows,), torch.inf).double()
        self._tries = torch.zeros(rows, dtype=torch.long)
        self._new = torch.ones(rows, dtype=torch.bool)  # loss and slope at x are unknown
        self._moves = torch.zeros(MEMORY, rows, n).double()  # the newest last
        self._slope_changes = torch.zeros(MEMORY, rows, n).double()  # change of the slope over each move
        self._recent_losses = torch.full((PATIENCE, rows), torch.inf).double()  # losses after the last moves
        self._active = torch.ones(rows, dtype=torch.bool)
        no_evaluations = torch.zeros(rows, dtype=torch.long)
        self.ended = SearchEnd(self._x.clone(), self._loss.clone(), no_evaluations, torch.zeros(rows, dtype=torch.bool))

    def run(self, evaluations: int) -> SearchEnd:
        """Evaluate active rows up to this many more times; return the best points so far."""
        for _ in range(evaluations):
            rows = self._active.nonzero()[:, 0]
            if not len(rows):
                break
            self._evaluate(rows)
        return self.ended

    def _evaluate(self, rows: Tensor) -> None:
        unclamped = self._x[rows] + self._stride[rows, None] * self._direction[rows]
        trial = unclamped if self._jumps else unclamped.clamp(0, 1)
        with torch.enable_grad():
            leaf = trial.clone().requires_grad_()
            raw_loss = self._objective(leaf, rows)
            (slope,) = torch.autograd.grad(raw_loss.sum(), leaf)
        loss = torch.where(torch.isfinite(slope).all(1), raw_loss.detach().double(), torch.inf)
        loss = torch.where(torch.isfinite(loss), loss, torch.inf)
        self.ended.evaluations[rows] += 1
        self._note_best(rows, trial, loss)
        step, new = trial - self._x[rows], self._new[rows]
        downhill = (self._slope[rows] * step).sum(1)
        gains = loss <= self._loss[rows] + ARMIJO * downhill
        flattens = ((slope * step).sum(1) >= WOLFE * downhill) | (trial != unclamped).any(1)
        accepted = new | (gains & flattens)
        self._accept_steps(rows[accepted], trial[accepted], loss[accepted], slope[accepted])
        self._adjust_strides(rows[~accepted], gains[~accepted])
        finished_groups = self._groups[rows[self.ended.losses[rows] <= self._goal]]
        if len(finished_groups):
            self._settle(torch.isin(self._groups, finished_groups).nonzero()[:, 0])

    def _note_best(self, rows: Tensor, points: Tensor, loss: Tensor) -> None:
        better = (loss < self.ended.losses[rows]) & (points >= 0).all(1) & (points <= 1).all(1)
        self.ended.points[rows[better]], self.ended.losses[rows[better]] = points[better], loss[better]

    def _settle(self, rows: Tensor) -> None:
        self.ended.settled[rows] = True
        self._active[rows] = False

    def _accept_steps(self, rows: Tensor, points: Tensor, loss: Tensor, slope: Tensor) -> None:
        step, slope_change = points - self._x[rows], slope - self._slope[rows]
        curved = ~self._new[rows] & ((step * slope_change).sum(1) > TINY)
        curved_rows = rows[curved]
        self._moves[:, curved_rows] = torch.cat([self._moves[1:, curved_rows], step[None, curved]])
        self._slope_changes[:, curved_rows] = torch.cat(
            [self._slope_changes[1:, curved_rows], slope_change[None, curved]]
        )
        self._x[rows], self._loss[rows], self._slope[rows], self._new[rows] = points, loss, slope, False
        converged = (loss >= (1 - GAIN) * self._recent_losses[0, rows]) | ~torch.isfinite(loss)
        self._recent_losses[:, rows] = torch.cat([self._recent_losses[1:, rows], loss[None]])
        self._settle(rows[converged])
        self._aim(rows[~converged])
        if self._jumps:
            self._jump(rows[~converged])

    def _jump(self, rows: Tensor) -> None:
        points = self._x[rows]
        outside = (points < 0) | (points > 1)
        jumping = outside.any(1)
        random_points = torch.rand(points.shape, generator=self._generator, dtype=points.dtype)
        rows = rows[jumping]
        self._x[rows] = torch.where(outside, random_points, points)[jumping]
        self._forget(rows)
        self._new[rows], self._stride[rows], self._recent_losses[:, rows] = True, 0.0, torch.inf

    def _forget(self, rows: Tensor) -> None:
        self._moves[:, rows], self._slope_changes[:, rows] = 0.0, 0.0

    def _aim(self, rows: Tensor) -> None:
        bounded = self._bounded(rows)
        direction = torch.where(bounded, 0.0, self._slope[rows])
        # The two-loop recursion (Nocedal and Wright 2006, algorithm 7.4): newest move first, then back.
        moves, turns = self._moves[:, rows], self._slope_changes[:, rows]
        products = (moves * turns).sum(2)
        stored = products > 0  # empty entries are zero
        weights = []
        for move, turn, product, is_stored in zip(
            *(history.flip(0) for history in (moves, turns, products, stored)), strict=True
        ):
            weights.append(torch.where(is_stored, (move * direction).sum(1) / (product + TINY), 0.0))
            direction = direction - weights[-1][:, None] * turn
        curvature, curved = turns[-1].square().sum(1), stored[-1]
        steep = direction.norm(dim=1).clamp_min(TINY)
        first_stride = FIRST_STEP * direction.shape[1] ** 0.5 / steep
        direction = direction * torch.where(curved, products[-1] / (curvature + TINY), first_stride)[:, None]
        for move, turn, product, is_stored, weight in zip(
            moves, turns, products, stored, reversed(weights), strict=True
        ):
            correction = torch.where(is_stored, (turn * direction).sum(1) / (product + TINY), 0.0)
            direction = direction + torch.where(is_stored, weight - correction, 0.0)[:, None] * move
        self._direction[rows] = torch.where(bounded, 0.0, -direction)
        self._stride[rows], self._low_stride[rows], self._high_stride[rows], self._tries[rows] = 1.0, 0.0, torch.inf, 0

    def _bounded(self, rows: Tensor) -> Tensor:
        if self._jumps:
            return torch.zeros(len(rows), self._x.shape[1], dtype=torch.bool)
        return held_at_bounds(self._x[rows], self._slope[rows])

    def _adjust_strides(self, rows: Tensor, gained: Tensor) -> None:
        stride = self._stride[rows]
        self._low_stride[rows] = torch.where(gained, stride, self._low_stride[rows])
        self._high_stride[rows] = torch.where(gained, self._high_stride[rows], stride)
        low, high = self._low_stride[rows], self._high_stride[rows]
        self._stride[rows] = torch.where(torch.isinf(high), 2 * stride, (low + high) / 2)
        self._tries[rows] += 1
        stuck = rows[self._tries[rows] >= TRIES]
        fresh = (self._moves[-1, stuck] == 0).all(1)
        self._settle(stuck[fresh])  # even steepest descent gains nothing
        restarted = stuck[~fresh]
        self._forget(restarted)
        self._aim(restarted)


Residuals = Callable[[Tensor], Tensor]  # points [some, n] → residuals [some, m]

BATCH_COLUMNS = 64  # Jacobian columns per batch: more fill memory
DIFFERENCE_STEP = 1e-3  # finite-difference step, of the box: smaller ones drown in single precision
JACOBIANS = 2  # a third gains a hundredth
DAMPING, LEAST_DAMPING, MOST_DAMPING = 1e-2, 1e-6, 1e6  # of the mean curvature: with a new Jacobian, and bounds
EASIER, HARDER = 0.3, 4.0  # factors after a step that gained, and one that did not
LEAST_STEP_GAIN, STALE_STEPS = 2e-2, 2  # this many steps in a row below this relative gain: the Jacobian is stale
LEAST_NORM = 1e-12  # keeps divisors above 0


class LeastSquares(NamedTuple):
    """The best point, [n], its loss, and whether the search converged."""

    point: Tensor
    loss: float
    evaluations: int
    settled: bool


def least_squares(residuals: Residuals, point: Tensor, evaluations: int, goal: float) -> LeastSquares:
    """Minimize the sum of squared residuals in the unit box.

    Args:
        point: the start, [n], 0 to 1.
        goal: a sum of squares that ends the search.
    """
    best = point.float().clamp(0, 1)[None]
    with torch.no_grad():
        best_residuals = residuals(best)
        jacobian, jacobian_count = _jacobian(residuals, best), 1
        loss, damping, idle = float(best_residuals.square().sum()), DAMPING, 0
        for count in range(1, evaluations):
            if loss <= goal:
                return LeastSquares(best[0], loss, count, True)
            if idle == STALE_STEPS:
                if jacobian_count == JACOBIANS:
                    return LeastSquares(best[0], loss, count, True)
                jacobian, jacobian_count, damping, idle = _jacobian(residuals, best), jacobian_count + 1, DAMPING, 0
            trial = _damped_step(best[0], best_residuals[0], jacobian, damping)[None]
            step, trial_residuals = trial - best, residuals(trial)
            trial_loss = float(trial_residuals.square().sum())
            idle = 0 if trial_loss < (1 - LEAST_STEP_GAIN) * loss else idle + 1
            if torch.isfinite(trial_residuals).all():  # Broyden's update: the Jacobian explains the last step
                jacobian += (
                    step.T
                    / step.square().sum().clamp_min(LEAST_NORM)
                    @ (trial_residuals - best_residuals - step @ jacobian)
                )
            if trial_loss < loss:
                best, best_residuals, loss, damping = (
                    trial,
                    trial_residuals,
                    trial_loss,
                    max(damping * EASIER, LEAST_DAMPING),
                )
            else:
                damping = min(damping * HARDER, MOST_DAMPING)
    return LeastSquares(best[0], loss, evaluations, loss <= goal)


def _jacobian(residuals: Residuals, point: Tensor) -> Tensor:
    offset = torch.where(point > 0.5, -DIFFERENCE_STEP, DIFFERENCE_STEP)  # inside the box
    points = point + torch.diag(offset[0])
    moved_residuals = torch.cat([residuals(batch) for batch in torch.split(points, BATCH_COLUMNS)])
    return (moved_residuals - residuals(point)) / offset.T


def _damped_step(point: Tensor, residuals: Tensor, jacobian: Tensor, damping: float) -> Tensor:
    slope = jacobian @ residuals
    bounded = held_at_bounds(point, slope)
    free_jacobian = jacobian.masked_fill(bounded[:, None], 0.0)
    curvature = free_jacobian @ free_jacobian.T
    mean_curvature = curvature.diagonal().mean().clamp_min(1e-30)
    damped = curvature + damping * mean_curvature * torch.eye(len(point))
    step: Tensor = torch.linalg.solve(damped, slope.masked_fill(bounded, 0.0))
    return (point - step).clamp(0, 1)
