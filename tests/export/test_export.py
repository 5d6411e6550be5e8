"""An exported model gives what was trained, and any host can load it."""

import json

import numpy as np
import onnx
import pytest
import torch
from timbrel.export.export import export
from timbrel.host.events import NoteOff, NoteOn
from timbrel.host.model.encoder import encoder_path
from timbrel.host.model.model import Model
from timbrel.host.play.rack import ChannelInstrument
from timbrel.host.preset.library import Patch
from timbrel.host.preset.preset import Preset
from timbrel.train.families.recipes import load_recipe, shipped_recipes
from timbrel.train.launch import start
from timbrel.train.loop import RunOptions
from timbrel.train.run import Run

from .exported import BATCHES, in_order, network_of, one_hot, plain_card, plain_session

# One of each graph: with and without chroma in and out, ways to append, three ways to a code, two domains.
DIFFERENT = ["tuned-2", "chroma-8-vae", "chroma-8-lrelu-difference"]  # one for each prior
PRIORS = {  # what codes are trained toward, by (variational, bottleneck)
    (True, "sigmoid"): {"normal": [0.0, 1.0]},
    (False, "sigmoid"): {"uniform": [0.0, 1.0]},
    (False, "lrelu"): None,
}
TURNED_PRIOR = {"normal": [0.5, 0.28868]}  # of the mean and deviation of numbers uniform on 0 to 1


def codes_in(card, count, seed=0):
    """Codes inside and at the ends of every knob's span."""
    low, high = (np.array([knob[end] for knob in card["latents"]]) for end in ("low", "high"))
    rng = np.random.default_rng(seed)
    inside = rng.uniform(low, high, (count, len(low)))
    return np.where(rng.random(inside.shape) < 0.3, np.where(rng.random(inside.shape) < 0.5, low, high), inside).astype(
        np.float32
    )


def differences(path, run):
    """The largest difference of the decoder from torch for each batch, over the range of what torch gives."""
    session, card, network = plain_session(path), plain_card(path), in_order(run)
    for batch in (*BATCHES, 3, 33):
        latent, chroma = codes_in(card, batch, batch), one_hot(np.arange(batch) % 12)
        feeds = {"latent": latent} | ({"chroma": chroma} if card["chroma"] else {})
        frame = session.run(["frame"], feeds)[0]
        with torch.no_grad():
            expected = network.decode(torch.from_numpy(latent), torch.from_numpy(chroma)).numpy()
        assert frame.shape == expected.shape
        yield np.abs(frame - expected).max() / np.ptp(expected)


# ---- the decoder


@pytest.mark.parametrize("weights", ["float16", "float32"])
def test_the_file_gives_what_torch_gives_at_every_batch_size(chroma_run, chroma_model, tmp_path, request, weights):
    if weights == "float32":
        request.getfixturevalue("traced_once")
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


def test_each_weight_of_the_decoder_takes_two_bytes_of_its_file(chroma_run, chroma_model):
    """But for its vectors, which stay exact; what the card and the map take is no part of the graph."""
    weights = [p for n, p in network_of(chroma_run).named_parameters() if n.startswith(("decoder", "output"))]
    matrices = sum(p.numel() for p in weights if p.ndim == 2)
    rest = sum(p.numel() for p in weights if p.ndim == 1)
    graph = onnx.load(chroma_model).graph
    assert graph.ByteSize() == pytest.approx(2 * matrices + 4 * rest, abs=8000)
    assert matrices > 20000


def test_rows_of_a_batch_do_not_influence_each_other(chroma_model):
    model = Model(chroma_model)
    latent, keys = codes_in(plain_card(chroma_model), 64), np.arange(64) % 12
    together = model.decode(latent, keys)
    for row in range(0, 64, 9):
        # Other sizes take other ways through a matrix product, which round differently.
        np.testing.assert_allclose(
            model.decode(latent[row : row + 1], keys[row : row + 1])[0], together[row], atol=1e-5
        )


@pytest.mark.slow
def test_a_chroma_decoder_of_full_size_is_five_and_a_half_megabytes(tone_corpus, tmp_path):
    recipe = load_recipe("chroma-8", ["training.steps=2", "training.batch_size=8"])
    start(recipe, tone_corpus, tmp_path / "run", RunOptions("cpu"))
    run = Run.open(tmp_path / "run")
    export(run, tmp_path / "half.onnx")
    weights = sum(p.numel() for n, p in in_order(run).named_parameters() if n.startswith(("decoder", "output")))
    assert weights == pytest.approx(2.8e6, rel=0.02)
    card = len(json.dumps(plain_card(tmp_path / "half.onnx")))
    assert (tmp_path / "half.onnx").stat().st_size == pytest.approx(2 * weights + card, rel=0.02)
    encoder = onnx.load(encoder_path(tmp_path / "half.onnx"))
    assert max(tensor.ByteSize() for tensor in encoder.graph.initializer) < 30e6
    assert encoder.ByteSize() < 7e6


def test_the_file_keeps_a_map_with_the_codes_of_its_landmarks_among_its_dots(chroma_model):
    model = Model(chroma_model)
    plane = model.map
    assert len(model.card.landmarks) > 10
    for mark in model.card.landmarks:
        dot = np.abs(plane.codes - np.float32(mark.latent)).max(1).argmin()
        np.testing.assert_allclose(plane.codes[dot], mark.latent, atol=1e-3)
        assert (plane.labels[plane.label[dot]], plane.notes[dot]) == (mark.label, mark.chroma)


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
def exported(trained, tmp_path_factory):
    """The card and the file of a recipe's run, which is exported once."""
    made = {}

    def of(name):
        if name not in made:
            path = tmp_path_factory.mktemp("models") / "model.onnx"
            made[name] = export(trained(name), path), path
        return made[name]

    return of


@pytest.fixture(scope="module")
def encoders(trained, exported, chroma_model, small_run, small_model):
    """Run and encoder of three kinds of features: magnitudes and chroma, their roots, and their differences."""
    _, path = exported("chroma-8-lrelu-difference")
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
        expected = rounded(in_order(run)).encode(torch.from_numpy(frames), torch.from_numpy(chroma)).numpy()
    feeds = {"audio": audio} | ({"chroma": chroma} if run.recipe.network.augmentation == "chroma" else {})
    codes = plain_session(path).run(["latent"], feeds)[0]
    np.testing.assert_allclose(codes, expected, atol=2e-4 * max(1.0, np.ptp(expected)))


def test_silence_has_a_code_too(chroma_model):
    feeds = {"audio": np.zeros((2, 1024), np.float32), "chroma": one_hot([0, 5])}
    assert np.isfinite(plain_session(encoder_path(chroma_model)).run(["latent"], feeds)[0]).all()


# ---- every recipe


def check_recipe(run, card, path):
    """Open and play what was trained and exported."""
    conditioned = run.recipe.network.skip
    assert (card.chroma is not None) == conditioned
    assert len(card.latents) == run.recipe.network.latents
    is_turned = isinstance(in_order(run).rotation, torch.nn.Linear)
    prior = PRIORS[run.recipe.network.variational, run.recipe.network.bottleneck]
    assert json.loads(card.model_dump_json())["prior"] == (TURNED_PRIOR if is_turned else prior)
    assert max(differences(path, run)) < 5e-3
    model = Model(path)
    assert model.verify().passed
    instrument = ChannelInstrument(Patch("plain", Preset(format=1, model="model.onnx"), model, path.parent), 44100)
    sound = instrument.process([NoteOn(0, 0, 64, 127), NoteOff(44100, 0, 64)], 2 * 44100)
    assert np.isfinite(sound).all()
    level_db = 10 * np.log10(np.mean(np.sum(np.square(sound[:, 4410:44100]), axis=0)))
    assert -32 < level_db < -12  # a voice's -20 LUFS, less what the ear hears less of
    assert np.abs(sound[:, -4410:]).max() < 1e-4


@pytest.mark.parametrize("name", DIFFERENT)
def test_every_kind_of_network_exports_and_plays(trained, exported, name):
    check_recipe(trained(name), *exported(name))


@pytest.mark.slow
@pytest.mark.parametrize(
    "name", sorted({name for name in shipped_recipes() if load_recipe(name).family == "chroma"} - set(DIFFERENT))
)
def test_every_other_recipe_exports_and_plays(trained, exported, name):
    check_recipe(trained(name), *exported(name))
