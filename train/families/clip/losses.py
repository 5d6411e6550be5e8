"""Losses of clip autoencoders in dB: level, envelope and spectral distances."""

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from .features import RANGE, logarithm

POOLED = 5  # parts, ten milliseconds
LOUD_DB, SOFT = 40.0, 0.1  # below a clip's maximum: deeper levels weigh a tenth
ENVELOPE_DB = 50.0  # below a clip's maximum: range of the audible loudness curve
DECIBELS = 20 / math.log(10)  # per neper
LEAK = 0.1
LEAST = 1e-4  # dB²: bounds the gradients of eigenvalue roots near 0
FEWEST = 2  # spectra needed for a covariance
PROJECTIONS = 64  # random directions of the sliced distance
MOST_SPECTRA = 1024  # sample size of a comparison


def apart(given: Tensor, asked: Tensor) -> Tensor:
    """Return clips' mean RMS level difference in dB; soft levels weigh less."""
    given, asked = given.flatten(1), asked.flatten(1)
    top = asked.amax(1, keepdim=True)
    floor = top - RANGE * DECIBELS
    asked, given = torch.maximum(asked, floor), torch.maximum(given, floor) + LEAK * torch.clamp_max(given - floor, 0)
    weight = torch.where(asked > top - LOUD_DB, 1.0, SOFT)
    squares = ((given - asked).square() * weight).sum(1) / weight.sum(1)
    return (squares + 1e-6).sqrt().mean()


def envelope_apart(given: Tensor, asked: Tensor) -> Tensor:
    """Return the mean distance of loudness curves in dB [clips, moments]."""
    floor = asked.amax(1, keepdim=True) - ENVELOPE_DB
    heard = torch.maximum(given, asked) > floor
    given, asked = torch.maximum(given, floor) + LEAK * torch.clamp_max(given - floor, 0), torch.maximum(asked, floor)
    squares = ((given - asked).square() * heard).sum(1) / heard.sum(1).clamp_min(1)
    return (squares + 1e-6).sqrt().mean()


def pooled(levels: Tensor) -> Tensor:
    """Return levels in dB of `POOLED` parts together, from nepers."""
    power = F.avg_pool1d(torch.exp(2 * levels)[:, None], POOLED, 1)[:, 0]
    return DECIBELS * logarithm(power)


def sounding(mel: Tensor) -> Tensor:
    """Return the spectra with a band above -40 dB: [clips, spectra, bands] → [_, bands].

    Levels are relative to the recording's maximum, as decoded clips have loud cells.
    """
    spectra = mel.clamp_min(-LOUD_DB).flatten(0, 1)
    return spectra[spectra.amax(1) > -LOUD_DB]


def unlike(given: Tensor, asked: Tensor, generator: torch.Generator) -> Tensor:
    """Return the sliced Wasserstein distance in dB of clips' audible spectra, [clips, spectra, bands].

    After Kolouri et al. (ICLR 2019). Levels are relative to each clip's maximum.
    """
    heard = [sounding(levels - levels.amax((1, 2), keepdim=True)) for levels in (given, asked)]
    count = min(*map(len, heard), MOST_SPECTRA)
    directions = F.normalize(torch.randn(given.shape[2], PROJECTIONS, generator=generator), dim=0).to(given)
    some = [part[torch.randperm(len(part), generator=generator)[:count]] for part in heard]
    sides = [(part @ directions).T.contiguous().sort(1).values for part in some]  # rows are sorted faster
    return ((sides[0] - sides[1]).square().mean() + 1e-6).sqrt()


class SpreadLoss(nn.Module):
    """Fréchet distance from recordings' spectra, which as a loss prevents a dull mean.

    (Mathiasen and Hvilshøj, "Backpropagating through Fréchet Inception Distance", 2020.)
    """

    middle: Tensor
    root: Tensor
    total: Tensor

    def __init__(self, bands: int) -> None:
        super().__init__()
        self.register_buffer("middle", torch.zeros(bands))
        self.register_buffer("root", torch.zeros(bands, bands))
        self.register_buffer("total", torch.zeros(()))

    def measure(self, spectra: Tensor) -> None:
        """Measure recordings' spectra, [spectra, bands], at least two."""
        covariance = torch.cov(spectra.double().T)
        values, axes = torch.linalg.eigh(covariance)
        self.middle.copy_(spectra.mean(0))
        self.root.copy_((axes * values.clamp_min(0).sqrt()) @ axes.T)
        self.total.copy_(covariance.trace())

    def distance(self, spectra: Tensor) -> Tensor:
        """Return the root of the Fréchet distance, in dB; 0 for fewer than two spectra."""
        if len(spectra) < FEWEST:
            return spectra.new_zeros(())
        middle = spectra.mean(0)
        covariance = (spectra - middle).T @ (spectra - middle) / (len(spectra) - 1)
        shared = torch.linalg.eigvalsh(self.root @ covariance @ self.root).clamp_min(LEAST).sqrt().sum()
        squared = (middle - self.middle).square().sum() + covariance.trace() + self.total - 2 * shared
        distance: Tensor = (squared.clamp_min(0) + 1).sqrt()
        return distance
