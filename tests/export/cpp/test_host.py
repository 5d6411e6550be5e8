"""The C++ program of docs/cpp, which knows nothing of timbrel, plays the notes that timbrel plays."""

import json
import shutil
import subprocess
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import soundfile
from onnx import helper, numpy_helper
from timbrel.export.meaning import meaning
from timbrel.host.model.model import Model
from timbrel.host.preset.shipped import MODELS, shipped_models

from ...patience import PATIENCE_SECONDS
from ..implementers import SECONDS, at_rate, cents_apart, level_db, mel_apart, rendered, unpacked

SOURCE = Path(__file__).parents[3] / "docs" / "cpp" / "host.cpp"
INSTALLED = [Path("/usr/include/onnxruntime"), Path("/usr/include/onnxruntime/core/session")]  # as Debian 13 has it


@pytest.fixture(scope="module")
def host(tmp_path_factory):
    """A function that runs the program, built with onnxruntime's own header, or where that is missing with ours."""
    compiler = shutil.which("c++")
    libraries = sorted(Path(onnxruntime.__file__).parent.glob("capi/libonnxruntime.so.*"))
    if compiler is None or not libraries:
        pytest.skip("no C++ compiler; install g++" if compiler is None else "onnxruntime's wheel has no C library")
    folder = tmp_path_factory.mktemp("cpp")
    for name in ("libonnxruntime.so", "libonnxruntime.so.1"):
        (folder / name).symlink_to(libraries[-1])
    headers = [path for path in INSTALLED if (path / "onnxruntime_c_api.h").exists()] or [Path(__file__).parent]
    places = [f"-I{headers[0]}", f"-L{folder}", f"-Wl,-rpath,{folder}"]
    options, program = ["-std=c++17", "-O2", "-Wall", "-Wextra", "-Werror"], folder / "host"
    built = subprocess.run(
        [compiler, *options, *places, SOURCE, "-lonnxruntime", "-o", program], capture_output=True, text=True
    )
    assert built.returncode == 0, built.stderr
    return lambda *words: subprocess.run(
        [program, *map(str, words)], capture_output=True, text=True, timeout=PATIENCE_SECONDS
    )


@pytest.fixture
def play(host, tmp_path):
    """A note of a model by the program, and its rate."""

    def note(path, key, seconds=SECONDS, *knobs):
        ended = host(path, key, seconds, tmp_path / "note.wav", *knobs)
        assert (ended.returncode, ended.stdout, ended.stderr) == (0, "", "")
        return soundfile.read(tmp_path / "note.wav", dtype="float32")

    return note


# One of each way to a sound, and each shipped model; keys below, in and above the octave or the span of training.
NOTES = [
    ("gm-chroma-2", 69),
    ("gm-chroma-8", 45),
    ("gm-chroma-8", 86),
    ("gm-partials-8", 57),
    ("gm-partials-9", 76),
    ("salamander-piano", 33),
    ("salamander-piano", 60),
    ("digits-gan", 60),
    ("digits-spoken", 60),
    ("digits-voices", 60),
    ("gm-drums", 60),
    ("gm-kit", 60),
    ("gm-loops", 60),
]


@pytest.mark.parametrize(("name", "key"), NOTES)
def test_a_held_note_is_the_one_that_timbrel_renders(name, key, play, tmp_path):
    path = MODELS / f"{name}.onnx"
    theirs, own_rate = play(path, key)
    ours, rate = rendered(path, key, tmp_path)
    theirs = at_rate(theirs, own_rate, rate)
    inside = slice(rate // 10, -rate // 10)
    assert level_db(theirs[inside]) == pytest.approx(level_db(ours[inside]), abs=0.5)
    assert cents_apart(theirs[inside], ours[inside]) < 2
    assert mel_apart(ours[inside], theirs[inside], rate, 0.45 * own_rate, mean=False) < 1
    assert mel_apart(ours[inside], theirs[inside], rate, 0.45 * own_rate, mean=True) < 1


def rising(folder):
    """A shipped texture whose grains rise from silence to four times their level."""
    made = onnx.load(MODELS / "lakeside-10.onnx")
    card = Model(MODELS / "lakeside-10.onnx").card
    weights = np.ones(card.frame_width, np.float32)
    weights[-card.envelope_points :] = np.linspace(0, 4, card.envelope_points)
    [output] = made.graph.output
    last = next(node for node in made.graph.node if output.name in node.output)
    last.output[list(last.output).index(output.name)] = "steady"
    made.graph.initializer.append(numpy_helper.from_array(weights, "rising"))
    made.graph.node.append(helper.make_node("Mul", ["steady", "rising"], [output.name]))
    onnx.save(made, folder / "rising.onnx")
    return folder / "rising.onnx"


@pytest.mark.parametrize(("name", "key"), [("lakeside-10", 60), ("lakeside-10", 53), ("lakeside-paths", 60), ("", 60)])
def test_a_texture_has_the_level_and_the_mean_spectrum_that_timbrel_renders(name, key, play, tmp_path):
    path = MODELS / f"{name}.onnx" if name else rising(tmp_path)
    theirs, rate = play(path, key, 12)
    ours, _ = rendered(path, key, tmp_path, 12)
    inside = slice(rate // 2, -rate // 2)
    assert level_db(theirs[inside]) == pytest.approx(level_db(ours[inside]), abs=0.5)
    assert mel_apart(ours[inside], theirs[inside], rate, 0.45 * rate, mean=True) < 1


def test_frames_of_a_stream_cross_as_those_that_timbrel_renders(play, tmp_path):
    path = MODELS / "gm-loops.onnx"
    card = Model(path).card
    step, fade = card.stream.step_length, card.frame_length - card.stream.step_length
    theirs, ours = play(path, 60, 4)[0], rendered(path, 60, tmp_path, 4)[0]
    crossed = [slice(end - fade, end) for end in range(step, len(ours) - step, step)]
    levels = [level_db(np.concatenate([sound[each] for each in crossed])) for sound in (theirs, ours)]
    assert levels[0] == pytest.approx(levels[1], abs=0.2)


def test_all_shipped_models_are_compared():
    assert {name for name, _ in NOTES} | {"lakeside-10", "lakeside-paths"} == set(shipped_models())


# Phases that are found differ in the last bits, and so do samples of frames that follow one another.
GOLDEN_DB = {
    "gm-chroma-2": -80,
    "gm-partials-8": -60,
    "salamander-piano": -40,
    "digits-gan": -80,
    "gm-drums": -40,
    "gm-loops": -20,
}


@pytest.mark.parametrize("name", GOLDEN_DB)
def test_its_samples_are_the_golden_ones(name, play):
    path = MODELS / f"{name}.onnx"
    golden = meaning(Model(path))["golden"]
    expected, first = unpacked(golden["left"]), golden["first_sample"]
    sound, _ = play(path, golden["key"], 1)
    found = sound[first : first + len(expected)]
    assert level_db(found - expected) - level_db(expected) < GOLDEN_DB[name]


def test_a_note_begins_and_ends_within_five_milliseconds(play):
    sound, rate = play(MODELS / "gm-partials-8.onnx", 57, 1)
    ramp = round(0.005 * rate)
    assert sound[0] == 0
    assert abs(sound[-1]) < 2 / ramp * np.abs(sound).max()
    half = [np.abs(each).max() for each in (sound[: ramp // 2], sound[-(ramp // 2) :])]
    assert max(half) < 0.6 * np.abs(sound).max()


def test_knobs_are_those_of_the_model(play):
    path = MODELS / "gm-chroma-2.onnx"
    turned, _ = play(path, 60, 1, 0.1, 0.9)
    at_rest, _ = play(path, 60, 1)
    same, _ = play(path, 60, 1, *(latent.default for latent in Model(path).card.latents))
    assert np.array_equal(at_rest, same)
    assert not np.allclose(at_rest, turned, atol=1e-3)


def spoiled(folder, **changes):
    """A shipped model with other fields in its card."""
    made = onnx.load(MODELS / "digits-gan.onnx")
    metadata = {entry.key: entry.value for entry in made.metadata_props}
    card = json.dumps(json.loads(metadata["timbrel.card"]) | changes)
    helper.set_model_props(made, {"timbrel.card": card})
    onnx.save(made, folder / "spoiled.onnx")
    return folder / "spoiled.onnx"


def test_it_says_in_a_line_what_it_cannot_play(host, tmp_path):
    wav = tmp_path / "a.wav"
    for words, line in (
        ((), "host MODEL.onnx KEY SECONDS NOTE.wav [KNOB ...]"),
        ((tmp_path / "gone.onnx", 60, 1, wav), "gone.onnx"),
        ((MODELS / "gm-chroma-2.encoder.onnx", 60, 1, wav), "gm-chroma-2.encoder.onnx has no timbrel card"),
        ((MODELS / "gm-chroma-2.onnx", 128, 1, wav), "the key must be a MIDI note"),
        ((MODELS / "gm-chroma-2.onnx", 60, 0, wav), "the seconds must be more than 0"),
        ((MODELS / "gm-chroma-2.onnx", 60, 61, wav), "the seconds must be more than 0, and 60 at most"),
        ((MODELS / "gm-drums.onnx", 61, 1, wav), "clips play at key 60 alone here"),
        ((MODELS / "gm-loops.onnx", 61, 1, wav), "streams play at key 60 alone here"),
        ((spoiled(tmp_path, kind="bells"), 60, 1, wav), "kind bells is unknown to this program"),
        ((MODELS / "digits-gan.onnx", 60, 1, tmp_path / "gone" / "a.wav"), "cannot write"),
    ):
        ended = host(*words)
        assert ended.returncode == 2
        assert line in ended.stderr
        assert len(ended.stderr.splitlines()) == 1
        assert not wav.exists()


def test_the_program_stays_one_that_can_be_read():
    lines = SOURCE.read_text(encoding="utf-8").splitlines()
    code = [line for line in lines if line.strip() and not line.lstrip().startswith("//")]
    assert len(code) <= 600
    assert max(map(len, lines)) <= 120
