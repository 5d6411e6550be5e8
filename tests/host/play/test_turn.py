"""Targets that are turned past all maps: as a map's knob turns them, to the sample, and never out of their range."""

import contextlib
import math

import numpy as np
import pedalboard
import pytest
from hypothesis import given
from hypothesis import strategies as st
from timbrel.host.events import ControlChange, NoteOff, NoteOn, ParameterChange, PitchBend
from timbrel.host.midi.controllers import Zones
from timbrel.host.play.rack import Rack
from timbrel.host.preset.library import open_patch

RATE = 22050
EFFECTS = [{"plugin": "Gain", "gain_db": 0.0}, {"plugin": "LowpassFilter", "cutoff_frequency_hz": 4000.0}]
KEYS = {"effects": EFFECTS, "morph": {"values": [0.9, 0.1]}, "envelope": {"sustain": 0.8, "release_seconds": 0.05}}
# Where each target is led: not to where it rests.
PLACES = {
    "latent.0": 0.9,
    "latent.1": 0.1,
    "morph": 0.75,
    "gain": -9.0,
    "pan": -0.5,
    "envelope.attack_seconds": 0.1,
    "envelope.decay_seconds": 0.2,
    "envelope.sustain": 0.5,
    "envelope.release_seconds": 0.3,
    "effects.0.gain_db": -12.0,
    "effects.1.cutoff_frequency_hz": 500.0,
}
RANGES = {
    "gain": (-60.0, 12.0),
    "pan": (-1.0, 1.0),
    "envelope.attack_seconds": (0.0, 10.0),
    "envelope.decay_seconds": (0.0, 30.0),
    "envelope.release_seconds": (0.0, 30.0),
    "effects.0.gain_db": (-80.0, 24.0),
    "effects.1.cutoff_frequency_hz": (20.0, 20_000.0),
}
NOTES = [NoteOn(0, 0, 60, 100), NoteOn(3000, 0, 64, 100), NoteOff(5000, 0, 60), NoteOff(5000, 0, 64)]


def sound(rack, events, count=9000, sizes=(1000,)):
    blocks, at, turn = [], 0, 0
    with contextlib.closing(rack):
        while at < count:
            size = min(sizes[turn % len(sizes)], count - at)
            blocks.append(rack.process([event for event in events if at <= event.time < at + size], size)[0])
            at, turn = at + size, turn + 1
    return np.concatenate(blocks, axis=1)


def among(events, *others):
    return sorted([*events, *others], key=lambda event: event.time)


@pytest.mark.parametrize("target", PLACES)
def test_a_turn_sounds_as_a_knob_that_goes_there_at_the_same_sample(make_patch, target):
    place = PLACES[target]
    knob = {"number": 20, "target": target, "low": place, "high": place}
    untouched = sound(Rack({0: make_patch(**KEYS)}, RATE), NOTES)
    expected = sound(Rack({0: make_patch(cc=[knob], **KEYS)}, RATE), among(NOTES, ControlChange(2345, 0, 20, 0)))
    assert not np.array_equal(expected, untouched)
    events = among(NOTES, ParameterChange(2345, 0, target, place))
    for sizes in ([9000], [1, 64, 65, 999]):
        assert np.array_equal(sound(Rack({0: make_patch(**KEYS)}, RATE), events, sizes=sizes), expected)
    if target in ("latent.0", "latent.1", "morph", "gain", "pan"):  # what is not read only where something begins
        later = among(NOTES, ParameterChange(2346, 0, target, place))
        assert not np.array_equal(sound(Rack({0: make_patch(**KEYS)}, RATE), later), expected)


@pytest.mark.parametrize(
    ("target", "place"), [("grain.density", 20.0), ("grain.pitch", 7.0), ("grain.lowpass_hz", 900.0)]
)
def test_a_turn_reaches_grains(tmp_path, target, place):
    def rack(knobs):
        path = tmp_path / "grains.toml"
        path.write_text('format = 1\nmodel = "lakeside-10"\n' + knobs)
        return Rack({0: open_patch(str(path))}, 44100)

    knob = rack(f'[[cc]]\nnumber = 20\ntarget = "{target}"\nlow = {place}\nhigh = {place}\n')
    note = NoteOn(0, 0, 60, 100)
    expected = sound(knob, [note, ControlChange(2345, 0, 20, 0)], 12_000)
    assert np.array_equal(sound(rack(""), [note, ParameterChange(2345, 0, target, place)], 12_000), expected)
    assert not np.array_equal(sound(rack(""), [note], 12_000), expected)


def test_processes_that_share_the_voices_hear_turns(make_patch):
    turns = [
        ParameterChange(1000 + 300 * index, 0, target, place) for index, (target, place) in enumerate(PLACES.items())
    ]
    events = among([NoteOn(40 * index, 0, 50 + 3 * index, 90) for index in range(6)], *turns)
    alone, shared = (sound(Rack({0: make_patch(**KEYS)}, RATE, count), events) for count in (1, 2))
    assert np.array_equal(shared, alone)


FLOAT = st.floats(allow_subnormal=False)  # which effects switch off
WILD = st.one_of(FLOAT, st.sampled_from([math.nan, math.inf, -math.inf]), st.floats(-2, 2, allow_subnormal=False))


@given(st.lists(st.tuples(st.sampled_from(list(PLACES)), WILD), min_size=1, max_size=12))
def test_no_turn_leaves_the_range_of_its_target(make_patch, turns):
    rack = Rack({0: make_patch(**KEYS)}, RATE)
    rack.process([ParameterChange(index, 0, *turn) for index, turn in enumerate(turns)], 2000)
    stands = rack.knobs[0].standing()
    assert set(stands) == {target for target, _ in turns}
    for target, value in dict(turns).items():
        low, high = RANGES.get(target, (0.0, 1.0))
        expected = low if math.isnan(value) else min(max(value, low), high)
        assert stands[target] == expected


def test_a_latent_may_be_turned_as_far_as_the_preset_itself_goes(make_patch):
    knob = {"number": 20, "target": "latent.1", "low": -1.0, "high": 3.0}
    rack = Rack({0: make_patch(latent={"values": [1.5, 0.5]}, cc=[knob])}, RATE)
    for value, stands in ((9.0, [1.5, 3.0]), (-9.0, [0.0, -1.0])):
        rack.process([ParameterChange(rack.played, 0, target, value) for target in ("latent.0", "latent.1")], 100)
        assert rack.latent_values(0) == stands


def test_what_can_be_turned_tells_where_it_stands_and_effects_where_they_are_of_themselves(make_patch):
    effects = [{"plugin": "Reverb", "wet_level": 0.25}, {"plugin": "Gain", "gain_db": -3.0}]
    macro = {"name": "wide", "value": 0.25, "targets": [{"target": "pan", "low": -1.0, "high": 1.0}]}
    rack = Rack({0: make_patch(effects=effects, macro=[macro], latent={"values": [0.25, 0.5]})}, RATE)
    before = rack.knobs[0].values()
    alone = pedalboard.Reverb()
    assert before["effects.0.room_size"] == pytest.approx(alone.room_size) != 0
    assert before["effects.0.damping"] == pytest.approx(alone.damping) != 0
    expected = {"effects.0.wet_level": 0.25, "effects.1.gain_db": -3.0, "macro.0": 0.25, "pan": 0.0, "latent.1": 0.5}
    assert {target: before[target] for target in expected} == expected
    turned = {"effects.0.damping": 0.75, "pan": 0.5, "macro.0": 0.75, "latent.1": 0.125, "gain": -6.0}
    rack.process([ParameterChange(0, 0, target, value) for target, value in turned.items()], 1000)
    assert rack.knobs[0].values() == before | turned


def test_a_turn_of_what_the_model_does_not_have_is_ignored_beside_effects_too(make_patch):
    knob = {"number": 20, "target": "gesture.amount", "low": 0.0, "high": 1.0}
    rack = Rack({0: make_patch(cc=[knob], effects=EFFECTS)}, RATE)
    for _ in range(3):
        rack.process(
            [ParameterChange(rack.played, 0, "gesture.amount", 0.5), ControlChange(rack.played, 0, 20, 90)], 1000
        )
    assert "gesture.amount" not in rack.knobs[0].values()


@given(st.text(max_size=12), FLOAT)
def test_what_a_preset_does_not_have_is_ignored(make_patch, target, value):
    rack = Rack({0: make_patch(**KEYS)}, RATE)
    for name in (
        target,
        f"latent.{target}",
        "latent.2",
        "process.wet",
        "effects.0.mix",
        "effects.2.gain_db",
        "grain.pitch",
    ):
        if name not in PLACES:
            rack.process([ParameterChange(rack.played, 0, name, value)], 100)
            assert rack.knobs[0].standing() == {}


@pytest.mark.parametrize("takeover", ["jump", "pickup", "scale"])
def test_a_knob_takes_over_after_a_turn_as_after_any_other_mover(make_patch, takeover):
    knob = {"number": 20, "target": "latent.0", "low": 0.0, "high": 1.0, "takeover": takeover}
    other = {"number": 21, "target": "latent.0", "low": 0.2, "high": 0.2}
    moved = {}
    for name, mover in (("turn", ParameterChange(100, 0, "latent.0", 0.2)), ("knob", ControlChange(100, 0, 21, 0))):
        rack = Rack({0: make_patch(cc=[knob, other])}, RATE)
        rack.process([ControlChange(0, 0, 20, 60), ControlChange(1, 0, 20, 64), mover], 200)
        moved[name] = [rack.latent_values(0)[0]]
        for value in (70, 66, 40, 20, 30):
            rack.process([ControlChange(rack.played, 0, 20, value)], 50)
            moved[name].append(rack.latent_values(0)[0])
    assert moved["turn"] == moved["knob"]
    assert moved["turn"][0] == 0.2


def test_a_turn_is_for_the_preset_on_its_channel_whatever_zone_has_that(make_patch):
    begun = [ControlChange(0, 0, number, value) for number, value in ((101, 0), (100, 6), (6, 5))]
    zones = Zones({0: False, 3: False}, 0)
    for event in begun:
        zones.route(event)
    assert zones.route(PitchBend(0, 3, 5))[0][0] == 0
    assert zones.route(ParameterChange(0, 3, "latent.0", 1.0)) == [(3, ParameterChange(0, 3, "latent.0", 1.0))]
    assert zones.route(ParameterChange(0, 4, "latent.0", 1.0)) == [(0, ParameterChange(0, 4, "latent.0", 1.0))]
    rack = Rack({0: make_patch(), 3: make_patch()}, RATE, omni=True)
    rack.process([*begun, ParameterChange(0, 3, "latent.0", 0.9), ParameterChange(0, 9, "latent.1", 0.8)], 2000)
    assert [rack.latent_values(channel) for channel in (0, 3)] == [[0.5, 0.8], [0.9, 0.5]]
