"""A critic and a generator of windows, and others of other turns and settings."""

from typing import ClassVar, Literal

import torch
from timbrel.train.families.grain.recipe import GrainFrames
from timbrel.train.loop import RunOptions
from timbrel.train.network import Adam, Network, Objective
from timbrel.train.recipe import Recipe, RecipeSection

CPU = RunOptions(accelerator="cpu")
RATE, LENGTH, BATCH, NOISE = 22050, 64, 16, 3
CRITIC_BATCHES = 5  # Gulrajani et al., Improved Training of Wasserstein GANs, 2017
PENALTY = 10.0  # as there

RECIPE = f"""
description = "a critic and a generator"
family = "adversaries"
[training]
steps = 12
batch_size = {BATCH}
learning_rate = 1e-3
schedule = "constant"
l2 = 0.0
seed = 0
[frames]
sample_rate = {RATE}
frame_length = {LENGTH}
hop_length = 16
align = false
held_out = 0.0
[loss]
"""


class Loss(RecipeSection):
    penalty: float = PENALTY


class Contest(Recipe):
    family: Literal["adversaries"]
    frames: GrainFrames
    loss: Loss


class Adversaries(Network):
    """A Wasserstein critic with a penalty on its slopes, and a generator of windows."""

    objectives = (
        Objective("criticism", optimiser="critic", batches=CRITIC_BATCHES, differentiates=True),
        Objective("persuasion", optimiser="generator"),
    )
    optimisers: ClassVar = {
        "critic": Adam(modules=("critic",), learning_rate=3e-3, betas=(0.0, 0.9)),
        "generator": Adam(modules=("generator",), betas=(0.5, 0.9)),
    }

    def __init__(self, recipe):
        super().__init__()
        self.weights = recipe.loss
        self.critic = torch.nn.Sequential(torch.nn.Linear(LENGTH, 8), torch.nn.Tanh(), torch.nn.Linear(8, 1))
        self.generator = torch.nn.Sequential(torch.nn.Linear(NOISE, 8), torch.nn.Tanh(), torch.nn.Linear(8, LENGTH))

    def generated(self, count, generator):
        return self.generator(torch.randn(count, NOISE, generator=generator))

    def criticism(self, windows, generator):
        false = self.generated(len(windows), generator).detach()
        share = torch.rand(len(windows), 1, generator=generator)
        between = (share * windows + (1 - share) * false).requires_grad_()
        (slope,) = torch.autograd.grad(self.critic(between).sum(), between, create_graph=True)
        return {
            "distance": self.critic(false).mean() - self.critic(windows).mean(),
            "penalty": (slope.norm(dim=1) - 1).square().mean(),
        }

    def persuasion(self, windows, generator):
        return {"persuasion": -self.critic(self.generated(len(windows), generator)).mean()}


def adversaries(turns=Adversaries.objectives, **optimisers):
    """The same networks with other turns and settings."""

    class Others(Adversaries):
        pass

    Others.objectives, Others.optimisers = turns, {**Adversaries.optimisers, **optimisers}
    return Others


def moments(content, name, which):
    """Adam's means of an optimiser's gradients, or of their squares, as one vector."""
    return torch.cat([state[which].flatten() for state in content["optimizer"][name]["state"].values()]).double()


CRITICISM, PERSUASION = Adversaries.objectives
ONCE = Objective("criticism", optimiser="critic", differentiates=True)


class Clipped(Adversaries):
    """Adversaries with clipped gradients, for two processes."""

    optimisers: ClassVar = {
        "critic": Adam(modules=("critic",), betas=(0.0, 0.9), largest_norm=1e-3),
        "generator": Adam(modules=("generator",), betas=(0.0, 0.9), largest_norm=1e-3),
    }
