"""WaveGAN: generates whole clips from codes, trained against a Wasserstein critic.

After Donahue et al. (ICLR 2019, appendix D) and their code, which adds a layer for longer clips. Labels are an
addition: an embedding in the generator, a projection in the critic (Miyato and Koyama, ICLR 2018).
"""

import copy
import itertools
import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ...layers import frozen, initialise_by_glorot
from ...network import Adam, Objective
from ...shared_random import rand_examples
from .generator import ClipGenerator
from .recipe import FIRST, LENGTHS, GANRecipe, WaveGANNetwork
from .strided_convolution import Lengthening, Shortening

KERNEL = 25  # samples of every layer
LEAK = 0.2  # of the critic's LeakyReLU
CRITIC_BATCHES = 5  # critic steps, each on its own batch, per generator step
BETAS = (0.5, 0.9)  # of both Adams
LABEL_WIDTH = 16  # size of a label's embedding; not in the paper
RECENT = 10  # early on, the mean of weights covers about the last tenth of the steps


class WaveGAN(ClipGenerator):
    objectives = (
        Objective("criticism", optimiser="critic", batches=CRITIC_BATCHES, differentiates=True),
        Objective("persuasion", optimiser="generator"),
    )
    optimisers = {  # noqa: RUF012
        "critic": Adam(modules=("critic",), betas=BETAS),
        "generator": Adam(modules=("generator",), betas=BETAS),
    }
    sides = {"critic": ("distance", "penalty"), "generator": ("persuasion",)}  # noqa: RUF012

    def __init__(self, recipe: GANRecipe) -> None:
        super().__init__()
        self.settings, self.weights = recipe.network, recipe.loss
        self.latents, self.words = self.settings.latents, len(self.settings.words)
        length = recipe.frames.frame_length
        self.generator = Generator(self.settings, length)
        self.critic = Critic(self.settings, length)
        initialise_by_glorot(self)  # TensorFlow's default, as in the paper's code
        self.averaged: Generator | None = None
        self.moves: Tensor
        if self.settings.average:
            self.averaged = copy.deepcopy(self.generator).requires_grad_(False)
            self.register_buffer("moves", torch.zeros(()))

    def decode(self, latents: Tensor, label: Tensor | None = None) -> Tensor:
        clips: Tensor = (self.generator if self.averaged is None else self.averaged)(latents, label)
        return clips

    def judge(self, clips: Tensor, label: Tensor | None) -> Tensor:
        """Return unbounded scores; only differences are meaningful."""
        judged: Tensor = self.critic(clips, label, torch.Generator())
        return judged

    def criticism(self, clips: Tensor, labels: Tensor, generator: torch.Generator) -> dict[str, Tensor]:
        """Return the negated Wasserstein estimate, and the gradient penalty."""
        label = self.rows(labels)
        with torch.no_grad():
            made = self._generate(clips, label, generator)
        share = rand_examples(len(clips), 1, generator=generator).to(clips)
        between = torch.lerp(made, clips, share).requires_grad_()
        judged = self.critic(between, label, generator)
        (slope,) = torch.autograd.grad(judged.sum(), between, create_graph=True)
        distance = self.critic(made, label, generator).mean() - self.critic(clips, label, generator).mean()
        return {"distance": distance, "penalty": penalty(slope)}

    def persuasion(self, clips: Tensor, labels: Tensor, generator: torch.Generator) -> dict[str, Tensor]:
        label = self.rows(labels)
        made = self._generate(clips, label, generator)
        return {"persuasion": -frozen(self.critic, made, label, generator).mean()}

    @torch.no_grad()
    def moved(self) -> None:
        if self.averaged is None:
            return
        share = max(1 - self.settings.average, RECENT / (float(self.moves) + RECENT))
        self.moves += 1
        for mean, now in zip(self.averaged.parameters(), self.generator.parameters(), strict=True):
            mean.lerp_(now, share)

    def _generate(self, like: Tensor, label: Tensor | None, generator: torch.Generator) -> Tensor:
        codes = self.draw(len(like), generator).to(like)
        if not self.training:
            return self.decode(codes, label)
        clips: Tensor = self.generator(codes, label)
        return clips


def penalty(slope: Tensor) -> Tensor:
    """Return the mean square deviation of norms from 1, of ``slope`` [batch, samples] (Gulrajani et al., 2017)."""
    away: Tensor = slope.norm(dim=1) - 1
    return away.square().mean()


class Generator(nn.Module):
    """Latents [batch, latents] and label rows → clips [batch, frame_length] in ±1."""

    def __init__(self, settings: WaveGANNetwork, length: int) -> None:
        super().__init__()
        strides, size, words = LENGTHS[length], settings.model_size, len(settings.words)
        self.embedding = nn.Linear(words, LABEL_WIDTH, bias=False) if words else None
        widths = [*(size << place for place in reversed(range(len(strides)))), 1]
        inside = settings.latents + (LABEL_WIDTH if words else 0)
        layers: list[nn.Module] = [nn.Linear(inside, FIRST * widths[0]), nn.Unflatten(1, (widths[0], FIRST))]
        for (before, after), stride in zip(itertools.pairwise(widths), strides, strict=True):
            layers += [nn.ReLU(), Lengthening(before, after, KERNEL, stride)]
        self.layers = nn.Sequential(*layers, nn.Tanh(), nn.Flatten())

    def forward(self, latents: Tensor, label: Tensor | None = None) -> Tensor:
        if self.embedding is not None:
            assert label is not None
            latents = torch.cat([latents, self.embedding(label)], 1)
        clips: Tensor = self.layers(latents)
        return clips


class Critic(nn.Module):
    def __init__(self, settings: WaveGANNetwork, length: int) -> None:
        super().__init__()
        strides, size, words = LENGTHS[length][::-1], settings.model_size, len(settings.words)
        self.moved = settings.phase_shuffle
        widths = [1, *(size << place for place in range(len(strides)))]
        self.layers = nn.ModuleList(
            Shortening(before, after, KERNEL, stride)
            for (before, after), stride in zip(itertools.pairwise(widths), strides, strict=True)
        )
        seen = FIRST * widths[-1]
        self.judge = nn.Linear(seen, 1)
        self.projection = nn.Linear(words, seen, bias=False) if words else None

    def forward(self, clips: Tensor, label: Tensor | None, generator: torch.Generator) -> Tensor:
        value = clips[:, None]
        for place, layer in enumerate(self.layers):
            if place and self.training:  # shuffled in training only
                value = phase_shuffled(value, self.moved, generator)
            value = F.leaky_relu(layer(value), LEAK)
        value = value.flatten(1)
        judged: Tensor = self.judge(value)[:, 0]
        if self.projection is not None:
            assert label is not None
            # Scaled like attention: the sum of products then starts no larger than the judge's score.
            judged = judged + (value * self.projection(label)).sum(1) / math.sqrt(value.shape[1])
        return judged


def phase_shuffled(value: Tensor, most: int, generator: torch.Generator) -> Tensor:
    """Shift [batch, channels, samples] at random by ±most samples for all the batch, padding by reflection."""
    by = int(torch.randint(-most, most + 1, (), generator=generator)) if most else 0
    if not by:
        return value
    length = value.shape[2]
    padded = F.pad(value, (max(by, 0), max(-by, 0)), mode="reflect")
    return padded[:, :, :length] if by > 0 else padded[:, :, -length:]
