"""Two machines of two processes each, as torchrun starts them, train as one process does."""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import psutil
import pytest
import soundfile
import torch
from timbrel.host.errors import UserError
from timbrel.train import checkpoint, launch
from timbrel.train import processes as several_machines
from timbrel.train.corpus.build import build
from timbrel.train.families.recipes import load_recipe
from timbrel.train.launch import resume, start
from timbrel.train.loop import RunOptions
from timbrel.train.network import seeded_dropout
from timbrel.train.run import Run
from timbrel.train.shared_random import ExampleGenerator, rand_examples, randint_examples, randn_examples

PATIENCE_SECONDS = 240
SMALL_SEQUENCE = ["frames.sample_rate=22050", "network.size=16", "training.batch_size=8", "training.steps=50"]
SMALL_GAN = ["frames.sample_rate=22050", "network.model_size=2", "training.batch_size=4", "training.steps=5"]


def generator(rank: int, processes: int) -> ExampleGenerator:
    made = ExampleGenerator()
    made.manual_seed(7)
    made.rank, made.processes = rank, processes
    return made


@pytest.mark.parametrize("processes", [2, 3])
def test_processes_draw_together_what_one_draws_alone(processes: int) -> None:
    def drawn(rank: int, of: int) -> list[torch.Tensor]:
        own = generator(rank, of)
        return [
            randn_examples(12 // of, 3, generator=own),
            rand_examples(12 // of, 2, 2, generator=own),
            randint_examples(-5, 5, 12 // of, 1, generator=own),
            torch.rand(4, generator=own).expand(12 // of, -1),  # common to all examples
        ]

    alone, parts = drawn(0, 1), [drawn(rank, processes) for rank in range(processes)]
    for place, expected in enumerate(alone):
        together = torch.stack([part[place] for part in parts], 1).flatten(0, 1)
        assert torch.equal(together, expected)


def test_a_plain_generator_draws_as_torch_does() -> None:
    plain = [torch.Generator().manual_seed(3) for _ in range(2)]
    assert torch.equal(randn_examples(4, 2, generator=plain[0]), torch.randn(4, 2, generator=plain[1]))


def test_dropout_differs_between_processes() -> None:
    masks = []
    for rank in (0, 1):
        with seeded_dropout(generator(rank, 2), torch.device("cpu")):
            masks.append(torch.rand(8))
    assert not torch.equal(*masks)


def test_several_machines_need_a_launcher(tone_corpus: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"--nodes 2 needs a launcher that starts timbrel on each machine, torchrun"):
        start(load_recipe("chroma-8"), tone_corpus, tmp_path / "run", RunOptions("cpu", nodes=2))
    assert not (tmp_path / "run").exists()


def test_a_batch_that_cannot_be_shared_is_refused(tone_corpus: Path, tmp_path: Path) -> None:
    recipe = load_recipe("chroma-8", ["training.batch_size=33"])
    with pytest.raises(UserError, match=r"training\.batch_size 33 cannot be shared evenly by 2 processes"):
        start(recipe, tone_corpus, tmp_path / "run", RunOptions("cpu", devices=2))
    assert not (tmp_path / "run").exists()


def test_numbers_that_a_launcher_did_not_start_are_refused(
    tone_corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(launch, "launched", lambda: True)
    monkeypatch.setenv("WORLD_SIZE", "4")
    with pytest.raises(UserError, match="4 processes were started, --devices 2 --nodes 1 make 2; give the numbers of"):
        start(load_recipe("chroma-8"), tone_corpus, tmp_path / "run", RunOptions("cpu", devices=2))


@pytest.mark.parametrize(("rank", "status"), [("0", None), ("1", 2)])
def test_the_first_process_alone_speaks(monkeypatch: pytest.MonkeyPatch, rank: str, status: int | None) -> None:
    monkeypatch.setattr(several_machines, "launched", lambda: True)
    monkeypatch.setenv("RANK", rank)
    monkeypatch.setattr(several_machines.atexit, "register", lambda *called: None)
    with pytest.raises(UserError if status is None else SystemExit) as ended, several_machines.one_voice():
        raise UserError("no corpus")
    assert status is None or ended.value.code == status


def test_a_lost_peer_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    said = "[../third_party/gloo/gloo/transport/tcp/pair.cc:534] Connection closed by peer [127.0.0.1]:4711"
    with pytest.raises(Exception, match="another process of this training ended"), several_machines.one_voice():
        raise RuntimeError(said)
    with pytest.raises(RuntimeError, match="shape mismatch"), several_machines.one_voice():
        raise RuntimeError("shape mismatch")


def machines(
    arguments: Sequence[object], processes: int = 2, script: Path | None = None
) -> list[subprocess.Popen[str]]:
    """Start a training on two machines, which are this one; ``script`` runs in place of timbrel."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    there = ("--nnodes", 2, "--nproc-per-node", processes, "--master-addr", "127.0.0.1", "--master-port", port)
    return [
        subprocess.Popen(
            [
                *(sys.executable, "-m", "torch.distributed.run", *map(str, there), "--node-rank", str(node)),
                *(("-m", "timbrel") if script is None else (str(script),)),
                *("train", *map(str, arguments)),
                *("--nodes", "2", "--devices", str(processes), "--accelerator", "cpu"),
            ],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, "OMP_NUM_THREADS": "1"},
        )
        for node in (0, 1)
    ]


@pytest.fixture(scope="module")
def rains(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("machines")
    (folder / "sounds").mkdir()
    for index in range(48):
        seconds = np.arange(22050) / 22050
        noise = np.random.default_rng(index).standard_normal(22050)
        sound = 0.3 * np.exp(-4 * seconds) * (np.sin(2 * np.pi * 100 * (index + 1) * seconds) + 0.1 * noise)
        soundfile.write(folder / "sounds" / f"rain{index}.wav", sound, 22050)
    build([folder / "sounds"], folder / "corpus", rate=22050, split="0.7/0.15/0.15")
    return folder / "corpus"


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "changes", "apart"),
    [
        ("chroma-8-vae", ["frames.sample_rate=22050", "training.batch_size=32", "training.steps=50"], 1e-4),
        ("tuned-8", ["frames.sample_rate=22050", "training.batch_size=32", "training.steps=50"], 1e-4),
        ("grain-plain", ["frames.sample_rate=22050", "training.batch_size=32", "training.steps=50"], 1e-4),
        ("sequence-noisy", SMALL_SEQUENCE, 1e-4),
        ("sequence-scheduled", SMALL_SEQUENCE, 1e-4),
        ("clip-wavegan", SMALL_GAN, 1e-4),
    ],
)
def test_four_processes_have_the_loss_of_one(
    rains: Path, tmp_path: Path, name: str, changes: list[str], apart: float
) -> None:
    start(load_recipe(name, changes), rains, tmp_path / "one", RunOptions("cpu"))
    options = [part for change in changes for part in ("--set", change)]
    started = machines([name, "--corpus", rains, "-o", tmp_path / "four", *options])
    said = [process.communicate(timeout=PATIENCE_SECONDS) for process in started]
    assert [process.returncode for process in started] == [0, 0], said
    assert sum(out.count("next: timbrel evaluate") for out, _ in said) == 1
    one, four = (Run.open(tmp_path / folder) for folder in ("one", "four"))
    assert four.logged()[-1]["step"] == one.logged()[-1]["step"]
    assert four.logged()[-1]["total"] == pytest.approx(one.logged()[-1]["total"], rel=apart)
    weights = [checkpoint.load(run.last)["model"] for run in (one, four)]
    for key, value in weights[0].items():
        assert torch.allclose(weights[1][key], value, atol=1e-3), key


@pytest.mark.slow
def test_a_killed_process_ends_all_and_fewer_go_on(rains: Path, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    changes = ["frames.sample_rate=22050", "training.batch_size=32", "training.minutes=10"]
    options = [part for change in changes for part in ("--set", change)]
    started = machines(["chroma-8", "--corpus", rains, "-o", folder, *options])
    limit = time.monotonic() + PATIENCE_SECONDS
    while not (folder / "last.ckpt").exists() and time.monotonic() < limit:
        time.sleep(0.2)
    worker = psutil.Process(started[1].pid).children()[0]
    worker.send_signal(signal.SIGKILL)
    began = time.monotonic()
    said = [process.communicate(timeout=PATIENCE_SECONDS) for process in started]
    assert time.monotonic() - began < 30
    assert all(process.returncode for process in started)
    ours = [line for _, err in said for line in err.splitlines() if line.startswith("timbrel: ")]
    assert ours == ["timbrel: another process of this training ended; start all again with --resume"]
    step = checkpoint.progress_of(checkpoint.load(folder / "last.ckpt")).step
    recipe = load_recipe(str(folder / "recipe.toml"), [f"training.steps={step + 3}"])
    assert resume(folder, recipe, RunOptions("cpu")).step == step + 3


FAILING = """
import sys
from timbrel import __main__
from timbrel.train import loop
taken = loop._Loop._step
def step(self, *arguments):
    if self.fabric.global_rank == 1 and self.progress.step == 3:
        raise RuntimeError("out of memory")
    return taken(self, *arguments)
loop._Loop._step = step
sys.argv[0] = "timbrel"
__main__.main()
"""


@pytest.mark.slow
def test_a_process_that_fails_alone_ends_all(rains: Path, tmp_path: Path) -> None:
    (tmp_path / "failing.py").write_text(FAILING)
    changes = ["--set", "frames.sample_rate=22050", "--set", "training.batch_size=32", "--set", "training.steps=50"]
    began = time.monotonic()
    started = machines(
        ["chroma-8", "--corpus", rains, "-o", tmp_path / "run", *changes], script=tmp_path / "failing.py"
    )
    errors = [process.communicate(timeout=PATIENCE_SECONDS)[1] for process in started]
    assert time.monotonic() - began < 60
    assert any("internal error: RuntimeError: out of memory" in error for error in errors)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        (["--corpus", "nowhere"], "corpus nowhere does not exist"),
        (["--set", "loss.mean_square=1e308"], "the loss is nan at step"),
    ],
)
def test_an_error_of_all_is_one_line(rains: Path, tmp_path: Path, wrong: list[str], said: str) -> None:
    usual = ["--corpus", rains, "--set", "frames.sample_rate=22050", "--set", "training.steps=50"]
    started = machines(["chroma-8", *usual, "-o", tmp_path / "run", *wrong])
    errors = [process.communicate(timeout=PATIENCE_SECONDS)[1] for process in started]
    ours = [line for error in errors for line in error.splitlines() if line.startswith("timbrel: ")]
    assert len(ours) == 1
    assert said in ours[0]
