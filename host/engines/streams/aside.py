"""Makes frames beside the sound: on a thread that nobody waits for, in a process of its own.

A thread alone would share its interpreter with the one that sounds, which then waits for it again and again.
"""

import multiprocessing
import pickle
import signal
from concurrent.futures import Future, ThreadPoolExecutor
from multiprocessing.connection import Connection

from ...errors import UserError
from ...stop import SIGNALS
from .maker import Made, Maker, Step


class Aside:
    """Makes frames in the order in which they are asked for. It ends with its last holder.

    Until its process is there, and where that has ended, they are made on its thread.
    """

    def __init__(self, maker: Maker) -> None:
        """Have the process start."""
        self._work, self._thread = _Work(maker), ThreadPoolExecutor(1, "streams")

    def ask(self, step: Step) -> "Future[Made]":
        """Have a frame made."""
        return self._thread.submit(self._work.make, step)


class _Work:
    """The thread's side: it knows nobody who asks."""

    def __init__(self, maker: Maker) -> None:
        self._maker = maker
        context = multiprocessing.get_context("spawn")
        self._pipe, theirs = context.Pipe()
        process = context.Process(target=_serve, args=(theirs, pickle.dumps(maker)), name="streams", daemon=True)
        process.start()
        theirs.close()
        self._there, self._gone = False, False

    def make(self, step: Step) -> Made:
        if self._is_there():
            try:
                self._pipe.send(step)
                made: Made | Exception = self._pipe.recv()
            except (EOFError, OSError):
                self._gone = True
            else:
                if isinstance(made, Exception):
                    raise made
                return made
        return self._maker.make(step)

    def _is_there(self) -> bool:
        """Return whether the process can be asked; it is not if it opened another file than this one."""
        try:
            if not self._there and not self._gone and self._pipe.poll(0):
                self._there, self._gone = True, self._pipe.recv() != self._maker.stamp
        except (EOFError, OSError):
            self._gone = True
        return self._there and not self._gone


def _serve(pipe: Connection, pickled: bytes) -> None:
    """Be the process: say that it is there, and make frames until nobody asks any more."""
    for number in SIGNALS:
        if number != signal.SIGTERM:  # by which whoever began it ends it
            signal.signal(number, signal.SIG_IGN)
    try:
        maker: Maker = pickle.loads(pickled)
        pipe.send(maker.stamp)
        while True:
            step = pipe.recv()
            try:
                pipe.send(maker.make(step))
            except Exception as error:  # told to whoever asks
                pipe.send(error)
    except (EOFError, OSError, UserError):  # nobody asks, or the model has gone
        return
