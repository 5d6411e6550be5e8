"""The server of one plugin: what it is told to load is opened on one thread, and sounds on another."""

import multiprocessing
import os
import queue
import threading
import traceback
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, NamedTuple

from ..errors import TimbrelError, UserError
from ..events import Event, ParameterChange
from ..live.realtime import BESIDES, hurry, let_memory_go
from ..patch.library import Patch, open_patch
from ..play.rack import Rack
from ..shipped import KEYS, Draft, preset_file, shipped_presets
from .audio_thread import AudioThread
from .control_socket import Message, Talk
from .loaded import LoadedPatch, Mode, loaded, rack_of
from .shared_memory import Memory, ToPlugin, ToServer
from .state import PROJECT, check_whole, opened, pack, unpack
from .user_data import own_folder, own_presets

if TYPE_CHECKING:
    from .window import Window

Opening = Callable[[], "OpenedPatch"]
Tried = tuple[LoadedPatch, Mode, Rack]  # what can be played, and a rack of it that can play in a mode
FIRST_MODE = Mode(48000, offline=False)  # in which presets are tried before a host has said how it plays


def serve(memory: int, socket: int) -> None:
    """Serve the plugin at these descriptors until it has gone; with that the process ends."""
    talk = Talk(socket)
    server: PluginServer | None = None
    try:
        hurry(BESIDES)  # all threads: one that is kept waiting while it holds the interpreter keeps the sound waiting
        # The first model is opened before other threads begin: that has numbers too small to be heard count as 0 on
        # this thread, and on those that it begins from then on.
        server = PluginServer(talk, Memory(memory))
        while (message := talk.receive()) is not None:
            server.hear(message)
    except TimbrelError as error:
        talk.say(str(error))
    finally:
        if server is not None:
            server.close()
        for helper in multiprocessing.active_children():  # those that just begin would only notice later
            helper.kill()
        os._exit(0)  # whatever other threads do


class OpenedPatch(NamedTuple):
    """A patch, by what it was opened, its name in the list if it is from there, and targets that hands have turned."""

    patch: Patch
    name: str | Draft
    shipped: str | None = None
    turned: Mapping[str, float] = MappingProxyType({})


class PluginServer:
    """Keeps what a plugin has loaded, and runs the threads that load and sound."""

    def __init__(self, talk: Talk, memory: Memory) -> None:
        """Load the first preset, and begin.

        Raises:
            UserError: it cannot be played.
        """
        self._talk = talk
        self._sounding = AudioThread(memory, self)
        self._jobs: queue.SimpleQueue[Callable[[], None]] = queue.SimpleQueue()
        self._loads = 0  # messages to load that have been obeyed
        self._obeyed = threading.Condition()
        self._own = own_presets()
        self._names = [*shipped_presets(), *self._own]  # of the list from which the host chooses
        self._window: Window | None = None
        self._unplayed: bytes | None = None  # what a project holds and cannot be played here: it keeps that
        self._loaded, *_ = self._tried(OpenedPatch(open_patch(KEYS), KEYS, KEYS))
        let_memory_go()
        self._jobs.put(self._greet)
        for work, name in ((self._work, "loads"), (self._sound, "sound")):
            threading.Thread(target=work, name=name, daemon=True).start()

    def hear(self, message: Message) -> None:
        """Obey a message after those before it; one that is not known is passed over."""
        match message.kind:
            case ToServer.LOAD_STATE:
                self._jobs.put(lambda: self._restore(message.data))
            case ToServer.LOAD_PRESET:
                self._jobs.put(lambda: self._obey(lambda: self._named(message.data)))
            case ToServer.SAVE:
                self._jobs.put(lambda: self._tell_state(message.number))

    def close(self) -> None:
        """End the panel."""
        if self._window is not None:
            self._window.close()

    # what the thread that sounds asks: see `Keeper`

    def loaded_after(self, loads: int) -> LoadedPatch:
        """See `Keeper`."""
        with self._obeyed:
            self._obeyed.wait_for(lambda: self._loads >= loads)
            return self._loaded

    def has(self, number: int) -> bool:
        """See `Keeper`."""
        return 0 < number <= len(self._names) and self._loaded.shipped == self._names[number - 1]

    def take(self, number: int) -> tuple[LoadedPatch, Rack] | None:
        """See `Keeper`."""
        tried = self._try(lambda: self._numbered(number))
        if tried is None:
            return None
        self._loaded, _, rack = tried
        self._unplayed = None
        self._jobs.put(self._tell)
        return self._loaded, rack

    def choose(self, number: int) -> None:
        """See `Keeper`."""
        self._jobs.put(lambda: self._choose(number))

    def say(self, line: str) -> None:
        """See `Keeper`."""
        self._jobs.put(lambda: self._talk.say(line))

    def open_panel(self) -> None:
        """See `Keeper`."""
        self._jobs.put(self._open_panel)

    # what the panel's thread asks: see `Instance`

    def play(self, events: Iterable[Event]) -> None:
        """See `Instance`. A bounce is as the project has it: hands on the panel play when it is over."""
        mode, loaded = self._sounding.mode, self._loaded
        if mode is not None and mode.offline:
            return
        events = list(events)
        known = {dial.target for dial in loaded.sheet.dials}
        turns = [event for event in events if isinstance(event, ParameterChange) and event.target in known]
        loaded.turned.update({turn.target: turn.value for turn in turns})
        self._sounding.play(events)

    def load(self, preset: str | Draft) -> None:
        """See `Instance`."""
        self._jobs.put(lambda: self._load(preset))

    def tell_state(self) -> None:
        """See `Instance`."""
        self._jobs.put(lambda: self._tell_state(0))

    def _sound(self) -> None:
        try:
            self._sounding.run()
        except BaseException:
            traceback.print_exc()  # into the log; the plugin begins another server
            os._exit(1)

    # what the thread that loads does

    def _work(self) -> None:
        while True:
            job = self._jobs.get()
            try:
                job()
            except Exception as error:
                traceback.print_exc()
                self._talk.say(f"internal error: {type(error).__name__}: {error}")

    def _greet(self) -> None:
        self._talk.send(ToPlugin.READY)
        self._talk.tell_presets(self._names)
        self._talk.tell_parameters(self._loaded.slots)

    def _obey(self, opening: Opening) -> None:
        """Do as a message to load asks; it counts as obeyed, whatever comes of it."""
        offered = False
        try:
            offered = self._offer(opening)
        finally:
            with self._obeyed:
                self._loads += 1
                self._obeyed.notify_all()
        if offered:
            self._tell()

    def _restore(self, data: bytes) -> None:
        """Play what a project holds; where that cannot be, saving the project changes nothing of it."""
        self._unplayed = data
        self._obey(lambda: self._saved(data))

    def _choose(self, number: int) -> None:
        """Do as the preset parameter or a program change says."""
        if not self.has(number) and self._offer(lambda: self._numbered(number)):
            self._tell()

    def _load(self, preset: str | Draft) -> None:
        """Do as the panel asks."""
        if self._offer(lambda: self._shown(preset), preset):
            self._tell()

    def _open_panel(self) -> None:
        """Begin the panel, or open the one that is there."""
        from ..panel.launch import missing  # imported late, as `Window`: few instances ever have a panel

        if (line := missing()) is not None:
            self._talk.say(f"panel: {line}")
        elif self._window is not None and not self._window.ended:
            self._window.open()
        else:
            from .window import Window

            self._window = Window(self, self._sounding, self._loaded)

    def _offer(self, opening: Opening, wanted: str | Draft | None = None) -> bool:
        """Open a preset and let it play; if it cannot, what plays goes on. Return whether it can.

        ``wanted`` is what the panel has asked for.
        """
        tried = self._try(opening, wanted)
        if tried is not None:
            self._loaded, mode, rack = tried
            self._unplayed = None
            self._sounding.offer(mode, self._loaded, rack)
        return tried is not None

    def _try(self, opening: Opening, wanted: str | Draft | None = None) -> Tried | None:
        """Return what was opened; None, and said why, if it cannot be played."""
        try:
            return self._tried(opening())
        except UserError as error:
            *lines, last = map(str, error.args)
            why = [*lines, f"{last}; what was played before goes on"]
            for line in why:
                self._talk.say(line)
            if self._window is not None:
                self._window.refuse(wanted, why)
            return None

    def _tried(self, opened: OpenedPatch) -> Tried:
        """Return a patch as loaded, with a rack of it that can play as the host plays now.

        Raises:
            UserError: as `rack_of` and `loaded`.
        """
        mode = self._sounding.mode or FIRST_MODE
        rack = rack_of(opened.patch, mode)
        tried = loaded(opened.patch, rack, opened.name, opened.shipped, opened.turned)
        for warning in opened.patch.warnings:
            self._talk.say(warning)
        return tried, mode, rack

    def _saved(self, data: bytes) -> OpenedPatch:
        """Open what a project has saved."""
        state = unpack(data)
        check_whole(state.kept)
        patch, name = opened(state.kept, self._talk.say), Draft(state.kept.name, state.kept.text, own_folder("presets"))
        return OpenedPatch(patch, name, state.shipped, state.turned)

    def _shown(self, preset: str | Draft) -> OpenedPatch:
        """Open what the panel asks for: of what a project has kept, another text with the same files."""
        if preset in self._names:
            return self._listed(preset)
        if isinstance(preset, str):
            return OpenedPatch(open_patch(preset), preset)
        if self._loaded.patch.folder != PROJECT:
            return OpenedPatch(open_patch(preset), preset)
        kept = self._loaded.kept._replace(name=preset.name, text=preset.text)
        return OpenedPatch(opened(kept, self._talk.say), preset)

    def _named(self, data: bytes) -> OpenedPatch:
        """Open a preset by its name or its path, which may come from anybody's project.

        No message has any of a file's content: hosts write messages into logs.
        """
        try:
            name = data.decode()
        except UnicodeDecodeError:
            raise UserError(f"{data[:80]!r} is no name of a preset; give one in UTF-8") from None
        if name in self._names:
            return self._listed(name)
        file = preset_file(name) or Path(name)
        if file.is_file() and file.suffix not in (".toml", ".onnx"):
            raise UserError(f"{name} is no preset; give a .toml file, or the .onnx file of a model")
        try:
            return OpenedPatch(open_patch(name), name)
        except UserError:
            if not file.is_file():
                raise
            raise UserError(f"preset {name} cannot be played; 'timbrel play {name}' says why") from None

    def _numbered(self, number: int) -> OpenedPatch:
        """Open a preset by its number in the list, from 1 on."""
        if not 0 < number <= len(self._names):
            raise UserError(f"preset {number} asked for, but there are {len(self._names)}")
        return self._listed(self._names[number - 1])

    def _listed(self, name: str) -> OpenedPatch:
        """Open a preset of the list."""
        path = str(self._own[name]) if name in self._own else name
        return OpenedPatch(open_patch(path), path, name)

    def _tell(self) -> None:
        """Tell the plugin, and the panel, of what is loaded."""
        loaded = self._loaded
        self._talk.tell_parameters(loaded.slots)
        if self._window is not None:
            self._window.follow(loaded)
        self._tell_state(0)

    def _tell_state(self, number: int) -> None:
        """Tell the plugin what a project is to save, as the answer to its question of this number, or unasked: 0."""
        state = pack(self._loaded.state) if self._unplayed is None else self._unplayed
        self._talk.send(ToPlugin.STATE, state, number)
