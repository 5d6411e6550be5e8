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

WINDOW_SECONDS = 0.05  # of spectra: the harmonics of voices stand apart, and two periods of a kick at 50 Hz fit in
OVERLAP = 4  # hops in a window
PART_SECONDS = 0.002  # of loudness: attacks may be off by 3 ms
POOLED = 5  # parts: ten milliseconds
BAND_SHARE, BAND_HZ = 0.03, 100.0  # bands lie this share of (frequency + BAND_HZ) apart, and a bin at least
RANGE = 80 / 20 * math.log(10)  # nepers under a clip's loudest: what is softer counts as if it lay there
LOUD_DB, SOFT = 40.0, 0.1  # under a clip's loudest: what lies deeper weighs a tenth
MEL_BANDS = 64  # as in the measure of how far clips lie apart
LEAST = 1e-12  # power of silence
DECIBELS = 20 / math.log(10)  # of a neper
LEAK = 0.1
PROJECTIONS = 128  # random directions of the distribution term
FEWEST = 4  # codes whose distribution means something
MOST_SPECTRA = 2048  # of which the likeness term takes a sample
MOST = 4096  # clips of which principal components are taken
ROWS = 512  # clips in one piece of those


class ClipAutoencoder(Autoencoder):
    """Encoder and decoder of clips.

    Shapes: clips [batch, frame_length]; labels [batch, words], how much there is of each; latents [batch, latents];
    features [batch, spectra × bands + points].
    """

    into: Tensor
    out_of: Tensor
    mel: Tensor
    window: Tensor
    fade: Tensor
    middle: Tensor

    def __init__(self, recipe: HitRecipe) -> None:
        super().__init__()
        self.settings, self.weights = recipe.network, recipe.loss
        rate, self.length = recipe.frames.sample_rate, recipe.frames.frame_length
        self.transform = 2 ** round(math.log2(rate * WINDOW_SECONDS))
        self.hop = self.transform // OVERLAP
        self.part = min(2 ** round(math.log2(rate * PART_SECONDS)), self.hop)
        self.spectra, self.points = self.length // self.hop + 1, self.length // self.part
        for name, value in _tables(rate, self.transform, self.length).items():
            self.register_buffer(name, value, persistent=False)
        width = self.spectra * len(self.into) + self.points
        self.register_buffer("middle", torch.zeros(width))
        n, words, hidden = self.settings.latents, len(self.settings.words), self.settings.hidden
        self.inner = nn.Linear(width, self.settings.components)
        self.outer = nn.Linear(self.settings.components, width)
        self.encoder = Bent(self.settings.components, hidden, n)
        self.decoder = Bent(n + words, hidden, self.settings.components)
        self.listener = Bent(self.settings.components, hidden, words) if words else None

    @torch.no_grad()
    def begin(self, data: Data) -> None:
        """Make the outer layers the principal components of training clips, each scaled alike."""
        rng = np.random.default_rng(0)
        numbers = np.resize(rng.permutation(len(data)), min(len(data), MOST))
        parts = [data.batch(numbers[first : first + ROWS], rng) for first in range(0, len(numbers), ROWS)]
        rows = torch.cat([self.features(part[0].to(self.mel))[0] for part in parts])
        middle = rows.mean(0)
        asked = min(self.settings.components, *rows.shape)
        torch.manual_seed(0)
        axes = torch.svd_lowrank(rows - middle, q=asked, niter=3)[2]
        scale = ((rows - middle) @ axes).std(0).mean().clamp_min(1e-6)
        for weight in (self.inner.weight, self.inner.bias, self.outer.weight):
            nn.init.zeros_(weight)
        self.inner.weight[:asked] = axes.T / scale
        self.middle.copy_(middle)
        self.outer.weight[:, :asked] = axes * scale
        self.outer.bias.copy_(middle)

    def encode(self, *inputs: Tensor) -> Tensor:
        """Return the latents of clips, [batch, latents]."""
        code: Tensor = self.encoder(self._components(self.features(inputs[0])[0]))
        return code

    def heard(self, clips: Tensor) -> Tensor:
        """Return how much a clip is taken for each label, [batch, words], 1 together."""
        assert self.listener is not None
        taken: Tensor = torch.softmax(self.listener(self._components(self.features(clips)[0])), 1)
        return taken

    def decode(self, latents: Tensor, labels: Tensor | None = None) -> Tensor:
        """Return frames as a card of kind clip has them: [batch, spectra × bins + points], not below 0."""
        bands, levels = self.parts(self.decoded(latents, labels))
        magnitudes = torch.exp(bands @ self.out_of)
        return torch.cat([magnitudes.flatten(1), torch.exp(levels)], 1)

    def decoded(self, latents: Tensor, labels: Tensor | None) -> Tensor:
        """Return the features of latents."""
        told = latents if labels is None or not self.settings.words else torch.cat([latents, labels], 1)
        given: Tensor = self.outer(self.decoder(told))
        return given

    def parts(self, features: Tensor) -> tuple[Tensor, Tensor]:
        """Return the two parts of features: bands [batch, spectra, bands] and levels [batch, points], in nepers."""
        bands = self.spectra * len(self.into)
        return features[:, :bands].view(-1, self.spectra, len(self.into)), features[:, bands:]

    def features(self, clips: Tensor) -> tuple[Tensor, Tensor]:
        """Return the features of clips, and their power in mel bands, [batch, spectra, mel bands].

        Each clip counts as being so loud that its loudest mel band has power 1: velocity is what makes hits soft.
        """
        faded = clips * self.fade
        padded = F.pad(faded, (self.transform // 2, self.transform // 2 + self.hop))
        pieces = padded.unfold(1, self.transform, self.hop)[:, : self.spectra]
        parts = torch.view_as_real(torch.fft.rfft(pieces * self.window))
        power = (parts * parts).sum(-1)
        mel = power @ self.mel
        loudest = mel.amax((1, 2), keepdim=True).clamp_min(LEAST)
        bands = _logarithm(power @ self.into.T / loudest)
        levels = _logarithm(faded.view(-1, self.points, self.part).square().mean(2) / loudest[:, 0])
        return torch.cat([_bounded(bands, (1, 2)).flatten(1), _bounded(levels, (1,))], 1), mel / loudest

    def reconstruction(self, clips: Tensor, labels: Tensor, generator: torch.Generator) -> dict[str, Tensor]:
        """Return how far decoded clips are from those encoded, and their codes from a normal distribution.

        Args:
            clips: [batch, frame_length].
            labels: the numbers of their labels, [batch].
            generator: on the CPU; all that is random here comes from it.
        """
        features, mel = self.features(clips)
        inner = self._components(features)
        codes = self.encoder(inner)
        noise = torch.randn(codes.shape, generator=generator).to(codes) * self.settings.noise
        told = F.one_hot(labels, len(self.settings.words)).to(codes) if self.settings.words else None
        bands, levels = self.parts(self.decoded(codes + noise, told))
        true_bands, true_levels = self.parts(features)
        terms = {
            "mel": _apart(self._mel_decibels(bands), 10 * torch.log10(mel + 1e-9)),
            "spectrum": _apart(DECIBELS * bands, DECIBELS * true_bands),
            "loudness": 0.5 * _apart(DECIBELS * levels, DECIBELS * true_levels)
            + 0.5 * _apart(self._pooled(levels), self._pooled(true_levels)),
            "distribution": self._distribution(codes, labels, generator),
        }
        random = torch.randn(codes.shape, generator=generator).to(codes)
        made = self.decoded(random, told)
        terms["likeness"] = self._likeness(self.parts(made)[0], mel, generator)
        if self.listener is not None:
            terms["label"] = F.cross_entropy(self.listener(inner), labels)
            terms["obedience"] = self._obedience(made, labels)
        return terms

    def _likeness(self, bands: Tensor, mel: Tensor, generator: torch.Generator) -> Tensor:
        """Return how far the spread of random clips' levels in mel bands is from that of the batch's, in dB.

        It is the sliced Wasserstein distance of spectra that sound, each clip as loud as any.
        """
        heard = [_sounding(self._mel_decibels(bands)), _sounding(10 * torch.log10(mel + 1e-9))]
        count = min(*map(len, heard), MOST_SPECTRA)
        directions = F.normalize(torch.randn(mel.shape[2], PROJECTIONS, generator=generator), dim=0).to(mel)
        seen = [part[torch.randperm(len(part), generator=generator)[:count]] @ directions for part in heard]
        apart = seen[0].sort(0).values - seen[1].sort(0).values
        return (apart.square().mean() + 1e-6).sqrt()

    def _obedience(self, features: Tensor, asked: Tensor) -> Tensor:
        """Return how far clips are from being taken for the labels asked for, by a listener that stays as it is."""
        as_it_is = {name: value.detach() for name, value in self.named_parameters()}
        inner = F.linear(features - self.middle, as_it_is["inner.weight"], as_it_is["inner.bias"])
        prefix = "listener."
        ears = {name.removeprefix(prefix): value for name, value in as_it_is.items() if name.startswith(prefix)}
        assert self.listener is not None
        heard: Tensor = functional_call(self.listener, ears, (inner,))
        return F.cross_entropy(heard, asked)

    def _components(self, features: Tensor) -> Tensor:
        components: Tensor = self.inner(features - self.middle)
        return components

    def _pooled(self, levels: Tensor) -> Tensor:
        """Return levels of `POOLED` parts together, in dB: what is heard as loudness from moment to moment."""
        power = F.avg_pool1d(torch.exp(2 * levels)[:, None], POOLED, 1)[:, 0]
        return DECIBELS * _logarithm(power)

    def _mel_decibels(self, bands: Tensor) -> Tensor:
        return 10 * torch.log10(torch.exp(2 * bands) @ (self.out_of @ self.mel) + 1e-9)

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


def _logarithm(power: Tensor) -> Tensor:
    """Nepers of power. What is exported loses the addition of so small a number, but not this bound."""
    return 0.5 * torch.log(power.clamp_min(LEAST))


def _bounded(levels: Tensor, axes: tuple[int, ...]) -> Tensor:
    return torch.maximum(levels, levels.amax(axes, keepdim=True) - RANGE)


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


def _tables(rate: int, transform: int, length: int) -> dict[str, Tensor]:
    """Return what is constant: bins into bands and out of them, mel bands, the window, and a fade at a clip's end."""
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
