"""Recipe settings of the classifier family: networks that recognise labelled clips."""

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from ...recipes.base import Frames, Recipe, RecipeSection, Weight


class LabelledFrames(Frames):
    """Clips of one length; ``frame_length`` is the spectrogram's window in samples."""

    clip_length: Annotated[int, Field(ge=256, le=1 << 20)]  # samples: shorter clips are zero-padded
    bands: Annotated[int, Field(ge=8, le=512)]  # mel bands of a spectrogram
    later_seconds: Annotated[float, Field(ge=0, le=10)] = 0.0  # largest random delay of a training clip

    @model_validator(mode="after")
    def _hold_a_window(self) -> Self:
        if self.clip_length < self.frame_length:
            raise ValueError(f"clip_length {self.clip_length} must hold a window of frame_length {self.frame_length}")
        return self


class ResNet(RecipeSection):
    """ResNet-18 (He et al., "Deep Residual Learning for Image Recognition", CVPR 2016, table 1).

    ``width`` is the channels of the first of four stages, 64 in the paper; each stage doubles them. The corpus provides
    ``words``, the labels, when a run begins.
    """

    width: Annotated[int, Field(ge=1, le=256)]
    words: list[str] = Field(default=[], max_length=1024)


class ClassifierLoss(RecipeSection):
    """Weight of the only loss term."""

    cross_entropy: Weight = 1.0


class ClassifierRecipe(Recipe):
    """Networks that recognise labelled clips."""

    family: Literal["classifier"]
    frames: LabelledFrames
    network: ResNet
    loss: ClassifierLoss = ClassifierLoss()


RECIPES = (ClassifierRecipe,)  # selected by `family`
