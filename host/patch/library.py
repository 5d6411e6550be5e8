"""Finds what a user names: shipped presets and models, files, and the defaults of a bare model."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from ..contract.card import Card
from ..contract.model import Model
from ..errors import UserError, nearest
from ..files import Stamp, stamp
from ..shelf import MADE, preset_file, shipped_models, shipped_presets
from .agreement import faults, fitted, known_effects, strays
from .preset import CCMap, Preset
from .reading import complaints, read_preset

FIRST_KNOB_CC = 70  # sound controllers 70 to 79: what eight-knob keyboards send
KEPT_MODELS = 16  # that were opened last: program changes come back to them

_models: dict[Path, Model] = {}  # by file


@dataclass(frozen=True)
class Patch:
    """A preset with its model opened and checked, ready to play.

    ``files`` are those that were read, with their stamps from before.
    """

    name: str
    preset: Preset
    model: Model
    folder: Path
    warnings: tuple[str, ...] = ()
    files: Mapping[Path, Stamp | None] = field(default_factory=dict)


def open_patch(name: str) -> Patch:
    """Open a shipped preset, a shipped model, a ``.toml`` preset, a folder that holds one, or a ``.onnx`` model.

    Raises:
        UserError: nothing of that name, or it cannot be used.
    """
    presets, models = shipped_presets(), shipped_models()
    file, path = preset_file(name), Path(name)
    if file is not None:
        return _open_preset(file)
    if name in models:
        return _default_patch(models[name])
    if path.suffix == ".onnx":
        return _default_patch(path)
    if path.is_dir():
        raise UserError(f"{path} is a folder without {MADE}; give a preset, or a folder that 'timbrel make' wrote")
    if path.exists():
        return _open_preset(path)
    raise UserError(f"no preset, model or file is named {name!r}{nearest(name, [*presets, *models])}")


def find_model(name: str) -> Path:
    """The file of a shipped model, that of a preset's model, or the path as given.

    Raises:
        UserError: the preset of that name cannot be used, or its model does not exist.
    """
    file = preset_file(name)
    if name in shipped_models() or file is None:
        return shipped_models().get(name, Path(name))
    return model_path(read_preset(file).model, file.parent)


def model_path(name: str, folder: Path) -> Path:
    """The file of a model that a preset in ``folder`` names.

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


def morph_end(preset: Preset, card: Card, folder: Path) -> list[float] | None:
    """The code to which a preset in ``folder`` morphs, on the model of ``card``; None if it does not.

    Raises:
        UserError: the preset that it names cannot be used, or the code has another number of latents.
    """
    if preset.morph is None:
        return None
    if preset.morph.to is not None:
        return code_of(preset.morph.to, card, folder, "morph.to")
    return _of_as_many(preset.morph.values or [], card, "morph.values")


def code_of(name: str, card: Card, folder: Path, key: str) -> list[float]:
    """Where the knobs of a preset rest, shipped or in ``folder``, for the model of ``card``; ``key`` named it.

    Raises:
        UserError: the preset cannot be used, or its code has another number of latents.
    """
    given = f"{key} {name!r}"
    path = shipped_presets().get(name) or preset_file(str(folder / name)) or folder / name
    try:
        other = read_preset(path)
        values = other.latent_values(_open_model(model_path(other.model, path.parent).resolve()).card)
    except UserError as error:
        raise UserError(f"{given}: {error}") from None
    return _of_as_many(values, card, given)


def _of_as_many(values: list[float], card: Card, given: str) -> list[float]:
    if len(values) != len(card.latents):
        raise UserError(
            f"{given} has {len(values)} latents, model {card.name!r} has {len(card.latents)}; lead to a code of as many"
        )
    return values


def default_knobs(card: Card) -> list[CCMap]:
    """The first ten latents on CC 70 to 79, each over its whole span."""
    return [
        CCMap(number=FIRST_KNOB_CC + i, target=f"latent.{i}", low=latent.low, high=latent.high)
        for i, latent in enumerate(card.latents[:10])
    ]


def _open_model(path: Path) -> Model:
    """The model of a file, opened once; anew when the file was written since."""
    model = _models.pop(path, None)
    if model is None or model.stamp != stamp(path):
        model = Model(path)
    _models[path] = model
    while len(_models) > KEPT_MODELS:
        del _models[next(iter(_models))]
    return model


def _open_preset(path: Path) -> Patch:
    written = stamp(path)
    preset = read_preset(path)
    model = _open_model(model_path(preset.model, path.parent).resolve())
    warnings = list(model.warnings)
    if preset.model_sha256 is not None and preset.model_sha256 != model.sha256:
        warnings.append(
            f"preset {path.stem!r} was made for another model than {model.path} (its SHA-256 differs): "
            "it may sound different; set model_sha256 to "
            f"{model.sha256} to accept it"
        )
    if found := list(faults(preset, model.card, known_effects(preset))):
        raise UserError(*complaints(path, found))
    warnings += [f"{line}; it may not be heard as it stands" for line in complaints(path, strays(preset, model.card))]
    preset = fitted(preset, model.card, path.parent)
    name = path.resolve().parent.name if path.name == MADE else path.stem
    return Patch(name, preset, model, path.parent, tuple(warnings), {path: written, model.path: model.stamp})


def _default_patch(path: Path) -> Patch:
    """A bare model plays with its default code, its knobs on CC 70 and up over their whole span."""
    model = _open_model(path.resolve())
    preset = Preset(format=1, model=str(path), cc=default_knobs(model.card))
    return Patch(path.stem, preset, model, path.parent, model.warnings, {model.path: model.stamp})
