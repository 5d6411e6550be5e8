"""Samples of a corpus's windows, encoded and decoded."""

from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch

from ...host.arrays import Array, Integers
from ...train.corpus.clip_table import Split
from ...train.corpus.store import Corpus
from ...train.families.grain.batches import windows
from ...train.families.grain.network import GrainAutoencoder
from ...train.families.grain.recipe import GrainFrames, GrainRecipe
from ...train.grain_synthesis import grains
from ...train.sampling import evenly_spaced, random_indices
from .frame_sample import in_batches

Part = Literal["train", "val", "test", "held_out"]  # held_out: the ends of training clips

ROWS = 2048  # per network call
KEPT = 0.15  # of the bins, as in the post


@dataclass(frozen=True)
class GrainSample:
    """Windows of a part of the corpus, [windows, frame_length], and their clip indices, [windows].

    ``found`` counts the part's sounding windows.
    """

    part: Part
    found: int
    samples: Array
    clips: Integers

    def __len__(self) -> int:
        return len(self.samples)


def draw(corpus: Corpus, part: Part, settings: GrainFrames, count: int, rng: np.random.Generator) -> GrainSample | None:
    """Sample up to ``count`` windows of a part, in order; None if none sounds."""
    found = windows(corpus, _split(part), settings, held_out=part == "held_out")
    if not len(found):
        return None
    places = random_indices(len(found), count, rng)
    samples = found.take_grains(corpus, places, settings.frame_length)
    return GrainSample(part, len(found), samples, found.places(places).clip)


def stretch(corpus: Corpus, part: Part, settings: GrainFrames, seconds: float) -> Array:
    """Return up to ``seconds`` of evenly spaced clips, concatenated, [samples]."""
    sounds = [corpus.samples(clip) for clip in corpus.clips(_split(part))]
    if part == "held_out":
        sounds = [sound[round(len(sound) * (1 - settings.held_out)) :] for sound in sounds]
    wanted = round(seconds * corpus.rate)
    count = -(-wanted * len(sounds) // sum(len(sound) for sound in sounds))
    return np.concatenate([sounds[i] for i in evenly_spaced(len(sounds), count)])[:wanted]


def sequence(sound: Array, length: int, hop: int) -> Array:
    """Return windows ``hop`` apart, zero-padded if short, [windows, length]."""
    padded = np.pad(sound, (0, max(0, length - len(sound))))
    return np.lib.stride_tricks.sliding_window_view(padded, length)[::hop].copy()


def encode(network: GrainAutoencoder, samples: Array) -> Array:
    """Return latents, [windows, latents]."""
    return in_batches(network.encode, ROWS, samples)


def decode(network: GrainAutoencoder, latents: Array, recipe: GrainRecipe, rng: np.random.Generator) -> Array:
    """Return unwindowed samples, [grains, frame_length]."""

    def samples(part: torch.Tensor) -> torch.Tensor:
        return torch.from_numpy(grains(network.decode(part).numpy(), recipe, rng))

    return in_batches(samples, ROWS, latents)


def filtered(sounds: Array) -> Array:
    """Keep the lower 15 % of bins, as in the post."""
    spectra = np.fft.rfft(sounds)
    spectra[:, round(KEPT * spectra.shape[1]) :] = 0
    return np.fft.irfft(spectra, sounds.shape[1]).astype(np.float32)


def _split(part: Part) -> Split:
    return "train" if part == "held_out" else part
