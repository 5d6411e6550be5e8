"""Partials autoencoder: decodes a code and a pitch to harmonic amplitudes and noise bands; its batches."""

import math
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from ....host.model.partials import HANN_ENERGY, LOBE_REACH, hann_lobe, spread
from ....host.spectra import mel_triangles
from ....host.units import INAUDIBLE_HZ
from ...data import Data
from ...network import (
    BANDS,
    SOFTEST,
    Autoencoder,
    constant,
    decibels,
    dense,
    initialise_by_glorot,
    level_distance,
    uniformity,
)
from .recipe import PartialsFrames, PartialsRecipe

FEATURE_SEMITONES = 2.0  # between pitch features, triangles twice as wide
POSITIONS_PER_BIN = 2  # table entries per bin for the bands of a lobe
HIGHEST = 1.0  # nepers above a frame's power: prevents overflow for arbitrary codes
MEAN_FRAMES = 8192  # training frames for means
NEPER_DB = 20 / math.log(10)


class PartialsAutoencoder(Autoencoder):
    """Dense encoder of mel bands, dense decoder to partials.

    Shapes: rows [batch, harmonics + bands], dB re frame power; pitches [batch], MIDI notes; latents [batch, latents];
    decoded frames, magnitudes as in `PartialsLayout`.
    """

    def __init__(self, recipe: PartialsRecipe) -> None:
        super().__init__()
        self.settings, self.weights, self.harmonics = recipe.network, recipe.loss, recipe.frames.harmonics
        self.bands = Bands(recipe.frames)
        lowest_note, highest_note = recipe.frames.span
        self.pitch = PitchFeatures(lowest_note, highest_note)
        n, row_width = self.settings.latents, recipe.frames.harmonics + recipe.frames.bands
        pitch_feature_count = len(self.pitch.middles)
        self.encoder = dense([BANDS + pitch_feature_count, *self.settings.encoder])
        self.bottleneck = nn.Linear(self.settings.encoder[-1], n)
        self.rotation: nn.Module = nn.Identity()  # of latents; export turns them
        self.decoder = dense([n + pitch_feature_count, *self.settings.decoder])
        self.output = nn.Linear(self.settings.decoder[-1], row_width)
        initialise_by_glorot(self)
        self.means = nn.Parameter(torch.zeros(row_width))
        self.middle = nn.Buffer(torch.zeros(BANDS))
        self.deviation = nn.Buffer(torch.ones(BANDS))

    @torch.no_grad()
    def initialise(self, data: Data[Any]) -> None:
        level_rows, pitches = (batch_tensor.to(self.means) for batch_tensor in data.spread(MEAN_FRAMES))
        band_levels = self.bands(magnitudes(level_rows), pitches)
        self.middle.copy_(band_levels.mean(0))
        self.deviation.copy_(band_levels.std(0, correction=0).clamp_min(1.0))
        self.means.copy_(level_rows.mean(0) / NEPER_DB)

    def encode(self, *inputs: Tensor) -> Tensor:
        level_rows, pitches = inputs
        return self.encode_levels(self.bands(magnitudes(level_rows), pitches), pitches)

    def encode_levels(self, levels: Tensor, pitches: Tensor) -> Tensor:
        """Return the latents of mel band levels, [batch, 64]."""
        encoder_inputs = torch.cat([(levels - self.middle) / self.deviation, self.pitch(pitches)], 1)
        latents: Tensor = self.rotation(torch.sigmoid(self.bottleneck(self.encoder(encoder_inputs))))
        return latents

    def decode(self, latents: Tensor, pitches: Tensor) -> Tensor:
        return self.nepers(latents, pitches).exp()

    def nepers(self, latents: Tensor, pitches: Tensor) -> Tensor:
        """Return decoded magnitudes in nepers, [batch, harmonics + bands]."""
        offsets_from_means: Tensor = self.output(self.decoder(torch.cat([latents, self.pitch(pitches)], 1)))
        return (offsets_from_means + self.means).clamp_max(HIGHEST)

    def reconstruction(
        self, rows: Tensor, pitches: Tensor, targets: Tensor, target_pitches: Tensor, generator: torch.Generator
    ) -> dict[str, Tensor]:
        """Return the terms of the same sounds with another shift."""
        latents = self.encode(rows, pitches)
        decoded_nepers = self.nepers(latents, target_pitches)
        terms: dict[str, Tensor] = {}
        if self.weights.bands:
            target_band_levels = self.bands(magnitudes(targets), target_pitches)
            terms["bands"] = level_distance(self.bands(decoded_nepers.exp(), target_pitches), target_band_levels)
        decoded_db = NEPER_DB * decoded_nepers
        harmonic_count = self.harmonics
        if self.weights.harmonics:
            floor_db = 10 * math.log10(SOFTEST)
            is_audible = ((targets[:, :harmonic_count] > floor_db) & self.bands.below_nyquist(target_pitches)).float()
            squared_errors = (
                decoded_db[:, :harmonic_count].clamp_min(floor_db) - targets[:, :harmonic_count]
            ).square() * is_audible
            terms["harmonics"] = (squared_errors.sum(1) / is_audible.sum(1).clamp_min(1) + 1e-6).sqrt().mean()
        if self.weights.noise:
            terms["noise"] = level_distance(decoded_db[:, harmonic_count:], targets[:, harmonic_count:])
        if self.weights.uniformity:
            terms["uniformity"] = uniformity(latents, generator)
        return terms


class PitchFeatures(nn.Module):
    """Triangular pitch features, [batch] → [batch, points], clamped to the range."""

    def __init__(self, low: float, high: float) -> None:
        super().__init__()
        point_count = max(2, math.ceil((high - low) / FEATURE_SEMITONES) + 1)
        self.middles = nn.Buffer(low + FEATURE_SEMITONES * torch.arange(point_count), persistent=False)

    def forward(self, pitches: Tensor) -> Tensor:
        clamped_pitches = pitches.clamp(self.middles[0], self.middles[-1])
        return (1 - (clamped_pitches[:, None] - self.middles).abs() / FEATURE_SEMITONES).clamp_min(0)


class Bands(nn.Module):
    """Mel band levels of partials frames, [batch, 64], in dB re frame power, as triangles of height 1.

    A harmonic's power is spread over its lobe.
    """

    def __init__(self, frames: PartialsFrames) -> None:
        super().__init__()
        frame_length, bin_count = frames.frame_length, frames.frame_length // 2 + 1
        mel_weights = mel_triangles(frames.sample_rate, frame_length, BANDS).astype(np.float32).T.astype(np.float64)
        layout = frames.layout
        self.stretch = layout.stretch
        bin_hz = np.arange(bin_count) * frames.sample_rate / frame_length
        centre_bins = np.arange((bin_count + 1) * POSITIONS_PER_BIN) / POSITIONS_PER_BIN
        lobe_bins = np.rint(centre_bins).astype(np.intp)[:, np.newaxis] + np.arange(-LOBE_REACH, LOBE_REACH + 1)
        lobe_heights = hann_lobe(lobe_bins - centre_bins[:, np.newaxis])
        is_in_spectrum = (lobe_bins >= 0) & (lobe_bins < bin_count)
        lobe_band_powers = np.einsum(
            "pa,pam->pm", np.square(lobe_heights) * is_in_spectrum, mel_weights[np.clip(lobe_bins, 0, bin_count - 1)]
        )
        self.harmonics, self.top = frames.harmonics, float(bin_count - 1)
        self.first = math.ceil(INAUDIBLE_HZ * frame_length / frames.sample_rate)
        self.bins_per_hz = frame_length / frames.sample_rate
        self.mel, self.lobes, self.spread, self.numbers = (
            constant(np.ascontiguousarray(table))
            for table in (mel_weights, lobe_band_powers, spread(layout, bin_hz), np.arange(1, frames.harmonics + 1))
        )

    def forward(self, frames: Tensor, pitches: Tensor) -> Tensor:
        return decibels(self.shares(frames, pitches))

    def shares(self, frames: Tensor, pitches: Tensor) -> Tensor:
        """Return shares of frame power, [batch, 64]."""
        harmonic_powers = frames[:, : self.harmonics].square() * self.below_nyquist(pitches)
        lobe_rows = (self.places(pitches) * POSITIONS_PER_BIN).round().clamp_max(len(self.lobes) - 1).long()
        noise_powers = frames[:, self.harmonics :].square() @ self.spread
        band_shares = torch.einsum("bh,bhm->bm", harmonic_powers, self.lobes[lobe_rows]) + noise_powers @ self.mel
        total_power = HANN_ENERGY * harmonic_powers.sum(1) + noise_powers.sum(1)
        return band_shares / total_power[:, None].clamp_min(1e-20)

    def centroid(self, frames: Tensor, pitches: Tensor) -> Tensor:
        """Return the magnitude-weighted centroid in Hz, [batch]; a lobe's bins sum to twice its height."""
        lobe_magnitudes = 2 * frames[:, : self.harmonics] * self.below_nyquist(pitches)
        noise_magnitudes = (frames[:, self.harmonics :].square() @ self.spread + 1e-20).sqrt()
        bin_hz = torch.arange(noise_magnitudes.shape[1]) / self.bins_per_hz
        total_magnitudes = lobe_magnitudes.sum(1) + noise_magnitudes.sum(1)
        return (
            (lobe_magnitudes * self.places(pitches) / self.bins_per_hz).sum(1) + noise_magnitudes @ bin_hz
        ) / total_magnitudes.clamp_min(1e-20)

    def places(self, pitches: Tensor) -> Tensor:
        """Return harmonics' bin positions, [batch, harmonics]."""
        fundamental_bins = (440 * torch.exp2((pitches - 69) / 12) * self.bins_per_hz)[:, None]
        if self.stretch is None:
            return fundamental_bins * self.numbers
        inharmonicity = torch.exp(self.stretch[0] + self.stretch[1] * pitches)[:, None]
        return (
            fundamental_bins * self.numbers * ((1 + inharmonicity * self.numbers.square()) / (1 + inharmonicity)).sqrt()
        )

    def below_nyquist(self, pitches: Tensor) -> Tensor:
        """Return whether harmonics are below Nyquist, [batch, harmonics]."""
        return self.places(pitches) < self.top

    def of_power(self, power: Tensor) -> Tensor:
        """Return levels of power spectra, [batch, bins]."""
        power = power[:, self.first :]  # inaudible below, and possibly dominated by an offset
        return decibels(power @ self.mel[self.first :] / power.sum(1, keepdim=True).clamp_min(1e-20))


def magnitudes(rows: Tensor) -> Tensor:
    return torch.exp(rows / NEPER_DB)
