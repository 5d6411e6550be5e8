"""An exported model gives what was trained, proves it on the file as written, and any host can load it."""

import base64
import json
import zlib

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from timbrel.export import evaluate
from timbrel.export import export as exporting
from timbrel.export.describe import Codes
from timbrel.export.export import Labels, export
from timbrel.export.prove import prove_again
from timbrel.host.contract.encoder import encoder_path
from timbrel.host.contract.model import Model
from timbrel.host.errors import Failure, UserError
from timbrel.host.events import NoteOff, NoteOn
from timbrel.host.patch.preset import Preset
from timbrel.host.patch.resolve import Patch
from timbrel.host.play.instrument import Instrument
from timbrel.host.shelf import shipped_models
from timbrel.train import checkpoint
from timbrel.train.corpus.store import Corpus
from timbrel.train.families import FAMILIES
from timbrel.train.frames import build
from timbrel.train.launch import start
from timbrel.train.loop import Options
from timbrel.train.recipe import load_recipe, shipped_recipes
from timbrel.train.run import Run

BATCHES = [1, 2, 7, 64]
# One of each graph: with and without chroma in and out, ways to append, three ways to a code, two domains.
DIFFERENT = ["tuned-2", "chroma-8-vae", "chroma-2-lrelu-noskip", "chroma-8-lrelu-difference"]

PRIORS = {  # what codes are trained toward, by (variational, bottleneck)
    (True, "sigmoid"): {"normal": [0.0, 1.0]},
    (False, "sigmoid"): {"uniform": [0.0, 1.0]},
    (False, "lrelu"): None,
}


@pytest.fixture(scope="module")
def trained(tone_corpus, small, tmp_path_factory):
    """The run of a small recipe, trained once for all tests."""
    folder = tmp_path_factory.mktemp("runs")

    def run(name, *changes):
        place = folder / name.replace("/", "-")
        if not place.exists():
            start(load_recipe(name, [*small, *changes]), tone_corpus, place, Options("cpu"))
        return Run.open(place)

    return run


@pytest.fixture(scope="module")
def chroma_run(trained):
    return trained("chroma-8")


@pytest.fixture(scope="module")
def chroma_model(chroma_run, tmp_path_factory):
    path = tmp_path_factory.mktemp("chroma") / "chroma.onnx"
    export(chroma_run, path)
    return path


@pytest.fixture
def traced_once(monkeypatch, trace_of):
    """Graphs of `chroma_run` as they were traced before: who looks at what follows need not wait for it."""

    def trace(module, *arguments):
        copy = onnx.ModelProto()
        copy.CopyFrom(trace_of(module, *arguments))
        return copy

    monkeypatch.setattr(exporting, "trace", trace)


@pytest.fixture(scope="module")
def trace_of():
    original, kept = exporting.trace, {}

    def trace(module, *arguments):
        kind = type(module).__name__
        if kind not in kept:
            kept[kind] = original(module, *arguments)
        return kept[kind]

    return trace


def network_of(run, which="best"):
    network = FAMILIES["chroma"].network(run.recipe)
    checkpoint.restore(run.folder / f"{which}.ckpt", network)
    return network.eval()


def plain_session(path):
    """As anyone opens an ONNX file."""
    return onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])


def plain_card(path):
    return json.loads(plain_session(path).get_modelmeta().custom_metadata_map["timbrel.card"])


def codes_in(card, count, seed=0):
    """Codes inside and at the ends of every knob's span."""
    low, high = (np.array([knob[end] for knob in card["latents"]]) for end in ("low", "high"))
    rng = np.random.default_rng(seed)
    inside = rng.uniform(low, high, (count, len(low)))
    return np.where(rng.random(inside.shape) < 0.3, np.where(rng.random(inside.shape) < 0.5, low, high), inside).astype(
        np.float32
    )


def one_hot(pitch_classes):
    return np.eye(12, dtype=np.float32)[pitch_classes]


def differences(path, run):
    """The largest difference of the decoder from torch for each batch, over the range of what torch gives."""
    session, card, network = plain_session(path), plain_card(path), network_of(run)
    for batch in (*BATCHES, 3, 33):
        latent, chroma = codes_in(card, batch, batch), one_hot(np.arange(batch) % 12)
        feeds = {"latent": latent} | ({"chroma": chroma} if card["chroma"] else {})
        frame = session.run(["frame"], feeds)[0]
        with torch.no_grad():
            expected = network.decode(torch.from_numpy(latent), torch.from_numpy(chroma)).numpy()
        assert frame.shape == expected.shape
        yield np.abs(frame - expected).max() / np.ptp(expected)


def spoiled(monkeypatch, which, amount):
    """Change a weight of the decoder (0) or the encoder (1) after it was traced."""
    traced, original = [], exporting.trace

    def trace(*arguments):
        model = original(*arguments)
        if len(traced) == which:
            tensor = max(model.graph.initializer, key=lambda t: np.prod(t.dims))
            values = onnx.numpy_helper.to_array(tensor).copy()
            values[len(values) // 2] += amount
            tensor.CopyFrom(onnx.numpy_helper.from_array(values, tensor.name))
        traced.append(1)
        return model

    monkeypatch.setattr(exporting, "trace", trace)


# ---- the decoder


@pytest.mark.parametrize("weights", ["float16", "float32"])
def test_the_file_gives_what_torch_gives_at_every_batch_size(chroma_run, chroma_model, tmp_path, weights):
    export(chroma_run, tmp_path / "chroma.onnx", weights=weights)
    worst = max(differences(tmp_path / "chroma.onnx", chroma_run))
    assert worst < {"float16": 5e-3, "float32": 1e-5}[weights]
    stated = plain_card(tmp_path / "chroma.onnx")["parity"]
    assert stated["batch_sizes"] == BATCHES
    assert 0 < stated["relative"] < {"float16": 5e-3, "float32": 2e-5}[weights]
    assert worst < 10 * stated["relative"]  # other codes, the same kind of error
    types = {
        tensor.data_type for tensor in onnx.load(tmp_path / "chroma.onnx").graph.initializer if len(tensor.dims) == 2
    }
    assert types == {onnx.TensorProto.FLOAT16 if weights == "float16" else onnx.TensorProto.FLOAT}
    if weights == "float16":  # the same run gives the same bytes
        for path in (chroma_model, encoder_path(chroma_model)):
            assert (tmp_path / path.name).read_bytes() == path.read_bytes()


def test_rows_of_a_batch_do_not_influence_each_other(chroma_model):
    model = Model(chroma_model)
    latent, keys = codes_in(plain_card(chroma_model), 64), np.arange(64) % 12
    together = model.decode(latent, keys)
    for row in range(0, 64, 9):
        # Other sizes take other ways through a matrix product, which round differently.
        np.testing.assert_allclose(
            model.decode(latent[row : row + 1], keys[row : row + 1])[0], together[row], atol=1e-5
        )


def test_a_chroma_decoder_of_full_size_is_five_and_a_half_megabytes(tone_corpus, tmp_path):
    recipe = load_recipe("chroma-8", ["training.steps=2", "training.batch_size=8"])
    start(recipe, tone_corpus, tmp_path / "run", Options("cpu"))
    run = Run.open(tmp_path / "run")
    export(run, tmp_path / "half.onnx")
    weights = sum(p.numel() for n, p in network_of(run).named_parameters() if n.startswith(("decoder", "output")))
    assert weights == pytest.approx(2.8e6, rel=0.02)
    card = len(json.dumps(plain_card(tmp_path / "half.onnx")))
    assert (tmp_path / "half.onnx").stat().st_size == pytest.approx(2 * weights + card, rel=0.02)
    encoder = onnx.load(encoder_path(tmp_path / "half.onnx"))
    assert max(tensor.ByteSize() for tensor in encoder.graph.initializer) < 30e6
    assert encoder.ByteSize() < 7e6


def test_files_are_plain_and_pass_the_checker(chroma_model):
    assert {path.name for path in chroma_model.parent.iterdir()} == {"chroma.onnx", "chroma.encoder.onnx"}
    for path in (chroma_model, encoder_path(chroma_model)):
        model = onnx.load(path, load_external_data=False)
        onnx.checker.check_model(model, full_check=True)
        assert not [tensor for tensor in model.graph.initializer if tensor.data_location == onnx.TensorProto.EXTERNAL]
        assert {entry.domain for entry in model.opset_import} == {""}  # ONNX's own operators alone
        assert not model.functions


def test_files_say_nothing_of_the_machine_that_wrote_them(chroma_model, chroma_run):
    for path in (chroma_model, encoder_path(chroma_model)):
        content = path.read_bytes()
        for trace in (
            b"site-packages",
            b".py",
            b"/tmp",
            str(chroma_run.folder).encode(),
            str(chroma_model.parent).encode(),
        ):
            assert trace not in content


def test_inputs_and_outputs_are_those_of_the_contract(chroma_model, small_model):
    for path, latents, bins in ((chroma_model, 8, 513), (small_model, 8, 513)):
        decoder, encoder = plain_session(path), plain_session(encoder_path(path))
        shapes = {i.name: i.shape for i in (*decoder.get_inputs(), *decoder.get_outputs())}
        assert shapes == {"latent": ["voice", latents], "chroma": ["voice", 12], "frame": ["voice", bins]}
        shapes = {i.name: i.shape for i in (*encoder.get_inputs(), *encoder.get_outputs())}
        assert shapes == {"audio": ["batch", 1024], "chroma": ["batch", 12], "latent": ["batch", latents]}


# ---- the encoder


def test_the_encoder_computes_its_features_with_onnxs_own_transform(chroma_model):
    graph = onnx.load(encoder_path(chroma_model)).graph
    assert [node.op_type for node in graph.node].count("DFT") == 1
    assert not [tensor for tensor in graph.initializer if np.prod(tensor.dims) >= 1024 * 513]


def rounded(network):
    """The network with its matrices as the file stores them."""
    for parameter in network.parameters():
        if parameter.ndim == 2:
            parameter.data = parameter.data.half().float()
    return network


@pytest.fixture(scope="module")
def encoders(trained, chroma_model, small_run, small_model, tmp_path_factory):
    """Run and encoder of three kinds of features: magnitudes and chroma, their roots, and their differences."""
    path = tmp_path_factory.mktemp("difference") / "difference.onnx"
    export(trained("chroma-8-lrelu-difference"), path)
    return {
        "chroma": (trained("chroma-8"), encoder_path(chroma_model)),
        "root": (Run.open(small_run), encoder_path(small_model)),
        "difference": (trained("chroma-8-lrelu-difference"), encoder_path(path)),
    }


@pytest.mark.parametrize("kind", ["chroma", "root", "difference"])
@pytest.mark.parametrize("batch", BATCHES)
def test_the_encoder_gives_the_codes_of_features_computed_elsewhere(encoders, kind, batch):
    run, path = encoders[kind]
    rng = np.random.default_rng(batch)
    audio = (rng.standard_normal((batch, 1024)) * 10 ** rng.uniform(-3, 0, (batch, 1))).astype(np.float32)
    chroma = one_hot(rng.integers(12, size=batch))
    window = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(1024) / 1024)
    spectra = np.abs(np.fft.rfft(audio.astype(np.float64) * window))
    frames = (spectra / spectra.max(1, keepdims=True)).astype(np.float32)
    with torch.no_grad():
        expected = rounded(network_of(run)).encode(torch.from_numpy(frames), torch.from_numpy(chroma)).numpy()
    feeds = {"audio": audio} | ({"chroma": chroma} if run.recipe.network.augmentation == "chroma" else {})
    codes = plain_session(path).run(["latent"], feeds)[0]
    np.testing.assert_allclose(codes, expected, atol=2e-4 * max(1.0, np.ptp(expected)))


def test_silence_has_a_code_too(chroma_model):
    feeds = {"audio": np.zeros((2, 1024), np.float32), "chroma": one_hot([0, 5])}
    assert np.isfinite(plain_session(encoder_path(chroma_model)).run(["latent"], feeds)[0]).all()


# ---- the card


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
        assert card["prior"] == {"uniform": [0.0, 1.0]}


def test_the_card_says_which_pitch_classes_and_octave_were_heard(chroma_run, chroma_model, small_model, tmp_path):
    assert plain_card(small_model)["chroma"] == {"trained": list(range(12)), "octave": 4}
    store = build(chroma_run.corpus(), "train", chroma_run.recipe.frames, tmp_path, 0)
    heard = sorted({int(k) for k in store.pitch_classes[:, 0]})
    assert plain_card(chroma_model)["chroma"] == {"trained": heard, "octave": 4}


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
        assert verdict.told == verdict.width == width


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
    assert Model(path).verify().told == len(made["points"])
    prove_again(path)
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
        prove_again(path)
    assert path.read_bytes() == before


def test_models_that_ship_are_accountable_for_every_output():
    for path in shipped_models().values():
        verdict = Model(path).verify()
        assert verdict.passed, path
        assert verdict.told == verdict.width, path


def test_a_wrong_weight_does_not_pass_its_reference(chroma_model, tmp_path):
    model = onnx.load(chroma_model)
    tensor = max(model.graph.initializer, key=lambda t: np.prod(t.dims))
    values = onnx.numpy_helper.to_array(tensor) * np.float16(1.05)
    tensor.CopyFrom(onnx.numpy_helper.from_array(values, tensor.name))
    onnx.save(model, tmp_path / "wrong.onnx")
    assert not Model(tmp_path / "wrong.onnx").verify().passed


@pytest.mark.usefixtures("traced_once")
def test_what_is_said_on_the_label_is_on_the_card(chroma_run, tmp_path):
    labels = Labels("Bells", "bells in the rain", "CC-BY-4.0", "the bell ringers")
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


# ---- every recipe


def check_recipe(trained, name, tmp_path):
    """Train, export, open and play."""
    run = trained(name)
    card = export(run, tmp_path / "model.onnx")
    conditioned = run.recipe.network.skip
    assert (card.chroma is not None) == conditioned
    assert len(card.latents) == run.recipe.network.latents
    assert (
        json.loads(card.model_dump_json())["prior"]
        == PRIORS[run.recipe.network.variational, run.recipe.network.bottleneck]
    )
    assert max(differences(tmp_path / "model.onnx", run)) < 5e-3
    model = Model(tmp_path / "model.onnx")
    assert model.verify().passed
    instrument = Instrument(Patch("plain", Preset(format=1, model="model.onnx"), model, tmp_path), 44100)
    sound = instrument.process([NoteOn(0, 0, 64, 127), NoteOff(44100, 0, 64)], 2 * 44100)
    assert np.isfinite(sound).all()
    level_db = 10 * np.log10(np.mean(np.sum(np.square(sound[:, 4410:44100]), axis=0)))
    assert -32 < level_db < -12  # a voice's -20 LUFS, less what the ear hears less of
    assert np.abs(sound[:, -4410:]).max() < 1e-4


@pytest.mark.parametrize("name", DIFFERENT)
def test_every_kind_of_network_exports_and_plays(trained, tmp_path, name):
    check_recipe(trained, name, tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize(
    "name", sorted({name for name in shipped_recipes() if load_recipe(name).family == "chroma"} - set(DIFFERENT))
)
def test_every_other_recipe_exports_and_plays(trained, tmp_path, name):
    check_recipe(trained, name, tmp_path)


# ---- what goes wrong


@pytest.mark.parametrize("which", [0, 1])
@pytest.mark.parametrize("amount", [0.3, np.nan])
@pytest.mark.usefixtures("traced_once")
def test_a_file_that_differs_from_torch_is_not_kept(chroma_run, tmp_path, monkeypatch, which, amount):
    spoiled(monkeypatch, which, np.float32(amount * (10 if which else 1)))
    with pytest.raises(Failure, match=r"onnxruntime differs from torch by .* is allowed; no file was kept") as caught:
        export(chroma_run, tmp_path / "model.onnx")
    assert "\n" not in str(caught.value)
    assert list(tmp_path.iterdir()) == []


def moved(monkeypatch, which, amount, where=None):
    """Add a constant to what the decoder (0) or the encoder (1) gives, or to the rows alone for which nodes say so."""
    traced, original = [], exporting.trace

    def trace(*arguments):
        model = original(*arguments)
        if len(traced) == which:
            graph = model.graph
            (output,) = graph.output
            for node in graph.node:
                node.output[:] = ["unmoved" if name == output.name else name for name in node.output]
                node.input[:] = ["unmoved" if name == output.name else name for name in node.input]
            graph.initializer.append(onnx.numpy_helper.from_array(np.array([amount], np.float32), "amount"))
            graph.node.extend(where(graph) if where else [])
            added = ["amount", "there"] if where else ["amount"]
            graph.node.append(onnx.helper.make_node("Mul" if where else "Identity", added, ["moving"]))
            graph.node.append(onnx.helper.make_node("Add", ["unmoved", "moving"], [output.name]))
        traced.append(1)
        return model

    monkeypatch.setattr(exporting, "trace", trace)


@pytest.fixture(scope="module")
def spans(chroma_run):
    """How far apart the least and the largest number of the decoder's and of the encoder's outputs are."""
    network = network_of(chroma_run)
    codes = (
        exporting.FAMILIES["chroma"]
        .graphs(network, chroma_run.recipe, chroma_run.corpus(), chroma_run.info.tonal)
        .codes
    )
    latent, keys = exporting.probes(codes, 512, 0)
    with torch.no_grad():
        frame = network.decode(torch.from_numpy(latent), torch.from_numpy(one_hot(keys))).numpy()
    return float(np.ptp(frame)), float(np.ptp(codes.latents))


@pytest.mark.parametrize(
    ("which", "weights", "allowed"),
    [(0, "float16", 5e-3), (0, "float32", 2e-5), (1, "float16", 5e-3), (1, "float32", 5e-4)],
)
@pytest.mark.usefixtures("traced_once")
def test_a_file_that_is_off_by_little_more_than_is_allowed_is_not_kept(
    chroma_run, spans, tmp_path, monkeypatch, which, weights, allowed
):
    moved(monkeypatch, which, 2 * allowed * spans[which])
    with pytest.raises(Failure, match=rf"differs from torch by .*, {allowed:g} is allowed; no file was kept"):
        export(chroma_run, tmp_path / "model.onnx", weights=weights)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.usefixtures("traced_once")
def test_an_encoder_that_is_wrong_about_some_sounds_alone_is_not_kept(chroma_run, tmp_path, monkeypatch):
    """It is wrong about sounds that begin above a level; in each batch there are others."""
    corpus, length = chroma_run.corpus(), chroma_run.recipe.frames.frame_length
    begins = {batch: exporting._sounds(corpus, length, batch)[:, 0] for batch in BATCHES}
    level = np.float32(max(float(begin.min()) for begin in begins.values()))
    assert any((begin > level).any() for begin in begins.values())

    def loud(graph):
        graph.initializer.extend(
            onnx.numpy_helper.from_array(value, name)
            for name, value in {
                "first": np.array([0], np.int64),
                "second": np.array([1], np.int64),
                "level": np.array([level], np.float32),
            }.items()
        )
        return [
            onnx.helper.make_node("Slice", ["audio", "first", "second", "second"], ["begins"]),
            onnx.helper.make_node("Greater", ["begins", "level"], ["louder"]),
            onnx.helper.make_node("Cast", ["louder"], ["there"], to=onnx.TensorProto.FLOAT),
        ]

    moved(monkeypatch, 1, 1.0, loud)
    with pytest.raises(Failure, match="the encoder in onnxruntime differs from torch"):
        export(chroma_run, tmp_path / "model.onnx")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("count", exporting.BATCHES)
def test_parity_is_tried_inside_the_range_and_at_its_very_ends(count):
    rng = np.random.default_rng(4)
    found = rng.normal(size=(50, 3)) * [0.1, 1.0, 30.0] + [0.0, 5.0, -7.0]
    codes = Codes(found.astype(np.float32), [""] * 50)
    low, high = codes.latents.min(0), codes.latents.max(0)
    tried = np.concatenate([exporting.probes(codes, count, seed)[0] for seed in range(max(1, 64 // count))])
    assert np.all((tried >= low) & (tried <= high))
    for column, least, most in zip(tried.T, low, high, strict=True):
        assert {least, most} <= set(column)  # each end
        assert len(set(column)) > len(tried) / 2  # and many places in between
    at_ends = np.sum((tried == low) | (tried == high), axis=1)
    assert {0, 1, 2} <= set(at_ends.tolist())  # one latent alone, several at once, none


@pytest.mark.usefixtures("traced_once")
def test_a_failed_export_keeps_the_old_files(chroma_run, tmp_path, monkeypatch):
    old = {"model.onnx": b"old decoder", "model.encoder.onnx": b"old encoder"}
    for name, content in old.items():
        (tmp_path / name).write_bytes(content)
    spoiled(monkeypatch, 1, np.float32(3))
    with pytest.raises(Failure):
        export(chroma_run, tmp_path / "model.onnx", overwrite=True)
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == old


@pytest.mark.usefixtures("traced_once")
def test_parity_is_that_of_the_file_and_not_of_the_graph_in_memory(chroma_run, tmp_path, monkeypatch):
    original = exporting.save

    def save(graph, path, metadata):
        original(graph, path, metadata)
        model = onnx.load(path)
        tensor = max(model.graph.initializer, key=lambda t: np.prod(t.dims))
        values = onnx.numpy_helper.to_array(tensor) * np.float16(1.1)
        tensor.CopyFrom(onnx.numpy_helper.from_array(values, tensor.name))
        onnx.save(model, path)

    monkeypatch.setattr(exporting, "save", save)
    with pytest.raises(Failure, match="differs from torch"):
        export(chroma_run, tmp_path / "model.onnx")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("existing", ["model.onnx", "model.encoder.onnx"])
@pytest.mark.usefixtures("traced_once")
def test_an_output_that_exists_is_kept(chroma_run, tmp_path, existing):
    (tmp_path / existing).write_bytes(b"mine")
    with pytest.raises(UserError, match=rf"{existing} exists; give another name, or --overwrite"):
        export(chroma_run, tmp_path / "model.onnx")
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == {existing: b"mine"}
    export(chroma_run, tmp_path / "model.onnx", overwrite=True)
    assert Model(tmp_path / "model.onnx").verify().passed


@pytest.mark.parametrize("name", ["model", "model.wav", "model.encoder.onnx", "none/model.onnx", ".", "..", ".onnx"])
def test_a_name_that_is_no_models_is_refused(chroma_run, tmp_path, monkeypatch, name):
    from pathlib import Path

    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError) as caught:
        export(chroma_run, Path(name))
    assert name in str(caught.value)
    assert list(tmp_path.iterdir()) == []


def test_a_run_without_a_checkpoint_is_refused(chroma_run, tmp_path):
    run = Run.create(tmp_path / "run", chroma_run.recipe, chroma_run.info)
    with pytest.raises(UserError, match=r"has no checkpoint last\.ckpt yet; train it first"):
        export(run, tmp_path / "model.onnx")
    assert not list(tmp_path.glob("*.onnx"))


def test_the_checkpoint_that_is_asked_for_is_exported(trained):
    run = trained("chroma-2")
    content = checkpoint.load(run.best)
    content["progress"]["step"] = 13
    torch.save(content, run.best)
    assert evaluate.trained(run, "best")[2] == 13
    assert evaluate.trained(run, "last")[2] == 60
    run.best.unlink()
    assert evaluate.trained(run, "best")[2] == 60


def test_a_run_whose_corpus_is_gone_is_refused(chroma_run, tmp_path):
    info = chroma_run.info.model_copy(update={"corpus": "../gone"})
    run = Run.create(tmp_path / "run", chroma_run.recipe, info)
    for name in ("best.ckpt", "last.ckpt"):
        (run.folder / name).write_bytes((chroma_run.folder / name).read_bytes())
    with pytest.raises(UserError, match=r"corpus .*gone does not exist"):
        export(run, tmp_path / "model.onnx")
    assert not list(tmp_path.glob("*.onnx"))


def test_a_model_whose_latents_never_vary_is_refused(chroma_run, tmp_path):
    run = Run.create(tmp_path / "run", chroma_run.recipe, chroma_run.info)
    run = Run(run.folder, run.recipe, run.info.model_copy(update={"corpus": str(chroma_run.corpus().folder)}))
    content = checkpoint.load(chroma_run.last)
    content["model"]["bottleneck.weight"].zero_()
    torch.save(content, run.last)
    with pytest.raises(Failure, match=r"every sound has the same code.*training\.seed"):
        export(run, tmp_path / "model.onnx")
    assert not list(tmp_path.glob("*.onnx"))
