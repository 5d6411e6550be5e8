"""The card of an exported model says what it promises, with a reference that proves it."""

import base64
import json
import zlib

import librosa
import numpy as np
import onnx
import pytest
import torch
from timbrel.export.export import LabelInput, export
from timbrel.export.graphs import EncodedFrames, landmarks, starting_point
from timbrel.export.parity import update_reference
from timbrel.host.errors import Failure
from timbrel.host.model.encoder import encoder_path
from timbrel.host.model.model import Model
from timbrel.host.preset.shipped import shipped_models
from timbrel.train import checkpoint
from timbrel.train.corpus.store import Corpus
from timbrel.train.families.chroma.data import build
from timbrel.train.run import Run

from .exported import one_hot, plain_card, plain_session


def test_knobs_span_what_the_training_set_spans(chroma_run, chroma_model, tmp_path):
    """The 1st and 99th percentiles of codes, found here with the exported encoder on the sound itself."""
    store = build(chroma_run.corpus(), "train", chroma_run.recipe.frames, tmp_path, 0)
    corpus = chroma_run.corpus()
    audio = np.stack([corpus.samples(s.clip)[s.start : s.start + 1024] for s in store.sources])
    feeds = {"audio": audio, "chroma": one_hot(store.pitch_classes[:, 0])}
    codes = plain_session(encoder_path(chroma_model)).run(["latent"], feeds)[0]
    for column, knob in zip(codes.T, plain_card(chroma_model)["latents"], strict=True):
        width = knob["high"] - knob["low"]
        assert [knob["low"], knob["high"]] == pytest.approx(np.percentile(column, [1, 99]), abs=0.05 * width)
        assert knob["mean"] == pytest.approx(column.mean(), abs=0.05 * width)
        assert knob["std"] == pytest.approx(column.std(), rel=0.1)
        assert knob["low"] <= knob["default"] <= knob["high"]


def test_after_the_turned_knobs_the_first_changes_the_sound_most_where_keys_choose_the_note(small_model):
    model = Model(small_model)
    codes = np.array([mark.latent for mark in model.card.landmarks], np.float32)
    bands = librosa.filters.mel(sr=model.card.sample_rate, n_fft=model.card.frame_length, n_mels=64, norm=None)

    def levels(codes):
        power = np.square(model.decode(codes, np.arange(len(codes)) % 12).astype(np.float64))
        return 10 * np.log10(power @ bands.T / power.sum(1, keepdims=True) + 1e-8)

    changes = []
    for number, latent in enumerate(model.card.latents):
        low, high = codes.copy(), codes.copy()
        low[:, number], high[:, number] = latent.low, latent.high
        changes.append(np.abs(levels(high) - levels(low)).mean() * latent.std / (latent.high - latent.low))
    assert changes[2] == max(changes[2:])


def test_names_of_knobs_differ_and_say_what_was_measured_and_numbers_say_why_they_are_no_names(
    small_model, chroma_model
):
    for path in (small_model, chroma_model, *shipped_models().values()):
        latents = plain_card(path)["latents"]
        assert len({latent["name"] for latent in latents}) == len(latents)
        for number, latent in enumerate(latents):
            assert (latent["name"] == f"latent {number}") == (latent["unnamed"] != ""), path
    for path in (small_model, chroma_model):
        assert all("correlation" in latent["moves"] for latent in plain_card(path)["latents"])
        assert plain_card(path)["directions"] == []


@pytest.mark.parametrize("model", ["small_model", "chroma_model"])
def test_defaults_are_a_landmark_and_landmarks_lie_within_the_knobs(request, model):
    card = plain_card(request.getfixturevalue(model))
    defaults = [knob["default"] for knob in card["latents"]]
    nearest = min(np.abs(np.subtract(mark["latent"], defaults)).max() for mark in card["landmarks"])
    assert nearest <= 1e-5
    assert 20 < len(card["landmarks"]) <= 256
    labels = {clip.name for clip in Corpus.open(request.getfixturevalue("tone_corpus")).clips("train")}
    assert {mark["label"] for mark in card["landmarks"]} <= labels
    assert len({mark["label"] for mark in card["landmarks"]}) > 5
    for mark in card["landmarks"]:
        assert mark["chroma"] in range(12)
        for value, knob in zip(mark["latent"], card["latents"], strict=True):
            assert knob["low"] - 1e-4 <= value <= knob["high"] + 1e-4


def test_the_card_says_where_the_weights_come_from(chroma_run, chroma_model, small_run, small_model):
    for run, path in ((chroma_run, chroma_model), (Run.open(small_run), small_model)):
        card, training = plain_card(path), plain_card(path)["training"]
        best = checkpoint.progress_of(checkpoint.load(run.best))
        assert (training["recipe"], training["steps"], training["seed"]) == (run.recipe.name, best.step, 0)
        assert (training["corpus"], training["clips"]) == ("tones", 14)
        assert training["seconds"] == pytest.approx(run.info.seconds, abs=0.06)
        assert training["validation"]["total"] == pytest.approx(best.best, abs=1e-6)
        torch_alone = torch.__version__.split("+")[0]  # PyPI's wheel names its build (+cu130) here, not in its metadata
        assert training["versions"]["torch"].split("+")[0] == torch_alone
        assert training["hardware"]
        assert card["name"] == path.stem
        assert card["license"] == "CC0-1.0"  # the corpus's
        assert (card["sample_rate"], card["frame_length"], card["hop_length"]) == (44100, 1024, 256)
        assert (card["kind"], card["domain"], card["window"]) == ("spectrum", "magnitude", "hann")
        is_turned = path == small_model
        assert card["prior"] == ({"normal": [0.5, 0.28868]} if is_turned else {"uniform": [0.0, 1.0]})


def test_the_card_says_which_pitch_classes_and_octave_were_heard(chroma_run, chroma_model, small_model, tmp_path):
    assert plain_card(small_model)["chroma"] == {"trained": list(range(12)), "octave": 3, "folded": True}
    store = build(chroma_run.corpus(), "train", chroma_run.recipe.frames, tmp_path, 0)
    heard = sorted({int(k) for k in store.pitch_classes[:, 0]})
    assert plain_card(chroma_model)["chroma"] == {"trained": heard, "octave": 4, "folded": False}


def test_any_host_can_prove_the_file_with_its_reference(chroma_model, small_model):
    """A script that knows the card's format and nothing of this program."""
    for path in (chroma_model, small_model):
        reference = plain_card(path)["reference"]
        latent = np.array(reference["latent"], np.float32)
        chroma = np.eye(12, dtype=np.float32)[reference["chroma"]]
        frame = plain_session(path).run(["frame"], {"latent": latent, "chroma": chroma})[0]
        kept = frame[:, reference["points"]]
        assert np.abs(kept - np.array(reference["frame"])).max() <= reference["tolerance"]
        assert kept.shape[0] >= 2
        assert kept.shape[1] >= 8
        assert kept.max() > 20 * reference["tolerance"]  # a file of zeros would not pass
        width = frame.shape[1]
        packed = zlib.decompress(base64.b64decode(reference["peaks"]))
        rows, peaks = np.frombuffer(packed[:width], np.uint8), np.frombuffer(packed[width:], "<f2")
        assert peaks == pytest.approx(frame[rows, np.arange(width)], abs=1e-3)
        assert np.abs(peaks) == pytest.approx(np.abs(frame).max(0), abs=1e-3)
        assert len(reference["peaks"]) < 4096 + 3 * width
        verdict = Model(path).verify()
        assert verdict.passed
        assert verdict.points == verdict.width == width


def test_a_file_of_before_is_proved_again_and_its_graph_stays(small_model, tmp_path):
    model = onnx.load(small_model)
    [entry] = [entry for entry in model.metadata_props if entry.key == "timbrel.card"]
    card = json.loads(entry.value)
    made = card["reference"]
    card["reference"] = {name: value for name, value in made.items() if name != "peaks"}
    entry.value = json.dumps(card)
    model.metadata_props.add(key="someone.else", value="kept")
    path = tmp_path / "old.onnx"
    onnx.save(model, path)
    assert Model(path).verify().points == len(made["points"])
    update_reference(path)
    assert plain_card(path) == plain_card(small_model)
    again = onnx.load(path)
    assert again.graph == model.graph
    assert {entry.key: entry.value for entry in again.metadata_props}["someone.else"] == "kept"


def test_a_file_that_does_not_give_its_reference_is_not_proved_again(small_model, tmp_path):
    model = onnx.load(small_model)
    card = json.loads(model.metadata_props[0].value)
    card["reference"]["frame"][0][0] += 0.1
    model.metadata_props[0].value = json.dumps(card)
    path = tmp_path / "wrong.onnx"
    onnx.save(model, path)
    before = path.read_bytes()
    with pytest.raises(Failure, match="does not give its own reference"):
        update_reference(path)
    assert path.read_bytes() == before


def test_models_that_ship_are_accountable_for_every_output():
    for path in shipped_models().values():
        verdict = Model(path).verify()
        assert verdict.passed, path
        assert verdict.points == verdict.width, path


def test_a_wrong_weight_does_not_pass_its_reference(chroma_model, tmp_path):
    model = onnx.load(chroma_model)
    tensor = max(model.graph.initializer, key=lambda t: np.prod(t.dims))
    values = onnx.numpy_helper.to_array(tensor) * np.float16(1.05)
    tensor.CopyFrom(onnx.numpy_helper.from_array(values, tensor.name))
    onnx.save(model, tmp_path / "wrong.onnx")
    assert not Model(tmp_path / "wrong.onnx").verify().passed


@pytest.mark.usefixtures("traced_once")
def test_what_is_said_on_the_label_is_on_the_card(chroma_run, tmp_path):
    labels = LabelInput("Bells", "bells in the rain", "CC-BY-4.0", "the bell ringers")
    card = export(chroma_run, tmp_path / "model.onnx", labels=labels)
    assert (card.name, card.description, card.license, card.credits) == (
        "Bells",
        "bells in the rain",
        "CC-BY-4.0",
        "the bell ringers",
    )
    assert Model(tmp_path / "model.onnx").card == card
    about = plain_session(tmp_path / "model.encoder.onnx").get_modelmeta().custom_metadata_map
    assert json.loads(about["timbrel.encoder"])["model"] == "Bells"


def test_the_default_is_from_the_middle_of_what_is_heard_where_that_is_known():
    """Most codes sound alike but few, which lie around the median code: these are no middle of anything heard."""
    latents = np.linspace(0, 1, 41, dtype=np.float32)[:, None]
    plain = EncodedFrames(latents, [""] * 41)
    told = EncodedFrames(
        latents, [""] * 41, sound=lambda codes: np.where(np.abs(codes - 0.5) < 0.2, 50.0 + codes, codes)
    )
    marks = landmarks(plain)
    assert starting_point(plain, marks) == [0.5]
    assert abs(starting_point(told, marks)[0] - 0.5) > 0.2
