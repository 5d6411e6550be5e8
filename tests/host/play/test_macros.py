"""Macros move targets around their own knobs: nothing at rest, what the table says at the ends, whatever turns them."""

import contextlib

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from timbrel.host.events import ControlChange, NoteOff, NoteOn, ParameterChange
from timbrel.host.play.controllers import Macros
from timbrel.host.play.rack import Rack
from timbrel.host.preset.controls import MacroSettings, MacroTarget
from timbrel.host.resynthesis.processor import Processor

RATE = 22050
PLACE = st.floats(0, 1, allow_subnormal=False)
AMOUNT = st.floats(-5, 5, allow_subnormal=False)
NOTES = [NoteOn(0, 0, 60, 100), NoteOn(3000, 0, 64, 100), NoteOff(6000, 0, 60), NoteOff(6000, 0, 64)]
TWO = {"target": "latent.0", "low": -0.2, "high": 0.3}, {"target": "gain", "low": -6.0, "high": 6.0}


def macro(*targets, value=0.5, name="wide"):
    return {"name": name, "value": value, "targets": list(targets)}


class Dials:
    """Targets that are where they were sent."""

    def __init__(self, **values):
        self.values, self.moves = values, []

    def turn(self, time, target, value, channel):
        self.moves.append((time, target, value))
        self.values[target] = value


def macros(dials, *tables, reach=None):
    settings = [MacroSettings.model_validate(table) for table in tables]
    spans = reach or dict.fromkeys(dials.values, (-10.0, 10.0))
    return Macros(settings, spans, dials.values.__getitem__, dials.turn)


@given(PLACE, PLACE, AMOUNT, AMOUNT, st.floats(0.2, 8))
def test_what_is_added_is_that_of_the_place_less_that_of_the_rest(place, rest, low, high, curve):
    entry = MacroTarget(target="x", low=low, high=high, curve=curve)
    assert entry.added(rest, rest) == 0
    expected = (high - low) * (place**curve - rest**curve)
    assert entry.added(place, rest) == pytest.approx(expected, abs=1e-9)


@given(PLACE, st.lists(st.tuples(st.sampled_from(["macro.0", "macro.1", "x", "y"]), PLACE), max_size=12))
def test_where_targets_are_depends_on_where_knobs_stand_and_not_on_the_way_there(rest, turns):
    tables = (
        macro({"target": "x", "low": -1.0, "high": 2.0}, {"target": "y", "low": 0.5, "high": -0.5}, value=rest),
        macro({"target": "x", "low": 0.0, "high": 1.0, "curve": 2.0}, name="other"),
    )
    ways = Dials(x=0.25, y=0.5)
    turned = macros(ways, *tables)
    for time, (target, value) in enumerate(turns):
        turned.turn(time, target, value)
    last = {"macro.0": rest, "macro.1": 0.5, "x": 0.25, "y": 0.5} | dict(turns)
    assert {target: turned.present(target) for target in last} == last
    x = last["x"] + 3 * (last["macro.0"] - rest) + last["macro.1"] ** 2 - 0.25
    assert ways.values["x"] == pytest.approx(x, abs=1e-9)
    assert ways.values["y"] == pytest.approx(last["y"] - (last["macro.0"] - rest), abs=1e-9)


def test_what_is_added_stays_in_the_targets_range_and_comes_back():
    dials = Dials(x=0.9)
    turned = macros(dials, macro({"target": "x", "low": -0.5, "high": 0.5}), reach={"x": (0.0, 1.0)})
    turned.turn(1, "macro.0", 1.0)
    turned.turn(2, "macro.0", 0.5)
    assert dials.moves == [(1, "x", 1.0), (2, "x", 0.9)]


def test_a_target_that_is_not_there_is_left_alone():
    dials = Dials(x=0.0)
    turned = macros(dials, macro({"target": "z", "low": 0.0, "high": 1.0}, {"target": "x", "low": 0.0, "high": 1.0}))
    turned.turn(0, "macro.0", 1.0)
    assert dials.moves == [(0, "x", 0.5)]


def sound(rack, events, count=9000, sizes=(1000,)):
    blocks, at, turn = [], 0, 0
    with contextlib.closing(rack):
        while at < count:
            size = min(sizes[turn % len(sizes)], count - at)
            blocks.append(rack.process([event for event in events if at <= event.time < at + size], size)[0])
            at, turn = at + size, turn + 1
    return np.concatenate(blocks, axis=1)


def among(*others):
    return sorted([*NOTES, *others], key=lambda event: event.time)


def test_a_preset_whose_macros_rest_sounds_as_one_without_to_the_byte(make_patch):
    plain = sound(Rack({0: make_patch()}, RATE), NOTES)
    assert np.array_equal(sound(Rack({0: make_patch(macro=[macro(*TWO)])}, RATE), NOTES), plain)


def test_a_macro_sounds_as_all_its_knobs_turned_at_once_however_time_is_divided(make_patch):
    turns = [ParameterChange(2345, 0, "latent.0", 0.675), ParameterChange(2345, 0, "gain", 3.0)]
    rest = {"latent": {"values": [0.55, 0.5]}, "macro": [macro(*TWO)]}
    expected = sound(Rack({0: make_patch(latent=rest["latent"])}, RATE), among(*turns))
    moved = among(ParameterChange(2345, 0, "macro.0", 0.75))
    for sizes in ([9000], [1, 64, 65, 999]):
        found = sound(Rack({0: make_patch(**rest)}, RATE), moved, sizes=sizes)
        np.testing.assert_allclose(found, expected, atol=2e-6)
        assert np.array_equal(found, sound(Rack({0: make_patch(**rest)}, RATE), moved))


def test_a_controller_moves_a_macro_from_end_to_end_with_fourteen_bits_too(make_patch):
    rest = {"macro": [macro(*TWO)]}
    for knob, events in (
        ({"number": 16}, [ControlChange(2345, 0, 16, 127)]),
        ({"number": 16, "bits": 14}, [ControlChange(2345, 0, 16, 127), ControlChange(2345, 0, 48, 127)]),
        ({"number": 16, "low": 1.0, "high": 0.0}, [ControlChange(2345, 0, 16, 0)]),
    ):
        cc = [{"target": "macro.0", "low": 0.0, "high": 1.0} | knob]
        found = sound(Rack({0: make_patch(cc=cc, **rest)}, RATE), among(*events))
        expected = sound(Rack({0: make_patch(**rest)}, RATE), among(ParameterChange(2345, 0, "macro.0", 1.0)))
        assert np.array_equal(found, expected)


def test_what_stands_sets_another_rack_to_the_same_sound(make_patch):
    keys = {"macro": [macro(*TWO)], "cc": [{"number": 70, "target": "latent.0", "low": 0.0, "high": 1.0}]}
    events = [ControlChange(10, 0, 70, 30), ParameterChange(20, 0, "macro.0", 0.8)]
    first = Rack({0: make_patch(**keys)}, RATE)
    first.process(events, 4000)
    stood = first.knobs[0].standing()
    assert stood == {"latent.0": pytest.approx(30 / 127), "macro.0": 0.8}
    second = Rack({0: make_patch(**keys)}, RATE)
    second.process([ParameterChange(0, 0, target, value) for target, value in stood.items()], 4000)
    for rack in (first, second):
        assert rack.current_latents(0)[0] == pytest.approx(30 / 127 + 0.5 * 0.3, abs=1e-6)
        rack.close()


def test_a_macro_moves_the_attack_of_notes_to_come(make_patch):
    slow = macro({"target": "envelope.attack_seconds", "low": 0.0, "high": 0.2}, value=0.0)
    fast, late = (
        np.abs(
            sound(
                Rack({0: make_patch(macro=[slow])}, RATE),
                [ParameterChange(0, 0, "macro.0", place), NoteOn(0, 0, 60, 100)],
            )
        )
        for place in (0.0, 1.0)
    )
    assert late[:, :1000].max() < 0.5 * fast[:, :1000].max()


def test_a_macro_bends_a_sound_that_goes_through(make_allpass, make_preset, tmp_path):
    from timbrel.host.preset.library import Patch

    model = make_allpass("spectrum", sample_rate=8000, frame_length=64, hop_length=16)
    table = macro({"target": "process.wet", "low": -1.0, "high": 0.0}, value=1.0)
    hum = np.sin(np.arange(4000) / 3).astype(np.float32)
    sounds = {}
    for name, events in {
        "macro": [ParameterChange(0, 0, "macro.0", 0.0)],
        "dry": [ParameterChange(0, 0, "process.wet", 0.0)],
    }.items():
        processor = Processor(Patch("through", make_preset(macro=[table]), model, tmp_path), 8000)
        sounds[name] = processor.process(events, hum[np.newaxis])
    assert np.array_equal(sounds["macro"], sounds["dry"])


def test_a_preset_starts_where_its_positions_are_as_if_its_macros_and_its_morph_had_been_moved_there(make_patch):
    hall = [{"plugin": "Reverb", "room_size": 0.3, "wet_level": 0.2}]
    wet = {"target": "effects.0.wet_level", "low": -0.2, "high": 0.4}
    tables = [macro(*TWO), macro({"target": "morph", "low": 0.0, "high": 0.2}, wet, name="far")]
    there = {"values": [0.9, 0.1], "position": 0.25}
    start = [tables[0] | {"position": 0.9}, tables[1] | {"position": 0.0}]
    moved = make_patch(macro=tables, effects=hall, morph={"values": [0.9, 0.1]})
    starts = make_patch(macro=start, effects=hall, morph=there)
    turns = [
        ParameterChange(0, 0, target, value) for target, value in (("macro.0", 0.9), ("macro.1", 0.0), ("morph", 0.25))
    ]
    notes = [NoteOn(RATE // 10, 0, 60, 100)]
    sounds = [
        Rack({0: patch}, RATE, omni=True).process(events, RATE)[0]
        for patch, events in ((moved, notes), (moved, [*turns, *notes]), (starts, notes))
    ]
    np.testing.assert_array_equal(sounds[1], sounds[2])
    assert not np.array_equal(sounds[0], sounds[2])
    knobs = Rack({0: starts}, RATE).knobs[0]
    assert [knobs.at(target) for target in ("macro.0", "macro.1", "morph", "latent.0")] == [
        0.9, 0.0, 0.25, starts.preset.latent_values(starts.model.card)[0],
    ]  # fmt: skip
