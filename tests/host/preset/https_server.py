"""A local HTTPS server that answers as the path says."""

import contextlib
import json
import ssl
import threading
import time
from collections.abc import Iterator, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import trustme


class Answers(BaseHTTPRequestHandler):
    files: Mapping[str, bytes] = {}
    asked: list[tuple[str, str | None]] = []  # noqa: RUF012
    protocol_version = "HTTP/1.1"

    def log_message(self, *_: Any) -> None:
        pass

    def do_HEAD(self) -> None:
        self.do_GET()

    def do_GET(self) -> None:
        path, at = self.path.split("?")[0], self.headers.get("Range")
        self.asked.append((path, at))
        self.close_connection = True
        with contextlib.suppress(OSError):  # the client may have gone
            self._answer(path, int(at.removeprefix("bytes=").rstrip("-")) if at else 0)

    def _answer(self, path: str, begun: int) -> None:
        kind, _, name = path.strip("/").partition("/")
        data = self.files.get(name, b"")
        match kind:
            case "good":
                self._head(206 if begun else 200, len(data) - begun, begun, len(data))
                self.wfile.write(data[begun:])
            case "whole":  # knows no ranges
                self._head(200, len(data))
                self.wfile.write(data)
            case "cut":
                self._head(206 if begun else 200, len(data) - begun, begun, len(data))
                self.wfile.write(data[begun : (begun + len(data)) // 2])
            case "huge":
                self._head(200, 1 << 40)
            case "endless":
                self.send_response(200)
                self.end_headers()
                while True:
                    self.wfile.write(bytes(1 << 20))
            case "slow":
                self._head(200, len(data))
                self.wfile.write(data[:10])
                self.wfile.flush()
                time.sleep(600)
            case "beyond":
                self._head(416, 0) if begun else self._answer(f"/good/{name}", 0)
            case "anew":  # sends all of it, for any range
                self._head(206, len(data), 0, len(data))
                self.wfile.write(data)
            case "busy":
                self._head(503, 0)
            case "moved":
                self._move(f"/good/{name}")
            case "loop":
                self._move(path)
            case "down":
                self._move(f"http://localhost:1/{name}")
            case "api" if name == "models/me/reeds":
                body = json.dumps({"id": "me/reeds", "siblings": [{"rfilename": one} for one in self.files]}).encode()
                self._head(200, len(body), kind="application/json")
                self.wfile.write(body)
            case _ if "/resolve/main/" in path:
                self._answer(f"/good/{path.rpartition('/')[2]}", begun)
            case _:
                self._head(404, 0)

    def _head(self, status: int, length: int, begun: int = 0, whole: int = 0, kind: str = "application/zip") -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(length))
        self.send_header("Content-Type", kind)
        if status == 206:
            self.send_header("Content-Range", f"bytes {begun}-{whole - 1}/{whole}")
        self.end_headers()

    def _move(self, to: str) -> None:
        self.send_response(302)
        self.send_header("Location", to)
        self.send_header("Content-Length", "0")
        self.end_headers()


@contextlib.contextmanager
def https_server(folder: Path, files: Mapping[str, bytes]) -> Iterator[tuple[str, Path, list[tuple[str, str | None]]]]:
    """Yield the server's address, the file of its authority and the list of requests."""
    authority = trustme.CA()
    trusted = folder / "authority.pem"
    authority.cert_pem.write_to_path(str(trusted))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("localhost").configure_cert(context)
    asked: list[tuple[str, str | None]] = []
    handler = type("Handler", (Answers,), {"files": files, "asked": asked})
    server = ThreadingHTTPServer(("localhost", 0), handler)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"https://localhost:{server.server_address[1]}", trusted, asked
    finally:
        server.shutdown()
        server.server_close()
