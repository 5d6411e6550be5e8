"""Recipe loading: reads TOML files, merges bases and changes, validates."""

import inspect
import tomllib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from ...host import extensions
from ...host.config import toml_text
from ...host.errors import UserError, nearest
from ...host.files import read_regular
from ...host.model.card import first_complaint
from ..recipe import BUDGETS, Recipe
from . import FOLDERS, RECIPES, family_names, is_known

LARGEST = 1 << 20  # bytes of a recipe: a hundred times any shipped one


def shipped_recipes() -> dict[str, Path]:
    """Return the files of shipped recipes by name, without bases."""
    return {name: path for name, path in _files().items() if not name.startswith("base")}


def _files() -> dict[str, Path]:
    """Return the files of all recipes by name, with bases."""
    return dict(sorted((path.stem, path) for path in Path(__file__).parent.glob("*/*.toml")))


def package_recipes() -> dict[str, list[Path]]:
    """Return the files of installed packages' recipes by name: TOML files beside the module of a family's recipe.

    Raises:
        UserError: as `extensions.load`.
    """
    folders = {
        Path(inspect.getfile(RECIPES[family])).parent
        for family in extensions.names(extensions.FAMILIES)
        if family not in FOLDERS
    }
    files_by_name: dict[str, list[Path]] = {}
    for path in sorted(path for folder in folders for path in folder.glob("*.toml")):
        files_by_name.setdefault(path.stem, []).append(path)
    return files_by_name


def _package_recipe(name: str) -> Path | None:
    """Return a package's recipe; raise UserError if two packages have one of this name."""
    paths = package_recipes().get(name, [])
    if len(paths) > 1:
        raise UserError(f"recipe {name!r} is of two installed packages: {' and '.join(map(str, paths))}; give the file")
    return next(iter(paths), None)


def load_recipe(name: str, changes: Sequence[str] = ()) -> Recipe:
    """Load a shipped recipe or a TOML file, with ``key=value`` changes (``training.epochs=5``).

    Raises:
        UserError: unknown recipe, invalid TOML, unknown key, or value out of range.
    """
    shipped_paths = shipped_recipes()
    recipe_path = shipped_paths.get(name, Path(name))
    if name not in shipped_paths and recipe_path.suffix != ".toml":
        package_path = _package_recipe(name)
        if package_path is None:
            raise UserError(f"no recipe is named {name!r}{nearest(name, shipped_paths)} (or give a .toml file)")
        recipe_path = package_path
    recipe_fields = _read_with_base(recipe_path, visited=())
    recipe_fields.setdefault("name", recipe_path.stem)
    for change in changes:
        _apply(recipe_fields, change)
    family = recipe_fields.get("family")
    if not is_known(str(family)):
        problem = "family is missing" if family is None else f"family is unknown (got {family!r})"
        raise UserError(f"recipe {name}: {problem}; give {' or '.join(family_names())}, or a base that has one")
    recipe_class = RECIPES[str(family)]
    try:
        return recipe_class.model_validate(recipe_fields)
    except ValidationError as error:
        raise UserError(f"recipe {name}: {_explain(error, recipe_class)}") from None


def _read_with_base(path: Path, visited: tuple[Path, ...]) -> dict[str, Any]:
    """Return a recipe's fields over its base's, and so on; ``visited`` recipes led to it."""
    try:
        recipe_fields = tomllib.loads(toml_text(read_regular(path, LARGEST), f"recipe {path}"))
    except FileNotFoundError:
        raise UserError(f"recipe {path} does not exist{nearest(path.stem, shipped_recipes())}") from None
    except (OSError, ValueError, RecursionError) as error:
        raise UserError(f"recipe {path} cannot be read as TOML: {error}") from None
    base_name = recipe_fields.pop("base", None)
    if base_name is None:
        return recipe_fields
    if path in visited:
        raise UserError(f"recipe {path} is its own base; correct 'base'")
    base_path = _files().get(base_name, path.parent / f"{base_name}.toml")
    if not base_path.exists():
        base_path = _package_recipe(base_name) or base_path
    return _merge(_read_with_base(base_path, (*visited, path)), recipe_fields)


def _merge(base: dict[str, Any], difference: dict[str, Any]) -> dict[str, Any]:
    """Return ``base`` with the fields of ``difference``, table by table; a budget replaces the base's."""
    merged = dict(base)
    for key, value in difference.items():
        base_value = merged.get(key)
        merged[key] = _merge(base_value, value) if isinstance(base_value, dict) and isinstance(value, dict) else value
    given_budgets = [name for name in BUDGETS if name in difference]
    if len(given_budgets) == 1:
        for name in set(BUDGETS) - set(given_budgets):
            merged.pop(name, None)
    return merged


def _apply(fields: dict[str, Any], change: str) -> None:
    """Apply a ``key=value`` change to fields, in place."""
    key, equals_sign, value_text = change.partition("=")
    if not equals_sign:
        raise UserError(f"--set {change!r} must be key=value, such as training.epochs=5")
    try:
        document = tomllib.loads(f"value = {value_text}")
    except tomllib.TOMLDecodeError:
        document = {}
    # a bare word is a string; behind a new line other keys may stand
    nested_value: Any = document["value"] if [*document] == ["value"] else value_text
    for key_part in reversed(key.strip().split(".")):
        nested_value = {key_part: nested_value}
    merged = _merge(fields, nested_value)
    fields.clear()
    fields.update(merged)


def _explain(error: ValidationError, family: type[Recipe]) -> str:
    """Return an error in words; for an unknown key, with the most similar known one."""
    first_error = error.errors(include_url=False)[0]
    if first_error["type"] != "extra_forbidden":
        return first_complaint(error)
    *parent_keys, key = (str(name) for name in first_error["loc"])
    section_class = family.model_fields[parent_keys[0]].annotation if parent_keys else family
    known_keys = getattr(section_class, "model_fields", {})
    return f"unknown key {'.'.join([*parent_keys, key])!r}{nearest(key, known_keys)}"
