"""Runs in processes of their own, and runs compared to the bit."""

import os
import subprocess
import sys

import torch
from timbrel.train import checkpoint

from ..patience import until

# Beside a GPU, torch has threads for its gradients, and no fork has them.
START = "fork" if sys.platform == "linux" and not torch.cuda.is_available() else "spawn"


def command(*arguments):
    """A process of the command line, one thread a process as in these tests."""
    return subprocess.Popen(
        [sys.executable, "-m", "timbrel", *map(str, arguments)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )


def wait_for(path, process):
    """Until the file is there."""
    until(lambda: process.poll() is not None or path.exists(), path)
    assert process.poll() is None, process.communicate()


def same(one, two):
    """Return whether two nested values are equal to the bit."""
    if isinstance(one, torch.Tensor):
        return torch.equal(one, two)
    if isinstance(one, dict):
        return one.keys() == two.keys() and all(same(one[key], two[key]) for key in one)
    if isinstance(one, list | tuple):
        return len(one) == len(two) and all(same(a, b) for a, b in zip(one, two, strict=True))
    return one == two


def assert_same_run(one, two):
    """Weights, optimiser and place of the last checkpoint, and the best one's weights, to the bit."""
    last = [checkpoint.load(run.last) for run in (one, two)]
    assert last[0]["progress"]["step"] == last[1]["progress"]["step"]
    assert same(last[0]["model"], last[1]["model"])
    assert same(last[0]["optimizer"], last[1]["optimizer"])
    assert last[0]["progress"]["best"] == last[1]["progress"]["best"]
    assert same(checkpoint.load(one.best)["model"], checkpoint.load(two.best)["model"])
