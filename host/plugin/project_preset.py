"""Presets in a project: collects a preset's text and the files that it needs to play on another machine."""

import contextlib
import json
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from ..audio.effect_ranges import SETTINGS
from ..errors import Failure, UserError
from ..files import replacing
from ..kinds.table import KINDS, kind_of
from ..patch.library import Patch
from ..patch.models import open_model
from ..patch.preset import Preset
from ..patch.validation import named
from ..plugin_trust import PLUGINS
from ..shipped import shipped_models
from .user_data import own_folder

LARGE_BYTES = 6_000_000  # larger files are not stored whole: a host may save its project every few minutes


class ProjectPreset(NamedTuple):
    """A preset in a project; ``files`` has its files, by the names in its text, without folders.

    A shipped or large model is not among them: `model_bytes` finds it by its SHA-256, in hex.
    """

    name: str
    text: str
    files: Mapping[str, bytes]
    model_name: str
    model_sha256: str


def kept(patch: Patch) -> ProjectPreset:
    """Return a patch as stored in a project, from its current files.

    Raises:
        UserError: a file was deleted since the patch was opened, or is too large.
        Failure: a large model cannot be copied to the user's folder.
    """
    preset, model = patch.preset, patch.model
    text = patch.text
    if text is None:  # a bare model, named by its path
        preset = preset.model_copy(update={"model": model.path.name})
        text = preset.to_toml(names=named(preset, model.card))
    flat: dict[str, str] = {}
    files: dict[str, bytes] = {}
    for name, data in _beside(patch, preset):
        flat.setdefault(name, _flat(name, flat.values()))
        if data is not None:
            files[flat[name]] = data
    for name in (effect.plugin for effect in preset.effects if effect.plugin.endswith(PLUGINS)):
        flat.setdefault(name, name.replace("\\", "/").rpartition("/")[2])
    moved = {name: other for name, other in flat.items() if name != other}
    if moved:
        from ..patch.text.editing import with_words  # lazy: tomlkit takes a megabyte of each instance

        text = with_words(text, moved)
    return ProjectPreset(patch.name, text, files, flat[preset.model], model.sha256)


def ships(name: str, sha256: str) -> bool:
    path = shipped_models().get(name)
    return path is not None and open_model(path).sha256 == sha256


def model_bytes(name: str, sha256: str) -> bytes:
    """Read a model that is not among a project's files; raise UserError if it is missing."""
    shipped = shipped_models()
    for path in (*filter(None, [shipped.get(name)]), _aside(sha256), *shipped.values()):
        if path.is_file() and open_model(path).sha256 == sha256:
            return path.read_bytes()
    raise UserError(
        f"model {name!r} of the project neither ships with this timbrel nor is in {own_folder('models')}; copy "
        f"{_aside(sha256).name} from that folder of the machine that saved the project"
    )


def lay_aside(name: str, sha256: str) -> None:
    """Copy a model to the user's folder, in case a later timbrel ships another one of its name.

    Skipped if the copy exists or cannot be written: this timbrel plays the project anyway.
    """
    if not _aside(sha256).exists():
        with contextlib.suppress(UserError, Failure, OSError):
            _write_aside(sha256, model_bytes(name, sha256))


def files_of(preset: Preset) -> Iterator[str]:
    sounds = [kind.sound(preset.of_kind(kind)) for kind in KINDS.values()]
    for effect in preset.effects:
        settings = SETTINGS.get(effect.plugin, {})
        sounds += [(effect.model_extra or {}).get(key) for key, what in settings.items() if what is Path]
    yield from (name for name in (preset.tuning.scale, preset.tuning.keymap, *sounds) if isinstance(name, str))


def _beside(patch: Patch, preset: Preset) -> Iterator[tuple[str, bytes | None]]:
    yield preset.model, _model(patch)
    for name in files_of(preset):
        yield name, _read(patch, name)
    if preset.morph is not None and preset.morph.to is not None and patch.morph is not None:
        yield preset.morph.to, _code(patch, patch.morph.end, patch.morph.label)
    end, marks = patch.process_end, patch.model.card.landmarks
    if preset.process.to is not None and end is not None and preset.process.to not in [mark.label for mark in marks]:
        yield preset.process.to, _code(patch, end, None)


def _model(patch: Patch) -> bytes | None:
    model = patch.model
    if model.path in shipped_models().values():
        return None
    data = model.read_bytes()
    if len(data) < LARGE_BYTES:
        return data
    if not _aside(model.sha256).exists():
        try:
            _write_aside(model.sha256, data)
        except OSError as error:
            raise Failure(f"cannot keep model {model.path} in {own_folder('models')}: {error.strerror}") from None
    return None


def _aside(sha256: str) -> Path:
    return own_folder("models") / f"{sha256}.onnx"


def _write_aside(sha256: str, data: bytes) -> None:
    path = _aside(sha256)
    path.parent.mkdir(parents=True, exist_ok=True)
    with replacing(path, overwrite=True) as file:
        file.write_bytes(data)


def _read(patch: Patch, name: str) -> bytes:
    if name in patch.kept:
        return patch.kept[name]
    path = patch.folder / name
    try:
        if path.stat().st_size >= LARGE_BYTES:
            raise UserError(f"{path} has {LARGE_BYTES / 1e6:g} MB or more, too much for a project; give a shorter one")
        return path.read_bytes()
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error.strerror or error}") from None


def _code(patch: Patch, code: Sequence[float], label: str | None) -> bytes:
    tables = {} if label is None else kind_of(patch.model.card).tables(label, False)
    lines = ["format = 1", f"model = {json.dumps(_flat(patch.preset.model, ()))}"]
    for name, fields in {"latent": {"values": [float(value) for value in code]}, **tables}.items():
        values = fields if isinstance(fields, dict) else fields.model_dump(exclude_unset=True)
        lines += [
            f"[{name}]",
            *(f"{key} = {json.dumps(value)}" for key, value in values.items()),
        ]  # JSON syntax, valid in TOML
    return "\n".join(lines).encode()


def _flat(name: str, taken: Collection[str]) -> str:
    flat = name.replace("\\", "/").rpartition("/")[2] or "file"
    while flat in taken:
        flat = f"other-{flat}"
    return flat
