"""Fits codes to recorded frames: gradient search from the encoder's codes.

Encoders trained on steady sound map breath and room sound around a note to dark codes. A frame at the breath contains
the following tone, so only its middle half counts. The target is the shape and brightness of `timbrel evaluate`.
"""

import librosa
import numpy as np
import soxr
import torch
from torch import Tensor, nn

from ...host.arrays import Array, Doubles
from ...host.contract.card import PITCH_CLASSES, Card
from ...host.units import semitones_to_ratio
from ...train.families.partials.network import Bands
from ..fidelity.notes import SingleNote

BANDS = 64
FLOOR = 1e-6  # of a frame's power, -60 dB: a softer band counts as empty
STEPS, RATE = 12, 0.2  # of the search, and the first step in deviations: 16 gained 0.1 dB of a clarinet's shape
ASIDE = 10.0  # dB^2 of shape: required gain per squared deviation from the encoder's code
OCTAVE = 100.0  # dB^2 of shape: the weight of an octave of brightness
ROWS = 512  # per network batch


class CodeFitter:
    """Fits codes to frames, for networks conditioned on a chroma."""

    def __init__(self, encoder: nn.Module, decoder: nn.Module, card: Card) -> None:
        self._encoder, self._decoder, self.card = encoder, decoder, card
        length, rate = card.frame_length, card.sample_rate
        self._mel = torch.from_numpy(librosa.filters.mel(sr=rate, n_fft=length, n_mels=BANDS, norm=None).T.copy())
        self._hertz = torch.fft.rfftfreq(length, 1 / rate)
        half = torch.hann_window(length // 2, periodic=True)
        self._window = nn.functional.pad(half, (length // 4, length - length // 4 - length // 2))

    def moved(self, sound: Array, single: SingleNote) -> tuple[Array, float]:
        """Resample a note to the octave of training; return samples and speed ratio."""
        chroma = self.card.chroma
        assert chroma is not None
        there = PITCH_CLASSES * (chroma.octave + 1) + single.key % PITCH_CLASSES
        ratio = semitones_to_ratio(there - single.pitch)
        return soxr.resample(sound, self.card.sample_rate * ratio, self.card.sample_rate).astype(np.float32), ratio

    def condition(self, single: SingleNote) -> float:
        return single.key % PITCH_CLASSES

    @torch.no_grad()
    def encoded(self, frames: Array, conditions: Doubles) -> Array:
        """Encode frames, [rows, frame_length], under conditions, [rows], to codes, [rows, n_latents]."""
        parts = [
            self._encoder(torch.from_numpy(frames[at : at + ROWS]), self._condition(conditions[at : at + ROWS])).numpy()
            for at in range(0, len(frames), ROWS)
        ]
        return np.concatenate(parts) if parts else np.zeros((0, len(self.card.latents)), np.float32)

    def fitted(self, frames: Array, conditions: Doubles) -> Array:
        """Fit codes within the latents' spans; shapes as in `encoded`."""
        parts = [
            self._fit(frames[at : at + ROWS], conditions[at : at + ROWS]).numpy() for at in range(0, len(frames), ROWS)
        ]
        return np.concatenate(parts)

    @torch.enable_grad()
    def _fit(self, frames: Array, conditions: Doubles) -> Tensor:
        first, told = torch.from_numpy(self.encoded(frames, conditions)), self._condition(conditions)
        latents = self.card.latents
        low, high, scale = (
            torch.tensor([getattr(latent, name) for latent in latents]) for name in ("low", "high", "std")
        )
        with torch.no_grad():
            spectra = torch.fft.rfft(torch.from_numpy(frames) * self._window).abs()
            shape, brightness = self._shape(spectra), self._brightness(spectra)
        aside = torch.zeros_like(first, requires_grad=True)
        search = torch.optim.Rprop([aside], lr=RATE)  # rows are independent, and so are Rprop's step sizes
        for _ in range(STEPS):
            decoded = self._decoder(torch.clamp(first + aside * scale, low, high), told)
            found_shape, found_brightness = self._descriptors(decoded, told)
            lost = (found_shape - shape).square().mean(1) + OCTAVE * (found_brightness - brightness).square()
            lost = lost + ASIDE * aside.square().sum(1)
            (aside.grad,) = torch.autograd.grad(lost.sum(), aside)
            search.step()
        found: Tensor = torch.clamp(first + aside.detach() * scale, low, high)
        return found

    def _condition(self, conditions: Doubles) -> Tensor:
        return torch.eye(PITCH_CLASSES)[torch.from_numpy(conditions.astype(np.int64))]

    def _descriptors(self, decoded: Tensor, told: Tensor) -> tuple[Tensor, Tensor]:
        return self._shape(decoded), self._brightness(decoded)

    def _shape(self, spectra: Tensor) -> Tensor:
        power = spectra.square()
        shares = power @ self._mel / power.sum(1, keepdim=True).clamp_min(1e-20)
        return 10 * torch.log10(shares + FLOOR)

    def _brightness(self, spectra: Tensor) -> Tensor:
        centroid = (spectra @ self._hertz) / spectra.sum(1).clamp_min(1e-20)
        return torch.log2(centroid.clamp_min(1.0))


class PitchedCodeFitter(CodeFitter):
    """Fits codes to frames, for networks of partials and noise conditioned on pitch."""

    def __init__(self, encoder: nn.Module, decoder: nn.Module, card: Card, bands: Bands) -> None:
        super().__init__(encoder, decoder, card)
        self._bands = bands

    def moved(self, sound: Array, single: SingleNote) -> tuple[Array, float]:
        return sound, 1.0

    def condition(self, single: SingleNote) -> float:
        return single.pitch

    def _condition(self, conditions: Doubles) -> Tensor:
        return torch.from_numpy(conditions.astype(np.float32))[:, None]

    def _descriptors(self, decoded: Tensor, told: Tensor) -> tuple[Tensor, Tensor]:
        pitches = told[:, 0]
        shares = self._bands.shares(decoded, pitches)
        return 10 * torch.log10(shares + FLOOR), torch.log2(self._bands.centroid(decoded, pitches).clamp_min(1.0))
