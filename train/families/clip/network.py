"""Autoencoder of whole short sounds, such as drum hits or words, with a normalizing flow of its codes.

Short parts keep attacks that windows smear. Outer layers start as principal components, so minutes suffice. Inner
layers map them to latents with variances (Kingma and Welling, ICLR 2014), a `Flow` these to normal codes of the
variation within a label.

So every code sounds like the corpus: the second stage of Dai and Wipf (ICLR 2019). Affine couplings (Dinh et al., "Real
NVP", ICLR 2017), trained by maximum likelihood, follow each label's mean and covariance. A rotation sorts codes by mean
squared gradients (Constantine et al., SIAM Journal on Scientific Computing 36:4, 2014).
"""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ...data import Data
from ...network import Autoencoder, dense, frozen
from ...shared_random import randn_examples
from .features import (
    DECIBELS,
    MEL_BANDS,
    ClipFeatures,
    SpreadLoss,
    attack_parts,
    envelope_distance,
    impose_attack,
    pooled,
    rms_level_distance,
    sliced_wasserstein,
    sounding,
)
from .recipe import ClipRecipe

COUPLINGS = 4
HIDDEN = 96  # of a coupling: enough for thousands of clips, without overfitting hundreds
SLOPE = 0.1
STEEPEST = 1.5  # nepers, largest scale of a coupling: keeps the map invertible in half precision
SLOWNESS = 0.01  # weight of a step in running means, over about a hundred steps
LEAST = 1e-4  # variance: smaller ones are not scaled up to 1
SHARED = 0.1  # share of all labels' covariance in each label's, as some have few clips
REACH = 3.0  # deviations beyond √n, the distance of most normal codes: one in ten thousand lies farther
PROBES = 32  # codes at which gradients are measured
PROBE = 0.5  # deviations: step of the finite differences, the scale of a knob


class Flow(nn.Module):
    """Maps latents to codes and back.

    Shapes: latents, codes [batch, n]; label_weights [batch, words], or ones [batch, 1].
    """

    def __init__(self, n: int, words: int) -> None:
        super().__init__()
        self.reach = math.sqrt(n) + REACH
        self.middles = nn.Buffer(torch.zeros(words, n))
        self.covariance, self.root, self.inverse = (nn.Buffer(torch.eye(n).repeat(words, 1, 1)) for _ in range(3))
        self.axes = nn.Buffer(torch.eye(n))
        self.steps = nn.Buffer(torch.zeros((), dtype=torch.int64))
        generator = torch.Generator().manual_seed(0)
        self.couplings = nn.ModuleList(
            Coupling(torch.randperm(n, generator=generator), words) for _ in range(COUPLINGS if n > 1 else 0)
        )

    @torch.no_grad()
    def note(self, latents: Tensor, labels: Tensor) -> None:
        """Update each label's running mean and covariance; labels are indices, [batch]."""
        if not latents.isfinite().all():
            return  # the loop reports that training has diverged
        step_weight = max(SLOWNESS, 1 / (1 + int(self.steps)))
        self.steps.add_(1)
        for label_index in set(labels.tolist()):
            label_latents = latents[labels == label_index]
            self.middles[label_index].lerp_(label_latents.mean(0), step_weight)
            deviations = label_latents - self.middles[label_index]
            self.covariance[label_index].lerp_(deviations.T @ deviations / len(deviations), step_weight)
        variance_floor = LEAST * torch.eye(latents.shape[1]).to(latents)
        shrunk_covariances = (1 - SHARED) * self.covariance + SHARED * self.covariance.mean(0) + variance_floor
        covariance_roots = torch.linalg.cholesky(shrunk_covariances)
        self.root.copy_(covariance_roots)
        self.inverse.copy_(torch.linalg.inv(covariance_roots))

    @torch.no_grad()
    def probes(self) -> tuple[list[Tensor], Tensor]:
        """Return latents of random codes, of these moved along each axis in turn, and the weights of their labels."""
        generator, (word_count, n) = torch.Generator().manual_seed(0), self.middles.shape
        probe_codes = torch.randn(PROBES, n, generator=generator).to(self.middles)
        label_weights = torch.eye(word_count).to(probe_codes)[torch.arange(PROBES) % word_count]
        moved_codes = (probe_codes + PROBE * axis for axis in torch.eye(n).to(probe_codes))
        return [self._denormalise(codes, label_weights) for codes in (probe_codes, *moved_codes)], label_weights

    @torch.no_grad()
    def turn(self, decoded_probes: Sequence[Tensor]) -> None:
        """Rotate codes: the first changes `probes`, as decoded, most."""
        jacobian = torch.stack([moved_probe - decoded_probes[0] for moved_probe in decoded_probes[1:]]).flatten(1)
        if not jacobian.isfinite().all():
            return  # as in `note`
        axes = torch.linalg.eigh(jacobian @ jacobian.T)[1].flip(1)  # largest eigenvalue first
        largest_components = axes.gather(0, axes.abs().argmax(0, keepdim=True))
        self.axes.copy_(axes * largest_components.sign())

    def surprise(self, latents: Tensor, label_weights: Tensor) -> Tensor:
        """Return the mean negative log density in nats, up to a constant."""
        normal_codes, log_volume = self._normalise(latents, label_weights)
        return (0.5 * normal_codes.square().sum(1) - log_volume).mean()

    def codes(self, latents: Tensor, label_weights: Tensor) -> Tensor:
        """Return codes, [batch, n]."""
        return self._normalise(latents, label_weights)[0] @ self.axes

    def latents(self, codes: Tensor, label_weights: Tensor) -> Tensor:
        """Return latents, clamped to radius ``reach``."""
        code_radii = codes.square().sum(1, keepdim=True).sqrt().clamp_min(1e-6)
        clamped_codes = codes * (self.reach / code_radii).clamp_max(1)
        return self._denormalise(clamped_codes @ self.axes.T, label_weights)

    def _normalise(self, latents: Tensor, label_weights: Tensor) -> tuple[Tensor, Tensor]:
        """Return unrotated codes, and the log determinant of the map, [batch]."""
        normal_codes, log_volume = (
            _apply_label_matrices(self.inverse, latents - label_weights @ self.middles, label_weights),
            latents.new_zeros(()),
        )
        for coupling in self.couplings:
            normal_codes, log_determinant = coupling(normal_codes, label_weights)
            log_volume = log_volume + log_determinant
        return normal_codes, log_volume

    def _denormalise(self, normal: Tensor, label_weights: Tensor) -> Tensor:
        """Return latents of unrotated codes."""
        for coupling in reversed(self.couplings):
            assert isinstance(coupling, Coupling)
            normal = coupling.invert(normal, label_weights)
        return _apply_label_matrices(self.root, normal, label_weights) + label_weights @ self.middles


def _apply_label_matrices(matrices: Tensor, values: Tensor, label_weights: Tensor) -> Tensor:
    """Multiply rows of values by the matrices of their labels."""
    blended_matrices = (label_weights @ matrices.flatten(1)).view(-1, *matrices.shape[1:])
    return (blended_matrices @ values[:, :, None])[:, :, 0]


class Coupling(nn.Module):
    """Affine coupling (Dinh et al., eq. 7 and 8) that keeps the first half of the indices in ``order``."""

    def __init__(self, order: Tensor, words: int) -> None:
        super().__init__()
        fixed_count = len(order) // 2
        self.stays = nn.Buffer(order[:fixed_count], persistent=False)
        self.moves = nn.Buffer(order[fixed_count:], persistent=False)
        self.places = nn.Buffer(order.argsort(), persistent=False)
        last_layer = nn.Linear(HIDDEN, 2 * (len(order) - fixed_count))
        nn.init.zeros_(last_layer.weight)
        nn.init.zeros_(last_layer.bias)
        self.told = nn.Sequential(
            nn.Linear(fixed_count + words, HIDDEN),
            nn.LeakyReLU(SLOPE),
            nn.Linear(HIDDEN, HIDDEN),
            nn.LeakyReLU(SLOPE),
            last_layer,
        )

    def forward(self, values: Tensor, label_weights: Tensor) -> tuple[Tensor, Tensor]:
        """Return values and log determinant, [batch]."""
        fixed_half = values[:, self.stays]
        log_scales, shifts = self._change(fixed_half, label_weights)
        mapped_half = (values[:, self.moves] - shifts) * torch.exp(-log_scales)
        return torch.cat([fixed_half, mapped_half], 1)[:, self.places], -log_scales.sum(1)

    def invert(self, values: Tensor, label_weights: Tensor) -> Tensor:
        fixed_half = values[:, self.stays]
        log_scales, shifts = self._change(fixed_half, label_weights)
        return torch.cat([fixed_half, values[:, self.moves] * torch.exp(log_scales) + shifts], 1)[:, self.places]

    def _change(self, fixed_half: Tensor, label_weights: Tensor) -> tuple[Tensor, Tensor]:
        """Return log scales and shifts of the other half."""
        log_scales, shifts = self.told(torch.cat([fixed_half, label_weights], 1)).chunk(2, 1)
        return STEEPEST * torch.tanh(log_scales / STEEPEST), shifts


BASIS_CLIPS = 4096  # clips for the principal components
LOUDNESS = 3.0  # weight: a tenth of the features carries about a third of the perceived sound
MIN_LOG_VARIANCE, MAX_LOG_VARIANCE = -12.0, 2.0  # of a latent
INITIAL_LOG_VARIANCE = -3.0
CONTRAST_BANDS = 9  # bands: two harmonics of a low voice fit in
CONTRAST_GAIN = 1.5  # times the learned contrast: inconsistent spectra overlap-add to a duller sound
CONTRAST_FLOOR = -6.0  # nepers, -52 dB: softer bands get no contrast
ROTATION_STEPS = 100  # steps between rotations of the codes
ATTACK_WEIGHT = 0.25  # times the root of the number of features: raises the weight of the single attack feature


class ClipAutoencoder(Autoencoder):
    """Encoder and decoder of clips' features.

    Shapes: labels [batch, words], weights; codes [batch, latents]; features [batch, spectra × bands + points].
    """

    def __init__(self, recipe: ClipRecipe) -> None:
        super().__init__()
        self.settings, self.weights = recipe.network, recipe.loss
        self.features = ClipFeatures(recipe.frames.sample_rate, recipe.frames.frame_length)
        feature_width = self.features.width + 1  # the last is the attack part
        self.middle = nn.Buffer(torch.zeros(feature_width))
        self.spread = math.sqrt(feature_width) / 4  # Adam moves all weights alike: this keeps codes from moving far
        n, word_count, hidden_width = self.settings.latents, len(self.settings.words), self.settings.hidden
        self.inner = nn.Linear(feature_width, self.settings.components)
        self.outer = nn.Linear(self.settings.components, feature_width)
        self.encoder = BentCodes(self.settings.components, hidden_width, 2 * n)
        nn.init.constant_(self.encoder.straight.bias[n:], INITIAL_LOG_VARIANCE)
        self.decoder = BentCodes(n + word_count, hidden_width, self.settings.components)
        self.listener = BentCodes(self.settings.components, hidden_width, word_count) if word_count else None
        self.flow = Flow(n, max(word_count, 1))
        self.recordings = SpreadLoss(MEL_BANDS)
        self.contrast = nn.Parameter(torch.zeros(()))
        self.attack = nn.Buffer(torch.tensor([0.0, 1.0]))  # mean and deviation, in parts
        self._step_latents: tuple[Tensor, Tensor] | None = None  # latents and labels of a training step

    @torch.no_grad()
    def initialise(self, data: Data[Any]) -> None:
        """Start the outer layers as principal components of training features."""
        example_indices = np.random.default_rng(0).permutation(len(data))[:BASIS_CLIPS]
        features, mel_levels = (
            batch_tensor.to(self.middle) for batch_tensor in data.batch(example_indices, np.random.default_rng(0))[:2]
        )
        self.recordings.measure(sounding(mel_levels))
        attack_positions = self._attacks(features)
        self.attack.copy_(torch.stack([attack_positions.mean(), attack_positions.std().clamp_min(1.0)]))
        feature_rows = self._with_attack(features)
        mean_row = feature_rows.mean(0)
        feature_weights = torch.ones_like(mean_row)
        feature_weights[-1 - self.features.points : -1] = LOUDNESS
        feature_weights[-1] = ATTACK_WEIGHT * math.sqrt(len(mean_row))
        component_count = min(self.settings.components, *feature_rows.shape)
        torch.manual_seed(0)
        weighted_rows = (feature_rows - mean_row) * feature_weights
        component_axes = torch.svd_lowrank(weighted_rows, q=component_count, niter=3)[2]
        component_scale = (weighted_rows @ component_axes).std(0).mean().clamp_min(1e-6)
        for layer_weights in (self.inner.weight, self.inner.bias, self.outer.weight):
            nn.init.zeros_(layer_weights)
        self.inner.weight[:component_count] = component_axes.T * feature_weights / component_scale * self.spread
        self.middle.copy_(mean_row)
        self.outer.weight[:, :component_count] = component_axes * component_scale / feature_weights[:, None]
        self.outer.bias.copy_(mean_row)

    def encode(self, *inputs: Tensor) -> Tensor:
        """Return codes, [batch, latents], under each clip's likeliest label."""
        components = self._components(inputs[0])
        latents = self.encoder(components)[:, : self.settings.latents]
        if self.listener is None:
            return self.flow.codes(latents, _unit_label(latents))
        label_scores = self.listener(components)
        return self.flow.codes(latents, (label_scores == label_scores.amax(1, keepdim=True)).to(latents))

    def label_probabilities(self, features: Tensor) -> Tensor:
        assert self.listener is not None
        return torch.softmax(self.listener(self._components(features)), 1)

    def decode(self, codes: Tensor, labels: Tensor | None = None) -> Tensor:
        """Return a clip card's frames, [batch, spectra × bins + points]."""
        return self.features.frames(self.decoded(codes, labels))

    def decoded(self, codes: Tensor, labels: Tensor | None) -> Tensor:
        """Return sharpened features, [batch, width]."""
        label_weights = labels if labels is not None and self.settings.words else _unit_label(codes)
        return self._sharpened(self._features(self.flow.latents(codes, label_weights), label_weights)[0], CONTRAST_GAIN)

    def reconstruction(
        self, features: Tensor, mel: Tensor, labels: Tensor, generator: torch.Generator
    ) -> dict[str, Tensor]:
        """Return the terms of features, possibly in half precision, and label indices [batch]."""
        features, mel = features.to(self.middle), mel.to(self.middle)
        labels = labels if self.settings.words else torch.zeros_like(labels)
        label_weights = F.one_hot(labels, max(len(self.settings.words), 1)).to(features)
        components = self._components(features)
        latents, log_variance = self.encoder(components).chunk(2, 1)
        log_variance = log_variance.clamp(MIN_LOG_VARIANCE, MAX_LOG_VARIANCE)
        noise = randn_examples(*latents.shape, generator=generator).to(latents)
        sampled_latents = latents + noise * torch.exp(log_variance / 2)
        if self.training:
            self._step_latents = sampled_latents.detach(), labels
        decoded_features, decoded_attacks = self._features(sampled_latents, label_weights)
        decoded_bands, decoded_levels = self.features.parts(decoded_features)
        true_bands, true_levels = self.features.parts(features)
        terms = {
            "mel": rms_level_distance(self.features.mel_decibels(decoded_bands), mel),
            "spectrum": rms_level_distance(DECIBELS * decoded_bands, DECIBELS * true_bands),
            "loudness": rms_level_distance(DECIBELS * decoded_levels, DECIBELS * true_levels),
            "envelope": envelope_distance(pooled(decoded_levels), pooled(true_levels)),
            "attack": (decoded_attacks - self._attacks(features)).abs().mean() * self.features.part_ms,
            "distribution": 0.5 * (latents.square() + log_variance.exp() - 1 - log_variance).sum(1).mean(),
            "sharpness": self.recordings.distance(sounding(self._mel(self._sharpened(decoded_features)))),
            "surprise": self.flow.surprise(sampled_latents.detach(), label_weights),
        }
        with torch.no_grad():
            prior_latents = self.flow.latents(
                randn_examples(*latents.shape, generator=generator).to(latents), label_weights
            )
        prior_features = self._sharpened(self._features(prior_latents, label_weights)[0])
        terms["likeness"] = sliced_wasserstein(self._mel(prior_features), mel, generator)
        if self.listener is not None:
            terms["label"] = F.cross_entropy(self.listener(components), labels)
            terms["obedience"] = self._obedience(prior_features, labels)
        return terms

    @torch.no_grad()
    def follow_weights(self) -> None:
        if self._step_latents is not None:
            self.flow.note(*self._step_latents)
        if int(self.flow.steps) % ROTATION_STEPS == 1:
            probes, probe_label_weights = self.flow.probes()
            self.flow.turn([self._bent(latents, probe_label_weights) for latents in probes])

    def _with_attack(self, features: Tensor) -> Tensor:
        return torch.cat([features, (self._attacks(features) - self.attack[0]) / self.attack[1]], 1)

    def _attacks(self, features: Tensor) -> Tensor:
        """Return attacks in parts, [batch, 1]."""
        return attack_parts(self.features.parts(features.detach())[1])

    def _features(self, latents: Tensor, label_weights: Tensor) -> tuple[Tensor, Tensor]:
        """Return decoded features, and attacks in parts, [batch, 1]."""
        decoded_rows = self.outer(self._bent(latents, label_weights))
        features, attack_positions = decoded_rows[:, :-1], decoded_rows[:, -1:] * self.attack[1] + self.attack[0]
        bands, levels = self.features.parts(features)
        return torch.cat([bands.flatten(1), impose_attack(levels, attack_positions)], 1), attack_positions

    def _sharpened(self, features: Tensor, times: float = 1.0) -> Tensor:
        """Raise contrast of neighbouring bands: means blur harmonics (Toda and Tokuda, IEICE Trans. E90-D:5, 2007)."""
        bands, levels = self.features.parts(features)
        floored_bands = bands.clamp_min(CONTRAST_FLOOR)
        local_means = F.avg_pool1d(floored_bands, CONTRAST_BANDS, 1, CONTRAST_BANDS // 2, count_include_pad=False)
        return torch.cat([(bands + times * self.contrast * (floored_bands - local_means)).flatten(1), levels], 1)

    def _mel(self, features: Tensor) -> Tensor:
        return self.features.mel_decibels(self.features.parts(features)[0])

    def _bent(self, latents: Tensor, label_weights: Tensor) -> Tensor:
        """Return decoded principal components."""
        components: Tensor = self.decoder(torch.cat([latents, label_weights], 1) if self.settings.words else latents)
        return components

    def _obedience(self, features: Tensor, labels: Tensor) -> Tensor:
        """Return the cross entropy of labels that the frozen listener predicts."""
        assert self.listener is not None
        components = frozen(self.inner, (self._with_attack(features) - self.middle) / self.spread)
        return F.cross_entropy(frozen(self.listener, components), labels)

    def _components(self, features: Tensor) -> Tensor:
        """Return principal components of features, with the attack."""
        components: Tensor = self.inner((self._with_attack(features) - self.middle) / self.spread)
        return components


def _unit_label(like: Tensor) -> Tensor:
    return torch.ones_like(like[:, :1])


class BentCodes(nn.Module):
    """A linear map, plus one with two hidden layers."""

    def __init__(self, inputs: int, hidden: int, outputs: int) -> None:
        super().__init__()
        self.straight = nn.Linear(inputs, outputs)
        self.bend = dense([inputs, hidden, hidden, outputs], linear_end=True)

    def forward(self, values: Tensor) -> Tensor:
        mapped_values: Tensor = self.straight(values) + self.bend(values)
        return mapped_values
