"""The map of a model as pages take it, made in a process that ends: what that needs is not kept in memory."""

import asyncio
import contextlib
import multiprocessing
from multiprocessing.connection import Connection
from pathlib import Path
from typing import NamedTuple

from ..errors import Failure

END_SECONDS = 1.0  # that a process may take to end once it has sent its map


class Map(NamedTuple):
    """The arrays of a map as one frame, and what goes beside it: nodes a side, and what its dots are called."""

    frame: bytes
    side: int
    labels: tuple[str, ...]


class Making:
    """A map on its way."""

    def __init__(self, model: Path, data: bytes | None) -> None:
        """Begin the map of a model's file, or of its ``data``."""
        context = multiprocessing.get_context("spawn")
        self._ours, theirs = context.Pipe(duplex=False)
        self._process = context.Process(target=_make, args=(theirs, model, data), name="map", daemon=True)
        self._process.start()
        theirs.close()

    def stop(self) -> None:
        """Make it no further: nobody will see it."""
        self._process.kill()

    async def made(self) -> Map | None:
        """Return the map, however long it takes; None where the model has none, or its file is gone.

        Raises:
            Failure: its process ended without one.
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
    """Make the map of a model, and send it; None for a file that has none, or is no model any more."""
    from ..errors import TimbrelError, printable
    from ..maps.make import map_of
    from ..patch.models import open_model

    with pipe, contextlib.suppress(BrokenPipeError):  # who wanted it may have gone
        try:
            plane = map_of(open_model(model, data))
        except TimbrelError:  # the process that sounds has it open, and tells what is wrong with it
            plane = None
        pipe.send(plane and Map(plane.message(), len(plane.surface), tuple(map(printable, plane.labels))))
