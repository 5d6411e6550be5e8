"""A command that is stopped from outside leaves nothing by halves, ends soon and says so by its exit status."""

import contextlib
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import mido
import numpy as np
import pytest
import soundfile
from timbrel.host import files, interrupts
from timbrel.host.audio import sound_files
from timbrel.host.audio.sound_files import sound_writer
from timbrel.host.files import building_folder, replacing, replacing_folder
from timbrel.host.preset.shipped import MIDI

from .patience import PATIENCE_SECONDS, besides_progress, until

NAMES = {"SIGINT": 130, "SIGTERM": 143, "SIGHUP": 129}

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="signals come otherwise there")


@pytest.fixture(autouse=True)
def _heard():
    """What began the tests may have had a signal ignored."""
    before = {name: signal.signal(getattr(signal, name), signal.default_int_handler) for name in NAMES}
    yield
    for name, handler in before.items():
        signal.signal(getattr(signal, name), handler)


def write_file(folder):
    with replacing(folder / "kept.txt", overwrite=True) as path:
        path.write_text("new", encoding="utf-8")


def build_folder(folder):
    with building_folder(folder / "built") as path:
        (path / "part").write_text("new", encoding="utf-8")


def replace_folder(folder):
    with replacing_folder(folder / "kept") as path:
        (path / "part").write_text("new", encoding="utf-8")


def write_sound(folder):
    with sound_writer(folder / "kept.wav", 8000, overwrite=True) as writer:
        writer.write(np.full((2, sound_files.PIECE + 100), 0.5, np.float32))


def content(folder):
    """Whatever lies in a folder, by its name; of sounds their length."""
    return {
        str(path.relative_to(folder)): soundfile.info(path).frames if path.suffix == ".wav" else path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


@pytest.mark.filterwarnings("ignore::ResourceWarning")
@pytest.mark.filterwarnings("error")  # as a library's C code gives where an exception meets it
@pytest.mark.parametrize("work", [write_file, build_folder, replace_folder, write_sound])
def test_a_stop_at_any_line_leaves_the_old_or_the_new_and_nothing_besides(tmp_path, work):
    code = {module.__file__ for module in (files, sound_files, interrupts, sys.modules[__name__])}
    number, stopped = 0, True
    while stopped:
        folder = tmp_path / str(number)
        (folder / "kept").mkdir(parents=True)
        for name in ("kept/part", "kept.txt"):
            (folder / name).write_text("old", encoding="utf-8")
        soundfile.write(folder / "kept.wav", np.zeros((100, 2)), 8000)
        old, left = content(folder), number

        def trace(frame, event, argument):
            nonlocal left
            if frame.f_code.co_filename not in code:
                return None
            if event == "line":
                left -= 1
                if left == -1:
                    signal.raise_signal(signal.SIGTERM)
            return trace

        stopped = False
        with interrupts.listening():
            try:
                sys.settrace(trace)
                work(folder)
            except KeyboardInterrupt:
                stopped = True
            finally:
                sys.settrace(None)
            stopped = stopped or left < 0
            assert interrupts.exit_status(1) == (143 if stopped else 1)
        found = content(folder)
        if found != old:
            work_alone = tmp_path / "alone" / str(number)
            (work_alone / "kept").mkdir(parents=True)
            work(work_alone)
            assert found == old | content(work_alone), f"stopped at line {number}"
        assert all(path.parts[-1][0] != "." for path in folder.rglob("*")), f"stopped at line {number}"
        number += 1
    assert number > 20


def test_a_stop_that_is_held_comes_at_the_end_of_the_outermost_block():
    reached = []

    def work():
        with interrupts.defer_signals():
            with interrupts.defer_signals():
                signal.raise_signal(signal.SIGHUP)
                reached.append("inner")
            reached.append("outer")
        reached.append("after")

    with interrupts.listening():
        with pytest.raises(KeyboardInterrupt):
            work()
        assert interrupts.exit_status(1) == 129
    assert reached == ["inner", "outer"]


def test_another_thread_holds_nothing_and_is_never_interrupted():
    inside, leave, failed = threading.Event(), threading.Event(), []

    def work():
        try:
            with interrupts.defer_signals():
                inside.set()
                leave.wait(PATIENCE_SECONDS)
        except BaseException as error:
            failed.append(error)

    thread = threading.Thread(target=work)
    with interrupts.listening():
        thread.start()
        inside.wait(PATIENCE_SECONDS)
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGTERM)
        leave.set()
        thread.join()
    assert failed == []


def test_two_signals_of_one_stop_interrupt_once_and_a_later_one_again(monkeypatch):
    now = [100.0]
    monkeypatch.setattr(interrupts.time, "monotonic", lambda: now[0])
    with interrupts.listening():
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGHUP)
        signal.raise_signal(signal.SIGTERM)
        assert interrupts.exit_status(1) == 129
        now[0] += 1.1
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGTERM)
        assert interrupts.exit_status(1) == 143
    assert interrupts.exit_status(0) == 0


# ---- commands


@pytest.fixture
def song(tmp_path):
    """Chords that sound for four hours: longer than any test waits."""
    path = tmp_path / "long.mid"
    song = mido.MidiFile(ticks_per_beat=480)
    keys = range(40, 72, 2)
    song.tracks.append(
        mido.MidiTrack(
            [
                *(mido.Message("note_on", note=key, velocity=90) for key in keys),
                *(mido.Message("note_off", note=key, time=36_000 if key == keys[0] else 0) for key in keys),
            ]
            * 400
        )
    )
    song.save(path)
    return path


def children(pid):
    """Processes that a process has begun, and those of these."""
    found = []
    for path in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            fields = path.read_text().rsplit(")", 1)[1].split()
            if int(fields[1]) == pid and fields[0] != "Z":
                found += [int(path.parent.name), *children(int(path.parent.name))]
    return found


STOPPED_WHILE_LOADING = """
import os, signal, sys

class Stop:
    @staticmethod
    def find_spec(name, path=None, target=None):
        if name == {module!r}:
            sys.meta_path.remove(Stop)
            os.kill(os.getpid(), signal.SIGINT)

sys.meta_path.insert(0, Stop)
from timbrel.__main__ import main
main()
"""


@pytest.mark.parametrize("module", ["typer", "timbrel.train.commands", "numpy", "onnxruntime", "soundfile"])
def test_a_stop_while_a_module_loads_is_one_line(tmp_path, module):
    program = [sys.executable, "-c", STOPPED_WHILE_LOADING.format(module=module)]
    command = [*program, "render", "gm-keys", MIDI / "demo.mid", "-o", "x.wav"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (130, "timbrel: stopped\n")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("name", "group"),
    [("SIGINT", True), ("SIGTERM", False), ("SIGHUP", True)],
    ids=["Ctrl-C", "SIGTERM", "a terminal that closes"],
)
def test_a_render_that_is_stopped_leaves_no_file_no_process_and_one_line(song, tmp_path, name, group):
    before = sorted(tmp_path.iterdir())
    process = subprocess.Popen(
        [sys.executable, "-m", "timbrel", "render", "gm-keys", str(song), "-o", str(tmp_path / "out.ogg"), "--stems"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    until(
        lambda: process.poll() is not None or any(path.stat().st_size > 10_000 for path in tmp_path.glob(".out.*")),
        "the beginning of the sound",
    )
    assert process.poll() is None, process.communicate()
    others = children(process.pid)
    (os.killpg if group else os.kill)(process.pid, getattr(signal, name))
    try:
        out, err = process.communicate(timeout=PATIENCE_SECONDS)
    except subprocess.TimeoutExpired:
        about = Path(f"/proc/{process.pid}/status").read_text()  # which signals it ignores, catches and has waiting
        process.kill()
        pytest.fail(f"it goes on: {process.communicate()}\n{about}")
    assert (process.returncode, out, besides_progress(err)) == (NAMES[name], "", ["timbrel: stopped"])
    assert sorted(tmp_path.iterdir()) == before
    assert not [pid for pid in others if Path(f"/proc/{pid}").exists()]


def test_a_render_under_nohup_outlives_its_terminal(song, tmp_path):
    process = subprocess.Popen(
        [sys.executable, "-m", "timbrel", "render", "gm-keys", str(song), "-o", str(tmp_path / "out.wav")],
        stderr=subprocess.PIPE,
        preexec_fn=lambda: signal.signal(signal.SIGHUP, signal.SIG_IGN),
    )
    until(lambda: process.poll() is not None or list(tmp_path.glob(".out.*")), "the beginning of the sound")
    assert process.poll() is None
    process.send_signal(signal.SIGHUP)
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=PATIENCE_SECONDS)
    assert process.returncode == 143


def test_a_terminal_that_closes_ends_playing_in_order_and_keeps_what_was_recorded(tmp_path):
    process = subprocess.Popen(
        [sys.executable, "-m", "timbrel", "play", "gm-keys", "--null", "--plain", "--record", "out.wav"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=tmp_path,
        start_new_session=True,
    )
    process.stdout.readline()
    for pid in [*children(process.pid), process.pid]:  # as all get it, in the order that is worst
        os.kill(pid, signal.SIGHUP)
        time.sleep(0.2)
    _, err = process.communicate(timeout=PATIENCE_SECONDS)
    assert process.returncode == 0
    assert "has ended" not in err  # the process that sounds, which is not to before it is told
    assert [path.name for path in tmp_path.iterdir()] == ["out.wav"]


WRITERS = {
    "render": ["render", "gm-keys", "SONG", "-o", "out.wav"],
    "process": ["process", "SOUND", "--preset", "gm-chroma-2", "-o", "out.flac"],
    "morph": ["morph", "SOUND", "SOUND", "--model", "gm-chroma-2", "-o", "out.wav", "--picture", "out.png"],
    "recover": ["recover", "SOUND", "--model", "gm-chroma-2", "-o", "out.toml"],
    "export": ["export", "RUN", "-o", "out.onnx"],
}


def stop_at_the_end(patch):
    """Have a signal come when all is written, and only its place is left to take."""
    for name in ("_place_new", "_place_new_folder"):
        patch.setattr(files, name, lambda *paths: signal.raise_signal(signal.SIGTERM))


@pytest.mark.parametrize("what", WRITERS)
def test_every_writer_that_is_stopped_at_its_very_end_leaves_nothing(
    timbrel, tmp_path, monkeypatch, make_tone, small_run, one_table, what
):
    monkeypatch.chdir(tmp_path)
    soundfile.write("sound.wav", make_tone(60), 44100)
    song = mido.MidiFile()
    song.tracks.append(mido.MidiTrack([mido.Message("note_on", note=60), mido.Message("note_off", note=60, time=200)]))
    song.save("song.mid")
    before = content(tmp_path)
    stop_at_the_end(monkeypatch)
    names = {"SOUND": "sound.wav", "SONG": "song.mid", "RUN": small_run}
    ended = timbrel(*(names.get(part, part) for part in WRITERS[what]))
    assert ended.status == 143
    assert ended.err.splitlines()[-1] == "timbrel: stopped"
    assert content(tmp_path) == before


def test_a_corpus_whose_build_is_stopped_at_its_very_end_goes_on(timbrel, tmp_path, monkeypatch, make_tone):
    monkeypatch.chdir(tmp_path)
    soundfile.write("sound.wav", make_tone(60), 44100)
    with monkeypatch.context() as patch:
        stop_at_the_end(patch)
        assert timbrel("corpus", "build", "sound.wav", "-o", "corpus").status == 143
    assert "its build was stopped" in timbrel("train", "tuned-8", "--corpus", "corpus", "-o", "run").err
    assert timbrel("corpus", "build", "sound.wav", "-o", "corpus").status == 0
