import gc
import re
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import mido
import psutil
import pytest
import timbrel
from timbrel.export.api import live as module
from timbrel.host.events import ControlChange, DataEntry, Event, NoteOff, NoteOn, PitchBend
from timbrel.host.session.messages import Setup

from ...host.panel.fakes import status
from ...patience import PATIENCE_SECONDS, until


@pytest.fixture
def live() -> timbrel.LivePlayer:
    return timbrel.play("gm-oboe", null=True)


def test_notes_and_knobs_reach_the_sound(live: timbrel.LivePlayer) -> None:
    with live:
        live.note_on(60)
        live.turn("brightness", 1.0)
        until(lambda: live.status.held == [60] and live.status.voices == 1, "key 60 is held, by one voice")
        until(lambda: live.status.latents[0] == pytest.approx(live.status.spans[0][1]), "the knob has turned")
        live.note_off(60)
        until(lambda: not live.status.held, "the key is released")
        with pytest.raises(timbrel.UserError, match="key 128 is out of range"):
            live.note_on(128)
        with pytest.raises(timbrel.UserError, match="no knob is named"):
            live.turn("brigtness", 0.5)
    assert not live.playing
    with pytest.raises(timbrel.UserError, match="nothing plays any more"):
        live.note_on(60)


class Sent(NamedTuple):
    """A player whose session plays nothing, and the events that reach it, with their times of arrival."""

    player: timbrel.LivePlayer
    arrived: list[tuple[float, Event]]

    def events(self) -> list[Event]:
        """Return all events that were sent until now: those that arrive before a last one."""
        last = ControlChange(0, 15, 119, len(self.arrived))
        self.player.control(last.number, last.value, channel=16)
        until(lambda: self.has(last), "the last event arrives")
        self.arrived.pop()
        return [event for _, event in self.arrived]

    def has(self, event: Event) -> bool:
        return event in [arrived_event for _, arrived_event in self.arrived]

    def wait_for_the_end(self) -> None:
        """Wait for the end of the music."""
        tune = self.player._tune
        assert tune is not None
        tune._thread.join(PATIENCE_SECONDS)
        assert not tune._thread.is_alive(), "the music never ends"


@pytest.fixture
def sent(monkeypatch: pytest.MonkeyPatch) -> Iterator[Sent]:
    arrived: list[tuple[float, Event]] = []

    def session(stop: threading.Event, setup: Setup, screen: Any, *others: Any, panel: Any) -> None:
        screen.show(status())
        while not stop.wait(0.001):
            arrived.extend((time.monotonic(), event) for command in panel.commands() for event in command.events)

    monkeypatch.setattr(module, "play_until", session)
    with module.LivePlayer(Setup("gm-oboe"), {}) as player:
        yield Sent(player, arrived)


def test_controllers_bends_and_channels_are_sent_as_an_input_would(sent: Sent) -> None:
    player = sent.player
    player.control(74, 100)
    player.control(1, 0, channel=16)
    player.bend(-1.5)
    player.note_on(60, 90, channel=2)
    player.note_off(60, channel=2)
    assert sent.events() == [
        ControlChange(0, 0, 74, 100),
        ControlChange(0, 15, 1, 0),
        DataEntry(0, 0, True, 0, "coarse", 2),
        PitchBend(0, 0, -6144),
        NoteOn(0, 1, 60, 90),
        NoteOff(0, 1, 60),
    ]


def test_music_is_sent_at_its_times_and_in_order(sent: Sent) -> None:
    begin = time.monotonic()
    notes = [timbrel.Note(60, 0, 0.1), timbrel.Note(64, 0.1, 0.2, channel=3)]
    assert sent.player.play(notes) == pytest.approx(0.3)
    sent.wait_for_the_end()
    assert sent.events() == [
        NoteOn(0, 0, 60, 100),
        NoteOff(0, 0, 60),
        NoteOn(0, 2, 64, 100),
        NoteOff(0, 2, 64),
    ]
    assert [at - begin >= due for (at, _), due in zip(sent.arrived, (0, 0.1, 0.1, 0.3), strict=True)] == [True] * 4


def test_music_that_is_stopped_or_replaced_releases_its_keys_and_pedals(sent: Sent) -> None:
    player = sent.player
    pedal = mido.Message("control_change", control=64, value=127)
    program = mido.Message("program_change", program=3)
    held = [pedal, program, mido.Message("note_on", note=60), mido.Message("note_off", note=60, time=600)]
    with pytest.warns(UserWarning, match="a pedal of channel 1 is never lifted"):
        assert player.play(held) == 600
    until(lambda: sent.has(NoteOn(0, 0, 60, 64)), "the key is pressed")
    player.play(timbrel.Note(72, 500))
    expected = [
        ControlChange(0, 0, 64, 127),
        NoteOn(0, 0, 60, 64),
        NoteOff(0, 0, 60),
        ControlChange(0, 0, 64, 0),
    ]
    assert sent.events() == expected
    player.stop()
    player.stop()
    assert sent.events() == expected


def test_music_sounds(live: timbrel.LivePlayer) -> None:
    with live:
        live.play([timbrel.Note(60, 0, 600)])
        until(lambda: live.status.held == [60] and live.status.voices == 1, "key 60 is held, by one voice")
        live.stop()
        until(lambda: not live.status.held, "the key is released")
        live.control(64, 127)
        live.note_on(62)
        live.note_off(62)
        until(lambda: live.status.voices == 1 and not live.status.held, "the pedal holds the voice alone")
        live.control(64, 0)
        until(lambda: live.status.voices == 0, "the voice has ended")


@pytest.mark.parametrize(
    ("call", "said"),
    [
        ("player.control(128, 0)", "control change: controller 128 is out of range"),
        ("player.control(7, 0.5)", "control change: value 0.5 is not a whole number"),
        ("player.control(7, 0, channel=17)", "channel 17 is out of range"),
        ("player.bend(30)", "bend: value 30 is out of range"),
        ("player.bend([0, 1])", "bend: [0, 1] is no number"),
        ("player.note_on(60.5)", "live, keys are whole numbers"),
        ("player.play([timbrel.Note(60.5)])", "live, keys are whole numbers"),
        ("player.play('no.mid')", "cannot read no.mid"),
    ],
)
def test_values_out_of_range_are_one_line_and_nothing_is_sent(sent: Sent, call: str, said: str) -> None:
    with pytest.raises(timbrel.UserError, match=re.escape(said)):
        eval(call, {"timbrel": timbrel, "player": sent.player})
    assert not sent.events()


def test_a_card_that_is_not_there_is_one_line_and_leaves_nothing_open() -> None:
    def tried() -> int:
        gc.collect()  # files of earlier tests
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
    until(lambda: not live.playing, "the session has ended")
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
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=PATIENCE_SECONDS, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "once\n", "")
