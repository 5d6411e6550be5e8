"""The study of recovery makes the publication's tables and figures, goes on where it was, and says what it lacks."""

import json

import numpy as np
import pytest
import scipy.stats
from timbrel.export import export as exporting
from timbrel.export.recovery import search
from timbrel.export.recovery.search import SearchOptions, SearchStage
from timbrel.export.study import recovery_rows
from timbrel.export.study.recovery import PUBLISHED, RecoveryStudyOptions, study
from timbrel.export.study.recovery_rows import FURTHER, ROWS, TABLES, RecoveryBench, draw_codes
from timbrel.export.study.runs import Training
from timbrel.host.kinds.card_fields import UniformPrior
from timbrel.host.model.model import Model
from timbrel.host.preset.shipped import shipped_models
from timbrel.host.progress import Display
from timbrel.train.corpus.store import writing

from ..undrawn import undrawn
from .words import INVERT, word

SMALL = [
    *(f"invert:{change}" for change in [*INVERT, "training.steps=3"]),
    *("tuned-clip:training.steps=2", "tuned-clip:network.components=8", "tuned-clip:network.hidden=16"),
    *("tuned-clip:network.latents=4", "tuned-clip:training.batch_size=4"),
]
SHORT = [SearchStage(2, 4, 2), SearchStage(2, 1, 1)]


@pytest.fixture(scope="module", autouse=True)
def quick(trace_of):
    """Searches of a few steps, and models whose loudness is not measured."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(exporting, "model_loudness_lufs", lambda model: -20.0)
        patch.setattr(exporting, "trace", trace_of)
        patch.setattr(search, "EVALUATIONS", 3)
        patch.setattr(search, "RANDOM_CODES", 4)
        patch.setattr(search, "RESTARTS", 1)
        patch.setattr(recovery_rows, "SearchOptions", lambda **given: SearchOptions(stages=SHORT, starts=2, **given))
        patch.setattr(recovery_rows, "SLOPES", 3)
        undrawn(patch)
        yield


@pytest.fixture(scope="module")
def asked(words, tmp_path_factory):
    folder = tmp_path_factory.mktemp("study") / "study"
    return RecoveryStudyOptions(
        words / "corpus", folder, words / "labelled", words / "judge", SMALL, seeds=2, clips=4, accelerator="cpu"
    )


@pytest.fixture(scope="module")
def made(asked, quick):
    with Display() as display:
        assert study(asked, display)
    return json.loads((asked.folder / "study.json").read_text())


def test_all_rows_of_both_tables_are_there_with_deviations_beside_the_publications(made, asked):
    assert made["tables"].keys() == set(TABLES)
    for table, rows in made["tables"].items():
        assert list(rows) == [*ROWS, *FURTHER]
        for row in rows.values():
            assert {"inception_score", "mse", "ssim", "accuracy", "seconds"} <= row.keys()
            assert all(len(values) == 2 and np.isfinite(values).all() for values in row.values())
        assert rows["asked"]["mse"] == [0, 0]
        assert rows["asked"]["ssim"] == [1, 0]
        assert ("found_again" in rows["network"]) == (table == "generated")
    page = (asked.folder / "index.html").read_text()
    for table in PUBLISHED.values():
        for row in table.values():
            assert all(f"{value:.4g}".lstrip("0")[:4] in page for key, value in row.items() if key == "ssim")
    for number in (2, 3):
        assert f"figure-{number}-spectrograms" in page
        assert list(asked.folder.glob(f"figure-{number}-waveforms*"))


def test_rows_that_were_measured_are_not_measured_again(made, asked, monkeypatch):
    def measured(self, *arguments):
        raise AssertionError(arguments)

    monkeypatch.setattr(RecoveryBench, "measured", measured)
    monkeypatch.setattr(Training, "train", lambda *arguments: pytest.fail("trained again"))
    with Display() as display:
        assert study(asked, display)
    assert json.loads((asked.folder / "study.json").read_text()) == made


def test_searches_of_the_true_code_find_it(asked, made, words):
    rows = made["tables"]["generated"]
    assert rows["asked"]["found_again"][0] >= 0.75
    assert rows["least-squares"]["mse"][0] <= rows["network"]["mse"][0] * 1.5


def test_a_study_that_is_stopped_says_so(asked, words, tmp_path, monkeypatch):
    monkeypatch.setattr(Training, "train", lambda *arguments: False)
    with Display() as display:
        assert not study(RecoveryStudyOptions(**{**asked.__dict__, "folder": tmp_path / "study"}), display)


@pytest.fixture(scope="module")
def spoken(tmp_path_factory):
    """A corpus of words by formula that claim to be digits, at the rate of digits-spoken."""
    path = tmp_path_factory.mktemp("spoken") / "corpus"
    with writing(path, 8000) as writer:
        for number in range(4):
            sound, label = word(number), str(number % 2)
            track = np.full(-(-len(sound) // 1024), np.nan, np.float32)
            writer.append(sound, track, name=f"{number}", group=f"{number}", label=label)
        splits = {clip.name: "train" if number > 1 else "test" for number, clip in enumerate(writer.clips)}
        writer.finish(splits, name="spoken")
    return path


@pytest.mark.slow
def test_a_model_that_is_there_has_its_tables_and_our_search_finds_its_codes(spoken, words, tmp_path, monkeypatch):
    monkeypatch.setattr(search, "EVALUATIONS", 60)
    model = Model(shipped_models()["digits-spoken"])
    asked = RecoveryStudyOptions(spoken, tmp_path / "study", model, words / "judge", [], seeds=1, clips=4)
    with Display() as display:
        assert study(asked, display)
    made = json.loads((asked.folder / "study.json").read_text())
    for rows in made["tables"].values():
        assert list(rows) == list(ROWS)
        assert rows["least-squares"]["spectrogram_mse"][0] < rows["network"]["spectrogram_mse"][0]
    assert made["tables"]["generated"]["least-squares"]["found_again"][0] >= 0.75
    assert made["steps"] == {}
    assert "nothing was trained for it" in (asked.folder / "index.html").read_text()


def test_codes_are_drawn_from_the_prior_within_the_knobs_spans():
    card = Model(shipped_models()["digits-spoken"]).card
    codes = draw_codes(card, 400, np.random.default_rng(0))
    low, high = (np.array([getattr(latent, end) for latent in card.latents]) for end in ("low", "high"))
    assert ((codes >= low) & (codes <= high)).all()
    theirs = scipy.stats.truncnorm(low, high).std()
    assert codes.std(0) == pytest.approx(theirs, rel=0.2)
    uniform = draw_codes(
        card.model_copy(update={"prior": UniformPrior(uniform=(-3, 1))}), 400, np.random.default_rng(0)
    )
    assert (uniform.min(), uniform.max()) == pytest.approx((-3, 1), abs=0.01)


WANTED = "study recovery wants --generator RUN or --model MODEL, one of them"
WRONG = {
    "": "Missing option '--classifier'",
    "--classifier judge": WANTED,
    "--generator labelled --model digits-spoken --classifier judge": WANTED,
    "--model digits-spoken --classifier judge": "--corpus corpus has 16000 Hz, and model 'digits-spoken' 8000",
    "--model gm-chroma-8 --classifier judge": "--model gm-chroma-8 is of kind 'spectrum'; give a model of clips",
    "--generator labelled --classifier labelled": "--classifier labelled is no run of a classifier",
    "--generator judge --classifier judge": "--generator is a run of digits-classifier, which makes no clips of codes",
    "--generator labelled --classifier judge --corpus corpus": "--corpus corpus is one too many; this study takes one",
    "--generator labelled --classifier judge --tables 1": "No such option: --tables",
    "--generator labelled --classifier judge --set gone:a=1": "no recipe of this study is named 'gone'",
}


@pytest.mark.parametrize("line", WRONG)
def test_what_cannot_be_studied_is_refused_in_a_line(words, timbrel, monkeypatch, line):
    monkeypatch.chdir(words)
    ended = timbrel("study", "recovery", "--corpus", "corpus", "-o", "new-study", *line.split())
    assert (ended.status, ended.out) == (2, ""), ended
    assert WRONG[line] in ended.err
    assert not (words / "new-study").exists()


def test_options_of_this_study_are_refused_by_others(words, timbrel, monkeypatch):
    monkeypatch.chdir(words)
    ended = timbrel("study", "gan", "--corpus", "corpus", "-o", "new-study", "--clips", 3)
    assert ended.status == 2
    assert "No such option: --clips" in ended.err
