"""Loop continuation network: an LSTM that chooses and adapts learned loop slices, step by step.

A slice is one grid step, its code the first principal components of its spectra and loudness. The LSTM (Hochreiter and
Schmidhuber, Neural Computation 9:8, 1997) reads the previous slice, the place in the bar and a steering code. It
predicts a distribution over a codebook (van den Oord et al., NeurIPS 2017): a mean would blur a kick with silence.
"""

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ...data import Data
from ...network import SHARED, Adam, Autoencoder, dense, seeded_dropout
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

    def __init__(self, sample_rate: int, length: int) -> None:
        super().__init__(sample_rate, length)
        self.loudest = nn.Buffer(torch.zeros(2))
        self.fade.fill_(1.0)  # a slice continues in the next
        band_hz = self.into.argmax(1).numpy() * sample_rate / self.transform
        self.slope = nn.Buffer(torch.from_numpy(octaves(band_hz)).float(), persistent=False)
        self.bins = nn.Buffer(self.out_of.sum(1), persistent=False)

    def raw(self, slices: Tensor) -> Tensor:
        """Return features of slices [slices, length], in nepers re full scale, [slices, width]."""
        band_powers, _, part_powers = self.powers(slices)
        return torch.cat([logarithm(band_powers).flatten(1), logarithm(part_powers)], 1)

    def learn(self, raw: Tensor) -> None:
        """Learn the loudest band and part of raw features, [slices, width]."""
        self.loudest.copy_(torch.stack([component_nepers.amax() for component_nepers in self.parts(raw)]))

    def bounded(self, raw: Tensor) -> Tensor:
        """Raise raw features to silence, at least."""
        return torch.maximum(raw, self.silence())

    def silence(self) -> Tensor:
        """Return the features of silence, [width]."""
        band_floor, part_floor = (self.loudest - RANGE).unbind()
        return torch.cat([band_floor.expand(self.spectra * self.bands), part_floor.expand(self.points)])

    def tilted(self, raw: Tensor, db_per_octave: Tensor) -> Tensor:
        """Tilt spectra of [batch, steps, width] at unchanged loudness; ``db_per_octave`` is [batch]."""
        bands, levels = self.parts(raw.flatten(0, 1))
        band_gain_nepers = (db_per_octave * NEPERS_PER_DB)[:, None] * self.slope
        tilted_bands = bands + band_gain_nepers.repeat_interleave(raw.shape[1], 0)[:, None]
        untilted_power, tilted_power = ((2 * band_nepers).exp() @ self.bins for band_nepers in (bands, tilted_bands))
        rise_nepers = 0.5 * torch.log(tilted_power.clamp_min(LEAST) / untilted_power.clamp_min(LEAST))
        rise_nepers = F.interpolate(rise_nepers[:, None], self.points, mode="linear", align_corners=True)[:, 0]
        tilted_features = torch.cat([tilted_bands.flatten(1), levels + rise_nepers], 1).view(raw.shape)
        total_powers = [
            (2 * part_nepers).exp().view(len(raw), -1).sum(1) for part_nepers in (levels, levels + rise_nepers)
        ]
        makeup_nepers = 0.5 * torch.log(total_powers[0] / total_powers[1])
        return tilted_features + makeup_nepers[:, None, None]

    def rises(self, features: Tensor) -> Tensor:
        """Return slices' level increase, the mean over bands in nepers, [slices]."""
        bands, _ = self.parts(self.bounded(features))
        return bands.diff(dim=1).clamp_min(0).sum(1).mean(1)

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
        band_floor, part_floor = (self.loudest - RANGE).unbind()
        frame_nepers = [(bands @ self.out_of).flatten(1), levels]
        magnitudes = [
            _magnitudes_above(component_nepers, floor_nepers, top_nepers)
            for component_nepers, floor_nepers, top_nepers in zip(
                frame_nepers, (band_floor, part_floor), self.loudest, strict=True
            )
        ]
        return torch.cat(magnitudes, 1)


def octaves(hertz: npt.NDArray[np.floating[Any]]) -> npt.NDArray[np.float64]:
    """Return clamped octaves from the tilt's pivot."""
    clamped_octaves: npt.NDArray[np.float64] = np.clip(np.log2(np.maximum(hertz, 1.0) / PIVOT_HZ), *OCTAVES)
    return clamped_octaves


def _delay_rows(rows: Tensor, previous: Tensor, steps: Tensor, rows_per_step: int) -> Tensor:
    """Delay rows [slices, rows, width] by fractions of a step, after the ends of the ``previous`` slices' rows."""
    # Fractional delays interpolate linearly. Weights that miss the first row belong to the end of the previous slice.
    row_count = rows.shape[1]
    row_indices = torch.arange(row_count, device=rows.device)
    row_weights = (1 - (row_indices[:, None] - (steps * rows_per_step)[..., None] - row_indices).abs()).clamp_min(0)
    source_indices = (row_indices + rows_per_step).clamp_max(row_count - 1)
    decay_nepers = (row_indices + rows_per_step - source_indices) * (DECAY_NEPERS / rows_per_step)
    return row_weights @ rows + (1 - row_weights.sum(2, keepdim=True)) * (
        previous[:, source_indices] - decay_nepers[:, None]
    )


def _magnitudes_above(nepers: Tensor, floor: Tensor, top: Tensor) -> Tensor:
    """Return magnitudes, of which a power of ``floor`` is subtracted."""
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

    optimisers: Mapping[str, Adam] = {SHARED: Adam(largest_norm=LARGEST_NORM)}

    def __init__(self, recipe: LoopRecipe) -> None:
        super().__init__()
        self.settings, self.weights, self.bar = recipe.network, recipe.loss, recipe.frames.bar
        self.features = SliceFeatures(recipe.frames.sample_rate, recipe.frames.frame_length)
        feature_width, n, lstm_width = self.features.width, self.settings.components, self.settings.size
        self.middle = nn.Buffer(torch.zeros(feature_width))
        self.axes = nn.Buffer(torch.zeros(n, feature_width))
        self.counts = nn.Buffer(torch.ones(feature_width))
        self.scale = nn.Buffer(torch.ones(()))
        self.spread = nn.Buffer(torch.ones(()))  # mean square distance of a slice from its prototype
        self.prototypes = nn.Buffer(torch.zeros(self.settings.prototypes, n))
        latent_count = self.settings.latents
        self.usual = nn.Buffer(torch.tensor([0.0, 1.0]))  # mean and deviation of density, onsets a beat
        self.hits = nn.Buffer(torch.zeros(self.settings.prototypes))  # hit strength of each prototype
        input_width = n + 2 * (self.bar // 2) + latent_count
        self.memory = nn.LSTM(input_width, lstm_width, batch_first=True)
        self.dropped = nn.Dropout(self.settings.dropout)
        self.chances = nn.Linear(lstm_width, self.settings.prototypes)
        self.bender = dense([lstm_width + n + latent_count, BENDER_UNITS, n], linear_end=True)
        self.steering = dense([n, STEERING_UNITS, latent_count], linear_end=True)
        self.timing = nn.Linear(latent_count, 1)
        self.density = nn.Linear(latent_count, 1)
        self.vague = nn.Parameter(torch.full((latent_count,), -2.0))  # log variances of the steering codes

    @torch.no_grad()
    def initialise(self, data: Data[Any]) -> None:
        """Compute principal components and prototypes from bars of training slices."""
        sequence_indices = np.random.default_rng(0).permutation(len(data))[: FIT_SLICES // self.bar]
        target_raw, steering_raw, _, tilts_db, _, onset_densities = (
            batch_tensor.to(self.middle) for batch_tensor in data.batch(sequence_indices, np.random.default_rng(0))
        )
        bar_slices = target_raw[:, : self.bar]  # each bar once: every sequence begins with one
        raw_slices = bar_slices.flatten(0, 1)
        self.features.learn(raw_slices)
        self.usual.copy_(torch.stack([onset_densities.mean(), onset_densities.std(correction=0).clamp_min(1e-3)]))
        tilted_slices = [
            self.features.tilted(sequences[:, : self.bar], tilts_db[:, 0]).flatten(0, 1)
            for sequences in (target_raw, steering_raw)
        ]
        bounded_slices = self.features.bounded(torch.cat(tilted_slices))
        self.middle.copy_(bounded_slices.mean(0))
        self.counts.fill_(1.0)
        self.counts[-self.features.points :] = LOUDNESS
        weighted_slices = (bounded_slices - self.middle) * self.counts
        torch.manual_seed(0)
        component_count = min(self.settings.components, *bounded_slices.shape)
        self.axes.zero_()
        self.axes[:component_count] = torch.svd_lowrank(weighted_slices, q=component_count, niter=4)[2].T
        self.scale.copy_((weighted_slices @ self.axes.T).std(0).square().mean().sqrt().clamp_min(1e-6))
        slice_codes = self.coded(raw_slices)  # prototypes stay untilted: the bender applies tilts
        self.prototypes.copy_(medoids(slice_codes, self.settings.prototypes))
        prototype_rises = self.features.rises(self.decoded(self.prototypes))
        self.hits.copy_((prototype_rises - prototype_rises.mean()) / prototype_rises.std().clamp_min(1e-6))
        self.spread.copy_(
            (slice_codes - self.prototypes[self.nearest_prototypes(slice_codes)]).square().mean().clamp_min(1e-4)
        )

    def coded(self, raw: Tensor) -> Tensor:
        """Return slice codes of raw features."""
        return ((self.features.bounded(raw) - self.middle) * self.counts) @ self.axes.T / self.scale

    def decoded(self, codes: Tensor) -> Tensor:
        """Return features of slice codes."""
        return codes * self.scale @ self.axes / self.counts + self.middle

    def nearest_prototypes(self, codes: Tensor) -> Tensor:
        """Return prototype indices, [..]."""
        return torch.cdist(codes.flatten(0, -2), self.prototypes).argmin(1).view(codes.shape[:-1])

    def encode(self, *inputs: Tensor) -> Tensor:
        codes: Tensor = self.steering(self.coded(inputs[0].to(self.middle))).mean(1)
        return codes

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
        prototype_distances = torch.cdist(self.coded(target_raw), self.prototypes).square()
        target_codes, steering_slice_codes, previous_codes = (
            self.coded(self.features.tilted(raw, tilts[:, tilt_column]))
            for raw, tilt_column in ((target_raw, 0), (steering_raw, 0), (previous, 1))
        )
        batch_size, step_count, _ = target_codes.shape
        target_prototypes = prototype_distances.argmin(2)
        target_probabilities = torch.softmax(-prototype_distances / (2 * TARGET_VARIANCE), 2)
        mean_codes = self.steering(steering_slice_codes).mean(1)
        steering = mean_codes + randn_examples(*mean_codes.shape, generator=generator).to(mean_codes) * torch.exp(
            self.vague / 2
        )
        bar_phase = (torch.arange(step_count) % self.bar / self.bar).to(target_codes).expand(batch_size, -1)
        previous = F.pad(previous_codes, (0, 0, 1, 0))[:, :-1]
        if self.training:
            previous = self._disturb_inputs(previous, bar_phase, steering, generator)
        hidden, _ = self.remembered(previous, bar_phase, steering)
        with seeded_dropout(generator, hidden.device):
            hidden = self.dropped(hidden)
        bend_error = (target_codes - self.bent(hidden, target_prototypes, steering)).square().mean() / self.spread
        divergences = 0.5 * (mean_codes.square() + self.vague.exp() - 1 - self.vague).sum(1)
        return {
            "choice": F.cross_entropy(self.chances(hidden).flatten(0, 1), target_probabilities.flatten(0, 1)),
            "bend": bend_error,
            "timing": self._timing_error(steering, late),
            "density": ((density - self.usual[0]) / self.usual[1] - self.density(steering)[:, 0]).square().mean(),
            "distribution": divergences.mean() / step_count,
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
        chosen_prototypes = self.prototypes[indices]
        if hidden.ndim > steering.ndim:
            steering = steering[:, None].expand(-1, hidden.shape[1], -1)
        adapted_codes: Tensor = chosen_prototypes + self.bender(torch.cat([hidden, chosen_prototypes, steering], -1))
        return adapted_codes

    def late(self, steering: Tensor) -> Tensor:
        """Return the off-beat delay in steps, [.., 1]."""
        delay_steps: Tensor = self.timing(steering)
        return delay_steps.clamp(0.0, MAX_OFFBEAT_DELAY)

    def sample_prototypes(self, hidden: Tensor, noise: Tensor, steering: Tensor) -> Tensor:
        """Sample prototype indices with normal noise [.., prototypes] of deviation 1.

        Codes [batch, latents] of dense loops favour hits.
        """
        linear, quadratic, cubic = GUMBEL
        hit_bias = HIT_BIAS_NATS * self.density(steering)
        if hidden.ndim > steering.ndim:
            hit_bias = hit_bias[:, None]
        noisy_logits = (
            self.chances(hidden) + hit_bias * self.hits + noise * (linear + noise * (quadratic + noise * cubic))
        )
        prototype_indices: Tensor = noisy_logits.argmax(-1)
        return prototype_indices

    @torch.no_grad()
    def continued(
        self, seed: Tensor, steering: Tensor, count: int, heat: float, generator: torch.Generator | None = None
    ) -> Tensor:
        """Return the codes of ``count`` slices that follow a seed, [batch, count, components].

        Args:
            seed: [batch, steps, components], from the start of a bar; steps may be 0.
            heat: 0 chooses the likeliest slices, 1 samples with learned probabilities.
        """
        previous_codes, state, continued_codes = F.pad(seed, (0, 0, 1, 0)), None, list[Tensor]()
        for step in range(seed.shape[1], seed.shape[1] + count):
            bar_phases = torch.arange(step + 1 - previous_codes.shape[1], step + 1).to(seed) % self.bar / self.bar
            hidden, state = self.remembered(previous_codes, bar_phases.expand(len(seed), -1), steering, state)
            noise = heat * torch.randn(len(seed), len(self.prototypes), generator=generator).to(seed)
            previous_codes = self.bent(hidden[:, -1], self.sample_prototypes(hidden[:, -1], noise, steering), steering)[
                :, None
            ]
            continued_codes.append(previous_codes)
        return torch.cat(continued_codes, 1)

    def _timing_error(self, steering: Tensor, late: Tensor) -> Tensor:
        """Return the mean square error of off-beat delays where there are any, 1 for a typical error."""
        has_offbeats = ~late.isnan()
        timing_errors = (self.timing(steering)[:, 0] - late.nan_to_num()) * has_offbeats / TIMING_DEVIATION
        mean_square: Tensor = timing_errors.square().sum() / has_offbeats.sum().clamp_min(1)
        return mean_square

    def _disturb_inputs(
        self, previous: Tensor, bar_phase: Tensor, steering: Tensor, generator: torch.Generator
    ) -> Tensor:
        """Replace shares of the previous codes by own choices and by zeros."""
        uniform_noise = rand_examples(*previous.shape[:2], 1, generator=generator).to(previous)
        with torch.no_grad():
            hidden, _ = self.remembered(previous, bar_phase, steering)
            normal_noise = randn_examples(*previous.shape[:2], len(self.prototypes), generator=generator).to(previous)
            predicted_codes = F.pad(
                self.bent(hidden, self.sample_prototypes(hidden, normal_noise, steering), steering), (0, 0, 1, 0)
            )[:, :-1]
        previous = torch.where(uniform_noise < self.settings.own, predicted_codes, previous)
        return torch.where(uniform_noise > 1 - self.settings.forgotten, torch.zeros_like(previous), previous)


def medoids(codes: Tensor, count: int) -> Tensor:
    """Return the codes nearest to the centres of ``count`` clusters.

    Arthur and Vassilvitskii, "k-means++", SODA 2007; Lloyd, IEEE Transactions on Information Theory 28:2, 1982.
    """
    generator = torch.Generator().manual_seed(0)
    centres = codes[torch.randint(len(codes), (1,), generator=generator)]
    squared_distances = torch.cdist(codes, centres)[:, 0].square()
    while len(centres) < count:
        code_index = torch.multinomial(squared_distances.cpu() + 1e-9, 1, generator=generator)
        centres = torch.cat([centres, codes[code_index]])
        squared_distances = torch.minimum(squared_distances, torch.cdist(codes, centres[-1:])[:, 0].square())
    for _ in range(KMEANS_ITERATIONS):
        memberships = F.one_hot(torch.cdist(codes, centres).argmin(1), count).to(codes)
        cluster_sizes = memberships.sum(0)[:, None]
        centres = torch.where(cluster_sizes > 0, memberships.T @ codes / cluster_sizes.clamp_min(1), centres)
    return codes[torch.cdist(centres, codes).argmin(1)]


def harmonics(bar_phase: Tensor, count: int) -> Tensor:
    """Return cosines and sines of ``count`` multiples, [.., 2 * count]."""
    angles = 2 * math.pi * bar_phase[..., None] * torch.arange(1, count + 1, device=bar_phase.device)
    return torch.cat([angles.cos(), angles.sin()], -1)
