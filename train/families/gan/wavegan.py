"""WaveGAN and its logistic variant: generate whole clips from codes, trained against a critic.

After Donahue et al. (ICLR 2019, appendix D) and their code, which adds a layer for longer clips. Labels are an
addition: an embedding in the generator, a projection in the critic (Miyato and Koyama, ICLR 2018).

Sources: the non-saturating loss (Goodfellow et al., 2014); R1, a penalty on the critic's gradients at recordings
(Mescheder et al., ICML 2018), at few steps (Karras et al., CVPR 2020); a critic that learns faster (Heusel et al., NIPS
2017). Options: a critic of spectrograms; its classification of labels, which also trains the generator (Odena et al.,
ICML 2017); random shifts and gains of judged clips (Zhao et al., NeurIPS 2020); a term that keeps a label's clips as
far apart as recordings (after Mao et al., CVPR 2019), against one clip a label.
"""

import copy
import itertools
import math
from collections.abc import Callable, Mapping
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ...network import Adam, Objective, decibels, frozen, initialise_by_glorot
from ...shared_random import RepeatingGenerator, rand_examples, randint, randint_examples
from .generator import ClipGenerator, Lengthening, Shortening
from .recipe import FIRST, LENGTHS, GANRecipe, LogisticGANNetwork, LogisticGANRecipe, WaveGANNetwork

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
    optimisers: Mapping[str, Adam] = {
        "critic": Adam(modules=("critic",), betas=BETAS),
        "generator": Adam(modules=("generator",), betas=BETAS),
    }
    sides: ClassVar[Mapping[str, tuple[str, ...]]] = {
        "critic": ("distance", "penalty"),
        "generator": ("persuasion",),
    }

    def __init__(self, recipe: GANRecipe) -> None:
        super().__init__()
        self.settings, self.weights = recipe.network, recipe.loss
        self.latents, self.words = self.settings.latents, len(self.settings.words)
        clip_length = recipe.frames.frame_length
        self.generator = Generator(self.settings, clip_length)
        self.critic = Critic(self.settings, clip_length)
        initialise_by_glorot(self)  # TensorFlow's default, as in the paper's code
        self.averaged: Generator | None = None
        if self.settings.average:
            self.averaged = copy.deepcopy(self.generator).requires_grad_(False)
            self.moves = nn.Buffer(torch.zeros(()))

    def load_generator(self, state: Mapping[str, Tensor]) -> None:
        """Load a generator's weights, also as their mean."""
        self.generator.load_state_dict(state)
        if self.averaged is not None:
            self.averaged.load_state_dict(state)

    def decode(self, latents: Tensor, label: Tensor | None = None) -> Tensor:
        clips: Tensor = (self.generator if self.averaged is None else self.averaged)(latents, label)
        return clips

    def judge(self, clips: Tensor, label: Tensor | None) -> Tensor:
        """Return unbounded scores; only differences are meaningful."""
        scores: Tensor = self.critic(clips, label, torch.Generator())
        return scores

    def criticism(self, clips: Tensor, labels: Tensor, generator: torch.Generator) -> dict[str, Tensor]:
        """Return the negated Wasserstein estimate, and the gradient penalty."""
        label_rows = self.rows(labels)
        with torch.no_grad():
            generated_clips = self._generate(clips, label_rows, generator)
        recorded_shares = rand_examples(len(clips), 1, generator=generator).to(clips)
        interpolated_clips = torch.lerp(generated_clips, clips, recorded_shares).requires_grad_()
        interpolated_scores = self.critic(interpolated_clips, label_rows, generator)
        (score_gradients,) = torch.autograd.grad(interpolated_scores.sum(), interpolated_clips, create_graph=True)
        distance = (
            self.critic(generated_clips, label_rows, generator).mean()
            - self.critic(clips, label_rows, generator).mean()
        )
        return {"distance": distance, "penalty": penalty(score_gradients)}

    def persuasion(self, clips: Tensor, labels: Tensor, generator: torch.Generator) -> dict[str, Tensor]:
        """Return the negated mean score of generated clips."""
        label_rows = self.rows(labels)
        generated_clips = self._generate(clips, label_rows, generator)
        return {"persuasion": -frozen(self.critic, generated_clips, label_rows, generator).mean()}

    @torch.no_grad()
    def follow_weights(self) -> None:
        if self.averaged is None:
            return
        new_share = max(1 - self.settings.average, RECENT / (float(self.moves) + RECENT))
        self.moves.add_(1)
        for mean_weight, weight in zip(self.averaged.parameters(), self.generator.parameters(), strict=True):
            mean_weight.lerp_(weight, new_share)

    def _generate(self, like: Tensor, label: Tensor | None, generator: torch.Generator) -> Tensor:
        """Return as many generated clips as ``like`` has, in evaluation by the averaged weights."""
        codes = self.draw(len(like), generator).to(like)
        if not self.training:
            return self.decode(codes, label)
        generated_clips: Tensor = self.generator(codes, label)
        return generated_clips


def penalty(slope: Tensor) -> Tensor:
    """Return the mean square deviation of norms from 1, of ``slope`` [batch, samples] (Gulrajani et al., 2017)."""
    norm_deviations: Tensor = slope.norm(dim=1) - 1
    return norm_deviations.square().mean()


class Generator(nn.Module):
    """Latents [batch, latents] and label rows → clips [batch, frame_length] in ±1."""

    def __init__(self, settings: WaveGANNetwork, length: int) -> None:
        super().__init__()
        strides, model_size, word_count = LENGTHS[length], settings.model_size, len(settings.words)
        self.embedding = nn.Linear(word_count, LABEL_WIDTH, bias=False) if word_count else None
        widths = [*(model_size << layer for layer in reversed(range(len(strides)))), 1]
        input_width = settings.latents + (LABEL_WIDTH if word_count else 0)
        layers: list[nn.Module] = [nn.Linear(input_width, FIRST * widths[0]), nn.Unflatten(1, (widths[0], FIRST))]
        for (in_channels, out_channels), stride in zip(itertools.pairwise(widths), strides, strict=True):
            padding = (KERNEL - stride) // 2 if settings.tensorflow_padding else None
            layers += [nn.ReLU(), Lengthening(in_channels, out_channels, KERNEL, stride, padding)]
        self.layers = nn.Sequential(*layers, nn.Tanh(), nn.Flatten())
        filter_length = settings.post_filter
        self.post_filter = (
            nn.Conv1d(1, 1, filter_length, padding=filter_length // 2, bias=False) if filter_length else None
        )

    def forward(self, latents: Tensor, label: Tensor | None = None) -> Tensor:
        if self.embedding is not None:
            assert label is not None
            latents = torch.cat([latents, self.embedding(label)], 1)
        clips: Tensor = self.layers(latents)
        return clips if self.post_filter is None else self.post_filter(clips[:, None])[:, 0]


class Critic(nn.Module):
    """Clips [batch, frame_length] and label rows → scores, [batch]."""

    def __init__(self, settings: WaveGANNetwork, length: int) -> None:
        super().__init__()
        strides, model_size, word_count = LENGTHS[length][::-1], settings.model_size, len(settings.words)
        self.largest_shift = settings.phase_shuffle
        widths = [1, *(model_size << layer for layer in range(len(strides)))]
        self.layers = nn.ModuleList(
            Shortening(in_channels, out_channels, KERNEL, stride)
            for (in_channels, out_channels), stride in zip(itertools.pairwise(widths), strides, strict=True)
        )
        feature_width = FIRST * widths[-1]
        self.judge = nn.Linear(feature_width, 1)
        self.projection = nn.Linear(word_count, feature_width, bias=False) if word_count else None

    def forward(self, clips: Tensor, label: Tensor | None, generator: torch.Generator) -> Tensor:
        features = clips[:, None]
        for layer_index, layer in enumerate(self.layers):
            if layer_index and self.training:  # shuffled in training only
                features = phase_shuffled(features, self.largest_shift, generator)
            features = leaky_relu(layer(features))
        features = features.flatten(1)
        return scores_of_labels(self.judge(features)[:, 0], features, self.projection, label)


class _LeakyReLU(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, features: Tensor) -> Tensor:
        ctx.save_for_backward(features)
        return F.leaky_relu(features, LEAK)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        (features,) = ctx.saved_tensors
        slopes: Tensor = torch.ops.aten.leaky_relu_backward(gradient, features.detach(), LEAK, False)
        return slopes


def leaky_relu(features: Tensor) -> Tensor:
    """Return `torch.nn.functional.leaky_relu`, whose slope has no derivative.

    Torch's has one of zeros, which a gradient penalty sends back through all layers below.
    """
    activations: Tensor = _LeakyReLU.apply(features)  # type: ignore[no-untyped-call]
    return activations


def scores_of_labels(scores: Tensor, features: Tensor, projection: nn.Linear | None, label: Tensor | None) -> Tensor:
    """Return the scores [batch] of features [batch, width], with those of their labels, if the critic knows labels."""
    if projection is None or label is None:
        return scores
    # Scaled like attention: the sum of products then starts no larger than the judge's score.
    label_scores: Tensor = (features * projection(label)).sum(1) / math.sqrt(features.shape[1])
    return scores + label_scores


def phase_shuffled(signal: Tensor, largest_shift: int, generator: torch.Generator) -> Tensor:
    """Shift [batch, channels, samples] at random by ±``largest_shift`` for all the batch, padding by reflection."""
    if not largest_shift:
        return signal
    random_shift = randint(-largest_shift, largest_shift + 1, generator=generator)
    if isinstance(generator, RepeatingGenerator):  # no step reads its numbers
        sample_count = signal.shape[2]
        source_indices = (torch.arange(sample_count, device=signal.device) - random_shift).abs()
        return signal.index_select(2, sample_count - 1 - (sample_count - 1 - source_indices).abs())
    shift = int(random_shift)  # torch's own padding sends zeros back, as its LeakyReLU does
    if shift > 0:
        return torch.cat([signal[:, :, 1 : shift + 1].flip(2), signal[:, :, :-shift]], 2)
    if shift < 0:
        return torch.cat([signal[:, :, -shift:], signal[:, :, shift - 1 : -1].flip(2)], 2)
    return signal


LOGISTIC_BETAS = (0.0, 0.99)  # of both Adams, as of StyleGAN2
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
    sides: ClassVar[Mapping[str, tuple[str, ...]]] = {
        "critic": ("distance", "penalty", "classification"),
        "generator": ("persuasion", "recognition", "sameness"),
    }

    def __init__(self, recipe: LogisticGANRecipe) -> None:
        super().__init__(recipe)
        settings = recipe.network
        self.augments, self.shortens = settings.augmentation, settings.bfloat16
        self.keeps_apart = recipe.loss.sameness > 0
        critic_modules = ["critic"]
        self.spectral: SpectralCritic | None = None
        if settings.spectral_size:
            self.spectral = SpectralCritic(settings, classifies=recipe.classifies)
            initialise_by_glorot(self.spectral)
            critic_modules.append("spectral")
        self.optimisers = {
            "critic": Adam(tuple(critic_modules), recipe.training.learning_rate * settings.critic_rate, LOGISTIC_BETAS),
            "generator": Adam(("generator",), betas=LOGISTIC_BETAS),
        }
        self.steps = nn.Buffer(torch.zeros(()))

    def judge(self, clips: Tensor, label: Tensor | None) -> Tensor:
        """Return the mean log odds that a clip is real, [batch]."""
        return self._judged(clips, label, torch.Generator())[0].mean(0)

    def criticism(self, clips: Tensor, labels: Tensor, generator: torch.Generator) -> dict[str, Tensor]:
        """Return the critics' summed cross entropies, R1 and, where labels are classified, recordings' cross entropy.

        R1 comes at each `PENALTY_STEPS`, in validation always.
        """
        label_rows = self.rows(labels)
        with torch.no_grad():
            generated_clips = self._augmented(self._generate(clips, label_rows, generator), generator)
        real_clips = self._augmented(clips, generator)
        is_penalised = not self.training or int(self.steps) % PENALTY_STEPS == 0
        real_scores, label_odds = self._judged(real_clips.requires_grad_(is_penalised), label_rows, generator)
        generated_scores, _ = self._judged(generated_clips, label_rows, generator)
        gradient_penalty = torch.zeros(()).to(clips)
        if is_penalised:
            (score_gradients,) = torch.autograd.grad(real_scores.sum(), real_clips, create_graph=True)
            gradient_penalty = score_gradients.square().sum(1).mean() / 2 * (PENALTY_STEPS if self.training else 1)
        terms = {
            "distance": (F.softplus(generated_scores) + F.softplus(-real_scores)).mean(1).sum(),
            "penalty": gradient_penalty,
        }
        return terms | ({"classification": F.cross_entropy(label_odds, labels)} if label_odds is not None else {})

    def persuasion(self, clips: Tensor, labels: Tensor, generator: torch.Generator) -> dict[str, Tensor]:
        """Return the critics' summed surprise that clips are real, the labels' cross entropy, and the sameness."""
        label_rows = self.rows(labels)
        generated_clips = self._generate(clips, label_rows, generator)
        scores, label_odds = self._judged(self._augmented(generated_clips, generator), label_rows, generator, frozen)
        terms = {"persuasion": F.softplus(-scores).mean(1).sum()}
        if self.keeps_apart:
            terms["sameness"] = sameness(generated_clips, clips, labels)
        return terms | ({"recognition": F.cross_entropy(label_odds, labels)} if label_odds is not None else {})

    @torch.no_grad()
    def follow_weights(self) -> None:
        super().follow_weights()
        self.steps.add_(1)

    def _judged(
        self,
        clips: Tensor,
        label: Tensor | None,
        generator: torch.Generator,
        call: Call = nn.Module.__call__,
    ) -> tuple[Tensor, Tensor | None]:
        """Return scores [critics, batch], and label odds if the spectral critic classifies."""
        critic_scores: list[Tensor] = []
        label_odds: Tensor | None = None
        with torch.autocast(clips.device.type, torch.bfloat16, enabled=self.shortens and self.training):
            critic_scores.append(call(self.critic, clips, label, generator))
            if self.spectral is not None:
                spectral_scores, label_odds = call(self.spectral, clips, label)
                critic_scores.append(spectral_scores)
        return torch.stack(critic_scores).float(), None if label_odds is None else label_odds.float()

    def _augmented(self, clips: Tensor, generator: torch.Generator) -> Tensor:
        return augmented(clips, generator) if self.augments and self.training else clips.clone()


class SpectralCritic(nn.Module):
    """Clips [batch, frame_length] and label rows → scores, [batch], and label odds, from spectrograms."""

    def __init__(self, settings: LogisticGANNetwork, *, classifies: bool) -> None:
        super().__init__()
        widths = [1, *(settings.spectral_size << layer for layer in range(SPECTRAL_LAYERS))]
        self.layers = nn.ModuleList(
            nn.Conv2d(in_channels, out_channels, SPECTRAL_KERNEL, 2, SPECTRAL_KERNEL // 2)
            for in_channels, out_channels in itertools.pairwise(widths)
        )
        word_count = len(settings.words)
        self.judge = nn.Linear(widths[-1], 1)
        self.projection = nn.Linear(word_count, widths[-1], bias=False) if word_count else None
        self.classes = nn.Linear(widths[-1], word_count) if word_count and classifies else None

    def forward(self, clips: Tensor, label: Tensor | None) -> tuple[Tensor, Tensor | None]:
        features = (decibels(spectral_power(clips))[:, None] - LEVEL_DB) / LEVEL_RANGE_DB
        for layer in self.layers:
            features = F.leaky_relu(layer(features), LEAK)
        features = features.mean((2, 3))
        scores = scores_of_labels(self.judge(features)[:, 0], features, self.projection, label)
        return scores, None if self.classes is None else self.classes(features)


def augmented(clips: Tensor, generator: torch.Generator) -> Tensor:
    """Shift clips [batch, samples] by up to ±`SHIFT` of their length, with silence, and scale by ±`GAIN_DB`."""
    clip_count, sample_count = clips.shape
    largest_shift = round(SHIFT * sample_count)
    shift_samples = randint_examples(-largest_shift, largest_shift + 1, clip_count, 1, generator=generator)
    clip_gains = 10 ** (GAIN_DB / 20 * (2 * rand_examples(clip_count, 1, generator=generator) - 1))
    source_indices = (torch.arange(sample_count) - shift_samples + largest_shift).to(clips.device)
    return F.pad(clips, (largest_shift, largest_shift)).gather(1, source_indices) * clip_gains.to(clips)


def sameness(generated: Tensor, clips: Tensor, labels: Tensor) -> Tensor:
    """Return the share of the mean distance between recordings of a label that generated clips lack, 0 to 1.

    ``generated`` and ``clips`` are [batch, samples], ``labels`` indices of both, [batch].
    """
    clip_pairs = (labels[:, None] == labels).triu(1).nonzero(as_tuple=True)
    if not len(clip_pairs[0]):
        return generated.new_zeros(())
    generated_distance, recorded_distance = (mean_distance(sounds, clip_pairs) for sounds in (generated, clips))
    return F.relu(1 - generated_distance / recorded_distance)


def mean_distance(clips: Tensor, pairs: tuple[Tensor, ...]) -> Tensor:
    """Return the mean RMS difference of pairs of clips [batch, samples], in dB.

    ``pairs`` are indices of both, [pairs] each. Levels, at least `LEVEL_DB`, are of `CELL` bins by `CELL` frames, so
    that noise is like noise.
    """
    cell_powers = F.avg_pool2d(spectral_power(clips)[:, None], CELL)
    cell_levels = decibels(cell_powers).clamp(min=LEVEL_DB).flatten(1)
    first_levels, second_levels = (cell_levels[clip_indices] for clip_indices in pairs)
    return ((first_levels - second_levels).square().mean(1) + 1e-3).sqrt().mean()


def spectral_power(clips: Tensor) -> Tensor:
    """Return [batch, bins, frames] of clips [batch, samples]; a full-scale sine has 1."""
    hann_window = torch.hann_window(WINDOW, device=clips.device)
    spectra = torch.stft(clips, WINDOW, HOP, window=hann_window, return_complex=True)
    return (spectra.real.square() + spectra.imag.square()) / (WINDOW / 4) ** 2
