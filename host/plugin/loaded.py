"""A preset that a plugin has loaded, and the racks that play it."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from ..errors import UserError
from ..events import Event, ParameterChange
from ..live.describing import described
from ..live.preset_view import PresetView
from ..live.realtime import let_memory_go
from ..patch.library import Patch
from ..play.rack import Rack
from ..play.warming import prime, warm_up
from ..shipped import Draft
from .macros import Slot, slots_of
from .project import ProjectPreset, kept
from .state import ProjectState
from .user_data import own_folder

CHANNEL = 0  # of the rack, on which the preset hears all that comes
READY_SECONDS = 0.002  # between looks whether a rack can sound
BLOCK_SAMPLES = 128  # of what a rack plays unheard before it plays live


class Mode(NamedTuple):
    """The way a rack is to play: the sampling rate in Hz, and whether it bounces."""

    rate: int
    offline: bool


@dataclass(eq=False)
class LoadedPatch:
    """A patch with what a panel shows of it, the plugin's parameters for it, and what a project keeps of it.

    ``shipped`` is the name by which it ships; None if it does not. ``turned`` are the targets that hands on a panel
    have turned, and where to.
    """

    patch: Patch
    sheet: PresetView
    slots: Sequence[Slot]
    kept: ProjectPreset
    shipped: str | None = None
    turned: dict[str, float] = field(default_factory=dict)

    @property
    def state(self) -> ProjectState:
        """Return what a project saves of it."""
        return ProjectState(self.kept, self.shipped, dict(self.turned))

    def rests(self, time: int) -> list[Event]:
        """Return the events that take back what the host has turned."""
        kept = [slot for slot in self.slots if slot.target not in self.turned]
        return [*(ParameterChange(time, CHANNEL, slot.target, slot.rest) for slot in kept), *self.turns(time)]

    def turns(self, time: int) -> list[Event]:
        """Return the events that set a fresh rack as hands have turned it."""
        return [ParameterChange(time, CHANNEL, target, value) for target, value in sorted(self.turned.items())]


def rack_of(patch: Patch, mode: Mode) -> Rack:
    """Return a rack that can sound at once.

    Raises:
        UserError: the patch does not fit its model or its effects, or cannot be made in real time.
    """
    if patch.preset.play.phase == "best":
        raise UserError(
            f"preset {patch.name!r}: play.phase = 'best' takes its time; set 'coherent' to play it in a plugin"
        )
    rack = Rack({CHANNEL: patch}, mode.rate, omni=True, live=not mode.offline)
    if not mode.offline:
        while not rack.ready:
            time.sleep(READY_SECONDS)
        prime(rack, BLOCK_SAMPLES)
    return rack


def warm_up_for(patch: Patch, mode: Mode) -> None:
    """Have this thread find all at hand that notes of a patch need.

    Raises:
        UserError: as `rack_of`.
    """
    warm_up(rack_of(patch, mode), BLOCK_SAMPLES, [CHANNEL])
    let_memory_go()


def loaded(
    patch: Patch, rack: Rack, name: str | Draft, shipped: str | None, turned: Mapping[str, float]
) -> LoadedPatch:
    """Return a patch as loaded, with the parameters that its rack has, which has played nothing but silence.

    Args:
        patch: what was opened.
        rack: of the patch.
        name: by which it was opened.
        shipped, turned: see `LoadedPatch`.

    Raises:
        UserError: as `kept`.
    """
    sheet = described(name, patch, CHANNEL, rack.knobs[CHANNEL], own_folder("presets"))
    return LoadedPatch(patch, sheet, slots_of(patch.preset, sheet.dials), kept(patch), shipped, dict(turned))
