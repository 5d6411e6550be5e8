"""The study of chroma measures what it says, judges claims by it, goes on where it was, and refuses what cannot do."""

import itertools
import json
import os
import re
import signal

import numpy as np
import pytest
import torch
from timbrel.export.measures import codes as latent_statistics
from timbrel.export.study import chroma, chroma_corpora
from timbrel.export.study.chroma_claims import CLAIMS
from timbrel.host.errors import UserError
from timbrel.host.progress import Display
from timbrel.host.units import PITCH_CLASSES
from timbrel.train import loop
from timbrel.train.corpus.store import Corpus, writing
from timbrel.train.families.recipes import load_recipe
from timbrel.train.run import Run, trained

from .chroma_studies import C_MAJOR, FRAME, HOP, RATE, SIDES, SMALL, make, report_of, study_options, write_corpus
from .undrawn import undrawn


@pytest.fixture(scope="module")
def octave(tmp_path_factory):
    return write_corpus(tmp_path_factory.mktemp("corpora") / "octave")


def files_of(folder):
    return {path.relative_to(folder): path.stat().st_mtime_ns for path in folder.rglob("*") if path.is_file()}


def one_line(error):
    assert len(str(error.value).splitlines()) == 1
    return str(error.value)


@pytest.fixture(autouse=True)
def no_pictures(monkeypatch):
    undrawn(monkeypatch)


@pytest.fixture(scope="module")
def made(octave, tmp_path_factory):
    """A study of most tables, of the shortest form, made once and only looked at."""
    folder = tmp_path_factory.mktemp("studies") / "study"

    with pytest.MonkeyPatch.context() as patch:
        undrawn(patch)
        patch.setitem(chroma.TABLES, "5", (("octave", "chroma-2"), ("octave", "tuned-2")))
        given = study_options({"octave": octave}, folder, ["1", "2", "4", "5", "vae"])
        assert make(given)
    return folder


# ---- the whole


def test_every_row_is_trained_once_and_the_tuned_recipes_stand_beside_the_papers(made):
    found = report_of(made)
    names = ["chroma-2-lrelu-noskip", "chroma-2-lrelu", "chroma-2-noskip", "chroma-2", "tuned-2"]
    assert found["tables"]["2"] == [["octave", name] for name in names]
    rows = {tuple(row) for rows in found["tables"].values() for row in rows}
    assert sorted((run["corpus"], run["recipe"]) for run in found["runs"]) == sorted(rows)
    assert all(any("tuned" in name for _, name in rows) for rows in found["tables"].values())


def test_what_lacks_its_corpus_is_left_out_and_said_so(made):
    found = report_of(made)
    assert "1" not in found["tables"]
    assert found["left_out"] == [
        "table 1 is left out: it is on five-octaves, and --corpus five-octaves= is not given",
        "table 4 lacks its rows on violin, and --corpus violin= is not given",
    ]
    assert "able 1 is left out" in (made / "report" / "index.html").read_text(encoding="utf-8")
    assert any("three augmentations" in sentence for sentence in found["undecided"])


def test_all_that_the_page_refers_to_is_there_and_every_claim_has_its_verdict(made):
    html = (made / "report" / "index.html").read_text(encoding="utf-8")
    targets = set(re.findall(r'(?:src|href|srcset)="([^"]+)"', html))
    assert {"figure-2.png", "figure-4-dark.png", "figure-4-tuned.png", "report.json"} < targets
    assert all((made / "report" / target).exists() for target in targets)
    found = report_of(made)
    assert len(found["claims"]) + len(found["undecided"]) == len(CLAIMS)
    assert len(re.findall(r"<tr><td>(?:held|did not hold|within deviation|not better than a floor)</td>", html)) == len(
        found["claims"]
    )
    assert "orderings are compared" in html


def test_the_error_is_that_of_numpy_over_all_test_frames(made, octave):
    run = Run.open(made / "runs" / "octave-chroma-2-noskip-0")
    network = trained(run, "best")[0]
    corpus = Corpus.open(octave)
    window = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(FRAME) / FRAME)
    frames = []
    for clip in corpus.clips("test"):
        sound = corpus.samples(clip)
        for start in range(0, len(sound) - FRAME + 1, HOP):
            spectrum = np.abs(np.fft.rfft(window * sound[start : start + FRAME]))
            frames.append(spectrum / spectrum.max())
    frames = np.array(frames, np.float32)
    notes = np.round(69 + 12 * np.log2(np.maximum(np.fft.rfftfreq(FRAME, 1 / RATE), 1) / 440)).astype(int)
    energy = np.stack([np.square(frames[:, (notes % 12 == k) & (notes >= 21) & (notes <= 108)]).sum(1)
                       for k in range(12)], 1)  # fmt: skip
    with torch.no_grad():
        one_hot = torch.eye(12)[torch.from_numpy(energy.argmax(1))]
        again = network.decode(network.encode(torch.from_numpy(frames), one_hot), one_hot).numpy()
    found = json.loads((run.folder / "figures.json").read_text())
    assert found["test_frames"] == len(frames)
    assert found["mean_square"] == pytest.approx(np.mean((frames - again) ** 2), rel=1e-4)


def test_accuracies_over_the_mesh_are_those_of_the_network_point_by_point(made):
    run = Run.open(made / "runs" / "octave-chroma-2-0")
    network = trained(run, "best")[0]
    found = json.loads((run.folder / "mesh.json").read_text())["by_pitch_class"]
    points = torch.tensor(list(itertools.product(np.linspace(0, 1, SIDES[2]), repeat=2)), dtype=torch.float32)
    hz = np.fft.rfftfreq(FRAME, 1 / RATE)
    for k, name in enumerate(PITCH_CLASSES):
        if k not in {note % 12 for note in C_MAJOR}:
            assert found[name] is None
            continue
        with torch.no_grad():
            frames = network.decode(points, torch.eye(12)[[k] * len(points)]).numpy().astype(np.float64)
        right = 0
        for frame in frames:
            energy = np.zeros(12)
            for place in np.flatnonzero(hz > 20):
                note = round(69 + 12 * np.log2(hz[place] / 440))
                if 21 <= note <= 108:
                    energy[note % 12] += frame[place] ** 2
            right += energy.argmax() == k and energy.max() > 0
        assert found[name] == pytest.approx(right / len(points), abs=1.01 / len(points))  # a tie may fall either way


def test_what_is_finished_is_not_made_again_and_another_seed_is_added(octave, tmp_path):
    folder = tmp_path / "study"
    given = study_options({"octave": octave}, folder, ["2"])
    assert make(given)
    before = files_of(folder / "runs")
    assert make(given)
    assert files_of(folder / "runs") == before
    assert make(study_options({"octave": octave}, folder, ["2"], seeds=2))
    assert before.items() < files_of(folder / "runs").items()
    found = report_of(folder)
    sides = [side for claim in found["claims"] for pair in claim["compared"] for side in pair.values()]
    networks = [side for side in sides if side["name"].endswith("octave")]
    assert found["seeds"] == 2
    assert all(side["deviation"] is not None for side in networks)
    for side in (side for side in networks if side["name"] == "chroma-2, octave"):
        each = [run for run in found["runs"] if run["recipe"] == "chroma-2"]
        taken = [[run[name] for run in each] for name in ("mean_square", "filled")]
        taken.append([run["latents"]["largest_correlation"] for run in each])
        assert any(side["deviation"] == pytest.approx(abs(a - b) / 2**0.5) for a, b in taken)


def test_a_study_that_was_stopped_goes_on_where_it_was(octave, tmp_path, monkeypatch, capsys):
    folder, step, calls = tmp_path / "study", loop._Loop._step, []
    given = study_options({"octave": octave}, folder, ["2"])
    assert make(study_options({"octave": octave}, tmp_path / "other", ["2"]))
    steps = sum(run["steps"] for run in report_of(tmp_path / "other")["runs"])

    def interrupted(self, done):
        calls.append(1)
        if len(calls) == steps // 2:
            os.kill(os.getpid(), signal.SIGINT)
        return step(self, done)

    monkeypatch.setattr(loop._Loop, "_step", interrupted)
    assert not make(given)
    assert len(calls) == steps // 2
    assert "run the same command again to resume" in capsys.readouterr().err
    assert not (folder / "report").exists()
    done = {path: at for path, at in files_of(folder / "runs").items() if "lrelu-noskip" in str(path)}
    assert make(given)
    assert len(calls) == steps  # not a step was trained twice
    assert done.items() <= files_of(folder / "runs").items()
    stopped, straight = (report_of(folder)["runs"], report_of(tmp_path / "other")["runs"])
    assert [run["mean_square"] for run in stopped] == [run["mean_square"] for run in straight]


def test_progress_rises_over_all_of_the_study_and_tells_the_time_to_its_end(octave, tmp_path, monkeypatch):
    told, stages = [], []
    monkeypatch.setattr(Display, "stage", lambda self, name: stages.append(name))
    monkeypatch.setattr(Display, "update", lambda self, done, note="", left=None: told.append((done, note, left)))
    assert make(study_options({"octave": octave}, tmp_path / "study", ["2"], epochs=2))
    shares = [done for done, *_ in told]
    assert stages == ["study chroma"]
    assert shares == sorted(shares)
    assert 0 <= shares[0] <= shares[-1] <= 1
    assert all(np.isfinite(left) and left >= 0 for *_, left in told)
    assert "octave-tuned-2-0 (5 of 5)" in told[-1][1]


def test_a_network_whose_codes_are_all_one_is_called_dead_and_is_sent_no_mesh(octave, tmp_path, monkeypatch):
    monkeypatch.setattr(latent_statistics, "DEAD", 10.0)
    monkeypatch.setitem(chroma.TABLES, "5", (("octave", "chroma-2"),))
    given = study_options({"octave": octave}, tmp_path / "study", ["2", "5"])
    assert make(given)
    before = files_of(tmp_path / "study" / "runs")
    assert make(given)
    assert files_of(tmp_path / "study" / "runs") == before
    html = (tmp_path / "study" / "report" / "index.html").read_text(encoding="utf-8")
    assert html.count("dead: 1 of 1") == 5
    assert '<td class="number">dead</td>' in html


# ---- corpora


def write_notes(folder, sounds):
    """Clips of notes by key and velocity."""
    with writing(folder, RATE) as writer:
        for (key, velocity), sound in sounds.items():
            track = np.full(-(-len(sound) // 1024), key, np.float32)
            writer.append(sound, track, name=f"{key}/{velocity}", group=str(key), key=key, velocity=velocity, program=4)
        writer.finish({f"{key}/{velocity}": "train" for key, velocity in sounds}, name=folder.name, licence="MIT")
    return Corpus.open(folder)


def test_of_velocities_that_are_copies_the_loudest_is_taken(tmp_path):
    tone = np.sin(np.arange(8192) * 0.1).astype(np.float32)
    copies = {(key, velocity): (gain * tone).round(4) for key in (60, 62) for velocity, gain in ((90, 0.5), (40, 0.1))}
    corpus = write_notes(tmp_path / "copies", copies)
    assert chroma_corpora.has_copies(corpus)
    loudest = chroma_corpora.write_loudest(corpus, tmp_path / "study" / "loudest")
    assert [(clip.key, clip.velocity, clip.split, clip.program) for clip in loudest.clips()] == [
        (60, 90, "train", 4), (62, 90, "train", 4)
    ]  # fmt: skip
    assert (loudest.name, loudest.licence) == ("copies", "MIT")
    np.testing.assert_array_equal(loudest.samples(loudest.clips()[1]), copies[62, 90])
    np.testing.assert_array_equal(loudest.pitch(loudest.clips()[1]), np.full(8, 62))
    again = chroma_corpora.write_loudest(corpus, tmp_path / "study" / "loudest")  # not written twice
    assert len(again.clips()) == 2


@pytest.mark.parametrize("change", ["brighter", "longer", "single"])
def test_velocities_of_their_own_sound_are_kept(tmp_path, change):
    tone = np.sin(np.arange(8192) * 0.1).astype(np.float32)
    other = {"brighter": 0.5 * np.tanh(3 * tone), "longer": np.append(0.5 * tone, [0.0]), "single": tone}[change]
    sounds = {(60, 90): tone, (62, 90): tone, (62, 40): 0.5 * tone}
    sounds |= {} if change == "single" else {(60, 40): other.astype(np.float32)}
    if change == "single":
        del sounds[62, 40]
    assert not chroma_corpora.has_copies(write_notes(tmp_path / "own", sounds))


def test_a_study_trains_on_one_of_velocities_that_are_copies(octave, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(chroma, "has_copies", lambda corpus: True)
    monkeypatch.setitem(chroma.TABLES, "2", (("octave", "chroma-2"),))
    folder = tmp_path / "study"
    given = study_options({"octave": octave}, folder, ["2"])
    assert make(given)
    assert "copies of one waveform" in capsys.readouterr().err
    run = Run.open(folder / "runs" / "octave-chroma-2-0")
    assert run.corpus().folder.resolve() == (folder / "corpora" / "octave").resolve()
    before = files_of(folder / "runs")
    assert make(given)  # goes on with the same corpus
    assert files_of(folder / "runs") == before
    assert report_of(folder)["corpora"]["octave"]["chroma"]["agrees"] > 0.95


def test_a_study_of_copies_that_cannot_be_used_writes_nothing(tmp_path, monkeypatch):
    monkeypatch.setattr(chroma, "has_copies", lambda corpus: True)
    corpus = write_corpus(tmp_path / "unfit", splits=("train", "train"))
    with pytest.raises(UserError, match="has no clip in its part 'val'"):
        make(study_options({"octave": corpus}, tmp_path / "study", ["2"]))
    assert not (tmp_path / "study").exists()


def test_the_agreement_of_chroma_and_pitch_counts_frames_of_tones(octave, tmp_path):
    frames = load_recipe("chroma-2", SMALL).frames
    found = chroma_corpora.chroma_agreement(Corpus.open(octave), frames)
    assert found["agrees"] > 0.95
    assert found["low"] is None
    other = write_corpus(tmp_path / "low", notes=(48, 62))
    rewrite_pitch = Corpus.open(other)
    low = chroma_corpora.chroma_agreement(rewrite_pitch, frames)
    assert low["low_frames"] == low["frames"] / 2  # C3 has 131 Hz, D4 294 Hz


# ---- what cannot be used


@pytest.mark.parametrize(
    ("parse", "text", "words"),
    [
        (chroma.parse_tables, "1,6", "no table is named '6'; choose from 1,2,3,4,5,vae"),
        (chroma.parse_tables, "2,2", "names 2 twice"),
        (chroma.parse_mesh, "350,50", "must be three whole numbers"),
        (chroma.parse_mesh, "350,50,1", "must be three whole numbers"),
        (chroma.parse_mesh, "350,50,x", "must be three whole numbers"),
        (chroma.parse_mesh, "350,50,50", "39062500000000 in all, 10000000 are allowed"),
        (chroma.parse_corpora, ["octav=here"], "did you mean 'octave'?"),
        (
            chroma.parse_corpora,
            ["violin"],
            "must be PART=FOLDER, PART one of octave, five-octaves, violin, flute, "
            "clarinet, bass; such as violin=violin",
        ),
        (chroma.parse_corpora, ["here"], "; such as octave=here"),
        (chroma.parse_corpora, ["octave=a", "octave=b"], "is given twice"),
    ],
)
def test_wrong_options_are_refused_in_one_line(parse, text, words):
    with pytest.raises(UserError) as error:
        parse(text)
    assert words in one_line(error)


@pytest.mark.parametrize(
    ("corpus", "tables", "changes", "words"),
    [
        ({"pitched": False}, ["2"], [], "must say which notes sound"),
        ({"splits": ["train"]}, ["2"], [], "has no clip in its part 'val' (patches: 1)"),
        ({"splits": ["train", "val"]}, ["2"], [], "has no clip in its part 'test'"),
        ({"rate": 11025}, ["2"], [], "is at 11025 Hz, the recipes want 8000"),
        ({}, ["1", "3"], [], "need corpora that are not given; give --corpus five-octaves=FOLDER or --corpus violin="),
        ({}, ["2"], ["network.latent=4"], "unknown key"),
    ],
)
def test_what_cannot_be_studied_is_refused_in_one_line_and_nothing_is_made(tmp_path, corpus, tables, changes, words):
    folder = write_corpus(tmp_path / "octave", **corpus)
    with pytest.raises(UserError) as error:
        make(study_options({"octave": folder}, tmp_path / "study", tables, changes=changes))
    assert words in one_line(error)
    assert not (tmp_path / "study").exists()


def test_runs_of_other_settings_are_not_mixed(made, octave):
    before = files_of(made)
    with pytest.raises(UserError) as error:
        make(study_options({"octave": octave}, made, ["2"], epochs=2))
    assert "trained with other settings than are asked for" in one_line(error)
    assert files_of(made) == before


def test_the_command_makes_a_study_and_refuses_the_options_of_another(timbrel, octave, tmp_path):
    changes = [part for change in SMALL for part in ("--set", change)]
    common = ("study", "chroma", "--corpus", f"octave={octave}", "-o", tmp_path / "study")
    refused = timbrel(*common, "--steps", 5)
    assert refused.status == 2
    assert refused.err.startswith("timbrel: No such option: --steps")
    other = timbrel("study", "grain", "--corpus", octave, "-o", tmp_path / "study", "--mesh", "9,9,2")
    assert other.status == 2
    assert other.err.startswith("timbrel: No such option: --mesh")
    ended = timbrel(*common, "--tables", "2", "--seeds", 1, "--epochs", 5, "--accelerator", "cpu", *changes)
    assert ended.status == 0
    assert ended.out.strip() == str(tmp_path / "study" / "report" / "index.html")
    assert report_of(tmp_path / "study")["epochs"] == 5
