"""Training speed of a contest: timbrel's loop against a bare torch loop of the same turns, and of torch's own layers.

WaveGAN (sizes 16, of 2.6 million weights, and 22; batch 16): five critic turns with batches of their own and slopes of
slopes, and one of the generator. Both move the same networks by the same fused Adams on the same number of threads; the
bare loop takes clips from a tensor in memory. The last row is the bare loop of torch's own strided convolutions.

`--device cuda` measures on a GPU: size 32 and batches of 64 clips of 8,192 samples, also with steps replayed as a CUDA
graph, and these in TensorFloat-32.
"""

import argparse
import contextlib
import os
import statistics
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from timbrel.train.corpus.store import writing
from timbrel.train.families.gan import wavegan
from timbrel.train.families.gan.recipe import WaveGANRecipe
from timbrel.train.families.gan.wavegan import BETAS, CRITIC_BATCHES, WaveGAN
from timbrel.train.families.recipes import load_recipe
from timbrel.train.launch import start
from timbrel.train.loop import RunOptions

CLIPS = 512  # more than a step takes
GRAPHS = "training.cuda_graphs=true"


@dataclass(frozen=True)
class Plan:
    sizes: tuple[int, ...]
    steps: int
    rounds: int
    changes: tuple[str, ...]  # of the recipe
    loops: dict[str, tuple[str, ...]]  # timbrel's, by name: further changes


PLANS = {
    "cpu": Plan((16, 22), 6, 5, ("training.batch_size=16",), {"timbrel's loop": ()}),
    "cuda": Plan(
        (32,),
        100,
        3,
        ("training.batch_size=64", "frames.frame_length=8192", "frames.hop_length=8192"),
        {"timbrel's loop": (), "as CUDA graphs": (GRAPHS,), "and in tf32": (GRAPHS, "training.precision=tf32")},
    ),
}


class Convolution(torch.nn.Conv1d):
    """Torch's own, as the paper's layers have it."""

    def __init__(self, inside: int, outside: int, kernel: int, stride: int) -> None:
        super().__init__(inside, outside, kernel, stride, (kernel - stride + 1) // 2)


class Transposed(torch.nn.ConvTranspose1d):
    """Torch's own, as the paper's layers have it."""

    def __init__(self, inside: int, outside: int, kernel: int, stride: int, padding: int | None = None) -> None:
        padding = (kernel - stride + 1) // 2 if padding is None else padding
        super().__init__(inside, outside, kernel, stride, padding, stride - kernel + 2 * padding)


def corpus(folder: Path, recipe: WaveGANRecipe) -> Path:
    """Decaying noises, written as a corpus."""
    path, length = folder / "corpus", recipe.frames.frame_length
    rng = np.random.default_rng(0)
    with writing(path, recipe.frames.sample_rate) as writer:
        for clip in range(CLIPS):
            sound = 0.2 * rng.standard_normal(length) * np.exp(-np.arange(length) / 3000)
            track = np.full(-(-length // 1024), np.nan, np.float32)
            writer.append(sound.astype(np.float32), track, name=f"hit {clip}", group=f"hit {clip}")
        writer.finish({c.name: "val" if i < 2 else "train" for i, c in enumerate(writer.clips)}, name="hits")
    return path


def timbrel_speed(folder: Path, sounds: Path, recipe: WaveGANRecipe, name: str, device: str) -> float:
    """Examples a second, as the loop reports them, the median of its reports."""
    speeds: list[float] = []
    start(
        recipe, sounds, folder / name, RunOptions(device, on_report=lambda now: speeds.append(now.examples_per_second))
    )
    return statistics.median(speeds[1:] or speeds)


def bare_speed(recipe: WaveGANRecipe, clips: torch.Tensor) -> float:
    """Examples a second of the plainest loop of the same turns, the median of its steps but the first."""
    torch.set_flush_denormal(True)
    network, batch = WaveGAN(recipe).to(clips.device), recipe.training.batch_size
    modules = (network.critic, network.generator)
    critic, generator = (torch.optim.Adam(module.parameters(), 1e-4, BETAS, fused=True) for module in modules)
    chance, labels = torch.Generator(), torch.zeros(batch, dtype=torch.long, device=clips.device)
    seconds = []
    assert recipe.training.steps is not None
    for _ in range(recipe.training.steps):
        began = time.perf_counter()
        for _ in range(CRITIC_BATCHES):
            terms = network.criticism(clips[torch.randint(len(clips), (batch,))], labels, chance)
            network.zero_grad()
            (terms["distance"] + recipe.loss.penalty * terms["penalty"]).backward()
            critic.step()
        loss = network.persuasion(clips[torch.randint(len(clips), (batch,))], labels, chance)["persuasion"]
        network.zero_grad()
        loss.backward()
        generator.step()
        if clips.is_cuda:
            torch.cuda.synchronize()
        seconds.append(time.perf_counter() - began)
    return (CRITIC_BATCHES + 1) * batch / statistics.median(seconds[1:])


def with_torchs_layers(recipe: WaveGANRecipe, clips: torch.Tensor) -> float:
    """Return `bare_speed` of torch's own layers."""
    ours = wavegan.Shortening, wavegan.Lengthening
    wavegan.Shortening, wavegan.Lengthening = Convolution, Transposed  # type: ignore[assignment,misc]
    try:
        return bare_speed(recipe, clips)
    finally:
        wavegan.Shortening, wavegan.Lengthening = ours  # type: ignore[misc]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", choices=PLANS, default="cpu")
    device = parser.parse_args().device
    torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", torch.get_num_threads())))
    for size in PLANS[device].sizes:
        measure(size, device)


def measure(size: int, device: str) -> None:
    plan = PLANS[device]
    changes = [*plan.changes, f"training.steps={plan.steps}", f"network.model_size={size}"]
    recipes = {name: load_recipe("clip-wavegan", [*changes, *more]) for name, more in plan.loops.items()}
    recipe = next(iter(recipes.values()))
    assert isinstance(recipe, WaveGANRecipe)
    clips = 0.1 * torch.randn(CLIPS, recipe.frames.frame_length, device=device)
    rows = []
    with tempfile.TemporaryDirectory() as name, contextlib.chdir(name):
        sounds = corpus(Path(name), recipe)
        for turn in range(plan.rounds):
            row = {
                loop: timbrel_speed(Path(name), sounds, each, f"run{turn}-{number}", device)
                for number, (loop, each) in enumerate(recipes.items())
            }
            row["bare torch loop"] = bare_speed(recipe, clips)
            row["of torch's own layers"] = with_torchs_layers(recipe, clips)
            rows.append(row)
    examples = (CRITIC_BATCHES + 1) * recipe.training.batch_size
    print(
        f"clip-wavegan of size {size}, {device}, batch {recipe.training.batch_size}, "
        f"{plan.steps} steps of five and one turns, {plan.rounds} rounds in turn"
    )
    for loop in rows[0]:
        speed = statistics.median(row[loop] for row in rows)
        share = statistics.median(row["timbrel's loop"] / row[loop] for row in rows)
        print(
            f"{loop:<22} {speed:8.1f} examples/s  {speed / examples:7.2f} steps/s  timbrel's loop is {share:.2f} of it"
        )


if __name__ == "__main__":
    main()
