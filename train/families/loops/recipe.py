"""The settings of recipes of the loops family: networks that play on in the manner of loops, slice by slice."""

from typing import Annotated, Literal

from pydantic import Field

from ...recipes.base import Frames, Latents, Recipe, RecipeSection, Weight


class LoopFrames(Frames):
    """Slices of loops: one for each step of the corpus's grid, ``hop_length`` samples, and an overlap before it.

    Rate, lengths and grid are the corpus's own, filled in when a run begins.
    """

    steps_per_beat: Annotated[int, Field(ge=1, le=64)]
    beats_per_bar: Annotated[int, Field(ge=1, le=32)]

    @property
    def bar(self) -> int:
        """Return how many steps a bar has."""
        return self.steps_per_beat * self.beats_per_bar


class LoopNetworkSettings(RecipeSection):
    """A memory that chooses among slices that were learned, and bends what it has chosen.

    A slice's code are its first ``components``; ``prototypes`` are those to choose from, ``latents`` steer. Each
    training sequence has ``bars``. The memory is fed its own choices in a share ``own`` of steps, and nothing in a
    share ``forgotten``.
    """

    latents: Latents
    components: Annotated[int, Field(ge=4, le=1024)]
    prototypes: Annotated[int, Field(ge=2, le=4096)]
    size: Annotated[int, Field(ge=8, le=4096)]
    bars: Annotated[int, Field(ge=1, le=64)]
    dropout: Annotated[float, Field(ge=0, lt=1)]
    own: Annotated[float, Field(ge=0, le=1)]
    forgotten: Annotated[float, Field(ge=0, le=1)]


class LoopLoss(RecipeSection):
    """Weights of the terms: of the choice and of the steering codes in nats a step, of the bend in parts of what it can
    take away, of timing and density in parts of what is not known without a code."""

    choice: Weight
    bend: Weight
    timing: Weight
    density: Weight
    distribution: Weight


class LoopRecipe(Recipe):
    """Networks that play on in the manner of loops."""

    family: Literal["loops"]
    frames: LoopFrames
    network: LoopNetworkSettings
    loss: LoopLoss


RECIPES = (LoopRecipe,)  # by their `family`
