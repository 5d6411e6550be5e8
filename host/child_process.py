"""A process of ours at the other end of a pipe."""

import multiprocessing
from collections.abc import Callable
from typing import Any


class ChildProcess:
    """Runs ``main(pipe, *arguments)`` in a fresh interpreter.

    Without ``daemon`` the parent waits for it at its exit.
    """

    def __init__(self, main: Callable[..., None], *arguments: Any, name: str, daemon: bool = False) -> None:
        """Start it; ``main`` is importable by name."""
        spawn_context = multiprocessing.get_context("spawn")  # ONNX Runtime's threads do not survive a fork
        self.pipe, child_end = spawn_context.Pipe()
        self.process = spawn_context.Process(target=main, args=(child_end, *arguments), name=name, daemon=daemon)
        self.process.start()
        child_end.close()

    def end(self, patience: float = 0.0) -> None:
        """Wait so many seconds for its exit, then kill it; close the pipe, and all that the system keeps for it."""
        self.process.join(patience)
        if self.process.exitcode is None:
            self.process.kill()
            self.process.join()
        self.process.close()
        self.pipe.close()
