"""Batches are cut some steps ahead, and are those that would be cut at once."""

import threading

import numpy as np
import pytest
import torch
from timbrel.host.errors import Failure
from timbrel.train.loop import BatchLoader

from ..patience import PATIENCE_SECONDS


class Examples:
    """Ten examples; a batch is their numbers and a random one, and the thread that cut it is noted."""

    def __init__(self, fails_at=None):
        self.cut, self.threads, self.fails_at = [], set(), fails_at

    def __len__(self):
        return 10

    def batch(self, frames, rng):
        self.threads.add(threading.current_thread().name)
        self.cut.append(frames.tolist())
        if len(self.cut) == self.fails_at:
            raise ValueError("a disk is gone")
        return torch.from_numpy(frames), torch.tensor(rng.random(), dtype=torch.float64)


@pytest.fixture
def loaded(request):
    def make(data, **options):
        loader = BatchLoader(data, **{"seed": 3, "batch": 2, "batches": 2} | options)
        request.addfinalizer(loader.close)
        return loader

    return make


def numbers(batches):
    return [(frames.tolist(), float(drawn)) for frames, drawn in batches]


def test_a_step_gets_the_examples_and_chances_of_its_own_seeds(loaded):
    data = Examples()
    loader = loaded(data)
    assert (loader.step_examples, loader.epoch_steps) == (4, 2)
    for step in range(5):
        epoch, place = divmod(step, 2)
        order = np.random.default_rng([3, epoch, 1]).permutation(10)
        wanted = []
        for number, seeds in enumerate(([3, step], [3, step, 0, 1])):
            first = 4 * place + 2 * number
            wanted.append((order[first : first + 2].tolist(), float(np.random.default_rng(seeds).random())))
        assert numbers(loader.take(step)) == wanted
    assert all(name.startswith("batches") for name in data.threads)


def test_a_step_again_or_a_later_one_is_cut_as_it_is(loaded):
    loader = loaded(Examples())
    first, later = numbers(loader.take(0)), numbers(loader.take(7))
    assert numbers(loader.take(0)) == first
    assert numbers(loader.take(7)) == later


def test_the_next_step_is_cut_ahead(loaded):
    data = Examples()
    loader = loaded(data)
    loader.take(0)
    assert sorted(loader._ahead) == [0, 1, 2, 3]
    loader._ahead[3].result(PATIENCE_SECONDS)
    assert len(data.cut) == 8
    loader.steps = 4
    loader.take(2)
    assert sorted(loader._ahead) == [2, 3]
    loader.take(3)
    assert sorted(loader._ahead) == [3]
    assert len(data.cut) == 8


@pytest.mark.parametrize("pinned", [False, True])
def test_batches_for_a_gpu_are_pinned_by_the_thread_that_cuts_them(loaded, monkeypatch, pinned):
    threads = []

    def pin(tensor):
        threads.append(threading.current_thread().name)
        return tensor.clone()

    monkeypatch.setattr(torch.Tensor, "pin_memory", pin)
    loader = loaded(Examples(), pinned=pinned)
    loader.steps = 1
    assert numbers(loader.take(0)) == numbers(loaded(Examples()).take(0))
    assert len(threads) == (4 if pinned else 0)  # two tensors of two batches
    assert all(name.startswith("batches") for name in threads)


def test_an_error_comes_out_at_its_step(loaded):
    loader = loaded(Examples(fails_at=3))
    loader.take(0)
    with pytest.raises(ValueError, match="a disk is gone"):
        loader.take(1)


def test_a_disk_that_is_gone_is_one_line(loaded):
    class Gone(Examples):
        def batch(self, frames, rng):
            raise OSError(5, "Input/output error")

    with pytest.raises(Failure, match="cannot read the corpus: Input/output error; go on with --resume"):
        loaded(Gone()).take(0)


def test_small_numbers_are_zero_as_in_the_main_thread(loaded):
    """Training flushes denormal numbers, in each thread by itself."""

    class Small(Examples):
        def batch(self, frames, rng):
            return (torch.from_numpy(np.float32([1e-39]) * np.float32(1.0)),)

    ((small,), _) = loaded(Small()).take(0)
    assert float(small) == 0


def test_its_thread_ends_with_it():
    loader = BatchLoader(Examples(), 3, 2, 2)
    loader.take(0)
    loader.close()
    assert not any(thread.name.startswith("batches") for thread in threading.enumerate())
