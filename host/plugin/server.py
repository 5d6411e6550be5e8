"""Plugin server: processes messages, loads presets on one thread and renders on another."""

import multiprocessing
import os
import queue
import threading
import traceback
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, NamedTuple

from ..config import own_folder
from ..errors import TimbrelError, UserError
from ..events import Event, ParameterChange
from ..play.rack import Rack
from ..preset.library import Patch, open_patch
from ..preset.shipped import KEYS, Draft, preset_file, shipped_presets
from ..preset.user_presets import own_presets
from ..session.realtime import BESIDES, hurry, let_memory_go
from .audio_thread import AudioThread
from .loaded_patch import LoadedPatch, Mode, make_loaded_patch, rack_of
from .project import PROJECT, check_whole, open_project_preset, pack, unpack
from .wire import ControlSocket, Message, SharedMemory, ToPlugin, ToServer

if TYPE_CHECKING:
    from ..session.panel_process import PanelMain
    from .panel_thread import PluginPanel

Opening = Callable[[], "OpenedPatch"]
LoadedRack = tuple[LoadedPatch, Mode, Rack]  # a patch, and its rack for a mode
FIRST_MODE = Mode(48000, offline=False)  # for loading presets before the first reset of a host


def serve(memory: int, socket: int, panel: "PanelMain") -> None:
    """Serve the plugin at these file descriptors until it disconnects, then exit the process."""
    control_socket = ControlSocket(socket)
    server: PluginServer | None = None
    try:
        hurry(BESIDES)  # every thread: a slow thread that holds the interpreter lock delays the audio thread
        # Open the first model before other threads start: it sets denormals to zero on this thread, and later threads
        # inherit the setting.
        server = PluginServer(control_socket, SharedMemory(memory), panel)
        while (message := control_socket.receive()) is not None:
            server.process(message)
    except TimbrelError as error:
        control_socket.send_line(str(error))
    finally:
        if server is not None:
            server.close()
        for helper_process in multiprocessing.active_children():  # processes that have just started would notice later
            helper_process.kill()
        os._exit(0)  # regardless of other threads


class OpenedPatch(NamedTuple):
    patch: Patch
    name: str | Draft  # that opened it
    listed_name: str | None = None  # in the preset list
    panel_values: Mapping[str, float] = MappingProxyType({})  # values set on the panel, by target


class PluginServer:
    def __init__(self, talk: ControlSocket, memory: SharedMemory, panel: "PanelMain") -> None:
        """Load the first preset, and start the threads; UserError if it cannot be played."""
        self._talk, self._panel_main = talk, panel
        self._audio = AudioThread(memory, self)
        self._jobs: queue.SimpleQueue[Callable[[], None]] = queue.SimpleQueue()
        self._loads = 0  # load messages processed
        self._load_done = threading.Condition()
        self._user_presets = own_presets()
        self._names = [*shipped_presets(), *self._user_presets]  # the list that the host chooses from
        self._window: PluginPanel | None = None
        self._unplayed: bytes | None = None  # a project's state that cannot be played here: saving returns it unchanged
        self._loaded, *_ = self._load_patch(OpenedPatch(open_patch(KEYS), KEYS, KEYS))
        let_memory_go()
        self._jobs.put(self._greet)
        for thread_main, thread_name in ((self._work, "loads"), (self._sound, "sound")):
            threading.Thread(target=thread_main, name=thread_name, daemon=True).start()

    def process(self, message: Message) -> None:
        match message.kind:
            case ToServer.LOAD_STATE:
                self._jobs.put(lambda: self._restore(message.data))
            case ToServer.LOAD_PRESET:
                self._jobs.put(lambda: self._load_for_host(lambda: self._open_named(message.data)))
            case ToServer.SAVE:
                self._jobs.put(lambda: self._send_state(message.number))

    def close(self) -> None:
        if self._window is not None:
            self._window.close()

    # called by the audio thread: `PatchKeeper`

    def loaded_after(self, loads: int) -> LoadedPatch:
        with self._load_done:
            self._load_done.wait_for(lambda: self._loads >= loads)
            return self._loaded

    def is_loaded(self, number: int) -> bool:
        return 0 < number <= len(self._names) and self._loaded.listed_name == self._names[number - 1]

    def take_loaded(self, number: int) -> tuple[LoadedPatch, Rack] | None:
        loaded_rack = self._try(lambda: self._open_numbered(number))
        if loaded_rack is None:
            return None
        self._loaded, _, rack = loaded_rack
        self._unplayed = None
        self._jobs.put(self._send_loaded)
        return self._loaded, rack

    def choose(self, number: int) -> None:
        self._jobs.put(lambda: self._choose(number))

    def send_line(self, line: str) -> None:
        self._jobs.put(lambda: self._talk.send_line(line))

    def open_panel(self) -> None:
        self._jobs.put(self._open_panel)

    # called by the panel's thread: `Instance`

    def play(self, events: Iterable[Event]) -> None:
        """Ignored during a bounce, which renders the project as saved."""
        mode, loaded_patch = self._audio.mode, self._loaded
        if mode is not None and mode.offline:
            return
        events = list(events)
        targets = {control.target for control in loaded_patch.view.controls}
        parameter_changes = [
            event for event in events if isinstance(event, ParameterChange) and event.target in targets
        ]
        loaded_patch.panel_values.update({change.target: change.value for change in parameter_changes})
        self._audio.play(events)

    def load(self, preset: str | Draft) -> None:
        self._jobs.put(lambda: self._load(preset))

    def send_state(self) -> None:
        self._jobs.put(lambda: self._send_state(0))

    def _sound(self) -> None:
        """Render on this thread; an error ends the process."""
        try:
            self._audio.run()
        except BaseException:
            traceback.print_exc()  # into the log; the plugin starts another server
            os._exit(1)

    # on the load thread

    def _work(self) -> None:
        """Do the jobs in order."""
        while True:
            job = self._jobs.get()
            try:
                job()
            except Exception as error:
                traceback.print_exc()
                self._talk.send_line(f"internal error: {type(error).__name__}: {error}")

    def _greet(self) -> None:
        self._talk.send(ToPlugin.READY)
        self._talk.send_presets(self._names)
        self._talk.send_parameters(self._loaded.slots)

    def _load_for_host(self, opening: Opening) -> None:
        """Load a preset for a load message, and count the message."""
        was_offered = False
        try:
            was_offered = self._offer(opening)
        finally:
            with self._load_done:
                self._loads += 1
                self._load_done.notify_all()
        if was_offered:
            self._send_loaded()

    def _restore(self, data: bytes) -> None:
        """Load a project's state."""
        self._unplayed = data
        self._load_for_host(lambda: self._open_saved(data))

    def _choose(self, number: int) -> None:
        if not self.is_loaded(number) and self._offer(lambda: self._open_numbered(number)):
            self._send_loaded()

    def _load(self, preset: str | Draft) -> None:
        if self._offer(lambda: self._open_for_panel(preset), preset):
            self._send_loaded()

    def _open_panel(self) -> None:
        from ..session.panel_process import missing  # lazy, as `PluginPanel`: few instances open a panel

        if (missing_line := missing()) is not None:
            self._talk.send_line(f"panel: {missing_line}")
        elif self._window is not None and not self._window.ended:
            self._window.open()
        else:
            from .panel_thread import PluginPanel

            self._window = PluginPanel(self, self._audio, self._loaded, self._panel_main)

    def _offer(self, opening: Opening, request: str | Draft | None = None) -> bool:
        """Load a preset for the audio thread; False if it cannot be played."""
        loaded_rack = self._try(opening, request)
        if loaded_rack is not None:
            self._loaded, mode, rack = loaded_rack
            self._unplayed = None
            self._audio.offer(mode, self._loaded, rack)
        return loaded_rack is not None

    def _try(self, opening: Opening, request: str | Draft | None = None) -> LoadedRack | None:
        """Load a preset; None after reporting why it cannot be played."""
        try:
            return self._load_patch(opening())
        except UserError as error:
            *first_lines, last_line = map(str, error.args)
            error_lines = [*first_lines, f"{last_line}; the preset before plays on"]
            for line in error_lines:
                self._talk.send_line(line)
            if self._window is not None:
                self._window.refuse(request, error_lines)
            return None

    def _load_patch(self, opened: OpenedPatch) -> LoadedRack:
        """Load an opened patch for the present mode, and send its warnings."""
        mode = self._audio.mode or FIRST_MODE
        rack = rack_of(opened.patch, mode)
        loaded_patch = make_loaded_patch(opened.patch, rack, opened.name, opened.listed_name, opened.panel_values)
        for warning in opened.patch.warnings:
            self._talk.send_line(warning)
        return loaded_patch, mode, rack

    def _open_saved(self, data: bytes) -> OpenedPatch:
        """Open the preset of a project's state."""
        project_state = unpack(data)
        check_whole(project_state.preset)
        patch, draft = (
            open_project_preset(project_state.preset, self._talk.send_line),
            Draft(project_state.preset.name, project_state.preset.text, own_folder("presets")),
        )
        return OpenedPatch(patch, draft, project_state.listed_name, project_state.panel_values)

    def _open_for_panel(self, preset: str | Draft) -> OpenedPatch:
        """Open a preset that a page chose or edited."""
        if preset in self._names:
            return self._open_listed(preset)
        if isinstance(preset, str):
            return OpenedPatch(open_patch(preset), preset)
        panel_values = self._loaded.panel_values if preset.silent else {}
        if self._loaded.patch.folder != PROJECT:
            return OpenedPatch(open_patch(preset), preset, panel_values=panel_values)
        project_preset = self._loaded.project_preset._replace(name=preset.name, text=preset.text)
        return OpenedPatch(open_project_preset(project_preset, self._talk.send_line), preset, panel_values=panel_values)

    def _open_named(self, data: bytes) -> OpenedPatch:
        """Errors never quote a file's content, since hosts log them."""
        try:
            name = data.decode()
        except UnicodeDecodeError:
            raise UserError(f"{data[:80]!r} is no name of a preset; give one in UTF-8") from None
        if name in self._names:
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

    def _open_numbered(self, number: int) -> OpenedPatch:
        """Open a preset of the list, from 1."""
        if not 0 < number <= len(self._names):
            raise UserError(f"preset {number} asked for, but there are {len(self._names)}")
        return self._open_listed(self._names[number - 1])

    def _open_listed(self, name: str) -> OpenedPatch:
        path_or_name = str(self._user_presets[name]) if name in self._user_presets else name
        return OpenedPatch(open_patch(path_or_name), path_or_name, name)

    def _send_loaded(self) -> None:
        """Tell the plugin and the panel what is loaded now."""
        loaded_patch = self._loaded
        self._talk.send_parameters(loaded_patch.slots)
        if self._window is not None:
            self._window.follow(loaded_patch)
        self._send_state(0)

    def _send_state(self, number: int) -> None:
        """Send the project's state, as the answer to message ``number``; 0 without one."""
        state_bytes = pack(self._loaded.state) if self._unplayed is None else self._unplayed
        self._talk.send(ToPlugin.STATE, state_bytes, number)
