"""Recipes of the families gan, logistic-gan, dcgan and halves."""

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from ...recipe import Frames, Recipe, RecipeSection, Weight, Widths

Codes = Annotated[int, Field(ge=1, le=4096)]  # size of a code: the largest that a model's card allows
LENGTHS = {  # strides of the layers: the paper's three lengths, and half the shortest for speech at 8 kHz
    8192: (4, 4, 4, 4, 2),
    16384: (4, 4, 4, 4, 4),
    32768: (4, 4, 4, 4, 4, 2),
    65536: (4, 4, 4, 4, 4, 4),
}
STRIDE = 4  # of each of the DCGAN's layers
FIRST = 16  # samples after a WaveGAN's first layer, which its strides extend to the clip


class ClipFrames(Frames):
    """Clips of ``frame_length`` samples; longer recordings yield one per ``hop_length``, with random starts."""

    normalised: bool  # scales each clip to a peak of 1


class WaveGANNetwork(RecipeSection):
    """The corpus provides the labels, ``words``."""

    latents: Codes
    model_size: Annotated[int, Field(ge=1, le=256)]  # d in the paper: all widths are multiples
    phase_shuffle: Annotated[int, Field(ge=0, le=16)]  # largest shift of the critic's layers, in samples
    average: Annotated[float, Field(ge=0, lt=1)]  # decay per step of the generator's mean weights; 0 disables them
    labels: bool  # conditions the networks on each clip's label
    words: list[str] = Field(default=[], max_length=1024)
    # For generators of the paper's code: layers cut one sample less off their start, as TensorFlow's "SAME" does; and
    # samples of the filter that follows the last layer, an odd number, or 0 for none.
    tensorflow_padding: bool = False
    post_filter: Annotated[int, Field(ge=0, le=4095)] = 0


class WaveGANLoss(RecipeSection):
    penalty: Weight


class GANRecipe(Recipe):
    frames: ClipFrames
    network: WaveGANNetwork
    loss: WaveGANLoss

    @model_validator(mode="after")
    def _check_length_and_words(self) -> Self:
        if self.frames.frame_length not in LENGTHS:
            allowed = ", ".join(map(str, LENGTHS))
            raise ValueError(f"frames.frame_length {self.frames.frame_length} must be one of {allowed}")
        if self.network.post_filter and not self.network.post_filter % 2:
            raise ValueError(f"network.post_filter {self.network.post_filter} must be odd, or 0 for no filter")
        if self.network.words and not self.network.labels:
            raise ValueError("network.words go with network.labels = true; leave them out, or set it")
        return self


class WaveGANRecipe(GANRecipe):
    family: Literal["gan"]


class LogisticGANNetwork(WaveGANNetwork):
    critic_rate: Annotated[float, Field(gt=0, le=100)]  # learning rate of the critics, in those of the generator
    spectral_size: Annotated[int, Field(ge=0, le=256)]  # channels of the spectral critic's first layer; 0 disables it
    augmentation: bool  # shifts and scales clips at random before they are judged
    bfloat16: bool  # critics compute in 16 bits in training: faster where the processor has instructions for them


class LogisticGANLoss(WaveGANLoss):
    """0 disables a term. Classification and recognition need labels and a spectral critic."""

    classification: Weight  # of recordings, which the critic learns
    recognition: Weight  # of generated clips, which the generator learns
    sameness: Weight  # of generated clips of a label, where they differ less than recordings of it do


class LogisticGANRecipe(GANRecipe):
    family: Literal["logistic-gan"]
    network: LogisticGANNetwork
    loss: LogisticGANLoss

    @model_validator(mode="after")
    def _classifies(self) -> Self:
        if self.classifies and not (self.network.labels and self.network.spectral_size):
            raise ValueError(
                "loss.classification and loss.recognition need network.labels = true and a network.spectral_size; "
                "set these, or both weights to 0"
            )
        return self

    @property
    def classifies(self) -> bool:
        return bool(self.loss.classification or self.loss.recognition)


class DCGANNetwork(RecipeSection):
    latents: Codes
    channels: Annotated[Widths, Field(min_length=1)]  # of the discriminator, first to last; the generator mirrors them
    dropout: Annotated[float, Field(ge=0, lt=1)]
    # Batch normalisation between the discriminator's layers, as in the post; without it, codes' sounds differ more.
    normalised_discriminator: bool = True


class DCGANLoss(RecipeSection):
    """All terms weigh 1."""


class DCGANRecipe(Recipe):
    family: Literal["dcgan"]
    frames: ClipFrames
    network: DCGANNetwork
    loss: DCGANLoss = DCGANLoss()

    @model_validator(mode="after")
    def _check_length(self) -> Self:
        length, multiple = self.frames.frame_length, STRIDE ** len(self.network.channels)
        if length % multiple:
            raise ValueError(
                f"frames.frame_length {length} must be a multiple of {multiple}, "
                f"by which {len(self.network.channels)} layers shorten it"
            )
        return self


class HalvesRecipe(DCGANRecipe):
    family: Literal["halves"]  # type: ignore[assignment]
