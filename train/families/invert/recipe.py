"""Recipe settings of the invert family: networks that predict codes of clips for a generator."""

from typing import Annotated, Literal

from pydantic import Field

from ...recipes.base import Recipe, RecipeSection, Weight
from ..gan.recipe import ClipFrames


class InvertNetwork(RecipeSection):
    """ResNet-18 over mel band levels, with a code as output.

    ``width`` is the channels of the first of four stages, 64 in the publication; ``transform_length`` and
    ``transform_hop`` are in samples. ``words`` are the generator's labels, filled in when a run begins.
    """

    width: Annotated[int, Field(ge=1, le=256)]
    transform_length: Annotated[int, Field(ge=16, le=65536)]
    transform_hop: Annotated[int, Field(ge=1, le=65536)]
    bands: Annotated[int, Field(ge=8, le=512)]
    words: list[str] = Field(default=[], max_length=1024)


class InvertLoss(RecipeSection):
    """Weights of the terms: perceptual on recordings and generated clips, codes, and labels."""

    recorded: Weight = 1.0
    generated: Weight = 1.0
    latent: Weight = 1.0
    label: Weight = 1.0


class InvertRecipe(Recipe):
    """Networks that invert generators."""

    family: Literal["invert"]
    frames: ClipFrames
    network: InvertNetwork
    loss: InvertLoss = InvertLoss()


RECIPES = (InvertRecipe,)  # by their `family`
