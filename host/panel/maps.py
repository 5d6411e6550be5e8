"""The map of a model as pages take it, made in a process that ends: what that needs is not kept in memory."""

import asyncio
import contextlib
import multiprocessing
from multiprocessing.connection import Connection
from pathlib import Path
from typing import NamedTuple

LONGEST_SECONDS = 60.0  # to wait for a map, on a slow machine that plays meanwhile


class Map(NamedTuple):
    """The arrays of a map as one frame, and what goes beside it: nodes a side, and what its dots are called."""

    frame: bytes
    side: int
    labels: tuple[str, ...]


async def map_of(model: Path, data: bytes | None) -> Map | None:
    """Return the map of a model's file, or of its ``data``; None where none can be made, or the file is gone."""
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe(duplex=False)
    process = context.Process(target=_make, args=(theirs, model, data), name="map", daemon=True)
    process.start()
    theirs.close()
    try:
        there = await asyncio.to_thread(ours.poll, LONGEST_SECONDS)
        made: Map | None = await asyncio.to_thread(ours.recv) if there else None
    except (EOFError, OSError):  # it could not be made
        made = None
    finally:
        ours.close()
        if process.is_alive():
            await asyncio.to_thread(process.join, 1.0)
            process.kill()
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
