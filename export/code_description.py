"""Describes a model's codes for its card: latent ranges, landmarks, default code."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from ..host.arrays import Array
from ..host.contract.card import Landmark, Latent
from ..host.medoid import medoid
from ..train.sampling import evenly_spaced
from .measures.latent_statistics import SPAN

CODES = 6000  # training frames encoded for the statistics: percentiles accurate to a hundredth
SEED = 0
LANDMARKS = 256  # a card's limit

FEWEST = 100  # codes for percentiles to exclude one; of fewer, each is a sound of its own, not an outlier
NARROWEST = 1e-3  # a knob that spans less does nothing; the card still needs low < high


@dataclass(frozen=True)
class EncodedFrames:
    """Encoded training frames: latents [frames, n], labels and pitch classes [frames].

    Args:
        span: low and high ends of latents, [n] or common; None takes percentiles.
        moves: measured effect of a latent, by name.
        sound: maps codes [codes, n] to audible features [codes, numbers].
    """

    latents: Array
    labels: list[str]
    pitch_classes: npt.NDArray[np.int64] | None = None
    span: tuple[float | Array, float | Array] | None = None
    names: Sequence[str] = ()
    moves: Mapping[str, str] = field(default_factory=dict)
    sound: Callable[[Array], Array] | None = None

    def ends(self) -> tuple[Array, Array]:
        """Return low and high ends of knobs, [n] each."""
        if self.span is None:
            low, high = np.percentile(self.latents, SPAN if len(self.latents) >= FEWEST else (0, 100), axis=0)
            return low, high
        n = self.latents.shape[1]
        return np.full(n, self.span[0]), np.full(n, self.span[1])


def landmarks(codes: EncodedFrames, words: Sequence[str] = ()) -> list[Landmark]:
    """Return frames spread over the corpus, with codes inside all knobs' spans.

    Each of ``words`` labels one, clamped if its codes lie outside.
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
    chosen = {*best, *inside[np.unique(evenly_spaced(len(inside), LANDMARKS - len(best)))]}
    return [
        Landmark(
            latent=[round(float(v), 5) for v in within[i]],
            chroma=None if codes.pitch_classes is None else int(codes.pitch_classes[i]),
            label=codes.labels[i],
        )
        for i in sorted(chosen)
    ]


def starting_point(codes: EncodedFrames, marks: list[Landmark]) -> list[float]:
    """Return the landmark nearest to the median code, or with ``sound`` the medoid of the landmarks' sounds.

    Middle codes may sound unlike most recordings.
    """
    if codes.sound is not None:
        heard = codes.sound(np.array([mark.latent for mark in marks], np.float32))
        return list(marks[medoid(heard.astype(np.float64))].latent)
    median = np.median(codes.latents, axis=0)
    scale = codes.latents.std(0) + 1e-9
    distances = [float(np.sum(np.square((np.array(mark.latent) - median) / scale))) for mark in marks]
    return list(marks[int(np.argmin(distances))].latent)


def latents(codes: EncodedFrames, defaults: list[float]) -> list[Latent]:
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
