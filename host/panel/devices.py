"""Lists sound cards and MIDI ports for pages, in a separate process: drivers may hang."""

import asyncio
import contextlib
import multiprocessing
import os
from multiprocessing.connection import Connection
from typing import Any

LIST_SECONDS = 10.0  # for a driver to answer


async def list_devices(midi_api: str | None) -> dict[str, Any]:
    """Names of cards and ports as a message to a page, without those that do not answer."""
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe(duplex=False)
    process = context.Process(target=_list, args=(theirs, midi_api), name="devices", daemon=True)
    process.start()
    theirs.close()
    found: dict[str, list[str]] = {"cards": [], "ports": []}
    try:
        with contextlib.suppress(EOFError, OSError, TimeoutError):
            for kind in found:
                found[kind] = await asyncio.wait_for(asyncio.to_thread(ours.recv), LIST_SECONDS)
    finally:
        process.kill()
        await asyncio.to_thread(process.join)
        ours.close()
    return {"t": "devices", **found}


def _list(pipe: Connection, midi_api: str | None) -> None:
    from ..audio.sound_card import cards
    from ..errors import UserError
    from ..files import hushed
    from ..midi.ports import port_names

    os.environ["JACK_NO_START_SERVER"] = "1"
    with pipe, hushed(), contextlib.suppress(BrokenPipeError):
        names: list[str] = []
        with contextlib.suppress(UserError):  # the audio process reports it
            names = [f"{card.name} ({card.api})" for card in cards()]
        pipe.send(names)
        names = []
        with contextlib.suppress(UserError):
            names = port_names(midi_api)
        pipe.send(names)
