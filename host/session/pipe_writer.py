"""Non-blocking pipe writer: sends at once, or from a thread while the reader is slow."""

import contextlib
import os
import select
import threading
from collections.abc import Hashable, Sequence
from multiprocessing.connection import Connection
from multiprocessing.reduction import ForkingPickler
from typing import Any

from ..events import ParameterChange
from .messages import Command

MOST_WAITING = 4096  # for a stalled reader; the oldest are dropped
LONGEST_AT_ONCE = 16 << 10  # bytes: a writable socket has room for a hundred thousand


class MessageQueue:
    def __init__(self) -> None:
        self._waiting: dict[Hashable, Any] = {}
        self._fences = 0  # messages so far that no later one may pass

    def __bool__(self) -> bool:
        return bool(self._waiting)

    def put(self, message: Any, replaces: Hashable = None) -> None:
        """Queue a message; it replaces a waiting one of equal ``replaces``, unless one without lies between."""
        if replaces is None:
            self._fences += 1
        key = (self._fences, replaces)
        self._waiting.pop(key, None)
        self._waiting[key] = message
        if len(self._waiting) > MOST_WAITING:
            del self._waiting[next(iter(self._waiting))]

    def put_command(self, command: str, data: Any) -> None:
        """Keep the last change of each parameter."""
        for message, replaces in parts_of(command, data):
            self.put(message, replaces)

    def take_all(self) -> list[Any]:
        taken = list(self._waiting.values())
        self._waiting.clear()
        return taken


def parts_of(command: str, data: Any) -> list[tuple[Command, Hashable]]:
    """A command's messages, one an event, each with its ``replaces``."""
    if command != "events":
        return [((command, data), None)]
    return [
        ((command, [event]), (event.channel, event.target) if isinstance(event, ParameterChange) else None)
        for event in data
    ]


class PipeWriter:
    """Sends messages in order, as lists of those queued together."""

    def __init__(self, pipe: Connection) -> None:
        self._pipe = pipe
        self._room = _Room(pipe)
        self._waiting = MessageQueue()
        self._news = threading.Condition()
        self._sending = self._closed = False
        self._thread = threading.Thread(target=self._run, name="pipe", daemon=True)
        self._thread.start()

    def put(self, message: Any, replaces: Hashable = None) -> None:
        """Send, or queue as `MessageQueue.put`; dropped if the reader is gone."""
        self._put_all([(message, replaces)])

    def put_command(self, command: str, data: Any = None) -> None:
        self._put_all(parts_of(command, data))

    def close(self) -> None:
        with self._news:
            self._closed = True
            self._news.notify()

    def _put_all(self, messages: Sequence[tuple[Any, Hashable]]) -> None:
        with self._news:
            if not self._waiting and not self._sending and self._sent([message for message, _ in messages]):
                return
            for message, replaces in messages:
                self._waiting.put(message, replaces)
            self._news.notify()

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
                messages = self._waiting.take_all()
                self._sending = True
            with contextlib.suppress(OSError, ValueError):  # no reader: the other side of the pipe notices
                self._pipe.send(messages)


class _Room:
    """True while the pipe is writable; False if unknown."""

    def __init__(self, pipe: Connection) -> None:
        self._poll = select.poll() if os.name == "posix" else None
        if self._poll is not None:
            self._poll.register(pipe.fileno(), select.POLLOUT)

    def __bool__(self) -> bool:
        return self._poll is not None and bool(self._poll.poll(0))
