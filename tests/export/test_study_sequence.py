"""The study of continued sound: both representations of each corpus, scaling put back or not, from each seed."""

import json
import re

import numpy as np
import pytest
import soundfile
from timbrel.export.families import sequence as reporting
from timbrel.export.reports import report as picture
from timbrel.export.study import sequence as studying
from timbrel.export.study.runs import StudyOptions, Training
from timbrel.export.study.sequence import COURSE, losses, read_losses, study, summed, target_times, waveforms
from timbrel.host.errors import UserError
from timbrel.host.progress import Display
from timbrel.train.families.recipes import load_recipe
from timbrel.train.run import Run

from ..train.struck import RATE, corpus_of, hat, tom

LENGTH, HOP = 64, 48
SMALL = [f"frames.frame_length={LENGTH}", f"frames.hop_length={HOP}", "network.size=16"]
STEPS = 12


@pytest.fixture(autouse=True)
def _short_tails(monkeypatch):
    monkeypatch.setattr(reporting, "TAIL", 20)
    monkeypatch.setattr(studying, "TAIL", 20)
    monkeypatch.setattr(reporting, "PART", 5)


@pytest.fixture
def kicks(tmp_path):
    return corpus_of(tmp_path / "kicks", [tom(1, 0.12), tom(2, 0.15), hat(1, 0.12)]).folder


@pytest.fixture
def loop(tmp_path):
    made = corpus_of(tmp_path / "loop", [hat(3, 0.2)])
    path = made.folder / "corpus.json"
    path.write_text(path.read_text(encoding="utf-8").replace('"struck"', '"loop"'), encoding="utf-8")
    return made.folder


def make(given):
    with Display() as display:
        return study(given, display)


@pytest.fixture
def drawn(monkeypatch):
    """The names of pictures that were drawn; no time is spent on them."""
    names = []

    def touch(one, folder):
        names.append(one.name)
        for suffix in ("", "-dark"):
            (folder / f"{one.name}{suffix}.png").touch()

    monkeypatch.setattr(picture.Picture, "save", touch)
    return names


def told(folder):
    return json.loads((folder / "study.json").read_text(encoding="utf-8"))


def test_every_network_continues_every_corpus_from_each_seed_in_both_ways(kicks, loop, tmp_path, drawn):
    folder = tmp_path / "study"
    assert make(StudyOptions(kicks, folder, None, SMALL, STEPS, accelerator="cpu", more=[loop]))
    found = told(folder)
    assert [(corpus["name"], corpus["clips"]) for corpus in found["corpora"]] == [("struck", 3), ("loop", 1)]
    for corpus in found["corpora"]:
        assert [network["name"] for network in corpus["networks"]] == ["sequence-samples", "sequence-fft"]
        asked = {(row["recipe"], row["restored"], row["seed"], row["name"]) for row in corpus["continued"]}
        assert len(asked) == len(corpus["continued"]) == 2 * 2 * 3 * corpus["clips"]
        for network in corpus["networks"]:
            run = Run.open(folder / corpus["name"] / "runs" / network["name"])
            report = json.loads((run.folder / "report" / "report.json").read_text(encoding="utf-8"))
            assert network["mean_square"] == report["mean_square"]
            assert network["steps"] == STEPS
            for row in report["continued"]:  # the same networks, measured by the report
                if row["seed"] in (1, 4, 16):
                    wanted = {"recipe": network["name"], "restored": True, **row}
                    assert any(wanted.items() <= one.items() for one in corpus["continued"])
    html = (folder / "index.html").read_text(encoding="utf-8")
    targets = set(re.findall(r'(?:src|href|srcset)="([^"]+)"', html))
    assert all((folder / target).exists() for target in targets)
    kinds = ("losses", "from-1", "from-4", "from-16", "beyond")
    assert {f"{name}-{kind}.png" for name in ("struck", "loop") for kind in kinds} < targets
    assert {"loop-recording.wav", "loop-sequence-fft.wav", "loop-sequence-fft-unrestored.wav"} < targets
    sound, rate = soundfile.read(folder / "loop-sequence-fft.wav")
    assert rate == RATE
    assert len(sound) == (round(0.2 * RATE / HOP + 0.49) + 1 + 20) * HOP


def test_scaling_that_is_not_put_back_changes_the_sound_and_not_what_is_predicted(kicks, tmp_path, drawn):
    folder = tmp_path / "study"
    assert make(StudyOptions(kicks, folder, ["sequence-samples"], SMALL, 2, accelerator="cpu"))
    plain, bare = (soundfile.read(folder / f"struck-sequence-samples{end}.wav")[0] for end in ("", "-unrestored"))
    run = Run.open(folder / "struck" / "runs" / "sequence-samples")
    network, *_ = studying.trained(run, "best")
    deviation, mean = network.standard.deviation.numpy(), network.standard.mean.numpy()
    inside = slice(LENGTH - HOP, HOP)  # of a frame: where no other overlaps
    bare, plain = (sound.reshape(-1, HOP)[:, : HOP - (LENGTH - HOP)] for sound in (bare, plain))
    assert np.ptp(deviation[inside]) > 0.01 * deviation.mean()
    restored = bare * deviation[inside] / np.sqrt(np.mean(deviation**2))
    scale = [
        np.linalg.lstsq(np.stack([restored.ravel(), np.tile(mean[inside], len(bare))], 1), plain.ravel(), rcond=None)
    ]
    assert float(scale[0][1][0]) < 1e-4 * np.square(plain).sum()


def test_a_study_goes_on_where_it_stopped_and_is_not_made_again(kicks, tmp_path, drawn, monkeypatch):
    folder, given = tmp_path / "study", []
    original = Training.train

    def halted(training, options):
        given.append(training.recipe.name)
        return original(training, options) and len(given) < 2

    monkeypatch.setattr(Training, "train", halted)
    assert not make(StudyOptions(kicks, folder, None, SMALL, 3, accelerator="cpu"))
    assert not (folder / "study.json").exists()
    monkeypatch.setattr(Training, "train", original)
    last = folder / "struck" / "runs" / "sequence-samples" / "last.ckpt"
    before = last.stat().st_mtime_ns
    assert make(StudyOptions(kicks, folder, None, SMALL, 3, accelerator="cpu"))
    assert last.stat().st_mtime_ns == before
    assert given == ["sequence-samples", "sequence-fft"]


def test_losses_are_kept_with_the_seconds_of_all_training(kicks, tmp_path, monkeypatch):
    """What is reported after a halt counts on."""
    from timbrel.train.loop import RunOptions, RunStatus

    def trains(training, options):
        training.folder.mkdir(exist_ok=True)
        for step, loss in ((1, 0.9), (2, 0.14)):
            options.on_report(RunStatus(step, 0.5, 2.0, 1.0, 1.0, {"mean_square": loss}))
        return True

    monkeypatch.setattr(Training, "train", trains)
    folder = tmp_path / "run"
    for _ in range(2):
        studying.TimedTraining(load_recipe("sequence-samples"), kicks, folder).train(RunOptions())
    lines = read_losses(folder)
    assert (folder / COURSE).exists()
    assert [(line["step"], line["loss"]) for line in lines] == [(1, 0.9), (2, 0.14)] * 2
    seconds = [line["seconds"] for line in lines]
    assert seconds == sorted(seconds)
    assert read_losses(tmp_path) == []


def test_an_error_is_reached_when_a_loss_first_is_as_small():
    course = [{"seconds": n / 2, "step": n, "loss": loss} for n, loss in enumerate((1.0, 0.2, 0.15, 0.3, 0.04))]
    assert target_times(course) == [[1.0, 2], [2.0, 4], None]


def test_rows_are_medians_over_recordings_the_highest_rise_and_the_worst_recording():
    row = {"recipe": "a", "restored": True, "seed": 1, "recording_db": -20.0}
    rows = [
        row
        | {"name": name, "correlation": c, "onsets": c, "edges_db": 0.0, "tail_db": [-50.0, last]}
        | {"onset_floors": {"silence": 0.0, "noise": c + 0.05, "another": 0.07}}
        for name, c, last in (("slice", 0.9, -60.0), ("the whole loop", 0.1, -45.0), ("kick", 0.8, -50.0))
    ]
    (one,) = summed(rows)
    assert (one["correlation"], one["rise_db"], one["tail_db"]) == (0.8, 5.0, -30.0)
    assert (one["worst"], one["worst_onsets"]) == ("the whole loop", 0.1)
    assert one["worst_floor"] == ["noise", pytest.approx(0.15)]


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"recipes": ["grain-plain"], "changes": []}, "is of family 'grain', this study compares 'sequence'"),
        ({"more": True}, "two --corpus have one name"),
        ({"changes": ["network.size=0"]}, "network.size"),
    ],
)
def test_what_cannot_be_compared_is_refused_in_one_line_and_nothing_is_made(kicks, tmp_path, changed, words):
    fields = {"recipes": None, "changes": SMALL, "more": False} | changed
    with pytest.raises(UserError) as error:
        make(
            StudyOptions(
                kicks,
                tmp_path / "study",
                fields["recipes"],
                fields["changes"],
                1,
                accelerator="cpu",
                more=[kicks] * fields["more"],
            )
        )
    assert words in str(error.value)
    assert len(str(error.value).splitlines()) == 1
    assert not (tmp_path / "study").exists()


def test_pictures_have_a_row_for_each_way_and_the_errors_to_be_reached():
    networks = [{"name": name, "course": [[1.0, 0.5], [2.0, 0.1]]} for name in ("a", "b")]
    axes = losses("kicks", networks, (0.15, 0.01)).draw(picture.LIGHT).axes[0]
    assert [line.get_label() for line in axes.lines[:2]] == ["a", "b"]
    assert [float(line.get_ydata()[0]) for line in axes.lines[2:]] == [0.15, 0.01]
    sound = np.random.default_rng(0).standard_normal(3000).astype(np.float32)
    continued = {("sequence-fft", restored, seed): [sound] for restored in (True, False) for seed in (1, 4)}
    pictures = waveforms("kicks", [sound[:2000], sound[:1000]], continued, RATE)
    assert [one.name for one in pictures] == ["kicks-from-1", "kicks-beyond", "kicks-from-4"]
    rows = [axes.get_ylabel() for axes in pictures[1].draw(picture.DARK).axes]
    assert rows == ["recording", "fft", "fft\nunrestored"]


def test_the_command_takes_several_corpora_and_its_own_options(timbrel, kicks, tmp_path, monkeypatch):
    refused = timbrel("study", "sequence", "--corpus", kicks, "--corpus", kicks, "-o", tmp_path / "s", "--steps", 1)
    assert (refused.status, "two --corpus have one name" in refused.err) == (2, True)
    other = timbrel("study", "sequence", "--corpus", kicks, "-o", tmp_path / "s", "--seeds", 1)
    assert other.status == 2
    assert other.err.startswith("timbrel: No such option: --seeds")
