"""A graph that is rebuilt in torch gives what onnxruntime gives, operator by operator."""

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper
from timbrel.export.nn.graph import OPERATORS, Graph
from timbrel.host.errors import UserError

WIDTH = 6
W = np.random.default_rng(0).standard_normal((WIDTH, WIDTH)).astype(np.float32)
ROW = W[0]
ENDS = [np.array([1], np.int64), np.array([-1], np.int64), np.array([1], np.int64)]
# Operator, its other inputs, its attributes.
CASES = [
    ("Add", [ROW], {}),
    ("Sub", [ROW], {}),
    ("Mul", [ROW], {}),
    ("Div", [np.abs(ROW) + 0.5], {}),
    ("MatMul", [W], {}),
    ("Gemm", [W, ROW], {}),
    ("Gemm", [W], {"alpha": 0.5}),
    ("Gemm", [W, ROW], {"transB": 1, "alpha": 2.0, "beta": 0.3}),
    ("Concat", [], {"axis": 1}),
    ("Clip", [np.float32(-0.3), np.float32(0.4)], {}),
    ("Clip", [None, np.float32(0.4)], {}),
    ("Clip", [np.float32(-0.3)], {}),
    ("LeakyRelu", [], {}),
    ("LeakyRelu", [], {"alpha": 0.3}),
    ("Relu", [], {}),
    ("Exp", [], {}),
    ("Identity", [], {}),
    ("Slice", ENDS, {}),
    ("Slice", [*ENDS, np.array([2], np.int64)], {}),
    ("Slice", [np.array([0]), np.array([5]), np.array([-1]), np.array([2])], {}),
    ("Abs", [], {}),
    ("Gather", [np.array(2)], {"axis": 1}),
    ("Gather", [np.array([4, -1, 0])], {"axis": 1}),
    ("Unsqueeze", [np.array([1])], {}),
    ("Unsqueeze", [np.array([-1, 0])], {}),
    ("ReduceMean", [np.array([1], np.int64)], {}),
    ("ReduceMean", [np.array([-1], np.int64)], {"keepdims": 0}),
]


def saved(path, nodes, constants, width=WIDTH):
    value = helper.make_tensor_value_info
    graph = helper.make_graph(
        nodes, "g", [value("x", TensorProto.FLOAT, ["voice", width])], [value("y", TensorProto.FLOAT, None)], constants
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8), path)
    return path


def both(path, x):
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    return session.run(None, {"x": x})[0], Graph(path)(torch.from_numpy(x)).numpy()


def agree(path):
    for rows in (1, 5):
        x = np.random.default_rng(rows).standard_normal((rows, WIDTH)).astype(np.float32)
        expected, found = both(path, x)
        assert found.shape == expected.shape
        assert found == pytest.approx(expected, rel=1e-5, abs=1e-6)


@pytest.mark.parametrize(("operator", "others", "attributes"), CASES)
def test_an_operator_gives_what_onnxruntime_gives(operator, others, attributes, tmp_path):
    names = ["" if other is None else f"c{n}" for n, other in enumerate(others)]
    constants = [numpy_helper.from_array(np.asarray(o), n) for n, o in zip(names, others, strict=True) if n]
    given = ["x", "x"] if operator == "Concat" else ["x", *names]
    agree(saved(tmp_path / "g.onnx", [helper.make_node(operator, given, ["y"], **attributes)], constants))


def test_a_root_and_a_cast_too(tmp_path):
    nodes = [
        helper.make_node("Cast", ["half"], ["c"], to=TensorProto.FLOAT),
        helper.make_node("Mul", ["x", "x"], ["square"]),
        helper.make_node("Sqrt", ["square"], ["root"]),
        helper.make_node("MatMul", ["root", "c"], ["y"]),
    ]
    path = saved(tmp_path / "g.onnx", nodes, [numpy_helper.from_array(W.astype(np.float16), "half")])
    agree(path)
    assert {buffer.dtype for buffer in Graph(path).buffers()} == {torch.float32}  # cast once, not in each run


def test_every_operator_is_tried():
    assert set(OPERATORS) - {"Sqrt", "Cast"} == {operator for operator, _, _ in CASES}


def test_an_operator_that_is_not_known_is_named(tmp_path):
    nodes = [helper.make_node("Erf", ["x"], ["z"]), helper.make_node("Sin", ["z"], ["y"])]
    with pytest.raises(UserError, match=r"g\.onnx: its graph has Erf, Sin, which cannot be written for nn~; known are"):
        Graph(saved(tmp_path / "g.onnx", nodes, []))


def test_a_slice_that_goes_backwards_is_refused(tmp_path):
    constants = [numpy_helper.from_array(np.array([n]), f"c{n}") for n in (4, 1, -1)]
    path = saved(tmp_path / "g.onnx", [helper.make_node("Slice", ["x", "c4", "c1", "c1", "c-1"], ["y"])], constants)
    with pytest.raises(UserError, match="a Slice that goes backwards"):
        Graph(path)(torch.zeros(1, WIDTH))
