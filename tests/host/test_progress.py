"""Progress: a moving line on a terminal, a line now and then in a log, silence for what is quick."""

import os
import pty
import subprocess
import sys
import threading
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st
from timbrel.host import progress
from timbrel.host.progress import LOG_SECONDS, Display, clock, warn_if_slow

from ..patience import until


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(-3, "0:00"), (0.4, "0:00"), (59.6, "1:00"), (245, "4:05"), (3599.7, "1:00:00"), (36_061, "10:01:01")],
)
def test_durations_are_written_for_people(seconds, text):
    assert clock(seconds) == text


@given(st.floats(0, 1e6, allow_subnormal=False))
def test_minutes_and_seconds_never_reach_sixty(seconds):
    *_, minutes, rest = (int(part) for part in ("0:" + clock(seconds)).split(":"))
    assert rest < 60
    assert minutes < 60


@pytest.fixture
def now(monkeypatch):
    """A clock that a test sets."""

    class Clock:
        seconds = 100.0

    monkeypatch.setattr(progress.time, "monotonic", lambda: Clock.seconds)
    monkeypatch.setattr(progress, "REMIND_SECONDS", 1e6)  # tests call `remind` themselves
    return Clock


def test_quick_work_says_nothing_in_a_log(capsys, now):
    with Display() as display:
        display.stage("rendering")
        for step in range(100):
            now.seconds += LOG_SECONDS / 200
            display.update(step / 100)
    assert capsys.readouterr().err == ""


def test_long_work_says_a_line_every_ten_seconds_with_the_time_to_its_end(capsys, now):
    with Display() as display:
        display.stage("training")
        for step in range(1, 101):
            now.seconds += 1
            display.update(step / 100, f"loss {step}")
    lines = capsys.readouterr().err.splitlines()
    assert 10 <= len(lines) <= 12
    assert lines[0] == "training: 9 %, loss 9, 1:31 left"


def test_work_that_reports_nothing_says_its_stage_every_ten_seconds(capsys, now):
    with Display() as display:
        display.remind()  # there is no stage yet
        display.stage("reading")
        for _ in range(45):
            now.seconds += 1
            display.remind()
        display.stage("evaluating")
        display.update(0.2, "making clips")
        for _ in range(450):
            now.seconds += 1
            display.remind()
    lines = capsys.readouterr().err.splitlines()
    assert lines[0] == "reading: 0:09 so far"
    assert lines[5:7] == ["evaluating", "evaluating: 20 %, making clips, 0:09 so far"]
    assert len(lines) == 5 + 1 + 50


def test_lines_come_without_a_report_from_a_thread_of_their_own(monkeypatch):
    monkeypatch.setattr(progress, "REMIND_SECONDS", 0.001)
    monkeypatch.setattr(progress, "LOG_SECONDS", 0.0)
    said = []
    with Display() as display:
        monkeypatch.setattr(display, "say", said.append)
        display.stage("reading")
        until(lambda: len(said) > 2)
    assert said[0] == "reading: 0:00 so far"
    assert "progress" not in {thread.name for thread in threading.enumerate()}


def test_the_time_to_the_end_is_taken_from_who_knows_it(capsys, now):
    with Display() as display:
        display.stage("training")
        now.seconds += LOG_SECONDS + 1
        display.update(0.5, seconds_left=3700)
    assert capsys.readouterr().err == "training: 50 %, 1:01:40 left\n"


def test_a_new_stage_reckons_its_own_time(capsys, now):
    with Display() as display:
        display.stage("one")
        now.seconds += 1000
        display.stage("two")
        now.seconds += LOG_SECONDS + 1
        display.update(0.5)
    assert capsys.readouterr().err == "two\ntwo: 50 %, 0:10 left\n"


def test_what_is_said_stays_in_the_log_as_it_is(capsys):
    with Display() as display:
        display.say("a [bold]line[/bold]")
    assert capsys.readouterr().err == "a [bold]line[/bold]\n"


def test_a_terminal_shows_a_bar_that_goes_and_lines_that_stay():
    code = (
        "from timbrel.host.progress import Display\n"
        "with Display() as d:\n"
        " d.stage('cooking'); d.say('[kept]'); d.stage('[/eating]')\n"
        " d.update(0.5, 'hi[/hat] [red].wav\\x1b[2J', 65.0)\n"
        "print('done')"
    )
    leader, follower = pty.openpty()
    environment = os.environ | {"TERM": "xterm", "COLUMNS": "100"}
    done = subprocess.run([sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=follower, env=environment)
    os.close(follower)
    shown = b""
    while True:
        try:
            part = os.read(leader, 4096)
        except OSError:  # how Linux ends a terminal
            break
        if not part:
            break
        shown += part
    os.close(leader)
    assert (done.returncode, done.stdout) == (0, b"done\n")
    for words in (b"cooking", b"hi[/hat] [red].wav [2J, 1:05 left", b"[kept]", b"[/eating]"):
        assert words in shown
    assert b"\x1b[2J" not in shown


def test_an_error_inside_ends_the_display_and_passes(capsys):
    with pytest.raises(ValueError), Display():
        raise ValueError
    assert capsys.readouterr().err == ""


def test_making_sound_is_told_of_once_where_it_is_slower_than_a_tenth_of_real_time(monkeypatch, caplog, now):
    monkeypatch.setattr(progress, "LOOK_SECONDS", 0.001)
    with warn_if_slow(lambda: 2.0):
        for later, told in ((119.9, 0), (120.1, 1), (200.0, 1)):
            now.seconds = later
            until(lambda told=told: len(caplog.records) == told)
            time.sleep(0.05)  # it has looked some fifty times more
            assert len(caplog.records) == told
    [line] = [record.getMessage() for record in caplog.records]
    assert line == "2.0 s of sound took 20 s to render; a plugin, many voices or other programs may be why"
