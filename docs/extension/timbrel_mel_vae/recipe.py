"""Settings of recipes; imports no torch."""

from typing import Annotated, Literal

from pydantic import Field
from timbrel.train.recipe import Latents, Recipe, RecipeSection, SpectralFrames, Weight


class MelNetwork(RecipeSection):
    bands: Annotated[int, Field(ge=16, le=128)]
    hidden: Annotated[int, Field(ge=8, le=4096)]
    latents: Latents


class MelLoss(RecipeSection):
    mean_square: Weight = 1.0
    divergence: Weight


class MelRecipe(Recipe):
    family: Literal["mel-vae"]
    frames: SpectralFrames
    network: MelNetwork
    loss: MelLoss
