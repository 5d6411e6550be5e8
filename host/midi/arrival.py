"""The bell that calls a loop when an event arrives, from its rest or from blocks that the core renders by itself."""

import contextlib
import ctypes
import select
import socket

MOST_BYTES = 4096  # read at once


class Arrival:
    """A `threading.Event` that threads outside Python can set.

    Attributes:
        flag: 1 once it is set, else 0. The first to set it also sends a byte to ``descriptor``, which ends a `wait`.
        receiver: the socket that receives it, to wait for it among others.
    """

    def __init__(self) -> None:
        self.flag = ctypes.c_int32()
        self.receiver, self._sender = socket.socketpair()
        for end in (self.receiver, self._sender):
            end.setblocking(False)

    @property
    def descriptor(self) -> int:
        """A socket that does not block."""
        return self._sender.fileno()

    def set(self) -> None:
        if not self.flag.value:
            self.flag.value = 1
            with contextlib.suppress(BlockingIOError):  # full: it is set
                self._sender.send(b"\0")

    def expect(self) -> None:
        """Set the flag to 0, before events are read. Bytes stay, so a later `wait` may end at once."""
        self.flag.value = 0

    def clear(self) -> None:
        with contextlib.suppress(BlockingIOError):
            while self.receiver.recv(MOST_BYTES):
                pass
        self.expect()  # last: an event that raises the flag from here on sends a byte

    def wait(self, seconds: float) -> bool:
        """Return whether it was set in this time."""
        return bool(select.select([self.receiver], [], [], seconds)[0])
