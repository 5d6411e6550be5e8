"""Nodes and tensors of an ONNX graph, read without a library. Field numbers are those of onnx.proto."""

import struct
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from .onnx_bytes import BYTES, FIXED32, NotONNX, fields, graph_of

DTYPES = {1: "<f4", 7: "<i8", 10: "<f2"}  # by ONNX data type; other tensors are left out


class Node(NamedTuple):
    operator: str
    inputs: list[str]
    outputs: list[str]
    attributes: dict[str, float]  # those of one number


class Graph(NamedTuple):
    nodes: list[Node]
    tensors: dict[str, npt.NDArray[Any]]


def read_graph(data: bytes) -> Graph:
    """Read a model file's bytes.

    Raises:
        NotONNX: not protobuf, or a tensor whose bytes do not fit its shape.
    """
    graph = Graph([], {})
    content = graph_of(data)
    for number, wire_type, _, begin, length in fields(content, 0, len(content)):
        if wire_type == BYTES and number == 1:
            graph.nodes.append(_node(content[begin : begin + length]))
        elif wire_type == BYTES and number == 5:
            name, tensor = _tensor(content[begin : begin + length])
            if tensor is not None:
                graph.tensors[name] = tensor
    return graph


def _node(content: bytes) -> Node:
    operator, names, attributes = "", (list[str](), list[str]()), dict[str, float]()  # names of inputs and outputs
    for number, _, _, begin, length in fields(content, 0, len(content)):
        part = content[begin : begin + length]
        if number in (1, 2):
            names[number - 1].append(part.decode(errors="replace"))
        elif number == 4:
            operator = part.decode(errors="replace")
        elif number == 5:
            attributes.update(_attribute(part))
    return Node(operator, *names, attributes)


def _attribute(content: bytes) -> dict[str, float]:
    name, value = "", None
    for number, wire_type, varint, begin, length in fields(content, 0, len(content)):
        if number == 1:
            name = content[begin : begin + length].decode(errors="replace")
        elif number == 2 and wire_type == FIXED32:
            value = struct.unpack("<f", content[begin : begin + length])[0]
        elif number == 3:
            value = float(varint)
    return {} if value is None else {name: value}


def _tensor(content: bytes) -> tuple[str, npt.NDArray[Any] | None]:
    name, dtype, shape, raw = "", "", list[int](), b""
    for number, wire_type, varint, begin, length in fields(content, 0, len(content)):
        part = content[begin : begin + length]
        if number == 1 and wire_type == BYTES:  # packed
            shape += _packed(part)
        elif number == 1:
            shape.append(varint)
        elif number == 2:
            dtype = DTYPES.get(varint, "")
        elif number == 8:
            name = part.decode(errors="replace")
        elif number == 9:
            raw = part
    if not dtype or not raw:
        return name, None
    try:
        return name, np.frombuffer(raw, dtype).reshape(shape)
    except ValueError:
        raise NotONNX(f"tensor {name!r} has {len(raw)} bytes for the shape {shape}") from None


def _packed(content: bytes) -> list[int]:
    numbers, value, shift = list[int](), 0, 0
    for byte in content:
        value, shift = value | (byte & 0x7F) << shift, shift + 7
        if byte < 0x80:
            numbers.append(value)
            value = shift = 0
    return numbers
