"""The settings of recipes of the grain family: the autoencoders of the Ambisynth post, and what cures them."""

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from ...recipes.base import Frames, Latents, Recipe, RecipeSection, Weight, Widths


class GrainFrames(Frames):
    """Windows of samples."""

    align: bool  # each window is moved to where its largest sample, made positive, lies at a quarter of it
    held_out: Annotated[float, Field(ge=0, le=0.5)]  # part of each training clip, its last, that is not trained on
    softer_db: Annotated[float, Field(ge=0, le=60)] = 0.0  # by how much a training window may be softer, by chance

    @model_validator(mode="after")
    def _even(self) -> Self:
        if self.frame_length % 2:
            raise ValueError(f"frame_length {self.frame_length} must be even, such as 1002")
        return self


class GrainNetwork(RecipeSection):
    """The autoencoders of the Ambisynth post, and what cures them.

    ``domain`` is what is decoded: samples; the spectrum's magnitudes and unwrapped phases; or a filter for noise, as
    logarithms of ``bands`` levels, and ``envelope_points`` levels over the grain.
    """

    latents: Latents
    hidden: Annotated[Widths, Field(min_length=1)]  # of the encoder, first to last; the decoder's are mirrored
    body: Literal["dense", "convolutional"]
    domain: Literal["samples", "magnitude_phase", "noise"]
    bands: Annotated[int, Field(ge=8, le=512)] | None = None
    envelope_points: Annotated[int, Field(ge=2, le=256)] | None = None
    adjudicator: Widths  # hidden layers of what judges codes; none: not adversarial
    deviation: Annotated[float, Field(gt=0, le=100)]  # of the normal distribution that codes are trained toward
    whitened: bool  # codes are centred and decorrelated by a layer that keeps their mean and covariance

    @model_validator(mode="after")
    def _whole(self) -> Self:
        given = self.bands is not None and self.envelope_points is not None
        if self.domain == "noise" and not given:
            raise ValueError("domain 'noise' needs bands and envelope_points, such as 80 and 16")
        if self.body == "convolutional" and self.domain != "samples":
            raise ValueError("body 'convolutional' goes with domain 'samples'; use 'dense'")
        return self


class GrainLoss(RecipeSection):
    """Weights of the terms; 0 leaves a term out."""

    mean_square: Weight = 0.0
    log_spectrum: Weight = 0.0
    likelihood: Weight = 0.0
    adversarial: Weight = 0.0


class GrainRecipe(Recipe):
    """Autoencoders of sound grains."""

    family: Literal["grain"]
    frames: GrainFrames
    network: GrainNetwork
    loss: GrainLoss

    @model_validator(mode="after")
    def _whole(self) -> Self:
        loss, noise = self.loss, self.network.domain == "noise"
        if noise != bool(loss.likelihood) or noise == bool(loss.mean_square):
            raise ValueError(
                "domain 'noise' is trained by loss.likelihood, and the others by loss.mean_square; set one above 0"
            )
        if loss.log_spectrum and self.network.domain != "samples":
            raise ValueError("loss.log_spectrum goes with domain 'samples'; set it to 0")
        if bool(loss.adversarial) != bool(self.network.adjudicator):
            raise ValueError("network.adjudicator and loss.adversarial go together; set both, or neither")
        return self


RECIPES = (GrainRecipe,)  # by their `family`
