"""Autoencoder of whole short sounds, such as drum hits or words, with a normalizing flow of its codes.

Short parts keep attacks that windows smear. Outer layers start as principal components, so minutes suffice. Inner
layers map them to latents with variances (Kingma and Welling, ICLR 2014), a `Flow` these to normal codes of the
variation within a label.

So every code sounds like the corpus: the second stage of Dai and Wipf (ICLR 2019). Affine couplings (Dinh et al., "Real
NVP", ICLR 2017), trained by maximum likelihood, follow each label's mean and covariance. A rotation sorts codes by mean
squared gradients (Constantine et al., SIAM Journal on Scientific Computing 36:4, 2014).
"""

import math
from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ...data import Data
from ...network import Autoencoder, frozen
from ...shared_random import randn_examples
from .features import (
    DECIBELS,
    LEAK,
    MEL_BANDS,
    ClipFeatures,
    SpreadLoss,
    apart,
    envelope_apart,
    made_to_rise,
    pooled,
    risen,
    sounding,
    unlike,
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

    Shapes: latents, codes [batch, n]; told [batch, words], weights of labels, or ones [batch, 1].
    """

    middles: Tensor
    covariance: Tensor
    root: Tensor
    inverse: Tensor
    axes: Tensor
    steps: Tensor

    def __init__(self, n: int, words: int) -> None:
        super().__init__()
        self.reach = math.sqrt(n) + REACH
        self.register_buffer("middles", torch.zeros(words, n))
        for name in ("covariance", "root", "inverse"):
            self.register_buffer(name, torch.eye(n).repeat(words, 1, 1))
        self.register_buffer("axes", torch.eye(n))
        self.register_buffer("steps", torch.zeros((), dtype=torch.int64))
        generator = torch.Generator().manual_seed(0)
        self.couplings = nn.ModuleList(
            Coupling(torch.randperm(n, generator=generator), words) for _ in range(COUPLINGS if n > 1 else 0)
        )

    @torch.no_grad()
    def note(self, latents: Tensor, labels: Tensor) -> None:
        """Update each label's running mean and covariance; labels are indices, [batch]."""
        share = max(SLOWNESS, 1 / (1 + int(self.steps)))
        self.steps += 1
        for label in set(labels.tolist()):
            these = latents[labels == label]
            self.middles[label].lerp_(these.mean(0), share)
            beside = these - self.middles[label]
            self.covariance[label].lerp_(beside.T @ beside / len(beside), share)
        least = LEAST * torch.eye(latents.shape[1]).to(latents)
        whole = (1 - SHARED) * self.covariance + SHARED * self.covariance.mean(0) + least
        root = torch.linalg.cholesky(whole)
        self.root.copy_(root)
        self.inverse.copy_(torch.linalg.inv(root))

    @torch.no_grad()
    def turn(self, decoded: Callable[[Tensor, Tensor], Tensor]) -> None:
        """Rotate codes: the first changes ``decoded(latents, told)`` most."""
        generator, (words, n) = torch.Generator().manual_seed(0), self.middles.shape
        codes = torch.randn(PROBES, n, generator=generator).to(self.middles)
        told = torch.eye(words).to(codes)[torch.arange(PROBES) % words]
        here = decoded(self._placed(codes, told), told)
        slopes = [decoded(self._placed(codes + PROBE * axis, told), told) - here for axis in torch.eye(n).to(codes)]
        moved = torch.stack(slopes).flatten(1)
        axes = torch.linalg.eigh(moved @ moved.T)[1].flip(1)
        largest = axes.gather(0, axes.abs().argmax(0, keepdim=True))
        self.axes.copy_(axes * largest.sign())

    def surprise(self, latents: Tensor, told: Tensor) -> Tensor:
        """Return the mean negative log density in nats, up to a constant."""
        normal, volume = self._normal(latents, told)
        surprise: Tensor = (0.5 * normal.square().sum(1) - volume).mean()
        return surprise

    def codes(self, latents: Tensor, told: Tensor) -> Tensor:
        return self._normal(latents, told)[0] @ self.axes

    def latents(self, codes: Tensor, told: Tensor) -> Tensor:
        """Return latents, clamped to radius ``reach``."""
        far = codes.square().sum(1, keepdim=True).sqrt().clamp_min(1e-6)
        near = codes * (self.reach / far).clamp_max(1)
        return self._placed(near @ self.axes.T, told)

    def _normal(self, latents: Tensor, told: Tensor) -> tuple[Tensor, Tensor]:
        values, volume = _by(self.inverse, latents - told @ self.middles, told), latents.new_zeros(())
        for coupling in self.couplings:
            values, stretched = coupling(values, told)
            volume = volume + stretched
        return values, volume

    def _placed(self, normal: Tensor, told: Tensor) -> Tensor:
        for coupling in reversed(self.couplings):
            assert isinstance(coupling, Coupling)
            normal = coupling.back(normal, told)
        return _by(self.root, normal, told) + told @ self.middles


def _by(matrices: Tensor, values: Tensor, told: Tensor) -> Tensor:
    chosen = (told @ matrices.flatten(1)).view(-1, *matrices.shape[1:])
    return (chosen @ values[:, :, None])[:, :, 0]


class Coupling(nn.Module):
    """Affine coupling (Dinh et al., eq. 7 and 8) that keeps the first half of the indices in ``order``."""

    stays: Tensor
    moves: Tensor
    places: Tensor

    def __init__(self, order: Tensor, words: int) -> None:
        super().__init__()
        half = len(order) // 2
        self.register_buffer("stays", order[:half], persistent=False)
        self.register_buffer("moves", order[half:], persistent=False)
        self.register_buffer("places", order.argsort(), persistent=False)
        last = nn.Linear(HIDDEN, 2 * (len(order) - half))
        nn.init.zeros_(last.weight)
        nn.init.zeros_(last.bias)
        self.told = nn.Sequential(
            nn.Linear(half + words, HIDDEN), nn.LeakyReLU(SLOPE), nn.Linear(HIDDEN, HIDDEN), nn.LeakyReLU(SLOPE), last
        )

    def forward(self, values: Tensor, told: Tensor) -> tuple[Tensor, Tensor]:
        """Return values and log determinant, [batch]."""
        kept = values[:, self.stays]
        stretch, shift = self._change(kept, told)
        moved = (values[:, self.moves] - shift) * torch.exp(-stretch)
        return torch.cat([kept, moved], 1)[:, self.places], -stretch.sum(1)

    def back(self, values: Tensor, told: Tensor) -> Tensor:
        kept = values[:, self.stays]
        stretch, shift = self._change(kept, told)
        return torch.cat([kept, values[:, self.moves] * torch.exp(stretch) + shift], 1)[:, self.places]

    def _change(self, kept: Tensor, told: Tensor) -> tuple[Tensor, Tensor]:
        stretch, shift = self.told(torch.cat([kept, told], 1)).chunk(2, 1)
        return STEEPEST * torch.tanh(stretch / STEEPEST), shift


MOST = 4096  # clips for the principal components
LOUDNESS = 3.0  # weight: a tenth of the features carries about a third of the perceived sound
EXACT, DEAF = -12.0, 2.0  # smallest and largest log variance of a latent
SURE = -3.0  # initial log variance
AROUND = 9  # bands: two harmonics of a low voice fit in
RESTORED = 1.5  # times the learned contrast: inconsistent spectra overlap-add to a duller sound
DEEPEST = -6.0  # nepers, -52 dB: softer bands get no contrast
TURNED = 100  # steps between rotations of the codes
TOLD = 0.25  # times the root of the number of features: raises the weight of the single attack feature


class ClipAutoencoder(Autoencoder):
    """Encoder and decoder of clips' features.

    Shapes: labels [batch, words], weights; codes [batch, latents]; features [batch, spectra × bands + points].
    """

    middle: Tensor
    attack: Tensor

    def __init__(self, recipe: ClipRecipe) -> None:
        super().__init__()
        self.settings, self.weights = recipe.network, recipe.loss
        self.features = ClipFeatures(recipe.frames.sample_rate, recipe.frames.frame_length)
        width = self.features.width + 1  # the last is the attack part
        self.register_buffer("middle", torch.zeros(width))
        self.spread = math.sqrt(width) / 4  # Adam moves all weights alike: this keeps codes from moving far
        n, words, hidden = self.settings.latents, len(self.settings.words), self.settings.hidden
        self.inner = nn.Linear(width, self.settings.components)
        self.outer = nn.Linear(self.settings.components, width)
        self.encoder = BentCodes(self.settings.components, hidden, 2 * n)
        nn.init.constant_(self.encoder.straight.bias[n:], SURE)
        self.decoder = BentCodes(n + words, hidden, self.settings.components)
        self.listener = BentCodes(self.settings.components, hidden, words) if words else None
        self.flow = Flow(n, max(words, 1))
        self.recordings = SpreadLoss(MEL_BANDS)
        self.contrast = nn.Parameter(torch.zeros(()))
        self.register_buffer("attack", torch.tensor([0.0, 1.0]))  # mean and deviation, in parts
        self._seen: tuple[Tensor, Tensor] | None = None  # latents and labels of a training step

    @torch.no_grad()
    def initialise(self, data: Data) -> None:
        numbers = np.random.default_rng(0).permutation(len(data))[:MOST]
        features, mel = (part.to(self.middle) for part in data.batch(numbers, np.random.default_rng(0))[:2])
        self.recordings.measure(sounding(mel))
        attacks = self._attacks(features)
        self.attack.copy_(torch.stack([attacks.mean(), attacks.std().clamp_min(1.0)]))
        rows = self._with_attack(features)
        middle = rows.mean(0)
        counts = torch.ones_like(middle)
        counts[-1 - self.features.points : -1] = LOUDNESS
        counts[-1] = TOLD * math.sqrt(len(middle))
        asked = min(self.settings.components, *rows.shape)
        torch.manual_seed(0)
        apart = (rows - middle) * counts
        axes = torch.svd_lowrank(apart, q=asked, niter=3)[2]
        scale = (apart @ axes).std(0).mean().clamp_min(1e-6)
        for weight in (self.inner.weight, self.inner.bias, self.outer.weight):
            nn.init.zeros_(weight)
        self.inner.weight[:asked] = axes.T * counts / scale * self.spread
        self.middle.copy_(middle)
        self.outer.weight[:, :asked] = axes * scale / counts[:, None]
        self.outer.bias.copy_(middle)

    def encode(self, *inputs: Tensor) -> Tensor:
        """Return codes, [batch, latents], under each clip's likeliest label."""
        components = self._components(inputs[0])
        latents = self.encoder(components)[:, : self.settings.latents]
        if self.listener is None:
            return self.flow.codes(latents, _one(latents))
        heard = self.listener(components)
        return self.flow.codes(latents, (heard == heard.amax(1, keepdim=True)).to(latents))

    def label_probabilities(self, features: Tensor) -> Tensor:
        assert self.listener is not None
        taken: Tensor = torch.softmax(self.listener(self._components(features)), 1)
        return taken

    def decode(self, codes: Tensor, labels: Tensor | None = None) -> Tensor:
        """Return a clip card's frames, [batch, spectra × bins + points]."""
        return self.features.frames(self.decoded(codes, labels))

    def decoded(self, codes: Tensor, labels: Tensor | None) -> Tensor:
        told = labels if labels is not None and self.settings.words else _one(codes)
        return self._sharpened(self._features(self.flow.latents(codes, told), told)[0], RESTORED)

    def reconstruction(
        self, features: Tensor, mel: Tensor, labels: Tensor, generator: torch.Generator
    ) -> dict[str, Tensor]:
        """Return the terms of features, possibly in half precision, and label indices [batch]."""
        features, mel = features.to(self.middle), mel.to(self.middle)
        labels = labels if self.settings.words else torch.zeros_like(labels)
        told = F.one_hot(labels, max(len(self.settings.words), 1)).to(features)
        inner = self._components(features)
        latents, variance = self.encoder(inner).chunk(2, 1)
        variance = variance.clamp(EXACT, DEAF)
        chance = randn_examples(*latents.shape, generator=generator).to(latents)
        varied = latents + chance * torch.exp(variance / 2)
        if self.training:
            self._seen = varied.detach(), labels
        given, attacks = self._features(varied, told)
        bands, levels = self.features.parts(given)
        true_bands, true_levels = self.features.parts(features)
        terms = {
            "mel": apart(self.features.mel_decibels(bands), mel),
            "spectrum": apart(DECIBELS * bands, DECIBELS * true_bands),
            "loudness": apart(DECIBELS * levels, DECIBELS * true_levels),
            "envelope": envelope_apart(pooled(levels), pooled(true_levels)),
            "attack": (attacks - self._attacks(features)).abs().mean() * self.features.part_ms,
            "distribution": 0.5 * (latents.square() + variance.exp() - 1 - variance).sum(1).mean(),
            "sharpness": self.recordings.distance(sounding(self._mel(self._sharpened(given)))),
            "surprise": self.flow.surprise(varied.detach(), told),
        }
        with torch.no_grad():
            placed = self.flow.latents(randn_examples(*latents.shape, generator=generator).to(latents), told)
        made = self._sharpened(self._features(placed, told)[0])
        terms["likeness"] = unlike(self._mel(made), mel, generator)
        if self.listener is not None:
            terms["label"] = F.cross_entropy(self.listener(inner), labels)
            terms["obedience"] = self._obedience(made, labels)
        return terms

    def moved(self) -> None:
        if self._seen is not None:
            self.flow.note(*self._seen)
        if int(self.flow.steps) % TURNED == 1:
            self.flow.turn(self._bent)

    def _with_attack(self, features: Tensor) -> Tensor:
        return torch.cat([features, (self._attacks(features) - self.attack[0]) / self.attack[1]], 1)

    def _attacks(self, features: Tensor) -> Tensor:
        return risen(self.features.parts(features.detach())[1])

    def _features(self, latents: Tensor, told: Tensor) -> tuple[Tensor, Tensor]:
        given = self.outer(self._bent(latents, told))
        features, attacks = given[:, :-1], given[:, -1:] * self.attack[1] + self.attack[0]
        bands, levels = self.features.parts(features)
        return torch.cat([bands.flatten(1), made_to_rise(levels, attacks)], 1), attacks

    def _sharpened(self, features: Tensor, times: float = 1.0) -> Tensor:
        """Raise contrast of neighbouring bands: means blur harmonics (Toda and Tokuda, IEICE Trans. E90-D:5, 2007)."""
        bands, levels = self.features.parts(features)
        heard = bands.clamp_min(DEEPEST)
        around = F.avg_pool1d(heard, AROUND, 1, AROUND // 2, count_include_pad=False)
        return torch.cat([(bands + times * self.contrast * (heard - around)).flatten(1), levels], 1)

    def _mel(self, features: Tensor) -> Tensor:
        return self.features.mel_decibels(self.features.parts(features)[0])

    def _bent(self, latents: Tensor, told: Tensor) -> Tensor:
        components: Tensor = self.decoder(torch.cat([latents, told], 1) if self.settings.words else latents)
        return components

    def _obedience(self, features: Tensor, asked: Tensor) -> Tensor:
        assert self.listener is not None
        components = frozen(self.inner, (self._with_attack(features) - self.middle) / self.spread)
        return F.cross_entropy(frozen(self.listener, components), asked)

    def _components(self, features: Tensor) -> Tensor:
        components: Tensor = self.inner((self._with_attack(features) - self.middle) / self.spread)
        return components


def _one(like: Tensor) -> Tensor:
    return torch.ones_like(like[:, :1])


class BentCodes(nn.Module):
    def __init__(self, inside: int, hidden: int, outside: int) -> None:
        super().__init__()
        self.straight = nn.Linear(inside, outside)
        self.bend = nn.Sequential(
            nn.Linear(inside, hidden),
            nn.LeakyReLU(LEAK),
            nn.Linear(hidden, hidden),
            nn.LeakyReLU(LEAK),
            nn.Linear(hidden, outside),
        )

    def forward(self, values: Tensor) -> Tensor:
        total: Tensor = self.straight(values) + self.bend(values)
        return total
