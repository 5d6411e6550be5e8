"""Decoder networks that the core computes itself: four dense layers, known by their graph."""

import itertools
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from ..arrays import Array
from ..model.model import Model
from ..model.onnx_graph import Node, read_graph

LAYERS = 4
TILE = 16  # outputs of a layer are a multiple of this, as in core/state.h
# Operators of the graph of a network of partials, without the casts of halved weights.
PITCH = ["Gather", "Clip", "Unsqueeze", "Sub", "Abs", "Div", "Sub", "Clip", "Concat"]
DENSE = ["Gemm", "LeakyRelu"] * (LAYERS - 1) + ["Gemm"]
OUTPUT = ["Add", "Clip", "Exp"]


class Network(NamedTuple):
    """``weights``: [inputs, outputs] a layer, outputs padded to a multiple of `TILE`; ``biases``: [outputs].

    A key's inputs after the latents are max(0, 1 - |pitch - middle| / ``pitch_unit``). Frames are
    exp(min(output + ``means``, ``most``)).
    """

    weights: list[Array]
    biases: list[Array]
    slope: float
    pitch_middles: Array
    pitch_unit: float
    pitch_range: tuple[float, float]
    means: Array
    most: float


def network_of(model: Model) -> Network | None:
    """Return the network of a model of partials; None for a graph of another form."""
    graph = read_graph(model.read_bytes())
    casts = {node.outputs[0]: node.inputs[0] for node in graph.nodes if node.operator == "Cast"}
    nodes = [node for node in graph.nodes if node.operator != "Cast"]
    if [node.operator for node in nodes] != [*PITCH, *DENSE, *OUTPUT] or not _are_chained(nodes):
        return None
    tensors = {**graph.tensors, **{name: graph.tensors[half] for name, half in casts.items() if half in graph.tensors}}
    try:
        return _network(nodes, tensors)
    except (KeyError, IndexError, ValueError):
        return None


def _are_chained(nodes: list[Node]) -> bool:
    """Return whether each node reads the one before, and the layers' inputs are latents and pitch alone."""
    chained = all(previous.outputs[0] in node.inputs for previous, node in itertools.pairwise(nodes))
    concat = nodes[len(PITCH) - 1]
    return chained and concat.inputs[0] == "latent" and nodes[0].inputs[0] == "pitch" and nodes[-1].outputs == ["frame"]


def _network(nodes: list[Node], tensors: Mapping[str, npt.NDArray[Any]]) -> Network | None:
    _, clamp, _, difference, _, divide, one_less, at_least, *_ = nodes
    layers = [node for node in nodes if node.operator == "Gemm"]
    leaks = [node for node in nodes if node.operator == "LeakyRelu"]
    add, limit, _ = nodes[-3:]
    plain = all(node.attributes.get("transB") == 1 and node.attributes.get("alpha", 1) == 1 for node in layers)
    if not plain or len({node.attributes["alpha"] for node in leaks}) != 1 or limit.inputs[1]:
        return None
    if (
        float(tensors[one_less.inputs[0]]) != 1.0
        or float(tensors[at_least.inputs[1]]) != 0.0
        or len(at_least.inputs) > 2
    ):
        return None
    weights = [tensors[node.inputs[1]].T.astype(np.float32) for node in layers]
    biases = [tensors[node.inputs[2]].astype(np.float32) for node in layers]
    padded_weights, inputs = [], weights[0].shape[0]
    for weight in weights:
        padded = np.zeros((inputs, -(-weight.shape[1] // TILE) * TILE), np.float32)
        padded[: weight.shape[0], : weight.shape[1]] = weight
        padded_weights.append(padded)
        inputs = padded.shape[1]
    return Network(
        weights=padded_weights,
        biases=[np.pad(bias, (0, -len(bias) % TILE)) for bias in biases],
        slope=leaks[0].attributes["alpha"],
        pitch_middles=tensors[difference.inputs[1]].astype(np.float32),
        pitch_unit=float(tensors[divide.inputs[1]]),
        pitch_range=(float(tensors[clamp.inputs[1]]), float(tensors[clamp.inputs[2]])),
        means=np.ascontiguousarray(tensors[add.inputs[1]], np.float32),
        most=float(tensors[limit.inputs[2]]),
    )
