"""Measures how a contest stands: neither side's loss says whether clips get better or have become all alike."""

import numpy as np
import numpy.typing as npt
import torch

from ..host.resynthesis.log_mel import BANDS, RANGE_DB, distances_db, log_mel, sounding_frames
from .data import Data
from .families.gan.generator import ClipMaker
from .metrics.distribution_distance import frechet, pairwise

Array = npt.NDArray[np.float32]
Double = npt.NDArray[np.float64]

CLIPS = 256  # validation clips, and as many made ones: a figure that is steady to some hundredths
COLLAPSED = 0.2  # of the recordings' diversity: what is left where one sound is made again and again
ALIKE = "nearly one and the same clip"
REMEDY = "go back to a checkpoint in RUN/kept, or train again with another training.seed or a lower learning rate"


def health(network: ClipMaker, data: Data, sample_rate: int) -> dict[str, float]:
    """Measure a network that is in evaluation mode on validation clips and as many made ones, always of the same codes.

    Returns:
        ``estimate``: the judge's mean answer to real clips less that to made ones, of a Wasserstein critic its estimate
        of their distance. ``diversity``: how far made clips lie apart on levels of mel bands, in parts of how far real
        ones do. ``frechet``: the Fréchet distance of made frames that sound from real ones, squared, in dB².
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
        "frechet": frechet(*map(frames, levels)),
    }


def apart(levels: Array) -> float:
    """Return how far clips lie apart, in dB: the mean over all pairs; of levels [clips, frames, bands]."""
    return pairwise(distances_db(levels, levels))


def frames(levels: Array) -> Double:
    """Return the frames of clips that sound, [frames, bands]; of silence alone those that it has."""
    found = sounding_frames(levels)
    return found if len(found) > 1 else np.full((2, BANDS), -RANGE_DB)


def collapsed(diversity: float) -> bool:
    """Return whether clips are all alike, of how far they lie apart in parts of how far recordings do."""
    return diversity < COLLAPSED


def in_words(found: dict[str, float]) -> str:
    """Return what `health` found in a line, and where a run has collapsed what to do."""
    line = (
        f"the critic tells real from made by {found['estimate']:.3g}, made clips lie {found['diversity']:.2f} times "
        f"as far apart as recordings, Fréchet distance {found['frechet']:.4g} dB²"
    )
    if not collapsed(found["diversity"]):
        return line
    return f"{line}; that is {ALIKE}: if this lasts the run has collapsed: stop it, and {REMEDY}"
