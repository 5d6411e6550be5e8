"""The base of every table of a preset, which says which of its numbers knobs can turn."""

from collections.abc import Iterator
from typing import Annotated, Any, NamedTuple, get_args, get_origin

from annotated_types import Ge, Le
from pydantic import BaseModel, ConfigDict
from pydantic.fields import FieldInfo


class Misplaced(ValueError):
    """A part of a preset that does not go with another, and where it is."""

    def __init__(self, where: tuple[str | int, ...], what: str) -> None:
        super().__init__(what)
        self.where = where


class SettingsSection(BaseModel):
    """A table: what it does not know is refused, and so are infinities and NaN."""

    model_config = ConfigDict(extra="forbid", allow_inf_nan=False)


class Fault(NamedTuple):
    """A fault in a preset, in words, and the keys that lead to it: lists' entries are counted from 0."""

    where: tuple[str | int, ...]
    what: str


class Knob(NamedTuple):
    """Marks a number of a table that knobs can turn, in its annotation: its unit, and what it is called as a target.

    ``highest`` is the end of its range where the table itself sets none.
    """

    unit: str
    target: str = ""
    highest: float | None = None


class Control(NamedTuple):
    """A number that a knob can turn: its target, its range and its unit, and what it is called in its table."""

    name: str
    low: float
    high: float
    unit: str
    field: str

    def within(self, value: float) -> float:
        """Return the nearest value in its range."""
        return min(max(value, self.low), self.high)


def controls_of(table: type[SettingsSection], section: str = "") -> dict[str, Control]:
    """Return what knobs can turn in a table, by target: what its fields' annotations mark as a `Knob`.

    Args:
        section: the name of the table where it is a part of the targets' names.
    """
    found = {}
    for field, info in table.model_fields.items():
        marks = list(_marks(info))
        for knob in (mark for mark in marks if isinstance(mark, Knob)):
            name = knob.target or (f"{section}.{field}" if section else field)
            low = next(float(str(mark.ge)) for mark in marks if isinstance(mark, Ge))
            high = next((float(str(mark.le)) for mark in marks if isinstance(mark, Le)), knob.highest)
            assert high is not None
            found[name] = Control(name, low, high, knob.unit, field)
    return found


def _marks(info: FieldInfo) -> Iterator[Any]:
    """Yield all that the annotation of a field says besides its type, of a number that may be left out too."""
    yield from info.metadata
    for part in get_args(info.annotation):
        if get_origin(part) is Annotated:
            for mark in part.__metadata__:
                yield from mark.metadata if isinstance(mark, FieldInfo) else [mark]
