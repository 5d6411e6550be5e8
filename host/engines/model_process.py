"""Model process: serves requests on a model beside the audio process.

A thread would share the interpreter lock: with a moving parameter, a block of 16 voices took 1.5 times as long.
"""

import pickle
import signal
from collections.abc import Callable
from multiprocessing.connection import Connection
from typing import Any

from ..child_process import ChildProcess
from ..errors import UserError
from ..interrupts import SIGNALS
from ..model.model import Model


class Away(Exception):
    """The process is not ready, has exited, or opened another file: the caller computes the result."""


class ModelProcess:
    """Client of a model process, which exits with the last reference to this object."""

    def __init__(self, name: str, model: Model, holder: Any, answer: Callable[..., Any], *shared: Any) -> None:
        """Start the process with a pickle of ``holder``, which holds the model: unpickling opens its file again.

        ``answer``: module-level function of (``holder``, question, *``shared``); ``shared``: memory of both processes.
        """
        self._stamp = model.stamp
        pickled_holder = pickle.dumps((model, holder))
        self._child = ChildProcess(_serve, pickled_holder, answer, *shared, name=name, daemon=True)
        self._pipe = self._child.pipe
        self._ready, self._failed = False, False

    def ask(self, question: Any) -> Any:
        """Return the answer; blocks.

        Raises:
            Away: the process does not serve.
            Exception: raised by ``answer``.
        """
        if not self._is_ready():
            raise Away
        try:
            self._pipe.send(question)
            remote_error, reply = self._pipe.recv()
        except (EOFError, OSError):
            self._failed = True
            raise Away from None
        if remote_error is not None:
            raise remote_error
        return reply

    def _is_ready(self) -> bool:
        try:
            if not self._ready and not self._failed and self._pipe.poll(0):
                self._ready, self._failed = True, self._pipe.recv() != self._stamp
        except (EOFError, OSError):
            self._failed = True
        return self._ready and not self._failed


def _serve(pipe: Connection, pickled_holder: bytes, answer: Callable[..., Any], *shared: Any) -> None:
    """Send the stamp of the model's file, then a reply to each question."""
    for signal_number in SIGNALS:
        if signal_number != signal.SIGTERM:  # the parent terminates it
            signal.signal(signal_number, signal.SIG_IGN)
    try:
        model, holder = pickle.loads(pickled_holder)
        pipe.send(model.stamp)
        while True:
            question = pipe.recv()
            try:
                reply = answer(holder, question, *shared)
            except Exception as error:  # re-raised in `ask`
                pipe.send((error, None))
            else:
                pipe.send((None, reply))
    except (EOFError, OSError, UserError):  # the client exited, or the model file is missing
        return
