"""An evaluation's figures are those that other hands compute."""

import json
import shutil

import numpy as np
import pytest
import torch
from timbrel.export.measures import frames as frame_sample
from timbrel.export.measures import frames as measures
from timbrel.export.reports.floor_tables import FLOORS
from timbrel.train import checkpoint
from timbrel.train.families import FAMILIES
from timbrel.train.families.chroma.data import moved_frame
from timbrel.train.families.chroma.network import ChromaAutoencoder
from timbrel.train.frames import sources
from timbrel.train.run import Run, relative_to

from .runs import FRAME, SETTINGS, Constant, make_run, measured, octave, strongest_class, write_corpus


class Perfect(ChromaAutoencoder):
    """Remembers the frames that it encodes and finds them again by their code; deaf to chroma."""

    table: list

    def encode(self, frames, chroma):
        first = len(self.__dict__.setdefault("table", []))
        self.table.extend(frames)
        places = torch.arange(first, first + len(frames), dtype=torch.float32)
        return torch.stack([places / 1e4, places % 7], 1)

    def decode(self, latents, chroma):
        places = (latents[:, 0] * 1e4).round().long().clamp(0, len(self.table) - 1)
        return torch.stack([self.table[int(i)] for i in places])


# ---- whole evaluations


@pytest.mark.usefixtures("no_pictures")
def test_a_constant_network_has_the_errors_that_numpy_finds_and_no_playable_knob(tuned, monkeypatch):
    monkeypatch.setattr(FAMILIES["chroma"], "network", Constant)
    found = measured(tuned)
    answer = np.linspace(1, 0, FRAME // 2 + 1)
    opened = tuned.corpus()
    asked = np.stack(  # the notes lie in the octave: their own keys are where they are
        [
            moved_frame(opened.samples(s.clip), s, s.note, SETTINGS)
            for s in sources(opened, "test", SETTINGS, tonal=True)
        ]
    )
    error = np.square(asked - answer).sum()
    same = found["reconstruction"]["same_key"]
    assert found["frames"] == found["frames_in_split"] == len(asked)
    assert same["mean_square"]["value"] == pytest.approx(error / asked.size, rel=1e-4)
    ratio = error / np.square(asked).sum()
    assert same["spectral_convergence_db"]["value"] == pytest.approx(10 * np.log10(ratio), abs=1e-3)
    for measure, floored in found["floors"].items():  # a row and its floors are measured alike
        assert floored["value"] == pytest.approx(same[measure]["value"], rel=1e-4)
    assert found["floors"]["mean_square"]["floors"]["silence"] == pytest.approx(np.square(asked).mean(), rel=1e-4)
    assert found["floors"]["spectral_convergence_db"]["floors"]["silence"] == pytest.approx(0, abs=1e-6)
    assert found["latents"]["largest_correlation"] == 0
    assert all(dimension["dead"] for dimension in found["latents"]["dimensions"])
    assert found["verdict"].startswith("Its knobs do nothing")


@pytest.mark.usefixtures("no_pictures")
def test_answering_with_the_mean_of_the_pitch_class_is_a_relative_error_of_one(tmp_path, corpus, monkeypatch):
    run = make_run(tmp_path / "run", corpus, "chroma-2")
    settings, opened = run.recipe.frames, run.corpus()
    train = frame_sample.draw(opened, "train", settings, False, 10**6, np.random.default_rng(0))
    means = torch.stack(
        [torch.from_numpy(train.spectra[train.pitch_classes == k].mean(0)) for k in range(12)]
    )  # every class is there: the corpus is chromatic

    class Mean(ChromaAutoencoder):
        def decode(self, latents, chroma):
            return chroma @ means

    monkeypatch.setattr(FAMILIES["chroma"], "network", Mean)
    found = measured(run)
    assert found["reconstruction"]["same_key"]["relative_error"]["value"] == pytest.approx(1, rel=1e-4)
    assert "another_key" not in found["reconstruction"]
    floored = found["floors"]["mean_square"]
    assert floored["floors"]["class_mean"] == pytest.approx(floored["value"], rel=1e-4)
    best = min(floored["floors"], key=floored["floors"].get)  # another tone of the class may be even nearer
    assert floored["not_better_than"] == best
    assert f"Mean square error: not better than {FLOORS[best]}." in found["shortcomings"]
    assert f"not better than {FLOORS[best]}" in (run.folder / "report" / "index.html").read_text(encoding="utf-8")


@pytest.mark.usefixtures("no_pictures")
def test_a_perfect_network_is_perfect_and_one_that_is_deaf_to_keys_obeys_by_chance(tmp_path, corpus, monkeypatch):
    monkeypatch.setattr(FAMILIES["chroma"], "network", Perfect)
    run = make_run(tmp_path / "run", corpus, "chroma-2")
    found = measured(run)
    same = found["reconstruction"]["same_key"]
    assert same["mean_square"]["value"] == same["relative_error"]["value"] == 0
    assert same["spectral_convergence_db"]["mean"] == measures.PERFECT_DB
    assert found["keys"]["training_codes"]["strongest"]["overall"] == pytest.approx(1 / 12)
    assert found["keys"]["training_codes"]["sounding"]["octave"] is None
    assert found["verdict"].startswith("Keys are not obeyed")


@pytest.mark.usefixtures("no_pictures")
def test_a_network_that_keeps_the_sound_but_not_the_key_errs_on_another_key_alone(tuned, monkeypatch):
    monkeypatch.setattr(FAMILIES["chroma"], "network", Perfect)
    both = measured(tuned)["reconstruction"]
    assert both["same_key"]["relative_error"]["value"] == 0
    assert both["another_key"]["relative_error"]["value"] > 1


@pytest.mark.usefixtures("no_pictures")
def test_a_network_that_gives_the_sound_on_the_asked_key_is_right_on_its_own_and_on_another_key(tuned, monkeypatch):
    opened = tuned.corpus()
    by_key = {round(s.note) % 12: s for s in sources(opened, "test", SETTINGS, tonal=True)}  # all of one brightness
    answers = [moved_frame(opened.samples(by_key[k].clip), by_key[k], 60 + k, SETTINGS) for k in range(12)]

    class Transposer(ChromaAutoencoder):
        def decode(self, latents, chroma):
            return chroma @ torch.from_numpy(np.stack(answers))

    monkeypatch.setattr(FAMILIES["chroma"], "network", Transposer)
    found = measured(tuned)["reconstruction"]
    assert found["same_key"]["spectral_convergence_db"]["value"] < -30
    assert found["another_key"]["spectral_convergence_db"]["value"] < -10  # moving takes partials past half the rate


@pytest.mark.usefixtures("no_pictures")
@pytest.mark.parametrize("recipe", ["tuned-2", "chroma-2"])
def test_random_codes_that_sound_as_training_does_are_as_far_as_training_also_on_keys_that_it_lacks(
    tmp_path, monkeypatch, recipe
):
    clips = [("test" if note % 6 == 3 else "train", note, 0.4) for note in range(60, 72)]
    run = make_run(tmp_path / "run", write_corpus(tmp_path / "corpus", clips), recipe)
    settings, opened = run.recipe.frames, run.corpus()
    one = next(iter(sources(opened, "train", SETTINGS, tonal=True)))
    answers = np.stack([moved_frame(opened.samples(one.clip), one, 60 + k, settings) for k in range(12)])

    class Transposer(ChromaAutoencoder):
        def decode(self, latents, chroma):
            return chroma @ torch.from_numpy(answers)

    monkeypatch.setattr(FAMILIES["chroma"], "network", Transposer)
    found = measured(run)["spectral_distance"]
    assert 1 / 3 < found["ratio"] < 3  # moved by other intervals, training frames differ a little from one another


@pytest.mark.usefixtures("no_pictures")
def test_a_trained_run_is_nearer_than_before_it_was_trained(small_run, tmp_path):
    folder = shutil.copytree(small_run, tmp_path / "run")
    info = json.loads((folder / "run.json").read_text())
    info["corpus"] = relative_to((small_run / info["corpus"]).resolve(), folder)
    (folder / "run.json").write_text(json.dumps(info))
    run = Run.open(folder)
    after = measured(run)
    network = ChromaAutoencoder(run.recipe)
    checkpoint.save(run.best, network, {"shared": torch.optim.Adam(network.parameters())}, checkpoint.Progress())
    before = measured(run)
    for key in ("same_key", "another_key"):
        errors = [found["reconstruction"][key]["mean_square"]["value"] for found in (after, before)]
        assert errors[0] < errors[1]
    assert after["loss"]["steps"] == [line["step"] for line in run.logged()]
    terms = after["loss"]["terms"]
    parts = [values for name, values in terms.items() if name != "total"]
    assert np.sum(parts, axis=0) == pytest.approx(terms["total"], rel=1e-5)


@pytest.mark.usefixtures("no_pictures")
@pytest.mark.parametrize(
    ("splits", "used", "words"),
    [
        (("train", "val", "test"), "test", "the test split"),
        (("train", "val"), "val", "has no test split"),
        (("train",), "train", "has no other"),
    ],
)
def test_an_empty_split_is_replaced_by_the_next_and_the_page_says_so(tmp_path, splits, used, words):
    run = make_run(tmp_path / "run", write_corpus(tmp_path / "corpus", octave(*splits)))
    found = measured(run)
    assert (found["split"], found["clips"]) == (used, 12)
    assert words in (run.folder / "report" / "index.html").read_text()


@pytest.mark.usefixtures("no_pictures")
def test_recordings_without_pitch_are_said_to_have_none_and_no_note_is_listened_for(tmp_path):
    folder = write_corpus(tmp_path / "noise", [(split, None, i) for i in range(4) for split in ("train", "test")])
    found = measured(make_run(tmp_path / "run", folder, "tuned-2", tonal=False))
    assert found["verdict"].startswith("The recordings have no clear pitch: keys choose colour, not pitch.")
    assert found["keys"]["mesh"]["sounding"] is None
    assert "another_key" not in found["reconstruction"]
    assert "not asked without clear pitch" in (tmp_path / "run" / "report" / "index.html").read_text()


@pytest.mark.usefixtures("no_pictures")
def test_a_network_without_skip_is_said_to_have_no_keys(tmp_path, corpus):
    run = make_run(tmp_path / "run", corpus, "chroma-2-noskip")
    found = measured(run)
    assert found["keys"] is None
    assert found["verdict"].startswith("Keys do nothing here")
    assert "nothing to ask for" in (run.folder / "report" / "index.html").read_text()


@pytest.mark.usefixtures("no_pictures")
def test_the_checkpoint_asked_for_is_used_and_the_last_where_there_is_no_best(tmp_path, corpus):
    both = make_run(tmp_path / "both", corpus)
    for name, step in (("best", 7), ("last", 9)):
        found = measured(both, checkpoint=name)["run"]
        assert (found["checkpoint"], found["step"]) == (name, step)
    dead = make_run(tmp_path / "dead", corpus, best=False)
    assert measured(dead)["run"]["checkpoint"] == "last"


@pytest.mark.usefixtures("no_pictures")
def test_progress_rises_from_nothing_to_all(tuned):
    told = []
    measured(tuned, progress=lambda share, what: told.append((share, what)))
    shares = [share for share, _ in told]
    assert shares == sorted(shares)
    assert (shares[0], shares[-1]) == (0, 1)
    assert all(what for _, what in told)


# ---- what cannot be evaluated


@pytest.mark.usefixtures("no_pictures")
def test_the_divergence_is_that_of_torchs_own_distributions(tmp_path, corpus):
    run = make_run(tmp_path / "run", corpus, "chroma-8-vae")
    found = measured(run)["latents"]
    assert len(found["dimensions"]) == 8
    network = ChromaAutoencoder(run.recipe)
    network.load_state_dict(checkpoint.load(run.best)["model"])
    opened = run.corpus()
    frames = [
        moved_frame(opened.samples(s.clip), s, s.note, run.recipe.frames)
        for s in sources(opened, "train", run.recipe.frames, tonal=False)
    ]
    chroma = np.eye(12, dtype=np.float32)[[strongest_class(frame) for frame in frames]]
    with torch.no_grad():
        mean, log_variance = network.distribution(torch.from_numpy(np.stack(frames)), torch.from_numpy(chroma))
        normal = torch.distributions.Normal(mean, (0.5 * log_variance).exp())
        wanted = torch.distributions.kl_divergence(normal, torch.distributions.Normal(0.0, 1.0)).mean(0)
    assert [d["divergence"] for d in found["dimensions"]] == pytest.approx(wanted.tolist(), rel=1e-4, abs=1e-6)
    assert [d["mean"] for d in found["dimensions"]] == pytest.approx(mean.mean(0).tolist(), rel=1e-3, abs=1e-6)
