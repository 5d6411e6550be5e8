"""Learned paths by formula, beside copies of models."""

import hashlib
import json
import shutil

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper
from timbrel.host.model.card import METADATA_KEY
from timbrel.host.model.learned_path import PATH_KEY, path_file
from timbrel.host.signal import normals

STEP_LENGTH = 441
PULL, SPREAD = np.float32(0.9), np.float32(0.2)


def expected_codes(start, seed, count, low, high):
    """The codes of ``count`` steps: pulled to 0 and moved by noise; every third step, by the state, goes back."""
    code, codes = np.array(start, np.float32), []
    for step in range(count):
        noise = normals(seed, 0, step, len(code) + 1)[1:]
        sign = np.float32(-1 if step % 3 == 2 else 1)
        code = np.clip(sign * PULL * code + SPREAD * noise, low, high).astype(np.float32)
        codes.append(code)
    return np.array(codes)


def path_bytes(latents, start=None, codes=None, tolerance=1e-4, card=None, nodes=None):
    """The file of such a path: the state counts steps in its first number, of two."""
    constants = {
        "pull": [PULL], "spread": [SPREAD], "one": [1.0, 0.0], "three": [3.0], "minus": [-2.0], "two": [2.0],
        "first": np.array([1.0, 0.0]).reshape(2, 1),
    }  # fmt: skip
    kept = [numpy_helper.from_array(np.asarray(value, np.float32), name) for name, value in constants.items()]
    kept.append(numpy_helper.from_array(np.array([1, latents], np.int64), "split"))
    made_nodes = nodes or [
        helper.make_node("Add", ["state", "one"], ["state_next"]),
        helper.make_node("MatMul", ["state", "first"], ["step"]),
        helper.make_node("Mod", ["step", "three"], ["third"], fmod=1),
        helper.make_node("Equal", ["third", "two"], ["is_last"]),
        helper.make_node("Cast", ["is_last"], ["last"], to=TensorProto.FLOAT),
        helper.make_node("Mul", ["last", "minus"], ["turn"]),
        helper.make_node("Identity", ["turn"], ["turned"]),
        helper.make_node("Split", ["noise", "split"], ["unused", "moves"], axis=1),
        helper.make_node("Mul", ["code", "pull"], ["pulled"]),
        helper.make_node("Mul", ["pulled", "turned"], ["back"]),
        helper.make_node("Add", ["pulled", "back"], ["signed"]),
        helper.make_node("Mul", ["moves", "spread"], ["moved"]),
        helper.make_node("Add", ["signed", "moved"], ["code_next"]),
    ]
    ports = [
        helper.make_tensor_value_info(name, TensorProto.FLOAT, ["voice", width])
        for name, width in (("code", latents), ("state", 2), ("noise", latents + 1))
    ]
    outputs = [
        helper.make_tensor_value_info(name, TensorProto.FLOAT, ["voice", width])
        for name, width in (("code_next", latents), ("state_next", 2))
    ]
    graph = helper.make_graph(made_nodes, "path", ports, outputs, kept)
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    start = [0.0] * latents if start is None else start
    reference = {"start": start, "seed": 5, "codes": [start] if codes is None else codes, "tolerance": tolerance}
    fields = {"format": 1, "model": "any", "license": "CC0-1.0", "reference": reference}
    helper.set_model_props(made, {PATH_KEY: json.dumps(fields) if card is None else card})
    return made.SerializeToString()


def with_learned_path(path, target, **changes):
    """Copy a model's file with a learned path in its card, and write this beside it; return the copy."""
    made = onnx.load(path)
    metadata = {entry.key: entry.value for entry in made.metadata_props}
    card = json.loads(metadata[METADATA_KEY])
    spans = [(latent["low"], latent["high"]) for latent in card["latents"]]
    start = [latent["default"] for latent in card["latents"]]
    codes = expected_codes(start, 5, 12, *np.array(spans, np.float32).T).round(6).tolist()
    data = path_bytes(len(spans), **{"start": start, "codes": codes, **changes})
    card["learned_path"] = {
        "step_length": STEP_LENGTH,
        "state": 2,
        "noise": len(spans) + 1,
        "sha256": hashlib.sha256(data).hexdigest(),
    }
    helper.set_model_props(made, metadata | {METADATA_KEY: json.dumps(card)})
    onnx.save(made, target)
    path_file(target).write_bytes(data)
    return target


def move(path, target):
    """Move a model with its learned path."""
    shutil.move(path_file(path), path_file(target))
    shutil.move(path, target)
