"""Recipe sections of all families."""

from typing import Annotated, Literal, Self

import tomlkit
from pydantic import BaseModel, ConfigDict, Field, model_validator


class RecipeSection(BaseModel):
    """A table; unknown keys, infinities and NaN raise a validation error."""

    model_config = ConfigDict(extra="forbid", allow_inf_nan=False)


Weight = Annotated[float, Field(ge=0)]
Latents = Annotated[int, Field(ge=1, le=64)]
MOST_MINUTES = 100_000  # of training: ten weeks
BUDGETS = ("epochs", "steps", "minutes")
Widths = Annotated[list[Annotated[int, Field(ge=1, le=16384)]], Field(max_length=16)]


class TrainingSettings(RecipeSection):
    """The training loop's settings, with one budget: epochs, steps or minutes."""

    model_config = ConfigDict(strict=True)  # `patience = true` would end a training after one validation

    epochs: Annotated[int, Field(ge=1, le=1_000_000)] | None = None
    steps: Annotated[int, Field(ge=1, le=1_000_000_000)] | None = None
    minutes: Annotated[float, Field(gt=0, le=MOST_MINUTES)] | None = None
    batch_size: Annotated[int, Field(ge=1, le=65536)]
    learning_rate: Annotated[float, Field(gt=0, le=1)]
    schedule: Literal["constant", "cosine"]
    l2: Annotated[float, Field(ge=0, le=1)]
    seed: Annotated[int, Field(ge=0, lt=2**31)]
    # Of products of matrices; weights stay float32. TensorFloat-32, of GPUs alone, rounds factors to eleven bits.
    precision: Literal["float32", "tf32", "bfloat16"] = "float32"
    cuda_graphs: bool = False  # replays steps on a GPU, where all have the same shapes
    # Validations without a better one after which training ends before its budget; None: it never does.
    patience: Annotated[int, Field(ge=1, le=1000)] | None = None
    keep: Annotated[int, Field(ge=1, le=1000)] | None = None  # checkpoints of the last validations; None keeps none

    @model_validator(mode="after")
    def _one_budget(self) -> Self:
        budget_names = [name for name, limit in self.budget.items() if limit is not None]
        if len(budget_names) != 1:
            raise ValueError(f"set one budget of epochs, steps and minutes, not {' and '.join(budget_names) or 'none'}")
        return self

    @property
    def budget(self) -> dict[str, float | None]:
        return {name: getattr(self, name) for name in BUDGETS}


class Frames(RecipeSection):
    """Conversion of sounds to frames; lengths in samples, rates in Hz."""

    sample_rate: Annotated[int, Field(ge=6000, le=192000)]
    frame_length: Annotated[int, Field(ge=16, le=1 << 20)]
    hop_length: Annotated[int, Field(ge=1, le=1 << 20)]

    @model_validator(mode="after")
    def _hops_within(self) -> Self:
        if self.hop_length > self.frame_length:
            raise ValueError(f"hop_length {self.hop_length} must not exceed frame_length {self.frame_length}")
        return self


class SpectralFrames(Frames):
    frame_length: Annotated[int, Field(ge=256, le=32768)]
    hop_length: Annotated[int, Field(ge=16, le=32768)]

    @model_validator(mode="after")
    def _powers_of_two(self) -> Self:
        if self.frame_length & (self.frame_length - 1):
            raise ValueError(f"frame_length {self.frame_length} must be a power of two, such as 4096")
        return self


class Recipe(RecipeSection):
    """All settings of a run except the corpus; a loss weight of 0 omits its term."""

    name: str
    description: str
    family: str
    training: TrainingSettings
    frames: Frames

    def to_toml(self) -> str:
        return tomlkit.dumps(self.model_dump(exclude_none=True))
