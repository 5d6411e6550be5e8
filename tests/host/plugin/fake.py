"""A plugin in Python: it makes the wire, begins the server as the C side does, and asks for samples."""

import fcntl
import functools
import mmap
import os
import select
import signal
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import timbrel
from timbrel.host.events import Clock, Tempo
from timbrel.host.plugin import wire
from timbrel.host.plugin.wire import EventKind, Parameter, Position, ToPlugin, ToServer

from ...patience import PATIENCE_SECONDS
from .bounces import message

# As `python -I -m timbrel.host.plugin`, where the package may also lie in a checkout that is not installed.
PROGRAM = """
import runpy, sys
{first}
sys.path.append({root!r})
runpy.run_module("timbrel.host.plugin", run_name="__main__")
"""


class FakePlugin:
    """One instance with its server."""

    def __init__(self, interpreter=sys.executable, first="pass", **environment):
        """Begin the server with these variables set, which runs the statement ``first`` before all others."""
        ours, theirs = socket.socketpair()
        memory = os.memfd_create("timbrel")
        os.ftruncate(memory, wire.ctypes.sizeof(wire.WireMemory))
        self.memory = wire.WireMemory.from_buffer(mmap.mmap(memory, 0))
        self.memory.magic, self.memory.version = wire.MAGIC, wire.VERSION
        self.sound = np.ctypeslib.as_array(self.memory.sound)
        self.log = tempfile.TemporaryFile()  # noqa: SIM115 - as long as this
        root = str(Path(timbrel.__file__).parents[1])
        held = [fcntl.fcntl(each, fcntl.F_DUPFD, 10) for each in (memory, theirs.fileno())]  # above those it gets

        def place():
            os.dup2(held[0], 3)
            os.dup2(held[1], 4)

        self.process = subprocess.Popen(
            [interpreter, "-I", "-c", PROGRAM.format(root=root, first=first)],
            stdin=subprocess.DEVNULL,
            stdout=self.log,
            stderr=self.log,
            preexec_fn=place,
            pass_fds=(3, 4),
            env=os.environ | environment,
            start_new_session=True,
        )
        for each in (*held, memory):
            os.close(each)
        theirs.close()
        self.socket = ours
        ours.settimeout(PATIENCE_SECONDS)
        self.said, self.states, self.parameters, self.presets, self.turned, self.ready = [], {}, [], [], [], 0
        self.epoch = self.loads = self.saves = 0
        self.position = self.asked = 0

    # time

    def reset(self, rate=48000, offline=True, block=1024):
        """Begin an epoch."""
        self.epoch, self.position, self.asked = self.epoch + 1, 0, 0
        self.put(0, EventKind.RESET, value=rate, number=int(offline), epoch=self.epoch, loads=self.loads, block=block)
        self._complete(0)

    def put(self, when, kind, number=0, value=0.0, data=(), **fields):
        """Write an event."""
        while self.memory.event_head - self.memory.event_tail >= wire.EVENTS:
            self._ring()
            time.sleep(0.001)
        event = self.memory.events[self.memory.event_head % wire.EVENTS]
        event.time, event.kind, event.number, event.value = when, kind, number, value
        for place in range(3):
            event.data[place] = data[place] if place < len(data) else 0
        for name, given in fields.items():
            setattr(event, name, given)
        self.memory.event_head += 1

    def send(self, event):
        """Write an event as a host has it; what is none of timbrel's own is the move of a macro."""
        when = event.time
        match event:
            case _ if (data := message(event)) is not None:
                self.midi(when, *data)
            case Tempo(_, bpm):
                self.put(when, EventKind.TEMPO, value=bpm)
            case Clock(_, "start"):
                self.put(when, EventKind.TRANSPORT, number=1)
            case _:
                self.turn(when, event.macro, event.value)

    def midi(self, when, *data):
        """Write a channel message."""
        self.put(when, EventKind.MIDI, number=len(data), data=data)

    def turn(self, when, macro, value):
        """Move a macro."""
        self.put(when, EventKind.PARAMETER, number=macro, value=value)

    def choose(self, when, number):
        """Move the preset parameter."""
        self.put(when, EventKind.PARAMETER, number=Parameter.PRESET, value=number)

    def program(self, when, number, channel=0):
        """Send a program change, 0 to 127."""
        self.midi(when, 0xC0 | channel, number)

    def ask(self, count):
        """Ask for the next samples of the epoch, which nobody waits for yet."""
        self.asked += count
        self._complete(self.asked)

    def block(self, count):
        """Return the next samples, [2, count], once they are there."""
        if self.asked < self.position + count:
            self.ask(self.position + count - self.asked)
        self.wait_for(self.position + count)
        places = np.arange(self.position, self.position + count) % wire.RING
        self.position += count
        return self.sound[:, places].copy()

    def wait_for(self, samples):
        """Wait until the samples of this epoch before one are made."""
        until = time.monotonic() + PATIENCE_SECONDS
        while Position.from_number(self.memory.made) < Position(self.epoch, samples):
            if self.process.poll() is not None or time.monotonic() > until:
                raise AssertionError(f"made {Position.from_number(self.memory.made)} of {samples}: {self.logged()}")
            if select.select([self.socket], [], [], 0.0002)[0]:  # who is not listened to waits
                self._take()

    def bounce(self, events, length, blocks, **how):
        """Return a performance, [2, length], asked for in blocks of these sizes in turn, each with its events."""
        self.reset(**how)
        return self.play([(event.time, functools.partial(self.send, event)) for event in events], length, blocks)

    def play(self, moves, length, blocks):
        """Return the first samples of an epoch, [2, length], as `bounce`; a move is a sample and what happens there."""
        waiting, parts, at, turn = list(moves), [], 0, 0
        while at < length:
            count = min(blocks[turn % len(blocks)], length - at)
            while waiting and waiting[0][0] < at + count:
                waiting.pop(0)[1]()
            parts.append(self.block(count))
            at, turn = at + count, turn + 1
        return np.concatenate(parts, axis=1)

    def _complete(self, samples):
        self.memory.complete = Position(self.epoch, samples).number
        self._ring()

    def _ring(self):
        self.memory.server_bell += 1
        syscall = wire.ctypes.CDLL(None).syscall
        bell = wire.ctypes.addressof(self.memory) + wire.WireMemory.server_bell.offset
        number = wire.SYS_FUTEX[wire.platform.machine()]
        syscall(number, wire.ctypes.c_void_p(bell), wire.FUTEX_WAKE, 1, None, None, 0)

    # messages

    def load(self, what):
        """Load a state (bytes) or a preset (its name or path)."""
        self.loads += 1
        kind = ToServer.LOAD_STATE if isinstance(what, bytes) else ToServer.LOAD_PRESET
        self.say(kind, self.loads, what if isinstance(what, bytes) else str(what).encode())

    def save(self):
        """Return the state."""
        self.saves += 1
        self.say(ToServer.SAVE, self.saves)
        self.listen(lambda: self.saves in self.states)
        return self.states[self.saves]

    def say(self, kind, number=0, data=b""):
        """Send a message."""
        self.socket.sendall(bytes(wire.WireMessage(kind, number, len(data))) + data)

    def listen(self, enough):
        """Take messages until there are enough."""
        while not enough():
            self._take()

    def settle(self):
        """Take the messages that follow from all that was sent so far; forget what was said before."""
        name = f"nobody-{self.loads}"
        self.load(name)
        self.listen(lambda: any(name in line for line in self.said))
        self.said.clear()

    def _take(self):
        head = wire.WireMessage.from_buffer_copy(self._bytes(wire.ctypes.sizeof(wire.WireMessage)))
        data = self._bytes(head.length)
        match head.kind:
            case ToPlugin.READY:
                self.ready += 1
            case ToPlugin.STATE:
                self.states[head.number] = data
            case ToPlugin.PARAMETERS:
                told = (wire.WireParameter * wire.MACROS).from_buffer_copy(data)
                self.parameters = [(each.name.decode(), each.rest) for each in told if each.used]
            case ToPlugin.PRESETS:
                *names, last = data.decode().split("\0")
                assert last == ""
                self.presets = names
            case ToPlugin.TURNED:
                self.turned.append(head.number)
            case ToPlugin.SAY:
                self.said.append(data.decode())
            case _:
                raise AssertionError(head.kind)

    def _bytes(self, count):
        found = b""
        while len(found) < count:
            part = self.socket.recv(count - len(found))
            if not part:
                raise AssertionError(f"the server has gone: {self.logged()}")
            found += part
        return found

    def logged(self):
        """Return what the server wrote."""
        self.log.seek(0)
        return self.log.read().decode(errors="replace")

    def close(self):
        """Close the socket, and wait for the server's end; return its status."""
        self.socket.close()
        try:
            return self.process.wait(PATIENCE_SECONDS)
        except subprocess.TimeoutExpired:
            os.killpg(self.process.pid, signal.SIGKILL)
            raise
