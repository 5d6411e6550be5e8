"""Kinds by name: timbrel's own, and those of installed packages; a kind's module is imported when it is asked for."""

import importlib
from typing import Any

from .. import extensions
from ..errors import UserError
from .card_fields import CardFields
from .kind import Kind

CLASSES = {  # of timbrel's kinds, by name: module and class
    "spectrum": ("spectrum", "SpectrumKind"),
    "partials": ("spectrum", "PartialsKind"),
    "grain": ("grain", "GrainKind"),
    "clip": ("clip", "ClipKind"),
    "stream": ("stream", "StreamKind"),
}


class _Kinds(dict[str, Kind]):
    """Timbrel's names win over a package's.

    Raises:
        UserError: as `extensions.load`; or a package's kind does not fit.
    """

    def __missing__(self, name: str) -> Kind:
        if name in CLASSES:
            module_name, class_name = CLASSES[name]
            kind_class = getattr(importlib.import_module(f".{module_name}", __package__), class_name)
        else:
            kind_class = extensions.load(extensions.KINDS, name)
            _check(kind_class, name)
        with extensions.loading(extensions.KINDS, name):
            kind: Kind = kind_class()
        return self.setdefault(name, kind)


def _check(kind_class: Any, name: str) -> None:
    """Raise UserError for a package's class that is not a kind of this name, with one preset table of its name."""
    if not (isinstance(kind_class, type) and issubclass(kind_class, Kind) and kind_class.name == name):
        raise UserError(f"kind {name!r} of an installed package is no class of Kind of this name; correct the package")
    if not kind_class.engines:
        raise UserError(f"kind {name!r} of an installed package names no package of its engine; correct the package")
    if not set(kind_class.settings.model_fields) <= {name}:
        raise UserError(
            f"kind {name!r} of an installed package has a preset table beside [{name}]; correct the package"
        )


KINDS = _Kinds()


def known_kinds() -> dict[str, Kind]:
    """Timbrel's kinds, then those of packages that this process has loaded."""
    return {name: KINDS[name] for name in (*CLASSES, *KINDS)}


def is_known(name: str) -> bool:
    """Whether timbrel or an installed package has a kind; its module is not imported.

    Raises:
        UserError: two packages have it.
    """
    return name in CLASSES or name in KINDS or extensions.find(extensions.KINDS, name) is not None


def kind_of(card: CardFields) -> Kind:
    return KINDS[card.kind]
