"""What a card says of a model's codes: spans, landmarks, and the real sound to start from."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ..host.card import Chroma, Landmark, Latent
from ..host.errors import UserError
from ..host.units import octave_of
from ..train.corpus.store import Corpus
from ..train.families import Network
from ..train.keys import trained
from ..train.recipe import Recipe
from ..train.sample import draw, encode

Array = npt.NDArray[np.float32]

CODES = 6000  # training frames encoded for the statistics: percentiles to a part in a hundred
SEED = 0
LANDMARKS = 256  # what a card holds at the most
SPAN = (1.0, 99.0)  # percentiles: a knob's whole way sounds like the corpus, stray codes left out
NARROWEST = 1e-3  # a knob that spans less does nothing; the card still needs low < high
MIDDLE_OCTAVE = octave_of(60)  # where sounds without pitch are said to lie


@dataclass(frozen=True)
class Codes:
    """Encoded training frames: latents [frames, n], pitch classes [frames], octaves [frames] and labels."""

    latents: Array
    pitch_classes: npt.NDArray[np.int64]
    labels: list[str]
    octaves: list[int]


def encode_corpus(network: Network, recipe: Recipe, corpus: Corpus, tonal: bool) -> Codes:
    """Codes of training frames drawn from all over the corpus, in its order.

    Raises:
        UserError: no training frame sounds.
    """
    folded = recipe.frames.octave is not None and tonal
    sample = draw(corpus, "train", recipe.frames, folded, CODES, np.random.default_rng(SEED))
    if sample is None:
        raise UserError(f"corpus {corpus.folder} has no training frame that sounds; add longer or louder sounds")
    octaves = [octave_of(round(s.note)) if np.isfinite(s.note) else MIDDLE_OCTAVE for s in sample.sources]
    labels = [source.clip.label or source.clip.name for source in sample.sources]
    return Codes(encode(network, sample.spectra, sample.pitch_classes), sample.pitch_classes, labels, octaves)


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
    folded = recipe.frames.octave is not None and tonal
    octave = recipe.frames.octave if folded and recipe.frames.octave is not None else int(np.median(codes.octaves))
    return Chroma(trained=trained(codes.pitch_classes, recipe.frames, folded), octave=octave)
