"""Models that are open, and the files that presets mean by a model's name."""

from pathlib import Path

from ..contract.model import Model
from ..errors import UserError, nearest
from ..files import stamp
from ..shipped import shipped_models

KEPT_MODELS = 16  # that were opened last: program changes come back to them
_models: dict[Path, Model] = {}  # by file


def model_path(name: str, folder: Path) -> Path:
    """Return the file of a model that a preset in ``folder`` names.

    Raises:
        UserError: no shipped model has the name and no file either.
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
    """Return the model of a file, opened once; anew when the file was written since.

    Or of ``data`` that are no file, which are opened anew each time.
    """
    if data is not None:
        return Model(path, data)
    model = _models.pop(path, None)
    if model is None or model.stamp != stamp(path):
        model = Model(path)
    _models[path] = model
    while len(_models) > KEPT_MODELS:
        del _models[next(iter(_models))]
    return model
