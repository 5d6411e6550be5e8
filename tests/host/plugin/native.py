"""The plugin's native core as Python calls it, and the server that answers it in tests."""

import contextlib
import ctypes
import json
import mmap
import os
import shutil
import struct
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

NATIVE = Path(__file__).parents[3] / "host" / "plugin" / "native"
HERE = Path(__file__).parent
MACROS, GAIN, PRESET, PANEL, PARAMETERS = 16, 16, 17, 18, 19
STARTS, PLAYS, SILENT = 0, 1, 2  # core_standing
LONG = 600  # seconds: what has not happened then, on however busy a machine, will not
MIXED = (64, 1, 1000, 17, 512, 256, 63)
NOTE = bytes((0x90, 60, 100))
FIRST_HEAD, HEAD = 4 * 24, 4 * 26  # bytes of a state before its patch: as version 1 had them, and now
VALUES = 4 * 5  # bytes before the values of its parameters

CHANGES = {1: "parameters", 2: "latency", 4: "state"}  # core_change
CHANGED = ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_int)
SAID = ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_bool, ctypes.c_char_p)


def make(target, build, *settings):
    """Builds a target of the native Makefile into a folder; the test is skipped where there is no compiler."""
    for tool in ("cc", "make"):
        if not shutil.which(tool):
            pytest.skip(f"needs {tool}")
    done = subprocess.run(
        ["make", "-s", "-C", str(NATIVE), target, f"BUILD={build}", *settings],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr


class Listener(ctypes.Structure):
    """core_listener."""

    _fields_ = (
        ("self", ctypes.c_void_p),
        ("changed", CHANGED),
        ("say", SAID),
    )


class Told(ctypes.Structure):
    """wire_parameter."""

    _fields_ = (("name", ctypes.c_char * 64), ("rest", ctypes.c_float), ("used", ctypes.c_uint32))


def library(path):
    """The core's library, with the types of its functions."""
    lib = ctypes.CDLL(str(path))
    core, u32, block = ctypes.c_void_p, ctypes.c_uint32, ctypes.POINTER(ctypes.c_float)
    for name, result, arguments in (
        ("core_new", core, [ctypes.c_char_p, ctypes.POINTER(Listener)]),
        ("core_free", None, [core]),
        ("core_activate", None, [core, ctypes.c_double, u32]),
        ("core_keep_latency", None, [core]),
        ("core_deactivate", None, [core]),
        ("core_offline", None, [core, ctypes.c_bool]),
        ("core_midi", None, [core, u32, ctypes.c_char_p, u32]),
        ("core_set", None, [core, u32, u32, ctypes.c_float]),
        ("core_tempo", None, [core, u32, ctypes.c_double]),
        ("core_transport", None, [core, u32, ctypes.c_bool, ctypes.c_bool, u32]),
        ("core_run", None, [core, block, block, u32]),
        ("core_latency", u32, [core]),
        ("core_late", ctypes.c_uint64, [core]),
        ("core_standing", ctypes.c_int, [core]),
        ("core_spoilt", ctypes.c_bool, [core]),
        ("core_get", ctypes.c_float, [core, u32]),
        ("core_loaded", ctypes.c_float, [core, u32]),
        ("core_parameter", None, [core, u32, ctypes.POINTER(Told)]),
        ("core_preset_name", ctypes.c_bool, [core, u32, ctypes.c_char_p]),
        ("core_save", ctypes.c_size_t, [core, ctypes.POINTER(ctypes.c_void_p)]),
        ("core_load", ctypes.c_bool, [core, ctypes.c_char_p, ctypes.c_size_t]),
        ("core_load_preset", ctypes.c_bool, [core, ctypes.c_char_p]),
    ):
        getattr(lib, name).restype, getattr(lib, name).argtypes = result, arguments
    return lib


def until(true, what):
    """Waits for something to become true."""
    end = time.monotonic() + LONG
    while not true():
        assert time.monotonic() < end, f"never: {what}"
        time.sleep(0.002)


class Folder:
    """A plugin's folder whose interpreter is the server of these tests."""

    def __init__(self, path, **behaviour):
        self.path = path
        path.mkdir(exist_ok=True)
        self.behave(**behaviour)
        (path / "heard").touch()
        (path / "progress").write_bytes(bytes(16))
        with (path / "progress").open("r+b") as file:
            self._progress = mmap.mmap(file.fileno(), 16)
        # No shell stands between: it would have signals and descriptors its own way. Without site it is quicker.
        python, start = path / "python", path / "start"
        python.symlink_to(sys.executable)
        start.write_text(
            f"#!{python} -IS\nimport sys\nfrom pathlib import Path\nsys.path.append({str(HERE)!r})\n"
            f"import fake_server\nfake_server.Server(Path({str(path)!r})).run()\n"
        )
        start.chmod(0o755)
        self.name(start)

    def name(self, interpreter):
        (self.path / "interpreter").write_text(f"{interpreter}\n")

    def behave(self, **behaviour):
        (self.path / "behaviour.json").write_text(json.dumps(behaviour))

    def hold(self, holds):
        (self.path / "hold").touch() if holds else (self.path / "hold").unlink()

    def heard(self, what=None):
        """Messages that servers received, in order."""
        lines = [json.loads(line) for line in (self.path / "heard").read_text().splitlines()]
        return [line for line in lines if what in (None, line["what"])]

    @property
    def made(self):
        """The epoch and the samples of it that are made."""
        position = struct.unpack_from("<Q", self._progress)[0]
        return position >> 48, position & (1 << 48) - 1

    @property
    def process(self):
        """The server that made sound last; it writes its number after that."""
        until(lambda: struct.unpack_from("<I", self._progress, 8)[0], "sound of a server")
        return struct.unpack_from("<I", self._progress, 8)[0]  # never 0, which would mean this process and its group


class Core:
    """A core, as a host has it; what it says is in `said`."""

    def __init__(self, lib, folder):
        self.lib, self.said, self.urgent, self.changes = lib, [], [], []
        changed = CHANGED(lambda _, change: self.changes.append(CHANGES[change]))
        self._listener = Listener(None, changed, SAID(self._hear))
        self.core = lib.core_new(os.fsencode(folder.path), ctypes.byref(self._listener))
        self.folder, self.position = folder, 0

    def _hear(self, _, urgent, line):
        self.said.append(line.decode())
        if urgent:
            self.urgent.append(line.decode())

    def __getattr__(self, name):
        call = getattr(self.lib, f"core_{name}")
        return lambda *arguments: call(self.core, *arguments)

    def wait(self):
        """Until there is a server; its first samples are those of the next block."""
        until(lambda: self.folder.heard("began"), "a server")

    def run(self, count):
        """A block: the two channels, [2, count]."""
        sound = np.full((2, count), np.nan, np.float32)
        sides = [side.ctypes.data_as(ctypes.POINTER(ctypes.c_float)) for side in sound]
        self.lib.core_run(self.core, *sides, count)
        self.position += count
        return sound

    def play(self, blocks):
        """Blocks in live time, each when the server has made the one before: what comes out, [2, samples]."""
        parts = []
        for block in blocks:
            parts.append(self.run(block))
            self.caught_up()
        return np.concatenate(parts, axis=1)

    def caught_up(self):
        until(lambda: self.folder.made[1] == self.position, f"{self.position} samples made")

    def save(self):
        where = ctypes.c_void_p()
        count = self.lib.core_save(self.core, ctypes.byref(where))
        state = ctypes.string_at(where, count)
        ctypes.CDLL(None).free(where)
        return state

    def load(self, state):
        return self.lib.core_load(self.core, state, len(state))

    def close(self):
        if self.core:
            self.lib.core_free(self.core)
            self.core = None


@contextlib.contextmanager
def opened(lib, folder):
    """A core that is closed in the end."""
    core = Core(lib, folder)
    try:
        yield core
    finally:
        core.close()


def alive(core):
    """Plays until the server's sound comes."""
    until(lambda: core.run(128).any(), "sound")
    return core.folder.process
