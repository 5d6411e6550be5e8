"""Frames drawn from a split, and what a network makes of them."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch

from ..host.dsp import chroma
from .corpus.store import Corpus, Split
from .frames import Source, moved_frame, sources
from .models.chroma import ChromaAutoencoder
from .recipe import ChromaFrames

Array = npt.NDArray[np.float32]
Ints = npt.NDArray[np.int64]

ROWS = 1024  # at once through a network: 8 MB a layer, and large enough for its matrices


@dataclass(frozen=True)
class Sample:
    """Frames of a split: magnitudes of maximum 1 [frames, bins], pitch classes [frames], and where they were cut.

    ``found`` frames of the split sound; these were drawn from them.
    """

    split: Split
    found: int
    sources: list[Source]
    spectra: Array
    pitch_classes: Ints

    def __len__(self) -> int:
        return len(self.sources)

    @property
    def clips(self) -> Ints:
        """Which clip each frame comes from, numbered from 0: [frames]."""
        names = [source.clip.name for source in self.sources]
        return np.unique(names, return_inverse=True)[1].astype(np.int64)


def draw(
    corpus: Corpus, split: Split, settings: ChromaFrames, folded: bool, count: int, rng: np.random.Generator
) -> Sample | None:
    """At most ``count`` frames of a split, in their order; None where none sounds.

    With ``folded`` each is moved to its own key in ``settings.octave``, else left where it is.
    """
    found = list(sources(corpus, split, settings, tonal=folded))
    if not found:
        return None
    return cut(corpus, split, [found[i] for i in chosen(len(found), count, rng)], settings, folded, len(found))


def cut(corpus: Corpus, split: Split, found: list[Source], settings: ChromaFrames, folded: bool, total: int) -> Sample:
    """The sample that consists of these frames."""
    if folded:
        keys = np.array([round(source.note) % 12 for source in found], np.int64)
        return Sample(split, total, found, on_keys(corpus, found, keys, settings), keys)
    spectra = np.stack([moved_frame(corpus.samples(s.clip), s, s.note, settings) for s in found])
    strongest = chroma(spectra, settings.sample_rate, settings.frame_length).argmax(1)
    return Sample(split, total, found, spectra, strongest.astype(np.int64))


def on_keys(corpus: Corpus, found: list[Source], keys: Ints, settings: ChromaFrames) -> Array:
    """Frames moved to keys of ``settings.octave``, one pitch class a frame: [frames, bins]."""
    assert settings.octave is not None
    notes = 12 * (settings.octave + 1) + keys
    return np.stack([moved_frame(corpus.samples(s.clip), s, n, settings) for s, n in zip(found, notes, strict=True)])


def chosen(length: int, count: int, rng: np.random.Generator) -> Ints:
    """At most ``count`` places among ``length``, drawn without return, in order.

    Evenly spaced ones could fall on the same moment of every clip, where clips are of one length.
    """
    return np.sort(rng.permutation(length)[:count])


@torch.no_grad()
def encode(network: ChromaAutoencoder, spectra: Array, pitch_classes: Ints) -> Array:
    """Latents of frames: [frames, latents]."""
    one_hot = np.eye(12, dtype=np.float32)[pitch_classes]
    parts = [
        network.encode(torch.from_numpy(spectra[i : i + ROWS]), torch.from_numpy(one_hot[i : i + ROWS])).numpy()
        for i in range(0, len(spectra), ROWS)
    ]
    return np.concatenate(parts)


@torch.no_grad()
def decode(network: ChromaAutoencoder, latents: Array, pitch_classes: Ints | int) -> Array:
    """Frames of latents, all on one pitch class or each on its own: [frames, bins]."""
    one_hot = np.eye(12, dtype=np.float32)[np.broadcast_to(pitch_classes, len(latents))]
    parts = [
        network.decode(torch.from_numpy(latents[i : i + ROWS]), torch.from_numpy(one_hot[i : i + ROWS])).numpy()
        for i in range(0, len(latents), ROWS)
    ]
    return np.concatenate(parts)
