"""The settings of recipes of the classifier family: networks that tell labelled clips apart."""

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from ...recipes.base import Frames, Recipe, RecipeSection, Weight


class LabelledFrames(Frames):
    """Clips of one length, and the spectrograms in which they are seen: windows of ``frame_length`` samples."""

    clip_length: Annotated[int, Field(ge=256, le=1 << 20)]  # samples: silence follows what is shorter
    bands: Annotated[int, Field(ge=8, le=512)]  # mel bands of a spectrogram
    later_seconds: Annotated[float, Field(ge=0, le=10)] = 0.0  # by which a training clip begins later at the most

    @model_validator(mode="after")
    def _hold_a_window(self) -> Self:
        if self.clip_length < self.frame_length:
            raise ValueError(f"clip_length {self.clip_length} must hold a window of frame_length {self.frame_length}")
        return self


class ResNet(RecipeSection):
    """ResNet-18 (He et al., "Deep Residual Learning for Image Recognition", CVPR 2016, table 1).

    ``width`` is how many channels the first of its four stages has, of which each has twice those before: 64 there.
    ``words`` are the labels that it tells apart: the corpus's own, filled in when a run begins.
    """

    width: Annotated[int, Field(ge=1, le=256)]
    words: list[str] = Field(default=[], max_length=1024)


class ClassifierLoss(RecipeSection):
    """Weights of the terms: there is one."""

    cross_entropy: Weight = 1.0


class ClassifierRecipe(Recipe):
    """Networks that tell labels from clips."""

    family: Literal["classifier"]
    frames: LabelledFrames
    network: ResNet
    loss: ClassifierLoss = ClassifierLoss()


RECIPES = (ClassifierRecipe,)  # by their `family`
