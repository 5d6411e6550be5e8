"""Base class of preset tables, and controllable numbers."""

from collections.abc import Iterator
from typing import Annotated, Any, NamedTuple, get_args, get_origin

from annotated_types import Ge, Le
from pydantic import BaseModel, ConfigDict
from pydantic.fields import FieldInfo


class Misplaced(ValueError):
    """A setting's conflict with another, and its location."""

    def __init__(self, location: tuple[str | int, ...], message: str) -> None:
        super().__init__(message)
        self.location = location


class SettingsSection(BaseModel):
    """A preset table; refuses unknown keys, infinities and NaN."""

    model_config = ConfigDict(extra="forbid", allow_inf_nan=False)


class Fault(NamedTuple):
    """Entries of the key path count from 0."""

    location: tuple[str | int, ...]
    message: str


class Knob(NamedTuple):
    """Annotates a controllable number; ``highest``: the maximum if the field has none."""

    unit: str
    target: str = ""
    highest: float | None = None


class Control(NamedTuple):
    name: str
    low: float
    high: float
    unit: str
    field: str

    def clamp(self, value: float) -> float:
        return min(max(value, self.low), self.high)


def controls_of(table: type[SettingsSection], section: str = "") -> dict[str, Control]:
    """Numbers annotated with `Knob`, by target; ``section``: prefix of targets."""
    controls = {}
    for field, info in table.model_fields.items():
        marks = list(_marks(info))
        for knob in (mark for mark in marks if isinstance(mark, Knob)):
            name = knob.target or (f"{section}.{field}" if section else field)
            low = next(float(str(mark.ge)) for mark in marks if isinstance(mark, Ge))
            high = next((float(str(mark.le)) for mark in marks if isinstance(mark, Le)), knob.highest)
            assert high is not None
            controls[name] = Control(name, low, high, knob.unit, field)
    return controls


def _marks(info: FieldInfo) -> Iterator[Any]:
    yield from info.metadata
    for part in get_args(info.annotation):
        if get_origin(part) is Annotated:
            for mark in part.__metadata__:
                yield from mark.metadata if isinstance(mark, FieldInfo) else [mark]
