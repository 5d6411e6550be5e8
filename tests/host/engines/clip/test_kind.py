"""What cards and presets may say of clips, and what they are told where they may not."""

import pytest
from pydantic import ValidationError
from timbrel.host.errors import UserError
from timbrel.host.kinds.clip import CONTROLS, Hit, hits
from timbrel.host.kinds.general_midi_drums import DRUMS, drum_key
from timbrel.host.model.card import Card, read_card
from timbrel.host.model.model import describe
from timbrel.host.preset.loading import read_preset
from timbrel.host.preset.preset import Preset
from timbrel.host.preset.validation import check, faults, ranges

from ...clips import LATENTS, clip_card

MAGNITUDES = {"domain": "magnitude", "window": "hann", "transform_length": 256, "hop_length": 50}
LABELS = ("seven", "eight")


def card(**changes):
    return Card.model_validate(clip_card(**changes))


def preset(**keys):
    return Preset.model_validate({"format": 1, "model": "clips", **keys})


@pytest.mark.parametrize(
    "fits",
    [
        {},
        {"labels": LABELS},
        MAGNITUDES,
        MAGNITUDES | {"envelope_points": 80},
        MAGNITUDES | {"labels": LABELS, "transform_length": 200},
        MAGNITUDES | {"length": 1 << 17, "hop_length": 64, "envelope_points": 1 << 16},
    ],
)
def test_a_card_of_clips_is_read(fits):
    made = card(**fits)
    assert made.frame_width == (made.frame_length if made.domain == "samples" else made.frame_width)
    assert read_card(made.model_dump_json(), "it") == made


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"domain": "real_imag"}, "domain 'real_imag' does not go with kind 'clip'"),
        ({"chroma": {"trained": [0], "octave": 4}}, "chroma must be null with kind 'clip'"),
        ({"transform_length": 256}, "transform_length does not go with clips of samples"),
        ({"hop_length": 100}, "hop_length 100 of a clip of samples must be its length"),
        ({"window": "hann"}, "window 'hann' does not go with clips of samples"),
        ({"envelope_points": 16}, "envelope_points do not go with kind 'clip' and domain 'samples'"),
        (MAGNITUDES | {"transform_length": None}, "transform_length None of a clip of magnitudes must be even"),
        (MAGNITUDES | {"transform_length": 257}, "transform_length 257 of a clip of magnitudes must be even"),
        (MAGNITUDES | {"transform_length": 198}, "4 times hop_length 50 or more"),
        (MAGNITUDES | {"hop_length": 60}, "frame_length 4000 of a clip must be a multiple of hop_length 60"),
        (MAGNITUDES | {"window": "blackman"}, "window 'blackman' does not go with clips of magnitudes"),
        (MAGNITUDES | {"envelope_points": 30}, "envelope_points 30 of a clip must divide frame_length 4000"),
        ({"state": [{"name": "h", "shape": [4]}]}, "state and scaling do not go with kind 'clip'"),
    ],
)
def test_a_card_that_contradicts_its_kind_is_refused(changes, expected):
    with pytest.raises(ValidationError) as refused:
        card(**changes)
    assert expected in str(refused.value)


def test_people_are_told_what_clips_are():
    told = describe(card(labels=LABELS), 1000)
    assert "clip, 16000 Hz" in told
    assert "4000 samples (0.25 s) as samples" in told
    assert "seven, eight" in told
    assert "keys move the clip in pitch" in told
    assert "of 81 spectra of 129 magnitudes, 3.1 ms apart, under an envelope of 80 points" in describe(
        card(**MAGNITUDES, envelope_points=80), 1000
    )


def test_drums_are_those_of_general_midi():
    """The ends and the middle of the table in the General MIDI level 1 specification."""
    assert (min(DRUMS), max(DRUMS), len(set(DRUMS.values()))) == (35, 81, 47)
    for name, key in {"Acoustic Bass Drum": 35, "bass drum 1": 36, "ACOUSTIC SNARE": 38, "Closed Hi-Hat": 42}.items():
        assert drum_key(name) == key
    for name, key in {"Cowbell": 56, "Low Agogo": 68, " Open  Triangle": 81, "Splash Cymbal": 55, "Cabasa": 69}.items():
        assert drum_key(name) == key


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('[[keys]]\nkey = "Bas Drum 1"\ncode = [0, 0]', "did you mean 'Bass Drum 1'?"),
        ('[[keys]]\nkey = "Gong"\ncode = [0, 0]', "is no drum of General MIDI"),
        ('[[keys]]\nkey = "36"\ncode = [0, 0]', "a number has no quotes: 36"),
        ("[[keys]]\nkey = 128\ncode = [0, 0]", "[[keys]] 1: key = 128 should be less than or equal to 127"),
        ("[[keys]]\nkey = 36", "[[keys]] 1: key 36 has no clip; give it a recording, a code or a label"),
        ("[keys]\nkey = 36", "[keys] is one of several: write [[keys]]"),
        ('[[keys]]\nkey = 36\ncode = [0]\n[[keys]]\nkey = "bass drum 1"\ncode = [1]', "key 36 is in [[keys]] 1 too"),
        ("[[keys]]\nkey = 36\nlable = 'one'", "[[keys]] 1: unknown key 'lable'; did you mean 'label'?"),
        ("[clip]\nloop = true\ntrigger = 'one-shot'", "clip: trigger 'one-shot' and loop, which would never end"),
        ("[clip]\nloop_start = 0.5", "clip: loop_start without loop; add loop = true"),
        ("[clip]\nstart = 1.5", "clip.start = 1.5 should be less than or equal to 0.99"),
        ("[clip]\nloop = true\ncrossfade_seconds = 20", "in seconds; 20 ms are 0.02"),
        ("[clip]\ntrigger = 'shot'", "clip.trigger = 'shot' should be 'one-shot' or 'gated'"),
    ],
)
def test_a_preset_that_contradicts_itself_is_told_in_a_line_with_its_place(tmp_path, text, expected):
    path = tmp_path / "p.toml"
    path.write_text(f'format = 1\nmodel = "m"\n{text}\n', encoding="utf-8")
    with pytest.raises(UserError) as refused:
        read_preset(path)
    assert len(refused.value.args) == 1
    assert expected in refused.value.args[0]
    assert ", line " in refused.value.args[0]


KEY = {"key": 36, "code": [0.0] * LATENTS}


@pytest.mark.parametrize(
    ("keys", "labels", "expected"),
    [
        (
            {"clip": {"label": "seven"}},
            (),
            "clip.label 'seven' is no label of model 'clips', which has none; remove it",
        ),
        ({"clip": {"label": "sevn"}}, LABELS, "clip.label 'sevn' is no label of model 'clips'; did you mean 'seven'?"),
        (
            {"clip": {"trigger": "one-shot"}, "play": {"mode": "mono"}},
            (),
            "clip.trigger 'one-shot' is for play.mode 'poly'",
        ),
        ({"keys": [KEY], "play": {"mode": "mono"}}, (), "play.mode 'mono' has one voice for all keys, and [[keys]]"),
        ({"keys": [KEY], "tuning": {"a4_hz": 442}}, (), "[tuning] says what keys sound, and so do [[keys]]"),
        ({"keys": [KEY | {"code": [0.0]}]}, (), "[[keys]] 1: code has 1 numbers, model 'clips' has 2 latents; give 2"),
        ({"keys": [{"key": 36, "label": "tow"}]}, (), "label 'tow' is no label or landmark of model 'clips'; did you"),
        ({"keys": [KEY | {"label": "two"}]}, (), "label 'two' of a landmark and code, which both say the code"),
        ({"cc": [{"number": 20, "target": "clip.label"}]}, (), "target 'clip.label' does not exist"),
        ({"cc": [{"number": 20, "target": "clip.loop_start"}]}, (), "target 'clip.loop_start' does not exist"),
        ({"grain": {}}, (), "[grain] is for models of kind 'grain', 'clips' is of kind 'clip'; remove [grain]"),
        ({"play": {"unison": 3}}, (), "remove it ([clip] has what clips can do)"),
    ],
)
def test_a_preset_that_does_not_fit_its_model_is_told_in_a_line(keys, labels, expected):
    found = [fault.message for fault in faults(preset(**keys), card(labels=labels), {})]
    assert len(found) == 1
    assert expected in found[0]


@pytest.mark.parametrize("keys", [{"clip": {}}, {"keys": [KEY]}])
def test_the_tables_of_clips_are_refused_with_other_kinds(analytic, keys):
    other = Card.model_validate(analytic(LATENTS, chroma=False).card())
    (fault,) = faults(preset(**keys), other, {})
    (name,) = keys
    table = f"[[{name}]]" if name == "keys" else f"[{name}]"
    assert f"{table} is for models of kind 'clip', 'analytic' is of kind 'spectrum'; remove {table}" in fault.message


def test_a_key_s_clip_is_that_of_its_code_its_landmark_or_its_label():
    entries = [
        {"key": 36, "code": [0.5, 0.25]},
        {"key": 38, "label": "two"},
        {"key": 40, "label": "eight"},
        {"key": 41, "label": "eight", "code": [1.0, 1.0]},
    ]
    kit = preset(keys=entries)
    labelled = card(labels=LABELS)
    check(kit, labelled, {})
    assert hits(kit.keys, labelled) == {
        36: [Hit((0.5, 0.25), None)],
        38: [Hit((0.0, -1.0), None)],
        40: [Hit(None, 1)],
        41: [Hit((1.0, 1.0), 1)],
    }


def test_what_knobs_can_turn_depends_on_loops_and_labels():
    plain = {name for name in ranges(preset(), card()) if name.startswith("clip.")}
    assert plain == {"clip.start", "clip.length", "clip.pitch", "clip.reverse"}
    looped = ranges(preset(clip={"loop": True}), card(labels=LABELS))
    assert {name for name in looped if name.startswith("clip.")} == {*CONTROLS, "clip.label"}
    assert looped["clip.label"] == (0.0, 1.0)


def test_true_and_false_are_what_they_say(tmp_path):
    path = tmp_path / "p.toml"
    path.write_text('format = 1\nmodel = "m"\n[clip]\nreverse = true\nloop = true\n', encoding="utf-8")
    read = read_preset(path).clip
    assert (read.reverse, read.loop) == (1.0, True)
    path.write_text('format = 1\nmodel = "m"\n[clip]\nreverse = "1"\n', encoding="utf-8")
    with pytest.raises(UserError, match=r"clip\.reverse = '1' should be a valid number"):
        read_preset(path)
