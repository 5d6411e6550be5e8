"""A process of ours at the other end of a pipe."""

import threading
from collections.abc import Callable
from multiprocessing import spawn
from multiprocessing.context import SpawnContext, SpawnProcess
from typing import Any

_starting = threading.Lock()


class FreshProcess(SpawnProcess):
    """A process in a fresh interpreter, without the program's main module.

    A spawned process imports the main module, which runs a script without ``if __name__ == "__main__"`` once more.
    """

    def start(self) -> None:
        with _starting:
            prepare = spawn.get_preparation_data
            spawn.get_preparation_data = lambda name: _without_main(prepare(name))
            try:
                super().start()
            finally:
                spawn.get_preparation_data = prepare


def _without_main(preparation: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in preparation.items() if not name.startswith("init_main_from")}


class FreshContext(SpawnContext):
    """Starts processes as `FreshProcess`; ONNX Runtime's threads do not survive a fork."""

    Process = FreshProcess


class ChildProcess:
    """Runs ``main(pipe, *arguments)`` in a fresh interpreter.

    Without ``daemon`` the parent waits for it at its exit.
    """

    def __init__(self, main: Callable[..., None], *arguments: Any, name: str, daemon: bool = False) -> None:
        """Start it; ``main`` is importable by name."""
        context = FreshContext()
        self.pipe, child_end = context.Pipe()
        self.process = context.Process(target=main, args=(child_end, *arguments), name=name, daemon=daemon)
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
