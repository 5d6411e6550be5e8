"""Finds and caches the model files of presets."""

import re
import tomllib
from pathlib import Path

from ..contract.model import Model
from ..errors import UserError, nearest, printable
from ..files import as_on_disk, stamp
from ..packs import BY_DIGEST
from ..packs.archive import proved_before
from ..shipped import MADE, preset_text, shipped_models

HEX = re.compile("[0-9a-f]{64}")
KEPT_MODELS = 16  # most recently opened: program changes return to them
_models: dict[Path, Model] = {}  # by file


def model_path(name: str, folder: Path) -> Path:
    """File of a model named by a preset in ``folder``.

    Raises:
        UserError: neither a shipped model, nor a file, nor of a pack on this machine.
    """
    models = shipped_models()
    if name in models:
        return models[name]
    if name.startswith(BY_DIGEST):
        digest = name.removeprefix(BY_DIGEST)
        pack = proved_before(digest) if HEX.fullmatch(digest) else None
        if pack is None:
            raise UserError(f"the pack with the SHA-256 {printable(digest)} is not here; get it, or open its file once")
        return model_path(read_model_name(pack / MADE), pack)
    path = as_on_disk(folder / name)
    if not path.exists():
        hint = nearest(name, models) if path.suffix != ".onnx" else "; put it there, or correct the preset"
        raise UserError(f"model {name!r} of the preset does not exist ({path}){hint}")
    return path


def read_model_name(preset: Path) -> str:
    """Model of a pack's preset, which was read before."""
    name: str = tomllib.loads(preset_text(preset))["model"]
    return name


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
