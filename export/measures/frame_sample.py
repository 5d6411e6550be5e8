"""Samples of a split's frames, encoded, decoded and resynthesized."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch

from ...host.arrays import Array, Integers
from ...host.stft import chroma, overlap_add, window
from ...train.batches.frames import FrameOrigin, sources
from ...train.corpus.clip_table import Clip, Split
from ...train.corpus.pitch import HOP
from ...train.corpus.store import Corpus
from ...train.families.chroma.frames import moved_frame
from ...train.families.chroma.network import ChromaAutoencoder
from ...train.families.chroma.recipe import ChromaFrames
from ...train.sampling import random_indices

OVERLAP = 4  # frames overlapping in a resynthesized sound: at 75 % overlap, squared Hann windows sum to 1.5
FLOOR = 1e-3  # of a frame's maximum, -60 dB: limits the change of quieter magnitudes
ROWS = 1024  # per network call: 8 MB per layer, and large enough for efficient matrix products


@dataclass(frozen=True)
class FrameSample:
    """Frames of a split: magnitudes of maximum 1 [frames, bins], pitch classes [frames], and their origins.

    ``found`` counts the split's sounding frames.
    """

    split: Split
    found: int
    sources: list[FrameOrigin]
    spectra: Array
    pitch_classes: Integers

    def __len__(self) -> int:
        return len(self.sources)

    @property
    def clips(self) -> Integers:
        names = [source.clip.name for source in self.sources]
        return np.unique(names, return_inverse=True)[1].astype(np.int64)


def draw(
    corpus: Corpus, split: Split, settings: ChromaFrames, folded: bool, count: int, rng: np.random.Generator
) -> FrameSample | None:
    """Sample up to ``count`` frames of a split, in order; None if none sounds.

    With ``folded``, each is transposed to its key in octave ``settings.fold``.
    """
    found = list(sources(corpus, split, settings, tonal=folded))
    if not found:
        return None
    return cut(corpus, split, [found[i] for i in random_indices(len(found), count, rng)], settings, folded, len(found))


def cut(
    corpus: Corpus, split: Split, found: list[FrameOrigin], settings: ChromaFrames, folded: bool, total: int
) -> FrameSample:
    if folded:
        keys = np.array([round(source.note) % 12 for source in found], np.int64)
        return FrameSample(split, total, found, on_keys(corpus, found, keys, settings), keys)
    spectra = np.stack([moved_frame(corpus.samples(s.clip), s, s.note, settings) for s in found])
    strongest = chroma(spectra, settings.sample_rate, settings.frame_length).argmax(1)
    return FrameSample(split, total, found, spectra, strongest.astype(np.int64))


def on_keys(corpus: Corpus, found: list[FrameOrigin], keys: Integers, settings: ChromaFrames) -> Array:
    """Transpose frames to ``keys`` in octave ``settings.fold``, [frames, bins]."""
    assert settings.fold is not None
    notes = 12 * (settings.fold + 1) + keys
    return np.stack([moved_frame(corpus.samples(s.clip), s, n, settings) for s, n in zip(found, notes, strict=True)])


@torch.no_grad()
def in_batches(compute: Callable[..., torch.Tensor], rows: int, *inputs: Array) -> Array:
    parts = [
        compute(*(torch.from_numpy(values[first : first + rows]) for values in inputs)).numpy()
        for first in range(0, len(inputs[0]), rows)
    ]
    return np.concatenate(parts)


def encode(network: ChromaAutoencoder, spectra: Array, pitch_classes: Integers) -> Array:
    """Return latents, [frames, latents]."""
    return in_batches(network.encode, ROWS, spectra, np.eye(12, dtype=np.float32)[pitch_classes])


def decode(network: ChromaAutoencoder, latents: Array, pitch_classes: Integers | int) -> Array:
    """Return magnitudes, [frames, bins]."""
    one_hot = np.eye(12, dtype=np.float32)[np.broadcast_to(pitch_classes, len(latents))]
    return in_batches(network.decode, ROWS, latents, one_hot)


def resynthesised(
    corpus: Corpus, clip: Clip, network: ChromaAutoencoder, settings: ChromaFrames, folded: bool, seconds: float
) -> tuple[Array, Array]:
    """Return the beginning of a clip and its resynthesis, [samples] both.

    The network's gain of magnitudes is applied to the clip's spectra; with ``folded`` in the octave of training,
    without unpitched frames.
    """
    length, hop = settings.frame_length, settings.frame_length // OVERLAP
    asked = corpus.samples(clip)[: round(seconds * settings.sample_rate)]
    padded = np.pad(asked, (length - hop, 2 * length))
    pitch, middle = corpus.pitch(clip), length // 2 - (length - hop)
    starts = np.arange(0, len(asked) + length - hop, hop)
    notes = pitch[np.clip((starts + middle) // HOP, 0, len(pitch) - 1)]
    spectra = np.fft.rfft(np.stack([padded[start : start + length] for start in starts]) * window("hann", length))
    kept = np.flatnonzero(np.any(spectra, axis=1) & (np.isfinite(notes) | (not folded)))
    made = np.zeros_like(spectra)
    if len(kept):
        keys = np.where(np.isfinite(notes), np.round(notes), 0).astype(np.int64) % 12
        moved = 12 * ((settings.fold or 0) + 1) + keys if folded else notes
        found = [
            FrameOrigin(clip, int(start), float(note)) for start, note in zip(starts[kept], notes[kept], strict=True)
        ]
        frames = np.stack([moved_frame(padded, s, m, settings) for s, m in zip(found, moved[kept], strict=True)])
        if not folded:
            keys[kept] = chroma(frames, settings.sample_rate, length).argmax(1)
        decoded = decode(network, encode(network, frames, keys[kept]), keys[kept])
        bins = np.arange(length // 2 + 1)
        ratios = 2.0 ** ((moved - notes) / 12) if folded else np.ones(len(notes))
        for row, change in zip(kept, (decoded + FLOOR) / (frames + FLOOR), strict=True):
            made[row] = spectra[row] * np.interp(bins * ratios[row], bins, change, right=0.0)
    given = overlap_add(np.fft.irfft(made, length) * (window("hann", length) / (0.375 * OVERLAP)), hop)
    return asked, given[length - hop : length - hop + len(asked)]
