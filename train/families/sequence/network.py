"""Recurrent networks that continue sound frame by frame, with a learned code for each sequence; their batches.

"Deep Learning and Sound ~ 02: Generating Audio" (2015) stacks LSTM layers between linear layers, after GRUV (Nayebi and
Vitelli, "Algorithmic Music Generation using Recurrent Neural Networks", 2015). The code, an input of every step, is an
addition.
"""

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ...data import Data
from ...network import SHARED, Adam, Network
from ...shared_random import rand_examples, randn_examples
from .recipe import SequenceFrames, SequenceRecipe

LARGEST_NORM = 1.0  # of gradients: single steps through a long memory reach a hundred times the usual norm
LEAST = 1e-3  # of the deviation of all positions: avoids amplifying nearly constant ones
CODE_GAIN = 3.0  # initial gain of codes: two inputs among two thousand would have no effect at first
UNKNOWN = -1  # index of a sequence without a code: uses the mean code


class Standard(nn.Module):
    """Standardises frames position by position, [..., frame_length] → [..., width]."""

    mean: Tensor
    deviation: Tensor

    def __init__(self, settings: SequenceFrames) -> None:
        super().__init__()
        self.length, self.transformed = settings.frame_length, settings.domain == "real_imag"
        self.width = 2 * (self.length // 2 + 1) if self.transformed else self.length
        self.register_buffer("mean", torch.zeros(self.width))
        self.register_buffer("deviation", torch.ones(self.width))

    def forward(self, frames: Tensor) -> Tensor:
        return (self.components(frames) - self.mean) / self.deviation

    def components(self, frames: Tensor) -> Tensor:
        """Return samples, or real then imaginary parts."""
        if not self.transformed:
            return frames
        return torch.view_as_real(torch.fft.rfft(frames)).transpose(-1, -2).flatten(-2)

    def to_samples(self, frames: Tensor, *, restored: bool = True) -> Tensor:
        """Return samples; unless ``restored``, one deviation serves all positions."""
        components = frames * self.deviation + self.mean if restored else frames * self.deviation.square().mean().sqrt()
        if not self.transformed:
            return components
        real, imaginary = components.chunk(2, -1)
        sound: Tensor = torch.fft.irfft(torch.complex(real, imaginary), n=self.length)
        return sound

    @torch.no_grad()
    def measure(self, data: Data) -> None:
        sums, count = torch.zeros(2, self.width, dtype=torch.float64), 0
        for number in range(len(data)):
            frames, *_ = data.batch(np.array([number]), np.random.default_rng(0))
            components = self.components(frames[0]).double()
            sums += torch.stack([components.sum(0), components.square().sum(0)])
            count += len(components)
        mean, squares = sums / count
        variance = (squares - mean.square()).clamp_min(0)
        self.mean.copy_(mean)
        self.deviation.copy_(variance.sqrt().clamp_min(LEAST * float(variance.mean().sqrt())))


class RecurrentNetwork(Network):
    """An LSTM between linear layers, and a code for each sequence.

    Shapes: frames [batch, frames, width], standard; codes [batch, latents]; sounds [batch, frames, frame_length].
    """

    optimisers = {SHARED: Adam(largest_norm=LARGEST_NORM)}  # noqa: RUF012
    steps: Tensor

    def __init__(self, recipe: SequenceRecipe) -> None:
        super().__init__()
        self.settings, self.weights = recipe.network, recipe.loss
        self.standard = Standard(recipe.frames)
        width, size, latents = self.standard.width, self.settings.size, self.settings.latents
        self.table = nn.Parameter(torch.randn(self.settings.clips, latents))
        self.into = nn.Linear(width + latents, size)
        reach = CODE_GAIN / latents**0.5
        nn.init.uniform_(self.into.weight[:, width:], -reach, reach)
        self.memory = nn.LSTM(size, size, self.settings.layers, batch_first=True)
        self.out = nn.Linear(size, width)
        self.register_buffer("steps", torch.zeros(()))

    def initialise(self, data: Data) -> None:
        self.standard.measure(data)

    def follow_weights(self) -> None:
        self.steps += 1

    def codes(self, numbers: Tensor) -> Tensor:
        """Return codes [batch, latents] of sequence indices [batch]; mean 0 is the code of `UNKNOWN`."""
        return F.pad(self.table - self.table.mean(0), (0, 0, 0, 1))[numbers]

    def reconstruction(
        self, sounds: Tensor, counts: Tensor, numbers: Tensor, generator: torch.Generator
    ) -> dict[str, Tensor]:
        """Return the loss terms; first frames, which GRUV omits, depend on the code alone and are learned late."""
        frames, codes = self.standard(sounds), self.codes(numbers)
        inputs = delayed(frames)
        if self.training:
            inputs = self._disturb_inputs(inputs, codes, generator)
        error = (self.predict(inputs, codes)[0] - frames).square().mean(2)
        return {
            "mean_square": error[following(error, counts)].mean(),
            "first": error[:, 0].mean(),
            "code": codes.square().mean(),
        }

    def predict(
        self, inputs: Tensor, codes: Tensor, state: tuple[Tensor, Tensor] | None = None
    ) -> tuple[Tensor, tuple[Tensor, Tensor]]:
        """Return the next frames and the final LSTM state, initially zero.

        Gradients go back ``reach`` frames.
        """
        lstm_inputs = self.into(torch.cat([inputs, codes[:, None].expand(-1, inputs.shape[1], -1)], 2))
        outputs = []
        for chunk in lstm_inputs.split(self.settings.reach, 1):
            output, (h, c) = self.memory(chunk, state)
            state = h.detach(), c.detach()
            outputs.append(output)
        assert state is not None
        return self.out(torch.cat(outputs, 1)), state

    @torch.no_grad()
    def continued(self, seed: Tensor, codes: Tensor, count: int) -> Tensor:
        """Return ``count`` frames: a seed [batch, frames, width], possibly empty, and its continuation."""
        predicted, (h, c) = self.predict(F.pad(seed, (0, 0, 1, 0)), codes)
        frames, layers = [*seed.unbind(1), predicted[:, -1]], list(zip(h, c, strict=True))
        while len(frames) < count:
            hidden = self.into(torch.cat([frames[-1], codes], 1))
            # Cell by cell: torch's LSTM lays out its weights again at every call.
            for layer, weights in enumerate(self.memory.all_weights):
                layers[layer] = torch.lstm_cell(hidden, layers[layer], *weights)
                hidden = layers[layer][0]
            frames.append(self.out(hidden))
        return torch.stack(frames[:count], 1)

    def _disturb_inputs(self, inputs: Tensor, codes: Tensor, generator: torch.Generator) -> Tensor:
        """Parallel scheduled sampling (Bengio et al., NeurIPS 2015; Duckworth et al., 2019), with noise."""
        settings = self.settings
        share = settings.own_share * min(1.0, float(self.steps) / settings.own_steps)
        if share:
            with torch.no_grad():
                predicted = delayed(self.predict(inputs, codes)[0])
            replaced = rand_examples(*inputs.shape[:2], 1, generator=generator).to(inputs) < share
            inputs = torch.where(replaced, predicted, inputs)
        if settings.noise:
            noise = settings.noise * randn_examples(*inputs.shape, generator=generator).to(inputs)
            inputs = torch.cat([inputs[:, :1], (inputs + noise)[:, 1:]], 1)
        return inputs


def following(errors: Tensor, counts: Tensor) -> Tensor:
    """Mask unpadded frames after the first, [batch, frames]."""
    positions = torch.arange(errors.shape[1], device=errors.device)
    return (positions > 0) & (positions < counts.to(errors.device)[:, None])


def delayed(frames: Tensor) -> Tensor:
    """Delay frames [batch, frames, width] by one, zero first."""
    return F.pad(frames, (0, 0, 1, 0))[:, :-1]
