"""MIDI inputs of JACK: a client whose thread queues messages in C, or in Python where that is not compiled."""

import contextlib
import ctypes
import ctypes.util
import functools
import sys
import threading
import time
import weakref
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from ..errors import UserError
from .arrival import Arrival

LIBRARY = Path(__file__).with_name("jack_core.so.1")  # no name of a Python module
VERSION = 3
LONGEST = 256  # bytes of an event, which may be several messages; a damaged one could have any length
ACTIVE_SENSING = 0xFE
QUEUE = 8192  # messages; sweeps of eight knobs send 400 a second
LOOK_SECONDS = 0.001  # between checks for the end of JACK's thread
CALL_LOOKS = 250  # for the next call of a server that runs: two cycles of 4096 samples; a busy machine delays both
END_LOOKS = 2000  # for the end of a thread: a server that has just connected ports finishes half a second later
NO_START_SERVER, IS_INPUT = 1, 1  # JACK's option of a client, and its flag of a port
MIDI_TYPE = b"8 bit raw midi"


class JackInput(Protocol):
    """An input of messages, as RtMidi has it, that counts its connections."""

    @property
    def ended_connections(self) -> int:
        """Number of its connections that have ended, also those that were made again; 0 if unknown."""

    def get_message(self) -> tuple[bytes, float] | None:
        """Next message, and seconds since the one before."""


class JackMidi(Protocol):
    """A client of JACK with any number of inputs: JACK wakes each client in each cycle."""

    def open_input(self, name: str) -> JackInput:
        """Register an input, to which senders can be connected; close the client only after it."""


def open_jack_midi(name: str, arrival: Arrival) -> JackMidi:
    """A client without inputs; ``arrival`` is set with each message.

    Raises:
        UserError: no server answers.
    """
    core, jack = _load_core(), load_jack()
    return (
        PythonJackMidi(name, arrival) if core is None or jack is None else CompiledJackMidi(core, jack, name, arrival)
    )


@functools.cache
def load_jack() -> ctypes.CDLL | None:
    """The system's library of JACK (Linux)."""
    path = ctypes.util.find_library("jack") if sys.platform == "linux" else None
    return None if path is None else ctypes.CDLL(path, mode=ctypes.RTLD_GLOBAL)


@functools.cache
def _load_core(path: Path = LIBRARY) -> ctypes.CDLL | None:
    """The compiled queue; None if it is not there, or of another version."""
    try:
        core = ctypes.PyDLL(str(path))
        if core.jack_input_version() != VERSION:
            return None
    except (OSError, AttributeError):
        return None
    core.jack_client_bytes.restype = core.jack_input_bytes.restype = ctypes.c_int64
    core.jack_input_ended_connections.restype = ctypes.c_uint32
    core.jack_client_open.argtypes = [ctypes.c_void_p] * 7 + [ctypes.c_int32]
    core.jack_input_open.argtypes = [ctypes.c_void_p] * 3
    core.jack_input_next.argtypes = [ctypes.c_void_p] * 3
    core.jack_input_ended_connections.argtypes = [ctypes.c_void_p]
    return core


class _Clock:
    """Seconds between messages."""

    def __init__(self) -> None:
        self._last_seconds: float | None = None

    def elapsed(self, arrival_seconds: float) -> float:
        elapsed_seconds = 0.0 if self._last_seconds is None else arrival_seconds - self._last_seconds
        self._last_seconds = arrival_seconds
        return elapsed_seconds


class CompiledJackMidi:
    """JACK's thread never waits for Python: where it did, JACK and all its clients waited with it."""

    def __init__(self, core: ctypes.CDLL, jack: ctypes.CDLL, name: str, arrival: Arrival) -> None:
        """As `open_jack_midi`."""
        jack.jack_client_open.restype = jack.jack_port_register.restype = ctypes.c_void_p
        status = ctypes.c_int()
        client = jack.jack_client_open(name.encode(), NO_START_SERVER, ctypes.byref(status))
        if client is None:
            raise no_server_error(f"status {status.value:#x}")
        self._core, self._jack, self._client = core, jack, ctypes.c_void_p(client)
        self._state = ctypes.create_string_buffer(core.jack_client_bytes())
        functions = (
            jack.jack_port_get_buffer,
            jack.jack_midi_get_event_count,
            jack.jack_midi_event_get,
            jack.jack_port_by_id,
        )
        addresses = [ctypes.cast(function, ctypes.c_void_p) for function in functions]
        core.jack_client_open(self._state, *addresses, self._client, ctypes.byref(arrival.flag), arrival.descriptor)
        jack.jack_set_process_callback(self._client, core.jack_client_process, self._state)
        jack.jack_set_port_connect_callback(self._client, core.jack_client_connection, self._state)
        jack.jack_activate(self._client)  # before there is an input: senders may be connected as soon as there is one
        self._ports: list[ctypes.c_void_p] = []
        self._queues: list[object] = []
        weakref.finalize(self, self._close, jack, self._client, self._ports, self._queues, self._state, arrival)

    def open_input(self, name: str) -> JackInput:
        port = self._jack.jack_port_register(self._client, name.encode(), MIDI_TYPE, IS_INPUT, 0)
        if port is None:
            raise no_server_error("it refuses an input")
        queue = ctypes.create_string_buffer(self._core.jack_input_bytes())
        self._ports.append(ctypes.c_void_p(port))
        self._queues.append(queue)
        self._core.jack_input_open(queue, self._state, self._ports[-1])
        return _CompiledInput(self._core, queue)

    @staticmethod
    def _close(
        jack: ctypes.CDLL, client: ctypes.c_void_p, ports: list[ctypes.c_void_p], *kept_for_its_thread: object
    ) -> None:
        for port in ports:  # the server waits for seconds for a thread that ends with a sender connected
            jack.jack_port_disconnect(client, port)
        jack.jack_client_close(client)


class _CompiledInput:
    def __init__(self, core: ctypes.CDLL, queue: ctypes.Array[ctypes.c_char]) -> None:
        self._core, self._queue, self._queue_at = core, queue, ctypes.addressof(queue)
        self._event, self._seconds = ctypes.create_string_buffer(LONGEST), ctypes.c_double()
        self._event_at, self._seconds_at = ctypes.addressof(self._event), ctypes.addressof(self._seconds)
        self._clock = _Clock()

    def get_message(self) -> tuple[bytes, float] | None:
        size = self._core.jack_input_next(self._queue_at, self._event_at, self._seconds_at)
        if size == 0:
            return None
        return self._event.raw[:size], self._clock.elapsed(self._seconds.value)

    @property
    def ended_connections(self) -> int:
        return int(self._core.jack_input_ended_connections(self._queue_at))


class PythonJackMidi:
    """JACK's thread calls Python."""

    def __init__(self, name: str, arrival: Arrival) -> None:
        """As `open_jack_midi`."""
        import jack  # JACK-Client; `JackConnections` has imported it before any input is opened

        try:
            self._client: Any = jack.Client(name, no_start_server=True)
        except jack.JackError as error:
            raise no_server_error(error) from None
        self._inputs: list[_PythonInput] = []
        leaving = _Leaving(jack.CallbackExit)
        self._client.set_process_callback(functools.partial(_collect_messages, self._inputs, arrival, leaving))
        self._client.activate()  # before there is an input: senders may be connected as soon as there is one
        # At exit at the latest: JACK's thread calls Python.
        weakref.finalize(self, _close, self._client, self._inputs, leaving)

    def open_input(self, name: str) -> JackInput:
        self._inputs.append(_PythonInput(self._client.midi_inports.register(name)))
        return self._inputs[-1]


class _PythonInput:
    def __init__(self, port: Any) -> None:
        self.port = port
        self.messages: deque[tuple[bytes, float]] = deque(maxlen=QUEUE)
        self.ended_connections = 0  # unknown: JACK may cancel its thread of notifications within Python
        self._clock = _Clock()

    def get_message(self) -> tuple[bytes, float] | None:
        if not self.messages:
            return None
        message, arrival_seconds = self.messages.popleft()
        return message, self._clock.elapsed(arrival_seconds)


@dataclass
class _Leaving:
    """Asks JACK's thread to end by itself, by ``exit``, an exception of JACK-Client."""

    exit: type[Exception]
    end_requested: bool = False
    thread: int | None = None  # its number, once it ends

    def ended(self) -> bool:
        """Return whether the thread has ended; on systems that list no threads, true once it is about to end."""
        return not Path(f"/proc/self/task/{self.thread}").exists()


def _close(client: Any, inputs: Sequence[_PythonInput], leaving: _Leaving) -> None:
    """Close a client without ending its thread from outside.

    JACK cancels the thread at any of its instructions: one that holds the interpreter's lock then, or waits for it,
    leaves it locked for ever. A thread of a server that has stopped is not in Python, and does not answer.
    """
    import jack

    for python_input in inputs:  # as in `CompiledJackMidi`
        with contextlib.suppress(jack.JackError):
            python_input.port.disconnect()
    leaving.end_requested = True
    _wait_until(lambda: leaving.thread is not None, CALL_LOOKS)
    if leaving.thread is not None:
        _wait_until(leaving.ended, END_LOOKS)
    client.close()


def _wait_until(has_ended: Callable[[], bool], look_count: int) -> None:
    """Look until something has ended, at most so often."""
    for _ in range(look_count):
        if has_ended():
            return
        time.sleep(LOOK_SECONDS)


def _collect_messages(inputs: Sequence[_PythonInput], arrival: Arrival, leaving: _Leaving, frame_count: int) -> None:
    """In JACK's thread; does not hold the client, which then is closed when dropped."""
    if leaving.end_requested:
        leaving.thread = threading.get_native_id()
        raise leaving.exit  # JACK ends its thread, out of Python
    for python_input in inputs:
        for _, message_bytes in python_input.port.incoming_midi_events():
            if 0 < len(message_bytes) <= LONGEST and bytes(message_bytes[:1])[0] != ACTIVE_SENSING:
                python_input.messages.append((bytes(message_bytes), time.perf_counter()))
                arrival.set()


def no_server_error(reason: object) -> UserError:
    return UserError(
        f"JACK does not answer ({reason}); start it, give another --midi-api, or play on the computer's keyboard: "
        "'timbrel play PRESET --keys'"
    )
