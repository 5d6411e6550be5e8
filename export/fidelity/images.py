"""Stereo images: those of recordings, and distances of a rendition's sides to a recording's."""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from ...host.arrays import Array, Doubles
from ...host.kinds.card_fields import IMAGE_BANDS
from ...host.model.image import (
    IMAGE_FRAME,
    IMAGE_HOP,
    LEAST_POWER,
    image_of_products,
    measured_image,
    rounded_bands,
    side_products_of,
)
from ...host.signal import window
from ...host.spectra import mel_triangles
from ...train.corpus.clip_table import Clip
from ...train.corpus.store import Corpus
from ...train.sampling import thinned
from .measures import HIGHEST_HZ, SUSTAIN_RANGE_DB, SUSTAINED, bands_below, windowed

MOST_CLIPS = 256  # of a corpus
FLOOR_DB = -60.0  # of a band below the power of both sides


class SidesDistance(NamedTuple):
    """Distances in dB of left, right, mid and side, and their mean."""

    left_db: float
    right_db: float
    mid_db: float
    side_db: float
    sides_db: float


def corpus_image(corpus: Corpus) -> list[tuple[float, float]] | None:
    """Return a card's image for notes: the median of training clips' images; None for a mono corpus."""
    clips = _stereo_clips(corpus)
    if clips is None:
        return None
    return rounded_bands(np.median([measured_image(corpus.sides(clip), corpus.rate) for clip in clips], axis=0))


def mean_image(corpus: Corpus) -> list[tuple[float, float]] | None:
    """Return a card's image for textures: that of training clips' mean spectra; None for a mono corpus."""
    clips = _stereo_clips(corpus)
    if clips is None:
        return None
    side_products = np.zeros((3, IMAGE_FRAME // 2 + 1))
    for clip in clips:
        side_products += side_products_of(corpus.sides(clip))
    return rounded_bands(image_of_products(side_products, corpus.rate))


def _stereo_clips(corpus: Corpus) -> list[Clip] | None:
    """Return at most `MOST_CLIPS` training clips, None if all are mono."""
    clips = corpus.clips("train")
    return None if all(corpus.channels(clip) == 1 for clip in clips) else list(thinned(clips, MOST_CLIPS))


def sides_distance(recording: Array, rendition: Array, rate: int) -> SidesDistance:
    """Return the distances of two notes' sides, [2, samples] each and equally long.

    Of 32 mel bands' levels below the power of both sides, in the frames of the first four fifths within 20 dB of the
    recording's loudest: root mean squares over bands, means over frames.
    """
    recorded_levels, powers = _side_levels(recording, rate)
    played_levels, _ = _side_levels(rendition, rate)
    is_held = powers > powers.max() * 10 ** (-SUSTAIN_RANGE_DB / 10)
    is_held &= np.arange(len(powers)) < max(1, SUSTAINED * len(powers))
    distances = np.sqrt(np.square(recorded_levels - played_levels).mean(2))[:, is_held].mean(1).tolist()
    left_db, right_db, mid_db, side_db = distances
    return SidesDistance(left_db, right_db, mid_db, side_db, float(np.mean(distances)))


def differences_of_sides(sides: Array, rate: int) -> Array:
    """Return levels of left over right and of mid over side in dB, [frames, 2 x bands].

    Of the mel bands below `HIGHEST_HZ`, in a note's frames within 20 dB of its loudest; ``sides``: [2, samples].
    """
    (left, right, mid, side), powers = _side_levels(sides, rate)
    is_loud = powers > powers.max() * 10 ** (-SUSTAIN_RANGE_DB / 10)
    band_count = bands_below(HIGHEST_HZ, rate, IMAGE_BANDS)
    differences = [each[is_loud, :band_count] for each in (left - right, mid - side)]
    return np.concatenate(differences, axis=1).astype(np.float32)


def _spectra(sides: Array) -> npt.NDArray[np.complex64]:
    """Transforms of sides, [2, frames, bins]."""
    shape = window("hann", IMAGE_FRAME)
    return np.stack([np.fft.rfft(windowed(side, shape, IMAGE_HOP)) for side in sides])


def _side_levels(sides: Array, rate: int) -> tuple[Doubles, Doubles]:
    """Levels of left, right, mid and side, [4, frames, 32], in dB, and both sides' powers, [frames]."""
    left, right = _spectra(sides)
    filters = mel_triangles(rate, IMAGE_FRAME, IMAGE_BANDS).T
    mid, side = (left + right) * np.sqrt(0.5), (left - right) * np.sqrt(0.5)
    powers = np.stack([np.square(np.abs(spectra), dtype=np.float64) @ filters for spectra in (left, right, mid, side)])
    total_powers: Doubles = (powers[0] + powers[1]).sum(1) + LEAST_POWER
    shares = powers / total_powers[:, np.newaxis]
    return 10 * np.log10(np.maximum(shares, 10 ** (FLOOR_DB / 10))), total_powers
