"""Frames drawn from a split, and what a network makes of them."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch

from ...host.dsp import chroma, overlap_add, window
from ...train.batches.frames import PITCH_HOP, FrameOrigin, moved_frame, sources
from ...train.corpus.store import Clip, Corpus, Split
from ...train.families.chroma.network import ChromaAutoencoder
from ...train.families.chroma.recipe import ChromaFrames

Array = npt.NDArray[np.float32]
Ints = npt.NDArray[np.int64]

OVERLAP = 4  # frames of a sound that is made again: at 75 % the squares of Hann windows add up to 1.5
FLOOR = 1e-3  # of a frame's maximum, -60 dB: changes of what is quieter are no more than it
ROWS = 1024  # at once through a network: 8 MB a layer, and large enough for its matrices


@dataclass(frozen=True)
class Sample:
    """Frames of a split: magnitudes of maximum 1 [frames, bins], pitch classes [frames], and where they were cut.

    ``found`` frames of the split sound; these were drawn from them.
    """

    split: Split
    found: int
    sources: list[FrameOrigin]
    spectra: Array
    pitch_classes: Ints

    def __len__(self) -> int:
        return len(self.sources)

    @property
    def clips(self) -> Ints:
        """Return which clip each frame comes from, numbered from 0: [frames]."""
        names = [source.clip.name for source in self.sources]
        return np.unique(names, return_inverse=True)[1].astype(np.int64)


def draw(
    corpus: Corpus, split: Split, settings: ChromaFrames, folded: bool, count: int, rng: np.random.Generator
) -> Sample | None:
    """Draw at most ``count`` frames of a split, in their order; return None where none sounds.

    With ``folded`` each is moved to its own key in ``settings.fold``, else left where it is.
    """
    found = list(sources(corpus, split, settings, tonal=folded))
    if not found:
        return None
    return cut(corpus, split, [found[i] for i in chosen(len(found), count, rng)], settings, folded, len(found))


def cut(
    corpus: Corpus, split: Split, found: list[FrameOrigin], settings: ChromaFrames, folded: bool, total: int
) -> Sample:
    """Return the sample that consists of these frames."""
    if folded:
        keys = np.array([round(source.note) % 12 for source in found], np.int64)
        return Sample(split, total, found, on_keys(corpus, found, keys, settings), keys)
    spectra = np.stack([moved_frame(corpus.samples(s.clip), s, s.note, settings) for s in found])
    strongest = chroma(spectra, settings.sample_rate, settings.frame_length).argmax(1)
    return Sample(split, total, found, spectra, strongest.astype(np.int64))


def on_keys(corpus: Corpus, found: list[FrameOrigin], keys: Ints, settings: ChromaFrames) -> Array:
    """Frames moved to keys of ``settings.fold``, one pitch class a frame: [frames, bins]."""
    assert settings.fold is not None
    notes = 12 * (settings.fold + 1) + keys
    return np.stack([moved_frame(corpus.samples(s.clip), s, n, settings) for s, n in zip(found, notes, strict=True)])


def chosen(length: int, count: int, rng: np.random.Generator) -> Ints:
    """Draw at most ``count`` of ``length`` places, each once, in ascending order.

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


def resynthesised(
    corpus: Corpus, clip: Clip, network: ChromaAutoencoder, settings: ChromaFrames, folded: bool, seconds: float
) -> tuple[Array, Array]:
    """Return the beginning of a clip, and what the network makes of it: two of [samples].

    Its frames are changed as encoding and decoding change them: each magnitude by as much, with ``folded`` as it is in
    the octave where they were trained. Then what has no pitch is silent, for it was not trained.
    """
    length, hop = settings.frame_length, settings.frame_length // OVERLAP
    asked = corpus.samples(clip)[: round(seconds * settings.sample_rate)]
    padded = np.pad(asked, (length - hop, 2 * length))
    pitch, middle = corpus.pitch(clip), length // 2 - (length - hop)
    starts = np.arange(0, len(asked) + length - hop, hop)
    notes = pitch[np.clip((starts + middle) // PITCH_HOP, 0, len(pitch) - 1)]
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
