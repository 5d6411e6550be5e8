"""Map of a model for pages, computed in a process that frees its memory by exiting."""

import asyncio
import contextlib
import multiprocessing
from multiprocessing.connection import Connection
from pathlib import Path
from typing import NamedTuple

from ..errors import Failure

END_SECONDS = 1.0  # for a process to exit after sending its map


class Map(NamedTuple):
    frame: bytes  # binary, as `CodeMap.message`
    side: int  # nodes
    labels: tuple[str, ...]  # of dots


class MapProcess:
    def __init__(self, model: Path, data: bytes | None) -> None:
        context = multiprocessing.get_context("spawn")
        self._ours, theirs = context.Pipe(duplex=False)
        self._process = context.Process(target=_make, args=(theirs, model, data), name="map", daemon=True)
        self._process.start()
        theirs.close()

    def stop(self) -> None:
        self._process.kill()

    async def made(self) -> Map | None:
        """Wait for the map; None if the model has none, or its file is missing.

        Raises:
            Failure: the process exited without one.
        """
        try:
            made: Map | None = await asyncio.to_thread(self._ours.recv)
        except (EOFError, OSError):
            await asyncio.to_thread(self._process.join)
            raise Failure(f"the map could not be made: its process ended with {self._process.exitcode}") from None
        finally:
            self._ours.close()
            await asyncio.to_thread(self._process.join, END_SECONDS)
            self._process.kill()
        return made


def _make(pipe: Connection, model: Path, data: bytes | None) -> None:
    from ..errors import TimbrelError, printable
    from ..maps.code_map import map_of
    from ..patch.models import open_model

    with pipe, contextlib.suppress(BrokenPipeError):  # the receiver may have exited
        try:
            plane = map_of(open_model(model, data))
        except TimbrelError:  # the audio process reports its errors
            plane = None
        pipe.send(plane and Map(plane.message(), len(plane.surface), tuple(map(printable, plane.labels))))
