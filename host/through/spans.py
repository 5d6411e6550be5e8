"""Codes against the codes that a model was trained on: how far they lie from them, inside the knobs' spans or not."""

import numpy as np
import numpy.typing as npt

from ..contract.card import Card

Doubles = npt.NDArray[np.float64]

AT_ONCE = 1024  # codes looked at together, so that a long sound needs no more memory


def distances(codes: Doubles, marks: Doubles) -> Doubles:
    """Return the distance from each code to the nearest mark, [frames]."""
    parts = (codes[first : first + AT_ONCE, None] for first in range(0, len(codes), AT_ONCE))
    return np.concatenate([np.sqrt(np.square(part - marks).sum(axis=2).min(axis=1)) for part in parts])


def outside(code: Doubles, card: Card) -> str:
    """Return the latents whose value lies outside their span, in words."""
    names = [
        latent.name
        for latent, value in zip(card.latents, code.tolist(), strict=True)
        if not latent.low <= value <= latent.high
    ]
    return ", ".join(names)
