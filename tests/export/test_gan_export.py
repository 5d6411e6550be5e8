"""Networks of clips become models: codes of the prior, labels beside them, an encoder where there is one."""

import json

import numpy as np
import pytest
import soundfile
import torch
from timbrel.export import export as exporting
from timbrel.export.evaluate import evaluate
from timbrel.export.export import export
from timbrel.export.families.gan import _fitted, names, spread
from timbrel.host.model.encoder import encoder_path
from timbrel.host.model.model import Model, open_session
from timbrel.train.corpus.store import Corpus, writing
from timbrel.train.families import FAMILIES
from timbrel.train.families.recipes import load_recipe, shipped_recipes
from timbrel.train.launch import start
from timbrel.train.loop import RunOptions
from timbrel.train.run import Run, trained

from .undrawn import undrawn

RATE = 16000
TINY = {
    "gan": ["network.model_size=1", "network.latents=5", "training.batch_size=2"],
    "dcgan": ["network.channels=[2,2]", "frames.frame_length=4096", "frames.hop_length=4096", "network.latents=5"],
}
TINY["halves"] = TINY["dcgan"]
TINY["logistic-gan"] = [*TINY["gan"], f"frames.sample_rate={RATE}"]
OURS = [name for name in shipped_recipes() if load_recipe(name).family in TINY]
LABELLED = ("clip-wavegan", "network.labels=true", "network.average=0.9")
# tuned-wavegan has the networks of clip-wavegan with labels.
ASKED = [pytest.param((name,), marks=[pytest.mark.slow] * (name == "tuned-wavegan")) for name in OURS]
ASKED.append(pytest.param(LABELLED))


@pytest.fixture(autouse=True)
def _no_voice(monkeypatch, traced_once):
    """Loudness is measured by playing, which is another's test."""
    monkeypatch.setattr(exporting, "model_loudness_lufs", lambda model: -20.0)


@pytest.fixture(scope="module")
def made(spoken, tmp_path_factory):
    """Train a recipe for a step, once: the run."""
    runs = {}

    def run(name, *changes):
        if (name, *changes) not in runs:
            folder = tmp_path_factory.mktemp("runs") / "run"
            recipe = load_recipe(name, [*TINY[load_recipe(name).family], "training.steps=1", *changes])
            start(recipe, spoken, folder, RunOptions(accelerator="cpu"))
            runs[name, *changes] = Run.open(folder)
        return runs[name, *changes]

    return run


@pytest.fixture(scope="module")
def model_of(made, tmp_path_factory):
    """The model of such a run, which is exported once."""
    models = {}

    def model(*asked):
        if asked not in models:
            models[asked] = tmp_path_factory.mktemp("models") / "m.onnx"
            export(made(*asked), models[asked])
        return Model(models[asked])

    return model


@pytest.mark.parametrize("asked", ASKED)
def test_every_recipe_of_clips_exports_what_torch_gives(made, model_of, asked):
    run, model = made(*asked), model_of(*asked)
    card = model.card
    length = run.recipe.frames.frame_length
    assert (card.kind, card.domain, card.window) == ("clip", "samples", "rectangular")
    assert card.frame_length == card.hop_length == length
    assert len(card.latents) == 5
    assert card.parity.relative < 5e-3
    assert model.verify().passed
    network, *_ = trained(run, "best")
    codes = np.random.default_rng(3).uniform(-1, 1, (4, 5)).astype(np.float32)
    labels = np.array([0, 1, 1, 0])
    with torch.no_grad():
        rows = torch.eye(2)[labels] if card.labels else None
        expected = network.decode(torch.from_numpy(codes), rows).numpy()
    found = model.decode(codes, labels)
    assert found.shape == (4, length)
    assert np.abs(found - expected).max() < 5e-3 * np.ptp(expected)


def test_labels_stand_in_the_card_and_are_an_input(model_of):
    model = model_of(*LABELLED)
    assert model.card.labels == ["la", "sh"]
    session = open_session(model.path)
    assert {i.name: i.shape[1] for i in session.get_inputs()} == {"latent": 5, "label": 2}
    one, two = model.decode(np.zeros((2, 5), np.float32), np.array([0, 1]))
    assert not np.allclose(one, two)
    assert model_of("clip-wavegan").card.labels == []


def test_a_generator_has_no_encoder_knobs_as_wide_as_its_prior_and_codes_with_names(model_of):
    model = model_of(*LABELLED)
    card = model.card
    assert not encoder_path(model.path).exists()
    assert json.loads(card.model_dump_json())["prior"] == {"uniform": [-1.0, 1.0]}
    assert {(knob.low, knob.high) for knob in card.latents} == {(-1.0, 1.0)}
    assert len(card.landmarks) == 256
    assert [mark.label for mark in card.landmarks[:3]] == ["la no. 1", "sh no. 1", "la no. 2"]
    assert len({mark.label for mark in card.landmarks}) == 256
    assert [model.map.labels[index] for index in model.map.label] == [mark.label for mark in card.landmarks]
    plain = model_of("clip-wavegan").card
    assert [mark.label for mark in plain.landmarks[:2]] == ["code 1", "code 2"]
    assert [mark.latent for mark in plain.landmarks] == [mark.latent for mark in card.landmarks]


def test_codes_that_are_drawn_have_the_priors_mean_and_deviation_in_every_latent():
    codes = spread(256, 500)
    assert codes.shape == (256, 500)
    assert np.abs(codes).max() <= 1
    assert np.allclose(codes.mean(0), 0, atol=0.002)
    assert np.allclose(codes.std(0), 1 / np.sqrt(3), atol=0.002)
    among = np.corrcoef(codes.T) - np.eye(500)
    assert np.abs(among).max() < 0.35  # of 125 thousand pairs of 256
    assert np.array_equal(codes, spread(256, 500))


def test_codes_of_one_label_are_counted_by_themselves():
    assert names(5, ["a", "b"]) == ["a no. 1", "b no. 1", "a no. 2", "b no. 2", "a no. 3"]
    assert names(2, []) == ["code 1", "code 2"]


def test_halves_have_an_encoder_that_takes_recordings_at_any_level(made, spoken, tmp_path):
    run = made("clip-dcgan-halves")
    card = export(run, tmp_path / "m.onnx", weights="float32")
    assert card.prior is None
    assert {mark.label for mark in card.landmarks} == {"la", "sh"}
    session = open_session(encoder_path(tmp_path / "m.onnx"))
    opened = Corpus.open(spoken)
    audio = np.zeros((3, 4096), np.float32)
    for row, clip in zip(audio, opened.clips("test"), strict=False):
        samples = opened.samples(clip)[:4096]
        row[: len(samples)] = samples
    codes = [session.run(["latent"], {"audio": gain * audio})[0] for gain in (1.0, np.float32(0.1))]
    assert np.allclose(*codes, atol=1e-4)
    network, *_ = trained(run, "best")
    with torch.no_grad():
        expected = network.encode(torch.from_numpy(audio / np.abs(audio).max(1, keepdims=True))).numpy()
    assert np.allclose(codes[0], expected, atol=1e-4)
    assert np.isfinite(session.run(["latent"], {"audio": 0 * audio})[0]).all()


# ---- reports


@pytest.mark.parametrize("asked", ASKED)
def test_a_report_has_clips_to_hear_and_to_see_and_what_training_logged(made, monkeypatch, asked):
    if asked not in (LABELLED, ("clip-dcgan-halves",)):
        undrawn(monkeypatch)
    run = made(*asked)
    found = evaluate(run)
    folder, of_halves = run.folder / "report", run.recipe.family == "halves"
    page = (folder / "index.html").read_text(encoding="utf-8")
    pictures = ["waveforms.png", "spectrograms.png", "loss.png", *(["zoom.png"] if of_halves else [])]
    for name in (*pictures, "recording-1.wav", "random-4.wav", *(["decoded-1.wav"] if of_halves else [])):
        assert name in page
        assert (folder / name).exists()
    sound, rate = soundfile.read(folder / "random-1.wav")
    assert rate == RATE
    assert len(sound) == run.recipe.frames.frame_length
    assert found["split"] == "test"
    assert found["clips"] == found["frames"] == 4
    assert found["loss"]["steps"] == [1]
    assert ("diversity" in found["loss"]["health"]) == (not of_halves)
    assert "diversity" not in found["loss"]["terms"]
    assert (found["reconstruction"] is not None) == of_halves == ("relative_error" in found["floors"])
    if of_halves:
        assert found["floors"]["relative_error"]["value"] == pytest.approx(found["reconstruction"]["relative_error"])
        assert found["floors"]["relative_error"]["floors"]["silence"] == pytest.approx(1)
    assert found["run"]["seconds"] > 0


@pytest.mark.usefixtures("no_pictures")
def test_each_sides_loss_is_the_sum_of_its_terms_as_weighted(made):
    run = made(*LABELLED)
    (line,) = run.logged()
    sides = evaluate(run)["loss"]["sides"]
    assert list(sides) == ["critic", "generator"]
    assert sides["critic"][0] == pytest.approx(line["distance"] + 10 * line["penalty"])
    assert sides["critic"][0] == pytest.approx(line["total"], rel=1e-4, abs=1e-4)
    assert sides["generator"][0] == pytest.approx(line["persuasion"])


@pytest.mark.usefixtures("no_pictures")
@pytest.mark.parametrize("asked", [("clip-dcgan",), LABELLED])
def test_a_classifier_judges_what_contests_make_by_labels_where_they_were_asked_for(made, tmp_path, spoken, asked):
    judge = tmp_path / "judge"
    recipe = load_recipe("digits-classifier", ["training.epochs=1", "network.width=4", f"frames.sample_rate={RATE}"])
    start(recipe, spoken, judge, RunOptions(accelerator="cpu"))
    told = evaluate(made(*asked), classifier=Run.open(judge))["generated"]["told"]
    assert 1 <= told["score"] <= 2
    assert (told["accuracy"] is None) == (asked != LABELLED)


@pytest.mark.usefixtures("no_pictures")
def test_the_halves_relative_error_is_none_of_what_comes_back_whole_and_one_of_silence(made, monkeypatch):
    run = made("clip-dcgan-halves")
    network = FAMILIES["halves"].network
    monkeypatch.setattr(network, "encode", lambda self, clips: clips)
    monkeypatch.setattr(network, "decode", lambda self, codes, label=None: codes)
    assert evaluate(run)["reconstruction"]["relative_error"] == 0
    monkeypatch.setattr(network, "decode", lambda self, codes, label=None: 0 * codes)
    assert evaluate(run)["reconstruction"]["relative_error"] == pytest.approx(1)


def test_random_codes_of_the_halves_are_spread_as_training_clips_codes_are():
    rng, mixing = np.random.default_rng(0), np.array([[1.0, 0.5], [0.0, 0.2]], np.float32)
    trained = (rng.standard_normal((50, 2)).astype(np.float32) @ mixing) + np.float32(3)

    class Same:
        encode = decode = staticmethod(lambda given: given)

    made = _fitted(Same(), lambda: trained)(np.zeros(20000, np.int64), 0)
    assert np.allclose(made.mean(0), trained.mean(0), atol=0.03)
    assert np.allclose(np.cov(made.T), np.cov(trained.T), atol=0.03)


@pytest.mark.usefixtures("no_pictures")
def test_a_run_that_has_collapsed_is_said_to_have(made, monkeypatch):
    run = made("clip-wavegan")
    network = FAMILIES["gan"].network
    monkeypatch.setattr(
        network, "decode", lambda self, codes, label=None: torch.ones(len(codes), 1) * torch.linspace(-1, 1, 16384)
    )
    found = evaluate(run)
    assert found["collapsed"]
    assert found["verdict"].startswith("It has collapsed")
    assert any("kept" in line for line in found["shortcomings"])


@pytest.mark.usefixtures("no_pictures")
def test_one_recording_alone_is_measured_and_said_to_be_all(spoken, tmp_path):
    alone, opened = tmp_path / "alone", Corpus.open(spoken)
    with writing(alone, RATE) as writer:
        samples = opened.samples(opened.clips("train")[0])
        track = np.full(-(-len(samples) // 1024), np.nan, np.float32)
        writer.append(samples, track, name="one", group="one", label="")
        writer.finish({"one": "train"}, name="alone")
    recipe = load_recipe("clip-dcgan-halves", [*TINY["halves"], "training.steps=1"])
    start(recipe, alone, tmp_path / "run", RunOptions(accelerator="cpu"))
    found = evaluate(Run.open(tmp_path / "run"))
    assert (found["split"], found["frames"], found["collapsed"]) == ("train", 1, False)
    assert any("one recording" in line for line in found["shortcomings"])
