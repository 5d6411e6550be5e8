"""Describes a model's codes for its card: spans, landmarks, and the real sound to start from."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from ..host.contract.card import Landmark, Latent
from ..host.dsp import medoid

Array = npt.NDArray[np.float32]

CODES = 6000  # training frames encoded for the statistics: percentiles to a part in a hundred
SEED = 0
LANDMARKS = 256  # what a card holds at the most
SPAN = (1.0, 99.0)  # percentiles: a knob's whole way sounds like the corpus, stray codes left out
FEWEST = 100  # codes of which a percentile leaves one out: of fewer each is a sound of its own, and none is stray
NARROWEST = 1e-3  # a knob that spans less does nothing; the card still needs low < high


@dataclass(frozen=True)
class EncodedFrames:
    """Encoded training frames: latents [frames, n], labels [frames]; pitch classes [frames] where there is chroma.

    ``span`` are the ends of latents, of all or [n], where they are known; else each spans what the frames do. ``names``
    are the latents' own, where a family knows what they do, and ``moves`` says by name what was measured of it.
    ``sound`` gives of codes, [codes, n], what is heard of each, [codes, numbers], where a family knows it.
    """

    latents: Array
    labels: list[str]
    pitch_classes: npt.NDArray[np.int64] | None = None
    span: tuple[float | Array, float | Array] | None = None
    names: Sequence[str] = ()
    moves: Mapping[str, str] = field(default_factory=dict)
    sound: Callable[[Array], Array] | None = None

    def ends(self) -> tuple[Array, Array]:
        """Return the low and the high end of each latent's knob, [n] both."""
        if self.span is None:
            low, high = np.percentile(self.latents, SPAN if len(self.latents) >= FEWEST else (0, 100), axis=0)
            return low, high
        n = self.latents.shape[1]
        return np.full(n, self.span[0]), np.full(n, self.span[1])


def landmarks(codes: EncodedFrames, words: Sequence[str] = ()) -> list[Landmark]:
    """Frames spread evenly over the corpus, those whose codes lie inside every knob's span.

    Each of ``words`` labels one at least, so that its sounds are found: if all of its codes lie outside, the one that
    strays least, led inside.
    """
    low, high = codes.ends()
    within = np.clip(codes.latents, low, high)
    strays = np.square((codes.latents - within) / (high - low + NARROWEST)).sum(1)
    inside = np.flatnonzero(strays == 0)
    if not len(inside):
        inside, within = np.arange(len(codes.latents)), codes.latents
    labels = np.array(codes.labels)
    known = [np.flatnonzero(labels == word) for word in words if word in codes.labels][: LANDMARKS // 2]
    best = [places[strays[places].argmin()] for places in known]
    most = min(LANDMARKS - len(best), len(inside))
    chosen = {*best, *inside[np.unique(np.linspace(0, len(inside) - 1, most).astype(int))]}
    return [
        Landmark(
            latent=[round(float(v), 5) for v in within[i]],
            chroma=None if codes.pitch_classes is None else int(codes.pitch_classes[i]),
            label=codes.labels[i],
        )
        for i in sorted(chosen)
    ]


def starting_point(codes: EncodedFrames, marks: list[Landmark]) -> list[float]:
    """Return the landmark nearest the median of all: a sound that exists, from the middle of those that do.

    That is the median of what is heard, where it is known: codes that lie in the middle may sound like few recordings.
    """
    if codes.sound is not None:
        heard = codes.sound(np.array([mark.latent for mark in marks], np.float32))
        return list(marks[medoid(heard.astype(np.float64))].latent)
    median = np.median(codes.latents, axis=0)
    scale = codes.latents.std(0) + 1e-9
    distances = [float(np.sum(np.square((np.array(mark.latent) - median) / scale))) for mark in marks]
    return list(marks[int(np.argmin(distances))].latent)


def latents(codes: EncodedFrames, defaults: list[float]) -> list[Latent]:
    """One knob a dimension, spanning what the training set spans."""
    low, high = codes.ends()
    middle = (low + high) / 2
    low, high = np.minimum(low, middle - NARROWEST / 2), np.maximum(high, middle + NARROWEST / 2)
    return [
        Latent(
            name=codes.names[i] if codes.names else f"latent {i}",
            low=round(float(low[i]), 5),
            high=round(float(high[i]), 5),
            default=float(np.clip(default, round(float(low[i]), 5), round(float(high[i]), 5))),
            mean=round(float(codes.latents[:, i].mean()), 5),
            std=round(float(codes.latents[:, i].std()), 5),
            moves=codes.moves.get(codes.names[i], "") if codes.names else "",
        )
        for i, default in enumerate(defaults)
    ]
