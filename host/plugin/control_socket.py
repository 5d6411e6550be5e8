"""Messages on the control socket between a plugin and its server."""

import contextlib
import socket
import threading
from collections.abc import Sequence
from typing import NamedTuple

from ..errors import printable
from .macros import PluginParameter
from .shared_memory import HEAD, LONGEST_MESSAGE, MACROS, NAME_BYTES, ToPlugin, WireParameter

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
        head = self._bytes(HEAD.size)
        if head is None:
            return None
        kind, number, length = HEAD.unpack(head)
        data = self._bytes(length) if length <= LONGEST_MESSAGE else None
        return None if data is None else Message(kind, number, data)

    def send(self, kind: ToPlugin, data: bytes = b"", number: int = 0) -> None:
        """`receive` reports a disconnect."""
        with self._sending, contextlib.suppress(OSError):
            self._socket.sendall(HEAD.pack(kind, number, len(data)) + data)

    def say(self, line: str) -> None:
        self.send(ToPlugin.SAY, cut(printable(line), LONGEST_LINE))

    def send_parameters(self, slots: Sequence[PluginParameter]) -> None:
        parameters = (WireParameter * MACROS)()
        for place, slot in zip(parameters, slots, strict=False):
            place.name, place.rest, place.used = cut(printable(slot.name), NAME_BYTES - 1), slot.place(slot.rest), 1
        self.send(ToPlugin.PARAMETERS, bytes(parameters))

    def send_presets(self, names: Sequence[str]) -> None:
        self.send(ToPlugin.PRESETS, b"".join(name.encode() + b"\0" for name in names))

    def _bytes(self, count: int) -> bytes | None:
        found = bytearray(count)
        left = memoryview(found)
        while left:
            try:
                got = self._socket.recv_into(left)
            except OSError:
                return None
            if not got:
                return None
            left = left[got:]
        return bytes(found)


def cut(text: str, count: int) -> bytes:
    """UTF-8 of at most ``count`` bytes, in whole characters."""
    return text.encode(errors="replace")[:count].decode(errors="ignore").encode()
