"""Loop continuation network: an LSTM that chooses and adapts learned loop slices, step by step.

A slice is one grid step, its code the first principal components of its spectra and loudness. The LSTM (Hochreiter and
Schmidhuber, Neural Computation 9:8, 1997) reads the previous slice, the place in the bar and a steering code. It
predicts a distribution over a codebook (van den Oord et al., NeurIPS 2017): a mean would blur a kick with silence.
"""

import math
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ...data import Data
from ...network import SHARED, Adam, Autoencoder, seeded_dropout
from ...shared_random import rand_examples, randn_examples
from ..clip.features import HIGHEST, LEAST, RANGE, ClipFeatures, logarithm
from .recipe import LoopRecipe

OCTAVES = (-4.0, 3.5)  # around the pivot of tilts: gains are constant beyond
PIVOT_HZ = 1000.0
NEPERS = math.log(10) / 20  # per decibel
FALL = 40 * NEPERS  # per step: decay of a slice that continues because the next one is late


class SliceFeatures(ClipFeatures):
    """Log amplitudes of slices.

    ``loudest`` are training maxima of bands and parts, in nepers; 80 dB below is silence.
    """

    loudest: Tensor
    slope: Tensor
    bins: Tensor

    def __init__(self, sample_rate: int, length: int) -> None:
        super().__init__(sample_rate, length)
        self.register_buffer("loudest", torch.zeros(2))
        self.fade.fill_(1.0)  # a slice continues in the next
        hertz = self.into.argmax(1).numpy() * sample_rate / self.transform
        self.register_buffer("slope", torch.from_numpy(octaves(hertz)).float(), persistent=False)
        self.register_buffer("bins", self.out_of.sum(1), persistent=False)

    def raw(self, slices: Tensor) -> Tensor:
        """Return features of slices [slices, length], in nepers re full scale, [slices, width]."""
        power, _, parts = self.powers(slices)
        return torch.cat([logarithm(power).flatten(1), logarithm(parts)], 1)

    def learn(self, raw: Tensor) -> None:
        self.loudest.copy_(torch.stack([part.amax() for part in self.parts(raw)]))

    def bounded(self, raw: Tensor) -> Tensor:
        return torch.maximum(raw, self.silence())

    def silence(self) -> Tensor:
        bands, levels = (self.loudest - RANGE).unbind()
        return torch.cat([bands.expand(self.spectra * self.bands), levels.expand(self.points)])

    def tilted(self, raw: Tensor, db_per_octave: Tensor) -> Tensor:
        """Tilt spectra of [batch, steps, width] at unchanged loudness; ``db_per_octave`` is [batch]."""
        bands, levels = self.parts(raw.flatten(0, 1))
        gains = (db_per_octave * NEPERS)[:, None] * self.slope
        more = bands + gains.repeat_interleave(raw.shape[1], 0)[:, None]
        before, after = ((2 * part).exp() @ self.bins for part in (bands, more))
        rise = 0.5 * torch.log(after.clamp_min(LEAST) / before.clamp_min(LEAST))
        rise = F.interpolate(rise[:, None], self.points, mode="linear", align_corners=True)[:, 0]
        made = torch.cat([more.flatten(1), levels + rise], 1).view(raw.shape)
        power = [(2 * part).exp().view(len(raw), -1).sum(1) for part in (levels, levels + rise)]
        louder = 0.5 * torch.log(power[0] / power[1])
        return made + louder[:, None, None]

    def rises(self, features: Tensor) -> Tensor:
        """Return slices' level increase, the mean over bands in nepers, [slices]."""
        bands, _ = self.parts(self.bounded(features))
        rises: Tensor = bands.diff(dim=1).clamp_min(0).sum(1).mean(1)
        return rises

    def delayed(self, features: Tensor, before: Tensor, steps: Tensor) -> Tensor:
        """Delay features [slices, width] by a fraction of a step, [slices, 1], while slices ``before`` decay."""
        a_step = self.length // self.hop - 1
        (bands, levels), (bands_before, levels_before) = self.parts(features), self.parts(before)
        a_part = a_step * self.hop // self.part
        return torch.cat(
            [
                _later(bands, bands_before, steps, a_step).flatten(1),
                _later(levels[..., None], levels_before[..., None], steps, a_part)[..., 0],
            ],
            1,
        )

    def frames(self, features: Tensor) -> Tensor:
        """Return frames of domain magnitude; silence is zero."""
        bands, levels = self.parts(features)
        silent, quiet = (self.loudest - RANGE).unbind()
        nepers = [(bands @ self.out_of).flatten(1), levels]
        heard = [
            _over(part, floor, top) for part, floor, top in zip(nepers, (silent, quiet), self.loudest, strict=True)
        ]
        return torch.cat(heard, 1)


def octaves(hertz: npt.NDArray[np.floating[Any]]) -> npt.NDArray[np.float64]:
    """Return clamped octaves from the tilt's pivot."""
    found: npt.NDArray[np.float64] = np.clip(np.log2(np.maximum(hertz, 1.0) / PIVOT_HZ), *OCTAVES)
    return found


def _later(rows: Tensor, before: Tensor, steps: Tensor, step: int) -> Tensor:
    count = rows.shape[1]
    places = torch.arange(count, device=rows.device)
    own = (1 - (places[:, None] - (steps * step)[..., None] - places).abs()).clamp_min(0)
    held = (places + step).clamp_max(count - 1)
    falling = (places + step - held) * (FALL / step)
    return own @ rows + (1 - own.sum(2, keepdim=True)) * (before[:, held] - falling[:, None])


def _over(nepers: Tensor, floor: Tensor, top: Tensor) -> Tensor:
    power = torch.exp(2 * torch.minimum(nepers, top + HIGHEST)) - torch.exp(2 * floor)
    return power.clamp_min(0).sqrt()


MOST = 1 << 13  # slices for the principal components and prototypes
LOUDNESS = 3.0  # weight of loudness relative to its share of the features, as for clips
LARGEST_NORM = 1.0  # of gradients
SOFT = 2.0  # variance of a code within which prototypes are equally good targets
HEARD = 64  # hidden units of the steering encoder
BENT = 256  # hidden units of the slice bender
# Polynomial that maps normal noise to Gumbel noise for sampling from log-odds (Gumbel, 1954): -log(-log(CDF)), within
# .06 from -3 to 4 up to a constant, and monotone.
GUMBEL = (1.15869, 0.2193, 0.02814)
TURNS = 25  # k-means iterations
FAVOUR = 1.5  # nats, per deviation of hit strength and per deviation of loop density
LATEST = 0.4  # of a step: later onsets are not late off-beats
DEVIATION = 0.12  # of off-beat delays in training, in steps: an error of this size counts 1


class LoopNetwork(Autoencoder):
    """LSTM, codebook and steering of loops.

    Shapes: raw features [batch, steps, width]; slice codes [.., components]; steering codes [batch, latents].
    """

    optimisers = {SHARED: Adam(largest_norm=LARGEST_NORM)}  # noqa: RUF012
    middle: Tensor
    axes: Tensor
    counts: Tensor
    scale: Tensor
    spread: Tensor
    prototypes: Tensor
    usual: Tensor
    hits: Tensor

    def __init__(self, recipe: LoopRecipe) -> None:
        super().__init__()
        self.settings, self.weights, self.bar = recipe.network, recipe.loss, recipe.frames.bar
        self.features = SliceFeatures(recipe.frames.sample_rate, recipe.frames.frame_length)
        width, n, size = self.features.width, self.settings.components, self.settings.size
        self.register_buffer("middle", torch.zeros(width))
        self.register_buffer("axes", torch.zeros(n, width))
        self.register_buffer("counts", torch.ones(width))
        self.register_buffer("scale", torch.ones(()))
        self.register_buffer("spread", torch.ones(()))  # mean square distance of a slice from its prototype
        self.register_buffer("prototypes", torch.zeros(self.settings.prototypes, n))
        latents = self.settings.latents
        self.register_buffer("usual", torch.tensor([0.0, 1.0]))  # mean and deviation of density, onsets a beat
        self.register_buffer("hits", torch.zeros(self.settings.prototypes))  # hit strength of each prototype
        told = n + 2 * (self.bar // 2) + latents
        self.memory = nn.LSTM(told, size, batch_first=True)
        self.dropped = nn.Dropout(self.settings.dropout)
        self.chances = nn.Linear(size, self.settings.prototypes)
        self.bender = nn.Sequential(nn.Linear(size + n + latents, BENT), nn.LeakyReLU(0.1), nn.Linear(BENT, n))
        self.steering = nn.Sequential(nn.Linear(n, HEARD), nn.LeakyReLU(0.1), nn.Linear(HEARD, latents))
        self.timing = nn.Linear(latents, 1)
        self.density = nn.Linear(latents, 1)
        self.vague = nn.Parameter(torch.full((latents,), -2.0))  # log variances of the steering codes

    @torch.no_grad()
    def initialise(self, data: Data) -> None:
        numbers = np.random.default_rng(0).permutation(len(data))[: MOST // self.bar]
        told, heard, _, tilts, _, density = (
            part.to(self.middle) for part in data.batch(numbers, np.random.default_rng(0))
        )
        bars = told[:, : self.bar]  # each bar once: every sequence begins with one
        raw = bars.flatten(0, 1)
        self.features.learn(raw)
        self.usual.copy_(torch.stack([density.mean(), density.std(correction=0).clamp_min(1e-3)]))
        all_kinds = [self.features.tilted(part[:, : self.bar], tilts[:, 0]).flatten(0, 1) for part in (told, heard)]
        rows = self.features.bounded(torch.cat(all_kinds))
        self.middle.copy_(rows.mean(0))
        self.counts.fill_(1.0)
        self.counts[-self.features.points :] = LOUDNESS
        apart = (rows - self.middle) * self.counts
        torch.manual_seed(0)
        found = min(self.settings.components, *rows.shape)
        self.axes.zero_()
        self.axes[:found] = torch.svd_lowrank(apart, q=found, niter=4)[2].T
        self.scale.copy_((apart @ self.axes.T).std(0).square().mean().sqrt().clamp_min(1e-6))
        codes = self.coded(raw)  # prototypes stay untilted: the bender applies tilts
        self.prototypes.copy_(medoids(codes, self.settings.prototypes))
        rises = self.features.rises(self.decoded(self.prototypes))
        self.hits.copy_((rises - rises.mean()) / rises.std().clamp_min(1e-6))
        self.spread.copy_((codes - self.prototypes[self.chosen(codes)]).square().mean().clamp_min(1e-4))

    def coded(self, raw: Tensor) -> Tensor:
        return ((self.features.bounded(raw) - self.middle) * self.counts) @ self.axes.T / self.scale

    def decoded(self, codes: Tensor) -> Tensor:
        return codes * self.scale @ self.axes / self.counts + self.middle

    def chosen(self, codes: Tensor) -> Tensor:
        return torch.cdist(codes.flatten(0, -2), self.prototypes).argmin(1).view(codes.shape[:-1])

    def steering_codes(self, codes: Tensor) -> Tensor:
        found: Tensor = self.steering(codes)
        return found

    def encode(self, *inputs: Tensor) -> Tensor:
        return self.steering_codes(self.coded(inputs[0].to(self.middle))).mean(1)

    def reconstruction(
        self,
        told: Tensor,
        heard: Tensor,
        fed: Tensor,
        tilts: Tensor,
        late: Tensor,
        density: Tensor,
        generator: torch.Generator,
    ) -> dict[str, Tensor]:
        """Return the loss terms, in the units of `LoopLoss`.

        Args:
            told: raw features of the targets, in straight timing.
            heard: raw features behind the steering codes.
            fed: raw features of the previous slices.
            tilts: in dB an octave, [batch, 2]: of ``told`` and ``heard``, and of ``fed``.
            late: off-beat delay of ``heard``, in steps, [batch]; NaN without off-beats.
            density: of ``heard``, in onsets a beat, [batch].
        """
        told, heard, fed = (raw.to(self.middle) for raw in (told, heard, fed))
        apart = torch.cdist(self.coded(told), self.prototypes).square()
        codes, steering, before = (
            self.coded(self.features.tilted(raw, tilts[:, side])) for raw, side in ((told, 0), (heard, 0), (fed, 1))
        )
        batch, steps, _ = codes.shape
        target = apart.argmin(2)
        likely = torch.softmax(-apart / (2 * SOFT), 2)
        means = self.steering_codes(steering).mean(1)
        steered = means + randn_examples(*means.shape, generator=generator).to(means) * torch.exp(self.vague / 2)
        place = (torch.arange(steps) % self.bar / self.bar).to(codes).expand(batch, -1)
        fed = F.pad(before, (0, 0, 1, 0))[:, :-1]
        if self.training:
            fed = self._disturbed(fed, place, steered, generator)
        after, _ = self.remembered(fed, place, steered)
        with seeded_dropout(generator, after.device):
            after = self.dropped(after)
        left = (codes - self.bent(after, target, steered)).square().mean() / self.spread
        kept = 0.5 * (means.square() + self.vague.exp() - 1 - self.vague).sum(1)
        return {
            "choice": F.cross_entropy(self.chances(after).flatten(0, 1), likely.flatten(0, 1)),
            "bend": left,
            "timing": self._mistimed(steered, late),
            "density": ((density - self.usual[0]) / self.usual[1] - self.density(steered)[:, 0]).square().mean(),
            "distribution": kept.mean() / steps,
        }

    def remembered(
        self, fed: Tensor, place: Tensor, steered: Tensor, state: tuple[Tensor, Tensor] | None = None
    ) -> tuple[Tensor, tuple[Tensor, Tensor]]:
        """Return the LSTM's outputs, [batch, steps, size], and final state, two of [1, batch, size], initially zero.

        ``fed`` are previous codes, zeros before the first; ``place`` is the position in the bar, 0 to 1, [batch,
        steps].
        """
        told = [fed, harmonics(place, self.bar // 2), steered[:, None].expand(-1, fed.shape[1], -1)]
        given, state = self.memory(torch.cat(told, 2), state)
        return given, state

    def bent(self, after: Tensor, target: Tensor, steered: Tensor) -> Tensor:
        """Adapt chosen slices to the LSTM's output and steering codes [batch, latents].

        ``after`` and ``target`` are [batch, ..] or [batch, steps, ..].
        """
        slices = self.prototypes[target]
        if after.ndim > steered.ndim:
            steered = steered[:, None].expand(-1, after.shape[1], -1)
        moved: Tensor = slices + self.bender(torch.cat([after, slices, steered], -1))
        return moved

    def late(self, steered: Tensor) -> Tensor:
        """Return the off-beat delay in steps, [.., 1]."""
        said: Tensor = self.timing(steered)
        return said.clamp(0.0, LATEST)

    def drawn(self, after: Tensor, noise: Tensor, steered: Tensor) -> Tensor:
        """Sample prototype indices with normal noise [.., prototypes] of deviation 1.

        Codes [batch, latents] of dense loops favour hits.
        """
        first, second, third = GUMBEL
        dense = FAVOUR * self.density(steered)
        if after.ndim > steered.ndim:
            dense = dense[:, None]
        chances = self.chances(after) + dense * self.hits + noise * (first + noise * (second + noise * third))
        chosen: Tensor = chances.argmax(-1)
        return chosen

    @torch.no_grad()
    def continued(
        self, seed: Tensor, steered: Tensor, count: int, heat: float, generator: torch.Generator | None = None
    ) -> Tensor:
        """Return the codes of ``count`` slices that follow a seed, [batch, count, components].

        Args:
            seed: [batch, steps, components], from the start of a bar; steps may be 0.
            heat: 0 chooses the likeliest slices, 1 samples with learned probabilities.
        """
        fed, state, found = F.pad(seed, (0, 0, 1, 0)), None, list[Tensor]()
        for step in range(seed.shape[1], seed.shape[1] + count):
            places = torch.arange(step + 1 - fed.shape[1], step + 1).to(seed) % self.bar / self.bar
            after, state = self.remembered(fed, places.expand(len(seed), -1), steered, state)
            noise = heat * torch.randn(len(seed), len(self.prototypes), generator=generator).to(seed)
            fed = self.bent(after[:, -1], self.drawn(after[:, -1], noise, steered), steered)[:, None]
            found.append(fed)
        return torch.cat(found, 1)

    def _mistimed(self, steered: Tensor, late: Tensor) -> Tensor:
        known = ~late.isnan()
        errors = (self.timing(steered)[:, 0] - late.nan_to_num()) * known / DEVIATION
        wrong: Tensor = errors.square().sum() / known.sum().clamp_min(1)
        return wrong

    def _disturbed(self, fed: Tensor, place: Tensor, steered: Tensor, generator: torch.Generator) -> Tensor:
        chance = rand_examples(*fed.shape[:2], 1, generator=generator).to(fed)
        with torch.no_grad():
            after, _ = self.remembered(fed, place, steered)
            noise = randn_examples(*fed.shape[:2], len(self.prototypes), generator=generator).to(fed)
            own = F.pad(self.bent(after, self.drawn(after, noise, steered), steered), (0, 0, 1, 0))[:, :-1]
        fed = torch.where(chance < self.settings.own, own, fed)
        return torch.where(chance > 1 - self.settings.forgotten, torch.zeros_like(fed), fed)


def medoids(codes: Tensor, count: int) -> Tensor:
    """Return the codes nearest to the centres of ``count`` clusters.

    Arthur and Vassilvitskii, "k-means++", SODA 2007; Lloyd, IEEE Transactions on Information Theory 28:2, 1982.
    """
    generator = torch.Generator().manual_seed(0)
    middles = codes[torch.randint(len(codes), (1,), generator=generator)]
    nearest = torch.cdist(codes, middles)[:, 0].square()
    while len(middles) < count:
        drawn = torch.multinomial(nearest.cpu() + 1e-9, 1, generator=generator)
        middles = torch.cat([middles, codes[drawn]])
        nearest = torch.minimum(nearest, torch.cdist(codes, middles[-1:])[:, 0].square())
    for _ in range(TURNS):
        belongs = F.one_hot(torch.cdist(codes, middles).argmin(1), count).to(codes)
        sizes = belongs.sum(0)[:, None]
        middles = torch.where(sizes > 0, belongs.T @ codes / sizes.clamp_min(1), middles)
    return codes[torch.cdist(middles, codes).argmin(1)]


def harmonics(place: Tensor, count: int) -> Tensor:
    """Return cosines and sines of ``count`` multiples, [.., 2 * count]."""
    angles = 2 * math.pi * place[..., None] * torch.arange(1, count + 1, device=place.device)
    return torch.cat([angles.cos(), angles.sin()], -1)
