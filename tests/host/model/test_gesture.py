"""Gestures in a model's file: read as they are, told by info, and refused in a line where they are broken."""

import base64
import json
import zlib

import numpy as np
import pytest
from timbrel.host.errors import UserError
from timbrel.host.model.gesture import GESTURE_KEY, packed, read_gestures
from timbrel.host.model.model import Model, describe
from timbrel.host.preset.shipped import MODELS

from ..play.gestures import GRID, WANDER, gestures, note, with_gestures


def test_a_file_without_gestures_has_none_and_info_says_nothing(tiny_path):
    model = Model(tiny_path())
    assert model.gestures is None
    assert "gestures" not in describe(model.card, 1, model.gestures)


def test_gestures_are_read_and_told(tiny_path, tmp_path):
    model = with_gestures(tiny_path(), tmp_path / "a.onnx", gestures(note(), note(67.4, 40)))
    assert [entry.key for entry in model.gestures.instruments[0].notes] == [60.0, 67.4]
    assert "2 recorded notes, C4 to G4, velocity 40 to 100" in describe(model.card, 1, model.gestures)
    assert model.verify().passed


def test_what_a_later_timbrel_adds_is_passed_over(tiny_path, tmp_path):
    fields = gestures(note(bow="up")) | {"mood": 1}
    assert with_gestures(tiny_path(), tmp_path / "a.onnx", fields).gestures is not None


def bare(**changes):
    entry = note(**changes)
    return gestures(entry)


def banded(**changes):
    """Gestures of three bands."""
    entry = note(residual=packed(np.arange(-3, 3, dtype=np.int8)), **changes)
    return gestures(entry, bands_hz=[100.0, 1000.0, 5000.0], residual_seconds=0.02)


def test_residuals_are_read_as_they_were_written(tiny_path, tmp_path):
    fields = banded(release_residual=packed(np.array([5, -128, 127], np.int8)))
    fields["instruments"][0]["takes"] = packed(np.arange(8, dtype=np.int8))
    made = with_gestures(tiny_path(), tmp_path / "a.onnx", fields).gestures
    again = with_gestures(tiny_path(), tmp_path / "b.onnx", made.model_dump_json()).gestures
    for each in (made, again):
        [instrument] = each.instruments
        assert instrument.notes[0].residual.tolist() == [-3, -2, -1, 0, 1, 2]
        assert instrument.notes[0].release_residual.tolist() == [5, -128, 127]
        assert instrument.takes.tolist() == list(range(8))
        assert each.residual_seconds == 0.02


TOO_MANY = base64.b64encode(zlib.compress(bytes(40_000_000))).decode()  # 52 kB
BROKEN = {
    "residuals of no bands": (bare(residual=packed(np.zeros(3, np.int8))), "residuals of a note must have rows of 0"),
    "residuals of other bands": (
        banded(release_residual=packed(np.zeros(4, np.int8))),
        "residuals of a note must have rows of 3 numbers",
    ),
    "a residual of no base64": (bare(residual="?"), "compressed bytes in base64"),
    "a residual that is not compressed": (bare(residual="AAAA"), "compressed bytes in base64"),
    "a residual that grows": (bare(residual=TOO_MANY), "more than 32768 numbers"),
    "a mode of no frequency": (gestures(note(modes=[[0.0, 0, 0.5]])), "modes.0.0"),
    "a mode with more than its band's noise": (gestures(note(modes=[[2.7, 0, 1.5]])), "modes.0.2"),
    "too many modes": (gestures(note(modes=[[2.7, 0, 0.5]] * 65)), "at most 64 items"),
    "a harmonic that the model lacks": (gestures(note(modes=[[2.7, 3, 0.5]])), "one of 0 harmonics each"),
    "one band": (gestures(bands_hz=[100.0]), "bands_hz must be two or more numbers that rise"),
    "bands that fall": (gestures(bands_hz=[100.0, 50.0]), "bands_hz must be two or more numbers that rise"),
    "takes of other bands": (
        gestures(
            instruments=[{"label": "a", "home": [0.5, 0.5], "takes": packed(np.zeros(4, np.int8)), "notes": [note()]}],
            bands_hz=[100.0, 200.0],
        ),
        "takes of 'a' must have rows of 3 numbers",
    ),
    "no JSON": ("{", "are not JSON"),
    "a list": ("[]", "are not valid"),
    "newer": (gestures() | {"format": 3}, "format 3, newer than this timbrel reads (2)"),
    "no notes": (gestures(instruments=[]), "instruments"),
    "a level too few": (bare(levels=[0.0]), "levels of a note must have 4 points"),
    "a level too many": (bare(levels=[0.0] * 5), "levels of a note must have 4 points"),
    "points of unequal widths": (bare(codes=[[0.0, 0.0], [0.0]]), "its points must have equally many numbers"),
    "codes of another width": (bare(codes=[[0.0], [0.0]]), "must have 2 numbers, one a direction"),
    "a release without codes": (bare(release_codes=[]), "release_codes of a note must have 2 points"),
    "another code": (bare(code=[0.5]), "code of a note must have 2 numbers"),
    "no number": (json.dumps(gestures()).replace("-40.0", "NaN"), "finite"),
    "loud beyond all": (bare(levels=[500.0, 0.0, 0.0, 0.0]), "less than or equal to 60"),
    "a grid that goes back": (gestures(grid=GRID | {"levels": [0.0, 0.2, 0.1, 0.5]}), "must begin with 0 and rise"),
    "a grid that stands": (gestures(grid=GRID | {"levels": [0.0, 0.1, 0.1, 0.5]}), "must begin with 0 and rise"),
    "lengths of releases whose velocities fall": (
        gestures(
            instruments=[
                {"label": "", "home": [0.5, 0.5], "notes": [note()], "release_lengths": [[112, 1.0], [64, 0.5]]}
            ]
        ),
        "velocities must rise from pair to pair",
    ),
    "a wander too short": (gestures(wander=WANDER | {"codes": [0.0]}), "wander must have 2 numbers"),
    "directions of other latents": (
        gestures(
            note(code=[0.0] * 3),
            directions=[[1.0, 0.0, 0.0], [0.0, 1.0, 0.0]],
            instruments=[{"label": "", "home": [0.0] * 3, "notes": [note(code=[0.0] * 3)]}],
        ),
        "of a model with 3 latents",
    ),
}


@pytest.mark.parametrize("name", ["vibrato", "loudness"])
def test_movement_of_pitch_and_level_has_at_most_so_many_moments(name):
    card = Model(MODELS / "gm-partials-8.onnx").card
    card = card.model_copy(update={"latents": card.latents[:2]})
    for count in (256, 257):
        fields = json.dumps(gestures(note(**{name: packed(np.arange(count).astype(np.int8))})))
        if count == 256:
            [found] = read_gestures(fields, card, "a.onnx").instruments[0].notes
            assert getattr(found, name)[5] == 5
        else:
            with pytest.raises(UserError, match=f"{name} of a note must have 256 points at most"):
                read_gestures(fields, card, "a.onnx")


def test_two_modes_do_not_replace_one_harmonic():
    card = Model(MODELS / "gm-partials-8.onnx").card
    card = card.model_copy(update={"latents": card.latents[:2]})
    bad = json.dumps(gestures(note(modes=[[2.1, 2, 0.0], [2.2, 2, 0.0]])))
    with pytest.raises(UserError, match="must replace one of 160 harmonics each"):
        read_gestures(bad, card, "a.onnx")
    good = json.dumps(gestures(note(modes=[[2.1, 2, 0.0], [3.2, 160, 0.0], [0.6, 0, 0.5], [0.7, 0, 0.5]])))
    assert len(read_gestures(good, card, "a.onnx").instruments[0].notes[0].modes) == 4


@pytest.mark.parametrize(("fields", "words"), BROKEN.values(), ids=BROKEN)
def test_broken_gestures_are_refused_in_a_line(tiny_path, tmp_path, fields, words):
    with pytest.raises(UserError) as caught:
        with_gestures(tiny_path(), tmp_path / "a.onnx", fields)
    message = str(caught.value)
    assert words in message
    assert GESTURE_KEY in message
    assert "\n" not in message
    assert len(message) - len(str(tmp_path)) < 500


def test_gestures_of_a_model_whose_keys_choose_no_note_are_refused(tiny_path, tmp_path):
    with pytest.raises(UserError, match="keys that choose the note"):
        with_gestures(tiny_path(chroma=False), tmp_path / "a.onnx", gestures())


@pytest.mark.parametrize(("name", "keys"), [("salamander-piano", 30), ("gm-partials-9", 57)])
def test_shipped_instruments_have_a_note_for_each_recorded_key(name, keys):
    """The piano has every third key from A0 on; FluidR3's basses end at C6, others have up to 73 keys."""
    instruments = Model(MODELS / f"{name}.onnx").gestures.instruments
    counts = [len({*np.rint(instrument.in_tune).astype(int).tolist()}) for instrument in instruments]
    assert min(counts) == keys
    lowest = min(np.rint(instrument.in_tune).min() for instrument in instruments)
    assert lowest == (21 if name == "salamander-piano" else 28)
