"""A model of clips whose every sample is known: ``frame = rest + latent @ moved (+ label @ labelled)``."""

import json

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper
from timbrel.host.engines.engine import VOICE_LUFS
from timbrel.host.model.card import METADATA_KEY

from .analytic import Analytic

RATE, LENGTH, LATENTS = 16_000, 4000, 2
SHARP = {"decay_seconds": 0.0, "release_seconds": 0.001}


def noise(seed, length=LENGTH):
    """A clip that differs everywhere, decays, and ends in silence."""
    rng = np.random.default_rng(seed)
    return (rng.normal(size=length) * np.exp(-np.arange(length) / (length / 5))).astype(np.float32)


def clip_card(length=LENGTH, labels=(), latents=LATENTS, **changes):
    """The fields of the card of such a model."""
    first = [[0.0] * latents]
    return (
        Analytic(latents, RATE, chroma=False).card()
        | {
            "name": "clips",
            "kind": "clip",
            "domain": "samples",
            "frame_length": length,
            "hop_length": length,
            "window": "rectangular",
            "loudness_lufs": VOICE_LUFS,
            "labels": list(labels),
            "latents": [
                {"name": f"{n}", "low": -2.0, "high": 2.0, "default": 0.0, "mean": 0.0, "std": 1.0}
                for n in range(latents)
            ],
            "landmarks": [
                {"latent": [1.0] + [0.0] * (latents - 1), "chroma": None, "label": "one"},
                {"latent": [0.0] * (latents - 1) + [-1.0], "chroma": None, "label": "two"},
            ],
            "reference": {
                "latent": first,
                "chroma": None,
                "label": [0] if labels else None,
                "points": [0],
                "frame": [[0.0]],
                "tolerance": 100.0,
            },
        }
        | changes
    )


def save_clips(path, rest, moved=None, labels=(), labelled=None, **card):
    """Write the model; ``card`` has changes."""
    rest = np.asarray(rest, np.float32)
    moved = np.zeros((LATENTS, len(rest))) if moved is None else np.asarray(moved)
    put = {"latent": len(moved)} | ({"label": len(labels)} if labels else {})
    constants = {"rest": rest, "moved": moved}
    nodes = [
        helper.make_node("MatMul", ["latent", "moved"], ["x"]),
        helper.make_node("Add", ["x", "rest"], ["y" if labels else "frame"]),
    ]
    if labels:
        constants["labelled"] = labelled
        nodes += [
            helper.make_node("MatMul", ["label", "labelled"], ["z"]),
            helper.make_node("Add", ["y", "z"], ["frame"]),
        ]
    inputs = [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["voice", width]) for name, width in put.items()]
    frame = [helper.make_tensor_value_info("frame", TensorProto.FLOAT, ["voice", len(rest)])]
    kept = [numpy_helper.from_array(np.asarray(value, np.float32), name) for name, value in constants.items()]
    graph = helper.make_graph(nodes, "clips", inputs, frame, kept)
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    fields = clip_card(card.pop("frame_length", len(rest)), labels, len(moved), **card)
    helper.set_model_props(made, {METADATA_KEY: json.dumps(fields)})
    onnx.save(made, path)
    return path
