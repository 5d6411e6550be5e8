"""The settings of recipes of the clip family: autoencoders of whole short sounds, made for playing."""

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from ...recipes.base import Frames, Latents, Recipe, RecipeSection, Weight

UNIT = 2048  # samples of which a length is a multiple: hops and parts of loudness divide it at any rate of a corpus


class HitFrames(Frames):
    """Whole clips of ``frame_length`` samples: a recording's beginning, silence after what is shorter.

    Fewer training clips than ``enough`` are varied at each turn: moved by up to ``semitones``, and damped by up to
    ``damping`` nepers a second.
    """

    semitones: Annotated[float, Field(ge=0, le=24)]
    damping: Annotated[float, Field(ge=0, le=200)]
    enough: Annotated[int, Field(ge=0, le=1_000_000)]

    @model_validator(mode="after")
    def _whole_parts(self) -> Self:
        if self.frame_length % UNIT:
            raise ValueError(f"frame_length {self.frame_length} must be a multiple of {UNIT}")
        return self


class HitNetwork(RecipeSection):
    """An autoencoder whose outer layers begin as the principal components of the clips' spectra and loudness.

    ``words`` are those of the labels that the network knows: the corpus's own, filled in when a run begins.
    """

    latents: Latents
    components: Annotated[int, Field(ge=4, le=1024)]
    hidden: Annotated[int, Field(ge=16, le=8192)]
    labels: bool  # whether the decoder is told each clip's label
    words: list[str] = Field(default=[], max_length=1024)


class HitLoss(RecipeSection):
    """Weights of the terms: in dB but for attack, in ms, distribution, in nats, and label and obedience, entropies."""

    mel: Weight
    spectrum: Weight
    loudness: Weight
    envelope: Weight
    attack: Weight
    distribution: Weight
    label: Weight
    sharpness: Weight
    likeness: Weight
    obedience: Weight


class HitRecipe(Recipe):
    """Autoencoders of whole short sounds."""

    family: Literal["clip"]
    frames: HitFrames
    network: HitNetwork
    loss: HitLoss


RECIPES = (HitRecipe,)  # by their `family`
