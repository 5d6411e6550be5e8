"""A run's folder opens again, moves with its corpus, and is refused in one line when something in it is wrong."""

import contextlib
import json
import resource
import shutil
from pathlib import Path

import pytest
from timbrel.host.errors import Failure, UserError
from timbrel.train.corpus.store import Corpus
from timbrel.train.families.recipes import load_recipe
from timbrel.train.run import Run, RunInfo, relative_to

INFO = RunInfo(
    format=1,
    corpus="../corpus",
    corpus_name="tones",
    clips=3,
    seconds=1.5,
    tonal=True,
    versions={"torch": "2"},
    hardware="an abacus",
)


@pytest.fixture
def run(tmp_path):
    return Run.create(tmp_path / "run", load_recipe("chroma-8"), INFO)


def refused(folder):
    with pytest.raises(UserError) as caught:
        Run.open(folder)
    assert "\n" not in str(caught.value)
    assert str(folder) in str(caught.value)
    return str(caught.value)


def test_a_run_opens_as_it_was_made(run):
    again = Run.open(run.folder)
    assert again.recipe == run.recipe == load_recipe("chroma-8")
    assert again.info == INFO


def test_a_new_run_holds_its_recipe_and_nothing_to_load(run):
    assert {path.name for path in run.folder.iterdir()} == {"run.json", "recipe.toml"}
    assert load_recipe(str(run.folder / "recipe.toml")) == run.recipe
    assert not run.last.exists()
    assert not run.best.exists()
    assert run.logged() == []


def test_what_a_folder_holds_is_never_overwritten(run, tmp_path):
    with pytest.raises(UserError, match="not empty"):
        Run.create(run.folder, load_recipe("chroma-2"), INFO)
    (tmp_path / "file").write_text("mine", encoding="utf-8")
    with pytest.raises(UserError, match="a file has that name"):
        Run.create(tmp_path / "file", load_recipe("chroma-2"), INFO)
    with pytest.raises(UserError, match="does not exist; make it first"):
        Run.create(tmp_path / "no" / "run", load_recipe("chroma-2"), INFO)
    assert Run.open(run.folder).recipe.name == "chroma-8"
    assert (tmp_path / "file").read_text(encoding="utf-8") == "mine"


@contextlib.contextmanager
def full_disk(limit):
    """No file grows beyond ``limit`` bytes."""
    _, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (hard, hard))


def test_a_full_disk_leaves_no_half_of_a_run(tmp_path):
    with full_disk(100), pytest.raises(Failure, match=r"cannot write .*run: File too large"):
        Run.create(tmp_path / "run", load_recipe("chroma-8"), INFO)
    assert list(tmp_path.iterdir()) == []


def test_a_full_disk_keeps_the_recipe_and_the_log_that_are_there(run):
    run.log({"step": 1})
    with full_disk(15):
        with pytest.raises(Failure, match=r"cannot write .*log\.jsonl: File too large; go on with --resume"):
            run.log({"step": 2})
        with pytest.raises(Failure, match=r"cannot write .*recipe\.toml: File too large"):
            run.with_recipe(load_recipe("chroma-2"))
    assert run.logged()[0] == {"step": 1}
    assert Run.open(run.folder).recipe == load_recipe("chroma-8")


def test_an_empty_folder_becomes_a_run(tmp_path):
    (tmp_path / "empty").mkdir()
    assert Run.create(tmp_path / "empty", load_recipe("chroma-2"), INFO).recipe.network.latents == 2


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ("", "damaged"),
        ("not json", "damaged"),
        ("[1, 2]", "damaged"),
        ("null", "damaged"),
        ('{"format": 1}', "damaged"),
        ('{"format": 2}', "has format 2, this timbrel reads 1"),
        ("{}", "has format None, this timbrel reads 1"),
        ('{"format": 1, "corpus": 5}', "damaged"),
    ],
)
def test_a_damaged_run_is_refused(run, content, reason):
    (run.folder / "run.json").write_text(content, encoding="utf-8")
    assert reason in refused(run.folder)


def test_binary_in_place_of_a_run_is_refused(run):
    (run.folder / "run.json").write_bytes(b"\xff\xfe\x00\x01")
    assert "damaged" in refused(run.folder)


def test_what_is_no_run_is_refused_with_what_to_do(tmp_path, run):
    assert "does not exist; make one with: timbrel train" in refused(tmp_path / "none")
    for shipped in ("gm-oboe", "gm-partials-8"):
        assert "exported already: give the folder of a run of your own" in refused(Path(shipped))
    (tmp_path / "other").mkdir()
    assert "no run.json" in refused(tmp_path / "other")
    assert "run.json is a file, no run; give the folder" in refused(run.folder / "run.json")
    (run.folder / "recipe.toml").unlink()
    assert "lacks its recipe.toml; put it back, or train again" in refused(run.folder)


def test_a_run_and_its_corpus_move_together(tone_corpus, tmp_path):
    shutil.copytree(tone_corpus, tmp_path / "here" / "corpus")
    (tmp_path / "here" / "runs").mkdir()
    folder = tmp_path / "here" / "runs" / "run"
    corpus = relative_to(tmp_path / "here" / "corpus", folder)
    tones = Corpus.open(tone_corpus)
    content = {"corpus": corpus, "clips": len(tones.clips()), "seconds": tones.seconds()}
    Run.create(folder, load_recipe("chroma-8"), INFO.model_copy(update=content))
    (tmp_path / "here").rename(tmp_path / "there")
    assert Run.open(tmp_path / "there" / "runs" / "run").corpus().name == "tones"


def test_a_corpus_that_is_gone_is_named(run):
    with pytest.raises(UserError, match=r"corpus .*corpus does not exist"):
        run.corpus()


def test_the_log_comes_back_line_by_line(run):
    entries = [{"step": step, "seconds": 0.5 * step, "total": 1 / step} for step in range(1, 5)]
    for entry in entries:
        run.log(entry)
    assert run.logged() == entries


def test_a_log_line_that_was_cut_off_hides_at_most_the_next(run):
    run.log({"step": 1})
    with (run.folder / "log.jsonl").open("a", encoding="utf-8") as file:
        file.write(json.dumps({"step": 2})[:5])
    assert run.logged() == [{"step": 1}]
    run.log({"step": 2})  # after a resume, on the line that was cut off
    run.log({"step": 3})
    assert [entry["step"] for entry in run.logged()] == [1, 3]


def test_another_recipe_is_written_in_place_of_the_runs(run):
    longer = load_recipe("chroma-8", ["training.epochs=400"])
    assert run.with_recipe(longer).recipe == longer
    assert Run.open(run.folder).recipe == longer
