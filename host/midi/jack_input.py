"""MIDI inputs of JACK, by JACK-Client.

RtMidi also reads events that JACK refuses to a late client, and crashes the process when the machine stalls.
"""

import functools
import threading
import time
import weakref
from collections import deque
from collections.abc import Sequence
from typing import Any

from ..errors import UserError

LONGEST = 256  # bytes of an event, which may be several messages; a damaged one could have any length
ACTIVE_SENSING = 0xFE


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
        self._client.set_process_callback(functools.partial(_hear, self._ports, self._messages, arrival))
        self._client.activate()  # before there is an input: senders may be connected as soon as there is one
        weakref.finalize(self, self._client.close)  # at exit at the latest: JACK's thread calls Python

    def open_virtual_port(self, name: str) -> None:
        """Register the input, to which senders can be connected."""
        self._ports.append(self._client.midi_inports.register(name))

    def get_message(self) -> tuple[bytes, float] | None:
        """Next message, and seconds since the one before."""
        if not self._messages:
            return None
        message, now = self._messages.popleft()
        since = 0.0 if self._last is None else now - self._last
        self._last = now
        return message, since


def _hear(ports: Sequence[Any], messages: deque[tuple[bytes, float]], arrival: threading.Event, frames: int) -> None:
    """In JACK's thread; does not hold the input, which then is closed when dropped."""
    for port in ports:
        for _, data in port.incoming_midi_events():
            if 0 < len(data) <= LONGEST and bytes(data[:1])[0] != ACTIVE_SENSING:
                messages.append((bytes(data), time.perf_counter()))
                arrival.set()
