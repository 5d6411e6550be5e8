"""Proves packs on arrival: presets name nothing outside and run nothing, models give their reference."""

from pathlib import Path

from ..contract.model import Model
from ..errors import TimbrelError, UserError
from ..packs.archive import MANIFEST, mark_proved, throw_away, unproved
from ..plugin_trust import PLUGINS
from ..shipped import preset_file, shipped_presets
from .loading import read_preset
from .models import model_path
from .preset_files import files_of


def prove(file: Path) -> None:
    """Prove the pack of a preset's file, if any, once; a pack that fails is removed.

    Raises:
        UserError: the preset cannot be used, names a plugin or a file outside, or the model gives other outputs.
    """
    if not unproved(file):
        return
    try:
        preset = read_preset(file)
        model = model_path(preset.model, file.parent)
        others = [*files_of(preset), *filter(None, [preset.morph.to if preset.morph else None])]
        end = preset.process.to  # or a landmark
        if end is not None and preset_file(str(file.parent / end)) is not None:
            others.append(end)
        outside = [name for name in (preset.model, *others) if not _inside(file.parent, name)]
        if outside:
            raise UserError(f"its preset names {outside[0]!r}, which it does not hold")
        if any(effect.plugin.endswith(PLUGINS) for effect in preset.effects):
            raise UserError("its preset runs a plugin by its path, which packs may not")
        if not Model(model).verify().passed:
            raise UserError(f"its model gives other outputs here than {MANIFEST} was made with; update timbrel")
    except TimbrelError as error:
        throw_away(file)
        raise UserError(f"the pack {file.parent.name!r} cannot be used: {error.args[0]}") from None
    mark_proved(file)


def _inside(folder: Path, name: str) -> bool:
    place = (folder / name).resolve()
    return name in shipped_presets() or (folder.resolve() in place.parents and place.is_file())
