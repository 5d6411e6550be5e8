"""Network families by name. A family's modules are imported when it is asked for."""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ..network import Network
    from ..recipe import Recipe
    from .family import Family

FOLDERS = {  # of each family, and the name from which the names of its classes are made
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


def class_of(family: str, module: str, suffix: str) -> Any:
    """Return a family's class whose name ends in ``suffix``; ``{}`` in the module's name stands for its folder."""
    folder, class_stem = FOLDERS[family]
    return getattr(importlib.import_module(module.format(folder)), class_stem + suffix)


class _Recipes(dict[str, "type[Recipe]"]):
    """Classes of recipes by family; they need no torch."""

    def __missing__(self, family: str) -> "type[Recipe]":
        recipe_class: type[Recipe] = class_of(family, __name__ + ".{}.recipe", "Recipe")
        return self.setdefault(family, recipe_class)


class _Families(dict[str, "Family[Recipe, Network]"]):
    """Families' objects by name; they need torch."""

    def __missing__(self, family: str) -> "Family[Recipe, Network]":
        family_object: Family[Recipe, Network] = class_of(family, __name__ + ".{}.data", "Family")()
        return self.setdefault(family, family_object)


RECIPES, FAMILIES = _Recipes(), _Families()
