"""The preset file: TOML tables of model, latents, controllers and playing (docs/presets.md), and the files it names."""

import functools
import itertools
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, Field, Strict, create_model, field_validator, model_validator

from .. import extensions
from ..audio.effect_ranges import SETTINGS
from ..audio.effects import Effect
from ..errors import UserError
from ..events import NULL_PARAMETER, RESERVED_CC
from ..kinds.card_fields import IMAGE_BANDS, ImageBand
from ..kinds.kind import IMAGE
from ..kinds.sections import Sections
from ..kinds.table import KINDS, known_kinds
from ..model.card import Card
from ..model.pack import BY_DIGEST
from ..settings import Knob, Misplaced, SettingsSection, Whole, as_whole, controls_of
from ..velocity import VelocityLevels, velocity_gain
from .controls import Macros, NoteSettings, Snapshots, each_once
from .midi_learn import Encoder
from .motions import ONE_END, TEMPO_BPM, LatentValue, MorphSettings, MotionSettings
from .shipped import shipped_presets

if TYPE_CHECKING:
    from tomlkit.items import Table

FORMAT = 1
MORPH = "morph"  # the target that moves the code toward the far end of [morph]
NO_MORPH = "the preset has no [morph]; add one whose 'to' or 'values' says where it leads"


class LatentSettings(SettingsSection):
    """The [latent] table: rest values, one a latent; None for the model's defaults."""

    values: list[LatentValue] | None = None


class PlaySettings(SettingsSection):
    """The [play] table: how keys become voices, at a level by `velocity_gain`.

    In a chord, models trained on single notes play two keys softer than alone, and of three mostly one or two.
    """

    mode: Literal["poly", "mono", "chord"] = "poly"
    voices: Annotated[Whole, Field(ge=1, le=64)] = 16
    legato: bool = False
    glide_seconds: Annotated[float, Field(ge=0, le=5)] = 0.0
    velocity_curve: Annotated[float, Field(ge=0, le=4)] = 1.0
    velocity_levels: VelocityLevels = Field(default_factory=list)
    phase: Literal["coherent", "causal", "noise", "best"] = "coherent"
    noise: Annotated[float, Field(ge=0, le=1)] = 1.0
    keep_formants: bool = False
    unison: Annotated[Whole, Field(ge=1, le=8)] = 1
    detune_cents: Annotated[float, Field(ge=0, le=100)] = 10.0
    width: Annotated[float, Field(ge=0, le=1)] = 0.0
    image: Annotated[float, Field(ge=0, le=2), Knob("of the recorded image")] = 1.0
    image_bands: (
        Annotated[list[Annotated[ImageBand, Strict(False)]], Field(min_length=IMAGE_BANDS, max_length=IMAGE_BANDS)]
        | None
    ) = None
    gain_db: Annotated[float, Field(ge=-60, le=12), Knob("dB", "gain")] = 0.0
    pan: Annotated[float, Field(ge=-1, le=1), Knob("left to right", "pan")] = 0.0
    bend_range_semitones: Annotated[float, Field(ge=0, le=96)] = 2.0  # the MIDI default

    def values(self) -> dict[str, float]:
        return {IMAGE: self.image, "gain": self.gain_db, "pan": self.pan}

    def velocity_gain(self, velocity: int) -> float:
        return velocity_gain(velocity, self.velocity_levels, self.velocity_curve)


class ProcessSettings(SettingsSection):
    """The [process] table: transforms codes of audio input and mixes the output.

    Codes are smoothed, held, scaled around a centre, shifted, and moved toward ``to``, in this order. The centre is the
    preset's code, else the mean training code.
    """

    wet: Annotated[float, Field(ge=0, le=1), Knob("from dry to wet")] = 1.0
    scale: Annotated[float, Field(ge=-4, le=4), Knob("times the distance from the centre")] = 1.0
    scales: list[Annotated[float, Field(ge=-4, le=4)]] | None = None
    shift: list[LatentValue] | None = None
    smooth_seconds: Annotated[float, Field(ge=0, le=10), Knob("s")] = 0.0
    freeze: Annotated[float, Field(ge=0, le=1), Knob("the code is held from 0.5 on")] = 0.0
    to: str | None = None
    amount: Annotated[float, Field(ge=0, le=1), Knob("of the way to the far code")] = 0.5
    phase: Literal["original", "own"] = "original"

    def values(self) -> dict[str, float]:
        return {name: float(getattr(self, name.partition(".")[2])) for name in PROCESS_CONTROLS}


PROCESS_CONTROLS = controls_of(ProcessSettings, "process")


class MpeSettings(SettingsSection):
    """The [mpe] table: targets of a note's pressure and slide, ``latent.N`` or ``gain``."""

    enabled: bool = False
    pressure: str | None = None
    slide: str | None = None


class EnvelopeSettings(SettingsSection):
    """The [envelope] table: the ADSR of each voice."""

    attack_seconds: Annotated[float, Field(ge=0, le=10), Knob("s")] = 0.005
    decay_seconds: Annotated[float, Field(ge=0, le=30), Knob("s")] = 0.1
    sustain: Annotated[float, Field(ge=0, le=1), Knob("of full level")] = 1.0
    release_seconds: Annotated[float, Field(ge=0, le=30), Knob("s")] = 0.2

    def values(self) -> dict[str, float]:
        return {f"envelope.{name}": value for name, value in self}


ENVELOPE_CONTROLS = controls_of(EnvelopeSettings, "envelope")
PLAY_CONTROLS = controls_of(PlaySettings) | ENVELOPE_CONTROLS


class TuningSettings(SettingsSection):
    """The [tuning] table: equal temperament, or Scala files with paths relative to the preset."""

    a4_hz: Annotated[float, Field(ge=220, le=880)] = 440.0
    scale: str | None = None
    keymap: str | None = None

    @model_validator(mode="after")
    def _one_reference(self) -> "TuningSettings":
        if self.keymap is not None and self.scale is None:
            raise ValueError(f"keymap {self.keymap!r} maps keys to the notes of a scale; give scale too")
        if self.keymap is not None and "a4_hz" in self.model_fields_set:
            raise ValueError("a4_hz and keymap, which says its own frequency; give one of them")
        return self


def _not_reserved(number: int) -> int:
    if number in RESERVED_CC:
        raise ValueError(f"CC {number} has a fixed meaning in MIDI; use another, such as 1, 16-19 or 70-79")
    return number


SOURCES = ("number", "nrpn", "pressure")  # keys of a map, which has one of them


class CCMap(SettingsSection):
    """A [[cc]] table: moves ``target`` from low to high along ``position ** curve``, position 0 to 1.

    At 14 bits the LSB is CC ``number + 32``. A ``relative`` controller sends steps of 127ths. `validation.fitted` fills
    omitted ends and resolves names of targets.
    """

    number: Annotated[Whole, Field(ge=0, le=127)] | None = None
    bits: Literal[7, 14] = 7
    relative: Encoder | None = None
    nrpn: Annotated[Whole, Field(ge=0, le=NULL_PARAMETER)] | None = None
    pressure: Literal["channel", "key"] | None = None
    channel: Annotated[Whole, Field(ge=1, le=16)] | None = None
    target: str
    low: float | None = None
    high: float | None = None
    curve: Annotated[float, Field(gt=0, le=16)] = 1.0
    takeover: Literal["jump", "pickup", "scale"] = "jump"

    @property
    def source(self) -> str:
        if self.number is not None:
            return f"CC {self.number}"
        return f"{self.pressure} pressure" if self.pressure else f"NRPN {self.nrpn}"

    @property
    def ends(self) -> tuple[float, float]:
        """Low and high, once fitted."""
        assert self.low is not None
        assert self.high is not None
        return self.low, self.high

    @field_validator("number")
    @classmethod
    def _free(cls, number: int | None) -> int | None:
        return number if number is None else _not_reserved(number)

    @field_validator("nrpn")
    @classmethod
    def _not_null(cls, nrpn: int | None) -> int | None:
        if nrpn == NULL_PARAMETER:
            raise ValueError(f"NRPN {nrpn} selects nothing in MIDI; use 0 to {NULL_PARAMETER - 1}")
        return nrpn

    @model_validator(mode="after")
    def _one_source(self) -> "CCMap":
        """Check that a map has one source, whose other keys fit."""
        source_keys = [name for name in SOURCES if getattr(self, name) is not None]
        if len(source_keys) != 1:
            raise ValueError(
                f"{' and '.join(source_keys) or 'nothing'} to listen to; give one of number, nrpn, pressure"
            )
        if self.bits == 14 and (self.number is None or self.number > 31):
            raise ValueError(f"bits = 14 goes with number 1 to 31, whose fine half is 32 above, not with {self.source}")
        if self.relative is not None and (self.number is None or self.bits == 14):
            raise ValueError(f"relative = {self.relative!r} goes with number and 7 bits, not with {self.source}")
        return self


class Preset(Sections):
    """``model`` is a shipped name or a path relative to the file, ``knobs`` are CCs of latents in order."""

    format: Annotated[Literal[1], BeforeValidator(as_whole)]
    model: str
    description: str = ""
    model_sha256: Annotated[str, Field(pattern="^[0-9a-f]{64}$")] | None = None
    knobs: list[Annotated[Whole, Field(ge=0, le=127), AfterValidator(_not_reserved)]] = Field(default_factory=list)
    tempo_bpm: Annotated[float, Field(ge=20, le=400)] = TEMPO_BPM
    latent: LatentSettings = LatentSettings()
    play: PlaySettings = PlaySettings()
    envelope: EnvelopeSettings = EnvelopeSettings()
    mpe: MpeSettings = MpeSettings()
    tuning: TuningSettings = TuningSettings()
    morph: MorphSettings | None = None
    process: ProcessSettings = ProcessSettings()
    cc: list[CCMap] = Field(default_factory=list)
    macro: Macros = Field(default_factory=list)
    motion: list[MotionSettings] = Field(default_factory=list)
    note: Annotated[list[NoteSettings], AfterValidator(each_once)] = Field(default_factory=list)
    effects: list[Effect] = Field(default_factory=list)
    snapshot: Snapshots = Field(default_factory=list)

    @model_validator(mode="after")
    def _one_map_a_target(self) -> "Preset":
        for (_, cc_map), (later_index, later_map) in itertools.combinations(enumerate(self.cc), 2):
            if None not in (cc_map.channel, later_map.channel) and cc_map.channel != later_map.channel:
                continue
            if (cc_map.source, cc_map.target) == (later_map.source, later_map.target):
                raise Misplaced(
                    ("cc", later_index), f"{cc_map.source} is mapped to {cc_map.target!r} twice; remove one [[cc]]"
                )
            for coarse, fine in ((cc_map, later_map), (later_map, cc_map)):
                if coarse.bits == 14 and coarse.number is not None and fine.number == coarse.number + 32:
                    raise Misplaced(
                        ("cc", later_index),
                        f"{fine.source} is the fine half of {coarse.source}, which has bits = 14; use another",
                    )
        return self

    @model_validator(mode="after")
    def _one_knob_a_latent(self) -> "Preset":
        for map_index, cc_map in enumerate(self.cc):
            index_text = cc_map.target.removeprefix("latent.")
            if (
                cc_map.number is not None
                and index_text.isdecimal()
                and self.knobs[int(index_text) :][:1] == [cc_map.number]
            ):
                raise Misplaced(
                    ("cc", map_index),
                    f"{cc_map.source} moves {cc_map.target!r} twice: knobs has it, too; remove this [[cc]]",
                )
        return self

    @model_validator(mode="after")
    def _one_path(self) -> "Preset":
        path_indices = [motion_index for motion_index, motion in enumerate(self.motion) if motion.target is None]
        if len(path_indices) > 1:
            raise Misplaced(
                ("motion", path_indices[1]), "two motions have a path or a walk, which moves all latents; keep one"
            )
        return self

    @model_validator(mode="after")
    def _one_end_a_morph(self) -> "Preset":
        """Check that a morph leads to a code, or keys with ``morph_to`` to recordings."""
        joined_indices = [index for index, entry in enumerate(self.keys) if entry.morph_to is not None]
        if self.morph is None:
            if joined_indices:
                raise Misplaced(
                    ("keys", joined_indices[0], "morph_to"),
                    "morph_to needs a [morph], which has the position; add one with position = 0.0",
                )
        elif not self.morph.leads_to_a_code:
            if not joined_indices:
                raise Misplaced(("morph",), f"morph: {ONE_END}, or a morph_to in [[keys]]")
            if "shape" in self.morph.model_fields_set:
                raise Misplaced(("morph", "shape"), "morph.shape is the way of codes; remove it, or give to or values")
        elif joined_indices:
            raise Misplaced(
                ("keys", joined_indices[0], "morph_to"),
                "morph_to leads this key to a recording, and [morph] all keys to a code; keep one of them",
            )
        return self

    def latent_values(self, card: Card) -> list[float]:
        """Raise UserError if not one value a latent."""
        values = self.latent.values
        if values is None:
            return [latent.default for latent in card.latents]
        if len(values) != len(card.latents):
            decimal_hint = "; decimals have a point: 0.5" if len(values) == 2 * len(card.latents) else ""
            raise UserError(
                f"latent.values has {len(values)} numbers, model {card.name!r} has {len(card.latents)} latents; "
                f"give {len(card.latents)} or leave values out{decimal_hint}"
            )
        return values

    @property
    def macro_targets(self) -> set[str]:
        return {macro_target.target for macro in self.macro for macro_target in macro.targets}

    def effect_values(self) -> dict[str, float]:
        """Numbers set in effects, by target ``effects.N.parameter``."""
        return {
            f"effects.{index}.{name}": float(value)
            for index, effect in enumerate(self.effects)
            for name, value in (effect.model_extra or {}).items()
            if isinstance(value, int | float)
        }

    def to_toml(self, heading: str = "", names: Mapping[str, str] = MappingProxyType({})) -> str:
        """TOML without unset fields; ``names`` of targets become comments in maps and macros."""
        import tomlkit  # slow import, needed only to write a preset

        document = tomlkit.document()
        for line in heading.splitlines():
            document.add(tomlkit.comment(line))
        for key, value in self.model_dump(exclude_unset=True, exclude_none=True).items():
            if isinstance(value, list) and value and isinstance(value[0], dict):
                tables = tomlkit.aot()
                for table_fields in value:
                    tables.append(_table(table_fields, names))
                document.add(key, tables)
            else:
                document.add(key, tomlkit.item(value))
        return tomlkit.dumps(document)


def _table(fields: Mapping[str, Any], names: Mapping[str, str]) -> "Table":
    """One table of a list, with names of targets as comments."""
    import tomlkit

    table = tomlkit.table()
    for key, value in fields.items():
        if not (isinstance(value, list) and value and isinstance(value[0], dict)):
            table.add(key, tomlkit.item(value))
            continue
        inner_array = tomlkit.array()
        for entry in value:
            inline_table = tomlkit.inline_table()
            inline_table.update(entry)
            inner_array.add_line(inline_table, comment=names.get(entry.get("target", "")))
        inner_array.add_line(indent="")
        table.add(key, inner_array)
    if target_name := names.get(fields.get("target", "")):
        table["target"].comment(target_name)
    return table


def preset_class(tables: Iterable[str]) -> type[Preset]:
    """`Preset`, with the tables of installed packages' kinds among ``tables``.

    Raises:
        UserError: as `extensions.load`.
    """
    unknown_tables = set(tables) - Preset.model_fields.keys()
    # A search through all packages takes milliseconds: one for all names, and none for timbrel's own.
    kind_names = sorted(unknown_tables.intersection(extensions.names(extensions.KINDS))) if unknown_tables else []
    return _with_tables(tuple(kind_names)) if kind_names else Preset


@functools.cache
def _with_tables(kind_names: tuple[str, ...]) -> type[Preset]:
    bases: Any = (*(KINDS[name].settings for name in kind_names), Preset)
    return create_model("Preset", __base__=bases, __module__=__name__)


def files_of(preset: Preset) -> Iterator[str]:
    """Names of the sounds, scales and other files that a preset uses."""
    file_names = [kind.sound(kind.select_section(preset)) for kind in known_kinds().values()]
    for effect in preset.effects:
        setting_types = SETTINGS.get(effect.plugin, {})
        file_names += [
            (effect.model_extra or {}).get(setting_name)
            for setting_name, setting_type in setting_types.items()
            if setting_type is Path
        ]
    yield from (name for name in (preset.tuning.scale, preset.tuning.keymap, *file_names) if isinstance(name, str))


def named_from_outside(text: str, preset: Preset, folder: Path, digest: str) -> str:
    """A packed preset's text with its model by the pack's digest, other files by full paths."""
    from .text import with_words  # lazy: tomlkit takes a megabyte of each instance

    if preset.model.startswith(BY_DIGEST):
        return text
    end_names = [preset.process.to, None if preset.morph is None else preset.morph.to]
    file_names = {
        *files_of(preset),
        *(end_name for end_name in end_names if end_name is not None and (folder / end_name).is_file()),
    }
    path_by_name = {name: str(folder / name) for name in file_names - shipped_presets().keys()}
    return with_words(text, {preset.model: f"{BY_DIGEST}{digest}", **path_by_name})
