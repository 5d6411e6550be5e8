"""Presets in a project: text and files that play on another machine."""

import contextlib
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from ..errors import Failure, UserError
from ..files import replacing
from ..patch.collected_files import collect
from ..patch.library import Patch
from ..patch.models import open_model
from ..shipped import shipped_models
from ..user_folders import own_folder

LARGE_BYTES = 6_000_000  # larger files are not stored whole: a host may save its project every few minutes


class ProjectPreset(NamedTuple):
    """``files``: by the names in the text, without folders.

    A shipped or large model is not among them: `model_bytes` finds it by its SHA-256, in hex.
    """

    name: str
    text: str
    files: Mapping[str, bytes]
    model_name: str
    model_sha256: str


def kept(patch: Patch) -> ProjectPreset:
    """A patch as stored in a project, from its current files.

    Raises:
        UserError: a file was deleted since the patch was opened, or is too large.
        Failure: a large model cannot be copied to the user's folder.
    """
    found, model = collect(patch), _model(patch)
    files = dict(found.files) if model is None else {found.model: model, **found.files}
    return ProjectPreset(patch.name, found.text, files, found.model, patch.model.sha256)


def ships(name: str, sha256: str) -> bool:
    path = shipped_models().get(name)
    return path is not None and open_model(path).sha256 == sha256


def model_bytes(name: str, sha256: str) -> bytes:
    """A model that is not among a project's files; UserError if missing."""
    shipped = shipped_models()
    for path in (*filter(None, [shipped.get(name)]), _aside(sha256), *shipped.values()):
        if path.is_file() and open_model(path).sha256 == sha256:
            return path.read_bytes()
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
