"""The target of the stereo image: presets of stereo models have it, others are refused in a line that says why."""

import pytest
from timbrel.host.errors import UserError
from timbrel.host.preset.learn import learn
from timbrel.host.preset.library import Patch, open_patch
from timbrel.host.preset.modulation import modulations
from timbrel.host.preset.preset import Preset
from timbrel.host.preset.validation import faults, ranges

STEREO = [[3.0, 0.5]] * 32
TABLES = {
    "cc": [{"number": 20, "target": "image"}],
    "macro": [{"name": "sides", "targets": [{"target": "image", "low": -1.0, "high": 1.0}]}],
    "snapshot": [{"slot": 1, "values": {"image": 0.5}}],
}
WHERE = {"cc": "[[cc]] 1, CC 20 to 'image'", "macro": "[[macro]] 1, 'sides' to 'image'", "snapshot": "[[snapshot]] 1"}


def complaints(model, image, **tables):
    card = model.card.model_copy(update={"image": image})
    preset = Preset.model_validate({"format": 1, "model": "m"} | tables)
    return [fault.message for fault in faults(preset, card, {})]


@pytest.fixture(scope="module")
def model():
    return open_patch("gm-chroma-8").model


@pytest.mark.parametrize("table", TABLES)
def test_presets_of_stereo_models_have_the_image_as_a_target_and_those_of_mono_ones_say_why_not(model, table):
    tables = {table: TABLES[table]}
    assert complaints(model, STEREO, **tables) == []
    [complaint] = complaints(model, None, **tables)
    assert complaint == f"{WHERE[table]}: target 'image': model 'gm-chroma-8' has no stereo image; remove it"
    for phase in ("noise", "best"):
        [complaint] = complaints(model, STEREO, **tables, play={"phase": phase})
        assert (
            complaint == f"{WHERE[table]}: target 'image': play.phase {phase!r} plays no stereo image; set 'coherent'"
        )


def test_the_image_goes_from_mono_to_twice_as_recorded(model):
    preset = Preset.model_validate({"format": 1, "model": "m"})
    assert ranges(preset, model.card.model_copy(update={"image": STEREO}))["image"] == (0.0, 2.0)
    assert "image" not in ranges(preset, model.card)
    wide = [{"number": 20, "target": "image", "low": 0.0, "high": 2.5}]
    assert complaints(model, STEREO, cc=wide) == ["[[cc]] 1, CC 20 to 'image': high = 2.5 is out of range [0, 2]"]
    beyond = [{"slot": 1, "values": {"image": 2.5}}]
    assert complaints(model, STEREO, snapshot=beyond) == ["[[snapshot]] 1: image = 2.5 is out of range [0, 2]"]


def test_learn_binds_the_image_of_a_stereo_preset_alone(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match="model 'gm-partials-8' has no stereo image; remove it"):
        learn("gm-keys", "image", [], print)
    with pytest.raises(UserError, match="does not exist; did you mean 'image'"):
        learn("grand-piano", "imge", [], print)


def test_a_macro_of_the_image_is_shown_as_its_modulation(model):
    preset = Preset.model_validate({"format": 1, "model": "m", "macro": TABLES["macro"]})
    [modulation] = modulations(Patch("it", preset, model, model.path.parent))["image"]
    assert (modulation.name, modulation.way, modulation.low, modulation.high) == ("sides", "adds", -1.0, 1.0)


def test_shipped_presets_that_sound_in_stereo_have_the_image_as_their_sixth_knob():
    for name in ("grand-piano", "reed-organ", "string-ensemble", "mixed-choir", "warm-pad", "electric-piano"):
        maps = open_patch(name).preset.cc
        targets = list(dict.fromkeys(entry.target for entry in maps))
        assert targets[:6] == [
            *("latent.0", "latent.1", "envelope.attack_seconds", "gesture.vibrato", "gesture.variety", "image")
        ]
        assert [entry.number for entry in maps if entry.target == "image"] == [76]
        assert len({entry.number for entry in maps}) == len(maps)
