"""Non-blocking pipe writer: sends messages at once, or from its own thread while the reader is slow."""

import contextlib
import os
import select
import threading
from collections import deque
from collections.abc import Hashable, Sequence
from multiprocessing.connection import Connection
from multiprocessing.reduction import ForkingPickler
from typing import Any

MOST_WAITING = 4096  # for a stalled reader; the oldest are dropped
LONGEST_AT_ONCE = 16 << 10  # bytes: a writable socket has room for a hundred thousand


class PipeWriter:
    """Sends messages through a pipe in order, as lists of those queued together.

    A newer message may replace a queued one.
    """

    def __init__(self, pipe: Connection) -> None:
        self._pipe = pipe
        self._room = _Room(pipe)
        self._waiting: deque[list[Any]] = deque()
        self._latest: dict[Hashable, list[Any]] = {}  # queued and replaceable
        self._news = threading.Condition()
        self._sending = self._closed = False
        self._thread = threading.Thread(target=self._run, name="post", daemon=True)
        self._thread.start()

    def put(self, message: Any, replaces: Hashable = None) -> None:
        """Send a message; it replaces a queued one with the same ``replaces``."""
        self.put_all([(message, replaces)])

    def put_all(self, messages: Sequence[tuple[Any, Hashable]]) -> None:
        with self._news:
            if not self._waiting and not self._sending and self._sent([message for message, _ in messages]):
                return
            for message, replaces in messages:
                self._keep(message, replaces)
            self._news.notify()

    def fence(self) -> None:
        """Let no later message replace a queued one."""
        with self._news:
            self._latest.clear()

    def close(self) -> None:
        with self._news:
            self._closed = True
            self._news.notify()

    def _keep(self, message: Any, replaces: Hashable) -> None:
        if replaces is not None and replaces in self._latest:
            self._latest[replaces][0] = message
            return
        if len(self._waiting) == MOST_WAITING:
            self._forget(self._waiting.popleft())
        entry = [message, replaces]
        self._waiting.append(entry)
        if replaces is not None:
            self._latest[replaces] = entry

    def _sent(self, messages: list[Any]) -> bool:
        if self._closed or not self._room:
            return False
        data = ForkingPickler.dumps(messages)
        if len(data) > LONGEST_AT_ONCE:
            return False
        with contextlib.suppress(OSError, ValueError):  # no reader: the other side of the pipe notices
            self._pipe.send_bytes(data)
        return True

    def _run(self) -> None:
        while True:
            with self._news:
                self._sending = False
                self._news.wait_for(lambda: self._waiting or self._closed)
                if self._closed:
                    return
                messages = [message for message, _ in self._waiting]
                self._waiting.clear()
                self._latest.clear()
                self._sending = True
            with contextlib.suppress(OSError, ValueError):  # no reader: the other side of the pipe notices
                self._pipe.send(messages)

    def _forget(self, entry: list[Any]) -> None:
        if self._latest.get(entry[1]) is entry:
            del self._latest[entry[1]]


class _Room:
    """True while the pipe is writable; False if unknown."""

    def __init__(self, pipe: Connection) -> None:
        self._poll = select.poll() if os.name == "posix" else None
        if self._poll is not None:
            self._poll.register(pipe.fileno(), select.POLLOUT)

    def __bool__(self) -> bool:
        return self._poll is not None and bool(self._poll.poll(0))
