"""Report files beside an instrument, served to pages that have sent the token.

A frame cannot send the token with each request, so a page exchanges it for a cookie. The cookie is derived from the
token: browsers also send cookies to other ports of this machine, where other programs may listen.
"""

import hashlib
import hmac
import os
import re
from pathlib import Path

from starlette.requests import Request
from starlette.responses import FileResponse, PlainTextResponse, Response
from starlette.routing import Route

from .security import is_token

PATH = "/report"
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")
TYPES = {".html": "text/html", ".json": "application/json", ".png": "image/png", ".wav": "audio/wav"}
# The only script that runs is that of the ABX page: export/reports/templates/abx.js.
SCRIPT = "sha256-0jBClFWJyT/tzTs3tVL+7Y2Paq5x6t5gJgCZWyS674U="
POLICY = {
    "Content-Security-Policy": f"default-src 'none'; script-src '{SCRIPT}'; style-src 'unsafe-inline'; "
    "img-src 'self'; media-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'self'",
    "X-Frame-Options": "SAMEORIGIN",
}


class ReportFiles:
    def __init__(self, folder: Path | None, token: str) -> None:
        """``folder`` holds index.html; None without a report."""
        self._folder, self._token = folder, token
        self._cookie = hmac.new(token.encode(), PATH.encode(), hashlib.sha256).hexdigest()
        self.routes = [
            Route(PATH, self._enter, methods=["POST"]),
            Route(PATH + "/{name}", self._give, methods=["GET"]),
        ]

    def is_beside(self, model: Path | None) -> bool:
        if self._folder is None or model is None:
            return False
        return self._folder.parent.resolve() == model.parent.resolve()

    async def _enter(self, request: Request) -> Response:
        scheme, _, given = request.headers.get("authorization", "").partition(" ")
        own = request.headers.getlist("origin") == [f"http://{request.headers['host']}"]
        if not own or scheme != "Bearer" or not is_token(given, self._token):
            return _refused()
        answer = Response(status_code=204)
        answer.set_cookie(_cookie_name(request), self._cookie, path=PATH, httponly=True, samesite="strict")
        return answer

    async def _give(self, request: Request) -> Response:
        if not is_token(request.cookies.get(_cookie_name(request), ""), self._cookie):
            return _refused()
        path = self._file(request.path_params["name"])
        if path is None:
            return PlainTextResponse("the report has no such file\n", 404)
        return FileResponse(path, media_type=TYPES[path.suffix], headers=POLICY)

    def _file(self, name: str) -> Path | None:
        if self._folder is None or not NAME.fullmatch(name):
            return None
        path = self._folder / name
        if path.suffix not in TYPES or path.is_symlink() or self._folder.is_symlink():
            return None
        return path if path.is_file() and os.access(path, os.R_OK) else None


def _refused() -> Response:
    return PlainTextResponse("open the report from the panel's page\n", 403)


def _cookie_name(request: Request) -> str:
    """Return a name with the port: cookies are shared among the ports of a host."""
    return f"report-{request.url.port or 80}"
