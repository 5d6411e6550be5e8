"""The [[note]] tables of presets: per-note offsets by velocity or key."""

import itertools
from typing import Annotated, Literal

from pydantic import Field, model_validator

from ..settings import Misplaced, SettingsSection

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
    key_low: Annotated[int, Field(ge=0, le=127)] = 0
    key_high: Annotated[int, Field(ge=0, le=127)] = 127

    @model_validator(mode="after")
    def _one_way(self) -> "NoteSettings":
        if given := sorted({"key_low", "key_high"} & self.model_fields_set if self.source == "velocity" else ()):
            raise ValueError(f"{' and '.join(given)} of a source of velocity; give source = 'key', or leave it out")
        if self.key_low >= self.key_high:
            raise ValueError(f"key_low {self.key_low} must be below key_high {self.key_high}")
        return self

    def added(self, velocity: int, key: int) -> float:
        first, last = (1, 127) if self.source == "velocity" else (self.key_low, self.key_high)
        value = velocity if self.source == "velocity" else key
        part: float = min(max((value - first) / (last - first), 0.0), 1.0) ** self.curve
        return self.low * (1.0 - part) + self.high * part

    def text(self) -> str:
        ends = "" if self.source == "velocity" else f" {self.key_low} to {self.key_high}"
        return f"{self.source}{ends} adds {self.low:g} to {self.high:g} to {self.target}"


def each_once(notes: list[NoteSettings]) -> list[NoteSettings]:
    """Reject tables of one source and target.

    Raises:
        Misplaced: at the second.
    """
    for (_, entry), (place, other) in itertools.combinations(enumerate(notes), 2):
        if (entry.source, entry.target) == (other.source, other.target):
            raise Misplaced(("note", place), f"{entry.source} moves {entry.target!r} twice; remove one [[note]]")
    return notes
