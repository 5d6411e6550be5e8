"""Opens presets and bare models as patches: finds models, default knobs, morph targets and live options."""

import contextlib
import hashlib
import json
import re
import tomllib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import MappingProxyType
from typing import Annotated

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from ..audio.plugins import PLUGINS
from ..config import toml_text
from ..errors import TimbrelError, UserError, nearest, printable
from ..events import RESERVED_CC
from ..files import Stamp, as_on_disk, read_regular, read_start, stamp
from ..kinds.table import kind_of
from ..model.card import Card, first_complaint
from ..model.learned_path import LearnedPath, path_file
from ..model.model import Model
from ..model.pack import BY_DIGEST, MANIFEST, SUFFIX, digest_of, mark_proved, proved_before, throw_away, unproved
from ..settings import Fault
from ..signal import medoid
from .controls import MOST_TARGETS, MacroSettings, MacroTarget
from .loading import UnknownKeys, complaints, read_preset
from .motions import MorphSettings, MorphTarget
from .preset import CCMap, Preset, files_of, named_from_outside
from .shipped import MADE, PRESETS, Draft, patch_file, preset_file, preset_text, shipped_models, shipped_presets
from .tuning import tuned_keys
from .validation import faults, fitted, gesture_faults, known_effects, strays

HEX = re.compile("[0-9a-f]{64}")
KEPT_MODELS = 16  # most recently opened: program changes return to them
_models: dict[Path, Model] = {}  # by file


def model_path(name: str, folder: Path) -> Path:
    """File of a model named by a preset in ``folder``.

    Raises:
        UserError: neither a shipped model, nor a file, nor of a pack on this machine.
    """
    model_files = shipped_models()
    if name in model_files:
        return model_files[name]
    if name.startswith(BY_DIGEST):
        digest = name.removeprefix(BY_DIGEST)
        pack_folder = proved_before(digest) if HEX.fullmatch(digest) else None
        if pack_folder is None:
            raise UserError(f"the pack with the SHA-256 {printable(digest)} is not here; get it, or open its file once")
        return model_path(read_model_name(pack_folder / MADE), pack_folder)
    path = as_on_disk(folder / name)
    if not path.exists():
        hint = nearest(name, model_files) if path.suffix != ".onnx" else "; put it there, or correct the preset"
        raise UserError(f"model {name!r} does not exist ({path}){hint}")
    return path


def read_model_name(preset: Path) -> str:
    """Model of a pack's preset, which was read before."""
    return tomllib.loads(preset_text(preset))["model"]


def open_model(path: Path, data: bytes | None = None) -> Model:
    """Open through a cache, again if the file changed; ``data`` is not cached."""
    if data is not None:
        return Model(path, data)
    model = _models.pop(path, None)
    if model is None or model.stamp != stamp(path):
        model = Model(path)
    _models[path] = model
    while len(_models) > KEPT_MODELS:
        del _models[next(iter(_models))]
    return model


CONTROLLERS = PRESETS / "controllers"
LARGEST = 1 << 16  # bytes of a file: 30 times any shipped one

Number = Annotated[int, Field(ge=0, le=127)]


class Controller(BaseModel):
    """Factory settings: CC numbers in physical order, by rows from left to right.

    ``source``: origin of the numbers; ``channel`` None: set on the device.
    """

    model_config = ConfigDict(extra="forbid")

    name: str
    source: str
    notes: str = ""
    channel: Annotated[int, Field(ge=1, le=16)] | None = None
    knobs: list[Number] = []
    faders: list[Number] = []


def shipped_controllers() -> dict[str, Path]:
    return {path.stem: path for path in sorted(CONTROLLERS.glob("*.toml"))}


def read_controller(name: str) -> Controller:
    """Read a shipped controller, or a user's ``.toml`` file.

    Raises:
        UserError: unknown name, or an invalid file.
    """
    shipped_files = shipped_controllers()
    path = shipped_files.get(name, Path(name))
    if name not in shipped_files and path.suffix != ".toml":
        raise UserError(f"no controller is named {name!r}{nearest(name, shipped_files)}")
    try:
        return Controller.model_validate(tomllib.loads(toml_text(read_regular(path, LARGEST), f"controller {path}")))
    except OSError as error:
        raise UserError(f"controller {path} cannot be read: {error.strerror or error}") from None
    except ValidationError as error:
        raise UserError(f"controller {path}: {first_complaint(error)}") from None
    except (ValueError, RecursionError) as error:
        raise UserError(f"controller {path} is not TOML: {error}") from None


def bindings(controller: Controller, card: Card) -> list[CCMap]:
    """Map knobs, then faders, to latents in order, on any channel; skip CCs reserved by MIDI."""
    free_numbers = [number for number in (*controller.knobs, *controller.faders) if number not in RESERVED_CC]
    return latent_maps(free_numbers, card)


def latent_maps(numbers: Iterable[int], card: Card) -> list[CCMap]:
    """Map CC ``numbers`` to latents in order, over their ranges."""
    return [
        CCMap(number=number, target=f"latent.{index}", low=low, high=high)
        for index, (number, (low, high)) in enumerate(zip(numbers, card.spans, strict=False))
    ]


Files = Mapping[str, bytes]  # of a `Draft`
NO_FILES: Files = MappingProxyType({})


def morph_of(settings: MorphSettings | None, card: Card, folder: Path, files: Files = NO_FILES) -> MorphTarget | None:
    """The [morph] of a preset in ``folder`` on a model.

    Raises:
        UserError: its preset cannot be used, or the number of latents differs.
    """
    if settings is None:
        return None
    end_code: list[float] | None
    if settings.to is not None:
        end_code, label = _rest_of(settings.to, card, folder, "morph.to", files)
    elif settings.values is not None:
        end_code, label = _checked(settings.values, card, "morph.values"), None
    else:
        end_code, label = None, None
    return MorphTarget(end_code, settings.shape, label, settings.position)


def path_of(preset: Preset, model: Model, files: Files = NO_FILES) -> LearnedPath | None:
    """The learned path of a preset's motion, from ``files`` or beside the model's file; None without such a motion.

    Raises:
        UserError: as `LearnedPath`, or ``files`` hold the model without it.
    """
    if not any(motion.learned is not None for motion in preset.motion):
        return None
    path_data = files.get(path_file(model.path).name)
    if path_data is None and model.path.name in files:
        raise UserError(f"{path_file(model.path).name}, the learned path of {model.path}, is missing; save it again")
    return LearnedPath(model, path_data)


def process_end(name: str | None, card: Card, folder: Path, files: Files = NO_FILES) -> list[float] | None:
    """Code of ``process.to``: the medoid of a label's landmarks, or a preset's rest code.

    Raises:
        UserError: no such label or preset, or the preset does not match the model.
    """
    if name is None:
        return None
    label_codes = [landmark.latent for landmark in card.landmarks if landmark.label == name]
    if label_codes:
        return label_codes[medoid(np.array(label_codes))]
    preset_files = shipped_presets()
    if name in files or name in preset_files or preset_file(str(folder / name)) is not None:
        return _rest_of(name, card, folder, "process.to", files)[0]
    candidate_names = sorted({landmark.label for landmark in card.landmarks} | set(preset_files))
    raise UserError(
        f"process.to {name!r} is no landmark of model {card.name!r} and no preset{nearest(name, candidate_names)}"
    )


def _rest_of(name: str, card: Card, folder: Path, key: str, files: Files) -> tuple[list[float], str | None]:
    """Without a code in ``files``, the default of ``card``."""
    error_subject = f"{key} {name!r}"
    preset_path = shipped_presets().get(name) or preset_file(str(folder / name)) or folder / name
    try:
        if name in files:
            source_preset = read_preset(folder / name, files[name].decode(errors="replace"))
            latent_values = source_preset.latent_values(card)
        else:
            source_preset = read_preset(preset_path)
            latent_values = source_preset.latent_values(
                open_model(model_path(source_preset.model, preset_path.parent).resolve()).card
            )
    except UserError as error:
        raise UserError(f"{error_subject}: {error}") from None
    kind = kind_of(card)
    label = kind.label(kind.select_section(source_preset))
    return _checked(latent_values, card, error_subject), label if label in card.labels else None


def _checked(values: list[float], card: Card, subject: str) -> list[float]:
    """Return the values if they are as many as the latents, else raise `UserError`."""
    if len(values) != len(card.latents):
        raise UserError(
            f"{subject} has {len(values)} latents, model {card.name!r} has {len(card.latents)}; "
            "lead to a code of as many"
        )
    return values


def prove(file: Path) -> None:
    """Prove the pack of a preset's file, if any, once; a pack that fails is removed.

    Raises:
        UserError: the preset cannot be used, names a plugin or a file outside, or the model gives other outputs.
    """
    if not unproved(file):
        return
    try:
        preset = read_preset(file)
        model_file = model_path(preset.model, file.parent)
        file_names = [*files_of(preset), *filter(None, [preset.morph.to if preset.morph else None])]
        end_name = preset.process.to  # or a landmark
        if end_name is not None and preset_file(str(file.parent / end_name)) is not None:
            file_names.append(end_name)
        outside_names = [name for name in (preset.model, *file_names) if not _in_folder(file.parent, name)]
        if outside_names:
            raise UserError(f"its preset names {outside_names[0]!r}, which it does not hold")
        if any(effect.plugin.endswith(PLUGINS) for effect in preset.effects):
            raise UserError("its preset runs a plugin by its path, which packs may not")
        model = Model(model_file)
        learned_path = path_of(preset, model)
        if not (model.verify().passed and (learned_path is None or learned_path.verify().passed)):
            raise UserError(f"its model gives other outputs here than {MANIFEST} was made with; update timbrel")
    except TimbrelError as error:
        throw_away(file)
        raise UserError(f"the pack {file.parent.name!r} cannot be used: {error.args[0]}") from None
    mark_proved(file)


def _in_folder(folder: Path, name: str) -> bool:
    """Return whether a name is of a shipped preset, or of a file in the folder."""
    resolved_path = (folder / name).resolve()
    return name in shipped_presets() or (folder.resolve() in resolved_path.parents and resolved_path.is_file())


MOST_SAMPLES = 1 << 22  # of a sound that notes continue: a minute and a half at 44.1 kHz
FIRST_MACRO_CC, MACRO_KNOBS = 16, 4  # general purpose controllers 1 to 4 (MIDI 1.0)
LEAST_PART = 0.01  # of a latent's range: smaller components of a direction are inaudible
FIRST_KNOB_CC = 70  # sound controllers 70 to 79: the default of eight-knob keyboards


@dataclass(frozen=True)
class Patch:
    """A preset with its opened model and files; playing reads none.

    ``sound``: end of the sound that notes continue, at the model's rate.

    Raises:
        UserError: a Scala file, or a preset of morph or process, cannot be used.
    """

    name: str
    preset: Preset
    model: Model
    folder: Path  # base of relative paths
    warnings: tuple[str, ...] = ()
    files: Mapping[Path, Stamp | None] = field(default_factory=dict)  # read ones, with stamps
    text: str | None = field(repr=False, default=None)  # None for a model
    draft_files: Mapping[str, bytes] = field(repr=False, default_factory=dict)  # files of a `Draft`
    tuning: Mapping[int, float] = field(init=False, repr=False)  # pitches of playable MIDI keys
    morph: MorphTarget | None = field(init=False, repr=False)
    process_end: Sequence[float] | None = field(init=False, repr=False)  # target code of processed audio
    sound: npt.NDArray[np.float32] | None = field(init=False, repr=False, default=None)
    path: LearnedPath | None = field(init=False, repr=False, default=None, compare=False)  # of a learned motion

    def __post_init__(self) -> None:
        preset, card = self.preset, self.model.card
        kind = kind_of(card)
        with self._naming_line("tuning"):
            tuned_pitches = tuned_keys(preset.tuning, self.folder, self.draft_files)
            object.__setattr__(self, "tuning", kind.pitches(kind.select_section(preset), tuned_pitches))
        with self._naming_line("morph"):
            object.__setattr__(self, "morph", morph_of(preset.morph, card, self.folder, self.draft_files))
        with self._naming_line("motion"):
            object.__setattr__(self, "path", path_of(preset, self.model, self.draft_files))
        if self.path is not None and self.path.stamp is not None:
            object.__setattr__(self, "files", {**self.files, self.path.path: self.path.stamp})
        with self._naming_line("process", "to"):
            object.__setattr__(self, "process_end", process_end(preset.process.to, card, self.folder, self.draft_files))
        if (sound_name := kind.sound(kind.select_section(preset))) is not None:
            with self._naming_line(*kind.sound_key or ()):
                self._read_sound(sound_name, *kind.sound_samples(card))

    @contextlib.contextmanager
    def _naming_line(self, *key_path: str) -> Iterator[None]:
        """Add the preset's name and the line of a key to errors."""
        try:
            yield
        except UserError as error:
            key_faults = [Fault(key_path, line) for line in error.args]
            raise UserError(*complaints(repr(self.name), key_faults, self.text or "")) from None

    @property
    def digest(self) -> str:
        """SHA-256 of settings, model, tuning and morph, without comments, description and snapshots."""
        silent_fields = {"description", "model", "snapshot"}
        settings = self.preset.model_dump(mode="json", exclude_defaults=True, exclude=silent_fields)
        morph_end = None if self.morph is None or self.morph.end is None else list(self.morph.end)
        digest_fields = [settings, self.model.sha256, sorted(self.tuning.items()), morph_end]
        return hashlib.sha256(json.dumps(digest_fields, sort_keys=True).encode()).hexdigest()

    def _read_sound(self, name: str, least_samples: int, memory_samples: int) -> None:
        """Keep the end of a sound; warn if it is longer than the model's memory."""
        from ..audio.sound_files import end_of  # lazy: few presets name a sound
        from ..model.encoder import SILENT

        rate, most_samples = self.model.card.sample_rate, min(MOST_SAMPLES, memory_samples)
        sound = end_of(as_on_disk(self.folder / name), rate, most_samples + 1, self.draft_files.get(name))
        if len(sound) < least_samples:
            raise UserError(
                f"the sound {name!r} is {len(sound)} samples long at the model's rate, and a frame takes "
                f"{least_samples}; give a longer sound"
            )
        if float(sound.std()) < SILENT:
            raise UserError(f"the sound {name!r} is silent; give a sound that is heard, or leave it out")
        object.__setattr__(self, "sound", sound[-most_samples:])
        if len(sound) > most_samples:
            warning = (
                f"preset {self.name!r}: the sound {name!r} is longer than the memory takes; "
                f"its last {most_samples / rate:.1f} seconds are used"
            )
            object.__setattr__(self, "warnings", tuple(dict.fromkeys((*self.warnings, warning))))  # once for copies


def open_patch(name: str | Draft) -> Patch:
    """Open a shipped preset or model, a ``.toml`` preset, a folder with one, a ``.onnx`` model, or a draft.

    Raises:
        UserError: unknown name, or it cannot be used.
    """
    if isinstance(name, Draft):
        return replace(_open_preset(name.folder / f"{name.name}.toml", name.text, name.files), name=name.name)
    path = patch_file(name)
    if path.suffix == ".onnx":
        return _default_patch(path)
    if path.suffix != ".toml":
        if path.is_dir():
            raise UserError(f"{path} is a folder without {MADE}; give a preset, or a folder that 'timbrel make' wrote")
        _refuse_other_kinds(path)
    return _open_preset(path)


def _refuse_other_kinds(path: Path) -> None:
    """Raise `UserError` for a file of another kind that is often given as a preset."""
    with contextlib.suppress(OSError):
        first_bytes = read_start(path, 4)
        if first_bytes in (b"MThd", b"RIFF"):
            raise UserError(f"{path} is a MIDI or sound file, not a preset; the preset comes first: PRESET {path.name}")
        if first_bytes == b"PK\x03\x04":
            raise UserError(f"{path} is a zip file; if it is a pack of timbrel, rename it to {path.stem}{SUFFIX}")


def find_model(name: str) -> Path:
    """File of a shipped model or a preset's model, or the path as given.

    Raises:
        UserError: the preset cannot be used, or its model does not exist.
    """
    file = preset_file(name)
    if name in shipped_models() or file is None:
        return shipped_models().get(name, Path(name))
    prove(file)
    return model_path(read_preset(file).model, file.parent)


def check_files(preset_path: Path) -> None:
    """Check that a preset's file can be read and the files that it names exist; opens no model.

    Raises:
        UserError: as `read_preset`, or a file is missing.
    """
    preset = read_preset(preset_path)
    try:
        model_path(preset.model, preset_path.parent)
    except UserError as error:
        raise UserError(f"preset {preset_path}: {error}") from None
    for name in files_of(preset):
        if not (path := as_on_disk(preset_path.parent / name)).exists():
            raise UserError(
                f"preset {preset_path}: {name!r} does not exist ({path}); put it there, or correct the preset"
            )


def notes_of(name: str) -> list[str]:
    """Text of each [[note]] table of a preset; empty for models.

    Raises:
        UserError: the preset cannot be used.
    """
    file = preset_file(name)
    return [] if name in shipped_models() or file is None else [note.text() for note in read_preset(file).note]


def default_knobs(card: Card) -> list[CCMap]:
    """CC 70 to 79 for the first ten latents."""
    return latent_maps(range(FIRST_KNOB_CC, FIRST_KNOB_CC + 10), card)


def default_macros(card: Card) -> list[MacroSettings]:
    """A macro for each direction of the card, centred."""
    least_components = [LEAST_PART * (latent.high - latent.low) for latent in card.latents]
    macros = []
    for direction in card.directions:
        indexed_components = [
            (index, component)
            for index, component in enumerate(direction.latent)
            if abs(component) >= least_components[index]
        ]
        if indexed_components:
            targets = [
                MacroTarget(target=f"latent.{index}", low=-component, high=component)
                for index, component in indexed_components
            ]
            macros.append(MacroSettings(name=direction.name, targets=targets[:MOST_TARGETS]))
    return macros


def macro_knobs(card: Card) -> list[CCMap]:
    """CC 16 to 19 for `default_macros`."""
    knob_count = min(len(default_macros(card)), MACRO_KNOBS)
    return [CCMap(number=FIRST_MACRO_CC + i, target=f"macro.{i}", low=0.0, high=1.0) for i in range(knob_count)]


def _open_preset(path: Path, text: str | None = None, draft_files: Mapping[str, bytes] = MappingProxyType({})) -> Patch:
    """Open a preset file, or its unsaved ``text``, with its model; report all faults at once."""
    prove(path)
    preset_stamps = {path: stamp(path)} if text is None else {}
    text = preset_text(path) if text is None else text
    unknown_key_faults: Sequence[Fault] = ()
    try:
        preset = read_preset(path, text)
    except UnknownKeys as error:  # the model may find more faults: all are reported at once
        preset, unknown_key_faults = error.preset, error.faults
    if (pack_digest := digest_of(path)) and not unknown_key_faults:
        text = named_from_outside(text, preset, path.parent, pack_digest)
        preset = read_preset(path, text)
    try:
        if preset.model in draft_files:
            model = open_model(Path(preset.model), draft_files[preset.model])
        else:
            model = open_model(model_path(preset.model, path.parent).resolve())
    except UserError as error:
        model_lines = (f"preset {path}: {line}" for line in error.args)
        raise UserError(*complaints(path, unknown_key_faults, text), *model_lines) from None
    warnings = list(model.warnings)
    if preset.model_sha256 is not None and preset.model_sha256 != model.sha256:
        warnings.append(
            f"preset {path.stem!r} was made for another model than {model.path} (its SHA-256 differs): "
            "it may sound different; set model_sha256 to "
            f"{model.sha256} to accept it"
        )
    if all_faults := [
        *unknown_key_faults,
        *faults(preset, model.card, known_effects(preset)),
        *gesture_faults(preset, model),
    ]:
        raise UserError(*complaints(path, all_faults, text))
    warnings += [
        f"{line}; it may not be heard as it stands" for line in complaints(path, strays(preset, model.card), text)
    ]
    gesture_tables = ["[gesture]"] * (preset.gesture is not None)
    gesture_tables += [
        f"[[note]] of {note.target}" for note in preset.note if note.target in kind_of(model.card).of_notes
    ]
    if model.gestures is None:
        lack_text = f"model {model.path} has no gestures: it does nothing"
        warnings += [f"preset {path.stem!r} has {table_name}, and {lack_text}" for table_name in gesture_tables]
    elif preset.gesture and "vibrato" in preset.gesture.model_fields_set and not model.gestures.vibrates:
        lack_text = f"model {model.path} has no vibrato: export its run again if the recordings have any"
        warnings.append(f"preset {path.stem!r} has gesture.vibrato, and {lack_text}")
    preset = fitted(preset, model.card, path.parent, draft_files)
    patch_name = path.resolve().parent.name if path.name == MADE else path.stem
    file_stamps = preset_stamps if preset.model in draft_files else {**preset_stamps, model.path: model.stamp}
    return Patch(patch_name, preset, model, path.parent, tuple(warnings), file_stamps, text, dict(draft_files))


def _default_patch(path: Path) -> Patch:
    """A model's patch, with default knobs and macros."""
    model = open_model(path.resolve())
    card = model.card
    cc_maps = [*default_knobs(card), *macro_knobs(card)]
    preset = Preset(format=1, model=str(path), cc=cc_maps, macro=default_macros(card))
    return Patch(path.stem, preset, model, path.parent, model.warnings, {model.path: model.stamp})


class LiveOptions(BaseModel):
    """Most voices, controller for the latents, and preset names by channel."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    voices: Annotated[int, Field(ge=1, le=64)] | None = None
    controller: Controller | None = None
    presets: dict[Annotated[int, Field(ge=1, le=16)], str] = {}

    def fit(self, patch: Patch) -> Patch:
        preset = patch.preset
        if self.voices is not None:
            preset = preset.model_copy(update={"play": preset.play.model_copy(update={"voices": self.voices})})
        if self.controller is not None:
            preset = preset.model_copy(update={"cc": [*preset.cc, *_knobs(patch, self.controller)]})
        return replace(patch, preset=preset)


def _knobs(patch: Patch, controller: Controller) -> list[CCMap]:
    """Maps for a controller's knobs, with ranges and curves of the preset's maps of the same targets."""
    cc_maps = [cc_map for cc_map in patch.preset.cc if cc_map.number is not None]
    used_numbers = {cc_map.number for cc_map in cc_maps} | {
        (cc_map.number or 0) + 32 for cc_map in cc_maps if cc_map.bits == 14
    }
    maps_by_target = {cc_map.target: cc_map for cc_map in reversed(cc_maps)}
    return [
        maps_by_target.get(cc_map.target, cc_map).model_copy(
            update={"number": cc_map.number, "bits": 7, "relative": None, "channel": None}
        )
        for cc_map in bindings(controller, patch.model.card)
        if cc_map.number not in used_numbers
    ]
