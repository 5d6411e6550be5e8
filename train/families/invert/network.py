"""GAN inversion: predicts the code of a clip for a trained generator, from its spectrogram.

Keyes et al., "Latent Vector Recovery of Audio GANs" (2020), section 3: a ResNet-18 with a linear output per latent.
Training minimises errors of codes, and a classifier's perceptual distance of reconstructed clips; without the latter
(``loss.recorded`` and ``loss.generated`` of 0) it learns from generated clips alone. Label prediction is an addition.
"""

from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ...network import Adam, Network, Objective
from ..classifier.network import Classifier, Spectrogram, initialise_weights, resnet
from ..gan.generator import ClipGenerator
from .recipe import InvertRecipe


class Inverter(Network):
    """Predicts codes for a frozen generator; a frozen classifier compares clips.

    Shapes: clips [batch, frame_length], samples; latents [batch, latents]; label indices [batch].
    """

    objectives: tuple[Objective, ...] = (Objective("recordings"), Objective("generation"))
    optimisers: Mapping[str, Adam] = {"shared": Adam(modules=("network",))}

    def __init__(self, recipe: InvertRecipe, generator: ClipGenerator, judge: Classifier) -> None:
        super().__init__()
        self.generator, self.classifier = generator, judge
        self.weights, self.rate = recipe.loss, recipe.frames.sample_rate
        self.network = CodePlacement(recipe, generator.latents)
        if not (recipe.network.words or recipe.loss.recorded):  # recordings have neither a known code nor a label
            self.objectives = (Objective("generation"),)

    @property
    def adversarial(self) -> bool:
        return False

    def encode(self, clips: Tensor) -> Tensor:
        return self.predict_codes(clips)[0]

    def predict_codes(self, clips: Tensor) -> tuple[Tensor, Tensor]:
        """Return latents, and label scores [batch, words]."""
        outputs: Tensor = self.network(clips)
        return outputs[:, : self.generator.latents], outputs[:, self.generator.latents :]

    def reconstruct(self, clips: Tensor, labels: Tensor) -> Tensor:
        return self.generator.decode(self.encode(clips), self.generator.rows(labels))

    def recordings(self, clips: Tensor, labels: Tensor, generator: torch.Generator) -> dict[str, Tensor]:
        """Return the losses of recordings: label and perceptual distance."""
        codes, label_scores = self.predict_codes(clips)
        terms = {"label": F.cross_entropy(label_scores, labels)} if label_scores.shape[1] else {}
        if self.weights.recorded:
            terms["recorded"] = self._perceptual_distance(
                clips, self.generator.decode(codes, self.generator.rows(labels))
            )
        return terms

    def generation(self, clips: Tensor, labels: Tensor, generator: torch.Generator) -> dict[str, Tensor]:
        """Return the losses of generated clips: code, label and perceptual distance."""
        codes, label_rows = self.generator.draw(len(clips), generator).to(clips), self.generator.rows(labels)
        with torch.no_grad():
            generated_clips = self.generator.decode(codes, label_rows)
        predicted_codes, label_scores = self.predict_codes(generated_clips)
        terms = {"latent": F.mse_loss(predicted_codes, codes)}
        if label_scores.shape[1]:
            terms["generated_label"] = self.weights.label * F.cross_entropy(label_scores, labels)
        if self.weights.generated:
            terms["generated"] = self._perceptual_distance(
                generated_clips, self.generator.decode(predicted_codes, label_rows)
            )
        return terms

    def _perceptual_distance(self, clips: Tensor, reconstructed: Tensor) -> Tensor:
        """Section 3.2.1 leaves the norm open: squares, as Bayat et al. ("Inverse mapping of face GANs", 2020)."""
        with torch.no_grad():
            target_activations = block_activations(self.classifier, clips, self.rate)
        reconstructed_activations = block_activations(self.classifier, reconstructed, self.rate)
        return torch.stack(
            [
                F.mse_loss(activation, target_activation)
                for activation, target_activation in zip(reconstructed_activations, target_activations, strict=True)
            ]
        ).mean()


def block_activations(classifier: Classifier, clips: Tensor, rate: int) -> list[Tensor]:
    """Return each block's activations, [batch, channels, bands, frames], differentiable."""
    return classifier.features(fit_clips(classifier, clips, rate))[:-1]


def fit_clips(classifier: Classifier, clips: Tensor, rate: int) -> Tensor:
    """Fit clips to a classifier's input, differentiable."""
    if rate != classifier.rate:
        sample_count = round(clips.shape[1] * classifier.rate / rate)
        spectra = torch.fft.rfft(clips)[:, : sample_count // 2 + 1]
        clips = torch.fft.irfft(spectra, sample_count) * (sample_count / clips.shape[1])
    return F.pad(clips, (0, classifier.clip_length - clips.shape[1]))  # negative padding cuts


class CodePlacement(nn.Module):
    """Clips [batch, frame_length] → a code and label logits, [batch, latents + words]."""

    def __init__(self, recipe: InvertRecipe, latents: int) -> None:
        super().__init__()
        settings, rate = recipe.network, recipe.frames.sample_rate
        self.spectrogram = Spectrogram(rate, settings.transform_length, settings.transform_hop, settings.bands)
        self.stem, self.blocks, channel_count = resnet(settings.width)
        self.last = nn.Linear(channel_count, latents + len(settings.words))
        initialise_weights(self)

    def forward(self, clips: Tensor) -> Tensor:
        feature_maps = self.stem(self.spectrogram(clips))
        for block in self.blocks:
            feature_maps = block(feature_maps)
        outputs: Tensor = self.last(feature_maps.mean((2, 3)))
        return outputs
