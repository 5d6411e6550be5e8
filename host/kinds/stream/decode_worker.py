"""Makes frames beside the sound: on a thread that nobody waits for, which asks a process of its own."""

from concurrent.futures import Future, ThreadPoolExecutor

from ...engines.model_process import Away, ModelProcess
from .frame_maker import FrameInputs, FrameMaker, Made


class StreamDecodeWorker:
    """Makes frames in the order in which they are asked for. It ends with its last holder.

    Until its process is there, and where that has ended, they are made on its thread.
    """

    def __init__(self, maker: FrameMaker) -> None:
        """Have the process start."""
        self._work, self._thread = _Work(maker), ThreadPoolExecutor(1, "streams")

    def ask(self, step: FrameInputs) -> "Future[Made]":
        """Have a frame made."""
        return self._thread.submit(self._work.make, step)


class _Work:
    """The thread's side: it knows nobody who asks."""

    def __init__(self, maker: FrameMaker) -> None:
        self._maker, self._server = maker, ModelProcess("streams", maker, FrameMaker.make)

    def make(self, step: FrameInputs) -> Made:
        try:
            made: Made = self._server.ask(step)
        except Away:
            return self._maker.make(step)
        return made
