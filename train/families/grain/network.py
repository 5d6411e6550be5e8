"""Autoencoders of sound grains: those of the Ambisynth post, and what cures their noise.

The post ("10 gruesome images of adversarial networks fighting to the death") names layers, windows and the codes'
distribution; its activations, rates and batches it leaves open.
"""

import itertools
import math
from abc import ABC, abstractmethod

import numpy as np
import scipy.fft
import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn import functional as F

from ...network import Autoencoder, Objective
from .recipe import GrainRecipe

LEAK = 0.1
LEVEL = 0.1  # of full scale: what recordings have on average, so that networks see numbers around 1
QUIETEST = 1e-10  # power of a sample, -100 dB: below the noise of 16 bits
POWER_CENTRE, POWER_SPREAD = -8.0, 4.0  # logarithms of a sample's power in a band: recordings lie around these
KNEE_HZ = 250.0  # bands are equally wide below, and in equal intervals above
PARTS = 16  # of a grain: its envelope is measured in windows of two of them
MEMORY = 0.003  # share of a batch in what a whitening layer remembers, in the long run
RECENT = 10  # before, it remembers about the last tenth of the batches that there were
STRIDE = 4  # of each convolution


class GrainAutoencoder(Autoencoder):
    """Encoder, decoder and, when adversarial, an adjudicator of codes.

    Shapes: windows [batch, frame_length], samples; latents [batch, latents]; frames as the contract has them, [batch,
    frame_length] samples, or 2 × bins (magnitudes, phases), or bins + envelope points.
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
        hidden = self.settings.hidden
        if self.settings.body == "convolutional":
            self.encoder, self.decoder = _convolutions(length, hidden, n), _transposed(length, hidden, n)
        else:
            self.encoder = _dense([self.domain.seen, *hidden, n])
            self.decoder = _dense([n, *reversed(hidden), self.domain.decoded])
        self.code = Whitening(n) if self.settings.whitened else nn.Identity()
        if self.settings.adjudicator:
            self.turns = (Objective("reconstruction"), Objective("adjudication"), Objective("persuasion"))
            self.adjudicator = _dense([n, *self.settings.adjudicator, 1])
        for layer in self.modules():
            if isinstance(layer, nn.Linear | nn.Conv1d | nn.ConvTranspose1d):
                nn.init.xavier_uniform_(layer.weight)
                assert layer.bias is not None
                nn.init.zeros_(layer.bias)

    def encode(self, *inputs: Tensor) -> Tensor:
        """Latents of windows."""
        return self._code(inputs[0]) * self.settings.deviation

    def decode(self, latents: Tensor) -> Tensor:
        """Frames of latents."""
        return self.domain.frame(self.decoder(latents / self.settings.deviation))

    def reconstruction(self, windows: Tensor, generator: torch.Generator) -> dict[str, Tensor]:
        """Return how far windows and what is decoded of their codes lie apart."""
        decoded = self.decoder(self._code(windows))
        terms = self.domain.compare(windows, decoded)
        if self.weights.log_spectrum:
            sound, length = self.domain.frame(decoded), windows.shape[1]
            terms["log_spectrum"] = torch.stack([_log_spectra(windows, sound, length // n) for n in (1, 4, 16)]).mean()
        return terms

    def adjudication(self, windows: Tensor, generator: torch.Generator) -> dict[str, Tensor]:
        """Return what the adjudicator has to learn: which codes are drawn from the prior, and which are a window's."""
        with torch.no_grad():
            codes = self._code(windows)
        prior = torch.randn(codes.shape, generator=generator).to(codes)
        wrong = F.softplus(-self.adjudicator(prior)).mean() + F.softplus(self.adjudicator(codes)).mean()
        return {"adjudication": wrong}

    def persuasion(self, windows: Tensor, generator: torch.Generator) -> dict[str, Tensor]:
        """Return what the encoder has to learn from the adjudicator, which stays as it is: to pass for the prior."""
        as_it_is = {name: value.detach() for name, value in self.adjudicator.named_parameters()}
        judged: Tensor = functional_call(self.adjudicator, as_it_is, (self._code(windows),))
        return {"adversarial": F.softplus(-judged).mean()}

    def _code(self, windows: Tensor) -> Tensor:
        """Codes as the networks have them: of deviation 1."""
        code: Tensor = self.code(self.encoder(self.domain.features(windows)))
        return code


class Whitening(nn.Module):
    """Gives codes mean 0 and covariance 1: those of the batch while it trains, those it remembers afterwards.

    As in decorrelated batch normalisation (Huang et al., CVPR 2018), with the Cholesky factor in place of the root, and
    a rotation after it. The factor takes from each latent what those before it have, and what is left in the last is
    what an encoder knows of its training windows only: turned, all latents have their share of that. What is left to an
    adjudicator is the shape of the distribution.
    """

    def __init__(self, latents: int) -> None:
        super().__init__()
        self.batches: Tensor
        self.mean: Tensor
        self.covariance: Tensor
        self.matrix: Tensor
        self.rotation: Tensor
        turned = scipy.fft.dct(np.eye(latents), norm="ortho", axis=0)
        self.register_buffer("rotation", torch.from_numpy(turned.astype(np.float32)), persistent=False)
        self.register_buffer("batches", torch.zeros(()))
        self.register_buffer("mean", torch.zeros(latents))
        self.register_buffer("covariance", torch.eye(latents))
        self.register_buffer("matrix", torch.eye(latents))

    def forward(self, codes: Tensor) -> Tensor:
        if not self.training or len(codes) <= codes.shape[1]:
            return (codes - self.mean) @ self.matrix.T
        mean = codes.mean(0)
        apart = codes - mean
        covariance = apart.T @ apart / len(codes)
        if torch.is_grad_enabled():
            share = (RECENT / (self.batches + RECENT)).clamp_min(MEMORY)
            self.batches += 1
            self.mean.lerp_(mean.detach(), share)
            self.covariance.lerp_(covariance.detach(), share)
            self.matrix.copy_(self.rotation @ _inverse_factor(self.covariance))
        return apart @ (self.rotation @ _inverse_factor(covariance)).T


class Domain(nn.Module, ABC):
    """The form that a grain has for a network.

    ``seen`` numbers go into the encoder, ``decoded`` come out of the decoder.
    """

    seen: int
    decoded: int

    @abstractmethod
    def features(self, windows: Tensor) -> Tensor:
        """Return what the encoder sees: [batch, seen]."""

    @abstractmethod
    def frame(self, decoded: Tensor) -> Tensor:
        """Return the contract's frame of [batch, decoded]."""

    def compare(self, windows: Tensor, decoded: Tensor) -> dict[str, Tensor]:
        """Terms of the loss."""
        return {"mean_square": (decoded - self.features(windows)).square().mean()}


class SampleDomain(Domain):
    """Samples in units of `LEVEL`."""

    def __init__(self, length: int) -> None:
        super().__init__()
        self.seen = self.decoded = length

    def features(self, windows: Tensor) -> Tensor:
        return windows / LEVEL

    def frame(self, decoded: Tensor) -> Tensor:
        return decoded * LEVEL


class MagnitudePhase(Domain):
    """Scaled magnitudes and unwrapped phases of a window's transform.

    The post wants neighbouring phases no more than pi / 2 apart, by adding multiples of 2 pi; these can only bring them
    within pi, so the multiple that leaves the least difference is taken, and of noise every second one is above pi / 2.
    """

    def __init__(self, length: int) -> None:
        super().__init__()
        self.length, self.bins = length, length // 2 + 1
        self.seen = self.decoded = 2 * self.bins
        self.magnitude_scale = LEVEL * math.sqrt(length)
        self.phase_scale = math.pi * math.sqrt(self.bins)  # of a walk of so many steps

    def features(self, windows: Tensor) -> Tensor:
        # In double precision: less exact phases unwrap to other multiples.
        parts = torch.view_as_real(torch.fft.rfft(windows.double())).float()
        magnitude = (parts.square().sum(-1) + QUIETEST).sqrt()
        real, across = parts.unbind(-1)
        across = torch.cat([across[:, :1].abs(), across[:, 1:-1], across[:, -1:].abs()], 1)  # -0 would turn them round
        phase = torch.atan2(across, real)
        steps = phase[:, 1:] - phase[:, :-1]
        steps = steps - 2 * math.pi * torch.round(steps / (2 * math.pi))
        unwrapped = torch.cat([phase[:, :1], phase[:, :1] + steps.cumsum(1)], 1)
        return torch.cat([magnitude / self.magnitude_scale, unwrapped / self.phase_scale], 1)

    def frame(self, decoded: Tensor) -> Tensor:
        magnitude, phase = decoded[:, : self.bins], decoded[:, self.bins :]
        return torch.cat([magnitude.clamp_min(0) * self.magnitude_scale, phase * self.phase_scale], 1)


class NoiseDomain(Domain):
    """A filter for noise: a smooth power spectrum × an envelope over the grain.

    A window is taken for Gaussian noise: its transform at bin k has an exponentially distributed power of mean S(k), so
    the negative log likelihood of a decoded S is the mean of P / S + log S (Itakura and Saito, 1968). The same is asked
    of short windows inside the grain, whose power has the mean S(k) E(t).
    """

    def __init__(self, sample_rate: int, length: int, bands: int, points: int) -> None:
        super().__init__()
        self.length, self.bands = length, bands
        self.short = 2 * (length // PARTS)
        self.starts = range(0, length - self.short + 1, self.short // 2)
        self.seen, self.decoded = bands + len(self.starts), bands + points
        centres = [(start + self.short / 2) / (length - 1) * (points - 1) for start in self.starts]
        places = _band_places(sample_rate, bands)
        self.window: Tensor
        self.short_window: Tensor
        self.to_frame: Tensor
        self.to_bins: Tensor
        self.to_short: Tensor
        self.from_bins: Tensor
        self.over_time: Tensor
        self._keep("window", np.hanning(length + 1)[:-1])
        self._keep("short_window", np.hanning(self.short + 1)[:-1])
        self._keep("to_frame", _hats(places, np.fft.rfftfreq(length, 1 / sample_rate)))  # [bands, bins]
        hz = np.fft.rfftfreq(_padded(length), 1 / sample_rate)
        bins = _hats(places, hz)
        self._keep("to_bins", bins)  # as all below, of transforms of a padded length
        self._keep("to_short", _hats(places, np.fft.rfftfreq(_padded(self.short), 1 / sample_rate)))
        shares = bins.sum(1)
        between = _hats(hz, places).T  # of bands so narrow that no bin lies in them
        self._keep("from_bins", np.where(shares[:, None] > 0, bins / np.maximum(shares, 1e-9)[:, None], between).T)
        self._keep("over_time", _hats(np.arange(points), np.array(centres)))  # [points, short windows]

    def features(self, windows: Tensor) -> Tensor:
        bands = _log(self._powers(windows, self.window) @ self.from_bins)
        parts = _log(self._short_powers(windows).mean(2))
        return torch.cat(
            [(bands - POWER_CENTRE) / POWER_SPREAD, (parts - parts.mean(1, keepdim=True)) / POWER_SPREAD], 1
        )

    def frame(self, decoded: Tensor) -> Tensor:
        """See `Domain.frame`. Takes no logarithm of a row: runtimes round it in two ways, by its place in a batch."""
        power = (self._levels(decoded) @ self.to_frame).exp() + QUIETEST
        envelope = self._envelope(decoded).exp()
        return torch.cat([(self.length * power).sqrt(), (envelope / envelope.mean(1, keepdim=True)).sqrt()], 1)

    def compare(self, windows: Tensor, decoded: Tensor) -> dict[str, Tensor]:
        levels, envelope = self._levels(decoded), self._envelope(decoded)
        envelope = envelope - envelope.exp().mean(1, keepdim=True).log()
        short = (levels @ self.to_short)[:, None] + (envelope @ self.over_time)[:, :, None]
        whole = _itakura_saito(self._powers(windows, self.window), levels @ self.to_bins)
        return {"likelihood": whole + _itakura_saito(self._short_powers(windows), short)}

    def _levels(self, decoded: Tensor) -> Tensor:
        """Log powers of the bands."""
        return POWER_SPREAD * decoded[:, : self.bands] + POWER_CENTRE

    def _envelope(self, decoded: Tensor) -> Tensor:
        """Log powers over the grain, but for one that is the same everywhere: that leads to a mean power of 1."""
        return POWER_SPREAD * decoded[:, self.bands :]

    def _short_powers(self, windows: Tensor) -> Tensor:
        short = torch.stack([windows[:, start : start + self.short] for start in self.starts], 1)
        return self._powers(short, self.short_window)

    def _powers(self, windows: Tensor, window: Tensor) -> Tensor:
        """Periodograms: white noise of power 1 has a mean of 1 in each bin.

        They are padded to a power of two: for other lengths onnxruntime's transform is off by -60 dB where it is quiet.
        """
        parts = torch.view_as_real(torch.fft.rfft(windows * window, _padded(windows.shape[-1])))
        return parts.square().sum(-1) / window.square().sum()

    def _keep(self, name: str, table: np.ndarray) -> None:
        self.register_buffer(name, torch.from_numpy(table.astype(np.float32)), persistent=False)


def _log(power: Tensor) -> Tensor:
    """Return the logarithm of a power + `QUIETEST`; exporters take so small a sum for nothing."""
    return torch.log1p(power / QUIETEST) + math.log(QUIETEST)


def _itakura_saito(power: Tensor, log_mean: Tensor) -> Tensor:
    """Mean over all but bin 0, which the window smears, of P / S + log S."""
    mean = log_mean.exp() + QUIETEST
    return (power / mean + mean.log())[..., 1:].mean()


def _log_spectra(windows: Tensor, decoded: Tensor, length: int) -> Tensor:
    """Mean absolute difference of log powers, in windows of ``length`` half overlapping."""
    shape = torch.hann_window(length).to(windows)
    logs = [
        (torch.view_as_real(torch.fft.rfft(x.unfold(1, length, length // 2) * shape)).square().sum(-1) + 1e-6).log()
        for x in (windows / LEVEL, decoded / LEVEL)
    ]
    return (logs[0] - logs[1]).abs().mean()


def _inverse_factor(covariance: Tensor) -> Tensor:
    """Return the inverse of its Cholesky factor: what makes codes of this covariance white."""
    eye = torch.eye(len(covariance)).to(covariance)
    factor: Tensor = torch.linalg.cholesky(covariance + 1e-6 * eye)
    inverse: Tensor = torch.linalg.solve_triangular(factor, eye, upper=False)
    return inverse


def _padded(length: int) -> int:
    """Return the power of two that is not below."""
    return 1 << (length - 1).bit_length()


def _band_places(sample_rate: int, bands: int) -> np.ndarray:
    """Return where bands lie, in Hz: even below `KNEE_HZ`, in even intervals far above; first and last at the ends."""
    return KNEE_HZ * np.expm1(np.linspace(0, math.log1p(sample_rate / 2 / KNEE_HZ), bands))


def _hats(places: np.ndarray, at: np.ndarray) -> np.ndarray:
    """Weights of straight lines between ``places``, [places, at]."""
    return np.stack([np.interp(at, places, row) for row in np.eye(len(places))])


def _dense(widths: list[int]) -> nn.Sequential:
    """Linear layers with LeakyReLU between them."""
    layers: list[nn.Module] = []
    for inside, outside in itertools.pairwise(widths):
        layers += [nn.Linear(inside, outside), nn.LeakyReLU(LEAK)]
    return nn.Sequential(*layers[:-1])


def _convolutions(length: int, channels: list[int], latents: int) -> nn.Sequential:
    layers: list[nn.Module] = [nn.Unflatten(1, (1, length))]
    for inside, outside in itertools.pairwise([1, *channels]):
        layers += [nn.Conv1d(inside, outside, 2 * STRIDE + 1, STRIDE, STRIDE), nn.LeakyReLU(LEAK)]
    return nn.Sequential(*layers, nn.Flatten(), nn.Linear(channels[-1] * _shrunk(length, len(channels)), latents))


def _transposed(length: int, channels: list[int], latents: int) -> nn.Sequential:
    short = _shrunk(length, len(channels))
    layers: list[nn.Module] = [nn.Linear(latents, channels[-1] * short), nn.Unflatten(1, (channels[-1], short))]
    for inside, outside in itertools.pairwise([*reversed(channels), 1]):
        layers += [nn.LeakyReLU(LEAK), nn.ConvTranspose1d(inside, outside, 2 * STRIDE + 1, STRIDE, STRIDE)]
    longer = short
    for _ in channels:
        longer = STRIDE * (longer - 1) + 1
    return nn.Sequential(*layers, nn.Flatten(), _Fit(longer, length))


class _Fit(nn.Module):
    """Cuts or pads the end of sounds."""

    def __init__(self, length: int, wanted: int) -> None:
        super().__init__()
        self.missing = wanted - length

    def forward(self, sounds: Tensor) -> Tensor:
        return F.pad(sounds, (0, self.missing)) if self.missing > 0 else sounds[:, : sounds.shape[1] + self.missing]


def _shrunk(length: int, layers: int) -> int:
    for _ in range(layers):
        length = (length - 1) // STRIDE + 1
    return length
