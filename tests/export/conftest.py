"""Models in closed form whose keys are obeyed, or not, as one likes."""

import functools
import hashlib
import itertools
import json
import shutil
from types import SimpleNamespace

import numpy as np
import onnx
import pytest
import soundfile
from onnx import TensorProto, helper, numpy_helper
from timbrel.export import evaluate as evaluating
from timbrel.export import export as exporting
from timbrel.export import make as making
from timbrel.export.export import export
from timbrel.export.families import chroma_report
from timbrel.export.fidelity import floors
from timbrel.export.make import MakeStopped
from timbrel.export.reports import report
from timbrel.host.model.card import METADATA_KEY
from timbrel.host.model.encoder import encoder_path
from timbrel.host.model.model import Model
from timbrel.train import loop
from timbrel.train.corpus.store import Corpus, writing
from timbrel.train.families.clip import network
from timbrel.train.families.recipes import load_recipe
from timbrel.train.launch import start
from timbrel.train.loop import RunOptions
from timbrel.train.run import Run
from torch.onnx._internal.exporter._registration import ONNXRegistry

from ..train.struck import SMALL, drums
from .instruments import interrupt_at, made, small_recipe
from .undrawn import undrawn

RATE, LENGTH, HOP = 48000, 4096, 1024
WORDS_RATE = 16000
LOOK_SECONDS = 0.02


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


@pytest.fixture(scope="session", autouse=True)
def exporter(one_table):
    """Many graphs are exported and many pictures drawn here: with half as many parts, with fewer dots."""
    with pytest.MonkeyPatch.context() as patch:
        # torch parses the sources of its 500 operators for each graph, in .3 s.
        patch.setattr(ONNXRegistry, "from_torchlib", staticmethod(functools.cache(ONNXRegistry.from_torchlib)))
        patch.setattr(network, "COUPLINGS", 2)
        patch.setattr(report, "DPI", 35)
        yield


@pytest.fixture
def no_pictures(monkeypatch):
    """Leave pictures out of reports, for tests of their figures and words."""
    undrawn(monkeypatch)


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


@pytest.fixture(scope="session")
def trained(tone_corpus, small, tmp_path_factory):
    """The run of a small recipe, trained once for all tests."""
    folder = tmp_path_factory.mktemp("runs")

    def run(name, *changes):
        place = folder / name.replace("/", "-")
        if not place.exists():
            start(load_recipe(name, [*small, *changes]), tone_corpus, place, RunOptions("cpu"))
        return Run.open(place)

    return run


@pytest.fixture(scope="session")
def chroma_run(trained):
    return trained("chroma-8")


@pytest.fixture(scope="session")
def chroma_model(chroma_run, once):
    return once("chroma", lambda folder: export(chroma_run, folder / "chroma.onnx")) / "chroma.onnx"


@pytest.fixture(scope="session")
def partials_run(tone_corpus, tmp_path_factory):
    """The run of a small decoder of partials, of the tones."""
    folder = tmp_path_factory.mktemp("runs") / "partials"
    changes = ["training.steps=120", "network.encoder=[64]", "network.decoder=[64,64]", "frames.harmonics=40"]
    rate = Corpus.open(tone_corpus).rate
    recipe = load_recipe("tuned-partials", [*changes, f"frames.sample_rate={rate}"])
    start(recipe, tone_corpus, folder, RunOptions("cpu"))
    return Run.open(folder)


@pytest.fixture(scope="session")
def partials_model(partials_run, once):
    """Its model."""
    return Model(once("partials", lambda folder: export(partials_run, folder / "tones.onnx")) / "tones.onnx")


@pytest.fixture
def traced_once(monkeypatch, trace_of):
    """Reuse the graph of an equal network, for tests of later steps."""
    monkeypatch.setattr(exporting, "trace", trace_of)


@pytest.fixture(scope="session")
def trace_of():
    """The function that traces each network once, and gives a copy."""
    original, kept = exporting.trace, {}

    def trace(module, inputs, *named):
        asked = [(name, value.shape) for name, value in inputs.items()], named
        key = hashlib.sha256(repr((asked, list(told(module)))).encode()).digest()
        if key not in kept:
            kept[key] = original(module, inputs, *named).SerializeToString()
        return onnx.ModelProto.FromString(kept[key])

    return trace


def told(module):
    """Yield a network's layers with their settings, and digests of its weights."""
    for name, layer in module.named_modules():
        yield name, type(layer), {key: value for key, value in vars(layer).items() if not key.startswith("_")}
    for name, values in (*module.named_parameters(), *module.named_buffers()):
        yield name, values.dtype, values.shape, hashlib.sha256(values.numpy(force=True).tobytes()).digest()


@pytest.fixture(scope="session")
def drum_corpus(tmp_path_factory):
    """Toms and hats by formula, labelled so."""
    return drums(tmp_path_factory.mktemp("drums") / "corpus")


@pytest.fixture(scope="session")
def hit_run(drum_corpus, tmp_path_factory):
    """The run of a small autoencoder of these, told labels or not."""
    runs = {}

    def run(labelled):
        if labelled not in runs:
            folder = tmp_path_factory.mktemp("hits") / "run"
            changes = [*SMALL, "frames.enough=32", "training.steps=40", f"network.labels={str(labelled).lower()}"]
            start(load_recipe("tuned-clip", changes), drum_corpus.folder, folder, RunOptions("cpu"))
            runs[labelled] = Run.open(folder)
        return runs[labelled]

    return run


@pytest.fixture(scope="session")
def hit_model(hit_run, once):
    """The file of such a run's model, its encoder beside it; how loud it is was not measured."""

    def model(labelled):
        def make(folder):
            with pytest.MonkeyPatch.context() as patch:
                patch.setattr(exporting, "model_loudness_lufs", lambda model: -20.0)
                export(hit_run(labelled), folder / "drums.onnx")

        return once("labelled-hits" if labelled else "hits", make) / "drums.onnx"

    return model


@pytest.fixture
def small_instruments(monkeypatch):
    """A small network, and fewer codes listened to, so that a whole instrument takes seconds.

    Time passes with every look at it: whatever the machine, as many steps are trained.
    """
    clock = functools.partial(next, itertools.count(step=LOOK_SECONDS))
    monkeypatch.setattr(making, "load_recipe", small_recipe)
    monkeypatch.setattr(loop, "time", SimpleNamespace(monotonic=clock))
    monkeypatch.setattr(loop, "thread_time", clock)
    monkeypatch.setattr(chroma_report, "HEARD_CODES", 2)
    monkeypatch.setattr(chroma_report, "TEST_FRAMES", 64)
    monkeypatch.setattr(chroma_report, "NOTES", 2)
    monkeypatch.setattr(floors, "STEPS", 15)


@pytest.fixture(scope="session")
def recordings(tones, tmp_path_factory):
    """Ten tones of an octave, and one that is lower."""
    folder = tmp_path_factory.mktemp("recordings")
    for note in range(60, 70):
        shutil.copy(tones / f"tone_{note}.wav", folder)
    shutil.copy(tones / "tone_57.wav", folder)
    return folder


@pytest.fixture(scope="session")
def noises(tmp_path_factory):
    """Six recordings of rain, light and heavy."""
    folder = tmp_path_factory.mktemp("noises")
    for index in range(6):
        noise = np.random.default_rng(index).standard_normal(40000)
        tilted = np.convolve(noise, np.exp(-np.arange(30) * (0.1 + 0.3 * index)), mode="same")
        soundfile.write(folder / f"rain{index}.wav", 0.3 * tilted / np.abs(tilted).max(), 44100)
    return folder


@pytest.fixture
def quick(monkeypatch, small_model):
    """All that follows training takes no time: `small_model` is what any run exports."""
    done = []

    def evaluate(run, progress, exported, instrument):
        (run.folder / "report").mkdir(exist_ok=True)
        (run.folder / "report" / "index.html").write_text("figures", encoding="utf-8")
        done.append("evaluate")
        return {"verdict": "Keys are obeyed.", "shortcomings": []}

    def export(run, path, labels, recordings, overwrite):
        shutil.copy(small_model, path)
        shutil.copy(encoder_path(small_model), encoder_path(path))
        done.append("export")
        return Model(path).card

    monkeypatch.setattr(making, "evaluate", evaluate)
    monkeypatch.setattr(evaluating, "export", export)
    return done


@pytest.fixture(scope="session")
def stopped(recordings, tmp_path_factory):
    """An instrument whose training was stopped."""
    output = tmp_path_factory.mktemp("stopped") / "bells"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(making, "load_recipe", small_recipe)
        interrupt_at(patch, 1)
        with pytest.raises(MakeStopped):
            made(recordings, output, minutes=0.1)
    return output


@pytest.fixture
def begun(stopped, recordings, tmp_path, quick):
    """A copy of it, and of its sounds."""
    sounds = shutil.copytree(recordings, tmp_path / "sounds")
    return sounds, shutil.copytree(stopped, tmp_path / "bells")


@pytest.fixture(scope="module")
def spoken(tmp_path_factory):
    """A corpus of two words, spoken by a tone and by noise."""
    path, rng = tmp_path_factory.mktemp("clips") / "corpus", np.random.default_rng(0)
    with writing(path, WORDS_RATE) as writer:
        for number in range(24):
            length = 2000 + 200 * number
            tone = np.sin(2 * np.pi * (300 + 20 * number) * np.arange(length) / WORDS_RATE)
            sound = tone if number % 2 else rng.standard_normal(length) / 4
            track = np.full(-(-length // 1024), np.nan, np.float32)
            label = "la" if number % 2 else "sh"
            writer.append((0.5 * sound).astype(np.float32), track, name=f"{number}", group=f"{number}", label=label)
        writer.finish({c.name: "test" if i < 4 else "train" for i, c in enumerate(writer.clips)}, name="words")
    return path
