"""The panel of an instance: opened by a parameter, it plays what the host plays, and a project keeps what it turns."""

import contextlib
import os
import queue
import shutil
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace

import mido
import numpy as np
import psutil
import pytest
from timbrel.host.errors import TimbrelError
from timbrel.host.plugin import panel_thread
from timbrel.host.plugin.patch_loader import LoadedPatch
from timbrel.host.plugin.project import unpack
from timbrel.host.plugin.wire import EventKind, Parameter
from timbrel.host.preset.shipped import MODELS
from timbrel.host.session.messages import Playing, Refused, Report, View

from ...patience import PATIENCE_SECONDS, until
from ..panel.client import PATIENT, Client
from .fake import FakePlugin

RATE = 48000


def press(plugin, down=1.0):
    """Move the parameter that opens the panel, and let the host go on."""
    plugin.put(plugin.position, EventKind.PARAMETER, number=Parameter.PANEL, value=down)
    plugin.block(256)


def opened(plugin):
    """Open the panel; return where it is, as a client takes it."""
    plugin.said.clear()
    press(plugin)
    plugin.listen(lambda: plugin.said)
    [line] = plugin.said
    begin, _, token = line.partition("/#")
    assert begin.startswith("panel: http://127.0.0.1:")
    return SimpleNamespace(port=int(begin.rpartition(":")[2]), token=token)


@contextlib.contextmanager
def playing(plugin):
    """Ask for blocks on another thread, as a host does."""
    done = threading.Event()

    def play():
        while not done.wait(512 / RATE):
            plugin.block(512)

    with ThreadPoolExecutor(1) as pool:
        blocks = pool.submit(play)
        try:
            yield
        finally:
            done.set()
            blocks.result()


def told(plugin, true=lambda state: True):
    """The first state that the plugin is told unasked from now on and of which something is true."""
    plugin.states.pop(0, None)
    plugin.listen(lambda: 0 in plugin.states and true(unpack(plugin.states[0])))
    return unpack(plugin.states[0])


def alive(processes):
    """Those of the processes that have not ended."""
    found = []
    for one in processes:
        with contextlib.suppress(psutil.NoSuchProcess):
            if one.is_running() and one.status() != psutil.STATUS_ZOMBIE:
                found.append(one)
    return found


def helpers_of(plugin):
    """The processes that a plugin's server has started, but for browsers, which end by themselves."""
    found = []
    for one in psutil.Process(plugin.process.pid).children():
        with contextlib.suppress(psutil.NoSuchProcess):
            if one.name() != "browser":
                found.append(one)
    return found


def wait_until_gone(processes):
    until(lambda: not alive(processes), "their end")


@pytest.fixture(scope="module")
def shown(tmp_path_factory):
    """A plugin in real time that has its panel open, and a page of that."""
    folder = tmp_path_factory.mktemp("shown")
    look = folder / "browser"
    shown = '$(cat "${1#file://}" 2>/dev/null)'  # the page may have gone
    look.write_text(f'#!/bin/sh\necho "$1" {shown} $(ps -o cls= -p $$) >> {folder}/opened\n')
    look.chmod(0o700)
    plugin = FakePlugin(first=PATIENT, XDG_DATA_HOME=str(folder), DISPLAY=":0", BROWSER=str(look))
    plugin.listen(lambda: plugin.ready and plugin.presets and plugin.parameters)
    assert len(psutil.Process(plugin.process.pid).children(recursive=True)) == 0
    plugin.reset(offline=False)
    plugin.block(256)
    where = opened(plugin)
    with Client(where) as page:
        yield plugin, page, where, folder
    helpers = psutil.Process(plugin.process.pid).children(recursive=True)
    assert helpers
    assert plugin.close() == 0
    wait_until_gone(helpers)
    assert plugin.logged() == ""


def load(shown, name):
    plugin, page, _, _ = shown
    page.say("load", name=name)
    told(plugin, lambda state: state.preset.name == name and not state.panel_values)
    wait_until_all_that_was_said_has_come(*shown)  # of the same name, the preset before looks as new
    assert page.state["preset"]["name"] == name


def wait_until_all_that_was_said_has_come(plugin, page, _, folder):
    """Wait until the server has processed all that a page said, and the page all answers.

    The server refuses one more preset, and nothing changes. Lines overtake states, so the page then asks once more.
    """
    broken = folder / "timbrel" / "presets" / "broken.toml"
    broken.write_text('format = 1\nmodel = "gone.onnx"\n')
    page.say("load", name="broken")
    page.wait("say", lambda said: "gone.onnx" in said["line"])
    broken.unlink()
    page.say("presets")
    page.wait("presets")


def test_the_address_is_said_and_a_browser_of_no_haste_opens_it(shown):
    plugin, _, where, folder = shown
    until(lambda: (folder / "opened").exists() and (folder / "opened").read_text().endswith("\n"), "a browser")
    file, *text = (folder / "opened").read_text().split("\n")[0].split(" ")
    assert file.startswith("file://")
    assert where.token not in file
    assert f"http://127.0.0.1:{where.port}/#{where.token}" in " ".join(text)
    assert text[-1] == "TS"
    assert {os.sched_getscheduler(one.pid) for one in helpers_of(plugin)[1:]} == {os.SCHED_OTHER}


def test_opened_again_it_is_the_same_panel(shown):
    plugin, page, where, _ = shown
    before = helpers_of(plugin)
    press(plugin, 1.0)  # it stands there already
    press(plugin, 0.0)
    assert opened(plugin) == where
    until(lambda: helpers_of(plugin) == before, "a browser's beginning, which is one more of these")
    with Client(where) as other:
        assert other.state["preset"]["name"] == page.state["preset"]["name"]


def test_the_page_sees_and_hears_what_the_host_plays(shown):
    plugin, page, _, _ = shown
    load(shown, "gm-keys")
    plugin.midi(plugin.position, 0x90, 60, 100)
    plugin.midi(plugin.position, 0xB0, 77, 90)

    with playing(plugin):  # a report of silence overtakes a report of sound that no page has had yet
        meters = page.wait("meters", lambda meters: meters["voices"] == 1 and max(meters["peaks_db"]) > -60)
    assert meters["held"] == [60]
    assert meters["last"].startswith("CC 77 = 90 ->")
    assert len(meters["code"]) == 8
    assert (page.state["sound"]["rate"], page.state["sound"]["block"]) == (RATE, 512)
    macro = next(one for one in page.state["controls"] if one["group"] == "macro")
    plugin.turn(plugin.position, 0, 0.75)
    plugin.block(512)
    page.wait("values", lambda values: values["values"].get(macro["target"]) == 0.75)
    page.say("learn", target="macro.1")
    page.see("learn", lambda learn: learn["target"] == "macro.1")
    for value in range(20, 100, 10):
        plugin.midi(plugin.position, 0xB0, 85, value)
        plugin.block(512)
    told(plugin, lambda state: "number = 85" in state.preset.text)


def test_keys_of_the_page_sound_in_the_next_block(shown):
    plugin, page, _, _ = shown
    load(shown, "gm-keys")
    plugin.reset(offline=False)
    assert not plugin.block(256).any()
    page.say("note", key=60, velocity=100)
    until(lambda: plugin.block(256).any(), "sound")
    page.say("note", key=60, velocity=0)
    while page.wait("meters")["held"]:
        plugin.block(256)


def test_what_is_turned_on_the_page_is_told_once_the_hand_rests_and_saved_and_sounds_elsewhere(shown, plugin):
    mine, page, _, _ = shown
    load(shown, "gm-pad")
    plain = unpack(mine.save())
    for value in np.linspace(0.1, 0.5, 9):
        page.say("set", values={"latent.0": value, "gain": -3.0})
    state = told(mine, lambda state: state.panel_values)
    assert state.panel_values == {"latent.0": 0.5, "gain": -3.0}
    assert state._replace(panel_values={}) == plain
    assert state.listed_name == "gm-pad"
    saved = mine.save()
    assert unpack(saved) == state
    sounds = []
    for one, what in ((mine, None), (plugin, saved), (plugin, "gm-pad")):
        if what is not None:
            one.load(what)
        one.reset()
        one.midi(0, 0x90, 60, 100)
        sounds.append(one.block(8192))
    np.testing.assert_array_equal(sounds[0], sounds[1])
    assert (sounds[1] != sounds[2]).any()
    mine.reset(offline=False)
    plugin.settle()


def test_the_host_is_told_of_macros_that_are_turned_on_the_page_and_of_presets_that_are_chosen(shown):
    plugin, page, _, _ = shown
    plugin.reset(offline=False)
    plugin.block(64)
    load(shown, "gm-keys")
    plugin.turned.clear()
    macro = next(one for one in page.state["controls"] if one["group"] == "macro")
    page.say("set", values={macro["target"]: 0.4, "gain": -3.0})
    plugin.listen(lambda: plugin.turned)
    assert set(plugin.turned) == {int(macro["target"].removeprefix("macro."))}
    plugin.turned.clear()
    load(shown, "gm-pad")
    plugin.listen(lambda: plugin.turned)
    assert plugin.turned == [Parameter.PRESET]


def test_a_save_right_after_a_key_that_was_heard_holds_what_was_turned_before_it(shown):
    plugin, page, _, _ = shown
    load(shown, "gm-keys")
    for value in (0.2, 0.4, 0.6, 0.8):
        plugin.reset(offline=False)
        plugin.block(64)  # the reset has come: a key that came before it would end with it
        page.say("set", values={"latent.1": value})
        page.say("note", key=60, velocity=100)
        until(lambda: plugin.block(64).any(), "sound")
        assert unpack(plugin.save()).panel_values == {"latent.1": value}
        page.say("note", key=60, velocity=0)


def test_hands_do_nothing_in_a_bounce(shown):
    plugin, page, _, _ = shown
    load(shown, "gm-keys")
    before = plugin.save()
    plugin.reset(offline=True)
    plugin.block(256)
    page.say("note", key=60, velocity=100)
    page.say("set", values={"latent.1": 0.9})
    page.see("preset", lambda preset: preset["can_undo"])
    page.wait("values", lambda values: values["values"].get("latent.1", 0.9) != 0.9)  # it does not stay there
    wait_until_all_that_was_said_has_come(*shown)
    assert not plugin.block(9000).any()
    assert plugin.save() == before
    page.say("note", key=60, velocity=0)
    plugin.reset(offline=False)
    assert not plugin.block(1024).any()


def test_what_the_page_edits_is_in_the_project_and_so_is_an_edit_of_what_a_project_brought(shown):
    plugin, page, _, _ = shown
    load(shown, "gm-pad")
    page.say("effect", do="add", plugin="Chorus")
    once = told(plugin, lambda state: state.listed_name is None)
    assert once.preset.text.rstrip().endswith('[[effects]]\nplugin = "Chorus"')
    data = plugin.save()
    load(shown, "gm-keys")
    plugin.load(data)
    told(plugin, lambda state: state == once)
    page.see("effects", lambda effects: len(effects) == 1)
    page.say("effect", do="add", plugin="Gain")
    told(plugin, lambda state: state.preset.text.count("[[effects]]") == 2)
    page.say("undo")
    told(plugin, lambda state: state.preset.text.count("[[effects]]") == 1)
    page.say("save", name="mine")
    assert told(plugin, lambda state: state.preset.name == "mine").preset.text == once.preset.text
    assert "Chorus" in (shown[3] / "timbrel" / "presets" / "mine.toml").read_text()


def test_a_preset_that_is_saved_from_a_project_plays_without_it(shown, plugin, timbrel, tmp_path):
    """Its model and its other end lie beside it, by names that no other file there had."""
    mine, page, _, folder = shown
    home = folder / "timbrel" / "presets"
    (tmp_path / "model.onnx").write_bytes((MODELS / "lakeside-10.onnx").read_bytes())
    text = 'format = 1\nmodel = "model.onnx"\n'
    (tmp_path / "far.toml").write_text(f"{text}[latent]\nvalues = {[0.1] * 10}\n")
    (tmp_path / "preset.toml").write_text(f'{text}[morph]\nto = "far.toml"\n')
    (home / "model.onnx").write_bytes(b"of another preset")
    plugin.load(tmp_path / "preset.toml")
    project = plugin.save()
    shutil.rmtree(tmp_path)
    mine.load(project)
    told(mine, lambda state: "model.onnx" in state.preset.files)
    page.see("preset", lambda preset: preset["name"] == tmp_path.name)
    page.say("effect", do="add", plugin="Chorus")
    told(mine, lambda state: "Chorus" in state.preset.text)
    page.say("save", name="from project")
    state = told(mine, lambda state: state.preset.name == "from project")
    assert 'model = "model-2.onnx"' in state.preset.text
    page.see("preset", lambda preset: (preset["name"], preset["can_undo"]) == ("from project", False))
    assert (home / "model.onnx").read_bytes() == b"of another preset"
    tune, out = folder / "tune.mid", folder / "out.wav"
    notes = [mido.Message("note_on", note=60, time=0), mido.Message("note_off", note=60, time=99)]
    mido.MidiFile(tracks=[notes]).save(tune)
    done = timbrel("render", home / "from project.toml", tune, "-o", out)
    assert (done.status, out.stat().st_size > 10_000) == (0, True)


def test_a_panel_leaves_its_server_where_the_host_is(shown):
    plugin, *_ = shown
    assert Path(f"/proc/{plugin.process.pid}/cwd").readlink() == Path.cwd()


def test_what_cannot_be_played_is_said_on_the_page(shown):
    plugin, page, _, _ = shown
    plugin.load("gm-kees")
    line = "did you mean 'gm-keys'?; the preset before plays on"
    plugin.listen(lambda: any(line in said for said in plugin.said))  # after a state with a model, if one comes
    page.wait("say", lambda said: line in said["line"])
    plugin.settle()


def test_a_panel_goes_with_a_server_that_is_killed():
    plugin = FakePlugin()
    plugin.listen(lambda: plugin.presets)
    plugin.reset(offline=False)
    opened(plugin)
    server = psutil.Process(plugin.process.pid)
    helpers = until(lambda: server.children(recursive=True), "the panel's process")
    plugin.process.kill()
    plugin.process.wait()
    wait_until_gone(helpers)
    plugin.socket.close()


def test_a_load_and_the_refusal_of_the_next_are_shown_in_their_order(monkeypatch):
    """All happen before the panel's process has begun, so that it finds them together."""
    shows, told_of_all = [], threading.Event()

    class Process:
        def __init__(self, *_, **__):
            told_of_all.wait(PATIENCE_SECONDS)

        def __enter__(self):
            return self

        def __exit__(self, *_):
            pass

        def url(self):
            return "http://127.0.0.1:1/#token"

        def waitables(self):
            return []

        def commands(self):
            return []

        def show(self, message):
            shows.append(message)
            if isinstance(message, Report):
                raise TimbrelError("seen enough")

    monkeypatch.setattr(panel_thread, "PanelProcess", Process)
    monkeypatch.setattr(panel_thread, "report", lambda *_: None)
    monkeypatch.setattr(panel_thread, "has_display", lambda: False)
    first, second = (
        LoadedPatch(None, SimpleNamespace(name=name), slots=[], project_preset=None) for name in ("gm-keys", "gm-pad")
    )
    loader = SimpleNamespace(loaded=first, requests=queue.SimpleQueue())
    panel = panel_thread.PluginPanel(loader, SimpleNamespace(), main=None)
    panel.refuse("broken", ["gone.onnx"])
    panel.follow(second)
    panel.refuse("again", ["gone.onnx"])
    told_of_all.set()
    until(lambda: panel.ended, "the panel's end")
    assert [type(message) for message in shows] == [Playing, View, Refused, Playing, View, Refused, Report]
    assert [shown.presets for shown in shows if isinstance(shown, Playing)] == [{None: "gm-keys"}, {None: "gm-pad"}]
    assert [shown.presets[None] for shown in shows if isinstance(shown, Refused)] == ["broken", "again"]


def test_without_what_serves_it_a_panel_says_what_to_install():
    plugin = FakePlugin(first="sys.modules['uvicorn'] = None")
    plugin.listen(lambda: plugin.presets)
    plugin.reset(offline=False)
    press(plugin)
    plugin.listen(lambda: plugin.said)
    assert plugin.said == ["panel: uvicorn is not installed; install it with: pip install 'timbrel[panel]'"]
    assert plugin.close() == 0
    assert plugin.logged() == ""


def test_a_snapshot_is_kept_in_the_project_and_what_was_turned_stays(shown):
    _, page, _, _ = shown
    load(shown, "gm-pad")
    page.say("set", values={"pan": 0.5})
    page.say("snapshot", slot=5)
    state = told(shown[0], lambda state: "slot = 5" in state.preset.text)
    assert state.panel_values == {"pan": 0.5}
    assert page.see("preset", lambda preset: "5" in preset["snapshots"])["snapshots"]["5"]["pan"] == 0.5
