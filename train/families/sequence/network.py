"""Recurrent networks that continue sound frame by frame, with a learned code for each sequence; their batches.

"Deep Learning and Sound ~ 02: Generating Audio" (2015) stacks LSTM layers between linear layers, after GRUV (Nayebi and
Vitelli, "Algorithmic Music Generation using Recurrent Neural Networks", 2015). The code, an input of every step, is an
addition.
"""

from collections.abc import Mapping
from typing import Any

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
    """Standardises frames position by position, [..., frame_length] → [..., width].

    Half-complex frames leave out the imaginary parts of the first and the last bin, always zero: they are as wide as
    their samples.
    """

    def __init__(self, settings: SequenceFrames) -> None:
        super().__init__()
        self.length, self.domain = settings.frame_length, settings.domain
        self.width = 2 * (self.length // 2 + 1) if self.domain == "real_imag" else self.length
        self.mean = nn.Buffer(torch.zeros(self.width))
        self.deviation = nn.Buffer(torch.ones(self.width))

    def forward(self, frames: Tensor) -> Tensor:
        return (self.components(frames) - self.mean) / self.deviation

    def components(self, frames: Tensor) -> Tensor:
        """Return samples, or real then imaginary parts."""
        if self.domain == "samples":
            return frames
        return self.drop_zero_parts(torch.view_as_real(torch.fft.rfft(frames)).transpose(-1, -2).flatten(-2))

    def drop_zero_parts(self, components: Tensor) -> Tensor:
        """Leave out the parts that half-complex frames lack; other frames pass."""
        if self.domain != "half_complex":
            return components
        real, imaginary = components.chunk(2, -1)
        return torch.cat([real, imaginary[..., 1:-1]], -1)

    def fill_zero_parts(self, components: Tensor, value: float = 0.0) -> Tensor:
        """Put ``value`` in the place of the parts that half-complex frames leave out; other frames pass."""
        if self.domain != "half_complex":
            return components
        bin_count = self.length // 2 + 1
        real, imaginary = components[..., :bin_count], components[..., bin_count:]
        return torch.cat([real, F.pad(imaginary, (1, 1), value=value)], -1)

    def to_samples(self, frames: Tensor, *, restored: bool = True) -> Tensor:
        """Return samples; unless ``restored``, one deviation serves all positions."""
        components = frames * self.deviation + self.mean if restored else frames * self.deviation.square().mean().sqrt()
        if self.domain == "samples":
            return components
        real, imaginary = self.fill_zero_parts(components).chunk(2, -1)
        sound: Tensor = torch.fft.irfft(torch.complex(real, imaginary), n=self.length)
        return sound

    @torch.no_grad()
    def measure(self, data: Data[Any]) -> None:
        """Measure each component's mean and deviation over all training frames."""
        component_sums, frame_count = torch.zeros(2, self.width, dtype=torch.float64), 0
        for sequence_index in range(len(data)):
            frames, *_ = data.batch(np.array([sequence_index]), np.random.default_rng(0))
            components = self.components(frames[0]).double()
            component_sums += torch.stack([components.sum(0), components.square().sum(0)])
            frame_count += len(components)
        mean, mean_squares = component_sums / frame_count
        variance = (mean_squares - mean.square()).clamp_min(0)
        self.mean.copy_(mean)
        self.deviation.copy_(variance.sqrt().clamp_min(LEAST * float(variance.mean().sqrt())))


class RecurrentNetwork(Network):
    """An LSTM between linear layers, and a code for each sequence.

    Shapes: frames [batch, frames, width], standard; codes [batch, latents]; sounds [batch, frames, frame_length].
    """

    optimisers: Mapping[str, Adam] = {SHARED: Adam(largest_norm=LARGEST_NORM)}

    def __init__(self, recipe: SequenceRecipe) -> None:
        super().__init__()
        self.settings, self.weights = recipe.network, recipe.loss
        self.standard = Standard(recipe.frames)
        frame_width, layer_width, latent_count = self.standard.width, self.settings.size, self.settings.latents
        self.table = nn.Parameter(torch.randn(self.settings.clips, latent_count))
        self.into = nn.Linear(frame_width + latent_count, layer_width)
        if latent_count:
            largest_weight = CODE_GAIN / latent_count**0.5
            nn.init.uniform_(self.into.weight[:, frame_width:], -largest_weight, largest_weight)
        self.memory = nn.LSTM(layer_width, layer_width, self.settings.layers, batch_first=True)
        self.out = nn.Linear(layer_width, frame_width)
        self.steps = nn.Buffer(torch.zeros(()))

    def initialise(self, data: Data[Any]) -> None:
        self.standard.measure(data)

    def follow_weights(self) -> None:
        self.steps.add_(1)

    def codes(self, numbers: Tensor) -> Tensor:
        """Return codes [batch, latents] of sequence indices [batch]; mean 0 is the code of `UNKNOWN`."""
        return F.pad(self.table - self.table.mean(0), (0, 0, 0, 1))[numbers]

    def reconstruction(
        self, sounds: Tensor, counts: Tensor, numbers: Tensor, generator: torch.Generator
    ) -> dict[str, Tensor]:
        """Return the loss terms; first frames, which GRUV omits, depend on the code alone and are learned late."""
        standard_frames, codes = self.standard(sounds), self.codes(numbers)
        input_frames = delayed(standard_frames)
        if self.training:
            input_frames = self._disturb_inputs(input_frames, codes, generator)
        squared_errors = (self.predict(input_frames, codes)[0] - standard_frames).square().mean(2)
        return {
            "mean_square": squared_errors[following(squared_errors, counts)].mean(),
            "first": squared_errors[:, 0].mean(),
            "code": codes.square().mean() if codes.numel() else codes.new_zeros(()),
        }

    def predict(
        self, inputs: Tensor, codes: Tensor, state: tuple[Tensor, Tensor] | None = None
    ) -> tuple[Tensor, tuple[Tensor, Tensor]]:
        """Return the next frames and the final LSTM state, initially zero.

        Gradients go back ``reach`` frames.
        """
        lstm_inputs = self.into(torch.cat([inputs, codes[:, None].expand(-1, inputs.shape[1], -1)], 2))
        lstm_outputs = []
        for input_chunk in lstm_inputs.split(self.settings.reach, 1):
            chunk_output, (h, c) = self.memory(input_chunk, state)
            state = h.detach(), c.detach()
            lstm_outputs.append(chunk_output)
        assert state is not None
        return self.out(torch.cat(lstm_outputs, 1)), state

    @torch.no_grad()
    def continued(self, seed: Tensor, codes: Tensor, count: int) -> Tensor:
        """Return ``count`` frames: a seed [batch, frames, width], possibly empty, and its continuation."""
        predicted_frames, (h, c) = self.predict(F.pad(seed, (0, 0, 1, 0)), codes)
        frames, layer_states = [*seed.unbind(1), predicted_frames[:, -1]], list(zip(h, c, strict=True))
        while len(frames) < count:
            layer_output = self.into(torch.cat([frames[-1], codes], 1))
            # Cell by cell: torch's LSTM lays out its weights again at every call.
            for layer_index, layer_weights in enumerate(self.memory.all_weights):
                layer_states[layer_index] = torch.lstm_cell(layer_output, layer_states[layer_index], *layer_weights)
                layer_output = layer_states[layer_index][0]
            frames.append(self.out(layer_output))
        return torch.stack(frames[:count], 1)

    def _disturb_inputs(self, inputs: Tensor, codes: Tensor, generator: torch.Generator) -> Tensor:
        """Parallel scheduled sampling (Bengio et al., NeurIPS 2015; Duckworth et al., 2019), with noise."""
        settings = self.settings
        predicted_share = settings.own_share * min(1.0, float(self.steps) / settings.own_steps)
        if predicted_share:
            with torch.no_grad():
                predicted_frames = delayed(self.predict(inputs, codes)[0])
            is_replaced = rand_examples(*inputs.shape[:2], 1, generator=generator).to(inputs) < predicted_share
            inputs = torch.where(is_replaced, predicted_frames, inputs)
        if settings.noise:
            noise = settings.noise * randn_examples(*inputs.shape, generator=generator).to(inputs)
            inputs = torch.cat([inputs[:, :1], (inputs + noise)[:, 1:]], 1)
        return inputs


def following(errors: Tensor, counts: Tensor) -> Tensor:
    """Mask unpadded frames after the first, [batch, frames]."""
    frame_indices = torch.arange(errors.shape[1], device=errors.device)
    return (frame_indices > 0) & (frame_indices < counts.to(errors.device)[:, None])


def delayed(frames: Tensor) -> Tensor:
    """Delay frames [batch, frames, width] by one, zero first."""
    return F.pad(frames, (0, 0, 1, 0))[:, :-1]
