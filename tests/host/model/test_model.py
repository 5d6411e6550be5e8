"""Model files: every wrong file is refused in one line, rows know nothing of their batch, a model proves itself."""

import itertools
import json
import shutil
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from timbrel.host.errors import UserError
from timbrel.host.model.model import Model
from timbrel.host.preset.shipped import MIDI, shipped_models

from ..cover import cover


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
        kind="stream",
        state=[{"name": "previous", "shape": [4]}],
        chroma=None,
        domain="samples",
        stream={"step_length": made.frame_length, "levels_db": [-60.0, 0.0]},
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


def cut(made, axis, end):
    """A graph that gives less of its frames than it says: only running it tells how much."""
    graph = made.graph()
    graph.node[-1].output[0] = "all"
    for name, value in (("none", 0), ("axis", axis), ("last", end)):
        graph.initializer.append(numpy_helper.from_array(np.array([value], np.int64), name))
    graph.node.extend(
        [
            helper.make_node("Cast", ["latent"], ["whole"], to=TensorProto.INT64),
            helper.make_node("Mul", ["whole", "none"], ["nothing"]),
            helper.make_node("ReduceMax", ["nothing"], ["still"], keepdims=0),
            helper.make_node("Add", ["last", "still"], ["end"]),
            helper.make_node("Slice", ["all", "none", "end", "axis"], ["frame"]),
        ]
    )
    return graph


def huge(made, count=1 << 35):
    """A graph that asks for 137 GB on its way."""
    graph = made.graph()
    graph.node[-1].output[0] = "small"
    graph.initializer.append(numpy_helper.from_array(np.array([count], np.int64), "count"))
    graph.node.append(helper.make_node("ReduceSum", ["latent"], ["one"], keepdims=0))
    graph.node.append(helper.make_node("Expand", ["one", "count"], ["many"]))
    graph.node.append(helper.make_node("ReduceMin", ["many"], ["least"], keepdims=0))
    graph.node.append(helper.make_node("Add", ["small", "least"], ["frame"]))
    return graph


FALSE_GRAPHS = {
    "another width": (lambda made: cut(made, 1, 511), "gives a frame of shape [2, 511] where it says [2, 513]"),
    "one row for all": (lambda made: cut(made, 0, 1), "gives a frame of shape [1, 513] where it says [2, 513]"),
    "137 GB": (huge, "cannot be run (it asks for 137 GB of memory, all models have 1.07 GB together)"),
    "2 GB": (lambda made: huge(made, 1 << 29), "cannot be run (it asks for 2.15 GB of memory"),
}


@pytest.fixture
def false_model(path, analytic):
    """A function that writes a model whose graph is not what it says of itself."""

    def write(what):
        made = analytic()
        return made.save(path, graph=FALSE_GRAPHS[what][0](made))

    return write


@pytest.mark.parametrize("what", FALSE_GRAPHS)
def test_a_graph_that_does_not_do_what_it_says_is_refused_when_it_is_opened(false_model, what):
    assert FALSE_GRAPHS[what][1] in refusal(false_model(what))


@pytest.mark.parametrize(
    ("what", "command"),
    cover(4, list(FALSE_GRAPHS), ["render {} tune.mid -o new.wav", "verify {}", "play {} --null --plain"]),
)
def test_a_false_graph_is_one_line_in_every_command(false_model, timbrel, tmp_path, monkeypatch, what, command):
    monkeypatch.chdir(tmp_path)
    shutil.copy(MIDI / "demo.mid", "tune.mid")
    ended = timbrel(*command.format(false_model(what).name).split())
    assert (ended.status, ended.out, len(ended.err.splitlines())) == (2, "", 1), ended
    assert FALSE_GRAPHS[what][1] in ended.err
    assert sorted(file.name for file in tmp_path.iterdir()) == ["model.onnx", "tune.mid"]


def test_a_graph_that_goes_wrong_later_is_said_of_that_run(path, analytic):
    made = analytic()
    model = Model(made.save(path, graph=cut(made, 0, 2)))
    with pytest.raises(UserError, match=r"gives a frame of shape \[2, 513\] where it says \[3, 513\]"):
        model.decode(np.zeros((3, 2), np.float32), np.zeros(3, int))


@pytest.mark.parametrize("element", [TensorProto.DOUBLE, TensorProto.INT64, TensorProto.STRING])
def test_frames_of_other_numbers_than_float32_are_refused(path, analytic, element):
    made = analytic()
    graph = made.graph()
    graph.node[-1].output[0] = "small"
    graph.node.append(helper.make_node("Cast", ["small"], ["frame"], to=element))
    graph.output[0].type.tensor_type.elem_type = element
    made.save(path, graph=graph)
    assert "'frame' of its graph is no batch of float32 numbers" in refusal(path)


def test_metadata_and_names_that_are_no_text_are_refused(path, tiny_path, capfd):
    whole = tiny_path().read_bytes()
    for word in (b"latent", b"harmonics"):
        assert whole.count(word)
        path.write_bytes(whole.replace(word, word[:-1] + b"\xff"))
        refusal(path)
    path.write_bytes(whole.replace(b"colours", b"colour\xff", 1))  # of a node, which then has no such input
    refusal(path)
    assert capfd.readouterr() == ("", "")  # onnxruntime would print, and try again


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
    assert verdict.points == verdict.width == 513


def test_a_card_of_before_tells_of_a_part(path, analytic):
    verdict = Model(analytic().save(path, analytic().card())).verify()
    assert verdict.passed
    assert (verdict.points, verdict.width) == (6, 513)


OTHERS = {  # what becomes of the outputs that the points do not tell of
    "zeroed": lambda weights: weights * 0.0,
    "turned over": lambda weights: -weights,
    "in another order": lambda weights: weights[:, ::-1],
    "each its neighbour's": lambda weights: np.roll(weights, 1, axis=1),
    "a tenth louder": lambda weights: weights * 1.1,
    "of other keys": lambda weights: np.roll(weights, 1, axis=0),
}


@pytest.mark.parametrize("what", OTHERS)
def test_every_output_is_accountable(path, analytic, what):
    made = analytic()
    others = np.setdiff1d(np.arange(made.bins), made.card()["reference"]["points"])
    graph = made.graph()
    for tensor in graph.initializer:
        if tensor.name == "combs":
            weights = numpy_helper.to_array(tensor).copy()
            weights[:, others] = OTHERS[what](weights[:, others])
            tensor.CopyFrom(numpy_helper.from_array(weights, "combs"))
    assert not Model(made.save(path, graph=graph)).verify().passed
    assert Model(made.save(path, made.card(), graph)).verify().passed  # as before, when the points were all


def test_an_output_that_goes_silent_alone_is_found_where_it_is_ever_heard(path):
    source = onnx.load(shipped_models()["gm-chroma-8"])
    model = Model(shipped_models()["gm-chroma-8"])
    _, values = model.card.reference.unpack_peaks(2049)
    peaks = np.frombuffer(values, "<f2").astype(float)
    faint = np.flatnonzero(peaks > 1e-4)  # 80 dB below the largest
    assert len(faint) > 800
    for output in faint[np.argsort(peaks[faint])[:: len(faint) // 6]]:
        graph = onnx.ModelProto.FromString(source.SerializeToString())
        silence = np.ones(2049, np.float32)
        silence[output] = 0.0
        graph.graph.initializer.append(numpy_helper.from_array(silence, "silence"))
        for node in graph.graph.node:
            node.output[:] = ["before" if name == "frame" else name for name in node.output]
        graph.graph.node.append(helper.make_node("Mul", ["before", "silence"], ["frame"]))
        onnx.save(graph, path)
        assert not Model(path).verify().passed, (output, peaks[output])


@pytest.mark.parametrize("size", [0.6, 1.4])
def test_a_faint_output_is_allowed_a_part_of_what_a_loud_one_is(path, analytic, size):
    """0.03 of the tolerance, at an output of which nothing is ever heard."""
    made = analytic()
    nothing = int(np.flatnonzero(made.combs.max(0) == 0)[0])
    graph = made.graph()
    graph.node[-1].output[0] = "all"
    bump = np.zeros(made.bins, np.float32)
    bump[nothing] = size * 0.03 * 1e-5
    graph.initializer.append(numpy_helper.from_array(bump, "bump"))
    graph.node.append(helper.make_node("Add", ["all", "bump"], ["frame"]))
    assert Model(made.save(path, graph=graph)).verify().passed == (size < 1)


def test_verify_says_of_how_many_outputs_it_speaks(path, analytic, timbrel):
    analytic().save(path)
    whole = timbrel("verify", path)
    assert (whole.status, whole.err) == (0, "")
    assert whole.out.startswith(f"{path} passes: off by ")
    assert whole.out.endswith(" 1e-05 allowed, all 513 outputs\n")
    analytic().save(path, analytic().card())
    part = timbrel("verify", path)
    assert (part.status, part.err) == (1, "")
    assert part.out.startswith(f"{path} partial: off by ")
    assert part.out.endswith(", 6 of 513 outputs, its card tells of no others; export it again\n")
    wrong = analytic().proved()
    wrong["reference"]["frame"][0][0] += 0.1
    analytic().save(path, wrong)
    assert timbrel("verify", path).out.startswith(f"{path} FAILS: off by 1.00e-01")


def test_unknown_fields_of_a_card_are_one_warning_and_the_model_plays(path, analytic, timbrel, tmp_path):
    analytic().save(path, analytic().proved() | {"colour": "blue", **{f"more {i}": i for i in range(9)}})
    for command, *options in (
        ("info",),
        ("verify",),
        ("render", MIDI / "demo.mid", "-o", tmp_path / "new.wav", "--tail", "0"),
    ):
        ended = timbrel(command, path, *options)
        assert ended.status == 0, ended
        [said] = ended.err.splitlines()
        assert said.startswith(f"warning: {path}: its card has fields that this timbrel does not know (colour, more 0")
        assert said.endswith("and 5 more); they are ignored, update timbrel to use them")


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
    written = analytic().card()["latents"]
    assert json.loads(tiny().card.model_dump_json())["latents"] == [
        latent | {"moves": "", "unnamed": ""} for latent in written
    ]
