"""The native core outlives its server, ends with its host, and refuses what a server must not say."""

import os
import signal
import struct
import subprocess
import sys
import time
from pathlib import Path

import pytest

from .native import (
    GAIN,
    HEAD,
    HERE,
    LONG,
    MACROS,
    NOTE,
    PLAYS,
    PRESET,
    SILENT,
    STARTS,
    Folder,
    Told,
    alive,
    opened,
    until,
)

pytestmark = pytest.mark.usefixtures("log")

NO_PYTHON = "timbrel is silent: no Python is named in {folder}/interpreter; `timbrel plugin install` writes it"


SPOILT = (
    "timbrel lacks sound in this bounce: it had no server, or lost it; run `timbrel plugin status`, then bounce again"
)


def ended(process):
    """Return whether a process is gone, but for the entry of one that init has not waited for yet."""
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except (FileNotFoundError, ProcessLookupError):
        return True


def test_names_are_as_the_server_tells_them(core):
    name = bytes(64)
    until(lambda: core.preset_name(2, name), "presets")
    assert name.rstrip(b"\0") == b"two"
    told = Told()
    core.parameter(4, told)
    assert (told.name, told.rest, told.used) == (b"Macro 4", 0.25, 1)
    core.parameter(GAIN, told)
    assert told.name == b"Gain"
    assert not core.preset_name(3, name)
    assert not core.preset_name(0, name)


def test_a_server_that_is_killed_comes_back_with_its_state(lib, folder, log):
    folder.behave(child=True)  # which holds the socket open after it
    with opened(lib, folder) as core:
        core.wait()
        core.activate(48000, 128)
        core.load_preset(b"mine")
        core.set(0, 7, 0.875)
        first = alive(core)
        assert core.save().endswith(b"preset:mine")
        os.kill(first, signal.SIGKILL)
        until(lambda: not core.run(128).any(), "silence")
        until(lambda: (core.run(128), folder.process)[1] != first, "another server")
        assert alive(core) != first
        assert core.save().endswith(b"preset:mine")
        told = [
            one for one in folder.heard() if one["pid"] == folder.process and one["what"] in ("message", "parameter")
        ]
        assert told[0]["kind"] == 1
        assert bytes.fromhex(told[0]["content"]) == b"preset:mine"
        assert [(one["time"], one["number"], one["value"]) for one in told if one["what"] == "parameter"] == [
            (0, 7, 0.875)
        ]
        assert core.said == ["timbrel's server has ended (signal 9); it starts again"]
        assert core.said[0] in log.read_text()


def test_without_an_interpreter_there_is_silence_and_a_line_each_for_that_and_for_a_bounce(lib, folder, log):
    (folder.path / "interpreter").unlink()
    with opened(lib, folder) as core:
        core.activate(48000, 128)
        core.offline(True)
        assert not core.run(10000).any()
        core.load_preset(b"mine")
        assert core.load(core.save())
        assert core.save().endswith(b"mine")
        until(lambda: len(core.said) == 2, "lines")
    assert sorted(core.said) == sorted([NO_PYTHON.format(folder=folder.path), SPOILT])
    assert core.urgent == core.said
    assert log.read_text().splitlines() == core.said


def test_an_interpreter_that_is_not_there_is_named(lib, folder):
    folder.name("/nowhere/python")
    with opened(lib, folder) as core:
        core.activate(48000, 128)
        core.offline(True)
        until(lambda: core.said, "a line")
        assert not core.run(1000).any()
        assert "/nowhere/python" in core.said[0]


def test_an_interpreter_that_fails_is_given_up(lib, folder):
    folder.name("/bin/false")
    with opened(lib, folder) as core:
        core.activate(48000, 128)
        core.offline(True)
        until(lambda: core.run(1000).any() or len(core.said) > 1, "lines")  # each waits for the attempt that is to come
        assert not core.run(1000).any()
        told, other = sorted(core.said, key=SPOILT.__ne__)  # by chance it is given up before the bounce begins
        assert told == SPOILT
        assert "3 times (status 1)" in other


@pytest.mark.parametrize("how", ["preset", "state", "parameter", "activation"])
def test_a_core_whose_server_was_given_up_tries_again_when_it_is_asked_to_play_something(lib, folder, how):
    program = (folder.path / "interpreter").read_text()
    folder.name("/nowhere/python")
    with opened(lib, folder) as core:
        core.activate(48000, 128)
        state = core.save()
        until(lambda: core.standing() == SILENT, "the server is given up")
        (folder.path / "interpreter").write_text(program)
        assert not folder.heard("began")
        match how:
            case "preset":
                assert core.load_preset(b"mine")
            case "state":
                assert core.load(state[:8] + struct.pack("<II", 1, 4) + state[16:HEAD] + b"mine")
            case "parameter":
                core.set(0, PRESET, 2)
            case "activation":
                core.deactivate()
                core.activate(48000, 128)
        alive(core)
        assert core.standing() == PLAYS
        expected = {"parameter": b"chosen:2", "activation": b"default", "state": b"mine", "preset": b"preset:mine"}
        until(lambda: core.save().endswith(expected[how]), "its patch")


def test_a_server_that_was_given_up_is_given_up_again_after_as_many_failures(lib, folder):
    folder.name("/bin/false")
    with opened(lib, folder) as core:
        until(lambda: core.standing() == SILENT, "the server is given up")
        assert core.load_preset(b"mine")
        assert core.standing() == STARTS
        until(lambda: core.standing() == SILENT, "the server is given up again")
        assert len(core.said) == 1  # for the same reason


def test_silence_counts_from_a_servers_end_on_until_another_sounds(lib, folder):
    folder.hold(True)
    with opened(lib, folder) as core:
        core.activate(48000, 128)
        for _ in range(5):
            core.run(128)
        assert (core.late(), core.standing()) == (0, STARTS)
        folder.hold(False)
        first = alive(core)
        assert core.standing() == PLAYS
        before = core.late()  # on a busy machine the first blocks may be late
        os.kill(first, signal.SIGKILL)
        until(lambda: not core.run(128).any(), "silence")
        silent = 1
        while not core.run(128).any():
            silent += 1
            time.sleep(0.002)
        assert silent <= core.late() - before <= silent + 4  # the last sound fades out in two or three blocks more
        counted = core.late()
        core.offline(True)  # which waits for what it plays
        assert core.run(1000).all(axis=1)[0]
        assert (core.late(), core.standing()) == (counted, PLAYS)


def test_silence_counts_where_there_is_no_server(lib, folder):
    (folder.path / "interpreter").unlink()
    with opened(lib, folder) as core:
        core.activate(48000, 128)
        until(lambda: core.standing() == SILENT, "the server is given up")
        before = core.late()
        for _ in range(5):
            core.run(128)
        assert core.late() == before + 5


def test_a_bounce_that_loses_its_server_stays_spoilt_until_it_begins_anew(core):
    core.activate(48000, 128)
    core.offline(True)
    assert core.run(1000).all(axis=1)[0]
    assert not core.spoilt()
    os.kill(core.folder.process, signal.SIGKILL)
    until(lambda: (core.run(1000), core.spoilt())[1], "the end is noticed")
    until(lambda: core.run(1000).any(), "another server")
    assert core.spoilt()  # that one has not received the notes before
    until(lambda: SPOILT in core.urgent, "a word of it")
    core.offline(False)
    core.offline(True)
    assert core.run(1000).all(axis=1)[0]
    assert not core.spoilt()


def test_the_server_inherits_nothing_that_is_not_its_own(lib, folder, monkeypatch, log):
    for name in ("PYTHONPATH", "PYTHONHOME_X", "LD_LIBRARY_PATH"):
        monkeypatch.setenv(name, "/nowhere")
    monkeypatch.setenv("TIMBREL_TEST", "kept")
    leak = os.open("/dev/null", os.O_RDONLY)
    os.set_inheritable(leak, True)
    blocked = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGUSR1, signal.SIGCHLD})
    ignored = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with opened(lib, folder) as core:
            core.activate(48000, 128)
            process = alive(core)
            assert os.getpgid(process) == process
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, blocked)
        signal.signal(signal.SIGHUP, ignored)
        os.close(leak)
    about = folder.heard("began")[0]
    assert about["arguments"] == ["-I", "-m", "timbrel.host.plugin"]
    assert "TIMBREL_TEST" in about["environment"]
    assert not [name for name in about["environment"] if name.startswith(("PYTHON", "LD_"))]
    assert about["blocked"] == []
    assert about["hangup"] == int(signal.SIG_DFL)
    assert about["sealed"]  # a memory that a server shortens would end the host where it reads on
    files = about["descriptors"]
    assert set(files) == {"0", "1", "2", "3", "4"}
    assert files["0"] == "/dev/null"
    assert files["1"] == files["2"] == str(log)
    assert "memfd" in files["3"]
    assert "socket" in files["4"]


def test_a_long_log_begins_anew(lib, folder, log):
    log.parent.mkdir(parents=True)
    log.write_bytes(b"x" * (1 << 20) + b"\n")
    (folder.path / "interpreter").unlink()
    with opened(lib, folder) as core:
        until(lambda: core.said, "a line")
    assert log.read_text().splitlines() == core.said


@pytest.mark.parametrize("behaviour", [{}, {"deaf": True}, {"child": True}])
def test_a_core_that_is_closed_leaves_no_process(lib, folder, behaviour):
    folder.behave(**behaviour)
    with opened(lib, folder) as core:
        core.activate(48000, 128)
        processes = [alive(core)] + [one["child"] for one in folder.heard("began") if one["child"]]
    assert len(processes) == 1 + ("child" in behaviour)
    try:
        until(lambda: all(ended(one) for one in processes), "their end")
    finally:
        for one in processes:
            if not ended(one):
                os.kill(one, signal.SIGKILL)


def test_the_server_ends_with_its_host_however_that_ends(built, tmp_path):
    program = f"""
import sys, time
from pathlib import Path
sys.path.insert(0, {str(HERE)!r})
import native
lib = native.library({str(built / "core" / "libcore.so")!r})
core = native.Core(lib, native.Folder(Path({str(tmp_path / "plugin")!r})))
core.wait()
core.activate(48000, 128)
core.play([128] * 4)
print(core.folder.process, flush=True)
time.sleep(60)
"""
    host = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE)
    process = int(host.stdout.readline())
    assert not ended(process)
    host.kill()
    host.communicate()
    until(lambda: ended(process), "the server's end")


def message(kind, content=b"", length=None, number=0):
    """A message on the socket, as hexadecimal digits."""
    return (struct.pack("<III", kind, number, len(content) if length is None else length) + content).hex()


@pytest.mark.parametrize(
    "talks",
    [
        message(102, length=1 << 31),
        message(103, bytes(100)),
        message(103, struct.pack("<64sfI", b"Macro", 2.0, 1) * MACROS),
        message(103, struct.pack("<64sfI", b"M" * 64, 0.5, 1) * MACROS),
        message(104, b"a name without an end"),
        message(105, b"a line\0with a zero"),
        message(105, b"x" * 70000),
    ],
)
def test_a_server_that_talks_nonsense_is_ended(lib, tmp_path, talks):
    folder = Folder(tmp_path / "plugin", talks=talks, deaf=True)
    with opened(lib, folder) as core:
        core.activate(48000, 128)
        until(lambda: folder.heard("began"), "a server")
        process = folder.heard("began")[0]["pid"]
        until(lambda: ended(process), "its end")
        assert not core.run(128).any()


def test_a_line_that_is_long_is_cut_between_its_characters(lib, tmp_path):
    folder = Folder(tmp_path / "plugin", talks=message(105, b"x" + "é".encode() * 2000))
    with opened(lib, folder) as core:
        until(lambda: core.said, "a line")
        assert core.said == ["x" + "é" * 499]
        core.activate(48000, 128)
        alive(core)


def test_messages_of_later_kinds_are_passed_over(lib, tmp_path):
    folder = Folder(tmp_path / "plugin", talks=message(999, b"?" * 100000) + message(105, b"hello\n") + message(998))
    with opened(lib, folder) as core:
        until(lambda: core.said, "a line")
        assert core.said == ["hello "]
        core.activate(48000, 128)
        alive(core)


def test_an_answer_to_a_question_that_was_never_asked_answers_no_later_one(lib, tmp_path):
    folder = Folder(tmp_path / "plugin", talks=message(102, b"unasked", number=999) + message(105, b"said"))
    with opened(lib, folder) as core:
        until(lambda: core.said, "the line after the answer")
        core.load_preset(b"mine")
        assert core.save().endswith(b"preset:mine")  # as the server has it, and not only the name that was loaded


@pytest.mark.parametrize("what", ["made", "tail", "rack"])
def test_a_memory_that_cannot_be_is_the_end_of_a_server(lib, tmp_path, what):
    folder = Folder(tmp_path / "plugin", scribbles=what)
    with opened(lib, folder) as core:
        core.activate(48000, 128)
        until(lambda: (core.run(128), folder.heard("began"))[1], "a server")
        process = folder.heard("began")[0]["pid"]
        until(lambda: (core.midi(0, NOTE, 3), core.run(128), ended(process))[2], "its end")
        until(lambda: not core.run(128).any(), "the end of the fade")
        assert core.latency() == 256


def test_no_sound_is_not_a_number(lib, tmp_path):
    folder = Folder(tmp_path / "plugin", sounds="nan")
    with opened(lib, folder) as core:
        core.activate(48000, 128)
        core.offline(True)
        sound = core.run(1000)
        core.caught_up()
        assert (sound == 0).all()


def test_closing_is_quick_while_a_server_starts(lib, folder):
    """Not a figure: what waited for the server to end would wait for ever."""
    (folder.path / "start").write_text("#!/bin/sh\nexec sleep 1000\n")
    with opened(lib, folder):
        begun = time.monotonic()
    assert time.monotonic() - begun < LONG
