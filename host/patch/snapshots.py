"""The [[snapshot]] tables of presets: controls' values, under slots 1 to 8 of the panel."""

import itertools
import math
from collections.abc import Iterator, Mapping
from typing import Annotated, Any

from pydantic import AfterValidator, Field, PlainValidator

from ..contract.card import Card
from ..errors import nearest
from ..kinds.table import kind_of
from ..settings import Misplaced, SettingsSection
from ..shipped import SLOTS
from ..units import Range


def _number_or_name(value: Any) -> float | str:
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        raise ValueError("a value must be a number, or the name of a choice")
    if not isinstance(value, str) and not math.isfinite(value):
        raise ValueError(f"a value of {value} is not finite; give a number in the target's range")
    return value


def _some(values: dict[str, float | str]) -> dict[str, float | str]:
    if not values:
        raise ValueError("empty; add the value of a target, or remove the table")
    return values


class SnapshotSettings(SettingsSection):
    """A [[snapshot]] table: values by target, names for choices."""

    slot: Annotated[int, Field(ge=1, le=SLOTS)]
    values: Annotated[dict[str, Annotated[float | str, PlainValidator(_number_or_name)]], AfterValidator(_some)]


def _slots_apart(snapshots: list[SnapshotSettings]) -> list[SnapshotSettings]:
    for one, (place, other) in itertools.combinations(enumerate(snapshots), 2):
        if one[1].slot == other.slot:
            raise Misplaced(("snapshot", place, "slot"), f"two snapshots are in slot {other.slot}; move or remove one")
    return snapshots


Snapshots = Annotated[list[SnapshotSettings], AfterValidator(_slots_apart)]


def snapshot_faults(
    snapshot: SnapshotSettings, card: Card, known: Mapping[str, Range | None]
) -> Iterator[tuple[str, str]]:
    """Yield faulty targets and faults; latents may lie outside the training range, as in [latent]."""
    choices = kind_of(card).choices(card)
    for target, value in snapshot.values.items():
        span = known.get(target)
        if target in choices:
            if value not in choices[target]:
                yield target, f"{target} = {value!r} is none of its choices{nearest(str(value), choices[target])}"
        elif target not in known:
            yield target, f"target {target!r} does not exist{nearest(target, known)}"
        elif isinstance(value, str):
            yield target, f"{target} = {value!r} must be a number"
        elif span is not None and not target.startswith("latent.") and not span[0] <= value <= span[1]:
            yield target, f"{target} = {value:g} is out of range [{span[0]:g}, {span[1]:g}]"
