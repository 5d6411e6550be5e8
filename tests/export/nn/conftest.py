"""Files for nn~ of the models that ship, and of small ones in closed form."""

import json
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from timbrel.export.nn import Backend, write
from timbrel.host.model.card import METADATA_KEY
from timbrel.host.model.model import Model

IMAGE = [[9 * np.cos(0.45 * band), np.cos(0.37 * band)] for band in range(32)]  # in some bands sides are opposite
SHIPPED = Path(__file__).parents[3] / "presets" / "models"


@pytest.fixture(scope="session")
def shipped():
    """A function that opens a model that ships."""
    opened = {}

    def model(name):
        if name not in opened:
            opened[name] = Model(SHIPPED / f"{name}.onnx")
        return opened[name]

    return model


@pytest.fixture(scope="session")
def file_of(tmp_path_factory):
    """A function that writes a model's file for nn~ once, and gives its path."""
    folder, written = tmp_path_factory.mktemp("nn"), {}

    def path(model):
        key = model.path, model.card.image is None
        if key not in written:
            written[key] = folder / f"{len(written)}.ts"
            write(model, written[key])
        return written[key]

    return path


@pytest.fixture(scope="session")
def in_nn(file_of):
    """A function that opens a model's file anew, as nn~ does."""
    return lambda model: Backend(file_of(model))


@pytest.fixture(scope="session")
def made(shipped, tmp_path_factory):
    """A function that writes a model whose frame is ``rest + latent @ moved`` and opens it; ``card`` has changes."""
    folder = tmp_path_factory.mktemp("made")

    def model(rest, moved, base="lakeside-10", **card):
        moved = np.asarray(moved, np.float32)
        constants = [numpy_helper.from_array(np.asarray(v, np.float32), n) for n, v in (("m", moved), ("r", rest))]
        nodes = [helper.make_node("MatMul", ["latent", "m"], ["x"]), helper.make_node("Add", ["x", "r"], ["frame"])]
        latent, frame = (
            helper.make_tensor_value_info(name, TensorProto.FLOAT, ["voice", width])
            for name, width in zip(("latent", "frame"), moved.shape, strict=True)
        )
        pitch = [helper.make_tensor_value_info("pitch", TensorProto.FLOAT, ["voice", 1])] * ("partials" in card)
        graph = helper.make_graph(nodes, "g", [latent, *pitch], [frame], constants)
        proto = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8)
        span = {"low": -1.0, "high": 1.0, "default": 0.25, "mean": 0.0, "std": 1.0}
        fields = shipped(base).card.model_dump() | {
            "latents": [{"name": f"latent {n}", **span} for n in range(len(moved))],
            "landmarks": [],
            "directions": [],
            "envelope_points": 0,
            "loudness_lufs": -20.0,
            "chroma": None,
            "reference": {
                "latent": [[0.0] * len(moved)],
                "chroma": None,
                "points": [0],
                "frame": [[float(rest[0])]],
                "tolerance": 1e-5,
                **({"key": [60]} if "partials" in card else {}),
            },
        }
        helper.set_model_props(proto, {METADATA_KEY: json.dumps(fields | card)})
        path = folder / f"{len(list(folder.iterdir()))}.onnx"
        onnx.save(proto, path)
        return Model(path)

    return model


def samples(made, **card):
    """A model of grains of samples: a partial for each of three knobs."""
    length, rng = 500, np.random.default_rng(1)
    time = np.arange(length) / 22050
    partials = [np.sin(2 * np.pi * hz * time + hz) for hz in (700.0, 1900.0, 4100.0)]
    rest = 0.1 * rng.standard_normal(length)
    return made(rest, partials, domain="samples", frame_length=length, hop_length=125, **card)


def phases(made, **card):
    """A model of grains of magnitudes and phases."""
    bins, rng = 251, np.random.default_rng(2)
    rest = np.concatenate([np.linspace(3, 0.5, bins), rng.uniform(-3, 3, bins)])
    moved = np.concatenate([rng.uniform(0, 0.5, (2, bins)), rng.uniform(-1, 1, (2, bins))], axis=1)
    return made(rest, moved, domain="magnitude_phase", frame_length=500, hop_length=125, **card)


of_samples = pytest.fixture(samples, scope="session")
of_phases = pytest.fixture(phases, scope="session")


@pytest.fixture(scope="session")
def samples_in_stereo(made):
    return samples(made, image=IMAGE)


@pytest.fixture(scope="session")
def phases_in_stereo(made):
    return phases(made, image=IMAGE)


@pytest.fixture(scope="session")
def noise_in_stereo():
    """lakeside-10 with an image."""
    model = Model(SHIPPED / "lakeside-10.onnx")
    model.card = model.card.model_copy(update={"image": IMAGE})
    return model


@pytest.fixture(scope="session")
def without_chroma(made):
    """A model of spectra that hears no chroma: its keys move what it decodes."""
    bins = 513
    rest = np.exp(-np.arange(bins) / 80) * (1 + np.cos(np.arange(bins)))
    return made(
        rest,
        np.abs(np.random.default_rng(3).standard_normal((2, bins))) * 0.1,
        base="gm-chroma-2",
        frame_length=1024,
        hop_length=256,
    )


def stiff_strings(made, **card):
    """A model of partials that strings stretch, more on high keys, with two bands of noise."""
    harmonics, edges = 20, [0.0, 2000.0, 22050.0]
    rest = np.concatenate([0.5 / np.arange(1, harmonics + 1), [0.02, 0.01]])
    moved = np.abs(np.random.default_rng(4).standard_normal((2, len(rest)))) * rest / 8
    layout = {"harmonics": harmonics, "edges_hz": edges, "low": 40.0, "high": 80.0, "stretch": [-14.0, 0.08]}
    return made(rest, moved, base="gm-partials-8", partials=layout, loudness_lufs=-70.0, **card)


of_stiff_strings = pytest.fixture(stiff_strings, scope="session")


@pytest.fixture(scope="session")
def strings_in_stereo(made):
    return stiff_strings(made, image=IMAGE)


@pytest.fixture(scope="session")
def noise_of_sides(made):
    """A model of partials that is noise alone, with an image."""
    layout = {"harmonics": 1, "edges_hz": [20.0, 43.0, 22050.0], "low": 40.0, "high": 80.0}
    card = {"partials": layout, "loudness_lufs": -40.0, "image": IMAGE}
    return made([0.0, 0.01, 0.01], np.zeros((1, 3)), base="gm-partials-8", **card)


@pytest.fixture(scope="session")
def of_noise(made):
    """A model of partials that is noise alone, a rumble in it, 50 dB louder than what is above 86 Hz."""
    edges = [20.0, 43.0, 65.0, 86.0, 400.0, 22050.0]
    rest = np.concatenate([[0.0], 10 ** (np.array([0, -40, -40, -50, -50]) / 20)])
    layout = {"harmonics": 1, "edges_hz": edges, "low": 40.0, "high": 80.0}
    return made(rest, np.zeros((1, 6)), base="gm-partials-8", partials=layout, loudness_lufs=-40.0)
