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
FIRST = 0.05  # of the box, on average over directions: the first step, and after a jump
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
        settled: a row converged, or another of its group reached ``found``, [rows].
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
        found: float,
        generator: torch.Generator,
    ) -> None:
        """Start at ``points``, [rows, n], 0 to 1.

        Args:
            objective: losses must not depend on other rows.
            groups: of rows with the same target, [rows]: all stop once one has found it.
            clipping: coordinates outside the box become random inside it (``stochastic``: Lipton and Tripathi, "Precise
                recovery of latent vectors from generative adversarial networks", 2017), or are clamped (``nearest``).
            found: a loss that ends a group's search.
        """
        self._objective, self._groups, self._found, self._generator = objective, groups, found, generator
        self._jumps = clipping == "stochastic"
        rows, n = points.shape
        self._x = points.double().clamp(0, 1)
        self._slope, self._way = torch.zeros_like(self._x), torch.zeros_like(self._x)
        self._loss = torch.full((rows,), torch.inf).double()
        self._stride, self._least = torch.zeros(rows).double(), torch.zeros(rows).double()
        self._most = torch.full((rows,), torch.inf).double()
        self._tries = torch.zeros(rows, dtype=torch.long)
        self._new = torch.ones(rows, dtype=torch.bool)  # loss and slope at x are unknown
        self._moves = torch.zeros(MEMORY, rows, n).double()  # the newest last
        self._turns = torch.zeros(MEMORY, rows, n).double()  # change of the slope over each move
        self._before = torch.full((PATIENCE, rows), torch.inf).double()  # losses after the last moves
        self._active = torch.ones(rows, dtype=torch.bool)
        nothing = torch.zeros(rows, dtype=torch.long)
        self.ended = SearchEnd(self._x.clone(), self._loss.clone(), nothing, torch.zeros(rows, dtype=torch.bool))

    def run(self, evaluations: int) -> SearchEnd:
        """Evaluate active rows up to this many more times; return the best points so far."""
        for _ in range(evaluations):
            rows = self._active.nonzero()[:, 0]
            if not len(rows):
                break
            self._evaluate(rows)
        return self.ended

    def _evaluate(self, rows: Tensor) -> None:
        aimed = self._x[rows] + self._stride[rows, None] * self._way[rows]
        trial = aimed if self._jumps else aimed.clamp(0, 1)
        with torch.enable_grad():
            leaf = trial.clone().requires_grad_()
            given = self._objective(leaf, rows)
            (slope,) = torch.autograd.grad(given.sum(), leaf)
        loss = torch.where(torch.isfinite(slope).all(1), given.detach().double(), torch.inf)
        loss = torch.where(torch.isfinite(loss), loss, torch.inf)
        self.ended.evaluations[rows] += 1
        self._note(rows, trial, loss)
        moved, new = trial - self._x[rows], self._new[rows]
        downhill = (self._slope[rows] * moved).sum(1)
        gains = loss <= self._loss[rows] + ARMIJO * downhill
        flattens = ((slope * moved).sum(1) >= WOLFE * downhill) | (trial != aimed).any(1)
        taken = new | (gains & flattens)
        self._take(rows[taken], trial[taken], loss[taken], slope[taken])
        self._search_on(rows[~taken], gains[~taken])
        found = self._groups[rows[self.ended.losses[rows] <= self._found]]
        if len(found):
            self._settle(torch.isin(self._groups, found).nonzero()[:, 0])

    def _note(self, rows: Tensor, points: Tensor, loss: Tensor) -> None:
        better = (loss < self.ended.losses[rows]) & (points >= 0).all(1) & (points <= 1).all(1)
        self.ended.points[rows[better]], self.ended.losses[rows[better]] = points[better], loss[better]

    def _settle(self, rows: Tensor) -> None:
        self.ended.settled[rows] = True
        self._active[rows] = False

    def _take(self, rows: Tensor, points: Tensor, loss: Tensor, slope: Tensor) -> None:
        moved, turned = points - self._x[rows], slope - self._slope[rows]
        kept = ~self._new[rows] & ((moved * turned).sum(1) > TINY)
        remembered = rows[kept]
        self._moves[:, remembered] = torch.cat([self._moves[1:, remembered], moved[None, kept]])
        self._turns[:, remembered] = torch.cat([self._turns[1:, remembered], turned[None, kept]])
        self._x[rows], self._loss[rows], self._slope[rows], self._new[rows] = points, loss, slope, False
        ended = (loss >= (1 - GAIN) * self._before[0, rows]) | ~torch.isfinite(loss)
        self._before[:, rows] = torch.cat([self._before[1:, rows], loss[None]])
        self._settle(rows[ended])
        self._aim(rows[~ended])
        if self._jumps:
            self._jump(rows[~ended])

    def _jump(self, rows: Tensor) -> None:
        points = self._x[rows]
        out = (points < 0) | (points > 1)
        away = out.any(1)
        drawn = torch.rand(points.shape, generator=self._generator, dtype=points.dtype)
        rows = rows[away]
        self._x[rows] = torch.where(out, drawn, points)[away]
        self._forget(rows)
        self._new[rows], self._stride[rows], self._before[:, rows] = True, 0.0, torch.inf

    def _forget(self, rows: Tensor) -> None:
        self._moves[:, rows], self._turns[:, rows] = 0.0, 0.0

    def _aim(self, rows: Tensor) -> None:
        held = self._held(rows)
        way = torch.where(held, 0.0, self._slope[rows])
        moves, turns = self._moves[:, rows], self._turns[:, rows]
        products = (moves * turns).sum(2)
        known = products > 0  # empty entries are zero
        weights = []
        for move, turn, product, there in zip(*(part.flip(0) for part in (moves, turns, products, known)), strict=True):
            weights.append(torch.where(there, (move * way).sum(1) / (product + TINY), 0.0))
            way = way - weights[-1][:, None] * turn
        last, curved = turns[-1].square().sum(1), known[-1]
        steep = way.norm(dim=1).clamp_min(TINY)
        first = FIRST * way.shape[1] ** 0.5 / steep
        way = way * torch.where(curved, products[-1] / (last + TINY), first)[:, None]
        for move, turn, product, there, weight in zip(moves, turns, products, known, reversed(weights), strict=True):
            back = torch.where(there, (turn * way).sum(1) / (product + TINY), 0.0)
            way = way + torch.where(there, weight - back, 0.0)[:, None] * move
        self._way[rows] = torch.where(held, 0.0, -way)
        self._stride[rows], self._least[rows], self._most[rows], self._tries[rows] = 1.0, 0.0, torch.inf, 0

    def _held(self, rows: Tensor) -> Tensor:
        if self._jumps:
            return torch.zeros(len(rows), self._x.shape[1], dtype=torch.bool)
        return held_at_bounds(self._x[rows], self._slope[rows])

    def _search_on(self, rows: Tensor, gained: Tensor) -> None:
        stride = self._stride[rows]
        self._least[rows] = torch.where(gained, stride, self._least[rows])
        self._most[rows] = torch.where(gained, self._most[rows], stride)
        least, most = self._least[rows], self._most[rows]
        self._stride[rows] = torch.where(torch.isinf(most), 2 * stride, (least + most) / 2)
        self._tries[rows] += 1
        stuck = rows[self._tries[rows] >= TRIES]
        fresh = (self._moves[-1, stuck] == 0).all(1)
        self._settle(stuck[fresh])  # even steepest descent gains nothing
        again = stuck[~fresh]
        self._forget(again)
        self._aim(again)


Residuals = Callable[[Tensor], Tensor]  # points [some, n] → residuals [some, m]

TOGETHER = 64  # Jacobian columns per batch: more fill memory
ASIDE = 1e-3  # finite-difference step, of the box: smaller ones drown in single precision
JACOBIANS = 2  # a third gains a hundredth
DAMPING, LEAST, MOST = 1e-2, 1e-6, 1e6  # of the mean curvature: with a new Jacobian, and bounds
EASIER, HARDER = 0.3, 4.0  # factors after a step that gained, and one that did not
LEAST_STEP_GAIN, STALE_STEPS = 2e-2, 2  # this many steps in a row below this relative gain: the Jacobian is stale
LEAST_NORM = 1e-12  # keeps divisors above 0


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
            if idle == STALE_STEPS:
                if jacobians == JACOBIANS:
                    return LeastSquares(best[0], loss, count, True)
                ways, jacobians, damping, idle = _jacobian(residuals, best), jacobians + 1, DAMPING, 0
            trial = _aimed(best[0], rest[0], ways, damping)[None]
            step, given = trial - best, residuals(trial)
            tried = float(given.square().sum())
            idle = 0 if tried < (1 - LEAST_STEP_GAIN) * loss else idle + 1
            if torch.isfinite(given).all():
                ways += step.T / step.square().sum().clamp_min(LEAST_NORM) @ (given - rest - step @ ways)
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
