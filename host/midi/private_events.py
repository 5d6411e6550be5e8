"""Private events in MIDI files: parameter changes and touches.

A byte of kind, one of channel; values as big-endian doubles, exact; then the target's name in UTF-8.
"""

import struct

from ..events import ParameterChange, ParameterTouch
from .midi_file_parser import SmfError

TURN, HOLD = 0, 1
_TURN = struct.Struct(">BBd")
_HOLD = struct.Struct(">BB?")


def to_bytes(event: ParameterChange | ParameterTouch) -> bytes:
    """Omits the time."""
    if isinstance(event, ParameterChange):
        head = _TURN.pack(TURN, event.channel, event.value)
    else:
        head = _HOLD.pack(HOLD, event.channel, event.down)
    return head + event.target.encode(errors="replace")


def from_bytes(time: int, data: bytes) -> ParameterChange | ParameterTouch:
    """Raise SmfError for invalid bytes."""
    try:
        kind, channel, value = (_TURN if data[0] == TURN else _HOLD).unpack_from(data)
        target = data[(_TURN if kind == TURN else _HOLD).size :].decode()
    except (struct.error, UnicodeDecodeError):
        kind = channel = -1
    if kind not in (TURN, HOLD) or channel not in range(16):
        raise SmfError(f"an event of timbrel's own that it does not know: 0x{data.hex()}; record it again")
    return (
        ParameterChange(time, channel, target, value) if kind == TURN else ParameterTouch(time, channel, target, value)
    )
