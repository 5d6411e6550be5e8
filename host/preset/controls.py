"""The tables [[macro]], [[note]] and [[snapshot]] of presets."""

import itertools
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field, PlainValidator, model_validator

from ..errors import nearest
from ..kinds.card_fields import LONGEST_NAME
from ..kinds.kind import IMAGE
from ..kinds.table import kind_of
from ..model.card import Card
from ..ramps import position_to_value
from ..settings import Misplaced, SettingsSection, Whole
from ..units import Range
from .shipped import SLOTS

MOST_MACROS = 16  # shown at once by plugin hosts
MOST_TARGETS = 64  # of one macro


class MacroTarget(SettingsSection):
    """Position p, 0 to 1, moves it by ``low + (high - low) * p ** curve``, less that at rest."""

    target: str
    low: float
    high: float
    curve: Annotated[float, Field(gt=0, le=16)] = 1.0

    def added(self, position: float, rest_position: float) -> float:
        """Offset at a position, relative to that at rest."""
        offset, rest_offset = (
            position_to_value(macro_position, self.low, self.high, self.curve)
            for macro_position in (position, rest_position)
        )
        return offset - rest_offset


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
    """Reject macros of one name, and targets that a macro has twice."""
    macro_names = [macro.name for macro in macros]
    for macro_index, macro in enumerate(macros):
        if macro.name in macro_names[:macro_index]:
            raise Misplaced(
                ("macro", macro_index, "name"), f"two macros are named {macro.name!r}; give each its own name"
            )
        targets = [macro_target.target for macro_target in macro.targets]
        for target_index, target in enumerate(targets):
            if target in targets[:target_index]:
                path = ("macro", macro_index, "targets", target_index)
                raise Misplaced(path, f"{target!r} is moved by another one of the targets too; remove one")
    return macros


Macros = Annotated[list[MacroSettings], Field(max_length=MOST_MACROS), AfterValidator(_named_apart)]


def macro_targets(macros: Sequence[MacroSettings]) -> list[str]:
    return [f"macro.{number}" for number in range(len(macros))]


Added = Annotated[float, Field(ge=-1e6, le=1e6)]  # wider than any target's range; sums stay finite


class NoteSettings(SettingsSection):
    """A [[note]] table: offsets a note's own latent, or a parameter read at its start.

    By ``low + (high - low) * position ** curve``; position is 0 to 1 between velocity 1 and 127, or ``key_low`` and
    ``key_high``.
    """

    source: Literal["velocity", "key"]
    target: str
    low: Added
    high: Added
    curve: Annotated[float, Field(gt=0, le=16)] = 1.0
    key_low: Annotated[Whole, Field(ge=0, le=127)] = 0
    key_high: Annotated[Whole, Field(ge=0, le=127)] = 127

    @model_validator(mode="after")
    def _one_way(self) -> "NoteSettings":
        if surplus_keys := sorted({"key_low", "key_high"} & self.model_fields_set if self.source == "velocity" else ()):
            raise ValueError(
                f"{' and '.join(surplus_keys)} of a source of velocity; give source = 'key', or leave it out"
            )
        if self.key_low >= self.key_high:
            raise ValueError(f"key_low {self.key_low} must be below key_high {self.key_high}")
        return self

    def added(self, velocity: int, key: float) -> float:
        """Offset of a note of this velocity and key."""
        first_value, last_value = (1, 127) if self.source == "velocity" else (self.key_low, self.key_high)
        source_value = velocity if self.source == "velocity" else key
        position: float = min(max((source_value - first_value) / (last_value - first_value), 0.0), 1.0) ** self.curve
        return self.low * (1.0 - position) + self.high * position

    def text(self) -> str:
        key_range_text = "" if self.source == "velocity" else f" {self.key_low} to {self.key_high}"
        return f"{self.source}{key_range_text} adds {self.low:g} to {self.high:g} to {self.target}"


def each_once(notes: list[NoteSettings]) -> list[NoteSettings]:
    """Reject tables of one source and target.

    Raises:
        Misplaced: at the second.
    """
    for (_, entry), (later_index, later_entry) in itertools.combinations(enumerate(notes), 2):
        if (entry.source, entry.target) == (later_entry.source, later_entry.target):
            raise Misplaced(("note", later_index), f"{entry.source} moves {entry.target!r} twice; remove one [[note]]")
    return notes


def _number_or_name(value: Any) -> float | str:
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        raise ValueError("a value must be a number, or the name of a choice")
    if not isinstance(value, str) and not math.isfinite(value):
        raise ValueError(f"a value of {value} is not finite; give a number in the target's range")
    return value


def _not_empty(values: dict[str, float | str]) -> dict[str, float | str]:
    if not values:
        raise ValueError("empty; add the value of a target, or remove the table")
    return values


class SnapshotSettings(SettingsSection):
    """A [[snapshot]] table: values by target, names for choices."""

    slot: Annotated[Whole, Field(ge=1, le=SLOTS)]
    values: Annotated[dict[str, Annotated[float | str, PlainValidator(_number_or_name)]], AfterValidator(_not_empty)]


def _slots_apart(snapshots: list[SnapshotSettings]) -> list[SnapshotSettings]:
    """Reject snapshots of one slot."""
    for earlier_indexed_snapshot, (later_index, snapshot) in itertools.combinations(enumerate(snapshots), 2):
        if earlier_indexed_snapshot[1].slot == snapshot.slot:
            raise Misplaced(
                ("snapshot", later_index, "slot"), f"two snapshots are in slot {snapshot.slot}; move or remove one"
            )
    return snapshots


Snapshots = Annotated[list[SnapshotSettings], AfterValidator(_slots_apart)]


def target_absence(target: str, known_targets: Iterable[str], no_image: str) -> str:
    """Say why a preset has no such target; ``no_image``: of `Kind.no_image`."""
    if target == IMAGE and no_image:
        return f"target {target!r}: {no_image}"
    return f"target {target!r} does not exist{nearest(target, known_targets)}"


def snapshot_faults(
    snapshot: SnapshotSettings, card: Card, target_ranges: Mapping[str, Range | None], no_image: str
) -> Iterator[tuple[str, str]]:
    """Yield faulty targets and faults; latents may lie outside the training range, as in [latent]."""
    choices_by_target = kind_of(card).choices(card)
    for target, value in snapshot.values.items():
        span = target_ranges.get(target)
        if target in choices_by_target:
            if value not in choices_by_target[target]:
                yield (
                    target,
                    f"{target} = {value!r} is none of its choices{nearest(str(value), choices_by_target[target])}",
                )
        elif target not in target_ranges:
            yield target, target_absence(target, target_ranges, no_image)
        elif isinstance(value, str):
            yield target, f"{target} = {value!r} must be a number"
        elif span is not None and not target.startswith("latent.") and not span[0] <= value <= span[1]:
            yield target, f"{target} = {value:g} is out of range [{span[0]:g}, {span[1]:g}]"
