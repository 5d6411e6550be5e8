"""A preset loaded in a plugin, and the racks that play it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import NamedTuple

from ..config import own_folder
from ..events import Event, ParameterChange
from ..play.player import prime, wait_until_ready, warm_up
from ..play.rack import Rack
from ..preset.library import Patch
from ..preset.shipped import Draft
from ..preset.validation import check_real_time
from ..session.realtime import let_memory_go
from ..session.view import PresetView
from ..session.view_builder import view_of_patch
from .project import ProjectPreset, collect_preset
from .wire import PluginParameter, slots_of

CHANNEL = 0  # of the rack; the preset receives all channels on it
BLOCK_SAMPLES = 128  # of the silent warm-up before a rack plays live


class Mode(NamedTuple):
    rate: int  # Hz
    offline: bool  # a bounce


class OpenedPatch(NamedTuple):
    patch: Patch
    name: str | Draft  # that opened it
    listed_name: str | None = None  # in the preset list
    panel_values: Mapping[str, float] = MappingProxyType({})  # values set on the panel, by target


@dataclass(eq=False)
class LoadedPatch:
    patch: Patch
    view: PresetView
    slots: Sequence[PluginParameter]
    project_preset: ProjectPreset
    listed_name: str | None = None  # in the preset list
    panel_values: dict[str, float] = field(default_factory=dict)  # values set on the panel, by target

    def rests(self, time: int) -> list[Event]:
        """Events that reset the host's parameters, and set the panel's values."""
        resting_slots = [slot for slot in self.slots if slot.target not in self.panel_values]
        return [*(ParameterChange(time, CHANNEL, slot.target, slot.rest) for slot in resting_slots), *self.turns(time)]

    def turns(self, time: int) -> list[Event]:
        """Events that set the panel's values."""
        return [ParameterChange(time, CHANNEL, target, value) for target, value in sorted(self.panel_values.items())]


def rack_of(patch: Patch, mode: Mode) -> Rack:
    """A rack that can play at once.

    Raises:
        UserError: the patch does not fit its model or effects, or cannot be rendered in real time.
    """
    check_real_time(patch.preset, patch.name, "play it in a plugin")
    rack = Rack({CHANNEL: patch}, mode.rate, omni=True, live=not mode.offline)
    if not mode.offline:
        wait_until_ready(rack)
        prime(rack, BLOCK_SAMPLES)
    return rack


def warm_up_for(patch: Patch, mode: Mode) -> None:
    """Load and cache on this thread all that a patch's notes need; errors as `rack_of`."""
    warm_up(rack_of(patch, mode), BLOCK_SAMPLES, [CHANNEL])
    let_memory_go()


def make_loaded_patch(opened: OpenedPatch, rack: Rack) -> LoadedPatch:
    """``rack``: of the patch, and has played only silence; errors as `collect_preset`."""
    patch = opened.patch
    view = view_of_patch(opened.name, patch, CHANNEL, rack.knobs[CHANNEL], own_folder("presets"))
    slots, project_preset = slots_of(patch.preset, view.controls), collect_preset(patch)
    return LoadedPatch(patch, view, slots, project_preset, opened.listed_name, dict(opened.panel_values))
