"""Recipes of the chroma family."""

from typing import Annotated, Literal, Self

from pydantic import BeforeValidator, Field, model_validator

from ...recipe import Latents, Recipe, RecipeSection, SpectralFrames, Weight, Widths

OCTAVES = range(1, 8)  # allowed targets of moved notes


def _an_octave(value: object) -> object:
    if value in (None, "lowest") or (type(value) is int and value in OCTAVES):
        return value
    raise ValueError(f"must be {OCTAVES[0]} to {OCTAVES[-1]}, or 'lowest', the corpus's own")


class ChromaFrames(SpectralFrames):
    # Target octave of all notes; "lowest": the octave of the corpus's lowest notes; None: notes stay.
    octave: Annotated[int | Literal["lowest"] | None, BeforeValidator(_an_octave)] = None
    views: Annotated[int, Field(ge=1, le=12)]  # pitch classes for each frame, when octave is set
    rows: Annotated[int, Field(ge=1000, le=50_000_000)]  # largest number of frames × views

    @property
    def fold(self) -> int | None:
        """Octave to move notes into; the recipe must be complete."""
        assert self.octave != "lowest"
        return self.octave

    @model_validator(mode="after")
    def _has_octave_for_views(self) -> Self:
        if self.views > 1 and self.octave is None:
            raise ValueError("views above 1 need an octave to move notes into; set frames.octave, such as 4")
        return self


class ChromaNetwork(RecipeSection):
    latents: Latents
    hidden: Annotated[Widths, Field(min_length=1)]
    bottleneck: Literal["sigmoid", "lrelu"]
    augmentation: Literal["none", "difference", "chroma"]
    skip: bool
    variational: bool
    # root: square roots of magnitudes in and out; level: mel band levels in, logarithms out.
    domain: Literal["magnitude", "root", "level"]


class ChromaLoss(RecipeSection):
    mean_square: Weight = 0.0
    squares: Weight = 0.0
    root_squares: Weight = 0.0
    bands: Weight = 0.0
    groups: Weight = 0.0
    consistency: Weight = 0.0
    uniformity: Weight = 0.0
    divergence: Weight = 0.0

    @model_validator(mode="after")
    def _compares(self) -> Self:
        comparing = ("mean_square", "squares", "root_squares", "bands", "groups")
        if not any(getattr(self, name) for name in comparing):
            raise ValueError(f"one of {', '.join(comparing)} must be above 0: they compare the sounds")
        return self


class ChromaRecipe(Recipe):
    family: Literal["chroma"]
    frames: ChromaFrames
    network: ChromaNetwork
    loss: ChromaLoss
