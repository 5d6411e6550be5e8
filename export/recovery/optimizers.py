"""Batched L-BFGS, and Levenberg-Marquardt least squares, in a box.

(Liu and Nocedal, Mathematical Programming 1989.) Doubling and halving find the weak Wolfe conditions, also where slopes
jump, as with absolute differences (Lewis and Overton, Mathematical Programming 2013, algorithm 2.6).

(Marquardt, J. SIAM 1963.) A Jacobian follows narrow valleys, but costs ten evaluations. So each evaluation updates it
(Broyden, Mathematics of Computation 1965, equation 4.5); it is computed again once, when updates stop helping.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

Objective = Callable[[Tensor, Tensor], Tensor]  # points [some, n], row indices [some] → losses [some]

MEMORY = 10  # stored steps: more gain little (Liu and Nocedal, section 4)
FIRST_STEP = 0.05  # of the box, on average over directions: the first step, and after a jump
ARMIJO, WOLFE = 1e-4, 0.9  # sufficient decrease and curvature of a step (Nocedal and Wright 2006, section 3.1)
TRIES = 20  # of a line search: down to a millionth of its first step
PATIENCE, GAIN = 10, 1e-3  # stop after this many steps that together gain less than this share of the loss
TINY = 1e-30  # keeps divisors above 0


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
        goal: float,
        generator: torch.Generator,
    ) -> None:
        """Start at ``points``, [rows, n], 0 to 1.

        Coordinates that leave the box become random inside it (stochastic clipping: Lipton and Tripathi, "Precise
        recovery of latent vectors from generative adversarial networks", 2017).

        Args:
            objective: losses must not depend on other rows.
            groups: of rows with the same target, [rows]: all stop once one has found it.
            goal: a loss that ends a group's search.
        """
        self._objective, self._groups, self._goal, self._generator = objective, groups, goal, generator
        row_count, n = points.shape
        self._x = points.double().clamp(0, 1)
        self._slope, self._direction = torch.zeros_like(self._x), torch.zeros_like(self._x)
        self._loss = torch.full((row_count,), torch.inf).double()
        self._stride, self._low_stride = torch.zeros(row_count).double(), torch.zeros(row_count).double()
        self._high_stride = torch.full((row_count,), torch.inf).double()
        self._tries = torch.zeros(row_count, dtype=torch.long)
        self._new = torch.ones(row_count, dtype=torch.bool)  # loss and slope at x are unknown
        self._moves = torch.zeros(MEMORY, row_count, n).double()  # the newest last
        self._slope_changes = torch.zeros(MEMORY, row_count, n).double()  # change of the slope over each move
        self._recent_losses = torch.full((PATIENCE, row_count), torch.inf).double()  # losses after the last moves
        self._active = torch.ones(row_count, dtype=torch.bool)
        no_evaluations = torch.zeros(row_count, dtype=torch.long)
        self.ended = SearchEnd(
            self._x.clone(), self._loss.clone(), no_evaluations, torch.zeros(row_count, dtype=torch.bool)
        )

    def run(self, evaluations: int) -> SearchEnd:
        """Evaluate active rows up to this many more times; return the best points so far."""
        for _ in range(evaluations):
            rows = self._active.nonzero()[:, 0]
            if not len(rows):
                break
            self._evaluate(rows)
        return self.ended

    def _evaluate(self, rows: Tensor) -> None:
        """Try the next step of rows, by index."""
        trial_points = self._x[rows] + self._stride[rows, None] * self._direction[rows]
        with torch.enable_grad():
            leaf_points = trial_points.clone().requires_grad_()
            raw_losses = self._objective(leaf_points, rows)
            (slope,) = torch.autograd.grad(raw_losses.sum(), leaf_points)
        losses = torch.where(torch.isfinite(slope).all(1), raw_losses.detach().double(), torch.inf)
        losses = torch.where(torch.isfinite(losses), losses, torch.inf)
        self.ended.evaluations[rows] += 1
        self._note_best(rows, trial_points, losses)
        step, is_new = trial_points - self._x[rows], self._new[rows]
        downhill = (self._slope[rows] * step).sum(1)
        has_gained = losses <= self._loss[rows] + ARMIJO * downhill
        has_flattened = (slope * step).sum(1) >= WOLFE * downhill
        is_accepted = is_new | (has_gained & has_flattened)
        self._accept_steps(rows[is_accepted], trial_points[is_accepted], losses[is_accepted], slope[is_accepted])
        self._adjust_strides(rows[~is_accepted], has_gained[~is_accepted])
        finished_groups = self._groups[rows[self.ended.losses[rows] <= self._goal]]
        if len(finished_groups):
            self._settle(torch.isin(self._groups, finished_groups).nonzero()[:, 0])

    def _note_best(self, rows: Tensor, points: Tensor, losses: Tensor) -> None:
        """Note points, [rows, n], that are the best of their rows so far."""
        is_better = (losses < self.ended.losses[rows]) & (points >= 0).all(1) & (points <= 1).all(1)
        self.ended.points[rows[is_better]], self.ended.losses[rows[is_better]] = points[is_better], losses[is_better]

    def _settle(self, rows: Tensor) -> None:
        """End the search of rows."""
        self.ended.settled[rows] = True
        self._active[rows] = False

    def _accept_steps(self, rows: Tensor, points: Tensor, losses: Tensor, slope: Tensor) -> None:
        """Move rows to points, note losses and slopes there, and aim again."""
        step, slope_change = points - self._x[rows], slope - self._slope[rows]
        is_curved = ~self._new[rows] & ((step * slope_change).sum(1) > TINY)
        curved_rows = rows[is_curved]
        self._moves[:, curved_rows] = torch.cat([self._moves[1:, curved_rows], step[None, is_curved]])
        self._slope_changes[:, curved_rows] = torch.cat(
            [self._slope_changes[1:, curved_rows], slope_change[None, is_curved]]
        )
        self._x[rows], self._loss[rows], self._slope[rows], self._new[rows] = points, losses, slope, False
        is_converged = (losses >= (1 - GAIN) * self._recent_losses[0, rows]) | ~torch.isfinite(losses)
        self._recent_losses[:, rows] = torch.cat([self._recent_losses[1:, rows], losses[None]])
        self._settle(rows[is_converged])
        self._aim(rows[~is_converged])
        self._jump(rows[~is_converged])

    def _jump(self, rows: Tensor) -> None:
        """Replace coordinates outside the box by random ones."""
        points = self._x[rows]
        is_outside = (points < 0) | (points > 1)
        is_jumping = is_outside.any(1)
        random_points = torch.rand(points.shape, generator=self._generator, dtype=points.dtype)
        rows = rows[is_jumping]
        self._x[rows] = torch.where(is_outside, random_points, points)[is_jumping]
        self._forget(rows)
        self._new[rows], self._stride[rows], self._recent_losses[:, rows] = True, 0.0, torch.inf

    def _forget(self, rows: Tensor) -> None:
        """Forget the moves of rows."""
        self._moves[:, rows], self._slope_changes[:, rows] = 0.0, 0.0

    def _aim(self, rows: Tensor) -> None:
        """Choose the direction and the first stride of rows."""
        direction = self._slope[rows]
        # The two-loop recursion (Nocedal and Wright 2006, algorithm 7.4): newest move first, then back.
        moves, slope_changes = self._moves[:, rows], self._slope_changes[:, rows]
        products = (moves * slope_changes).sum(2)
        are_stored = products > 0  # empty entries are zero
        weights = []
        for move, slope_change, product, is_stored in zip(
            *(history.flip(0) for history in (moves, slope_changes, products, are_stored)), strict=True
        ):
            weights.append(torch.where(is_stored, (move * direction).sum(1) / (product + TINY), 0.0))
            direction = direction - weights[-1][:, None] * slope_change
        curvature, is_curved = slope_changes[-1].square().sum(1), are_stored[-1]
        steepness = direction.norm(dim=1).clamp_min(TINY)
        first_stride = FIRST_STEP * direction.shape[1] ** 0.5 / steepness
        direction = direction * torch.where(is_curved, products[-1] / (curvature + TINY), first_stride)[:, None]
        for move, slope_change, product, is_stored, weight in zip(
            moves, slope_changes, products, are_stored, reversed(weights), strict=True
        ):
            correction = torch.where(is_stored, (slope_change * direction).sum(1) / (product + TINY), 0.0)
            direction = direction + torch.where(is_stored, weight - correction, 0.0)[:, None] * move
        self._direction[rows] = -direction
        self._stride[rows], self._low_stride[rows], self._high_stride[rows], self._tries[rows] = 1.0, 0.0, torch.inf, 0

    def _adjust_strides(self, rows: Tensor, has_gained: Tensor) -> None:
        """Double or halve strides of rows, some of which gained by their last one."""
        stride = self._stride[rows]
        self._low_stride[rows] = torch.where(has_gained, stride, self._low_stride[rows])
        self._high_stride[rows] = torch.where(has_gained, self._high_stride[rows], stride)
        low_strides, high_strides = self._low_stride[rows], self._high_stride[rows]
        self._stride[rows] = torch.where(torch.isinf(high_strides), 2 * stride, (low_strides + high_strides) / 2)
        self._tries[rows] += 1
        stuck_rows = rows[self._tries[rows] >= TRIES]
        is_fresh = (self._moves[-1, stuck_rows] == 0).all(1)
        self._settle(stuck_rows[is_fresh])  # even steepest descent gains nothing
        restarted_rows = stuck_rows[~is_fresh]
        self._forget(restarted_rows)
        self._aim(restarted_rows)


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
    best_point = point.float().clamp(0, 1)[None]
    with torch.no_grad():
        best_residuals = residuals(best_point)
        jacobian, jacobian_count = _jacobian(residuals, best_point), 1
        loss, damping, idle_steps = float(best_residuals.square().sum()), DAMPING, 0
        for evaluation_count in range(1, evaluations):
            if loss <= goal:
                return LeastSquares(best_point[0], loss, evaluation_count, True)
            if idle_steps == STALE_STEPS:
                if jacobian_count == JACOBIANS:
                    return LeastSquares(best_point[0], loss, evaluation_count, True)
                jacobian, jacobian_count, damping, idle_steps = (
                    _jacobian(residuals, best_point),
                    jacobian_count + 1,
                    DAMPING,
                    0,
                )
            trial_point = _damped_step(best_point[0], best_residuals[0], jacobian, damping)[None]
            step, trial_residuals = trial_point - best_point, residuals(trial_point)
            trial_loss = float(trial_residuals.square().sum())
            idle_steps = 0 if trial_loss < (1 - LEAST_STEP_GAIN) * loss else idle_steps + 1
            if torch.isfinite(trial_residuals).all():  # Broyden's update: the Jacobian explains the last step
                jacobian += (
                    step.T
                    / step.square().sum().clamp_min(LEAST_NORM)
                    @ (trial_residuals - best_residuals - step @ jacobian)
                )
            if trial_loss < loss:
                best_point, best_residuals, loss, damping = (
                    trial_point,
                    trial_residuals,
                    trial_loss,
                    max(damping * EASIER, LEAST_DAMPING),
                )
            else:
                damping = min(damping * HARDER, MOST_DAMPING)
    return LeastSquares(best_point[0], loss, evaluations, loss <= goal)


def _jacobian(residuals: Residuals, point: Tensor) -> Tensor:
    """Return the Jacobian by finite differences, [n, m]."""
    offsets = torch.where(point > 0.5, -DIFFERENCE_STEP, DIFFERENCE_STEP)  # inside the box
    points = point + torch.diag(offsets[0])
    moved_residuals = torch.cat([residuals(batch) for batch in torch.split(points, BATCH_COLUMNS)])
    return (moved_residuals - residuals(point)) / offsets.T


def _damped_step(point: Tensor, residuals: Tensor, jacobian: Tensor, damping: float) -> Tensor:
    """Return the point after a damped step against the slope of squared residuals."""
    slope = jacobian @ residuals
    # A coordinate at a bound with lower losses beyond it stays there.
    is_bounded = ((point <= 0) & (slope > 0)) | ((point >= 1) & (slope < 0))
    free_jacobian = jacobian.masked_fill(is_bounded[:, None], 0.0)
    curvature = free_jacobian @ free_jacobian.T
    mean_curvature = curvature.diagonal().mean().clamp_min(1e-30)
    damped_curvature = curvature + damping * mean_curvature * torch.eye(len(point))
    step: Tensor = torch.linalg.solve(damped_curvature, slope.masked_fill(is_bounded, 0.0))
    return (point - step).clamp(0, 1)
