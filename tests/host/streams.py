"""A model of streams whose every sample is known: ``frame = previous @ turn + latent @ push``, at first ``+ first``.

With ``noise``, that is added; with a ``grid``, what is in ``mark`` comes as loud as the bar is far.
"""

import json

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper
from timbrel.host.model.card import METADATA_KEY

from .clips import RATE, clip_card

LENGTH, STEP = 256, 224
CYCLES = 9.25 / 256  # a sample: no whole number of a frame or a step
SAME = object()  # the ``turn`` that leaves frames as they are


def sine(count, first=0):
    """The sine that the model goes on with, [count]."""
    return np.sin(2 * np.pi * CYCLES * (np.arange(count) + first)).astype(np.float32)


def going_on(length=LENGTH, step=STEP):
    """The matrix that takes a frame of any sine of that pitch to the next one, [length, length]."""
    angle = 2 * np.pi * CYCLES * np.arange(length + step)
    waves = np.stack([np.sin(angle), np.cos(angle)])
    return np.linalg.pinv(waves[:, :length]) @ waves[:, step:]


def stream_card(length=LENGTH, step=STEP, grid=None, noise=0, **changes):
    """The fields of the card of such a model."""
    state = [{"name": "previous", "shape": [length]}, *({"name": name, "shape": [1]} for name in ("begun", "steps"))]
    state += [{"name": "place", "shape": [1]}] if grid else []
    stream = {"step_length": step, "steps_per_beat": grid, "noise": noise, "levels_db": [-60.0, 0.0]}
    return clip_card(length) | {"kind": "stream", "hop_length": step, "state": state, "stream": stream} | changes


def save_streams(path, first, turn=None, push=None, *, step=STEP, grid=None, noise=0, mark=None, counts=0.0, **card):
    """Write the model; ``card`` has changes. Each frame is by ``counts`` higher than the one before."""
    length = len(first)
    constants = {
        **({} if turn is SAME else {"turn": going_on(length, step) if turn is None else turn}),
        "push": np.zeros((2, length)) if push is None else push,
        "first": np.reshape(first, (1, length)),
        "mark": np.zeros((1, length)) if mark is None else np.reshape(mark, (1, length)),
        "one": np.ones(1),
        "part": np.full(1, 1.0 / (4 * grid) if grid else 0.0),
        "counts": np.full((1, length), counts),
    }
    nodes = [
        helper.make_node(*(("Identity", ["previous"]) if turn is SAME else ("MatMul", ["previous", "turn"])), ["a"]),
        helper.make_node("MatMul", ["latent", "push"], ["b"]),
        helper.make_node("Sub", ["one", "begun"], ["new"]),
        helper.make_node("MatMul", ["new", "first"], ["c"]),
        helper.make_node("MatMul", ["steps", "counts"], ["e"]),
        helper.make_node("Sum", ["a", "b", "c", "e", *["d"] * bool(grid), *["noise"] * bool(noise)], ["frame"]),
        helper.make_node("Identity", ["frame"], ["previous_next"]),
        helper.make_node("Max", ["begun", "one"], ["begun_next"]),
        helper.make_node("Add", ["steps", "one"], ["steps_next"]),
    ]
    widths = {"latent": 2} | ({"noise": noise} if noise else {}) | {"previous": length, "begun": 1, "steps": 1}
    given = {"frame": length, "previous_next": length, "begun_next": 1, "steps_next": 1}
    if grid:
        widths["place"], given["place_next"] = 1, 1
        nodes += [
            helper.make_node("Add", ["place", "part"], ["further"]),
            helper.make_node("Mod", ["further", "one"], ["place_next"], fmod=1),
        ]
        nodes.insert(0, helper.make_node("MatMul", ["place", "mark"], ["d"]))
    inputs = [
        helper.make_tensor_value_info(name, TensorProto.FLOAT, ["voice", width]) for name, width in widths.items()
    ]
    outputs = [
        helper.make_tensor_value_info(name, TensorProto.FLOAT, ["voice", width]) for name, width in given.items()
    ]
    kept = [numpy_helper.from_array(np.asarray(value, np.float32), name) for name, value in constants.items()]
    graph = helper.make_graph(nodes, "streams", inputs, outputs, kept)
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    fields = stream_card(length, step, grid, noise, **card)
    helper.set_model_props(made, {METADATA_KEY: json.dumps(fields)})
    onnx.save(made, path)
    return path


def _told(widths):
    return [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["voice", width]) for name, width in widths.items()]


__all__ = ["LENGTH", "RATE", "SAME", "STEP", "going_on", "save_streams", "sine", "stream_card"]
