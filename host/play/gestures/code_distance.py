"""Perceptual code distance: codes to dB of decoded spectra."""

import numpy as np

from ...arrays import Doubles
from ...contract.card import PITCH_CLASSES
from ...contract.model import Model

AROUND = 8  # most codes to evaluate; the result is their mean
PART = 1 / 40  # step to either side, of a latent's span: a tenth of a standard deviation of training
QUIETEST = 1e-3  # of a spectrum's strongest bin, which masks softer ones
TINY = 1e-12


def decibels(model: Model, codes: Doubles) -> Doubles:
    """Matrix from code differences to distances in dB, [n_latents, n_latents]; takes ten milliseconds.

    Root mean square over audible bins, to first order, around ``codes``, [codes, n_latents].
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
