"""Codes against the codes that a model was trained on: counted in deviations, inside the knobs' spans or not."""

import numpy as np
import numpy.typing as npt

from ..contract.card import Card

Doubles = npt.NDArray[np.float64]

AT_ONCE = 1024  # codes looked at together, so that a long sound needs no more memory


def in_deviations(card: Card) -> Doubles:
    """Return what codes are multiplied by to be counted in deviations of the training codes, [n_latents].

    A latent that never varied in training counts for nothing.
    """
    deviations = np.array([latent.std for latent in card.latents])
    scale: Doubles = np.divide(1.0, deviations, out=np.zeros_like(deviations), where=deviations > 0)
    return scale


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
