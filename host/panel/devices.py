"""Lists sound cards and MIDI ports, and makes a model's map, for pages, in separate processes."""

import asyncio
import contextlib
import os
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, NamedTuple

from ..child_process import ChildProcess
from ..errors import Failure

LIST_SECONDS = 10.0  # for a driver to answer


async def list_devices(midi_api: str | None) -> dict[str, Any]:
    """Names of cards and ports as a message to a page, without those that do not answer."""
    list_process = ChildProcess(_list, midi_api, name="devices", daemon=True)
    names_by_kind: dict[str, list[str]] = {"cards": [], "ports": []}
    try:
        with contextlib.suppress(EOFError, OSError, TimeoutError):
            for kind in names_by_kind:
                names_by_kind[kind] = await asyncio.wait_for(asyncio.to_thread(list_process.pipe.recv), LIST_SECONDS)
    finally:
        await asyncio.to_thread(list_process.end)
    return {"t": "devices", **names_by_kind}


def _list(pipe: Connection, midi_api: str | None) -> None:
    """Send the names of cards, then those of ports."""
    from ..audio.sound_card import cards
    from ..errors import UserError
    from ..files import hushed
    from ..midi.ports import port_names

    os.environ["JACK_NO_START_SERVER"] = "1"
    with pipe, hushed(), contextlib.suppress(BrokenPipeError):
        device_names: list[str] = []
        with contextlib.suppress(UserError):  # the audio process reports it
            device_names = [f"{card.name} ({card.api})" for card in cards()]
        pipe.send(device_names)
        device_names = []
        with contextlib.suppress(UserError):
            device_names = port_names(midi_api)
        pipe.send(device_names)


END_SECONDS = 1.0  # for a process to exit after sending its map


class Map(NamedTuple):
    frame: bytes  # binary, as `CodeMap.message`
    side: int  # nodes
    labels: tuple[str, ...]  # of dots


class MapProcess:
    def __init__(self, model: Path, data: bytes | None) -> None:
        self._child = ChildProcess(_make, model, data, name="map", daemon=True)

    def stop(self) -> None:
        with contextlib.suppress(ValueError):  # it has ended
            self._child.process.kill()

    async def receive_map(self) -> Map | None:
        """Wait for the map; None if the model has none, or its file is missing.

        Raises:
            Failure: the process exited without one.
        """
        try:
            received_map: Map | None = await asyncio.to_thread(self._child.pipe.recv)
        except (EOFError, OSError):
            await asyncio.to_thread(self._child.process.join)
            raise Failure(f"the map could not be made: its process ended with {self._child.process.exitcode}") from None
        finally:
            await asyncio.to_thread(self._child.end, END_SECONDS)
        return received_map


def _make(pipe: Connection, model: Path, data: bytes | None) -> None:
    """Send the map of a model's file or ``data``, or None."""
    from ..errors import TimbrelError, printable
    from ..model.map_layout import map_of
    from ..preset.library import open_model

    with pipe, contextlib.suppress(BrokenPipeError):  # the receiver may have exited
        try:
            code_map = map_of(open_model(model, data))
        except TimbrelError:  # the audio process reports its errors
            code_map = None
        pipe.send(code_map and Map(code_map.message(), len(code_map.surface), tuple(map(printable, code_map.labels))))
