"""The turns of a critic and a generator get batches of their own."""

import itertools

import numpy as np
import pytest
import torch
from timbrel.host.errors import UserError
from timbrel.train import loop
from timbrel.train.families import FAMILIES
from timbrel.train.families.grain.data import GrainData
from timbrel.train.loop import RunOptions
from timbrel.train.network import Objective

from .networks import BATCH, CRITIC_BATCHES, CRITICISM, ONCE, PERSUASION, Adversaries, adversaries


@pytest.fixture
def seen(monkeypatch):
    """The frames of each batch, and the windows and numbers of each turn of training."""
    frames, turns, original = [], [], GrainData.batch
    monkeypatch.setattr(
        GrainData, "batch", lambda self, chosen, rng: frames.append(chosen) or original(self, chosen, rng)
    )

    class Watched(Adversaries):
        def forward(self, turn, windows, generator):
            if self.training:
                drawn = torch.rand(4, generator=torch.Generator().set_state(generator.get_state()))
                turns.append((turn, windows.clone(), drawn))
            return super().forward(turn, windows, generator)

    return frames, turns, Watched


def test_each_batch_of_a_step_has_windows_and_chance_of_its_own(train, seen):
    _, turns, network = seen
    train("training.steps=4", network=network)
    names = ["criticism"] * CRITIC_BATCHES + ["persuasion"]
    assert [name for name, *_ in turns] == names * 4
    assert all(len(windows) == BATCH for _, windows, _ in turns)
    assert len({windows.numpy().tobytes() for _, windows, _ in turns}) == len(turns)
    assert len({drawn.numpy().tobytes() for *_, drawn in turns}) == len(turns)


def test_turns_that_share_a_batch_get_the_same_and_others_their_own(train, seen):
    frames, turns, network = seen
    network.objectives = (ONCE, Objective("criticism", "critic", 2, True), PERSUASION)
    train("training.steps=2", network=network)
    for step in (turns[:4], turns[4:]):
        (one, _), *own, (last, _) = [(windows, drawn) for _, windows, drawn in step]
        assert torch.equal(one, last)
        assert len({windows.numpy().tobytes() for windows, _ in [(one, None), *own]}) == 3
    assert len(frames) == 2 * 3


def test_a_step_without_a_shared_batch_takes_none_for_it(train, seen):
    frames, turns, network = seen
    network.objectives = (CRITICISM, Objective("persuasion", "generator", 2))
    train("training.steps=2", network=network)
    assert len(frames) == len(turns) == 2 * (CRITIC_BATCHES + 2)


def test_an_epoch_of_own_batches_shows_every_frame_once(train, seen):
    frames, _, network = seen
    run, _ = train("training.epochs=2", network=network)
    count = len(FAMILIES["grain"].data(run.corpus(), run.recipe, run.folder))
    steps = count // ((CRITIC_BATCHES + 1) * BATCH)
    assert steps > 3
    assert len(frames) == 2 * steps * (CRITIC_BATCHES + 1)
    epochs = [np.concatenate(part) for part in (frames[: len(frames) // 2], frames[len(frames) // 2 :])]
    for epoch in epochs:
        assert len(np.unique(epoch)) == len(epoch) == steps * (CRITIC_BATCHES + 1) * BATCH
        assert epoch.max() < count
    assert not np.array_equal(*epochs)


def test_batches_are_smaller_where_a_corpus_has_too_few_frames_for_them(train, seen):
    frames, _, network = seen
    run, _ = train("training.epochs=1", "training.batch_size=60000", network=network)
    count = len(FAMILIES["grain"].data(run.corpus(), run.recipe, run.folder))
    assert [len(chosen) for chosen in frames] == [count // (CRITIC_BATCHES + 1)] * (CRITIC_BATCHES + 1)


def test_a_corpus_with_fewer_frames_than_a_step_has_batches_is_refused(train):
    turns = (Objective("criticism", "critic", 10**6, True), PERSUASION)
    with pytest.raises(UserError, match=r"corpus has \d+ training frames, and a step takes 1000001 batches") as caught:
        train(network=adversaries(turns=turns))
    assert "\n" not in str(caught.value)


def test_examples_a_second_are_those_of_all_batches(train, monkeypatch):
    class Clock:
        now = 0.0

        def monotonic(self):
            self.now += 0.2
            return self.now

    reports, clock = [], Clock()
    monkeypatch.setattr(loop, "time", clock)
    train("training.steps=30", options=RunOptions("cpu", on_report=lambda report: reports.append((clock.now, report))))
    assert len(reports) > 5
    for (began, first), (ended, second) in itertools.pairwise(reports):
        examples = (second.step - first.step) * BATCH * (CRITIC_BATCHES + 1)
        assert second.examples_per_second == pytest.approx(examples / (ended - began), rel=0.5)
