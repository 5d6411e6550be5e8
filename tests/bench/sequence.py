"""Training speed of sound that is continued: timbrel's loop against a bare torch loop of the same work.

Two layers of 768 between dense layers, eight sequences of 64 frames of 2048 samples (12.6 million weights). Both move
the same network by the same fused Adam, with gradients shortened alike, on the same number of threads; the bare loop
takes frames from a tensor in memory.
"""

import contextlib
import os
import statistics
import tempfile
import time
from pathlib import Path

import numpy as np
import torch
from timbrel.train.corpus.store import writing
from timbrel.train.families.recipes import load_recipe
from timbrel.train.families.sequence.network import LARGEST_NORM
from timbrel.train.families.sequence.recipe import SequenceRecipe
from timbrel.train.launch import start
from timbrel.train.loop import RunOptions
from torch import nn

CLIPS, FRAMES, STEPS, ROUNDS = 16, 64, 8, 5


class Bare(nn.Module):
    """The same layers, plainly: frames and a code in, the next frames out."""

    def __init__(self, recipe: SequenceRecipe) -> None:
        super().__init__()
        width, size = recipe.frames.frame_length, recipe.network.size
        self.into = nn.Linear(width + recipe.network.latents, size)
        self.memory = nn.LSTM(size, size, recipe.network.layers, batch_first=True)
        self.out = nn.Linear(size, width)

    def forward(self, fed: torch.Tensor) -> torch.Tensor:
        frames: torch.Tensor = self.out(self.memory(self.into(fed))[0])
        return frames


def corpus(folder: Path, recipe: SequenceRecipe) -> Path:
    """Noises of one length, written as a corpus."""
    path, length = folder / "corpus", FRAMES * recipe.frames.hop_length
    rng = np.random.default_rng(0)
    with writing(path, recipe.frames.sample_rate) as writer:
        for clip in range(CLIPS):
            track = np.full(-(-length // 1024), np.nan, np.float32)
            sound = 0.2 * rng.standard_normal(length)
            writer.append(sound.astype(np.float32), track, name=f"noise {clip}", group=f"noise {clip}")
        writer.finish({clip.name: "train" for clip in writer.clips}, name="noises")
    return path


def timbrel_speed(folder: Path, sounds: Path, recipe: SequenceRecipe, name: str) -> float:
    """Sequences a second, as the loop reports them, the median of its reports."""
    speeds: list[float] = []
    start(
        recipe, sounds, folder / name, RunOptions("cpu", on_report=lambda now: speeds.append(now.examples_per_second))
    )
    return statistics.median(speeds[1:] or speeds)


def bare_speed(recipe: SequenceRecipe) -> float:
    """Sequences a second of the plainest loop of the same work, the median of its steps but the first."""
    torch.set_flush_denormal(True)
    network, batch, rows = Bare(recipe), recipe.training.batch_size, recipe.frames.frame_length
    optimizer = torch.optim.Adam(network.parameters(), 1e-3, fused=True)
    frames = torch.randn(CLIPS, FRAMES, rows)
    codes = torch.zeros(CLIPS, FRAMES, recipe.network.latents)
    seconds = []
    for _ in range(STEPS):
        began = time.perf_counter()
        chosen = torch.randperm(CLIPS)[:batch]
        asked = frames[chosen]
        fed = torch.cat([torch.nn.functional.pad(asked, (0, 0, 1, 0))[:, :-1], codes[chosen]], 2)
        loss = (network(fed) - asked).square().mean()
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(network.parameters(), LARGEST_NORM)
        optimizer.step()
        seconds.append(time.perf_counter() - began)
    return batch / statistics.median(seconds[1:])


def main() -> None:
    recipe = load_recipe("sequence-samples", [f"training.steps={STEPS}", "frames.silence=0"])
    assert isinstance(recipe, SequenceRecipe)
    torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", torch.get_num_threads())))
    rows = []
    with tempfile.TemporaryDirectory() as name, contextlib.chdir(name):
        sounds = corpus(Path(name), recipe)
        for turn in range(ROUNDS):
            rows.append((timbrel_speed(Path(name), sounds, recipe, f"run{turn}"), bare_speed(recipe)))
    ours, bare = (statistics.median(column) for column in zip(*rows, strict=True))
    batch = recipe.training.batch_size
    print(f"sequence-samples, batch {batch}, {STEPS} steps of {FRAMES} frames, {ROUNDS} rounds in turn")
    print(f"timbrel's loop   {ours:7.2f} sequences/s   {batch / ours:.2f} s a step")
    print(f"bare torch loop  {bare:7.2f} sequences/s   {statistics.median(a / b for a, b in rows):.2f} of it")


if __name__ == "__main__":
    main()
