"""Clip features: band levels of spectra, loudness in short parts, attack time; and their distances in dB.

Decoded loudness errs by a decibel or two, which are milliseconds in slow vowels.
"""

import math

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ....host.spectra import mel_filters
from ...network import constant

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

    def __init__(self, sample_rate: int, length: int) -> None:
        super().__init__()
        self.length, self.sample_rate = length, sample_rate
        self.transform = 2 ** round(math.log2(sample_rate * WINDOW_SECONDS))
        self.hop = self.transform // OVERLAP
        self.part = min(2 ** round(math.log2(sample_rate * PART_SECONDS)), self.hop)
        self.part_ms = 1000 * self.part / sample_rate
        self.spectra, self.points = length // self.hop + 1, length // self.part
        self.into, self.out_of, self.mel = map(constant, _band_tables(sample_rate, self.transform))
        self.window = constant(np.hanning(self.transform + 1)[:-1])
        self.fade = constant(np.concatenate([np.ones(length - length // 32), np.linspace(1, 0, length // 32)]))
        self.bands = len(self.into)
        self.width = self.spectra * self.bands + self.points

    def forward(self, clips: Tensor) -> tuple[Tensor, Tensor]:
        """Return features, [clips, width], and mel band levels in dB, [clips, spectra, bands].

        Features are log amplitudes of bands, then parts, relative to each clip's loudest mel band.
        """
        band_powers, mel_powers, part_powers = self.powers(clips * self.fade)
        loudest_power = mel_powers.amax((1, 2), keepdim=True).clamp_min(LEAST)
        band_nepers = logarithm(band_powers / loudest_power)
        part_nepers = logarithm(part_powers / loudest_power[:, 0])
        features = torch.cat([_bounded(band_nepers, (1, 2)).flatten(1), _bounded(part_nepers, (1,))], 1)
        return features, 10 * torch.log10((mel_powers / loudest_power).clamp_min(LEAST_MEL))

    def powers(self, clips: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return powers of bands [clips, spectra, bands], mel bands, and parts [clips, points]."""
        padded_clips = F.pad(clips, (self.transform // 2, self.transform // 2 + self.hop))
        windows = padded_clips.unfold(1, self.transform, self.hop)[:, : self.spectra]
        spectra = torch.view_as_real(torch.fft.rfft(windows * self.window))
        bin_powers = (spectra * spectra).sum(-1)
        return bin_powers @ self.into.T, bin_powers @ self.mel, clips.view(-1, self.points, self.part).square().mean(2)

    def parts(self, features: Tensor) -> tuple[Tensor, Tensor]:
        """Split features into bands [clips, spectra, bands] and levels [clips, points], in nepers."""
        level_start = self.spectra * self.bands
        return features[:, :level_start].view(-1, self.spectra, self.bands), features[:, level_start:]

    def mel_decibels(self, bands: Tensor) -> Tensor:
        """Return mel levels in dB, [clips, spectra, mel bands], of bands in nepers."""
        mel_powers = power_from_nepers(bands) @ (self.out_of @ self.mel)
        return 10 * torch.log10(mel_powers + LEAST_MEL)

    def frames(self, features: Tensor) -> Tensor:
        """Return a clip card's frames: magnitudes, log-linear between bands, then levels."""
        bands, levels = self.parts(features)
        frame_nepers = torch.cat([(bands @ self.out_of).flatten(1), levels], 1)
        return torch.exp(frame_nepers.clamp_max(HIGHEST))


def logarithm(power: Tensor) -> Tensor:
    """Return nepers, clamped: exporters would lose a small addend."""
    return 0.5 * torch.log(power.clamp_min(LEAST))


def power_from_nepers(levels: Tensor) -> Tensor:
    """Return power, clamped: an outlier's overflow would make gradients nan."""
    return torch.exp(2 * levels.clamp_max(HIGHEST))


def _bounded(levels: Tensor, axes: tuple[int, ...]) -> Tensor:
    """Raise levels in nepers to `RANGE` below the maximum along the axes."""
    return torch.maximum(levels, levels.amax(axes, keepdim=True) - RANGE)


def _band_tables(rate: int, transform: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return weights of bins in bands [bands, bins], of bands in bins, and of bins in mel bands [bins, mel bands]."""
    bin_hz = np.arange(transform // 2 + 1) * rate / transform
    centres_hz = [0.0]
    while centres_hz[-1] < rate / 2:
        centres_hz.append(centres_hz[-1] + max(rate / transform, BAND_SHARE * (centres_hz[-1] + BAND_HZ)))
    centres_hz[-1] = rate / 2
    band_triangles = np.stack([np.interp(bin_hz, centres_hz, unit_row) for unit_row in np.eye(len(centres_hz))])
    mel_weights = np.ascontiguousarray(mel_filters(rate, transform, MEL_BANDS).T)
    return band_triangles / band_triangles.sum(1, keepdims=True), band_triangles, mel_weights


POOLED = 5  # parts, ten milliseconds
LOUD_DB, SOFT_WEIGHT = 40.0, 0.1  # below a clip's maximum: deeper levels weigh a tenth
ENVELOPE_DB = 50.0  # below a clip's maximum: range of the audible loudness curve
DECIBELS = 20 / math.log(10)  # per neper
LEAK = 0.1
LEAST_SQUARE = 1e-4  # dB²: bounds the gradients of eigenvalue roots near 0
FEWEST = 2  # spectra needed for a covariance
PROJECTIONS = 64  # random directions of the sliced distance
MOST_SPECTRA = 1024  # sample size of a comparison


def rms_level_distance(decoded: Tensor, target: Tensor) -> Tensor:
    """Return clips' mean RMS level difference in dB; soft levels weigh less."""
    decoded, target = decoded.flatten(1), target.flatten(1)
    top_db = target.amax(1, keepdim=True)
    floor_db = top_db - RANGE * DECIBELS
    target, decoded = (
        torch.maximum(target, floor_db),
        torch.maximum(decoded, floor_db) + LEAK * torch.clamp_max(decoded - floor_db, 0),
    )
    level_weights = torch.where(target > top_db - LOUD_DB, 1.0, SOFT_WEIGHT)
    mean_squares = ((decoded - target).square() * level_weights).sum(1) / level_weights.sum(1)
    return (mean_squares + 1e-6).sqrt().mean()


def envelope_distance(decoded: Tensor, target: Tensor) -> Tensor:
    """Return the mean distance of loudness curves in dB [clips, moments]."""
    floor_db = target.amax(1, keepdim=True) - ENVELOPE_DB
    is_audible = torch.maximum(decoded, target) > floor_db
    decoded, target = (
        torch.maximum(decoded, floor_db) + LEAK * torch.clamp_max(decoded - floor_db, 0),
        torch.maximum(target, floor_db),
    )
    mean_squares = ((decoded - target).square() * is_audible).sum(1) / is_audible.sum(1).clamp_min(1)
    return (mean_squares + 1e-6).sqrt().mean()


def pooled(levels: Tensor) -> Tensor:
    """Return levels in dB of `POOLED` parts together, from nepers."""
    pooled_powers = F.avg_pool1d(power_from_nepers(levels)[:, None], POOLED, 1)[:, 0]
    return DECIBELS * logarithm(pooled_powers)


def sounding(mel: Tensor) -> Tensor:
    """Return the spectra with a band above -40 dB: [clips, spectra, bands] → [_, bands].

    Levels are relative to the recording's maximum, as decoded clips have loud cells.
    """
    spectra = mel.clamp_min(-LOUD_DB).flatten(0, 1)
    return spectra[spectra.amax(1) > -LOUD_DB]


def sliced_wasserstein(decoded: Tensor, target: Tensor, generator: torch.Generator) -> Tensor:
    """Return the sliced Wasserstein distance in dB of clips' audible spectra, [clips, spectra, bands].

    After Kolouri et al. (ICLR 2019). Levels are relative to each clip's maximum.
    """
    audible_spectra = [sounding(levels - levels.amax((1, 2), keepdim=True)) for levels in (decoded, target)]
    sample_size = min(*map(len, audible_spectra), MOST_SPECTRA)
    directions = F.normalize(torch.randn(decoded.shape[2], PROJECTIONS, generator=generator), dim=0).to(decoded)
    sampled_spectra = [
        spectra[torch.randperm(len(spectra), generator=generator)[:sample_size]] for spectra in audible_spectra
    ]
    # Rows are sorted faster than columns.
    sorted_projections = [(spectra @ directions).T.contiguous().sort(1).values for spectra in sampled_spectra]
    return ((sorted_projections[0] - sorted_projections[1]).square().mean() + 1e-6).sqrt()


class SpreadLoss(nn.Module):
    """Fréchet distance from recordings' spectra, which as a loss prevents a dull mean.

    (Mathiasen and Hvilshøj, "Backpropagating through Fréchet Inception Distance", 2020.)
    """

    def __init__(self, bands: int) -> None:
        super().__init__()
        self.middle = nn.Buffer(torch.zeros(bands))
        self.root = nn.Buffer(torch.zeros(bands, bands))
        self.total = nn.Buffer(torch.zeros(()))

    def measure(self, spectra: Tensor) -> None:
        """Measure recordings' spectra, [spectra, bands], at least two."""
        covariance = torch.cov(spectra.double().T)
        eigenvalues, eigenvectors = torch.linalg.eigh(covariance)
        self.middle.copy_(spectra.mean(0))
        self.root.copy_((eigenvectors * eigenvalues.clamp_min(0).sqrt()) @ eigenvectors.T)
        self.total.copy_(covariance.trace())

    def distance(self, spectra: Tensor) -> Tensor:
        """Return the root of the Fréchet distance, in dB; 0 for fewer than two spectra."""
        if len(spectra) < FEWEST:
            return spectra.new_zeros(())
        mean_spectrum = spectra.mean(0)
        covariance = (spectra - mean_spectrum).T @ (spectra - mean_spectrum) / (len(spectra) - 1)
        shared = torch.linalg.eigvalsh(self.root @ covariance @ self.root).clamp_min(LEAST_SQUARE).sqrt().sum()
        squared = (mean_spectrum - self.middle).square().sum() + covariance.trace() + self.total - 2 * shared
        distance: Tensor = (squared.clamp_min(0) + 1).sqrt()
        return distance


ATTACK_NEPERS = 3 / 20 * math.log(10)  # below the maximum, as in `metrics.loudness`
FLAT_PARTS, FADE_PARTS = POOLED // 2, 10.0  # parts: full correction over 10 ms, fading to none 20 ms further
MAX_CORRECTION = 2 / 20 * math.log(10)  # nepers: larger corrections click
THRESHOLD_MARGIN = 0.05  # nepers, .4 dB: margin below the threshold before the rise, and above it at the rise
THRESHOLD_WIDTH = 0.5 / 20 * math.log(10)  # nepers, width of the soft threshold around 3 dB
MAX_SHARE = 1 - 1e-6  # keeps log(1 - share) finite


def loudness(levels: Tensor) -> Tensor:
    """Return the loudness of 10 ms around each part, in nepers: [clips, points]."""
    mean_powers = F.avg_pool1d(power_from_nepers(levels)[:, None], POOLED, 1, POOLED // 2)[:, 0]
    return logarithm(mean_powers)


def attack_parts(levels: Tensor) -> Tensor:
    """Return the part at which each clip first comes within 3 dB of its maximum, [clips, 1].

    The differentiable threshold is half a decibel wide; a pause just below moves the result.
    """
    loudness_nepers = loudness(levels)
    crossing_chances = _share(
        0.5 + (loudness_nepers - loudness_nepers.amax(1, keepdim=True) + ATTACK_NEPERS) / THRESHOLD_WIDTH
    )
    log_chances_below = torch.cumsum(torch.log(1 - crossing_chances * MAX_SHARE), 1)
    # The chances that levels stay below up to each part add up to the expected part.
    return torch.exp(log_chances_below).sum(1, keepdim=True)


def impose_attack(levels: Tensor, parts: Tensor) -> Tensor:
    """Return levels [clips, points] raised by up to 2 dB at a part, [clips, 1], to 3 dB below the maximum.

    Earlier levels are limited to that.
    """
    parts_after_attack = torch.arange(levels.shape[1], dtype=levels.dtype, device=levels.device) - parts
    loudness_nepers = loudness(levels)
    threshold_nepers = loudness_nepers.amax(1, keepdim=True) - ATTACK_NEPERS
    attack_loudness = (loudness_nepers * (1 - parts_after_attack.abs()).clamp_min(0)).sum(1, keepdim=True)
    correction_share = _share(1 - (parts_after_attack.abs() - FLAT_PARTS) / FADE_PARTS)
    boost_nepers = (threshold_nepers + 2 * THRESHOLD_MARGIN - attack_loudness).clamp_min(0).clamp_max(
        MAX_CORRECTION
    ) * correction_share
    excess_nepers = (loudness_nepers + boost_nepers - threshold_nepers + THRESHOLD_MARGIN).clamp_min(0) * _share(
        FLAT_PARTS - 0.5 - parts_after_attack
    )
    return levels + boost_nepers - excess_nepers


def _share(values: Tensor) -> Tensor:
    return values.clamp_min(0).clamp_max(1)  # both bounds at once cannot be exported
