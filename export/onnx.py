"""Writes torch modules as ONNX files, optionally with float16 weights."""

import logging
import math
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Literal

import numpy as np
import onnx
import torch
from onnx import TensorProto, helper, numpy_helper
from torch import nn

OPSET = 18

Weights = Literal["float16", "float32"]


def trace(module: nn.Module, inputs: Mapping[str, torch.Tensor], outputs: Sequence[str], axis: str) -> onnx.ModelProto:
    """Return the graph of ``module(*inputs)``; its first axis, named ``axis``, is dynamic."""
    module.eval()
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)  # it warns of operators that are not in the graph
    dimension = torch.export.Dim(axis, min=1, max=1 << 20)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the exporter's own deprecations
        program = torch.onnx.export(
            module,
            tuple(inputs.values()),
            input_names=list(inputs),
            output_names=list(outputs),
            dynamic_shapes=tuple({0: dimension} for _ in inputs),
            opset_version=OPSET,
            dynamo=True,
            external_data=False,
            verbose=False,
            optimize=True,
        )
    assert program is not None
    return program.model_proto


def store_half(model: onnx.ModelProto, exact: int = 0) -> None:
    """Store float32 matrices as float16, each with a Cast that onnxruntime folds at load.

    Vectors and matrices up to ``exact`` elements stay float32: a rounded window leaks at -70 dB, and moves codes by a
    tenth of their range.
    """
    kept, casts = [], []
    for tensor in model.graph.initializer:
        matrix = sum(size > 1 for size in tensor.dims) > 1
        if tensor.data_type != TensorProto.FLOAT or not matrix or math.prod(tensor.dims) <= exact:
            kept.append(tensor)
            continue
        half = numpy_helper.from_array(numpy_helper.to_array(tensor).astype(np.float16), f"{tensor.name}.half")
        kept.append(half)
        casts.append(helper.make_node("Cast", [half.name], [tensor.name], to=TensorProto.FLOAT))
    nodes = list(model.graph.node)
    del model.graph.initializer[:], model.graph.node[:]
    model.graph.initializer.extend(kept)
    model.graph.node.extend([*casts, *nodes])


def save(model: onnx.ModelProto, path: Path, metadata: Mapping[str, str]) -> None:
    helper.set_model_props(model, dict(metadata))
    for node in model.graph.node:
        node.doc_string = ""
        del node.metadata_props[:]  # traces of the exporting machine
    for value in model.graph.value_info:
        del value.metadata_props[:]
    onnx.checker.check_model(model)
    path.write_bytes(model.SerializeToString())
