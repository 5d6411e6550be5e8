"""MIDI inputs of JACK, by JACK-Client.

RtMidi also reads events that JACK refuses to a late client, and crashes the process when the machine stalls.
"""

import contextlib
import functools
import threading
import time
import weakref
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..errors import UserError

LONGEST = 256  # bytes of an event, which may be several messages; a damaged one could have any length
ACTIVE_SENSING = 0xFE
LOOK_SECONDS = 0.001  # between checks for the end of JACK's thread
CALL_LOOKS = 250  # for the next call of a server that runs: two cycles of 4096 samples; a busy machine delays both
END_LOOKS = 2000  # for the end of a thread: a server that has just connected ports finishes half a second later


class JackInput:
    """A client with one input and the methods of RtMidi's."""

    def __init__(self, name: str, queue: int, arrival: threading.Event) -> None:
        """``queue``: most messages that wait; ``arrival`` is set with each.

        Raises:
            UserError: no server answers.
        """
        import jack  # JACK-Client; `JackConnections` has imported it before any input is opened

        try:
            self._client: Any = jack.Client(name, no_start_server=True)
        except jack.JackError as error:
            raise UserError(f"JACK does not answer ({error}); start it, or give --midi-api or --keys") from None
        self._ports: list[Any] = []
        self._messages: deque[tuple[bytes, float]] = deque(maxlen=queue)
        self._last: float | None = None  # seconds of the last message that was read
        leaving = _Leaving(jack.CallbackExit)
        self._client.set_process_callback(functools.partial(_hear, self._ports, self._messages, arrival, leaving))
        self._client.activate()  # before there is an input: senders may be connected as soon as there is one
        # At exit at the latest: JACK's thread calls Python.
        weakref.finalize(self, _close, self._client, self._ports, leaving)

    def open_virtual_port(self, name: str) -> None:
        """Register the input, to which senders can be connected."""
        self._ports.append(self._client.midi_inports.register(name))

    def get_message(self) -> tuple[bytes, float] | None:
        """Next message, and seconds since the one before."""
        if not self._messages:
            return None
        message, now = self._messages.popleft()
        elapsed_seconds = 0.0 if self._last is None else now - self._last
        self._last = now
        return message, elapsed_seconds


@dataclass
class _Leaving:
    """Asks JACK's thread to end by itself, by ``exit``, an exception of JACK-Client."""

    exit: type[Exception]
    end_requested: bool = False
    thread: int | None = None  # its number, once it ends

    def ended(self) -> bool:
        """Return whether the thread has ended; on systems that list no threads, true once it is about to end."""
        return not Path(f"/proc/self/task/{self.thread}").exists()


def _close(client: Any, ports: Sequence[Any], leaving: _Leaving) -> None:
    """Close a client without ending its thread from outside.

    JACK cancels the thread at any of its instructions: one that holds the interpreter's lock then, or waits for it,
    leaves it locked for ever. A thread of a server that has stopped is not in Python, and does not answer.
    """
    import jack

    for port in ports:  # the server waits for seconds for a thread that ends with a sender connected
        with contextlib.suppress(jack.JackError):
            port.disconnect()
    leaving.end_requested = True
    _look(lambda: leaving.thread is not None, CALL_LOOKS)
    if leaving.thread is not None:
        _look(leaving.ended, END_LOOKS)
    client.close()


def _look(has_ended: Callable[[], bool], times: int) -> None:
    for _ in range(times):
        if has_ended():
            return
        time.sleep(LOOK_SECONDS)


def _hear(
    ports: Sequence[Any],
    messages: deque[tuple[bytes, float]],
    arrival: threading.Event,
    leaving: _Leaving,
    frames: int,
) -> None:
    """In JACK's thread; does not hold the input, which then is closed when dropped."""
    if leaving.end_requested:
        leaving.thread = threading.get_native_id()
        raise leaving.exit  # JACK ends its thread, out of Python
    for port in ports:
        for _, data in port.incoming_midi_events():
            if 0 < len(data) <= LONGEST and bytes(data[:1])[0] != ACTIVE_SENSING:
                messages.append((bytes(data), time.perf_counter()))
                arrival.set()
