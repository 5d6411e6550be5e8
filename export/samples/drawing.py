"""Draws the notes of a data set from its settings: note i depends on the seed and i alone."""

import functools
import hashlib
import math
import re
import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, NamedTuple

import numpy as np
from pydantic import AfterValidator, ConfigDict, Field, ValidationError, model_validator

from ...host.arguments import value_text
from ...host.arrays import Doubles
from ...host.config import toml_text
from ...host.errors import UserError, nearest
from ...host.files import read_regular
from ...host.play.rack import ChannelInstrument
from ...host.play.separate_notes import SeparateNote
from ...host.preset.library import Patch
from ...host.session.view import ControlView
from ...host.session.view_builder import controls
from ...host.settings import SettingsSection
from ...host.signal import uniforms
from .strikes import recorded_keys

BATCH = 64  # notes that are computed together, the same ones on any number of workers
LONGEST_SECONDS = 30.0  # of a file: a batch lies in memory
SHORTEST_SECONDS = 0.5  # a loudness is measured over 0.4 s
MOST_NOTES = 10**9
LARGEST_BYTES = 1 << 16  # bytes of a TOML file
RATES = (16000, 22050, 24000, 32000, 44100, 48000, 96000)
SPAN = re.compile(r"([0-9.]+)-([0-9.]+)")
NUMBER_PATTERN = re.compile(r"[0-9]+(\.[0-9]*)?|\.[0-9]+")


class Choice:
    """Values to draw from: a range ``LOW-HIGH``, or ``A,B,C``."""

    def __init__(self, text: str, integers: bool) -> None:
        """Raise ValueError for unreadable text."""
        self.text, self._integers = text, integers
        range_match = SPAN.fullmatch(text.strip())
        try:
            values = [
                _number(number_text, integers)
                for number_text in (range_match.groups() if range_match else text.split(","))
            ]
        except ValueError:
            kind_text = "whole numbers" if integers else "numbers"
            raise ValueError(f"{text!r} gives no {kind_text}; write LOW-HIGH, or one or several: A,B,C") from None
        if range_match and values[0] > values[1]:
            raise ValueError(f"{text!r} runs backwards; write the lower end first")
        self.low, self.high = min(values), max(values)
        self._listed_values = None if range_match else values

    def draw(self, fraction: float) -> float:
        """Return the value at ``fraction``, 0 to below 1."""
        if self._listed_values is not None:
            return self._listed_values[math.floor(fraction * len(self._listed_values))]
        if self._integers:
            return self.low + math.floor(fraction * (self.high - self.low + 1))
        return self.low + fraction * (self.high - self.low)

    def among(self, values: list[int]) -> list[int]:
        """Return those of the values that the choice allows."""
        return [
            value
            for value in values
            if self.low <= value <= self.high and (self._listed_values is None or value in self._listed_values)
        ]


def _number(text: str, integers: bool) -> float:
    if not NUMBER_PATTERN.fullmatch(text.strip()):
        raise ValueError(text)
    return int(text) if integers else float(text)


def _range_validator(low: float, high: float, integers: bool = False) -> AfterValidator:
    def check(text: str) -> str:
        choice = Choice(text, integers)
        if not low <= choice.low <= choice.high <= high:
            raise ValueError(f"{text!r} is out of range; give {low:g} to {high:g}")
        return text

    return AfterValidator(check)


def _latent_ranges_text(text: str) -> str:
    """Return the text if it says how to draw latents; raise ValueError for all else."""
    if text in ("preset", "uniform", "landmarks"):
        return text
    method_name, _, steps_text = text.partition(":")
    if method_name == "grid" and steps_text.isascii() and steps_text.isdecimal() and 2 <= int(steps_text) <= 1000:
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
    keys: Annotated[str, _range_validator(0, 127, integers=True)] | None = None
    velocities: Annotated[str, _range_validator(1, 127, integers=True)] = "20-127"
    held_seconds: Annotated[str, _range_validator(0.001, LONGEST_SECONDS)] | None = None
    onset_seconds: Annotated[str, _range_validator(0, LONGEST_SECONDS)] = "0"
    latents: Annotated[str, AfterValidator(_latent_ranges_text)] = "preset"
    knobs: dict[str, Annotated[str, _range_validator(0, 1)]] = Field(default_factory=dict)
    shard_notes: Annotated[int, Field(ge=BATCH, le=1 << 20, multiple_of=BATCH)] = 1024

    @model_validator(mode="after")
    def _consistent(self) -> "DatasetSettings":
        self.knobs = dict(sorted(self.knobs.items()))
        if self.sample_rate not in RATES:
            raise ValueError(f"sample_rate {self.sample_rate} is unknown; give one of {', '.join(map(str, RATES))}")
        if Choice(self.onset_seconds, integers=False).high >= self.seconds:
            raise ValueError(f"onset_seconds {self.onset_seconds} leaves no room in {self.seconds:g} seconds")
        return self


def read_settings(file: Path | None, overrides: Mapping[str, Any]) -> DatasetSettings:
    """Return the settings of a TOML file, if any; those of ``overrides`` win, and knobs add up.

    Raises:
        UserError: unreadable, unknown or contradicting settings.
    """
    file_settings = {} if file is None else _read(file)
    settings_by_name = {**file_settings, **overrides}
    if isinstance(knob_table := file_settings.get("knobs", {}), dict):
        settings_by_name["knobs"] = {
            name: _as_text(value) for name, value in (knob_table | overrides.get("knobs", {})).items()
        }
    else:
        settings_by_name["knobs"] = knob_table
    for setting_name in ("keys", "velocities", "held_seconds", "onset_seconds"):
        if setting_name in settings_by_name:
            settings_by_name[setting_name] = _as_text(settings_by_name[setting_name])
    try:
        return DatasetSettings(**settings_by_name)
    except ValidationError as error:
        file_note = "" if file is None else f" ({file})"
        raise UserError(
            *(f"{_error_text(error_detail)}{file_note}" for error_detail in error.errors(include_url=False)[:8])
        ) from None


def _read(file: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(toml_text(read_regular(file, LARGEST_BYTES), str(file)))
    except OSError as error:
        raise UserError(f"cannot read {file}: {error.strerror or error}; give a TOML file") from None
    except (ValueError, RecursionError) as error:
        raise UserError(f"{file} is not TOML: {error}") from None


def _as_text(value: object) -> object:
    """Return a number, or a list of them, as the text of a `Choice`; all else as it is."""
    if isinstance(value, list):
        return ",".join(str(_as_text(element)) for element in value)
    return decimal_text(value) if isinstance(value, int | float) and not isinstance(value, bool) else value


def decimal_text(value: float) -> str:
    """Return a number as the text of a `Choice`, which has no exponent."""
    return str(value) if isinstance(value, int) else str(np.format_float_positional(value, trim="-"))


def _error_text(detail: Any) -> str:
    """Return a line for one of pydantic's errors."""
    key_path = ".".join(map(str, detail["loc"]))
    cause = detail.get("ctx", {}).get("error")
    if detail["type"] == "extra_forbidden":
        return f"unknown setting {key_path!r}{nearest(key_path, DatasetSettings.model_fields)}"
    message = (
        f"{detail['msg'][0].lower()}{detail['msg'][1:]} (got {value_text(detail['input'])})"
        if cause is None
        else str(cause)
    )
    return f"{key_path}: {message}" if key_path else message


PRESET, KEY, VELOCITY, HELD, ONSET, LANDMARK, NUMBER, COLUMNS = range(8)  # of a note's random numbers
ROUNDING = 1e-6  # of latents in labels
WIDE = 8192  # columns of a row: more than any model has latents
PHASES = 1 << 15  # numbers of random phases and noise


class DrawnNote(NamedTuple):
    """A note of a data set.

    Attributes:
        preset: its place in the list.
        onset_samples: from the file's start.
        latents: those set before the note, or None.
        landmark: the label of a landmark's code, or None.
        positions: of knobs, 0 to 1, by name.
    """

    number: int
    preset: int
    note: SeparateNote
    onset_samples: int
    latents: Doubles | None
    landmark: str | None
    positions: Mapping[str, float]


class TableNote(NamedTuple):
    """A note of a table; None for values that are drawn.

    Attributes:
        preset: its name.
        key: a MIDI key.
        velocity: 1 to 127.
        onset_seconds: from the file's start to the note-on.
        held_seconds: from note-on to note-off.
        latents: the code.
        landmark: the label of a landmark, whose code counts if there are no ``latents``.
        knobs: names and positions, 0 to 1.
    """

    preset: str | None = None
    key: int | None = None
    velocity: int | None = None
    onset_seconds: float | None = None
    held_seconds: float | None = None
    latents: tuple[float, ...] | None = None
    landmark: str | None = None
    knobs: tuple[tuple[str, float], ...] = ()


NO_VALUES = TableNote()


class DatasetPreset:
    def __init__(self, patch: Patch, settings: DatasetSettings) -> None:
        """Raise UserError if no key can be played, or a knob is unknown."""
        self.patch = patch
        self.keys = _keys(patch, settings)
        self._knobs_by_names = dict[tuple[str, ...], dict[str, ControlView]]()
        self.landmarks = patch.model.card.landmarks
        if settings.latents == "landmarks" and not self.landmarks:
            raise UserError(f"the model of {patch.name} has no landmarks; draw latents uniform or from grid:STEPS")
        self.knobs([*settings.knobs], sets_code=settings.latents != "preset")
        if settings.latents != "preset" and len(patch.model.card.latents) > WIDE:
            raise UserError(f"the model of {patch.name} has more than {WIDE} latents; leave them as the preset's")

    def knobs(self, names: Sequence[str], sets_code: bool) -> Mapping[str, ControlView]:
        """Return knobs by name; raise UserError for unknown ones, or if they or a code are moved by the preset."""
        patch, names = self.patch, tuple(sorted(names))
        if names not in self._knobs_by_names:
            self._knobs_by_names[names] = _knobs(patch, names) if names else {}
        knobs = self._knobs_by_names[names]
        if sets_code and patch.preset.keys:
            raise UserError(f"the keys of {patch.name} have codes of their own; leave --latents out, or turn knobs")
        moves_latents = sets_code or any(knob.target.startswith("latent.") for knob in knobs.values())
        if moves_latents and any(motion.target is None for motion in patch.preset.motion):
            raise UserError(f"a path or walk of {patch.name} moves all latents; leave --latents and their knobs out")
        return knobs

    def check_key(self, key: int) -> None:
        """Raise UserError if a key cannot be played."""
        keys = [entry.key for entry in self.patch.preset.keys] or self.patch.tuning
        if key not in keys:
            raise UserError(f"{self.patch.name} has no key {key}; give one of {min(keys)} to {max(keys)} that it has")

    def table_latents(self, table_note: TableNote) -> tuple[Doubles, str | None] | None:
        """Return the code of a table's note, and its landmark's label; None without both."""
        if table_note.latents is None and table_note.landmark is None:
            return None
        low, high = np.array(self.patch.model.card.spans).T
        if table_note.latents is not None:
            code = np.array(table_note.latents)
            if len(code) != len(low):
                raise UserError(f"latents has {len(code)} numbers, the model of {self.patch.name} {len(low)}")
            outside = np.flatnonzero((code < low - ROUNDING) | (code > high + ROUNDING))
            if len(outside):
                place = int(outside[0])
                raise UserError(
                    f"latents[{place}] {code[place]:g} is out of range; give {low[place]:g} to {high[place]:g}"
                )
            return np.clip(code, low, high), table_note.landmark
        codes = [landmark.latent for landmark in self.landmarks if landmark.label == table_note.landmark]
        if not codes:
            hint = nearest(table_note.landmark or "", (landmark.label for landmark in self.landmarks if landmark.label))
            raise UserError(f"the model of {self.patch.name} has no landmark {table_note.landmark!r}{hint}")
        return np.array(codes[0], np.float64), table_note.landmark


def draw(
    number: int, presets: Sequence[DatasetPreset], settings: DatasetSettings, table_note: TableNote = NO_VALUES
) -> DrawnNote:
    """Draw the values of the note of this number that a table does not give.

    Raises:
        UserError: a value of the table does not fit its preset.
    """
    uniform_draws = uniforms(settings.seed, number, 0, 1, COLUMNS)[0].tolist()
    preset_index = math.floor(uniform_draws[PRESET] * len(presets))
    if table_note.preset is not None:
        names = [preset.patch.name for preset in presets]
        if table_note.preset not in names:
            raise UserError(f"preset {table_note.preset!r} is none of the presets that were given ({', '.join(names)})")
        preset_index = names.index(table_note.preset)
    preset = presets[preset_index]
    key = preset.keys[math.floor(uniform_draws[KEY] * len(preset.keys))] if table_note.key is None else table_note.key
    preset.check_key(key)
    onset_seconds, held_seconds = table_note.onset_seconds, table_note.held_seconds
    if onset_seconds is None:
        onset_seconds = _choice(settings.onset_seconds).draw(uniform_draws[ONSET])
    if held_seconds is None and settings.held_seconds is not None:
        held_seconds = _choice(settings.held_seconds).draw(uniform_draws[HELD])
    onset_samples = round(onset_seconds * settings.sample_rate)
    velocity = table_note.velocity
    if velocity is None:
        velocity = round(_choice(settings.velocities, integers=True).draw(uniform_draws[VELOCITY]))
    table_code = preset.table_latents(table_note)
    latents, landmark = table_code or _latents(number, preset, settings, uniform_draws[LANDMARK])
    knob_values = (
        {}
        if latents is None
        else {f"latent.{latent_index}": value for latent_index, value in enumerate(latents.tolist())}
    )
    positions = {}
    for name, choice_text in settings.knobs.items():
        knob_draw = float(uniforms(settings.seed, number, _column(name), 1, 1)[0, 0])
        positions[name] = _choice(choice_text).draw(knob_draw)
    positions |= dict(table_note.knobs)
    for name, control in preset.knobs([*positions], sets_code=latents is not None).items():
        knob_values[control.target] = control.low + positions[name] * (control.high - control.low)
    held_seconds = 0.75 * settings.seconds if held_seconds is None else held_seconds
    note = SeparateNote(key, velocity, held_seconds, knob_values, 1 + math.floor(uniform_draws[NUMBER] * PHASES))
    return DrawnNote(number, preset_index, note, onset_samples, latents, landmark, positions)


@functools.lru_cache(maxsize=256)
def _column(name: str) -> int:
    """By name alone: other knobs do not change it."""
    return WIDE**2 + int.from_bytes(hashlib.sha256(name.encode()).digest()[:6], "big")


@functools.lru_cache(maxsize=256)
def _choice(text: str, integers: bool = False) -> Choice:
    return Choice(text, integers)


def _latents(
    number: int, preset: DatasetPreset, settings: DatasetSettings, landmark_draw: float
) -> tuple[Doubles | None, str | None]:
    """Return a note's latents, and the label of a landmark's; None for the preset's own."""
    low, high = np.array(preset.patch.model.card.spans).T
    if settings.latents == "uniform":
        fractions = uniforms(settings.seed, number, 1, 1, WIDE)[0, : len(low)]
    elif settings.latents == "landmarks":
        landmark = preset.landmarks[math.floor(landmark_draw * len(preset.landmarks))]
        return np.array(landmark.latent, np.float64), landmark.label
    elif settings.latents == "preset":
        return None, None
    else:
        grid_steps, quotient, grid_fractions = int(settings.latents.removeprefix("grid:")), number, []
        for _ in low:
            quotient, digit = divmod(quotient, grid_steps)
            grid_fractions.append(digit / (grid_steps - 1))
        fractions = np.array(grid_fractions)
    return low + fractions * (high - low), None


def _keys(patch: Patch, settings: DatasetSettings) -> list[int]:
    """Return the preset's keys that the settings allow."""
    kit_keys = [entry.key for entry in patch.preset.keys]
    low, high = (-math.inf, math.inf) if kit_keys or settings.keys is not None else recorded_keys(patch)
    keys = kit_keys or [key for key, pitch in sorted(patch.tuning.items()) if low - 0.5 <= pitch <= high + 0.5]
    if settings.keys is not None:
        keys = _choice(settings.keys, integers=True).among(keys)
    if not keys:
        raise UserError(f"{patch.name} has no key among {settings.keys}; give others, or leave --keys out")
    return keys


def _knobs(patch: Patch, names: Sequence[str]) -> dict[str, ControlView]:
    """Return the controls of knobs by name."""
    controls_by_name: dict[str, list[ControlView]] = {}
    for control in controls(patch.preset, patch.model, ChannelInstrument(patch, 44100).knobs):
        for name in {control.title, control.target}:
            controls_by_name.setdefault(name, []).append(control)
    knobs_by_name = dict[str, ControlView]()
    for name in names:
        if name not in controls_by_name:
            raise UserError(f"{patch.name} has no knob named {name!r}{nearest(name, controls_by_name)}")
        targets = [control.target for control in controls_by_name[name]]
        if len(targets) > 1:
            raise UserError(f"{patch.name} has several knobs named {name!r}; name one of {', '.join(targets)}")
        if duplicate_name := next(
            (earlier_name for earlier_name, knob in knobs_by_name.items() if knob.target == targets[0]), None
        ):
            raise UserError(f"knobs {duplicate_name!r} and {name!r} of {patch.name} are one; name it once")
        knobs_by_name[name] = controls_by_name[name][0]
    return knobs_by_name
