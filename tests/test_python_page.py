"""The examples of docs/python.md and its notebook run as they are printed."""

import re
import shutil
from pathlib import Path

import nbformat
import numpy as np
import pytest
import timbrel
from nbclient import NotebookClient
from timbrel.host.preset.shipped import MIDI

PAGE = Path(__file__).parents[1] / "docs" / "python.md"
NOTEBOOK = PAGE.with_name("oboe.ipynb")
BLOCKS = re.findall(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)


def run(blocks: list[str], **names: object) -> dict[str, object]:
    for block in blocks:
        exec(block, names)
    return names


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    shutil.copyfile(MIDI / "digits-keys.mid", "tune.mid")
    timbrel.open("gm-oboe").render([timbrel.Note(60)]).save("oboe.wav")
    return tmp_path


def test_the_examples_run(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = run([block for block in BLOCKS if not re.search(r"timbrel\.(make|play|train_recipe)\(", block)])
    assert (folder / "tune.flac").exists()
    assert found["sound"].sample_rate == 44100
    assert "[" in capsys.readouterr().out


def test_the_live_example_runs_where_there_is_no_card(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    [block] = [block for block in BLOCKS if "timbrel.play" in block]
    played = block.replace("timbrel.play(oboe)", "timbrel.play(oboe, null=True)")
    assert played != block
    run([played], timbrel=timbrel, oboe=timbrel.open("gm-oboe"))
    assert "{" in capsys.readouterr().out


def test_the_page_promises_what_the_package_offers() -> None:
    promised = PAGE.read_text(encoding="utf-8")
    assert all(f"`{name}`" in promised or f"timbrel.{name}" in promised for name in timbrel.__all__)


def test_the_notebook_runs_and_shows_its_sounds() -> None:
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    NotebookClient(notebook, timeout=600, resources={"metadata": {"path": PAGE.parent}}).execute()
    shown = [output for cell in notebook.cells for output in cell.get("outputs", [])]
    pages = [str(output.get("data", {}).get("text/html", "")) for output in shown]
    assert sum("<audio" in page for page in pages) == 3
    assert any("brightness" in page for page in pages)


def test_the_lines_of_the_five_jobs_are_those_that_the_page_counts(folder: Path) -> None:
    jobs = [block for block in BLOCKS if re.match(r"# \d\. ", block)]
    counted = re.findall(r"^\| (\d) \| (\d), ", PAGE.read_text(encoding="utf-8"), re.MULTILINE)
    assert [(str(place), str(len(job.splitlines()) - 1)) for place, job in enumerate(jobs, 1)] == counted
    found = run(jobs, timbrel=timbrel, np=np, oboe=timbrel.open("gm-oboe"))
    assert (folder / "1.wav").exists()
    assert [sound.shape for sound in found["sounds"]] == [(2, 44_100)] * 24
    assert found["swell"].shape == (2, 88_200)
    assert len(found["pairs"]) == 64
    assert all(len(code) == 8 and sound.shape == (1, 44_100) for sound, code in found["pairs"])


@pytest.mark.slow
def test_the_steps_of_make_run_as_the_page_has_them(tones: Path, folder: Path) -> None:
    [block] = [block for block in BLOCKS if "timbrel.train_recipe" in block]
    shutil.copytree(tones, "recordings")
    short = block.replace("minutes=5", "minutes=0.05")
    assert short != block
    run([short], timbrel=timbrel)
    assert timbrel.open("flute.onnx").kind == "partials"
    assert (folder / "run/report/index.html").exists()
