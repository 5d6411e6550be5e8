"""The files that a preset names: tunings, sounds, impulse responses."""

from collections.abc import Iterator
from pathlib import Path

from ..audio.effect_ranges import SETTINGS
from ..kinds.table import KINDS
from .preset import Preset


def files_of(preset: Preset) -> Iterator[str]:
    sounds = [kind.sound(preset.of_kind(kind)) for kind in KINDS.values()]
    for effect in preset.effects:
        settings = SETTINGS.get(effect.plugin, {})
        sounds += [(effect.model_extra or {}).get(key) for key, what in settings.items() if what is Path]
    yield from (name for name in (preset.tuning.scale, preset.tuning.keymap, *sounds) if isinstance(name, str))
