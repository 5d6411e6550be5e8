"""Differentiable torch decoder from an ONNX graph of opset 18."""

import functools
import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
from onnx import TensorProto, numpy_helper
from torch import Tensor, nn
from torch.nn import functional as F

from ..host.errors import UserError
from ..host.model.model import Model

Values = Sequence[Tensor | None]  # a node's inputs; None if omitted
Operator = Callable[[Values, Mapping[str, Any]], Tensor | tuple[Tensor, ...]]  # inputs and attributes → outputs

CASTS = {
    TensorProto.FLOAT: torch.float32,
    TensorProto.FLOAT16: torch.float16,
    TensorProto.DOUBLE: torch.float64,
    TensorProto.INT32: torch.int32,
    TensorProto.INT64: torch.int64,
    TensorProto.BOOL: torch.bool,
}


class Unsupported(Exception):
    """A node that exported decoders do not use."""


def _optional_input(values: Values, input_index: int) -> Tensor | None:
    return values[input_index] if input_index < len(values) else None


def _required_input(values: Values, input_index: int) -> Tensor:
    tensor = _optional_input(values, input_index)
    if tensor is None:
        raise Unsupported(f"a node lacks its input {input_index + 1}")
    return tensor


def _integers(values: Values, input_index: int) -> list[int]:
    """Return an input as integers."""
    integers: list[int] = _required_input(values, input_index).flatten().tolist()
    return integers


def _all_inputs(values: Values) -> list[Tensor]:
    return [_required_input(values, input_index) for input_index in range(len(values))]


def _elementwise(function: Callable[..., Tensor]) -> Operator:
    """Return the operator of a function of one or two tensors."""
    return lambda values, settings: function(*_all_inputs(values))


def _variadic(function: Callable[[Tensor, Tensor], Tensor]) -> Operator:
    return lambda values, settings: functools.reduce(function, _all_inputs(values))


def _gemm(values: Values, settings: Mapping[str, Any]) -> Tensor:
    """Multiply matrices, and add a bias."""
    left_matrix, right_matrix, bias = _required_input(values, 0), _required_input(values, 1), _optional_input(values, 2)
    left_matrix = left_matrix.T if settings.get("transA") else left_matrix
    right_matrix = right_matrix.T if settings.get("transB") else right_matrix
    alpha, beta = settings.get("alpha", 1.0), settings.get("beta", 1.0)
    product = left_matrix @ right_matrix
    product = product if alpha == 1 else alpha * product
    return product if bias is None else product + (bias if beta == 1 else beta * bias)


def _axes(values: Values, settings: Mapping[str, Any]) -> list[int]:
    """Return the axes of a reduction: an input, an attribute, or all."""
    if _optional_input(values, 1) is not None:
        return _integers(values, 1)
    return list(settings.get("axes", range(_required_input(values, 0).ndim)))


def _reduction(function: Callable[..., Tensor]) -> Operator:
    return lambda values, settings: function(
        _required_input(values, 0), _axes(values, settings), keepdim=bool(settings.get("keepdims", 1))
    )


def _clip(values: Values, settings: Mapping[str, Any]) -> Tensor:
    return torch.clamp(_required_input(values, 0), _optional_input(values, 1), _optional_input(values, 2))


def _cast(values: Values, settings: Mapping[str, Any]) -> Tensor:
    tensor, dtype = _required_input(values, 0), CASTS.get(settings["to"])
    if dtype is None:
        raise Unsupported(f"its graph casts to type {settings['to']}")
    # float32 of the file is computed in the precision of the inputs
    return tensor if tensor.is_floating_point() and dtype == torch.float32 else tensor.to(dtype)


def _reshape(values: Values, settings: Mapping[str, Any]) -> Tensor:
    tensor, shape = _required_input(values, 0), _integers(values, 1)
    if not settings.get("allowzero"):
        shape = [tensor.shape[axis] if size == 0 else size for axis, size in enumerate(shape)]
    return tensor.reshape(shape)


def _flatten(values: Values, settings: Mapping[str, Any]) -> Tensor:
    tensor, axis = _required_input(values, 0), settings.get("axis", 1)
    return tensor.reshape(math.prod(tensor.shape[:axis]), -1)


def _transpose(values: Values, settings: Mapping[str, Any]) -> Tensor:
    tensor = _required_input(values, 0)
    return tensor.permute(settings.get("perm", list(reversed(range(tensor.ndim)))))


def _squeeze(values: Values, settings: Mapping[str, Any]) -> Tensor:
    return _required_input(values, 0).squeeze(_axes(values, settings) if _optional_input(values, 1) is not None else [])


def _unsqueeze(values: Values, settings: Mapping[str, Any]) -> Tensor:
    tensor, axes = _required_input(values, 0), _integers(values, 1)
    rank = tensor.ndim + len(axes)
    for axis in sorted(axis % rank for axis in axes):
        tensor = tensor.unsqueeze(axis)
    return tensor


def _slice(values: Values, settings: Mapping[str, Any]) -> Tensor:
    tensor = _required_input(values, 0)
    starts, ends = _integers(values, 1), _integers(values, 2)
    axes = _integers(values, 3) if _optional_input(values, 3) is not None else list(range(len(starts)))
    steps = _integers(values, 4) if _optional_input(values, 4) is not None else [1] * len(starts)
    for slice_start, slice_end, axis, slice_step in zip(starts, ends, axes, steps, strict=True):
        kept_indices = range(tensor.shape[axis])[slice_start:slice_end:slice_step]  # Python clamps ends as ONNX does
        tensor = tensor.index_select(axis, torch.tensor(kept_indices, dtype=torch.long, device=tensor.device))
    return tensor


def _split(values: Values, settings: Mapping[str, Any]) -> tuple[Tensor, ...]:
    tensor, axis = _required_input(values, 0), settings.get("axis", 0)
    if _optional_input(values, 1) is not None:
        return torch.split_with_sizes(tensor, _integers(values, 1), axis)
    axis_size, chunk_count = tensor.shape[axis], settings["num_outputs"]
    chunk_size = -(-axis_size // chunk_count)
    return torch.split_with_sizes(
        tensor, [chunk_size] * (chunk_count - 1) + [axis_size - chunk_size * (chunk_count - 1)], axis
    )


def _gather(values: Values, settings: Mapping[str, Any]) -> Tensor:
    tensor, indices, axis = _required_input(values, 0), _required_input(values, 1).long(), settings.get("axis", 0)
    axis %= tensor.ndim
    gathered = tensor.index_select(axis, indices.flatten() % tensor.shape[axis])
    return gathered.reshape(*tensor.shape[:axis], *indices.shape, *tensor.shape[axis + 1 :])


def _concat(values: Values, settings: Mapping[str, Any]) -> Tensor:
    return torch.cat(_all_inputs(values), settings["axis"])


def _pad(values: Values, settings: Mapping[str, Any]) -> Tensor:
    tensor, pads = _required_input(values, 0), _integers(values, 1)
    if settings.get("mode", "constant") != "constant":
        raise Unsupported(f"its graph pads by mode {settings['mode']!r}")
    axes = _integers(values, 3) if _optional_input(values, 3) is not None else list(range(tensor.ndim))
    fill_value = _optional_input(values, 2)
    pads_by_axis = [[0, 0] for _ in range(tensor.ndim)]
    for pad_index, axis in enumerate(axes):
        pads_by_axis[axis] = [pads[pad_index], pads[pad_index + len(axes)]]
    # torch takes the pads of the last axis first
    torch_pads = [pad for pair in reversed(pads_by_axis) for pad in pair]
    return F.pad(tensor, torch_pads, value=0.0 if fill_value is None else float(fill_value))


def _expand(values: Values, settings: Mapping[str, Any]) -> Tensor:
    tensor, shape = _required_input(values, 0), _integers(values, 1)
    return tensor * tensor.new_ones(shape)  # both may broadcast


def _symmetric_padding(settings: Mapping[str, Any], dimension_count: int) -> list[int]:
    """Return the padding of each dimension; raise `Unsupported` if its ends differ."""
    pads = settings.get("pads", [0] * 2 * dimension_count)
    if settings.get("auto_pad", "NOTSET") not in ("NOTSET", "VALID") or list(pads[:dimension_count]) != list(
        pads[dimension_count:]
    ):
        raise Unsupported("its graph has a convolution that pads one side more than the other")
    return list(pads[:dimension_count])


def _convolution(values: Values, settings: Mapping[str, Any], *, transposed: bool = False) -> Tensor:
    tensor, weight, bias = _required_input(values, 0), _required_input(values, 1), _optional_input(values, 2)
    dimension_count = weight.ndim - 2
    strides, dilations = (list(settings.get(name, [1] * dimension_count)) for name in ("strides", "dilations"))
    padding, group_count = _symmetric_padding(settings, dimension_count), settings.get("group", 1)
    output_padding = list(settings.get("output_padding", [0] * dimension_count))
    return torch.convolution(tensor, weight, bias, strides, padding, dilations, transposed, output_padding, group_count)


def _batch_normalised(values: Values, settings: Mapping[str, Any]) -> Tensor:
    tensor, scale, bias, mean, variance = _all_inputs(values)
    return F.batch_norm(tensor, mean, variance, scale, bias, eps=settings.get("epsilon", 1e-5))


def _gather_nd(values: Values, settings: Mapping[str, Any]) -> Tensor:
    tensor, indices = _required_input(values, 0), _required_input(values, 1)
    if settings.get("batch_dims", 0):
        raise Unsupported("its graph gathers from each row of a batch by itself")
    return tensor[tuple(indices.unbind(-1))]


def _average_pool(values: Values, settings: Mapping[str, Any]) -> Tensor:
    tensor, kernel_shape = _required_input(values, 0), list(settings["kernel_shape"])
    pool: Callable[..., Tensor] = {1: F.avg_pool1d, 2: F.avg_pool2d}[len(kernel_shape)]
    padding, strides = (
        _symmetric_padding(settings, len(kernel_shape)),
        list(settings.get("strides", [1] * len(kernel_shape))),
    )
    ceil_mode, count_include_pad = bool(settings.get("ceil_mode")), bool(settings.get("count_include_pad"))
    return pool(tensor, kernel_shape, strides, padding, ceil_mode, count_include_pad)


def _constant(values: Values, settings: Mapping[str, Any]) -> Tensor:
    if "value" in settings:
        return torch.from_numpy(onnx.numpy_helper.to_array(settings["value"]).copy())
    return torch.tensor(next(iter(settings.values())))


OPERATORS: dict[str, Operator] = {
    "Abs": _elementwise(torch.abs),
    "Add": _elementwise(torch.add),
    "AveragePool": _average_pool,
    "BatchNormalization": _batch_normalised,
    "Cast": _cast,
    "Clip": _clip,
    "Concat": _concat,
    "Constant": _constant,
    "Conv": _convolution,
    "ConvTranspose": functools.partial(_convolution, transposed=True),
    "Div": _elementwise(torch.div),
    "Exp": _elementwise(torch.exp),
    "Expand": _expand,
    "Flatten": _flatten,
    "Gather": _gather,
    "GatherND": _gather_nd,
    "Gemm": _gemm,
    "Identity": _elementwise(lambda value: value),
    "LeakyRelu": lambda values, settings: F.leaky_relu(_required_input(values, 0), settings.get("alpha", 0.01)),
    "Log": _elementwise(torch.log),
    "MatMul": _elementwise(torch.matmul),
    "Max": _variadic(torch.maximum),
    "Min": _variadic(torch.minimum),
    "Mul": _elementwise(torch.mul),
    "Neg": _elementwise(torch.neg),
    "Pad": _pad,
    "Pow": _elementwise(torch.pow),
    "Reciprocal": _elementwise(torch.reciprocal),
    "ReduceMax": _reduction(torch.amax),
    "ReduceMean": _reduction(torch.mean),
    "ReduceMin": _reduction(torch.amin),
    "ReduceSum": _reduction(torch.sum),
    "Relu": _elementwise(torch.relu),
    "Reshape": _reshape,
    "Shape": lambda values, settings: torch.tensor(_required_input(values, 0).shape),
    "Sigmoid": _elementwise(torch.sigmoid),
    "Slice": _slice,
    "Softmax": lambda values, settings: torch.softmax(_required_input(values, 0), settings.get("axis", -1)),
    "Softplus": _elementwise(F.softplus),
    "Split": _split,
    "Sqrt": _elementwise(torch.sqrt),
    "Squeeze": _squeeze,
    "Sub": _elementwise(torch.sub),
    "Tanh": _elementwise(torch.tanh),
    "Transpose": _transpose,
    "Unsqueeze": _unsqueeze,
}


class GraphNode:
    """A node: its operator, its attributes, and the names of its inputs and outputs."""

    def __init__(self, node: onnx.NodeProto) -> None:
        if node.domain not in ("", "ai.onnx"):
            raise Unsupported(f"its graph has operator {node.op_type!r} of domain {node.domain!r}")
        if node.op_type not in OPERATORS:
            raise Unsupported(f"its graph has operator {node.op_type!r}")
        self.compute: Operator = OPERATORS[node.op_type]
        raw_attributes = {entry.name: onnx.helper.get_attribute_value(entry) for entry in node.attribute}
        self.settings: dict[str, Any] = {
            name: value.decode() if isinstance(value, bytes) else value for name, value in raw_attributes.items()
        }
        self.inputs, self.outputs = list(node.input), list(node.output)

    def run(self, tensors_by_name: dict[str, Tensor]) -> None:
        inputs: Values = [tensors_by_name[name] if name else None for name in self.inputs]
        outputs = self.compute(inputs, self.settings)
        for name, tensor in zip(self.outputs, outputs if isinstance(outputs, tuple) else (outputs,), strict=True):
            tensors_by_name[name] = tensor


class Graph(nn.Module):
    """An ONNX graph as a torch module: inputs by name → output.

    Weights are buffers in the file's precision (float16 becomes float32). The first axis is dynamic.
    """

    def __init__(self, path: Path, output_name: str) -> None:
        """Read a graph opened by `open_session`; raise `UserError` for an unknown operator."""
        super().__init__()
        self._output, self._path = output_name, path
        graph = onnx.load(path).graph
        constants = {tensor.name: _tensor(numpy_helper.to_array(tensor)) for tensor in graph.initializer}
        self._steps: list[GraphNode] = []
        try:
            for node in map(GraphNode, graph.node):
                if all(name in constants or not name for name in node.inputs):
                    node.run(constants)
                else:
                    self._steps.append(node)
        except Unsupported as problem:
            raise self._unsupported_error(problem) from None
        needed_names = {output_name, *(name for step in self._steps for name in step.inputs)}
        self._names = {
            name: f"constant_{number}" for number, name in enumerate(sorted(needed_names & constants.keys()))
        }
        for name, buffer_name in self._names.items():
            constant = constants[name]
            self.register_buffer(buffer_name, constant.float() if constant.dtype == torch.float16 else constant)

    def forward(self, **inputs: Tensor) -> Tensor:
        tensors_by_name = {name: self.get_buffer(buffer_name) for name, buffer_name in self._names.items()} | inputs
        try:
            for node in self._steps:
                node.run(tensors_by_name)
        except Unsupported as problem:
            raise self._unsupported_error(problem) from None
        return tensors_by_name[self._output]

    def _unsupported_error(self, problem: Unsupported) -> UserError:
        return UserError(
            f"{self._path} can be played, but not searched by gradient or written for nn~: {problem}, which 'timbrel "
            "export' writes in no decoder; recover with --method network, or export the model again"
        )


class RebuiltDecoder(nn.Module):
    """Latents [voice, n] and a condition → frames [voice, frame_width], as `Model.decode`."""

    def __init__(self, model: Model) -> None:
        """Raise `UserError` for a model with a state or an unknown operator."""
        super().__init__()
        card = model.card
        if card.state:
            raise UserError(
                f"{model.path}: a decoder with a state has no code of its own to be searched for; give a model of "
                "spectra, grains or clips"
            )
        self.condition = next(iter(model.condition_inputs(np.zeros(1, np.intp))), None)
        self.graph = Graph(model.path, "frame").requires_grad_(False)

    def forward(self, latent: Tensor, condition: Tensor | None = None) -> Tensor:
        """``condition`` weights pitch classes or labels, or holds pitches."""
        if self.condition is None:
            frames: Tensor = self.graph(latent=latent)
        else:
            frames = self.graph(latent=latent, **{self.condition: condition})
        return frames


def _tensor(array: np.ndarray) -> Tensor:
    return torch.from_numpy(np.array(array))
