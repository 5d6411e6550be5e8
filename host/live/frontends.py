"""Frontends of a live session: terminal screen with keys, and web panel."""

from collections.abc import Sequence
from typing import Any, Protocol

from ..events import NoteOff, NoteOn, ParameterChange
from .command_writer import CommandQueue
from .messages import Command, LiveStatus

TYPED_VELOCITY = 100  # of typed notes, which have no velocity


class Screen(Protocol):
    """A display of the live status, with keyboard input."""

    def show(self, report: LiveStatus) -> None: ...

    def say(self, line: str) -> None: ...

    def tell_preset(self, lines: list[str]) -> None:
        """Show a preset's lines in place of the previous ones."""
        ...

    def waited(self) -> Sequence[Any]:
        """Return objects for `multiprocessing.connection.wait`, ready on a key."""
        ...

    def typed(self) -> list[tuple[int, bool] | str]:
        """Return new (note, on) pairs, or ``quit``."""
        ...


class Panel(Protocol):
    """A web panel. Its methods must not block."""

    def waited(self) -> Sequence[Any]:
        """Return objects for `multiprocessing.connection.wait`, ready on a command."""
        ...

    def asked(self) -> list[Command]:
        """Return new commands to the audio process; also polled without one."""
        ...

    def hear(self, kind: str, what: Any) -> None:
        """Receive a message other than recorded sound and events."""
        ...


class Frontends:
    """Dispatches messages to screen and panel, and collects their commands."""

    def __init__(self, screen: Screen, panel: Panel | None) -> None:
        self._screen, self._panel = screen, panel

    def waited(self) -> list[Any]:
        return [*self._screen.waited(), *(() if self._panel is None else self._panel.waited())]

    def asked(self) -> list[Command]:
        """Return new commands; "stop" is the last."""
        commands: list[Command] = [] if self._panel is None else self._panel.asked()
        for typed in self._screen.typed():
            if isinstance(typed, str):
                return [*commands, ("stop", None)]
            key, down = typed
            commands.append(("events", [NoteOn(0, 0, key, TYPED_VELOCITY) if down else NoteOff(0, 0, key)]))
        return commands

    def keep(self, kept: CommandQueue) -> bool:
        """Queue commands while nothing plays, except notes, which would be late; return False on "stop"."""
        for command, what in self.asked():
            if command == "stop":
                return False
            left = [event for event in what if isinstance(event, ParameterChange)] if command == "events" else what
            if left:
                kept.add(command, left)
        return True

    def say(self, line: str) -> None:
        self.show("say", line)

    def show(self, kind: str, what: Any) -> None:
        """Show a message other than recorded sound and events."""
        if self._panel is not None:
            self._panel.hear(kind, what)
        match kind:
            case "report":
                self._screen.show(what)
            case "say":
                self._screen.say(what)
            case "preset":
                self._screen.tell_preset(what)
