"""Shared memory and control messages between a plugin and its server, by the layout of native/wire.h, and its
parameters.

Each number has one writer, in its own word, by plain stores. x86-64 keeps their order: data written before a position
is visible to its readers. Elsewhere `SharedMemory` makes a futex system call between the two, which orders the
accesses.
"""

import contextlib
import ctypes
import math
import mmap
import os
import platform
import socket
import sys
import threading
from collections.abc import Iterable, Sequence
from enum import IntEnum
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from ..arrays import Array
from ..errors import Failure, printable
from ..events import ParameterChange
from ..preset.controls import macro_targets
from ..preset.preset import Preset
from ..session.view import ControlView

MAGIC = 0x4C424D54  # "TMBL"
VERSION = 1
RING = 1 << 16  # samples of each of two channels
EVENTS = 1 << 13
LONGEST_BLOCK = 1 << 14
LONGEST_MESSAGE = 64 << 20
OFFLINE = 1
MACROS = 16
NAME_BYTES = 64  # of a parameter's name, including the terminating zero
EPOCH_BITS = 48  # of a position, below its epoch

SYS_FUTEX = {"x86_64": 202, "aarch64": 98}  # per machine, as in asm/unistd.h
FUTEX_WAIT, FUTEX_WAKE = 0, 1  # of memory shared between processes: linux/futex.h
STORES_IN_ORDER = platform.machine() in ("x86_64", "AMD64")


class EventKind(IntEnum):
    MIDI = 1
    PARAMETER = 2
    TEMPO = 3
    TRANSPORT = 4
    RESET = 5
    EXCLUSIVE = 6


class ToServer(IntEnum):
    LOAD_STATE = 1
    LOAD_PRESET = 2
    SAVE = 3


class ToPlugin(IntEnum):
    READY = 101
    STATE = 102
    PARAMETERS = 103
    PRESETS = 104
    SAY = 105
    TURNED = 106


class Parameter(IntEnum):
    """Numbers after the macros."""

    GAIN = 16
    PRESET = 17
    PANEL = 18


class WireEvent(ctypes.Structure):
    _fields_ = (
        ("time", ctypes.c_uint64),
        ("value", ctypes.c_float),
        ("kind", ctypes.c_uint16),
        ("number", ctypes.c_uint16),
        ("epoch", ctypes.c_uint16),
        ("data", ctypes.c_uint8 * 3),
        ("reserved", ctypes.c_uint8),
        ("loads", ctypes.c_uint32),
        ("block", ctypes.c_uint32),
    )


class WireMemory(ctypes.Structure):
    """Each writer's part is aligned to 64 bytes."""

    _fields_ = (
        ("magic", ctypes.c_uint32),
        ("version", ctypes.c_uint32),
        ("_to_plugin", ctypes.c_uint8 * 56),
        ("event_head", ctypes.c_uint64),
        ("complete", ctypes.c_uint64),
        ("server_bell", ctypes.c_uint32),
        ("plugin_sleeps", ctypes.c_uint32),
        ("_to_server", ctypes.c_uint8 * 40),
        ("event_tail", ctypes.c_uint64),
        ("made", ctypes.c_uint64),
        ("plugin_bell", ctypes.c_uint32),
        ("server_sleeps", ctypes.c_uint32),
        ("rack_latency", ctypes.c_uint32),
        ("_to_events", ctypes.c_uint8 * 36),
        ("events", WireEvent * EVENTS),
        ("sound", ctypes.c_float * RING * 2),
    )


class WireMessage(ctypes.Structure):
    _fields_ = (("kind", ctypes.c_uint32), ("number", ctypes.c_uint32), ("length", ctypes.c_uint32))


class WireParameter(ctypes.Structure):
    _fields_ = (("name", ctypes.c_char * NAME_BYTES), ("rest", ctypes.c_float), ("used", ctypes.c_uint32))


class Position(NamedTuple):
    """Samples since the reset that began an epoch."""

    epoch: int
    samples: int

    @classmethod
    def from_number(cls, number: int) -> "Position":
        return cls(number >> EPOCH_BITS, number & ((1 << EPOCH_BITS) - 1))

    @property
    def number(self) -> int:
        return self.epoch << EPOCH_BITS | self.samples


class ReceivedEvent(NamedTuple):
    """A `WireEvent` with its MIDI message's bytes."""

    time: int
    value: float
    kind: int
    number: int
    epoch: int
    status: int
    first: int
    second: int
    loads: int


_EVENT = np.dtype(
    {
        "names": ReceivedEvent._fields,
        "formats": ["u8", "f4", "u2", "u2", "u2", "u1", "u1", "u1", "u4"],
        "offsets": [
            *(getattr(WireEvent, name).offset for name in ("time", "value", "kind", "number", "epoch")),
            *(WireEvent.data.offset + place for place in range(3)),
            WireEvent.loads.offset,
        ],
        "itemsize": ctypes.sizeof(WireEvent),
    }
)


class SharedMemory:
    def __init__(self, descriptor: int) -> None:
        """Map a plugin's memory; Failure for another version or size, or unless on Linux on x86-64 or ARM."""
        futex_number = SYS_FUTEX.get(platform.machine()) if sys.platform == "linux" else None
        if futex_number is None:
            raise Failure(f"plugins play on Linux on x86-64 and ARM, not on {sys.platform} on {platform.machine()}")
        memory_bytes = ctypes.sizeof(WireMemory)
        if os.fstat(descriptor).st_size < memory_bytes:
            raise Failure("the plugin's memory is too small; install the plugin anew with 'timbrel plugin install'")
        self._futex_number = futex_number
        self._wire = WireMemory.from_buffer(mmap.mmap(descriptor, memory_bytes))
        if (self._wire.magic, self._wire.version) != (MAGIC, VERSION):
            raise Failure(
                f"the plugin speaks version {self._wire.version} of the wire, this timbrel {VERSION}; "
                "install the plugin anew with 'timbrel plugin install'"
            )
        self._events: npt.NDArray[Any] = np.frombuffer(self._wire.events, _EVENT)
        self._sound: Array = np.ctypeslib.as_array(self._wire.sound)
        self._syscall = ctypes.CDLL(None).syscall
        base_address = ctypes.addressof(self._wire)
        self._server_bell = ctypes.c_void_p(base_address + WireMemory.server_bell.offset)
        self._plugin_bell = ctypes.c_void_p(base_address + WireMemory.plugin_bell.offset)

    @property
    def rung(self) -> int:
        """The plugin's ring count; read it before its data."""
        return int(self._wire.server_bell)

    @property
    def complete(self) -> Position:
        return Position.from_number(self._wire.complete)

    def read_events(self) -> list[ReceivedEvent]:
        """New events of the plugin."""
        self._order()
        event_head, event_tail = self._wire.event_head, self._wire.event_tail
        self._order()
        received_events: list[ReceivedEvent] = []
        while event_tail < event_head:
            ring_index = event_tail % EVENTS
            event_chunk = self._events[ring_index : min(EVENTS, ring_index + event_head - event_tail)]
            received_events += [ReceivedEvent(*event) for event in event_chunk.tolist()]
            event_tail += len(event_chunk)
        self._order()
        self._wire.event_tail = event_tail
        return received_events

    def put(self, begin_sample: int, sound: Array) -> None:
        """Write samples, [2, n] with n at most `RING`, at sample ``begin_sample``."""
        ring_index = begin_sample % RING
        first_sample_count = min(sound.shape[1], RING - ring_index)
        self._sound[:, ring_index : ring_index + first_sample_count] = sound[:, :first_sample_count]
        self._sound[:, : sound.shape[1] - first_sample_count] = sound[:, first_sample_count:]

    def write_latency(self, samples: int) -> None:
        """Call before the first samples of an epoch."""
        self._wire.rack_latency = samples

    def write_made(self, position: Position) -> None:
        """Publish samples before a position, and wake the plugin, whose sleep flag could be read too early."""
        self._order()
        self._wire.made = position.number
        self._order()
        self._wire.plugin_bell = (self._wire.plugin_bell + 1) & 0xFFFFFFFF
        self._futex(self._plugin_bell, FUTEX_WAKE, 1)

    def sleep(self, rung: int) -> None:
        """Sleep until the plugin rings, unless it has since `rung`. Releases the interpreter lock."""
        self._wire.server_sleeps = 1
        self._futex(self._server_bell, FUTEX_WAIT, rung)  # the kernel compares, after ordering all stores
        self._wire.server_sleeps = 0

    def _futex(self, word: ctypes.c_void_p, operation: int, value: int) -> None:
        """Wait at a word in memory, or wake its waiters."""
        null_pointer = ctypes.c_void_p()
        self._syscall(
            ctypes.c_long(self._futex_number), word, operation, ctypes.c_uint32(value), null_pointer, null_pointer, 0
        )

    def _order(self) -> None:
        if not STORES_IN_ORDER:
            self._futex(self._plugin_bell, FUTEX_WAKE, 1)


OWN_GAIN = "gain"  # a target without a parameter: plugins have their own gain


class PluginParameter(NamedTuple):
    name: str
    target: str
    low: float
    high: float
    rest: float

    def turn(self, time: int, position: float) -> ParameterChange:
        """Event for a value, clamped to 0 to 1; the 32-bit float of ``rest`` maps to ``rest`` exactly."""
        position = min(max(position, 0.0), 1.0) if math.isfinite(position) else 0.0
        is_at_rest = np.float32(position) == np.float32(self.place(self.rest)) and self.low <= self.rest <= self.high
        return ParameterChange(
            time, 0, self.target, self.rest if is_at_rest else self.low + position * (self.high - self.low)
        )

    def place(self, value: float) -> float:
        """Position of a value, 0 to 1."""
        return min(max((value - self.low) / (self.high - self.low), 0.0), 1.0)


def slots_of(preset: Preset, controls: Iterable[ControlView]) -> list[PluginParameter]:
    """At most `MACROS`."""
    if macros := preset.macro:
        targets = macro_targets(macros)
        return [
            PluginParameter(macro.name, target, 0.0, 1.0, macro.start)
            for macro, target in zip(macros, targets, strict=True)
        ]
    adjustable_controls = [control for control in controls if control.high > control.low and control.target != OWN_GAIN]
    return [
        PluginParameter(control.title, control.target, control.low, control.high, control.rest)
        for control in adjustable_controls[:MACROS]
    ]


LONGEST_LINE = 1000  # bytes of a text message: plugins accept no longer ones


class Message(NamedTuple):
    """``kind`` is a `ToServer`, or a newer plugin's."""

    kind: int
    number: int
    data: bytes


class ControlSocket:
    """Any thread may send, one thread receives."""

    def __init__(self, descriptor: int) -> None:
        self._socket = socket.socket(fileno=descriptor)
        self._sending = threading.Lock()

    def receive(self) -> Message | None:
        """Wait for the next message; None once the plugin has disconnected."""
        head_bytes = self._bytes(ctypes.sizeof(WireMessage))
        if head_bytes is None:
            return None
        head = WireMessage.from_buffer_copy(head_bytes)
        data = self._bytes(head.length) if head.length <= LONGEST_MESSAGE else None
        return None if data is None else Message(head.kind, head.number, data)

    def send(self, kind: ToPlugin, data: bytes = b"", number: int = 0) -> None:
        """`receive` reports a disconnect."""
        with self._sending, contextlib.suppress(OSError):
            self._socket.sendall(bytes(WireMessage(kind, number, len(data))) + data)

    def send_line(self, line: str) -> None:
        self.send(ToPlugin.SAY, cut(printable(line), LONGEST_LINE))

    def send_parameters(self, slots: Sequence[PluginParameter]) -> None:
        """Send names and rest positions of the macros."""
        wire_parameters = (WireParameter * MACROS)()
        for wire_parameter, slot in zip(wire_parameters, slots, strict=False):
            wire_parameter.name, wire_parameter.rest, wire_parameter.used = (
                cut(printable(slot.name), NAME_BYTES - 1),
                slot.place(slot.rest),
                1,
            )
        self.send(ToPlugin.PARAMETERS, bytes(wire_parameters))

    def send_turned(self, parameter: int) -> None:
        """Tell of a macro that was turned on the panel, or `Parameter.PRESET` after a preset was chosen there."""
        self.send(ToPlugin.TURNED, number=parameter)

    def send_presets(self, names: Sequence[str]) -> None:
        self.send(ToPlugin.PRESETS, b"".join(name.encode() + b"\0" for name in names))

    def _bytes(self, count: int) -> bytes | None:
        """Wait for so many bytes; None once the plugin has disconnected."""
        buffer = bytearray(count)
        free_buffer = memoryview(buffer)
        while free_buffer:
            try:
                received_count = self._socket.recv_into(free_buffer)
            except OSError:
                return None
            if not received_count:
                return None
            free_buffer = free_buffer[received_count:]
        return bytes(buffer)


def cut(text: str, count: int) -> bytes:
    """UTF-8 of at most ``count`` bytes, in whole characters."""
    return text.encode(errors="replace")[:count].decode(errors="ignore").encode()
