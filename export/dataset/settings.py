"""Settings of a data set, from options and TOML, and the values that notes draw."""

import math
import re
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

from pydantic import AfterValidator, ConfigDict, Field, ValidationError, model_validator

from ...host.errors import UserError
from ...host.files import read_regular
from ...host.settings import SettingsSection
from ...host.toml_text import toml_text

BATCH = 64  # notes that are computed together, the same ones on any number of workers
LONGEST_SECONDS = 30.0  # of a file: a batch lies in memory
SHORTEST_SECONDS = 0.5  # a loudness is measured over 0.4 s
MOST_NOTES = 10**9
LARGEST = 1 << 16  # bytes of a TOML file
RATES = (16000, 22050, 24000, 32000, 44100, 48000, 96000)
SPAN = re.compile(r"([0-9.]+)-([0-9.]+)")
NUMBER = re.compile(r"[0-9]+(\.[0-9]*)?|\.[0-9]+")


class Choice:
    """Values to draw from: a range ``LOW-HIGH``, or ``A,B,C``."""

    def __init__(self, text: str, whole: bool) -> None:
        """Raise ValueError for unreadable text."""
        self.text, self._whole = text, whole
        span = SPAN.fullmatch(text.strip())
        try:
            values = [_number(part, whole) for part in (span.groups() if span else text.split(","))]
        except ValueError:
            kind = "whole numbers" if whole else "numbers"
            raise ValueError(f"{text!r} gives no {kind}; write LOW-HIGH, or one or several: A,B,C") from None
        if span and values[0] > values[1]:
            raise ValueError(f"{text!r} runs backwards; write the lower end first")
        self.low, self.high = min(values), max(values)
        self._some = None if span else values

    def draw(self, place: float) -> float:
        """Return the value at ``place``, 0 to below 1."""
        if self._some is not None:
            return self._some[math.floor(place * len(self._some))]
        if self._whole:
            return self.low + math.floor(place * (self.high - self.low + 1))
        return self.low + place * (self.high - self.low)

    def among(self, values: list[int]) -> list[int]:
        return [one for one in values if self.low <= one <= self.high and (self._some is None or one in self._some)]


def _number(text: str, whole: bool) -> float:
    if not NUMBER.fullmatch(text.strip()):
        raise ValueError(text)
    return int(text) if whole else float(text)


def _within(low: float, high: float, whole: bool = False) -> AfterValidator:
    def check(text: str) -> str:
        choice = Choice(text, whole)
        if not low <= choice.low <= choice.high <= high:
            raise ValueError(f"{text!r} is out of range; give {low:g} to {high:g}")
        return text

    return AfterValidator(check)


def _latents(text: str) -> str:
    if text in ("preset", "uniform", "landmarks"):
        return text
    name, _, steps = text.partition(":")
    if name == "grid" and steps.isascii() and steps.isdecimal() and 2 <= int(steps) <= 1000:
        return text
    raise ValueError(f"{text!r} is unknown; give preset, uniform, landmarks, or grid:STEPS with 2 to 1000 steps")


class DatasetSettings(SettingsSection):
    """Settings of a data set's notes; ``seed`` and its number determine a note.

    Attributes:
        keys: MIDI keys; None: those of each preset's recordings or kit.
        held_seconds: from note-on to note-off; None: three quarters of ``seconds``.
        onset_seconds: from the file's start to the note-on.
        latents: ``preset``, ``uniform`` within ranges, ``landmarks``, or ``grid:STEPS`` in turn.
        knobs: positions, 0 to 1 of a knob's range, by name.
        shard_notes: a multiple of `BATCH`.
    """

    model_config = ConfigDict(strict=True)

    seed: Annotated[int, Field(ge=0, lt=1 << 63)] = 1
    seconds: Annotated[float, Field(ge=SHORTEST_SECONDS, le=LONGEST_SECONDS)] = 4.0
    sample_rate: int = 44100
    stereo: bool = False
    as_float: bool = False
    keys: Annotated[str, _within(0, 127, whole=True)] | None = None
    velocities: Annotated[str, _within(1, 127, whole=True)] = "20-127"
    held_seconds: Annotated[str, _within(0.001, LONGEST_SECONDS)] | None = None
    onset_seconds: Annotated[str, _within(0, LONGEST_SECONDS)] = "0"
    latents: Annotated[str, AfterValidator(_latents)] = "preset"
    knobs: dict[str, Annotated[str, _within(0, 1)]] = Field(default_factory=dict)
    shard_notes: Annotated[int, Field(ge=BATCH, le=1 << 20, multiple_of=BATCH)] = 1024

    @model_validator(mode="after")
    def _consistent(self) -> "DatasetSettings":
        self.knobs = dict(sorted(self.knobs.items()))
        if self.sample_rate not in RATES:
            raise ValueError(f"sample_rate {self.sample_rate} is unknown; give one of {', '.join(map(str, RATES))}")
        if Choice(self.onset_seconds, whole=False).high >= self.seconds:
            raise ValueError(f"onset_seconds {self.onset_seconds} leaves no room in {self.seconds:g} seconds")
        return self


def read_settings(file: Path | None, given: Mapping[str, Any]) -> DatasetSettings:
    """Return the settings of a TOML file, if any; those ``given`` win, and knobs add up.

    Raises:
        UserError: unreadable, unknown or contradicting settings.
    """
    told = {} if file is None else _read(file)
    texts = {**told, **given}
    if isinstance(table := told.get("knobs", {}), dict):
        texts["knobs"] = {name: _as_text(value) for name, value in (table | given.get("knobs", {})).items()}
    else:
        texts["knobs"] = table
    for name in ("keys", "velocities", "held_seconds", "onset_seconds"):
        if name in texts:
            texts[name] = _as_text(texts[name])
    try:
        return DatasetSettings(**texts)
    except ValidationError as error:
        where = "" if file is None else f" ({file})"
        raise UserError(*(f"{_said(detail)}{where}" for detail in error.errors(include_url=False)[:8])) from None


def _read(file: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(toml_text(read_regular(file, LARGEST), str(file)))
    except OSError as error:
        raise UserError(f"cannot read {file}: {error.strerror or error}; give a TOML file") from None
    except (ValueError, RecursionError) as error:
        raise UserError(f"{file} is not TOML: {error}") from None


def _as_text(value: object) -> object:
    if isinstance(value, list):
        return ",".join(str(_as_text(one)) for one in value)
    return str(value) if isinstance(value, int | float) and not isinstance(value, bool) else value


def _said(detail: Any) -> str:
    where = ".".join(map(str, detail["loc"]))
    raised = detail.get("ctx", {}).get("error")
    if detail["type"] == "extra_forbidden":
        from ...host.errors import nearest

        return f"unknown setting {where!r}{nearest(where, DatasetSettings.model_fields)}"
    said = str(raised) if raised is not None else f"{detail['msg'][0].lower()}{detail['msg'][1:]}"
    return f"{where}: {said}" if where else said
