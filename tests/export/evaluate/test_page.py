"""A report shows what was found and stands whole or not at all; what cannot be evaluated is refused."""

import json
from html.parser import HTMLParser

import matplotlib
import matplotlib.image
import numpy as np
import pytest
import soundfile
from timbrel.export.families import chroma_report
from timbrel.export.reports import report as picture
from timbrel.host import files
from timbrel.host.errors import Failure, UserError
from timbrel.train.families import FAMILIES
from timbrel.train.run import Run

from .runs import Constant, make_run, measured, octave, write_corpus

# ---- the report


class Links(HTMLParser):
    """What a page refers to, and what it says."""

    def __init__(self, text):
        super().__init__()
        self.files, self.words, self.open = [], "", []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.files += [value for name, value in attrs if name in ("src", "srcset", "href")]
        if tag not in ("meta", "img", "source", "br"):
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.words += data


def assert_again_the_same(run, found):
    before = {path.name: path.read_bytes() for path in (run.folder / "report").iterdir()}
    assert measured(Run.open(run.folder)) == found == json.loads(before["report.json"])
    assert {path.name: path.read_bytes() for path in (run.folder / "report").iterdir()} == before


@pytest.mark.parametrize(
    ("recipe", "changes", "shown"),
    [
        ("tuned-2", [], {"square", "embedding", "correlation"}),
        ("chroma-2", ["network.latents=1"], set()),
    ],
)
def test_a_page_shows_the_pictures_beside_it_on_light_and_dark_screens_and_twice_the_same(
    tmp_path, corpus, monkeypatch, recipe, changes, shown
):
    monkeypatch.setattr(picture, "DPI", 40)
    monkeypatch.setattr(chroma_report, "TRAINING_FRAMES", 60)  # so that chance chooses
    monkeypatch.setattr(chroma_report, "TEST_FRAMES", 30)
    run = make_run(tmp_path / "run", corpus, recipe, *changes)
    found = measured(run)
    report = run.folder / "report"
    if recipe == "chroma-2":
        assert_again_the_same(run, found)
    links = Links((report / "index.html").read_text(encoding="utf-8"))
    names = {"reconstructions", "spectrogram", "keys", "histograms", "loss"} | shown
    drawn = {f"{name}{theme}.png" for name in names for theme in ("", "-dark")}
    heard = ["source.wav", "remade.wav"]
    assert links.files.index("report.json") > max(map(links.files.index, heard))  # one begins by listening
    assert links.words.index("Listen") < links.words.index("Figures") < links.words.index("Research")
    assert set(links.files) == drawn | {"report.json", *heard}
    told = {"embedding.json"} & {f"{name}.json" for name in shown}
    assert {path.name for path in report.iterdir()} == drawn | told | {"report.json", "index.html", *heard}
    assert not links.open
    assert found["verdict"] in links.words
    for name in names:
        light, dark = (matplotlib.image.imread(report / f"{name}{theme}.png") for theme in ("", "-dark"))
        assert light.shape == dark.shape
        assert light[0, 0, :3].min() > 0.9 > 0.2 > dark[0, 0, :3].max()
        assert light.std() > 0.02


@pytest.mark.usefixtures("no_pictures")
def test_names_that_look_like_markup_are_shown_as_they_are(tmp_path):
    folder = write_corpus(tmp_path / "corpus", octave("train"), name='<b>"Tom & Jerry"</b>')
    run = make_run(tmp_path / "run", folder)
    measured(run)
    text = (run.folder / "report" / "index.html").read_text()
    assert "<b>" not in text
    assert '<b>"Tom & Jerry"</b>' in Links(text).words


@pytest.mark.usefixtures("no_pictures")
def test_a_new_report_replaces_all_of_the_old(tuned):
    old = tuned.folder / "report"
    old.mkdir()
    (old / "stray.png").touch()
    measured(tuned)
    assert sorted(path.name for path in old.iterdir()) == ["index.html", "remade.wav", "report.json", "source.wav"]
    assert not [path for path in tuned.folder.iterdir() if path.name.startswith(".")]


@pytest.mark.parametrize(
    ("error", "told"),
    [(OSError(28, "No space left on device"), Failure), (RuntimeError("a bug"), RuntimeError)],
)
def test_an_old_report_survives_a_failure_and_nothing_else_is_left(tuned, monkeypatch, error, told):
    old = tuned.folder / "report"
    old.mkdir()
    (old / "index.html").write_text("the old one")

    def fail(self, folder):
        raise error

    monkeypatch.setattr(picture.Picture, "save", fail)
    before = sorted(path.name for path in tuned.folder.iterdir())
    with pytest.raises(told, match=r"No space left on device; what was there is kept|a bug"):
        measured(tuned)
    assert sorted(path.name for path in tuned.folder.iterdir()) == before
    assert (old / "index.html").read_text() == "the old one"


@pytest.mark.usefixtures("no_pictures")
def test_an_old_report_survives_when_the_new_one_cannot_take_its_place(tuned, monkeypatch):
    old = tuned.folder / "report"
    old.mkdir()
    (old / "index.html").write_text("the old one")
    rename = type(old).rename

    def refuse(self, target):
        if self.name == "new":
            raise OSError(5, "Input/output error")
        return rename(self, target)

    monkeypatch.setattr(type(old), "rename", refuse)
    with pytest.raises(Failure, match="Input/output error"):
        measured(tuned)
    assert (old / "index.html").read_text() == "the old one"


# ---- what cannot be evaluated


def one_line(error):
    assert "\n" not in str(error.value)
    return str(error.value)


def test_a_run_without_checkpoint_is_refused(tuned):
    tuned.best.unlink()
    tuned.last.unlink()
    with pytest.raises(UserError) as error:
        measured(tuned)
    assert "has no checkpoint" in one_line(error)


def test_a_corpus_that_was_moved_away_is_named(tmp_path):
    folder = write_corpus(tmp_path / "corpus", octave("train"))
    run = make_run(tmp_path / "run", folder)
    folder.rename(tmp_path / "elsewhere")
    with pytest.raises(UserError) as error:
        measured(run)
    assert f"corpus {folder} does not exist" in one_line(error)


def test_a_corpus_that_fell_silent_is_refused(tmp_path):
    folder = write_corpus(tmp_path / "corpus", octave("train"), silent=True)
    run = make_run(tmp_path / "run", folder)
    with pytest.raises(UserError) as error:
        measured(run)
    assert "no training frame that sounds" in one_line(error)


def test_a_folder_that_cannot_be_written_is_refused(tuned, monkeypatch):
    def refuse(path):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(files, "_new_folder", refuse)
    with pytest.raises(UserError) as error:
        measured(tuned)
    assert f"cannot write {tuned.folder / 'report'}: Permission denied" in one_line(error)


@pytest.mark.usefixtures("no_pictures")
def test_the_two_sounds_of_a_report_are_at_one_gain_and_none_clips(tmp_path, monkeypatch):
    folder = write_corpus(tmp_path / "corpus", octave("train"))
    monkeypatch.setattr(
        chroma_report, "resynthesised", lambda *_: (np.float32([0.5, -0.25] * 50), np.float32([4.0, -2.0] * 50))
    )
    run = make_run(tmp_path / "run", folder)
    found = measured(run)
    source, remade = (soundfile.read(run.folder / "report" / name)[0] for name in found["sounds"])
    assert np.abs(remade).max() == pytest.approx(0.98, abs=1e-6)
    assert source == pytest.approx(remade / 8, abs=1e-6)


@pytest.mark.usefixtures("no_pictures")
def test_a_page_says_what_its_report_lacks(tmp_path):
    folder = write_corpus(tmp_path / "corpus", [("train", note, 0.5) for note in range(36, 48)])
    run = make_run(tmp_path / "run", folder)
    found = measured(run)
    text = Links((run.folder / "report" / "index.html").read_text(encoding="utf-8")).words
    assert any("moved an octave up" in line for line in found["shortcomings"])
    assert any("learned nothing" in line for line in found["shortcomings"])  # it was never trained
    assert all(line in text for line in found["shortcomings"])


@pytest.mark.filterwarnings("error")
def test_a_dead_network_is_drawn_too(tuned, monkeypatch):
    monkeypatch.setattr(FAMILIES["chroma"], "network", Constant)
    measured(tuned)
    names = {path.stem for path in (tuned.folder / "report").glob("*.png")}
    assert {"embedding", "histograms", "correlation"} <= names
    assert "square" not in names
