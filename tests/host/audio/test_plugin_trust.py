"""Native code that a preset names runs only once its user has said so, and is asked for again when it is another."""

import json
import os
import pty
import shutil
import subprocess
import sys
import threading
from pathlib import Path

import pedalboard
import pytest
import soundfile
from timbrel.host.audio.effects import Effect, EffectChain
from timbrel.host.audio.plugins import let_run, may_run
from timbrel.host.errors import UserError
from timbrel.host.live import audio_process
from timbrel.host.live.audio_process import ProcessState
from timbrel.host.preset.plugin_consent import ask_for, plugins_of
from timbrel.host.preset.shipped import MIDI, shipped_presets
from timbrel.host.session.messages import PresetLines, Setup

from ...patience import PATIENCE_SECONDS

TUNE = MIDI / "demo.mid"


@pytest.fixture(autouse=True)
def settings(tmp_path_factory, monkeypatch):
    """Settings in which nothing is remembered; a plugin that would be loaded says so."""

    def load(path):
        raise ImportError(f"loaded {Path(path).name}")

    folder = tmp_path_factory.mktemp("settings")
    monkeypatch.setenv("XDG_CONFIG_HOME", str(folder))
    monkeypatch.setattr(pedalboard, "load_plugin", load)
    return folder


@pytest.fixture
def home(tmp_path, analytic, monkeypatch):
    """A folder with a model, a plugin that is a bundle, a preset that names it and one that names none."""
    monkeypatch.chdir(tmp_path)
    analytic().save(tmp_path / "model.onnx")
    code = tmp_path / "sly.vst3" / "Contents" / "x86_64-linux"
    code.mkdir(parents=True)
    (code / "sly.so").write_bytes(b"native code")
    (tmp_path / "sly.toml").write_text('format = 1\nmodel = "model.onnx"\n[[effects]]\nplugin = "sly.vst3"\n')
    (tmp_path / "plain.toml").write_text('format = 1\nmodel = "model.onnx"\n')
    shutil.copy(TUNE, "tune.mid")
    soundfile.write(tmp_path / "sound.wav", [0.1] * 30_000, 22050)
    (tmp_path / "set").mkdir()
    (tmp_path / "set" / "a.toml").write_text('format = 1\nmodel = "../model.onnx"\n')
    (tmp_path / "set" / "b.toml").write_text((tmp_path / "sly.toml").read_text().replace('= "', '= "../'))
    return tmp_path


COMMANDS = {
    "render": "render sly.toml tune.mid -o new.wav",
    "render --channel": "render plain.toml tune.mid -o new.wav --channel 1=sly.toml",
    "process": "process sound.wav --preset sly.toml -o new.wav",
    "play": "play sly.toml --null --plain",
    "play --channel": "play plain.toml --null --plain --channel 3=sly.toml",
    "play --set": "play plain.toml --set set --null --plain",
}


@pytest.mark.parametrize("command", COMMANDS)
def test_without_a_terminal_an_unknown_plugin_ends_a_command(home, timbrel, monkeypatch, command):
    monkeypatch.setattr("timbrel.host.live.session.play", lambda *_: print("it plays"))
    before = sorted(home.rglob("*"))
    ended = timbrel(*COMMANDS[command].split())
    assert (ended.status, ended.out) == (2, ""), ended
    [said] = ended.err.splitlines()
    assert said.startswith("timbrel: preset ")
    assert "sly.vst3, native code that has not run here before" in said
    assert "--trust" in said
    assert sorted(home.rglob("*")) == before


@pytest.mark.parametrize("command", ["render", "render --channel", "process", "play"])
def test_trust_runs_it_and_is_remembered(home, settings, timbrel, command):
    given = COMMANDS[command].split()
    trusted = timbrel(*given, "--trust")
    assert (trusted.status, trusted.out) == (2, "")
    assert "cannot load sly.vst3" in trusted.err  # it was about to run, and is no plugin
    assert may_run(home / "sly.vst3")
    again = timbrel(*given)
    assert "cannot load sly.vst3" in again.err
    assert list(json.loads((settings / "timbrel" / "plugins.json").read_text())) == [str(home / "sly.vst3")]


def at_a_terminal(answer, *arguments):
    """What a command says to somebody who answers so, and its status."""
    ours, theirs = pty.openpty()
    command = [sys.executable, "-m", "timbrel", *map(str, arguments)]
    with subprocess.Popen(command, stdin=theirs, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as run:
        os.write(ours, answer.encode())
        _, said = run.communicate(timeout=PATIENCE_SECONDS)
    os.close(theirs)
    os.close(ours)
    return run.returncode, said


@pytest.mark.parametrize(
    ("answer", "words", "kept"),
    [("y\n", "cannot load sly.vst3", True), ("n\n", "may not run", False), ("\n", "may not run", False)],
)
def test_at_a_terminal_it_is_asked_for(home, answer, words, kept):
    status, said = at_a_terminal(answer, "render", "sly.toml", TUNE, "-o", "new.wav")
    assert status == 2
    question = "timbrel: preset sly.toml runs sly.vst3, which runs with your permissions. Allow it? [y/N] timbrel: "
    assert said.startswith(question), said
    assert words in said
    assert may_run(home / "sly.vst3") == kept
    assert not (home / "new.wav").exists()


def test_no_way_leads_round_it(home):
    with pytest.raises(
        UserError, match=r"^\[\[effects\]\] 1 \(sly\.vst3\): it is native code that has not run here before; "
    ):
        EffectChain([Effect(plugin="sly.vst3")], 44100, home)
    let_run(home / "sly.vst3")
    with pytest.raises(UserError, match="cannot load"):
        EffectChain([Effect(plugin="sly.vst3")], 44100, home)


@pytest.mark.parametrize("name", ["set/b.toml", "sly.toml"])
def test_a_preset_that_is_saved_or_chosen_while_another_plays_is_refused(home, name):
    state = ProcessState(setup=Setup("plain.toml"), pipe=None, loop=threading.local(), rate=48000)
    state.loop.brace = lambda blocks: None
    state.presets.activate({None: "plain.toml"}, state.presets.opened({None: "plain.toml"}))
    audio_process._load(state, {None: str(home / name)})
    [message] = state.outbox
    [line] = message.lines
    assert isinstance(message, PresetLines)
    assert "native code that has not run here before" in line


def test_what_is_shipped_or_names_no_plugin_is_never_asked_for(home, monkeypatch):
    monkeypatch.setattr(sys, "stdin", None)  # nobody could answer
    (home / "gone.toml").write_text('[[effects]]\nplugin = "gone.vst3"\n')
    (home / "odd.toml").write_text('effects = [1, { plugin = 2 }, { plug = "sly.vst3" }]\n')
    (home / "text.toml").write_text("no preset")
    ask_for([*shipped_presets(), "plain.toml", "gone.toml", "odd.toml", "text.toml", "model.onnx"], False)


def test_a_preset_without_a_suffix_and_a_folder_that_make_wrote_are_looked_into(home):
    (home / "sly.toml").rename(home / "sly")
    (home / "made").mkdir()
    (home / "made" / "preset.toml").write_text('[[effects]]\nplugin = "../sly.vst3"\n')
    for name in ("sly", "made"):
        with pytest.raises(UserError, match=r"sly\.vst3, native code"):
            ask_for([name], False)


def test_a_plugin_by_another_spelling_in_the_file_is_found(home):
    (home / "sly.toml").write_text('[["effects"]]\n"plugin" = "sl\\u0079\\u002evst3"\n')
    assert plugins_of(home / "sly.toml") == [home / "sly.vst3"]


def replace_code(bundle):
    (bundle / "Contents" / "x86_64-linux" / "sly.so").write_bytes(b"Native code")


def add_code(bundle):
    (bundle / "Contents" / "x86_64-linux" / "other.so").write_bytes(b"")


def rename_code(bundle):
    code = bundle / "Contents" / "x86_64-linux" / "sly.so"
    code.rename(code.with_name("slyer.so"))


def swap_for_a_file(bundle):
    bundle.rename(bundle.with_name("old"))
    bundle.write_bytes(b"native code")


def swap_for_a_link(bundle):
    (bundle / "Contents" / "x86_64-linux").rename(bundle / "Contents" / "b")
    (bundle / "Contents" / "x86_64-linux").symlink_to("b")


@pytest.mark.parametrize("change", [replace_code, add_code, rename_code, swap_for_a_file, swap_for_a_link])
def test_a_plugin_that_was_replaced_may_not_run(home, change):
    let_run(home / "sly.vst3")
    assert may_run(home / "sly.vst3")
    change(home / "sly.vst3")
    assert not may_run(home / "sly.vst3")


def test_a_plugin_whose_link_leads_to_other_code_of_its_own_may_not_run(home):
    code = home / "sly.vst3" / "Contents"
    (code / "harmful").mkdir()
    (code / "now").symlink_to("x86_64-linux")
    let_run(home / "sly.vst3")
    (code / "now").unlink()
    (code / "now").symlink_to("harmful")
    assert not may_run(home / "sly.vst3")


def test_a_plugin_elsewhere_of_the_same_name_may_not_run(home):
    let_run(home / "sly.vst3")
    (home / "other").mkdir()
    (home / "sly.vst3").rename(home / "other" / "sly.vst3")
    assert not may_run(home / "other" / "sly.vst3")


def test_another_preset_may_use_it_and_a_link_to_it_too(home):
    let_run(home / "sly.vst3")
    ask_for(["set/b.toml"], False)
    (home / "linked.vst3").symlink_to(home / "sly.vst3")
    assert may_run(home / "linked.vst3")


def test_a_plugin_that_leads_out_of_itself_is_refused(home):
    (home / "sly.vst3" / "Contents" / "Resources").symlink_to("/usr")
    with pytest.raises(UserError, match="Contents/Resources leads out of the plugin"):
        ask_for(["sly.toml"], True)


def test_a_plugin_that_is_a_whole_disk_is_refused(home):
    (home / "disk.vst3").symlink_to("/usr")
    with pytest.raises(UserError, match=r"holds more than any plugin does|leads out of the plugin"):
        let_run(home / "disk.vst3")


@pytest.mark.parametrize("text", ["", "{", "[]", '{"a": 1}', "null"])
def test_settings_that_were_damaged_remember_nothing_and_are_written_anew(home, settings, text):
    (settings / "timbrel").mkdir()
    (settings / "timbrel" / "plugins.json").write_text(text)
    assert not may_run(home / "sly.vst3")
    let_run(home / "sly.vst3")
    assert may_run(home / "sly.vst3")


def test_settings_that_cannot_be_written_are_said(home, settings):
    (settings / "timbrel").write_text("a file")
    with pytest.raises(UserError, match=r"cannot remember that .*sly\.vst3 may run .* set XDG_CONFIG_HOME"):
        let_run(home / "sly.vst3")


def test_a_question_cannot_be_painted_over(home, monkeypatch, capsys):
    (home / "\x1b[2Jnice.vst3").write_bytes(b"native code")
    (home / "sly.toml").write_text('[[effects]]\nplugin = "\\u001b[2Jnice.vst3"\n')
    monkeypatch.setattr("sys.stdin.isatty", lambda: True, raising=False)
    monkeypatch.setattr("sys.stdin.readline", lambda: "n\n", raising=False)
    with pytest.raises(UserError):
        ask_for(["sly.toml"], False)
    assert "\x1b" not in capsys.readouterr().err
