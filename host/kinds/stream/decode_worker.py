"""Stream decoding in a separate process, requested from a thread."""

from concurrent.futures import Future, ThreadPoolExecutor

from ...engines.model_process import Away, ModelProcess
from .frame_maker import FrameInputs, FrameMaker, MadeFrame


class StreamDecodeWorker:
    """Decodes in request order, on its thread while the process starts or after it exits."""

    def __init__(self, maker: FrameMaker) -> None:
        self._work, self._thread = _Work(maker), ThreadPoolExecutor(1, "streams")

    def ask(self, step: FrameInputs) -> "Future[MadeFrame]":
        return self._thread.submit(self._work.make, step)


class _Work:
    """Has no reference to `StreamDecodeWorker`."""

    def __init__(self, maker: FrameMaker) -> None:
        self._maker, self._server = maker, ModelProcess("streams", maker, FrameMaker.make)

    def make(self, step: FrameInputs) -> MadeFrame:
        try:
            made: MadeFrame = self._server.ask(step)
        except Away:
            return self._maker.make(step)
        return made
