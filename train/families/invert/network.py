"""A network that inverts a generator: a clip's spectrogram becomes the code of which it would have been made.

Keyes, Bayat, Khazaie and Mohsenzadeh, "Latent Vector Recovery of Audio GANs" (2020), section 3: a ResNet-18 with the
number of latents for its classes, and no activation after the last layer. It learns codes from clips that are generated
as it goes on, and from these and recordings to be decoded into what a classifier sees alike. Where the generator is
told labels, which are not in the publication, it learns to tell them too.
"""

from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ....host.errors import UserError
from ...network import Adam, Network, Objective
from ...recipes.base import Recipe
from ..classifier.network import Classifier, Spectrogram, begin, resnet
from ..classifier.recipe import ClassifierRecipe
from ..gan.generator import ClipMaker
from ..gan.recipe import DCGANRecipe, HalvesRecipe, WaveGANRecipe
from .recipe import InvertRecipe


class Inverter(Network):
    """Finds codes for a generator, which stays as it is, as does the classifier that compares clips.

    Shapes: clips [batch, frame_length], samples; latents [batch, latents]; labels [batch], their numbers.
    """

    turns = (Objective("recordings"), Objective("generation"))
    optimisers = {"shared": Adam(modules=("network",))}  # noqa: RUF012

    def __init__(self, recipe: InvertRecipe, generator: ClipMaker, judge: Classifier) -> None:
        super().__init__()
        self.generator, self.classifier = generator, judge
        self.weights, self.rate = recipe.loss, recipe.frames.sample_rate
        self.network = Placing(recipe, generator.latents)

    @property
    def adversarial(self) -> bool:
        """Return that turns go the same way: the first tells how near recordings come."""
        return False

    def encode(self, clips: Tensor) -> Tensor:
        """Return the codes of clips, [batch, latents]."""
        return self.placed(clips)[0]

    def placed(self, clips: Tensor) -> tuple[Tensor, Tensor]:
        """Return the codes of clips, and scores of their labels, [batch, words]; the softmax of these are shares."""
        found: Tensor = self.network(clips)
        return found[:, : self.generator.latents], found[:, self.generator.latents :]

    def again(self, clips: Tensor, labels: Tensor) -> Tensor:
        """Return clips generated of the codes of clips with these labels, [batch, frame_length]."""
        return self.generator.decode(self.encode(clips), self.generator.rows(labels))

    def recordings(self, clips: Tensor, labels: Tensor, generator: torch.Generator) -> dict[str, Tensor]:
        """Return how far recordings and what is generated of their codes lie apart for the classifier."""
        codes, scores = self.placed(clips)
        again = self.generator.decode(codes, self.generator.rows(labels))
        return {"recorded": self._apart(clips, again)} | self._told(scores, labels)

    def generation(self, clips: Tensor, labels: Tensor, generator: torch.Generator) -> dict[str, Tensor]:
        """Return how far codes found of generated clips are from their own, and the clips of both from each other.

        As many clips are generated as there are recordings, of random codes and with their labels.
        """
        codes, rows = self.generator.draw(len(clips), generator).to(clips), self.generator.rows(labels)
        with torch.no_grad():
            made = self.generator.decode(codes, rows)
        found, _ = self.placed(made)
        again = self.generator.decode(found, rows)
        return {"latent": F.mse_loss(found, codes), "generated": self._apart(made, again)}

    def _told(self, scores: Tensor, labels: Tensor) -> dict[str, Tensor]:
        return {"label": F.cross_entropy(scores, labels)} if scores.shape[1] else {}

    def _apart(self, asked: Tensor, given: Tensor) -> Tensor:
        """Return the mean square of the differences of activations after each of the classifier's blocks, their mean.

        (Section 3.2.1 has their difference, and leaves open which; squares are what Bayat et al., "Inverse mapping of
        face GANs", 2020, take.)
        """
        with torch.no_grad():
            wanted = self.seen(asked)
        return torch.stack([F.mse_loss(a, b) for a, b in zip(self.seen(given), wanted, strict=True)]).mean()

    def seen(self, clips: Tensor) -> list[Tensor]:
        """Return the activations after each of the classifier's blocks for clips, [batch, channels, bands, frames]."""
        return seen(self.classifier, clips, self.rate)


def seen(classifier: Classifier, clips: Tensor, rate: int) -> list[Tensor]:
    """Return a classifier's activations after each of its blocks for clips at a rate, so that slopes go through."""
    return classifier.features(brought(classifier, clips, rate))[:-1]


def brought(classifier: Classifier, clips: Tensor, rate: int) -> Tensor:
    """Return clips at a classifier's rate and of its length, so that slopes go through."""
    if rate != classifier.rate:
        samples = round(clips.shape[1] * classifier.rate / rate)
        spectra = torch.fft.rfft(clips)[:, : samples // 2 + 1]
        clips = torch.fft.irfft(spectra, samples) * (samples / clips.shape[1])
    return F.pad(clips, (0, classifier.clip_length - clips.shape[1]))  # which also cuts


class Placing(nn.Module):
    """Clips [batch, frame_length] → a code, and scores of labels after it, [batch, latents + words]; at any gain."""

    def __init__(self, recipe: InvertRecipe, latents: int) -> None:
        super().__init__()
        settings, rate = recipe.network, recipe.frames.sample_rate
        self.spectrogram = Spectrogram(rate, settings.transform_length, settings.transform_hop, settings.bands)
        self.stem, self.blocks, channels = resnet(settings.width)
        self.last = nn.Linear(channels, latents + len(settings.words))
        begin(self)

    def forward(self, clips: Tensor) -> Tensor:
        pictures = self.stem(self.spectrogram(clips))
        for block in self.blocks:
            pictures = block(pictures)
        placed: Tensor = self.last(pictures.mean((2, 3)))
        return placed


def following(recipe: InvertRecipe, others: Mapping[str, Recipe]) -> InvertRecipe:
    """Return a recipe with the frames and the labels of the generator that it is built on, by the others' recipes.

    Raises:
        UserError: they are none of a generator of clips and of a classifier.
    """
    made, judged = others["generator"], others["judge"]
    if not isinstance(made, WaveGANRecipe | DCGANRecipe) or isinstance(made, HalvesRecipe):
        raise UserError(
            f"--generator is a run of {made.name}, which makes no clips of codes in a contest; give one of "
            "clip-wavegan or clip-dcgan"
        )
    if not isinstance(judged, ClassifierRecipe):
        raise UserError(f"--classifier is a run of {judged.name}, which tells no labels; give one of digits-classifier")
    words = list(getattr(made.network, "words", []))
    network = recipe.network.model_copy(update={"words": words})
    return recipe.model_copy(update={"frames": made.frames, "network": network})
