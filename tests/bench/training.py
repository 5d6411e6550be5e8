"""Training speed: timbrel's loop against a bare torch loop over a tensor in memory, and Keras 3 where it is installed.

The same networks (chroma-8: 5.6 million weights, batch 200; grain-adversarial: 5 million, batch 64, three turns),
the same fused Adam, the same number of threads.
Keras is no dependency: `pip install keras tensorflow` beforehand adds its row.

`--device cuda` measures chroma-8 alone on a GPU, also with steps replayed as a CUDA graph.
"""

import argparse
import contextlib
import importlib.util
import os
import statistics
import tempfile
import time
from pathlib import Path

import numpy as np
import torch
from timbrel.train.corpus.store import writing
from timbrel.train.families.chroma.network import ChromaAutoencoder
from timbrel.train.families.grain.network import GrainAutoencoder
from timbrel.train.families.recipes import load_recipe
from timbrel.train.launch import start
from timbrel.train.loop import RunOptions
from timbrel.train.recipe import Recipe

CLIPS, SECONDS, STEPS, ROUNDS = 24, 4.0, 120, 5
GPU_STEPS, GPU_ROUNDS = 4000, 3


def corpus(folder: Path) -> Path:
    """Harmonic tones, written as a corpus."""
    path, rate = folder / "corpus", 44100
    rng = np.random.default_rng(0)
    time_axis = np.arange(round(SECONDS * rate)) / rate
    with writing(path, rate) as writer:
        for clip in range(CLIPS):
            note = 48 + clip
            hz = 440 * 2 ** ((note - 69) / 12)
            levels = rng.random(12) / np.arange(1, 13)
            tone = sum(a * np.sin(2 * np.pi * hz * (h + 1) * time_axis) for h, a in enumerate(levels))
            samples = (0.1 * tone).astype(np.float32)
            track = np.full(-(-len(samples) // 1024), note, np.float32)
            writer.append(samples, track, name=f"tone {note}", group=f"tone {note}")
        splits = {clip.name: "val" if i == 0 else "train" for i, clip in enumerate(writer.clips)}
        writer.finish(splits, name="tones")
    return path


def timbrel_speed(folder: Path, sounds: Path, recipe: Recipe, name: str, device: str = "cpu") -> float:
    """Examples a second, as the loop reports them, the median of its reports."""
    speeds: list[float] = []
    start(
        recipe, sounds, folder / name, RunOptions(device, on_report=lambda now: speeds.append(now.examples_per_second))
    )
    return statistics.median(speeds[1:] or speeds)


def bare_speed(recipe: Recipe, frames: torch.Tensor, chroma: torch.Tensor) -> float:
    """Examples a second of the plainest loop, the median of pieces as long as the reports above."""
    torch.set_flush_denormal(True)
    network = ChromaAutoencoder(recipe).to(frames.device)
    optimizer = torch.optim.Adam(network.parameters(), lr=5e-4, weight_decay=2e-7, fused=True)
    batch = recipe.training.batch_size
    speeds, began, since = [], time.perf_counter(), 0
    assert recipe.training.steps is not None
    for step in range(recipe.training.steps):
        part = torch.randint(len(frames), (batch,), device=frames.device)
        x, c = frames[part], chroma[part]
        loss = (network.decode(network.encode(x, c), c) - x).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        if time.perf_counter() - began > 0.5:
            loss.item()  # a GPU is behind
            speeds.append((step + 1 - since) * batch / (time.perf_counter() - began))
            began, since = time.perf_counter(), step + 1
    return statistics.median(speeds[1:] or speeds)


def bare_adversarial_speed(recipe: Recipe, windows: torch.Tensor) -> float:
    """Examples a second of the plainest loop of three turns over windows in memory, in such pieces."""
    torch.set_flush_denormal(True)
    network = GrainAutoencoder(recipe)
    optimizer = torch.optim.Adam(network.parameters(), lr=3e-4, fused=True)
    batch, generator = recipe.training.batch_size, torch.Generator()
    speeds, began, since = [], time.perf_counter(), 0
    for step in range(STEPS):
        part = windows[torch.randint(len(windows), (batch,))]
        losses = (
            lambda x: network.reconstruction(x, generator)["mean_square"],
            lambda x: network.adjudication(x, generator)["adjudication"],
            lambda x: 0.2 * network.persuasion(x, generator)["adversarial"],
        )
        for loss in losses:
            optimizer.zero_grad()
            loss(part).backward()
            optimizer.step()
        if time.perf_counter() - began > 0.5:
            speeds.append((step + 1 - since) * batch / (time.perf_counter() - began))
            began, since = time.perf_counter(), step + 1
    return statistics.median(speeds[1:] or speeds)


def keras_speed(frames: np.ndarray, chroma: np.ndarray) -> float:
    """Examples a second of Keras 3's fit of the same network."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    import keras

    def dense(width: int, activation: object, value: object) -> object:
        penalty = keras.regularizers.L2(1e-7)
        return keras.layers.Dense(width, activation=activation, kernel_regularizer=penalty)(value)

    def leaky(value: object) -> object:
        return keras.ops.leaky_relu(value, 0.1)

    spectrum, condition = keras.Input((frames.shape[1],)), keras.Input((12,))
    value: object = keras.layers.Concatenate()([spectrum, condition])
    widths = [1024, 512, 256, 128, 64, 32, 16]
    for width in widths:
        value = dense(width, leaky, value)
    value = keras.layers.Concatenate()([dense(8, "sigmoid", value), condition])
    for width in reversed(widths):
        value = dense(width, leaky, value)
    model = keras.Model([spectrum, condition], dense(frames.shape[1], "relu", value))
    model.compile(keras.optimizers.Adam(5e-4), "mse")
    count = STEPS * 200
    model.fit([frames[:2000], chroma[:2000]], frames[:2000], batch_size=200, verbose=0)
    repeated = np.resize(np.arange(len(frames)), count)
    x, c = frames[repeated], chroma[repeated]
    began = time.perf_counter()
    model.fit([x, c], x, batch_size=200, verbose=0)
    return count / (time.perf_counter() - began)


def examples() -> tuple[np.ndarray, np.ndarray]:
    """Spectra [6000, 2049] and chroma [6000, 12]."""
    rng = np.random.default_rng(0)
    frames = rng.random((6000, 2049), dtype=np.float32) ** 8
    return frames, np.eye(12, dtype=np.float32)[rng.integers(12, size=len(frames))]


def main() -> None:
    recipe = load_recipe("chroma-8", [f"training.steps={STEPS}"])
    frames, chroma = examples()
    with_keras = importlib.util.find_spec("keras") is not None
    rows: list[tuple[float, ...]] = []
    with tempfile.TemporaryDirectory() as name, contextlib.chdir(name):
        sounds = corpus(Path(name))
        for turn in range(ROUNDS):
            ours = timbrel_speed(Path(name), sounds, recipe, f"run{turn}")
            bare = bare_speed(recipe, torch.from_numpy(frames), torch.from_numpy(chroma))
            rows.append((ours, bare, keras_speed(frames, chroma) if with_keras else float("nan")))
    ours, bare, peer = (statistics.median(column) for column in zip(*rows, strict=True))
    print(f"{torch.get_num_threads()} threads, chroma-8, batch 200, {STEPS} steps a round, {ROUNDS} rounds in turn")
    print(f"timbrel's loop         {ours:7.0f} examples/s")
    print(f"bare torch loop        {bare:7.0f} examples/s   {statistics.median(a / b for a, b, _ in rows):.2f} of it")
    if with_keras:
        print(
            f"Keras 3 fit            {peer:7.0f} examples/s   {statistics.median(a / c for a, _, c in rows):.2f} of it"
        )
    else:
        print("Keras 3 is not installed: pip install keras tensorflow to compare")
    adversarial()


def adversarial() -> None:
    recipe = load_recipe("grain-adversarial", [f"training.steps={STEPS}", "frames.sample_rate=44100"])
    windows = torch.randn(6000, recipe.frames.frame_length) * 0.1
    rows = []
    with tempfile.TemporaryDirectory() as name, contextlib.chdir(name):
        sounds = corpus(Path(name))
        for turn in range(ROUNDS):
            ours = timbrel_speed(Path(name), sounds, recipe, f"run{turn}")
            rows.append((ours, bare_adversarial_speed(recipe, windows)))
    ours, bare = (statistics.median(column) for column in zip(*rows, strict=True))
    print(f"grain-adversarial, batch {recipe.training.batch_size}, three turns a step, {STEPS} steps a round")
    print(f"timbrel's loop         {ours:7.0f} examples/s")
    print(f"bare torch loop        {bare:7.0f} examples/s   {statistics.median(a / b for a, b in rows):.2f} of it")


def on_gpu() -> None:
    """Print the speeds of chroma-8 on a GPU, in rounds in turn."""
    loops = {"timbrel's loop": (), "as CUDA graphs": ("training.cuda_graphs=true",)}
    frames, chroma = (torch.from_numpy(table).cuda() for table in examples())
    rows = []
    with tempfile.TemporaryDirectory() as name, contextlib.chdir(name):
        sounds = corpus(Path(name))
        for turn in range(GPU_ROUNDS):
            row = {}
            for number, (loop, changes) in enumerate(loops.items()):
                recipe = load_recipe("chroma-8", [f"training.steps={GPU_STEPS}", *changes])
                row[loop] = timbrel_speed(Path(name), sounds, recipe, f"run{turn}-{number}", "cuda")
            row["bare torch loop"] = bare_speed(recipe, frames, chroma)
            rows.append(row)
    batch = recipe.training.batch_size
    print(f"{torch.cuda.get_device_name()}, chroma-8, batch {batch}, {GPU_STEPS} steps a round, {GPU_ROUNDS} rounds")
    for loop in rows[0]:
        speed = statistics.median(row[loop] for row in rows)
        print(f"{loop:<20} {speed:9.0f} examples/s   {1000 * batch / speed:.2f} ms a step")


def precisions() -> None:
    """Print the speeds of both precisions, in rounds in turn."""
    print(f"float32 and bfloat16, {STEPS} steps a round, {ROUNDS} rounds in turn, examples/s")
    with tempfile.TemporaryDirectory() as name, contextlib.chdir(name):
        sounds = corpus(Path(name))
        for family in ("chroma-8", "tuned-8", "grain-plain", "tuned-partials"):
            rows = []
            for turn in range(ROUNDS):
                pair = []
                for precision in ("float32", "bfloat16"):
                    changes = [f"training.steps={STEPS}", f"training.precision={precision}", "frames.sample_rate=44100"]
                    recipe = load_recipe(family, changes)
                    pair.append(timbrel_speed(Path(name), sounds, recipe, f"{family}-{turn}-{precision}"))
                rows.append(pair)
            plain, half = (statistics.median(column) for column in zip(*rows, strict=True))
            print(
                f"{family:<16}{plain:8.0f}{half:8.0f}   {statistics.median(b / a for a, b in rows):.2f} times as many"
            )


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    if parser.parse_args().device == "cuda":
        on_gpu()
    else:
        main()
        precisions()
