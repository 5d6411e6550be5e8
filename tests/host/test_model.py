"""Model files: every wrong file is refused in one line, rows know nothing of their batch, a model proves itself."""

import itertools
import json
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from timbrel.host.errors import UserError
from timbrel.host.model import Model


def refusal(path):
    with pytest.raises(UserError) as caught:
        Model(path)
    message = str(caught.value)
    assert "\n" not in message
    assert str(path) in message
    assert len(message) - len(str(path)) < 500
    return message


@pytest.fixture
def path(tmp_path):
    return tmp_path / "model.onnx"


@pytest.fixture(scope="module")
def wide(tmp_path_factory, analytic):
    """A dense decoder of the publication's size with random weights."""
    rng = np.random.default_rng(0)
    sizes = [20, 16, 32, 64, 128, 256, 512, 1024, 2049]
    nodes = [helper.make_node("Concat", ["latent", "chroma"], ["x0"], axis=1)]
    weights = []
    for i, (a, b) in enumerate(itertools.pairwise(sizes)):
        matrix = (rng.standard_normal((a, b)) * np.sqrt(2 / a)).astype(np.float32)
        bias = (0.01 * rng.standard_normal(b)).astype(np.float32)
        weights += [numpy_helper.from_array(matrix, f"w{i}"), numpy_helper.from_array(bias, f"b{i}")]
        nodes.append(helper.make_node("Gemm", [f"x{i}", f"w{i}", f"b{i}"], [f"y{i}"]))
        last = b == sizes[-1]
        nodes.append(
            helper.make_node("Relu", [f"y{i}"], ["frame"])
            if last
            else helper.make_node("LeakyRelu", [f"y{i}"], [f"x{i + 1}"], alpha=0.1)
        )
    latent, chroma, frame = (
        helper.make_tensor_value_info(name, TensorProto.FLOAT, ["voice", width])
        for name, width in (("latent", 8), ("chroma", 12), ("frame", 2049))
    )
    made = analytic(latents=8, sample_rate=44100, frame_length=4096, hop_length=1024)
    file = tmp_path_factory.mktemp("wide") / "wide.onnx"
    return Model(made.save(file, graph=helper.make_graph(nodes, "dense", [latent, chroma], [frame], weights)))


def test_a_missing_file_is_refused(path):
    assert "does not exist" in refusal(path)


def test_a_folder_is_refused(path):
    path.mkdir()
    assert "is a folder" in refusal(path)


def test_a_file_that_may_not_be_read_is_refused(tiny_path, monkeypatch):
    monkeypatch.setattr("os.access", lambda *_: False)  # root may read everything
    assert "no right to read it" in refusal(tiny_path())


@pytest.mark.parametrize("content", [b"", b"\0", b"not a model\n" * 50, b"\xff" * 1000, b"RIFF\x00\x00\x00\x00WAVE"])
def test_a_file_of_something_else_is_refused(path, content):
    path.write_bytes(content)
    refusal(path)


def test_a_file_cut_off_anywhere_is_refused(path, tiny_path):
    whole = tiny_path().read_bytes()
    for kept in [*range(1, len(whole) - 1, len(whole) // 40), len(whole) - 1]:
        path.write_bytes(whole[:kept])
        refusal(path)


def test_someone_elses_onnx_file_is_refused(path, analytic):
    analytic().save(path, card="")
    assert "without a timbrel card" in refusal(path)


def test_an_encoder_is_no_instrument(path, analytic):
    made = helper.make_model(analytic().graph(), opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    helper.set_model_props(made, {"timbrel.encoder": "{}"})
    onnx.save(made, path)
    assert "without a timbrel card" in refusal(path)


def test_a_card_of_a_newer_format_is_refused(path, analytic):
    analytic().save(path, card=analytic().card(format=2))
    assert "update timbrel" in refusal(path)


@pytest.mark.parametrize("card", ["{", "[]", '{"format": 1}', "no json"])
def test_a_broken_card_is_refused(path, analytic, card):
    analytic().save(path, card=card)
    assert "card" in refusal(path)


def with_latents(made, count):
    """A card that holds together, of a model with another number of latents."""
    other = type(made)(latents=count)
    return other.card()


MISMATCHES = {
    "fewer latents": lambda made: with_latents(made, 1),
    "more latents": lambda made: with_latents(made, 3),
    "another width": lambda made: type(made)(frame_length=2048).card(),
    "no chroma": lambda made: made.card(chroma=None),
    "a state that is not there": lambda made: made.card(
        kind="stream", state=[{"name": "h", "shape": [4]}], scaling={"mean": 0.0, "deviation": 1.0}
    ),
}


@pytest.mark.parametrize("what", MISMATCHES)
def test_a_card_that_is_not_of_its_graph_is_refused(path, analytic, what):
    made = analytic()
    made.save(path, card=MISMATCHES[what](made))
    assert "are not the card's" in refusal(path)


def test_a_card_with_chroma_on_a_graph_without_is_refused(path, analytic):
    made = analytic(chroma=False)
    made.save(path, card=analytic().card())
    assert "chroma" in refusal(path)


def test_a_graph_that_gives_another_width_than_it_says_is_refused_or_warned_of_by_onnxruntime(path, analytic):
    made = analytic()
    made.save(path, graph=made.graph(width=600))
    refusal(path)


@pytest.mark.parametrize("rows", [1, 16])
def test_a_fixed_voice_axis_is_refused(path, analytic, rows):
    made = analytic()
    made.save(path, graph=made.graph(voice=rows))
    assert "must be dynamic" in refusal(path)


def test_outputs_under_another_name_are_refused(path, analytic):
    graph = analytic().graph()
    graph.output[0].name = graph.node[-1].output[0] = "spectrum"
    analytic().save(path, graph=graph)
    assert "are not the card's" in refusal(path)


@pytest.mark.parametrize("latents", [1, 2, 8])
@pytest.mark.parametrize("chroma", [True, False])
def test_decoded_frames_are_those_of_the_closed_form(tiny, analytic, latents, chroma):
    model, made = tiny(latents=latents, chroma=chroma), analytic(latents=latents, chroma=chroma)
    codes = np.random.default_rng(1).uniform(-0.5, 1.5, (24, latents)).astype(np.float32)
    pitch = np.arange(24) % 12
    expected = np.array([made.frame(code, p) for code, p in zip(codes, pitch, strict=True)])
    assert model.decode(codes, pitch) == pytest.approx(expected, abs=1e-5)


@pytest.mark.parametrize("size", [1, 2, 3, 5, 7, 16, 63, 64, 65, 127])
def test_a_row_is_the_same_to_the_bit_in_every_batch(wide, size):
    rng = np.random.default_rng(2)
    codes, pitch = rng.uniform(0, 1, (128, 8)).astype(np.float32), rng.integers(0, 12, 128)
    whole = wide.decode(codes, pitch)
    assert whole.max() > 0.1
    parts = [wide.decode(codes[at : at + size], pitch[at : at + size]) for at in range(0, 128, size)]
    assert np.array_equal(np.concatenate(parts), whole)
    order = rng.permutation(128)
    assert np.array_equal(wide.decode(codes[order], pitch[order]), whole[order])


@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="threads are counted in /proc")
def test_a_model_starts_no_thread(tiny_path):
    before = len(list(Path("/proc/self/task").iterdir()))
    model = Model(tiny_path())
    model.decode(np.full((64, 2), 0.5, np.float32), np.zeros(64, int))
    assert len(list(Path("/proc/self/task").iterdir())) == before


def test_a_model_proves_itself(tiny):
    verdict = tiny().verify()
    assert verdict.passed
    assert verdict.difference <= verdict.tolerance == 1e-5


@pytest.mark.parametrize("scale", [1.001, 0.0, np.nan, np.inf])
def test_a_model_with_a_changed_weight_does_not_prove_itself(path, analytic, scale):
    made = analytic()
    made.save(path, graph=made.graph(scale=scale))
    assert not Model(path).verify().passed


def test_a_changed_reference_does_not_prove_itself(path, analytic):
    card = analytic().card()
    card["reference"]["frame"][1][2] += 0.01
    analytic().save(path, card=card)
    assert Model(path).verify().difference == pytest.approx(0.01, abs=1e-5)


def test_the_digest_is_that_of_the_file(tiny_path, tiny):
    import hashlib

    assert tiny().sha256 == hashlib.sha256(tiny_path().read_bytes()).hexdigest()


def test_the_card_reads_as_written(tiny, analytic):
    assert json.loads(tiny().card.model_dump_json())["latents"] == analytic().card()["latents"]
