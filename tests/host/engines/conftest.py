"""Models of grains whose sound is known."""

import json

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from timbrel.host.engines.engine import VOICE_LUFS
from timbrel.host.model.card import METADATA_KEY
from timbrel.host.model.model import Model

from .grain.grains import LATENTS, LENGTH, slope
from .spectrum.coherent import PUBLISHED, Given, harmonics_of, lobes


@pytest.fixture(scope="module")
def grain_path(analytic, tmp_path_factory):
    """A function that writes a model whose frame is ``rest + latent @ moved``; ``card`` has changes."""
    folder = tmp_path_factory.mktemp("grains")

    def write(rest, moved=None, domain="samples", **card):
        rest = np.asarray(rest, np.float32)
        moved = np.zeros((LATENTS, len(rest))) if moved is None else moved
        constants = [numpy_helper.from_array(np.asarray(v, np.float32), n) for n, v in (("m", moved), ("r", rest))]
        nodes = [
            helper.make_node("MatMul", ["latent", "m"], ["x"]),
            helper.make_node("Add", ["x", "r"], ["frame"]),
        ]
        latent, frame = (
            helper.make_tensor_value_info(name, TensorProto.FLOAT, ["voice", width])
            for name, width in (("latent", LATENTS), ("frame", len(rest)))
        )
        graph = helper.make_graph(nodes, "g", [latent], [frame], constants)
        made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
        fields = analytic(LATENTS, chroma=False, frame_length=LENGTH).card() | {
            "name": "grains",
            "kind": "grain",
            "domain": domain,
            "loudness_lufs": VOICE_LUFS,
            "landmarks": [],
            "latents": [
                {"name": f"{n}", "low": -4.0, "high": 4.0, "default": 0.0, "mean": 0.0, "std": 1.0}
                for n in range(LATENTS)
            ],
            "reference": {
                "latent": [[0.0] * LATENTS],
                "chroma": None,
                "points": [0],
                "frame": [[float(rest[0])]],
                "tolerance": 1e-5,
            },
        }
        helper.set_model_props(made, {METADATA_KEY: json.dumps(fields | card)})
        path = folder / f"{len(list(folder.iterdir()))}.onnx"
        onnx.save(made, path)
        return path

    return write


@pytest.fixture(scope="module")
def grain_model(grain_path):
    """As `grain_path`, opened."""
    return lambda *given, **card: Model(grain_path(*given, **card))


@pytest.fixture(scope="module")
def ones(grain_model):
    return grain_model(np.ones(LENGTH))


@pytest.fixture(scope="module")
def noise(grain_model):
    moved = np.zeros((LATENTS, LENGTH // 2 + 1))
    moved[0] = np.linspace(1, 0, LENGTH // 2 + 1)
    return grain_model(slope(), moved, domain="magnitude")


@pytest.fixture
def model_of(tiny):
    """A function that makes a model of a function of (latent, pitch class)."""
    return lambda frame, **settings: Given(tiny(**PUBLISHED, **settings).card, frame)


@pytest.fixture
def comb(model_of):
    """A model of harmonics of these heights, the same for all keys."""
    return lambda heights: model_of(lambda latent, key: lobes(*harmonics_of(key, np.asarray(heights))))
