"""Strangers at the panel's door, with requests that no browser sends for its own page."""

import asyncio
import contextlib
import json
import multiprocessing
import socket
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace

import pytest
from timbrel.host.panel import security
from timbrel.host.panel.pages import Page
from timbrel.host.panel.security import MOST_STRANGERS, Strangers
from timbrel.host.panel.server import PanelServer
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import connect

from ...patience import PATIENCE_SECONDS
from .client import Client
from .conftest import Parent


@pytest.fixture
def parent(panel, tmp_path_factory):
    """The parent of that process, which has the one model always: a map is made for each other."""
    return Parent(panel, tmp_path_factory.getbasetemp())


def answer(panel, request, whole=True):
    """What comes back for raw bytes, up to the end of the connection; this side ends it where they are no ``whole``."""
    with socket.socket() as plug:
        plug.settimeout(PATIENCE_SECONDS)
        plug.connect(("127.0.0.1", panel.port))
        plug.sendall(request)
        if not whole:
            plug.shutdown(socket.SHUT_WR)
        data = b""
        while piece := plug.recv(65536):
            data += piece
        return data


def get(panel, *headers, path="/"):
    lines = [f"GET {path} HTTP/1.1", *headers, "Connection: close", "", ""]
    return answer(panel, "\r\n".join(lines).encode())


def status_of(data):
    return int(data.split(b" ", 2)[1])


UPGRADE = ["Upgrade: websocket", "Sec-WebSocket-Version: 13", "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA=="]


def upgrade(panel, *headers):
    lines = ["GET /socket HTTP/1.1", *headers, *UPGRADE, "Connection: Upgrade", "", ""]
    with socket.socket() as plug:
        plug.settimeout(PATIENCE_SECONDS)
        plug.connect(("127.0.0.1", panel.port))
        plug.sendall("\r\n".join(lines).encode())
        return status_of(plug.recv(65536))


@pytest.mark.parametrize("name", ["127.0.0.1", "localhost", "[::1]"])
def test_the_page_is_served_at_its_own_addresses_with_rules_for_the_browser(panel, name):
    page = get(panel, f"Host: {name}:{panel.port}")
    head = page.partition(b"\r\n\r\n")[0].lower()
    assert status_of(page) == 200
    policy = next(line for line in head.split(b"\r\n") if line.startswith(b"content-security-policy"))
    assert b"default-src 'none'" in policy
    assert b"unsafe" not in policy
    assert b"nosniff" in head
    assert b"no-referrer" in head
    assert b"cache-control: no-cache" in head
    assert panel.token.encode() not in page


def test_the_manifest_is_served_as_one_that_the_rules_allow_and_starts_without_the_token(panel):
    head, _, body = get(panel, f"Host: 127.0.0.1:{panel.port}", path="/manifest.webmanifest").partition(b"\r\n\r\n")
    assert b"content-type: application/manifest+json" in head.lower()
    assert b"manifest-src 'self'" in head
    assert json.loads(body)["start_url"] == "/"


@pytest.mark.parametrize(
    "headers",
    [
        ["Host: evil.example:{port}"],
        ["Host: 127.0.0.1"],
        ["Host: 127.0.0.1:1"],
        ["Host: 127.0.0.1:{port}.evil.example"],
        ["Host: localhost:{port}@evil.example"],
        ["Host: 0.0.0.0:{port}"],
        ["Host: 2130706433:{port}"],
        ["Host: [::ffff:127.0.0.1]:{port}"],
        ["Host: "],
        ["Host: evil.example", "X-Forwarded-Host: 127.0.0.1:{port}"],
    ],
)
def test_what_is_asked_of_another_name_is_refused(panel, headers):
    assert status_of(get(panel, *(line.format(port=panel.port) for line in headers))) == 403


@pytest.mark.parametrize(
    "headers",
    [
        ["Host: 127.0.0.1:{port}"],
        ["Host: 127.0.0.1:{port}", "Origin: null"],
        ["Host: 127.0.0.1:{port}", "Origin: http://evil.example"],
        ["Host: 127.0.0.1:{port}", "Origin: https://127.0.0.1:{port}"],
        ["Host: 127.0.0.1:{port}", "Origin: http://localhost:{port}"],
        ["Host: 127.0.0.1:{port}", "Origin: http://127.0.0.1:{port}", "Origin: http://evil.example"],
        ["Host: evil.example:{port}", "Origin: http://evil.example:{port}"],
    ],
)
def test_a_socket_opens_for_no_page_from_elsewhere(panel, headers):
    assert upgrade(panel, *(line.format(port=panel.port) for line in headers)) in (400, 403)


def test_a_socket_opens_for_the_page_itself(panel):
    host = f"127.0.0.1:{panel.port}"
    assert upgrade(panel, f"Host: {host}", f"Origin: http://{host}") == 101


@pytest.mark.parametrize(
    "path", ["/../server.py", "/%2e%2e/server.py", "/..%2fserver.py", "//etc/passwd", "/%00", "/socket", "/none.js"]
)
def test_no_path_leads_out_of_the_page(panel, path):
    page = get(panel, f"Host: 127.0.0.1:{panel.port}", path=path)
    assert status_of(page) in (400, 404)
    assert b"uvicorn" not in page


@pytest.mark.parametrize(
    "request_",
    [
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        b"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
        b"GET " + b"a" * 100_000 + b" HTTP/1.1\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a\r\nContent-Length: -1\r\n\r\n",
        b"\r\n\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: 127.0.0.1\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
    ],
)
def test_what_is_no_request_is_closed_and_the_page_is_served_on(panel, parent, request_):
    said = answer(panel, request_, whole=False)
    assert b"Traceback" not in said
    assert said == b"" or 400 <= status_of(said) < 500
    assert status_of(get(panel, f"Host: 127.0.0.1:{panel.port}")) == 200
    parent.turn()
    assert [line for line in parent.said if "Traceback" in line or "Exception" in line] == []


def closed(socket_):
    """The code with which the other side closes."""
    with pytest.raises(ConnectionClosed) as closing:  # noqa: PT012  # it closes at any of them
        while True:
            socket_.recv(timeout=PATIENCE_SECONDS)
    return closing.value.rcvd.code if closing.value.rcvd else 1006


@pytest.mark.parametrize("token", ["", "x", "ü" * 20, "A" * 22])
def test_who_does_not_know_the_token_is_told_so_and_nothing_else(panel, token):
    with Client(panel).connection as stranger:
        stranger.send(json.dumps({"t": "hello", "token": token}))
        assert closed(stranger) == 4401


@pytest.mark.parametrize("first", ['{"t": "note", "key": 60, "velocity": 100}', "no JSON", b"\x00\x01", "[]", "null"])
def test_who_does_not_say_hello_first_is_not_heard(panel, parent, first):
    with Client(panel).connection as stranger:
        stranger.send(first)
        assert closed(stranger) == 4401
    parent.turn()
    assert parent.events == []


@pytest.mark.parametrize(
    ("frame", "code"),
    [
        ("{", 1007),
        ("[" * 10_000, 1007),
        ('{"t": "note", "key": 128, "velocity": 1}', 1007),
        ('{"t": "note", "key": 60.5, "velocity": 1}', 1007),
        ('{"t": "note", "key": true, "velocity": 1}', 1007),
        ('{"t": "note", "key": 60}', 1007),
        ('{"t": "path", "points": [[0.5], [1.0]]}', 1007),
        ('{"t": "path", "points": [[0.5], [' + "[" * 5000 + "1" + "]" * 5000 + "]]}", 1007),
        ('{"t": "note", "key": 60, "velocity": 1, "more": 1}', 1007),
        ('{"t": "set", "values": {"gain": NaN}}', 1007),
        ('{"t": "set", "values": {"gain": 1e999}}', 1007),
        ('{"t": "set", "values": {"gain": "1"}}', 1007),
        ('{"t": "set", "values": {"' + "a" * 200 + '": 1}}', 1007),
        ('{"t": "grab", "targets": ' + json.dumps(["gain"] * 1000) + "}", 1007),
        ('{"t": "sudo"}', 1007),
        ('{"t": "hello", "token": "x"}', 1008),
        (b"\x00\x01", 1003),
        ('{"t": "set", "values": {}}' + " " * (70 << 10), 1009),
    ],
)
def test_what_is_no_word_ends_the_page_that_said_it_and_no_other(panel, parent, frame, code):
    with Client(panel) as other, Client(panel) as page:
        page.socket.send(frame)
        assert closed(page.socket) == code
        other.say("note", key=61, velocity=100)
        parent.until(lambda: any(getattr(event, "key", None) == 61 for event in parent.events))
    assert [line for line in parent.said if "Traceback" in line or "Exception" in line] == []


def test_three_hundred_connections_without_a_token_keep_no_page_out(panel, parent):
    host = f"127.0.0.1:{panel.port}"
    lines = [f"Host: {host}", f"Origin: http://{host}", *UPGRADE, "Connection: Upgrade", "", ""]
    opening = "\r\n".join(["GET /socket HTTP/1.1", *lines]).encode()
    with Client(panel) as before, contextlib.ExitStack() as idle:
        for number in range(300):
            plug = idle.enter_context(socket.create_connection(("127.0.0.1", panel.port), PATIENCE_SECONDS))
            with contextlib.suppress(OSError):
                plug.sendall((b"", b"GET / HT", opening)[number % 3])
        assert status_of(get(panel, f"Host: {host}")) == 200
        with Client(panel) as page:
            for key, each in ((61, page), (62, before)):
                each.say("note", key=key, velocity=100)
                parent.until(lambda key=key: any(getattr(event, "key", None) == key for event in parent.events))


def test_a_page_of_which_the_socket_awaits_its_token_outlives_three_hundred_strangers(panel, parent):
    host = f"127.0.0.1:{panel.port}"
    with Client(panel).connection as page, contextlib.ExitStack() as idle:
        for number in range(300):
            plug = idle.enter_context(socket.create_connection(("127.0.0.1", panel.port), PATIENCE_SECONDS))
            with contextlib.suppress(OSError):
                plug.sendall((b"", b"GET / HT", f"GET /icon.svg HTTP/1.1\r\nHost: {host}\r\n\r\n".encode())[number % 3])
        assert status_of(get(panel, f"Host: {host}")) == 200  # all came before it
        page.send(json.dumps({"t": "hello", "token": panel.token}))
        assert json.loads(page.recv(timeout=PATIENCE_SECONDS))["t"] == "welcome"


class Stranger(SimpleNamespace):
    def __init__(self, client, idle):
        super().__init__(client=client, idle=idle, aborted=False, transport=self)

    def is_closing(self):
        return self.aborted

    def abort(self):
        self.aborted = True


def test_of_too_many_connections_the_oldest_without_a_request_ends_and_one_that_is_answered_stays():
    strangers = Strangers()
    answered, waiting, *others = [Stranger(number, idle=number % 2 == 1) for number in range(MOST_STRANGERS + 1)]
    for each in (answered, waiting, *others):
        strangers.add(each)
    assert [each.client for each in (answered, waiting, *others) if each.aborted] == [waiting.client]
    strangers.remove(answered.client)
    strangers.add(Stranger(answered.client, idle=True))
    assert not any(each.aborted for each in others)


def test_a_page_that_sends_more_messages_than_its_limit_is_closed(monkeypatch):
    class Talker:
        messages, code = 0, None

        async def receive_text(self):
            self.messages += 1
            return '{"t": "spectrum", "on": true}'

        async def close(self, code):
            self.code = code

    monkeypatch.setattr(security, "time", SimpleNamespace(monotonic=lambda: 0.0))  # no time passes
    ours, theirs = multiprocessing.Pipe()
    with ours, theirs, ThreadPoolExecutor(1) as thread:  # playwright's tests leave a loop in this one
        listening = PanelServer(ours, "", (), Path(), None)._listen(talker := Talker(), Page())
        thread.submit(asyncio.run, listening).result()
    assert (talker.messages, talker.code) == (801, 1008)


def test_a_burst_after_a_pause_and_two_hundred_words_a_second_are_heard(panel, parent):
    with Client(panel) as page:
        for _ in range(700):
            page.say("sustain", down=False)
        for _ in range(100):
            page.say("sustain", down=False)
            time.sleep(0.005)
        page.say("note", key=62, velocity=100)
        parent.until(lambda: any(getattr(event, "key", None) == 62 for event in parent.events))


def test_an_origin_is_asked_for_before_a_token_is(panel):
    with pytest.raises(InvalidStatus) as refused:
        connect(f"ws://127.0.0.1:{panel.port}/socket")
    assert refused.value.response.status_code == 403


def test_a_page_may_send_a_burst_and_then_its_rate_however_long_it_was_silent(monkeypatch):
    now = 100.0
    monkeypatch.setattr(security.time, "monotonic", lambda: now)
    monkeypatch.setattr(security, "MESSAGES_A_SECOND", 10.0)
    monkeypatch.setattr(security, "MOST_IN_BURST", 5.0)
    limit = security.RateLimit()
    for idle_seconds in (0.0, 3600.0):
        now += idle_seconds
        assert [limit.spend() for _ in range(7)] == [True] * 5 + [False] * 2
        now += 0.5  # seconds: five more, of which the two refused ones took two
        assert [limit.spend() for _ in range(4)] == [True] * 3 + [False]
