"""What a card says of a model's codes: spans, landmarks, and the real sound to start from."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch

from ..host.card import Chroma, Landmark, Latent
from ..host.dsp import chroma
from ..host.units import octave_of
from ..train.corpus.store import Corpus
from ..train.families import Network
from ..train.frames import Source, moved_frame, sources
from ..train.recipe import Recipe

Array = npt.NDArray[np.float32]

CODES = 6000  # training frames encoded for the statistics: percentiles to a part in a hundred
LANDMARKS = 256  # what a card holds at the most
SPAN = (1.0, 99.0)  # percentiles: a knob's whole way sounds like the corpus, stray codes left out
NARROWEST = 1e-3  # a knob that spans less does nothing; the card still needs low < high


@dataclass(frozen=True)
class Codes:
    """Encoded training frames: latents [frames, n], pitch classes [frames] and labels."""

    latents: Array
    pitch_classes: npt.NDArray[np.int64]
    labels: list[str]
    octaves: npt.NDArray[np.int64]


def encode_corpus(network: Network, recipe: Recipe, corpus: Corpus, tonal: bool) -> Codes:
    """Codes of training frames spread evenly over the corpus."""
    settings = recipe.frames
    fold = settings.octave is not None and tonal
    found = list(sources(corpus, "train", settings, tonal=fold))
    found = [found[i] for i in np.unique(np.linspace(0, len(found) - 1, min(CODES, len(found))).astype(int))]
    latents: list[Array] = []
    pitch_classes: list[int] = []
    octaves: list[int] = []
    for first in range(0, len(found), 512):
        part = found[first : first + 512]
        pairs = [_frame(corpus, source, recipe, fold) for source in part]
        frames = torch.from_numpy(np.stack([frame for frame, _ in pairs]))
        classes = torch.tensor([pitch_class for _, pitch_class in pairs])
        with torch.no_grad():
            latents.append(network.encode(frames, torch.nn.functional.one_hot(classes, 12).float()).numpy())
        pitch_classes.extend(classes.tolist())
        octaves.extend(octave_of(round(s.note)) if np.isfinite(s.note) else octave_of(60) for s in part)
    labels = [source.clip.label or source.clip.name for source in found]
    return Codes(np.concatenate(latents), np.array(pitch_classes), labels, np.array(octaves))


def _frame(corpus: Corpus, source: Source, recipe: Recipe, fold: bool) -> tuple[Array, int]:
    settings = recipe.frames
    samples = corpus.samples(source.clip)
    if fold:
        assert settings.octave is not None
        key = round(source.note) % 12
        return moved_frame(samples, source, 12 * (settings.octave + 1) + key, settings), key
    frame = moved_frame(samples, source, source.note, settings)
    return frame, int(chroma(frame, settings.sample_rate, settings.frame_length).argmax())


def landmarks(codes: Codes) -> list[Landmark]:
    """Frames spread evenly over the corpus, those whose codes lie inside every knob's span."""
    low, high = np.percentile(codes.latents, SPAN, axis=0)
    inside = np.flatnonzero(np.all((codes.latents >= low) & (codes.latents <= high), axis=1))
    if not len(inside):
        inside = np.arange(len(codes.latents))
    chosen = inside[np.unique(np.linspace(0, len(inside) - 1, min(LANDMARKS, len(inside))).astype(int))]
    return [
        Landmark(
            latent=[round(float(v), 5) for v in codes.latents[i]],
            chroma=int(codes.pitch_classes[i]),
            label=codes.labels[i],
        )
        for i in chosen
    ]


def starting_point(codes: Codes, marks: list[Landmark]) -> list[float]:
    """The landmark nearest the median code: a sound that exists, from the middle of those that do."""
    median = np.median(codes.latents, axis=0)
    scale = codes.latents.std(0) + 1e-9
    distances = [float(np.sum(np.square((np.array(mark.latent) - median) / scale))) for mark in marks]
    return list(marks[int(np.argmin(distances))].latent)


def latents(codes: Codes, defaults: list[float]) -> list[Latent]:
    """One knob a dimension, spanning what the training set spans."""
    low, high = np.percentile(codes.latents, SPAN, axis=0)
    middle = (low + high) / 2
    low, high = np.minimum(low, middle - NARROWEST / 2), np.maximum(high, middle + NARROWEST / 2)
    return [
        Latent(
            name=f"latent {i}",
            low=round(float(low[i]), 5),
            high=round(float(high[i]), 5),
            default=float(np.clip(default, round(float(low[i]), 5), round(float(high[i]), 5))),
            mean=round(float(codes.latents[:, i].mean()), 5),
            std=round(float(codes.latents[:, i].std()), 5),
        )
        for i, default in enumerate(defaults)
    ]


def chroma_of(codes: Codes, recipe: Recipe, tonal: bool) -> Chroma:
    """Pitch classes of the training set, and the octave its decoded frames sound in."""
    if recipe.frames.octave is not None and tonal:
        return Chroma(trained=list(range(12)), octave=recipe.frames.octave)
    return Chroma(trained=sorted({int(p) for p in codes.pitch_classes}), octave=int(np.median(codes.octaves)))
