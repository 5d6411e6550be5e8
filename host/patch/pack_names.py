"""Names of a pack's files for presets outside it: edited copies keep model and files."""

from pathlib import Path

from ..packs import BY_DIGEST
from ..shipped import shipped_presets
from .preset import Preset
from .preset_files import files_of


def named_from_outside(text: str, preset: Preset, folder: Path, digest: str) -> str:
    """A packed preset's text with its model by the pack's digest, other files by full paths."""
    from .text.editing import with_words  # lazy: tomlkit takes a megabyte of each instance

    if preset.model.startswith(BY_DIGEST):
        return text
    ends = [preset.process.to, None if preset.morph is None else preset.morph.to]
    names = {*files_of(preset), *(end for end in ends if end is not None and (folder / end).is_file())}
    words = {name: str(folder / name) for name in names - shipped_presets().keys()}
    return with_words(text, {preset.model: f"{BY_DIGEST}{digest}", **words})
