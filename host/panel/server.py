"""Web server of the panel: files of the page, of takes and of reports, and a WebSocket per page.

Frames and links cannot send the token with requests, so pages exchange it for a cookie. The cookie is derived from the
token: browsers also send cookies to other ports, where other programs may listen.
"""

import asyncio
import contextlib
import gc
import hashlib
import hmac
import logging
import mimetypes
import os
import re
import socket
import time
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Collection, Mapping, Sequence
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import uvicorn
from starlette.applications import Starlette
from starlette.middleware.gzip import GZipMiddleware
from starlette.requests import Request
from starlette.responses import FileResponse, PlainTextResponse, Response
from starlette.routing import Mount, Route, WebSocketRoute
from starlette.staticfiles import StaticFiles
from starlette.types import Scope
from starlette.websockets import WebSocket, WebSocketDisconnect

from ..config import own_folder
from ..session.messages import Session
from ..session.panel_process import PipeWriter
from ..session.takes import FOLDER
from .messages import LONGEST_MESSAGE, HelloMessage, NoteMessage, PingMessage, SpectrumMessage, read_message
from .pages import Page, Pages
from .security import AccessControl, PageConnection, RateLimit, is_token
from .state import PanelState

COMMENTS = re.compile(
    r"^[ \t]*(?://.*|/\*.*\*/)\n|(?<=[;,:{}()\]])[ \t]+// .*$", re.MULTILINE
)  # whole lines, and after code
INDENTATION = re.compile(r"^[ \t]+", re.MULTILINE)
WITH_COMMENTS = (".js", ".css")


class PageAssets(StaticFiles):
    def file_response(
        self, full_path: str | os.PathLike[str], stat_result: os.stat_result, scope: Scope, status_code: int = 200
    ) -> Response:
        """A file of the page, scripts and styles without comments and indentation."""
        response = super().file_response(full_path, stat_result, scope, status_code)
        asset_path = Path(full_path)
        if not isinstance(response, FileResponse) or asset_path.suffix not in WITH_COMMENTS:
            return response  # or it has not changed
        cache_headers = {name: response.headers[name] for name in ("etag", "last-modified")}
        return Response(
            without_comments(asset_path.read_text("utf-8")), status_code, cache_headers, response.media_type
        )


def without_comments(text: str) -> str:
    """Return a script or a style without comments and indentation.

    No string of the page looks like a comment, and none has several lines.
    """
    return INDENTATION.sub("", COMMENTS.sub("", text))


class PageFiles(ABC):
    """Files under ``/name``; subclasses choose them."""

    def __init__(self, name: str, token: str, types: Mapping[str, str], headers: Mapping[str, str]) -> None:
        """``types``: of media, by suffix; ``headers``: of each file."""
        self._name, self._token, self._types, self._headers = name, token, types, headers
        route_path = f"/{name}"
        self._cookie = hmac.new(token.encode(), route_path.encode(), hashlib.sha256).hexdigest()
        self.routes = [
            Route(route_path, self._enter, methods=["POST"]),
            Route(route_path + "/{name}", self._send_file, methods=["GET"]),
        ]

    @abstractmethod
    def path(self, name: str) -> Path | None:
        """Path of a file that pages may have."""

    async def _enter(self, request: Request) -> Response:
        """Give a page that sends the token a cookie for these files."""
        auth_scheme, _, received_token = request.headers.get("authorization", "").partition(" ")
        is_same_origin = request.headers.getlist("origin") == [f"http://{request.headers['host']}"]
        if not is_same_origin or auth_scheme != "Bearer" or not is_token(received_token, self._token):
            return self._refused()
        response = Response(status_code=204)
        response.set_cookie(
            self._cookie_name(request), self._cookie, path=f"/{self._name}", httponly=True, samesite="strict"
        )
        return response

    async def _send_file(self, request: Request) -> Response:
        """Send a file to a page with the cookie."""
        if not is_token(request.cookies.get(self._cookie_name(request), ""), self._cookie):
            return self._refused()
        file_path = self.path(request.path_params["name"])
        if (
            file_path is None
            or file_path.suffix not in self._types
            or file_path.is_symlink()
            or file_path.parent.is_symlink()
            or not (file_path.is_file() and os.access(file_path, os.R_OK))
        ):
            return PlainTextResponse(f"the {self._name} has no such file\n", 404)
        return FileResponse(file_path, media_type=self._types[file_path.suffix], headers=self._headers)

    def _refused(self) -> Response:
        return PlainTextResponse(f"open the {self._name} from the panel's page\n", 403)

    def _cookie_name(self, request: Request) -> str:
        """A host's ports share cookies."""
        return f"{self._name}-{request.url.port or 80}"


TAKE_TYPES = {".wav": "audio/wav", ".mid": "audio/midi"}


class TakeFiles(PageFiles):
    def __init__(self, token: str) -> None:
        super().__init__("recording", token, TAKE_TYPES, {"Content-Disposition": "attachment"})
        self.names: Collection[str] = ()

    def path(self, name: str) -> Path | None:
        return own_folder(FOLDER) / name if name in self.names else None


NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")
REPORT_TYPES = {".html": "text/html", ".json": "application/json", ".png": "image/png", ".wav": "audio/wav"}
# The only script that runs is that of the ABX page: export/reports/templates/abx.js.
SCRIPT = "sha256-0jBClFWJyT/tzTs3tVL+7Y2Paq5x6t5gJgCZWyS674U="
POLICY = {
    "Content-Security-Policy": f"default-src 'none'; script-src '{SCRIPT}'; style-src 'unsafe-inline'; "
    "img-src 'self'; media-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'self'",
    "X-Frame-Options": "SAMEORIGIN",
}


class ReportFiles(PageFiles):
    def __init__(self, folder: Path | None, token: str) -> None:
        """``folder`` holds index.html; None without a report."""
        super().__init__("report", token, REPORT_TYPES, POLICY)
        self._folder = folder

    def path(self, name: str) -> Path | None:
        return self._folder / name if self._folder is not None and NAME.fullmatch(name) else None


LATE_SECONDS = 0.5  # beyond the quickest of the last pings: such a note disturbs more than it plays
PINGS = 8  # two seconds: more than a page sends before it gives up a link, and soon past a jump of its clock


class PageClock:
    """Compares times of a page's messages, in ms, with their arrival, in seconds of this machine."""

    def __init__(self) -> None:
        self._offsets: deque[float] = deque(maxlen=PINGS)

    def add_ping(self, at_ms: float, now: float) -> None:
        self._offsets.append(now - at_ms / 1000)

    def is_late(self, at_ms: float | None, now: float) -> bool:
        """Never without a time, nor before the first ping."""
        return at_ms is not None and now - at_ms / 1000 - min(self._offsets, default=float("inf")) > LATE_SECONDS


PAGE = Path(__file__).with_name("page")
FRAME_SECONDS = 0.03  # between frames to a page; slightly less than between reports, so that none waits
HELLO_SECONDS = 5.0  # for the first message
LEAST_PACKED = 200  # bytes of a file
PING_SECONDS = 2.0  # between pings: a tablet may leave the network with keys down
GONE_SECONDS = 5.0  # without an answer: the page's controls are released
GOODBYE_SECONDS = 0.5  # for pages that read slowly
SILENT_SECONDS = 2.0  # without a ping of a page that sent one: its keys are released
MOST_PAGES = 32
MOST_AT_ONCE = 16  # new connections between two turns of the others; the system holds as many more
# RFC 6455, 7.4; private codes from 4000 on
CLOSE_BAD, CLOSE_POLICY, CLOSE_BROKEN, CLOSE_FULL, CLOSE_STRANGER, CLOSE_ENDED = 1007, 1008, 1011, 1013, 4401, 4410
GONE = WebSocketDisconnect, OSError, RuntimeError  # raised for a disconnected page


class PanelServer:
    """Connects pages, their shared state, and the pipe to the parent."""

    def __init__(self, pipe: Connection, token: str, hosts: Sequence[str], home: Path, report: Path | None) -> None:
        self._pipe, self._token, self._takes = pipe, token, TakeFiles(token)
        writer = PipeWriter(pipe)
        self.pages = Pages(writer, report)
        self._state = PanelState(writer, self.pages, home)
        routes = [
            WebSocketRoute("/socket", self._socket),
            *ReportFiles(report, token).routes,
            *self._takes.routes,
            Mount("/", GZipMiddleware(PageAssets(directory=PAGE, html=True), LEAST_PACKED)),
        ]
        self.app = AccessControl(Starlette(routes=routes), hosts)

    # messages of pages

    async def _socket(self, websocket: WebSocket) -> None:
        """Serve a page's WebSocket until one side closes it."""
        await websocket.accept()
        page = Page()
        with contextlib.suppress(*GONE):
            if not await self._knows_token(websocket):
                await websocket.close(CLOSE_STRANGER)
                return
            PageConnection.keep(websocket.client)
            if len(self.pages.websockets) >= MOST_PAGES:
                await websocket.close(CLOSE_FULL)
                return
            self.pages.add(page, websocket, self._state.state())
            tasks = [
                asyncio.create_task(self._send_messages(websocket, page)),
                asyncio.create_task(self._listen(websocket, page)),
            ]
            try:
                await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
                for task_error in (task.exception() for task in tasks if task.done()):
                    if task_error is not None and not isinstance(task_error, GONE):
                        # The page would freeze: close it, so that it reconnects and gets the full state.
                        self.pages.log(f"a page is closed, and comes back: {type(task_error).__name__}: {task_error}")
                        await websocket.close(CLOSE_BROKEN)
            finally:
                for task in tasks:
                    task.cancel()
                page.watch(None)
                del self.pages.websockets[page]
                self._state.leave(page, last=not self.pages.websockets)

    async def _knows_token(self, websocket: WebSocket) -> bool:
        """Return whether a page's first message has the token."""
        try:
            first_message = read_message(await asyncio.wait_for(websocket.receive_text(), HELLO_SECONDS))
        except (TimeoutError, ValueError, KeyError):  # KeyError: a binary frame
            return False
        return isinstance(first_message, HelloMessage) and is_token(first_message.token, self._token)

    async def _listen(self, websocket: WebSocket, page: Page) -> None:
        """Apply a page's messages; close the socket after an invalid one."""
        rate_limit, page_clock, event_loop = RateLimit(), PageClock(), asyncio.get_running_loop()
        while True:
            try:
                message_text = await websocket.receive_text()
            except KeyError:  # a binary frame
                await websocket.close(1003)
                return
            if not rate_limit.spend():
                await websocket.close(CLOSE_POLICY)
                return
            try:
                message = read_message(message_text)
            except ValueError as error:
                self.pages.log(f"a page sent an invalid message: {error}")
                await websocket.close(CLOSE_BAD)
                return
            if isinstance(message, HelloMessage):
                await websocket.close(CLOSE_POLICY)
                return
            if isinstance(message, PingMessage):
                page_clock.add_ping(message.at, time.monotonic())
                page.watch(event_loop.call_later(SILENT_SECONDS, self._state.held.release_keys, page))
                page.put({"t": "pong", "at": message.at})
            elif isinstance(message, SpectrumMessage):
                page.spectrum = message.on
            elif not (
                isinstance(message, NoteMessage)
                and message.velocity
                and page_clock.is_late(message.at, time.monotonic())
            ):
                self._state.apply(page, message)

    async def _send_messages(self, websocket: WebSocket, page: Page) -> None:
        """Send a page what waits for it, at most every `FRAME_SECONDS`."""
        last_send_time = 0.0
        with contextlib.suppress(*GONE):
            while True:
                await page.news.wait()
                if (wait_seconds := last_send_time + FRAME_SECONDS - time.monotonic()) > 0:
                    await asyncio.sleep(wait_seconds)
                last_send_time = time.monotonic()
                for frame in page.take_frames():
                    if isinstance(frame, bytes):
                        await websocket.send_bytes(frame)
                    else:
                        await websocket.send_text(frame)

    # messages of the parent

    def take_reports(self, ended: asyncio.Event) -> None:
        """Process a batch of messages; called again while more are available."""
        try:
            messages = self._pipe.recv()
        except (EOFError, OSError):
            ended.set()
            return
        for message in messages:
            if isinstance(message, Session):
                self._takes.names = message.view.files
            self._state.apply_report(message)

    async def end(self) -> None:
        """Close all pages, with the reason that the session has ended."""
        close_tasks = [
            asyncio.create_task(websocket.close(CLOSE_ENDED)) for websocket in self.pages.websockets.values()
        ]
        if close_tasks:
            await asyncio.wait(close_tasks, timeout=GOODBYE_SECONDS)


async def serve(
    pipe: Connection,
    sockets: Sequence[socket.socket],
    token: str,
    hosts: Sequence[str],
    home: Path,
    report: Path | None,
) -> None:
    """Serve until the parent closes the pipe.

    Args:
        hosts: accepted addresses, as browsers write them.
        home: preset folder for presets without one.
        report: folder of a report to show, if any.
    """
    for script_suffix in (".js", ".mjs"):  # some systems set plain text, which browsers do not run
        mimetypes.add_type("text/javascript", script_suffix)
    panel_server, parent_gone = PanelServer(pipe, token, hosts, home, report), asyncio.Event()
    asyncio.get_running_loop().add_reader(pipe.fileno(), panel_server.take_reports, parent_gone)
    server_config = uvicorn.Config(
        panel_server.app,
        http=PageConnection,
        ws="websockets-sansio",
        ws_max_size=LONGEST_MESSAGE,
        ws_max_queue=64,
        ws_ping_interval=PING_SECONDS,
        ws_ping_timeout=GONE_SECONDS,
        ws_per_message_deflate=False,
        lifespan="off",
        backlog=MOST_AT_ONCE,
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,
        h11_max_incomplete_event_size=16 << 10,
        timeout_graceful_shutdown=1,
    )
    logging.getLogger("uvicorn").addHandler(_ErrorLog(panel_server.pages))
    logging.getLogger("uvicorn").propagate = False
    tasks = [asyncio.create_task(_Quiet(server_config).serve(list(sockets))), asyncio.create_task(parent_gone.wait())]
    gc.freeze()  # loaded objects stay: the garbage collector need not scan them
    await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    await panel_server.end()


class _Quiet(uvicorn.Server):
    @contextlib.contextmanager
    def capture_signals(self) -> Any:
        yield


class _ErrorLog(logging.Handler):
    def __init__(self, pages: Pages) -> None:
        super().__init__(logging.ERROR)
        self._pages = pages

    def emit(self, record: logging.LogRecord) -> None:
        error = record.exc_info[1] if record.exc_info else None
        cause_text = f": {type(error).__name__}: {error}" if error else ""
        self._pages.log(f"{record.getMessage().splitlines()[0]}{cause_text}")
