"""Recipes: what to train, as small TOML files that state their difference from a base."""

import tomllib
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, Self, get_args

import tomlkit
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from ..host.contract.card import first_complaint
from ..host.errors import UserError, nearest

RECIPES = Path(__file__).parent / "recipes"


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", allow_inf_nan=False)


Weight = Annotated[float, Field(ge=0)]
Latents = Annotated[int, Field(ge=1, le=64)]
Widths = Annotated[list[Annotated[int, Field(ge=1, le=16384)]], Field(max_length=16)]


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
    """The settings by which sounds become frames. Lengths in samples, rates in Hz."""

    sample_rate: Annotated[int, Field(ge=8000, le=192000)]
    frame_length: Annotated[int, Field(ge=16, le=1 << 20)]
    hop_length: Annotated[int, Field(ge=1, le=1 << 20)]

    @model_validator(mode="after")
    def _hops_within(self) -> Self:
        if self.hop_length > self.frame_length:
            raise ValueError(f"hop_length {self.hop_length} must not exceed frame_length {self.frame_length}")
        return self


class Recipe(_Part):
    """Everything that decides a run, but the corpus."""

    name: str
    description: str
    family: str
    training: Training
    frames: Frames

    def to_toml(self) -> str:
        """Return the effective recipe as TOML text, without a base."""
        return tomlkit.dumps(self.model_dump(exclude_none=True))


class ChromaFrames(Frames):
    """Spectra: frames of a power of two, and where notes are moved."""

    frame_length: Annotated[int, Field(ge=256, le=32768)]
    hop_length: Annotated[int, Field(ge=16, le=32768)]
    octave: Annotated[int, Field(ge=1, le=7)] | None = None  # all notes are moved into this octave; None leaves them
    views: Annotated[int, Field(ge=1, le=12)]  # pitch classes that each frame is moved to, when octave is set
    rows: Annotated[int, Field(ge=1000, le=50_000_000)]  # frames × views kept on disk at the most

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if self.frame_length & (self.frame_length - 1):
            raise ValueError(f"frame_length {self.frame_length} must be a power of two, such as 4096")
        if self.views > 1 and self.octave is None:
            raise ValueError("views above 1 need an octave to move notes into; set frames.octave, such as 4")
        return self


class ChromaNetwork(_Part):
    """The dense autoencoder of Colonel & Keene 2020, section III."""

    latents: Latents
    hidden: Annotated[Widths, Field(min_length=1)]
    bottleneck: Literal["sigmoid", "lrelu"]
    augmentation: Literal["none", "difference", "chroma"]
    skip: bool
    variational: bool
    domain: Literal["magnitude", "root"]  # root: the network sees and gives square roots of magnitudes


class ChromaLoss(_Part):
    """Weights of the terms; 0 leaves a term out."""

    mean_square: Weight = 0.0
    squares: Weight = 0.0
    root_squares: Weight = 0.0
    consistency: Weight = 0.0
    uniformity: Weight = 0.0
    divergence: Weight = 0.0

    @model_validator(mode="after")
    def _compares(self) -> Self:
        if not (self.mean_square or self.squares or self.root_squares):
            raise ValueError("one of mean_square, squares and root_squares must be above 0: they compare the sounds")
        return self


class ChromaRecipe(Recipe):
    """The chroma-conditioned autoencoder."""

    family: Literal["chroma"]
    frames: ChromaFrames
    network: ChromaNetwork
    loss: ChromaLoss


class GrainFrames(Frames):
    """Windows of samples."""

    align: bool  # each window is moved to where its largest sample, made positive, lies at a quarter of it
    held_out: Annotated[float, Field(ge=0, le=0.5)]  # part of each training clip, its last, that is not trained on
    softer_db: Annotated[float, Field(ge=0, le=60)] = 0.0  # by how much a training window may be softer, by chance

    @model_validator(mode="after")
    def _even(self) -> Self:
        if self.frame_length % 2:
            raise ValueError(f"frame_length {self.frame_length} must be even, such as 1002")
        return self


class GrainNetwork(_Part):
    """The autoencoders of the Ambisynth post, and what cures them.

    ``domain`` is what is decoded: samples; the spectrum's magnitudes and unwrapped phases; or a filter for noise, as
    logarithms of ``bands`` levels, and ``envelope_points`` levels over the grain.
    """

    latents: Latents
    hidden: Annotated[Widths, Field(min_length=1)]  # of the encoder, first to last; the decoder's are mirrored
    body: Literal["dense", "convolutional"]
    domain: Literal["samples", "magnitude_phase", "noise"]
    bands: Annotated[int, Field(ge=8, le=512)] | None = None
    envelope_points: Annotated[int, Field(ge=2, le=256)] | None = None
    adjudicator: Widths  # hidden layers of what judges codes; none: not adversarial
    deviation: Annotated[float, Field(gt=0, le=100)]  # of the normal distribution that codes are trained toward
    whitened: bool  # codes are centred and decorrelated by a layer that keeps their mean and covariance

    @model_validator(mode="after")
    def _whole(self) -> Self:
        given = self.bands is not None and self.envelope_points is not None
        if self.domain == "noise" and not given:
            raise ValueError("domain 'noise' needs bands and envelope_points, such as 80 and 16")
        if self.body == "convolutional" and self.domain != "samples":
            raise ValueError("body 'convolutional' goes with domain 'samples'; use 'dense'")
        return self


class GrainLoss(_Part):
    """Weights of the terms; 0 leaves a term out."""

    mean_square: Weight = 0.0
    log_spectrum: Weight = 0.0
    likelihood: Weight = 0.0
    adversarial: Weight = 0.0


class GrainRecipe(Recipe):
    """Autoencoders of sound grains."""

    family: Literal["grain"]
    frames: GrainFrames
    network: GrainNetwork
    loss: GrainLoss

    @model_validator(mode="after")
    def _whole(self) -> Self:
        loss, noise = self.loss, self.network.domain == "noise"
        if noise != bool(loss.likelihood) or noise == bool(loss.mean_square):
            raise ValueError(
                "domain 'noise' is trained by loss.likelihood, and the others by loss.mean_square; set one above 0"
            )
        if loss.log_spectrum and self.network.domain != "samples":
            raise ValueError("loss.log_spectrum goes with domain 'samples'; set it to 0")
        if bool(loss.adversarial) != bool(self.network.adjudicator):
            raise ValueError("network.adjudicator and loss.adversarial go together; set both, or neither")
        return self


KINDS_OF_RECIPE: dict[str, type[Recipe]] = {
    get_args(kind.model_fields["family"].annotation)[0]: kind for kind in (ChromaRecipe, GrainRecipe)
}


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
    family = KINDS_OF_RECIPE.get(str(fields.get("family")))
    if family is None:
        raise UserError(
            f"recipe {name}: family is none that is known (got {fields.get('family')!r}); "
            f"give {' or '.join(KINDS_OF_RECIPE)}, or a base that has one"
        )
    try:
        return family.model_validate(fields)
    except ValidationError as error:
        raise UserError(f"recipe {name}: {_explain(error, family)}") from None


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
    """Return a base with a difference's values in place of its own, table by table; a budget replaces the base's."""
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


def _explain(error: ValidationError, family: type[Recipe]) -> str:
    detail = error.errors(include_url=False)[0]
    if detail["type"] != "extra_forbidden":
        return first_complaint(error)
    *parents, key = (str(part) for part in detail["loc"])
    part = family.model_fields[parents[0]].annotation if parents else family
    known = getattr(part, "model_fields", {})
    return f"unknown key {'.'.join([*parents, key])!r}{nearest(key, known)}"
