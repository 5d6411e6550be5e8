"""Panel process, as its parent sees it: exchanges messages, restarts it after a crash, opens its page in a browser."""

import contextlib
import importlib.util
import os
import secrets
import select
import socket
import sys
import tempfile
import threading
import time
import webbrowser
from collections import deque
from collections.abc import Callable, Hashable, Iterator, Sequence
from multiprocessing.connection import Connection
from multiprocessing.reduction import ForkingPickler
from pathlib import Path
from typing import Any

from ..child_process import ChildProcess
from ..errors import MODULES, UserError, how_to_install
from ..events import ParameterChange
from ..midi.controllers import HeldEvents
from .messages import Command, Events, Log, Message, Pace, Ready, Report, Session, View

MOST_WAITING = 4096  # for a stalled reader; the oldest are dropped
LONGEST_AT_ONCE = 16 << 10  # bytes: a writable socket has room for a hundred thousand


class MessageQueue:
    """The newest change of a parameter, and the newest report, replace those that wait.

    None passes another message: each note meets the values that were set before it.
    """

    def __init__(self) -> None:
        self._waiting: dict[tuple[int, Hashable], Command | Message] = {}
        self._fences = 0  # messages so far that no later one may pass

    def __bool__(self) -> bool:
        return bool(self._waiting)

    def put(self, message: Command | Message) -> None:
        match message:
            case Events(events):
                for event in events:
                    parameter = (event.channel, event.target) if isinstance(event, ParameterChange) else None
                    self._add(Events([event]), parameter)
            case Report():
                self._add(message, Report)
            case _:
                self._add(message, None)

    def _add(self, message: Command | Message, replaces: Hashable) -> None:
        """Queue a message in place of one of equal ``replaces``; None for a message that replaces none."""
        if replaces is None:
            self._fences += 1
        queue_key = (self._fences, replaces)
        self._waiting.pop(queue_key, None)
        self._waiting[queue_key] = message
        if len(self._waiting) > MOST_WAITING:
            del self._waiting[next(iter(self._waiting))]

    def take_all(self) -> list[Any]:
        """Remove and return all messages, oldest first."""
        messages = list(self._waiting.values())
        self._waiting.clear()
        return messages


class PipeWriter:
    """Sends messages in order, as lists of those queued together."""

    def __init__(self, pipe: Connection) -> None:
        self._pipe = pipe
        self._poll = select.poll() if os.name == "posix" else None
        if self._poll is not None:
            self._poll.register(pipe.fileno(), select.POLLOUT)
        self._waiting = MessageQueue()
        self._news = threading.Condition()
        self._sending = self._closed = False
        self._thread = threading.Thread(target=self._run, name="pipe", daemon=True)
        self._thread.start()

    def put(self, message: Command | Message) -> None:
        """Send, or queue as `MessageQueue`; dropped if the reader is gone."""
        with self._news:
            if self._waiting or self._sending or not self._try_send(message):
                self._waiting.put(message)
                self._news.notify()

    def close(self) -> None:
        with self._news:
            self._closed = True
            self._news.notify()

    def _try_send(self, message: Command | Message) -> bool:
        """Send at once; False if the pipe may lack room, or is closed."""
        if self._closed or not self._has_room():
            return False
        pickled_messages = ForkingPickler.dumps([message])
        if len(pickled_messages) > LONGEST_AT_ONCE:
            return False
        with contextlib.suppress(OSError, ValueError):  # no reader: the other side of the pipe notices
            self._pipe.send_bytes(pickled_messages)
        return True

    def _has_room(self) -> bool:
        """Return whether the pipe is writable; False if unknown."""
        return self._poll is not None and bool(self._poll.poll(0))

    def _run(self) -> None:
        """Send queued messages until closed."""
        while True:
            with self._news:
                self._sending = False
                self._news.wait_for(lambda: self._waiting or self._closed)
                if self._closed:
                    return
                messages = self._waiting.take_all()
                self._sending = True
            with contextlib.suppress(OSError, ValueError):  # no reader: the other side of the pipe notices
                self._pipe.send(messages)


LOOPBACK = ("127.0.0.1", "::1")
EVERYWHERE = "0.0.0.0"
HTTP_PORT = 80
BACKLOG = 64
LINE_SECONDS = 1.0  # between lines of the log
AGAIN_SECONDS = 1.0  # between two starts
PATIENCE_SECONDS = 3.0  # for a process to close its pages and exit
PACE_SECONDS = 1 / 30  # between reports
TOKEN_BYTES = 16


# Main function of the panel process; `host.panel.process.run`.
PanelMain = Callable[[Connection, Sequence[socket.socket], str, Sequence[str], Path, Path | None], None]


class PanelProcess:
    def __init__(
        self,
        main: PanelMain,
        lan: bool = False,
        port: int = 0,
        say: Callable[[str], None] = print,
        home: Path = Path(),
        report: Path | None = None,
    ) -> None:
        """Open the sockets, so that the address survives a restart.

        Args:
            main: importable by name.
            port: 0 for a free one.
            say: receives errors; may be replaced at any time.
            home, report: as in `host.panel.server.serve`.

        Raises:
            UserError: the port is taken.
        """
        self._main = main
        self._sockets = _listening_sockets([EVERYWHERE] if lan else LOOPBACK, port)
        self.port = self._sockets[0].getsockname()[1]
        self.token = secrets.token_urlsafe(TOKEN_BYTES)
        self.addresses = _own_addresses() if lan else []
        self._hosts = _hosts([*LOOPBACK, "localhost", *self.addresses], self.port)
        self.say, self._next_line = say, 0.0
        self._home, self._report = home, report
        self.first_page: str | None = None  # opened once in a browser, when the preset plays
        self._holds = HeldEvents()
        self._restart_messages: dict[type[Message], Message] = {}  # the first messages to a restarted process
        self._commands: deque[Command] = deque()
        self._began = 0.0
        self._child: ChildProcess | None = None
        self._writer: PipeWriter | None = None

    def __enter__(self) -> "PanelProcess":
        self._begin()
        return self

    def __exit__(self, *error: Any) -> None:
        self._end(PATIENCE_SECONDS)
        for listener in self._sockets:
            listener.close()

    def url(self, host: str = LOOPBACK[0]) -> str:
        """The page's URL with its token; ``host``: this machine, for the browser."""
        return f"http://{host}:{self.port}/#{self.token}"

    def waitables(self) -> Sequence[Connection]:
        return [] if self._child is None else [self._child.pipe]

    def commands(self) -> list[Command]:
        """The pages' commands; restarts a dead process, and releases its pages' notes and controls."""
        try:
            while self._child is not None and self._child.pipe.poll(0):
                for command in self._child.pipe.recv():
                    if isinstance(command, Log):
                        self._log(command.line)
                        continue
                    if isinstance(command, Events):
                        for event in command.events:
                            self._holds.apply(event)
                    self._commands.append(command)
        except (EOFError, OSError):
            self._end(patience=0.0)
            self._log("its process has ended; it begins again, and pages come back by themselves")
            if release_events := self._holds.take_releases(()):
                self._commands.append(Events(release_events))
        if self._child is None and time.monotonic() - self._began >= AGAIN_SECONDS:
            self._begin()
        commands = list(self._commands)
        self._commands.clear()
        return commands

    def show(self, message: Message) -> None:
        match message:
            case Ready(status):
                self._restart_messages[Report] = Report(status)
                self._commands.append(Pace(PACE_SECONDS))  # of another audio process, perhaps
                if self.first_page is not None:  # on its own thread, since a browser may not return
                    threading.Thread(target=webbrowser.open, args=(self.first_page,), name="page", daemon=True).start()
                    self.first_page = None
            case View(view):
                self._restart_messages[View] = View(view, repeated=True)
            case Report() | Session():
                self._restart_messages[type(message)] = message
        if self._writer is not None:
            self._writer.put(message)

    def _log(self, line: str) -> None:
        """A thousand errors may come a second."""
        now = time.monotonic()
        if now >= self._next_line:
            self._next_line = now + LINE_SECONDS
            self.say(f"panel: {line}")

    def _begin(self) -> None:
        """Start a process, and send it the last view, session and report."""
        main_arguments = self._sockets, self.token, self._hosts, self._home, self._report
        self._child = ChildProcess(self._main, *main_arguments, name="panel")
        self._began = time.monotonic()
        self._writer = PipeWriter(self._child.pipe)
        for message_type in (View, Session, Report):
            if message_type in self._restart_messages:
                self._writer.put(self._restart_messages[message_type])
        self._commands.append(Pace(PACE_SECONDS))

    def _end(self, patience: float) -> None:
        if self._writer is not None:
            self._writer.close()
        if self._child is not None:
            self._child.pipe.close()  # so that it ends
            self._child.end(patience)
        self._child = self._writer = None


def _listening_sockets(hosts: Sequence[str], port: int) -> list[socket.socket]:
    """A socket for each host, on one port; errors as in `PanelProcess`."""
    sockets: list[socket.socket] = []
    for host in hosts:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        try:
            # With TCP named, asyncio sends at once (TCP_NODELAY); else a reply may wait 40 ms for an acknowledgement.
            listener = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
            if os.name == "posix":  # other systems would let another program share the port
                listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if family == socket.AF_INET6:
                listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            listener.bind((host, port))
        except OSError as error:
            if sockets:  # IPv4 alone is enough
                continue
            raise UserError(f"--port {port} cannot be used: {error.strerror}; give another, or leave it out") from None
        listener.listen(BACKLOG)
        sockets.append(listener)
        port = port or listener.getsockname()[1]
    return sockets


def _hosts(names: Sequence[str], port: int) -> list[str]:
    """As browsers write them, without the port of HTTP."""
    bare_hosts = [f"[{name}]" if ":" in name else name for name in names]
    return [f"{name}:{port}" for name in bare_hosts] + (bare_hosts if port == HTTP_PORT else [])


def _own_addresses() -> list[str]:
    """IPv4 addresses of this machine, without loopback."""
    import psutil

    ipv4_addresses = [
        address.address
        for interface_addresses in psutil.net_if_addrs().values()
        for address in interface_addresses
        if address.family == socket.AF_INET and not address.address.startswith("127.")
    ]
    return sorted(set(ipv4_addresses))


def missing() -> str | None:
    """Return the command that installs a missing package."""
    return next((how_to_install(module) for module in MODULES["panel"] if not importlib.util.find_spec(module)), None)


def has_display() -> bool:
    return sys.platform != "linux" or bool(os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY"))


@contextlib.contextmanager
def leading_to(url: str) -> Iterator[str]:
    """Yield the URL of a private temporary file that redirects to ``url``.

    Other users could read the token on the browser's command line.
    """
    redirect_tag = f'<meta http-equiv="refresh" content="0; url={url}">'
    with tempfile.TemporaryDirectory(prefix="timbrel-") as folder:  # mode 700
        page_file = Path(folder, "panel.html")
        page_file.touch(0o600)
        page_file.write_text(f"<!doctype html><title>timbrel</title>{redirect_tag}\n")
        yield page_file.as_uri()
