"""Measures of sets are those of closed forms and of other implementations."""

import math

import numpy as np
import pytest
import scipy.linalg
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.stats import entropy
from timbrel.train.metrics.clips import frechet, inception_score, pairwise


def with_moments(count, mean, covariance, seed=0):
    """Vectors whose mean and covariance are these to the last digit."""
    drawn = np.random.default_rng(seed).standard_normal((count, len(mean)))
    drawn -= drawn.mean(0)
    white = drawn @ np.linalg.inv(np.linalg.cholesky(np.cov(drawn.T))).T
    return white @ np.linalg.cholesky(covariance).T + mean


def some_covariance(size, seed):
    factor = np.random.default_rng(seed).standard_normal((size, size))
    return factor @ factor.T + 0.1 * np.eye(size)


def test_gaussians_with_known_moments_lie_as_far_apart_as_the_closed_form_says():
    """Dowson and Landau: |m - n|² + tr(A + B - 2 (A B)^½), the root here by Schur's decomposition."""
    a, b, m, n = some_covariance(6, 1), some_covariance(6, 2), np.arange(6.0), np.ones(6)
    expected = np.square(m - n).sum() + np.trace(a + b - 2 * scipy.linalg.sqrtm(a @ b).real)
    assert frechet(with_moments(50, m, a), with_moments(80, n, b, seed=3)) == pytest.approx(expected, rel=1e-9)


def test_independent_dimensions_add_up_differences_of_means_and_of_deviations():
    first = with_moments(40, np.zeros(3), np.diag([1.0, 4.0, 9.0]))
    second = with_moments(40, np.array([1.0, 0.0, -2.0]), np.diag([9.0, 4.0, 1.0]), seed=1)
    assert frechet(first, second) == pytest.approx(1 + 4 + (1 - 3) ** 2 + (3 - 1) ** 2, rel=1e-9)


@pytest.mark.parametrize(("vectors", "dimensions"), [(2, 1), (2, 8), (5, 64), (100, 200)])
def test_sets_with_fewer_vectors_than_dimensions_have_a_distance(vectors, dimensions):
    """In the coordinates of the space that they span it is the closed form's."""
    rng = np.random.default_rng(0)
    first, second = rng.standard_normal((2, vectors, dimensions))
    assert frechet(first, first) == pytest.approx(0, abs=1e-6 * dimensions)
    axes = np.linalg.svd(np.concatenate([first, second]), full_matrices=False)[2]
    inside = frechet(first @ axes.T, second @ axes.T)
    assert frechet(first, second) == pytest.approx(inside, rel=1e-6)
    assert frechet(first, second) == pytest.approx(frechet(second, first), rel=1e-6)


@given(arrays(np.float64, st.tuples(st.integers(2, 6), st.integers(1, 5)), elements=st.floats(-1e3, 1e3)))
def test_whatever_sets_have_a_distance_that_is_a_number_and_none_from_themselves(vectors):
    scale = max(1.0, float(np.square(vectors).sum()))
    assert frechet(vectors, vectors) <= 1e-6 * scale
    assert math.isfinite(frechet(vectors, vectors[:2]))


def test_one_label_each_scores_as_many_as_there_are_labels():
    posteriors = np.tile(np.eye(10, dtype=np.float32), (30, 1))
    assert inception_score(posteriors) == pytest.approx(10, abs=1e-5)


def test_ten_things_of_ten_labels_score_ten():
    """They would score 1 in ten parts of one thing each."""
    assert inception_score(np.eye(10, dtype=np.float32)) == pytest.approx(10, abs=1e-5)


@pytest.mark.parametrize("posteriors", [np.full((50, 10), 0.1), np.eye(10)[np.full(50, 3)]])
def test_nothing_told_and_one_label_for_all_score_one(posteriors):
    assert inception_score(posteriors) == pytest.approx(1, abs=1e-5)


def test_a_score_is_that_of_scipys_entropies():
    drawn = np.random.default_rng(0).dirichlet(np.full(7, 0.3), 103).astype(np.float32)
    divergences = [entropy(row, drawn.astype(float).mean(0)) for row in drawn]
    assert inception_score(drawn) == pytest.approx(math.exp(np.mean(divergences)), rel=1e-5)


@given(st.integers(1, 30), st.integers(1, 12))
def test_a_score_lies_between_one_and_the_number_of_labels(things, labels):
    drawn = np.random.default_rng(things).dirichlet(np.full(labels, 0.2), things)
    assert 1 - 1e-9 <= inception_score(drawn) <= min(labels, things) + 1e-9


def test_diversity_is_the_mean_over_every_two():
    points = np.random.default_rng(0).standard_normal((9, 4))
    distances = np.linalg.norm(points[:, None] - points[None], axis=2)
    pairs = [np.linalg.norm(points[i] - points[j]) for i in range(9) for j in range(i)]
    assert pairwise(distances) == pytest.approx(np.mean(pairs))
    assert pairwise(np.zeros((1, 1))) == 0
