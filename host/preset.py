"""A preset: which model, where its knobs rest, what moves them, how it is played."""

import itertools
import tomllib
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from .audio.effects import Effect
from .card import Card, first_complaint
from .controls import GRAIN_CONTROLS, NULL_PARAMETER, PLAY_CONTROLS, PROCESS_CONTROLS, RESERVED_CC
from .errors import UserError, nearest

FORMAT = 1
MORPH = "morph"  # the target that goes from the knobs to the far end of [morph]
NO_MORPH = "the preset has no [morph]; add one whose 'to' or 'values' says where it leads"

OF_SPECTRA = ("phase", "noise", "keep_formants", "unison", "detune_cents", "width")  # of [play]
DENSITY = 100.0  # grains a second where a preset says nothing: four at a time, of 45 ms

Way = Literal["linear", "spherical"]


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", allow_inf_nan=False)


class LatentSettings(_Part):
    """Where the knobs rest; None means the model's defaults."""

    values: list[float] | None = None


class PlaySettings(_Part):
    """How keys become voices.

    Poly: each key is a voice, at most ``voices``. Mono: the last key sounds; ``legato`` keys that are pressed while
    another is down do not strike anew, and the pitch slides from key to key in ``glide_seconds``. Chord: one voice has
    the pitch classes of all keys, as far as the model can: of those shipped, trained on single notes, two keys are both
    heard (each some 11 dB softer than alone), of three mostly one or two.

    A note's level is ``(velocity / 127) ** (2 * velocity_curve)``: 0 is the same for all, 1 the MIDI default.
    """

    mode: Literal["poly", "mono", "chord"] = "poly"
    voices: Annotated[int, Field(ge=1, le=64)] = 16
    legato: bool = False
    glide_seconds: Annotated[float, Field(ge=0, le=5)] = 0.0
    velocity_curve: Annotated[float, Field(ge=0, le=4)] = 1.0
    phase: Literal["coherent", "noise", "best"] = "coherent"
    noise: Annotated[float, Field(ge=0, le=1)] = 1.0
    keep_formants: bool = False
    unison: Annotated[int, Field(ge=1, le=8)] = 1
    detune_cents: Annotated[float, Field(ge=0, le=100)] = 10.0
    width: Annotated[float, Field(ge=0, le=1)] = 0.0
    gain_db: Annotated[float, Field(ge=-60, le=12)] = 0.0
    pan: Annotated[float, Field(ge=-1, le=1)] = 0.0
    bend_range_semitones: Annotated[float, Field(ge=0, le=96)] = 2.0  # the MIDI default


class GrainSettings(_Part):
    """How grains make a texture, for models of kind ``grain``; each grain reads what moves when it begins.

    ``density`` in grains a second of a voice, or ``overlap`` of successive grains in parts of their length. ``length``
    in seconds, None for the model's own. ``shape``: the window, from Tukey's with edges of 5 % (0) over Hann's (0.5) to
    Blackman's (1). ``jitter``: how late a grain may be, in parts of the time to the next. ``pitch`` in semitones;
    ``spread`` to both sides; ``level_jitter`` up and down in dB; ``code_jitter`` in deviations of each latent;
    ``lowpass_hz``, None for open.

    ``keys``: ``transpose`` from middle C; ``trigger`` at the grains' own pitch; ``hold``, as trigger until the key is
    pressed again. The same ``seed`` gives the same performance the same bytes.
    """

    density: Annotated[float, Field(ge=0.1, le=2000)] | None = None
    overlap: Annotated[float, Field(ge=0, le=0.99)] | None = None
    length: Annotated[float, Field(ge=0.002, le=2)] | None = None
    shape: Annotated[float, Field(ge=0, le=1)] = 1.0
    jitter: Annotated[float, Field(ge=0, le=1)] = 1.0
    pitch: Annotated[float, Field(ge=-48, le=48)] = 0.0
    spread: Annotated[float, Field(ge=0, le=1)] = 0.0
    level_jitter: Annotated[float, Field(ge=0, le=24)] = 0.0
    code_jitter: Annotated[float, Field(ge=0, le=2)] = 0.0
    lowpass_hz: Annotated[float, Field(ge=20)] | None = None
    keys: Literal["transpose", "trigger", "hold"] = "transpose"
    seed: Annotated[int, Field(ge=0, lt=1 << 63)] = 0

    @model_validator(mode="after")
    def _one_pace(self) -> "GrainSettings":
        if self.density is not None and self.overlap is not None:
            raise ValueError("density and overlap, which both say how often grains begin; give one of them")
        return self

    def values(self, card: Card) -> dict[str, float]:
        """Where what knobs can turn rests, by target; ``density`` or ``overlap``, whichever the preset has."""
        pace = {"density": DENSITY if self.density is None else self.density}
        if self.overlap is not None:
            pace = {"overlap": self.overlap}
        own = GRAIN_CONTROLS["grain.length"]
        values = pace | {
            "length": min(max(card.frame_length / card.sample_rate, own.low), own.high)
            if self.length is None
            else self.length,
            "shape": self.shape,
            "jitter": self.jitter,
            "pitch": self.pitch,
            "spread": self.spread,
            "level_jitter": self.level_jitter,
            "code_jitter": self.code_jitter,
            "lowpass_hz": card.sample_rate / 2 if self.lowpass_hz is None else self.lowpass_hz,
        }
        return {f"grain.{name}": value for name, value in values.items()}


class ProcessSettings(_Part):
    """How a sound that goes through the model is bent on its way, and comes out.

    Codes move away from a centre ``scale`` times as far as they were, times ``scales`` (one number a latent), and by
    ``shift`` (one a latent); the centre is the preset's code, or the mean of the training codes if it has none. Before,
    they follow the sound in ``smooth_seconds``, a time constant, or stay where they are while ``freeze`` is 0.5 or
    more; after, they go ``amount`` of the way to the code of ``to``: a label of the model's landmarks, or a preset.

    ``phase``: the sound's own (``original``), or one that the new magnitudes ask for (``own``). ``wet``: how much of
    what comes out went through the model.
    """

    wet: Annotated[float, Field(ge=0, le=1)] = 1.0
    scale: Annotated[float, Field(ge=-4, le=4)] = 1.0
    scales: list[Annotated[float, Field(ge=-4, le=4)]] | None = None
    shift: list[float] | None = None
    smooth_seconds: Annotated[float, Field(ge=0, le=10)] = 0.0
    freeze: Annotated[float, Field(ge=0, le=1)] = 0.0
    to: str | None = None
    amount: Annotated[float, Field(ge=0, le=1)] = 0.5
    phase: Literal["original", "own"] = "original"

    def values(self) -> dict[str, float]:
        """Where what knobs can turn rests, by target."""
        return {name: float(getattr(self, name.partition(".")[2])) for name in PROCESS_CONTROLS}


class MpeSettings(_Part):
    """What each finger moves for its note alone, in a zone of MPE: ``latent.N``, ``gain`` or nothing.

    A controller begins a zone by a message; ``enabled`` begins with a lower zone of all channels.
    """

    enabled: bool = False
    pressure: str | None = None
    slide: str | None = None


class EnvelopeSettings(_Part):
    """The ADSR of each voice: times in seconds, sustain as a part of full level."""

    attack_seconds: Annotated[float, Field(ge=0, le=10)] = 0.005
    decay_seconds: Annotated[float, Field(ge=0, le=30)] = 0.1
    sustain: Annotated[float, Field(ge=0, le=1)] = 1.0
    release_seconds: Annotated[float, Field(ge=0, le=30)] = 0.2


class TuningSettings(_Part):
    """Which pitch each key has: equal temperament at ``a4_hz``, or a Scala ``scale`` (.scl) and ``keymap`` (.kbm).

    Paths are relative to the preset. A keymap brings its own reference frequency.
    """

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


class CCMap(_Part):
    """One knob: what it listens to moves ``target`` from low to high along ``position ** curve``, position 0 to 1.

    It listens to one of ``number`` (a CC; with 14 bits its fine half is CC ``number + 32``), ``nrpn`` and ``pressure``
    (of the channel, or of the key that is pressed hardest), on ``channel`` 1 to 16 or on any that reaches the preset.
    ``takeover`` is what happens where knob and target disagree: the target jumps; it waits for the knob to pass
    (pickup); or the rest of its way follows the rest of the knob's (scale).
    """

    number: Annotated[int, Field(ge=0, le=127)] | None = None
    bits: Literal[7, 14] = 7
    nrpn: Annotated[int, Field(ge=0, le=NULL_PARAMETER)] | None = None
    pressure: Literal["channel", "key"] | None = None
    channel: Annotated[int, Field(ge=1, le=16)] | None = None
    target: str
    low: float
    high: float
    curve: Annotated[float, Field(gt=0, le=16)] = 1.0
    takeover: Literal["jump", "pickup", "scale"] = "jump"

    @property
    def source(self) -> str:
        """What it listens to, in words."""
        if self.number is not None:
            return f"CC {self.number}"
        return f"{self.pressure} pressure" if self.pressure else f"NRPN {self.nrpn}"

    @field_validator("number")
    @classmethod
    def _free(cls, number: int | None) -> int | None:
        if number in RESERVED_CC:
            raise ValueError(f"CC {number} has a fixed meaning in MIDI; use another, such as 1, 16-19 or 70-79")
        return number

    @field_validator("nrpn")
    @classmethod
    def _not_null(cls, nrpn: int | None) -> int | None:
        if nrpn == NULL_PARAMETER:
            raise ValueError(f"NRPN {nrpn} selects nothing in MIDI; use 0 to {NULL_PARAMETER - 1}")
        return nrpn

    @model_validator(mode="after")
    def _one_source(self) -> "CCMap":
        given = [name for name in ("number", "nrpn", "pressure") if getattr(self, name) is not None]
        if len(given) != 1:
            raise ValueError(f"{' and '.join(given) or 'nothing'} to listen to; give one of number, nrpn, pressure")
        if self.bits == 14 and (self.number is None or self.number > 31):
            raise ValueError(f"bits = 14 goes with number 1 to 31, whose fine half is 32 above, not with {self.source}")
        return self


class MorphSettings(_Part):
    """Another code to which ``morph``, 0 to 1, leads from the knobs: ``values``, or those of the preset ``to``."""

    to: str | None = None
    values: list[float] | None = None
    shape: Way = "linear"

    @model_validator(mode="after")
    def _one_end(self) -> "MorphSettings":
        if (self.to is None) == (self.values is None):
            raise ValueError("give one of to (a preset's name or path) and values (one number a latent)")
        return self


class WalkSettings(_Part):
    """A random walk of ``speed`` a second that stays within ``bound`` of the training codes, both in deviations.

    A deviation is that of each latent over the training set, as the card has it; the training codes are its landmarks.
    """

    speed: Annotated[float, Field(gt=0, le=10)]
    bound: Annotated[float, Field(ge=0.05, le=100)]  # a nearer one would take more steps than can be computed live
    seed: Annotated[int, Field(ge=0, le=9999)] = 0

    @model_validator(mode="before")
    @classmethod
    def _bounded(cls, fields: Any) -> Any:
        if isinstance(fields, dict) and "bound" not in fields:
            raise ValueError(
                "a walk needs a bound: the deviations that it may stray from training codes; give one, such as 1.0"
            )
        return fields


_OF_CYCLES = {"rate_hz", "beats", "phase"}
_OF_MOTION = {  # what each kind of motion may say
    "target": {"target", "shape", "depth", "low", "high"} | _OF_CYCLES,
    "path without times": {"path", "legs"} | _OF_CYCLES,
    "path with times": {"path", "legs", "times", "loop"},
    "walk": {"walk"},
}


class MotionSettings(_Part):
    """What moves by itself: ``target``, a latent or ``morph``, around its knob; or all latents, by a path or a walk.

    A ``path`` is of codes, and its ``legs`` are straight lines or great circles. It is closed, or it is at each code at
    one of ``times``, in seconds from the start, and rests at the last one; with ``loop`` it has one more, when it is
    back at the first code, and goes round from there. A cycle lasts 1 / ``rate_hz`` seconds, or ``beats`` quarter notes
    of the MIDI clock or of the preset's tempo.
    """

    target: str | None = None
    shape: Literal["sine", "triangle", "saw", "square", "random"] = "sine"
    depth: float | None = None
    low: float | None = None
    high: float | None = None
    path: Annotated[list[list[float]], Field(min_length=2)] | None = None
    legs: Way = "linear"
    times: list[Annotated[float, Field(ge=0, le=1e6)]] | None = None  # eleven days, and some
    loop: bool = False
    walk: WalkSettings | None = None
    rate_hz: Annotated[float, Field(gt=0, le=20)] | None = None  # latents are read some 43 times a second
    beats: Annotated[float, Field(ge=0.125, le=4096)] | None = None
    phase: Annotated[float, Field(ge=0, le=1)] = 0.0

    @property
    def offsets(self) -> tuple[float, float]:
        """What is added to the knob's value where the shape is lowest and highest."""
        if self.depth is not None:
            return -self.depth, self.depth
        return self.low or 0.0, self.high or 0.0

    @model_validator(mode="after")
    def _whole(self) -> "MotionSettings":
        given = {name for name, value in self if name in self.model_fields_set and value is not None}
        kinds = given & {"target", "path", "walk"}
        if len(kinds) != 1:
            raise ValueError("give one of target (a latent), path (a list of codes) and walk (its speed and bound)")
        (kind,) = kinds
        if kind == "path":
            kind += " with times" if "times" in given else " without times"
        if foreign := sorted(given - _OF_MOTION[kind]):
            raise ValueError(f"a {kind} has no {' and no '.join(foreign)}; leave it out")
        if "rate_hz" in _OF_MOTION[kind] and len(given & {"rate_hz", "beats"}) != 1:
            other = "" if self.path is None else ", or times (seconds, one a code)"
            raise ValueError(f"give one of rate_hz (cycles a second) and beats (quarter notes a cycle){other}")
        if self.target is not None and given & {"depth", "low", "high"} not in ({"depth"}, {"low", "high"}):
            raise ValueError("give depth, or low and high: what is added to the knob's value")
        return self

    @model_validator(mode="after")
    def _in_time(self) -> "MotionSettings":
        if self.times is None or self.path is None:
            return self
        count = len(self.path) + self.loop
        if len(self.times) != count:
            back = ", and one when the loop is back at the first" if self.loop else ""
            raise ValueError(
                f"times has {len(self.times)} numbers, path has {len(self.path)} codes; give {count}, one a code{back}"
            )
        for index, (before, time) in enumerate(itertools.pairwise(self.times), 1):
            if time <= before:
                raise ValueError(
                    f"times.{index} = {time:g} does not come after times.{index - 1} = {before:g}; "
                    "give seconds that rise"
                )
        return self


class Preset(_Part):
    """One TOML file. ``model`` is a shipped name, or a path relative to the file."""

    format: Literal[1]
    model: str
    description: str = ""
    model_sha256: Annotated[str, Field(pattern="^[0-9a-f]{64}$")] | None = None
    tempo_bpm: Annotated[float, Field(ge=20, le=400)] = 120.0  # of motion in beats while no MIDI clock is heard
    latent: LatentSettings = LatentSettings()
    play: PlaySettings = PlaySettings()
    grain: GrainSettings | None = None
    envelope: EnvelopeSettings = EnvelopeSettings()
    mpe: MpeSettings = MpeSettings()
    tuning: TuningSettings = TuningSettings()
    morph: MorphSettings | None = None
    process: ProcessSettings = ProcessSettings()
    cc: list[CCMap] = []
    motion: list[MotionSettings] = []
    effects: list[Effect] = []

    @model_validator(mode="after")
    def _one_map_a_target(self) -> "Preset":
        for entry, other in itertools.combinations(self.cc, 2):
            if None not in (entry.channel, other.channel) and entry.channel != other.channel:
                continue
            if (entry.source, entry.target) == (other.source, other.target):
                raise ValueError(f"{entry.source} is mapped to {entry.target!r} twice; remove one [[cc]]")
            for whole, half in ((entry, other), (other, entry)):
                if whole.bits == 14 and whole.number is not None and half.number == whole.number + 32:
                    raise ValueError(
                        f"{half.source} is the fine half of {whole.source}, which has bits = 14; use another"
                    )
        return self

    @model_validator(mode="after")
    def _one_path(self) -> "Preset":
        if sum(motion.target is None for motion in self.motion) > 1:
            raise ValueError("two motions have a path or a walk, which moves all latents; keep one")
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

    def check_kind(self, card: Card) -> None:
        """What the preset says of its voices is for models of this kind.

        Raises:
            UserError: naming the first key that is not, or that does not fit the model or another key.
        """
        if card.kind != "grain":
            if self.grain is not None:
                raise UserError(
                    f"[grain] is for models of kind 'grain', {card.name!r} is of kind {card.kind!r}; remove [grain] or "
                    "choose another model"
                )
            return
        for name in OF_SPECTRA:
            if name in self.play.model_fields_set:
                raise UserError(
                    f"play.{name} is for models of kind 'spectrum', {card.name!r} is of kind 'grain'; remove it"
                    " ([grain] has what grains can do)"
                )
        settings = self.grain or GrainSettings()
        if settings.keys == "hold" and self.play.mode != "poly":
            raise UserError(
                f"grain.keys 'hold' is for play.mode 'poly', where each key is a voice, not {self.play.mode!r}; "
                "change one of them"
            )
        half = card.sample_rate / 2
        if settings.lowpass_hz is not None and settings.lowpass_hz > half:
            raise UserError(
                f"grain.lowpass_hz {settings.lowpass_hz:g} is above {half:g}, half the rate of model {card.name!r}; "
                "give less, or leave it out: open"
            )

    def play_ranges(self, card: Card) -> dict[str, tuple[float, float]]:
        """How far what knobs can turn goes, by target: latents and effects aside."""
        controls = (*PLAY_CONTROLS.values(), *PROCESS_CONTROLS.values())
        ranges = {control.name: (control.low, control.high) for control in controls}
        if card.kind == "grain":
            for name in (self.grain or GrainSettings()).values(card):
                ranges[name] = (GRAIN_CONTROLS[name].low, GRAIN_CONTROLS[name].high)
            ranges["grain.lowpass_hz"] = (GRAIN_CONTROLS["grain.lowpass_hz"].low, card.sample_rate / 2)
        return ranges

    def check_targets(self, card: Card, effect_targets: dict[str, tuple[float, float]]) -> None:
        """Every target exists, and its range is allowed.

        Raises:
            UserError: naming the first that does not.
        """
        known: dict[str, tuple[float, float] | None] = {f"latent.{i}": None for i in range(len(card.latents))}
        known |= self.play_ranges(card)
        known |= effect_targets
        if self.morph is not None:
            known[MORPH] = (0.0, 1.0)
        for entry in self.cc:
            if entry.target == MORPH and self.morph is None:
                raise UserError(f"{entry.source} to {MORPH!r}: {NO_MORPH}")
            if entry.target not in known:
                raise UserError(f"cc target {entry.target!r} does not exist{nearest(entry.target, known)}")
            allowed = known[entry.target]
            for name, value in (("low", entry.low), ("high", entry.high)):
                if allowed is not None and not allowed[0] <= value <= allowed[1]:
                    raise UserError(
                        f"{entry.source} to {entry.target!r}: {name} = {value:g} is out of range "
                        f"[{allowed[0]:g}, {allowed[1]:g}]"
                    )
            if entry.takeover != "jump" and entry.target in effect_targets and entry.target not in self.effect_values():
                _, index, parameter = entry.target.split(".", 2)
                raise UserError(
                    f"{entry.source} to {entry.target!r}: takeover = {entry.takeover!r} needs to know where it starts; "
                    f"set {parameter} in effect {index}"
                )
        self._check_motion(card)

    def effect_values(self) -> dict[str, float]:
        """What the preset sets of its effects, by target: ``effects.N.parameter``; numbers only."""
        return {
            f"effects.{index}.{name}": float(value)
            for index, effect in enumerate(self.effects)
            for name, value in (effect.model_extra or {}).items()
            if isinstance(value, int | float)
        }

    def _check_motion(self, card: Card) -> None:
        latents = [f"latent.{index}" for index in range(len(card.latents))]
        for index, motion in enumerate(self.motion):
            if motion.target == MORPH:
                if self.morph is None:
                    raise UserError(f"motion.{index}: target {MORPH!r}: {NO_MORPH}")
            elif motion.target is not None and motion.target not in latents:
                raise UserError(
                    f"motion.{index}: target {motion.target!r} is no latent of model {card.name!r}"
                    f"{nearest(motion.target, latents)}"
                )
            if motion.walk is not None and not (card.landmarks and any(latent.std > 0 for latent in card.latents)):
                raise UserError(
                    f"motion.{index}: a walk stays near training codes, and the card of model {card.name!r} holds none "
                    "(its landmarks and deviations); export it again, or give a path"
                )
            for point, code in enumerate(motion.path or []):
                if len(code) != len(latents):
                    raise UserError(
                        f"motion.{index}: path.{point} has {len(code)} numbers, model {card.name!r} has "
                        f"{len(latents)} latents; give {len(latents)}"
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
        "grain": GrainSettings,
        "envelope": EnvelopeSettings,
        "mpe": MpeSettings,
        "tuning": TuningSettings,
        "morph": MorphSettings,
        "process": ProcessSettings,
        "cc": CCMap,
        "motion": MotionSettings,
        "walk": WalkSettings,
    }
    part = next((parts[name] for name in reversed(parents) if name in parts), Preset)
    where = ".".join([*parents, key])
    return f"unknown key {where!r}{nearest(key, part.model_fields)}"
