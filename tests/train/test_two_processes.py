"""Two processes train as one does, and stop, go on and fail together."""

import os
import pickle
import signal
import subprocess
import sys

import pytest
import torch
from lightning_fabric.strategies.ddp import DDPStrategy
from timbrel.train import checkpoint, launch
from timbrel.train.families.recipes import load_recipe
from timbrel.train.launch import resume, start
from timbrel.train.run import Run

from ..patience import PATIENCE_SECONDS
from .loops import CPU
from .resuming import START, command, wait_for

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture
def forked(monkeypatch):
    """Several processes are forks, which need not import torch again; what they get is pickled all the same."""
    original = launch._launch

    def handed_over(fabric, *arguments):
        return original(fabric, *pickle.loads(pickle.dumps(arguments)))

    def strategy(start_method, **options):
        assert start_method == "spawn"
        return DDPStrategy(start_method=START, **options)

    monkeypatch.setattr(launch, "_launch", handed_over)
    monkeypatch.setattr(launch, "DDPStrategy", strategy)


@pytest.mark.usefixtures("forked")
def test_two_processes_give_the_loss_of_one_within_rounding(tone_corpus, fewer, tmp_path, timbrel, monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    start(load_recipe("chroma-8", fewer), tone_corpus, tmp_path / "one", CPU)
    options = [part for change in fewer for part in ("--set", change)]
    ended = timbrel(
        *("train", "chroma-8", "--corpus", tone_corpus, "-o", tmp_path / "two"),
        *("--devices", "2", "--accelerator", "cpu", *options),
    )
    assert ended.status == 0, ended.err
    assert "60 steps" in ended.out
    one, two = (Run.open(tmp_path / name) for name in ("one", "two"))
    assert [entry["step"] for entry in two.logged()] == [entry["step"] for entry in one.logged()] == [60]
    assert two.logged()[0]["total"] == pytest.approx(one.logged()[0]["total"], rel=1e-6)
    weights = [checkpoint.load(run.last)["model"] for run in (one, two)]
    assert weights[0].keys() == weights[1].keys()
    for name, value in weights[0].items():
        torch.testing.assert_close(weights[1][name], value, atol=1e-6, rtol=1e-6)


@pytest.mark.slow
@pytest.mark.parametrize("group", [True, False])
def test_two_processes_stop_at_ctrl_c_save_and_go_on(tone_corpus, fewer, tmp_path, group):
    """From a terminal it reaches all of them, from `kill` the first alone."""
    folder = tmp_path / "run"
    changes = [part for change in [*fewer, "training.minutes=100"] for part in ("--set", change)]
    arguments = ["train", "chroma-8", "--corpus", tone_corpus, "-o", folder, "--devices", "2", "--accelerator", "cpu"]
    process = subprocess.Popen(
        [sys.executable, "-m", "timbrel", *map(str, arguments), *changes],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    wait_for(folder / "log.jsonl", process)
    (os.killpg if group else os.kill)(process.pid, signal.SIGINT)
    out, err = process.communicate(timeout=PATIENCE_SECONDS)
    assert process.returncode == 130, err
    assert "go on with: timbrel train" in out
    step = checkpoint.progress_of(checkpoint.load(folder / "last.ckpt")).step
    recipe = load_recipe(str(folder / "recipe.toml"), [f"training.steps={step + 3}"])
    assert resume(folder, recipe, CPU).step == step + 3


@pytest.mark.slow
def test_two_processes_say_a_diverged_loss_in_one_line(tone_corpus, fewer, tmp_path):
    changes = [part for change in [*fewer, "loss.mean_square=1e308"] for part in ("--set", change)]
    process = command(
        *("train", "chroma-8", "--corpus", tone_corpus, "-o", tmp_path / "run"),
        *("--devices", "2", "--accelerator", "cpu", *changes),
    )
    _, err = process.communicate(timeout=PATIENCE_SECONDS)
    assert process.returncode == 1
    assert "Traceback" not in err
    assert err.splitlines()[-1].startswith("timbrel: the loss is nan")
