"""A WaveGAN that needs fewer critic steps: a logistic contest, one critic step, and a penalty at every sixteenth step.

Sources: the non-saturating loss (Goodfellow et al., 2014); R1, a penalty on the critic's gradients at recordings
(Mescheder et al., ICML 2018), at few steps (Karras et al., CVPR 2020); a critic that learns faster (Heusel et al., NIPS
2017). Options: a critic of spectrograms; its classification of labels, which also trains the generator (Odena et al.,
ICML 2017); random shifts and gains of judged clips (Zhao et al., NeurIPS 2020); a term that keeps a label's clips as
far apart as recordings (after Mao et al., CVPR 2019), against one clip a label.
"""

import itertools
import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ...layers import decibels, frozen, initialise_by_glorot
from ...network import Adam, Objective
from ...shared_random import rand_examples, randint_examples
from .recipe import LogisticGANNetwork, LogisticGANRecipe
from .wavegan import LEAK, WaveGAN

BETAS = (0.0, 0.99)  # of both Adams, as of StyleGAN2
PENALTY_STEPS = 16  # from one penalty to the next
WINDOW = 256  # samples of a spectrogram's frame
HOP = 64
SPECTRAL_KERNEL, SPECTRAL_LAYERS = 5, 4  # of the second critic; each layer halves time and frequency
LEVEL_DB = -40.0  # becomes 0 in spectrograms, and LEVEL_RANGE_DB above it 1
LEVEL_RANGE_DB = 40.0
CELL = 4  # bins and frames that have one level where clips are compared
SHIFT = 1 / 64  # of a clip, the largest random shift either way: generated words begin as late
GAIN_DB = 3.0  # the largest random gain either way
Call = Callable[..., Any]  # of a module, with its inputs


class LogisticGAN(WaveGAN):
    objectives = (
        Objective("criticism", optimiser="critic", batches=1, differentiates=True),
        Objective("persuasion", optimiser="generator"),
    )
    sides = {  # noqa: RUF012
        "critic": ("distance", "penalty", "classification"),
        "generator": ("persuasion", "recognition", "sameness"),
    }
    steps: Tensor

    def __init__(self, recipe: LogisticGANRecipe) -> None:
        super().__init__(recipe)
        settings = recipe.network
        self.augments, self.shortens = settings.augmentation, settings.bfloat16
        self.keeps_apart = recipe.loss.sameness > 0
        modules = ["critic"]
        self.spectral: SpectralCritic | None = None
        if settings.spectral_size:
            self.spectral = SpectralCritic(settings, classifies=recipe.classifies)
            initialise_by_glorot(self.spectral)
            modules.append("spectral")
        self.optimisers = {
            "critic": Adam(tuple(modules), recipe.training.learning_rate * settings.critic_rate, BETAS),
            "generator": Adam(("generator",), betas=BETAS),
        }
        self.register_buffer("steps", torch.zeros(()))

    def judge(self, clips: Tensor, label: Tensor | None) -> Tensor:
        """Return the mean log odds that a clip is real, [batch]."""
        return self._judged(clips, label, torch.Generator())[0].mean(0)

    def criticism(self, clips: Tensor, labels: Tensor, generator: torch.Generator) -> dict[str, Tensor]:
        """Return the critics' summed cross entropies, R1 and, where labels are classified, recordings' cross entropy.

        R1 comes at each `PENALTY_STEPS`, in validation always.
        """
        label = self.rows(labels)
        with torch.no_grad():
            made = self._augmented(self._generate(clips, label, generator), generator)
        real = self._augmented(clips, generator)
        penalised = not self.training or int(self.steps) % PENALTY_STEPS == 0
        true, odds = self._judged(real.requires_grad_(penalised), label, generator)
        false, _ = self._judged(made, label, generator)
        penalty = torch.zeros(()).to(clips)
        if penalised:
            (slope,) = torch.autograd.grad(true.sum(), real, create_graph=True)
            penalty = slope.square().sum(1).mean() / 2 * (PENALTY_STEPS if self.training else 1)
        terms = {"distance": (F.softplus(false) + F.softplus(-true)).mean(1).sum(), "penalty": penalty}
        return terms | ({"classification": F.cross_entropy(odds, labels)} if odds is not None else {})

    def persuasion(self, clips: Tensor, labels: Tensor, generator: torch.Generator) -> dict[str, Tensor]:
        """Return the critics' summed surprise that clips are real, the labels' cross entropy, and the sameness."""
        label = self.rows(labels)
        made = self._generate(clips, label, generator)
        scores, odds = self._judged(self._augmented(made, generator), label, generator, frozen)
        terms = {"persuasion": F.softplus(-scores).mean(1).sum()}
        if self.keeps_apart:
            terms["sameness"] = sameness(made, clips, labels)
        return terms | ({"recognition": F.cross_entropy(odds, labels)} if odds is not None else {})

    @torch.no_grad()
    def moved(self) -> None:
        super().moved()
        self.steps += 1

    def _judged(
        self,
        clips: Tensor,
        label: Tensor | None,
        generator: torch.Generator,
        call: Call = nn.Module.__call__,
    ) -> tuple[Tensor, Tensor | None]:
        scores: list[Tensor] = []
        odds: Tensor | None = None
        with torch.autocast(clips.device.type, torch.bfloat16, enabled=self.shortens and self.training):
            scores.append(call(self.critic, clips, label, generator))
            if self.spectral is not None:
                score, odds = call(self.spectral, clips, label)
                scores.append(score)
        return torch.stack(scores).float(), None if odds is None else odds.float()

    def _augmented(self, clips: Tensor, generator: torch.Generator) -> Tensor:
        return augmented(clips, generator) if self.augments and self.training else clips.clone()


class SpectralCritic(nn.Module):
    """Clips [batch, frame_length] and label rows → scores, [batch], and label odds, from spectrograms."""

    def __init__(self, settings: LogisticGANNetwork, *, classifies: bool) -> None:
        super().__init__()
        widths = [1, *(settings.spectral_size << place for place in range(SPECTRAL_LAYERS))]
        self.layers = nn.ModuleList(
            nn.Conv2d(before, after, SPECTRAL_KERNEL, 2, SPECTRAL_KERNEL // 2)
            for before, after in itertools.pairwise(widths)
        )
        words = len(settings.words)
        self.judge = nn.Linear(widths[-1], 1)
        self.projection = nn.Linear(words, widths[-1], bias=False) if words else None
        self.classes = nn.Linear(widths[-1], words) if words and classifies else None

    def forward(self, clips: Tensor, label: Tensor | None) -> tuple[Tensor, Tensor | None]:
        value = (decibels(spectral_power(clips))[:, None] - LEVEL_DB) / LEVEL_RANGE_DB
        for layer in self.layers:
            value = F.leaky_relu(layer(value), LEAK)
        value = value.mean((2, 3))
        judged: Tensor = self.judge(value)[:, 0]
        if self.projection is not None:
            assert label is not None
            judged = judged + (value * self.projection(label)).sum(1) / math.sqrt(value.shape[1])
        return judged, None if self.classes is None else self.classes(value)


def augmented(clips: Tensor, generator: torch.Generator) -> Tensor:
    """Shift clips [batch, samples] by up to ±`SHIFT` of their length, with silence, and scale by ±`GAIN_DB`."""
    count, length = clips.shape
    most = round(SHIFT * length)
    by = randint_examples(-most, most + 1, count, 1, generator=generator)
    gain = 10 ** (GAIN_DB / 20 * (2 * rand_examples(count, 1, generator=generator) - 1))
    places = (torch.arange(length) - by + most).to(clips.device)
    return F.pad(clips, (most, most)).gather(1, places) * gain.to(clips)


def sameness(made: Tensor, clips: Tensor, labels: Tensor) -> Tensor:
    """Return the share of the mean distance between recordings of a label that generated clips lack, 0 to 1.

    ``made`` and ``clips`` are [batch, samples], ``labels`` indices of both, [batch].
    """
    pairs = (labels[:, None] == labels).triu(1).nonzero(as_tuple=True)
    if not len(pairs[0]):
        return made.new_zeros(())
    given, asked = (mean_distance(sounds, pairs) for sounds in (made, clips))
    return F.relu(1 - given / asked)


def mean_distance(clips: Tensor, pairs: tuple[Tensor, ...]) -> Tensor:
    """Return the mean RMS difference of pairs of clips [batch, samples], in dB.

    ``pairs`` are indices of both, [pairs] each. Levels, at least `LEVEL_DB`, are of `CELL` bins by `CELL` frames, so
    that noise is like noise.
    """
    power = F.avg_pool2d(spectral_power(clips)[:, None], CELL)
    levels = decibels(power).clamp(min=LEVEL_DB).flatten(1)
    one, other = (levels[places] for places in pairs)
    return ((one - other).square().mean(1) + 1e-3).sqrt().mean()


def spectral_power(clips: Tensor) -> Tensor:
    """Return [batch, bins, frames] of clips [batch, samples]; a full-scale sine has 1."""
    window = torch.hann_window(WINDOW, device=clips.device)
    spectra = torch.stft(clips, WINDOW, HOP, window=window, return_complex=True)
    return (spectra.real.square() + spectra.imag.square()) / (WINDOW / 4) ** 2
