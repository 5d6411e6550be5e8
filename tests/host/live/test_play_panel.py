"""A panel asks things of a whole player without a card: parent, sounding process, recording."""

import json
import threading
import time
from multiprocessing import Pipe
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import soundfile
from timbrel.host.events import ControlChange, NoteOff, NoteOn, ParameterChange, ParameterTouch
from timbrel.host.live.session import play
from timbrel.host.midi.files import read_performance
from timbrel.host.panel.messages import read_message
from timbrel.host.panel.state import PanelState
from timbrel.host.preset.shipped import Draft
from timbrel.host.session.messages import (
    Events,
    Load,
    Lost,
    Pace,
    Ready,
    Record,
    Report,
    Say,
    Session,
    Settings,
    Setup,
    Stop,
    View,
    Warn,
)
from timbrel.host.session.takes import Recording

from ...patience import PATIENCE_SECONDS
from ..panel.fakes import Out


class Screen:
    """A screen that nobody looks at."""

    def waitables(self):
        return []

    def typed_keys(self):
        return []

    def show(self, report):
        pass

    def say(self, line):
        pass

    def show_preset_lines(self, lines):
        pass


class Panel:
    """A panel whose page is a thread of the test: it sends commands, and hears what is reported."""

    def __init__(self, page):
        self._parent, self.pipe = Pipe()
        self.heard, self.reported = [], threading.Condition()
        self._page = threading.Thread(target=self._run, args=(page,), daemon=True)
        self.problem = None

    def waitables(self):
        return [self._parent]

    def commands(self):
        asked = []
        while self._parent.poll(0):
            asked.append(self._parent.recv())
        return asked

    def show(self, message):
        with self.reported:
            self.heard.append(message)
            self.reported.notify_all()
        if isinstance(message, Ready) and self._page.ident is None:
            self._page.start()

    def answer(self, command, fits, kind):
        """The content of the first message of a kind that fits, from a command on."""
        since = len(self.heard)
        self.pipe.send(command)
        return self.wait_for(fits, kind, since)

    def of(self, kind, since=0):
        """The contents of the messages of a kind."""
        return [next(iter(vars(message).values())) for message in self.heard[since:] if isinstance(message, kind)]

    def wait_for(self, fits, kind=Report, since=None):
        """The content of the first message of a kind that fits, from now on."""
        with self.reported:
            since = len(self.heard) if since is None else since

            def found():
                return [content for content in self.of(kind, since) if fits(content)]

            assert self.reported.wait_for(found, PATIENCE_SECONDS), self.heard[-1]
            return found()[0]

    def _run(self, page):
        try:
            page(self)
        except BaseException as problem:
            self.problem = problem
        self.pipe.send(Stop())

    def play(self, setup, **recording):
        play(setup, Screen(), Recording(**recording), False, self)
        if self.problem is not None:
            raise self.problem


@pytest.fixture
def preset(tmp_path, analytic):
    analytic(latents=3).save(tmp_path / "m.onnx")
    (tmp_path / "a.toml").write_text('format = 1\nmodel = "m.onnx"\n', encoding="utf-8")
    return str(tmp_path / "a.toml")


def test_a_thousand_moves_a_second_let_reports_through_and_all_arrive_in_the_recording(preset, tmp_path):
    ends = threading.Event()
    sent = []

    def move(panel):
        while not ends.is_set():
            sent.append(ParameterChange(0, 0, "latent.1", (len(sent) % 1000) / 1000))
            panel.pipe.send(Events([sent[-1]]))
            time.sleep(0.001)

    def page(panel):
        panel.pipe.send(Events([NoteOn(0, 0, 60, 100)]))
        moving = threading.Thread(target=move, args=(panel,))
        moving.start()
        try:
            for _ in range(10):  # a second of reports, while it moves
                panel.wait_for(lambda report: report.held == [60])
        finally:
            ends.set()
            moving.join()
        panel.pipe.send(Events([NoteOff(0, 0, 60)]))
        panel.wait_for(lambda report: report.held == [])

    Panel(page).play(Setup(preset, null=True, midi=False), midi=tmp_path / "take.mid")
    events = read_performance(tmp_path / "take.mid", 48000).events
    assert [type(event) for event in (events[0], events[-1])] == [NoteOn, NoteOff]
    values = [event.value for event in events[1:-1]]
    assert values[-1] == sent[-1].value
    order = iter(turn.value for turn in sent)
    assert all(value in order for value in values)  # those that are there, as they were sent


def test_a_panel_is_told_where_knobs_stand_and_what_sounds_under_a_hand_and_after(preset):
    """On a path that goes round all the time."""
    moved = "[[motion]]\nrate_hz = 2.0\npath = [[0.125, 0.25, 0.5], [0.875, 0.5, 0.25]]\n"
    Path(preset).write_text(Path(preset).read_text(encoding="utf-8") + moved, encoding="utf-8")

    def page(panel):
        panel.pipe.send(Pace(0.02))
        first = panel.wait_for(lambda report: report.latents[1] > 0.3)
        assert panel.wait_for(lambda report: report.latents != first.latents).values == first.values
        held = [
            ParameterTouch(0, first.channel, "latent.1", True),
            ParameterChange(0, first.channel, "latent.1", 0.0625),
        ]
        panel.pipe.send(Events(held))
        rests = panel.wait_for(lambda report: report.latents[1] == 0.0625)
        assert rests.values == first.values | {"latent.1": 0.0625}
        panel.wait_for(lambda report: report.latents[1] == 0.0625 and report.latents[0] != rests.latents[0])
        panel.pipe.send(Events([ParameterTouch(0, first.channel, "latent.1", False)]))
        assert panel.wait_for(lambda report: report.latents[1] > 0.3).values == rests.values

    Panel(page).play(Setup(preset, null=True, midi=False))


def test_a_draft_that_is_loaded_and_a_drag_on_its_path_render_to_what_was_played(preset, tmp_path, timbrel):
    text = Path(preset).read_text(encoding="utf-8")
    draft = Draft(
        "mine", text + "[[motion]]\nrate_hz = 2.0\npath = [[0.125, 0.25, 0.5], [0.875, 0.5, 0.25]]\n", tmp_path
    )

    def page(panel):
        panel.pipe.send(Events([NoteOn(0, 0, 60, 100), NoteOn(0, 0, 67, 100)]))
        panel.wait_for(lambda report: report.held == [60, 67])
        panel.pipe.send(Load({None: draft}))
        panel.wait_for(lambda report: report.presets == {None: "mine"})
        panel.pipe.send(Events([NoteOff(0, 0, 60), NoteOn(0, 0, 48, 100), ParameterTouch(0, 0, "latent.1", True)]))
        for value in (0.5, 0.75, 1.0):
            panel.pipe.send(Events([ParameterChange(0, 0, "latent.1", value)]))
            panel.wait_for(lambda report, value=value: report.values["latent.1"] == value)
        panel.pipe.send(Events([ParameterTouch(0, 0, "latent.1", False), NoteOff(0, 0, 48), NoteOff(0, 0, 67)]))
        panel.wait_for(lambda report: report.voices == 0)

    played = {"sound": tmp_path / "take.wav", "midi": tmp_path / "take.mid"}
    Panel(page).play(Setup(preset, null=True, midi=False, block=2048), **played)  # no voice is shed on a busy machine
    ended = timbrel("render", preset, played["midi"], "-o", tmp_path / "again.wav", "--rate", 48000)
    assert (ended.status, ended.err) == (0, "")
    live, again = (soundfile.read(tmp_path / name, dtype="float32")[0] for name in ("take.wav", "again.wav"))
    length = min(len(live), len(again))
    assert np.abs(live[length:]).max(initial=0.0) < 1e-4
    assert np.abs(live).max() > 0.01
    assert np.array_equal(live[:length], again[:length])


PATH = "[[motion]]\nrate_hz = 2.0\npath = [[0.125, 0.25, 0.5], [0.875, 0.5, 0.25]]\n"


@pytest.fixture
def takes(tmp_path, monkeypatch):
    """The folder of recordings of pages."""
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    return tmp_path / "data" / "timbrel" / "recordings"


def recorded(panel, play):
    """Record while ``play`` plays; return the names of the files."""
    panel.answer(Record(True), lambda session: session.recording == "on", Session)
    play()
    return panel.answer(Record(False), lambda session: session.recording == "off", Session).files


def test_a_take_begins_and_ends_amid_playing_and_renders_to_what_was_played(preset, takes, tmp_path, timbrel):
    text = Path(preset).read_text(encoding="utf-8")
    draft, files = Draft("mine: 1", text + PATH, tmp_path), []

    def note(panel, key):
        panel.pipe.send(Events([NoteOn(0, 0, key, 100)]))
        panel.wait_for(lambda report: report.held == [key])
        panel.pipe.send(Events([NoteOff(0, 0, key)]))
        panel.wait_for(lambda report: report.voices == 0)

    def page(panel):
        panel.pipe.send(Load({None: draft}))
        panel.wait_for(lambda report: report.presets == {None: "mine: 1"})
        panel.pipe.send(Events([ParameterChange(0, 0, "latent.1", 0.75), ControlChange(0, 0, 10, 20)]))
        note(panel, 72)

        def play():
            note(panel, 60)
            panel.pipe.send(Load({None: preset}))
            panel.wait_for(lambda report: report.presets == {None: "a"})
            note(panel, 48)

        files.extend(recorded(panel, play))
        panel.pipe.send(Events([ParameterChange(0, 0, "latent.1", 0.25)]))
        files.extend(recorded(panel, lambda: note(panel, 50)))

    Panel(page).play(Setup(preset, null=True, midi=False, block=2048))  # no voice is shed on a busy machine
    assert [Path(name).suffix for name in files] == [".wav", ".mid"] * 2
    assert sorted(path.name for path in takes.iterdir()) == sorted(files)
    assert "mine_ 1" in files[0]
    for sound, midi in (files[:2], files[2:]):
        ended = timbrel("render", preset, takes / midi, "-o", tmp_path / "again.wav", "--rate", 48000, "--overwrite")
        assert (ended.status, ended.err) == (0, "")
        live, again = (soundfile.read(path, dtype="float32")[0] for path in (takes / sound, tmp_path / "again.wav"))
        length = min(len(live), len(again))
        assert np.abs(live).max() > 0.01
        assert np.abs(live[length:]).max(initial=0.0) < 1e-4
        assert np.array_equal(live[:length], again[:length])
    keys = [event.key for event in read_performance(takes / files[1], 48000).events if isinstance(event, NoteOn)]
    assert keys == [60, 48]


def test_other_settings_keep_the_draft_and_its_knobs_and_those_that_fail_leave_the_ones_before(preset, tmp_path):
    draft = Draft("mine", Path(preset).read_text(encoding="utf-8") + PATH, tmp_path)
    blocks = []

    def page(panel):
        panel.pipe.send(Load({None: draft}))
        other = {"block": 512, "channel": 3}  # before the draft plays
        panel.answer(Settings(other), lambda session: session.restarting, Session)
        panel.wait_for(lambda report: report.block == 512 and report.presets == {None: "mine"})
        panel.pipe.send(Pace(0.01))
        panel.wait_for(lambda report: True)
        panel.pipe.send(Events([ParameterChange(0, 0, "latent.1", 0.75)]))
        panel.wait_for(lambda report: report.values["latent.1"] == 0.75)
        other = {"device": "a card that is not here", "block": 64}
        panel.answer(Settings(other), lambda line: line.endswith("the settings before play on"), Warn)
        after = panel.wait_for(lambda report: report.values["latent.1"] == 0.75)
        assert (after.block, after.presets) == (512, {None: "mine"})
        assert panel.of(Lost) == []
        blocks.extend(session.block for session in panel.of(Session))

    Panel(page).play(Setup(preset, null=True, midi=False))
    assert blocks == [128, 512, 512, 64, 512]


def test_while_all_is_recorded_settings_stay_and_a_page_is_told_why_it_cannot_record(preset, tmp_path):
    def page(panel):
        panel.wait_for(lambda session: session.recording == "option", Session, since=0)
        for command in (Settings({"block": 512}), Record(True), Record(False)):
            panel.answer(command, lambda line: "record" in line, Say)
        assert panel.wait_for(lambda report: True).block == 128

    Panel(page).play(Setup(preset, null=True, midi=False), midi=tmp_path / "take.mid")


class Board(Panel):
    """A panel whose page speaks with the state that pages share."""

    def __init__(self, page, home):
        super().__init__(page)
        writer = SimpleNamespace(put=self.pipe.send)
        self.shared, self.state = threading.RLock(), PanelState(writer, Out(), home)

    def show(self, message):
        with self.shared:
            self.state.apply_report(message)
        super().show(message)

    def say(self, t, **fields):
        with self.shared:
            self.state.apply("page", read_message(json.dumps({"t": t, **fields})))


def test_snapshots_their_corners_and_a_dice_render_to_what_was_played_and_storing_is_silent(preset, tmp_path, timbrel):
    def page(panel):
        panel.wait_for(lambda report: panel.state.state()["controls"])
        codes = {1: 0.25, 2: 0.75}
        panel.say("note", key=60, velocity=100)
        for slot, value in codes.items():
            panel.say("set", values={"latent.0": value, "pan": value - 0.5})
            panel.wait_for(lambda report, value=value: report.values["latent.0"] == value)
            panel.say("snapshot", slot=slot)
            stored = panel.wait_for(lambda view, slot=slot: f"slot = {slot}" in view.text, View)
        assert stored.draft
        values = panel.state.state()["preset"]["snapshots"][1]
        assert {"latent.0", "latent.1", "latent.2", "pan", "envelope.attack_seconds"} <= set(values)
        panel.say("set", values=values)  # a recall
        assert panel.wait_for(lambda report: report.values["latent.0"] == 0.25).held == [60]
        panel.say("grab", targets=list(values))
        for share in (0.25, 0.5, 1.0):  # a drag between the corners
            panel.say("move", values=values | {"latent.0": 0.25 + share / 2, "pan": share / 2 - 0.25})
            panel.wait_for(lambda report, share=share: report.values["latent.0"] == 0.25 + share / 2)
        panel.say("drop", targets=list(values))
        panel.say("set", values={f"latent.{number}": 0.1 + 0.3 * number for number in range(3)})  # a dice
        panel.wait_for(lambda report: report.latents[2] > 0.6)
        panel.say("note", key=60, velocity=0)
        panel.wait_for(lambda report: report.voices == 0)

    played = {"sound": tmp_path / "take.wav", "midi": tmp_path / "take.mid"}
    Board(page, tmp_path).play(Setup(preset, null=True, midi=False, block=2048), **played)
    assert b'"swap":' not in played["midi"].read_bytes()
    ended = timbrel("render", preset, played["midi"], "-o", tmp_path / "again.wav", "--rate", 48000)
    assert (ended.status, ended.err) == (0, "")
    live, again = (soundfile.read(tmp_path / name, dtype="float32")[0] for name in ("take.wav", "again.wav"))
    length = min(len(live), len(again))
    assert np.abs(live[length:]).max(initial=0.0) < 1e-4
    assert np.abs(live).max() > 0.01
    assert np.array_equal(live[:length], again[:length])


def test_positions_of_morph_and_macros_come_back_with_a_preset_that_was_saved(preset, tmp_path):
    away = {"morph": 0.75, "macro.0": 0.125, "macro.1": 0.5, "latent.2": 0.25}
    wide = '[[macro]]\nname = "{}"\ntargets = [{{target = "latent.0", low = -0.2, high = 0.2}}]\n'
    path = tmp_path / "b.toml"
    text = Path(preset).read_text() + wide.format("wide") + "[morph]\nvalues = [1.0, 1.0, 1.0]\n" + wide.format("far")
    path.write_text(text)

    def page(panel):
        panel.wait_for(lambda report: panel.state.state()["controls"])
        panel.say("set", values=away)
        panel.wait_for(lambda report: away.items() <= report.values.items())
        panel.say("save", name="kept")
        assert not panel.wait_for(lambda view: view.name == "kept", View).draft
        codes = panel.wait_for(lambda report: away.items() <= report.values.items()).latents
        assert not panel.state.state()["preset"]["dirty"]
        panel.say("load", name="b")
        panel.wait_for(lambda report: report.values["morph"] == 0.0)
        panel.say("load", name="kept")
        back = panel.wait_for(lambda report: away.items() <= report.values.items())
        assert back.latents == pytest.approx(codes)
        panel.wait_for(lambda report: not panel.state.state()["preset"]["dirty"])  # its sound may come before its page

    Board(page, tmp_path).play(Setup(str(path), null=True, midi=False))
