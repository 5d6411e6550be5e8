"""How many processors others leave free: by what they have done within a glance."""

import os
import subprocess
import sys
from types import SimpleNamespace

import mido
import psutil
import pytest
from timbrel.host import workers
from timbrel.host.play import render as rendering

from ..patience import until


@pytest.fixture
def machine(monkeypatch):
    """A function that makes a machine of so many processors, of which others use that many all the time."""

    def make(processors, busy):
        clock = [0.0]
        monkeypatch.setattr(workers.time, "perf_counter", lambda: clock[0])
        monkeypatch.setattr(workers.time, "sleep", lambda seconds: clock.__setitem__(0, clock[0] + seconds))
        monkeypatch.setattr(psutil.Process, "cpu_affinity", lambda self: list(range(processors)), raising=False)

        def times(percpu):
            return [SimpleNamespace(user=clock[0] * min(1.0, max(0.0, busy - n)), idle=9.0) for n in range(processors)]

        monkeypatch.setattr(psutil, "cpu_times", times)

    return make


@pytest.mark.parametrize(
    ("processors", "busy", "free"),
    [(2, 0.0, 2), (2, 0.2, 2), (2, 0.4, 1), (2, 1.0, 1), (2, 2.0, 1), (1, 1.0, 1), (8, 3.0, 5), (8, 3.3, 4)],
)
def test_what_others_use_is_not_free_and_one_always_is(machine, processors, busy, free):
    machine(processors, busy)
    assert workers.free_processors() == free


def test_a_process_that_never_waits_takes_one():
    alone = psutil.Process().cpu_affinity() if hasattr(psutil.Process, "cpu_affinity") else range(psutil.cpu_count())
    spin = "import os, sys\nwhile os.getppid() == int(sys.argv[1]): pass"
    spinning = [subprocess.Popen([sys.executable, "-c", spin, str(os.getpid())]) for _ in alone]
    try:
        until(lambda: workers.free_processors() <= max(1, len(alone) // 2), "fewer free processors")
    finally:
        for process in spinning:
            process.kill()
            process.wait()


@pytest.mark.parametrize(("seconds", "free", "processes"), [(4, 1, 1), (4, 2, 2), (4, 64, 4), (1, 64, 1)])
def test_a_long_render_takes_as_many_processes_as_others_leave_processors(
    timbrel, tmp_path, monkeypatch, seconds, free, processes
):
    file = mido.MidiFile(ticks_per_beat=480)
    messages = [mido.Message("note_on", note=60), mido.Message("note_off", note=60, time=960 * seconds)]
    file.tracks.append(mido.MidiTrack(messages))
    file.save(tmp_path / "long.mid")
    asked = []
    monkeypatch.setattr(workers, "free_processors", lambda: free)
    monkeypatch.setattr(rendering, "render", lambda *_, **options: asked.append(options["processes"]) or [])
    assert timbrel("render", "gm-keys", tmp_path / "long.mid", "-o", tmp_path / "x.wav").status == 0
    assert asked == [processes]
