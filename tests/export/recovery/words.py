"""Two spoken words by formula, a generator of such that has hardly learned, and a classifier of them."""

import numpy as np
from timbrel.train.corpus.store import writing
from timbrel.train.families.recipes import load_recipe
from timbrel.train.launch import start
from timbrel.train.loop import RunOptions

RATE, LENGTH = 16000, 16384
CPU = RunOptions(accelerator="cpu")
GENERATOR = ["network.model_size=1", "network.latents=5", "training.batch_size=2", "training.steps=1"]
LABELS = ["network.labels=true", "frames.normalised=true"]
JUDGE = ["training.epochs=1", "training.batch_size=8", "network.width=2"]
INVERT = ["network.width=2", "network.bands=16", "training.batch_size=4"]


def word(number):
    """A tone or noise, of a length and a pitch of its own, [samples]."""
    rng, length = np.random.default_rng(number), 2000 + 200 * number
    tone = np.sin(2 * np.pi * (300 + 20 * number) * np.arange(length) / RATE)
    return (0.5 * (tone if number % 2 else rng.standard_normal(length) / 4)).astype(np.float32)


def corpus_of_words(path, count=20):
    """The folder of a corpus: ``la`` is a tone, ``sh`` is noise; the first four are for the test."""
    with writing(path, RATE) as writer:
        for number in range(count):
            sound = word(number)
            track = np.full(-(-len(sound) // 1024), np.nan, np.float32)
            label = "la" if number % 2 else "sh"
            writer.append(sound, track, name=f"{number}", group=f"{number}", label=label)
        splits = {clip.name: "test" if i < 4 else "val" if i < 8 else "train" for i, clip in enumerate(writer.clips)}
        writer.finish(splits, name="words")
    return path


def generator_of_words(corpus, folder, *changes):
    """The folder of a run of a generator."""
    start(load_recipe("clip-wavegan", [*GENERATOR, *changes]), corpus, folder, CPU)
    return folder


def judge_of_words(corpus, folder):
    """The folder of a run of a classifier."""
    start(load_recipe("digits-classifier", [*JUDGE, f"frames.sample_rate={RATE}"]), corpus, folder, CPU)
    return folder
