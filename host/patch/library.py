"""Opens presets, shipped or from files, and bare models as patches."""

import contextlib
import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import MappingProxyType

import numpy as np
import numpy.typing as npt

from ..contract.card import Card
from ..contract.model import Model
from ..errors import UserError
from ..files import Stamp, as_on_disk, read_start, stamp
from ..kinds.table import kind_of
from ..packs import SUFFIX
from ..packs.archive import digest_of
from ..settings import Fault
from ..shipped import MADE, Draft, patch_file, preset_file, preset_text, shipped_models
from .controllers import latent_maps
from .loading import UnknownKeys, complaints, read_preset
from .macros import MOST_TARGETS, MacroSettings, MacroTarget
from .models import model_path, open_model
from .morph_targets import morph_of, process_end
from .motions import MorphTarget
from .pack_names import named_from_outside
from .pack_proof import prove
from .preset import CCMap, Preset
from .tuning import tuned_keys
from .validation import faults, fitted, gesture_faults, known_effects, strays

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
    kept: Mapping[str, bytes] = field(repr=False, default_factory=dict)  # files of a `Draft`
    tuning: Mapping[int, float] = field(init=False, repr=False)  # pitches of playable MIDI keys
    morph: MorphTarget | None = field(init=False, repr=False)
    process_end: Sequence[float] | None = field(init=False, repr=False)  # target code of processed audio
    sound: npt.NDArray[np.float32] | None = field(init=False, repr=False, default=None)

    def __post_init__(self) -> None:
        preset, card = self.preset, self.model.card
        try:
            kind, tuned = kind_of(card), tuned_keys(preset.tuning, self.folder, self.kept)
            object.__setattr__(self, "tuning", kind.pitches(preset.of_kind(kind), tuned))
            object.__setattr__(self, "morph", morph_of(preset.morph, card, self.folder, self.kept))
            object.__setattr__(self, "process_end", process_end(preset.process.to, card, self.folder, self.kept))
            if (sound := kind.sound(preset.of_kind(kind))) is not None:
                self._read_sound(sound, kind.sound_samples(card))
        except UserError as error:
            raise UserError(*(f"preset {self.name!r}: {line}" for line in error.args)) from None

    @property
    def digest(self) -> str:
        """SHA-256 of settings, model, tuning and morph, without comments, description and snapshots."""
        silent = {"description", "model", "snapshot"}
        settings = self.preset.model_dump(mode="json", exclude_defaults=True, exclude=silent)
        end = None if self.morph is None else list(self.morph.end)
        said = [settings, self.model.sha256, sorted(self.tuning.items()), end]
        return hashlib.sha256(json.dumps(said, sort_keys=True).encode()).hexdigest()

    def _read_sound(self, name: str, samples: int) -> None:
        from ..audio.mono import end_of  # lazy: few presets name a sound

        rate, most = self.model.card.sample_rate, min(MOST_SAMPLES, samples)
        sound = end_of(as_on_disk(self.folder / name), rate, most + 1, self.kept.get(name))
        object.__setattr__(self, "sound", sound[-most:])
        if len(sound) > most:
            line = (
                f"preset {self.name!r}: the sound {name!r} is longer than the memory takes; "
                f"its last {most / rate:.1f} seconds are used"
            )
            object.__setattr__(self, "warnings", tuple(dict.fromkeys((*self.warnings, line))))  # once for copies


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
        start = read_start(path, 4)
        if start in (b"MThd", b"RIFF"):
            raise UserError(f"{path} is a MIDI or sound file, not a preset; the preset comes first: PRESET {path.name}")
        if start == b"PK\x03\x04":
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
    least = [LEAST_PART * (latent.high - latent.low) for latent in card.latents]
    macros = []
    for direction in card.directions:
        parts = [(index, added) for index, added in enumerate(direction.latent) if abs(added) >= least[index]]
        if parts:
            targets = [MacroTarget(target=f"latent.{index}", low=-added, high=added) for index, added in parts]
            macros.append(MacroSettings(name=direction.name, targets=targets[:MOST_TARGETS]))
    return macros


def macro_knobs(card: Card) -> list[CCMap]:
    """CC 16 to 19 for `default_macros`."""
    count = min(len(default_macros(card)), MACRO_KNOBS)
    return [CCMap(number=FIRST_MACRO_CC + i, target=f"macro.{i}", low=0.0, high=1.0) for i in range(count)]


def _open_preset(path: Path, text: str | None = None, kept: Mapping[str, bytes] = MappingProxyType({})) -> Patch:
    prove(path)
    written = {path: stamp(path)} if text is None else {}
    text = preset_text(path) if text is None else text
    unknown_keys: Sequence[Fault] = ()
    try:
        preset = read_preset(path, text)
    except UnknownKeys as error:  # the model may find more faults: all are reported at once
        preset, unknown_keys = error.preset, error.faults
    if (digest := digest_of(path)) and not unknown_keys:
        text = named_from_outside(text, preset, path.parent, digest)
        preset = read_preset(path, text)
    try:
        if preset.model in kept:
            model = open_model(Path(preset.model), kept[preset.model])
        else:
            model = open_model(model_path(preset.model, path.parent).resolve())
    except UserError as error:
        raise UserError(*complaints(path, unknown_keys, text), *error.args) from None
    warnings = list(model.warnings)
    if preset.model_sha256 is not None and preset.model_sha256 != model.sha256:
        warnings.append(
            f"preset {path.stem!r} was made for another model than {model.path} (its SHA-256 differs): "
            "it may sound different; set model_sha256 to "
            f"{model.sha256} to accept it"
        )
    if found := [*unknown_keys, *faults(preset, model.card, known_effects(preset)), *gesture_faults(preset, model)]:
        raise UserError(*complaints(path, found, text))
    warnings += [
        f"{line}; it may not be heard as it stands" for line in complaints(path, strays(preset, model.card), text)
    ]
    of_gestures = ["[gesture]"] * (preset.gesture is not None)
    of_gestures += [f"[[note]] of {note.target}" for note in preset.note if note.target in kind_of(model.card).of_notes]
    if model.gestures is None:
        has = f"model {model.path} has no gestures: it does nothing"
        warnings += [f"preset {path.stem!r} has {table}, and {has}" for table in of_gestures]
    elif preset.gesture and "vibrato" in preset.gesture.model_fields_set and not model.gestures.vibrates:
        has = f"model {model.path} has no vibrato: export its run again if the recordings have any"
        warnings.append(f"preset {path.stem!r} has gesture.vibrato, and {has}")
    preset = fitted(preset, model.card, path.parent, kept)
    name = path.resolve().parent.name if path.name == MADE else path.stem
    read = written if preset.model in kept else {**written, model.path: model.stamp}
    return Patch(name, preset, model, path.parent, tuple(warnings), read, text, dict(kept))


def _default_patch(path: Path) -> Patch:
    model = open_model(path.resolve())
    card = model.card
    cc = [*default_knobs(card), *macro_knobs(card)]
    preset = Preset(format=1, model=str(path), cc=cc, macro=default_macros(card))
    return Patch(path.stem, preset, model, path.parent, model.warnings, {model.path: model.stamp})
