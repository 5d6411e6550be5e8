"""Floors of partials reports: frames as levels of harmonics and of noise."""

import numpy as np
import torch

from ...host.arrays import Array, Doubles
from ...train.corpus.clip_table import Split
from ...train.families.partials.data import SOFTEST_DB, PartialsRows, measure_levels
from ...train.families.partials.network import PartialsAutoencoder, magnitudes
from ...train.families.partials.recipe import PartialsFrames
from ..measures.floors import Scale, SoundSet, floors, mean_error, squared_errors
from ..reports.report import SEED, Figures

AUDIBLE_DB = -80.0  # of a frame: softer harmonics do not count
OTHER_NOTES = 1 << 16  # added to the numbers of notes that are not the training's


@torch.no_grad()
def partials_floors(
    network: PartialsAutoencoder, training: PartialsRows, test: PartialsRows, split: Split, frames: PartialsFrames
) -> Figures:
    """Return floors of decoded test frames.

    Training frames keep their pitch-free levels, and are heard at the pitches of the split. White noise is measured at
    these pitches.
    """
    levels, pitches = test.tensors()
    decoded = _decibels(network.decode(network.encode(levels, pitches), pitches).numpy())
    noise = np.random.default_rng(SEED).standard_normal((len(test), frames.frame_length), np.float32)
    harmonic_count, below_nyquist = network.harmonics, network.bands.below_nyquist(pitches).numpy()

    def bands(rows: Array) -> Array:
        bands_db: Array = network.bands(magnitudes(torch.tensor(rows)), pitches).numpy()
        return bands_db

    def band_errors(targets: Array, answers: Array) -> Doubles:
        return np.sqrt(squared_errors(bands(targets), bands(answers)))

    def harmonic_errors(targets: Array, answers: Array) -> Doubles:
        """Return sums of squared errors of audible harmonics, and their counts, [frames, 2]."""
        is_audible = (targets[:, :harmonic_count] > AUDIBLE_DB) & below_nyquist
        errors = np.square((answers - targets)[:, :harmonic_count], dtype=np.float64) * is_audible
        return np.stack([errors.sum(1), is_audible.sum(1).astype(np.float64)], 1)

    def noise_errors(targets: Array, answers: Array) -> Doubles:
        return np.sqrt(squared_errors(targets[:, harmonic_count:], answers[:, harmonic_count:]))

    scales = {
        "bands_db": Scale("Mel bands, dB", ".1f", np.asarray, band_errors, mean_error),
        "harmonics_db": Scale(
            "Harmonics, dB",
            ".1f",
            np.asarray,
            harmonic_errors,
            lambda terms: float(np.sqrt(terms[:, 0].sum() / max(terms[:, 1].sum(), 1.0))),
        ),
        "noise_db": Scale("Noise, dB", ".1f", np.asarray, noise_errors, mean_error),
    }
    training_set, test_set = (
        SoundSet(np.maximum(rows.levels, SOFTEST_DB), np.rint(rows.pitches).astype(np.int64) + offset)
        for rows, offset in ((training, 0), (test, 0 if split == "train" else OTHER_NOTES))
    )
    return floors(
        scales,
        training_set,
        test_set,
        network.settings.latents,
        decoded,
        silence=np.full_like(test.levels, SOFTEST_DB),
        noise=measure_levels(noise, test.pitches, frames),
    )


def _decibels(frames: Array) -> Array:
    levels: Array = 20 * np.log10(np.maximum(frames, 10 ** (SOFTEST_DB / 20), dtype=np.float32))
    return levels
