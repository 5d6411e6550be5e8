"""Training data of the path family: excerpts of recordings, as paths of windows."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, NamedTuple

import numpy as np
import torch
from torch import Tensor

from ....host.arrays import Array, Integers
from ....host.errors import UserError
from ...corpus.clip_table import Clips, Split
from ...corpus.store import Corpus
from ...data import Data, audible
from ...preview import SECONDS
from ...recipe import Recipe
from ..family import Family
from ..grain.data import grains, overlapped
from ..grain.recipe import GrainRecipe
from .network import PathNetwork
from .recipe import PathRecipe

STRIDE = 2  # steps of a path a grain
# Training recordings are played at other levels and through other filters, since a few dozen of them know few places of
# the code space.
GAIN_DB = (-12.0, 6.0)
TILT_DB = 3.0  # either way, an octave
TILT_HZ, LOWEST_HZ = 1000.0, 50.0  # where a tilt changes nothing; below the latter it stays


class Excerpts(NamedTuple):
    """Excerpts of ``clips``: indices of clips and first samples, [excerpts]."""

    clips: Clips
    clip: Integers
    starts: Integers

    def __len__(self) -> int:
        return len(self.starts)


@dataclass
class PathData(Data[Excerpts]):
    """Batches of (excerpts [batch, length],).

    Those of training begin up to a ``hop`` later, and have random gains and spectral tilts.
    """

    corpus: Corpus
    length: int
    hop: int
    together: ClassVar[int] = 8

    def batch(self, indices: Integers, rng: np.random.Generator) -> tuple[Tensor, ...]:
        delays = rng.integers(0, self.hop, len(indices))
        (samples,) = self._excerpts(self.train, indices, delays)
        return (torch.from_numpy(recoloured(samples.numpy(), self.corpus.rate, rng)),)

    def examples(self, source: Excerpts, indices: Integers, rng: np.random.Generator) -> tuple[Tensor, ...]:
        return self._excerpts(source, indices, np.zeros(len(indices), np.int64))

    def _excerpts(self, source: Excerpts, indices: Integers, delays: Integers) -> tuple[Tensor, ...]:
        samples = np.empty((len(indices), self.length), np.float32)
        for row, index, delay in zip(samples, indices, delays, strict=True):
            clip = source.clips[int(source.clip[index])]
            start = min(int(source.starts[index] + delay), clip.length - self.length)
            row[:] = self.corpus.samples(clip, start, start + self.length)
        return (torch.from_numpy(samples),)


def recoloured(samples: Array, rate: int, rng: np.random.Generator) -> Array:
    """Return sounds, [batch, samples], with random gains and tilts of their spectra."""
    octaves = np.log2(np.maximum(np.fft.rfftfreq(samples.shape[1], 1 / rate), LOWEST_HZ) / TILT_HZ)
    gains_db = rng.uniform(*GAIN_DB, (len(samples), 1)) + rng.uniform(-TILT_DB, TILT_DB, (len(samples), 1)) * octaves
    spectra = np.fft.rfft(samples) * 10 ** (gains_db / 20)
    return np.fft.irfft(spectra, samples.shape[1]).astype(np.float32)


def excerpts(corpus: Corpus, split: Split, length: int, step: int) -> Excerpts:
    """Return the excerpts of ``length`` samples of a split's audible clips, ``step`` samples apart."""
    clips = audible(corpus, split)
    starts = [np.arange(0, clip_length - length + 1, step) for clip_length in clips.lengths.tolist()]
    clip_indices = np.repeat(np.arange(len(clips)), [len(clip_starts) for clip_starts in starts])
    return Excerpts(clips, clip_indices, np.concatenate([np.zeros(0, np.int64), *starts]))


def excerpt_length(recipe: PathRecipe) -> int:
    """Return the samples of an example: the windows of its codes."""
    return recipe.frames.frame_length + recipe.network.steps * recipe.frames.hop_length


class PathFamily(Family[PathRecipe, PathNetwork]):
    network = PathNetwork
    reads = ("grains",)

    def follow(self, recipe: PathRecipe, recipes: Mapping[str, Recipe]) -> PathRecipe:
        """Return the recipe with the frames of its grains, half a grain apart.

        Raises:
            UserError: the other run is none of grains.
        """
        grain_recipe = recipes["grains"]
        if not isinstance(grain_recipe, GrainRecipe):
            raise UserError(
                f"--grains is a run of {grain_recipe.name}, whose codes are none of grains; give one of grain-noise or "
                "texture-10"
            )
        frames = grain_recipe.frames
        return recipe.model_copy(
            update={"frames": frames.model_copy(update={"hop_length": frames.frame_length // STRIDE})}
        )

    def check(self, corpus: Corpus, recipe: PathRecipe) -> None:
        length = excerpt_length(recipe)
        if not len(excerpts(corpus, "train", length, length)):
            raise UserError(
                f"corpus {corpus.folder} has no audible training clip of {length} samples, the length of "
                f"network.steps {recipe.network.steps}; set it lower, or give longer recordings"
            )

    def data(self, corpus: Corpus, recipe: PathRecipe, folder: Path) -> PathData:
        length, hop = excerpt_length(recipe), recipe.frames.hop_length
        train = excerpts(corpus, "train", length, hop)
        val = excerpts(corpus, "val", length, length // 2)
        return PathData(train, val, corpus, length, hop)

    def describe(self, corpus: Corpus, recipe: PathRecipe) -> str:
        return "cutting paths"

    def preview(self, network: PathNetwork, recipe: PathRecipe, batch: list[Tensor]) -> list[Array]:
        """Return the grains of paths that continue the excerpts."""
        rng, generator = np.random.default_rng(0), torch.Generator().manual_seed(0)
        length, domain = recipe.frames.frame_length, network.grains.settings.domain
        step_count = int(SECONDS * recipe.frames.sample_rate / recipe.frames.hop_length)
        walked = network.walk(network.encode(batch[0]), step_count, generator)
        return [
            overlapped(
                grains(network.grains.decode(codes).cpu().numpy(), length, domain, rng),
                recipe.frames.hop_length,
                "blackman",
            )
            for codes in walked
        ]
