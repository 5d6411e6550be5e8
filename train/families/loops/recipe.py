"""Recipes of the loops family."""

from typing import Annotated, Literal

from pydantic import Field

from ...recipe import Frames, Latents, Recipe, RecipeSection, Weight


class LoopFrames(Frames):
    """Slices of ``hop_length`` samples after an overlap; rate, lengths and grid come from the corpus."""

    steps_per_beat: Annotated[int, Field(ge=1, le=64)]
    beats_per_bar: Annotated[int, Field(ge=1, le=32)]

    @property
    def bar(self) -> int:
        return self.steps_per_beat * self.beats_per_bar


class LoopNetworkSettings(RecipeSection):
    """LSTM over codes of ``components`` numbers, with a codebook of ``prototypes``, trained on ``bars`` at a time.

    ``own`` and ``forgotten`` are shares of steps whose previous slices are replaced by own choices, by zeros.
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
    """Choice and distribution are nats a step; others are 1 without adaptation or informative codes."""

    choice: Weight
    bend: Weight
    timing: Weight
    density: Weight
    distribution: Weight


class LoopRecipe(Recipe):
    family: Literal["loops"]
    frames: LoopFrames
    network: LoopNetworkSettings
    loss: LoopLoss
