"""Network families by name: timbrel's own, and those of installed packages.

A family's modules are imported when it is asked for, those of training apart from those of export.
"""

import importlib
from typing import TYPE_CHECKING, Any

from ...host import extensions
from ...host.errors import UserError

if TYPE_CHECKING:
    from ..network import Network
    from ..recipe import Recipe
    from .family import Family

FOLDERS = {  # of each of timbrel's families, and the name from which the names of its classes are made
    "chroma": ("chroma", "Chroma"),
    "partials": ("partials", "Partials"),
    "grain": ("grain", "Grain"),
    "gan": ("gan", "WaveGAN"),
    "logistic-gan": ("gan", "LogisticGAN"),
    "dcgan": ("gan", "DCGAN"),
    "halves": ("gan", "Halves"),
    "classifier": ("classifier", "Classifier"),
    "invert": ("invert", "Invert"),
    "clip": ("clip", "Clip"),
    "loops": ("loops", "Loop"),
    "sequence": ("sequence", "Sequence"),
    "grain-path": ("path", "Path"),
}


def class_of(family: str, part: str, module: str, suffix: str, base: type) -> Any:
    """Return a family's class, a class of ``base``.

    An installed package's entry ``FAMILY.PART`` names it; timbrel's own is in ``module``, where ``{}`` stands for the
    family's folder, and its name ends in ``suffix``.

    Raises:
        UserError: as `extensions.load`, or the package names no such part, or another object.
    """
    if family in FOLDERS:
        folder, class_stem = FOLDERS[family]
        return getattr(importlib.import_module(module.format(folder)), class_stem + suffix)
    part_class = extensions.load(extensions.FAMILIES, family, part)
    if part_class is None:
        raise UserError(
            f"the package of family {family!r} has no entry '{family}.{part}' in '{extensions.FAMILIES}'; correct the "
            "package"
        )
    if not (isinstance(part_class, type) and issubclass(part_class, base)):
        raise UserError(
            f"entry '{family}.{part}' of an installed package is no class of {base.__name__}; correct the package"
        )
    return part_class


def family_names() -> list[str]:
    """Return the names of timbrel's families, then of those that installed packages have."""
    return list(dict.fromkeys([*FOLDERS, *extensions.names(extensions.FAMILIES)]))


def is_known(family: str) -> bool:
    """Whether timbrel or an installed package has a family; none of its modules is imported.

    Raises:
        UserError: two packages have it.
    """
    return family in FOLDERS or extensions.find(extensions.FAMILIES, family) is not None


def package_versions(family: str) -> dict[str, str]:
    """Return the version of the installed package that has a family, by its name; empty for timbrel's families."""
    return {} if family in FOLDERS else extensions.versions(extensions.FAMILIES, [family])


class _Recipes(dict[str, "type[Recipe]"]):
    """Classes of recipes by family; they need no torch."""

    def __missing__(self, family: str) -> "type[Recipe]":
        from ..recipe import Recipe  # pydantic, which names of families need not

        recipe_class: type[Recipe] = class_of(family, "recipe", __name__ + ".{}.recipe", "Recipe", Recipe)
        return self.setdefault(family, recipe_class)


class _Families(dict[str, "Family[Recipe, Network]"]):
    """Families' objects by name; they need torch."""

    def __missing__(self, family: str) -> "Family[Recipe, Network]":
        from .family import Family  # torch

        family_class = class_of(family, "train", __name__ + ".{}.data", "Family", Family)
        with extensions.loading(extensions.FAMILIES, family):
            family_object: Family[Recipe, Network] = family_class()
        return self.setdefault(family, family_object)


RECIPES, FAMILIES = _Recipes(), _Families()
