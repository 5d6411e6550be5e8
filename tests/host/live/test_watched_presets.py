"""Presets and models whose files change while they play."""

from dataclasses import replace

import pytest
from timbrel.host.preset.library import LiveOptions
from timbrel.host.preset.shipped import Draft
from timbrel.host.session.channel_presets import ChannelPresets
from timbrel.host.session.messages import Load

from .serving import save, soften


def test_a_preset_that_is_saved_is_loaded_once_and_said_to_be(served, presets):
    with served(presets[0]) as playing:
        assert playing.at_rest()
        soften(presets[0])
        assert playing.told() == ["preset 'a' is loaded"]
        assert playing.at_rest()
        assert len(playing.loop.swapped) == 1


def test_a_refused_save_is_told_once_and_a_good_one_after_it_is_loaded(served, presets):
    good = presets[0].read_text(encoding="utf-8")
    with served(presets[0]) as playing:
        save(presets[0], good + "[pley]\n")
        [line] = playing.told()
        assert "unknown key 'pley'" in line
        assert line.endswith("; the preset before plays on")
        assert playing.at_rest()
        save(presets[0], good)
        assert playing.told() == ["preset 'a' is loaded"]


def test_what_the_process_before_had_yet_to_load_is_loaded(served, presets):
    with served(presets[0], loading={None: str(presets[1])}) as playing:
        assert playing.told() == ["preset 'b' is loaded"]


def test_a_draft_that_the_parent_sends_is_loaded_as_if_it_lay_in_its_folder(served, presets):
    """Its model has a relative path; the file of the preset before is watched no more."""
    draft = Draft("mine", presets[0].read_text(encoding="utf-8") + "[play]\ngain_db = -6.0\n", presets[0].parent)
    with served(presets[0]) as playing:
        playing._ours.send([Load({None: draft})])
        assert playing.told() == ["preset 'mine' is loaded"]
        assert playing.names() == {None: draft}
        assert playing.loop.swapped[0].knobs[0].at("gain") == -6.0
        soften(presets[0])
        assert playing.at_rest()
        broken = replace(draft, text=draft.text + "gain_db = 3\n")
        playing._ours.send([Load({None: broken})])
        [line] = playing.told()
        assert line.endswith("; the preset before plays on")
        assert "mine.toml" in line
        playing._ours.send([Load({None: str(presets[1])})])
        assert playing.told() == ["preset 'b' is loaded"]


def test_a_preset_that_is_being_written_is_not_read_by_halves(presets):
    """Between emptying a file and writing it, a program that saves may be kept waiting."""
    playing = ChannelPresets(LiveOptions(), ())
    names = {None: str(presets[0])}
    playing.activate(names, playing.opened(names))
    text = presets[0].read_text(encoding="utf-8")
    assert playing.edited() == {}
    for part in ("", text[:10], text + "\n"):
        presets[0].write_text(part, encoding="utf-8")
        assert playing.edited() == {}
    assert playing.edited() == names
    assert playing.edited() == {}


def test_a_preset_that_an_editor_deletes_and_writes_anew_is_waited_for(served, presets):
    with served(presets[0]) as playing:
        text = presets[0].read_text(encoding="utf-8")
        presets[0].unlink()
        assert playing.at_rest()
        save(presets[0], text)
        assert playing.told() == ["preset 'a' is loaded"]


def test_a_save_does_not_take_back_a_program_change_and_what_that_chose_is_watched(served, presets):
    first, second = presets
    with served(first) as playing:
        playing.choose(second)
        assert playing.told() == ["preset 'b' is loaded"]
        soften(first)
        assert playing.at_rest()
        soften(second)
        assert playing.told() == ["preset 'b' is loaded"]
        assert len(playing.loop.swapped) == 2


def test_a_save_just_before_a_program_change_that_is_refused_is_loaded_then(served, presets, tmp_path):
    with served(presets[0]) as playing:
        soften(presets[0])
        playing.choose(tmp_path / "none.toml")
        told = [playing.told(), playing.told()]
        assert ["preset 'a' is loaded"] in told
        assert any("none.toml" in line for lines in told for line in lines)


@pytest.mark.parametrize("way", ["replaced", "written over"])
def test_a_model_that_is_replaced_while_it_plays_is_read_and_played(served, presets, analytic, way):
    model = presets[0].with_name("m.onnx")
    with served(presets[0]) as playing:
        other = analytic(latents=3).save(presets[0].with_name("other.onnx"))
        if way == "replaced":
            other.replace(model)
        else:
            model.write_bytes(other.read_bytes())
        while playing.told() != ["preset 'a' is loaded"]:  # it may be looked at while half of it is written
            assert playing.loop.swapped == []
        [rack] = playing.loop.swapped
        assert len(rack.latent_values(0)) == 3


def test_a_bare_model_is_played_anew_when_it_is_exported_again(served, analytic, tmp_path):
    model = analytic().save(tmp_path / "m.onnx")
    with served(model) as playing:
        analytic().save(tmp_path / "other.onnx").replace(model)
        assert playing.told() == ["preset 'm' is loaded"]
