"""A small run of grains on noise whose level swings, and one of learned paths through its codes."""

import numpy as np
import soundfile
from timbrel.train.corpus.build import build
from timbrel.train.families.recipes import load_recipe
from timbrel.train.launch import start
from timbrel.train.loop import RunOptions

RATE, LENGTH, HOP, LATENTS, STEPS = 8000, 256, 128, 3, 20
GRAINS = (
    *(f"frames.sample_rate={RATE}", f"frames.frame_length={LENGTH}", "frames.hop_length=64", "network.hidden=[16]"),
    *("network.adjudicator=[8]", f"network.latents={LATENTS}", "network.bands=8", "network.envelope_points=4"),
    *("training.batch_size=8", "training.steps=3"),
)
PATHS = (
    *("network.hidden=5", "network.components=3", f"network.steps={STEPS}"),
    *("training.batch_size=4", "training.steps=4"),
)


def train_paths(folder):
    """Write ``sounds``, ``corpus`` and the runs ``grains`` and ``path`` into a folder."""
    (folder / "sounds").mkdir()
    for seed in range(6):
        rng = np.random.default_rng(seed)
        seconds = np.arange(2 * RATE) / RATE
        noise = 0.1 * rng.standard_normal(len(seconds)) * (1.2 + np.sin(2 * np.pi * (2 + seed) * seconds))
        soundfile.write(folder / "sounds" / f"sea{seed}.wav", noise, RATE, subtype="FLOAT")
    build([folder / "sounds"], folder / "corpus", rate=RATE, split="0.6/0.2/0.2")
    options = RunOptions("cpu")
    start(load_recipe("grain-noise", list(GRAINS)), folder / "corpus", folder / "grains", options)
    sources = {"grains": folder / "grains"}
    start(load_recipe("grain-path", list(PATHS)), folder / "corpus", folder / "path", options, sources)
