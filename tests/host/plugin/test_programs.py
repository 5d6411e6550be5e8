"""A program change chooses a preset of the plugin's list, on its sample, as the preset parameter does."""

import numpy as np
import pytest
from timbrel.host.events import NoteOn
from timbrel.host.play.player import LOOK_SAMPLES, Player
from timbrel.host.play.rack import Rack
from timbrel.host.plugin.project import unpack
from timbrel.host.preset.library import open_patch
from timbrel.host.preset.shipped import shipped_presets

RATE = 48000
AT = 9999  # the sample of a change
LENGTH = 24000
MIXED = [1, 777, 4096, 16384, 3, 64]
NOTES = [(0, 60), (AT, 67), (AT + 3000, 72)]


def bounced(plugin, preset, events, division=(1024,)):
    """Return a bounce of the notes that begins with a preset; each event is a sample and what happens there."""
    plugin.load(preset)
    plugin.reset(rate=RATE)
    notes = [(time, lambda time=time, key=key: plugin.midi(time, 0x90, key, 100)) for time, key in NOTES]
    return plugin.play(sorted([*events, *notes], key=lambda one: one[0]), LENGTH, division)


def changed(first, second):
    """Return the notes as a player sounds them when another preset takes over, each half in blocks of its own."""
    player = Player(Rack({0: open_patch(first)}, RATE, omni=True), RATE, patient=True)
    for time, key in NOTES:
        player.schedule(NoteOn(time, 0, key, 100))
    parts = [player.block(AT)[0]]
    player.swap(Rack({0: open_patch(second)}, RATE, omni=True))
    while player.now < LENGTH:
        parts.append(player.block(min(LOOK_SAMPLES - player.now % LOOK_SAMPLES, LENGTH - player.now))[0])
    return np.concatenate(parts, axis=1)


def number(plugin, name):
    """The program that means a preset, from 0 on."""
    return plugin.presets.index(name)


def shipped(plugin):
    """The preset that a project would be saved with."""
    return unpack(plugin.save()).listed_name


def test_in_a_bounce_it_is_heard_on_its_sample_in_any_blocks(plugin):
    pad, expected = number(plugin, "gm-pad"), changed("gm-keys", "gm-pad")
    by_parameter = bounced(plugin, "gm-keys", [(AT, lambda: plugin.choose(AT, pad + 1))])
    np.testing.assert_array_equal(by_parameter, expected)
    for channel, division in ((0, [1024]), (9, MIXED)):
        by_program = bounced(plugin, "gm-keys", [(AT, lambda on=channel: plugin.program(AT, pad, on))], division)
        np.testing.assert_array_equal(by_program, expected)
    assert (expected != bounced(plugin, "gm-keys", [])).any()


def test_what_it_chose_is_what_the_project_holds_and_the_next_bounce_begins_with(plugin):
    pad = number(plugin, "gm-pad")
    bounced(plugin, "gm-keys", [(AT, lambda: plugin.program(AT, pad))])
    assert shipped(plugin) == "gm-pad"
    plugin.reset(rate=RATE)
    plugin.midi(0, 0x90, 60, 100)
    again = plugin.block(4096)
    np.testing.assert_array_equal(again, bounced(plugin, "gm-pad", [])[:, :4096])


def test_one_beyond_the_list_is_said_and_changes_nothing(plugin):
    plugin.settle()
    count = len(shipped_presets())
    beyond = [
        (100, lambda: plugin.program(100, count)),
        (AT, lambda: plugin.midi(AT, 0xB0, 32, 1)),
        (AT, lambda: plugin.program(AT, 2)),
    ]
    sound = bounced(plugin, "gm-keys", beyond)
    plugin.listen(lambda: len(plugin.said) == 2)
    assert len(plugin.presets) == count
    on = "the preset before plays on"
    assert plugin.said == [f"preset {one} asked for, but there are {count}; {on}" for one in (count + 1, 131)]
    assert shipped(plugin) == "gm-keys"
    np.testing.assert_array_equal(sound, bounced(plugin, "gm-keys", []))
    plugin.settle()


def test_a_bank_lasts_to_the_end_of_its_epoch(plugin):
    plugin.load("gm-keys")
    plugin.reset(rate=RATE)
    plugin.midi(0, 0xB0, 0, 1)
    plugin.midi(0, 0xB4, 32, 0)
    plugin.midi(1, 0xB9, 0, 0)  # all channels play the one preset
    plugin.program(2, number(plugin, "gm-pad"))
    plugin.midi(3, 0xB0, 0, 1)
    plugin.block(64)
    assert shipped(plugin) == "gm-pad"
    plugin.reset(rate=RATE)
    plugin.program(0, number(plugin, "gm-oboe"))
    plugin.block(64)
    assert shipped(plugin) == "gm-oboe"
    plugin.settle()


def test_macros_stay_where_the_host_has_them(plugin):
    """They were moved before the program change, or are moved right after it: that is the same."""
    change = (AT, lambda: plugin.program(AT, number(plugin, "gm-pad")))
    early = [(0, lambda: plugin.turn(0, 0, 0.9)), (AT, lambda: plugin.turn(AT, 3, 0.2)), change]
    late = [early[0], change, (AT, lambda: plugin.turn(AT, 0, 0.9)), early[1]]
    kept = bounced(plugin, "gm-keys", early)
    np.testing.assert_array_equal(kept, bounced(plugin, "gm-keys", late))
    at_rest = bounced(plugin, "gm-keys", [change])
    assert (kept[:, :AT] != at_rest[:, :AT]).any()
    assert (kept[:, AT + 5000 :] != at_rest[:, AT + 5000 :]).any()


def test_that_of_the_preset_that_plays_changes_nothing(plugin):
    """Hosts send it whenever they begin to play, and once more where an export begins."""
    keys = number(plugin, "gm-keys")
    moved = [(0, lambda: plugin.turn(0, 0, 0.9))]
    expected = bounced(plugin, "gm-keys", moved)
    for at in (0, AT):
        again = bounced(plugin, "gm-keys", [*moved, (at, lambda at=at: plugin.program(at, keys))])
        np.testing.assert_array_equal(again, expected)


def test_live_it_loads_beside_what_sounds_and_held_notes_ring_on(plugin):
    plugin.load("gm-keys")
    plugin.reset(rate=RATE, offline=False)
    plugin.midi(0, 0x90, 60, 100)
    for _ in range(16):
        plugin.block(256)
    plugin.program(plugin.position, number(plugin, "gm-pad"))
    plugin.block(256)
    plugin.settle()
    assert shipped(plugin) == "gm-pad"
    assert np.abs(plugin.block(2048)).max() > 0.01
    plugin.midi(plugin.position, 0x80, 60, 0)
    for _ in range(40):
        plugin.block(2048)
    assert np.abs(plugin.block(1024)).max() < 1e-3
    plugin.midi(plugin.position, 0x90, 72, 100)
    assert np.abs(plugin.block(9600)).max() > 0.01


@pytest.mark.parametrize("by", ["program", "parameter"])
def test_live_the_last_that_was_asked_for_plays_also_where_it_was_the_first(plugin, by):
    """The one that plays is asked for again while the other is still being loaded."""

    def ask(name):
        if by == "program":
            plugin.program(plugin.position, number(plugin, name))
        else:
            plugin.choose(plugin.position, number(plugin, name) + 1)

    plugin.load("gm-keys")
    plugin.reset(rate=RATE, offline=False)
    plugin.block(256)
    for name in ("gm-pad", "gm-keys"):
        ask(name)
        plugin.block(256)
    plugin.settle()
    assert shipped(plugin) == "gm-keys"
