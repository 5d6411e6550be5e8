"""The [[macro]] tables of presets: controls that each offset several targets."""

from collections.abc import Sequence
from typing import Annotated

from pydantic import AfterValidator, Field

from ..contract.card import LONGEST_NAME
from ..ramps import between
from ..settings import Misplaced, SettingsSection

MOST_MACROS = 16  # shown at once by plugin hosts
MOST_TARGETS = 64  # of one macro


class MacroTarget(SettingsSection):
    """Position p, 0 to 1, moves it by ``low + (high - low) * p ** curve``, less that at rest."""

    target: str
    low: float
    high: float
    curve: Annotated[float, Field(gt=0, le=16)] = 1.0

    def added(self, position: float, rest: float) -> float:
        here, there = (between(place, self.low, self.high, self.curve) for place in (position, rest))
        return here - there


class MacroSettings(SettingsSection):
    """A [[macro]] table: the control ``macro.N``, at rest at ``value``, 0 to 1; starts there, or at ``position``."""

    name: Annotated[str, Field(min_length=1, max_length=LONGEST_NAME)]
    value: Annotated[float, Field(ge=0, le=1)] = 0.5
    position: Annotated[float, Field(ge=0, le=1)] | None = None
    targets: Annotated[list[MacroTarget], Field(min_length=1, max_length=MOST_TARGETS)]

    @property
    def start(self) -> float:
        return self.value if self.position is None else self.position


def _named_apart(macros: list[MacroSettings]) -> list[MacroSettings]:
    names = [macro.name for macro in macros]
    for place, macro in enumerate(macros):
        if macro.name in names[:place]:
            raise Misplaced(("macro", place, "name"), f"two macros are named {macro.name!r}; give each its own name")
        moved = [entry.target for entry in macro.targets]
        for number, target in enumerate(moved):
            if target in moved[:number]:
                where = ("macro", place, "targets", number)
                raise Misplaced(where, f"{target!r} is moved by another one of the targets too; remove one")
    return macros


Macros = Annotated[list[MacroSettings], Field(max_length=MOST_MACROS), AfterValidator(_named_apart)]


def macro_targets(macros: Sequence[MacroSettings]) -> list[str]:
    return [f"macro.{number}" for number in range(len(macros))]
