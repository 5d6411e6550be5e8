"""A bounce through the wire is what `timbrel render` makes, to the bit, whatever the blocks."""

import itertools

import numpy as np
import pytest
from timbrel.host.events import (
    ChannelPressure,
    Clock,
    ControlChange,
    NoteOff,
    NoteOn,
    ParameterChange,
    PitchBend,
    Tempo,
)
from timbrel.host.midi.files import Performance
from timbrel.host.play.rack import Rack
from timbrel.host.play.render import blocks
from timbrel.host.preset.library import open_patch
from timbrel.host.preset.shipped import shipped_presets

RATE = 48000
LENGTH = 26000
PLAYED = [
    Tempo(0, 93.0),
    ControlChange(0, 0, 74, 90),
    NoteOn(100, 0, 60, 100),
    NoteOn(100, 0, 36, 90),
    *(NoteOn(2000, channel, 62 + channel, 90) for channel in range(9)),  # more at once than begin in a block live
    PitchBend(4097, 0, -5000),
    ControlChange(6000, 0, 1, 77),
    NoteOff(7000, 0, 60),
    NoteOn(7000, 0, 60, 40),
    ControlChange(9000, 0, 64, 127),
    *(NoteOff(9001, channel, 62 + channel) for channel in range(9)),
    ChannelPressure(9500, 0, 99),
    NoteOn(12345, 0, 48, 127),
    NoteOff(12345 + 700, 0, 48),
    ControlChange(16384, 0, 64, 0),
    NoteOn(20000, 0, 64, 64),
    Clock(22000, "start"),
]
MOVED = [(0, 0, 0.25), (3333, 1, 1.0), (8191, 0, 0.7), (8192, 0, 0.71), (15000, 1, 0.1)]  # sample, macro, value
ON = "; the preset before plays on"
MIXED = [1, 777, 4096, 16384, 3, 64]


def rendered(preset, events, length=LENGTH, rate=RATE):
    """What `timbrel render` makes of it, and the latency that it takes off."""
    rack = Rack({0: open_patch(preset)}, rate, omni=True)
    made = blocks(rack, Performance(list(events), length, [0], []), 1.0, rate)
    return np.concatenate([mix for _, mix, _ in made], axis=1), rack.latency_samples


def in_order(events):
    return sorted(events, key=lambda event: event.time)


class Move:
    """A macro's move, as a host automates it."""

    def __init__(self, time, macro, value):
        self.time, self.macro, self.value = time, macro, value


def turned(preset, moves):
    """The turns that moves of macros mean, for a reference."""
    patch = open_patch(preset)
    latents = patch.model.card.latents
    turns = []
    for time, macro, value in moves:
        value = float(np.float32(value))
        if patch.preset.macro:
            turns.append(ParameterChange(time, 0, f"macro.{macro}", value))
        else:
            low, high = latents[macro].low, latents[macro].high
            turns.append(ParameterChange(time, 0, f"latent.{macro}", low + value * (high - low)))
    return turns


def bounced(plugin, preset, division, events=PLAYED, moves=MOVED, length=LENGTH, rate=RATE):
    plugin.load(preset)
    return plugin.bounce(in_order([*events, *(Move(*move) for move in moves)]), length, division, rate=rate)


def sounding(events):
    """As the rack hears them: where a host begins again, the beat does, too, at the tempo that it has told."""
    heard = [[event, Tempo(event.time, 93.0)] if isinstance(event, Clock) else [event] for event in events]
    return list(itertools.chain.from_iterable(heard))


@pytest.mark.parametrize(
    ("preset", "divisions"),
    [
        ("gm-keys", [[64], MIXED]),
        ("lakeside-walk", [MIXED]),
        ("drum-loops", [MIXED]),
        ("drum-kit", [MIXED]),
        ("gm-hall", [[1024], MIXED]),
    ],
    ids=lambda given: given if isinstance(given, str) else "",
)
def test_a_bounce_is_what_render_makes_in_any_blocks(plugin, preset, divisions):
    expected, latency = rendered(preset, in_order([*sounding(PLAYED), *turned(preset, MOVED)]))
    assert np.abs(expected).max() > 0.01
    for division in divisions:
        sound = bounced(plugin, preset, division)
        assert plugin.memory.rack_latency == latency
        np.testing.assert_array_equal(sound[:, latency:], expected[:, : LENGTH - latency])


def test_a_bounce_at_the_rate_of_the_model_is_what_render_makes(plugin):
    expected, latency = rendered("gm-keys", in_order([*sounding(PLAYED), *turned("gm-keys", MOVED)]), rate=44100)
    assert latency == 0
    np.testing.assert_array_equal(bounced(plugin, "gm-keys", [500], rate=44100), expected[:, :LENGTH])


def test_what_is_automated_within_a_block_is_heard_on_its_sample(plugin):
    plugin.load("gm-pad")
    plugin.settle()
    pan = [name for name, _ in plugin.parameters].index("pan")
    key = NoteOn(0, 0, 60, 100)
    plain, moved, later = (
        bounced(plugin, "gm-pad", [1024], [key], moves) for moves in ([], [(10000, pan, 1.0)], [(10001, pan, 1.0)])
    )
    first = np.flatnonzero((plain != moved).any(axis=0))[0] - plugin.memory.rack_latency
    assert abs(first - 10000) < 64  # conversion of the rate spreads it a little
    assert (moved != later).any()


def test_the_note_of_one_epoch_is_not_heard_in_the_next(plugin):
    first = bounced(plugin, "gm-keys", [256], [NoteOn(0, 0, 60, 100)], [(0, 0, 1.0)])
    assert np.abs(first).max() > 0.01
    plugin.reset()
    assert not plugin.block(4096).any()
    np.testing.assert_array_equal(plugin.bounce([NoteOn(0, 0, 60, 100), Move(0, 0, 1.0)], LENGTH, [512]), first)


def test_presets_that_follow_each_other_do_so_in_order_on_their_samples(plugin):
    """Held notes ring on under the preset that began them, and keys from then on have the new one."""
    pad, hall = plugin.presets.index("gm-pad") + 1, plugin.presets.index("gm-hall") + 1

    def run(division):
        plugin.load("gm-keys")
        plugin.reset(rate=RATE)
        moves = [
            (0, lambda: plugin.choose(0, pad)),
            (0, lambda: plugin.midi(0, 0x90, 60, 100)),
            (9999, lambda: plugin.choose(9999, hall)),
            (9999, lambda: plugin.midi(9999, 0x90, 67, 100)),
            (15000, lambda: plugin.midi(15000, 0x80, 60, 0)),
        ]
        return plugin.play(moves, LENGTH, division)

    first = run([1024])
    np.testing.assert_array_equal(run(MIXED), first)
    pad_alone = bounced(plugin, "gm-pad", [1024], [NoteOn(0, 0, 60, 100), NoteOff(15000, 0, 60)], [])
    hall_alone = bounced(plugin, "gm-hall", [1024], [NoteOn(0, 0, 67, 100)], [])
    np.testing.assert_array_equal(first[:, :9999], pad_alone[:, :9999])
    both = pad_alone.copy()
    both[:, 9999:] += hall_alone[:, : LENGTH - 9999]
    assert np.abs(hall_alone).max() > 0.01
    np.testing.assert_allclose(first, both, atol=1e-3)  # limited, and modulated from another moment on


def test_macros_are_told_with_their_names_and_rests(plugin):
    plugin.load("drum-kit")
    plugin.settle()
    card = open_patch("drum-kit").model.card
    names = [name for name, _ in plugin.parameters]
    assert len(names) == 16
    values = open_patch("drum-kit").preset.latent_values(card)
    for (_, rest), latent, value in zip(plugin.parameters, card.latents, values, strict=False):
        assert rest == pytest.approx((value - latent.low) / (latent.high - latent.low))
    assert "gain" not in names
    plugin.load("gm-keys")
    plugin.settle()
    macros = open_patch("gm-keys").preset.macro
    assert plugin.parameters == [(macro.name, macro.value) for macro in macros]


def test_what_cannot_be_loaded_is_said_and_what_plays_goes_on(plugin, tmp_path):
    expected = bounced(plugin, "gm-keys", [512])
    plugin.settle()
    (tmp_path / "broken.toml").write_text("format = 1\nmodel = 3\n")
    plugin.load(tmp_path / "missing.toml")
    plugin.load(tmp_path / "broken.toml")
    plugin.load("gm-kees")
    sound = plugin.bounce(in_order([*PLAYED, *(Move(*move) for move in MOVED)]), LENGTH, [512])
    np.testing.assert_array_equal(sound, expected)
    plugin.choose(plugin.position, 99)
    plugin.block(64)
    plugin.listen(lambda: len(plugin.said) == 4)
    missing, broken, misspelt, number = plugin.said
    assert missing.startswith(f"preset {tmp_path}/missing.toml does not exist")
    file = f"{tmp_path}/broken.toml"
    assert broken == f"preset {file} cannot be played; 'timbrel play {file}' says why{ON}"
    assert misspelt == f"no preset, model or file is named 'gm-kees'; did you mean 'gm-keys'?{ON}"
    assert number == f"preset 99 asked for, but there are {len(shipped_presets())}{ON}"


@pytest.mark.parametrize("preset", ["gm-keys", "lakeside-walk", "drum-loops"])
def test_macros_that_a_host_sets_to_their_rests_change_nothing(plugin, preset):
    plugin.load(preset)
    plugin.settle()
    rests = [(0, macro, rest) for macro, (_, rest) in enumerate(plugin.parameters)]
    events = [NoteOn(0, 0, 60, 100), NoteOff(5000, 0, 60)]
    plain, set_to_rest = (bounced(plugin, preset, [1024], events, moves, 8000) for moves in ([], rests))
    np.testing.assert_array_equal(set_to_rest, plain)
    assert np.abs(plain).max() > 0.01
