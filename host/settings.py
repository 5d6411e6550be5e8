"""What every table of a preset has in common."""

from pydantic import BaseModel, ConfigDict


class Misplaced(ValueError):
    """A part of a preset that does not go with another, and where it is."""

    def __init__(self, where: tuple[str | int, ...], what: str) -> None:
        super().__init__(what)
        self.where = where


class Part(BaseModel):
    """A table: what it does not know is refused, and so are infinities and NaN."""

    model_config = ConfigDict(extra="forbid", allow_inf_nan=False)
