"""Clip features: band levels of spectra, and loudness in short parts."""

import math

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

WINDOW_SECONDS = 0.05  # of spectra: resolves the harmonics of voices, and holds two periods of a kick at 50 Hz
OVERLAP = 4  # hops per window
PART_SECONDS = 0.002  # of loudness: attacks need an accuracy of 3 ms
BAND_SHARE, BAND_HZ = 0.03, 100.0  # band spacing: this share of (frequency + BAND_HZ), at least a bin
RANGE = 80 / 20 * math.log(10)  # nepers below a clip's maximum: softer levels are clamped
MEL_BANDS = 64  # as in the distance measure of clips
HIGHEST = 6.0  # nepers above a clip's loudest mel band: no sound reaches it, and higher powers overflow
LEAST = 1e-12  # power of silence
LEAST_MEL = 1e-9  # power of a mel band, relative to the loudest


class ClipFeatures(nn.Module):
    """Log band levels and loudness of clips; ``length`` is a multiple of a hop, in samples.

    ``spectra`` spectra are ``hop`` apart, the first centred on the first sample; ``points`` parts have ``part``
    samples.
    """

    into: Tensor
    out_of: Tensor
    mel: Tensor
    window: Tensor
    fade: Tensor

    def __init__(self, sample_rate: int, length: int) -> None:
        super().__init__()
        self.length, self.sample_rate = length, sample_rate
        self.transform = 2 ** round(math.log2(sample_rate * WINDOW_SECONDS))
        self.hop = self.transform // OVERLAP
        self.part = min(2 ** round(math.log2(sample_rate * PART_SECONDS)), self.hop)
        self.part_ms = 1000 * self.part / sample_rate
        self.spectra, self.points = length // self.hop + 1, length // self.part
        for name, value in _tables(sample_rate, self.transform, length).items():
            self.register_buffer(name, value, persistent=False)
        self.bands = len(self.into)
        self.width = self.spectra * self.bands + self.points

    def forward(self, clips: Tensor) -> tuple[Tensor, Tensor]:
        """Return features, [clips, width], and mel band levels in dB, [clips, spectra, bands].

        Features are log amplitudes of bands, then parts, relative to each clip's loudest mel band.
        """
        power, mel, parts = self.powers(clips * self.fade)
        loudest = mel.amax((1, 2), keepdim=True).clamp_min(LEAST)
        bands = logarithm(power / loudest)
        levels = logarithm(parts / loudest[:, 0])
        features = torch.cat([_bounded(bands, (1, 2)).flatten(1), _bounded(levels, (1,))], 1)
        return features, 10 * torch.log10((mel / loudest).clamp_min(LEAST_MEL))

    def powers(self, clips: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return powers of bands [clips, spectra, bands], mel bands, and parts [clips, points]."""
        padded = F.pad(clips, (self.transform // 2, self.transform // 2 + self.hop))
        pieces = padded.unfold(1, self.transform, self.hop)[:, : self.spectra]
        numbers = torch.view_as_real(torch.fft.rfft(pieces * self.window))
        power = (numbers * numbers).sum(-1)
        return power @ self.into.T, power @ self.mel, clips.view(-1, self.points, self.part).square().mean(2)

    def parts(self, features: Tensor) -> tuple[Tensor, Tensor]:
        """Split features into bands [clips, spectra, bands] and levels [clips, points], in nepers."""
        first = self.spectra * self.bands
        return features[:, :first].view(-1, self.spectra, self.bands), features[:, first:]

    def mel_decibels(self, bands: Tensor) -> Tensor:
        """Return mel levels in dB, [clips, spectra, mel bands], of bands in nepers."""
        power = torch.exp(2 * bands.clamp_max(HIGHEST)) @ (self.out_of @ self.mel)
        return 10 * torch.log10(power + LEAST_MEL)

    def frames(self, features: Tensor) -> Tensor:
        """Return a clip card's frames: magnitudes, log-linear between bands, then levels."""
        bands, levels = self.parts(features)
        frames = torch.cat([(bands @ self.out_of).flatten(1), levels], 1)
        return torch.exp(frames.clamp_max(HIGHEST))


def logarithm(power: Tensor) -> Tensor:
    """Return nepers, clamped: exporters would lose a small addend."""
    return 0.5 * torch.log(power.clamp_min(LEAST))


def _bounded(levels: Tensor, axes: tuple[int, ...]) -> Tensor:
    return torch.maximum(levels, levels.amax(axes, keepdim=True) - RANGE)


def _tables(rate: int, transform: int, length: int) -> dict[str, Tensor]:
    from librosa.filters import mel

    hertz = np.arange(transform // 2 + 1) * rate / transform
    middles = [0.0]
    while middles[-1] < rate / 2:
        middles.append(middles[-1] + max(rate / transform, BAND_SHARE * (middles[-1] + BAND_HZ)))
    middles[-1] = rate / 2
    hats = np.stack([np.interp(hertz, middles, row) for row in np.eye(len(middles))])
    fade = np.ones(length)
    fade[-(length // 32) :] = np.linspace(1, 0, length // 32)
    tables = {
        "into": hats / hats.sum(1, keepdims=True),
        "out_of": hats,
        "mel": mel(sr=rate, n_fft=transform, n_mels=MEL_BANDS).T,
        "window": np.hanning(transform + 1)[:-1],
        "fade": fade,
    }
    return {name: torch.from_numpy(np.ascontiguousarray(value, np.float32)) for name, value in tables.items()}
