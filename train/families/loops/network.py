"""A network that plays on in the manner of loops: slice by slice, in time, without end.

A slice of a loop is a step of its grid, given by the first principal components of its spectra and of its loudness,
which is its code. A memory (Hochreiter and Schmidhuber, "Long short-term memory", Neural Computation 9:8, 1997) is told
the slice before, the place in the bar and a small code that steers it. What follows is not predicted as a mean, which
of a kick and of silence would be neither: the memory says how likely each of some hundred slices is that were learned,
as a codebook has them (van den Oord et al., "Neural Discrete Representation Learning", NeurIPS 2017); one is chosen,
and bent to what it follows. So whatever is played lies near what was heard, after ten minutes too.
"""

import math

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ...data import Data
from ...network import SHARED, Adam, Autoencoder
from .features import SliceFeatures
from .recipe import LoopRecipe

MOST = 1 << 13  # slices of which principal components and prototypes are taken
LOUDNESS = 3.0  # times as much as its share in the features, as of clips
LARGEST_NORM = 1.0  # of gradients
SOFT = 2.0  # variance of a code within which prototypes are as good as another: between two, both are right
HEARD = 64  # hidden numbers of what a steering code is found by
BENT = 256  # and of what bends a slice
# What, added to logarithms, draws by chance (Gumbel, 1954), of a normal number: -log(-log of its share) within .06 from
# -3 to 4, but for a constant; it rises everywhere.
GUMBEL = (1.15869, 0.2193, 0.02814)
TURNS = 25  # of k-means
FAVOUR = 1.5  # nats, for a slice that is a deviation more of a hit than others, in loops a deviation denser
LATEST = 0.4  # of a step: what comes later is no late off-beat
DEVIATION = 0.12  # of how late off-beats come in training, in steps: so large an error counts 1


class LoopNetwork(Autoencoder):
    """Memory, codebook and steering of loops.

    Shapes: raw features [batch, steps, width] as `SliceFeatures.raw` gives them; codes of slices [.., components];
    steering codes [batch, latents].
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
        self.register_buffer("usual", torch.tensor([0.0, 1.0]))  # mean and deviation of densities, onsets a beat
        self.register_buffer("hits", torch.zeros(self.settings.prototypes))  # how much of a hit each one is
        told = n + 2 * (self.bar // 2) + latents
        self.memory = nn.LSTM(told, size, batch_first=True)
        self.dropped = nn.Dropout(self.settings.dropout)
        self.chances = nn.Linear(size, self.settings.prototypes)
        self.bender = nn.Sequential(nn.Linear(size + n + latents, BENT), nn.LeakyReLU(0.1), nn.Linear(BENT, n))
        self.steering = nn.Sequential(nn.Linear(n, HEARD), nn.LeakyReLU(0.1), nn.Linear(HEARD, latents))
        self.timing = nn.Linear(latents, 1)
        self.density = nn.Linear(latents, 1)
        self.vague = nn.Parameter(torch.full((latents,), -2.0))  # logarithms of variances of those codes

    @torch.no_grad()
    def begin(self, data: Data) -> None:
        """Take principal components of training slices, and the slices to choose from: the middles of clusters."""
        numbers = np.random.default_rng(0).permutation(len(data))[: MOST // self.bar]
        told, heard, _, tilts, _, density = (
            part.to(self.middle) for part in data.batch(numbers, np.random.default_rng(0))
        )
        bars = told[:, : self.bar]  # each once: sequences begin with them
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
        codes = self.coded(raw)  # what is chosen is not tilted: that is how it is bent
        self.prototypes.copy_(medoids(codes, self.settings.prototypes))
        rises = self.features.rises(self.decoded(self.prototypes))
        self.hits.copy_((rises - rises.mean()) / rises.std().clamp_min(1e-6))
        self.spread.copy_((codes - self.prototypes[self.chosen(codes)]).square().mean().clamp_min(1e-4))

    def coded(self, raw: Tensor) -> Tensor:
        """Return the codes of slices."""
        return ((self.features.bounded(raw) - self.middle) * self.counts) @ self.axes.T / self.scale

    def decoded(self, codes: Tensor) -> Tensor:
        """Return the features of codes [slices, components], [slices, width]."""
        return codes * self.scale @ self.axes / self.counts + self.middle

    def chosen(self, codes: Tensor) -> Tensor:
        """Return the number of the prototype that is nearest to each code."""
        return torch.cdist(codes.flatten(0, -2), self.prototypes).argmin(1).view(codes.shape[:-1])

    def heard(self, codes: Tensor) -> Tensor:
        """Return what each slice says of the steering code, [.., latents]; that of a loop is the mean of its slices."""
        found: Tensor = self.steering(codes)
        return found

    def encode(self, *inputs: Tensor) -> Tensor:
        """Return the steering codes of loops, by their raw features."""
        return self.heard(self.coded(inputs[0].to(self.middle))).mean(1)

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
        """Return how unlikely what follows is held, how far bent slices are from it, and what steering tells.

        The first and the last are nats a step; the bend is 1 where slices are left as they were chosen, and timing and
        density are 1 where codes do not tell of them.

        Args:
            told: raw features of sequences, which are straight.
            heard: those that tell the steering code.
            fed: those that the memory hears in place of what was before.
            tilts: of what is told and heard, and of what is fed, in dB an octave, [batch, 2].
            late: how late off-beats are that are heard, in steps, [batch]; NaN where there are none.
            density: of what is told, in onsets a beat, [batch].
            generator: on the CPU.
        """
        told, heard, fed = (raw.to(self.middle) for raw in (told, heard, fed))
        apart = torch.cdist(self.coded(told), self.prototypes).square()
        codes, steering, before = (
            self.coded(self.features.tilted(raw, tilts[:, side])) for raw, side in ((told, 0), (heard, 0), (fed, 1))
        )
        batch, steps, _ = codes.shape
        target = apart.argmin(2)
        likely = torch.softmax(-apart / (2 * SOFT), 2)
        means = self.heard(steering).mean(1)
        steered = means + torch.randn(means.shape, generator=generator).to(means) * torch.exp(self.vague / 2)
        place = (torch.arange(steps) % self.bar / self.bar).to(codes).expand(batch, -1)
        fed = F.pad(before, (0, 0, 1, 0))[:, :-1]
        if self.training:
            fed = self._disturbed(fed, place, steered, generator)
        after, _ = self.remembered(fed, place, steered)
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
        """Return what the memory gives for slices that were before, [batch, steps, size], and its state after them.

        Args:
            fed: codes of the slices before, zeros before a beginning.
            place: in the bar of each slice that is to follow, [batch, steps], from 0 to 1.
            steered: steering codes.
            state: as the memory was, two of [1, batch, size]; at rest if None.
        """
        told = [fed, harmonics(place, self.bar // 2), steered[:, None].expand(-1, fed.shape[1], -1)]
        given, state = self.memory(torch.cat(told, 2), state)
        return given, state

    def bent(self, after: Tensor, target: Tensor, steered: Tensor) -> Tensor:
        """Return the codes of chosen slices, as what the memory gives bends them, and steering codes [batch, latents].

        Of ``after`` and ``target``, the first axis is the batch, and there may be one of steps.
        """
        slices = self.prototypes[target]
        if after.ndim > steered.ndim:
            steered = steered[:, None].expand(-1, after.shape[1], -1)
        moved: Tensor = slices + self.bender(torch.cat([after, slices, steered], -1))
        return moved

    def late(self, steered: Tensor) -> Tensor:
        """Return how late off-beats come by steering codes, in steps, [.., 1]."""
        said: Tensor = self.timing(steered)
        return said.clamp(0.0, LATEST)

    def drawn(self, after: Tensor, noise: Tensor, steered: Tensor) -> Tensor:
        """Return the numbers of slices that are chosen; noise [.., prototypes] of deviation 1 draws by chance.

        Steering codes [batch, latents] of dense loops favour hits, and others what goes on: noise would drown what the
        memory makes of them.
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
            seed: codes of its slices, [batch, steps, components], the first at a bar's beginning; there may be none.
            steered: steering codes.
            count: how many slices are to follow.
            heat: 0 chooses what is likeliest, always; 1 as often as it was learned.
            generator: on the CPU.
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
        """Return how wrong codes are about how late off-beats come, a mean over those that have some."""
        known = ~late.isnan()
        errors = (self.timing(steered)[:, 0] - late.nan_to_num()) * known / DEVIATION
        wrong: Tensor = errors.square().sum() / known.sum().clamp_min(1)
        return wrong

    def _disturbed(self, fed: Tensor, place: Tensor, steered: Tensor, generator: torch.Generator) -> Tensor:
        """Return what is fed, of which some are the network's own choices, and some nothing.

        (Duckworth et al., "Parallel scheduled sampling", 2019.)
        """
        chance = torch.rand(*fed.shape[:2], 1, generator=generator).to(fed)
        with torch.no_grad():
            after, _ = self.remembered(fed, place, steered)
            noise = torch.randn(*fed.shape[:2], len(self.prototypes), generator=generator).to(fed)
            own = F.pad(self.bent(after, self.drawn(after, noise, steered), steered), (0, 0, 1, 0))[:, :-1]
        fed = torch.where(chance < self.settings.own, own, fed)
        return torch.where(chance > 1 - self.settings.forgotten, torch.zeros_like(fed), fed)


def medoids(codes: Tensor, count: int) -> Tensor:
    """Return the codes that lie nearest to the middles of ``count`` clusters of codes.

    (Arthur and Vassilvitskii, "k-means++", SODA 2007; Lloyd, IEEE Transactions on Information Theory 28:2, 1982.)
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
    """Return cosines and sines of ``count`` multiples of places, [.., 2 * count]: any pattern of as many steps."""
    angles = 2 * math.pi * place[..., None] * torch.arange(1, count + 1, device=place.device)
    return torch.cat([angles.cos(), angles.sin()], -1)
