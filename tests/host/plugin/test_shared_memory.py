"""The wire's layout in Python is that of the C header, and what passes over it arrives."""

import ctypes
import mmap
import os
import re
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
from timbrel.host.errors import Failure
from timbrel.host.plugin import wire
from timbrel.host.plugin.wire import Position, SharedMemory, cut

HEADER = Path(wire.__file__).with_name("native") / "wire.h"
STRUCTURES = {
    "wire_event": wire.WireEvent,
    "wire_memory": wire.WireMemory,
    "wire_message": wire.WireMessage,
    "wire_parameter": wire.WireParameter,
}
CONSTANTS = {
    "WIRE_MAGIC": wire.MAGIC,
    "WIRE_VERSION": wire.VERSION,
    "WIRE_RING": wire.RING,
    "WIRE_EVENTS": wire.EVENTS,
    "WIRE_LONGEST_BLOCK": wire.LONGEST_BLOCK,
    "WIRE_LONGEST_MESSAGE": wire.LONGEST_MESSAGE,
    "WIRE_OFFLINE": wire.OFFLINE,
    "WIRE_MACROS": wire.MACROS,
    "WIRE_POSITION(65535, 48000)": Position(65535, 48000).number,
    "WIRE_EPOCH(WIRE_POSITION(9, 77))": 9,
    "WIRE_SAMPLES(WIRE_POSITION(9, 77))": 77,
} | {
    f"WIRE_{one.name}": one.value
    for kinds in (wire.EventKind, wire.ToServer, wire.ToPlugin, wire.Parameter)
    for one in kinds
}
NOT_OURS = {"WIRE_PARAMETER_COUNT"}  # of parameters: nothing here counts them


def said_by_c(tmp_path, expressions):
    """The values of C expressions, by a program that includes the header."""
    lines = "".join(f'printf("%llu\\n", (unsigned long long)({each}));' for each in expressions)
    program = f'#include <stddef.h>\n#include <stdio.h>\n#include "{HEADER}"\nint main(void) {{ {lines} return 0; }}\n'
    (tmp_path / "layout.c").write_text(program)
    subprocess.run(["cc", "-std=c11", "-o", tmp_path / "layout", tmp_path / "layout.c"], check=True)
    run = subprocess.run([tmp_path / "layout"], capture_output=True, text=True, check=True)
    return dict(zip(expressions, map(int, run.stdout.split()), strict=True))


@pytest.mark.skipif(shutil.which("cc") is None, reason="no C compiler (Debian: gcc)")
def test_each_size_each_offset_and_each_constant_is_that_of_the_header(tmp_path):
    expected = dict(CONSTANTS)
    for name, structure in STRUCTURES.items():
        expected[f"sizeof({name})"] = ctypes.sizeof(structure)
        for field, *_ in structure._fields_:
            if not field.startswith("_"):
                expected[f"offsetof({name}, {field})"] = getattr(structure, field).offset
                expected[f"sizeof((({name} *)0)->{field})"] = getattr(structure, field).size
    assert said_by_c(tmp_path, list(expected)) == expected


def test_each_name_of_the_header_is_known():
    text = re.sub(r"/\*.*?\*/", "", HEADER.read_text(), flags=re.DOTALL)
    names = set(re.findall(r"\bWIRE_[A-Z_]+\b", text)) - {"WIRE_POSITION", "WIRE_EPOCH", "WIRE_SAMPLES"}
    assert names - NOT_OURS == {name for name in CONSTANTS if "(" not in name}
    for name, structure in STRUCTURES.items():
        body = re.search(rf"typedef struct \{{([^}}]*)\}} {name};", text)[1]
        declared = re.findall(r"(\w+)(?:\[\w+\])*[,;]", body)
        assert declared == [field for field, *_ in structure._fields_ if not field.startswith("_")]


@pytest.fixture
def shared():
    """A server's memory, and the same as the plugin has it."""
    descriptor = os.memfd_create("wire")
    os.ftruncate(descriptor, ctypes.sizeof(wire.WireMemory))
    plugin = wire.WireMemory.from_buffer(mmap.mmap(descriptor, 0))
    plugin.magic, plugin.version = wire.MAGIC, wire.VERSION
    yield SharedMemory(descriptor), plugin, descriptor
    os.close(descriptor)


def test_events_are_taken_once_in_order_across_the_end_of_their_ring(shared):
    server, plugin, _ = shared
    taken = []
    for written in range(3 * wire.EVENTS // 2):
        event = plugin.events[written % wire.EVENTS]
        event.time, event.value, event.kind, event.data[0], event.data[2], event.loads = (
            written,
            0.5,
            1,
            255,
            7,
            written,
        )
        plugin.event_head += 1
        if written % 1000 == 0:
            taken += server.read_events()
    taken += server.read_events()
    assert [event.time for event in taken] == [event.loads for event in taken] == list(range(3 * wire.EVENTS // 2))
    assert {(event.value, event.kind, event.status, event.first, event.second) for event in taken} == {
        (0.5, 1, 255, 0, 7)
    }
    assert plugin.event_tail == plugin.event_head
    assert server.read_events() == []


def test_sound_goes_round_its_ring(shared):
    server, plugin, _ = shared
    sound = np.arange(2 * 3000, dtype=np.float32).reshape(2, 3000)
    server.put(5 * wire.RING - 1000, sound)
    ring = np.ctypeslib.as_array(plugin.sound)
    np.testing.assert_array_equal(ring[:, -1000:], sound[:, :1000])
    np.testing.assert_array_equal(ring[:, :2000], sound[:, 1000:])
    assert not ring[:, 2000:-1000].any()


def test_what_is_made_is_told_and_rung(shared):
    server, plugin, _ = shared
    plugin.plugin_bell = 0xFFFFFFFF
    server.write_made(Position(3, 1 << 40))
    assert (plugin.made, plugin.plugin_bell) == (3 << 48 | 1 << 40, 0)


def test_who_was_rung_since_the_look_does_not_sleep(shared):
    server, plugin, _ = shared
    rung = server.rung
    plugin.server_bell += 1
    server.sleep(rung)  # for ever, if it did
    assert plugin.server_sleeps == 0


def test_a_memory_of_another_version_is_refused(shared):
    _, plugin, descriptor = shared
    plugin.version = 2
    with pytest.raises(Failure, match="speaks version 2 of the wire, this timbrel 1; install the plugin anew"):
        SharedMemory(descriptor)


def test_a_memory_that_is_too_small_is_refused(shared):
    _, _, descriptor = shared
    os.ftruncate(descriptor, 4096)
    with pytest.raises(Failure, match="too small"):
        SharedMemory(descriptor)


@pytest.mark.parametrize(
    ("text", "count", "kept"), [("voix", 9, "voix"), ("née", 2, "n"), ("née", 3, "né"), ("", 5, "")]
)
def test_a_name_is_cut_between_characters(text, count, kept):
    assert cut(text, count).decode() == kept
