"""The count of threads follows the load: one for each processor that other programs leave free."""

import os
import subprocess
import sys
import time
from types import SimpleNamespace

import psutil
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from timbrel.host import processors as host_processors
from timbrel.host.processors import SLACK
from timbrel.train import loop, threads
from timbrel.train.families.recipes import load_recipe
from timbrel.train.launch import start
from timbrel.train.loop import RunOptions
from timbrel.train.threads import WINDOW_SECONDS, WINDOWS, Threads

from ..patience import until

CPU = torch.device("cpu")
MET_SECONDS = WINDOWS * WINDOW_SECONDS + WINDOW_SECONDS  # a change of load, at the latest, where steps are short


class Machine:
    """Shares its processors evenly among our threads and the programs of others."""

    def __init__(self, monkeypatch, processors=2, others=lambda now: 0.0, step=0.1, device=CPU):
        """``others`` are so many programs that never wait, at a time; our steps last so many seconds."""
        monkeypatch.setattr(torch, "get_num_threads", lambda: processors)
        monkeypatch.setattr(torch, "set_num_threads", self.use)
        clocks = SimpleNamespace(perf_counter=lambda: self.now, process_time=lambda: self.own)
        monkeypatch.setattr(threads, "time", clocks)
        monkeypatch.setattr(threads, "processors_worked", lambda: lambda: self.everybody)
        self.processors, self.others, self.seconds = processors, others, step
        self.now = self.everybody = self.own = 0.0
        self.count = processors
        self.threads = Threads(device)
        self.steps = []  # when each ended, and its count

    def use(self, count):
        self.count = count

    def passes(self, seconds, ours):
        others = self.others(self.now)
        share = min(1.0, self.processors / max(others + ours, 1e-9))
        self.now += seconds
        self.own += ours * share * seconds
        self.everybody += (ours + others) * share * seconds

    def train(self, until):
        while self.now < until:
            with self.threads.step():
                self.passes(self.seconds, self.count)
            self.steps.append((self.now, self.count))

    def counts(self, since, until):
        return {count for at, count in self.steps if since < at <= until}


@pytest.fixture(autouse=True)
def no_count_is_given(monkeypatch):
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)


@pytest.mark.parametrize("step", [0.001, 0.1, 1.5], ids=["short steps", "steps", "long steps"])
def test_an_idle_machine_gives_all_its_processors_all_the_time(monkeypatch, step):
    machine = Machine(monkeypatch, others=lambda now: 0.2, step=step)
    machine.train(20)
    assert machine.counts(0, 20) == {2}


@pytest.mark.parametrize("others", [1, 2, 5])
@pytest.mark.parametrize("step", [0.001, 0.1, 1.5], ids=["short steps", "steps", "long steps"])
def test_beside_busy_programs_one_of_two_threads_is_left(monkeypatch, others, step):
    machine = Machine(monkeypatch, others=lambda now: others, step=step)
    machine.train(20)
    assert machine.counts(max(WINDOW_SECONDS, step) + step, 20) == {1}


@given(processors=st.integers(2, 64), others=st.integers(0, 100))
def test_each_free_processor_has_a_thread_and_each_thread_most_of_one(processors, others):
    with pytest.MonkeyPatch.context() as monkeypatch:
        machine = Machine(monkeypatch, processors, lambda now: others)
        machine.train(20)
    [count] = machine.counts(15, 20)
    free = max(1, processors - others)
    # Among many processors a thread too many takes so little from each that others seem to want that much less.
    assert count == free or (count > free and processors / (others + count) > 0.87)


def test_a_change_of_load_is_met_at_once_where_it_rises_and_after_a_second_where_it_falls(monkeypatch):
    machine = Machine(monkeypatch, others=lambda now: float(10 <= now < 20))
    machine.train(30)
    assert machine.counts(0, 10) == {2}
    assert machine.counts(10 + 2 * WINDOW_SECONDS, 20) == {1}
    assert machine.counts(20, 20 + (WINDOWS - 1) * WINDOW_SECONDS) == {1}
    assert machine.counts(20 + MET_SECONDS + machine.seconds, 30) == {2}


@pytest.mark.parametrize(("others", "count"), [(SLACK - 0.02, 2), (SLACK + 0.1, 1)])
def test_a_part_of_a_processor_may_be_taken(monkeypatch, others, count):
    machine = Machine(monkeypatch, others=lambda now: others)
    machine.train(10)
    assert machine.counts(2, 10) == {count}


@pytest.mark.parametrize("ours", [0, 2], ids=["a pause", "a validation"])
def test_the_load_between_steps_says_nothing_of_that_beside_them(monkeypatch, ours):
    machine = Machine(monkeypatch)
    machine.train(1.05)
    machine.others = lambda now: 2.0
    machine.passes(10.0, ours)
    machine.others = lambda now: 0.0
    machine.train(20)
    assert machine.counts(0, 20) == {2}


def test_torch_has_all_its_threads_again_after_a_training(monkeypatch):
    machine = Machine(monkeypatch, others=lambda now: 1.0)
    machine.train(2)
    assert machine.count == 1
    machine.threads.close()
    assert machine.count == 2


def test_a_count_that_is_given_is_obeyed(monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "2")
    machine = Machine(monkeypatch, others=lambda now: 1.0)
    machine.train(5)
    assert machine.counts(0, 5) == {2}


def test_the_load_does_not_matter_to_what_another_device_computes(monkeypatch):
    machine = Machine(monkeypatch, others=lambda now: 1.0, device=torch.device("cuda"))
    machine.train(5)
    assert machine.counts(0, 5) == {2}


SPIN = "import os, sys\nwhile os.getppid() == int(sys.argv[1]):\n    for _ in range(10**6): pass"


@pytest.mark.skipif(psutil.cpu_count() < 2, reason="one processor has one thread")
def test_programs_that_are_really_busy_are_seen(monkeypatch):
    monkeypatch.setattr(torch, "get_num_threads", psutil.cpu_count)
    counts = []
    monkeypatch.setattr(torch, "set_num_threads", counts.append)
    watching = Threads(CPU)
    command = [sys.executable, "-c", SPIN, str(os.getpid())]
    spinning = [subprocess.Popen(command, start_new_session=True) for _ in range(psutil.cpu_count())]
    try:

        def step():
            with watching.step():
                spin(0.05)
            return counts

        until(step, "another count of threads")
    finally:
        for process in spinning:
            process.kill()
            process.wait()
    assert counts
    assert counts[0] < psutil.cpu_count()


def spin(seconds):
    until = time.perf_counter() + seconds
    while time.perf_counter() < until:
        pass


def test_what_all_have_done_includes_our_own_and_is_no_more_than_the_processors_can():
    worked = host_processors.processors_worked()
    began, all_before, own_before = time.perf_counter(), worked(), time.process_time()
    while time.process_time() - own_before < 0.5:
        pass
    own, everybody, seconds = (
        time.process_time() - own_before,
        worked() - all_before,
        time.perf_counter() - began,
    )
    # Where the system looks who works at its ticks alone, it sees a part of each.
    assert own / 2 < everybody < 1.2 * seconds * psutil.cpu_count() + 0.1


def test_processors_that_are_not_ours_do_not_count(monkeypatch):
    class Times:
        def __init__(self, seconds):
            self.user, self.nice, self.system, self.idle, self.iowait, self.steal = seconds, 1.0, 2.0, 1e3, 1e4, 1e5

    monkeypatch.setattr(psutil, "cpu_times", lambda percpu: [Times(10.0), Times(20.0), Times(40.0)])
    monkeypatch.setattr(psutil.Process, "cpu_affinity", lambda self: [1, 2], raising=False)
    assert host_processors.processors_worked()() == 66.0


@pytest.fixture
def two_threads():
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(before)


@pytest.mark.parametrize("given", [None, "2"])
def test_a_training_beside_other_work_has_one_thread_unless_a_count_is_given_and_leaves_torch_its_own(
    two_threads, tone_corpus, small, tmp_path, monkeypatch, given
):
    if given:
        monkeypatch.setenv("OMP_NUM_THREADS", given)
    monkeypatch.setattr(threads, "WINDOW_SECONDS", 0.0)
    monkeypatch.setattr(threads, "processors_worked", lambda: lambda: time.process_time() + time.perf_counter())
    seen, original = [], loop._Loop._step

    def step(self, done):
        seen.append(torch.get_num_threads())
        return original(self, done)

    monkeypatch.setattr(loop._Loop, "_step", step)
    recipe = load_recipe("tuned-8", [*small, "training.steps=8"])
    start(recipe, tone_corpus, tmp_path / "run", RunOptions(accelerator="cpu"))
    assert seen == ([2] * 8 if given else [2] + [1] * 7)
    assert torch.get_num_threads() == 2
