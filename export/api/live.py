"""Live playing from Python: a session on a thread, controlled by methods."""

import atexit
import threading
from collections.abc import Mapping, Sequence
from multiprocessing import Pipe
from typing import Any, Self

from ...host.errors import Failure, UserError
from ...host.events import Event, NoteOff, NoteOn
from ...host.live.session import play_until
from ...host.session.messages import Command, Events, LiveStatus, Message, Setup
from ...host.session.takes import Recording
from .automation import KnobRange, knob_changes, number
from .notes import Note

END_SECONDS = 10.0  # for the session to end


class LivePlayer:
    """An instrument that MIDI inputs and methods play live, until ``close`` or the end of ``with``.

    Methods may be called from any thread, and return at once.
    """

    def __init__(self, setup: Setup, knobs: Mapping[str, KnobRange]) -> None:
        """Start the session, and wait until it plays.

        Raises:
            UserError, Failure: as `play_until`.
        """
        self._knobs = knobs
        self._stop, self._changed = threading.Event(), threading.Event()
        self._reports, self._commands = _Reports(self._changed), _Commands()
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._play, args=(setup,), name="timbrel", daemon=True)
        self._thread.start()
        atexit.register(self._end)  # a script that ends without close would wait for the sound process
        self._changed.wait()
        if self._reports.newest is None:
            self._end()
            raise self._error or Failure("the session ended before it played; play again")

    @property
    def status(self) -> LiveStatus:
        """The newest report: device, latency, load, underruns, voices and more."""
        assert self._reports.newest is not None
        return self._reports.newest

    @property
    def messages(self) -> Sequence[str]:
        return tuple(self._reports.lines)

    @property
    def playing(self) -> bool:
        return self._thread.is_alive()

    def note_on(self, key: int, velocity: int = 100) -> None:
        """Ranges are as in `Note`."""
        Note(key, velocity=velocity)
        self._send(NoteOn(0, 0, key, velocity))

    def note_off(self, key: int) -> None:
        Note(key)
        self._send(NoteOff(0, 0, key))

    def turn(self, knob: str, position: float) -> None:
        """Turn a knob to ``position``, 0 to 1 of its range.

        Raises:
            UserError: no such knob or position.
        """
        self._send(*knob_changes({knob: number(f"knob {knob!r}:", position)}, self._knobs, [0], 1))

    def close(self) -> None:
        """Stop playing; raise the error that had ended it."""
        self._end()
        if self._error is not None:
            error, self._error = self._error, None
            raise error

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def _end(self) -> None:
        self._stop.set()
        self._thread.join(END_SECONDS)
        self._commands.close()
        atexit.unregister(self._end)

    def _play(self, setup: Setup) -> None:
        try:
            play_until(self._stop, setup, self._reports, Recording(), panel=self._commands)
        except (UserError, Failure, OSError) as error:
            self._error = error
        finally:
            self._changed.set()

    def _send(self, *events: Event) -> None:
        if not self.playing:
            raise UserError("nothing plays any more; start it again with timbrel.play")
        self._commands.send(Events(events))


class _Reports:
    """A session's newest status, and its lines."""

    def __init__(self, changed: threading.Event) -> None:
        self.newest: LiveStatus | None = None
        self.lines: list[str] = []
        self._changed = changed

    def show(self, report: LiveStatus) -> None:
        self.newest = report
        self._changed.set()

    def say(self, line: str) -> None:
        self.lines.append(line)

    def show_preset_lines(self, lines: list[str]) -> None:
        self.lines += lines

    def waitables(self) -> Sequence[Any]:
        return []

    def typed_keys(self) -> list[tuple[int, bool] | str]:
        return []


class _Commands:
    """Commands on their way to a session."""

    def __init__(self) -> None:
        self._receiver, self._sender = Pipe(duplex=False)
        self._sending = threading.Lock()

    def send(self, command: Command) -> None:
        with self._sending:
            self._sender.send(command)

    def close(self) -> None:
        self._sender.close()
        self._receiver.close()

    def waitables(self) -> Sequence[Any]:
        return [self._receiver]

    def commands(self) -> list[Command]:
        received_commands = []
        while self._receiver.poll():
            received_commands.append(self._receiver.recv())
        return received_commands

    def show(self, message: Message) -> None:
        pass
