"""The settings of recipes of generators of clips: the WaveGAN, the DCGAN of one dimension, and its two halves."""

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from ...recipes.base import Frames, Recipe, RecipeSection, Weight, Widths

Codes = Annotated[int, Field(ge=1, le=4096)]  # numbers of a code: as many as a model's card can hold
LENGTHS = {  # strides of the layers: the paper's three, and half its shortest for speech at 8 kHz
    8192: (4, 4, 4, 4, 2),
    16384: (4, 4, 4, 4, 4),
    32768: (4, 4, 4, 4, 4, 2),
    65536: (4, 4, 4, 4, 4, 4),
}
STRIDE = 4  # of each of the DCGAN's layers
FIRST = 16  # samples that a WaveGAN's first layer gives: its strides make the clip of them


class ClipFrames(Frames):
    """Clips: ``frame_length`` samples each. A longer recording gives one for every ``hop_length``, begun by chance."""

    normalised: bool  # each clip is brought to a peak of 1


class WaveGANNetwork(RecipeSection):
    """The WaveGAN of Donahue, McAuley and Puckette ("Adversarial Audio Synthesis", ICLR 2019, appendix D).

    ``words`` are those of the labels that the networks know: they are the corpus's own, and filled in when a run
    begins.
    """

    latents: Codes
    model_size: Annotated[int, Field(ge=1, le=256)]  # d: all widths are multiples of it
    phase_shuffle: Annotated[int, Field(ge=0, le=16)]  # samples by which the critic's layers are moved at the most
    average: Annotated[float, Field(ge=0, lt=1)]  # what is kept a step of the generator's mean weights; 0 has none
    labels: bool  # whether the networks are told each clip's label
    words: list[str] = Field(default=[], max_length=1024)


class WaveGANLoss(RecipeSection):
    """Weights of the terms."""

    penalty: Weight


class WaveGANRecipe(Recipe):
    """WaveGANs."""

    family: Literal["gan"]
    frames: ClipFrames
    network: WaveGANNetwork
    loss: WaveGANLoss

    @model_validator(mode="after")
    def _whole(self) -> Self:
        if self.frames.frame_length not in LENGTHS:
            allowed = ", ".join(map(str, LENGTHS))
            raise ValueError(f"frames.frame_length {self.frames.frame_length} must be one of {allowed}")
        if self.network.words and not self.network.labels:
            raise ValueError("network.words go with network.labels = true; leave them out, or set it")
        return self


class DCGANNetwork(RecipeSection):
    """The DCGAN of Alencar's post ("Audio Generation with GANs", 2019), and what that leaves open."""

    latents: Codes
    channels: Annotated[Widths, Field(min_length=1)]  # of the discriminator, first to last; the generator's mirrored
    dropout: Annotated[float, Field(ge=0, lt=1)]


class DCGANLoss(RecipeSection):
    """Weights of the terms."""


class DCGANRecipe(Recipe):
    """DCGANs of one dimension."""

    family: Literal["dcgan"]
    frames: ClipFrames
    network: DCGANNetwork
    loss: DCGANLoss = DCGANLoss()

    @model_validator(mode="after")
    def _whole(self) -> Self:
        length, parts = self.frames.frame_length, STRIDE ** len(self.network.channels)
        if length % parts:
            raise ValueError(
                f"frames.frame_length {length} must be a multiple of {parts}, "
                f"by which {len(self.network.channels)} layers shorten it"
            )
        return self


class HalvesRecipe(DCGANRecipe):
    """Autoencoders made of a DCGAN's two halves."""

    family: Literal["halves"]  # type: ignore[assignment]


RECIPES = (
    WaveGANRecipe,
    DCGANRecipe,
    HalvesRecipe,
)  # by their `family`
