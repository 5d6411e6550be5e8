"""Recipes of the sequence family."""

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from ...recipe import Frames, Recipe, RecipeSection, Weight

MOST_FRAMES = 1 << 14  # of a sequence: six minutes at the post's settings


class SequenceFrames(Frames):
    """Frames of samples, or of real and imaginary parts of transforms, crossfaded where they overlap.

    ``half_complex`` leaves out the two imaginary parts that are always zero.
    Recordings above ``longest`` frames are split; ``silence`` silent frames follow each recording.
    """

    domain: Literal["samples", "real_imag", "half_complex"]
    longest: Annotated[int, Field(ge=2, le=MOST_FRAMES)]
    silence: Annotated[int, Field(ge=0, le=MOST_FRAMES)]

    @model_validator(mode="after")
    def _half_a_frame_ahead(self) -> Self:
        if 2 * self.hop_length < self.frame_length:
            raise ValueError(f"hop_length {self.hop_length} must be half of frame_length {self.frame_length} at least")
        if self.frame_length % 2:
            raise ValueError(f"frame_length {self.frame_length} must be even, for its Fourier transform to come back")
        return self


class SequenceNetwork(RecipeSection):
    """LSTM layers between linear ones, with gradients over ``reach`` frames.

    Own predictions' share in the input grows to ``own_share`` in ``own_steps`` steps; ``noise`` is a deviation on
    standard frames. The corpus provides ``clips``, the number of sequences. Without ``latents`` sequences have no code.
    """

    latents: Annotated[int, Field(ge=0, le=64)]
    size: Annotated[int, Field(ge=1, le=8192)]
    layers: Annotated[int, Field(ge=1, le=8)]
    reach: Annotated[int, Field(ge=2, le=MOST_FRAMES)]
    own_share: Annotated[float, Field(ge=0, le=1)]
    own_steps: Annotated[int, Field(ge=1, le=1_000_000_000)]
    noise: Annotated[float, Field(ge=0, le=4)]
    clips: Annotated[int, Field(ge=0, le=1_000_000)] = 0


class SequenceLoss(RecipeSection):
    mean_square: Weight
    first: Weight
    code: Weight


class SequenceRecipe(Recipe):
    family: Literal["sequence"]
    frames: SequenceFrames
    network: SequenceNetwork
    loss: SequenceLoss
