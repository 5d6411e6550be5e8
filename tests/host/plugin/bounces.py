"""Begins the server of this tree for bounces in hosts, and gives events as MIDI's bytes."""

import sys
from pathlib import Path

import timbrel
from timbrel.host.events import ChannelPressure, ControlChange, KeyPressure, NoteOff, NoteOn, PitchBend, ProgramChange

START = """#!/bin/sh
exec '{python}' -I -c 'import runpy, sys; sys.path.insert(0, "{root}"); \\
runpy.run_module("timbrel.host.plugin", run_name="__main__")'
"""


def starter(folder):
    """A program in a folder that a plugin may take for its interpreter."""
    start = folder / "start"
    start.write_text(START.format(python=sys.executable, root=Path(timbrel.__file__).parents[1]))
    start.chmod(0o755)
    return start


def message(event):
    """A channel's event as its bytes; None of all others."""
    match event:
        case NoteOn(_, channel, key, velocity):
            return bytes([0x90 | channel, key, velocity])
        case NoteOff(_, channel, key):
            return bytes([0x80 | channel, key, 0])
        case KeyPressure(_, channel, key, value):
            return bytes([0xA0 | channel, key, value])
        case ControlChange(_, channel, number, value):
            return bytes([0xB0 | channel, number, value])
        case ProgramChange(_, channel, program):
            return bytes([0xC0 | channel, program])
        case ChannelPressure(_, channel, value):
            return bytes([0xD0 | channel, value])
        case PitchBend(_, channel, value):
            return bytes([0xE0 | channel, (value + 8192) & 127, (value + 8192) >> 7])
    return None
