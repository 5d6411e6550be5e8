"""Corpora whose clips have labels."""

from dataclasses import replace

import numpy as np
import soundfile
from timbrel.train.corpus.build import build

from .sounds import rewrite

RATE = 8000
HZ = {"low": 300.0, "middle": 700.0, "high": 1600.0}

SMALL = [
    "training.epochs=25",
    "training.batch_size=12",
    "network.width=4",
    "frames.clip_length=4096",
    "frames.bands=32",
    "frames.hop_length=128",
]


def hum(hz, seconds=0.55, seed=0, rate=RATE):
    """A tone with noise that fades, a little other for each seed: [samples]."""
    rng = np.random.default_rng(seed)
    time = np.arange(round(seconds * rate)) / rate
    tone = np.exp(-6 * time) * np.sin(2 * np.pi * hz * rng.uniform(0.95, 1.05) * time)
    return (rng.uniform(0.1, 0.5) * tone + 0.002 * rng.standard_normal(len(time))).astype(np.float32)


def label(corpus, word_of):
    """Give the clips of a corpus labels by their names."""
    return rewrite(corpus, lambda clip: replace(clip, label=word_of(clip.name)))


def hums(folder, each=20, split="0.6/0.2/0.2"):
    """A corpus of tones of three pitches, labelled with these in words."""
    (folder / "sounds").mkdir(parents=True)
    for word, hz in HZ.items():
        for index in range(each):
            soundfile.write(folder / "sounds" / f"{word}_{index}.wav", hum(hz, seed=index), RATE)
    build([folder / "sounds"], folder / "corpus", rate=RATE, split=split)
    return label(folder / "corpus", lambda name: name.partition("_")[0])
