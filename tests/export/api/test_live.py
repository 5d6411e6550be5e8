import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import psutil
import pytest
import timbrel
from timbrel.export.api import live as module
from timbrel.host.session.messages import Setup

from ...host.panel.fakes import status
from ...patience import until


@pytest.fixture
def live() -> timbrel.LivePlayer:
    return timbrel.play("gm-oboe", null=True)


def test_notes_and_knobs_reach_the_sound(live: timbrel.LivePlayer) -> None:
    with live:
        live.note_on(60)
        live.turn("brightness", 1.0)
        until(lambda: live.status.held == [60] and live.status.voices == 1)
        until(lambda: live.status.latents[0] == pytest.approx(live.status.spans[0][1]))
        live.note_off(60)
        until(lambda: not live.status.held)
        with pytest.raises(timbrel.UserError, match="key 128 is out of range"):
            live.note_on(128)
        with pytest.raises(timbrel.UserError, match="no knob is named"):
            live.turn("brigtness", 0.5)
    assert not live.playing
    with pytest.raises(timbrel.UserError, match="nothing plays any more"):
        live.note_on(60)


def test_a_card_that_is_not_there_is_one_line_and_leaves_nothing_open() -> None:
    def tried() -> int:
        with pytest.raises(timbrel.UserError, match="sound card"):
            timbrel.play("gm-oboe", device="no such card")
        return psutil.Process().num_fds()

    assert tried() == tried()  # the first one imports, before it counts


def test_a_session_that_ends_by_a_fault_raises_it_once_when_it_is_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    def session(stop: threading.Event, setup: Setup, screen: Any, *others: Any, **options: Any) -> None:
        screen.show(status())
        raise timbrel.Failure("the card is gone")

    monkeypatch.setattr(module, "play_until", session)
    live = module.LivePlayer(Setup("gm-oboe"), {})
    until(lambda: not live.playing)
    with pytest.raises(timbrel.Failure, match="the card is gone"):
        live.close()
    live.close()


def test_a_preset_of_this_folder_plays_from_any_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("mine.toml").write_text('format = 1\nmodel = "gm-partials-8"\n')
    mine = timbrel.open("mine.toml")
    monkeypatch.chdir("/")
    with timbrel.play(mine, null=True) as live:
        assert live.playing


@pytest.mark.parametrize("way", [["script.py"], ["-m", "script"]])
def test_a_script_without_guard_or_close_plays_once_and_ends(tmp_path: Path, way: list[str]) -> None:
    script = tmp_path / "script.py"
    script.write_text("import timbrel\nprint('once')\ntimbrel.play('gm-oboe', null=True).note_on(60)\n")
    command = [sys.executable, *way]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=600, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "once\n", "")
