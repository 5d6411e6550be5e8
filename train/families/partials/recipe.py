"""Recipes of the partials family."""

from typing import Annotated, Literal, Self

import numpy as np
from pydantic import Field, field_validator, model_validator

from ....host.kinds.card_fields import PartialsLayout
from ....host.units import INAUDIBLE_HZ
from ...recipe import Latents, Recipe, RecipeSection, SpectralFrames, Weight, Widths

LOWEST_BAND_HZ = 43.0  # upper edge of the lowest noise band: lower bands would be narrower than bins
Key = Annotated[float, Field(ge=0, le=127.5)]


class PartialsFrames(SpectralFrames):
    """Frames at the notes' own pitch."""

    harmonics: Annotated[int, Field(ge=1, le=400)]
    bands: Annotated[int, Field(ge=2, le=256)]  # of noise: one from 20 to 43 Hz, the others equally wide in octaves
    low: Key | None = None  # lowest and highest MIDI note; None uses the corpus's range
    high: Key | None = None
    # String inharmonicity as in cards; false: none; true: measured from the corpus when training begins.
    stretch: tuple[float, float] | bool = True
    rows: Annotated[int, Field(ge=1000, le=50_000_000)]  # largest number of frames

    @field_validator("stretch", mode="before")
    @classmethod
    def _says_how_stiff(cls, value: object) -> object:
        match value:
            case bool() | [int() | float(), int() | float()]:
                return value
        raise ValueError("must be true, false, or two numbers: B = exp(first + second * key), such as [-11.0, 0.06]")

    @property
    def edges_hz(self) -> list[float]:
        """Edges of the noise bands, [bands + 1], from 20 Hz."""
        return [INAUDIBLE_HZ, *np.geomspace(LOWEST_BAND_HZ, self.sample_rate / 2, self.bands).tolist()]

    @property
    def layout(self) -> PartialsLayout:
        low, high = self.span
        stretch = None if isinstance(self.stretch, bool) else self.stretch
        return PartialsLayout(harmonics=self.harmonics, edges_hz=self.edges_hz, low=low, high=high, stretch=stretch)

    @property
    def span(self) -> tuple[float, float]:
        """Lowest and highest MIDI note; the recipe must be complete."""
        assert self.low is not None
        assert self.high is not None
        return self.low, self.high


class PartialsNetwork(RecipeSection):
    latents: Latents
    encoder: Annotated[Widths, Field(min_length=1)]
    decoder: Annotated[Widths, Field(min_length=1)]


class PartialsLoss(RecipeSection):
    """All terms are in dB except uniformity."""

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
    family: Literal["partials"]
    frames: PartialsFrames
    network: PartialsNetwork
    loss: PartialsLoss
