"""Recipes of the grain family."""

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from ...recipe import Frames, Latents, Recipe, RecipeSection, Weight, Widths


class GrainFrames(Frames):
    align: bool  # moves each window to place its largest sample, made positive, at a quarter
    held_out: Annotated[float, Field(ge=0, le=0.5)]  # end of each training clip not trained on, as a fraction
    softer_db: Annotated[float, Field(ge=0, le=60)] = 0.0  # largest random attenuation of a training window

    @model_validator(mode="after")
    def _even(self) -> Self:
        if self.frame_length % 2:
            raise ValueError(f"frame_length {self.frame_length} must be even, such as 1002")
        return self


class GrainNetwork(RecipeSection):
    """The noise domain has ``bands`` log levels, and ``envelope_points`` log levels over the grain."""

    latents: Latents
    hidden: Annotated[Widths, Field(min_length=1)]  # of the encoder, first to last; the decoder mirrors them
    body: Literal["dense", "convolutional"]
    domain: Literal["samples", "magnitude_phase", "noise"]
    bands: Annotated[int, Field(ge=8, le=512)] | None = None
    envelope_points: Annotated[int, Field(ge=2, le=256)] | None = None
    adjudicator: Widths  # hidden layers of the judge of codes; none: not adversarial
    deviation: Annotated[float, Field(gt=0, le=100)]  # of the normal prior of codes
    whitened: bool  # a layer with running mean and covariance centres and decorrelates codes

    @model_validator(mode="after")
    def _check_domain(self) -> Self:
        has_noise_settings = self.bands is not None and self.envelope_points is not None
        if self.domain == "noise" and not has_noise_settings:
            raise ValueError("domain 'noise' needs bands and envelope_points, such as 80 and 16")
        if self.body == "convolutional" and self.domain != "samples":
            raise ValueError("body 'convolutional' goes with domain 'samples'; use 'dense'")
        return self


class GrainLoss(RecipeSection):
    mean_square: Weight = 0.0
    log_spectrum: Weight = 0.0
    likelihood: Weight = 0.0
    adversarial: Weight = 0.0


class GrainRecipe(Recipe):
    family: Literal["grain"]
    frames: GrainFrames
    network: GrainNetwork
    loss: GrainLoss

    @model_validator(mode="after")
    def _check_terms(self) -> Self:
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
