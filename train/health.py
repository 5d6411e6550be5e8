"""How a contest stands: neither side's loss says whether clips get better, or whether they have become all alike.

All is measured on levels of 64 mel bands in windows of 1024 samples, a quarter of one apart, in dB under a clip's
loudest and no lower than 60 under it: silence has a level too, so how long a sound is counts.
"""

import functools

import numpy as np
import numpy.typing as npt
import torch

from .data import Data
from .models.maker import ClipMaker

Array = npt.NDArray[np.float32]
Double = npt.NDArray[np.float64]

CLIPS = 256  # validation clips, and as many made ones: a figure that is steady to some hundredths
BANDS, WINDOW, HOP = 64, 1024, 256
FLOOR_DB = -60.0
COLLAPSED = 0.2  # of the recordings' diversity: what is left where one sound is made again and again


def health(network: ClipMaker, data: Data, sample_rate: int) -> dict[str, float]:
    """Measure a network that is in evaluation mode on validation clips and as many made ones, always of the same codes.

    Returns:
        ``estimate``: the judge's mean answer to real clips less that to made ones, of a Wasserstein critic its estimate
        of their distance. ``diversity``: how far made clips lie apart, in parts of how far real ones do. ``frechet``:
        the Fréchet distance of real and made frames, squared, in dB².
    """
    device = next(network.parameters()).device
    generator = torch.Generator().manual_seed(0)
    answers: list[tuple[float, float]] = []
    real: list[Array] = []
    made: list[Array] = []
    for clips, labels in data.validation(CLIPS):
        rows = network.rows(labels.to(device))
        given = network.decode(network.draw(len(clips), generator).to(device), rows)
        answers += zip(*(network.judge(which, rows).tolist() for which in (clips.to(device), given)), strict=True)
        real.append(clips.numpy())
        made.append(given.cpu().numpy())
    levels = [log_mel(np.concatenate(sounds), sample_rate) for sounds in (real, made)]
    return {
        "estimate": float(np.mean([true - false for true, false in answers])),
        "diversity": apart(levels[1]) / max(apart(levels[0]), 1e-9),
        "frechet": frechet(*(frames.reshape(-1, BANDS) for frames in levels)),
    }


def in_words(found: dict[str, float]) -> str:
    """Return what `health` found in a line, and where a run has collapsed what to do."""
    line = (
        f"the critic tells real from made by {found['estimate']:.3g}, made clips lie {found['diversity']:.2f} times "
        f"as far apart as recordings, Fréchet distance {found['frechet']:.4g} dB²"
    )
    if found["diversity"] >= COLLAPSED:
        return line
    return (
        f"{line}; that is nearly one and the same clip: if this lasts the run has collapsed: stop it, go back to a "
        "checkpoint in RUN/kept, or train with another training.seed or a lower learning rate"
    )


def log_mel(clips: Array, sample_rate: int) -> Double:
    """Levels of clips [clips, samples] in mel bands: [clips, frames, 64], dB under each clip's loudest, -60 or more."""
    padded = np.pad(clips, ((0, 0), (0, max(0, WINDOW - clips.shape[1]))))
    pieces = np.lib.stride_tricks.sliding_window_view(padded, WINDOW, axis=1)[:, ::HOP]
    shape = np.hanning(WINDOW + 1)[:-1].astype(np.float32)
    bands = mel_bands(sample_rate)
    # Clip by clip: the pieces of all at once would be four times as large as the clips.
    power = np.stack([np.square(np.abs(np.fft.rfft(one * shape))) @ bands for one in pieces]).astype(np.float64)
    power /= np.maximum(power.max((1, 2), keepdims=True), 1e-12)
    levels: Double = 10 * np.log10(np.maximum(power, 10 ** (FLOOR_DB / 10)))
    return levels


@functools.cache
def mel_bands(sample_rate: int) -> Double:
    """Weights of a window's bins in mel bands, [bins, bands]: triangles, evenly spaced on O'Shaughnessy's scale."""
    top = 2595 * np.log10(1 + sample_rate / 2 / 700)
    corners = 700 * (10 ** (np.linspace(0, top, BANDS + 2) / 2595) - 1)
    hz = np.fft.rfftfreq(WINDOW, 1 / sample_rate)[:, None]
    low, middle, high = corners[:-2], corners[1:-1], corners[2:]
    weights: Double = np.maximum(0, np.minimum((hz - low) / (middle - low), (high - hz) / (high - middle)))
    return weights


def apart(levels: Double) -> float:
    """Return how far clips lie apart: the mean over all pairs of the root mean square of the difference, in dB.

    Args:
        levels: [clips, frames, bands]; of one clip alone it is 0.
    """
    flat = levels.reshape(len(levels), -1)
    squares = np.square(flat).mean(1)
    between = squares[:, None] + squares - 2 * (flat @ flat.T) / flat.shape[1]
    pairs = np.triu_indices(len(flat), 1)
    return float(np.sqrt(np.maximum(between[pairs], 0)).mean()) if len(flat) > 1 else 0.0


def frechet(first: Double, second: Double) -> float:
    """Return the Fréchet distance of Gaussians fitted to two sets of vectors, squared (Dowson and Landau, 1982).

    The trace of the root of the product of the covariances A and B is that of A^½ B A^½, which is symmetric.

    Args:
        first, second: [vectors, dimensions], two or more of both.
    """
    a, b = np.cov(first.T), np.cov(second.T)
    values, axes = np.linalg.eigh(a)
    root = (axes * np.sqrt(np.maximum(values, 0))) @ axes.T
    shared = np.sqrt(np.maximum(np.linalg.eigvalsh(root @ b @ root), 0)).sum()
    between = np.square(first.mean(0) - second.mean(0)).sum()
    return float(max(between + np.trace(a) + np.trace(b) - 2 * shared, 0.0))
