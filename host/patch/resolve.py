"""A patch: a preset and all files that it names, read once, so that nothing is read while it sounds."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from ..contract.card import Card
from ..contract.model import Model
from ..dsp import medoid
from ..errors import UserError, nearest
from ..files import Stamp
from ..shelf import preset_file, shipped_presets
from .models import model_path, open_model
from .preset import Preset
from .reading import read_preset
from .tuning import tuned_keys


@dataclass(frozen=True)
class Patch:
    """A preset with its model opened and checked, and what its other files say: ready to play.

    ``folder`` is where its relative paths begin. ``files`` are those that were read, with earlier stamps.
    ``tuning`` is the pitch of each MIDI key that sounds, as `tuned_keys` has it; ``morph_end`` the code to which it
    morphs, None if it does not; ``process_end`` the one to which it leads sounds that go through its model, or None.

    Raises:
        UserError: a Scala file, or the preset at the other end of a morph or of what goes through, cannot be used.
    """

    name: str
    preset: Preset
    model: Model
    folder: Path
    warnings: tuple[str, ...] = ()
    files: Mapping[Path, Stamp | None] = field(default_factory=dict)
    tuning: Mapping[int, float] = field(init=False, repr=False)
    morph_end: Sequence[float] | None = field(init=False, repr=False)
    process_end: Sequence[float] | None = field(init=False, repr=False)

    def __post_init__(self) -> None:
        try:
            object.__setattr__(self, "tuning", tuned_keys(self.preset.tuning, self.folder))
            object.__setattr__(self, "morph_end", morph_end(self.preset, self.model.card, self.folder))
            object.__setattr__(self, "process_end", process_end(self.preset, self.model.card, self.folder))
        except UserError as error:
            raise UserError(*(f"preset {self.name!r}: {line}" for line in error.args)) from None


def morph_end(preset: Preset, card: Card, folder: Path) -> list[float] | None:
    """Return the code to which a preset in ``folder`` morphs, on the model of ``card``; None if it does not.

    Raises:
        UserError: the preset that it names cannot be used, or the code has another number of latents.
    """
    if preset.morph is None:
        return None
    if preset.morph.to is not None:
        return code_of(preset.morph.to, card, folder, "morph.to")
    return _checked(preset.morph.values or [], card, "morph.values")


def process_end(preset: Preset, card: Card, folder: Path) -> list[float] | None:
    """Return the code to which a preset in ``folder`` leads sounds, on the model of ``card``; None if to none.

    Where ``process.to`` is a label of landmarks, it is the medoid of their codes; where it names a preset, the code at
    which the knobs of that preset rest.

    Raises:
        UserError: there is neither such a label nor such a preset, or the preset does not fit the model.
    """
    name = preset.process.to
    if name is None:
        return None
    codes = [mark.latent for mark in card.landmarks if mark.label == name]
    if codes:
        return codes[medoid(np.array(codes))]
    presets = shipped_presets()
    if name in presets or preset_file(str(folder / name)) is not None:
        return code_of(name, card, folder, "process.to")
    known = sorted({mark.label for mark in card.landmarks} | set(presets))
    raise UserError(f"process.to {name!r} is no landmark of model {card.name!r} and no preset{nearest(name, known)}")


def code_of(name: str, card: Card, folder: Path, key: str) -> list[float]:
    """Return the code at which the knobs of a preset rest, for the model of ``card``.

    The preset is a shipped one, or a file in ``folder``; ``key`` is the setting that names it, for messages.

    Raises:
        UserError: the preset cannot be used, or its code has another number of latents.
    """
    given = f"{key} {name!r}"
    path = shipped_presets().get(name) or preset_file(str(folder / name)) or folder / name
    try:
        other = read_preset(path)
        values = other.latent_values(open_model(model_path(other.model, path.parent).resolve()).card)
    except UserError as error:
        raise UserError(f"{given}: {error}") from None
    return _checked(values, card, given)


def _checked(values: list[float], card: Card, given: str) -> list[float]:
    if len(values) != len(card.latents):
        raise UserError(
            f"{given} has {len(values)} latents, model {card.name!r} has {len(card.latents)}; lead to a code of as many"
        )
    return values
