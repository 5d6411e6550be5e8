"""Finds and caches the model files of presets."""

from pathlib import Path

from ..contract.model import Model
from ..errors import UserError, nearest
from ..files import stamp
from ..shipped import shipped_models

KEPT_MODELS = 16  # most recently opened: program changes return to them
_models: dict[Path, Model] = {}  # by file


def model_path(name: str, folder: Path) -> Path:
    """Return the file of a model named by a preset in ``folder``.

    Raises:
        UserError: neither a shipped model nor a file.
    """
    models = shipped_models()
    if name in models:
        return models[name]
    path = folder / name
    if not path.exists():
        hint = nearest(name, models) if path.suffix != ".onnx" else "; put it there, or correct the preset"
        raise UserError(f"model {name!r} of the preset does not exist ({path}){hint}")
    return path


def open_model(path: Path, data: bytes | None = None) -> Model:
    """Open a model through a cache, again if its file changed; ``data`` is not cached."""
    if data is not None:
        return Model(path, data)
    model = _models.pop(path, None)
    if model is None or model.stamp != stamp(path):
        model = Model(path)
    _models[path] = model
    while len(_models) > KEPT_MODELS:
        del _models[next(iter(_models))]
    return model
