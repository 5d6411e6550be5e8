"""Rebuilds the graph of an ONNX file as a torch module.

Only operators that decoders of ours are made of are known, each as ONNX's specification of them says (opset 18).
"""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import onnx
import torch
from onnx import helper, numpy_helper
from torch import Tensor, nn
from torch.nn import functional as F

from ...host.errors import UserError

Attributes = Mapping[str, Any]
Operator = Callable[[list[Tensor | None], Attributes], Tensor]


def _gemm(given: list[Tensor | None], has: Attributes) -> Tensor:
    a, b, c = (*given, None)[:3]
    assert a is not None
    assert b is not None
    product = (a.T if has.get("transA") else a) @ (b.T if has.get("transB") else b)
    if has.get("alpha", 1.0) != 1.0:
        product = product * has["alpha"]
    if c is None:
        return product
    return product + (c if has.get("beta", 1.0) == 1.0 else c * has["beta"])


def _clip(given: list[Tensor | None], has: Attributes) -> Tensor:
    value, low, high = (*given, None, None)[:3]
    assert value is not None
    value = value if low is None else torch.maximum(value, low)
    return value if high is None else torch.minimum(value, high)


def _slice(given: list[Tensor | None], has: Attributes) -> Tensor:
    value, starts, ends, axes, steps = (*given, None, None)[:5]
    assert value is not None
    assert starts is not None
    assert ends is not None
    along = list(range(len(starts))) if axes is None else axes.tolist()
    strides = [1] * len(along) if steps is None else steps.tolist()
    if min(strides) < 1:
        raise UserError("a graph with a Slice that goes backwards cannot be written for nn~")
    for axis, start, end, step in zip(along, starts.tolist(), ends.tolist(), strides, strict=True):
        value = value[(slice(None),) * (axis % value.ndim) + (slice(start, end, step),)]
    return value


def _mean(given: list[Tensor | None], has: Attributes) -> Tensor:
    value, axes = (*given, None)[:2]
    assert value is not None
    assert axes is not None
    return torch.mean(value, axes.tolist(), keepdim=bool(has.get("keepdims", 1)))


def _gather(given: list[Tensor | None], has: Attributes) -> Tensor:
    value, indices = given
    assert value is not None
    assert indices is not None
    axis = has.get("axis", 0)
    if indices.ndim > 1:
        raise UserError("a graph with a Gather of a table of indices cannot be written for nn~")
    indices = indices % value.shape[axis]
    return value.index_select(axis, indices) if indices.ndim else value.select(axis, int(indices))


def _unsqueeze(given: list[Tensor | None], has: Attributes) -> Tensor:
    value, axes = given
    assert value is not None
    assert axes is not None
    count = value.ndim + len(axes)
    for axis in sorted(axis % count for axis in axes.tolist()):
        value = value.unsqueeze(axis)
    return value


def _of_one(compute: Callable[[Tensor], Tensor]) -> Operator:
    def operator(given: list[Tensor | None], has: Attributes) -> Tensor:
        (value,) = given
        assert value is not None
        return compute(value)

    return operator


def _of_two(compute: Callable[[Tensor, Tensor], Tensor]) -> Operator:
    def operator(given: list[Tensor | None], has: Attributes) -> Tensor:
        first, second = given
        assert first is not None
        assert second is not None
        return compute(first, second)

    return operator


TYPES = {onnx.TensorProto.FLOAT: torch.float32, onnx.TensorProto.FLOAT16: torch.float16}
OPERATORS: dict[str, Operator] = {
    "Abs": _of_one(torch.abs),
    "Add": _of_two(torch.add),
    "Cast": lambda given, has: given[0].to(TYPES[has["to"]]),  # type: ignore[union-attr]
    "Clip": _clip,
    "Concat": lambda given, has: torch.cat([value for value in given if value is not None], has["axis"]),
    "Div": _of_two(torch.div),
    "Exp": _of_one(torch.exp),
    "Gather": _gather,
    "Gemm": _gemm,
    "Identity": _of_one(lambda value: value),
    "LeakyRelu": lambda given, has: F.leaky_relu(given[0], has.get("alpha", 0.01)),  # type: ignore[arg-type]
    "MatMul": _of_two(torch.matmul),
    "Mul": _of_two(torch.mul),
    "ReduceMean": _mean,
    "Relu": _of_one(torch.relu),
    "Slice": _slice,
    "Sqrt": _of_one(torch.sqrt),
    "Sub": _of_two(torch.sub),
    "Unsqueeze": _unsqueeze,
}


class Graph(nn.Module):
    """A decoder's graph: its inputs in the order of the file, each [voice, width], to its first output.

    What follows from weights alone is computed once.
    """

    def __init__(self, path: Path) -> None:
        """Read a model's file.

        Raises:
            UserError: the graph has an operator that is not known here.
        """
        super().__init__()
        graph = onnx.load(path).graph
        unknown = sorted({node.op_type for node in graph.node} - set(OPERATORS))
        if unknown:
            raise UserError(
                f"{path}: its graph has {', '.join(unknown)}, which cannot be written for nn~; known are "
                f"{', '.join(OPERATORS)}"
            )
        self._inputs = [entry.name for entry in graph.input]
        self._output = graph.output[0].name
        constants = {tensor.name: _tensor(tensor) for tensor in graph.initializer}
        self._steps: list[tuple[Operator, list[str], Attributes, str]] = []
        for node in graph.node:
            has = {attribute.name: helper.get_attribute_value(attribute) for attribute in node.attribute}
            operator, names, (output,) = OPERATORS[node.op_type], list(node.input), node.output
            if all(name in constants or not name for name in names):
                constants[output] = operator([constants.get(name) for name in names], has)
            else:
                self._steps.append((operator, names, has, output))
        self._constants = {name: f"constant_{place}" for place, name in enumerate(self._used(constants))}
        for name, buffer in self._constants.items():
            self.register_buffer(buffer, constants[name])

    def forward(self, *inputs: Tensor) -> Tensor:
        """Return the first output, [voice, width]."""
        values: dict[str, Tensor] = dict(zip(self._inputs, inputs, strict=True))
        values |= {name: getattr(self, buffer) for name, buffer in self._constants.items()}
        for operator, names, has, output in self._steps:
            values[output] = operator([values.get(name) for name in names], has)
        given: Tensor = values[self._output]
        return given

    def _used(self, constants: Mapping[str, Tensor]) -> list[str]:
        wanted = [name for _, names, _, _ in self._steps for name in names]
        return [name for name in dict.fromkeys([*wanted, self._output]) if name in constants]


def _tensor(tensor: onnx.TensorProto) -> Tensor:
    return torch.from_numpy(numpy_helper.to_array(tensor).copy())
