"""Drum loops by formula, and corpora of them."""

import numpy as np
from timbrel.train.corpus.clip_table import LoopGrid
from timbrel.train.corpus.store import Corpus, writing

from .struck import RATE, hat, tom

STEP = 1024  # samples: 128 ms at 8 kHz
BAR = 16
SMALL = [
    "network.components=16",
    "network.prototypes=24",
    "network.size=32",
    "network.latents=4",
    "network.bars=1",
    "training.batch_size=8",
    "training.steps=80",
    "training.learning_rate=1e-2",
]


def loop(seed, bars=2, swing=0.0, hats=2, level=1.0):
    """A loop of two toms and of hats, every so many steps, another for each seed: [samples]; it repeats without a seam.

    Off-beat steps come late by ``swing`` of a step.
    """
    rng, steps = np.random.default_rng(seed), bars * BAR
    sound = np.zeros(3 * steps * STEP, np.float32)
    low, high, noise = tom(seed), tom(seed + 50), hat(seed)
    hits = [(step, low) for step in range(0, steps, 8)] + [(step, high) for step in range(4, steps, 8)]
    hits += [(int(rng.integers(steps)), low)] + [(step, noise) for step in range(0, steps, hats)]
    for step, hit in hits:
        start = round((step + swing * (step % 2)) * STEP)
        sound[start : start + len(hit)] += hit
    return level * sound.reshape(3, -1).sum(0)


def loops_of(path, sounds, splits=None, gains=None):
    """A corpus of loops, [samples] each; with ``gains`` of both sides in stereo."""
    with writing(path, RATE) as writer:
        for number, sound in enumerate(sounds):
            track = np.full(-(-len(sound) // 1024), np.nan, np.float32)
            samples = np.asarray(sound, np.float32)
            sides = None if gains is None else np.outer(gains, samples).astype(np.float32)
            writer.append(samples, track, name=f"loop {number}", group=f"loop {number}", sides=sides)
        dealt = splits or ["train"] * len(sounds)
        named = {clip.name: split for clip, split in zip(writer.clips, dealt, strict=True)}
        writer.finish(named, name="looped", loops=LoopGrid(step_length=STEP))
    return Corpus.open(path)


def grooves(path):
    """Twelve loops, of which some are dense and some swing, and two for the test."""
    sounds = [loop(seed, swing=0.3 * (seed % 2), hats=1 + seed % 3) for seed in range(14)]
    return loops_of(path, sounds, ["train"] * 12 + ["test"] * 2)
