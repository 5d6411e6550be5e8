"""Perceptual distance of a note to a recording by Zimtohrli, a model of hearing: an optional second judge.

Zimtohrli (Google, Apache-2.0) filters both sounds as the ear does, aligns them in time and compares the structure of
their loudness: https://github.com/google/zimtohrli. It was fitted to listeners' ratings of codecs.
"""

import functools
import importlib.util
from typing import Any

import numpy as np
import soxr

from ...host.arrays import Array
from ..reports.report import Figures
from .notes import NoteSound

MODEL_RATE = 48_000  # the only one that Zimtohrli takes
LONGEST_SECONDS = 4.0  # of a note: the time of the alignment grows with its square
SHORTEST_SECONDS = 0.1  # padded with silence: Zimtohrli reads beyond the end of sounds under 60 ms
LEVEL_DB = -23.0  # root mean square of both sounds in dBFS, as EBU R 128 asks of programmes: its loudness is absolute
SILENT_DB = 60.0  # below the level of both sides: a side without sound
SIDES = ("left", "right", "mid", "side")


def is_installed() -> bool:
    return importlib.util.find_spec("zimtohrli") is not None


def perceptual_distance(recording: NoteSound, rendition: NoteSound, rate: int) -> Figures:
    """Compare two equally long sounds of one level, the first 4 s.

    Returns:
        ``zimtohrli``: the distance, 0 of equal sounds, about .014 of a flutist's second take. Where both sounds are
            stereo, the mean over left, right, mid and side, else of the mono sounds. None if the recording is silent,
            or without timbrel[judge].
        ``zimtohrli_sides``: the distances of left, right, mid and side, None of those silent in the recording; None
            unless both sounds are stereo.
    """
    if not is_installed():
        return {"zimtohrli": None, "zimtohrli_sides": None}
    if recording.sides is None or rendition.sides is None or np.array_equal(*rendition.sides):
        [distance] = _distances(recording.mono[np.newaxis], rendition.mono[np.newaxis], rate)
        return {"zimtohrli": distance, "zimtohrli_sides": None}
    distances = _distances(_with_mid(recording.sides), _with_mid(rendition.sides), rate)
    audible_distances = [distance for distance in distances if distance is not None]
    return {
        "zimtohrli": float(np.mean(audible_distances)) if audible_distances else None,
        "zimtohrli_sides": dict(zip(SIDES, distances, strict=True)),
    }


def _with_mid(sides: Array) -> Array:
    """Return left, right, mid and side, [4, samples], of both sides, [2, samples]."""
    left, right = sides
    return np.stack([left, right, (left + right) * np.float32(0.5**0.5), (left - right) * np.float32(0.5**0.5)])


def _distances(recorded_channels: Array, rendered_channels: Array, rate: int) -> list[float | None]:
    """Return the distance of each channel, [channels, samples] both; None of a channel silent in the recording."""
    recorded_channels, rendered_channels = (
        _at_model_rate(channels, rate) for channels in (recorded_channels, rendered_channels)
    )
    is_silent = np.sqrt(np.square(recorded_channels).mean(1)) < 10 ** ((LEVEL_DB - SILENT_DB) / 20)
    return [
        None if silent else float(_model().distance(recorded, rendered))
        for silent, recorded, rendered in zip(is_silent, recorded_channels, rendered_channels, strict=True)
    ]


def _at_model_rate(channels: Array, rate: int) -> Array:
    """Return a sound, [channels, samples], at the model's rate and level."""
    resampled = soxr.resample(channels[:, : round(LONGEST_SECONDS * rate)].T, rate, MODEL_RATE).T
    # Left and right alone, of four channels, have the level of both sides.
    level = np.sqrt(np.square(resampled[:2]).mean())
    levelled = resampled * (10 ** (LEVEL_DB / 20) / max(level, 1e-9))
    missing_samples = max(0, round(SHORTEST_SECONDS * MODEL_RATE) - levelled.shape[1])
    return np.ascontiguousarray(np.pad(levelled, ((0, 0), (0, missing_samples))), np.float32)


@functools.cache
def _model() -> Any:
    """Return the model; imported on first use, since its extra may be missing."""
    import zimtohrli

    return zimtohrli.Pyohrli()
