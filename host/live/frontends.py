"""Frontends of a live session: terminal screen with keys, and web panel."""

from collections import deque
from collections.abc import Sequence
from typing import Any, Protocol

from ..events import NoteOff, NoteOn, ParameterChange
from ..session.messages import Command, LiveStatus, SessionView
from ..session.pipe_writer import MessageQueue

TYPED_VELOCITY = 100  # of typed notes, which have no velocity
FOR_PARENT = ("settings", "record")


class Screen(Protocol):
    def show(self, report: LiveStatus) -> None: ...

    def say(self, line: str) -> None: ...

    def show_preset_lines(self, lines: list[str]) -> None: ...

    def waitables(self) -> Sequence[Any]:
        """For `multiprocessing.connection.wait`, ready on a key."""

    def typed_keys(self) -> list[tuple[int, bool] | str]:
        """New (note, on) pairs, or ``quit``."""


class Panel(Protocol):
    """Methods must not block."""

    def waitables(self) -> Sequence[Any]:
        """For `multiprocessing.connection.wait`, ready on a command."""

    def commands(self) -> list[Command]:
        """New commands to the audio process; called also when none waits."""

    def show(self, kind: str, data: Any) -> None: ...


class Frontends:
    """Dispatches messages to screen and panel, and collects commands."""

    def __init__(self, screen: Screen, panel: Panel | None) -> None:
        self._screen, self._panel = screen, panel
        self._session: SessionView | None = None  # as shown
        self.asked: deque[Command] = deque()  # of the parent itself

    def waitables(self) -> list[Any]:
        return [*self._screen.waitables(), *(() if self._panel is None else self._panel.waitables())]

    def commands(self) -> list[Command]:
        """New commands to the audio process; "stop" is the last."""
        given = [] if self._panel is None else self._panel.commands()
        self.asked.extend(command for command in given if command[0] in FOR_PARENT)
        commands = [command for command in given if command[0] not in FOR_PARENT]
        for typed in self._screen.typed_keys():
            if isinstance(typed, str):
                return [*commands, ("stop", None)]
            key, down = typed
            commands.append(("events", [NoteOn(0, 0, key, TYPED_VELOCITY) if down else NoteOff(0, 0, key)]))
        return commands

    def keep(self, kept: MessageQueue) -> bool:
        """Queue commands while nothing plays, except events that set no parameter; False on "stop"."""
        for command, data in self.commands():
            if command == "stop":
                return False
            left = [event for event in data if isinstance(event, ParameterChange)] if command == "events" else data
            if left:
                kept.put_command(command, left)
        return True

    def say(self, line: str) -> None:
        self.show("say", line)

    def warn(self, line: str) -> None:
        """Show a line until the user clicks it away."""
        self.show("warn", line)

    def show_session(self, view: SessionView) -> None:
        if view != self._session:
            self._session = view
            self.show("session", view)

    def show(self, kind: str, data: Any) -> None:
        if self._panel is not None:
            self._panel.show(kind, data)
        match kind:
            case "report":
                self._screen.show(data)
            case "say" | "warn":
                self._screen.say(data)
            case "lost":
                self._screen.say(f"{data}; waiting for it to come back")
            case "preset":
                self._screen.show_preset_lines(data)
