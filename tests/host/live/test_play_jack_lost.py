"""`timbrel play` goes on, ends and records while its JACK server or its input is away."""

import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import soundfile

from ...patience import until
from .jack_play import Played, control, off, on, play, realtime

pytestmark = pytest.mark.usefixtures("portaudio")


@realtime
def test_a_server_that_dies_is_told_and_awaited_and_sound_goes_on_when_it_is_back(
    jack_server, jack_rig, preset, tmp_path
):
    sound = tmp_path / "take.wav"
    with play(preset, "--record", sound) as played:
        with jack_rig(10) as rig:
            rig.connect()
            start = rig.play([control(0, 10, 0), on(0, 60), off(9600, 60), control(12_000, 64, 127)])
            rig.wait(start + 24_000)
            assert np.abs(rig.sound[:, start : start + 24_000]).max() > 0.01
        jack_server.kill()
        try:
            played.wait_said("has gone|no longer answers|has ended", 6)
            assert any("waiting for it to come back" in line for line in played.said)
        finally:
            jack_server.start()
        played.wait_said("is back", 10)
        with jack_rig(10) as rig:
            rig.connect()
            start = rig.play([on(0, 60), off(9600, 60)])
            rig.wait(start + 24_000)
            left, right = np.abs(rig.sound[:, start : start + 24_000]).max(axis=1)
            assert left > 0.01
            assert right < left / 100  # panned as it was before
            assert np.all(rig.sound[:, start + 15_000 : start + 24_000] == 0)  # no pedal holds: a foot may have left it
        assert played.end(signal.SIGINT) < 1.0
    recorded, _ = soundfile.read(sound)
    begun = np.flatnonzero(np.diff(np.concatenate([[0], np.abs(recorded[:, 0]) > 1e-4])) > 0)
    assert begun[-1] - begun[0] > 9600  # both notes are on it


@realtime
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=["SIGINT", "SIGTERM"])
def test_it_ends_within_a_second_while_the_server_is_away_and_keeps_what_was_recorded(
    jack_server, jack_rig, preset, tmp_path, number
):
    sound, midi = tmp_path / "take.wav", tmp_path / "take.mid"
    with play(preset, "--record", sound, "--record-midi", midi) as played:
        with jack_rig(10) as rig:
            rig.connect()
            start = rig.play([on(0, 60), off(9600, 60)])
            rig.wait(start + 24_000)
        jack_server.kill()
        try:
            played.wait_said("waiting for it to come back", 6)
            time.sleep(0.7)
            assert played.end(number) < 1.0
        finally:
            jack_server.start()
    assert np.abs(soundfile.read(sound)[0]).max() > 0.01, played.said
    assert b"\x90\x3c" in midi.read_bytes()


@realtime
def test_ctrl_c_ends_it_within_a_second_of_the_death_of_the_server(jack_server, preset):
    with play(preset) as played:
        played.wait_line(1)
        jack_server.kill()
        try:
            assert played.end(signal.SIGINT) < 1.0
        finally:
            jack_server.start()


@realtime
def test_without_a_server_it_plays_to_nowhere_and_records(preset, tmp_path, monkeypatch):
    monkeypatch.setenv("JACK_DEFAULT_SERVER", "timbrel_there_is_none")
    monkeypatch.setenv("JACK_NO_START_SERVER", "1")
    sound = tmp_path / "nothing.wav"
    with Played("-m", "timbrel", "play", preset, "--plain", "--null", "--record", sound) as played:
        played.wait_line(2)
        assert "nowhere" in played.lines[0]
        assert any("without MIDI" in line for line in played.said)
        assert played.end(signal.SIGTERM) < 1.0
    assert soundfile.info(sound).samplerate == 48000


@realtime
def test_an_input_that_vanishes_is_told_and_awaited(jack_server, preset):
    with play(preset, "--input", "default") as played:
        played.wait_line(3)  # it sounds by then
        assert "input system" in played.lines[0]
        jack_server.kill()
        try:
            played.wait_said("waiting for it to come back", 6)
        finally:
            jack_server.start()
        played.wait_said("input system is back", 10)
        assert played.end(signal.SIGINT) < 1.0


def test_a_server_that_stands_still_is_a_lost_card_and_keys_sound_when_it_runs_again(jack_server, jack_rig, preset):
    """JACK calls its clients active all the while."""
    with play(preset, "--block", 512) as played:
        played.wait_line(3)  # it plays
        with jack_server.standing_still():
            played.wait_said(r"JACK.* takes no more sound; waiting for it to come back")
        played.wait_said("is back")
        with jack_rig(10) as rig:
            rig.connect()

            def sounds():
                rig.rewind()
                start = rig.play([on(0, 60), off(9600, 60)])
                rig.wait(start + 24_000)
                return rig.sound[:, start : start + 24_000].any()

            until(sounds, "key 60")
        played.end(signal.SIGINT)
        assert played.process.returncode == 0


STARTED = """
import subprocess, sys
from tests.host.jack_server import end_with_parent
print(subprocess.Popen(["sleep", "3600"], preexec_fn=end_with_parent).pid, flush=True)
sys.stdin.read()
"""


@pytest.mark.skipif(sys.platform != "linux", reason="other systems leave the server to whoever looks for it")
def test_a_process_ends_with_the_run_of_tests_that_started_it():
    """As a `JackServer` does; this one needs no place in JACK's list of servers, which has eight."""
    checkout = Path(__file__).parents[3]
    with subprocess.Popen(
        [sys.executable, "-c", STARTED], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=checkout
    ) as run:
        command = Path("/proc", run.stdout.readline().strip(), "cmdline")

        def lives():
            try:
                return b"sleep" in command.read_bytes()  # empty once it has ended and nobody has asked for its status
            except OSError:
                return False

        assert lives()
        run.kill()
        until(lambda: not lives(), "the process's end")
