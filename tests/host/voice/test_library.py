"""The voice that plays: the core where it is compiled and fits, else numpy's."""

import ctypes
import os
import re
import shutil
import subprocess
import sys
import textwrap
from pathlib import Path
from types import SimpleNamespace

import onnx
import pytest
from onnx import helper
from timbrel.host import voice_library
from timbrel.host.engines.spectrum.frames import VoicingSettings
from timbrel.host.errors import UserError
from timbrel.host.midi import jack_input
from timbrel.host.model.model import Model
from timbrel.host.model.onnx_bytes import NotONNX
from timbrel.host.model.onnx_graph import read_graph
from timbrel.host.play.core_synthesis import CoreSynthesis, core_for
from timbrel.host.play.rack import Rack
from timbrel.host.play.synthesis import Synthesis
from timbrel.host.preset.library import open_patch
from timbrel.host.preset.shipped import MODELS
from timbrel.host.voice import core_voices
from timbrel.host.voice.network import network_of
from timbrel.host.voice.tables import fits_core

from .rigs import needs_core

PARTIALS, SPECTRA = MODELS / "gm-partials-8.onnx", MODELS / "gm-chroma-8.onnx"


@pytest.fixture
def wishing(monkeypatch):
    """A function that sets the wish and forgets the choice made before."""

    def wish(voice):
        monkeypatch.setenv(voice_library.VARIABLE, voice)
        voice_library.voice_library.cache_clear()

    yield wish
    voice_library.voice_library.cache_clear()


@pytest.mark.skipif(sys.platform != "linux" or not shutil.which("gcc"), reason="needs gcc")
def test_the_core_and_the_queue_of_jack_are_compiled_where_a_compiler_is():
    """An installation does not fail without them, so their tests would be left out unseen."""
    assert voice_library.load_library() is not None
    assert jack_input._load_core() is not None


def test_numpy_plays_where_it_is_asked_for(wishing):
    wishing("numpy")
    assert core_for(open_patch("gm-keys")) is None
    assert isinstance(Rack({0: open_patch("gm-keys")}, 44_100)._instruments[0]._synthesis, Synthesis)
    assert voice_library.voice_description() == "numpy's, as TIMBREL_VOICE asks"


@needs_core
def test_the_core_plays_where_it_is_compiled(wishing):
    wishing("")
    assert isinstance(Rack({0: open_patch("gm-keys")}, 44_100)._instruments[0]._synthesis, CoreSynthesis)
    assert voice_library.voice_description().startswith("compiled, with ")


def test_another_wish_and_a_core_that_is_not_compiled_are_told(wishing, monkeypatch):
    wishing("fast")
    with pytest.raises(UserError, match="TIMBREL_VOICE is 'fast'; set it to 'core' or 'numpy'"):
        core_for(open_patch("gm-keys"))
    monkeypatch.setattr(voice_library, "load_library", lambda: None)
    wishing("core")
    with pytest.raises(UserError, match="no core of this version is compiled; install a C compiler"):
        core_for(open_patch("gm-keys"))
    wishing("")
    assert core_for(open_patch("gm-keys")) is None
    assert "no core of this version" in voice_library.voice_description()


def test_a_missing_library_and_one_of_another_version_are_left_alone(tmp_path, monkeypatch):
    assert voice_library.load_library(tmp_path / "none.so") is None
    (tmp_path / "text.so").write_text("no library")
    assert voice_library.load_library(tmp_path / "text.so") is None
    monkeypatch.setattr(voice_library, "VERSION", voice_library.VERSION + 1)
    assert voice_library.load_library() is None


@needs_core
def test_a_library_of_other_structures_is_left_alone(monkeypatch):
    larger = type("Larger", (ctypes.Structure,), {"_fields_": [("more", ctypes.c_int64 * 100)]})
    monkeypatch.setattr(voice_library, "STRUCTURES", (larger, *voice_library.STRUCTURES[1:]))
    assert voice_library.load_library() is None


def test_a_command_with_an_unknown_wish_ends_with_a_line():
    environment = os.environ | {voice_library.VARIABLE: "x"}
    command = [sys.executable, "-m", "timbrel", "devices"]
    run = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert run.returncode == 2
    assert "TIMBREL_VOICE is 'x'" in run.stderr


def test_the_network_of_the_shipped_partials_is_known():
    network = network_of(Model(PARTIALS))
    assert [weight.shape for weight in network.weights] == [(45, 384), (384, 384), (384, 384), (384, 208)]
    assert len(network.means) == 205
    assert network.pitch_range == (27.0, 99.0)


def changed(path, change):
    made = onnx.load(PARTIALS)
    change(made.graph)
    onnx.save(made, path)
    return Model(path)


def with_a_node_more(graph):
    graph.node.insert(len(graph.node) - 1, helper.make_node("Identity", [graph.node[-2].output[0]], ["more"]))
    graph.node[-1].input[0] = "more"


def with_another_slope(graph):
    next(node for node in graph.node if node.op_type == "LeakyRelu").attribute[0].f = 0.5


@needs_core
@pytest.mark.parametrize("change", [with_a_node_more, with_another_slope])
def test_a_graph_of_another_form_decodes_for_the_core(make_patch, tmp_path, change):
    model = changed(tmp_path / "changed.onnx", change)
    assert network_of(model) is None
    assert not core_for(make_patch(model)).decodes_alone


def test_models_and_phases_that_the_core_does_not_play_are_left_to_numpy():
    card, spectra = Model(PARTIALS).card, Model(SPECTRA).card
    short = card.model_copy(update={"hop_length": 128})  # a frame spans more hops than a voice keeps
    other_window = spectra.model_copy(update={"window": "blackman"})

    def fits(played_card, phase="coherent"):
        return fits_core(SimpleNamespace(card=played_card, gestures=None), VoicingSettings(phase=phase))

    assert fits(card)
    assert fits(card, "noise")  # its partials have phases of their own
    assert fits(spectra)
    assert not any((fits(short), fits(other_window), fits(spectra, "noise"), fits(spectra, "best")))
    assert not fits(Model(MODELS / "lakeside-10.onnx").card)


@needs_core
def test_a_network_that_the_core_decodes_otherwise_is_left_to_the_models_graph(monkeypatch):
    patch = open_patch("gm-keys")
    wrong = patch.model.card.reference.tolerance * 2
    decoded = core_voices.CoreEngine.decoded
    assert core_for(patch).decodes_alone
    monkeypatch.setattr(core_voices.CoreEngine, "decoded", lambda *arguments: decoded(*arguments) + wrong)
    assert not core_for(patch).decodes_alone


@needs_core
def test_a_call_leaves_the_mode_of_denormals_as_it_was():
    """In a process of its own: onnxruntime changes the mode of this one."""
    script = """
        import numpy as np
        from timbrel.host.audio.rate_conversion import RateConversion
        RateConversion(44100, 48000).process(np.ones((2, 500), np.float32))
        print((np.full(4, 1e-40, np.float32) * np.float32(0.5)).all())
    """
    command = [sys.executable, "-c", textwrap.dedent(script)]
    assert subprocess.run(command, capture_output=True, text=True, check=True).stdout == "True\n"


def test_a_graph_that_is_no_graph_is_refused():
    assert read_graph(b"").nodes == []
    with pytest.raises(NotONNX):
        read_graph(b"\x3a\xff\xff\xff\xff\x0f")


def declared(header, name):
    """The names of a structure's fields, as a header declares them."""
    text = re.sub(
        r"/\*.*?\*/", "", (Path(voice_library.__file__).parent / "voice/core" / header).read_text(), flags=re.S
    )
    [body] = re.findall(rf"typedef struct(?: \w+)? {{([^}}]*)}} {name};", text)
    return [re.findall(r"\w+", re.sub(r"\[.*?\]", "", each))[-1] for each in re.split("[;,]", body) if each.strip()]


@pytest.mark.parametrize(
    ("structure", "header", "name"),
    [
        (voice_library.Instrument, "core.h", "Instrument"),
        (voice_library.CoreGesture, "core.h", "Gesture"),
        (voice_library.CoreVoice, "core.h", "Voice"),
        (voice_library.CoreRamp, "core.h", "Ramp"),
        (voice_library.CoreBus, "core.h", "Bus"),
        (voice_library.CoreRun, "unattended.h", "UnattendedRun"),
        (voice_library.CoreGrainCut, "grains.h", "GrainCut"),
        (voice_library.CoreGrain, "grains.h", "Grain"),
    ],
)
def test_structures_are_those_of_the_headers_field_for_field(structure, header, name):
    """Two fields of one type in another order would go unnoticed, and fillers of 64 bits are wrong in WebAssembly."""
    assert [field for field, *_ in structure._fields_] == declared(header, name)
