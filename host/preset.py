"""A preset: which model, where its knobs rest, what moves them, how it is played."""

import tomllib
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from .audio.effects import Effect
from .card import Card, first_complaint
from .controls import PLAY_CONTROLS, RESERVED_CC
from .errors import UserError, nearest

FORMAT = 1


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", allow_inf_nan=False)


class LatentSettings(_Part):
    """Where the knobs rest; None means the model's defaults."""

    values: list[float] | None = None


class PlaySettings(_Part):
    """How keys become voices."""

    mode: Literal["poly", "mono"] = "poly"
    voices: Annotated[int, Field(ge=1, le=64)] = 16
    phase: Literal["noise"] = "noise"
    gain_db: Annotated[float, Field(ge=-60, le=12)] = 0.0
    pan: Annotated[float, Field(ge=-1, le=1)] = 0.0
    bend_range_semitones: Annotated[float, Field(ge=0, le=96)] = 2.0  # the MIDI default


class EnvelopeSettings(_Part):
    """The ADSR of each voice: times in seconds, sustain as a part of full level."""

    attack_seconds: Annotated[float, Field(ge=0, le=10)] = 0.005
    decay_seconds: Annotated[float, Field(ge=0, le=30)] = 0.1
    sustain: Annotated[float, Field(ge=0, le=1)] = 1.0
    release_seconds: Annotated[float, Field(ge=0, le=30)] = 0.2


class CCMap(_Part):
    """One knob: controller ``number`` moves ``target`` from low to high along ``(value / 127) ** curve``."""

    number: Annotated[int, Field(ge=0, le=127)]
    target: str
    low: float
    high: float
    curve: Annotated[float, Field(gt=0, le=16)] = 1.0

    @field_validator("number")
    @classmethod
    def _free(cls, number: int) -> int:
        if number in RESERVED_CC:
            raise ValueError(f"CC {number} has a fixed meaning in MIDI; use another, such as 1, 16-19 or 70-79")
        return number


class Preset(_Part):
    """One TOML file. ``model`` is a shipped name, or a path relative to the file."""

    format: Literal[1]
    model: str
    description: str = ""
    model_sha256: Annotated[str, Field(pattern="^[0-9a-f]{64}$")] | None = None
    latent: LatentSettings = LatentSettings()
    play: PlaySettings = PlaySettings()
    envelope: EnvelopeSettings = EnvelopeSettings()
    cc: list[CCMap] = []
    effects: list[Effect] = []

    @model_validator(mode="after")
    def _one_map_a_target(self) -> "Preset":
        seen: set[tuple[int, str]] = set()
        for entry in self.cc:
            if (entry.number, entry.target) in seen:
                raise ValueError(f"CC {entry.number} is mapped to {entry.target!r} twice; remove one [[cc]]")
            seen.add((entry.number, entry.target))
        return self

    def latent_values(self, card: Card) -> list[float]:
        """Where the knobs rest on a model.

        Raises:
            UserError: another number of values than the model has latents.
        """
        values = self.latent.values
        if values is None:
            return [latent.default for latent in card.latents]
        if len(values) != len(card.latents):
            raise UserError(
                f"latent.values has {len(values)} numbers, model {card.name!r} has {len(card.latents)} latents; "
                f"give {len(card.latents)} or leave values out"
            )
        return values

    def check_targets(self, card: Card, effect_targets: dict[str, tuple[float, float]]) -> None:
        """Every CC target exists, and its range is allowed.

        Raises:
            UserError: naming the first that does not.
        """
        known: dict[str, tuple[float, float] | None] = {f"latent.{i}": None for i in range(len(card.latents))}
        known |= {c.name: (c.low, c.high) for c in PLAY_CONTROLS.values()}
        known |= effect_targets
        for entry in self.cc:
            if entry.target not in known:
                raise UserError(f"cc target {entry.target!r} does not exist{nearest(entry.target, known)}")
            allowed = known[entry.target]
            for name, value in (("low", entry.low), ("high", entry.high)):
                if allowed is not None and not allowed[0] <= value <= allowed[1]:
                    raise UserError(
                        f"cc {entry.number} to {entry.target!r}: {name} = {value:g} is out of range "
                        f"[{allowed[0]:g}, {allowed[1]:g}]"
                    )

    def to_toml(self, heading: str = "") -> str:
        """The preset as TOML text, with what is not set left out; ``heading`` becomes its first comment."""
        import tomlkit  # only who writes a preset waits for it

        document = tomlkit.document()
        if heading:
            document.add(tomlkit.comment(heading))
        for key, value in self.model_dump(exclude_unset=True, exclude_none=True).items():
            if isinstance(value, list):
                tables = tomlkit.aot()
                for item in value:
                    tables.append(tomlkit.item(item))
                document.add(key, tables)
            else:
                document.add(key, tomlkit.item(value))
        return tomlkit.dumps(document)


def read_preset(path: Path) -> Preset:
    """Read a preset file.

    Raises:
        UserError: missing, not TOML, of a newer format, or with a wrong key or value.
    """
    try:
        fields = tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise UserError(f"preset {path} does not exist; list shipped presets with 'timbrel presets'") from None
    except IsADirectoryError:
        raise UserError(f"{path} is a folder; give the preset file in it, such as {path / 'preset.toml'}") from None
    except OSError as error:
        raise UserError(f"preset {path} cannot be read: {error.strerror or error}") from None
    except (ValueError, RecursionError) as error:  # not TOML, a number of too many digits, or too deep a nest
        raise UserError(f"preset {path} is not TOML: {error}") from None
    version = fields.get("format")
    if isinstance(version, int) and version > FORMAT:
        raise UserError(f"preset {path} has format {version}, this timbrel reads {FORMAT}; update timbrel")
    try:
        return Preset.model_validate(fields)
    except ValidationError as error:
        raise UserError(f"preset {path}: {_explain(error)}") from None


def _explain(error: ValidationError) -> str:
    """What is wrong, in one line; of a misspelt key and the one that it leaves missing, the misspelt one."""
    unknown = [detail["loc"] for detail in error.errors(include_url=False) if detail["type"] == "extra_forbidden"]
    if not unknown:
        return first_complaint(error)
    *parents, key = (str(part) for part in unknown[0])
    parts: dict[str, type[BaseModel]] = {
        "latent": LatentSettings,
        "play": PlaySettings,
        "envelope": EnvelopeSettings,
        "cc": CCMap,
    }
    part = parts.get(parents[0] if parents else "", Preset)
    where = ".".join([*parents, key])
    return f"unknown key {where!r}{nearest(key, part.model_fields)}"
