"""Mono mixes of channels: notices channels in antiphase, whose mean cancels, and inverts them."""

from collections.abc import Iterable

import numpy as np

from ..arrays import Array

# Of the power of the best mix; a mean below it has lost 10 dB, as of two channels with a correlation below -.82.
CANCELLED = 0.1


def mix_signs(blocks: Iterable[Array], channels: int) -> Array | None:
    """Return the factors, ±1 [channels], for a mean that does not cancel; None if the plain mean does not.

    ``blocks``: all samples, [n, channels] each. Channels are inverted that are opposite to the loudest.
    """
    products = np.zeros((channels, channels))
    for block in blocks:
        wide = block.astype(np.float64)
        products += wide.T @ wide
    signs = np.where(products[np.diag(products).argmax()] < 0, -1.0, 1.0)
    if products.sum() >= CANCELLED * (signs @ products @ signs):
        return None
    return signs.astype(np.float32)


def antiphase_remark(signs: Array) -> str:
    numbers = (np.flatnonzero(signs < 0) + 1).tolist()
    channels = f"channel {numbers[0]}" if len(numbers) == 1 else f"channels {', '.join(map(str, numbers))}"
    return f"its channels are in antiphase, and their mean cancels: mixed with {channels} of {len(signs)} inverted"
