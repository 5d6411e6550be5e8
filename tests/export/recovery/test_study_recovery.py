"""The study of recovery makes the publication's tables and figures, goes on where it was, and says what it lacks."""

import json
import re
import statistics

import numpy as np
import pytest
import scipy.stats
from timbrel.export import export as exporting
from timbrel.export.measures.floors import compare_row
from timbrel.export.recovery import search
from timbrel.export.recovery.search import CodeSearcher, SearchOptions, SearchStage
from timbrel.export.study import recovery, recovery_rows
from timbrel.export.study.recovery import PUBLISHED, RecoveryStudyOptions, study
from timbrel.export.study.recovery_rows import (
    CODE_SCALE,
    FAST_ROWS,
    FURTHER,
    JUDGES,
    ROWS,
    TABLES,
    RecoveryBench,
    RecoverySize,
    correlations_of,
    deviation_of,
    draw_codes,
)
from timbrel.export.study.runs import Training
from timbrel.host.errors import UserError
from timbrel.host.kinds.card_fields import UniformPrior
from timbrel.host.model.model import Model
from timbrel.host.preset.shipped import shipped_models
from timbrel.host.progress import Display
from timbrel.train.corpus.store import Corpus, writing
from timbrel.train.families.recipes import load_recipe
from timbrel.train.launch import start
from timbrel.train.run import Run, trained

from ..undrawn import undrawn
from .words import CPU, INVERT, JUDGE, RATE, word

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
        patch.setattr(recovery_rows, "ONE_START", SearchStage(2, 1, 1))
        patch.setattr(recovery_rows, "SLOPES", 3)
        patch.setattr(recovery_rows, "FAST_SOUNDS", 12)
        undrawn(patch)
        yield


@pytest.fixture(scope="module")
def asked(words, judges, tmp_path_factory):
    folder = tmp_path_factory.mktemp("study") / "study"
    return RecoveryStudyOptions(
        words / "corpus", folder, words / "labelled", judges, SMALL, seeds=2, clips=4, accelerator="cpu"
    )


@pytest.fixture(scope="module")
def judges(words, tmp_path_factory):
    """The runs of two classifiers; the second one is untrained."""
    other = tmp_path_factory.mktemp("judges") / "other"
    recipe = load_recipe("digits-classifier", [*JUDGE, f"frames.sample_rate={RATE}", "training.seed=5"])
    start(recipe, words / "corpus", other, CPU)
    return [words / "judge", other]


@pytest.fixture(scope="module")
def made(asked, quick):
    with Display() as display:
        assert study(asked, display)
    return json.loads((asked.folder / "study.json").read_text())


def test_all_rows_of_both_tables_are_there_with_deviations_beside_the_publications(made, asked):
    assert made["tables"].keys() == set(TABLES)
    for table, rows in made["tables"].items():
        assert list(rows) == [*ROWS, *FURTHER]
        for name, row in rows.items():
            assert {"mse", "ssim", "accuracy", "second_accuracy", "seconds"} <= row.keys()
            numbers = {key: figure for key, figure in row.items() if "score" in key or key == "sounds"}
            means = [figure for key, figure in row.items() if key not in numbers]
            assert all(len(values) == 2 and np.isfinite(values).all() for values in means)
            # Two seeds share the four recordings; of generated sounds, rows without a search have more.
            assert numbers.pop("sounds") == (4 if table == "recorded" else 12 if name in FAST_ROWS else 8)
            assert len(numbers) == 4
            assert all(1 <= score <= 2 for score in numbers.values())
            if name == "asked" and table == "recorded":
                assert numbers["inception_score"] == numbers["recorded_score"]
        assert rows["asked"]["mse"] == [0, 0]
        assert rows["asked"]["ssim"] == [1, 0]
        assert ("found_again" in rows["network"]) == (table == "generated")
    page = (asked.folder / "index.html").read_text()
    for table in PUBLISHED.values():
        for row in table.values():
            assert all(f"{value:.4g}".lstrip("0")[:4] in page for key, value in row.items() if key == "ssim")
    assert "7.93" in page
    assert not re.search(r"± (7\.23|9\.20|7\.93)", page)  # the publication's scores are no deviations
    for number in (2, 3):
        assert f"figure-{number}-spectrograms" in page
        assert list(asked.folder.glob(f"figure-{number}-waveforms*"))


def test_latents_of_the_studys_models_are_not_named_as_nobody_plays_them(made, asked):
    latents = Model(asked.folder / "models" / "invert.onnx").card.latents
    assert [(latent.name, latent.unnamed) for latent in latents] == [(f"latent {index}", "") for index in range(5)]


def test_rows_stand_beside_floors_of_their_own_sounds(made, asked):
    for table, rows in made["floors"].items():
        assert list(rows) == [row for row in [*ROWS, *FURTHER] if row != "asked"]
        files = sorted(asked.folder.glob(f"found/*-{table}-*-asked.npz"))
        assert len(files) == asked.seeds
        sounds = [np.load(file)["sounds"] for file in files]
        for name, row in rows.items():
            for measure, floored in row.items():
                value, spread = made["tables"][table][name][measure]
                assert (floored["value"], floored["deviation"]) == pytest.approx((value, spread))
            own = np.concatenate(sounds)
            if name not in FAST_ROWS:
                own = np.concatenate([seed_sounds[: asked.clips] for seed_sounds in sounds])
            assert len(own) == made["tables"][table][name]["sounds"]
            silence = np.square(own, dtype=np.float64).mean()
            assert row["mse"]["floors"]["silence"] == pytest.approx(silence, rel=1e-5)
            for prefix in JUDGES:
                assert 0 < row[f"{prefix}accuracy"]["floors"]["chance"] <= 1
            assert ("found_again" in row) == (table == "generated" and name != "tuned-clip")
        if table == "generated":
            assert set(rows["network"]["found_again"]["floors"]) == {"silence", "noise", "another", "mean"}
            assert rows["network"]["found_again"]["floors"]["silence"] == 0
        assert rows["network"]["ssim"]["rises"]
    assert "not better than" in (asked.folder / "index.html").read_text()


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


def test_codes_are_found_again_from_a_correlation_on_and_constant_ones_never():
    codes, originals = np.random.default_rng(0).standard_normal((2, 6, 9))
    wanted = [np.corrcoef(*pair)[0, 1] for pair in zip(codes, originals, strict=True)]
    assert correlations_of(codes, originals) == pytest.approx(wanted)
    assert correlations_of(np.full((2, 9), 0.3), originals[:2]) == pytest.approx([0, 0])
    near = originals + 0.01 * codes
    assert CODE_SCALE.terms(originals, np.concatenate([near[:2], codes[2:]])).tolist() == [True, True] + 4 * [False]


def test_a_study_that_is_stopped_says_so(asked, words, tmp_path, monkeypatch):
    monkeypatch.setattr(Training, "train", lambda *arguments: False)
    with Display() as display:
        assert not study(RecoveryStudyOptions(**{**asked.__dict__, "folder": tmp_path / "study"}), display)


@pytest.fixture(scope="module")
def plain(words, judges, inverted_model):
    """A bench of a generator without labels."""
    opened = [trained(Run.open(folder), "best")[0] for folder in judges]
    return RecoveryBench(Corpus.open(words / "corpus"), Model(inverted_model("plain")), opened, RecoverySize(2, 2))


def test_of_a_generator_without_labels_recordings_have_their_own_and_generated_sounds_the_judges(plain, words):
    corpus, heard = Corpus.open(words / "corpus"), []
    for seed in range(2):
        row = plain.measured("recorded", "network", seed)
        heard += [tuple(target) for target in plain.targets("recorded", seed).sounds]
        assert sorted(row.words) == ["la", "sh"] or len(set(row.words)) == 1
        told = np.array(plain._judges[0].words)[row.posteriors.argmax(2)]
        assert (row.right == (told == row.words)).all()
        assert row.right.shape == (2, 2)
    test_labels = [clip.label for clip in corpus.clips("test")]
    assert sorted([word for seed in range(2) for word in plain.targets("recorded", seed).words]) == sorted(test_labels)
    assert len(set(heard)) == 4  # no recording twice
    asked = plain.measured("generated", "asked", 0)
    assert asked.right.all()
    assert set(asked.words) == {""}
    row = plain.measured("generated", "network", 0)
    assert (row.right == (row.posteriors.argmax(2) == asked.posteriors.argmax(2))).all()


def test_a_score_stands_beside_that_of_as_many_recordings(plain, monkeypatch):
    seen = []
    monkeypatch.setattr(plain, "_posteriors", lambda sounds: seen.append(len(sounds)) or np.zeros((2, len(sounds), 2)))
    assert plain._of_recordings(5).shape == (2, 5, 2)
    assert plain._of_recordings(7).shape == (2, 7, 2)
    assert seen == [16]  # all recordings of both parts, judged once


def test_rows_are_measured_again_for_another_judge_or_model(plain, words, inverted_model):
    def stamp(*judges, row="network"):
        bench = RecoveryBench(Corpus.open(words / "corpus"), plain._model, judges, RecoverySize(1, 2))
        return bench.stamp("generated", row)

    first, second = plain._judges
    stamps = {stamp(first), stamp(second), stamp(first, second)}
    assert len(stamps) == 3
    assert stamp(first) in stamps
    further = dict.fromkeys(FURTHER, Model(inverted_model("labelled")))
    with_models = RecoveryBench(
        Corpus.open(words / "corpus"), plain._model, [first], RecoverySize(1, 2), further=further
    )
    assert with_models.stamp("generated", "network") in stamps
    assert with_models.stamp("generated", "network-codes") not in stamps


def test_rows_of_recordings_are_measured_again_for_other_recordings(plain, words, monkeypatch):
    corpus, seeds = Corpus.open(words / "corpus"), (1, 2)

    def stamps(table):
        return [
            RecoveryBench(corpus, plain._model, plain._judges, RecoverySize(count, 2)).stamp(table, "network")
            for count in seeds
        ]

    assert len(set(stamps("generated"))) == 1
    first, second = stamps("recorded")
    assert first != second
    before = [stamps(table)[0] for table in TABLES]
    monkeypatch.setattr(Corpus, "clips_digest", lambda self: "another")
    assert [stamps(table)[0] == stamp for table, stamp in zip(TABLES, before, strict=True)] == [True, False]


def test_deviations_over_seeds_are_those_of_samples():
    assert deviation_of([1.0, 2.0, 4.0]) == pytest.approx(statistics.stdev([1.0, 2.0, 4.0]))
    assert deviation_of([3.0]) == 0.0


def test_the_published_search_has_one_start_and_no_pooling(plain, monkeypatch):
    seen = []
    monkeypatch.setattr(CodeSearcher, "gradient", lambda self, sounds: seen.append(self.options) or [])
    monkeypatch.setattr(plain, "_decoded", lambda results: (np.zeros((2, 16384), np.float32), None))
    for row in ("gradient-one", "gradient"):
        plain.measured("recorded", row, 0)
    assert [(options.starts, [stage.pooled for stage in options.stages]) for options in seen] == [
        (1, [1]),
        (2, [stage.pooled for stage in SHORT]),
    ]


def test_more_seeds_than_recordings_are_refused(plain, words):
    with pytest.raises(UserError, match=re.escape("has 4 recordings in its test split with a label such as la, sh")):
        RecoveryBench(Corpus.open(words / "corpus"), plain._model, plain._judges, RecoverySize(5, 2))


def told(labels, network, hybrid, chance=0.1):
    """Figures for a verdict: shares by each judge, with their floor."""
    rows = {
        name: {f"{prefix}accuracy": [share, 0.0] for prefix, share in zip(JUDGES, shares, strict=False)}
        for name, shares in (("network", network), ("hybrid", hybrid))
    }
    asked = {"inception_score": 4.123, "recorded_score": 9.5}
    floored = {
        name: {
            measure: compare_row(
                {"label": measure, "rises": True, "floors": {"chance": chance}, "references": {}, "numbers": 2}, *value
            )
            for measure, value in row.items()
        }
        for name, row in rows.items()
    }
    return {
        "generator": {"labels": labels},
        "rows": ROWS,
        "tables": {"recorded": rows, "generated": {"asked": asked}},
        "floors": {"recorded": floored},
    }


@pytest.mark.parametrize(
    ("labels", "network", "hybrid", "verdict"),
    [
        (
            0,
            [0.61, 0.6],
            [0.4, 0.3],
            "keeps 61% and 60% of the digits of recordings, the hybrid search 40% and 30%: it",
        ),
        (0, [0.61, 0.6], [0.4, 0.7], "it does not lose digits"),
        (0, [0.61, 0.59], [0.4, 0.3], "Not testable here: the network keeps 61% and 59% of the digits"),
        (0, [0.59, 0.61], [0.4, 0.3], "The generator's inception score is 4.12, that of as many recordings 9.50."),
        (0, [0.7], [0.4], "By one classifier: a second --classifier tells more."),
        (10, [0.9, 0.9], [0.4, 0.3], "Not testable here: the generator has labels"),
    ],
)
def test_the_claim_is_tested_where_the_network_keeps_the_digits_by_each_judge(labels, network, hybrid, verdict):
    assert verdict in recovery._verdict(told(labels, network, hybrid))


@pytest.mark.parametrize(
    ("labels", "network", "hybrid", "start", "end"),
    [
        (0, [0.7, 0.7], [0.4, 0.1], f"{ROWS['hybrid']}: second_accuracy: not better than chance. No", "drawn from it."),
        (0, [0.1, 0.7], [0.4, 0.4], f"{ROWS['network']}: accuracy: not better than chance. Not testable", " 9.50."),
        (10, [0.9, 0.1], [0.4, 0.3], f"{ROWS['network']}: second_accuracy: not better than chance. Not test", "30%)."),
    ],
)
def test_rows_that_keep_no_more_digits_than_their_floor_come_first_and_give_no_verdict(
    labels, network, hybrid, start, end
):
    verdict = recovery._verdict(told(labels, network, hybrid))
    assert verdict.startswith(f"Of recordings, {start}")
    assert verdict.endswith(end)
    assert "lose digits" not in verdict
    assert "loses digits" not in verdict


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
    asked = RecoveryStudyOptions(spoken, tmp_path / "study", model, [words / "judge"], [], seeds=1, clips=6)
    with Display() as display:
        assert study(asked, display)
    made = json.loads((asked.folder / "study.json").read_text())
    for rows in made["tables"].values():
        assert list(rows) == list(ROWS)
        assert rows["least-squares"]["spectrogram_mse"][0] < rows["network"]["spectrogram_mse"][0]
    assert made["tables"]["generated"]["least-squares"]["found_again"][0] >= 0.5
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
    "--generator labelled --classifier judge --classifier labelled": "--classifier labelled is no run of a classifier",
    "--generator plain --classifier judge --classifier judge --classifier judge": "--classifier judge is one too many",
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
