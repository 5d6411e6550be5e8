"""Models in closed form whose keys are obeyed, or not, as one likes."""

import json

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from timbrel.host.contract.card import METADATA_KEY
from timbrel.host.contract.model import Model

RATE, LENGTH, HOP = 48000, 4096, 1024


def lobe(bins, at):
    """Magnitude of a Hann window's main lobe around bin ``at``, 1 at its top."""
    distance = np.abs(bins - at)
    safe = np.where(np.isclose(distance, 1), 0.5, distance)
    shape = np.where(np.isclose(distance, 1), 0.5, np.abs(np.sinc(safe) / (1 - safe**2)))
    return np.where(distance < 2, shape, 0.0)


def combs(octave, semitones):
    """Spectra of twelve keys, [12, bins]: harmonics that fall off by 0.7, ``semitones`` away from the key."""
    bins = np.arange(LENGTH // 2 + 1)
    rows = []
    for key in range(12):
        hz = 440 * 2 ** ((12 * (octave + 1) + key + semitones[key] - 69) / 12)
        rows.append(sum(0.7**k * lobe(bins, k * hz * LENGTH / RATE) for k in range(1, int(8000 / hz))))
    return np.array([row / row.max() for row in rows], np.float32)


@pytest.fixture
def analytic(tmp_path):
    """Write and open ``frame = chroma @ combs * (1 + latent)``; keys sound ``semitones`` away from themselves."""

    def make(octave=4, semitones=(0,) * 12, lufs=-20.0, name="analytic"):
        weights = combs(octave, semitones)
        graph = helper.make_graph(
            [
                helper.make_node("MatMul", ["chroma", "combs"], ["comb"]),
                helper.make_node("Add", ["latent", "one"], ["level"]),
                helper.make_node("Mul", ["comb", "level"], ["frame"]),
            ],
            name,
            [
                helper.make_tensor_value_info("latent", TensorProto.FLOAT, ["voice", 1]),
                helper.make_tensor_value_info("chroma", TensorProto.FLOAT, ["voice", 12]),
            ],
            [helper.make_tensor_value_info("frame", TensorProto.FLOAT, ["voice", LENGTH // 2 + 1])],
            [numpy_helper.from_array(weights, "combs"), numpy_helper.from_array(np.float32([1]), "one")],
        )
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8)
        knob = {"name": "level", "low": 0.0, "high": 1.0, "default": 0.0, "mean": 0.5, "std": 0.3}
        card = {
            "format": 1,
            "name": name,
            "description": "harmonics in closed form",
            "license": "CC0-1.0",
            "credits": "",
            "created": "2026-01-01",
            "kind": "spectrum",
            "domain": "magnitude",
            "sample_rate": RATE,
            "frame_length": LENGTH,
            "hop_length": HOP,
            "window": "hann",
            "latents": [knob],
            "prior": {"uniform": [0.0, 1.0]},
            "chroma": {"trained": list(range(12)), "octave": octave},
            "loudness_lufs": lufs,
            "landmarks": [{"latent": [v / 9], "chroma": 0, "label": f"{v}"} for v in range(10)],
            "training": {
                "recipe": "none",
                "steps": 0,
                "seed": 0,
                "corpus": "none",
                "clips": 0,
                "seconds": 0.0,
                "validation": {},
                "versions": {},
                "hardware": "none",
            },
            "parity": {"absolute": 0.0, "relative": 0.0, "batch_sizes": [1]},
            "reference": {"latent": [[0.0]], "chroma": [0], "points": [0], "frame": [[0.0]], "tolerance": 1e-3},
        }
        helper.set_model_props(model, {METADATA_KEY: json.dumps(card)})
        path = tmp_path / f"{name}.onnx"
        onnx.save(model, path)
        return Model(path)

    return make
