"""The queue of JACK's thread, in C and in Python: its events, and the bell."""

import ctypes
import time

import pytest
from timbrel.host.midi import jack_input
from timbrel.host.midi.arrival import Arrival

needs_core = pytest.mark.skipif(jack_input._load_core() is None, reason="the queue is not compiled")

LONG = b"\xf0" + bytes(300) + b"\xf7"
CYCLE = [b"\x90\x3c\x64", b"", b"\xf0\x01\xf7", b"\xfe", LONG, b"\xf8", b"\x80\x3c\x00"]
KEPT = [b"\x90\x3c\x64", b"\xf0\x01\xf7", b"\xf8", b"\x80\x3c\x00"]


class Event(ctypes.Structure):
    """JACK's jack_midi_event_t."""

    _fields_ = [("time", ctypes.c_uint32), ("size", ctypes.c_size_t), ("bytes", ctypes.c_void_p)]


class Cycle:
    """JACK's functions of a client's ports, for the compiled queues."""

    def __init__(self, arrival, ports=1):
        self._events = {}
        at = ctypes.c_void_p
        self._functions = (
            ctypes.CFUNCTYPE(at, at, ctypes.c_uint32)(lambda port, frames: port),
            ctypes.CFUNCTYPE(ctypes.c_uint32, at)(lambda buffer: len(self._events.get(buffer, ()))),
            ctypes.CFUNCTYPE(ctypes.c_int, ctypes.POINTER(Event), at, ctypes.c_uint32)(self._get),
            ctypes.CFUNCTYPE(at, at, ctypes.c_uint32)(lambda jack_client, number: number - 100),
        )
        self._core = jack_input._load_core()
        self._client = ctypes.create_string_buffer(self._core.jack_client_bytes())
        addresses = [ctypes.cast(one, at) for one in self._functions]
        self._arrival = arrival
        self._core.jack_client_open(self._client, *addresses, None, ctypes.byref(arrival.flag), arrival.descriptor)
        self._queues = []
        for _ in range(ports):
            self.open_port()

    def open_port(self):
        self._queues.append(ctypes.create_string_buffer(self._core.jack_input_bytes()))
        self._core.jack_input_open(self._queues[-1], self._client, len(self._queues))

    def send(self, *events, port=1):
        """A cycle of JACK's with these events."""
        self._events = {
            port: [(len(event), ctypes.create_string_buffer(event, max(1, len(event)))) for event in events]
        }
        assert self._core.jack_client_process(128, self._client) == 0

    def connect(self, port, is_connected):
        """Report a change of a connection, as JACK does: by the port's number for all clients."""
        self._core.jack_client_connection(7, 100 + port, is_connected, self._client)

    def ended_connections(self, port):
        return self._core.jack_input_ended_connections(ctypes.addressof(self._queues[port - 1]))

    def received(self, port=1):
        """All that waits: (bytes, seconds)."""
        events, event, seconds = [], ctypes.create_string_buffer(jack_input.LONGEST), ctypes.c_double()
        while size := self._core.jack_input_next(self._queues[port - 1], event, ctypes.byref(seconds)):
            events.append((event.raw[:size], seconds.value))
        return events

    def _get(self, event, buffer, index):
        event.contents.size, memory = self._events[buffer][index]
        event.contents.bytes = ctypes.addressof(memory)
        return 0


@needs_core
def test_long_events_and_those_that_nobody_needs_are_passed_over():
    cycle = Cycle(arrival := Arrival(), ports=0)
    cycle.send(*CYCLE)  # it has no port yet
    cycle.open_port()
    cycle.send(b"\xfe")
    assert not arrival.wait(0)
    before = time.perf_counter()
    cycle.send(*CYCLE)
    received = cycle.received()
    assert [data for data, _ in received] == KEPT
    assert all(before <= seconds <= time.perf_counter() for _, seconds in received)
    assert arrival.wait(0)
    arrival.clear()
    assert not arrival.wait(0)
    assert not cycle.received()


@needs_core
def test_the_longest_event_comes_whole_and_a_longer_one_does_not():
    cycle = Cycle(Arrival())
    longest = bytes([0xF0, *(value % 128 for value in range(jack_input.LONGEST - 2)), 0xF7])
    cycle.send(longest, longest[:-1] + b"\x00\xf7")
    assert [data for data, _ in cycle.received()] == [longest]


@needs_core
def test_a_full_queue_drops_what_follows_and_goes_round():
    cycle = Cycle(Arrival())
    for turn in range(3):
        sent = [bytes([0xB0, number % 128, number // 128 % 128]) for number in range(25_000)]
        for start in range(0, len(sent), 1000):
            cycle.send(*sent[start : start + 1000])
        received = [data for data, _ in cycle.received()]
        assert jack_input.QUEUE < len(received) < len(sent), turn
        assert received == sent[: len(received)]


@needs_core
def test_each_port_of_a_client_has_a_queue_of_its_own():
    cycle = Cycle(arrival := Arrival(), ports=3)
    for port in (3, 1, 2):
        arrival.clear()
        cycle.send(*KEPT[:port], port=port)
        assert arrival.wait(0)
    for port in (1, 2, 3):
        assert [data for data, _ in cycle.received(port)] == KEPT[:port]
        assert not cycle.received(port)


@needs_core
def test_ended_connections_are_counted_by_input():
    cycle = Cycle(Arrival(), ports=2)
    for port, is_connected in ((1, 1), (2, 1), (3, 0), (2, 0), (2, 1), (2, 0)):
        cycle.connect(port, is_connected)
    assert [cycle.ended_connections(port) for port in (1, 2)] == [0, 2]


class Port:
    def __init__(self, *events):
        self._events = events

    def incoming_midi_events(self):
        return iter([(0, event) for event in self._events])


def test_python_passes_over_the_same_events():
    arrival, leaving = Arrival(), jack_input._Leaving(Exception)
    inputs = [jack_input._PythonInput(Port(*CYCLE[:-1])), jack_input._PythonInput(Port(CYCLE[-1]))]
    jack_input._collect_messages(inputs, arrival, leaving, 128)
    assert [[data for data, _ in each.messages] for each in inputs] == [KEPT[:-1], KEPT[-1:]]
    assert arrival.wait(0)
    arrival.clear()
    jack_input._collect_messages([jack_input._PythonInput(Port(b"\xfe"))], arrival, leaving, 128)
    assert not arrival.wait(0)


def test_a_bell_rings_however_often_it_is_set():
    arrival = Arrival()
    for _ in range(2):
        for _ in range(5000):
            arrival.set()
        assert arrival.flag.value
        assert arrival.wait(0)
        arrival.clear()
        assert not arrival.flag.value
        assert not arrival.wait(0)
    for _ in range(5000):  # a loop that plays looks without a wait
        arrival.set()
        arrival.expect()
    assert arrival.wait(0)


def test_a_queue_of_another_version_is_left_alone(tmp_path, monkeypatch):
    (tmp_path / "text.so").write_text("no library")
    load = jack_input._load_core.__wrapped__
    assert load(tmp_path / "text.so") is None
    monkeypatch.setattr(jack_input, "VERSION", jack_input.VERSION + 1)
    assert load() is None
