"""The study of clips from codes: trained in parts, compared by one table, shown after the first epoch and the last."""

import json
import re

import numpy as np
import pytest
import soundfile
from timbrel.export.reports import report as picture
from timbrel.export.study.gan import FIRST, STAGES, _stages, losses, over_epochs, study
from timbrel.export.study.runs import StudyOptions
from timbrel.host.errors import UserError
from timbrel.host.progress import Display
from timbrel.train import checkpoint
from timbrel.train.families.recipes import load_recipe
from timbrel.train.launch import start
from timbrel.train.loop import RunOptions
from timbrel.train.run import Run

from .undrawn import undrawn

RATE, STEPS = 16000, 7
RECIPES = ["clip-dcgan", "clip-dcgan-halves", "clip-wavegan", "tuned-clip"]
HALVES = ["network.channels=[2,2]", "frames.frame_length=4096", "frames.hop_length=4096", "network.latents=5"]
SMALL = [
    *(f"{name}:{change}" for name in RECIPES[:2] for change in HALVES),
    *(f"clip-wavegan:{change}" for change in ("network.model_size=1", "network.latents=5", "network.labels=true")),
    *(f"tuned-clip:{change}" for change in ("network.components=8", "network.hidden=16", "frames.enough=8")),
    "training.batch_size=6",
]


@pytest.fixture(scope="module")
def judge(spoken, tmp_path_factory):
    recipe = load_recipe("digits-classifier", ["training.epochs=1", "network.width=4", f"frames.sample_rate={RATE}"])
    folder = tmp_path_factory.mktemp("judges") / "judge"
    start(recipe, spoken, folder, RunOptions(accelerator="cpu"))
    return folder


def make(given):
    with Display() as display:
        return study(given, display)


@pytest.fixture(scope="module")
def made(spoken, judge, tmp_path_factory):
    """A study of all four networks, made once and only looked at."""
    folder = tmp_path_factory.mktemp("studies") / "study"
    with pytest.MonkeyPatch.context() as patch:
        undrawn(patch)
        assert make(StudyOptions(spoken, folder, None, SMALL, STEPS, accelerator="cpu", classifier=judge))
    return folder


def told(folder):
    return json.loads((folder / "study.json").read_text(encoding="utf-8"))


def test_every_network_stands_beside_the_recordings_by_the_figures_of_its_report(made):
    found = told(made)
    assert [network["name"] for network in found["networks"]] == RECIPES
    for network in found["networks"]:
        report = json.loads((made / "runs" / network["name"] / "report" / "report.json").read_text(encoding="utf-8"))
        generated = report["generated"]
        assert network["frechet_db2"] == [generated["likeness"]["made"], generated["likeness"]["train"]]
        assert network["inception_score"] == [generated["told"]["score"], generated["told"]["real_score"]]
        assert network["collapsed"] == report["collapsed"]
        assert (network["accuracy"] is None) == network["name"].startswith("clip-dcgan")
        assert (network["log_mel_db"] is None) == (network["name"] in ("clip-dcgan", "clip-wavegan"))
        assert Run.open(made / "runs" / network["name"]).recipe.training.steps == STEPS


def test_all_that_the_page_refers_to_is_there(made):
    html = (made / "index.html").read_text(encoding="utf-8")
    targets = set(re.findall(r'(?:src|href|srcset)="([^"]+)"', html))
    assert all((made / target).exists() for target in targets)
    assert {f"runs/{name}/report/index.html" for name in RECIPES} < targets
    kinds = ("waveforms", "spectrograms", "losses")
    assert {f"{name}-{kind}.png" for name in ("clip-dcgan", "clip-wavegan") for kind in kinds} < targets
    assert "runs/clip-dcgan-halves/report/zoom.png" in targets
    assert {f"runs/clip-dcgan-halves/report/{name}-1.wav" for name in ("recording", "decoded")} < targets


def test_the_first_epoch_and_the_last_are_heard_of_the_same_codes_and_differ(made):
    clips = {what: soundfile.read(made / f"clip-dcgan-{what}.wav")[0] for what in ("first-epoch", "last-epoch")}
    assert {len(sound) for sound in clips.values()} == {4 * (4096 + RATE // 4)}
    assert not np.allclose(clips["first-epoch"], clips["last-epoch"])
    first = checkpoint.progress_of(checkpoint.load(made / "runs" / "clip-wavegan" / FIRST)).step
    assert first == {network["name"]: network for network in told(made)["networks"]}["clip-wavegan"]["epoch_steps"]


def test_losses_are_logged_at_every_part_and_no_step_is_trained_twice(made):
    epochs = {network["name"]: network["epoch_steps"] for network in told(made)["networks"]}
    assert epochs == {"clip-dcgan": 3, "clip-dcgan-halves": 3, "clip-wavegan": 1, "tuned-clip": 3}
    for name in RECIPES[:3]:
        steps = [line["step"] for line in Run.open(made / "runs" / name).logged()]
        assert steps == list(range(epochs[name], STEPS + 1))


def test_a_finished_study_is_not_made_again_and_more_steps_go_on(spoken, tmp_path, monkeypatch):
    undrawn(monkeypatch)
    folder = tmp_path / "study"
    given = StudyOptions(spoken, folder, ["clip-dcgan"], HALVES, 3, accelerator="cpu")
    assert make(given)
    first, last = (folder / "runs" / "clip-dcgan" / name for name in (FIRST, "last.ckpt"))
    times = first.stat().st_mtime_ns, last.stat().st_mtime_ns
    assert make(given)
    assert (first.stat().st_mtime_ns, last.stat().st_mtime_ns) == times
    assert make(StudyOptions(spoken, folder, ["clip-dcgan"], HALVES, 5, accelerator="cpu"))
    assert first.stat().st_mtime_ns == times[0]
    assert told(folder)["networks"][0]["name"] == "clip-dcgan"
    assert Run.open(folder / "runs" / "clip-dcgan").logged()[-1]["step"] == 5


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"recipes": ["grain-plain"]}, "is of family 'grain', this study compares 'dcgan', 'halves', 'gan', 'clip'"),
        ({"changes": ["clip-wavgan:network.model_size=2"]}, "no recipe of this study is named 'clip-wavgan'"),
        ({"changes": ["frames.sample_rate=8000"]}, "corpus"),
    ],
)
def test_what_cannot_be_compared_is_refused_in_one_line_and_nothing_is_made(spoken, tmp_path, changed, words):
    fields = {"recipes": ["clip-dcgan"], "changes": []} | changed
    with pytest.raises(UserError) as error:
        make(StudyOptions(spoken, tmp_path / "study", fields["recipes"], fields["changes"], 1, accelerator="cpu"))
    assert words in str(error.value)
    assert len(str(error.value).splitlines()) == 1
    assert not (tmp_path / "study").exists()


def test_parts_end_with_the_whole_and_begin_with_an_epoch():
    recipe = load_recipe("clip-wavegan")
    parts = [(part.training.steps, done) for part, done in _stages(recipe, 27)]
    assert parts[0] == (27, 27 / 200000)
    assert parts[-1] == (200000, 1.0)
    assert len(parts) == 1 + STAGES
    minutes = [part.training.minutes for part, _ in _stages(load_recipe("clip-dcgan", ["training.minutes=5"]), 3)]
    assert minutes == [None, *(pytest.approx(0.5 * n) for n in range(1, 11))]
    assert [part.training.steps for part, _ in _stages(load_recipe("clip-dcgan", ["training.steps=2"]), 3)] == [2]


def test_losses_stand_over_epochs_and_clips_in_rows():
    logged = {"steps": [3, 6, 12], "sides": {"critic": [1.0, 2.0, 3.0], "generator": [3.0, 2.0, 1.0]}}
    axes = losses("a", logged, epoch_steps=3).draw(picture.LIGHT).axes[0]
    assert [line.get_label() for line in axes.lines] == ["critic", "generator"]
    assert [list(line.get_xdata()) for line in axes.lines] == [[1, 2, 4]] * 2
    clips = np.random.default_rng(0).standard_normal((2, 2048)).astype(np.float32)
    for drawn in over_epochs("a", {"recordings": clips, "last epoch": clips}, RATE):
        assert [axes.get_ylabel() for axes in drawn.draw(picture.DARK).axes] == ["recordings", "", "last epoch", ""]


def test_the_command_refuses_two_budgets_and_other_studies_its_options(timbrel, spoken, tmp_path):
    common = ("--corpus", spoken, "-o", tmp_path / "study")
    refused = timbrel("study", "gan", *common, "--steps", 5, "--minutes", 1)
    assert (refused.status, refused.err) == (
        2,
        "timbrel: --steps 5 and --minutes 1 are two budgets; give one of them\n",
    )
    other = timbrel("study", "grain", *common, "--minutes", 1)
    assert other.status == 2
    assert other.err.startswith("timbrel: No such option: --minutes")
    assert not (tmp_path / "study").exists()
