"""A patch: a preset and all that it names, read once, so that what sounds reads no file."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from ..contract.card import Card
from ..contract.model import Model
from ..errors import UserError
from ..files import Stamp
from ..shelf import preset_file, shipped_presets
from .models import model_path, open_model
from .preset import Preset
from .reading import read_preset
from .tuning import tuned_keys


@dataclass(frozen=True)
class Patch:
    """A preset with its model opened and checked, and what its other files say: ready to play.

    ``folder`` is where its relative paths begin. ``files`` are those that were read, with their stamps from before.
    ``tuning`` is the pitch of each MIDI key that sounds, as `tuned_keys` has it; ``morph_end`` the code to which it
    morphs, None if it does not.

    Raises:
        UserError: a Scala file or the preset at the other end of a morph cannot be used.
    """

    name: str
    preset: Preset
    model: Model
    folder: Path
    warnings: tuple[str, ...] = ()
    files: Mapping[Path, Stamp | None] = field(default_factory=dict)
    tuning: Mapping[int, float] = field(init=False, repr=False)
    morph_end: Sequence[float] | None = field(init=False, repr=False)

    def __post_init__(self) -> None:
        try:
            object.__setattr__(self, "tuning", tuned_keys(self.preset.tuning, self.folder))
            object.__setattr__(self, "morph_end", morph_end(self.preset, self.model.card, self.folder))
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
    return _of_as_many(preset.morph.values or [], card, "morph.values")


def code_of(name: str, card: Card, folder: Path, key: str) -> list[float]:
    """Return where the knobs of a preset rest, shipped or in ``folder``, for the model of ``card``; ``key`` named it.

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
    return _of_as_many(values, card, given)


def _of_as_many(values: list[float], card: Card, given: str) -> list[float]:
    if len(values) != len(card.latents):
        raise UserError(
            f"{given} has {len(values)} latents, model {card.name!r} has {len(card.latents)}; lead to a code of as many"
        )
    return values
