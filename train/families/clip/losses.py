"""The losses of an autoencoder of clips: how far decoded clips are from those asked for, in dB."""

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from .features import RANGE, logarithm

POOLED = 5  # parts: ten milliseconds
LOUD_DB, SOFT = 40.0, 0.1  # under a clip's loudest: what lies deeper weighs a tenth
ENVELOPE_DB = 50.0  # under a clip's loudest: as far as its course of loudness is heard
DECIBELS = 20 / math.log(10)  # of a neper
LEAK = 0.1
LEAST = 1e-4  # dB²: of roots of eigenvalues, whose slopes have no end at 0
FEWEST = 2  # spectra that have a spread
PROJECTIONS = 64  # random directions in which spectra are compared
MOST_SPECTRA = 1024  # of which a comparison takes a sample


def apart(given: Tensor, asked: Tensor) -> Tensor:
    """Root mean square of differences of levels in dB of each clip, the mean over clips; what is soft weighs less."""
    given, asked = given.flatten(1), asked.flatten(1)
    top = asked.amax(1, keepdim=True)
    floor = top - RANGE * DECIBELS
    asked, given = torch.maximum(asked, floor), torch.maximum(given, floor) + LEAK * torch.clamp_max(given - floor, 0)
    weight = torch.where(asked > top - LOUD_DB, 1.0, SOFT)
    squares = ((given - asked).square() * weight).sum(1) / weight.sum(1)
    return (squares + 1e-6).sqrt().mean()


def envelope_apart(given: Tensor, asked: Tensor) -> Tensor:
    """Return how far courses of loudness in dB [clips, moments] lie apart, as in `metrics.loudness`, the mean of clips.

    Moments count at which one of the two is heard; what falls out of hearing counts as if it lay at its edge.
    """
    floor = asked.amax(1, keepdim=True) - ENVELOPE_DB
    heard = torch.maximum(given, asked) > floor
    given, asked = torch.maximum(given, floor) + LEAK * torch.clamp_max(given - floor, 0), torch.maximum(asked, floor)
    squares = ((given - asked).square() * heard).sum(1) / heard.sum(1).clamp_min(1)
    return (squares + 1e-6).sqrt().mean()


def pooled(levels: Tensor) -> Tensor:
    """Return levels of `POOLED` parts together, in dB, of levels in nepers: what is heard from moment to moment."""
    power = F.avg_pool1d(torch.exp(2 * levels)[:, None], POOLED, 1)[:, 0]
    return DECIBELS * logarithm(power)


def sounding(mel: Tensor) -> Tensor:
    """Return those spectra of clips in which a band sounds, 40 dB down at least: [clips, spectra, bands] → [_, bands].

    The loudest band of a recording lies at 0 dB; a decoded clip is not measured by its own loudest, or one cell that is
    too loud would make it sharp.
    """
    spectra = mel.clamp_min(-LOUD_DB).flatten(0, 1)
    return spectra[spectra.amax(1) > -LOUD_DB]


def unlike(given: Tensor, asked: Tensor, generator: torch.Generator) -> Tensor:
    """Return how far the levels of clips are from those of others in their spread, in dB: [clips, spectra, bands] both.

    It is the sliced Wasserstein distance (Kolouri et al., "Sliced Wasserstein Auto-Encoders", ICLR 2019) of spectra
    that sound, each clip as loud as any.
    """
    heard = [sounding(levels - levels.amax((1, 2), keepdim=True)) for levels in (given, asked)]
    count = min(*map(len, heard), MOST_SPECTRA)
    directions = F.normalize(torch.randn(given.shape[2], PROJECTIONS, generator=generator), dim=0).to(given)
    some = [part[torch.randperm(len(part), generator=generator)[:count]] for part in heard]
    sides = [(part @ directions).T.contiguous().sort(1).values for part in some]  # rows are sorted faster
    return ((sides[0] - sides[1]).square().mean() + 1e-6).sqrt()


class Spread(nn.Module):
    """The mean and the covariance of recordings' spectra, and how far from them those of other clips are.

    As a loss, after Mathiasen and Hvilshøj ("Backpropagating through Fréchet Inception Distance", 2020): what is
    decoded is drawn to the mean of all that its code leaves open, and so is duller than any recording; this makes it as
    sharp.
    """

    middle: Tensor
    root: Tensor
    total: Tensor

    def __init__(self, bands: int) -> None:
        super().__init__()
        self.register_buffer("middle", torch.zeros(bands))
        self.register_buffer("root", torch.zeros(bands, bands))
        self.register_buffer("total", torch.zeros(()))

    def take(self, spectra: Tensor) -> None:
        """Take the recordings' spectra, [spectra, bands], two or more."""
        covariance = torch.cov(spectra.double().T)
        values, axes = torch.linalg.eigh(covariance)
        self.middle.copy_(spectra.mean(0))
        self.root.copy_((axes * values.clamp_min(0).sqrt()) @ axes.T)
        self.total.copy_(covariance.trace())

    def distance(self, spectra: Tensor) -> Tensor:
        """Return the root of the Fréchet distance of spectra from the recordings', in dB; of fewer than two, 0."""
        if len(spectra) < FEWEST:
            return spectra.new_zeros(())
        middle = spectra.mean(0)
        covariance = (spectra - middle).T @ (spectra - middle) / (len(spectra) - 1)
        shared = torch.linalg.eigvalsh(self.root @ covariance @ self.root).clamp_min(LEAST).sqrt().sum()
        squared = (middle - self.middle).square().sum() + covariance.trace() + self.total - 2 * shared
        distance: Tensor = (squared.clamp_min(0) + 1).sqrt()
        return distance
