"""A process of its own that answers questions about one model, beside the one that sounds.

A thread would share its interpreter with the one that sounds, which then waits for it again and again: with a knob that
moved all the time, a block of 16 held voices took one and a half times as long.
"""

import multiprocessing
import pickle
import signal
from collections.abc import Callable
from multiprocessing.connection import Connection
from typing import Any, Protocol

from ..errors import UserError
from ..files import Stamp
from ..interrupts import SIGNALS


class ModelHolder(Protocol):
    """Holds an opened model; pickled, it opens the model's file anew."""

    @property
    def stamp(self) -> Stamp | None:
        """Return the stamp of the model's file, when it was read."""


class Away(Exception):
    """The process is not there yet, has ended, or opened another file: whoever asks computes it himself."""


class ModelProcess:
    """Asks the process, which ends with the last holder of this."""

    def __init__(self, name: str, opened: ModelHolder, answer: Callable[..., Any], *shared: Any) -> None:
        """Have the process start.

        Args:
            name: of the process.
            opened: what it answers with.
            answer: a function of a module, from (``opened``, a question, ``shared``) to what is answered.
            shared: memory that both processes see.
        """
        self._stamp = opened.stamp
        context = multiprocessing.get_context("spawn")
        self._pipe, theirs = context.Pipe()
        self._process = context.Process(
            target=_serve, args=(theirs, pickle.dumps(opened), answer, *shared), name=name, daemon=True
        )
        self._process.start()
        theirs.close()
        self._there, self._gone = False, False

    def ask(self, question: Any) -> Any:
        """Return the answer to a question, once it is there.

        Raises:
            Away: nobody answers.
            Exception: whatever was raised there.
        """
        if not self._is_there():
            raise Away
        try:
            self._pipe.send(question)
            problem, answer = self._pipe.recv()
        except (EOFError, OSError):
            self._gone = True
            raise Away from None
        if problem is not None:
            raise problem
        return answer

    def _is_there(self) -> bool:
        """Return whether the process can be asked; it is not if it opened another file than this one."""
        try:
            if not self._there and not self._gone and self._pipe.poll(0):
                self._there, self._gone = True, self._pipe.recv() != self._stamp
        except (EOFError, OSError):
            self._gone = True
        return self._there and not self._gone


def _serve(pipe: Connection, pickled: bytes, answer: Callable[..., Any], *shared: Any) -> None:
    """Be the process: say that it is there, and answer until nobody asks any more."""
    for number in SIGNALS:
        if number != signal.SIGTERM:  # by which whoever began it ends it
            signal.signal(number, signal.SIG_IGN)
    try:
        opened: ModelHolder = pickle.loads(pickled)
        pipe.send(opened.stamp)
        while True:
            question = pipe.recv()
            try:
                answered = answer(opened, question, *shared)
            except Exception as error:  # told to whoever asks
                pipe.send((error, None))
            else:
                pipe.send((None, answered))
    except (EOFError, OSError, UserError):  # nobody asks, or the model has gone
        return
