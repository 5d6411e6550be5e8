"""A network that inverts a generator: what it learns from, that it goes on, and the encoder that it becomes."""

import json
import shutil

import numpy as np
import onnx
import pytest
import soundfile
import torch
from timbrel.export.evaluate import evaluate
from timbrel.host.errors import UserError
from timbrel.host.model.encoder import ENCODER_KEY, Encoder, encoder_path
from timbrel.host.model.model import Model
from timbrel.host.preset.library import open_patch
from timbrel.train import checkpoint
from timbrel.train.families.classifier.network import Block
from timbrel.train.families.invert.network import Inverter, fit_clips
from timbrel.train.families.recipes import load_recipe
from timbrel.train.launch import resume, start
from timbrel.train.run import Run, trained

from .words import CPU, INVERT, LENGTH, RATE, word


def network_of(run):
    return trained(run, "last")[0]


def clips(count, seed=0):
    return torch.from_numpy(np.random.default_rng(seed).uniform(-0.5, 0.5, (count, LENGTH)).astype(np.float32))


def test_the_recipe_holds_the_publications_numbers():
    """Section 4.1: 250 epochs, Adam at .001, batches of 64; He et al. 2016, table 1: eight blocks from 64 to 512."""
    recipe = load_recipe("invert")
    training = recipe.training
    assert (training.epochs, training.learning_rate, training.batch_size) == (250, 1e-3, 64)
    assert (training.schedule, training.l2, recipe.network.width) == ("constant", 0, 64)
    assert set(recipe.loss.model_dump().values()) == {1.0}
    assert [objective.name for objective in Inverter.objectives] == ["recordings", "generation"]


def test_it_is_a_resnet_18_whose_classes_are_latents_and_labels(inverted):
    for name, words in (("plain", 0), ("labelled", 2)):
        network = network_of(inverted(name)).network
        blocks = [layer for layer in network.modules() if isinstance(layer, Block)]
        assert len(blocks) == 8
        assert isinstance(network.last, torch.nn.Linear)  # nothing after it
        assert network.last.out_features == 5 + words
        assert network(clips(2)).shape == (2, 5 + words)


@pytest.mark.parametrize("name", ["plain", "labelled"])
def test_its_terms_are_those_of_the_publication(inverted, name):
    network = network_of(inverted(name))
    recorded, labels = clips(4), torch.tensor([0, 1, 1, 1])
    rows = network.generator.rows(labels)
    terms = network.recordings(recorded, labels, torch.Generator())
    assert terms.keys() == ({"recorded", "label"} if name == "labelled" else {"recorded"})
    again = network.generator.decode(network.encode(recorded), rows)
    seen = [network.classifier.features(torch.nn.functional.pad(c, (0, 8192 - LENGTH))) for c in (recorded, again)]
    apart = [float((a - b).square().mean()) for a, b in zip(*seen, strict=True)]
    assert len(apart) == 9  # the last is the penultimate layer, which does not count
    assert float(terms["recorded"]) == pytest.approx(np.mean(apart[:8]), rel=1e-4)
    terms = network.generation(recorded, labels, torch.Generator().manual_seed(3))
    codes = network.generator.draw(4, torch.Generator().manual_seed(3))
    made = network.generator.decode(codes, rows)
    assert float(terms["latent"]) == pytest.approx(float((network.encode(made) - codes).square().mean()), rel=1e-4)
    assert terms.keys() == {"latent", "generated"} | ({"generated_label"} if name == "labelled" else set())
    if name == "labelled":
        assert float(terms["generated_label"]) == pytest.approx(
            float(torch.nn.functional.cross_entropy(network.predict_codes(made)[1], labels)), rel=1e-4
        )


def test_clips_without_a_weight_are_not_generated_again(inverted, monkeypatch):
    network = network_of(inverted("labelled"))
    network.weights = network.weights.model_copy(update={"recorded": 0.0, "generated": 0.0})
    decoded = []
    decode = network.generator.decode
    monkeypatch.setattr(network.generator, "decode", lambda *given: decoded.append(given) or decode(*given))
    labels = torch.tensor([0, 1, 1, 0])
    assert network.recordings(clips(4), labels, torch.Generator()).keys() == {"label"}
    assert not decoded
    assert network.generation(clips(4), labels, torch.Generator()).keys() == {"latent", "generated_label"}
    assert len(decoded) == 1  # the clips whose codes are known


def test_without_the_perceptual_loss_and_labels_it_learns_from_generated_clips_alone(words, tmp_path):
    others = {"generator": words / "plain", "judge": words / "judge"}
    recipe = load_recipe("invert", [*INVERT, "training.steps=2", "loss.recorded=0", "loss.generated=0"])
    start(recipe, words / "corpus", tmp_path / "run", CPU, others)
    run = Run.open(tmp_path / "run")
    assert [objective.name for objective in network_of(run).objectives] == ["generation"]
    (line,) = run.logged()
    assert line["total"] == pytest.approx(line["latent"])
    assert "recorded" not in line


def test_sounds_reach_a_classifier_of_another_rate_with_their_slopes(inverted):
    network = network_of(inverted("plain"))
    network.classifier.rate = RATE // 2
    tone = torch.sin(2 * torch.pi * 440 * torch.arange(LENGTH) / RATE)[None].requires_grad_()
    heard = fit_clips(network.classifier, tone, network.rate)
    assert heard.shape == (1, network.classifier.clip_length)
    expected = torch.sin(2 * torch.pi * 440 * torch.arange(8192) / (RATE // 2))
    assert float((heard[0] - expected)[100:-100].abs().max()) < 0.02
    heard.square().sum().backward()
    assert float(tone.grad.abs().max()) > 0


def test_only_the_inverting_network_moves(inverted, words):
    run = inverted("labelled")
    kept = checkpoint.load(run.last)["model"]
    for part, folder in (("generator", "labelled"), ("classifier", "judge")):
        best = Run.open(words / folder)
        own = checkpoint.load(best.best if best.best.exists() else best.last)["model"]
        for name, value in own.items():
            assert torch.equal(kept[f"{part}.{name}"], value), name
    begun = Inverter(run.recipe, *(trained(Run.open(words / name), "best")[0] for name in ("labelled", "judge")))
    assert not torch.equal(kept["network.last.weight"], begun.network.last.weight)


def test_frames_and_labels_are_the_generators(inverted):
    recipe = inverted("labelled").recipe
    assert recipe.network.words == ["la", "sh"]
    assert recipe.frames.normalised
    assert not inverted("plain").recipe.frames.normalised


def test_the_best_is_the_one_whose_recordings_come_nearest(inverted):
    logged = inverted("plain").logged()
    assert logged[0]["total"] == pytest.approx(logged[0]["recorded"])
    assert {"recorded", "generated", "latent"} <= logged[0].keys()
    assert not network_of(inverted("plain")).adversarial


def test_a_run_that_is_stopped_goes_on_as_if_it_had_not_been(words, tmp_path):
    others = {"generator": words / "plain", "judge": words / "judge"}
    asked = [load_recipe("invert", [*INVERT, f"training.steps={steps}"]) for steps in (2, 4)]
    start(asked[1], words / "corpus", tmp_path / "whole", CPU, others)
    start(asked[0], words / "corpus", tmp_path / "parts", CPU, others)
    resume(tmp_path / "parts", asked[1], CPU)
    first, second = (checkpoint.load(tmp_path / name / "last.ckpt")["model"] for name in ("whole", "parts"))
    assert all(torch.equal(first[name], second[name]) for name in first)


def test_its_generator_stays_as_it_was_when_the_generators_run_goes_on(inverted, words, tmp_path):
    for name in ("labelled", "judge", "corpus"):
        shutil.copytree(words / name, tmp_path / name)
    inverted("labelled")
    shutil.copytree(words / "invert-labelled", tmp_path / "invert")
    for file in (tmp_path / "labelled").glob("*.ckpt"):
        content = checkpoint.load(file)
        content["model"] = {name: value + 1 for name, value in content["model"].items()}
        torch.save(content, file)
    before, after = (network_of(Run.open(folder)) for folder in (words / "invert-labelled", tmp_path / "invert"))
    codes, rows = torch.zeros(1, 5), torch.eye(2)[:1]
    assert torch.equal(before.generator.decode(codes, rows), after.generator.decode(codes, rows))


@pytest.mark.parametrize("name", [pytest.param("plain", marks=pytest.mark.slow), "labelled"])
def test_it_is_exported_as_its_generators_encoder_with_the_spectrogram_inside(inverted, inverted_model, name):
    path = inverted_model(name)
    model, network = Model(path), network_of(inverted(name))
    encoder = Encoder(model)
    sounds = clips(3)
    codes, labels = encoder.encode_with_labels(sounds.numpy())
    with torch.no_grad():
        expected, scores = network.predict_codes(sounds)
    assert codes == pytest.approx(expected.numpy(), abs=5e-3)
    if name == "labelled":
        assert labels == pytest.approx(torch.softmax(scores, 1).numpy(), abs=5e-3)
    else:
        assert labels is None
    assert encoder.encode(0.1 * sounds.numpy()) == pytest.approx(codes, abs=1e-2)  # loudness is left to velocity
    about = json.loads(onnx.load(encoder_path(path)).metadata_props[0].value)
    assert about["decoder_sha256"] == model.graph_sha256


def test_an_inverting_network_of_another_generator_is_refused(inverted_model, tmp_path, timbrel):
    shutil.copy(encoder_path(inverted_model("labelled")), tmp_path / "words.encoder.onnx")
    soundfile.write(tmp_path / "word.wav", word(3), RATE)
    written = onnx.load(inverted_model("labelled"))  # the same card and shapes, other weights
    tensor = max(written.graph.initializer, key=lambda tensor: len(tensor.raw_data))
    tensor.raw_data = bytes(len(tensor.raw_data))
    onnx.save(written, tmp_path / "words.onnx")
    with pytest.raises(UserError, match="places sounds for another decoder"):
        Encoder(Model(tmp_path / "words.onnx"))
    ended = timbrel("recover", tmp_path / "word.wav", "--model", tmp_path / "words.onnx", "-o", tmp_path / "w.toml")
    assert (ended.status, ended.out) == (2, "")
    assert "words.encoder.onnx places sounds for another decoder than" in ended.err
    assert not (tmp_path / "w.toml").exists()


def test_another_card_leaves_the_digest_as_it_is(inverted_model, tmp_path):
    written = onnx.load(inverted_model("labelled"))
    card = json.loads(written.metadata_props[0].value)
    assert written.metadata_props[0].key != ENCODER_KEY
    written.metadata_props[0].value = json.dumps({**card, "description": "another"})
    onnx.save(written, tmp_path / "words.onnx")
    shutil.copy(encoder_path(inverted_model("labelled")), tmp_path)
    assert Model(tmp_path / "words.onnx").graph_sha256 == Model(inverted_model("labelled")).graph_sha256
    Encoder(Model(tmp_path / "words.onnx"))


@pytest.mark.parametrize("name", [pytest.param("plain", marks=pytest.mark.slow), "labelled"])
def test_a_word_is_recovered_by_it_and_played(inverted_model, tmp_path, timbrel, name):
    soundfile.write(tmp_path / "word.wav", word(3), RATE)
    for method in ("network", "hybrid"):
        out = tmp_path / f"{method}.toml"
        ended = timbrel(
            *("recover", tmp_path / "word.wav", "--model", inverted_model(name), "--method", method, "-o", out)
        )
        assert ended.status == 0, ended.err
        assert ("taken for" in ended.out) == (name == "labelled")
        assert all("it may not be heard as it stands" in line for line in open_patch(str(out)).warnings)
    missed = json.loads((tmp_path / "hybrid.json").read_text())
    assert missed["missed"] <= missed["missed_by_network"] + 1e-6


def test_a_report_tells_how_near_recordings_come_back(inverted):
    found = evaluate(inverted("labelled"))
    assert found["reconstruction"]["log_mel_db"]["median"] > 0
    assert found["generated"]["clips"] >= 2


WRONG = {
    "train invert --corpus corpus -o new": "recipe invert is built on other runs; give --generator RUN and --class",
    "train invert --corpus corpus -o new --generator plain": "give --generator RUN and --classifier RUN",
    "train invert --corpus corpus -o new --generator gone --classifier judge": "run gone does not exist",
    "train invert --corpus corpus -o new --generator judge --classifier judge": "is a run of digits-classifier, which",
    "train invert --corpus corpus -o new --generator plain --classifier plain": "is a run of clip-wavegan, which",
    "train chroma-8 --corpus corpus -o new --generator plain": "--generator plain is no option of recipe chroma-8",
    "train invert --corpus corpus -o invert-plain --resume --generator plain": "--resume, which goes on with the run's",
}


@pytest.mark.parametrize("line", WRONG)
def test_what_cannot_be_inverted_is_refused_in_a_line(words, inverted, timbrel, monkeypatch, line):
    inverted("plain")
    monkeypatch.chdir(words)
    ended = timbrel(*line.split())
    assert (ended.status, ended.out) == (2, "")
    assert WRONG[line] in ended.err
    assert len(ended.err.splitlines()) == 1
    assert not (words / "new").exists()


def test_the_command_trains_one(words, timbrel, monkeypatch, tmp_path):
    monkeypatch.chdir(words)
    changes = [part for change in [*INVERT, "training.steps=1"] for part in ("--set", change)]
    others = ["--generator", "plain", "--classifier", "judge"]
    ended = timbrel("train", "invert", "--corpus", "corpus", "-o", tmp_path / "run", *others, *changes)
    assert ended.status == 0, ended.err
    assert Run.open(tmp_path / "run").info.others.keys() == {"generator", "judge"}
