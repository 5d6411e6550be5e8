"""Kinds of models for export by name: timbrel's own, and those of installed packages; imported when asked for."""

import importlib

from ...host import extensions
from ...host.events import Event
from ...host.kinds.table import CLASSES
from ...host.model.model import Model
from ...host.preset.library import Patch, default_knobs
from ...host.preset.preset import Preset
from .kind import RATE, ExportKind, held_key, preset_of


class _Kinds(dict[str, ExportKind]):
    """A package's kind without the part ``export`` has the default knobs, and a held key as its demo."""

    def __missing__(self, name: str) -> ExportKind:
        if name in CLASSES:
            kind: ExportKind = importlib.import_module(f".{name}", __package__).KIND
        else:
            kind = extensions.load(extensions.KINDS, name, "export") or ExportKind(name, _preset, _demo)
        return self.setdefault(name, kind)


def _preset(model: Model) -> Preset:
    return preset_of(model, cc=default_knobs(model.card))


def _demo(patch: Patch, velocity: int) -> tuple[list[Event], int]:
    return held_key(RATE, velocity), RATE


KINDS = _Kinds()


def known_kinds() -> dict[str, ExportKind]:
    """Return timbrel's kinds, then those of packages that this process has loaded."""
    return {name: KINDS[name] for name in (*CLASSES, *KINDS)}
