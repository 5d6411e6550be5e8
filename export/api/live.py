"""Live playing from Python: a session on a thread, controlled by methods."""

import atexit
import itertools
import threading
import time
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from multiprocessing import Pipe
from operator import attrgetter
from typing import Any, Self

from ...host.arguments import number, whole_number
from ...host.errors import Failure, UserError
from ...host.events import Event, NoteOff, NoteOn, ProgramChange
from ...host.live.session import play_until
from ...host.midi.controllers import HeldEvents
from ...host.session.messages import Command, Events, LiveStatus, Message, Setup
from ...host.session.takes import Recording
from .automation import KnobRange, bend_events, knob_changes
from .notes import Music, control_change, performance_of_music

END_SECONDS = 10.0  # for the session to end
TUNE_RATE = 48_000  # units a second of a tune's times


class LivePlayer:
    """An instrument that MIDI inputs and methods play live, until ``close`` or the end of ``with``.

    `timbrel.play` starts one. Methods may be called from any thread, and return at once. Channels are MIDI's, 1 to 16.
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
        self._tune: _Tune | None = None
        self._tune_lock = threading.Lock()  # two threads that play at once would leave one's music without an end
        self._thread = threading.Thread(target=self._play, args=(setup,), name="timbrel", daemon=True)
        self._thread.start()
        atexit.register(self._end)  # a script that ends without close would wait for the sound process
        self._changed.wait()
        if self._reports.newest is None:
            self._end()
            raise self._error or Failure("the session ended before it played; play again")

    @property
    def status(self) -> LiveStatus:
        """The newest report, some ten a second: device, latency, load, underruns, voices, held keys and more."""
        assert self._reports.newest is not None
        return self._reports.newest

    @property
    def messages(self) -> Sequence[str]:
        """The lines that `timbrel play` would have printed until now."""
        return tuple(self._reports.lines)

    @property
    def playing(self) -> bool:
        """Return whether the session runs: it was not closed, and no error ended it."""
        return self._thread.is_alive()

    def note_on(self, key: int, velocity: int = 100, channel: int = 1) -> None:
        """Press a key.

        Args:
            key: 0 to 127, a whole number; 60 is C4.
            velocity: 1 to 127.
            channel: 1 to 16.

        Raises:
            UserError: a value is out of range.
        """
        whole_number("velocity", velocity, 1, 127)
        self._send(NoteOn(0, _channel_index(channel), _whole_key(key), velocity))

    def note_off(self, key: int, channel: int = 1) -> None:
        """Release a ``key``, 0 to 127, of a ``channel``, 1 to 16.

        Raises:
            UserError: a value is out of range.
        """
        self._send(NoteOff(0, _channel_index(channel), _whole_key(key)))

    def turn(self, knob: str, position: float) -> None:
        """Turn a knob to ``position``, 0 to 1 of its range.

        Raises:
            UserError: no such knob or position.
        """
        self._send(*knob_changes({knob: number(f"knob {knob!r}:", position)}, self._knobs, [0], 1))

    def control(self, controller: int, value: int, channel: int = 1) -> None:
        """Move a MIDI controller (CC), as an input would.

        Args:
            controller, value: 0 to 127, whole numbers.
            channel: 1 to 16.

        Raises:
            UserError: a value is out of range.
        """
        self._send(control_change(0, controller, value, channel))

    def bend(self, semitones: float, channel: int = 1) -> None:
        """Bend the notes of a ``channel``, 1 to 16, by ``semitones``, -24 to 24.

        Raises:
            UserError: a value is out of range.
        """
        self._send(*bend_events(number("bend:", semitones), [_channel_index(channel)], 1))

    def play(self, music: Music) -> float:
        """Play music beside the inputs, in place of music that still plays; return its length in seconds.

        Args:
            music: as `Instrument.render` takes it. Its events sound some milliseconds after their times, and program
                changes are passed over.

        Raises:
            UserError: the music cannot be read.
        """
        performance, _ = performance_of_music(music, TUNE_RATE)
        for line in performance.warnings:
            warnings.warn(line, stacklevel=2)
        events = [event for event in performance.events if not isinstance(event, ProgramChange)]
        if any(isinstance(event, NoteOn) and event.key != int(event.key) for event in events):
            raise UserError("live, keys are whole numbers; render the music, or bend a channel's notes")
        with self._tune_lock:
            self._stop_tune()
            self._check_playing()
            self._tune = _Tune(events, self._send)
        return performance.length / TUNE_RATE

    def stop(self) -> None:
        """End the music of `play`, and release its keys and pedals."""
        with self._tune_lock:
            self._stop_tune()

    def _stop_tune(self) -> None:
        if self._tune is not None:
            self._tune.stop()
            self._tune = None

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
        self.stop()
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
        self._check_playing()
        self._commands.send(Events(events))

    def _check_playing(self) -> None:
        if not self.playing:
            raise UserError("nothing plays any more; start it again with timbrel.play")


def _whole_key(key: float) -> int:
    if number("key", key) != int(key):
        raise UserError(f"key {key!r}: live, keys are whole numbers; bend a channel's notes")
    return whole_number("key", int(key), 0, 127)


def _channel_index(channel: int) -> int:
    """Return a channel of 1 to 16 as events count it, from 0."""
    return whole_number("channel", channel, 1, 16) - 1


class _Tune:
    """Music on a thread of its own, which sends events at their times."""

    def __init__(self, events: Sequence[Event], send: Callable[..., None]) -> None:
        self._events, self._send = events, send
        self._held = HeldEvents()
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._play, name="tune", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Stop after events that release keys, pedals and bends."""
        self._stopping.set()
        self._thread.join()

    def _play(self) -> None:
        begin_seconds = time.monotonic()
        try:
            for time_samples, group in itertools.groupby(self._events, key=attrgetter("time")):
                wait_seconds = begin_seconds + time_samples / TUNE_RATE - time.monotonic()
                if self._stopping.wait(max(0.0, wait_seconds)):
                    break
                events = [replace(event, time=0) for event in group]
                for event in events:
                    self._held.apply(event)
                self._send(*events)
            self._send(*self._held.take_releases([]))
        except (UserError, OSError):  # the session has ended; its player tells of it
            pass


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
