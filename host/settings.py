"""Base class of preset tables, and controllable numbers."""

from collections.abc import Iterator
from typing import Annotated, Any, NamedTuple, get_args, get_origin

from annotated_types import Ge, Le
from pydantic import BaseModel, BeforeValidator, ConfigDict, Strict
from pydantic.fields import FieldInfo
from pydantic_core import PydanticCustomError


class Misplaced(ValueError):
    """A setting's conflict with another, and its location."""

    def __init__(self, location: tuple[str | int, ...], message: str) -> None:
        super().__init__(message)
        self.location = location


def as_whole(value: Any) -> Any:
    """Refuse a number's text, and true and false, which pydantic takes for integers."""
    if isinstance(value, bool | str):
        raise PydanticCustomError("int_type", "Input should be a valid integer")
    return value


def as_amount(value: Any) -> Any:
    """Return 1.0 for true, 0.0 for false, and another value as it is."""
    return float(value) if isinstance(value, bool) else value


AS_WHOLE = Strict(False), BeforeValidator(as_whole)  # an integer, also written as a float without fraction
Whole = Annotated[int, *AS_WHOLE]
Switch = Annotated[float, BeforeValidator(as_amount)]  # 0 to 1, also written as true or false


class SettingsSection(BaseModel):
    """A preset table; refuses unknown keys, values of other types, infinities and NaN.

    An integer may stand for a float. Fields that are tuples need ``Strict(False)``, since TOML has lists.
    """

    model_config = ConfigDict(extra="forbid", allow_inf_nan=False, strict=True)


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
    for field_name, field_info in table.model_fields.items():
        annotations = list(_marks(field_info))
        for knob in (annotation for annotation in annotations if isinstance(annotation, Knob)):
            target = knob.target or (f"{section}.{field_name}" if section else field_name)
            low = next(float(str(annotation.ge)) for annotation in annotations if isinstance(annotation, Ge))
            high = next(
                (float(str(annotation.le)) for annotation in annotations if isinstance(annotation, Le)), knob.highest
            )
            assert high is not None
            controls[target] = Control(target, low, high, knob.unit, field_name)
    return controls


def _marks(field_info: FieldInfo) -> Iterator[Any]:
    """Yield the annotations of a field, also those inside a union."""
    yield from field_info.metadata
    for union_member in get_args(field_info.annotation):
        if get_origin(union_member) is Annotated:
            for annotation in union_member.__metadata__:
                yield from annotation.metadata if isinstance(annotation, FieldInfo) else [annotation]
