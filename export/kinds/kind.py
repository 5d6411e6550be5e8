"""Kind descriptor: the functions that export calls."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from torch import nn

from ...host.events import Event, NoteOff, NoteOn
from ...host.model.card import Card
from ...host.model.model import Model
from ...host.preset.library import FIRST_KNOB_CC, Patch, default_knobs
from ...host.preset.preset import LatentSettings, Preset
from ...host.units import MIDDLE_C
from .player import NnPlayer
from .search_view import View

RATE = 44100  # of demos, in Hz


@dataclass(frozen=True)
class ExportKind:
    """First preset, demo, code search and nn~ player of a kind of model.

    Args:
        preset: returns a model's preset: it starts from a real sound, and its knobs span the corpus.
        demo: returns a performance's events and length, in samples at `RATE`, for a patch and a velocity.
        holds_one_key: the demo is one held key.
        view: returns the frames' amplitudes; None: codes are not searched.
        player: returns a player with a model's rebuilt decoder; None: nn~ does not play this kind.
    """

    name: str
    preset: Callable[[Model], Preset]
    demo: Callable[[Patch, int], tuple[list[Event], int]]
    holds_one_key: bool = False
    view: Callable[[Card], View] | None = None
    player: Callable[[Model, nn.Module], NnPlayer] | None = None


def preset_of(model: Model, **parts: Any) -> Preset:
    """Return a preset of a model's default code; ``parts`` are its other fields."""
    card = model.card
    last_cc = FIRST_KNOB_CC + len(default_knobs(card)) - 1
    return Preset(
        format=1,
        model=model.path.name,
        description=f"{card.name}: knobs on CC {FIRST_KNOB_CC} to {last_cc}",
        model_sha256=model.sha256,
        latent=LatentSettings(values=[latent.default for latent in card.latents]),
        **parts,
    )


def held_key(samples: int, velocity: int) -> list[Event]:
    """Return a middle C as long as ``samples``."""
    return [NoteOn(0, 0, MIDDLE_C, velocity), NoteOff(samples, 0, MIDDLE_C)]
