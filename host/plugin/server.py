"""Plugin server: receives messages, loads presets on one thread and renders on another."""

import multiprocessing
import os
import threading
import traceback
from collections.abc import Callable
from typing import TYPE_CHECKING, TypeVar

from ..errors import TimbrelError, UserError
from ..preset.shipped import Draft
from ..session.messages import Load
from ..session.realtime import BESIDES, hurry, let_memory_go
from .audio_thread import AudioThread
from .patch_loader import ChoosePreset, MacroTurned, OpenedPatch, PatchLoader, Request, Task
from .wire import ControlSocket, Message, Parameter, SharedMemory, ToPlugin, ToServer

if TYPE_CHECKING:
    from ..session.panel_process import PanelMain
    from .panel_thread import PluginPanel

Name = TypeVar("Name")  # of a preset: a name, a number, a draft or a project's state


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
            server.loader.requests.put(message)
    except TimbrelError as error:
        control_socket.send_line(str(error))
    finally:
        if server is not None:
            server.close()
        for helper_process in multiprocessing.active_children():  # processes that have just started would notice later
            helper_process.kill()
        os._exit(0)  # regardless of other threads


class PluginServer:
    """Owns an instance's patch loader, audio thread, and panel's thread once that is opened; loads on a thread."""

    def __init__(self, talk: ControlSocket, memory: SharedMemory, panel: "PanelMain") -> None:
        """Load the first preset, and start the threads; UserError if it cannot be played."""
        self._talk, self._panel_main = talk, panel
        self.loader = PatchLoader(talk)
        self._audio = AudioThread(memory, self.loader)
        self._window: PluginPanel | None = None
        let_memory_go()
        self.loader.requests.put(Task.GREET)
        for thread_main, thread_name in ((self._work, "loads"), (self._sound, "sound")):
            threading.Thread(target=thread_main, name=thread_name, daemon=True).start()

    def close(self) -> None:
        if self._window is not None:
            self._window.close()

    def _sound(self) -> None:
        """Render on this thread; an error ends the process."""
        try:
            self._audio.run()
        except BaseException:
            traceback.print_exc()  # into the log; the plugin starts another server
            os._exit(1)

    # on the load thread

    def _work(self) -> None:
        """Process requests in order."""
        while True:
            request = self.loader.requests.get()
            try:
                self._process(request)
            except Exception as error:
                traceback.print_exc()
                self._talk.send_line(f"internal error: {type(error).__name__}: {error}")

    def _process(self, request: Request) -> None:
        loader = self.loader
        match request:
            case Message(ToServer.LOAD_STATE, _, data):
                self._load(loader.open_state, data, from_host=True)
            case Message(ToServer.LOAD_PRESET, _, data):
                self._load(loader.open_named, data, from_host=True)
            case Message(ToServer.SAVE, number):
                self._send_state(number)
            case Load(presets):
                for preset in presets.values():
                    self._load(loader.open_for_panel, preset, panel_request=preset)
            case ChoosePreset(number) if not loader.is_loaded(number):
                self._load(loader.open_numbered, number)
            case MacroTurned(number):
                self._talk.send_turned(number)
            case UserError():
                self._refuse(request)
            case str():
                self._talk.send_line(request)
            case Task.GREET:
                self._talk.send(ToPlugin.READY)
                self._talk.send_presets(loader.names)
                self._talk.send_parameters(loader.loaded.slots)
            case Task.TELL_LOADED:
                self._tell_loaded()
            case Task.OPEN_PANEL:
                self._open_panel()

    def _load(
        self,
        open_preset: Callable[[Name], OpenedPatch],
        name: Name,
        panel_request: str | Draft | None = None,
        from_host: bool = False,
    ) -> None:
        """Load a preset for the audio thread, and tell of it, or why it cannot be played.

        ``from_host``: for a load message, which is counted before the plugin is told.
        """
        try:
            self._audio.offer(self.loader.load(open_preset(name)))
        except UserError as error:
            self._refuse(error, panel_request)
            if from_host:  # it shows those of the state that it sent
                self._talk.send_parameters(self.loader.loaded.slots)
            return
        finally:
            if from_host:
                self.loader.count_load()
        if panel_request is not None:
            self._talk.send_turned(Parameter.PRESET)
        self._tell_loaded()

    def _refuse(self, error: UserError, panel_request: str | Draft | None = None) -> None:
        """Report why a preset cannot be played."""
        *first_lines, last_line = map(str, error.args)
        error_lines = [*first_lines, f"{last_line}; the preset before plays on"]
        for line in error_lines:
            self._talk.send_line(line)
        if self._window is not None:
            self._window.refuse(panel_request, error_lines)

    def _tell_loaded(self) -> None:
        """Tell the plugin and the panel what is loaded now."""
        loaded_patch = self.loader.loaded
        self._talk.send_parameters(loaded_patch.slots)
        if self._window is not None:
            self._window.follow(loaded_patch)
        self._send_state(0)

    def _send_state(self, number: int) -> None:
        """Send the project's state, as the answer to message ``number``; 0 without one."""
        self._talk.send(ToPlugin.STATE, self.loader.state(), number)

    def _open_panel(self) -> None:
        from ..session.panel_process import missing  # lazy, as `PluginPanel`: few instances open a panel

        if (missing_line := missing()) is not None:
            self._talk.send_line(f"panel: {missing_line}")
        elif self._window is not None and not self._window.ended:
            self._window.open()
        else:
            from .panel_thread import PluginPanel

            self._window = PluginPanel(self.loader, self._audio, self._panel_main)
