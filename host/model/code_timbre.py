"""Timbre of codes: band levels, brightness and loudness of decoded sounds."""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from ..arrays import Array
from ..kinds.table import kind_of
from .card import Card
from .model import Model
from .partials import spectra

BANDS = 32  # a quarter octave each: resolves timbres, not notes
LOWEST_HZ, HIGHEST_HZ = 40.0, 16000.0
PARTS = 4  # of a clip, in time order, from attack to end
FLOOR_DB = -60.0  # below the loudest band, which masks softer ones
BATCH_NUMBERS = 1 << 22  # of frames decoded in one batch: 17 MB
SILENT = 1e-20


class Timbre(NamedTuple):
    levels: Array  # of bands in dB, [codes, numbers]
    brightness: Array  # octaves, [codes]
    loudness: Array  # dB, [codes]


def timbre(model: Model, codes: Array, conditions: npt.NDArray[np.intp]) -> Timbre | None:
    """Timbre of codes, [codes, n_latents].

    None for models with state: output depends on earlier steps. ``conditions``: as in `Model.step`.
    """
    card = model.card
    if card.state:
        return None
    rows = max(1, BATCH_NUMBERS // card.frame_width)
    batches = (slice(first, first + rows) for first in range(0, len(codes), rows))
    timbres = (timbre_of(card, model.decode(codes[batch], conditions[batch]), conditions[batch]) for batch in batches)
    return Timbre(*(np.concatenate(numbers) for numbers in zip(*timbres, strict=True)))


def timbre_of(card: Card, frames: Array, conditions: npt.NDArray[np.intp]) -> Timbre:
    """Timbre of frames, [frames, frame_width]."""
    power, octaves = _bands(card, frames, conditions)
    loudest = np.maximum(power.max(axis=(1, 2), keepdims=True), SILENT)
    decibels = 10 * np.log10(np.maximum(power / loudest, 10 ** (FLOOR_DB / 10)))
    amplitude = np.sqrt(power.sum(1))
    brightness = (amplitude * octaves).sum(1) / np.maximum(amplitude.sum(1), SILENT)
    loudness = 10 * np.log10(np.maximum(power.sum(axis=(1, 2)), SILENT))
    return Timbre(
        decibels.reshape(len(frames), -1).astype(np.float32), brightness.astype(np.float32), loudness.astype(np.float32)
    )


def _bands(card: Card, frames: Array, conditions: npt.NDArray[np.intp]) -> tuple[Array, Array]:
    power = _spectra(card, frames, conditions)
    bins, nyquist_hz = power.shape[-1], card.sample_rate / 2
    edges_hz = np.geomspace(LOWEST_HZ, min(HIGHEST_HZ, nyquist_hz), BANDS + 1)
    edges = np.unique(np.clip(np.round(edges_hz / nyquist_hz * (bins - 1)), 1, bins - 1).astype(np.intp))
    banded = np.add.reduceat(power[..., : edges[-1] + 1], edges[:-1] if len(edges) > 1 else edges, axis=-1)
    band_octaves = np.log2(edges[:-1] + np.diff(edges) / 2) if len(edges) > 1 else np.log2(edges)
    return banded, band_octaves.astype(np.float32)


def _spectra(card: Card, frames: Array, conditions: npt.NDArray[np.intp]) -> Array:
    if card.partials is not None:
        return np.square(spectra(card, frames, conditions))[:, np.newaxis]
    frames = frames[:, : card.frame_width - card.envelope_points]
    parts = PARTS if kind_of(card).of_clips else 1
    if card.domain == "samples":
        length = frames.shape[1] // parts
        pieces = frames[:, : parts * length].reshape(len(frames), parts, length)
        return np.square(np.abs(np.fft.rfft(pieces))).astype(np.float32)
    if card.domain == "magnitude":
        power = np.square(frames).reshape(len(frames), card.spectra, -1)
        return np.stack([part.mean(1) for part in np.array_split(power, min(parts, card.spectra), axis=1)], axis=1)
    first, second = np.split(frames, 2, axis=1)
    power = np.square(first)
    return (power + np.square(second) if card.domain == "real_imag" else power)[:, None]
