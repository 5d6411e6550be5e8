"""Queues commands and writes them to the audio process's pipe."""

import threading
from collections.abc import Iterable
from multiprocessing.connection import Connection
from typing import Any

from ..events import Event, ParameterChange
from .messages import Command


class CommandQueue:
    """A queue of commands; drops superseded parameter changes."""

    def __init__(self) -> None:
        self._commands: list[Command] = []

    def __bool__(self) -> bool:
        return bool(self._commands)

    def add(self, command: str, what: Any) -> None:
        """Append a command; consecutive events merge."""
        if command == "events" and self._commands and self._commands[-1][0] == "events":
            what = [*self._commands.pop()[1], *what]
        self._commands.append((command, lasting(what) if command == "events" else what))

    def take(self) -> list[Command]:
        """Return and clear the queue."""
        taken, self._commands = self._commands, []
        return taken


def lasting(events: Iterable[Event]) -> list[Event]:
    """Drop a parameter change if a later one of its target follows, with only parameter changes between."""
    kept: list[Event] = []
    last: dict[tuple[int, str], ParameterChange] = {}
    for event in events:
        if isinstance(event, ParameterChange):
            last.pop((event.channel, event.target), None)
            last[event.channel, event.target] = event
        else:
            kept += [*last.values(), event]
            last.clear()
    return [*kept, *last.values()]


class CommandWriter:
    """Writes to a pipe on its own thread, so that `send` never blocks."""

    def __init__(self, pipe: Connection) -> None:
        self._pipe, self._waiting = pipe, CommandQueue()
        self._changed, self._closed = threading.Condition(), False
        self._writer = threading.Thread(target=self._write, name="mail", daemon=True)
        self._writer.start()

    def send(self, command: str, what: Any = None) -> None:
        """Send a command; dropped if the reader is gone."""
        with self._changed:
            if self._writer.is_alive():
                self._waiting.add(command, what)
                self._changed.notify()

    def close(self) -> None:
        """Stop once the queue is written or the reader is gone."""
        with self._changed:
            self._closed = True
            self._changed.notify()
        self._writer.join()

    def _write(self) -> None:
        while True:
            with self._changed:
                while not self._waiting and not self._closed:
                    self._changed.wait()
                commands = self._waiting.take()
            if not commands:
                return
            for command in commands:
                try:
                    self._pipe.send(command)
                except (BrokenPipeError, ConnectionError):
                    return
