"""Columns of tables, and fields of the samples in tar files: where sounds, labels, keys and dynamics stand."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ...host.arguments import value_text
from ...host.errors import UserError, nearest, printable
from .file_names import DYNAMICS
from .stored_sounds import SoundLabels, key_of

# The columns of each role by default, the first that is there; ``preset`` and ``pitch_hz`` are those of our data sets.
DEFAULTS = {
    "audio": ("audio",),
    "label": ("label", "cls", "preset"),
    "key": ("key",),
    "velocity": ("velocity",),
    "licence": ("licence", "license"),
}
PITCH = "pitch_hz"  # empty in notes whose key chooses no pitch, such as those of kits
LONGEST = 200  # characters of a label or a licence
EXAMPLE = "for example audio=sound,label=instrument,key=note"


def parse_columns(text: str) -> dict[str, str]:
    """Return columns by role from ``"audio=sound,label=instrument"``; raise UserError for other texts."""
    columns = dict[str, str]()
    for part in text.split(","):
        role, equals_sign, column = (word.strip() for word in part.partition("="))
        if not equals_sign or role in columns:
            raise UserError(f"--column {text!r} is no list of different roles with a column each; {EXAMPLE}")
        columns[role] = column
    return columns


@dataclass(frozen=True)
class Columns:
    """``names_by_role``: columns that the user names; "" for a role that no column has."""

    names_by_role: Mapping[str, str]

    def __post_init__(self) -> None:
        """Raise UserError for an unknown role, or sounds without a column."""
        for role, column in self.names_by_role.items():
            if role not in DEFAULTS:
                raise UserError(f"columns have no role {role!r}{nearest(role, DEFAULTS)}")
            if role == "audio" and not column:
                raise UserError(f"column {role!r} has no name; {EXAMPLE}")

    def candidates(self, role: str) -> tuple[str, ...]:
        """Return the names that a role's column may have, the best first."""
        return (self.names_by_role[role],) if role in self.names_by_role else DEFAULTS[role]

    @property
    def label_columns(self) -> set[str]:
        """Names of all columns that may say more of a sound."""
        return {name for role in DEFAULTS if role != "audio" for name in self.candidates(role)} | {PITCH}

    def labels(self, fields: Mapping[str, Any], place: str) -> tuple[SoundLabels, str]:
        """Return a sound's labels and licence, "" for none; ``place``: of messages.

        Raises:
            UserError: a chosen column is missing, or a value cannot be used.
        """
        values = {role: self._value(role, fields, place) for role in DEFAULTS if role != "audio"}
        has_pitch = fields.get(PITCH, "") is not None
        key = _key(values["key"], place) if has_pitch else None
        licence = _text(values["licence"], "licence", place)
        return SoundLabels(key, _velocity(values["velocity"], place), _text(values["label"], "label", place)), licence

    def _value(self, role: str, fields: Mapping[str, Any], place: str) -> Any:
        """Return the value of a role's column; None for none."""
        if self.names_by_role.get(role) and self.names_by_role[role] not in fields:
            field_names = ", ".join(printable(name) for name in fields) or "none"
            raise UserError(
                f"{place} has no column {self.names_by_role[role]!r} (it has {field_names}); name another for {role}"
            )
        value = next((fields[name] for name in self.candidates(role) if name in fields), None)
        return None if value == "" or (isinstance(value, float) and math.isnan(value)) else value


def _key(value: Any, place: str) -> int | None:
    if value is None:
        return None
    key = key_of(str(_as_integer(value)).strip())
    if key is None:
        raise _unusable("key", value, place, "MIDI key, 0 to 127, or note such as C4")
    return key


def _velocity(value: Any, place: str) -> int | None:
    if value is None:
        return None
    text = str(_as_integer(value)).strip().lower()
    velocity = DYNAMICS.get(text) or (int(text) if text.isascii() and text.isdecimal() and len(text) < 4 else 0)
    if not 1 <= velocity <= 127:
        raise _unusable("velocity", value, place, "MIDI velocity, 1 to 127, or dynamic such as mf")
    return velocity


def _as_integer(value: Any) -> Any:
    """Return a whole number as such: tables with gaps hold 60.0."""
    return int(value) if isinstance(value, float) and value.is_integer() else value


def _text(value: Any, role: str, place: str) -> str:
    """Return a label or a licence; of a licence's text the first line."""
    if value is None:
        return ""
    text = printable(str(_as_integer(value)).strip().partition("\n")[0])
    if not isinstance(value, str | int | float) or (role != "licence" and len(text) > LONGEST):
        raise _unusable(role, value, place, f"text of at most {LONGEST} characters")
    return text[:LONGEST]


def _unusable(role: str, value: Any, place: str, needed: str) -> UserError:
    return UserError(
        f"{place}: {role} {value_text(value)} is no {needed}; name another column with --column {role}=NAME, or none "
        f"with {role}="
    )
