"""Recordings: a fault of a file ends one with one line, keeps its sound, and never ends playing."""

import errno
import resource
import signal
import sys
from dataclasses import replace

import numpy as np
import pytest
import soundfile
from timbrel.host.audio import sound_files
from timbrel.host.events import ControlChange, NoteOn
from timbrel.host.midi.files import read_performance
from timbrel.host.preset.recording_notes import LoadedPreset, Swap
from timbrel.host.session.messages import Events, Record, Setup, Sound, Take
from timbrel.host.session.takes import Recording, Takes

from ..panel.fakes import status

RATE = 48000
SWAP = Swap(presets=[LoadedPreset(name="pad", text="format = 1\n")], primed=0, block=128)
SECOND = np.full((RATE, 2), 0.5, np.float32).tobytes()


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    return tmp_path / "timbrel" / "recordings"


@pytest.fixture
def said():
    return []


class Shows:
    """Front ends that keep the lines that they show."""

    def __init__(self, lines):
        self._lines = lines

    def show(self, message):
        self._lines.append(message.line)


@pytest.fixture
def takes(said, folder):
    with Takes(Recording(), False, Shows(said)) as takes:
        yield takes


def notes(file):
    """When keys went down, and which."""
    events = read_performance(file, RATE).events
    return [(event.time, event.key) for event in events if isinstance(event, NoteOn)]


def begin(takes, time=1000):
    takes.ask(True, is_playing=True)
    takes.begin(Take(time, SWAP, [NoteOn(0, 0, 1, 1)], 100), Setup("pad"), status(rate=RATE))


def test_a_take_counts_from_its_start_and_leaves_the_instruments_latency_out(takes, folder, said):
    assert takes.ask(True, is_playing=True) == Record(True)
    assert takes.state == "coming"
    begin(takes)
    takes.record(Events([NoteOn(1500, 0, 60, 100)]))
    takes.record(Sound(SECOND))
    assert takes.ask(False, is_playing=True) == Record(False)
    assert takes.state == "on"
    takes.end(None)
    assert takes.state == "off"
    assert sorted(path.name for path in folder.iterdir()) == sorted(takes.files)
    assert said == [f"recorded {takes.files[0]} and {takes.files[1]} in {folder}"]
    assert soundfile.info(folder / takes.files[0]).frames == RATE - 100
    assert notes(folder / takes.files[1]) == [(0, 1), (500, 60)]


def test_a_take_goes_on_with_the_next_process_and_is_whole_when_playing_ends(said, folder):
    with Takes(Recording(), False, Shows(said)) as takes:
        begin(takes)
        takes.record(Sound(SECOND))
        takes.ready(Setup("pad"), status(rate=RATE))
        takes.record(Events([NoteOn(10, 0, 60, 100)]))
        takes.record(Sound(SECOND))
    assert soundfile.info(folder / takes.files[0]).frames == 2 * RATE - 100
    assert notes(folder / takes.files[1]) == [(0, 1), (RATE + 10, 60)]


def test_keys_that_were_down_when_the_process_ended_are_lifted_in_the_file_where_the_next_one_begins(takes, folder):
    begin(takes)
    takes.record(Events([NoteOn(1500, 3, 60, 100), ControlChange(1600, 3, 64, 127)]))
    takes.record(Sound(SECOND))
    takes.ready(Setup("pad"), status(rate=RATE))
    takes.record(Sound(SECOND))
    takes.end(None)
    performance = read_performance(folder / takes.files[1], RATE)
    lifts = [event for event in performance.events if isinstance(event, ControlChange) and event.channel == 3]
    assert [(event.number, event.value) for event in lifts if event.time == RATE][:2] == [(120, 0), (64, 0)]
    assert performance.warnings == []


def test_what_a_killed_process_leaves_of_a_take_is_whole(takes, folder):
    """Its files have other names, as long as they are written."""
    begin(takes)
    takes.record(Events([NoteOn(1500, 0, 60, 100)]))
    for _ in range(3):
        takes.record(Sound(SECOND))
    [sound], [midi] = (list(folder.glob(f".*{suffix}")) for suffix in (".wav", ".mid"))
    (folder / "copy.wav").write_bytes(sound.read_bytes())
    (folder / "copy.mid").write_bytes(midi.read_bytes())
    assert soundfile.info(folder / "copy.wav").frames > 2 * RATE
    assert notes(folder / "copy.mid") == [(0, 1), (500, 60)]


@pytest.mark.skipif(sys.platform == "win32", reason="a process there has no limit of file sizes")
def test_a_full_disk_ends_a_take_with_one_line_and_keeps_what_was_played_until_then(takes, folder, said):
    before, handler = resource.getrlimit(resource.RLIMIT_FSIZE), signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    begin(takes)
    takes.record(Events([NoteOn(1500, 0, 60, 100)]))
    takes.record(Sound(SECOND))
    resource.setrlimit(resource.RLIMIT_FSIZE, (500_000, before[1]))
    try:
        for _ in range(4):
            takes.record(Sound(SECOND))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, handler)
    assert takes.state == "off"
    assert [line.startswith("the recording has ended: File too large") for line in said] == [True, False]
    sound, _ = soundfile.read(folder / takes.files[0])
    assert RATE < len(sound) < 2 * RATE
    assert np.abs(sound - 0.5).max() < 1e-6
    assert notes(folder / takes.files[1]) == [(0, 1), (500, 60)]


@pytest.fixture
def record_all(tmp_path, said):
    """A function that records so many seconds of noise, and a note, by the option into ``all`` and a suffix."""
    noise = np.random.default_rng(0).uniform(-0.9, 0.9, (RATE, 2)).astype(np.float32)

    def record(suffix, seconds):
        sound, midi = tmp_path / f"all{suffix}", tmp_path / "all.mid"
        with Takes(Recording(sound, midi), False, Shows(said)) as takes:
            takes.ready(Setup("pad"), replace(status(rate=RATE), latency_ms={"instrument": 0.0}))
            takes.record(Events([NoteOn(500, 0, 60, 100)]))
            for _ in range(seconds):
                takes.record(Sound(noise.tobytes()))
        assert notes(midi) == [(500, 60)]
        assert set(tmp_path.iterdir()) == {midi, sound}
        assert said[1:] == [f"recorded {sound} and {midi}"]
        kept, _ = soundfile.read(sound)
        if suffix != ".ogg":
            assert np.abs(kept - np.resize(noise, kept.shape)).max() < 1e-6
        return len(kept), takes.state

    return record


@pytest.mark.parametrize(("suffix", "seconds"), [(".wav", 4), (".flac", 4), (".ogg", 40)])
def test_a_full_disk_ends_the_recording_of_an_option_and_what_it_holds_is_whole(
    record_all, said, monkeypatch, suffix, seconds
):
    write_all = sound_files._Sink._write_all

    def write(sink, data):
        if sink._file.tell() + len(data) > 600_000:
            raise OSError(errno.ENOSPC, "No space left on device")
        write_all(sink, data)

    monkeypatch.setattr(sound_files._Sink, "_write_all", write)
    kept_samples, state = record_all(suffix, seconds)
    assert 0 < kept_samples < seconds * RATE
    assert state == "off"
    assert said[0] == "the recording has ended: No space left on device; playing goes on"


def test_the_most_that_a_wav_file_holds_ends_the_recording_of_an_option(record_all, said, monkeypatch):
    monkeypatch.setattr(sound_files, "WAV_BYTES", 6 * 5 * RATE // 2)
    assert record_all(".wav", 4) == (2 * RATE, "off")
    assert "holds at most 4 GiB" in said[0]
    assert said[0].endswith("; playing goes on")


def test_a_folder_that_cannot_be_made_is_told_in_one_line(takes, folder, said):
    folder.parent.write_text("in the way", encoding="utf-8")
    begin(takes)
    takes.record(Sound(SECOND))
    assert takes.state == "off"
    [line] = said
    assert line.startswith("cannot record: ")
    assert str(folder) in line


def test_what_cannot_begin_is_told(takes, said):
    takes.ask(True, is_playing=False)
    takes.ask(True, is_playing=True)
    takes.ready(Setup("pad"), status(rate=RATE))
    assert takes.state == "off"
    assert ["press Record" in line for line in said] == [True, True]


def test_a_file_that_went_while_it_was_written_is_told_and_not_named_as_recorded(takes, folder, said):
    begin(takes)
    takes.record(Sound(SECOND))
    [midi] = folder.glob(".*.mid")
    midi.unlink()
    takes.end(None)
    assert takes.state == "off"
    assert [path.name for path in folder.iterdir()] == list(takes.files)
    assert [name.endswith(".wav") for name in takes.files] == [True]
    assert said[0].startswith("the recording is not whole: ")
    assert said[1] == f"recorded {takes.files[0]} in {folder}"
