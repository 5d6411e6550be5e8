"""Keeps out who was not asked in: other sites' pages, other machines, who does not know the token, who says too much.

A page of any site may send requests to this machine, and with a name that leads here even read the answers (DNS
rebinding). So only requests for the panel's own addresses are answered, and a socket is opened only for a page that
came from one of these. What is left is other programs here: they do not know the token, which is in the address's
fragment, so that no request, no log and no other page ever has it.
"""

import contextlib
import hmac
import time
from collections.abc import Sequence

from h11 import LocalProtocolError  # with uvicorn, whose requests it reads
from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

WORDS_A_SECOND = 400.0  # of a page on average: two hands on a mouse of 200 Hz
MOST_AT_ONCE = 800.0  # of a page that was held up for two seconds
POLICY = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; "
    "font-src 'self'; connect-src 'self'; frame-src 'self'; manifest-src 'self'; base-uri 'none'; "
    "form-action 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), microphone=(), geolocation=()",
    "Cache-Control": "no-cache",
}


class Guard:
    """Answers 403 to all that is not for one of the panel's own addresses, and says how its pages are to be treated."""

    def __init__(self, app: ASGIApp, hosts: Sequence[str]) -> None:
        """``hosts`` are the addresses, as browsers write them: ``127.0.0.1:8000``."""
        self._app, self._hosts = app, frozenset(hosts)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let a request through, or refuse it."""
        headers = Headers(scope=scope)
        if scope["type"] == "websocket":
            if self._own_page(headers):
                await self._app(scope, receive, send)
            else:
                await send({"type": "websocket.close", "code": 1008})  # before it is accepted: 403
            return

        async def guarded(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in POLICY.items():
                    headers.setdefault(name, value)
            await send(message)

        with contextlib.suppress(LocalProtocolError):  # what came was no request, and gets no answer
            if self._asked(headers) is None:
                await PlainTextResponse("this is not the panel's address\n", 403)(scope, receive, guarded)
            else:
                await self._app(scope, receive, guarded)

    def _asked(self, headers: Headers) -> str | None:
        """Return the address that is asked for, if it is given once and is one of ours."""
        given = headers.getlist("host")
        return given[0] if len(given) == 1 and given[0] in self._hosts else None

    def _own_page(self, headers: Headers) -> bool:
        """Return whether who asks is a page that came from the very address that it asks."""
        host = self._asked(headers)
        return host is not None and headers.getlist("origin") == [f"http://{host}"]


def is_token(given: str, token: str) -> bool:
    """Return whether it is the token; how long that takes does not tell how much of it is right."""
    return hmac.compare_digest(given.encode(), token.encode())


class Allowance:
    """The words that a page may say: so many a second on average, and so many at once after a pause."""

    def __init__(self, rate: float = WORDS_A_SECOND, most: float = MOST_AT_ONCE) -> None:
        self._rate, self._most = rate, most
        self._left, self._then = most, time.monotonic()

    def spend(self) -> bool:
        """Take a word off; return False if there is none left."""
        now = time.monotonic()
        self._left = min(self._most, self._left + (now - self._then) * self._rate)
        self._then = now
        self._left -= 1
        return self._left >= 0
