"""The events that MIDI has no message for, as bytes of our own in a MIDI file: what a panel does to targets.

A byte says the kind of the event, one its channel (0 to 15); values are big-endian doubles, so that they come back to
the bit; the target's name ends it, as UTF-8.
"""

import struct

from ..events import Event, Turn
from .smf import Broken

TURN = 0
_TURN = struct.Struct(">BBd")


def to_bytes(event: Turn) -> bytes:
    """Return what a file holds of an event, but for its time."""
    return _TURN.pack(TURN, event.channel, event.value) + event.target.encode(errors="replace")


def from_bytes(time: int, data: bytes) -> Event:
    """Return the event at a sample that `to_bytes` gave.

    Raises:
        Broken: these are no such bytes.
    """
    try:
        kind, channel, value = _TURN.unpack_from(data)
        target = data[_TURN.size :].decode()
    except (struct.error, UnicodeDecodeError):
        kind = channel = -1
    if kind != TURN or channel not in range(16):
        raise Broken(f"an event of timbrel's own that it does not know: 0x{data.hex()}; record it again")
    return Turn(time, channel, target, value)
