"""Tiny models whose every frame is known in closed form, and ways to play them."""

import gc
import json
import os
import shutil
import zlib
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from timbrel.host.live import render_loop
from timbrel.host.midi.controllers import ControllerReader
from timbrel.host.model.encoder import ENCODER_KEY, encoder_path
from timbrel.host.model.model import Model
from timbrel.host.play.core_synthesis import core_for
from timbrel.host.play.rack import ChannelInstrument
from timbrel.host.preset.library import Patch
from timbrel.host.preset.preset import Preset

from .analytic import RATE, Analytic
from .fake_card import Hours
from .jack_server import JackRig, JackServer, jack


@pytest.fixture(scope="session")
def analytic():
    """The class of analytic models: to be saved with whatever faults a test wants."""
    return Analytic


@pytest.fixture(scope="session")
def save_encoder():
    """A function that writes the encoder of a model: nodes that end in ``latent``, and the widths of its inputs.

    With ``labels`` or ``previous``, another output of that width.
    """

    def save(path, nodes, inputs, count, constants=None, rate=RATE, labels=0, previous=0, model="analytic"):
        wide = [
            helper.make_tensor_value_info(name, TensorProto.FLOAT, ["batch", width]) for name, width in inputs.items()
        ]
        widths = {"latent": count} | {
            name: width for name, width in (("previous", previous), ("label", labels)) if width
        }
        given = [
            helper.make_tensor_value_info(name, TensorProto.FLOAT, ["batch", width]) for name, width in widths.items()
        ]
        kept = [
            numpy_helper.from_array(np.asarray(value, np.float32), name) for name, value in (constants or {}).items()
        ]
        graph = helper.make_graph(nodes, "encoder", wide, given, kept)
        made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
        about = {"format": 1, "model": model, "sample_rate": rate, "latents": count}
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
        patch = Patch("any", make_preset(**keys), model or tiny(), folder)
        return ChannelInstrument(patch, rate, core=core_for(patch))

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
        reader, blocks, at, turn = ControllerReader(), [], 0, 0
        events = [heard for event in events if (heard := reader.read(event)) is not None]  # as a rack does
        sizes = sizes or [count]
        while at < count:
            size = min(sizes[turn % len(sizes)], count - at)
            blocks.append(instrument.process([e for e in events if at <= e.time < at + size], size))
            at, turn = at + size, turn + 1
        return np.concatenate(blocks, axis=1)

    return run


@pytest.fixture(scope="session")
def jack_server(request):
    """A running `JackServer`; skips where JACK is missing. ``make realtime``, which is about it, fails without one."""
    if shutil.which("jackd") is None:
        pytest.skip("jackd is not installed (Debian: apt install jackd2)")
    if jack is None:
        pytest.skip("JACK-Client is not installed, or finds no libjack")
    # One for each process that tests a checkout, always the same: JACK's list has room for eight, and keeps those that
    # crashed.
    checkout = zlib.crc32(str(Path(__file__).parents[2]).encode())
    name = f"timbrel_test_{checkout:08x}{os.environ.get('PYTEST_XDIST_WORKER', '')}"
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("JACK_DEFAULT_SERVER", name)
        environment.setenv("JACK_NO_START_SERVER", "1")
        environment.setenv("JACK_NO_AUDIO_RESERVATION", "1")
        jack.set_error_function(lambda line: None)
        jack.set_info_function(lambda line: None)
        asked_for = request.config.getoption("markexpr") == "realtime"
        server = JackServer(name, pytest.fail if asked_for else pytest.skip)
        yield server
        server.end()


@pytest.fixture
def jack_rig(jack_server):
    """A function that makes a `JackRig` with a tape of so many seconds, to be used in a ``with`` block."""
    return lambda seconds: JackRig(jack_server, seconds)


@pytest.fixture
def hours(monkeypatch):
    """The render loop's clock: only sleeping moves it on."""
    clock = Hours()
    monkeypatch.setattr(render_loop, "time", clock)
    monkeypatch.setattr(render_loop, "PRECISE", True)  # as this clock is on every system
    monkeypatch.setattr(render_loop, "_gave_way", lambda: clock.gave_way)
    gc.freeze()  # a loop collects before it begins, which would take longer than the test: pytest keeps much
    yield clock
    gc.freeze()  # loops thaw
