"""The minimisers find what SciPy's find, from many points at once and inside the box."""

import numpy as np
import pytest
import scipy.optimize
import torch
from timbrel.export.recovery.optimizers import Minimiser, least_squares

N = 6


def rosenbrock(points, rows):
    x = 4 * points - 2
    return (100 * (x[:, 1:] - x[:, :-1].square()).square() + (1 - x[:, :-1]).square()).sum(1)


def chance(seed=0):
    return torch.Generator().manual_seed(seed)


def searched(objective, points, evaluations=300, groups=None, found=-1.0):
    groups = torch.arange(len(points)) if groups is None else groups
    return Minimiser(objective, points, groups, found, chance()).run(evaluations)


def with_slope(objective):
    """An objective of one point as SciPy wants it: its value and its slope."""

    def given(point):
        leaf = torch.tensor(point[None], requires_grad=True)
        loss = objective(leaf, torch.zeros(1, dtype=torch.long))[0]
        return float(loss), torch.autograd.grad(loss, leaf)[0][0].numpy()

    return given


def test_a_curved_valley_is_followed_to_the_minimum_that_scipy_finds():
    points = torch.rand(12, N, generator=chance())
    ended = searched(rosenbrock, points)
    theirs = [
        scipy.optimize.minimize(
            with_slope(rosenbrock), point.double().numpy(), jac=True, method="L-BFGS-B", bounds=[(0, 1)] * N
        )
        for point in points
    ]
    assert sorted(ended.losses.round(decimals=3).tolist())[:8] == [0.0] * 8
    assert {round(float(loss), 2) for loss in ended.losses} == {round(found.fun, 2) for found in theirs}
    assert float(ended.evaluations.double().mean()) < 2 * np.mean([found.nfev for found in theirs])
    assert ended.settled.all()


def test_rows_are_searched_as_each_alone():
    points = torch.rand(5, N, generator=chance())
    together = searched(rosenbrock, points, 30)
    for row in range(5):
        alone = searched(rosenbrock, points[row : row + 1], 30)
        assert alone.points[0] == pytest.approx(together.points[row])
        assert alone.evaluations[0] == together.evaluations[row]


def test_absolute_differences_come_to_an_end_at_their_corner():
    target = torch.tensor([0.2, 0.4, 0.6, 0.8, 0.5, 0.3]).double()
    ended = searched(lambda points, rows: (points - target).abs().sum(1), torch.rand(4, N, generator=chance()), 400)
    assert ended.points.numpy() == pytest.approx(target.expand(4, N).numpy(), abs=1e-3)
    assert (ended.evaluations < 400).all()


def test_what_leaves_the_box_is_drawn_anew_inside_it_and_the_best_met_there_is_kept():
    def downhill(points, rows):  # there is no least but outside
        seen.append(points.detach())
        return points.sum(1)

    seen = []
    ended = searched(downhill, torch.full((3, N), 0.5), 100)
    tried = torch.cat(seen)
    assert ((tried < 0) | (tried > 1)).any()
    assert ((ended.points >= 0) & (ended.points <= 1)).all()
    inside = tried[((tried >= 0) & (tried <= 1)).all(1)]
    assert len(torch.unique(inside, dim=0)) > 3
    assert float(ended.losses.min()) == pytest.approx(float(inside.sum(1).min()))


def test_a_group_is_done_when_one_of_its_rows_has_found():
    points = torch.rand(8, N, generator=chance())
    points[2] = 0.75  # the least
    ended = searched(rosenbrock, points, 50, groups=torch.arange(8) // 4, found=1e-6)
    assert ended.evaluations[:4].tolist() == [1] * 4
    assert (ended.evaluations[4:] > 1).all()


def test_losses_that_are_no_numbers_are_never_the_best():
    def broken(points, rows):
        return torch.where(points[:, 0] > 0.5, torch.nan, (points - 0.2).square().sum(1))

    ended = searched(broken, torch.rand(6, N, generator=chance()) * 0.4)
    assert ended.losses.numpy() == pytest.approx(0, abs=1e-6)


def test_least_squares_finds_what_scipy_finds():
    mix = torch.randn(20, N, generator=chance())

    def residuals(points, off):
        return torch.tanh(points @ mix.T) - torch.tanh(mix @ torch.full((N,), 0.4)) + 0.01 * off

    for off, point in enumerate(torch.rand(7, N, generator=chance())):
        ended = least_squares(lambda at, off=off: residuals(at, off), point, 60, 1e-10)
        theirs = scipy.optimize.least_squares(
            lambda at, off=off: residuals(torch.tensor(at[None]).float(), off)[0].numpy(),
            point.numpy(),
            bounds=(0, 1),
            diff_step=1e-3,
        )
        assert ended.loss <= 2 * theirs.cost * 1.01 + 1e-9
        assert ended.loss < 1e-9 or off  # at 0 the residuals can vanish
        assert ended.evaluations < 30
        assert ended.settled


def test_least_squares_computes_one_jacobian_for_many_steps():
    mix, rows = torch.randn(20, N, generator=chance()), []

    def bent(points):
        rows.append(len(points))
        return torch.tanh(points @ mix.T) - torch.tanh(mix @ torch.full((N,), 0.4))

    ended = least_squares(bent, torch.full((N,), 0.6), 60, 1e-10)
    assert ended.loss < 1e-10
    assert rows.count(N) <= 2 < 6 < ended.evaluations


def test_least_squares_goes_along_the_end_of_the_box_that_a_coordinate_is_pressed_to():
    target = torch.linspace(-0.6, 1.6, N)
    mix = torch.randn(N, N, generator=chance()) + torch.eye(N)
    ended = least_squares(lambda points: (points - target) @ mix.T, torch.full((N,), 0.5), 60, 0.0)
    theirs = scipy.optimize.lsq_linear(mix.double().numpy(), (mix @ target).double().numpy(), bounds=(0, 1))
    assert ended.loss == pytest.approx(2 * theirs.cost, rel=1e-3)
    assert ended.point.numpy() == pytest.approx(theirs.x, abs=0.01)


def test_least_squares_stays_in_the_box_and_says_when_its_evaluations_are_used_up():
    ended = least_squares(lambda points: points + 1.0, torch.rand(N, generator=chance()), 40, 0.0)
    assert (ended.point == 0).all()
    assert ended.settled
    stopped = least_squares(
        lambda points: torch.stack([10 * (points[:, 1] - points[:, 0].square()), 1 - points[:, 0]], 1),
        torch.tensor([0.0, 1.0]),
        2,
        0.0,
    )
    assert stopped.evaluations == 2
    assert not stopped.settled
