"""Access control of the panel: host and origin checks, token, rate limit, security headers.

Any website may send requests to this machine, and with DNS rebinding (a name that resolves here) even read replies. So
the panel accepts only its own addresses, and opens sockets only for their pages. Other programs here lack the token: it
is in the URL's fragment, so in no request, log or other page.
"""

import asyncio
import contextlib
import hmac
import time
from collections.abc import Sequence
from typing import ClassVar

from h11 import LocalProtocolError, Request  # installed with uvicorn, which parses requests with it
from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from uvicorn.protocols.http.h11_impl import H11Protocol

MESSAGES_A_SECOND = 400.0  # messages a second of a page, on average: two users of a mouse of 200 Hz
MOST_IN_BURST = 800.0  # after a page stalled for two seconds
MOST_STRANGERS = 128  # connections of each stage without a token: a page that loads opens six
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


class AccessControl:
    """ASGI middleware: replies 403 to requests for other addresses, adds security headers."""

    def __init__(self, app: ASGIApp, hosts: Sequence[str]) -> None:
        """``hosts``: addresses as browsers write them: ``127.0.0.1:8000``."""
        self._app, self._hosts = app, frozenset(hosts)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        headers = Headers(scope=scope)
        if scope["type"] == "websocket":
            if self._is_own_page(headers):
                await self._app(scope, receive, send)
            else:
                await send({"type": "websocket.close", "code": 1008})  # before it is accepted: 403
            return

        async def guarded(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for header_name, header_value in POLICY.items():
                    headers.setdefault(header_name, header_value)
            await send(message)

        with contextlib.suppress(LocalProtocolError):  # the input was not HTTP; it gets no reply
            if self._requested_host(headers) is None:
                await PlainTextResponse("this is not the panel's address\n", 403)(scope, receive, guarded)
            else:
                await self._app(scope, receive, guarded)

    def _requested_host(self, headers: Headers) -> str | None:
        """The panel's address that a request names; None for another."""
        host_headers = headers.getlist("host")
        return host_headers[0] if len(host_headers) == 1 and host_headers[0] in self._hosts else None

    def _is_own_page(self, headers: Headers) -> bool:
        """Return whether a page of the panel sent the request."""
        host = self._requested_host(headers)
        return host is not None and headers.getlist("origin") == [f"http://{host}"]


class Strangers:
    """Connections without the token in one stage, by address; above `MOST_STRANGERS` one is aborted."""

    def __init__(self) -> None:
        self._connections: dict[object, PageConnection] = {}

    def add(self, connection: "PageConnection") -> None:
        """Abort the oldest that awaits its next request, else the oldest."""
        self.remove(connection.client)  # a port that is used again is the newest
        self._connections[connection.client] = connection
        if len(self._connections) <= MOST_STRANGERS:
            return
        self._connections = {
            address: stranger for address, stranger in self._connections.items() if not stranger.transport.is_closing()
        }
        if len(self._connections) > MOST_STRANGERS:
            oldest_stranger = next((stranger for stranger in self._connections.values() if stranger.idle), None)
            oldest_stranger = oldest_stranger or next(iter(self._connections.values()))
            self.remove(oldest_stranger.client)
            oldest_stranger.transport.abort()

    def remove(self, address: object) -> None:
        self._connections.pop(address, None)


class PageConnection(H11Protocol):
    """Limits connections that send requests and sockets that await the token, each by themselves.

    A page spends milliseconds in the second stage, so no number of other requests can abort its socket.
    """

    _requesting: ClassVar = Strangers()
    _greeting: ClassVar = Strangers()

    @property
    def idle(self) -> bool:
        """Return whether the connection has its answer and has sent no other request."""
        return self.cycle is not None and self.cycle.response_complete

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._requesting.add(self)

    def handle_websocket_upgrade(self, event: Request) -> None:
        self._requesting.remove(self.client)
        self._greeting.add(self)
        super().handle_websocket_upgrade(event)

    def connection_lost(self, exc: Exception | None) -> None:
        self._requesting.remove(self.client)
        super().connection_lost(exc)

    @classmethod
    def keep(cls, client: object) -> None:
        """Keep an address's connection, which has sent the token."""
        cls._greeting.remove(client)


def is_token(received_token: str, token: str) -> bool:
    """In constant time."""
    return hmac.compare_digest(received_token.encode(), token.encode())


class RateLimit:
    """Rate limit of a page's messages (token bucket)."""

    def __init__(self) -> None:
        self._allowance, self._last_refill = MOST_IN_BURST, time.monotonic()

    def spend(self) -> bool:
        """Count a message; False above the limit."""
        now = time.monotonic()
        self._allowance = min(MOST_IN_BURST, self._allowance + (now - self._last_refill) * MESSAGES_A_SECOND)
        self._last_refill = now
        self._allowance -= 1
        return self._allowance >= 0
