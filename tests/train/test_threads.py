"""The count of threads follows the load: as fast as the best count, whatever it is now, but for a few percent."""

import itertools
import os
import subprocess
import sys

import numpy as np
import pytest
import torch
from timbrel.train import loop, threads
from timbrel.train.loop import Options, start
from timbrel.train.recipe import load_recipe
from timbrel.train.threads import Threads

CPU = torch.device("cpu")


class Machine:
    """Where a step takes as long as its count of threads does at that time, more or less."""

    def __init__(self, monkeypatch, seconds, most=2, noise=0.0, share=lambda count, now: 1.0):
        """``seconds`` of a step, and a thread's ``share`` of a processor, by the count of threads and the time."""
        monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
        monkeypatch.setattr(torch, "get_num_threads", lambda: most)
        self.now, self.worked, self.count, self.seconds, self.noise, self.share = 0.0, 0.0, most, seconds, noise, share
        self.rng = np.random.default_rng(0)
        self.threads = Threads(CPU, lambda: self.now, lambda: self.worked, self.use)
        self.steps = []  # when each ended, and its count

    def use(self, count):
        self.count = count

    def train(self, until):
        while self.now < until:
            with self.threads.step():
                seconds = self.seconds(self.count, self.now) * (1 + self.noise * self.rng.random())
                self.now += seconds
                self.worked += seconds * self.share(self.count, self.now)
            self.steps.append((self.now, self.count))

    def speed(self, since, until):
        """Steps a second."""
        return sum(since < at <= until for at, _ in self.steps) / (until - since)


def alone(count, now):
    """The second thread is worth a fifth, as for the chroma networks."""
    return 0.12 / (1 + 0.2 * (count - 1))


def beside_two(count, now):
    """Each waits for the other, which seldom has its turn."""
    return 0.25 if count == 1 else 0.5


@pytest.mark.parametrize("noise", [0.0, 0.4])
@pytest.mark.parametrize("scale", [0.02, 1.0, 4.0], ids=["short steps", "steps", "long steps"])
def test_an_idle_machine_loses_next_to_nothing_to_trials(monkeypatch, noise, scale):
    machine = Machine(monkeypatch, lambda count, now: scale * alone(count, now), noise=noise)
    machine.train(300)
    assert machine.speed(0, 300) > 0.97 / (scale * alone(2, 0) * (1 + noise / 2))


@pytest.mark.parametrize("noise", [0.0, 0.4])
def test_beside_busy_processes_it_is_hardly_slower_than_one_thread(monkeypatch, noise):
    machine = Machine(monkeypatch, beside_two, noise=noise)
    machine.train(300)
    assert machine.speed(10, 300) > 0.95 / (0.25 * (1 + noise / 2))


def test_steps_that_are_held_up_by_chance_seldom_mislead(monkeypatch):
    """Each takes up to four times as long, where one thread is a seventh faster."""
    machine = Machine(monkeypatch, lambda count, now: 0.2 if count == 1 else 0.23, noise=3.0)
    machine.train(600)
    assert machine.speed(10, 600) > 0.95 / (0.2 * 2.5)


@pytest.mark.parametrize("noise", [0.0, 0.4])
def test_a_single_thread_without_a_processor_of_its_own_stays_alone_until_it_has_one(monkeypatch, noise):
    """However fast two are in a short trial: what they gain, the system takes back later."""
    machine = Machine(
        monkeypatch,
        lambda count, now: (0.3 if count == 1 else 0.2) if now < 60 else alone(count, now),
        noise=noise,
        share=lambda count, now: 0.5 if now < 60 else 1.0,
    )
    machine.train(90)
    assert {count for at, count in machine.steps if 10 < at < 60} == {1}
    assert machine.speed(75, 90) > 0.95 / (alone(2, 0) * (1 + noise / 2))


@pytest.mark.parametrize("noise", [0.0, 0.4])
def test_a_change_of_load_is_met_within_seconds(monkeypatch, noise):
    machine = Machine(
        monkeypatch, lambda count, now: (beside_two if 100 < now < 200 else alone)(count, now), noise=noise
    )
    machine.train(300)
    slow, fast = (1 / (seconds * (1 + noise / 2)) for seconds in (beside_two(1, 0), alone(2, 0)))
    assert machine.speed(110, 200) > 0.95 * slow
    assert machine.speed(212, 300) > 0.95 * fast


def test_a_change_is_met_within_seconds_even_where_a_trial_costs_much(monkeypatch):
    """Long steps, which a second thread makes twice as fast: one part in fifty would be a trial in half a minute."""

    def seconds(count, now):
        return {1: 1.0, 2: 0.5 if now < 85 else 1.5}[count]

    machine = Machine(monkeypatch, seconds)
    machine.train(117)  # a trial of ten long steps takes thirteen seconds
    assert machine.speed(5, 85) > 0.94 / 0.5
    assert {count for at, count in machine.steps if 111 < at < 117} == {1}


def test_torch_has_all_its_threads_again_after_a_training(monkeypatch):
    machine = Machine(monkeypatch, beside_two)
    machine.train(20)
    assert machine.count == 1
    machine.threads.close()
    assert machine.count == 2


def test_of_sixteen_threads_the_best_count_is_found_and_left_again(monkeypatch):
    """As where others keep most of sixteen processors busy for a while."""
    crowded = {16: 0.2, 8: 0.1, 4: 0.04, 2: 0.06, 1: 0.11}
    machine = Machine(monkeypatch, lambda count, now: crowded[count] if now < 100 else 0.1 / count, most=16)
    machine.train(200)
    assert machine.speed(20, 100) > 0.9 / crowded[4]
    assert machine.speed(140, 200) > 0.9 * 16 / 0.1


def test_a_count_that_is_far_worse_is_let_go_after_one_turn(monkeypatch):
    machine = Machine(monkeypatch, lambda count, now: 0.1 if count == 2 else 3.0)
    machine.train(40)
    ones = [at for at, count in machine.steps if count == 1]
    assert len(ones) <= 4
    assert all(later - one > 10 for one, later in itertools.pairwise(ones))


def test_a_count_that_is_given_is_obeyed(monkeypatch):
    machine = Machine(monkeypatch, beside_two, most=2)
    monkeypatch.setenv("OMP_NUM_THREADS", "2")
    machine.threads = Threads(CPU, lambda: machine.now, lambda: machine.worked, machine.use)
    machine.train(30)
    assert {count for _, count in machine.steps} == {2}


def test_what_another_device_computes_has_no_trials(monkeypatch):
    machine = Machine(monkeypatch, beside_two)
    machine.threads = Threads(torch.device("cuda"), lambda: machine.now, lambda: machine.worked, machine.use)
    machine.train(30)
    assert {count for _, count in machine.steps} == {2}


@pytest.fixture
def two_threads():
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(before)


@pytest.mark.parametrize("given", [None, "2"])
def test_a_training_tries_one_thread_unless_a_count_is_given_and_leaves_torch_its_own(
    two_threads, tone_corpus, small, tmp_path, monkeypatch, given
):
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    if given:
        monkeypatch.setenv("OMP_NUM_THREADS", given)
    for name in ("SOONEST_SECONDS", "LATEST_SECONDS", "TURN_SECONDS"):
        monkeypatch.setattr(threads, name, 0.0)
    seen, original = [], loop._Loop._step

    def step(self, indices, done):
        seen.append(torch.get_num_threads())
        return original(self, indices, done)

    monkeypatch.setattr(loop._Loop, "_step", step)
    recipe = load_recipe("tuned-8", [*small, "training.steps=8"])
    start(recipe, tone_corpus, tmp_path / "run", Options(accelerator="cpu"))
    assert set(seen) == ({2} if given else {1, 2})
    assert torch.get_num_threads() == 2


@pytest.mark.skipif(sys.platform != "linux", reason="asks GNU's OpenMP, which torch has on Linux")
@pytest.mark.parametrize(
    ("given", "spins"),
    [({}, "'0'"), ({"OMP_WAIT_POLICY": "active"}, "'30000000000'")],
)
def test_threads_of_the_command_line_sleep_while_they_wait_unless_told_otherwise(tmp_path, given, spins):
    """By what OpenMP says of itself when torch loads it."""
    plain = {name: value for name, value in os.environ.items() if not name.startswith(("OMP_", "GOMP_"))}
    run = subprocess.run(
        [sys.executable, "-m", "timbrel", "train", "tuned-8", "--corpus", "none", "-o", str(tmp_path / "run")],
        env=plain | given | {"OMP_DISPLAY_ENV": "verbose"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 2, run.stderr
    assert f"GOMP_SPINCOUNT = {spins}" in run.stderr
