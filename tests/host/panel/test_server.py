"""Pages and a panel's own process, with a stand-in for what sounds."""

import os
import signal
import socket
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from timbrel.host.events import ControlChange, NoteOff, NoteOn, ParameterChange, ParameterTouch
from timbrel.host.panel.process import run
from timbrel.host.session.messages import Load, Pace, Ready, Report, View
from timbrel.host.session.panel_process import PanelProcess
from websockets.exceptions import ConnectionClosedError

from ...patience import PATIENCE_SECONDS
from .client import Client
from .conftest import Parent
from .fakes import RESTS, status, view


def test_a_page_is_told_all_at_once_and_what_it_plays_arrives(panel, parent):
    with Client(panel) as page:
        state = page.state
        assert state["preset"]["name"] == "pad"
        assert [control["target"] for control in state["controls"]] == list(RESTS)
        assert state["sound"]["device"] == "a card"
        page.say("note", key=60, velocity=100)
        page.say("grab", targets=["latent.0"])
        page.say("move", values={"latent.0": 0.375})
        page.say("drop", targets=["latent.0"])
        parent.until(lambda: ParameterTouch(0, 0, "latent.0", False) in parent.events)
        heard = [event for event in parent.events if not isinstance(event, ControlChange)]
        assert heard == [
            NoteOn(0, 0, 60, 100),
            ParameterTouch(0, 0, "latent.0", True),
            ParameterChange(0, 0, "latent.0", 0.375),
            ParameterTouch(0, 0, "latent.0", False),
        ]
    parent.until(lambda: NoteOff(0, 0, 60) in parent.events)


def test_a_note_that_hung_on_its_way_is_dropped_and_a_silent_page_holds_no_key(panel, parent):
    with Client(panel) as page:
        page.say("note", key=59, velocity=100, at=0.0)
        page.say("ping", at=20_000.0)
        page.wait("pong")
        page.say("note", key=60, velocity=100, at=10_000.0)
        page.say("note", key=61, velocity=100, at=1e6)
        parent.until(lambda: NoteOff(0, 0, 61) in parent.events)
        page.say("note", key=62, velocity=100)
        parent.until(lambda: NoteOn(0, 0, 62, 100) in parent.events)
        keys = [event.key for event in parent.events if isinstance(event, NoteOn)]
        assert keys == [59, 61, 62]


def test_two_pages_are_told_the_same_values_under_the_same_numbers(panel, parent):
    with Client(panel, "localhost") as one, Client(panel) as two:
        for page in (one, two):
            page.say("grab", targets=["latent.0", "latent.1"])
        for step in range(60):
            (one, two)[step % 2].say("move", values={f"latent.{step % 2}": step / 60})
        two.say("set", values={"gain": -6.0})
        believed = []
        for page in (one, two):
            values, n = {}, 0
            while values.get("gain") != -6.0 or values.get("latent.0") != 58 / 60 or values.get("latent.1") != 59 / 60:
                message = page.wait("values")
                assert message["n"] > n
                values, n = values | message["values"], message["n"]
            believed.append((values, n))
        assert believed[0] == believed[1]


def test_moves_that_the_parent_cannot_take_are_sent_once_with_the_last_value(panel, parent):
    with Client(panel) as page:
        page.say("grab", targets=["envelope.sustain"])
        for step in range(600):
            page.say("move", values={"envelope.sustain": step / 600})
        page.say("drop", targets=["envelope.sustain"])
        parent.until(lambda: ParameterTouch(0, 0, "envelope.sustain", False) in parent.events)
        values = [
            event.value
            for event in parent.events
            if isinstance(event, ParameterChange) and event.target == "envelope.sustain"
        ]
        assert values == sorted(values)
        assert values[-1] == 599 / 600


def test_a_page_that_reads_nothing_holds_up_neither_the_others_nor_the_parent(panel, parent):
    with Client(panel) as slow, Client(panel) as page:
        slow.socket.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        for number in range(100):
            parent.panel.show(Report(status(RESTS, latents=[0.5] * 200, underruns=number)))
            parent.turn()
        page.wait("meters", lambda meters: meters["underruns"] == 99)
        page.say("note", key=60, velocity=100)
        parent.until(lambda: NoteOn(0, 0, 60, 100) in parent.events)
        assert slow.wait("meters")["underruns"] <= 99


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="this system kills otherwise")
def test_the_spectrum_goes_to_pages_that_show_it_alone(panel, parent):
    def meters(page):
        parent.panel.show(Report(status(RESTS, spectrum_db=[-20] * 64)))
        return page.wait("meters")

    with Client(panel) as page, Client(panel) as other:
        page.say("spectrum", on=True)
        parent.until(lambda: meters(page).get("spectrum_db") == [-20] * 64)
        assert "spectrum_db" not in meters(other)
        page.say("spectrum", on=False)
        parent.until(lambda: "spectrum_db" not in meters(page))


def test_a_page_to_which_something_cannot_be_told_is_closed_and_that_is_said(panel, parent):
    with Client(panel) as page:
        parent.panel.show(Report(status(RESTS, latents=[float("nan")])))
        with pytest.raises(ConnectionClosedError, match="1011"):
            page.wait("meters", lambda meters: meters["code"] != [0.5])
    parent.until(lambda: any("a page is closed, and comes back: ValueError" in line for line in parent.said))
    parent.panel.show(Report(status(RESTS)))
    with Client(panel) as page:
        assert page.state["preset"]["name"] == "pad"


def test_a_panel_that_is_killed_comes_back_at_its_address_and_nothing_stays_held(tmp_path):
    with PanelProcess(run) as panel:
        parent = Parent(panel, tmp_path)
        with Client(panel) as page:
            page.say("note", key=60, velocity=100)
            page.say("sustain", down=True)
            page.say("grab", targets=["latent.0"])
            parent.until(lambda: ParameterTouch(0, 0, "latent.0", True) in parent.events)
            parent.commands.clear()
            os.kill(panel._child.process.pid, signal.SIGKILL)
            parent.until(lambda: ParameterTouch(0, 0, "latent.0", False) in parent.events)
            assert {NoteOff(0, 0, 60), ControlChange(0, 0, 64, 0)} <= set(parent.events)
            assert [line for line in parent.said if "begins again" in line] == parent.said != []
        parent.until(lambda: Pace(pytest.approx(1 / 30)) in parent.commands)
        parent.commands.clear()
        parent.panel.show(Ready(status(RESTS)))  # of another process that sounds
        parent.until(lambda: Pace(pytest.approx(1 / 30)) in parent.commands)
        with Client(panel) as page:
            assert page.state["preset"]["name"] == "pad"
            assert not page.state["preset"]["dirty"]


def test_what_is_not_saved_is_shown_as_changed_by_a_page_and_by_a_process_that_come_back(tmp_path):
    with PanelProcess(run) as panel:
        parent = Parent(panel, tmp_path)
        with Client(panel) as page:
            page.say("effect", do="add", plugin="Reverb")
            parent.until(lambda: any(isinstance(command, Load) for command in parent.commands))
        with Client(panel) as page:
            assert page.state["preset"]["dirty"]
        draft = next(command.presets[None] for command in parent.commands if isinstance(command, Load))
        panel.show(View(replace(view(draft.text, folder=tmp_path), draft=True)))
        parent.commands.clear()
        os.kill(panel._child.process.pid, signal.SIGKILL)
        parent.until(lambda: Pace(pytest.approx(1 / 30)) in parent.commands)
        with Client(panel) as page:
            assert page.state["preset"]["dirty"]


def test_a_panel_ends_when_its_parent_has_gone(tmp_path):
    with PanelProcess(run) as panel:
        Parent(panel, tmp_path)
        with Client(panel):
            process = panel._child.process
            panel._child.pipe.close()
            process.join(PATIENCE_SECONDS)
            assert process.exitcode == 0
            panel._child = None


def test_a_session_that_ends_tells_its_pages(tmp_path):
    with PanelProcess(run) as panel:
        Parent(panel, tmp_path)
        page = Client(panel).__enter__()
    with page.connection, pytest.raises(ConnectionClosedError, match="4410"):
        page.wait("never")


def test_a_port_that_is_taken_is_named(panel):
    from timbrel.host.errors import UserError

    with pytest.raises(UserError, match=f"--port {panel.port} cannot be used"):
        PanelProcess(run, port=panel.port)


def test_other_machines_are_answered_only_where_that_was_asked_for(panel):
    assert [each.getsockname()[0] for each in panel._sockets] in (["127.0.0.1", "::1"], ["127.0.0.1"])
    with PanelProcess(run, lan=True) as open_one:
        assert [each.getsockname()[0] for each in open_one._sockets] == ["0.0.0.0"]
        assert all(f"{address}:{open_one.port}" in open_one._hosts for address in open_one.addresses)
    assert panel.token != open_one.token
    assert len(panel.token) >= 22  # of 64 letters each: 128 bits


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere a process's memory is not told by a file")
def test_the_panels_process_is_light_and_knows_nothing_that_sounds(panel, parent):
    with Client(panel):
        about = Path(f"/proc/{panel._child.process.pid}")
        assert int((about / "statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") < 64 << 20
        loaded = (about / "maps").read_text()
        assert [name for name in ("numpy", "onnxruntime", "pedalboard", "torch") if name in loaded] == []
