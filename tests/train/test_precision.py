"""Products of matrices in bfloat16: nearly the same loss, weights in float32, and other families refuse."""

import pytest
import torch
from timbrel.host.errors import UserError
from timbrel.train import checkpoint, loop
from timbrel.train.families.grain.network import Whitening
from timbrel.train.families.recipes import load_recipe
from timbrel.train.launch import start
from timbrel.train.loop import RunOptions
from timbrel.train.run import Run

from .loops import CPU

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.mark.parametrize("name", ["chroma-8", "tuned-8", "tuned-partials"])
def test_bfloat16_learns_as_much_as_float32(tone_corpus, tmp_path, fewer, name):
    changes = fewer if name != "tuned-partials" else ["training.steps=60", "frames.rows=1000"]
    outcomes, weights = [], []
    for precision in ("float32", "bfloat16"):
        recipe = load_recipe(name, [*changes, f"training.precision={precision}"])
        outcome = start(recipe, tone_corpus, tmp_path / precision, CPU)
        run = Run.open(tmp_path / precision)
        outcomes.append(outcome.validation)
        weights.append(checkpoint.load(run.last)["model"])
    assert outcomes[1] == pytest.approx(outcomes[0], rel=0.05)
    assert all(value.dtype != torch.bfloat16 for value in weights[1].values())
    changed = [name for name, value in weights[0].items() if not value.equal(weights[1][name])]
    assert changed  # it was used


def test_tf32_is_a_gpus_alone(tone_corpus, tmp_path, fewer):
    weights, said = [], []
    for precision in ("float32", "tf32"):
        recipe = load_recipe("chroma-8", [*fewer, f"training.precision={precision}"])
        start(recipe, tone_corpus, tmp_path / precision, RunOptions("cpu", on_message=said.append))
        weights.append(checkpoint.load(Run.open(tmp_path / precision).last)["model"])
    assert [line for line in said if "tf32" in line] == [
        "training.precision=tf32 is for GPUs of CUDA, and has no effect here"
    ]
    torch.testing.assert_close(*weights, rtol=0, atol=0)


def test_tf32_ends_with_the_training():
    used = []

    def stopped():
        with loop._tf32_products(enabled=True):
            used.append(torch.backends.cuda.matmul.fp32_precision)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        stopped()
    with loop._tf32_products(enabled=False):
        used.append(torch.backends.cuda.matmul.fp32_precision)
    assert used == ["tf32", "ieee"]
    assert torch.get_float32_matmul_precision() == "highest"


def test_whitening_keeps_all_digits():
    torch.manual_seed(0)
    codes, whitening = torch.randn(64, 3) @ torch.randn(3, 3), Whitening(3).train()
    with torch.autocast("cpu", torch.bfloat16):
        white = whitening(codes)
    assert white.dtype == torch.float32
    assert torch.allclose(white.T @ white / 64, torch.eye(3), atol=1e-4)


@pytest.mark.parametrize("name", ["clip-wavegan", "sequence-noisy", "tuned-clip"])
def test_families_that_gain_nothing_refuse_it(tone_corpus, tmp_path, name):
    recipe = load_recipe(name, ["frames.sample_rate=44100", "training.precision=bfloat16"])
    with pytest.raises(UserError, match="trains in float32, as bfloat16 is slower or worse;"):
        start(recipe, tone_corpus, tmp_path / "run", CPU)
    assert not (tmp_path / "run").exists()
