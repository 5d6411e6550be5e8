"""Recipe loading: reads TOML files, merges bases and changes, validates."""

import tomllib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from ...host.config import toml_text
from ...host.errors import UserError, nearest
from ...host.files import read_regular
from ...host.model.card import first_complaint
from ..recipe import BUDGETS, Recipe
from . import FOLDERS, RECIPES

LARGEST = 1 << 20  # bytes of a recipe: a hundred times any shipped one


def shipped_recipes() -> dict[str, Path]:
    """Return the files of shipped recipes by name, without bases."""
    return {name: path for name, path in _files().items() if not name.startswith("base")}


def _files() -> dict[str, Path]:
    return dict(sorted((path.stem, path) for path in Path(__file__).parent.glob("*/*.toml")))


def load_recipe(name: str, changes: Sequence[str] = ()) -> Recipe:
    """Load a shipped recipe or a TOML file, with ``key=value`` changes (``training.epochs=5``).

    Raises:
        UserError: unknown recipe, invalid TOML, unknown key, or value out of range.
    """
    shipped = shipped_recipes()
    path = shipped.get(name, Path(name))
    if name not in shipped and path.suffix != ".toml":
        raise UserError(f"no recipe is named {name!r}{nearest(name, shipped)} (or give a .toml file)")
    fields = _read_with_base(path, visited=())
    fields.setdefault("name", path.stem)
    for change in changes:
        _apply(fields, change)
    family = fields.get("family")
    if str(family) not in FOLDERS:
        problem = "family is missing" if family is None else f"family is unknown (got {family!r})"
        raise UserError(f"recipe {name}: {problem}; give {' or '.join(FOLDERS)}, or a base that has one")
    recipe_class = RECIPES[str(family)]
    try:
        return recipe_class.model_validate(fields)
    except ValidationError as error:
        raise UserError(f"recipe {name}: {_explain(error, recipe_class)}") from None


def _read_with_base(path: Path, visited: tuple[Path, ...]) -> dict[str, Any]:
    try:
        fields = tomllib.loads(toml_text(read_regular(path, LARGEST), f"recipe {path}"))
    except FileNotFoundError:
        raise UserError(f"recipe {path} does not exist{nearest(path.stem, shipped_recipes())}") from None
    except (OSError, ValueError, RecursionError) as error:
        raise UserError(f"recipe {path} cannot be read as TOML: {error}") from None
    base = fields.pop("base", None)
    if base is None:
        return fields
    if path in visited:
        raise UserError(f"recipe {path} is its own base; correct 'base'")
    base_path = _files().get(base, path.parent / f"{base}.toml")
    return _merge(_read_with_base(base_path, (*visited, path)), fields)


def _merge(base: dict[str, Any], difference: dict[str, Any]) -> dict[str, Any]:
    """A budget replaces the base's."""
    merged = dict(base)
    for key, value in difference.items():
        base_value = merged.get(key)
        merged[key] = _merge(base_value, value) if isinstance(base_value, dict) and isinstance(value, dict) else value
    budgets = [name for name in BUDGETS if name in difference]
    if len(budgets) == 1:
        for name in set(BUDGETS) - set(budgets):
            merged.pop(name, None)
    return merged


def _apply(fields: dict[str, Any], change: str) -> None:
    key, equals, text = change.partition("=")
    if not equals:
        raise UserError(f"--set {change!r} must be key=value, such as training.epochs=5")
    try:
        value = tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        value = text  # a bare word is a string
    for part in reversed(key.strip().split(".")):
        value = {part: value}
    merged = _merge(fields, value)
    fields.clear()
    fields.update(merged)


def _explain(error: ValidationError, family: type[Recipe]) -> str:
    detail = error.errors(include_url=False)[0]
    if detail["type"] != "extra_forbidden":
        return first_complaint(error)
    *parents, key = (str(name) for name in detail["loc"])
    section = family.model_fields[parents[0]].annotation if parents else family
    known_keys = getattr(section, "model_fields", {})
    return f"unknown key {'.'.join([*parents, key])!r}{nearest(key, known_keys)}"
