"""Channels that have a preset to themselves."""

import pytest
from timbrel.host.events import Clock, ControlChange, NoteOn, ProgramChange
from timbrel.host.live import audio_process
from timbrel.host.live import session as play
from timbrel.host.live.audio_process import HeardInputs
from timbrel.host.midi.ports import Timed
from timbrel.host.preset.library import LiveOptions, read_controller
from timbrel.host.session.channel_presets import ChannelPresets, by_channel
from timbrel.host.session.meters import Meters

from .serving import soften


def test_a_program_change_replaces_the_preset_of_its_channel_and_its_file_is_watched(served, presets, tmp_path):
    first, second = presets
    third = tmp_path / "c.toml"
    third.write_text(first.read_text(encoding="utf-8"), encoding="utf-8")
    with served(first, {4: str(second)}) as playing:
        playing.choose(third, channel=4)
        assert playing.told() == ["preset 'c' is loaded"]
        assert playing.names() == {None: str(first), 4: str(third)}
        assert playing.loop.replaced == {4}
        soften(second)
        assert playing.at_rest()
        soften(third)
        assert playing.told() == ["preset 'c' is loaded"]
        soften(first)
        assert playing.told() == ["preset 'a' is loaded"]
        assert playing.loop.replaced == set(range(16)) - {4}
        playing.choose(second, channel=5)
        assert playing.told() == ["preset 'b' is loaded"]
        assert playing.names() == {None: str(second), 4: str(third)}


def test_banks_are_selected_for_each_preset_by_itself():
    playing = ChannelPresets(LiveOptions(), [str(number) for number in range(300)])
    playing.patches = {None: None, 4: None}
    select = [ControlChange(0, 4, 0, 0), ControlChange(0, 4, 32, 1), ControlChange(0, 0, 32, 2)]
    events = [*select, ProgramChange(0, 4, 3), ProgramChange(0, 7, 5), ProgramChange(0, 0, 127)]
    wanted, lines = playing.requested(events)
    assert wanted == {4: "131", None: "261"}
    assert lines == ["program 384 asked for, but the set has 300"]
    assert playing.requested([ProgramChange(0, 4, 0)]) == ({4: "128"}, [])


@pytest.mark.parametrize(("others", "place"), [((), 0), ((3,), 0), ((0,), 1), ((0, 1, 3), 2)])
def test_the_preset_of_all_channels_has_one_in_the_rack_that_no_other_has(make_patch, others, place):
    playing = ChannelPresets(LiveOptions(), ())
    patches = {None: make_patch(), **{slot: make_patch() for slot in others}}
    playing.activate(dict.fromkeys(patches, "any"), patches)
    assert playing.first_channel == place
    assert [playing.patch_of(channel) for channel in (*others, 9)] == [
        *((slot, patches[slot]) for slot in others),
        (place, patches[None]),
    ]


def test_where_every_channel_has_its_own_preset_that_of_all_plays_none(make_patch):
    patches = {None: make_patch(), **{channel: make_patch() for channel in range(16)}}
    assert list(by_channel(patches)) == list(range(16))
    audio_process._rack(patches, 22050, None)


def test_what_comes_on_a_channel_that_is_not_heard_is_left_out(presets):
    events = [NoteOn(0, 9, 60, 100), NoteOn(0, 3, 60, 100), Clock(0, "tick")]

    class Source:
        def poll(self):
            return [Timed(0.0, event) for event in events]

    assert [timed.event for timed in HeardInputs(Source(), (9,), Meters(0)).poll()] == events[1:]


def test_the_command_line_sets_up_channels_and_a_controllers_knobs(presets, timbrel, monkeypatch, tmp_path):
    setups = []
    for name in ("a.toml", "b.toml"):
        (tmp_path / name).write_text('format = 1\nmodel = "gm-chroma-8"\n', encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(play, "play", lambda setup, *rest: setups.append(setup))
    options = [part for option in ("2=gm-keys", "10=none", "16=b.toml") for part in ("--channel", option)]
    assert timbrel("play", "a.toml", "--null", "--controller", "nanokontrol2", *options).status == 0
    [setup] = setups
    assert (setup.preset, setup.channels, setup.silent) == ("a.toml", ((1, "gm-keys"), (15, "b.toml")), (9,))
    assert setup.controller == read_controller("nanokontrol2")
