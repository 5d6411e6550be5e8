"""Recipes of the classifier family."""

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from ...recipe import Frames, Recipe, RecipeSection, Weight


class LabelledFrames(Frames):
    """Clips of one length; ``frame_length`` is the spectrogram's window."""

    clip_length: Annotated[int, Field(ge=256, le=1 << 20)]  # samples: shorter clips are zero-padded
    bands: Annotated[int, Field(ge=8, le=512)]  # mel bands of a spectrogram
    later_seconds: Annotated[float, Field(ge=0, le=10)] = 0.0  # largest random delay of a training clip

    @model_validator(mode="after")
    def _hold_a_window(self) -> Self:
        if self.clip_length < self.frame_length:
            raise ValueError(f"clip_length {self.clip_length} must hold a window of frame_length {self.frame_length}")
        return self


class ResNet(RecipeSection):
    """ResNet-18 with ``width`` channels in its first stage, 64 in the paper; the corpus provides ``words``."""

    width: Annotated[int, Field(ge=1, le=256)]
    words: list[str] = Field(default=[], max_length=1024)


class ClassifierLoss(RecipeSection):
    cross_entropy: Weight = 1.0


class ClassifierRecipe(Recipe):
    family: Literal["classifier"]
    frames: LabelledFrames
    network: ResNet
    loss: ClassifierLoss = ClassifierLoss()
