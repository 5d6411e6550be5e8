"""The last recording is given to pages that have shown the token, as files to keep; devices are listed for them."""

import re

import pytest
from timbrel.host.panel.process import run
from timbrel.host.session.messages import Pace, Record, Session, SessionView, Settings
from timbrel.host.session.panel_process import PanelProcess

from .client import Client
from .conftest import Parent
from .test_security import answer, get, status_of

LAST, BEFORE = "2026-01-02 20.15.00 pad.wav", "2026-01-01 20.15.00 pad.wav"
WAV = b"RIFF" + bytes(2000)


@pytest.fixture
def panel(tmp_path, monkeypatch):
    """A panel with two recordings in its user's folder."""
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    folder = tmp_path / "timbrel" / "recordings"
    folder.mkdir(parents=True)
    for name in (LAST, BEFORE):
        (folder / name).write_bytes(WAV)
    with PanelProcess(run) as panel:
        yield panel


def ask(panel, name, *headers):
    path = f"/recording/{name.replace(' ', '%20')}"
    return get(panel, f"Host: 127.0.0.1:{panel.port}", *headers, path=path)


def test_a_page_with_the_token_gets_the_files_of_the_last_recording_alone_also_from_a_restarted_process(
    panel, tmp_path
):
    parent = Parent(panel, tmp_path)
    parent.panel.show(Session(SessionView((), None, None, 128, False, files=(LAST,))))
    panel._child.process.kill()
    parent.until(lambda: parent.said)
    parent.commands.clear()
    parent.until(lambda: any(isinstance(command, Pace) for command in parent.commands))
    with Client(panel) as page:
        page.see("session", lambda session: session and session["files"] == [LAST])
        lines = [
            "POST /recording HTTP/1.1",
            f"Host: 127.0.0.1:{panel.port}",
            f"Origin: http://127.0.0.1:{panel.port}",
            f"Authorization: Bearer {panel.token}",
            "Content-Length: 0",
            "Connection: close",
        ]
        said = answer(panel, "\r\n".join([*lines, "", ""]).encode()).decode()
        cookie = f"Cookie: {re.findall(r'set-cookie: ([^;]+);', said)[0]}"
        head, _, data = ask(panel, LAST, cookie).partition(b"\r\n\r\n")
        assert data == WAV
        assert {b"content-type: audio/wav", b"content-disposition: attachment"} <= set(head.lower().split(b"\r\n"))
        assert status_of(ask(panel, LAST)) == 403
        for name in (BEFORE, "..%2fmodels", "nothing.wav"):
            assert status_of(ask(panel, name, cookie)) == 404


def test_pages_that_ask_get_the_devices_of_the_machine_and_their_wishes_reach_the_parent(panel, tmp_path):
    parent = Parent(panel, tmp_path)
    parent.panel.show(Session(SessionView((), None, None, 128, False)))
    with Client(panel) as one, Client(panel) as two:
        for page in (one, two):
            page.see("session", bool)
            page.say("devices")
        for page in (one, two):
            found = page.wait("devices")
            assert all(isinstance(name, str) for name in [*found["cards"], *found["ports"]])
        one.say("settings", block=256, channel=None)
        one.say("record", on=True)
        parent.until(lambda: Record(True) in parent.commands)
        assert Settings({"block": 256, "channel": None}) in parent.commands
