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
    batch_size = max(1, BATCH_NUMBERS // card.frame_width)
    batch_slices = (slice(batch_start, batch_start + batch_size) for batch_start in range(0, len(codes), batch_size))
    batch_timbres = (
        timbre_of(card, model.decode(codes[batch_slice], conditions[batch_slice]), conditions[batch_slice])
        for batch_slice in batch_slices
    )
    return Timbre(*(np.concatenate(quantity_batches) for quantity_batches in zip(*batch_timbres, strict=True)))


def timbre_of(card: Card, frames: Array, conditions: npt.NDArray[np.intp]) -> Timbre:
    """Timbre of frames, [frames, frame_width]."""
    band_power, band_octaves = _bands(card, frames, conditions)
    loudest_power = np.maximum(band_power.max(axis=(1, 2), keepdims=True), SILENT)
    band_levels_db = 10 * np.log10(np.maximum(band_power / loudest_power, 10 ** (FLOOR_DB / 10)))
    band_amplitudes = np.sqrt(band_power.sum(1))
    brightness = (band_amplitudes * band_octaves).sum(1) / np.maximum(band_amplitudes.sum(1), SILENT)
    loudness = 10 * np.log10(np.maximum(band_power.sum(axis=(1, 2)), SILENT))
    return Timbre(
        band_levels_db.reshape(len(frames), -1).astype(np.float32),
        brightness.astype(np.float32),
        loudness.astype(np.float32),
    )


def _bands(card: Card, frames: Array, conditions: npt.NDArray[np.intp]) -> tuple[Array, Array]:
    """Power of bands, [frames, parts, bands], and their centres in octaves, [bands]."""
    bin_power = _spectra(card, frames, conditions)
    bin_count, nyquist_hz = bin_power.shape[-1], card.sample_rate / 2
    edges_hz = np.geomspace(LOWEST_HZ, min(HIGHEST_HZ, nyquist_hz), BANDS + 1)
    edge_bins = np.unique(np.clip(np.round(edges_hz / nyquist_hz * (bin_count - 1)), 1, bin_count - 1).astype(np.intp))
    band_power = np.add.reduceat(
        bin_power[..., : edge_bins[-1] + 1], edge_bins[:-1] if len(edge_bins) > 1 else edge_bins, axis=-1
    )
    band_octaves = np.log2(edge_bins[:-1] + np.diff(edge_bins) / 2) if len(edge_bins) > 1 else np.log2(edge_bins)
    return band_power, band_octaves.astype(np.float32)


def _spectra(card: Card, frames: Array, conditions: npt.NDArray[np.intp]) -> Array:
    """Power spectra of decoded frames, [frames, parts, bins]."""
    if card.partials is not None:
        return np.square(spectra(card, frames, conditions))[:, np.newaxis]
    frames = frames[:, : card.frame_width - card.envelope_points]
    part_count = PARTS if kind_of(card).of_clips else 1
    if card.domain == "samples":
        part_length = frames.shape[1] // part_count
        part_samples = frames[:, : part_count * part_length].reshape(len(frames), part_count, part_length)
        return np.square(np.abs(np.fft.rfft(part_samples))).astype(np.float32)
    if card.domain == "magnitude":
        bin_power = np.square(frames).reshape(len(frames), card.spectra, -1)
        return np.stack(
            [part_power.mean(1) for part_power in np.array_split(bin_power, min(part_count, card.spectra), axis=1)],
            axis=1,
        )
    first_half, second_half = np.split(frames, 2, axis=1)
    bin_power = np.square(first_half)
    return (bin_power + np.square(second_half) if card.domain == "real_imag" else bin_power)[:, None]
