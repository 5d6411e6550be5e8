"""A server that follows wire.h without a rack; `native.Folder` writes the script that begins one.

Its sound is known: left the number of the sample, from 1 on; right the number of each key, on the sample where it goes
down. What it hears goes into FOLDER/heard, a line of JSON each; how far it is, into FOLDER/progress. While there is a
file FOLDER/hold it makes nothing; FOLDER/behaviour.json says what else is odd about it.
"""

import contextlib
import ctypes
import fcntl
import json
import mmap
import os
import select
import signal
import socket
import struct
import subprocess
import sys
import time
from pathlib import Path

RING, EVENTS = 65536, 8192
EVENT, HEAD, PARAMETER = struct.Struct("<QfHHH3sBxxII"), struct.Struct("<III"), struct.Struct("<64sfI")
AT_HEAD, AT_COMPLETE, AT_SERVER_BELL, AT_PLUGIN_SLEEPS = 64, 72, 80, 84
AT_TAIL, AT_MADE, AT_PLUGIN_BELL, AT_SERVER_SLEEPS, AT_RACK_LATENCY = 128, 136, 144, 148, 152
AT_EVENTS, AT_SOUND = 192, 192 + EVENTS * EVENT.size
FUTEX = {"x86_64": 202, "aarch64": 98}[os.uname().machine]
MIDI, CHOOSE, TEMPO, TRANSPORT, RESET, EXCLUSIVE = 1, 2, 3, 4, 5, 6
LOAD_STATE, LOAD_PRESET, SAVE = 1, 2, 3
READY, STATE, PARAMETERS, PRESETS, SAY, TURNED = 101, 102, 103, 104, 105, 106
PRESET = 17
LIBC = ctypes.CDLL(None, use_errno=True)


def descriptors():
    """What each open descriptor is, but for the one that is open to find that out."""
    found = {}
    for link in Path("/proc/self/fd").iterdir():
        with contextlib.suppress(FileNotFoundError):
            found[link.name] = str(link.readlink())
    return found


class Server:
    """What a server of the wire does, in one thread."""

    def __init__(self, folder):
        self.folder, self.descriptors = folder, descriptors()
        self.behaviour = json.loads((folder / "behaviour.json").read_text())
        self.memory = mmap.mmap(3, AT_SOUND + 2 * RING * 4)
        self.words = (ctypes.c_uint32 * (AT_EVENTS // 4)).from_buffer(self.memory)
        self.sound = memoryview(self.memory)[AT_SOUND:].cast("f")
        self.socket = socket.socket(fileno=4)
        self.heard = (folder / "heard").open("a", buffering=1)
        with (folder / "progress").open("r+b") as file:
            self.progress = mmap.mmap(file.fileno(), 16)
        self.state, self.loads, self.inbox = b"default", 0, b""
        self.epoch = self.made = 0
        self.waiting = None  # a reset whose loads have not come
        self.keys = {}

    def number(self, at, form="<Q"):
        return struct.unpack_from(form, self.memory, at)[0]

    def hear(self, what, **more):
        self.heard.write(json.dumps({"what": what, "pid": os.getpid(), "epoch": self.epoch, **more}) + "\n")

    def send(self, kind, number=0, content=b""):
        self.socket.sendall(HEAD.pack(kind, number, len(content)) + content)

    def obey(self, kind, number, content):
        while self.behaviour.get("thinks") and (self.folder / "hold").exists():
            time.sleep(0.005)
        self.hear("message", kind=kind, number=number, length=len(content), content=content[:64].hex())
        if self.behaviour.get("stuck"):  # it still says what it played before
            self.send(STATE, 0, self.state)
        elif kind in (LOAD_STATE, LOAD_PRESET):
            self.state = content if kind == LOAD_STATE else b"preset:" + content
            self.loads = number
            for parameter in self.behaviour.get("late_turns", ()):  # before it came to this load
                self.send(TURNED, parameter)
            self.send(STATE, 0, self.state)
        elif kind == SAVE:
            for parameter in self.behaviour.get("turns", ()):  # on its panel
                self.send(TURNED, parameter)
            self.send(STATE, number, self.state)

    def read_messages(self):
        while select.select([self.socket], [], [], 0)[0]:
            got = self.socket.recv(1 << 16)
            if not got:
                while self.behaviour.get("deaf"):
                    time.sleep(1)
                raise SystemExit
            self.inbox += got
            while len(self.inbox) >= HEAD.size:
                kind, number, length = HEAD.unpack_from(self.inbox)
                if len(self.inbox) < HEAD.size + length:
                    break
                content, self.inbox = self.inbox[HEAD.size : HEAD.size + length], self.inbox[HEAD.size + length :]
                self.obey(kind, number, content)

    def take_events(self, before):
        """Obey the events before a time, up to a reset whose loads have not come."""
        tail = self.number(AT_TAIL)
        while tail < self.number(AT_HEAD):
            at = AT_EVENTS + tail % EVENTS * EVENT.size
            when, value, kind, number, epoch, data, _, loads, block = EVENT.unpack_from(self.memory, at)
            if (kind == RESET and loads > self.loads) or (kind != RESET and self.epoch and when >= before):
                break
            tail += 1
            if kind == RESET:
                self.epoch, self.made, before, self.keys = epoch, 0, 0, {}
                struct.pack_into("<I", self.memory, AT_RACK_LATENCY, self.behaviour.get("rack_latency", 0))
                self.hear("reset", rate=value, offline=number, block=block, loads=loads)
                if self.behaviour.get("tells_late"):
                    self.tell()
            elif kind == MIDI:
                self.hear("midi", time=when, data=list(data[:number]))
                if data[0] >> 4 == 9:
                    self.keys[when] = data[1]
            elif kind == EXCLUSIVE:
                self.hear("exclusive", time=when, data=list(data[:number]))
            elif kind == CHOOSE:
                self.hear("parameter", time=when, number=number, value=value)
                if number == PRESET:
                    self.state = b"chosen:%d" % value
                    self.send(STATE, 0, self.state)
            else:
                self.hear("tempo" if kind == TEMPO else "transport", time=when, number=number, value=value)
        struct.pack_into("<Q", self.memory, AT_TAIL, tail)

    def make(self):
        if (self.folder / "hold").exists():
            return
        complete = self.number(AT_COMPLETE)
        self.take_events(complete % (1 << 48) if complete >> 48 == self.epoch else 0)
        if complete >> 48 != self.epoch or not self.epoch:
            return
        self.take_events(complete % (1 << 48))
        if complete >> 48 != self.epoch:  # a reset came in between: these samples are of the epoch before
            return
        for sample in range(self.made, complete % (1 << 48)):
            self.sound[sample % RING] = float(self.behaviour.get("sounds", sample + 1))
            self.sound[RING + sample % RING] = self.keys.get(sample, 0)
        self.made = complete % (1 << 48)
        struct.pack_into("<Q", self.memory, AT_MADE, self.epoch << 48 | self.made)
        self.scribble()
        self.words[AT_PLUGIN_BELL // 4] += 1
        if self.words[AT_PLUGIN_SLEEPS // 4]:
            LIBC.syscall(FUTEX, ctypes.byref(self.words, AT_PLUGIN_BELL), 1, 1, None, None, 0)
        struct.pack_into("<QII", self.progress, 0, self.epoch << 48 | self.made, os.getpid(), 0)

    def scribble(self):
        """What no server may write, where it is to."""
        what = self.behaviour.get("scribbles")
        if what == "made":
            struct.pack_into("<Q", self.memory, AT_MADE, self.epoch << 48 | self.made + 100000)
        if what == "tail":
            struct.pack_into("<Q", self.memory, AT_TAIL, self.number(AT_HEAD) + 1)
        if what == "rack":
            struct.pack_into("<I", self.memory, AT_RACK_LATENCY, 0xFFFFFFFF)

    def sleep(self):
        """Until the plugin rings, or 5 ms have passed, for the sake of the socket."""
        bell = self.words[AT_SERVER_BELL // 4]
        self.words[AT_SERVER_SLEEPS // 4] = 1
        if self.number(AT_COMPLETE) == self.epoch << 48 | self.made or (self.folder / "hold").exists():
            patience = (ctypes.c_long * 2)(0, 5_000_000)
            LIBC.syscall(FUTEX, ctypes.byref(self.words, AT_SERVER_BELL), 0, bell, patience, None, 0)
        self.words[AT_SERVER_SLEEPS // 4] = 0

    def begin(self):
        """Say what this process was given."""
        child = None
        if self.behaviour.get("child"):  # which keeps the socket open
            child = subprocess.Popen(["sleep", "3600"], pass_fds=(4,)).pid
        blocked = sorted(signal.pthread_sigmask(signal.SIG_BLOCK, ()))
        about = {"hangup": int(signal.getsignal(signal.SIGHUP)), "child": child, "arguments": sys.argv[1:]}
        about["sealed"] = bool(fcntl.fcntl(3, fcntl.F_GET_SEALS) & fcntl.F_SEAL_SHRINK)
        about["environment"] = sorted(os.environ)
        self.hear("began", descriptors=self.descriptors, blocked=blocked, **about)

    def tell(self):
        """Send the names of macros and presets."""
        names = [(b"Macro %d" % i, i / 16, 1) for i in range(16)]
        self.send(PARAMETERS, 0, b"".join(PARAMETER.pack(*one) for one in names))
        self.send(PRESETS, 0, b"one\0two\0")

    def run(self):
        self.begin()
        assert struct.unpack_from("<II", self.memory) == (0x4C424D54, 1)
        if self.behaviour.get("talks"):
            self.socket.sendall(bytes.fromhex(self.behaviour["talks"]))
        if not self.behaviour.get("tells_late"):  # else after the first reset
            self.tell()
        if not self.behaviour.get("never_ready"):
            self.send(READY)
        self.send(STATE, 0, self.state)
        while True:
            self.read_messages()
            self.make()
            self.sleep()
