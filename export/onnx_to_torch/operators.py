"""Operators of ONNX opset 18 in torch, for exported decoders."""

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import onnx
import torch
from onnx import TensorProto
from torch import Tensor
from torch.nn import functional as F

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


def operator(name: str) -> Operator:
    if name not in OPERATORS:
        raise Unsupported(f"its graph has operator {name!r}")
    return OPERATORS[name]


def attributes(node: onnx.NodeProto) -> dict[str, Any]:
    found = {entry.name: onnx.helper.get_attribute_value(entry) for entry in node.attribute}
    return {name: value.decode() if isinstance(value, bytes) else value for name, value in found.items()}


def _given(values: Values, place: int) -> Tensor | None:
    return values[place] if place < len(values) else None


def _there(values: Values, place: int) -> Tensor:
    value = _given(values, place)
    if value is None:
        raise Unsupported(f"a node lacks its input {place + 1}")
    return value


def _numbers(values: Values, place: int) -> list[int]:
    found: list[int] = _there(values, place).flatten().tolist()
    return found


def _alone(function: Callable[[Tensor], Tensor]) -> Operator:
    return lambda values, settings: function(_there(values, 0))


def _pair(function: Callable[[Tensor, Tensor], Tensor]) -> Operator:
    return lambda values, settings: function(_there(values, 0), _there(values, 1))


def _several(function: Callable[[Tensor, Tensor], Tensor]) -> Operator:
    def computed(values: Values, settings: Mapping[str, Any]) -> Tensor:
        total = _there(values, 0)
        for place in range(1, len(values)):
            total = function(total, _there(values, place))
        return total

    return computed


def _gemm(values: Values, settings: Mapping[str, Any]) -> Tensor:
    first, second, added = _there(values, 0), _there(values, 1), _given(values, 2)
    first = first.T if settings.get("transA") else first
    second = second.T if settings.get("transB") else second
    alpha, beta = settings.get("alpha", 1.0), settings.get("beta", 1.0)
    product = first @ second
    product = product if alpha == 1 else alpha * product
    return product if added is None else product + (added if beta == 1 else beta * added)


def _axes(values: Values, settings: Mapping[str, Any]) -> list[int]:
    if _given(values, 1) is not None:
        return _numbers(values, 1)
    return list(settings.get("axes", range(_there(values, 0).ndim)))


def _reduced(function: Callable[..., Tensor]) -> Operator:
    def computed(values: Values, settings: Mapping[str, Any]) -> Tensor:
        return function(_there(values, 0), _axes(values, settings), keepdim=bool(settings.get("keepdims", 1)))

    return computed


def _clip(values: Values, settings: Mapping[str, Any]) -> Tensor:
    return torch.clamp(_there(values, 0), _given(values, 1), _given(values, 2))


def _cast(values: Values, settings: Mapping[str, Any]) -> Tensor:
    value, kind = _there(values, 0), CASTS.get(settings["to"])
    if kind is None:
        raise Unsupported(f"its graph casts to type {settings['to']}")
    # float32 of the file is computed in the precision of the inputs
    return value if value.is_floating_point() and kind == torch.float32 else value.to(kind)


def _reshape(values: Values, settings: Mapping[str, Any]) -> Tensor:
    value, shape = _there(values, 0), _numbers(values, 1)
    if not settings.get("allowzero"):
        shape = [value.shape[place] if size == 0 else size for place, size in enumerate(shape)]
    return value.reshape(shape)


def _flatten(values: Values, settings: Mapping[str, Any]) -> Tensor:
    value, axis = _there(values, 0), settings.get("axis", 1)
    return value.reshape(math.prod(value.shape[:axis]), -1)


def _transpose(values: Values, settings: Mapping[str, Any]) -> Tensor:
    value = _there(values, 0)
    return value.permute(settings.get("perm", list(reversed(range(value.ndim)))))


def _squeeze(values: Values, settings: Mapping[str, Any]) -> Tensor:
    return _there(values, 0).squeeze(_axes(values, settings) if _given(values, 1) is not None else [])


def _unsqueeze(values: Values, settings: Mapping[str, Any]) -> Tensor:
    value, axes = _there(values, 0), _numbers(values, 1)
    whole = value.ndim + len(axes)
    for axis in sorted(axis % whole for axis in axes):
        value = value.unsqueeze(axis)
    return value


def _slice(values: Values, settings: Mapping[str, Any]) -> Tensor:
    value = _there(values, 0)
    starts, ends = _numbers(values, 1), _numbers(values, 2)
    axes = _numbers(values, 3) if _given(values, 3) is not None else list(range(len(starts)))
    steps = _numbers(values, 4) if _given(values, 4) is not None else [1] * len(starts)
    for start, end, axis, step in zip(starts, ends, axes, steps, strict=True):
        places = range(value.shape[axis])[start:end:step]  # Python clamps ends as ONNX does
        value = value.index_select(axis, torch.tensor(places, dtype=torch.long, device=value.device))
    return value


def _split(values: Values, settings: Mapping[str, Any]) -> tuple[Tensor, ...]:
    value, axis = _there(values, 0), settings.get("axis", 0)
    if _given(values, 1) is not None:
        return torch.split_with_sizes(value, _numbers(values, 1), axis)
    whole, parts = value.shape[axis], settings["num_outputs"]
    size = -(-whole // parts)
    return torch.split_with_sizes(value, [size] * (parts - 1) + [whole - size * (parts - 1)], axis)


def _gather(values: Values, settings: Mapping[str, Any]) -> Tensor:
    value, places, axis = _there(values, 0), _there(values, 1).long(), settings.get("axis", 0)
    axis %= value.ndim
    found = value.index_select(axis, places.flatten() % value.shape[axis])
    return found.reshape(*value.shape[:axis], *places.shape, *value.shape[axis + 1 :])


def _concat(values: Values, settings: Mapping[str, Any]) -> Tensor:
    return torch.cat([_there(values, place) for place in range(len(values))], settings["axis"])


def _pad(values: Values, settings: Mapping[str, Any]) -> Tensor:
    value, by = _there(values, 0), _numbers(values, 1)
    if settings.get("mode", "constant") != "constant":
        raise Unsupported(f"its graph pads by mode {settings['mode']!r}")
    axes = _numbers(values, 3) if _given(values, 3) is not None else list(range(value.ndim))
    filled = _given(values, 2)
    around = [[0, 0] for _ in range(value.ndim)]
    for place, axis in enumerate(axes):
        around[axis] = [by[place], by[place + len(axes)]]
    flat = [size for pair in reversed(around) for size in pair]
    return F.pad(value, flat, value=0.0 if filled is None else float(filled))


def _expand(values: Values, settings: Mapping[str, Any]) -> Tensor:
    value, shape = _there(values, 0), _numbers(values, 1)
    return value * value.new_ones(shape)  # both may broadcast


def _around(settings: Mapping[str, Any], sides: int) -> list[int]:
    pads = settings.get("pads", [0] * 2 * sides)
    if settings.get("auto_pad", "NOTSET") not in ("NOTSET", "VALID") or list(pads[:sides]) != list(pads[sides:]):
        raise Unsupported("its graph has a convolution that pads one side more than the other")
    return list(pads[:sides])


def _convolution(values: Values, settings: Mapping[str, Any]) -> Tensor:
    value, weight = _there(values, 0), _there(values, 1)
    sides = weight.ndim - 2
    convolve: Callable[..., Tensor] = {1: F.conv1d, 2: F.conv2d}[sides]
    ones = [1] * sides
    strides, apart = list(settings.get("strides", ones)), list(settings.get("dilations", ones))
    around, groups = _around(settings, sides), settings.get("group", 1)
    return convolve(value, weight, _given(values, 2), strides, around, apart, groups)


def _transposed(values: Values, settings: Mapping[str, Any]) -> Tensor:
    value, weight = _there(values, 0), _there(values, 1)
    sides = weight.ndim - 2
    convolve: Callable[..., Tensor] = {1: F.conv_transpose1d, 2: F.conv_transpose2d}[sides]
    ones = [1] * sides
    strides, apart = list(settings.get("strides", ones)), list(settings.get("dilations", ones))
    more = list(settings.get("output_padding", [0] * sides))
    around, groups = _around(settings, sides), settings.get("group", 1)
    return convolve(value, weight, _given(values, 2), strides, around, more, groups, apart)


def _batch_normalised(values: Values, settings: Mapping[str, Any]) -> Tensor:
    value, scale, bias, mean, variance = (_there(values, place) for place in range(5))
    return F.batch_norm(value, mean, variance, scale, bias, eps=settings.get("epsilon", 1e-5))


def _gathered(values: Values, settings: Mapping[str, Any]) -> Tensor:
    value, places = _there(values, 0), _there(values, 1)
    if settings.get("batch_dims", 0):
        raise Unsupported("its graph gathers from each row of a batch by itself")
    return value[tuple(places.unbind(-1))]


def _pooled(values: Values, settings: Mapping[str, Any]) -> Tensor:
    value, kernel = _there(values, 0), list(settings["kernel_shape"])
    pool: Callable[..., Tensor] = {1: F.avg_pool1d, 2: F.avg_pool2d}[len(kernel)]
    around, strides = _around(settings, len(kernel)), list(settings.get("strides", [1] * len(kernel)))
    whole, counts = bool(settings.get("ceil_mode")), bool(settings.get("count_include_pad"))
    return pool(value, kernel, strides, around, whole, counts)


def _constant(values: Values, settings: Mapping[str, Any]) -> Tensor:
    if "value" in settings:
        return torch.from_numpy(onnx.numpy_helper.to_array(settings["value"]).copy())
    return torch.tensor(next(iter(settings.values())))


OPERATORS: dict[str, Operator] = {
    "Abs": _alone(torch.abs),
    "Add": _pair(torch.add),
    "AveragePool": _pooled,
    "BatchNormalization": _batch_normalised,
    "Cast": _cast,
    "Clip": _clip,
    "Concat": _concat,
    "Constant": _constant,
    "Conv": _convolution,
    "ConvTranspose": _transposed,
    "Div": _pair(torch.div),
    "Exp": _alone(torch.exp),
    "Expand": _expand,
    "Flatten": _flatten,
    "Gather": _gather,
    "GatherND": _gathered,
    "Gemm": _gemm,
    "Identity": _alone(lambda value: value),
    "LeakyRelu": lambda values, settings: F.leaky_relu(_there(values, 0), settings.get("alpha", 0.01)),
    "Log": _alone(torch.log),
    "MatMul": _pair(torch.matmul),
    "Max": _several(torch.maximum),
    "Min": _several(torch.minimum),
    "Mul": _pair(torch.mul),
    "Neg": _alone(torch.neg),
    "Pad": _pad,
    "Pow": _pair(torch.pow),
    "Reciprocal": _alone(torch.reciprocal),
    "ReduceMax": _reduced(torch.amax),
    "ReduceMean": _reduced(torch.mean),
    "ReduceMin": _reduced(torch.amin),
    "ReduceSum": _reduced(torch.sum),
    "Relu": _alone(torch.relu),
    "Reshape": _reshape,
    "Shape": lambda values, settings: torch.tensor(_there(values, 0).shape),
    "Sigmoid": _alone(torch.sigmoid),
    "Slice": _slice,
    "Softmax": lambda values, settings: torch.softmax(_there(values, 0), settings.get("axis", -1)),
    "Softplus": _alone(F.softplus),
    "Split": _split,
    "Sqrt": _alone(torch.sqrt),
    "Squeeze": _squeeze,
    "Sub": _pair(torch.sub),
    "Tanh": _alone(torch.tanh),
    "Transpose": _transpose,
    "Unsqueeze": _unsqueeze,
}
