"""Weights that lie outside a model's file are found wherever the graph may hold them, and nothing is opened first."""

import contextlib
import itertools

import onnx
import onnxruntime
import pytest
from google.protobuf.message import DecodeError
from hypothesis import given
from hypothesis import strategies as st
from onnx import TensorProto, helper
from timbrel.host.errors import UserError
from timbrel.host.model import onnx_bytes
from timbrel.host.model.encoder import Encoder, encoder_path
from timbrel.host.model.model import Model
from timbrel.host.model.onnx_bytes import DEEPEST, HOLDS, NotONNX, leads_out, repeats
from timbrel.host.preset.shipped import MODELS

NAMES = {
    "ModelProto": "model",
    "TrainingInfoProto": "training",
    "GraphProto": "graph",
    "FunctionProto": "function",
    "NodeProto": "node",
    "AttributeProto": "attribute",
    "SparseTensorProto": "sparse tensor",
    "TensorProto": "tensor",
}


def children(descriptor):
    return {field.number: field.message_type for field in descriptor.fields if field.message_type is not None}


def reaches_a_tensor(descriptor, seen=()):
    if descriptor.name == "TensorProto":
        return True
    below = [child for child in children(descriptor).values() if child.full_name not in seen]
    return any(reaches_a_tensor(child, (*seen, descriptor.full_name)) for child in below)


def test_every_place_of_a_tensor_in_onnx_own_schema_is_looked_into():
    found, waiting = {}, [onnx.ModelProto.DESCRIPTOR]
    while waiting:
        descriptor = waiting.pop()
        if NAMES[descriptor.name] in found:
            continue
        below = {} if descriptor.name == "TensorProto" else children(descriptor)
        below = {number: child for number, child in below.items() if reaches_a_tensor(child)}
        found[NAMES[descriptor.name]] = {number: NAMES[child.name] for number, child in below.items()}
        waiting += below.values()
    assert found == HOLDS


def elsewhere(location="weights.bin"):
    """A tensor whose numbers lie in another file."""
    tensor = TensorProto(name="far", data_type=TensorProto.FLOAT, dims=[2], data_location=TensorProto.EXTERNAL)
    tensor.external_data.add(key="location", value=location)
    return tensor


def unmarked():
    tensor = elsewhere()
    tensor.ClearField("data_location")
    return tensor


def nowhere():
    tensor = elsewhere()
    del tensor.external_data[:]
    return tensor


def graph_of(tensor):
    return helper.make_graph([], "inner", [], [], [tensor])


def as_initializer(model, tensor):
    model.graph.initializer.append(tensor)


def as_sparse_values(model, tensor):
    model.graph.sparse_initializer.add().values.CopyFrom(tensor)


def as_sparse_indices(model, tensor):
    model.graph.sparse_initializer.add().indices.CopyFrom(tensor)


def as_constant(model, tensor):
    model.graph.node.append(helper.make_node("Constant", [], ["far"], value=tensor))


def as_list_of_an_attribute(model, tensor):
    model.graph.node.append(helper.make_node("Odd", [], ["far"], values=[elsewhere(), tensor]))


def as_sparse_constant(model, tensor):
    attribute = model.graph.node.add(op_type="Constant").attribute.add(name="sparse_value")
    attribute.sparse_tensor.values.CopyFrom(tensor)


def as_sparse_list(model, tensor):
    model.graph.node.add(op_type="Odd").attribute.add(name="odd").sparse_tensors.add().values.CopyFrom(tensor)


def in_a_subgraph(model, tensor):
    model.graph.node.append(helper.make_node("If", ["x"], ["y"], then_branch=graph_of(tensor)))


def in_a_subgraph_of_a_subgraph(model, tensor):
    inner = helper.make_node("Loop", ["x"], ["y"], body=graph_of(tensor))
    body = helper.make_graph([inner], "outer", [], [])
    model.graph.node.append(helper.make_node("Loop", ["x"], ["y"], body=body))


def in_a_list_of_graphs(model, tensor):
    model.graph.node.append(helper.make_node("Odd", ["x"], ["y"], bodies=[graph_of(tensor)]))


def in_a_function(model, tensor):
    node = helper.make_node("Constant", [], ["far"], value=tensor)
    model.functions.add(name="odd").node.append(node)


def as_default_of_a_function(model, tensor):
    model.functions.add(name="odd").attribute_proto.append(helper.make_attribute("odd", tensor))


def in_training_information(model, tensor):
    model.training_info.add().algorithm.initializer.append(tensor)


PLACES = [
    as_initializer,
    as_sparse_values,
    as_sparse_indices,
    as_constant,
    as_list_of_an_attribute,
    as_sparse_constant,
    as_sparse_list,
    in_a_subgraph,
    in_a_subgraph_of_a_subgraph,
    in_a_list_of_graphs,
    in_a_function,
    as_default_of_a_function,
    in_training_information,
]


@pytest.fixture
def sealed(monkeypatch):
    """Onnxruntime that must not be asked to open anything."""
    monkeypatch.setattr(onnxruntime, "InferenceSession", lambda *_, **__: pytest.fail("onnxruntime opened the file"))


@pytest.mark.parametrize("tensor", [elsewhere, unmarked, nowhere])
@pytest.mark.parametrize("place", PLACES)
def test_weights_in_another_file_are_refused_before_onnxruntime_opens_it(tiny_path, tmp_path, sealed, place, tensor):
    model = onnx.load(tiny_path())
    place(model, tensor())
    (tmp_path / "weights.bin").write_bytes(bytes(8))
    (tmp_path / "model.onnx").write_bytes(model.SerializeToString())
    with pytest.raises(UserError, match=r"keeps weights in other files .* export it again with its weights in it"):
        Model(tmp_path / "model.onnx")


@pytest.mark.parametrize("location", ["weights.bin", "../weights.bin", "/etc/hostname", ""])
def test_it_does_not_matter_where_external_data_point(tiny_path, tmp_path, sealed, location):
    model = onnx.load(tiny_path())
    as_initializer(model, elsewhere(location))
    (tmp_path / "model.onnx").write_bytes(model.SerializeToString())
    with pytest.raises(UserError, match="keeps weights in other files"):
        Model(tmp_path / "model.onnx")


def test_an_encoder_with_external_data_is_refused_too(make_allpass, request):
    model = make_allpass(frame_length=256, hop_length=64)
    request.getfixturevalue("sealed")
    encoder = onnx.load(encoder_path(model.path))
    as_constant(encoder, elsewhere("../weights.bin"))
    encoder_path(model.path).write_bytes(encoder.SerializeToString())
    with pytest.raises(UserError, match=r"model.encoder.onnx keeps weights in other files"):
        Encoder(model)


def test_a_graph_that_comes_in_two_parts_is_looked_into_whole(tiny_path):
    model = onnx.ModelProto()
    as_initializer(model, elsewhere())
    whole = tiny_path().read_bytes()
    assert leads_out(model.SerializeToString() + whole)  # protobuf joins both graphs
    assert leads_out(whole + model.SerializeToString())


def test_models_that_ship_keep_all_their_weights_and_repeat_nothing():
    for path in MODELS.glob("*.onnx"):
        assert not leads_out(path.read_bytes()), path
        assert not repeats(path.read_bytes()), path


def as_loop(model):
    """A trillion steps of a graph that hands its condition on."""
    body_inputs = [
        helper.make_tensor_value_info("step", TensorProto.INT64, []),
        helper.make_tensor_value_info("going", TensorProto.BOOL, []),
    ]
    body_output = helper.make_tensor_value_info("still", TensorProto.BOOL, [])
    identity = helper.make_node("Identity", ["going"], ["still"])
    body = helper.make_graph([identity], "body", body_inputs, [body_output])
    steps = helper.make_tensor("steps", TensorProto.INT64, [], [10**12])
    model.graph.initializer.append(steps)
    model.graph.node.append(helper.make_node("Loop", ["steps", ""], [], body=body))


def as_list_of_graphs(model):
    model.graph.node.append(helper.make_node("Odd", [], [], bodies=[helper.make_graph([], "inner", [], [])]))


def as_function(model):
    model.functions.add(name="odd", domain="odd").node.add(op_type="Identity")


@pytest.mark.parametrize("add", [as_loop, as_list_of_graphs, as_function])
def test_a_graph_that_may_never_end_is_refused_before_onnxruntime_opens_it(tiny_path, tmp_path, sealed, add):
    model = onnx.load(tiny_path())
    add(model)
    (tmp_path / "model.onnx").write_bytes(model.SerializeToString())
    with pytest.raises(UserError, match=r"functions, or a node with a graph of its own such as Loop, which may never"):
        Model(tmp_path / "model.onnx")


def test_whatever_onnx_itself_can_parse_is_judged_and_never_crashes(tiny_path):
    model = onnx.load(tiny_path())
    in_a_subgraph(model, TensorProto(name="near", data_type=TensorProto.FLOAT, dims=[1], float_data=[1.0]))
    whole = model.SerializeToString()
    for kept in range(0, len(whole), 7):
        try:
            assert not leads_out(whole[:kept])
        except NotONNX:
            with pytest.raises(DecodeError):
                onnx.ModelProto.FromString(whole[:kept])


def is_elsewhere(message):
    """What onnx itself finds: a tensor anywhere in a message that lies in another file."""
    if isinstance(message, TensorProto):
        return bool(message.external_data) or message.data_location == TensorProto.EXTERNAL
    inner = [value for field, value in message.ListFields() if field.message_type is not None]
    return any(is_elsewhere(each) for value in inner for each in ([value] if hasattr(value, "ListFields") else value))


@given(
    st.sampled_from(PLACES),
    st.lists(st.tuples(st.integers(0, 4000), st.integers(0, 255)), max_size=3),
    st.lists(st.tuples(st.integers(0, 4000), st.integers(0, 40)), max_size=2),
)
def test_no_damage_hides_what_onnx_itself_would_find(place, bytes_to_set, cuts):
    model = onnx.ModelProto(ir_version=8, graph=helper.make_graph([], "small", [], []))
    place(model, elsewhere())
    data = bytearray(model.SerializeToString())
    for at, byte in bytes_to_set:
        data[at % len(data)] = byte
    for start, count in cuts:
        at = start % max(1, len(data))
        del data[at : at + count]
    try:
        expected = is_elsewhere(onnx.ModelProto.FromString(bytes(data)))
    except DecodeError:
        expected = False
    with contextlib.suppress(NotONNX):  # refused as well
        assert leads_out(bytes(data)) >= expected


def within(field, data):
    """A message in a field of another."""
    return bytes([field << 3 | 2]) + _length(len(data)) + data


def nested(depth):
    """A graph in an attribute of a node of a graph, and so on: three messages a turn."""
    data = b""
    for _ in range(depth):
        data = within(1, within(5, within(6, data)))
    return within(7, data)


def _length(count):
    data = b""
    while count > 0x7F:
        data += bytes([count & 0x7F | 0x80])
        count >>= 7
    return data + bytes([count])


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"\x3a\x05\x0a", "cut off"),
        (b"\x3a\xff\xff\xff\xff\x0f", "cut off"),
        (b"\x3a" + b"\xff" * 11, "broken number"),
        (b"\x3b\x00", "wire type 3"),
        (b"\xba\x80\x80\x80\x80\x01\x00", "impossible number"),  # onnxruntime would read 7, the graph
        (b"\x08\x01" * 2001, "more than 2000 parts"),
        (nested(DEEPEST), f"nest more than {DEEPEST} deep"),
    ],
    ids=itertools.count(),
)
def test_bytes_that_are_no_model_are_refused_with_their_fault(monkeypatch, data, words):
    monkeypatch.setattr(onnx_bytes, "MOST_FIELDS", 2000)  # two million take a second to read
    with pytest.raises(NotONNX, match=words):
        leads_out(data)
