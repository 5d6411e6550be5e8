"""Commands on their way to the process that sounds."""

import threading
from collections.abc import Iterable
from multiprocessing.connection import Connection
from typing import Any

from ..events import Event, ParameterChange
from .messages import Command


class CommandQueue:
    """Commands that wait, in order. Of turns of one target that nothing lies between, only the last is kept."""

    def __init__(self) -> None:
        self._commands: list[Command] = []

    def __bool__(self) -> bool:
        return bool(self._commands)

    def add(self, command: str, what: Any) -> None:
        """Take a command; events join those that wait last."""
        if command == "events" and self._commands and self._commands[-1][0] == "events":
            what = [*self._commands.pop()[1], *what]
        self._commands.append((command, lasting(what) if command == "events" else what))

    def take(self) -> list[Command]:
        """Return what waits, and forget it."""
        taken, self._commands = self._commands, []
        return taken


def lasting(events: Iterable[Event]) -> list[Event]:
    """Return the events without turns that others of their target follow, with nothing but turns between."""
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
    """A pipe's writer, a thread of its own: whoever sends goes on at once, however long the other end does not read."""

    def __init__(self, pipe: Connection) -> None:
        self._pipe, self._waiting = pipe, CommandQueue()
        self._changed, self._closed = threading.Condition(), False
        self._writer = threading.Thread(target=self._write, name="mail", daemon=True)
        self._writer.start()

    def send(self, command: str, what: Any = None) -> None:
        """Send a command; one that has no listener any more is dropped."""
        with self._changed:
            if self._writer.is_alive():
                self._waiting.add(command, what)
                self._changed.notify()

    def close(self) -> None:
        """End, once the other end reads or is gone."""
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
