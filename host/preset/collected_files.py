"""Collects a preset's files, under names without folders, for projects and packs."""

import json
import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from ..audio.plugins import PLUGINS
from ..errors import UserError
from ..files import as_on_disk, read_regular
from ..kinds.table import kind_of
from ..model.learned_path import path_file
from ..model.pack import BY_DIGEST
from .library import Patch
from .preset import Preset, files_of
from .validation import names_by_target

FORBIDDEN = re.compile(r'[\x00-\x1f\x7f:*?"<>|]')
LARGEST_FILE = 6_000_000  # bytes: a host may save its project every few minutes


class CollectedPreset(NamedTuple):
    text: str
    files: Mapping[str, bytes]  # beside its model, by the names in ``text``
    model: str  # the model's name


def collect(patch: Patch, model: str | None = None, reserved: Collection[str] = ()) -> CollectedPreset:
    """Collect a patch's current files; ``model`` renames its model in the text, ``reserved`` names are not given.

    Raises:
        UserError: a file was deleted since the patch was opened, or is too large.
    """
    preset = patch.preset
    text = patch.text
    if text is None:  # a bare model, named by its path
        preset = preset.model_copy(update={"model": patch.model.path.name})
        text = preset.to_toml(names=names_by_target(preset, patch.model.card))
    model_name = patch.model.path.name if preset.model.startswith(BY_DIGEST) else preset.model
    flat_names: dict[str, str] = {preset.model: model or _flat(model_name, ())}
    files: dict[str, bytes] = {}
    if patch.path is not None:
        files[path_file(Path(flat_names[preset.model])).name] = patch.path.data
        reserved = [*reserved, *files]
    for name, file_bytes in _named_files(patch, preset, flat_names[preset.model]):
        flat_names.setdefault(name, _flat(name, [*flat_names.values(), *reserved]))
        files[flat_names[name]] = file_bytes
    for name in (effect.plugin for effect in preset.effects if effect.plugin.endswith(PLUGINS)):
        flat_names.setdefault(name, name.replace("\\", "/").rpartition("/")[2])
    new_names = {name: new_name for name, new_name in flat_names.items() if name != new_name}
    if new_names:
        from .text import with_words  # lazy: tomlkit takes a megabyte of each instance

        text = with_words(text, new_names)
    return CollectedPreset(text, files, flat_names[preset.model])


def referenced_files(patch: Patch) -> Iterator[tuple[str, bytes]]:
    """Sounds and scales that a preset names, with contents; errors as in `collect`."""
    for name in files_of(patch.preset):
        yield name, _read(patch, name)


def _named_files(patch: Patch, preset: Preset, model: str) -> Iterator[tuple[str, bytes]]:
    """Names and contents of all files that a preset needs beside its model."""
    yield from referenced_files(patch)
    if preset.morph is not None and preset.morph.to is not None and patch.morph is not None and patch.morph.end:
        yield preset.morph.to, _code(patch, patch.morph.end, patch.morph.label, model)
    process_end, landmarks = patch.process_end, patch.model.card.landmarks
    if (
        preset.process.to is not None
        and process_end is not None
        and preset.process.to not in [landmark.label for landmark in landmarks]
    ):
        yield preset.process.to, _code(patch, process_end, None, model)


def _read(patch: Patch, name: str) -> bytes:
    """Contents of a file that a preset names."""
    if name in patch.draft_files:
        return patch.draft_files[name]
    path = as_on_disk(patch.folder / name)
    try:
        if path.stat().st_size >= LARGEST_FILE:
            raise UserError(f"{path} has {LARGEST_FILE / 1e6:g} MB or more, too much to keep; give a shorter one")
        return read_regular(path, LARGEST_FILE)
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error.strerror or error}") from None


def _code(patch: Patch, code: Sequence[float], label: str | None, model: str) -> bytes:
    """Text of a preset that has only a model, a code, and the tables of a label."""
    kind_tables = {} if label is None else kind_of(patch.model.card).tables(label, False)
    lines = ["format = 1", f"model = {json.dumps(model)}"]
    for table_name, table_fields in {"latent": {"values": [float(value) for value in code]}, **kind_tables}.items():
        table_values = table_fields if isinstance(table_fields, dict) else table_fields.model_dump(exclude_unset=True)
        lines += [
            f"[{table_name}]",
            *(f"{key} = {json.dumps(value)}" for key, value in table_values.items()),
        ]  # JSON syntax, valid in TOML
    return "\n".join(lines).encode()


def _flat(name: str, used_names: Collection[str]) -> str:
    """Every system allows it; none of ``used_names`` in any case."""
    flat_name = FORBIDDEN.sub("_", name.replace("\\", "/").rpartition("/")[2]).strip(". ") or "file"
    folded_names = {used_name.casefold() for used_name in used_names}
    while flat_name.casefold() in folded_names:
        flat_name = f"other-{flat_name}"
    return flat_name
