"""A recurrent mixture-density network over codes of grains.

A GRU reads a path of codes and gives the parameters of a mixture of Gaussians for the next code (Bishop, "Mixture
density networks", 1994; Graves, "Generating sequences with recurrent neural networks", 2013). Codes of noise are noisy:
the average of many steps tells more than the last one. So the network reads running averages of codes, and of the
squares of steps, over one step to ten seconds of them.
"""

import math
from collections.abc import Mapping
from typing import Any, NamedTuple, Self

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from ...data import Data
from ...network import DEAD_DEVIATION, SHARED, Adam, Network, Objective, constant, seeded_dropout
from ..grain.network import GrainAutoencoder
from .recipe import PathRecipe

CODE_STEPS = (1, 2, 4, 8, 16, 32, 64, 128, 512)  # time constants of the averages of codes
MOVE_STEPS = (4, 16, 64, 256)  # and of squared steps
# Codes of a walk after which its state begins anew. Training knows no longer paths than recipes' steps: within a minute
# walks drift to the ends of codes' ranges, and stay there.
MEMORY_STEPS = 440
TYPICAL_MOVE = 0.5  # square of a step, in deviations: the average before there is a step, of the weight of one
LOG_DEVIATIONS = (-6.0, 2.0)  # of a component, limits
NARROWER = -0.5  # log deviation of components before training: codes change by less than they vary
RIDGE = 1.0  # of the linear prediction: far below the number of codes
LARGEST_NORM = 1.0  # of the gradient: a single unlikely code must not undo the training
EXAMPLES = 64  # sequences whose codes tell mean, deviation and linear prediction


class Mixture(NamedTuple):
    """Log weights [..., components], means and log deviations [..., components, latents]."""

    log_weights: Tensor
    means: Tensor
    log_deviations: Tensor


class PathStep(nn.Module):
    """Codes → a mixture for the next code, in whole sequences or step by step with a state.

    The state, zeros at first, holds the last code, sums and weights of the averages, and the GRU's own, in this order.
    Codes enter and leave in the model's units, and are scaled to mean 0 and deviation 1 inside.
    """

    def __init__(self, latents: int, hidden: int, components: int) -> None:
        super().__init__()
        self.latents, self.hidden, self.components = latents, hidden, components
        self.mean, self.deviation = nn.Buffer(torch.zeros(latents)), nn.Buffer(torch.ones(latents))
        self.code_decay, self.move_decay = (
            constant(np.exp(-1 / np.array(steps))) for steps in (CODE_STEPS, MOVE_STEPS)
        )
        slowest = float(self.code_decay[-1])
        self.largest_weight = (1 - slowest ** (MEMORY_STEPS - 0.5)) / (1 - slowest)  # of the slowest average
        self.earlier = constant(np.triu(np.ones((components, components)), 1))  # sums weights of earlier components
        self.below = constant(np.tril(np.ones((latents, latents)), -1))  # the diagonal
        averaged_width = latents * (1 + len(CODE_STEPS))
        feature_width = averaged_width + latents * len(MOVE_STEPS)
        self.linear = nn.Linear(averaged_width, latents)
        self.gru = nn.GRU(feature_width, hidden, batch_first=True)
        self.head = nn.Linear(hidden + feature_width, components * (1 + 2 * latents))
        nn.init.normal_(self.head.weight, std=0.02)
        nn.init.normal_(self.head.bias, std=0.1)  # equal components would stay equal
        self.mixing = nn.Parameter(0.01 * torch.randn(components, latents, latents))  # below the diagonal

    @property
    def sizes(self) -> list[int]:
        """Numbers of the state's parts."""
        code_sums, move_sums = self.latents * len(CODE_STEPS), self.latents * len(MOVE_STEPS)
        return [self.latents, code_sums, len(CODE_STEPS), move_sums, len(MOVE_STEPS), self.hidden]

    def mixtures(self, codes: Tensor, dropout: float = 0.0) -> Mixture:
        """Return the mixture after each of ``codes``, [batch, steps, latents], scaled; ``dropout`` in training."""
        averages, features = self._features(codes)
        hidden = self.gru(features)[0]
        return self._mixture(averages, features, hidden, dropout)

    def log_likelihood(self, codes: Tensor, mixture: Mixture) -> Tensor:
        """Return log likelihoods of scaled ``codes``, [...]."""
        unmixing = torch.linalg.inv(self._mixed())
        distances = torch.einsum("kij,...kj->...ki", unmixing, codes[..., None, :] - mixture.means)
        squares = (distances * (-mixture.log_deviations).exp()).square().sum(-1)
        log_densities = -mixture.log_deviations.sum(-1) - squares / 2 - self.latents / 2 * math.log(2 * math.pi)
        return torch.logsumexp(mixture.log_weights + log_densities, -1)

    def forward(self, code: Tensor, state: Tensor, noise: Tensor) -> tuple[Tensor, Tensor]:
        """Take a step: code [batch, latents], state, noise [batch, latents + 1] of normal numbers → both, next.

        The first number of the noise chooses the component.
        """
        scaled = (code - self.mean) / self.deviation
        weight_index = sum(self.sizes[:3]) - 1
        state = state * (state[:, weight_index : weight_index + 1] < self.largest_weight).to(state.dtype)
        previous, code_sums, code_weights, move_sums, move_weights, hidden = torch.split(state, self.sizes, 1)
        begun = code_weights[:, :1].clamp(max=1.0)  # 0 before the first code
        code_sums = self._summed(code_sums, self.code_decay, scaled)
        code_weights = code_weights * self.code_decay + 1.0
        move_sums = self._summed(move_sums, self.move_decay, (scaled - previous).square() * begun)
        move_weights = move_weights * self.move_decay + begun
        code_averages = self._parts(code_sums) / code_weights[..., None]
        averages = torch.cat([scaled, code_averages.flatten(1)], 1)
        features = torch.cat([averages, _log_moves(self._parts(move_sums), move_weights[..., None]).flatten(1)], 1)
        hidden = self._gru_step(features, hidden)
        next_code = self._draw(self._mixture(averages, features, hidden), noise) * self.deviation + self.mean
        return next_code, torch.cat([scaled, code_sums, code_weights, move_sums, move_weights, hidden], 1)

    def scale(self, codes: Tensor) -> Tensor:
        return (codes - self.mean) / self.deviation

    @torch.no_grad()
    def measure(self, codes: Tensor) -> None:
        """Measure mean, deviation and linear prediction of training codes, [sequences, steps, latents]."""
        self.mean.copy_(codes.mean((0, 1)))
        self.deviation.copy_(codes.std((0, 1)).clamp_min(DEAD_DEVIATION))
        scaled = self.scale(codes)
        rows, targets = self._features(scaled[:, :-1])[0].flatten(0, 1).double(), scaled[:, 1:].flatten(0, 1).double()
        rows = torch.cat([rows, torch.ones_like(rows[:, :1])], 1)
        ridge = RIDGE * torch.eye(rows.shape[1], dtype=rows.dtype, device=rows.device)
        solution = torch.linalg.solve(rows.T @ rows + ridge, rows.T @ targets)
        self.linear.weight.copy_(solution[:-1].T)
        self.linear.bias.copy_(solution[-1])

    def _features(self, codes: Tensor) -> tuple[Tensor, Tensor]:
        """Return scaled codes with their averages, and these with averaged moves, [batch, steps, ...]."""
        step_count = codes.shape[1]
        steps = torch.arange(step_count, device=codes.device)
        lags = steps[:, None] - steps
        code_sums, code_weights = _decayed_sums(codes, self.code_decay, lags)
        moves = torch.diff(codes, dim=1, prepend=codes[:, :1]).square()
        move_sums, move_weights = _decayed_sums(moves, self.move_decay, lags)
        move_weights = move_weights - self.move_decay ** steps[:, None]  # the first code is no move
        averages = torch.cat([codes, (code_sums / code_weights[..., None]).flatten(2)], 2)
        return averages, torch.cat([averages, _log_moves(move_sums, move_weights[..., None]).flatten(2)], 2)

    def _mixture(self, averages: Tensor, features: Tensor, hidden: Tensor, dropout: float = 0.0) -> Mixture:
        inputs = functional.dropout(torch.cat([hidden, features], -1), dropout, training=dropout > 0)
        weights, moves, deviations = self.head(inputs).split(
            [self.components, self.components * self.latents, self.components * self.latents], -1
        )
        parts = (self.components, self.latents)
        means = self.linear(averages)[..., None, :] + torch.unflatten(moves, -1, parts)
        log_deviations = torch.unflatten(deviations, -1, parts).clamp(*LOG_DEVIATIONS) + NARROWER
        return Mixture(weights.log_softmax(-1), means, log_deviations)

    def _draw(self, mixture: Mixture, noise: Tensor) -> Tensor:
        chance = (1 + torch.erf(noise[:, :1] / math.sqrt(2))) / 2
        lower_ends = mixture.log_weights.exp() @ self.earlier  # [batch, components]
        is_begun = (chance >= lower_ends).to(noise.dtype)
        is_chosen = is_begun - functional.pad(is_begun[:, 1:], (0, 1))  # the last one that has begun
        mean, log_deviation = (
            (is_chosen[..., None] * values).sum(1) for values in (mixture.means, mixture.log_deviations)
        )
        mixed = torch.unflatten(is_chosen @ self._mixed().flatten(1), 1, (self.latents, self.latents))
        drawn: Tensor = mean + (mixed @ (noise[:, 1:] * log_deviation.exp())[..., None])[..., 0]
        return drawn

    def _mixed(self) -> Tensor:
        """Return each component's factor of the covariance, [components, latents, latents], of unit diagonal."""
        return torch.eye(self.latents, device=self.mixing.device) + self.mixing * self.below

    def _gru_step(self, features: Tensor, hidden: Tensor) -> Tensor:
        """Return the next state of the GRU (Cho et al., 2014), in operators that all runtimes have."""
        weights_in, weights_back, bias_in, bias_back = self.gru.all_weights[0]
        reset_in, update_in, new_in = functional.linear(features, weights_in, bias_in).chunk(3, 1)
        reset_back, update_back, new_back = functional.linear(hidden, weights_back, bias_back).chunk(3, 1)
        update = torch.sigmoid(update_in + update_back)
        new = torch.tanh(new_in + torch.sigmoid(reset_in + reset_back) * new_back)
        return (1 - update) * new + update * hidden

    def _summed(self, sums: Tensor, decays: Tensor, values: Tensor) -> Tensor:
        return (self._parts(sums) * decays[:, None] + values[:, None]).flatten(1)

    def _parts(self, sums: Tensor) -> Tensor:
        return torch.unflatten(sums, 1, (-1, self.latents))


def _decayed_sums(values: Tensor, decays: Tensor, lags: Tensor) -> tuple[Tensor, Tensor]:
    """Return decayed sums of ``values``, [batch, steps, decays, latents], and of ones, [steps, decays]."""
    weights = decays[:, None, None] ** lags.clamp_min(0) * (lags >= 0)
    return torch.einsum("kij,bjn->bikn", weights, values), weights.sum(2).T


def _log_moves(sums: Tensor, weights: Tensor) -> Tensor:
    return ((sums + TYPICAL_MOVE) / (weights + 1.0)).log()


class PathNetwork(Network):
    """Learns the paths of recordings through the codes of a frozen network of grains.

    Shapes: excerpts [batch, samples] of ``steps`` + 1 windows, half a window apart.
    """

    objectives: tuple[Objective, ...] = (Objective("prediction"),)
    optimisers: Mapping[str, Adam] = {SHARED: Adam(modules=("path",), largest_norm=LARGEST_NORM)}

    def __init__(self, recipe: PathRecipe, grains: GrainAutoencoder) -> None:
        super().__init__()
        self.grains, self.frames, self.weights = grains, recipe.frames, recipe.loss
        self.dropout = recipe.network.dropout
        self.path = PathStep(grains.settings.latents, recipe.network.hidden, recipe.network.components)

    def train(self, mode: bool = True) -> Self:
        """Grains stay as they are: their statistics of codes too."""
        super().train(mode)
        self.grains.eval()
        return self

    def initialise(self, data: Data[Any]) -> None:
        (excerpts,) = data.spread(EXAMPLES)
        self.path.measure(self.encode(excerpts.to(self.path.mean)))

    @torch.no_grad()
    def encode(self, excerpts: Tensor) -> Tensor:
        """Return the codes of all windows, [batch, steps + 1, latents]."""
        windows = excerpts.unfold(1, self.frames.frame_length, self.frames.hop_length)
        return torch.unflatten(self.grains.encode(windows.flatten(0, 1)), 0, windows.shape[:2])

    def prediction(self, excerpts: Tensor, generator: torch.Generator) -> dict[str, Tensor]:
        """Return the negative log likelihood of each code given those before it, a latent."""
        codes = self.path.scale(self.encode(excerpts))
        with seeded_dropout(generator, codes.device):
            mixture = self.path.mixtures(codes[:, :-1], self.dropout if self.training else 0.0)
        return {"likelihood": -self.path.log_likelihood(codes[:, 1:], mixture).mean() / codes.shape[2]}

    @torch.no_grad()
    def walk(
        self, codes: Tensor, steps: int, generator: torch.Generator, spans: tuple[Tensor, Tensor] | None = None
    ) -> Tensor:
        """Continue paths of ``codes``, [batch, steps, latents]: return ``steps`` codes more, inside ``spans``."""
        state = codes.new_zeros(len(codes), sum(self.path.sizes))
        next_code, walked = codes[:, 0], []
        for step in range(codes.shape[1] + steps - 1):
            code = codes[:, step] if step < codes.shape[1] else next_code
            noise = torch.randn(len(codes), codes.shape[2] + 1, generator=generator).to(codes)
            next_code, state = self.path(code, state, noise)
            if spans is not None:
                next_code = next_code.clamp(*spans)
            if step >= codes.shape[1] - 1:
                walked.append(next_code)
        return torch.stack(walked, 1)
