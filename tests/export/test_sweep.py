"""Sweeps: all combinations of settings trained once, in one table, best first; and trainings on a cluster."""

import csv
import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from timbrel.export.study import runs
from timbrel.export.study.sweep import SweepOptions, sweep, swept_runs
from timbrel.host.errors import Failure, UserError
from timbrel.host.progress import Display
from timbrel.train import checkpoint, loop
from timbrel.train.corpus.store import Corpus, writing
from timbrel.train.families.recipes import load_recipe
from timbrel.train.loop import Diverged
from timbrel.train.run import Run

from .clusters import cluster

RATE = 8000
SMALL = [
    f"frames.sample_rate={RATE}",
    "frames.frame_length=256",
    "frames.hop_length=64",
    "network.hidden=[16]",
    "training.batch_size=16",
    "training.steps=6",
]


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("corpus") / "noises"
    with writing(folder, RATE) as writer:
        for i, split in enumerate(["train", "train", "test"]):
            noise = 0.1 * np.random.default_rng(i).standard_normal(RATE).astype(np.float32)
            writer.append(noise, np.full(-(-RATE // 1024), np.nan, np.float32), name=f"{split}{i}", group=str(i))
        writer.finish({"train0": "train", "train1": "train", "test2": "test"}, name="noises")
    return folder


def asked(corpus: Path, folder: Path, *changes: str, ray: str | None = None) -> SweepOptions:
    return SweepOptions("grain-plain", corpus, folder, [*SMALL, *changes], accelerator="cpu", ray=ray)


def table(folder: Path) -> list[dict[str, str]]:
    with (folder / "sweep.csv").open(encoding="utf-8") as file:
        return list(csv.DictReader(file))


def test_all_combinations_are_trained_and_listed_best_first(corpus: Path, tmp_path: Path) -> None:
    with Display() as display:
        assert sweep(asked(corpus, tmp_path / "sweep", "network.latents=2,3", "training.seed=0,1"), display)
    rows = table(tmp_path / "sweep")
    assert {(row["network.latents"], row["training.seed"]) for row in rows} == {(a, b) for a in "23" for b in "01"}
    losses = [float(row["score"]) for row in rows]
    assert losses == sorted(losses)
    assert [row["place"] for row in rows] == ["1", "2", "3", "4"]
    for row in rows:
        run = Run.open(tmp_path / "sweep" / "runs" / row["run"])
        assert str(run.recipe.network.latents) == row["network.latents"]
        best = min(entry["total"] for entry in run.logged())
        assert float(row["score"]) == pytest.approx(best, rel=1e-4)
        assert row["steps"] == "6"
    page = (tmp_path / "sweep" / "index.html").read_text(encoding="utf-8")
    assert f"{rows[0]['run']} has the least score of 4 runs" in page


def test_a_finished_sweep_is_not_trained_again(corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with Display() as display:
        sweep(asked(corpus, tmp_path / "sweep", "training.seed=0,1"), display)
        before = table(tmp_path / "sweep")
        monkeypatch.setattr(runs, "start", None)
        monkeypatch.setattr(runs, "resume", None)
        assert sweep(asked(corpus, tmp_path / "sweep", "training.seed=0,1"), display)
    assert table(tmp_path / "sweep") == before


def test_a_finished_sweep_is_not_listed_for_a_corpus_with_other_splits(corpus: Path, tmp_path: Path) -> None:
    shutil.copytree(corpus, tmp_path / "noises")
    options = asked(tmp_path / "noises", tmp_path / "sweep")
    with Display() as display:
        assert sweep(options, display)
        clips = Corpus.open(tmp_path / "noises").clips()
        Corpus.open(tmp_path / "noises").deal({clip.name: "test" if clip.row == 0 else "train" for clip in clips})
        with pytest.raises(UserError, match="was begun with, or other splits or labels"):
            sweep(options, display)


def test_a_sweep_of_other_values_does_not_replace_the_table(corpus: Path, tmp_path: Path) -> None:
    with Display() as display:
        sweep(asked(corpus, tmp_path / "sweep", "training.seed=0,1"), display)
        before = table(tmp_path / "sweep")
        with pytest.raises(UserError, match=r"has runs of another sweep, such as training\.seed=0, .* or another -o"):
            sweep(asked(corpus, tmp_path / "sweep", "training.seed=1,2"), display)
        assert table(tmp_path / "sweep") == before
        assert sweep(asked(corpus, tmp_path / "sweep", "training.seed=0,1,2"), display)
    assert len(table(tmp_path / "sweep")) == 3


def test_a_stopped_sweep_goes_on(corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real, begun = runs.start, []

    def start(*arguments: object) -> object:
        begun.append(arguments[2])
        if len(begun) == 2:
            return type("Outcome", (), {"interrupted": True})()
        return real(*arguments)

    monkeypatch.setattr(runs, "start", start)
    with Display() as display:
        assert not sweep(asked(corpus, tmp_path / "sweep", "training.seed=0,1,2"), display)
        assert not (tmp_path / "sweep" / "sweep.csv").exists()
        monkeypatch.setattr(runs, "start", real)
        assert sweep(asked(corpus, tmp_path / "sweep", "training.seed=0,1,2"), display)
    assert len(table(tmp_path / "sweep")) == 3


def test_a_run_that_diverges_stays_in_the_table(corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = runs.start

    def start(recipe: object, corpus: Path, folder: Path, *arguments: object) -> object:
        if recipe.training.seed == 1:
            folder.mkdir(parents=True)
            raise Diverged("the loss is nan at step 3: training has diverged")
        return real(recipe, corpus, folder, *arguments)

    monkeypatch.setattr(runs, "start", start)
    with Display() as display:
        assert sweep(asked(corpus, tmp_path / "sweep", "training.seed=0,1,2"), display)
    last = table(tmp_path / "sweep")[-1]
    assert (last["training.seed"], last["score"], last["remark"]) == ("1", "", "the loss is nan at step 3")


def test_a_stopped_sweep_by_epochs_is_not_taken_for_finished(
    corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    changes = [change for change in SMALL if "steps" not in change] + ["training.epochs=2", "training.seed=0,1"]
    given = SweepOptions("grain-plain", corpus, tmp_path / "sweep", changes, accelerator="cpu")
    real = runs.start

    def stopped(*arguments: object) -> object:
        real(*arguments)
        return type("Outcome", (), {"interrupted": True})()

    monkeypatch.setattr(runs, "start", stopped)
    with Display() as display:
        assert not sweep(given, display)
        monkeypatch.undo()
        assert sweep(given, display)
    assert len({row["steps"] for row in table(tmp_path / "sweep")}) == 1


def logged_scores(monkeypatch: pytest.MonkeyPatch, scores: dict[str, float], lucky: str = "") -> None:
    """Each validation of a seed's run has its score, and rises with the steps; the first one of ``lucky`` is low."""
    original = loop._Loop._validation_means

    def means(self: loop._Loop) -> dict[str, float]:
        seed, step = str(self.recipe.training.seed), self.progress.step
        return original(self) | {"total": 0.1 if step == 1 and seed == lucky else scores[seed] + step / 2}

    monkeypatch.setattr(loop._Loop, "_validation_means", means)


SEEDS = {"0": 9.0, "1": 2.0, "2": 8.0, "3": 7.0, "4": 1.0, "5": 6.0, "6": 3.0}
PRUNED = ["training.steps=18", "training.seed=" + ",".join(SEEDS)]


def test_the_worst_two_thirds_end_at_a_ninth_and_at_a_third(
    corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    logged_scores(monkeypatch, SEEDS, lucky="1")
    monkeypatch.setattr(loop, "VALIDATION_STEPS", 1)
    folder = tmp_path / "sweep"
    changes = [change for change in SMALL if "steps" not in change and "batch" not in change] + PRUNED
    changes.append("training.batch_size=128")  # short epochs, so that each run has a best checkpoint
    given = SweepOptions("grain-plain", corpus, folder, changes, prunes=True, accelerator="cpu")
    with Display() as display:
        assert sweep(given, display)
    rows = table(folder)
    assert all(row["score"] for row in rows[:3])
    assert [(row["training.seed"], row["steps"], row["remark"]) for row in rows[:3]] == [
        ("4", "18", ""),
        ("1", "6", "pruned at 33% of its budget"),
        ("6", "6", "pruned at 33% of its budget"),
    ]
    assert {(row["steps"], row["remark"]) for row in rows[3:]} == {("2", "pruned at 11% of its budget")}
    # A second time nothing is trained.
    monkeypatch.setattr(runs, "start", None)
    monkeypatch.setattr(runs, "resume", None)
    with Display() as display:
        assert sweep(given, display)
    assert table(folder) == rows


def test_a_pruned_sweep_that_was_stopped_prunes_the_same(
    corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    logged_scores(monkeypatch, SEEDS)
    folder, changes = tmp_path / "sweep", [change for change in SMALL if "steps" not in change] + PRUNED
    given = SweepOptions("grain-plain", corpus, folder, changes, prunes=True, accelerator="cpu")
    real, count = runs.resume, []

    def resume(*arguments: object) -> object:
        count.append(1)
        if len(count) == 2:
            return type("Outcome", (), {"interrupted": True})()
        return real(*arguments)

    monkeypatch.setattr(runs, "resume", resume)
    with Display() as display:
        assert not sweep(given, display)
        monkeypatch.setattr(runs, "resume", real)
        assert sweep(given, display)
    assert [row["training.seed"] for row in table(folder)[:3]] == ["4", "1", "6"]


def test_a_survivor_has_the_weights_of_a_training_without_pruning(corpus: Path, tmp_path: Path) -> None:
    for name, prunes in (("whole", False), ("pruned", True)):
        given = replace(asked(corpus, tmp_path / name, "training.steps=18", "training.seed=0,1,2"), prunes=prunes)
        with Display() as display:
            assert sweep(replace(given, changes=[c for c in given.changes if c != "training.steps=6"]), display)
    (best, *_) = table(tmp_path / "pruned")
    whole, pruned = (
        checkpoint.load(tmp_path / name / "runs" / best["run"] / "last.ckpt")["model"] for name in ("whole", "pruned")
    )
    assert all(torch.equal(whole[name], pruned[name]) for name in whole)


def test_a_sweep_without_pruning_trains_pruned_runs_on_to_their_ends(corpus: Path, tmp_path: Path) -> None:
    given = asked(corpus, tmp_path / "whole", "training.seed=0,1,2,3")
    again = replace(given, folder=tmp_path / "pruned")
    with Display() as display:
        assert sweep(given, display)
        assert sweep(replace(again, prunes=True), display)
        assert {row["steps"] for row in table(again.folder)} == {"1", "2", "6"}
        assert sweep(again, display)
    for row in table(given.folder):
        whole, pruned = (
            checkpoint.load(folder / "runs" / row["run"] / "last.ckpt")["model"]
            for folder in (given.folder, again.folder)
        )
        assert all(torch.equal(whole[name], pruned[name]) for name in whole)
    assert {(row["steps"], row["remark"]) for row in table(again.folder)} == {("6", "")}


def test_a_folder_that_cannot_be_made_is_one_line(
    corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*arguments: object, **more: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "mkdir", refuse)
    with Display() as display, pytest.raises(UserError, match=r"cannot make folder \S+runs: Permission denied; choose"):
        sweep(asked(corpus, tmp_path / "sweep"), display)


def test_a_training_that_lost_its_patience_is_finished(
    corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    logged_scores(monkeypatch, {"0": 1.0})
    monkeypatch.setattr(loop, "VALIDATION_STEPS", 1)
    changes = [change for change in SMALL if "steps" not in change]
    recipe = load_recipe("grain-plain", [*changes, "training.steps=400", "training.patience=2", "training.seed=0"])
    training = runs.Training(recipe, corpus, tmp_path / "run")
    assert not training.is_finished
    assert training.train(loop.RunOptions("cpu"))
    assert training.is_finished
    assert Run.open(tmp_path / "run").logged()[-1]["step"] < 400


def test_a_training_by_epochs_is_finished_after_the_last(corpus: Path, tmp_path: Path) -> None:
    changes = [change for change in SMALL if "steps" not in change]
    recipe = load_recipe("grain-plain", [*changes, "training.epochs=4", "training.seed=0"])
    training = runs.Training(recipe, corpus, tmp_path / "run")
    assert replace(training, until=0.5).train(loop.RunOptions("cpu"))
    assert not training.is_finished
    assert training.train(loop.RunOptions("cpu"))
    assert training.is_finished
    older = checkpoint.load(tmp_path / "run" / "last.ckpt")
    del older["progress"]["epoch_steps"]
    torch.save(older, tmp_path / "run" / "last.ckpt")
    assert not training.is_finished  # it does not say; a resumed run has nothing to do


def test_losses_that_compete_are_not_pruned_by(corpus: Path, tmp_path: Path) -> None:
    given = replace(asked(corpus, tmp_path / "sweep", "training.seed=0,1"), recipe="grain-adversarial", prunes=True)
    with Display() as display, pytest.raises(UserError, match="--prune compares validations, and the losses of grain"):
        sweep(given, display)
    assert not (tmp_path / "sweep").exists()


def test_a_full_disk_is_no_divergence(corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*arguments: object) -> object:
        raise Failure("cannot write last.ckpt: No space left on device")

    monkeypatch.setattr(runs, "start", full)
    with Display() as display, pytest.raises(Failure, match="No space left on device"):
        sweep(asked(corpus, tmp_path / "sweep", "training.seed=0,1"), display)
    assert not (tmp_path / "sweep" / "sweep.csv").exists()


def test_all_recipes_are_checked_before_the_first_is_trained(corpus: Path, tmp_path: Path) -> None:
    changes = [*SMALL[1:], "frames.sample_rate=8000,16000"]
    with Display() as display, pytest.raises(UserError, match="the recipe wants 16000"):
        sweep(SweepOptions("grain-plain", corpus, tmp_path / "sweep", changes, accelerator="cpu"), display)
    assert not (tmp_path / "sweep").exists()


def test_a_study_is_not_written_over(corpus: Path, tmp_path: Path) -> None:
    (tmp_path / "study" / "runs").mkdir(parents=True)
    (tmp_path / "study" / "index.html").write_text("a study")
    with Display() as display, pytest.raises(UserError, match="is no sweep; give another folder"):
        sweep(asked(corpus, tmp_path / "study"), display)
    assert (tmp_path / "study" / "index.html").read_text() == "a study"


def test_folders_differ_and_do_not_depend_on_the_order(corpus: Path, tmp_path: Path) -> None:
    first = swept_runs(SweepOptions("grain-plain", corpus, tmp_path, ["training.seed=0,1", "training.batch_size=8,16"]))
    other = swept_runs(SweepOptions("grain-plain", corpus, tmp_path, ["training.batch_size=8,16", "training.seed=0,1"]))
    assert {run.folder for run in first} == {run.folder for run in other}
    long = ["network.hidden=" + ",".join(f"[{'1024, ' * 15}{width}]" for width in (16, 32, 48)), "description=a/b,a b"]
    assert len({run.folder for run in swept_runs(SweepOptions("grain-plain", corpus, tmp_path, long))}) == 6


def test_values_with_commas_stay_together(corpus: Path, tmp_path: Path) -> None:
    found = swept_runs(
        SweepOptions("grain-plain", corpus, tmp_path, ["network.hidden=[16, 8],[32]", "training.steps=5"])
    )
    assert [list(run.recipe.network.hidden) for run in found] == [[16, 8], [32]]
    assert len({run.folder for run in found}) == 2


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        (["training.seed"], "--set training.seed is no KEY=VALUE; write it as training.seed=0,1,2"),
        (["training.seed=0,0"], "--set training.seed=0,0 gives a value twice; give each once"),
        (["training.l2=1e-3,0.001"], "training.l2=1e-3 and training.l2=0.001 are the same; give each value once"),
        (["training.seed=0", "training.seed=1"], "--set training.seed=1: training.seed is set twice"),
        (["training.seed=" + ",".join(map(str, range(1001)))], "--set makes 1001 trainings, at most 1000 are allowed"),
        (["training.sead=0,1"], "recipe grain-plain: unknown key 'training.sead'; did you mean 'seed'?"),
    ],
)
def test_wrong_settings_are_one_line(corpus: Path, tmp_path: Path, changes: list[str], said: str) -> None:
    with pytest.raises(UserError) as told:
        swept_runs(SweepOptions("grain-plain", corpus, tmp_path, changes))
    assert str(told.value).startswith(said)


def test_a_cluster_that_is_not_there_leaves_nothing(corpus: Path, tmp_path: Path) -> None:
    with Display() as display, pytest.raises(UserError, match=r"no Ray cluster answers at '127\.0\.0\.1:9'"):
        sweep(asked(corpus, tmp_path / "sweep", ray="127.0.0.1:9"), display)
    assert not (tmp_path / "sweep").exists()


@pytest.mark.slow
def test_a_cluster_trains_the_same_though_a_node_dies(corpus: Path, tmp_path: Path) -> None:
    changes = ("training.seed=0,1,2,3,4,5",)

    class Killing(Display):
        def update(self, done: float, note: str = "", seconds_left: float | None = None) -> None:
            if done > 0.2 and second.is_running():
                second.kill()

    with cluster() as (address, second), Killing() as display:
        assert sweep(asked(corpus, tmp_path / "shared", *changes, ray=address), display)
    with Display() as display:
        assert sweep(asked(corpus, tmp_path / "alone", *changes), display)
    for name in ("shared", "alone"):
        rows = [{k: v for k, v in row.items() if k != "seconds"} for row in table(tmp_path / name)]
        (tmp_path / f"{name}.json").write_text(json.dumps(rows))
    assert (tmp_path / "shared.json").read_text() == (tmp_path / "alone.json").read_text()
