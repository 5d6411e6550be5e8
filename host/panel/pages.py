"""The pages that are open, each with a queue of its own, and their views of devices and of the model's map."""

import asyncio
import json
from collections import deque
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from starlette.websockets import WebSocket

from ... import __version__
from ..errors import Failure, printable
from ..session.messages import Log
from ..session.panel_process import PipeWriter
from .devices import Map, MapProcess, list_devices

MOST_LINES = 50  # queued for a page that does not read
LONGEST_LINE = 200  # characters of a line of the log
LATEST = ("state", "values", "meters", "presets", "pong")  # only the newest of each is sent, in this order


class Page:
    """Message queue of a page; a slow page receives fewer messages and blocks nobody."""

    def __init__(self) -> None:
        self._latest: dict[str, dict[str, Any]] = {}
        self._lines: deque[Mapping[str, Any]] = deque(maxlen=MOST_LINES)
        self._binary: deque[bytes] = deque(maxlen=1)
        self._silence: asyncio.TimerHandle | None = None
        self.news = asyncio.Event()  # set while something waits
        self.spectrum = False  # whether the page shows it

    def watch(self, silence: asyncio.TimerHandle | None) -> None:
        """Replace the timer that ends when the page is silent."""
        if self._silence is not None:
            self._silence.cancel()
        self._silence = silence

    def put(self, message: Mapping[str, Any]) -> None:
        """Newer values and parts of the state replace older ones."""
        message_kind = message["t"]
        if "controls" in message.get("state", {}):
            self._latest.pop("values", None)  # it has newer ones
        if message_kind in LATEST:
            waiting_message = self._latest.setdefault(message_kind, {})
            merged_parts = {
                part_name: {**waiting_message.get(part_name, {}), **message[part_name]}
                for part_name in ("values", "state")
                if part_name in message
            }
            waiting_message.update(message)
            waiting_message.update(merged_parts)
            if not self.spectrum:
                waiting_message.pop("spectrum_db", None)
        else:
            self._lines.append(message)
        self.news.set()

    def put_bytes(self, data: bytes) -> None:
        self._binary.append(data)
        self.news.set()

    def take_frames(self) -> list[str | bytes]:
        """All that waits, as text and binary frames."""
        self.news.clear()
        messages = [*self._lines, *(self._latest[kind] for kind in LATEST if kind in self._latest)]
        frames: list[str | bytes] = [json.dumps(message, allow_nan=False) for message in messages]
        frames += self._binary
        self._lines.clear()
        self._latest.clear()
        self._binary.clear()
        return frames


class Pages:
    def __init__(self, writer: PipeWriter, report: Path | None) -> None:
        """``writer``: to the parent, for lines of the log; ``report``: folder of a report to show, if any."""
        self._writer, self._report = writer, report
        self.websockets: dict[Page, WebSocket] = {}
        self._count = 0
        self._model: Path | None = None
        self._map: Map | None = None
        self._map_process: MapProcess | None = None
        self._tasks: dict[str, asyncio.Task[None]] = {}  # the last ones, which nothing else holds
        self._curious: dict[Page, None] = {}  # pages that wait for the list of devices

    def add(self, page: Page, websocket: WebSocket, state: Mapping[str, Any]) -> None:
        """Welcome a page, with the panel's ``state``."""
        self._count += 1
        self.websockets[page] = websocket
        page_state = {**state, "map": self._map_state(), "report": self._has_report()}
        page.put({"t": "welcome", "page": self._count, "version": __version__, "state": page_state})
        if self._map is not None:
            page.put_bytes(self._map.frame)

    def send(self, message: Mapping[str, Any], page: Page | None = None) -> None:
        """Send to a page; None for all."""
        for receiver in self.websockets if page is None else [page]:
            receiver.put(message)

    def send_state(self, **parts: Any) -> None:
        self.send({"t": "state", "state": parts})

    def send_line(self, line: str, kind: str = "note", page: Page | None = None) -> None:
        self.send({"t": "say", "line": line, "kind": kind}, page)

    def log(self, line: str) -> None:
        self._writer.put(Log(printable(line)[:LONGEST_LINE]))

    def list_devices(self, page: Page, midi_api: str | None) -> None:
        """Send a page the sound cards and MIDI ports."""
        self._curious[page] = None
        if "devices" not in self._tasks or self._tasks["devices"].done():
            self._tasks["devices"] = asyncio.get_running_loop().create_task(self._list_devices(midi_api))

    async def _list_devices(self, midi_api: str | None) -> None:
        message = await list_devices(midi_api)
        for page in self._curious:
            page.put(message)
        self._curious.clear()

    def show_map(self, model: Path, data: bytes | None) -> None:
        """Show the map of a model's file or ``data`` once computed; until then, none."""
        self._model, self._map = model, None
        self.send_state(map=None, report=self._has_report())
        if self._map_process is not None:
            self._map_process.stop()
        self._map_process = MapProcess(model, data)
        self._tasks["map"] = asyncio.get_running_loop().create_task(self._show_map(self._map_process))

    async def _show_map(self, map_process: MapProcess) -> None:
        """Wait for a map, and send it to all pages."""
        try:
            received_map = await map_process.receive_map()
        except Failure as failure:
            received_map = None
            if self._map_process is map_process:
                self.log(str(failure))
        if self._map_process is not map_process:  # replaced by a newer request
            return
        self._map_process = None
        if received_map is not None:
            self._map = received_map
            self.send_state(map=self._map_state())
            for page in self.websockets:
                page.put_bytes(received_map.frame)

    def _map_state(self) -> dict[str, Any] | None:
        """The part of the state that describes the map, whose data follow in a frame."""
        return None if self._map is None else {"side": self._map.side, "labels": self._map.labels}

    def _has_report(self) -> bool:
        """Return whether the report lies beside the model on show."""
        if self._report is None or self._model is None:
            return False
        return self._report.parent.resolve() == self._model.parent.resolve()
