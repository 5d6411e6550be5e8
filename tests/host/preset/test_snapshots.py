"""[[snapshot]] tables: each fault is one line, and edits of the text keep them right."""

import tomllib

import pytest
from timbrel.host.errors import UserError
from timbrel.host.preset import text as editing
from timbrel.host.preset.library import open_patch
from timbrel.host.preset.preset import Preset
from timbrel.host.preset.shipped import shipped_presets

HEAD = 'format = 1\nmodel = "gm-chroma-8"\n'


def snapshot(slot, values):
    return f"\n[[snapshot]]\nslot = {slot}\nvalues = {{{values}}}\n"


@pytest.fixture
def opened(tmp_path):
    def write(text, head=HEAD):
        (tmp_path / "mine.toml").write_text(head + text)
        return open_patch(str(tmp_path / "mine.toml"))

    return write


@pytest.mark.parametrize(
    ("text", "line"),
    [
        (snapshot(1, '"envelope.atack_seconds" = 1'), "line 6: [[snapshot]] 1: target 'envelope.atack_seconds' does"),
        (snapshot(1, '"pan" = 1.5'), "line 6: [[snapshot]] 1: pan = 1.5 is out of range [-1, 1]"),
        (snapshot(1, '"pan" = "left"'), "line 6: [[snapshot]] 1: pan = 'left' must be a number"),
        (snapshot(1, '"morph" = 0.5'), "line 6: [[snapshot]] 1: target 'morph' does not exist"),
        (snapshot(1, '"pan" = nan'), "line 6: [[snapshot]] 1: values.pan: a value of nan is not finite"),
        (snapshot(1, '"pan" = [1]'), "line 6: [[snapshot]] 1: values.pan: a value must be a number"),
        (snapshot(1, ""), "[[snapshot]] 1: values: empty; add the value"),
        (snapshot(9, '"pan" = 1'), "line 5: [[snapshot]] 1: slot = 9"),
        (
            snapshot(2, '"pan" = 1') + snapshot(2, '"pan" = 0'),
            "line 9: [[snapshot]] 2: slot: two snapshots are in slot 2",
        ),
    ],
)
def test_a_fault_is_one_line_with_its_place(opened, text, line):
    with pytest.raises(UserError) as caught:
        opened(text)
    assert len(caught.value.args) == 1
    assert line in str(caught.value)


def test_a_choice_is_stored_by_its_name(opened):
    head = shipped_presets()["digits-keys"].read_text()
    labels = open_patch("digits-keys").model.card.labels
    assert opened(snapshot(1, f'"clip.label" = "{labels[1]}"'), head).preset.snapshot[0].values == {
        "clip.label": labels[1]
    }
    with pytest.raises(UserError, match="'nobody' is none of its choices"):
        opened(snapshot(1, '"clip.label" = "nobody"'), head)


def test_snapshots_change_no_sound_and_are_written_as_they_were_read(opened):
    bare, patch = opened(""), opened(snapshot(3, '"pan" = 0.5, "latent.0" = 0.25'))
    assert patch.digest == bare.digest
    assert Preset.model_validate(tomllib.loads(patch.preset.to_toml())).snapshot == patch.preset.snapshot


EFFECTS = '[[effects]]\nplugin = "Chorus"\n\n[[effects]]\nplugin = "Reverb"\n'


@pytest.mark.parametrize("subtable", [False, True])
def test_snapshots_follow_effects_that_move_or_go(subtable):
    written = snapshot(1, '"effects.0.mix" = 0.25, "effects.1.room_size" = 0.5, "pan" = 0.5')
    if subtable:
        written = written.replace("values = {", "[snapshot.values]\n").replace(", ", "\n").replace("}", "")
    text = HEAD + EFFECTS + written + snapshot(2, '"effects.0.mix" = 0.5')
    swapped = tomllib.loads(editing.with_effect_moved(text, 0, 1))
    assert {one["slot"]: one["values"] for one in swapped["snapshot"]} == {
        1: {"effects.1.mix": 0.25, "effects.0.room_size": 0.5, "pan": 0.5},
        2: {"effects.1.mix": 0.5},
    }
    without = tomllib.loads(editing.without_effect(text, 0))
    assert [one["values"] for one in without["snapshot"]] == [{"effects.0.room_size": 0.5, "pan": 0.5}]


def test_a_slot_is_stored_anew_and_cleared_beside_comments():
    text = HEAD + "# mine\n"
    stored = editing.with_snapshot(text, 2, {"latent.0": 0.5, "clip.label": "a b"})
    assert tomllib.loads(stored)["snapshot"] == [{"slot": 2, "values": {"latent.0": 0.5, "clip.label": "a b"}}]
    anew = editing.with_snapshot(stored, 2, {"pan": 0.0})
    assert tomllib.loads(anew)["snapshot"] == [{"slot": 2, "values": {"pan": 0.0}}]
    assert "# mine" in anew
    assert tomllib.loads(editing.with_snapshot(anew, 2, None)) == tomllib.loads(text)


def test_a_snapshot_may_hold_a_latent_beyond_its_training_range(opened):
    assert opened(snapshot(1, '"latent.0" = 99.0')).preset.snapshot[0].values == {"latent.0": 99.0}
