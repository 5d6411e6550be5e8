"""The JSON schema of docs fits the models' own checks, and what `timbrel info --json` prints fits the schema."""

import copy
import json
from pathlib import Path

import pytest
from jsonschema import Draft202012Validator
from timbrel.host.errors import UserError
from timbrel.host.kinds.card_fields import MEANINGS
from timbrel.host.model.card import Card, read_card
from timbrel.host.model.gesture_tables import TYPES
from timbrel.host.model.model import Model
from timbrel.host.model.schema import document, schema, schema_text
from timbrel.host.preset.shipped import MODELS, shipped_models

from ..play.gestures import gestures, note, with_gestures

FILE = Path(__file__).parents[3] / "docs" / "model.schema.json"
WRITE = (
    f"python -c 'from timbrel.host.model.schema import schema_text; print(schema_text(), end=\"\")' > docs/{FILE.name}"
)
VALIDATOR = Draft202012Validator(json.loads(FILE.read_text(encoding="utf-8")))


def complaints(fields):
    return [error.message for error in VALIDATOR.iter_errors(fields)]


def test_the_file_in_docs_is_the_schema_of_the_code():
    assert json.loads(FILE.read_text(encoding="utf-8")) == schema(), f"write it again: {WRITE}"
    assert json.loads(schema_text()) == schema()
    Draft202012Validator.check_schema(schema())


def test_each_field_of_a_card_has_a_meaning_and_no_other_has():
    assert set(MEANINGS) == set(Card.model_fields)


@pytest.mark.parametrize("name", shipped_models())
def test_info_of_every_shipped_model_fits_the_schema(name, timbrel):
    shown = timbrel("info", name, "--json")
    assert shown.status == 0
    fields = json.loads(shown.out)
    assert complaints(fields) == []
    model = Model(MODELS / f"{name}.onnx")
    assert read_card(shown.out, name).model_dump() | {} == model.card.model_dump() | {
        part: fields[part] for part in ("gesture", "map", "path") if part in fields
    }
    assert ("gesture" in fields) == (model.gestures is not None)
    assert ("map" in fields) == (model.map is not None)
    assert ("path" in fields) == (model.card.learned_path is not None)


def test_gestures_of_new_exports_fit_the_schema(tmp_path):
    model = Model(MODELS / "salamander-piano.onnx")
    assert model.gestures is not None
    made = with_gestures(model.path, tmp_path / "a.onnx", model.gestures.text())
    fields = document(made)
    assert fields["gesture"]["format"] == 2
    assert fields["gesture"]["tables"].keys() == TYPES.keys()
    assert complaints(fields) == []


def test_a_learned_path_that_is_not_there_is_left_out(tmp_path):
    path = tmp_path / "alone.onnx"
    path.write_bytes((MODELS / "lakeside-paths.onnx").read_bytes())
    assert "path" not in document(Model(path))


def changed(fields, place, value):
    """A copy of a document with another value in one place; None removes it."""
    fields = copy.deepcopy(fields)
    *way, last = place
    part = fields
    for step in way:
        part = part[step]
    if value is None:
        del part[last]
    else:
        part[last] = value
    return fields


@pytest.fixture(scope="module")
def small(tiny_path, tmp_path_factory):
    """The document of a small model with gestures."""
    path = tmp_path_factory.mktemp("schema") / "a.onnx"
    fields = document(with_gestures(tiny_path(), path, gestures(note(), note(67.0))))
    assert complaints(fields) == []
    return fields


FIRST = ("gesture", "instruments", 0, "notes", 0)


@pytest.mark.parametrize(
    ("place", "value"),
    [
        (("sample_rate",), None),
        (("sample_rate",), 100),
        (("format",), 2),
        (("domain",), "cepstra"),
        (("window",), "kaiser"),
        (("latents",), []),
        (("latents", 0, "low"), "far"),
        (("chroma", "trained"), [12]),
        (("landmarks",), [{"label": "a"}]),
        (("reference", "points"), []),
        (("gesture", "format"), 3),
        (("gesture", "format"), 2),
        (("gesture", "grid"), None),
        ((*FIRST, "levels"), None),
        ((*FIRST, "levels"), [900.0]),
        ((*FIRST, "velocity"), 0),
        (("map",), {"format": 1, "side": 1, "dots": 1, "labels": ["a"], "arrays": ""}),
        (("path",), {"format": 1}),
    ],
)
def test_the_schema_refuses_what_a_reader_cannot_use(small, place, value):
    assert complaints(changed(small, place, value))


@pytest.mark.parametrize("place", [("sample_rate",), ("reference", "points"), ("latents", 0, "low")])
def test_the_card_itself_refuses_what_the_schema_refuses(small, place):
    with pytest.raises(UserError, match="its card is not valid"):
        read_card(json.dumps(changed(small, place, None)), "a.onnx")
