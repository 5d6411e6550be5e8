"""Plugin state in a project: a preset and its files, which play on another machine, as bytes with a checksum.

    magic, 8 bytes | version, 4 | SHA-256 of the rest, 32 | deflated: length of the head, 4 | head, JSON | files

Numbers are little-endian. The source is untrusted: only the preset and its model run.
"""

import contextlib
import hashlib
import struct
import tomllib
import zlib
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from ..audio.plugins import PLUGINS, may_run_by_name
from ..config import check_keys, own_folder
from ..errors import Failure, UserError
from ..files import replacing
from ..preset.collected_files import collect
from ..preset.library import Patch, open_model, open_patch
from ..preset.loading import read_preset
from ..preset.preset import files_of
from ..preset.shipped import Draft, preset_file, shipped_models, shipped_presets

LARGE_BYTES = 36_000_000  # larger files are not stored whole: more than a model with all its recordings


class ProjectPreset(NamedTuple):
    """``files``: by the names in the text, without folders.

    A shipped or large model is not among them: `model_bytes` finds it by its SHA-256, in hex.
    """

    name: str
    text: str
    files: Mapping[str, bytes]
    model_name: str
    model_sha256: str


def collect_preset(patch: Patch) -> ProjectPreset:
    """A patch as stored in a project, from its current files.

    Raises:
        UserError: a file was deleted since the patch was opened, or is too large.
        Failure: a large model cannot be copied to the user's folder.
    """
    collected_preset, model_data = collect(patch), _model(patch)
    files = (
        dict(collected_preset.files)
        if model_data is None
        else {collected_preset.model: model_data, **collected_preset.files}
    )
    return ProjectPreset(patch.name, collected_preset.text, files, collected_preset.model, patch.model.sha256)


def ships(name: str, sha256: str) -> bool:
    """Return whether this timbrel ships the model, with equal bytes."""
    model_path = shipped_models().get(name)
    return model_path is not None and open_model(model_path).sha256 == sha256


def model_bytes(name: str, sha256: str) -> bytes:
    """A model that is not among a project's files; UserError if missing."""
    shipped_paths = shipped_models()
    for model_path in (*filter(None, [shipped_paths.get(name)]), _aside(sha256), *shipped_paths.values()):
        if model_path.is_file() and open_model(model_path).sha256 == sha256:
            return model_path.read_bytes()
    raise UserError(
        f"model {name!r} of the project neither ships with this timbrel nor is in {own_folder('models')}; copy "
        f"{_aside(sha256).name} from that folder of the machine that saved the project"
    )


def lay_aside(name: str, sha256: str) -> None:
    """Copy a model to the user's folder, in case a later timbrel ships another of its name.

    Skipped if the copy exists or cannot be written: this timbrel plays the project anyway.
    """
    if not _aside(sha256).exists():
        with contextlib.suppress(UserError, Failure, OSError):
            _write_aside(sha256, model_bytes(name, sha256))


def _model(patch: Patch) -> bytes | None:
    """Bytes of a model to store; None for a shipped one, and for a large one, which is laid aside."""
    model = patch.model
    if model.path in shipped_models().values():
        return None
    model_data = model.read_bytes()
    if len(model_data) < LARGE_BYTES:
        return model_data
    if not _aside(model.sha256).exists():
        try:
            _write_aside(model.sha256, model_data)
        except OSError as error:
            raise Failure(f"cannot keep model {model.path} in {own_folder('models')}: {error.strerror}") from None
    return None


def _aside(sha256: str) -> Path:
    """File of a model in the user's folder."""
    return own_folder("models") / f"{sha256}.onnx"


def _write_aside(sha256: str, data: bytes) -> None:
    path = _aside(sha256)
    path.parent.mkdir(parents=True, exist_ok=True)
    with replacing(path, overwrite=True) as file:
        file.write_bytes(data)


MAGIC, VERSION = b"timbrel\0", 1
BEGIN = struct.Struct("<8sI32s")
LENGTH = struct.Struct("<I")
LEVEL = 1  # of deflate: a higher level hardly shrinks a model, and is slower
LARGEST = 64 << 20  # bytes, unpacked
MOST_FILES = 64
MOST_TURNED = 4096  # more than a model's latents plus its effects' parameters
PROJECT = Path("project")  # stands for the folder of a text without one
NOTHING = {"target": "gain", "low": 0.0, "high": 0.0}  # the target of a macro whose targets are all missing
PLACEHOLDER = "Gain"  # a bypassed pedalboard effect in place of a missing one: the others keep their numbers


class ProjectState(NamedTuple):
    preset: ProjectPreset
    listed_name: str | None  # in the preset list
    panel_values: Mapping[str, float]  # values set on the panel, by target


class _File(BaseModel):
    model_config = ConfigDict(extra="forbid")

    name: Annotated[str, Field(min_length=1, max_length=255)]
    size: Annotated[int, Field(ge=0, le=LARGEST)]


class _Head(BaseModel):
    model_config = ConfigDict(extra="forbid", allow_inf_nan=False)

    format: Literal[1] = 1
    name: Annotated[str, Field(max_length=255, pattern=r"^[^/\\\x00]+$")]
    text: str
    model_name: str
    model_sha256: Annotated[str, Field(pattern="^[0-9a-f]{64}$")]
    files: Annotated[list[_File], Field(max_length=MOST_FILES)]
    shipped: str | None  # `listed_name`, by the key of saved projects
    turned: Annotated[dict[str, float], Field(max_length=MOST_TURNED)]


def pack(state: ProjectState) -> bytes:
    """Bytes of a state, a shipped model as name and digest; UserError above `LARGEST` bytes."""
    preset, files = state.preset, state.preset.files
    if preset.model_name not in files:
        lay_aside(preset.model_name, preset.model_sha256)
    head = _Head(
        name=preset.name,
        text=preset.text,
        model_name=preset.model_name,
        model_sha256=preset.model_sha256,
        files=[_File(name=file_name, size=len(file_data)) for file_name, file_data in files.items()],
        shipped=state.listed_name,
        turned=dict(state.panel_values),
    )
    head_json = head.model_dump_json().encode()
    payload = b"".join([LENGTH.pack(len(head_json)), head_json, *files.values()])
    if len(payload) > LARGEST:
        raise UserError(f"preset {preset.name!r} takes {len(payload) >> 20} MiB, a project holds {LARGEST >> 20}")
    deflated_payload = zlib.compress(payload, LEVEL)
    return BEGIN.pack(MAGIC, VERSION, hashlib.sha256(deflated_payload).digest()) + deflated_payload


def unpack(data: bytes) -> ProjectState:
    """Parse untrusted bytes; UserError if damaged, no state, or of a newer version."""
    if len(data) < BEGIN.size or not data.startswith(MAGIC):
        raise _damaged("it does not begin as one")
    _, version, digest = BEGIN.unpack_from(data)
    if version > VERSION:
        raise UserError(f"the project's state has version {version}, this timbrel reads {VERSION}; update timbrel")
    deflated_payload = memoryview(data)[BEGIN.size :]
    if hashlib.sha256(deflated_payload).digest() != digest:
        raise _damaged("its digest is another")
    try:
        inflater = zlib.decompressobj()
        payload = inflater.decompress(deflated_payload, LARGEST + 1)
        if len(payload) > LARGEST or not inflater.eof or len(payload) < LENGTH.size:
            raise _damaged("it is too long or too short")
        (head_length,) = LENGTH.unpack_from(payload)
        head = _Head.model_validate_json(payload[LENGTH.size : LENGTH.size + head_length])
    except (zlib.error, ValidationError) as error:
        raise _damaged(str(error).splitlines()[0]) from None
    file_offset, files = LENGTH.size + head_length, dict[str, bytes]()
    for file_entry in head.files:
        files[file_entry.name] = payload[file_offset : file_offset + file_entry.size]
        file_offset += file_entry.size
    if file_offset != len(payload):
        raise _damaged("its files have other sizes")
    preset = ProjectPreset(head.name, head.text, files, head.model_name, head.model_sha256)
    return ProjectState(preset, head.shipped, head.turned)


def check_whole(project_preset: ProjectPreset) -> None:
    """UserError if a project's preset is invalid or names files outside, before opening reads any."""
    preset = read_preset(PROJECT / f"{project_preset.name}.toml", project_preset.text)
    available_names = {*project_preset.files, project_preset.model_name, *shipped_presets()}
    outside_names = [name for name in (preset.model, *files_of(preset)) if name not in available_names]
    if preset.morph is not None and preset.morph.to is not None and preset.morph.to not in available_names:
        outside_names.append(preset.morph.to)
    process_end = preset.process.to  # or a landmark
    if (
        process_end is not None
        and process_end not in available_names
        and preset_file(str(PROJECT / process_end)) is not None
    ):
        outside_names.append(process_end)
    if outside_names:
        raise UserError(
            f"the project's preset {project_preset.name!r} names {outside_names[0]!r}, which the project does not hold"
        )


def open_project_preset(preset: ProjectPreset, report_line: Callable[[str], None]) -> Patch:
    """Open a project's preset; ``report_line`` receives a line for each effect whose plugin is missing or untrusted.

    Raises:
        UserError: the preset cannot be used, or its model is missing.
    """
    files = dict(preset.files)
    if ships(preset.model_name, preset.model_sha256):
        files.pop(preset.model_name, None)  # the same bytes, not needed in memory
    elif preset.model_name not in files:
        files[preset.model_name] = model_bytes(preset.model_name, preset.model_sha256)
    plugin_names = _plugins(preset.text)
    if not plugin_names:
        return open_patch(Draft(preset.name, preset.text, PROJECT, files))
    patch = open_patch(Draft(preset.name, _with_plugins(preset.text, plugin_names, report_line), PROJECT, files))
    return replace(patch, text=preset.text)


def _plugins(text: str) -> dict[int, str]:
    """Names of plugin files by effect, from 0."""
    try:
        check_keys(text, "the preset")
        effects = tomllib.loads(text).get("effects", [])
        plugin_names = {effect_index: effect.get("plugin") for effect_index, effect in enumerate(effects)}
    except (UserError, ValueError, RecursionError, AttributeError, TypeError):
        return {}  # opening it reports the error
    return {
        effect_index: plugin_name
        for effect_index, plugin_name in plugin_names.items()
        if isinstance(plugin_name, str) and plugin_name.endswith(PLUGINS)
    }


def _with_plugins(text: str, plugin_names: Mapping[int, str], report_line: Callable[[str], None]) -> str:
    """Text with plugins of this machine in place of the project's, or placeholders."""
    import tomlkit  # lazy: few presets have such effects

    preset_fields = tomllib.loads(text)
    for effect_index, plugin_name in plugin_names.items():
        plugin_path = may_run_by_name(Path(plugin_name).name)
        if plugin_path is not None:
            preset_fields["effects"][effect_index]["plugin"] = str(plugin_path)
            continue
        report_line(
            f"[[effects]] {effect_index + 1}: {plugin_name} is not here, or has not been let run; it is left out. "
            "Install it, and play a preset with it once by 'timbrel play', which asks"
        )
        preset_fields["effects"][effect_index] = {"plugin": PLACEHOLDER, "on": False}
        _remove_targets(preset_fields, f"effects.{effect_index}.")
    return tomlkit.dumps(preset_fields)


def _remove_targets(fields: dict[str, Any], section: str) -> None:
    """Macros keep their numbers, snapshots their slots."""
    try:
        for snapshot in fields.get("snapshot", []):
            values = snapshot["values"].items()
            snapshot["values"] = {target: value for target, value in values if not target.startswith(section)}
        if "snapshot" in fields:
            fields["snapshot"] = [snapshot for snapshot in fields["snapshot"] if snapshot["values"]]
        if "cc" in fields:
            fields["cc"] = [entry for entry in fields["cc"] if not entry["target"].startswith(section)]
        for macro in fields.get("macro", []):
            remaining_entries = [entry for entry in macro["targets"] if not entry["target"].startswith(section)]
            macro["targets"] = remaining_entries or [NOTHING]
    except (AttributeError, KeyError, TypeError):
        return  # opening it reports the error


def _damaged(reason: str) -> UserError:
    return UserError(
        f"the project's state of timbrel is damaged ({reason}); load a preset, or an earlier version of the project"
    )
