"""Grain autoencoders: dense, convolutional or noise-filter models of sound windows.

Layers, windows and prior follow the Ambisynth post ("10 gruesome images of adversarial networks fighting to the
death"); it leaves activations, rates and batches open.
"""

import itertools
import math
from abc import ABC, abstractmethod

import numpy as np
import scipy
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ...network import LEAK, Autoencoder, Objective, constant, dense, frozen, initialise_by_glorot
from ...shared_random import randn_examples
from .recipe import GrainRecipe

LEVEL = 0.1  # of full scale: average level of recordings; scales network inputs to about 1
QUIETEST = 1e-10  # power of a sample, -100 dB: below the noise of 16 bits
POWER_CENTRE, POWER_SPREAD = -8.0, 4.0  # log power of a sample in a band: typical values of recordings
KNEE_HZ = 250.0  # bands are spaced linearly below, logarithmically above
PARTS = 16  # per grain: its envelope is measured in windows of two parts
MEMORY = 0.003  # long-term weight of a batch in the running statistics of whitening
RECENT = 10  # early on, the running statistics cover about the last tenth of all batches
STRIDE = 4  # of each convolution


class GrainAutoencoder(Autoencoder):
    """Encoder, decoder and, if adversarial, an adjudicator of codes and prior.

    Shapes: windows [batch, frame_length], samples; latents [batch, latents]; frames of the contract: samples, 2 × bins
    (magnitudes, phases), or bins + envelope points.
    """

    def __init__(self, recipe: GrainRecipe) -> None:
        super().__init__()
        self.settings, self.weights = recipe.network, recipe.loss
        n, length = self.settings.latents, recipe.frames.frame_length
        if self.settings.domain == "noise":
            assert self.settings.bands is not None
            assert self.settings.envelope_points is not None
            self.domain: Domain = NoiseDomain(
                recipe.frames.sample_rate, length, self.settings.bands, self.settings.envelope_points
            )
        else:
            self.domain = SampleDomain(length) if self.settings.domain == "samples" else MagnitudePhase(length)
        hidden_widths = self.settings.hidden
        if self.settings.body == "convolutional":
            self.encoder, self.decoder = _convolutions(length, hidden_widths, n), _transposed(length, hidden_widths, n)
        else:
            self.encoder = dense([self.domain.input_width, *hidden_widths, n], linear_end=True)
            self.decoder = dense([n, *reversed(hidden_widths), self.domain.output_width], linear_end=True)
        self.code = Whitening(n) if self.settings.whitened else nn.Identity()
        if self.settings.adjudicator:
            self.objectives = (Objective("reconstruction"), Objective("adjudication"), Objective("persuasion"))
            self.adjudicator = dense([n, *self.settings.adjudicator, 1], linear_end=True)
        initialise_by_glorot(self)

    def encode(self, *inputs: Tensor) -> Tensor:
        return self._code(inputs[0]) * self.settings.deviation

    def decode(self, latents: Tensor) -> Tensor:
        return self.domain.frame(self.decoder(latents / self.settings.deviation))

    def reconstruction(self, windows: Tensor, generator: torch.Generator) -> dict[str, Tensor]:
        decoded = self.decoder(self._code(windows))
        terms = self.domain.compare(windows, decoded)
        if self.weights.log_spectrum:
            sound, length = self.domain.frame(decoded), windows.shape[1]
            terms["log_spectrum"] = torch.stack([_log_spectra(windows, sound, length // n) for n in (1, 4, 16)]).mean()
        return terms

    def adjudication(self, windows: Tensor, generator: torch.Generator) -> dict[str, Tensor]:
        """Return the adjudicator's cross entropy of codes of windows and of the prior."""
        with torch.no_grad():
            codes = self._code(windows)
        prior_codes = randn_examples(*codes.shape, generator=generator).to(codes)
        cross_entropy = F.softplus(-self.adjudicator(prior_codes)).mean() + F.softplus(self.adjudicator(codes)).mean()
        return {"adjudication": cross_entropy}

    def persuasion(self, windows: Tensor, generator: torch.Generator) -> dict[str, Tensor]:
        """Return the adjudicator's surprise that codes of windows are of the prior."""
        return {"adversarial": F.softplus(-frozen(self.adjudicator, self._code(windows))).mean()}

    def _code(self, windows: Tensor) -> Tensor:
        code: Tensor = self.code(self.encoder(self.domain.features(windows)))
        return code


class Whitening(nn.Module):
    """Whitens codes to mean 0 and covariance 1, by running statistics in evaluation.

    Decorrelated batch normalisation (Huang et al., CVPR 2018) by a Cholesky factor, whose last latents have mostly
    details; a final rotation spreads them.
    """

    def __init__(self, latents: int) -> None:
        super().__init__()
        dct_matrix = scipy.fft.dct(np.eye(latents), norm="ortho", axis=0)
        self.rotation = constant(dct_matrix)
        self.batches = nn.Buffer(torch.zeros(()))
        self.mean = nn.Buffer(torch.zeros(latents))
        self.covariance = nn.Buffer(torch.eye(latents))
        self.matrix = nn.Buffer(torch.eye(latents))

    def forward(self, codes: Tensor) -> Tensor:
        with torch.autocast(codes.device.type, enabled=False):  # an inverse needs all digits
            return self._whitened(codes.float())

    def _whitened(self, codes: Tensor) -> Tensor:
        """Return whitened codes; training follows their mean and covariance."""
        if not self.training or len(codes) <= codes.shape[1]:
            return (codes - self.mean) @ self.matrix.T
        code_means = codes.mean(0)
        centred_codes = codes - code_means
        covariance = centred_codes.T @ centred_codes / len(codes)
        if torch.is_grad_enabled():
            batch_weight = (RECENT / (self.batches + RECENT)).clamp_min(MEMORY)
            self.batches.add_(1)
            self.mean.lerp_(code_means.detach(), batch_weight)
            self.covariance.lerp_(covariance.detach(), batch_weight)
            self.matrix.copy_(self.rotation @ _inverse_factor(self.covariance))
        return centred_codes @ (self.rotation @ _inverse_factor(covariance)).T


class Domain(nn.Module, ABC):
    """Representation of a grain: ``input_width`` encoder inputs, ``output_width`` decoder outputs."""

    input_width: int
    output_width: int

    @abstractmethod
    def features(self, windows: Tensor) -> Tensor:
        """Return the encoder's input, [batch, input_width]."""

    @abstractmethod
    def frame(self, decoded: Tensor) -> Tensor:
        """Return the contract's frame of [batch, output_width]."""

    def compare(self, windows: Tensor, decoded: Tensor) -> dict[str, Tensor]:
        return {"mean_square": (decoded - self.features(windows)).square().mean()}


class SampleDomain(Domain):
    def __init__(self, length: int) -> None:
        super().__init__()
        self.input_width = self.output_width = length

    def features(self, windows: Tensor) -> Tensor:
        return windows / LEVEL

    def frame(self, decoded: Tensor) -> Tensor:
        return decoded * LEVEL


class MagnitudePhase(Domain):
    """Scaled magnitudes and unwrapped phases of a window's transform.

    The post wants phase steps of at most pi / 2; unwrapping guarantees pi.
    """

    def __init__(self, length: int) -> None:
        super().__init__()
        self.length, self.bins = length, length // 2 + 1
        self.input_width = self.output_width = 2 * self.bins
        self.magnitude_scale = LEVEL * math.sqrt(length)
        self.phase_scale = math.pi * math.sqrt(self.bins)  # deviation of a random walk over the bins

    def features(self, windows: Tensor) -> Tensor:
        # Double precision: rounding errors would unwrap phases to other multiples.
        real_imaginary = torch.view_as_real(torch.fft.rfft(windows.double())).float()
        magnitudes = (real_imaginary.square().sum(-1) + QUIETEST).sqrt()
        real, imaginary = real_imaginary.unbind(-1)
        # -0 would flip the phase.
        imaginary = torch.cat([imaginary[:, :1].abs(), imaginary[:, 1:-1], imaginary[:, -1:].abs()], 1)
        phases = torch.atan2(imaginary, real)
        phase_steps = phases[:, 1:] - phases[:, :-1]
        phase_steps = phase_steps - 2 * math.pi * torch.round(phase_steps / (2 * math.pi))
        unwrapped_phases = torch.cat([phases[:, :1], phases[:, :1] + phase_steps.cumsum(1)], 1)
        return torch.cat([magnitudes / self.magnitude_scale, unwrapped_phases / self.phase_scale], 1)

    def frame(self, decoded: Tensor) -> Tensor:
        scaled_magnitudes, scaled_phases = decoded[:, : self.bins], decoded[:, self.bins :]
        return torch.cat([scaled_magnitudes.clamp_min(0) * self.magnitude_scale, scaled_phases * self.phase_scale], 1)


class NoiseDomain(Domain):
    """Noise filter: a smooth power spectrum × an envelope over the grain.

    Windows count as Gaussian noise, of power P(k) exponentially distributed with mean S(k). The negative log likelihood
    of S is the mean of P / S + log S (Itakura and Saito, 1968). Short windows have mean power S(k) E(t).
    """

    def __init__(self, sample_rate: int, length: int, bands: int, points: int) -> None:
        super().__init__()
        self.length, self.bands = length, bands
        self.short = 2 * (length // PARTS)
        self.starts = range(0, length - self.short + 1, self.short // 2)
        self.input_width, self.output_width = bands + len(self.starts), bands + points
        window_points = [(start + self.short / 2) / (length - 1) * (points - 1) for start in self.starts]
        band_hz = _band_places(sample_rate, bands)
        self.window, self.short_window = (constant(np.hanning(n + 1)[:-1]) for n in (length, self.short))
        self.to_frame = constant(_hats(band_hz, np.fft.rfftfreq(length, 1 / sample_rate)))  # [bands, bins]
        bin_hz = np.fft.rfftfreq(_padded(length), 1 / sample_rate)
        triangles = _hats(band_hz, bin_hz)
        self.to_bins = constant(triangles)  # from here on for transforms of padded length
        self.to_short = constant(_hats(band_hz, np.fft.rfftfreq(_padded(self.short), 1 / sample_rate)))
        triangle_sums = triangles.sum(1)
        interpolation = _hats(bin_hz, band_hz).T  # for bands too narrow to contain a bin
        self.from_bins = constant(
            np.where(triangle_sums[:, None] > 0, triangles / np.maximum(triangle_sums, 1e-9)[:, None], interpolation).T
        )
        self.over_time = constant(_hats(np.arange(points), np.array(window_points)))  # [points, short windows]

    def features(self, windows: Tensor) -> Tensor:
        band_log_powers = _log(self._powers(windows, self.window) @ self.from_bins)
        log_envelope = _log(self._short_powers(windows).mean(2))
        return torch.cat(
            [
                (band_log_powers - POWER_CENTRE) / POWER_SPREAD,
                (log_envelope - log_envelope.mean(1, keepdim=True)) / POWER_SPREAD,
            ],
            1,
        )

    def frame(self, decoded: Tensor) -> Tensor:
        """Row-wise logarithms would round differently by batch position."""
        bin_powers = (self._levels(decoded) @ self.to_frame).exp() + QUIETEST
        envelope = self._envelope(decoded).exp()
        return torch.cat([(self.length * bin_powers).sqrt(), (envelope / envelope.mean(1, keepdim=True)).sqrt()], 1)

    def compare(self, windows: Tensor, decoded: Tensor) -> dict[str, Tensor]:
        log_band_powers, log_envelope = self._levels(decoded), self._envelope(decoded)
        log_envelope = log_envelope - log_envelope.exp().mean(1, keepdim=True).log()
        short_log_powers = (log_band_powers @ self.to_short)[:, None] + (log_envelope @ self.over_time)[:, :, None]
        spectrum_loss = _itakura_saito(self._powers(windows, self.window), log_band_powers @ self.to_bins)
        return {"likelihood": spectrum_loss + _itakura_saito(self._short_powers(windows), short_log_powers)}

    def _levels(self, decoded: Tensor) -> Tensor:
        return POWER_SPREAD * decoded[:, : self.bands] + POWER_CENTRE

    def _envelope(self, decoded: Tensor) -> Tensor:
        return POWER_SPREAD * decoded[:, self.bands :]

    def _short_powers(self, windows: Tensor) -> Tensor:
        """Return powers of windows' short windows, [batch, short windows, bins]."""
        short_windows = torch.stack([windows[:, start : start + self.short] for start in self.starts], 1)
        return self._powers(short_windows, self.short_window)

    def _powers(self, windows: Tensor, window: Tensor) -> Tensor:
        """Padded to a power of two: at other lengths, onnxruntime errs by -60 dB in quiet bins."""
        real_imaginary = torch.view_as_real(torch.fft.rfft(windows * window, _padded(windows.shape[-1])))
        return real_imaginary.square().sum(-1) / window.square().sum()


def _log(power: Tensor) -> Tensor:
    """Return log powers, in a form that exporters keep."""
    return torch.log1p(power / QUIETEST) + math.log(QUIETEST)


def _itakura_saito(power: Tensor, log_mean: Tensor) -> Tensor:
    """Return the mean of P / S + log S without bin 0, which the window smears."""
    mean_powers = log_mean.exp() + QUIETEST
    return (power / mean_powers + mean_powers.log())[..., 1:].mean()


def _log_spectra(windows: Tensor, decoded: Tensor, length: int) -> Tensor:
    """Return the mean difference of log powers of windows and decoded windows, in frames of ``length`` samples."""
    hann = torch.hann_window(length).to(windows)
    log_spectra = [
        (torch.view_as_real(torch.fft.rfft(x.unfold(1, length, length // 2) * hann)).square().sum(-1) + 1e-6).log()
        for x in (windows / LEVEL, decoded / LEVEL)
    ]
    return (log_spectra[0] - log_spectra[1]).abs().mean()


def _inverse_factor(covariance: Tensor) -> Tensor:
    """Return the inverse of the Cholesky factor."""
    identity = torch.eye(len(covariance)).to(covariance)
    cholesky_factor: Tensor = torch.linalg.cholesky(covariance + 1e-6 * identity)
    inverse_factor: Tensor = torch.linalg.solve_triangular(cholesky_factor, identity, upper=False)
    return inverse_factor


def _padded(length: int) -> int:
    """Return the next power of two."""
    return 1 << (length - 1).bit_length()


def _band_places(sample_rate: int, bands: int) -> np.ndarray:
    """Return frequencies of bands in Hz, [bands]."""
    return KNEE_HZ * np.expm1(np.linspace(0, math.log1p(sample_rate / 2 / KNEE_HZ), bands))


def _hats(centres: np.ndarray, positions: np.ndarray) -> np.ndarray:
    """Return triangles of height 1 around centres, at positions: [centres, positions]."""
    return np.stack([np.interp(positions, centres, unit_row) for unit_row in np.eye(len(centres))])


def _convolutions(length: int, channels: list[int], latents: int) -> nn.Sequential:
    layers: list[nn.Module] = [nn.Unflatten(1, (1, length))]
    for in_channels, out_channels in itertools.pairwise([1, *channels]):
        layers += [nn.Conv1d(in_channels, out_channels, 2 * STRIDE + 1, STRIDE, STRIDE), nn.LeakyReLU(LEAK)]
    return nn.Sequential(*layers, nn.Flatten(), nn.Linear(channels[-1] * _shrunk(length, len(channels)), latents))


def _transposed(length: int, channels: list[int], latents: int) -> nn.Sequential:
    shortest_length = _shrunk(length, len(channels))
    layers: list[nn.Module] = [
        nn.Linear(latents, channels[-1] * shortest_length),
        nn.Unflatten(1, (channels[-1], shortest_length)),
    ]
    for in_channels, out_channels in itertools.pairwise([*reversed(channels), 1]):
        layers += [nn.LeakyReLU(LEAK), nn.ConvTranspose1d(in_channels, out_channels, 2 * STRIDE + 1, STRIDE, STRIDE)]
    decoded_length = shortest_length
    for _ in channels:
        decoded_length = STRIDE * (decoded_length - 1) + 1
    return nn.Sequential(*layers, nn.Flatten(), _Padding(length - decoded_length))


class _Padding(nn.Module):
    """Zeros after a decoded window: strides leave it no longer than the window."""

    def __init__(self, count: int) -> None:
        super().__init__()
        self.count = count

    def forward(self, sounds: Tensor) -> Tensor:
        return F.pad(sounds, (0, self.count))


def _shrunk(length: int, layers: int) -> int:
    for _ in range(layers):
        length = (length - 1) // STRIDE + 1
    return length
