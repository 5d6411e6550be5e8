"""Recipes of the clip family."""

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from ...recipe import Frames, Latents, Recipe, RecipeSection, Weight

UNIT = 2048  # lengths are multiples of this many samples: hops and loudness parts divide it at any sample rate


class HitFrames(Frames):
    """Beginnings of recordings, zero-padded.

    Below ``enough`` training clips, they vary by up to ``semitones``, and in damping by ``damping`` nepers a second.
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
    """The corpus provides the labels, ``words``."""

    latents: Latents
    components: Annotated[int, Field(ge=4, le=1024)]
    hidden: Annotated[int, Field(ge=16, le=8192)]
    labels: bool  # conditions the decoder on each clip's label
    words: list[str] = Field(default=[], max_length=1024)


class HitLoss(RecipeSection):
    """Terms are in dB, except attack (ms), distribution (nats), label and obedience (entropies)."""

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


class ClipRecipe(Recipe):
    family: Literal["clip"]
    frames: HitFrames
    network: HitNetwork
    loss: HitLoss
