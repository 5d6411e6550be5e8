"""The views of what plays, and the hands on them: a screen with keys to type, and a panel where there is one."""

from collections.abc import Sequence
from typing import Any, Protocol

from ..events import NoteOff, NoteOn, ParameterChange
from .command_writer import CommandQueue
from .messages import Command, LiveStatus

TYPED_VELOCITY = 100  # of notes that are typed, which know no velocity


class Screen(Protocol):
    """A screen that shows how playing goes."""

    def show(self, report: LiveStatus) -> None:
        """The newest report."""
        ...

    def say(self, line: str) -> None:
        """Show something that happened."""
        ...

    def tell_preset(self, lines: list[str]) -> None:
        """Show these lines about the preset, in place of those about the one before."""
        ...

    def waited(self) -> Sequence[Any]:
        """Whatever can be waited on until a key is typed, as `multiprocessing.connection.wait` takes it."""
        ...

    def typed(self) -> list[tuple[int, bool] | str]:
        """Keys that were typed since the last call: notes that go down or up, or ``quit``."""
        ...


class Panel(Protocol):
    """A panel beside the screen, on which a sound is seen and played. Nothing here may wait."""

    def waited(self) -> Sequence[Any]:
        """Whatever can be waited on until it has something to ask, as `multiprocessing.connection.wait` takes it."""
        ...

    def asked(self) -> list[Command]:
        """Commands to the process that sounds since the last call; called often, also while there is none."""
        ...

    def hear(self, kind: str, what: Any) -> None:
        """Take a message of the process that sounds: any but sound and the events that are recorded."""
        ...


class Views:
    """The screen, and the panel where there is one: both are told the same, and both are heard."""

    def __init__(self, screen: Screen, panel: Panel | None) -> None:
        self._screen, self._panel = screen, panel

    def waited(self) -> list[Any]:
        """Return what can be waited on until one of them has something to say."""
        return [*self._screen.waited(), *(() if self._panel is None else self._panel.waited())]

    def asked(self) -> list[Command]:
        """Return commands to the process that sounds since the last call; "stop" ends playing, and is the last."""
        commands: list[Command] = [] if self._panel is None else self._panel.asked()
        for typed in self._screen.typed():
            if isinstance(typed, str):
                return [*commands, ("stop", None)]
            key, down = typed
            commands.append(("events", [NoteOn(0, 0, key, TYPED_VELOCITY) if down else NoteOff(0, 0, key)]))
        return commands

    def keep(self, kept: CommandQueue) -> bool:
        """Keep what is asked while nothing sounds, but for notes, which would come late; return whether to go on."""
        for command, what in self.asked():
            if command == "stop":
                return False
            left = [event for event in what if isinstance(event, ParameterChange)] if command == "events" else what
            if left:
                kept.add(command, left)
        return True

    def say(self, line: str) -> None:
        """Show something that happened."""
        self.show("say", line)

    def show(self, kind: str, what: Any) -> None:
        """Show what is reported: any message but sound and the events that are recorded."""
        if self._panel is not None:
            self._panel.hear(kind, what)
        match kind:
            case "report":
                self._screen.show(what)
            case "say":
                self._screen.say(what)
            case "preset":
                self._screen.tell_preset(what)
