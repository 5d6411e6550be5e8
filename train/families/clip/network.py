"""An autoencoder of whole short sounds: a hit or a word becomes some numbers, and comes back.

What is encoded and decoded are logarithms: of the levels of a clip's spectra in bands, and of its loudness in short
parts, which keeps attacks where windows smear them. The outer layers begin as principal components of the training
clips, so that minutes are enough; what lies between bends them into latents, each with a deviation of its own within
which it says the same (Kingma and Welling, "Auto-Encoding Variational Bayes", ICLR 2014). A `Flow` makes latents of
codes that are normally distributed, of each label's clips too where there are labels: so the code says what the label
does not.
"""

import math

import numpy as np
import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn import functional as F

from ...data import Data
from ...network import Autoencoder
from .attack import made_to_rise, risen
from .features import MEL_BANDS, ClipFeatures
from .flow import Flow
from .losses import DECIBELS, LEAK, Spread, apart, envelope_apart, pooled, sounding, unlike
from .recipe import HitRecipe

MOST = 4096  # clips of which principal components are taken
LOUDNESS = 3.0  # times as much as its share in the features: a tenth of them, it is a third of what is heard
EXACT, DEAF = -12.0, 2.0  # logarithms of the least and the largest variance of a latent
SURE = -3.0  # where they begin
AROUND = 9  # bands: two harmonics of a low voice lie in
RESTORED = 1.5  # times the contrast that was learned: spectra that do not quite fit together add up to a duller sound
DEEPEST = -6.0  # nepers, -52 dB: softer bands have no contrast
TURNED = 100  # steps after which codes are turned again
TOLD = 0.25  # times the root of how many features there are: an attack is one number, and told as if it were many


class ClipAutoencoder(Autoencoder):
    """Encoder and decoder of clips, by their features.

    Shapes: labels [batch, words], how much there is of each; codes [batch, latents];
    features [batch, spectra × bands + points].
    """

    middle: Tensor
    attack: Tensor

    def __init__(self, recipe: HitRecipe) -> None:
        super().__init__()
        self.settings, self.weights = recipe.network, recipe.loss
        self.features = ClipFeatures(recipe.frames.sample_rate, recipe.frames.frame_length)
        width = self.features.width + 1  # the last is when a clip has risen
        self.register_buffer("middle", torch.zeros(width))
        self.spread = math.sqrt(width) / 4  # so that a step of Adam, which moves all weights alike, moves no code far
        n, words, hidden = self.settings.latents, len(self.settings.words), self.settings.hidden
        self.inner = nn.Linear(width, self.settings.components)
        self.outer = nn.Linear(self.settings.components, width)
        self.encoder = Bent(self.settings.components, hidden, 2 * n)
        nn.init.constant_(self.encoder.straight.bias[n:], SURE)
        self.decoder = Bent(n + words, hidden, self.settings.components)
        self.listener = Bent(self.settings.components, hidden, words) if words else None
        self.flow = Flow(n, max(words, 1))
        self.recordings = Spread(MEL_BANDS)
        self.contrast = nn.Parameter(torch.zeros(()))
        self.register_buffer("attack", torch.tensor([0.0, 1.0]))  # mean and deviation, in parts
        self._seen: tuple[Tensor, Tensor] | None = None  # latents and labels of a training step

    @torch.no_grad()
    def begin(self, data: Data) -> None:
        """Make the outer layers the principal components of training clips, each scaled alike; look at their spectra.

        Loudness counts `LOUDNESS` times: it is told by few features, and would be lost among those of spectra. So would
        attacks, which are one.
        """
        numbers = np.random.default_rng(0).permutation(len(data))[:MOST]
        features, mel = (part.to(self.middle) for part in data.batch(numbers, np.random.default_rng(0))[:2])
        self.recordings.take(sounding(mel))
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
        """Return the codes of features, [batch, latents], as clips of the label that each is taken for most."""
        components = self._components(inputs[0])
        latents = self.encoder(components)[:, : self.settings.latents]
        if self.listener is None:
            return self.flow.codes(latents, _one(latents))
        heard = self.listener(components)
        return self.flow.codes(latents, (heard == heard.amax(1, keepdim=True)).to(latents))

    def heard(self, features: Tensor) -> Tensor:
        """Return how much clips are taken for each label by their features, [batch, words], 1 together."""
        assert self.listener is not None
        taken: Tensor = torch.softmax(self.listener(self._components(features)), 1)
        return taken

    def decode(self, codes: Tensor, labels: Tensor | None = None) -> Tensor:
        """Return frames as a card of kind clip has them: [batch, spectra × bins + points], not below 0."""
        return self.features.frames(self.decoded(codes, labels))

    def decoded(self, codes: Tensor, labels: Tensor | None) -> Tensor:
        """Return the features of codes."""
        told = labels if labels is not None and self.settings.words else _one(codes)
        return self._sharpened(self._features(self.flow.latents(codes, told), told)[0], RESTORED)

    def reconstruction(
        self, features: Tensor, mel: Tensor, labels: Tensor, generator: torch.Generator
    ) -> dict[str, Tensor]:
        """Return how far decoded clips are from those encoded, and what their latents tell more than is needed.

        Args:
            features, mel: of clips, as `ClipFeatures` gives them, also in half precision.
            labels: the numbers of their labels, [batch].
            generator: on the CPU; all that is random here comes from it.
        """
        features, mel = features.to(self.middle), mel.to(self.middle)
        labels = labels if self.settings.words else torch.zeros_like(labels)
        told = F.one_hot(labels, max(len(self.settings.words), 1)).to(features)
        inner = self._components(features)
        latents, variance = self.encoder(inner).chunk(2, 1)
        variance = variance.clamp(EXACT, DEAF)
        chance = torch.randn(latents.shape, generator=generator).to(latents)
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
            placed = self.flow.latents(torch.randn(latents.shape, generator=generator).to(latents), told)
        made = self._sharpened(self._features(placed, told)[0])
        terms["likeness"] = unlike(self._mel(made), mel, generator)
        if self.listener is not None:
            terms["label"] = F.cross_entropy(self.listener(inner), labels)
            terms["obedience"] = self._obedience(made, labels)
        return terms

    def moved(self) -> None:
        """Take the latents of a step into the map of codes, and now and then turn it by how the decoder now is."""
        if self._seen is not None:
            self.flow.note(*self._seen)
        if int(self.flow.steps) % TURNED == 1:
            self.flow.turn(self._bent)

    def _with_attack(self, features: Tensor) -> Tensor:
        """Return features and, after them, when their clips have risen, in deviations."""
        return torch.cat([features, (self._attacks(features) - self.attack[0]) / self.attack[1]], 1)

    def _attacks(self, features: Tensor) -> Tensor:
        """Return the numbers of the parts at which the clips of features have risen, [batch, 1]; without slopes."""
        return risen(self.features.parts(features.detach())[1])

    def _features(self, latents: Tensor, told: Tensor) -> tuple[Tensor, Tensor]:
        """Return decoded features, and the numbers of the parts at which their clips are made to rise, [batch, 1]."""
        given = self.outer(self._bent(latents, told))
        features, attacks = given[:, :-1], given[:, -1:] * self.attack[1] + self.attack[0]
        bands, levels = self.features.parts(features)
        return torch.cat([bands.flatten(1), made_to_rise(levels, attacks)], 1), attacks

    def _sharpened(self, features: Tensor, times: float = 1.0) -> Tensor:
        """Return features with more contrast between neighbouring bands: so many times as much as was learned.

        What is decoded is a mean of all that its code leaves open, in which harmonics are blurred: so it is made as
        sharp as recordings are (as Toda and Tokuda do with speech, IEICE Transactions E90-D:5, 2007).
        """
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
        """Return how far clips are from being taken for the labels asked for, by a listener that stays as it is."""
        as_it_is = {name: value.detach() for name, value in self.named_parameters()}
        whole = (self._with_attack(features) - self.middle) / self.spread
        inner = F.linear(whole, as_it_is["inner.weight"], as_it_is["inner.bias"])
        prefix = "listener."
        ears = {name.removeprefix(prefix): value for name, value in as_it_is.items() if name.startswith(prefix)}
        assert self.listener is not None
        heard: Tensor = functional_call(self.listener, ears, (inner,))
        return F.cross_entropy(heard, asked)

    def _components(self, features: Tensor) -> Tensor:
        components: Tensor = self.inner((self._with_attack(features) - self.middle) / self.spread)
        return components


def _one(like: Tensor) -> Tensor:
    """Return what is told where there are no labels: all of the one there is, [batch, 1]."""
    return torch.ones_like(like[:, :1])


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
