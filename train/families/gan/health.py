"""Health of adversarial training: critic's estimate, diversity and Fréchet distance; detects collapse."""

from typing import Any

import numpy as np
import torch

from ....host.arrays import Array, Doubles
from ....host.resynthesis.distance import RANGE_DB, distances_db, sounding_frames
from ....host.spectra import CLIP_BANDS, log_mel
from ...data import Data
from ...metrics.clips import frechet, pairwise
from .generator import ClipGenerator

CLIPS = 256  # validation clips, and made ones: figures are accurate to some hundredths
COLLAPSED = 0.2  # of the recordings' diversity: the maximum of a network that repeats one sound
ALIKE = "nearly one and the same clip"
REMEDY = "go back to a checkpoint in RUN/kept, or train again with another training.seed or a lower learning rate"


def measure_health(network: ClipGenerator, data: Data[Any], sample_rate: int) -> dict[str, float]:
    """Compare validation clips with as many of fixed codes, by a network in evaluation mode.

    Returns:
        ``estimate``: the judge's mean output for real less made clips, as by Wasserstein critics. ``diversity``:
        `mean_pair_distance` of made clips relative to real ones. ``frechet``: of non-silent frames, in dB².
    """
    device = next(network.parameters()).device
    generator = torch.Generator().manual_seed(0)
    score_pairs: list[tuple[float, float]] = []
    real_clips: list[Array] = []
    generated_clips: list[Array] = []
    for clips, labels in data.validation(CLIPS):
        label_rows = network.rows(labels.to(device))
        decoded_clips = network.decode(network.draw(len(clips), generator).to(device), label_rows)
        score_pairs += zip(
            *(network.judge(judged_clips, label_rows).tolist() for judged_clips in (clips.to(device), decoded_clips)),
            strict=True,
        )
        real_clips.append(clips.numpy())
        generated_clips.append(decoded_clips.cpu().numpy())
    mel_levels = [log_mel(np.concatenate(sounds), sample_rate) for sounds in (real_clips, generated_clips)]
    return {
        "estimate": float(np.mean([real_score - generated_score for real_score, generated_score in score_pairs])),
        "diversity": mean_pair_distance(mel_levels[1]) / max(mean_pair_distance(mel_levels[0]), 1e-9),
        "frechet": frechet(*map(frames, mel_levels)),
    }


def mean_pair_distance(levels: Array) -> float:
    """Return the mean distance of all pairs [clips, frames, bands], in dB."""
    return pairwise(distances_db(levels, levels))


def frames(levels: Array) -> Doubles:
    """Return non-silent frames, [frames, bands]; placeholders for silence."""
    audible_frames = sounding_frames(levels)
    return audible_frames if len(audible_frames) > 1 else np.full((2, CLIP_BANDS), -RANGE_DB)


def collapsed(diversity: float) -> bool:
    return diversity < COLLAPSED


def health_line(figures: dict[str, float]) -> str:
    """Return the figures of `measure_health` in words."""
    line = (
        f"the critic tells real from made by {figures['estimate']:.3g}, made clips lie {figures['diversity']:.2f} "
        f"times as far apart as recordings, Fréchet distance {figures['frechet']:.4g} dB²"
    )
    if not collapsed(figures["diversity"]):
        return line
    return f"{line}; that is {ALIKE}: if this lasts the run has collapsed: stop it, and {REMEDY}"
