"""Exports tell the meaning of their numbers: in the graph, and as a JSON file that a program needs nothing beside."""

import json

import numpy as np
import onnx
import onnxruntime
import pytest
from timbrel import __version__
from timbrel.host.model.encoder import encoder_path
from timbrel.host.model.model import Model
from timbrel.host.preset.shipped import MODELS, shipped_models

from .exported import plain_session
from .implementers import unpacked


@pytest.fixture(scope="module")
def meaning_of(tmp_path_factory):
    """The file of a shipped model, as the command writes it."""
    from timbrel.export.meaning import write_meaning

    folder = tmp_path_factory.mktemp("meaning")

    def of(name):
        path = folder / f"{name}.json"
        if not path.exists():
            write_meaning(Model(MODELS / f"{name}.onnx"), path, overwrite=False)
        return json.loads(path.read_text(encoding="utf-8"))

    return of


@pytest.mark.parametrize("name", shipped_models())
def test_a_program_that_has_the_file_runs_the_graph_and_finds_every_number(name, meaning_of):
    fields, session = meaning_of(name), plain_session(MODELS / f"{name}.onnx")
    for direction, ports in (("inputs", session.get_inputs()), ("outputs", session.get_outputs())):
        assert fields[direction].keys() == {port.name for port in ports}
        assert all(fields[direction][port.name]["shape"][1:] == port.shape[1:] for port in ports)
        assert all(fields[direction][port.name]["meaning"] for port in ports)
    golden = fields["golden"]
    inputs = {name: np.array(numbers, np.float32) for name, numbers in golden["inputs"].items()}
    frame = session.run(["frame"], inputs)[0][0]
    assert unpacked(golden["frame"]) == pytest.approx(frame, abs=float(1e-6 * np.abs(frame).max()))
    places = [(part["first"], part["last"] + 1) for part in fields["frame"]]
    assert [first for first, _ in places] == [0, *(end for _, end in places[:-1])]
    assert places[-1][1] == len(frame)
    assert all(
        np.prod(part["shape"]) == end - first for part, (first, end) in zip(fields["frame"], places, strict=True)
    )
    assert len(fields["sound"]) > 1


def test_states_say_which_step_they_belong_to(meaning_of):
    fields = meaning_of("gm-loops")
    before = {name: port["meaning"] for name, port in fields["inputs"].items() if f"{name}_next" in fields["outputs"]}
    after = {name: port["meaning"] for name, port in fields["outputs"].items() if name.endswith("_next")}
    assert before
    assert before == {name: f"state {name}: 0 at first, then {name}_next" for name in before}
    assert after == {f"{name}_next": f"state {name} after a step" for name in before}


def test_chroma_is_in_the_order_that_the_keys_of_the_golden_note_say(meaning_of):
    fields = meaning_of("gm-chroma-8")
    assert fields["chroma"] == ["C", "C#", "D", "D#", "E", "F", "F#", "G", "G#", "A", "A#", "B"]
    assert fields["golden"]["key"] == 60
    assert fields["golden"]["inputs"]["chroma"][0] == [1.0] + [0.0] * 11
    assert meaning_of("gm-partials-8")["chroma"] is None


def test_a_golden_tone_of_partials_is_the_sum_that_the_formulas_give(meaning_of):
    """Without the noise: heights, frequencies and phases by the formulas, of the card alone."""
    fields = meaning_of("gm-partials-8")
    card, golden = fields["card"], fields["golden"]
    heights = unpacked(golden["frame"])[: fields["frame"][0]["last"] + 1].astype(float)
    rate, key = card["sample_rate"], golden["key"]
    k = np.arange(1, len(heights) + 1)
    hertz = k * 440 * 2 ** ((key - 69) / 12)
    times = np.arange(golden["first_sample"], golden["first_sample"] + golden["left"]["shape"][0])
    synthesis = 2 ** round(np.log2(0.0232 * rate))
    counters = (np.arange(2020, 2020 + len(k), dtype=np.uint64)) * np.uint64(0x9E3779B97F4A7C15)
    counters = (counters ^ (counters >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    counters = (counters ^ (counters >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    noise = (counters ^ (counters >> np.uint64(31))).astype(float) / 2**63 - 1
    phases = 0.618034 * k + noise + hertz * 11 * synthesis / 16 / rate
    fades = np.clip((rate / 2 - hertz) * synthesis / 8 / rate, 0, 1) * (heights >= 1e-4 * heights.max())
    tone = (
        4
        / card["frame_length"]
        * 10 ** (-1.4 / 20)
        * (heights * fades)
        @ np.cos(2 * np.pi * (phases[:, np.newaxis] + hertz[:, np.newaxis] * times / rate))
    )
    tone *= 10 ** ((-20 - card["loudness_lufs"]) / 20) * np.sqrt(0.5)
    left = unpacked(golden["left"])
    assert np.square(left - tone).sum() < 0.01 * np.square(left).sum()  # the noise is 20 dB below
    projected = left @ tone / np.square(tone).sum()
    assert projected == pytest.approx(1, abs=0.01)


def test_grains_whose_noise_is_new_each_time_have_a_golden_frame_and_no_golden_sound(meaning_of):
    golden = meaning_of("lakeside-10")["golden"]
    assert golden["left"] is None
    assert unpacked(golden["frame"]).any()


def test_a_graph_describes_itself_and_each_input_and_output(small_model):
    made = onnx.load(small_model)
    assert (made.producer_name, made.producer_version, made.model_version) == ("timbrel", __version__, 1)
    assert made.doc_string.startswith("small: ")
    assert "code in, frame out" in made.doc_string
    meanings = {port.name: port.doc_string for port in (*made.graph.input, *made.graph.output)}
    assert meanings.keys() == {"latent", "chroma", "frame"}
    assert "C, C#, D, D#" in meanings["chroma"]
    assert meanings["frame"].startswith("0 to 512: magnitudes |X[n]|")
    assert onnxruntime.InferenceSession(small_model).get_modelmeta().description == made.doc_string
    encoder = onnx.load(encoder_path(small_model))
    assert "sound in, code out" in encoder.doc_string
    assert all(port.doc_string for port in (*encoder.graph.input, *encoder.graph.output))


@pytest.mark.parametrize(
    ("command", "line"),
    [
        ("export model.onnx --json new.txt", "--json new.txt must end in .json, such as new.json"),
        ("export model.onnx --json gone/new.json", "folder gone does not exist"),
        ("export model.onnx --json new.json -o new.onnx", "-o new.onnx is written of a run, and model.onnx is no run"),
        (
            "export model.onnx --json new.json --license CC0",
            "model.onnx is a model, whose card has its own texts; leave --name",
        ),
        *(
            (f"export model.onnx --json new.json {option}", "model.onnx is a model, with weights and recordings of its")
            for option in ("--weights float32", "--checkpoint last", "--no-recordings")
        ),
        ("export model.onnx --json .", "--json . must end in .json, such as model.json"),
        ("export gone.onnx --json new.json", "gone.onnx"),
    ],
)
@pytest.mark.usefixtures("pantry")
def test_a_meaning_that_cannot_be_written_is_said_in_a_line(timbrel, command, line):
    ended = timbrel(*command.split())
    assert ended.status == 2
    assert line in ended.err
    assert len(ended.err.splitlines()) == 1


def test_the_command_writes_the_meaning_of_a_model_once(timbrel, tmp_path):
    path = tmp_path / "gan.json"
    ended = timbrel("export", "digits-gan", "--json", path)
    assert (ended.status, ended.err) == (0, "")
    assert ended.out.startswith(f"{path}: the meaning of its inputs")
    before = path.read_bytes()
    again = timbrel("export", "digits-gan", "--json", path)
    assert again.status == 2
    assert "exists; give another name" in again.err
    assert path.read_bytes() == before
    assert timbrel("export", "digits-gan", "--json", path, "--overwrite").status == 0
    assert path.read_bytes() == before  # of one model always the same


def test_a_run_gives_a_model_and_its_meaning(timbrel, small_run, one_table, tmp_path):
    ended = timbrel("export", small_run, "-o", tmp_path / "a.onnx", "--json", tmp_path / "a.json")
    assert ended.status == 0, ended.err
    assert ended.out.splitlines()[-1].startswith(f"{tmp_path / 'a.json'}: ")
    fields = json.loads((tmp_path / "a.json").read_text(encoding="utf-8"))
    assert fields["graph_sha256"] == Model(tmp_path / "a.onnx").graph_sha256
    assert fields["card"] == json.loads(Model(tmp_path / "a.onnx").card.model_dump_json())
