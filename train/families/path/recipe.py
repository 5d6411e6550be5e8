"""Recipes of the path family."""

from typing import Annotated, Literal

from pydantic import Field

from ...recipe import Recipe, RecipeSection, Weight
from ..grain.recipe import GrainFrames


class PathNetwork(RecipeSection):
    """A GRU and a mixture of Gaussians; its example sequences have ``steps`` steps of half a grain."""

    hidden: Annotated[int, Field(ge=1, le=256)]
    components: Annotated[int, Field(ge=1, le=32)]  # of the mixture
    dropout: Annotated[float, Field(ge=0, lt=1)]
    steps: Annotated[int, Field(ge=2, le=4096)]


class PathLoss(RecipeSection):
    likelihood: Weight = 1.0


class PathRecipe(Recipe):
    family: Literal["grain-path"]
    frames: GrainFrames
    network: PathNetwork
    loss: PathLoss = PathLoss()
