"""The front ends of a session, a screen and perhaps a panel, which get all its messages and give all commands."""

from collections import deque
from collections.abc import Sequence
from typing import Any, Protocol

from ..events import NoteOff, NoteOn, ParameterChange
from .messages import (
    Command,
    Events,
    LiveStatus,
    Lost,
    Message,
    PresetLines,
    Record,
    Report,
    Say,
    Session,
    SessionView,
    Settings,
    Stop,
    Warn,
)
from .panel_process import MessageQueue

TYPED_VELOCITY = 100  # of typed notes, which have no velocity
ForParent = Settings | Record


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

    def show(self, message: Message) -> None: ...


class Frontends:
    """Dispatches messages to screen and panel, and collects commands."""

    def __init__(self, screen: Screen, panel: Panel | None) -> None:
        self._screen, self._panel = screen, panel
        self._session: SessionView | None = None  # as shown
        self.parent_commands: deque[ForParent] = deque()

    def waitables(self) -> list[Any]:
        return [*self._screen.waitables(), *(() if self._panel is None else self._panel.waitables())]

    def commands(self) -> list[Command]:
        """New commands to the audio process; `Stop` is the last."""
        panel_commands = [] if self._panel is None else self._panel.commands()
        self.parent_commands.extend(command for command in panel_commands if isinstance(command, ForParent))
        commands: list[Command] = [command for command in panel_commands if not isinstance(command, ForParent)]
        for typed_key in self._screen.typed_keys():
            if isinstance(typed_key, str):
                return [*commands, Stop()]
            key, is_down = typed_key
            commands.append(Events([NoteOn(0, 0, key, TYPED_VELOCITY) if is_down else NoteOff(0, 0, key)]))
        return commands

    def keep(self, queue: MessageQueue) -> bool:
        """Queue commands while nothing plays, except events that set no parameter; False on `Stop`."""
        for command in self.commands():
            if isinstance(command, Stop):
                return False
            if isinstance(command, Events):
                command = Events([event for event in command.events if isinstance(event, ParameterChange)])
            queue.put(command)
        return True

    def show_session(self, view: SessionView) -> None:
        if view != self._session:
            self._session = view
            self.show(Session(view))

    def show(self, message: Message) -> None:
        if self._panel is not None:
            self._panel.show(message)
        match message:
            case Report(status):
                self._screen.show(status)
            case Say(line) | Warn(line):
                self._screen.say(line)
            case Lost(reason):
                self._screen.say(f"{reason}; waiting for it to come back")
            case PresetLines(lines):
                self._screen.show_preset_lines(list(lines))
