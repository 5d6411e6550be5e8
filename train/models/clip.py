"""An autoencoder of whole short sounds: a hit or a word becomes a few numbers, and comes back.

What is encoded and decoded are logarithms: of the levels of a clip's spectra in bands, and of its loudness in short
parts, which keeps attacks where windows smear them. The outer layers begin as principal components of the training
clips, so that minutes are enough; what lies between bends them into few latents. Codes are led to a normal distribution
by sliced Wasserstein distances (Kolouri et al., "Sliced Wasserstein Auto-Encoders", ICLR 2019), of each label's clips
too where the decoder is told labels: so the code says what the label does not.
"""

import math

import numpy as np
import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn import functional as F

from ..data import Data
from ..network import Autoencoder
from ..recipes.clip import HitRecipe
from .clip_features import RANGE, ClipFeatures, logarithm

POOLED = 5  # parts: ten milliseconds
LOUD_DB, SOFT = 40.0, 0.1  # under a clip's loudest: what lies deeper weighs a tenth
DECIBELS = 20 / math.log(10)  # of a neper
LEAK = 0.1
PROJECTIONS = 128  # random directions of the distribution term
FEWEST = 4  # codes whose distribution means something
MOST_SPECTRA = 2048  # of which the likeness term takes a sample
MOST = 4096  # clips of which principal components are taken


class ClipAutoencoder(Autoencoder):
    """Encoder and decoder of clips, by their features.

    Shapes: labels [batch, words], how much there is of each; latents [batch, latents];
    features [batch, spectra × bands + points].
    """

    middle: Tensor

    def __init__(self, recipe: HitRecipe) -> None:
        super().__init__()
        self.settings, self.weights = recipe.network, recipe.loss
        self.features = ClipFeatures(recipe.frames.sample_rate, recipe.frames.frame_length)
        width = self.features.width
        self.register_buffer("middle", torch.zeros(width))
        self.spread = math.sqrt(width) / 4  # so that a step of Adam, which moves all weights alike, moves no code far
        n, words, hidden = self.settings.latents, len(self.settings.words), self.settings.hidden
        self.inner = nn.Linear(width, self.settings.components)
        self.outer = nn.Linear(self.settings.components, width)
        self.encoder = Bent(self.settings.components, hidden, n)
        self.decoder = Bent(n + words, hidden, self.settings.components)
        self.listener = Bent(self.settings.components, hidden, words) if words else None

    @torch.no_grad()
    def begin(self, data: Data) -> None:
        """Make the outer layers the principal components of training clips, each scaled alike."""
        numbers = np.random.default_rng(0).permutation(len(data))[:MOST]
        rows = data.batch(numbers, np.random.default_rng(0))[0].to(self.middle)
        middle = rows.mean(0)
        asked = min(self.settings.components, *rows.shape)
        torch.manual_seed(0)
        axes = torch.svd_lowrank(rows - middle, q=asked, niter=3)[2]
        scale = ((rows - middle) @ axes).std(0).mean().clamp_min(1e-6)
        for weight in (self.inner.weight, self.inner.bias, self.outer.weight):
            nn.init.zeros_(weight)
        self.inner.weight[:asked] = axes.T / scale * self.spread
        self.middle.copy_(middle)
        self.outer.weight[:, :asked] = axes * scale
        self.outer.bias.copy_(middle)

    def encode(self, *inputs: Tensor) -> Tensor:
        """Return the latents of features, [batch, latents]."""
        code: Tensor = self.encoder(self._components(inputs[0]))
        return code

    def heard(self, features: Tensor) -> Tensor:
        """Return how much clips are taken for each label by their features, [batch, words], 1 together."""
        assert self.listener is not None
        taken: Tensor = torch.softmax(self.listener(self._components(features)), 1)
        return taken

    def decode(self, latents: Tensor, labels: Tensor | None = None) -> Tensor:
        """Return frames as a card of kind clip has them: [batch, spectra × bins + points], not below 0."""
        return self.features.frames(self.decoded(latents, labels))

    def decoded(self, latents: Tensor, labels: Tensor | None) -> Tensor:
        """Return the features of latents."""
        told = latents if labels is None or not self.settings.words else torch.cat([latents, labels], 1)
        given: Tensor = self.outer(self.decoder(told))
        return given

    def reconstruction(
        self, features: Tensor, mel: Tensor, labels: Tensor, generator: torch.Generator
    ) -> dict[str, Tensor]:
        """Return how far decoded clips are from those encoded, and their codes from a normal distribution.

        Args:
            features, mel: of clips, as `ClipFeatures` gives them, also in half precision.
            labels: the numbers of their labels, [batch].
            generator: on the CPU; all that is random here comes from it.
        """
        features, mel = features.to(self.middle), mel.to(self.middle)
        inner = self._components(features)
        codes = self.encoder(inner)
        noise = torch.randn(codes.shape, generator=generator).to(codes) * self.settings.noise
        told = F.one_hot(labels, len(self.settings.words)).to(codes) if self.settings.words else None
        bands, levels = self.features.parts(self.decoded(codes + noise, told))
        true_bands, true_levels = self.features.parts(features)
        terms = {
            "mel": _apart(self.features.mel_decibels(bands), mel),
            "spectrum": _apart(DECIBELS * bands, DECIBELS * true_bands),
            "loudness": 0.5 * _apart(DECIBELS * levels, DECIBELS * true_levels)
            + 0.5 * _apart(self._pooled(levels), self._pooled(true_levels)),
            "distribution": self._distribution(codes, labels, generator),
        }
        random = torch.randn(codes.shape, generator=generator).to(codes)
        made = self.decoded(random, told)
        terms["likeness"] = self._likeness(self.features.parts(made)[0], mel, generator)
        if self.listener is not None:
            terms["label"] = F.cross_entropy(self.listener(inner), labels)
            terms["obedience"] = self._obedience(made, labels)
        return terms

    def _likeness(self, bands: Tensor, mel: Tensor, generator: torch.Generator) -> Tensor:
        """Return how far the spread of random clips' levels in mel bands is from that of the batch's, in dB.

        It is the sliced Wasserstein distance of spectra that sound, each clip as loud as any.
        """
        heard = [_sounding(self.features.mel_decibels(bands)), _sounding(mel)]
        count = min(*map(len, heard), MOST_SPECTRA)
        directions = F.normalize(torch.randn(mel.shape[2], PROJECTIONS, generator=generator), dim=0).to(mel)
        seen = [part[torch.randperm(len(part), generator=generator)[:count]] @ directions for part in heard]
        apart = seen[0].sort(0).values - seen[1].sort(0).values
        return (apart.square().mean() + 1e-6).sqrt()

    def _obedience(self, features: Tensor, asked: Tensor) -> Tensor:
        """Return how far clips are from being taken for the labels asked for, by a listener that stays as it is."""
        as_it_is = {name: value.detach() for name, value in self.named_parameters()}
        inner = F.linear((features - self.middle) / self.spread, as_it_is["inner.weight"], as_it_is["inner.bias"])
        prefix = "listener."
        ears = {name.removeprefix(prefix): value for name, value in as_it_is.items() if name.startswith(prefix)}
        assert self.listener is not None
        heard: Tensor = functional_call(self.listener, ears, (inner,))
        return F.cross_entropy(heard, asked)

    def _components(self, features: Tensor) -> Tensor:
        components: Tensor = self.inner((features - self.middle) / self.spread)
        return components

    def _pooled(self, levels: Tensor) -> Tensor:
        """Return levels of `POOLED` parts together, in dB: what is heard as loudness from moment to moment."""
        power = F.avg_pool1d(torch.exp(2 * levels)[:, None], POOLED, 1)[:, 0]
        return DECIBELS * logarithm(power)

    def _distribution(self, codes: Tensor, labels: Tensor, generator: torch.Generator) -> Tensor:
        """Return the sliced Wasserstein distance of codes to a normal one, and of each label's, weighted alike."""
        directions = torch.randn(codes.shape[1], PROJECTIONS, generator=generator).to(codes)
        seen = codes @ F.normalize(directions, dim=0)
        groups = [seen[labels == word] for word in range(len(self.settings.words))]
        groups = [group for group in groups if len(group) >= FEWEST]
        distance = _from_normal(seen)
        return distance + sum(map(_from_normal, groups), torch.zeros(())) / len(groups) if groups else distance


def _sounding(levels: Tensor) -> Tensor:
    """Return those spectra of clips in which a band sounds, in dB under each clip's loudest, [spectra, bands]."""
    under = (levels - levels.amax((1, 2), keepdim=True)).clamp_min(-LOUD_DB).flatten(0, 1)
    return under[under.amax(1) > -LOUD_DB]


def _from_normal(seen: Tensor) -> Tensor:
    """Mean square of the differences between sorted numbers, [count, directions], and a normal's quantiles."""
    quantiles = torch.special.ndtri((torch.arange(len(seen)) + 0.5) / len(seen)).to(seen)
    distance: Tensor = (seen.sort(0).values - quantiles[:, None]).square().mean()
    return distance


def _apart(given: Tensor, asked: Tensor) -> Tensor:
    """Root mean square of differences of levels in dB of each clip, the mean over clips; what is soft weighs less."""
    given, asked = given.flatten(1), asked.flatten(1)
    top = asked.amax(1, keepdim=True)
    floor = top - RANGE * DECIBELS
    asked, given = torch.maximum(asked, floor), torch.maximum(given, floor) + LEAK * torch.clamp_max(given - floor, 0)
    weight = torch.where(asked > top - LOUD_DB, 1.0, SOFT)
    squares = ((given - asked).square() * weight).sum(1) / weight.sum(1)
    return (squares + 1e-6).sqrt().mean()


class Bent(nn.Module):
    """A straight line and what bends it: one linear layer, and beside it two hidden ones."""

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
