"""What was played comes back from the file to the sample, whatever ends the recording."""

import errno
import os
import signal
import subprocess
import sys
import tracemalloc
from pathlib import Path

import mido
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from timbrel.host.errors import Failure, UserError
from timbrel.host.events import (
    ChannelPressure,
    Clock,
    ControlChange,
    KeyPressure,
    MasterTuning,
    NoteOff,
    NoteOn,
    ParameterChange,
    ParameterTouch,
    PitchBend,
    ProgramChange,
    SystemReset,
)
from timbrel.host.midi.files import read_performance
from timbrel.host.midi.recorder import Recorder

RATE = 48000
BYTE = st.integers(0, 127)
CHANNEL = st.integers(0, 15)
TEXT = st.text(st.characters(exclude_categories=["Cs"]))
TIME = st.one_of(st.integers(0, 30), st.integers(0, 40_000_000))
EVENT = st.one_of(
    st.builds(NoteOn, TIME, CHANNEL, st.integers(60, 61), st.integers(1, 127)),
    st.builds(NoteOff, TIME, CHANNEL, st.integers(60, 61)),
    st.builds(ControlChange, TIME, CHANNEL, BYTE, BYTE),
    st.builds(PitchBend, TIME, CHANNEL, st.integers(-8192, 8191)),
    st.builds(ChannelPressure, TIME, CHANNEL, BYTE),
    st.builds(KeyPressure, TIME, CHANNEL, BYTE, BYTE),
    st.builds(ProgramChange, TIME, CHANNEL, BYTE),
    st.builds(ParameterChange, TIME, CHANNEL, TEXT, st.floats(allow_nan=False, allow_subnormal=False)),
    st.builds(ParameterTouch, TIME, CHANNEL, TEXT, st.booleans()),
    st.builds(SystemReset, TIME),
    st.builds(MasterTuning, TIME, st.sampled_from(["coarse", "fine"]), st.integers(0, 16383)),
    st.builds(Clock, TIME, st.sampled_from(["tick", "start", "continue", "stop"])),
)
RATES = st.one_of(st.sampled_from([44100, 48000, 88200, 96000, 176400, 192000]), st.integers(4000, 384_000))


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(EVENT, max_size=30), st.integers(0, 40_000_000), RATES, st.integers(1, 9))
def test_the_same_events_come_back_at_the_same_samples_in_the_same_order(tmp_path, events, length, rate, together):
    events.sort(key=lambda event: event.time)
    path = tmp_path / "take.mid"
    with Recorder(path, rate, overwrite=True) as recorder:
        for at in range(0, len(events), together):
            recorder.add(events[at : at + together])
            recorder.spill(events[at].time)
        recorder.spill(length)
    performance = read_performance(path, rate)
    assert performance.events[: len(events)] == events
    assert performance.length == max([length, *(event.time for event in events)])
    releases = performance.events[len(events) :]  # of keys and pedals that are down at the end
    assert all(isinstance(e, NoteOff) or (e.number in (64, 66) and e.value == 0) for e in releases)
    assert all(event.time == performance.length for event in releases)


@pytest.mark.parametrize("rate", [8000, 22050, 44100, 48000, 88200, 96000, 176400, 192000])
def test_at_usual_rates_a_tick_is_a_sample(tmp_path, rate):
    with Recorder(tmp_path / "take.mid", rate) as recorder:
        recorder.add([NoteOn(12345, 0, 60, 100)])
    file = mido.MidiFile(tmp_path / "take.mid")
    assert file.type == 0
    assert next(message.time for message in file.tracks[0] if message.type == "note_on") == 12345
    tempo = next(message.tempo for message in file.tracks[0] if message.type == "set_tempo")
    assert tempo * rate == file.ticks_per_beat * 1_000_000


def test_other_programs_read_it_even_after_an_hour_and_a_half_of_silence(tmp_path):
    with Recorder(tmp_path / "take.mid", RATE) as recorder:
        recorder.add([NoteOn(6000 * RATE, 0, 60, 100)])
        recorder.spill(12_000 * RATE)
    file = mido.MidiFile(tmp_path / "take.mid")
    assert sum(message.time for message in file.tracks[0]) == 12_000 * RATE
    assert read_performance(tmp_path / "take.mid", RATE).length == 12_000 * RATE


def test_an_event_that_comes_late_is_taken_at_the_time_of_the_one_before(tmp_path):
    with Recorder(tmp_path / "take.mid", RATE) as recorder:
        recorder.add([NoteOn(100, 0, 60, 100), NoteOff(90, 0, 60)])
    assert read_performance(tmp_path / "take.mid", RATE).events == [NoteOn(100, 0, 60, 100), NoteOff(100, 0, 60)]


def interrupt(recorder, events, problem):
    """Leave the recording by an exception."""
    with recorder:
        recorder.add(events)
        recorder.spill(480)
        raise problem


@pytest.mark.parametrize("problem", [KeyboardInterrupt, RuntimeError])
def test_what_was_played_before_an_interruption_is_kept(tmp_path, problem):
    events = [NoteOn(5, 0, 60, 100), NoteOff(9, 0, 60)]
    with pytest.raises(problem):
        interrupt(Recorder(tmp_path / "take.mid", RATE), events, problem)
    assert read_performance(tmp_path / "take.mid", RATE).events == events
    assert [path.name for path in tmp_path.iterdir()] == ["take.mid"]


def test_an_error_before_anything_was_played_leaves_what_was_there(tmp_path):
    path = tmp_path / "take.mid"
    path.write_bytes(b"an earlier take")
    with pytest.raises(RuntimeError):
        interrupt(Recorder(path, RATE, overwrite=True), [], RuntimeError)
    assert path.read_bytes() == b"an earlier take"
    assert [found.name for found in tmp_path.iterdir()] == ["take.mid"]


def test_a_file_that_exists_is_not_replaced_unasked(tmp_path):
    (tmp_path / "take.mid").write_bytes(b"an earlier take")
    with pytest.raises(UserError, match="--overwrite"):
        Recorder(tmp_path / "take.mid", RATE)


def test_a_killed_recording_is_playable_up_to_its_last_spill(tmp_path):
    code = (
        "import os, signal, sys\n"
        "from pathlib import Path\n"
        "from timbrel.host.events import NoteOn\n"
        "from timbrel.host.midi.recorder import Recorder\n"
        "recorder = Recorder(Path(sys.argv[1]), 48000)\n"
        "recorder.add([NoteOn(5, 0, 60, 100)])\n"
        "recorder.spill(48000)\n"
        "recorder.add([NoteOn(50000, 0, 62, 100)])\n"
        "os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    done = subprocess.run([sys.executable, "-c", code, tmp_path / "take.mid"])
    assert done.returncode == -signal.SIGKILL
    [left] = tmp_path.iterdir()
    performance = read_performance(left, RATE)
    assert performance.events == [NoteOn(5, 0, 60, 100), NoteOff(48000, 0, 60)]


def test_a_full_disk_ends_the_recording_and_keeps_what_was_written(tmp_path, monkeypatch):
    path = tmp_path / "take.mid"
    full = False

    class Full:
        """A file whose disk has no room for new events."""

        def __init__(self, file):
            self._file = file

        def __getattr__(self, name):
            return getattr(self._file, name)

        def __enter__(self):
            return self

        def __exit__(self, *error):
            self._file.close()

        def write(self, data):
            if len(data) > 20:
                self._file.write(data[:20])
                self._file.flush()
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            return self._file.write(data)

    opened = Path.open
    monkeypatch.setattr(Path, "open", lambda *a, **k: Full(opened(*a, **k)) if full else opened(*a, **k))
    with Recorder(path, RATE) as recorder:
        recorder.add([NoteOn(5, 0, 60, 100), NoteOff(9, 0, 60)])
        recorder.spill(480)
        full = True
        recorder.add([NoteOn(1000 + i, 0, 60, 100) for i in range(20)])
        with pytest.raises(Failure, match=r"take\.mid: No space left on device; what was played before is kept"):
            recorder.spill(2000)
        full = False
        recorder.add([NoteOn(3000, 0, 60, 100)])
        recorder.spill(4000)
    performance = read_performance(path, RATE)
    assert performance.events == [NoteOn(5, 0, 60, 100), NoteOff(9, 0, 60)]
    assert performance.length == 2000


def test_two_hours_of_busy_playing_cost_no_memory(tmp_path):
    recorder = Recorder(tmp_path / "take.mid", RATE)
    tracemalloc.start()
    with recorder:
        for second in range(0, 7200, 40):
            recorder.add([ControlChange(second * RATE + i, 0, 74, i % 128) for i in range(300)])
            recorder.spill((second + 40) * RATE)
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
    assert peak < 300_000
    assert 200_000 < (tmp_path / "take.mid").stat().st_size < 180 * 300 * 8
