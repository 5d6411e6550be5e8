"""Orders of examples: each number once, in little memory."""

import tracemalloc

import numpy as np
import pytest
from timbrel.train import loop
from timbrel.train.loop import LISTED, ExampleOrder


def order(count, seed=0):
    return ExampleOrder(count, np.random.default_rng(seed))


def test_a_short_order_is_numpys_permutation():
    assert np.array_equal(order(1000)[:], np.random.default_rng(0).permutation(1000))


@pytest.mark.parametrize("count", [1, 2, 3, 17, 64, 65, 1000, 4097])
def test_a_calculated_order_has_each_number_once(monkeypatch, count):
    monkeypatch.setattr(loop, "LISTED", 0)
    found = order(count)[:]
    assert found.dtype == np.int64
    assert np.array_equal(np.sort(found), np.arange(count))
    assert np.array_equal(np.concatenate([order(count)[: count // 2], order(count)[count // 2 :]]), found)


def test_a_calculated_order_is_random(monkeypatch):
    """Neighbours are independent, seeds differ, and the first places are spread like random ones."""
    monkeypatch.setattr(loop, "LISTED", 0)
    count = 100_000
    found, other = order(count)[:], order(count, 1)[:]
    assert (found == other).mean() < 1e-3
    for shift in (1, 2, 64):
        assert abs(np.corrcoef(found[:-shift], found[shift:])[0, 1]) < 0.02
    assert abs(np.corrcoef(found, np.arange(count))[0, 1]) < 0.02
    counts = np.histogram(found[:6400], 64, (0, count))[0]
    assert ((counts - 100) ** 2 / 100).sum() < 64 + 5 * np.sqrt(2 * 64)  # chi-square of 63 degrees of freedom


def test_an_order_of_a_billion_takes_no_memory():
    tracemalloc.start()
    found = order(10**9 + LISTED)[10**9 - 64 : 10**9]
    assert tracemalloc.get_traced_memory()[1] < 100_000
    tracemalloc.stop()
    assert len(np.unique(found)) == 64
    assert 0 <= found.min() < found.max() < 10**9 + LISTED
