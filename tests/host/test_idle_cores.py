"""How many processors others leave free: by what they have done within a glance."""

import os
import subprocess
import sys
from types import SimpleNamespace

import mido
import psutil
import pytest
from timbrel.host import processors
from timbrel.host.play import render as rendering

from ..patience import until


@pytest.fixture
def machine(monkeypatch):
    """A function that makes a machine of so many processors, of which others use that many all the time."""

    def make(count, busy):
        clock = SimpleNamespace(now=0.0, own=0.0, others=0.0, slept=0.0)

        def sleep(seconds):
            clock.now += seconds
            clock.slept += seconds

        monkeypatch.setattr(processors, "time", SimpleNamespace(perf_counter=lambda: clock.now, sleep=sleep))
        # itself, its children
        system = SimpleNamespace(name="posix", times=lambda: (clock.own / 2, 0.0, 0.0, clock.own / 2, 99.0))
        monkeypatch.setattr(processors, "os", system)
        monkeypatch.setattr(psutil.Process, "cpu_affinity", lambda self: list(range(count)), raising=False)

        def times(percpu):
            others = [clock.now * min(1.0, max(0.0, busy - n)) for n in range(count)]
            return [SimpleNamespace(user=each + (clock.own + clock.others) / count, idle=9.0) for each in others]

        monkeypatch.setattr(psutil, "cpu_times", times)
        return clock

    return make


@pytest.mark.parametrize(
    ("count", "busy", "free"),
    [(2, 0.0, 2), (2, 0.2, 2), (2, 0.4, 1), (2, 1.0, 1), (2, 2.0, 1), (1, 1.0, 1), (8, 3.0, 5), (8, 3.3, 4)],
)
def test_what_others_use_is_not_free_and_one_always_is(machine, count, busy, free):
    clock = machine(count, busy)
    free_processors = processors.FreeProcessors()
    assert free_processors.count() == free
    clock.now, clock.own = clock.now + 2.0, clock.own + 1.5  # its own work is not counted as another's
    slept = clock.slept
    assert free_processors.count() == free
    assert clock.slept == slept  # two seconds are more than a glance


def test_a_count_tells_of_the_time_since_the_last_one(machine):
    clock = machine(2, 0.0)
    free_processors = processors.FreeProcessors()
    clock.now, clock.others = 10.0, 9.0
    assert free_processors.count() == 1
    assert clock.slept == 0
    clock.now += 0.04
    assert free_processors.count() == 2
    assert clock.slept == pytest.approx(processors.GLANCE_SECONDS - 0.04)


def test_on_windows_workers_that_have_ended_are_not_counted_as_others(machine):
    """Its os.times has no times of children."""
    clock = machine(8, 0.0)
    processors.os.name = "nt"
    free_processors = processors.FreeProcessors()
    clock.now, clock.others = 2.0, 8.0
    assert free_processors.count() == 4  # before any worker
    clock.now, clock.others = 4.0, 24.0
    assert free_processors.count() == 8


def test_a_process_that_never_waits_takes_one():
    alone = psutil.Process().cpu_affinity() if hasattr(psutil.Process, "cpu_affinity") else range(psutil.cpu_count())
    spin = "import os, sys\nwhile os.getppid() == int(sys.argv[1]): pass"
    spinning = [subprocess.Popen([sys.executable, "-c", spin, str(os.getpid())]) for _ in alone]
    try:
        until(lambda: processors.FreeProcessors().count() <= max(1, len(alone) // 2), "fewer free processors")
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
    monkeypatch.setattr(processors.FreeProcessors, "count", lambda self: free)
    monkeypatch.setattr(rendering, "render", lambda *_, **options: asked.append(options["processes"]) or [])
    assert timbrel("render", "gm-keys", tmp_path / "long.mid", "-o", tmp_path / "x.wav").status == 0
    assert asked == [processes]
