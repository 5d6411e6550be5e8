"""The server of one plugin: what it is told to load is opened on one thread, and sounds on another."""

import multiprocessing
import os
import queue
import threading
import traceback
from collections.abc import Callable

from ..errors import TimbrelError, UserError
from ..live.realtime import BESIDES, hurry
from ..patch.library import Patch, open_patch
from ..play.rack import Rack
from ..shelf import KEYS, shipped_presets
from .loaded import Loaded, Mode, loaded, rack_of
from .sounding import Sounding
from .talk import Message, Talk
from .wire import Memory, ToPlugin, ToServer

Opened = Callable[[], tuple[Patch, str | None]]  # opens a patch; the name by which it ships, if it does
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
        self._loaded, *_ = self._tried(open_patch(KEYS), KEYS)
        self._jobs.put(self._greet)
        for work, name in ((self._work, "loads"), (self._sound, "sound")):
            threading.Thread(target=work, name=name, daemon=True).start()

    def hear(self, message: Message) -> None:
        """Obey a message after those before it; one that is not known is passed over."""
        match message.kind:
            case ToServer.LOAD_PRESET:
                self._jobs.put(lambda: self._obey(lambda: self._named(message.data)))

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
        self._jobs.put(lambda: self._offer(lambda: self._numbered(number)))

    def say(self, line: str) -> None:
        """See `Keeper`."""
        self._talk.say(line)

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
        self._tell()

    def _obey(self, opened: Opened) -> None:
        """Do as a message to load asks; it counts as obeyed, whatever comes of it."""
        try:
            self._offer(opened)
        finally:
            with self._obeyed:
                self._loads += 1
                self._obeyed.notify_all()

    def _offer(self, opened: Opened) -> None:
        """Open a preset and let it play; if it cannot, what plays goes on."""
        tried = self._try(opened)
        if tried is not None:
            self._loaded, mode, rack = tried
            self._sounding.offer(mode, self._loaded, rack)
            self._tell()

    def _try(self, opened: Opened) -> Tried | None:
        """Return what was opened; None, and said why, if it cannot be played."""
        try:
            return self._tried(*opened())
        except UserError as error:
            *lines, last = map(str, error.args)
            for line in (*lines, f"{last}; what was played before goes on"):
                self._talk.say(line)
            return None

    def _tried(self, patch: Patch, shipped: str | None) -> Tried:
        """Return a patch as loaded, with a rack of it that can play as the host plays now.

        Raises:
            UserError: as `rack_of`.
        """
        mode = self._sounding.mode or FIRST_MODE
        rack = rack_of(patch, mode)
        for warning in patch.warnings:
            self._talk.say(warning)
        return loaded(patch, rack, shipped), mode, rack

    def _named(self, data: bytes) -> tuple[Patch, str | None]:
        """Open a preset by its name or its path."""
        try:
            name = data.decode()
        except UnicodeDecodeError:
            raise UserError(f"{data[:80]!r} is no name of a preset; give one in UTF-8") from None
        return open_patch(name), name if name in self._names else None

    def _numbered(self, number: int) -> tuple[Patch, str | None]:
        """Open a preset by its number among those that ship, from 1 on."""
        if not 0 < number <= len(self._names):
            raise UserError(f"preset {number} does not exist; the numbers are 1 to {len(self._names)}")
        name = self._names[number - 1]
        return open_patch(name), name

    def _tell(self) -> None:
        """Tell the plugin of what is loaded."""
        self._talk.tell_parameters(self._loaded.slots)
