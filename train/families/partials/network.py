"""Partials autoencoder: decodes a code and a pitch to harmonic amplitudes and noise bands; its batches."""

import math

import numpy as np
import torch
from torch import Tensor, nn

from ....host.model.partials import HANN_ENERGY, LOBE_REACH, hann_lobe, spread
from ....host.units import INAUDIBLE_HZ
from ...data import Data
from ...network import BANDS, SOFTEST, Autoencoder, decibels, dense, initialise_by_glorot, level_distance, uniformity
from .recipe import PartialsFrames, PartialsRecipe

APART = 2.0  # semitones between pitch features, triangles twice as wide
STEPS = 2  # table entries per bin for the bands of a lobe
HIGHEST = 1.0  # nepers above a frame's power: prevents overflow for arbitrary codes
MOST = 8192  # training frames for means
NEPER_DB = 20 / math.log(10)


class PartialsAutoencoder(Autoencoder):
    """Dense encoder of mel bands, dense decoder to partials.

    Shapes: rows [batch, harmonics + bands], dB re frame power; pitches [batch], MIDI notes; latents [batch, latents];
    decoded frames, magnitudes as in `PartialsLayout`.
    """

    middle: Tensor
    deviation: Tensor

    def __init__(self, recipe: PartialsRecipe) -> None:
        super().__init__()
        self.settings, self.weights, self.harmonics = recipe.network, recipe.loss, recipe.frames.harmonics
        self.bands = Bands(recipe.frames)
        low, high = recipe.frames.span
        self.pitch = PitchFeatures(low, high)
        n, width = self.settings.latents, recipe.frames.harmonics + recipe.frames.bands
        features = len(self.pitch.middles)
        self.encoder = dense([BANDS + features, *self.settings.encoder])
        self.bottleneck = nn.Linear(self.settings.encoder[-1], n)
        self.decoder = dense([n + features, *self.settings.decoder])
        self.output = nn.Linear(self.settings.decoder[-1], width)
        initialise_by_glorot(self)
        self.means = nn.Parameter(torch.zeros(width))
        self.register_buffer("middle", torch.zeros(BANDS))
        self.register_buffer("deviation", torch.ones(BANDS))

    @torch.no_grad()
    def initialise(self, data: Data) -> None:
        rows, pitches = (part.to(self.means) for part in data.spread(MOST))
        levels = self.bands(magnitudes(rows), pitches)
        self.middle.copy_(levels.mean(0))
        self.deviation.copy_(levels.std(0, correction=0).clamp_min(1.0))
        self.means.copy_(rows.mean(0) / NEPER_DB)

    def encode(self, *inputs: Tensor) -> Tensor:
        rows, pitches = inputs
        return self.placed(self.bands(magnitudes(rows), pitches), pitches)

    def placed(self, levels: Tensor, pitches: Tensor) -> Tensor:
        """Return the latents of mel band levels, [batch, 64]."""
        seen = torch.cat([(levels - self.middle) / self.deviation, self.pitch(pitches)], 1)
        return torch.sigmoid(self.bottleneck(self.encoder(seen)))

    def decode(self, latents: Tensor, pitches: Tensor) -> Tensor:
        return self.nepers(latents, pitches).exp()

    def nepers(self, latents: Tensor, pitches: Tensor) -> Tensor:
        value: Tensor = self.output(self.decoder(torch.cat([latents, self.pitch(pitches)], 1)))
        return (value + self.means).clamp_max(HIGHEST)

    def reconstruction(
        self, rows: Tensor, pitches: Tensor, targets: Tensor, target_pitches: Tensor, generator: torch.Generator
    ) -> dict[str, Tensor]:
        """Return the terms of the same sounds with another shift."""
        latents = self.encode(rows, pitches)
        given = self.nepers(latents, target_pitches)
        terms: dict[str, Tensor] = {}
        if self.weights.bands:
            asked = self.bands(magnitudes(targets), target_pitches)
            terms["bands"] = level_distance(self.bands(given.exp(), target_pitches), asked)
        levels_db = NEPER_DB * given
        count = self.harmonics
        if self.weights.harmonics:
            floor = 10 * math.log10(SOFTEST)
            heard = ((targets[:, :count] > floor) & self.bands.inside(target_pitches)).float()
            off = (levels_db[:, :count].clamp_min(floor) - targets[:, :count]).square() * heard
            terms["harmonics"] = (off.sum(1) / heard.sum(1).clamp_min(1) + 1e-6).sqrt().mean()
        if self.weights.noise:
            terms["noise"] = level_distance(levels_db[:, count:], targets[:, count:])
        if self.weights.uniformity:
            terms["uniformity"] = uniformity(latents, generator)
        return terms


class PitchFeatures(nn.Module):
    """Triangular pitch features, [batch] → [batch, points], clamped to the range."""

    middles: Tensor

    def __init__(self, low: float, high: float) -> None:
        super().__init__()
        points = max(2, math.ceil((high - low) / APART) + 1)
        self.register_buffer("middles", low + APART * torch.arange(points), persistent=False)

    def forward(self, pitches: Tensor) -> Tensor:
        kept = pitches.clamp(self.middles[0], self.middles[-1])
        return (1 - (kept[:, None] - self.middles).abs() / APART).clamp_min(0)


class Bands(nn.Module):
    """Mel band levels of partials frames, [batch, 64], in dB re frame power, as triangles of height 1.

    A harmonic's power is spread over its lobe.
    """

    mel: Tensor
    lobes: Tensor
    spread: Tensor
    numbers: Tensor

    def __init__(self, frames: PartialsFrames) -> None:
        from librosa.filters import mel

        super().__init__()
        length, bins = frames.frame_length, frames.frame_length // 2 + 1
        weights = mel(sr=frames.sample_rate, n_fft=length, n_mels=BANDS, norm=None).T.astype(np.float64)
        layout = frames.layout
        self.stretch = layout.stretch
        hertz = np.arange(bins) * frames.sample_rate / length
        places = np.arange((bins + 1) * STEPS) / STEPS
        around = np.rint(places).astype(np.intp)[:, np.newaxis] + np.arange(-LOBE_REACH, LOBE_REACH + 1)
        heights = hann_lobe(around - places[:, np.newaxis])
        inside = (around >= 0) & (around < bins)
        lobes = np.einsum("pa,pam->pm", np.square(heights) * inside, weights[np.clip(around, 0, bins - 1)])
        self.harmonics, self.top = frames.harmonics, float(bins - 1)
        self.first = math.ceil(INAUDIBLE_HZ * length / frames.sample_rate)
        self.a_hertz = length / frames.sample_rate
        for name, table in {
            "mel": weights,
            "lobes": lobes,
            "spread": spread(layout, hertz),
            "numbers": np.arange(1, frames.harmonics + 1),
        }.items():
            self.register_buffer(name, torch.from_numpy(np.ascontiguousarray(table, np.float32)), persistent=False)

    def forward(self, frames: Tensor, pitches: Tensor) -> Tensor:
        return decibels(self.shares(frames, pitches))

    def shares(self, frames: Tensor, pitches: Tensor) -> Tensor:
        """Return shares of frame power, [batch, 64]."""
        power = frames[:, : self.harmonics].square() * self.inside(pitches)
        at = (self.places(pitches) * STEPS).round().clamp_max(len(self.lobes) - 1).long()
        noise = frames[:, self.harmonics :].square() @ self.spread
        shares = torch.einsum("bh,bhm->bm", power, self.lobes[at]) + noise @ self.mel
        whole = HANN_ENERGY * power.sum(1) + noise.sum(1)
        return shares / whole[:, None].clamp_min(1e-20)

    def centroid(self, frames: Tensor, pitches: Tensor) -> Tensor:
        """Return the magnitude-weighted centroid in Hz, [batch]; a lobe's bins sum to twice its height."""
        heights = 2 * frames[:, : self.harmonics] * self.inside(pitches)
        noise = (frames[:, self.harmonics :].square() @ self.spread + 1e-20).sqrt()
        hertz = torch.arange(noise.shape[1]) / self.a_hertz
        whole = heights.sum(1) + noise.sum(1)
        return ((heights * self.places(pitches) / self.a_hertz).sum(1) + noise @ hertz) / whole.clamp_min(1e-20)

    def places(self, pitches: Tensor) -> Tensor:
        """Return harmonics' bin positions, [batch, harmonics]."""
        first = (440 * torch.exp2((pitches - 69) / 12) * self.a_hertz)[:, None]
        if self.stretch is None:
            return first * self.numbers
        stiff = torch.exp(self.stretch[0] + self.stretch[1] * pitches)[:, None]
        return first * self.numbers * ((1 + stiff * self.numbers.square()) / (1 + stiff)).sqrt()

    def inside(self, pitches: Tensor) -> Tensor:
        """Return whether harmonics are below Nyquist, [batch, harmonics]."""
        return self.places(pitches) < self.top

    def of_power(self, power: Tensor) -> Tensor:
        """Return levels of power spectra, [batch, bins]."""
        power = power[:, self.first :]  # inaudible below, and possibly dominated by an offset
        return decibels(power @ self.mel[self.first :] / power.sum(1, keepdim=True).clamp_min(1e-20))


def magnitudes(rows: Tensor) -> Tensor:
    return torch.exp(rows / NEPER_DB)
