"""Plugins that load long or write to standard error are told of by their names, and the screen stays clean."""

import ctypes
import gc
import logging
import os
import pickle
import re
import subprocess
import sys
import tempfile
import textwrap

import pedalboard
import pytest
from timbrel.host.audio import effects, plugins
from timbrel.host.audio.effects import Effect, EffectChain
from timbrel.host.errors import UserError
from timbrel.host.progress import Display

from ...patience import PATIENCE_SECONDS, until

NAME = "[[effects]] 1 (Slow.vst3)"


@pytest.fixture
def said(caplog, monkeypatch):
    """The lines that were logged so far; a busy machine adds none and loses none."""
    monkeypatch.setattr(plugins, "TELL_SECONDS", PATIENCE_SECONDS)
    monkeypatch.setattr(plugins, "LEFT_SECONDS", PATIENCE_SECONDS)
    caplog.set_level(logging.INFO, logger="timbrel")
    return lambda: [record.getMessage() for record in caplog.records]


def native(text):
    """Write to standard error as a plugin's code does."""
    ctypes.CDLL(None).write(2, text.encode(), len(text.encode()))


def alone(work, said):
    """Do some work in a fork; return the lines logged and the text on the screen.

    There no thread of another test writes, and no plugin that another test left is collected, which may write too.
    """
    with tempfile.TemporaryFile() as screen, tempfile.TemporaryFile() as log:
        if not (child := os.fork()):
            gc.disable()
            try:
                os.dup2(screen.fileno(), 2)
                work()
                log.write(pickle.dumps(said()))
                log.flush()
            finally:
                os._exit(0)
        os.waitpid(child, 0)
        screen.seek(0)
        log.seek(0)
        return pickle.load(log), screen.read().decode()


def test_what_loads_at_once_and_in_silence_is_not_spoken_of(said):
    def load():
        with plugins.overheard(NAME):
            pass

    assert alone(load, said) == ([], "")


def test_what_takes_long_is_told_of_while_it_does_and_again(said, monkeypatch):
    monkeypatch.setattr(plugins, "TELL_SECONDS", 0.01)
    monkeypatch.setattr(plugins, "AGAIN_SECONDS", 0.01)
    with plugins.overheard(NAME):
        until(lambda: len(said()) >= 2)
        told = said()
    for line in told[:2]:
        assert re.fullmatch(rf"{re.escape(NAME)} is still being loaded, for \d+ s now", line)


def test_a_load_is_told_of_within_ten_seconds():
    assert plugins.TELL_SECONDS < 10


@pytest.mark.parametrize(
    ("pieces", "told"),
    [
        (["samplerate mismatch\n"], "'samplerate mismatch'"),
        (["no end"], "'no end'"),
        (["first\n"] + ["second\n"] * 30_000, "'first' and 30000 more lines"),
        (["one\ntwo\nthr", "ee"], "'one' and 2 more lines"),
        (["x" * 5000], repr("x" * 200)),
        (["bytes \udcff\n".encode(errors="surrogateescape").decode("latin-1")], "'bytes ÿ'"),
    ],
    ids=["a line", "no end", "a flood", "in pieces", "one long line", "odd letters"],
)
def test_what_it_writes_is_told_of_once_and_kept_from_the_screen(said, pieces, told):
    def load():
        with plugins.overheard(NAME):
            for piece in pieces:
                native(piece)
        native("after\n")

    assert alone(load, said) == ([f"{NAME} wrote to standard error as it was loaded: {told}"], "after\n")


def test_a_flood_is_told_of_while_it_goes_on(said, monkeypatch):
    monkeypatch.setattr(plugins, "TELL_SECONDS", 0.3)

    def load():
        with plugins.overheard(NAME):
            until(lambda: native("mismatch\n" * 100) or said())

    words = r" is still being loaded, for \d+ s now; it writes to standard error: 'mismatch' and "
    logged, _ = alone(load, said)
    assert re.match(re.escape(NAME) + words, logged[0])


def test_a_load_that_fails_gives_standard_error_back_and_says_what_was_written(said):
    def fail():
        with plugins.overheard(NAME):
            native("cannot\n")
            raise ValueError

    def load():
        with pytest.raises(ValueError):
            fail()
        native("after\n")

    assert alone(load, said) == ([f"{NAME} wrote to standard error as it was loaded: 'cannot'"], "after\n")


def test_a_process_that_a_plugin_leaves_behind_is_not_waited_for(monkeypatch):
    monkeypatch.setattr(plugins, "LEFT_SECONDS", 0.1)
    with plugins.overheard(NAME):
        bridge = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    assert bridge.poll() is None
    bridge.communicate()


def test_our_own_lines_go_where_they_went():
    code = """
        import os, sys
        from timbrel.host.audio import plugins

        print("before", file=sys.stderr)
        with plugins.overheard("X.vst3"):
            os.write(2, b"native")
            print("ours, with é", file=sys.stderr)
        print("after", file=sys.stderr)
    """
    done = subprocess.run(
        [sys.executable, "-X", "utf8", "-c", textwrap.dedent(code)], capture_output=True, encoding="utf-8", check=True
    )
    told = "X.vst3 wrote to standard error as it was loaded: 'native'"
    assert done.stderr.splitlines() == ["before", "ours, with é", told, "after"]


@pytest.fixture
def noisy(tmp_path, monkeypatch):
    """A preset's effect whose file writes to standard error, and then is none."""

    def load(path):
        native("hello\n")
        raise ImportError("no plugin")

    monkeypatch.setattr(pedalboard, "load_plugin", load)
    monkeypatch.setattr(effects, "may_run", lambda path: True)
    (tmp_path / "Noisy.vst3").touch()
    return Effect(plugin="Noisy.vst3")


def test_a_plugin_of_a_preset_is_overheard_by_its_place_and_name(noisy, said, tmp_path):
    with pytest.raises(UserError, match="no plugin"):
        EffectChain([noisy], 44100, tmp_path)
    assert said() == ["[[effects]] 1 (Noisy.vst3) wrote to standard error as it was loaded: 'hello'"]


def test_a_command_with_a_display_says_it_as_a_warning_and_only_while_it_lasts(noisy, capsys, tmp_path):
    with Display(), pytest.raises(UserError):
        EffectChain([noisy], 44100, tmp_path)
    line = "[[effects]] 1 (Noisy.vst3) wrote to standard error as it was loaded: 'hello'\n"
    assert capsys.readouterr().err == f"warning: {line}"
    assert logging.getLogger("timbrel").handlers == []


def test_who_plays_is_told_of_a_plugin_that_loads_before_there_is_any_sound(tmp_path):
    (tmp_path / "sitecustomize.py").write_text(
        textwrap.dedent("""
        import threading
        from timbrel.host.audio import effects, plugins
        from timbrel.host.errors import UserError

        plugins.TELL_SECONDS = 0.2
        told, warning = threading.Event(), plugins.log.warning

        def tell(*words):
            warning(*words)
            told.set()

        def load(where, path, given):
            assert told.wait(PATIENCE)
            raise UserError("it is loaded")

        plugins.log.warning = tell

        effects._load_instance = load
        """).replace("PATIENCE", str(PATIENCE_SECONDS))
    )
    (tmp_path / "Slow.vst3").touch()
    (tmp_path / "slow.toml").write_text('format = 1\nmodel = "gm-chroma-2"\n[[effects]]\nplugin = "Slow.vst3"\n')
    done = subprocess.run(
        [sys.executable, "-m", "timbrel", "play", "slow.toml", "--null", "--plain", "--trust"],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(tmp_path), "XDG_CONFIG_HOME": str(tmp_path)},
        timeout=PATIENCE_SECONDS,
    )
    assert done.returncode == 2
    assert done.stderr.splitlines()[-1].endswith("it is loaded")
    assert f"{NAME} is still being loaded, for " in done.stdout + done.stderr
