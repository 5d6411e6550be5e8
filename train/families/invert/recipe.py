"""Recipes of the invert family."""

from typing import Annotated, Literal

from pydantic import Field

from ...recipe import Recipe, RecipeSection, Weight
from ..gan.recipe import ClipFrames


class InvertNetwork(RecipeSection):
    """ResNet-18 with ``width`` channels in its first stage, 64 in the publication; lengths are in samples.

    The generator provides the labels, ``words``.
    """

    width: Annotated[int, Field(ge=1, le=256)]
    transform_length: Annotated[int, Field(ge=16, le=65536)]
    transform_hop: Annotated[int, Field(ge=1, le=65536)]
    bands: Annotated[int, Field(ge=8, le=512)]
    words: list[str] = Field(default=[], max_length=1024)


class InvertLoss(RecipeSection):
    """Weights of perceptual errors on recordings and generated clips, codes and labels."""

    recorded: Weight = 1.0
    generated: Weight = 1.0
    latent: Weight = 1.0
    label: Weight = 1.0


class InvertRecipe(Recipe):
    family: Literal["invert"]
    frames: ClipFrames
    network: InvertNetwork
    loss: InvertLoss = InvertLoss()
