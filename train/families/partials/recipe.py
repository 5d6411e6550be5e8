"""The settings of recipes of the partials family: notes as partials and bands of noise at their own pitch."""

from typing import Annotated, Literal, Self

import numpy as np
from pydantic import Field, field_validator, model_validator

from ....host.contract.card import PartialsLayout
from ....host.units import INAUDIBLE_HZ
from ...recipes.base import Frames, Latents, Recipe, RecipeSection, Weight, Widths

LOWEST_BAND_HZ = 43.0  # the upper edge of the lowest band of noise: below it bands would be narrower than bins
Key = Annotated[float, Field(ge=0, le=127.5)]


class PartialsFrames(Frames):
    """Frames at the notes' own pitch, a power of two long."""

    frame_length: Annotated[int, Field(ge=256, le=32768)]
    hop_length: Annotated[int, Field(ge=16, le=32768)]
    harmonics: Annotated[int, Field(ge=1, le=400)]
    bands: Annotated[
        int, Field(ge=2, le=256)
    ]  # of noise: one from 20 to 43 Hz, the others as wide as each other in octaves
    low: Key | None = None  # the lowest and the highest MIDI note; the corpus's own where the recipe says none
    high: Key | None = None
    # How stiff strings are, as cards have it; false: not at all; true: the corpus's own, measured when training begins.
    stretch: tuple[float, float] | bool = True
    rows: Annotated[int, Field(ge=1000, le=50_000_000)]  # frames that are kept, at the most

    @field_validator("stretch", mode="before")
    @classmethod
    def _says_how_stiff(cls, value: object) -> object:
        match value:
            case bool() | [int() | float(), int() | float()]:
                return value
        raise ValueError("must be true, false, or two numbers: B = exp(first + second * key), such as [-11.0, 0.06]")

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if self.frame_length & (self.frame_length - 1):
            raise ValueError(f"frame_length {self.frame_length} must be a power of two, such as 4096")
        return self

    @property
    def edges_hz(self) -> list[float]:
        """Return the edges of the bands of noise, [bands + 1]: below the lowest nothing is heard."""
        return [INAUDIBLE_HZ, *np.geomspace(LOWEST_BAND_HZ, self.sample_rate / 2, self.bands).tolist()]

    @property
    def layout(self) -> PartialsLayout:
        """Return the layout of frames, as cards have it, of a recipe that has been completed."""
        low, high = self.span
        stretch = None if isinstance(self.stretch, bool) else self.stretch
        return PartialsLayout(harmonics=self.harmonics, edges_hz=self.edges_hz, low=low, high=high, stretch=stretch)

    @property
    def span(self) -> tuple[float, float]:
        """Return the lowest and the highest note of a recipe that has been completed."""
        assert self.low is not None
        assert self.high is not None
        return self.low, self.high


class PartialsNetwork(RecipeSection):
    """A dense encoder of levels in mel bands, and a dense decoder to partials and noise; both know the pitch."""

    latents: Latents
    encoder: Annotated[Widths, Field(min_length=1)]
    decoder: Annotated[Widths, Field(min_length=1)]


class PartialsLoss(RecipeSection):
    """Weights of the terms, which are in dB but for the last; 0 leaves a term out."""

    bands: Weight = 0.0
    harmonics: Weight = 0.0
    noise: Weight = 0.0
    uniformity: Weight = 0.0

    @model_validator(mode="after")
    def _compares(self) -> Self:
        if not (self.bands or self.harmonics or self.noise):
            raise ValueError("one of bands, harmonics, noise must be above 0: they compare the sounds")
        return self


class PartialsRecipe(Recipe):
    """The decoder of partials and noise."""

    family: Literal["partials"]
    frames: PartialsFrames
    network: PartialsNetwork
    loss: PartialsLoss


RECIPES = (PartialsRecipe,)  # by their `family`
