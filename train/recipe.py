"""Recipes: what to train, as small TOML files that state their difference from a base."""

import tomllib
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, Self

import tomlkit
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from ..host.card import first_complaint
from ..host.errors import UserError, nearest

RECIPES = Path(__file__).parent / "recipes"


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", allow_inf_nan=False)


class Training(_Part):
    """The loop. Exactly one budget is set: epochs, steps or minutes."""

    epochs: Annotated[int, Field(ge=1, le=1_000_000)] | None = None
    steps: Annotated[int, Field(ge=1, le=1_000_000_000)] | None = None
    minutes: Annotated[float, Field(gt=0, le=100_000)] | None = None
    batch_size: Annotated[int, Field(ge=1, le=65536)]
    learning_rate: Annotated[float, Field(gt=0, le=1)]
    schedule: Literal["constant", "cosine"]
    l2: Annotated[float, Field(ge=0, le=1)]
    seed: Annotated[int, Field(ge=0, lt=2**31)]

    @model_validator(mode="after")
    def _one_budget(self) -> Self:
        given = [name for name in ("epochs", "steps", "minutes") if getattr(self, name) is not None]
        if len(given) != 1:
            raise ValueError(f"set one budget of epochs, steps and minutes, not {' and '.join(given) or 'none'}")
        return self


class Frames(_Part):
    """How sounds become frames. Lengths in samples, rates in Hz."""

    sample_rate: Annotated[int, Field(ge=8000, le=192000)]
    frame_length: Annotated[int, Field(ge=256, le=32768)]
    hop_length: Annotated[int, Field(ge=16, le=32768)]
    octave: Annotated[int, Field(ge=1, le=7)] | None = None  # all notes are moved into this octave; None leaves them
    views: Annotated[int, Field(ge=1, le=12)]  # pitch classes that each frame is moved to, when octave is set
    rows: Annotated[int, Field(ge=1000, le=50_000_000)]  # frames × views kept on disk at the most

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if self.frame_length & (self.frame_length - 1):
            raise ValueError(f"frame_length {self.frame_length} must be a power of two, such as 4096")
        if self.hop_length > self.frame_length:
            raise ValueError(f"hop_length {self.hop_length} must not exceed frame_length {self.frame_length}")
        if self.views > 1 and self.octave is None:
            raise ValueError("views above 1 need an octave to move notes into; set frames.octave, such as 4")
        return self


class Network(_Part):
    """The dense autoencoder of Colonel & Keene 2020, section III."""

    latents: Annotated[int, Field(ge=1, le=64)]
    hidden: Annotated[list[Annotated[int, Field(ge=1, le=16384)]], Field(min_length=1, max_length=16)]
    bottleneck: Literal["sigmoid", "lrelu"]
    augmentation: Literal["none", "difference", "chroma"]
    skip: bool
    variational: bool
    domain: Literal["magnitude", "root"]  # root: the network sees and gives square roots of magnitudes


class Loss(_Part):
    """Weights of the terms; 0 leaves a term out."""

    mean_square: Annotated[float, Field(ge=0)] = 0.0
    squares: Annotated[float, Field(ge=0)] = 0.0
    root_squares: Annotated[float, Field(ge=0)] = 0.0
    consistency: Annotated[float, Field(ge=0)] = 0.0
    uniformity: Annotated[float, Field(ge=0)] = 0.0
    divergence: Annotated[float, Field(ge=0)] = 0.0

    @model_validator(mode="after")
    def _compares(self) -> Self:
        if not (self.mean_square or self.squares or self.root_squares):
            raise ValueError("one of mean_square, squares and root_squares must be above 0: they compare the sounds")
        return self


class Recipe(_Part):
    """Everything that decides a run, but the corpus."""

    name: str
    description: str
    family: Literal["chroma"]
    training: Training
    frames: Frames
    network: Network
    loss: Loss

    def to_toml(self) -> str:
        """The effective recipe as TOML text, without a base."""
        return tomlkit.dumps(self.model_dump(exclude_none=True))


def shipped_recipes() -> dict[str, Path]:
    """Names and files of the recipes that ship; bases are not for training."""
    return {path.stem: path for path in sorted(RECIPES.glob("*.toml")) if not path.stem.startswith("base")}


def load_recipe(name: str, changes: Sequence[str] = ()) -> Recipe:
    """Load a shipped recipe or a TOML file, with ``key=value`` changes (``training.epochs=5``).

    Raises:
        UserError: no such recipe, not TOML, an unknown key (the nearest known one is named), a value out of range.
    """
    shipped = shipped_recipes()
    path = shipped.get(name, Path(name))
    if name not in shipped and path.suffix != ".toml":
        raise UserError(f"no recipe is named {name!r}{nearest(name, shipped)} (or give a .toml file)")
    fields = _read_with_base(path, seen=())
    fields.setdefault("name", path.stem)
    for change in changes:
        _apply(fields, change)
    try:
        return Recipe.model_validate(fields)
    except ValidationError as error:
        raise UserError(f"recipe {name}: {_explain(error)}") from None


def _read_with_base(path: Path, seen: tuple[Path, ...]) -> dict[str, Any]:
    try:
        fields = tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise UserError(f"recipe {path} does not exist{nearest(path.stem, shipped_recipes())}") from None
    except (OSError, tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise UserError(f"recipe {path} cannot be read as TOML: {error}") from None
    base = fields.pop("base", None)
    if base is None:
        return fields
    if path in seen:
        raise UserError(f"recipe {path} is its own base; correct 'base'")
    inside = RECIPES / f"{base}.toml"
    base_path = inside if inside.exists() else path.parent / f"{base}.toml"
    return _merge(_read_with_base(base_path, (*seen, path)), fields)


def _merge(base: dict[str, Any], difference: dict[str, Any]) -> dict[str, Any]:
    """A difference replaces values, table by table; another budget replaces the base's."""
    merged = dict(base)
    for key, value in difference.items():
        old = merged.get(key)
        merged[key] = _merge(old, value) if isinstance(old, dict) and isinstance(value, dict) else value
    budgets = [name for name in ("epochs", "steps", "minutes") if name in difference]
    if len(budgets) == 1:
        for name in {"epochs", "steps", "minutes"} - set(budgets):
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


def _explain(error: ValidationError) -> str:
    detail = error.errors(include_url=False)[0]
    if detail["type"] != "extra_forbidden":
        return first_complaint(error)
    *parents, key = (str(part) for part in detail["loc"])
    parts: dict[str, type[BaseModel]] = {"training": Training, "frames": Frames, "network": Network, "loss": Loss}
    part = parts.get(parents[0] if parents else "", Recipe)
    return f"unknown key {'.'.join([*parents, key])!r}{nearest(key, part.model_fields)}"
