"""The panel's process as its parent sees it: begun, fed with reports, begun again when it ends, and released behind."""

import contextlib
import multiprocessing
import os
import secrets
import signal
import socket
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

from ..errors import UserError
from ..live.messages import Command
from ..live.realtime import hurry_no_more
from ..play.controller_state import Holds
from .pipe_writer import PipeWriter

LOOPBACK = ("127.0.0.1", "::1")
EVERYWHERE = "0.0.0.0"
BACKLOG = 64
NICE = 10  # what sounds goes before what is seen
LINE_SECONDS = 1.0  # between lines of the log
AGAIN_SECONDS = 1.0  # between two beginnings
PATIENCE_SECONDS = 1.0  # that a process which was told to stop may take
PACE_SECONDS = 1 / 30  # between reports
TOKEN_BYTES = 16


def run(
    pipe: Connection,
    sockets: Sequence[socket.socket],
    token: str,
    hosts: Sequence[str],
    home: Path,
    report: Path | None,
) -> None:
    """The panel's process: it serves pages until its parent closes the pipe."""
    for name in ("SIGINT", "SIGHUP"):  # what stops all processes reaches the parent, which closes the pipe
        if hasattr(signal, name):
            signal.signal(getattr(signal, name), signal.SIG_IGN)
    hurry_no_more()
    with contextlib.suppress(OSError, AttributeError):
        os.nice(NICE)
    import asyncio

    from .server import serve

    asyncio.run(serve(pipe, sockets, token, hosts, home, report))
    for helper in multiprocessing.active_children():  # that makes a map, which nobody will see
        helper.kill()
    os._exit(0)


class PanelProcess:
    """The panel's process, and what it asks of the one that sounds."""

    def __init__(
        self,
        lan: bool = False,
        port: int = 0,
        say: Callable[[str], None] = print,
        home: Path = Path(),
        report: Path | None = None,
    ) -> None:
        """Listen, so that the address is known and stays, whatever process serves it.

        Args:
            lan: other machines of the network are answered too.
            port: 0 for one that is free.
            say: told what goes wrong, a line each; may be another from any time on.
            home: the folder where pages list and save presets while one plays that has no folder of its own.
            report: the folder of a report that pages show, if there is one.

        Raises:
            UserError: the port is taken.
        """
        self._sockets = _listening([EVERYWHERE] if lan else LOOPBACK, port)
        self.port = self._sockets[0].getsockname()[1]
        self.token = secrets.token_urlsafe(TOKEN_BYTES)
        self.addresses = _own_addresses() if lan else []
        names = [*LOOPBACK, "localhost", *self.addresses]
        self._hosts = [f"[{name}]:{self.port}" if ":" in name else f"{name}:{self.port}" for name in names]
        self.say, self._next_line = say, 0.0
        self._home, self._report = home, report
        self.begun: Callable[[], object] | None = None  # called once, by a thread of its own, when the preset plays
        self._holds = Holds()
        self._kept: dict[str, Any] = {}  # what another process must be told of first, by kind
        self._asked: deque[Command] = deque()
        self._began = 0.0
        self._pipe: Connection | None = None
        self._process: BaseProcess | None = None
        self._post: PipeWriter | None = None

    def __enter__(self) -> "PanelProcess":
        self._begin()
        return self

    def __exit__(self, *error: Any) -> None:
        self._end(PATIENCE_SECONDS)
        for each in self._sockets:
            each.close()

    def url(self, host: str = LOOPBACK[0]) -> str:
        """Return the page's address, token and all, as a machine that calls this one ``host`` opens it."""
        return f"http://{host}:{self.port}/#{self.token}"

    def waited(self) -> Sequence[Connection | int]:
        """See `Panel`."""
        return [] if self._pipe is None else [self._pipe]

    def asked(self) -> list[Command]:
        """See `Panel`; a process that has ended is begun again, and what its pages held is let go."""
        try:
            while self._pipe is not None and self._pipe.poll(0):
                for command, what in self._pipe.recv():
                    if command == "log":
                        self._log(what)
                        continue
                    if command == "events":
                        for event in what:
                            self._holds.hear(event)
                    self._asked.append((command, what))
        except (EOFError, OSError):
            self._end(patience=0.0)
            self._log("its process has ended; it begins again, and pages come back by themselves")
            if released := self._holds.let_go(()):
                self._asked.append(("events", released))
        if self._pipe is None and time.monotonic() - self._began >= AGAIN_SECONDS:
            self._begin()
        asked = list(self._asked)
        self._asked.clear()
        return asked

    def hear(self, kind: str, what: Any) -> None:
        """See `Panel`."""
        if kind in ("ready", "report"):
            self._kept["report"] = what
        if kind == "sheet":
            self._kept["sheet"] = what
        if kind == "ready" and self.begun is not None:
            threading.Thread(target=self.begun, name="begun", daemon=True).start()
            self.begun = None
        if self._post is not None:
            self._post.put((kind, what), replaces="report" if kind == "report" else None)

    def _log(self, line: str) -> None:
        """Say a line, and then nothing for a while: who does wrong may do it a thousand times a second."""
        now = time.monotonic()
        if now >= self._next_line:
            self._next_line = now + LINE_SECONDS
            self.say(f"panel: {line}")

    def _begin(self) -> None:
        context = multiprocessing.get_context("spawn")
        self._pipe, theirs = context.Pipe()
        given = theirs, self._sockets, self.token, self._hosts, self._home, self._report
        self._process = context.Process(target=run, args=given, name="panel")
        self._process.start()
        theirs.close()
        self._began = time.monotonic()
        self._post = PipeWriter(self._pipe)
        for kind in ("sheet", "report"):
            if kind in self._kept:
                self._post.put((kind, self._kept[kind]))
        self._asked.append(("pace", PACE_SECONDS))

    def _end(self, patience: float) -> None:
        """End the process, by force if it does not in so many seconds."""
        if self._post is not None:
            self._post.close()
        if self._pipe is not None:
            self._pipe.close()
        if self._process is not None:
            self._process.join(patience)
            if self._process.is_alive():
                self._process.kill()
                self._process.join()
        self._pipe = self._process = self._post = None


def _listening(hosts: Sequence[str], port: int) -> list[socket.socket]:
    """Return sockets that listen at one port of these addresses; IPv6 is left out where the machine has none.

    Raises:
        UserError: the port is taken.
    """
    found: list[socket.socket] = []
    for host in hosts:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        try:
            # With TCP named, asyncio sends at once (TCP_NODELAY); else an answer may wait 40 ms for an acknowledgement.
            each = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
            if os.name == "posix":  # elsewhere it would let others take the port, too
                each.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if family == socket.AF_INET6:
                each.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            each.bind((host, port))
        except OSError as error:
            if found:  # the page is reached without IPv6 as well
                continue
            raise UserError(f"--port {port} cannot be used: {error.strerror}; give another, or leave it out") from None
        each.listen(BACKLOG)
        found.append(each)
        port = port or each.getsockname()[1]
    return found


def _own_addresses() -> list[str]:
    """Return the addresses at which other machines reach this one, IPv4."""
    import psutil

    found = [
        address.address
        for addresses in psutil.net_if_addrs().values()
        for address in addresses
        if address.family == socket.AF_INET and not address.address.startswith("127.")
    ]
    return sorted(set(found))
