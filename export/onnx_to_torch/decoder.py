"""Differentiable torch decoder from an ONNX graph."""

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
from onnx import numpy_helper
from torch import Tensor, nn

from ...host.contract.model import Model
from ...host.errors import UserError
from .operators import Operator, Unsupported, Values, attributes, operator


class GraphNode:
    def __init__(self, node: onnx.NodeProto) -> None:
        if node.domain not in ("", "ai.onnx"):
            raise Unsupported(f"its graph has operator {node.op_type!r} of domain {node.domain!r}")
        self.compute: Operator = operator(node.op_type)
        self.settings: dict[str, Any] = attributes(node)
        self.inputs, self.outputs = list(node.input), list(node.output)

    def run(self, values: dict[str, Tensor]) -> None:
        asked: Values = [values[name] if name else None for name in self.inputs]
        given = self.compute(asked, self.settings)
        for name, value in zip(self.outputs, given if isinstance(given, tuple) else (given,), strict=True):
            values[name] = value


class Graph(nn.Module):
    """An ONNX graph as a torch module: inputs by name → output.

    Weights are buffers in the file's precision (float16 becomes float32). The first axis is dynamic.
    """

    def __init__(self, path: Path, output: str) -> None:
        """Read a graph opened by `open_session`; raise `UserError` for an unknown operator."""
        super().__init__()
        self._output, self._path = output, path
        graph = onnx.load(path).graph
        constants = {tensor.name: _tensor(numpy_helper.to_array(tensor)) for tensor in graph.initializer}
        self._steps: list[GraphNode] = []
        try:
            for step in map(GraphNode, graph.node):
                if all(name in constants or not name for name in step.inputs):
                    step.run(constants)
                else:
                    self._steps.append(step)
        except Unsupported as problem:
            raise self._refused(problem) from None
        wanted = {output, *(name for step in self._steps for name in step.inputs)}
        self._names = {name: f"constant_{place}" for place, name in enumerate(sorted(wanted & constants.keys()))}
        for name, buffer in self._names.items():
            value = constants[name]
            self.register_buffer(buffer, value.float() if value.dtype == torch.float16 else value)

    def forward(self, **inputs: Tensor) -> Tensor:
        values = {name: self.get_buffer(buffer) for name, buffer in self._names.items()} | inputs
        try:
            for step in self._steps:
                step.run(values)
        except Unsupported as problem:
            raise self._refused(problem) from None
        return values[self._output]

    def _refused(self, problem: Unsupported) -> UserError:
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


def _tensor(value: np.ndarray) -> Tensor:
    return torch.from_numpy(np.array(value))
