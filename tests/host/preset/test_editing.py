"""Edits of a preset's text: what else it says, and its comments, stay."""

import copy
import tomllib

import pytest
from timbrel.host.errors import UserError
from timbrel.host.preset import text as editing
from timbrel.host.preset.shipped import shipped_presets

TEXT = """\
# my pad
format = 1
model = "tiny.onnx" # beside it
knobs = [20, 21, 22] # the left half

[latent]
values = [ # dark
    0.25,
    0.75, # open
    0.5,
]

# the hall
[[effects]]
plugin = "Reverb" # large
room_size = 0.4

[[cc]] # first
number = 7
target = "effects.0.room_size"

[[effects]]
# wobbles
plugin = "Chorus"
mix = 0.5
# less is more

[[macro]]
name = "space"
targets = [
    { target = "effects.1.mix", low = 0.0, high = 0.5 }, # wet
    { target = "latent.0", low = -0.1, high = 0.1 },
]

[[motion]]
target = "latent.1"
depth = 0.1
beats = 4.0

[[motion]] # about
[motion.walk]
speed = 0.1
bound = 1.0

[play]
voices = 4
"""
COMMENTS = [line.partition("#")[2] for line in TEXT.splitlines() if "#" in line]
INLINE = 'format = 1\nmodel = "m"\neffects = [{ plugin = "Reverb" }, { plugin = "Chorus", mix = 0.5 }]  # two\n'


def read(text):
    return tomllib.loads(text)


@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_values_are_set_where_they_stand_and_where_their_table_is_missing(end):
    text = TEXT.replace("\n", end)
    values = {
        ("latent", "values", 1): 0.125,
        ("effects", 0, "room_size"): 0.5,
        ("effects", 1, "depth"): 0.25,
        ("play", "gain_db"): -3.0,
        ("envelope", "sustain"): 0.5,
    }
    edited = editing.with_values(text, values, [0.0] * 3)
    wanted = read(text)
    wanted["latent"]["values"][1] = 0.125
    wanted["effects"][0]["room_size"] = 0.5
    wanted["effects"][1]["depth"] = 0.25
    wanted["play"]["gain_db"] = -3.0
    wanted["envelope"] = {"sustain": 0.5}
    assert read(edited) == wanted
    assert [comment for comment in COMMENTS if comment not in edited] == []
    assert ("\r\n" in edited) == (end == "\r\n")


def test_a_code_that_the_preset_leaves_to_the_model_is_written_whole():
    edited = editing.with_values('format = 1\nmodel = "m"\n', {("latent", "values", 1): 0.5}, [0.1, 0.2, 0.3])
    assert read(edited)["latent"] == {"values": [0.1, 0.5, 0.3]}


@pytest.mark.parametrize("text", [TEXT, INLINE])
def test_an_effect_that_moves_takes_its_maps_and_macros_with_it(text):
    edited = editing.with_effect_moved(text, 0, 1)
    before, after = read(text), read(edited)
    assert after["effects"] == before["effects"][::-1]
    if text is TEXT:
        assert after["cc"][0]["target"] == "effects.1.room_size"
        assert [entry["target"] for entry in after["macro"][0]["targets"]] == ["effects.0.mix", "latent.0"]
        assert [comment for comment in COMMENTS if comment not in edited] == []
    assert read(editing.with_effect_moved(edited, 1, 0)) == before


def test_an_effect_that_goes_takes_what_moved_it_along_and_the_others_are_renumbered():
    edited = read(editing.without_effect(TEXT, 0))
    assert [effect["plugin"] for effect in edited["effects"]] == ["Chorus"]
    assert edited.get("cc") is None
    assert edited["macro"][0]["targets"][0]["target"] == "effects.0.mix"
    edited = read(editing.without_effect(TEXT, 1))
    assert [entry["target"] for entry in edited["macro"][0]["targets"]] == ["latent.0"]
    assert read(editing.without_effect(INLINE, 0))["effects"] == [{"plugin": "Chorus", "mix": 0.5}]


def test_an_effect_that_alone_is_moved_by_a_macro_stays():
    text = TEXT.replace('    { target = "latent.0", low = -0.1, high = 0.1 },\n', "")
    with pytest.raises(UserError, match="'space' moves nothing but this effect"):
        editing.without_effect(text, 1)


@pytest.mark.parametrize("text", [TEXT, INLINE, 'format = 1\nmodel = "m"\n'])
def test_an_effect_that_is_added_and_passed_by_is_the_last(text):
    count = len(read(text).get("effects", []))
    edited = editing.with_effect_on(editing.with_effect(text, "Delay"), count, enabled=False)
    assert read(edited)["effects"][count] == {"plugin": "Delay", "on": False}
    assert read(editing.without_effect(edited, count)) == read(text)


def test_a_path_takes_the_place_of_what_moved_all_latents_and_of_nothing_else():
    path = {"path": [[0.0, 0.5, 1.0], [1.0, 0.5, 0.0]], "times": [0.0, 2.0, 4.0], "loop": True}
    edited = editing.with_path(TEXT, path)
    assert read(edited)["motion"] == [read(TEXT)["motion"][0], path]
    assert read(editing.with_path(edited, None))["motion"] == read(TEXT)["motion"][:1]
    assert read(editing.with_path(TEXT, None))["play"] == {"voices": 4}


def test_a_knob_in_the_middle_of_the_presets_list_goes_and_those_behind_it_become_maps():
    edited = read(editing.without_maps(TEXT, "latent.1"))
    assert edited["knobs"] == [20]
    assert edited["cc"][1:] == [{"number": 22, "target": "latent.2"}]
    assert read(editing.without_maps(TEXT, "latent.2"))["knobs"] == [20, 21]
    assert read(editing.without_maps(TEXT, "gain")) == read(TEXT)


@pytest.mark.parametrize("name", shipped_presets())
def test_what_ships_can_be_edited_and_only_that_changes(name):
    text = shipped_presets()[name].read_text()
    wanted = copy.deepcopy(read(text))
    edited = editing.with_effect(text, "Reverb")
    wanted.setdefault("effects", []).append({"plugin": "Reverb"})
    edited = editing.with_values(edited, {("play", "pan"): 0.5, ("envelope", "sustain"): 0.25}, [])
    wanted.setdefault("play", {})["pan"] = 0.5
    wanted.setdefault("envelope", {})["sustain"] = 0.25
    assert read(edited) == wanted
    lines = edited.splitlines()
    assert all(line in lines for line in text.splitlines() if line.startswith("#"))


def test_other_words_take_the_place_of_values_alone():
    text = 'description = "tiny.onnx"\n' + TEXT.replace('"Reverb"', '"tiny.onnx"')
    assert editing.words_in(text) > {"tiny.onnx"}
    edited = editing.with_words(text, {"tiny.onnx": "other.onnx", "# large": "small"})
    assert edited == text.replace('model = "tiny', 'model = "other').replace('plugin = "tiny', 'plugin = "other')
    assert editing.words_in(edited) == editing.words_in(text) - {"tiny.onnx"} | {"other.onnx"}
