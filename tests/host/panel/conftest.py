"""A panel's own process, and a board without one, with a stand-in for what sounds."""

import json
import time

import pytest
from timbrel.host.panel.messages import read_message
from timbrel.host.panel.state import PanelState
from timbrel.host.session.messages import Events, Ready, View
from timbrel.host.session.panel_process import PanelProcess

from ...patience import PATIENCE_SECONDS
from .fakes import RESTS, TEXT, Out, status, view
from .patient_panel import run


class Parent:
    """Feeds a panel with reports, as the parent does, and keeps what it asks."""

    def __init__(self, panel, folder):
        self.panel, self.commands, self.said = panel, [], []
        panel.say = self.said.append
        panel.show(View(view(folder=folder)))
        panel.show(Ready(status(RESTS)))

    def turn(self):
        """Let a moment pass in which the parent does its part."""
        self.commands += self.panel.commands()
        time.sleep(0.005)

    def until(self, true):
        """Wait until something is true; return what that gave."""
        until = time.monotonic() + PATIENCE_SECONDS
        while not (found := true()):
            assert time.monotonic() < until, "it never came"
            self.turn()
        return found

    @property
    def events(self):
        return [event for command in self.commands if isinstance(command, Events) for event in command.events]


@pytest.fixture(scope="module")
def panel():
    """A panel's process that serves; tests of a module share it."""
    with PanelProcess(run) as panel:
        yield panel


@pytest.fixture
def parent(panel, tmp_path):
    """The parent of that process."""
    return Parent(panel, tmp_path)


@pytest.fixture
def stage(tmp_path):
    """A board that shows a preset of a folder, a function that lets a page say something, and the ways out."""
    out = Out()
    board = PanelState(out, out, tmp_path)
    (tmp_path / "pad.toml").write_text(TEXT)
    board.apply_report(View(view(folder=tmp_path)))
    board.apply_report(Ready(status(RESTS)))

    def say(t, page="one", **fields):
        board.apply(page, read_message(json.dumps({"t": t, **fields})))

    return board, say, out
