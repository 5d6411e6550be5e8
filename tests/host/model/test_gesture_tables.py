"""Gestures of format 2: the tables of new exports say and sound the same as the lists of notes in older files."""

import base64
import json
import zlib

import numpy as np
import onnx
import pytest
import timbrel
from onnx import helper
from timbrel.host.errors import UserError
from timbrel.host.model.gesture import GESTURE_KEY, Gestures, read_gestures
from timbrel.host.model.gesture_tables import MOST_NUMBERS, TYPES, into_tables
from timbrel.host.model.model import Model
from timbrel.host.preset.shipped import MODELS
from timbrel.host.spectra import envelope_db

from ..play.gestures import gestures, note, with_gestures

WITH_GESTURES = ["gm-chroma-2", "gm-chroma-8", "gm-partials-8", "gm-partials-9", "salamander-piano"]
RINGING = {name: value for name, value in note(72.0).items() if not name.startswith("release")}


def stored(name):
    """The metadata of a shipped model's gestures, as text."""
    made = onnx.load(MODELS / f"{name}.onnx", load_external_data=False)
    return next(entry.value for entry in made.metadata_props if entry.key == GESTURE_KEY)


def unpacked(table):
    """A table, as a reader of the schema would unpack it."""
    numbers = np.frombuffer(
        zlib.decompress(base64.b64decode(table["data"])), {"float16": "<f2", "float32": "<f4"}[table["type"]]
    )
    return numbers.reshape(table["shape"])


@pytest.mark.parametrize("name", WITH_GESTURES)
def test_tables_hold_the_numbers_of_the_lists_to_the_precision_of_their_type(name):
    model = Model(MODELS / f"{name}.onnx")
    assert model.gestures is not None
    fields = json.loads(stored(name))
    text = model.gestures.text()
    again = read_gestures(text, model.card, "a.onnx")
    notes = [one for instrument in again.instruments for one in instrument.notes]
    lists = [one for instrument in fields["instruments"] for one in instrument["notes"]]
    assert len(notes) == len(lists)
    for read, listed in zip(notes, lists, strict=True):
        for table, number_type in TYPES.items():
            expected = np.array(listed.get(table, []))
            found = getattr(read, table)
            assert found.size == expected.size
            assert np.array_equal(found, expected.astype(number_type).astype(float).reshape(found.shape))
        assert {key: getattr(read, key) for key in ("key", "velocity", "held_seconds")} == {
            key: listed[key] for key in ("key", "velocity", "held_seconds")
        }
    assert again.text() == text  # a second writing loses nothing more


def test_lists_of_decimals_take_three_times_the_bytes_of_tables():
    model = Model(MODELS / "gm-partials-8.onnx")
    assert model.gestures is not None
    assert len(model.gestures.text()) < len(stored("gm-partials-8")) / 3


def test_half_precision_would_move_a_mode_by_nearly_a_cent_but_single_precision_does_not():
    fields = json.loads(stored("salamander-piano"))
    ratios = np.array([mode[0] for one in fields["instruments"][0]["notes"] for mode in one.get("modes", [])])

    def cents(number_type):
        return np.abs(1200 * np.log2(ratios.astype(number_type).astype(float) / ratios)).max()

    assert cents("float16") > 0.5
    assert cents(TYPES["modes"]) < 0.001


@pytest.mark.parametrize(("name", "key"), [("gm-chroma-8", 60), ("gm-partials-8", 52), ("salamander-piano", 48)])
def test_notes_by_tables_are_as_loud_as_notes_by_lists_to_a_twentieth_of_a_decibel(name, key, tmp_path):
    model, path = Model(MODELS / f"{name}.onnx"), tmp_path / f"{name}.onnx"
    made = onnx.load(model.path)
    metadata = {entry.key: entry.value for entry in made.metadata_props}
    assert model.gestures is not None
    helper.set_model_props(made, metadata | {GESTURE_KEY: model.gestures.text()})
    onnx.save(made, path)
    sounds = [
        np.asarray(timbrel.open(file).render([timbrel.Note(key, 0.0, 1.0, 70)], 44100, seconds=1.5))
        for file in (model.path, path)
    ]
    levels = [envelope_db(sound.astype(np.float32), 44100) for sound in sounds]
    heard = levels[0] > levels[0].max() - 50
    assert np.abs(levels[0] - levels[1])[heard].max() < 0.05
    assert np.square(sounds[0] - sounds[1]).sum() < 1e-6 * np.square(sounds[0]).sum()  # -60 dB


def test_notes_with_and_without_a_release_and_with_modes_keep_their_own(tiny_path, tmp_path):
    modes = [[2.76, 0, 0.5], [5.4, 0, 0.25]]
    written = into_tables(gestures(note(), RINGING, note(74.0, modes=modes)))
    assert written["format"] == 2
    assert written["tables"]["levels"].keys() == {"type", "shape", "data"}  # a row a note
    assert written["tables"]["release_levels"]["counts"] == [1, 0, 1]
    assert written["tables"]["modes"]["counts"] == [0, 0, 2]
    assert unpacked(written["tables"]["modes"]).tolist() == np.array(modes, np.float32).tolist()
    assert unpacked(written["tables"]["codes"]).shape == (3, 2, 2)
    model = with_gestures(tiny_path(), tmp_path / "a.onnx", into_tables(gestures(note(), RINGING)))
    first, second = model.gestures.instruments[0].notes
    assert first.release_levels.tolist() == [0.0, -20.0, -60.0]
    assert second.release_levels.tolist() == []
    assert second.codes == pytest.approx(np.array([[0.2, 0.0], [-0.1, 0.1]]), abs=1e-4)


def changed(**changes):
    """Gestures of two notes, whose table ``levels`` has changes."""
    fields = into_tables(gestures(note(), note(72.0)))
    fields["tables"]["levels"] |= changes
    return fields


def packed(numbers):
    return base64.b64encode(zlib.compress(np.array(numbers, "<f2").tobytes())).decode()


BROKEN = {
    "no tables": ({k: v for k, v in changed().items() if k != "tables"}, "tables must be given with format 2"),
    "a list beside the tables": (
        changed() | {"instruments": [{"label": "", "home": [0.5, 0.5], "notes": [note()]}]},
        "code of a note must be in tables",
    ),
    "a table too few": (
        changed() | {"tables": {k: v for k, v in changed()["tables"].items() if k != "code"}},
        "notes.0.code: Field required",
    ),
    "no base64": (changed(data="?"), "tables.levels: it must be compressed numbers in base64"),
    "not compressed": (changed(data="AAAA"), "tables.levels: it must be compressed numbers in base64"),
    "numbers too few": (changed(data=packed([0.0] * 7)), "it must hold the numbers of its shape, 8 of float16"),
    "numbers too many": (changed(data=packed([0.0] * 9)), "it must hold the numbers of its shape, 8 of float16"),
    "half of a stream": (
        changed(data=packed([0.1, -7.3, 9.9, 3.2, -8.1, 5.7, -2.4, 6.6])[:16]),
        "it must hold the numbers of its shape",
    ),
    "bytes that grow": (changed(shape=[2, MOST_NUMBERS]), f"more than {MOST_NUMBERS}"),
    "rows for other notes": (changed(shape=[4, 2]), "its 4 rows are not those of 2 notes"),
    "counts for other notes": (changed(counts=[2]), "its 2 rows are not those of 2 notes"),
    "two rows for one note": (changed(counts=[2, 0]), "its 2 rows are not those of 2 notes"),
    "another type": (changed(type="int8"), "tables.levels: type"),
    "no finite number": (changed(data=packed([np.nan] * 8)), "finite"),
    "loud beyond all": (changed(data=packed([500.0] * 8)), "less than or equal to 60"),
    "a table of another width": (
        changed(shape=[2, 3], data=packed([0.0] * 6)),
        "levels of a note must have 4 points",
    ),
    "no notes": (changed() | {"instruments": [{"label": ""}]}, "rows are not those of 0 notes"),
    "no instruments": (changed() | {"instruments": 5}, "rows are not those of 0 notes"),
    "an instrument of another form": (changed() | {"instruments": [7]}, "rows are not those of 0 notes"),
}


@pytest.mark.parametrize("case", BROKEN)
def test_damaged_tables_are_refused_in_a_line(case, tiny_path):
    fields, reason = BROKEN[case]
    with pytest.raises(UserError) as refused:
        read_gestures(json.dumps(fields), Model(tiny_path()).card, "a.onnx")
    message = str(refused.value)
    assert reason in message
    assert "\n" not in message
    assert message.endswith("export the model again")


def test_reading_changes_no_fields_that_it_was_given():
    fields = into_tables(gestures())
    before = json.dumps(fields)
    Gestures.model_validate(fields)
    assert json.dumps(fields) == before
