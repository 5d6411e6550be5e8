"""Short sounds by formula, and corpora of them."""

import numpy as np
from timbrel.train.corpus.pitch import pitch_track
from timbrel.train.corpus.store import Corpus, writing

RATE = 8000
SMALL = [
    "frames.sample_rate=8000",
    "frames.frame_length=4096",
    "frames.hop_length=4096",
    "network.components=24",
    "network.hidden=32",
    "network.latents=4",
    "training.batch_size=16",
    "training.learning_rate=1e-3",
]


def tom(seed, seconds=0.4, rate=RATE):
    """A tone that falls and dies away, another for each seed: [samples]."""
    rng, time = np.random.default_rng(seed), np.arange(round(seconds * rate)) / rate
    hz, decay = rng.uniform(90, 400), rng.uniform(10, 25)
    tone = np.sin(2 * np.pi * hz * (time + 0.02 * (1 - np.exp(-20 * time))))
    return (rng.uniform(0.2, 0.8) * np.exp(-decay * time) * tone).astype(np.float32)


def hat(seed, seconds=0.4, rate=RATE):
    """Noise that dies away, another for each seed: [samples]."""
    rng, time = np.random.default_rng(seed), np.arange(round(seconds * rate)) / rate
    noise = np.convolve(rng.standard_normal(len(time)), [1, -rng.uniform(0.2, 0.9)], "same")
    return (0.15 * np.exp(-rng.uniform(15, 40) * time) * noise).astype(np.float32)


def corpus_of(path, sounds, labels=None, splits=None, rate=RATE, pitched=False):
    """A corpus of sounds, [samples] each; their pitch is measured if ``pitched``, else there is none."""
    with writing(path, rate) as writer:
        for number, sound in enumerate(sounds):
            sound = np.asarray(sound, np.float32)
            track = pitch_track(sound, rate) if pitched else np.full(-(-len(sound) // 1024), np.nan, np.float32)
            label = labels[number] if labels else ""
            writer.append(sound, track, name=f"clip {number}", group=f"clip {number}", label=label)
        dealt = splits or ["train"] * len(sounds)
        writer.finish({clip.name: split for clip, split in zip(writer.clips, dealt, strict=True)}, name="struck")
    return Corpus.open(path)


def drums(path, each=16, labels=True):
    """Toms and hats by turns, every fourth of both a test clip."""
    sounds = [make(seed) for seed in range(each) for make in (tom, hat)]
    words = [word for _ in range(each) for word in ("tom", "hat")]
    splits = ["test" if seed % 4 == 3 else "train" for seed in range(each) for _ in range(2)]
    return corpus_of(path, sounds, words if labels else None, splits)
