"""Corpora of tones, runs of networks, and networks that are perfect, or deaf to one thing."""

import numpy as np
import torch
from timbrel.export import evaluate
from timbrel.host.units import midi_to_hz
from timbrel.train import checkpoint
from timbrel.train.corpus.store import Corpus, writing
from timbrel.train.families import FAMILIES
from timbrel.train.families.chroma.network import ChromaAutoencoder
from timbrel.train.families.chroma.recipe import ChromaFrames
from timbrel.train.families.recipes import load_recipe
from timbrel.train.run import FORMAT, Run, RunInfo, relative_to

RATE, FRAME, HOP = 8000, 1024, 256  # bins of 7.8 Hz: from C4 up, two to a semitone
SETTINGS = ChromaFrames(sample_rate=RATE, frame_length=FRAME, hop_length=HOP, octave=4, views=6, rows=5000)
SMALL = [
    f"frames.sample_rate={RATE}",
    f"frames.frame_length={FRAME}",
    f"frames.hop_length={HOP}",
    "network.hidden=[64,32,16]",
]


def tone(note, brightness, seconds=0.5):
    hz, time = midi_to_hz(note), np.arange(round(seconds * RATE)) / RATE
    orders = range(1, int(0.48 * RATE / hz) + 1)
    return 0.3 * sum(brightness**k * np.sin(2 * np.pi * k * hz * time + k * k) for k in orders).astype(np.float32)


def write_corpus(folder, clips, name="tones", silent=False):
    """A corpus of (split, note, brightness); a note of None is noise without pitch."""
    with writing(folder, RATE) as writer:
        for i, (_, note, brightness) in enumerate(clips):
            noise = np.random.default_rng(i).standard_normal(4000).astype(np.float32)
            sound = 0.1 * noise if note is None else tone(note, brightness)
            track = np.full(-(-len(sound) // 1024), np.nan if note is None else note, np.float32)
            writer.append(0 * sound if silent else sound, track, name=f"{i}.wav", group=str(i), label=f"b{brightness}")
        writer.finish({f"{i}.wav": clip[0] for i, clip in enumerate(clips)}, name=name)
    return folder


def octave(*splits):
    """A chromatic octave a split, each of another brightness."""
    return [(split, note, 0.3 + 0.15 * i) for i, split in enumerate(splits) for note in range(60, 72)]


def make_run(folder, corpus_folder, recipe="tuned-2", *changes, best=True, tonal=True):
    """A run that was never trained: its network is what the seed gives."""
    opened = Corpus.open(corpus_folder)
    info = RunInfo(
        format=FORMAT,
        corpus=relative_to(corpus_folder, folder),
        corpus_name=opened.name,
        clips=len(opened.clips()),
        seconds=opened.seconds(),
        tonal=tonal,
        versions={},
        hardware="none",
    )
    asked = load_recipe(recipe, [*SMALL, *changes])
    run = Run.create(folder, FAMILIES["chroma"].complete(asked, opened), info)
    torch.manual_seed(0)
    network = FAMILIES["chroma"].network(run.recipe)
    optimizers = {"shared": torch.optim.Adam(network.parameters())}
    for path in [run.last, run.best][: 1 + best]:
        checkpoint.save(path, network, optimizers, checkpoint.Progress(step=7 if path == run.best else 9))
    for step in (3, 7):
        terms = dict.fromkeys(("mean_square", "squares", "root_squares", "consistency", "uniformity"), 1.0 / step)
        run.log({"step": step, **terms, "divergence": 0.2, "total": 2.0 / step})
    return run


def measured(run, **options):
    return evaluate.evaluate(run, **options)


class Constant(ChromaAutoencoder):
    """Gives every sound one code and answers every code with one spectrum."""

    def encode(self, frames, chroma):
        return torch.full((len(frames), 2), 0.5)

    def decode(self, latents, chroma):
        return torch.linspace(1, 0, FRAME // 2 + 1).repeat(len(latents), 1)


def strongest_class(frame):
    """By hand: energy of all bins nearest to each note from A0 to C8."""
    notes = 69 + 12 * np.log2(np.fft.rfftfreq(FRAME, 1 / RATE)[1:] / 440)
    energy = [np.square(frame[1:][np.abs(notes - note) < 0.5]).sum() for note in range(21, 109)]
    return int(np.argmax([sum(energy[(k - 21) % 12 :: 12]) for k in range(12)]))
