"""MIDI controllers: CC numbers of knobs and faders, and default maps to latents."""

import tomllib
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from ..contract.card import Card, first_complaint
from ..errors import UserError, nearest
from ..events import RESERVED_CC
from ..files import read_regular
from ..shipped import PRESETS
from ..toml_text import toml_text
from .preset import CCMap

CONTROLLERS = PRESETS / "controllers"
LARGEST = 1 << 16  # bytes of a file: 30 times any shipped one

Number = Annotated[int, Field(ge=0, le=127)]


class Controller(BaseModel):
    """Factory settings: CC numbers in physical order, by rows from left to right.

    ``source``: origin of the numbers; ``channel`` None: set on the device.
    """

    model_config = ConfigDict(extra="forbid")

    name: str
    source: str
    notes: str = ""
    channel: Annotated[int, Field(ge=1, le=16)] | None = None
    knobs: list[Number] = []
    faders: list[Number] = []


def shipped_controllers() -> dict[str, Path]:
    return {path.stem: path for path in sorted(CONTROLLERS.glob("*.toml"))}


def read_controller(name: str) -> Controller:
    """Read a shipped controller, or a user's ``.toml`` file.

    Raises:
        UserError: unknown name, or an invalid file.
    """
    shipped = shipped_controllers()
    path = shipped.get(name, Path(name))
    if name not in shipped and path.suffix != ".toml":
        raise UserError(f"no controller is named {name!r}{nearest(name, shipped)}")
    try:
        return Controller.model_validate(tomllib.loads(toml_text(read_regular(path, LARGEST), f"controller {path}")))
    except OSError as error:
        raise UserError(f"controller {path} cannot be read: {error.strerror or error}") from None
    except ValidationError as error:
        raise UserError(f"controller {path}: {first_complaint(error)}") from None
    except (ValueError, RecursionError) as error:
        raise UserError(f"controller {path} is not TOML: {error}") from None


def bindings(controller: Controller, card: Card) -> list[CCMap]:
    """Map knobs, then faders, to latents in order, on any channel; skip CCs reserved by MIDI."""
    free = [number for number in (*controller.knobs, *controller.faders) if number not in RESERVED_CC]
    return latent_maps(free, card)


def latent_maps(numbers: Iterable[int], card: Card) -> list[CCMap]:
    """Map CC ``numbers`` to latents in order, over their ranges."""
    return [
        CCMap(number=number, target=f"latent.{index}", low=low, high=high)
        for index, (number, (low, high)) in enumerate(zip(numbers, card.spans, strict=False))
    ]
