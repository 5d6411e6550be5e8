"""Sends messages through a pipe from a thread of its own, so that nobody waits for a reader who is slow."""

import contextlib
import threading
from collections import deque
from collections.abc import Hashable
from multiprocessing.connection import Connection
from typing import Any

MOST_WAITING = 4096  # messages for a reader who does not read; the oldest go


class Post:
    """Messages on their way through a pipe, in order; one that takes an earlier one's place is sent once."""

    def __init__(self, pipe: Connection) -> None:
        self._pipe = pipe
        self._waiting: deque[list[Any]] = deque()
        self._latest: dict[Hashable, list[Any]] = {}  # those that wait and may be replaced
        self._news = threading.Condition()
        self._closed = False
        self._thread = threading.Thread(target=self._run, name="post", daemon=True)
        self._thread.start()

    def put(self, message: Any, replaces: Hashable = None) -> None:
        """Send a message; with ``replaces``, in the place of one that still waits and was put with the same."""
        with self._news:
            if replaces is not None and replaces in self._latest:
                self._latest[replaces][0] = message
                return
            if len(self._waiting) == MOST_WAITING:
                self._forget(self._waiting.popleft())
            entry = [message, replaces]
            self._waiting.append(entry)
            if replaces is not None:
                self._latest[replaces] = entry
            self._news.notify()

    def fence(self) -> None:
        """Let no later message take the place of one that waits now."""
        with self._news:
            self._latest.clear()

    def close(self) -> None:
        """Send nothing more."""
        with self._news:
            self._closed = True
            self._news.notify()

    def _run(self) -> None:
        while True:
            with self._news:
                self._news.wait_for(lambda: self._waiting or self._closed)
                if self._closed:
                    return
                entry = self._waiting.popleft()
                self._forget(entry)
            with contextlib.suppress(OSError, ValueError):  # the reader has gone: who waits for it notices
                self._pipe.send(entry[0])

    def _forget(self, entry: list[Any]) -> None:
        if self._latest.get(entry[1]) is entry:
            del self._latest[entry[1]]
