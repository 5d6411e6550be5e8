"""Cards: what is read back is what was written, and every fault is one line that names the file and the fault."""

import base64
import copy
import json
import zlib

import numpy as np
import pytest
from timbrel.host.errors import UserError
from timbrel.host.model.card import Card, read_card, unknown_fields
from timbrel.host.model.model import describe

SOURCE = "folder/model.onnx"


@pytest.fixture
def fields(analytic):
    return analytic().card()


def complaint(text):
    with pytest.raises(UserError) as caught:
        read_card(text, SOURCE)
    message = str(caught.value)
    assert "\n" not in message
    assert message.startswith(f"{SOURCE}: ")
    assert len(message) < 400
    return message


def test_a_card_reads_back_as_it_was_written(fields):
    card = read_card(json.dumps(fields), SOURCE)
    assert read_card(card.model_dump_json(), SOURCE) == card
    beside = {
        "state": [],
        "scaling": None,
        "stream": None,
        "partials": None,
        "image": None,
        "envelope_points": 0,
        "transform_length": None,
        "labels": [],
        "directions": [],
        "recordings": [],
        "learned_path": None,
        "latents": [latent | {"moves": "", "unnamed": ""} for latent in fields["latents"]],
        "chroma": fields["chroma"] and fields["chroma"] | {"folded": False},
        "reference": fields["reference"] | {"peaks": None, "steps": 1, "label": None, "key": None},
    }
    assert json.loads(card.model_dump_json()) == fields | beside


STREAM = {
    "kind": "stream",
    "chroma": None,
    "state": [{"name": "previous", "shape": [4]}],
    "stream": {"step_length": 1024, "levels_db": [-60.0, 0.0]},
}


@pytest.mark.parametrize(
    ("domain", "width"), [("samples", 1024), ("magnitude", 513), ("magnitude_phase", 1026), ("real_imag", 1026)]
)
def test_a_frame_is_as_wide_as_its_domain_needs(fields, domain, width):
    kinds = {"magnitude": {"kind": "spectrum"}, "magnitude_phase": {"kind": "grain", "chroma": None}}
    of_kind = kinds.get(domain, STREAM)
    assert read_card(json.dumps(fields | {"domain": domain} | of_kind), SOURCE).frame_width == width


GRAIN = {"kind": "grain", "chroma": None}


@pytest.mark.parametrize(
    ("domain", "points", "width"),
    [("samples", 0, 1024), ("magnitude_phase", 0, 1026), ("magnitude", 0, 513), ("magnitude", 2, 515)],
)
def test_a_grain_is_as_wide_as_its_domain_and_envelope_need(fields, domain, points, width):
    made = fields | GRAIN | {"domain": domain, "envelope_points": points}
    assert read_card(json.dumps(made), SOURCE).frame_width == width


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        (GRAIN | {"envelope_points": 257}, "envelope_points"),
        (GRAIN | {"envelope_points": -1}, "envelope_points"),
        (GRAIN | {"envelope_points": 1}, "has no last point"),
        (GRAIN | {"domain": "samples", "envelope_points": 16}, "do not go with kind 'grain' and domain 'samples'"),
        ({"envelope_points": 16}, "do not go with kind 'spectrum'"),
        ({"transform_length": 512}, "do not go with kind 'spectrum'"),
        (GRAIN | {"labels": ["kick"]}, "do not go with kind 'grain'"),
        (GRAIN | {"state": [{"name": "h", "shape": [4]}]}, "state and scaling do not go with kind 'grain'"),
        ({"scaling": {"mean": 0.0, "deviation": 1.0}}, "state and scaling do not go with kind 'spectrum'"),
        (GRAIN | {"domain": "real_imag"}, "domain 'real_imag' does not go with kind 'grain'"),
        (GRAIN | {"frame_length": 1001}, "frame_length 1001 of a grain must be even"),
        ({"kind": "grain"}, "chroma must be null"),
    ],
)
def test_a_grain_that_cannot_be_is_refused(fields, changes, words):
    assert words in complaint(json.dumps(fields | changes))


@pytest.mark.parametrize("prior", [None, {"uniform": [0.0, 1.0]}, {"normal": [0.0, 5.0]}])
def test_the_prior_is_none_uniform_or_normal(fields, prior):
    card = read_card(json.dumps(fields | {"prior": prior}), SOURCE)
    assert json.loads(card.model_dump_json())["prior"] == prior


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "not JSON"),
        ("{", "not JSON"),
        ('{"format": 1', "not JSON"),
        ("[" * 100_000, "not JSON"),
        ('{"format": ' + "9" * 5000 + "}", "not JSON"),
        ("[]", "not a JSON object"),
        ("null", "not a JSON object"),
        ('"card"', "not a JSON object"),
        ('{"format": 2}', "newer than this timbrel reads (1); update timbrel"),
        ('{"format": 0}', "format"),
        ('{"format": "1"}', "format"),
        ("{}", "Field required"),
    ],
)
def test_what_is_no_card_is_refused_in_one_line(text, words):
    assert words in complaint(text)


def changed(fields, path, value):
    made = copy.deepcopy(fields)
    at = made
    for step in path[:-1]:
        at = at[step]
    if value is KeyError:
        del at[path[-1]]
    else:
        at[path[-1]] = value
    return made


def packed(numbers):
    return base64.b64encode(zlib.compress(bytes(numbers))).decode()


WRONG = [
    (("name",), KeyError),
    (("kind",), "granular"),
    (("domain",), "samples"),  # no spectrum
    (("domain",), "cepstrum"),
    (("window",), "kaiser"),
    (("sample_rate",), 0),
    (("sample_rate",), 44100.5),
    (("frame_length",), 8),
    (("frame_length",), -1024),
    (("hop_length",), 0),
    (("hop_length",), 2000),
    (("latents",), []),
    (("latents", 0, "low"), 1.0),
    (("latents", 0, "low"), float("nan")),
    (("latents", 1, "high"), float("inf")),
    (("latents", 1, "default"), 1.5),
    (("latents", 0, "default"), float("nan")),
    (("prior",), {"cauchy": [0, 1]}),
    (("chroma", "trained"), [12]),
    (("chroma", "trained"), [-1]),
    (("chroma", "octave"), None),
    (("state",), [{"name": "h", "shape": [4]}]),  # a spectrum has none
    (("loudness_lufs",), float("nan")),
    (("loudness_lufs",), "loud"),
    (("landmarks", 0, "latent"), [0.5]),
    (("landmarks", 0, "chroma"), 12),
    (("landmarks",), [{"latent": [0.5, 0.5], "chroma": 0, "label": "x"}] * 257),
    (("reference", "latent"), [[0.5, 0.5, 0.5]] * 3),
    (("reference", "latent"), []),
    (("reference", "frame"), [[0.0] * 6] * 2),
    (("reference", "frame"), [[0.0] * 5] * 3),
    (("reference", "points"), [0, 1, 2, 3, 4, 513]),
    (("reference", "points"), [-1, 1, 2, 3, 4, 5]),
    (("reference", "chroma"), [0, 0]),
    (("reference", "chroma"), [0, 0, 12]),
    (("reference", "chroma"), [0, 0, -1]),
    (("reference", "chroma"), None),
    (("reference", "peaks"), ""),
    (("reference", "peaks"), "no base64!"),
    (("reference", "peaks"), packed([0] * 513)),  # no values
    (("reference", "peaks"), packed([0] * 513 + [0] * 1025)),
    (("reference", "peaks"), packed([0] * 513 + [0] * 1027)),
    (("reference", "peaks"), packed([3] + [0] * 512 + [0] * 1026)),  # there are rows 0 to 2
    (("reference", "peaks"), packed([0] * 10**6)),
]


@pytest.mark.parametrize(("path", "value"), WRONG)
def test_a_wrong_field_is_refused_by_its_name(fields, path, value):
    message = complaint(json.dumps(changed(fields, path, value)))
    named = [str(step) for step in path if isinstance(step, str)]
    assert any(name in message for name in named), message


def test_peaks_of_as_many_outputs_as_there_are_are_taken(fields):
    fields["reference"]["peaks"] = packed([0, 2] + [0] * 511 + [0, 60] * 513)  # float16 of 1
    rows, values = read_card(json.dumps(fields), SOURCE).reference.unpack_peaks(513)
    assert (rows[1], len(rows), set(np.frombuffer(values, "<f2"))) == (2, 513, {1.0})


def test_fields_of_a_later_timbrel_are_kept_and_named_once(fields):
    fields["colour"] = "blue"
    for latent in fields["latents"]:
        latent["unit"] = "Hz"
    fields["reference"]["more"] = {"deep": [1, 2]}
    card = read_card(json.dumps(fields), SOURCE)
    assert unknown_fields(card) == ["colour", "latents.unit", "reference.more"]
    assert json.loads(card.model_dump_json())["reference"]["more"] == {"deep": [1, 2]}


def test_a_card_of_today_has_no_unknown_fields(fields):
    assert unknown_fields(read_card(json.dumps(fields), SOURCE)) == []


def test_a_long_value_is_cut_in_the_complaint(fields):
    assert "..." in complaint(json.dumps(changed(fields, ("sample_rate",), "x" * 1000)))


def test_a_card_made_of_numpy_numbers_is_refused_or_plain(fields):
    fields["loudness_lufs"] = np.float64(-20.0)
    assert Card.model_validate(fields).loudness_lufs == -20.0


def test_a_knob_without_a_name_is_described_with_the_reason(fields):
    fields["latents"][0] |= {"moves": "most of all air", "unnamed": "air is too faint"}
    text = describe(read_card(json.dumps(fields), SOURCE), 1000)
    assert "   most of all air; no name: air is too faint\n" in text


@pytest.mark.parametrize("image", [[[0.0, 0.5]] * 31, [[0.0, 1.5]] * 32, [[99.0, 0.5]] * 32, [[0.0]] * 32])
def test_an_image_has_32_bands_within_bounds(fields, image):
    with pytest.raises(UserError, match="image"):
        read_card(json.dumps(fields | {"image": image}), SOURCE)


def test_a_card_is_described_with_its_numbers_and_a_line_a_knob(fields):
    text = describe(read_card(json.dumps(fields), SOURCE), 5_640_000)
    for words in ("analytic", "CC0-1.0", "22050 Hz", "1024 samples (46 ms)", "256 samples (11.6 ms)", "5.6 MB"):
        assert words in text
    assert "all twelve pitch classes, sounding in octave 4" in text
    assert "uniform on [0, 1]" in text
    knobs = [line.split() for line in text.splitlines()[-2:]]
    assert knobs == [[str(i), "latent", str(i), "0.000", "to", "1.000", "default", "0.500"] for i in range(2)]


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"chroma": None}, "none: keys move the spectrum as a whole"),
        ({"chroma": {"trained": [0, 4, 7], "octave": 3}}, "C E G pitch classes, sounding in octave 3"),
        ({"prior": None}, "none"),
        ({"image": [[0.0, 0.5]] * 32}, "as recorded, by play.image"),
        (GRAIN, "none: keys move the grains in pitch"),
        (GRAIN, "1024 samples (46 ms) of noise, anew each time, through 513 magnitudes"),
        (GRAIN | {"envelope_points": 16}, "through 513 magnitudes, under an envelope of 16 points"),
        (GRAIN | {"domain": "samples"}, "1024 samples (46 ms) as samples"),
        ({"prior": {"normal": [0.0, 5.0]}}, "normal, mean 0, deviation 5"),
    ],
)
def test_what_a_card_lacks_or_narrows_is_said(fields, changes, words):
    assert words in describe(read_card(json.dumps(fields | changes), SOURCE), 1000)


@pytest.mark.parametrize(
    ("labels", "words"),
    [
        ([], "none"),
        (["flute.wav"], "1 code, such as that of 'flute.wav'"),
        (["3 no. 1", "3 no. 2"], "2 codes, such as that of '3 no. 1'"),
        (["", ""], "2 codes"),
    ],
)
def test_landmarks_are_codes_whether_they_were_encoded_or_drawn(fields, labels, words):
    marks = [{"latent": [0.5, 0.5], "chroma": 0, "label": label} for label in labels]
    lines = describe(read_card(json.dumps(fields | {"landmarks": marks}), SOURCE), 1000).splitlines()
    assert [line for line in lines if line.startswith("landmarks")] == [f"landmarks  {words}"]
