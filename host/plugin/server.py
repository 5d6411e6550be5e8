"""The server of one plugin: what it is told to load is opened on one thread, and sounds on another."""

import multiprocessing
import os
import queue
import threading
import traceback
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import NamedTuple

from ..errors import TimbrelError, UserError
from ..live.realtime import BESIDES, hurry, let_memory_go
from ..patch.library import Patch, open_patch
from ..play.rack import Rack
from ..shelf import KEYS, shipped_presets
from .loaded import Loaded, Mode, loaded, rack_of
from .sounding import Sounding
from .state import opened, pack, unpack
from .talk import Message, Talk
from .wire import Memory, ToPlugin, ToServer

Opening = Callable[[], "Opened"]
Tried = tuple[Loaded, Mode, Rack]  # what can be played, and a rack of it that can play in a mode
FIRST_MODE = Mode(48000, offline=False)  # in which presets are tried before a host has said how it plays


def serve(memory: int, socket: int) -> None:
    """Serve the plugin at these descriptors until it has gone; with that the process ends."""
    talk = Talk(socket)
    try:
        hurry(BESIDES)  # all threads: one that is kept waiting while it holds the interpreter keeps the sound waiting
        # The first model is opened before other threads begin: that has numbers too small to be heard count as 0 on
        # this thread, and on those that it begins from then on.
        server = Server(talk, Memory(memory))
        while (message := talk.receive()) is not None:
            server.hear(message)
    except TimbrelError as error:
        talk.say(str(error))
    finally:
        for helper in multiprocessing.active_children():  # those that just begin would only notice later
            helper.kill()
        os._exit(0)  # whatever other threads do


class Opened(NamedTuple):
    """A patch that was opened, the name by which it ships if it does, and targets that hands have turned in it."""

    patch: Patch
    shipped: str | None = None
    turned: Mapping[str, float] = MappingProxyType({})


class Server:
    """What a plugin has loaded, and the threads that load and sound."""

    def __init__(self, talk: Talk, memory: Memory) -> None:
        """Load the first preset, and begin.

        Raises:
            UserError: it cannot be played.
        """
        self._talk = talk
        self._sounding = Sounding(memory, self)
        self._jobs: queue.SimpleQueue[Callable[[], None]] = queue.SimpleQueue()
        self._loads = 0  # messages to load that have been obeyed
        self._obeyed = threading.Condition()
        self._names = list(shipped_presets())
        self._loaded, *_ = self._tried(Opened(open_patch(KEYS), KEYS))
        let_memory_go()
        self._jobs.put(self._greet)
        for work, name in ((self._work, "loads"), (self._sound, "sound")):
            threading.Thread(target=work, name=name, daemon=True).start()

    def hear(self, message: Message) -> None:
        """Obey a message after those before it; one that is not known is passed over."""
        match message.kind:
            case ToServer.LOAD_STATE:
                self._jobs.put(lambda: self._obey(lambda: self._saved(message.data)))
            case ToServer.LOAD_PRESET:
                self._jobs.put(lambda: self._obey(lambda: self._named(message.data)))
            case ToServer.SAVE:
                self._jobs.put(lambda: self._tell_state(message.number))

    # what the thread that sounds asks: see `Keeper`

    def loaded_after(self, loads: int) -> Loaded:
        """See `Keeper`."""
        with self._obeyed:
            self._obeyed.wait_for(lambda: self._loads >= loads)
            return self._loaded

    def has(self, number: int) -> bool:
        """See `Keeper`."""
        return 0 < number <= len(self._names) and self._loaded.shipped == self._names[number - 1]

    def take(self, number: int) -> tuple[Loaded, Rack] | None:
        """See `Keeper`."""
        tried = self._try(lambda: self._numbered(number))
        if tried is None:
            return None
        self._loaded, _, rack = tried
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

    def _choose(self, number: int) -> None:
        """Do as the preset parameter says."""
        if self._offer(lambda: self._numbered(number)):
            self._tell()

    def _offer(self, opening: Opening) -> bool:
        """Open a preset and let it play; if it cannot, what plays goes on. Return whether it can."""
        tried = self._try(opening)
        if tried is not None:
            self._loaded, mode, rack = tried
            self._sounding.offer(mode, self._loaded, rack)
        return tried is not None

    def _try(self, opening: Opening) -> Tried | None:
        """Return what was opened; None, and said why, if it cannot be played."""
        try:
            return self._tried(opening())
        except UserError as error:
            *lines, last = map(str, error.args)
            for line in (*lines, f"{last}; what was played before goes on"):
                self._talk.say(line)
            return None

    def _tried(self, opened: Opened) -> Tried:
        """Return a patch as loaded, with a rack of it that can play as the host plays now.

        Raises:
            UserError: as `rack_of` and `loaded`.
        """
        mode = self._sounding.mode or FIRST_MODE
        rack = rack_of(opened.patch, mode)
        tried = loaded(opened.patch, rack, opened.shipped, opened.turned)
        for warning in opened.patch.warnings:
            self._talk.say(warning)
        return tried, mode, rack

    def _saved(self, data: bytes) -> Opened:
        """Open what a project has saved."""
        state = unpack(data)
        return Opened(opened(state.kept, self._talk.say), state.shipped, state.turned)

    def _named(self, data: bytes) -> Opened:
        """Open a preset by its name or its path."""
        try:
            name = data.decode()
        except UnicodeDecodeError:
            raise UserError(f"{data[:80]!r} is no name of a preset; give one in UTF-8") from None
        return Opened(open_patch(name), name if name in self._names else None)

    def _numbered(self, number: int) -> Opened:
        """Open a preset by its number among those that ship, from 1 on."""
        if not 0 < number <= len(self._names):
            raise UserError(f"preset {number} does not exist; the numbers are 1 to {len(self._names)}")
        name = self._names[number - 1]
        return Opened(open_patch(name), name)

    def _tell(self) -> None:
        """Tell the plugin of what is loaded."""
        self._talk.tell_parameters(self._loaded.slots)
        self._tell_state(0)

    def _tell_state(self, number: int) -> None:
        """Tell the plugin what a project is to save, as the answer to its question of this number, or unasked: 0."""
        self._talk.send(ToPlugin.STATE, pack(self._loaded.state), number)
