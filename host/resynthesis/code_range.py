"""Training range of codes: distance to training codes, clamping to latents' ranges."""

import numpy as np
import numpy.typing as npt

from ..arrays import Doubles
from ..contract.card import Card, in_deviations

AT_ONCE = 1024  # codes compared at once: limits memory for long sounds


def distances(codes: Doubles, marks: Doubles) -> Doubles:
    """Distance of each code to the nearest mark, [frames]."""
    parts = (codes[first : first + AT_ONCE, None] for first in range(0, len(codes), AT_ONCE))
    return np.concatenate([np.sqrt(np.square(part - marks).sum(axis=2).min(axis=1)) for part in parts])


def landmark_codes(card: Card) -> Doubles:
    """Codes of a card's landmarks, [landmarks, n_latents]."""
    return np.array([mark.latent for mark in card.landmarks]).reshape(-1, len(card.latents))


def outside(code: Doubles, card: Card) -> str:
    """Names of latents out of range."""
    names = [
        latent.name
        for latent, value in zip(card.latents, code.tolist(), strict=True)
        if not latent.low <= value <= latent.high
    ]
    return ", ".join(names)


class Span:
    """The region of training codes: the latents' ranges, within the landmarks' radius around the mean in deviations.

    ``middle`` and ``width`` are of the ranges, [n_latents].
    """

    def __init__(self, card: Card) -> None:
        self._low, self._high = (np.array([getattr(one, end) for one in card.latents]) for end in ("low", "high"))
        self.middle, self.width = (self._low + self._high) / 2, self._high - self._low
        self._mean = np.clip([one.mean for one in card.latents], self._low, self._high)
        self._scale = in_deviations(card)
        self._radius = float(self._away(landmark_codes(card)).max(initial=0.0)) or np.inf

    def into(self, code: Doubles) -> Doubles:
        """Clamp a code to the ranges, then pull it straight towards the mean."""
        within = np.clip(code, self._low, self._high)
        away = float(self._away(within[np.newaxis])[0])
        return within if away <= self._radius else self._mean + (within - self._mean) * (self._radius / away)

    def beyond(self, code: Doubles, way: Doubles) -> npt.NDArray[np.bool_]:
        """Mask of latents that a step would move past their range, [n_latents]."""
        return ((code <= self._low) & (way < 0)) | ((code >= self._high) & (way > 0))

    def _away(self, codes: Doubles) -> Doubles:
        away: Doubles = np.sqrt(np.square((codes - self._mean) * self._scale).sum(1))
        return away
