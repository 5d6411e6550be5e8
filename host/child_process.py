"""A process of ours at the other end of a pipe."""

import multiprocessing
from collections.abc import Callable
from typing import Any


class ChildProcess:
    """Runs ``main(pipe, *given)`` in a fresh interpreter; without ``daemon`` the parent waits for it at its exit."""

    def __init__(self, main: Callable[..., None], *given: Any, name: str, daemon: bool = False) -> None:
        """Start it; ``main`` is importable by name."""
        context = multiprocessing.get_context("spawn")  # ONNX Runtime's threads do not survive a fork
        self.pipe, theirs = context.Pipe()
        self.process = context.Process(target=main, args=(theirs, *given), name=name, daemon=daemon)
        self.process.start()
        theirs.close()

    def end(self, patience: float = 0.0) -> None:
        """Wait so many seconds for its exit, then kill it; close the pipe."""
        self.process.join(patience)
        if self.process.exitcode is None:
            self.process.kill()
            self.process.join()
        self.pipe.close()
