"""A decoder rebuilt from its file is the one that hosts play, and has the gradients of what it computes."""

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper
from timbrel.export.families.chroma import ChromaDecoder
from timbrel.export.families.clip import ClipDecoder
from timbrel.export.families.partials import PartialsDecoder
from timbrel.export.graphs import NetworkDecoder, store_half, trace
from timbrel.export.onnx_to_torch import OPERATORS, Graph, RebuiltDecoder
from timbrel.host.errors import UserError
from timbrel.host.kinds.card_fields import RecurrentState
from timbrel.host.model.model import Model, open_session
from timbrel.host.preset.shipped import shipped_models
from timbrel.train.families import FAMILIES
from timbrel.train.families.recipes import load_recipe, shipped_recipes

BATCHES = (1, 2, 7, 64)
PARITY = 2e-5  # of the output's range: what float32 is allowed where models are exported

HIDDEN = ["network.hidden=[16,8]"]
PARTIALS = ["frames.low=48", "frames.high=72", "network.encoder=[16]", "network.decoder=[16,16]"]
CLIPS = ["frames.frame_length=4096", "frames.hop_length=4096", "network.latents=5"]
WAVES = ["network.model_size=1", "network.latents=5"]
WORDS = ["network.labels=true", 'network.words=["a","b","c"]']
HITS = [*CLIPS, "frames.sample_rate=8000", "network.components=8", "network.hidden=16"]
TINY = [  # recipe, what makes it small, and what is asked beside the latents
    ("chroma-8", HIDDEN, "chroma"),
    ("chroma-2-lrelu-noskip", HIDDEN, None),
    ("chroma-8-vae", HIDDEN, "chroma"),
    ("tuned-8", HIDDEN, "chroma"),
    ("tuned-partials", PARTIALS, "pitch"),
    ("grain-plain", HIDDEN, None),
    ("grain-adversarial", HIDDEN, None),
    ("grain-spectral", HIDDEN, None),
    ("grain-convolutional", [], None),
    ("grain-noise", HIDDEN, None),
    ("clip-wavegan", WAVES, None),
    ("clip-wavegan", [*WAVES, *WORDS, "network.average=0.9"], "label"),
    ("tuned-wavegan", [*WAVES, *WORDS], "label"),
    ("clip-dcgan", [*CLIPS, "network.channels=[2,2]"], None),
    ("clip-dcgan-halves", [*CLIPS, "network.channels=[2,2]"], None),
    ("tuned-clip", HITS, None),
    ("tuned-clip", [*HITS, *WORDS], "label"),
]
# Of networks that differ in their training, or in being told labels alone, one is tried each time; of tuned-clip
# models that ship.
ALIKE = {("chroma-8-vae", "chroma"), ("tuned-8", "chroma"), ("grain-plain", None), ("grain-adversarial", None)}
ALIKE |= {("tuned-wavegan", "label"), ("clip-wavegan", None), ("tuned-clip", None), ("clip-dcgan-halves", None)}
ALIKE |= {("tuned-clip", "label")}
NUMBERS = [
    pytest.param(number, marks=pytest.mark.slow) if (name, asked) in ALIKE else number
    for number, (name, _, asked) in enumerate(TINY)
]
DECODERS = {
    "chroma": ChromaDecoder,
    "partials": PartialsDecoder,
    "grain": NetworkDecoder,
    "clip": ClipDecoder,
    "gan": NetworkDecoder,
    "logistic-gan": NetworkDecoder,
    "dcgan": NetworkDecoder,
    "halves": NetworkDecoder,
}


def random(rows, width, seed=0):
    return np.random.default_rng(seed).uniform(-1, 1, (rows, width)).astype(np.float32)


def relative(found, expected):
    return np.abs(found - expected).max() / max(np.ptp(expected), 1e-9)


@pytest.mark.parametrize("name", sorted(name for name, path in shipped_models().items() if not Model(path).card.state))
def test_a_shipped_decoder_gives_what_hosts_hear_at_any_batch(name):
    model = Model(shipped_models()[name])
    decoder, card = RebuiltDecoder(model), model.card
    low, high = ([getattr(latent, end) for latent in card.latents] for end in ("low", "high"))
    for rows in BATCHES:
        rng = np.random.default_rng(rows)
        codes = rng.uniform(low, high, (rows, len(low))).astype(np.float32)
        asked = rng.integers(max(1, card.conditions), size=rows)
        told = torch.from_numpy(asked)[:, None].float()
        if card.partials is None:
            told = torch.eye(card.conditions)[torch.from_numpy(asked)] if card.conditions else None
        assert relative(decoder(torch.from_numpy(codes), told).numpy(), model.decode(codes, asked)) < PARITY


@pytest.fixture(scope="module")
def graph_of(tmp_path_factory):
    """The file of a recipe's decoder with random weights, made once, and the inputs it takes for some rows."""
    made = {}

    def graph(number):
        name, changes, asked = TINY[number]
        if number not in made:
            recipe = load_recipe(name, changes)
            torch.manual_seed(number)
            network = FAMILIES[recipe.family].network(recipe).eval()
            for layer in network.modules():  # as trained: neither 0 nor 1
                if isinstance(layer, torch.nn.BatchNorm1d):
                    layer.running_mean.uniform_(-0.2, 0.2)
                    layer.running_var.uniform_(0.5, 2)
            inputs = {"latent": torch.rand(3, recipe.network.latents)}
            if asked:
                inputs[asked] = {"chroma": torch.eye(12)[:3], "label": torch.eye(3), "pitch": 60 + torch.rand(3, 1)}[
                    asked
                ]
            path = tmp_path_factory.mktemp("graphs") / "decoder.onnx"
            written = trace(DECODERS[recipe.family](network), inputs, ["frame"], "voice")
            store_half(written)
            onnx.save(written, path)
            made[number] = path, {key: value.shape[1] for key, value in inputs.items()}
        return made[number]

    return graph


@pytest.mark.parametrize("number", NUMBERS)
def test_the_decoder_of_every_family_is_rebuilt_from_its_file(graph_of, number):
    path, widths = graph_of(number)
    graph, session = Graph(path, "frame"), open_session(path)
    for rows in BATCHES:
        inputs = {name: random(rows, width, rows) for name, width in widths.items()}
        (expected,) = session.run(["frame"], inputs)
        found = graph(**{name: torch.from_numpy(value) for name, value in inputs.items()})
        assert relative(found.numpy(), expected) < PARITY


@pytest.mark.parametrize("number", NUMBERS)
def test_gradients_are_the_slopes_of_what_is_decoded(graph_of, number):
    """Against differences over 2e-6, in double precision."""
    path, widths = graph_of(number)
    graph = Graph(path, "frame").double()
    inputs = {name: torch.from_numpy(random(2, width)).double() for name, width in widths.items()}
    latent = inputs["latent"].requires_grad_()
    frame = graph(**inputs)
    weights = torch.from_numpy(random(2, frame.shape[1], 1)).double()
    assert frame.dtype == torch.float64
    (slopes,) = torch.autograd.grad((frame * weights).sum(), latent)
    step = 1e-6
    for place in range(latent.shape[1]):
        moved = torch.zeros_like(latent)
        moved[:, place] = step
        with torch.no_grad():
            ends = [graph(**inputs | {"latent": latent + sign * moved}) for sign in (1, -1)]
        difference = ((ends[0] - ends[1]) * weights).sum(1) / (2 * step)
        assert slopes[:, place].numpy() == pytest.approx(difference.numpy(), rel=1e-4, abs=1e-6)


def test_every_family_that_has_a_decoder_is_among_these():
    families = {load_recipe(name).family for name in shipped_recipes()}
    assert (
        families - {"classifier", "grain-path", "invert", "loops", "sequence"}
        == {load_recipe(name).family for name, _, _ in TINY}
        == set(DECODERS)
    )


def graph_with(path, nodes, constants=None, shape=("voice", 4)):
    """An ONNX file of nodes from ``latent`` to ``frame``."""
    initial = [numpy_helper.from_array(np.asarray(value), name) for name, value in (constants or {}).items()]
    ends = [helper.make_tensor_value_info("latent", TensorProto.FLOAT, shape)]
    outs = [helper.make_tensor_value_info("frame", TensorProto.FLOAT, None)]
    graph = helper.make_graph(nodes, "graph", ends, outs, initial)
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8), path)
    return path


INT = np.int64
WHOLE = {  # nodes that models of coming families have: flows, splits, other layouts
    "Slice": ([("Slice", ["latent", "a", "b", "c", "d"], {})], {"a": [-1], "b": [-9], "c": [1], "d": [-1]}),
    "Slice to the end": ([("Slice", ["latent", "a", "b", "c"], {})], {"a": [1], "b": [(1 << 63) - 1], "c": [1]}),
    "Split": ([("Split", ["latent", "a"], {"axis": 1})], {"a": [1, 3]}),
    "Gather": ([("Gather", ["latent", "a"], {"axis": 1})], {"a": [[3, -3], [0, 1]]}),
    "Concat": ([("Concat", ["latent", "latent"], {"axis": -1})], {}),
    "Unsqueeze": ([("Unsqueeze", ["latent", "a"], {})], {"a": [0, -1]}),
    "Reshape": ([("Reshape", ["latent", "a"], {})], {"a": [0, 2, -1]}),
    "Transpose": ([("Transpose", ["latent"], {})], {}),
    "Flatten": ([("Flatten", ["latent"], {"axis": 1})], {}),
    "ReduceMean": ([("ReduceMean", ["latent", "a"], {"keepdims": 0})], {"a": [1]}),
    "ReduceMax": ([("ReduceMax", ["latent"], {})], {}),
    "Pad": ([("Pad", ["latent", "a", "", "b"], {})], {"a": [2, -1], "b": [1]}),
    "Softmax": ([("Softmax", ["latent"], {"axis": 1})], {}),
}


@pytest.mark.parametrize("name", WHOLE)
def test_operators_that_other_graphs_may_have_are_onnx_own(tmp_path, name):
    nodes, constants = WHOLE[name]
    outputs = ["frame"] if name != "Split" else ["other", "frame"]
    made = [helper.make_node(kind, inputs, outputs, **settings) for kind, inputs, settings in nodes]
    path = graph_with(tmp_path / "g.onnx", made, {key: np.array(value, INT) for key, value in constants.items()})
    value = random(3, 4)
    (expected,) = open_session(path).run(["frame"], {"latent": value})
    assert Graph(path, "frame")(latent=torch.from_numpy(value)).numpy() == pytest.approx(expected, abs=1e-6)


UNARY = ["Abs", "Exp", "Neg", "Relu", "Sigmoid", "Softplus", "Tanh", "LeakyRelu", "Identity"]
BINARY = ["Add", "Sub", "Mul", "Div", "Max", "Min"]


@pytest.mark.parametrize("kind", [*UNARY, *BINARY])
def test_arithmetic_is_onnx_own(tmp_path, kind):
    inputs = ["latent"] if kind in UNARY else ["latent", "a"]
    constants = {} if kind in UNARY else {"a": random(1, 4, 5)}
    path = graph_with(tmp_path / "g.onnx", [helper.make_node(kind, inputs, ["frame"])], constants)
    value = random(3, 4)
    (expected,) = open_session(path).run(["frame"], {"latent": value})
    assert Graph(path, "frame")(latent=torch.from_numpy(value)).numpy() == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize("settings", [{}, {"alpha": 0.5, "beta": 3.0}, {"transB": 1, "alpha": 2.0}])
def test_products_of_matrices_are_onnx_own(tmp_path, settings):
    constants = {"weight": random(4, 4, 1), "bias": random(1, 4, 2)[0]}
    node = helper.make_node("Gemm", ["latent", "weight", "bias"], ["frame"], **settings)
    path = graph_with(tmp_path / "g.onnx", [node], constants)
    value = random(3, 4)
    (expected,) = open_session(path).run(["frame"], {"latent": value})
    assert Graph(path, "frame")(latent=torch.from_numpy(value)).numpy() == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize("strides", [1, 3])
def test_transposed_convolutions_are_onnx_own(tmp_path, strides):
    nodes = [
        helper.make_node("Unsqueeze", ["latent", "axis"], ["wide"]),
        helper.make_node("ConvTranspose", ["wide", "weight"], ["frame"], strides=[strides], pads=[1, 1]),
    ]
    path = graph_with(tmp_path / "g.onnx", nodes, {"axis": np.array([1]), "weight": random(2, 5)[:1, None]})
    value = random(3, 4)
    (expected,) = open_session(path).run(["frame"], {"latent": value})
    assert Graph(path, "frame")(latent=torch.from_numpy(value)).numpy() == pytest.approx(expected, abs=1e-6)


def test_an_operator_that_no_decoder_has_is_refused_in_a_line(tmp_path):
    path = graph_with(tmp_path / "g.onnx", [helper.make_node("Sin", ["latent"], ["frame"])])
    assert "Sin" not in OPERATORS
    with pytest.raises(UserError, match=r"g\.onnx can be played, but not .* nn~: its graph has operator 'Sin'"):
        Graph(path, "frame")


def test_what_an_operator_cannot_do_here_is_refused_when_it_is_asked_for(tmp_path):
    nodes = [helper.make_node("Pad", ["latent", "by"], ["frame"], mode="reflect")]
    path = graph_with(tmp_path / "g.onnx", nodes, {"by": np.array([0, 1, 0, 1])})
    with pytest.raises(UserError, match="pads by mode 'reflect'"):
        Graph(path, "frame")(latent=torch.zeros(1, 4))


def test_a_decoder_that_carries_a_state_is_refused(small_model):
    model = Model(small_model)
    model.card = model.card.model_copy(update={"state": [RecurrentState(name="h", shape=[4])]})
    with pytest.raises(UserError, match="a decoder with a state has no code of its own"):
        RebuiltDecoder(model)
