"""Opens a plugin instance's presets, holds the patch that is loaded, and makes the racks that play it."""

import queue
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum, auto
from pathlib import Path
from types import MappingProxyType
from typing import NamedTuple

from ..config import own_folder
from ..errors import UserError
from ..events import Event, ParameterChange
from ..play.player import prime, wait_until_ready, warm_up
from ..play.rack import Rack
from ..preset.library import Patch, open_patch
from ..preset.shipped import FIRST, Draft, own_presets, preset_file, shipped_presets
from ..preset.validation import check_real_time
from ..session.messages import Load
from ..session.realtime import let_memory_go
from ..session.view import PresetView
from ..session.view_builder import view_of_patch
from .project import (
    PROJECT,
    ProjectPreset,
    ProjectState,
    check_whole,
    collect_preset,
    open_project_preset,
    pack,
    unpack,
)
from .wire import ControlSocket, Message, PluginParameter, slots_of

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


class ChoosePreset(NamedTuple):
    """Ignored if the preset is loaded by then."""

    number: int  # in the preset list, from 1


class MacroTurned(NamedTuple):
    """A macro was turned on the panel: it no longer has the host's value."""

    number: int  # from 0


class Task(Enum):
    GREET = auto()  # once the first patch is loaded
    TELL_LOADED = auto()  # the audio thread has loaded another patch
    OPEN_PANEL = auto()


# Of other threads to the load thread: a plugin's message, presets and macros from the panel, the error of a load on the
# audio thread, and a line for the host's log.
Request = Message | Load | ChoosePreset | MacroTurned | Task | UserError | str


class LoadedRack(NamedTuple):
    """A patch with a rack that has played only silence."""

    mode: Mode
    loaded: LoadedPatch
    rack: Rack


class PatchLoader:
    """The load thread loads patches, and in a bounce the audio thread; all threads read the loaded one.

    ``loaded``: the loaded patch.
    ``mode``: that racks are made for; the audio thread sets it at each reset.
    ``requests``: to the load thread. Nobody waits to put one.
    """

    def __init__(self, talk: ControlSocket) -> None:
        """Load the first preset; UserError if it cannot be played."""
        self._talk = talk
        self.requests: queue.SimpleQueue[Request] = queue.SimpleQueue()
        self.mode = Mode(48000, offline=False)
        self._user_presets = own_presets()
        self.names = [*shipped_presets(), *self._user_presets]  # the list that the host chooses from
        self._loads = 0  # load messages processed
        self._load_done = threading.Condition()
        self._unplayed: bytes | None = None  # a project's state that cannot be played here: saving returns it unchanged
        self.load(OpenedPatch(open_patch(FIRST), FIRST, FIRST))

    def load(self, opened: OpenedPatch) -> LoadedRack:
        """Load an opened patch for the present mode, and send its warnings; errors as `rack_of`."""
        mode = self.mode
        rack = rack_of(opened.patch, mode)
        loaded_patch = make_loaded_patch(opened, rack)
        for warning in opened.patch.warnings:
            self._talk.send_line(warning)
        self.loaded, self._unplayed = loaded_patch, None
        return LoadedRack(mode, loaded_patch, rack)

    def count_load(self) -> None:
        """Count a load message as processed."""
        with self._load_done:
            self._loads += 1
            self._load_done.notify_all()

    def loaded_after(self, loads: int) -> LoadedPatch:
        """Wait for this number of load messages; return the patch loaded then."""
        with self._load_done:
            self._load_done.wait_for(lambda: self._loads >= loads)
            return self.loaded

    def is_loaded(self, number: int) -> bool:
        """Return whether a preset of the list, from 1, is loaded."""
        return 0 < number <= len(self.names) and self.loaded.listed_name == self.names[number - 1]

    def state(self) -> bytes:
        """The project's state."""
        loaded = self.loaded
        if self._unplayed is not None:
            return self._unplayed
        return pack(ProjectState(loaded.project_preset, loaded.listed_name, loaded.panel_values))

    # presets by all that names them; UserError if one cannot be opened

    def open_state(self, data: bytes) -> OpenedPatch:
        """Open the preset of a project's state."""
        self._unplayed = data
        project_state = unpack(data)
        check_whole(project_state.preset)
        patch, draft = (
            open_project_preset(project_state.preset, self._talk.send_line),
            Draft(project_state.preset.name, project_state.preset.text, own_folder("presets")),
        )
        return OpenedPatch(patch, draft, project_state.listed_name, project_state.panel_values)

    def open_for_panel(self, preset: str | Draft) -> OpenedPatch:
        """Open a preset that a page chose or edited."""
        if preset in self.names:
            return self._open_listed(preset)
        if isinstance(preset, str):
            return OpenedPatch(open_patch(preset), preset)
        panel_values = self.loaded.panel_values if preset.silent else {}
        if self.loaded.patch.folder != PROJECT:
            return OpenedPatch(open_patch(preset), preset, panel_values=panel_values)
        project_preset = self.loaded.project_preset._replace(name=preset.name, text=preset.text)
        return OpenedPatch(open_project_preset(project_preset, self._talk.send_line), preset, panel_values=panel_values)

    def open_named(self, data: bytes) -> OpenedPatch:
        """Open a preset by the bytes of its name or path; errors never quote a file's content, since hosts log them."""
        try:
            name = data.decode()
        except UnicodeDecodeError:
            raise UserError(f"{data[:80]!r} is no name of a preset; give one in UTF-8") from None
        if name in self.names:
            return self._open_listed(name)
        preset_path = preset_file(name) or Path(name)
        if preset_path.is_file() and preset_path.suffix not in (".toml", ".onnx"):
            raise UserError(f"{name} is no preset; give a .toml file, or the .onnx file of a model")
        try:
            return OpenedPatch(open_patch(name), name)
        except UserError:
            if not preset_path.is_file():
                raise
            raise UserError(f"preset {name} cannot be played; 'timbrel play {name}' says why") from None

    def open_numbered(self, number: int) -> OpenedPatch:
        """Open a preset of the list, from 1."""
        if not 0 < number <= len(self.names):
            raise UserError(f"preset {number} asked for, but there are {len(self.names)}")
        return self._open_listed(self.names[number - 1])

    def _open_listed(self, name: str) -> OpenedPatch:
        path_or_name = str(self._user_presets[name]) if name in self._user_presets else name
        return OpenedPatch(open_patch(path_or_name), path_or_name, name)
