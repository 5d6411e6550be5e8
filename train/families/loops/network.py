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
NEPERS_PER_DB = math.log(10) / 20
DECAY_NEPERS = 40 * NEPERS_PER_DB  # per step: decay of a slice that continues because the next one is late


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
        gains = (db_per_octave * NEPERS_PER_DB)[:, None] * self.slope
        tilted_bands = bands + gains.repeat_interleave(raw.shape[1], 0)[:, None]
        untilted_power, tilted_power = ((2 * part).exp() @ self.bins for part in (bands, tilted_bands))
        rise = 0.5 * torch.log(tilted_power.clamp_min(LEAST) / untilted_power.clamp_min(LEAST))
        rise = F.interpolate(rise[:, None], self.points, mode="linear", align_corners=True)[:, 0]
        tilted = torch.cat([tilted_bands.flatten(1), levels + rise], 1).view(raw.shape)
        powers = [(2 * part).exp().view(len(raw), -1).sum(1) for part in (levels, levels + rise)]
        makeup_gain = 0.5 * torch.log(powers[0] / powers[1])
        return tilted + makeup_gain[:, None, None]

    def rises(self, features: Tensor) -> Tensor:
        """Return slices' level increase, the mean over bands in nepers, [slices]."""
        bands, _ = self.parts(self.bounded(features))
        rises: Tensor = bands.diff(dim=1).clamp_min(0).sum(1).mean(1)
        return rises

    def delayed(self, features: Tensor, previous: Tensor, steps: Tensor) -> Tensor:
        """Delay features [slices, width] by a fraction of a step, [slices, 1], while slices ``previous`` decay."""
        spectra_per_step = self.length // self.hop - 1
        (bands, levels), (previous_bands, previous_levels) = self.parts(features), self.parts(previous)
        parts_per_step = spectra_per_step * self.hop // self.part
        return torch.cat(
            [
                _delay_rows(bands, previous_bands, steps, spectra_per_step).flatten(1),
                _delay_rows(levels[..., None], previous_levels[..., None], steps, parts_per_step)[..., 0],
            ],
            1,
        )

    def frames(self, features: Tensor) -> Tensor:
        """Return frames of domain magnitude; silence is zero."""
        bands, levels = self.parts(features)
        band_floor, level_floor = (self.loudest - RANGE).unbind()
        nepers = [(bands @ self.out_of).flatten(1), levels]
        magnitudes = [
            _magnitudes_above(part, floor, top)
            for part, floor, top in zip(nepers, (band_floor, level_floor), self.loudest, strict=True)
        ]
        return torch.cat(magnitudes, 1)


def octaves(hertz: npt.NDArray[np.floating[Any]]) -> npt.NDArray[np.float64]:
    """Return clamped octaves from the tilt's pivot."""
    clipped: npt.NDArray[np.float64] = np.clip(np.log2(np.maximum(hertz, 1.0) / PIVOT_HZ), *OCTAVES)
    return clipped


def _delay_rows(rows: Tensor, previous: Tensor, steps: Tensor, rows_per_step: int) -> Tensor:
    # Fractional delays interpolate linearly. Weights that miss the first row belong to the end of the previous slice.
    count = rows.shape[1]
    positions = torch.arange(count, device=rows.device)
    weights = (1 - (positions[:, None] - (steps * rows_per_step)[..., None] - positions).abs()).clamp_min(0)
    source_rows = (positions + rows_per_step).clamp_max(count - 1)
    decay = (positions + rows_per_step - source_rows) * (DECAY_NEPERS / rows_per_step)
    return weights @ rows + (1 - weights.sum(2, keepdim=True)) * (previous[:, source_rows] - decay[:, None])


def _magnitudes_above(nepers: Tensor, floor: Tensor, top: Tensor) -> Tensor:
    power = torch.exp(2 * torch.minimum(nepers, top + HIGHEST)) - torch.exp(2 * floor)
    return power.clamp_min(0).sqrt()


FIT_SLICES = 1 << 13  # slices for the principal components and prototypes
LOUDNESS = 3.0  # weight of loudness relative to its share of the features, as for clips
LARGEST_NORM = 1.0  # of gradients
TARGET_VARIANCE = 2.0  # of a code, within which prototypes are equally good targets
STEERING_UNITS = 64  # hidden units of the steering encoder
BENDER_UNITS = 256  # hidden units of the slice bender
# Polynomial that maps normal noise to Gumbel noise for sampling from log-odds (Gumbel, 1954): -log(-log(CDF)), within
# .06 from -3 to 4 up to a constant, and monotone.
GUMBEL = (1.15869, 0.2193, 0.02814)
KMEANS_ITERATIONS = 25
HIT_BIAS_NATS = 1.5  # per deviation of hit strength and per deviation of loop density
MAX_OFFBEAT_DELAY = 0.4  # of a step: later onsets are not late off-beats
TIMING_DEVIATION = 0.12  # of off-beat delays in training, in steps: an error of this size counts 1


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
        input_width = n + 2 * (self.bar // 2) + latents
        self.memory = nn.LSTM(input_width, size, batch_first=True)
        self.dropped = nn.Dropout(self.settings.dropout)
        self.chances = nn.Linear(size, self.settings.prototypes)
        self.bender = nn.Sequential(
            nn.Linear(size + n + latents, BENDER_UNITS), nn.LeakyReLU(0.1), nn.Linear(BENDER_UNITS, n)
        )
        self.steering = nn.Sequential(
            nn.Linear(n, STEERING_UNITS), nn.LeakyReLU(0.1), nn.Linear(STEERING_UNITS, latents)
        )
        self.timing = nn.Linear(latents, 1)
        self.density = nn.Linear(latents, 1)
        self.vague = nn.Parameter(torch.full((latents,), -2.0))  # log variances of the steering codes

    @torch.no_grad()
    def initialise(self, data: Data) -> None:
        numbers = np.random.default_rng(0).permutation(len(data))[: FIT_SLICES // self.bar]
        target_raw, steering_raw, _, tilts, _, density = (
            sequences.to(self.middle) for sequences in data.batch(numbers, np.random.default_rng(0))
        )
        bars = target_raw[:, : self.bar]  # each bar once: every sequence begins with one
        raw = bars.flatten(0, 1)
        self.features.learn(raw)
        self.usual.copy_(torch.stack([density.mean(), density.std(correction=0).clamp_min(1e-3)]))
        tilted_rows = [
            self.features.tilted(sequences[:, : self.bar], tilts[:, 0]).flatten(0, 1)
            for sequences in (target_raw, steering_raw)
        ]
        rows = self.features.bounded(torch.cat(tilted_rows))
        self.middle.copy_(rows.mean(0))
        self.counts.fill_(1.0)
        self.counts[-self.features.points :] = LOUDNESS
        weighted_rows = (rows - self.middle) * self.counts
        torch.manual_seed(0)
        rank = min(self.settings.components, *rows.shape)
        self.axes.zero_()
        self.axes[:rank] = torch.svd_lowrank(weighted_rows, q=rank, niter=4)[2].T
        self.scale.copy_((weighted_rows @ self.axes.T).std(0).square().mean().sqrt().clamp_min(1e-6))
        codes = self.coded(raw)  # prototypes stay untilted: the bender applies tilts
        self.prototypes.copy_(medoids(codes, self.settings.prototypes))
        rises = self.features.rises(self.decoded(self.prototypes))
        self.hits.copy_((rises - rises.mean()) / rises.std().clamp_min(1e-6))
        self.spread.copy_((codes - self.prototypes[self.nearest_prototypes(codes)]).square().mean().clamp_min(1e-4))

    def coded(self, raw: Tensor) -> Tensor:
        return ((self.features.bounded(raw) - self.middle) * self.counts) @ self.axes.T / self.scale

    def decoded(self, codes: Tensor) -> Tensor:
        return codes * self.scale @ self.axes / self.counts + self.middle

    def nearest_prototypes(self, codes: Tensor) -> Tensor:
        return torch.cdist(codes.flatten(0, -2), self.prototypes).argmin(1).view(codes.shape[:-1])

    def steering_codes(self, codes: Tensor) -> Tensor:
        steering: Tensor = self.steering(codes)
        return steering

    def encode(self, *inputs: Tensor) -> Tensor:
        return self.steering_codes(self.coded(inputs[0].to(self.middle))).mean(1)

    def reconstruction(
        self,
        target_raw: Tensor,
        steering_raw: Tensor,
        previous: Tensor,
        tilts: Tensor,
        late: Tensor,
        density: Tensor,
        generator: torch.Generator,
    ) -> dict[str, Tensor]:
        """Return the loss terms, in the units of `LoopLoss`.

        Args:
            target_raw: raw features of the targets, in straight timing.
            steering_raw: raw features behind the steering codes.
            previous: raw features of the previous slices.
            tilts: in dB an octave, [batch, 2]: of ``target_raw`` and ``steering_raw``, and of ``previous``.
            late: off-beat delay of ``steering_raw``, in steps, [batch]; NaN without off-beats.
            density: of ``steering_raw``, in onsets a beat, [batch].
        """
        target_raw, steering_raw, previous = (raw.to(self.middle) for raw in (target_raw, steering_raw, previous))
        distances = torch.cdist(self.coded(target_raw), self.prototypes).square()
        codes, steering_slices, previous_codes = (
            self.coded(self.features.tilted(raw, tilts[:, column]))
            for raw, column in ((target_raw, 0), (steering_raw, 0), (previous, 1))
        )
        batch, steps, _ = codes.shape
        target_indices = distances.argmin(2)
        target_probabilities = torch.softmax(-distances / (2 * TARGET_VARIANCE), 2)
        means = self.steering_codes(steering_slices).mean(1)
        steering = means + randn_examples(*means.shape, generator=generator).to(means) * torch.exp(self.vague / 2)
        bar_phase = (torch.arange(steps) % self.bar / self.bar).to(codes).expand(batch, -1)
        previous = F.pad(previous_codes, (0, 0, 1, 0))[:, :-1]
        if self.training:
            previous = self._disturb_inputs(previous, bar_phase, steering, generator)
        hidden, _ = self.remembered(previous, bar_phase, steering)
        with seeded_dropout(generator, hidden.device):
            hidden = self.dropped(hidden)
        bend_error = (codes - self.bent(hidden, target_indices, steering)).square().mean() / self.spread
        divergence = 0.5 * (means.square() + self.vague.exp() - 1 - self.vague).sum(1)
        return {
            "choice": F.cross_entropy(self.chances(hidden).flatten(0, 1), target_probabilities.flatten(0, 1)),
            "bend": bend_error,
            "timing": self._timing_error(steering, late),
            "density": ((density - self.usual[0]) / self.usual[1] - self.density(steering)[:, 0]).square().mean(),
            "distribution": divergence.mean() / steps,
        }

    def remembered(
        self, previous: Tensor, bar_phase: Tensor, steering: Tensor, state: tuple[Tensor, Tensor] | None = None
    ) -> tuple[Tensor, tuple[Tensor, Tensor]]:
        """Return the LSTM's outputs, [batch, steps, size], and final state, two of [1, batch, size], initially zero.

        ``previous`` are previous codes, zeros before the first. ``bar_phase`` is the position in the bar, 0 to 1,
        [batch, steps].
        """
        lstm_inputs = [
            previous,
            harmonics(bar_phase, self.bar // 2),
            steering[:, None].expand(-1, previous.shape[1], -1),
        ]
        hidden, state = self.memory(torch.cat(lstm_inputs, 2), state)
        return hidden, state

    def bent(self, hidden: Tensor, indices: Tensor, steering: Tensor) -> Tensor:
        """Adapt chosen slices to the LSTM's output and steering codes [batch, latents].

        ``hidden`` and ``indices`` are [batch, ..] or [batch, steps, ..].
        """
        slices = self.prototypes[indices]
        if hidden.ndim > steering.ndim:
            steering = steering[:, None].expand(-1, hidden.shape[1], -1)
        adapted: Tensor = slices + self.bender(torch.cat([hidden, slices, steering], -1))
        return adapted

    def late(self, steering: Tensor) -> Tensor:
        """Return the off-beat delay in steps, [.., 1]."""
        delay_steps: Tensor = self.timing(steering)
        return delay_steps.clamp(0.0, MAX_OFFBEAT_DELAY)

    def sample_prototypes(self, hidden: Tensor, noise: Tensor, steering: Tensor) -> Tensor:
        """Sample prototype indices with normal noise [.., prototypes] of deviation 1.

        Codes [batch, latents] of dense loops favour hits.
        """
        first, second, third = GUMBEL
        hit_bias = HIT_BIAS_NATS * self.density(steering)
        if hidden.ndim > steering.ndim:
            hit_bias = hit_bias[:, None]
        logits = self.chances(hidden) + hit_bias * self.hits + noise * (first + noise * (second + noise * third))
        indices: Tensor = logits.argmax(-1)
        return indices

    @torch.no_grad()
    def continued(
        self, seed: Tensor, steering: Tensor, count: int, heat: float, generator: torch.Generator | None = None
    ) -> Tensor:
        """Return the codes of ``count`` slices that follow a seed, [batch, count, components].

        Args:
            seed: [batch, steps, components], from the start of a bar; steps may be 0.
            heat: 0 chooses the likeliest slices, 1 samples with learned probabilities.
        """
        previous, state, continuation = F.pad(seed, (0, 0, 1, 0)), None, list[Tensor]()
        for step in range(seed.shape[1], seed.shape[1] + count):
            bar_phases = torch.arange(step + 1 - previous.shape[1], step + 1).to(seed) % self.bar / self.bar
            hidden, state = self.remembered(previous, bar_phases.expand(len(seed), -1), steering, state)
            noise = heat * torch.randn(len(seed), len(self.prototypes), generator=generator).to(seed)
            previous = self.bent(hidden[:, -1], self.sample_prototypes(hidden[:, -1], noise, steering), steering)[
                :, None
            ]
            continuation.append(previous)
        return torch.cat(continuation, 1)

    def _timing_error(self, steering: Tensor, late: Tensor) -> Tensor:
        has_offbeats = ~late.isnan()
        errors = (self.timing(steering)[:, 0] - late.nan_to_num()) * has_offbeats / TIMING_DEVIATION
        mean_square: Tensor = errors.square().sum() / has_offbeats.sum().clamp_min(1)
        return mean_square

    def _disturb_inputs(
        self, previous: Tensor, bar_phase: Tensor, steering: Tensor, generator: torch.Generator
    ) -> Tensor:
        uniform = rand_examples(*previous.shape[:2], 1, generator=generator).to(previous)
        with torch.no_grad():
            hidden, _ = self.remembered(previous, bar_phase, steering)
            noise = randn_examples(*previous.shape[:2], len(self.prototypes), generator=generator).to(previous)
            predicted = F.pad(
                self.bent(hidden, self.sample_prototypes(hidden, noise, steering), steering), (0, 0, 1, 0)
            )[:, :-1]
        previous = torch.where(uniform < self.settings.own, predicted, previous)
        return torch.where(uniform > 1 - self.settings.forgotten, torch.zeros_like(previous), previous)


def medoids(codes: Tensor, count: int) -> Tensor:
    """Return the codes nearest to the centres of ``count`` clusters.

    Arthur and Vassilvitskii, "k-means++", SODA 2007; Lloyd, IEEE Transactions on Information Theory 28:2, 1982.
    """
    generator = torch.Generator().manual_seed(0)
    centres = codes[torch.randint(len(codes), (1,), generator=generator)]
    nearest = torch.cdist(codes, centres)[:, 0].square()
    while len(centres) < count:
        index = torch.multinomial(nearest.cpu() + 1e-9, 1, generator=generator)
        centres = torch.cat([centres, codes[index]])
        nearest = torch.minimum(nearest, torch.cdist(codes, centres[-1:])[:, 0].square())
    for _ in range(KMEANS_ITERATIONS):
        memberships = F.one_hot(torch.cdist(codes, centres).argmin(1), count).to(codes)
        sizes = memberships.sum(0)[:, None]
        centres = torch.where(sizes > 0, memberships.T @ codes / sizes.clamp_min(1), centres)
    return codes[torch.cdist(centres, codes).argmin(1)]


def harmonics(bar_phase: Tensor, count: int) -> Tensor:
    """Return cosines and sines of ``count`` multiples, [.., 2 * count]."""
    angles = 2 * math.pi * bar_phase[..., None] * torch.arange(1, count + 1, device=bar_phase.device)
    return torch.cat([angles.cos(), angles.sin()], -1)
