"""Files for pages that have sent the token.

Frames and links cannot send the token with requests, so pages exchange it for a cookie. The cookie is derived from the
token: browsers also send cookies to other ports, where other programs may listen.
"""

import hashlib
import hmac
import os
from abc import ABC, abstractmethod
from collections.abc import Mapping
from pathlib import Path

from starlette.requests import Request
from starlette.responses import FileResponse, PlainTextResponse, Response
from starlette.routing import Route

from .security import is_token


class PageFiles(ABC):
    """Files under ``/name``; subclasses choose them."""

    def __init__(self, name: str, token: str, types: Mapping[str, str], headers: Mapping[str, str]) -> None:
        """``types``: of media, by suffix; ``headers``: of each file."""
        self._name, self._token, self._types, self._headers = name, token, types, headers
        path = f"/{name}"
        self._cookie = hmac.new(token.encode(), path.encode(), hashlib.sha256).hexdigest()
        self.routes = [Route(path, self._enter, methods=["POST"]), Route(path + "/{name}", self._give, methods=["GET"])]

    @abstractmethod
    def path(self, name: str) -> Path | None:
        """Path of a file that pages may have."""

    async def _enter(self, request: Request) -> Response:
        scheme, _, given = request.headers.get("authorization", "").partition(" ")
        own = request.headers.getlist("origin") == [f"http://{request.headers['host']}"]
        if not own or scheme != "Bearer" or not is_token(given, self._token):
            return self._refused()
        answer = Response(status_code=204)
        answer.set_cookie(
            self._cookie_name(request), self._cookie, path=f"/{self._name}", httponly=True, samesite="strict"
        )
        return answer

    async def _give(self, request: Request) -> Response:
        if not is_token(request.cookies.get(self._cookie_name(request), ""), self._cookie):
            return self._refused()
        path = self.path(request.path_params["name"])
        if path is None or path.suffix not in self._types or path.is_symlink() or path.parent.is_symlink():
            return self._missing()
        if not (path.is_file() and os.access(path, os.R_OK)):
            return self._missing()
        return FileResponse(path, media_type=self._types[path.suffix], headers=self._headers)

    def _missing(self) -> Response:
        return PlainTextResponse(f"the {self._name} has no such file\n", 404)

    def _refused(self) -> Response:
        return PlainTextResponse(f"open the {self._name} from the panel's page\n", 403)

    def _cookie_name(self, request: Request) -> str:
        """A host's ports share cookies."""
        return f"{self._name}-{request.url.port or 80}"
