"""Writes a pack: one zip file of a preset with all that it needs."""

import hashlib
import importlib.util
import json
import logging
import shutil
import zipfile
from pathlib import Path
from typing import Any

from .. import __version__
from ..host.audio.plugins import PLUGINS
from ..host.audio.sound_files import flac_bytes
from ..host.errors import UserError
from ..host.files import replacing
from ..host.kinds.card_fields import UNKNOWN_LICENCE
from ..host.model.encoder import encoder_path
from ..host.model.learned_path import LearnedPath, path_file
from ..host.model.pack import FORMAT, LARGEST, MANIFEST, PIECE_BYTES, SUFFIX, is_name
from ..host.play.render import render_samples
from ..host.preset.collected_files import collect
from ..host.preset.library import Patch
from ..host.preset.shipped import MADE
from ..host.resynthesis.picture import SMALL_DOTS_PER_INCH, spectrograms_png
from .api.notes import Note, performance_of

MODEL = "model.onnx"
PREVIEW, PICTURE, LICENCE = "preview.flac", "preview.png", "licence.txt"  # an Ogg stream has a random number
RESERVED = (
    *(MANIFEST, MADE, encoder_path(Path(MODEL)).name, path_file(Path(MODEL)).name),
    *(PREVIEW, PICTURE, LICENCE),
)
PREVIEW_RATE = 44_100
PREVIEW_KEYS = (60, 64, 67, 72)
PREVIEW_STEP_SECONDS = 0.6
TAIL_SECONDS = 3.0
log = logging.getLogger(__name__)
ENTRY_TIME = (1980, 1, 1, 0, 0, 0)  # the earliest that a zip file can tell: equal packs are equal files


def pack(patch: Patch, output: Path, *, with_run: bool = False, overwrite: bool = False) -> str:
    """Write a preset, its model, encoder, files, licence, preview and picture; return a summary.

    The output's name is the pack's. Without matplotlib there is no picture. Equal instruments give equal files.
    ``with_run`` adds the run and the corpus of `timbrel make`, for further training.

    Raises:
        UserError: the preset runs a plugin by its path, a file or the run is missing, the pack would be too large, or
            the output is no pack's name.
        Failure: the pack cannot be written.
    """
    if output.suffix != SUFFIX:
        raise UserError(f"-o {output} must be a pack's name, such as {output.stem or 'instrument'}{SUFFIX}")
    if plugin_paths := [effect.plugin for effect in patch.preset.effects if effect.plugin.endswith(PLUGINS)]:
        raise UserError(
            f"preset {patch.name!r} runs {plugin_paths[0]}, and nothing in a pack can run; take it out of the preset"
        )
    if not is_name(output.stem):
        raise UserError(f"-o {output}: {output.stem!r} is no name for a pack on every system; give a plainer one")
    collected, card = collect(patch, MODEL, RESERVED), patch.model.card
    contents_by_name = {MADE: collected.text.encode(), MODEL: patch.model.read_bytes(), **collected.files}
    if encoder_path(patch.model.path).exists():
        contents_by_name[encoder_path(Path(MODEL)).name] = encoder_path(patch.model.path).read_bytes()
    if card.learned_path is not None and path_file(patch.model.path).exists():
        contents_by_name[path_file(Path(MODEL)).name] = LearnedPath(patch.model).data
    licence_lines = [card.license or "no licence is told", *([card.credits] if card.credits else [])]
    contents_by_name[LICENCE] = ("\n".join(licence_lines) + "\n").encode()
    contents_by_name |= _preview(patch)
    entries: dict[str, bytes | Path] = {**contents_by_name, **(_run(patch) if with_run else {})}
    bytes_by_name = {
        name: len(content) if isinstance(content, bytes) else content.stat().st_size
        for name, content in entries.items()
    }
    if (total_bytes := sum(bytes_by_name.values())) > LARGEST:
        raise UserError(f"{patch.name} takes {total_bytes >> 20} MiB, a pack holds {LARGEST >> 20}")
    manifest: dict[str, Any] = {
        "format": FORMAT,
        "name": output.stem,
        "about": {
            "description": patch.preset.description or card.description,
            "licence": card.license,
            "credits": card.credits,
            "kind": card.kind,
            "model": patch.model.sha256,
            "timbrel": __version__,
        },
        "files": {
            name: {"bytes": bytes_by_name[name], "sha256": _digest(content)} for name, content in entries.items()
        },
    }
    if card.recordings and card.license == UNKNOWN_LICENCE:
        log.warning(
            "%s contains %d recordings, and no licence is stated that lets them be passed on: make or export it again "
            "with --license, or with --no-recordings",
            patch.model.path,
            len(card.recordings),
        )
    with replacing(output, overwrite) as temporary_file, zipfile.ZipFile(temporary_file, "w") as archive:
        _add(archive, MANIFEST, json.dumps(manifest, indent=1).encode())
        for name, content in entries.items():
            _add(archive, name, content)
    megabytes = output.stat().st_size / 1e6
    summary = f"{output}: {len(entries)} files, {megabytes:.1f} MB, licence {card.license or 'not told'}"
    if card.recordings:
        summary += f"; it contains {len(card.recordings)} recordings"
    return f"{summary}\nits address for 'timbrel get' ends with #sha256={_digest(output)}"


def _add(archive: zipfile.ZipFile, name: str, content: bytes | Path) -> None:
    """Add an entry to the archive, equal for equal contents."""
    zip_entry = zipfile.ZipInfo(name, ENTRY_TIME)
    zip_entry.compress_type, zip_entry.external_attr = zipfile.ZIP_DEFLATED, 0o644 << 16
    if isinstance(content, bytes):
        archive.writestr(zip_entry, content)
        return
    with content.open("rb") as source, archive.open(zip_entry, "w", force_zip64=True) as target:
        shutil.copyfileobj(source, target, PIECE_BYTES)


def _digest(content: bytes | Path) -> str:
    if isinstance(content, bytes):
        return hashlib.sha256(content).hexdigest()
    with content.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _run(patch: Patch) -> dict[str, bytes | Path]:
    """Runs go without previews and kept checkpoints."""
    run_folder, corpus_folder = patch.folder / "run", patch.folder / "corpus"
    if not run_folder.is_dir() or not corpus_folder.is_dir():
        raise UserError(f"{patch.folder} has no run and corpus; give the folder of an instrument that make wrote")
    run_folders = [folder for folder in (run_folder, patch.folder / "trial") if folder.is_dir()]
    file_paths = [path for folder in run_folders for path in sorted(folder.iterdir()) if path.is_file()]
    file_paths += [path for path in sorted(corpus_folder.rglob("*")) if path.is_file()]
    relative_paths = {path: path.relative_to(patch.folder) for path in file_paths}
    return {
        relative_path.as_posix(): path
        for path, relative_path in relative_paths.items()
        if not any(part.startswith(".") for part in relative_path.parts)
    }


def _preview(patch: Patch) -> dict[str, bytes]:
    """Return a sound of some notes, and its picture, by name."""
    keys = [entry.key for entry in patch.preset.keys] or [key for key in PREVIEW_KEYS if key in patch.tuning]
    notes = [Note(key, note_index * PREVIEW_STEP_SECONDS, PREVIEW_STEP_SECONDS) for note_index, key in enumerate(keys)]
    performance = performance_of(notes, PREVIEW_RATE)
    sound = render_samples({0: patch}, performance, sample_rate=PREVIEW_RATE, tail_seconds=TAIL_SECONDS)
    contents_by_name = {PREVIEW: flac_bytes(sound.mean(axis=0, keepdims=True), PREVIEW_RATE)}
    if importlib.util.find_spec("matplotlib"):
        mono_sounds = {patch.name: sound.mean(axis=0)}
        contents_by_name[PICTURE] = spectrograms_png(mono_sounds, PREVIEW_RATE, SMALL_DOTS_PER_INCH)
    return contents_by_name
