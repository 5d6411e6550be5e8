"""`--panel`, `--lan` and `--port` on the command line."""

import importlib.util
import queue
import re
import stat
import webbrowser
from pathlib import Path
from urllib.parse import urlsplit
from urllib.request import url2pathname

import pytest
from timbrel.host.commands import live
from timbrel.host.errors import UserError
from timbrel.host.panel.process import run
from timbrel.host.session.messages import Ready, Say
from timbrel.host.session.panel_process import PanelProcess

from ...patience import PATIENCE_SECONDS, until


@pytest.mark.parametrize(("options", "named"), [({"lan": True}, "--lan"), ({"port": 8000}, "--port 8000")])
def test_what_is_for_a_panel_alone_is_refused_without_one(options, named):
    with pytest.raises(UserError, match=f"{named} goes with --panel"), live.served(False, **options):
        pass


def test_nothing_is_begun_or_printed_where_no_panel_is_asked_for(capsys):
    with live.served(False) as panel:
        assert panel is None
    assert capsys.readouterr().out == ""


def test_what_is_not_installed_is_named_with_what_installs_it(monkeypatch):
    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "uvicorn" else find(name))
    with pytest.raises(UserError, match=r"uvicorn is not installed.*timbrel\[panel\]"), live.served(True):
        pass


def test_the_address_is_a_line_of_its_own_and_a_browser_opens_it_only_where_there_is_a_display(capsys, monkeypatch):
    opened = []

    def look(address):
        file = Path(url2pathname(urlsplit(address).path))
        modes = [stat.S_IMODE(path.stat().st_mode) for path in (file.parent, file)]
        opened.append((address, file, modes, re.search(r"url=(.*)\"", file.read_text())[1]))

    monkeypatch.setattr(webbrowser, "open", look)
    monkeypatch.setattr(live.sys, "platform", "linux")
    for display in ("", ":0"):
        monkeypatch.setenv("DISPLAY", display)
        monkeypatch.setenv("WAYLAND_DISPLAY", "")
        with live.served(True, browse=True) as panel:
            lines = capsys.readouterr().out.splitlines()
            assert lines == [f"panel: http://127.0.0.1:{panel.port}/#{panel.token}"]
            assert not opened  # a preset that cannot be played has no page
            if display:
                panel.show(Ready(None))
                until(lambda: opened, "the browser opens the page")
    [(address, file, modes, leads_to)] = opened
    assert leads_to == panel.url()
    assert panel.token not in address  # which stands on a command line, for all to see
    assert modes == [0o700, 0o600]
    assert not file.parent.exists()


def test_the_page_is_opened_once_the_sound_is_there_and_no_second_time(monkeypatch):
    panel, opened = PanelProcess(run), queue.SimpleQueue()
    monkeypatch.setattr(webbrowser, "open", opened.put)
    panel.first_page = "file:///a page"
    panel.show(Say("a line"))
    assert opened.empty()
    panel.show(Ready(None))
    assert opened.get(timeout=PATIENCE_SECONDS) == "file:///a page"
    panel.show(Ready(None))
    assert panel.first_page is None
    panel.__exit__()


def test_on_a_network_it_is_said_who_can_play_and_a_camera_can_read_the_address(capsys, monkeypatch):
    monkeypatch.setattr("timbrel.host.session.panel_process._own_addresses", lambda: ["192.0.2.7"])
    with live.served(True, lan=True) as panel:
        first, warning, address, *picture = capsys.readouterr().out.splitlines()
    assert first == f"panel: http://127.0.0.1:{panel.port}/#{panel.token}"
    assert "not encrypted" in warning
    assert address.strip() == f"http://192.0.2.7:{panel.port}/#{panel.token}"
    assert len(picture) > 10
