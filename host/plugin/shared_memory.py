"""The wire between a plugin and its server: its layout, as native/wire.h has it, and the server's side of it.

Each number in the memory is written by one side alone, in its own word, by a plain store. On x86-64 stores are seen in
their order, so that what was written before a position is there for whoever reads that position. Elsewhere a `Memory`
passes through the kernel between the two, whose futexes order all that comes before them and after.
"""

import ctypes
import mmap
import os
import platform
import struct
import sys
from enum import IntEnum
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from ..errors import Failure

Array = npt.NDArray[np.float32]

MAGIC = 0x4C424D54  # "TMBL"
VERSION = 1
RING = 1 << 16  # samples of each of two channels
EVENTS = 1 << 13
LONGEST_BLOCK = 1 << 14
LONGEST_MESSAGE = 64 << 20
OFFLINE = 1
MACROS = 16
NAME_BYTES = 64  # of a parameter's name, with the zero byte that ends it
EPOCH_BITS = 48  # of a position, below its epoch

SYS_FUTEX = {"x86_64": 202, "aarch64": 98}  # by the machine, as asm/unistd.h has it
FUTEX_WAIT, FUTEX_WAKE = 0, 1  # of memory that processes share: linux/futex.h
STORES_IN_ORDER = platform.machine() in ("x86_64", "AMD64")


class EventKind(IntEnum):
    """The kinds of events in the memory."""

    MIDI = 1
    PARAMETER = 2
    TEMPO = 3
    TRANSPORT = 4
    RESET = 5


class ToServer(IntEnum):
    """The messages that the plugin sends on the socket."""

    LOAD_STATE = 1
    LOAD_PRESET = 2
    SAVE = 3


class ToPlugin(IntEnum):
    """The messages that the server sends on the socket."""

    READY = 101
    STATE = 102
    PARAMETERS = 103
    PRESETS = 104
    SAY = 105


class Parameter(IntEnum):
    """The parameters after the macros."""

    GAIN = 16
    PRESET = 17
    PANEL = 18


class WireEvent(ctypes.Structure):
    """An event in the memory."""

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
    """The shared memory; each part that one side writes begins at a multiple of 64 bytes."""

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
    """The head of a message on the socket."""

    _fields_ = (("kind", ctypes.c_uint32), ("number", ctypes.c_uint32), ("length", ctypes.c_uint32))


class WireParameter(ctypes.Structure):
    """A macro, as a PARAMETERS message tells of it."""

    _fields_ = (("name", ctypes.c_char * NAME_BYTES), ("rest", ctypes.c_float), ("used", ctypes.c_uint32))


HEAD = struct.Struct("=III")


class Position(NamedTuple):
    """A place in time: samples since the reset that began an epoch."""

    epoch: int
    samples: int

    @classmethod
    def of(cls, number: int) -> "Position":
        """Return the position that a number in the memory means."""
        return cls(number >> EPOCH_BITS, number & ((1 << EPOCH_BITS) - 1))

    @property
    def number(self) -> int:
        """Return the number in the memory that means it."""
        return self.epoch << EPOCH_BITS | self.samples


class ReceivedEvent(NamedTuple):
    """An event as it was taken from the memory: a `WireEvent`, with its data as a MIDI message's bytes."""

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


class Memory:
    """The shared memory, as a server reads and writes it."""

    def __init__(self, descriptor: int) -> None:
        """Map the memory that a plugin made.

        Raises:
            Failure: it is not of this version, or this is no Linux on x86-64 or ARM.
        """
        number = SYS_FUTEX.get(platform.machine()) if sys.platform == "linux" else None
        if number is None:
            raise Failure(f"plugins play on Linux on x86-64 and ARM, not on {sys.platform} on {platform.machine()}")
        size = ctypes.sizeof(WireMemory)
        if os.fstat(descriptor).st_size < size:
            raise Failure("the plugin's memory is too small; install the plugin anew with 'timbrel plugin install'")
        self._map = mmap.mmap(descriptor, size)
        self._futex_number = number
        self._wire = WireMemory.from_buffer(self._map)
        if (self._wire.magic, self._wire.version) != (MAGIC, VERSION):
            raise Failure(
                f"the plugin speaks version {self._wire.version} of the wire, this timbrel {VERSION}; "
                "install the plugin anew with 'timbrel plugin install'"
            )
        self._events: npt.NDArray[Any] = np.frombuffer(self._map, _EVENT, EVENTS, WireMemory.events.offset)
        self._sound: Array = np.frombuffer(self._map, np.float32, 2 * RING, WireMemory.sound.offset).reshape(2, RING)
        self._syscall = ctypes.CDLL(None).syscall
        begins = ctypes.addressof(self._wire)
        self._server_bell = ctypes.c_void_p(begins + WireMemory.server_bell.offset)
        self._plugin_bell = ctypes.c_void_p(begins + WireMemory.plugin_bell.offset)

    @property
    def rung(self) -> int:
        """Return how often the plugin has rung: to be read before a look at what it has written."""
        return int(self._wire.server_bell)

    @property
    def complete(self) -> Position:
        """Return the position before which no more events will lie."""
        return Position.of(self._wire.complete)

    def take(self) -> list[ReceivedEvent]:
        """Return the events that were written since the last call, in their order."""
        self._order()
        head, tail = self._wire.event_head, self._wire.event_tail
        self._order()
        taken: list[ReceivedEvent] = []
        while tail < head:
            at = tail % EVENTS
            part = self._events[at : min(EVENTS, at + head - tail)]
            taken += [ReceivedEvent(*event) for event in part.tolist()]
            tail += len(part)
        self._order()
        self._wire.event_tail = tail
        return taken

    def put(self, at: int, sound: Array) -> None:
        """Write samples, [2, n] with n at most `RING`, at sample ``at``."""
        begin = at % RING
        first = min(sound.shape[1], RING - begin)
        self._sound[:, begin : begin + first] = sound[:, :first]
        self._sound[:, : sound.shape[1] - first] = sound[:, first:]

    def tell_latency(self, samples: int) -> None:
        """Say by how much sound is later than events: before the first samples of an epoch."""
        self._wire.rack_latency = samples

    def tell_made(self, position: Position) -> None:
        """Say that the samples before a position are there, and wake the plugin if it waits for them.

        It is woken in any case: whether it sleeps could be read too early.
        """
        self._order()
        self._wire.made = position.number
        self._order()
        self._wire.plugin_bell = (self._wire.plugin_bell + 1) & 0xFFFFFFFF
        self._futex(self._plugin_bell, FUTEX_WAKE, 1)

    def sleep(self, rung: int) -> None:
        """Wait until the plugin rings, unless it has since `rung`. Other threads go on meanwhile."""
        self._wire.server_sleeps = 1
        self._futex(self._server_bell, FUTEX_WAIT, rung)  # compares in the kernel, after it has ordered all stores
        self._wire.server_sleeps = 0

    def _futex(self, word: ctypes.c_void_p, operation: int, value: int) -> None:
        nothing = ctypes.c_void_p()
        self._syscall(ctypes.c_long(self._futex_number), word, operation, ctypes.c_uint32(value), nothing, nothing, 0)

    def _order(self) -> None:
        """Have all stores and loads before this seen before those after it."""
        if not STORES_IN_ORDER:
            self._futex(self._plugin_bell, FUTEX_WAKE, 1)
