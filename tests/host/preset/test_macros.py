"""[[macro]] tables: what is wrong with them is one line that says what to do; models bring their own."""

import pytest
from timbrel.host.errors import UserError
from timbrel.host.preset.library import default_macros, macro_knobs, open_patch
from timbrel.host.preset.loading import read_preset
from timbrel.host.preset.preset import Preset
from timbrel.host.preset.validation import names_by_target, titled

HEAD = 'format = 1\nmodel = "gm-chroma-2"\n'
GOOD = '[[macro]]\nname = "wide"\ntargets = [{ target = "latent.0", low = -0.3, high = 0.3 }]\n'


def refused(tmp_path, text):
    path = tmp_path / "my.toml"
    path.write_text(HEAD + text)
    with pytest.raises(UserError) as error:
        open_patch(str(path))
    return [line.removeprefix(f"preset {path}") for line in error.value.args]


def test_a_macro_rests_in_its_middle_and_a_map_of_it_spans_its_whole_way(tmp_path):
    path = tmp_path / "my.toml"
    path.write_text(HEAD + GOOD + '[[cc]]\nnumber = 16\ntarget = "macro.0"\n')
    patch = open_patch(str(path))
    assert patch.preset.macro[0].value == 0.5
    assert patch.preset.cc[-1].ends == (0.0, 1.0)


@pytest.mark.parametrize(
    ("text", "line"),
    [
        (
            GOOD.replace("latent.0", "latent.9"),
            ", line 5: [[macro]] 1, 'wide' to 'latent.9': target 'latent.9' does not",
        ),
        (GOOD.replace("latent.0", "morph"), ", line 5: [[macro]] 1, 'wide' to 'morph': the preset has no [morph]"),
        (GOOD.replace("latent.0", "macro.0"), ", line 5: [[macro]] 1, 'wide' to 'macro.0': a macro moves no macro"),
        (GOOD + GOOD, ", line 7: [[macro]] 2: name: two macros are named 'wide'; give each its own name"),
        (
            GOOD.replace(" }]", " }, { target = 'latent.0', low = 0, high = 1 }]"),
            "number 2: 'latent.0' is moved by",
        ),
        (GOOD.replace("[{", "").replace("}]", "").replace("targets = ", "targets = []#"), "targets"),
        (GOOD + "value = 2\n", "[[macro]] 1: value = 2 should be less than or equal to 1"),
        (GOOD + "rest = 0.5\n", "[[macro]] 1: unknown key 'rest'"),
        (GOOD.replace("[[macro]]", "[macro]"), "[[macro]], with two brackets"),
        (GOOD.replace(", high = 0.3", ""), "[[macro]] 1: targets, number 1.high is missing; add it"),
        (GOOD.replace("0.3 }", "0.3, curve = 0 }"), "curve = 0 should be greater than 0"),
        ('[[cc]]\nnumber = 16\ntarget = "macro.0"\n', "target 'macro.0' does not exist"),
        (
            GOOD.replace("latent.0", "effects.0.room_size") + '[[effects]]\nplugin = "Reverb"\n',
            "it is added to what that is; set room_size in [[effects]] 1",
        ),
    ],
)
def test_what_is_wrong_is_one_line(tmp_path, text, line):
    lines = refused(tmp_path, text)
    assert len(lines) == 1
    assert line in lines[0]


def test_more_than_sixteen_macros_are_refused(tmp_path):
    tables = "".join(GOOD.replace("wide", f"wide {number}") for number in range(17))
    assert "macro" in refused(tmp_path, tables)[0]


def card_of(tiny, **changes):
    card = tiny().card
    return card.model_validate(card.model_dump() | changes)


def test_a_model_with_directions_brings_macros_and_their_knobs(tiny):
    ways = [{"name": "brighter", "latent": [0.4, -0.001]}, {"name": "rougher", "latent": [0.0, -0.2], "holds": 0.97}]
    card = card_of(tiny, directions=ways)
    brighter, rougher = default_macros(card)
    assert [(entry.target, entry.low, entry.high) for entry in brighter.targets] == [("latent.0", -0.4, 0.4)]
    assert [(entry.target, entry.low, entry.high) for entry in rougher.targets] == [("latent.1", 0.2, -0.2)]
    assert [(entry.number, entry.target) for entry in macro_knobs(card)] == [(16, "macro.0"), (17, "macro.1")]
    assert default_macros(card_of(tiny, directions=[{"name": "still", "latent": [0.0, 0.0]}])) == []


@pytest.mark.parametrize(
    ("ways", "what"),
    [
        ([{"name": "brighter", "latent": [0.4]}], "direction 'brighter' has 1 latents, the model has 2"),
        ([{"name": "a", "latent": [0.4, 0.0]}] * 2, "names that differ"),
    ],
)
def test_a_card_whose_directions_do_not_fit_is_refused(tiny, ways, what):
    with pytest.raises(ValueError, match=what):
        card_of(tiny, directions=ways)


def test_latents_and_macros_are_told_by_name_and_numbers_are_no_names(tiny):
    latents = [latent.model_dump() for latent in tiny().card.latents]
    latents[0]["name"], latents[1]["name"] = "bright\nness", "latent 1"
    card = card_of(tiny, latents=latents)
    preset = Preset.model_validate({"format": 1, "model": "m", "macro": [{"name": "wide", "targets": [
        {"target": "latent.0", "low": 0.0, "high": 1.0}]}]})  # fmt: skip
    assert names_by_target(preset, card) == {"latent.0": "bright ness", "macro.0": "wide"}
    assert titled("latent.0", preset, card) == "latent.0 (bright ness)"
    assert titled("latent.1", preset, card) == "latent.1"
    assert titled("macro.0", preset, card) == "macro.0 (wide)"


def test_a_preset_with_macros_is_written_and_read_again_with_names_as_comments(tmp_path):
    fields = {
        "format": 1,
        "model": "gm-chroma-2",
        "cc": [{"number": 70, "target": "latent.0", "low": 0.0, "high": 1.0}],
        "macro": [
            {"name": "wide", "targets": [{"target": "latent.0", "low": -0.5, "high": 0.5}]},
            {
                "name": "narrow",
                "value": 0.0,
                "targets": [{"target": "latent.1", "low": 0.0, "high": 1.0, "curve": 2.0}],
            },
        ],
    }
    preset = Preset.model_validate(fields)
    text = preset.to_toml("Mine.", {"latent.0": "brightness"})
    assert 'target = "latent.0" # brightness' in text
    assert '{target = "latent.0", low = -0.5, high = 0.5}, # brightness' in text
    path = tmp_path / "my.toml"
    path.write_text(text)
    assert read_preset(path) == preset
