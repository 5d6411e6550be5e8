"""Distances of codes as they are heard: in dB of a decoder's spectra, near the codes of an instrument."""

import numpy as np
import numpy.typing as npt

from ...contract.card import PITCH_CLASSES
from ...contract.model import Model

Doubles = npt.NDArray[np.float64]

AROUND = 8  # codes around which it is looked at, at most: their mean is for all
PART = 1 / 40  # of a latent's span, by which it is turned to either side: a tenth of a deviation of training
QUIETEST = 1e-3  # of a spectrum's strongest bin: softer ones are not heard beside it
TINY = 1e-12


def decibels(model: Model, codes: Doubles) -> Doubles:
    """Return what codes are multiplied by so that their distances are in dB, [n_latents, n_latents].

    That is the root mean square over the bins that are heard, to first order: ten milliseconds' work of the decoder.

    Args:
        codes: where it is to hold, [codes, n_latents]. Each is decoded for another pitch class, or key.
    """
    n, partials = codes.shape[1], model.card.partials
    keys = np.arange(PITCH_CLASSES) * 5 % PITCH_CLASSES
    if partials is not None:
        keys = np.linspace(partials.low, partials.high, AROUND).round().astype(np.intp)
    turned = PART * np.diag([latent.high - latent.low for latent in model.card.latents])
    squares = np.zeros((n, n))
    around = codes[:: -(-len(codes) // AROUND)]
    for number, code in enumerate(around):
        rows = np.concatenate([[code], code + turned, code - turned]).astype(np.float32)
        frames = model.decode(rows, np.full(len(rows), keys[number % len(keys)]))
        heard = frames[0] > QUIETEST * frames[0].max()
        levels = 20 * np.log10(np.maximum(frames[1:, heard], TINY))
        change = (levels[:n] - levels[n:]) / (2 * np.diag(turned))[:, np.newaxis]
        squares += change @ change.T / max(np.count_nonzero(heard), 1)
    values, ways = np.linalg.eigh(squares / len(around))
    apart: Doubles = ways * np.sqrt(np.maximum(values, 0.0))
    return apart
