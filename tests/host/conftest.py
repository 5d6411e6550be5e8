"""Tiny models whose every frame is known in closed form, and ways to play them."""

import base64
import ctypes
import json
import os
import shutil
import sys
import zlib

import numpy as np
import onnx
import pytest
from hypothesis import HealthCheck, settings
from onnx import TensorProto, helper, numpy_helper
from timbrel.host.contract.card import METADATA_KEY
from timbrel.host.contract.encoder import ENCODER_KEY, encoder_path
from timbrel.host.contract.model import Model
from timbrel.host.patch.preset import Preset
from timbrel.host.patch.resolve import Patch
from timbrel.host.play.desk import Reader
from timbrel.host.play.instrument import Instrument

from .jack_server import JackRig, JackServer, jack

RATE = 22050

# Machines are busy: how long an example takes says nothing.
settings.register_profile("busy", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("busy")


def pytest_runtest_teardown(item, nextitem):
    """Switch denormals on again behind the last test here: sessions switch them off, and hypothesis wants them."""
    if nextitem is not None and nextitem.path.parent != item.path.parent and sys.platform == "linux":
        ctypes.CDLL(None).fesetenv(ctypes.c_void_p(-1))  # FE_DFL_ENV


def hann_lobe(distance):
    """Magnitude of a Hann window's transform at ``distance`` bins from its centre, 1 at 0; main lobe only."""
    d = np.abs(np.asarray(distance, np.float64))
    safe = np.where(np.isclose(d, 1), 0.5, d)
    shape = np.where(np.isclose(d, 1), 0.5, np.abs(np.sinc(safe) / (1 - safe**2)))
    return np.where(d < 2, shape, 0.0)


def combs(sample_rate, frame_length, brightest_hz, octave=4):
    """Spectra of the twelve keys of an octave: harmonics that fall off by 0.6, none above ``brightest_hz``."""
    bins = np.arange(frame_length // 2 + 1)
    rows = []
    for pitch_class in range(12):
        hz = 440 * 2 ** ((12 * (octave + 1) + pitch_class - 69) / 12)
        orders = range(1, int(brightest_hz / hz) + 1)
        row = sum(0.6**k * hann_lobe(bins - k * hz * frame_length / sample_rate) for k in orders)
        rows.append(row / row.max())
    return np.array(rows, np.float32)


def colours(latents, bins):
    """What each latent adds to the colour of a spectrum, [latents, bins]: latent i favours bins of its own."""
    at = np.arange(bins) / bins
    return np.array([0.5 + 0.5 * np.cos(2 * np.pi * (i + 1) * at) for i in range(latents)], np.float32)


class Analytic:
    """``frame = relu(chroma @ combs * (0.1 + latent @ colours))``: a model in four operators, and its card."""

    def __init__(
        self, latents=2, sample_rate=RATE, frame_length=1024, hop_length=256, brightest_hz=4500.0, chroma=True
    ):
        self.sample_rate, self.frame_length, self.hop_length = sample_rate, frame_length, hop_length
        self.bins = frame_length // 2 + 1
        self.combs = combs(sample_rate, frame_length, brightest_hz)
        self.colours = colours(latents, self.bins)
        self.latents, self.chroma = latents, chroma

    def frame(self, latent, pitch_class):
        """The frame in closed form, [bins]."""
        comb = self.combs[pitch_class] if self.chroma else self.combs[0]
        return np.maximum(comb * (0.1 + np.asarray(latent) @ self.colours), 0.0)

    def graph(self, voice="voice", width=None, scale=1.0):
        """The ONNX graph; ``voice`` is its first axis, ``width`` how many bins its frame is said to have."""
        weights = np.where(self.combs > 0, scale, 1.0) * self.combs
        initial = {"combs": weights, "colours": self.colours, "floor": np.float32(0.1)}
        nodes = [
            helper.make_node("MatMul", ["latent", "colours"], ["tint"]),
            helper.make_node("Add", ["tint", "floor"], ["colour"]),
            helper.make_node("MatMul", ["chroma", "combs"], ["comb"]),
            helper.make_node("Mul", ["comb", "colour"], ["tinted"]),
            helper.make_node("Relu", ["tinted"], ["frame"]),
        ]
        inputs = [helper.make_tensor_value_info("latent", TensorProto.FLOAT, [voice, self.latents])]
        if self.chroma:
            inputs.append(helper.make_tensor_value_info("chroma", TensorProto.FLOAT, [voice, 12]))
        else:
            initial["comb"] = initial.pop("combs")[:1]
            del nodes[2]
        outputs = [helper.make_tensor_value_info("frame", TensorProto.FLOAT, [voice, width or self.bins])]
        constants = [numpy_helper.from_array(np.asarray(v, np.float32), name) for name, v in initial.items()]
        return helper.make_graph(nodes, "analytic", inputs, outputs, constants)

    def card(self, **changes):
        """The card's fields, with changes."""
        n = self.latents
        probes = np.random.default_rng(5).uniform(0, 1, (3, n)).round(3)
        points = [int(p) for p in np.argsort(self.frame(probes[0], 9))[-6:]]
        rest = self.frame([0.5] * n, 0).astype(np.float64)
        window = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(self.frame_length) / self.frame_length)
        overlap = np.sum(window**2) / self.hop_length
        power = 2 * np.sum(rest**2) / self.frame_length**2 / overlap  # where phases know nothing of each other
        return {
            "format": 1,
            "name": "analytic",
            "description": "harmonics in closed form",
            "license": "CC0-1.0",
            "credits": "",
            "created": "2026-01-01",
            "kind": "spectrum",
            "domain": "magnitude",
            "sample_rate": self.sample_rate,
            "frame_length": self.frame_length,
            "hop_length": self.hop_length,
            "window": "hann",
            "latents": [
                {"name": f"latent {i}", "low": 0.0, "high": 1.0, "default": 0.5, "mean": 0.5, "std": 0.25}
                for i in range(n)
            ],
            "prior": {"uniform": [0.0, 1.0]},
            "chroma": {"trained": list(range(12)), "octave": 4} if self.chroma else None,
            "loudness_lufs": float(10 * np.log10(power)),
            "landmarks": [{"latent": [0.5] * n, "chroma": 0, "label": "middle"}],
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
            "reference": {
                "latent": probes.tolist(),
                "chroma": [9, 0, 4] if self.chroma else None,
                "points": points,
                "frame": [
                    [float(v) for v in self.frame(row, pitch)[points]]
                    for row, pitch in zip(probes, (9, 0, 4), strict=True)
                ],
                "tolerance": 1e-5,
            },
        } | changes

    def proved(self):
        """The card with every output in its reference, each at the row where it is largest."""
        card = self.card()
        reference = card["reference"]
        pitches = reference["chroma"] or [0] * len(reference["latent"])
        frames = np.array([self.frame(*row) for row in zip(reference["latent"], pitches, strict=True)])
        rows = frames.argmax(0)
        packed = rows.astype("u1").tobytes() + frames[rows, np.arange(self.bins)].astype("<f2").tobytes()
        reference["peaks"] = base64.b64encode(zlib.compress(packed)).decode()
        return card

    def save(self, path, card=None, graph=None):
        """Write the ONNX file; ``card`` is its fields, or text as it is, or "" for none."""
        made = helper.make_model(graph or self.graph(), opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
        text = json.dumps(self.proved() if card is None else card) if not isinstance(card, str) else card
        if text:
            helper.set_model_props(made, {METADATA_KEY: text})
        onnx.save(made, path)
        return path


@pytest.fixture(scope="session")
def analytic():
    """The class of analytic models: to be saved with whatever faults a test wants."""
    return Analytic


@pytest.fixture(scope="session")
def save_encoder():
    """A function that writes the encoder of a model: nodes that end in ``latent``, and the widths of its inputs."""

    def save(path, nodes, inputs, count, constants=None, rate=RATE):
        wide = [
            helper.make_tensor_value_info(name, TensorProto.FLOAT, ["batch", width]) for name, width in inputs.items()
        ]
        latent = [helper.make_tensor_value_info("latent", TensorProto.FLOAT, ["batch", count])]
        kept = [
            numpy_helper.from_array(np.asarray(value, np.float32), name) for name, value in (constants or {}).items()
        ]
        graph = helper.make_graph(nodes, "encoder", wide, latent, kept)
        made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
        about = {"format": 1, "model": "analytic", "sample_rate": rate, "latents": count}
        helper.set_model_props(made, {ENCODER_KEY: json.dumps(about | {"frame_length": inputs["audio"]})})
        onnx.save(made, encoder_path(path))

    return save


def unchanged(count):
    """A decoder whose frame is its latent."""
    put = [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["voice", count]) for name in ("latent", "frame")]
    return helper.make_graph([helper.make_node("Identity", ["latent"], ["frame"])], "same", put[:1], put[1:])


MAGNITUDES = [
    helper.make_node("MatMul", ["audio", "cosines"], ["real"]),
    helper.make_node("MatMul", ["audio", "sines"], ["imaginary"]),
    helper.make_node("Mul", ["real", "real"], ["first"]),
    helper.make_node("Mul", ["imaginary", "imaginary"], ["second"]),
    helper.make_node("Add", ["first", "second"], ["power"]),
    helper.make_node("Sqrt", ["power"], ["magnitude"]),
    helper.make_node("ReduceMax", ["magnitude"], ["largest"], axes=[1], keepdims=1),
    helper.make_node("Max", ["largest", "least"], ["divisor"]),
    helper.make_node("Div", ["magnitude", "divisor"], ["latent"]),
]


@pytest.fixture(scope="session")
def make_allpass(analytic, save_encoder, tmp_path_factory):
    """A function that makes a model whose codes are the frames: magnitudes of a largest 1, or a grain's samples."""

    def make(kind="spectrum", **settings):
        path = tmp_path_factory.mktemp("allpass") / "model.onnx"
        length = settings["frame_length"]
        count = length // 2 + 1 if kind == "spectrum" else length
        source = analytic(latents=count, chroma=False, **settings)
        reference = {"latent": [[0.5] * count], "chroma": None, "points": [0], "frame": [[0.5]], "tolerance": 1e-5}
        card = source.card(reference=reference)
        if kind == "grain":
            card |= {"kind": "grain", "domain": "samples", "window": "blackman"}
            card["latents"] = [latent | {"low": -1.0} for latent in card["latents"]]
        source.save(path, card, unchanged(count))
        nodes, constants = [helper.make_node("Identity", ["audio"], ["latent"])], {}
        if kind == "spectrum":
            turn = 2 * np.pi * np.outer(np.arange(length), np.arange(count)) / length
            shape = (0.5 - 0.5 * np.cos(2 * np.pi * np.arange(length) / length))[:, np.newaxis]
            nodes, constants = (
                MAGNITUDES,
                {"cosines": shape * np.cos(turn), "sines": shape * np.sin(turn), "least": 1e-12},
            )
        save_encoder(path, nodes, {"audio": length}, count, constants, source.sample_rate)
        return Model(path)

    return make


@pytest.fixture(scope="session")
def tiny_path(tmp_path_factory):
    """A function that writes an analytic model once and gives its path; settings as `Analytic`."""
    folder = tmp_path_factory.mktemp("tiny")
    made = {}

    def path(**settings):
        key = tuple(sorted(settings.items()))
        if key not in made:
            made[key] = Analytic(**settings).save(folder / f"tiny{len(made)}.onnx")
        return made[key]

    return path


@pytest.fixture(scope="session")
def tiny(tiny_path):
    """A function that opens an analytic model once; settings as `Analytic`."""
    made = {}

    def model(**settings):
        path = tiny_path(**settings)
        if path not in made:
            made[path] = Model(path)
        return made[path]

    return model


@pytest.fixture(scope="session")
def make_preset():
    """A function that makes a preset of TOML-like keys, for a model that is given apart."""

    def make(**keys):
        return Preset.model_validate({"format": 1, "model": "analytic", **keys})

    return make


@pytest.fixture(scope="session")
def make_instrument(tiny, make_preset, tmp_path_factory):
    """A function that makes an instrument: ``rate`` of its output, ``model`` or the smallest, and preset keys."""
    folder = tmp_path_factory.mktemp("no-plugins")

    def make(rate=RATE, model=None, **keys):
        return Instrument(Patch("any", make_preset(**keys), model or tiny(), folder), rate)

    return make


@pytest.fixture(scope="session")
def make_patch(tiny, make_preset, tmp_path_factory):
    """A function that makes a patch of preset keys, on ``model`` or the smallest."""
    folder = tmp_path_factory.mktemp("patches")

    def make(model=None, **keys):
        return Patch("made", make_preset(**keys), model or tiny(), folder)

    return make


@pytest.fixture(scope="session")
def play():
    """A function that gives an instrument's first ``count`` samples, in blocks of the sizes given, in turn."""

    def run(instrument, events, count, sizes=None):
        reader, blocks, at, turn = Reader(), [], 0, 0
        events = [heard for event in events if (heard := reader.read(event)) is not None]  # as a rack does
        sizes = sizes or [count]
        while at < count:
            size = min(sizes[turn % len(sizes)], count - at)
            blocks.append(instrument.process([e for e in events if at <= e.time < at + size], size))
            at, turn = at + size, turn + 1
        return np.concatenate(blocks, axis=1)

    return run


@pytest.fixture(scope="session")
def jack_server():
    """A running `JackServer`; skips where JACK is missing."""
    if shutil.which("jackd") is None:
        pytest.skip("jackd is not installed (Debian: apt install jackd2)")
    if jack is None:
        pytest.skip("JACK-Client is not installed, or finds no libjack")
    # One for each process that tests, always the same: JACK's list has room for eight, and keeps those that crashed.
    name = f"timbrel_test{os.environ.get('PYTEST_XDIST_WORKER', '')}"
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("JACK_DEFAULT_SERVER", name)
        environment.setenv("JACK_NO_START_SERVER", "1")
        environment.setenv("JACK_NO_AUDIO_RESERVATION", "1")
        jack.set_error_function(lambda line: None)
        jack.set_info_function(lambda line: None)
        server = JackServer(name)
        yield server
        server.end()


@pytest.fixture
def jack_rig(jack_server):
    """A function that makes a `JackRig` with a tape of so many seconds, to be used in a ``with`` block."""
    return lambda seconds: JackRig(jack_server, seconds)
