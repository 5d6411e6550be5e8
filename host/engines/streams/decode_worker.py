"""Makes frames beside the sound: on a thread that nobody waits for, which asks a process of its own."""

from concurrent.futures import Future, ThreadPoolExecutor

from ..model_process import Away, Server
from .frame_maker import Made, Maker, Step


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
        self._maker, self._server = maker, Server("streams", maker, Maker.make)

    def make(self, step: Step) -> Made:
        try:
            made: Made = self._server.ask(step)
        except Away:
            return self._maker.make(step)
        return made
