"""Resolves target codes of morph and process: numbers, landmark labels or presets."""

from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType

import numpy as np

from ..contract.card import Card
from ..errors import UserError, nearest
from ..kinds.table import kind_of
from ..medoid import medoid
from ..shipped import preset_file, shipped_presets
from .loading import read_preset
from .models import model_path, open_model
from .motions import MorphSettings, MorphTarget

Files = Mapping[str, bytes]  # of a `Draft`
NO_FILES: Files = MappingProxyType({})


def morph_of(settings: MorphSettings | None, card: Card, folder: Path, files: Files = NO_FILES) -> MorphTarget | None:
    """The [morph] of a preset in ``folder`` on a model.

    Raises:
        UserError: its preset cannot be used, or the number of latents differs.
    """
    if settings is None:
        return None
    if settings.to is not None:
        values, label = _rest_of(settings.to, card, folder, "morph.to", files)
    else:
        values, label = _checked(settings.values or [], card, "morph.values"), None
    return MorphTarget(values, settings.shape, label, settings.position)


def process_end(name: str | None, card: Card, folder: Path, files: Files = NO_FILES) -> list[float] | None:
    """Code of ``process.to``: the medoid of a label's landmarks, or a preset's rest code.

    Raises:
        UserError: no such label or preset, or the preset does not match the model.
    """
    if name is None:
        return None
    codes = [mark.latent for mark in card.landmarks if mark.label == name]
    if codes:
        return codes[medoid(np.array(codes))]
    presets = shipped_presets()
    if name in files or name in presets or preset_file(str(folder / name)) is not None:
        return _rest_of(name, card, folder, "process.to", files)[0]
    known = sorted({mark.label for mark in card.landmarks} | set(presets))
    raise UserError(f"process.to {name!r} is no landmark of model {card.name!r} and no preset{nearest(name, known)}")


def _rest_of(name: str, card: Card, folder: Path, key: str, files: Files) -> tuple[list[float], str | None]:
    """Without a code in ``files``, the default of ``card``."""
    given = f"{key} {name!r}"
    path = shipped_presets().get(name) or preset_file(str(folder / name)) or folder / name
    try:
        if name in files:
            other = read_preset(folder / name, files[name].decode(errors="replace"))
            values = other.latent_values(card)
        else:
            other = read_preset(path)
            values = other.latent_values(open_model(model_path(other.model, path.parent).resolve()).card)
    except UserError as error:
        raise UserError(f"{given}: {error}") from None
    kind = kind_of(card)
    label = kind.label(other.of_kind(kind))
    return _checked(values, card, given), label if label in card.labels else None


def _checked(values: list[float], card: Card, given: str) -> list[float]:
    if len(values) != len(card.latents):
        raise UserError(
            f"{given} has {len(values)} latents, model {card.name!r} has {len(card.latents)}; lead to a code of as many"
        )
    return values
