"""Maps by properties and by what a player does: which controller turns which target, how far, and from when on."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st
from timbrel.host.errors import UserError
from timbrel.host.events import (
    RESERVED_CC,
    ChannelPressure,
    ControlChange,
    KeyPressure,
    NoteOff,
    NoteOn,
    ParameterChange,
)
from timbrel.host.midi.controllers import ControllerReader
from timbrel.host.play.controllers import Mapper
from timbrel.host.preset.loading import read_preset
from timbrel.host.preset.preset import CCMap
from timbrel.host.ramps import knob

FREE = st.integers(0, 127).filter(lambda number: number not in RESERVED_CC)
BYTE = st.integers(0, 127)
VALUE = st.floats(-100, 100, allow_subnormal=False)
PART = st.floats(0, 1, allow_subnormal=False)


REACH = {"x": (-1.0, 2.0), "w": (0.0, 1.0)}


class Player:
    """A mapper that hears what a controller means, and the targets that it moves."""

    def __init__(self, *entries, present=None):
        self.values = {"w": 0.0, "x": 0.0, "y": 0.0} | (present or {})
        self.moves = []
        maps = [CCMap.model_validate({"target": "x", "low": 0.0, "high": 1.0} | entry) for entry in entries]
        self.mapper, self.reader = Mapper(maps, REACH, self.values.__getitem__, self._move), ControllerReader()

    def _move(self, time, target, value, channel):
        self.moves.append((time, target, value))
        self.values[target] = value

    def hear(self, *events):
        """What the target x is after each event."""
        after = []
        for event in events:
            heard = self.reader.read(event)
            self.taken = heard is not None and self.mapper.apply(heard)
            after.append(self.values["x"])
        return after

    def cc(self, number, *values, channel=0):
        """What the target x is after each value."""
        return self.hear(*(ControlChange(7, channel, number, value) for value in values))

    def nrpn(self, number, *entries, channel=0):
        """Select a parameter, then send (controller, value) pairs."""
        for controller, value in [(99, number >> 7), (98, number & 127), *entries]:
            self.cc(controller, value, channel=channel)
        return self.values["x"]


@given(FREE, BYTE, VALUE, VALUE, st.floats(0.1, 8), st.integers(0, 15))
def test_a_plain_map_gives_its_knobs_value_at_the_time_of_the_event(number, value, low, high, curve, channel):
    player = Player({"number": number, "low": low, "high": high, "curve": curve})
    player.hear(ControlChange(123, channel, number, value))
    assert player.taken
    assert player.moves == [(123, "x", knob(value, low, high, curve))]


@given(FREE, FREE, BYTE)
def test_only_a_mapped_controller_loses_its_usual_meaning(mapped, sent, value):
    player = Player({"number": mapped})
    player.cc(sent, value)
    assert player.taken == (mapped == sent)
    assert len(player.moves) == (mapped == sent)


@given(st.integers(1, 16), st.integers(0, 15))
def test_a_map_with_a_channel_hears_that_channel_alone(listens, channel):
    player = Player({"number": 20, "channel": listens})
    player.cc(20, 127, channel=channel)
    assert player.taken == (listens == channel + 1)
    assert player.values["x"] == float(listens == channel + 1)


def test_two_channels_turn_two_targets_with_one_number():
    player = Player({"number": 20, "channel": 1}, {"number": 20, "channel": 2, "target": "y"})
    player.cc(20, 127, channel=1)
    assert player.values == {"w": 0.0, "x": 0.0, "y": 1.0}


def test_one_controller_turns_all_its_targets():
    player = Player({"number": 20}, {"number": 20, "target": "y", "low": 5.0, "high": 4.0})
    player.cc(20, 127)
    assert player.values == {"w": 0.0, "x": 1.0, "y": 4.0}


@given(st.integers(1, 31).filter(lambda number: number != 6), BYTE, BYTE)
def test_fourteen_bits_come_in_two_halves(number, coarse, fine):
    player = Player({"number": number, "bits": 14})
    player.cc(number, coarse)
    player.cc(number + 32, fine)
    assert player.taken
    assert player.values["x"] == (coarse * 128 + fine) / 16383


def test_a_coarse_half_alone_reaches_both_ends():
    assert Player({"number": 16, "bits": 14}).cc(16, 0, 64, 127) == [0.0, 64 / 127, 1.0]


def test_a_coarse_half_after_a_fine_one_begins_at_fine_0():
    player = Player({"number": 16, "bits": 14})
    player.cc(16, 10)
    player.cc(48, 100)
    assert player.cc(16, 11) == [11 * 128 / 16383]


def test_the_fine_half_of_a_seven_bit_map_is_a_controller_of_its_own():
    player = Player({"number": 16}, {"number": 48, "target": "y"})
    player.cc(16, 127)
    player.cc(48, 0)
    assert player.values == {"w": 0.0, "x": 1.0, "y": 0.0}


@given(st.integers(0, 16382), BYTE, BYTE)
def test_an_nrpn_is_selected_and_entered_in_two_halves(number, coarse, fine):
    assert Player({"nrpn": number}).nrpn(number, (6, coarse), (38, fine)) == (coarse * 128 + fine) / 16383
    assert Player({"nrpn": number}).nrpn(number, (6, coarse)) == coarse / 127


@given(st.integers(0, 16382), st.integers(0, 16382))
def test_data_entry_reaches_only_the_parameter_that_is_selected(mapped, selected):
    player = Player({"nrpn": mapped})
    player.nrpn(selected, (6, 127))
    assert player.taken == (mapped == selected)
    assert player.values["x"] == float(mapped == selected)


@pytest.mark.parametrize("between", [(101, 0), (100, 0), (121, 0)], ids=str)
@pytest.mark.parametrize("entry", [6, 38, 96, 97])
def test_a_registered_parameter_or_a_reset_ends_the_selection(between, entry):
    player = Player({"nrpn": 300})
    player.nrpn(300, between, (entry, 127))
    assert not player.taken
    assert player.moves == []


def test_each_channel_selects_its_own_parameter():
    player = Player({"nrpn": 300}, {"nrpn": 301, "target": "y"})
    player.nrpn(300, channel=0)
    player.nrpn(301, channel=1)
    player.cc(6, 127, channel=0)
    assert player.values == {"w": 0.0, "x": 1.0, "y": 0.0}


@given(PART, st.lists(st.sampled_from([96, 97]), max_size=300))
def test_increments_walk_from_where_the_target_is_by_127ths(begin, steps):
    player = Player({"nrpn": 5, "low": -1.0, "high": 1.0}, present={"x": 2 * begin - 1})
    player.nrpn(5)
    place = begin
    for step in steps:
        player.cc(step, 0)
        place = min(max(place + (1 if step == 96 else -1) / 127, 0.0), 1.0)
        assert player.values["x"] == pytest.approx(2 * place - 1, abs=1e-9)


@given(st.integers(0, 126), st.floats(0.2, 5))
def test_an_increment_follows_the_curve_as_the_knob_does(value, curve):
    player = Player({"nrpn": 5, "low": 3.0, "high": -2.0, "curve": curve})
    player.nrpn(5, (6, value), (96, 0))
    assert player.values["x"] == pytest.approx(knob(value + 1, 3.0, -2.0, curve), abs=1e-6)


def test_an_increment_of_a_map_without_a_span_stays_where_it_is():
    assert Player({"nrpn": 5, "low": 2.0, "high": 2.0}).nrpn(5, (96, 0)) == 2.0


def test_channel_pressure_turns_its_target():
    player = Player({"pressure": "channel", "high": 127.0, "channel": 3})
    player.hear(ChannelPressure(1, 2, 90), ChannelPressure(2, 1, 50))
    assert player.moves == [(1, "x", 90.0)]


def test_the_hardest_pressed_key_that_is_down_counts():
    player = Player({"pressure": "key", "high": 127.0})
    player.hear(NoteOn(0, 0, 60, 1), NoteOn(0, 0, 64, 1))
    heard = player.hear(
        KeyPressure(0, 0, 60, 50),
        KeyPressure(0, 0, 64, 80),
        KeyPressure(0, 0, 64, 30),
        KeyPressure(0, 0, 70, 127),  # not down
        KeyPressure(0, 0, 64, 90),
        NoteOff(0, 0, 64),
        KeyPressure(0, 0, 64, 99),  # no longer down
        NoteOff(0, 0, 60),
    )
    assert heard == [50, 80, 50, 50, 90, 50, 50, 0]


KEYS = st.integers(60, 63)
ACTS = st.one_of(
    st.tuples(st.just("on"), KEYS),
    st.tuples(st.just("off"), KEYS),
    st.tuples(st.just("press"), KEYS, BYTE),
    st.tuples(st.just("cc"), st.sampled_from([120, 121, 123])),
)


@given(st.lists(ACTS, max_size=40))
def test_key_pressure_is_always_the_largest_of_the_keys_that_are_down(acts):
    player, down = Player({"pressure": "key", "high": 127.0}), {}
    for act, key, *value in acts:
        if act == "on":
            player.hear(NoteOn(0, 0, key, 1))
            down.setdefault(key, 0)
        elif act == "off":
            player.hear(NoteOff(0, 0, key))
            down.pop(key, None)
        elif act == "press":
            player.hear(KeyPressure(0, 0, key, *value))
            down |= {key: value[0]} if key in down else {}
        else:
            player.cc(key, 0)
            down = dict.fromkeys(down, 0) if key == 121 else {}
        assert player.values["x"] == max(down.values(), default=0)


def test_reset_controllers_takes_pressure_away_but_moves_nothing_that_was_not_pressed():
    player = Player({"pressure": "channel", "low": 0.25}, present={"x": 0.7})
    player.cc(121, 0)
    assert player.values["x"] == 0.7
    player.hear(ChannelPressure(0, 0, 127))
    player.cc(121, 0)
    assert player.values["x"] == 0.25


# By MIDI RP-015: what each controller is after a reset, None where it stays.
@pytest.mark.parametrize(
    ("number", "rests"),
    [
        (1, 0),
        (11, 127),
        (65, 0),
        (66, 0),
        (67, 0),
        *((n, None) for n in (2, 4, 5, 7, 8, 10, 12, 68, 70, 74, 79, 91, 95)),
    ],
)
def test_a_reset_moves_what_has_a_rest_position_there_and_leaves_all_other_knobs(number, rests):
    player = Player({"number": number, "low": 0.0, "high": 127.0})
    player.cc(number, 50)
    assert player.cc(121, 0, channel=1) == [50]
    assert player.cc(121, 0, channel=0) == [50 if rests is None else rests]
    assert not player.taken


def test_a_reset_takes_both_halves_of_the_wheel_to_rest_and_moves_no_wheel_that_was_never_moved():
    player = Player({"number": 1, "bits": 14, "low": -1.0}, present={"x": 0.3})
    player.cc(121, 0)
    assert player.moves == []
    player.cc(33, 5)
    player.cc(121, 0)
    assert player.values["x"] == -1.0


def test_a_reset_takes_both_halves_of_expression_to_its_end():
    player = Player({"number": 11, "bits": 14, "low": -60.0, "high": 12.0})
    player.cc(11, 20)
    player.cc(43, 5)
    player.cc(121, 0)
    assert player.values["x"] == 12.0


@pytest.mark.parametrize("takeover", ["pickup", "scale"])
def test_the_first_message_of_a_knob_only_tells_where_it_stands(takeover):
    player = Player({"number": 20, "takeover": takeover}, present={"x": 0.5})
    assert player.cc(20, 100) == [0.5]


@given(PART, st.lists(BYTE, min_size=1, max_size=30))
def test_pickup_moves_nothing_until_the_knob_passes_the_value_and_then_all(present, values):
    player = Player({"number": 20, "takeover": "pickup"}, present={"x": present})
    passed, before = False, None
    for value in values:
        after = player.cc(20, value)[0]
        if before is not None and min(before, value) / 127 <= present <= max(before, value) / 127 and value != before:
            passed = True
        assert after == (value / 127 if passed else present)
        before = value


def test_pickup_of_a_value_beyond_the_knobs_range_is_at_its_end():
    player = Player({"number": 20, "takeover": "pickup", "low": 0.5}, present={"x": 0.2})
    assert player.cc(20, 64, 1) == [0.2, 0.2]
    assert player.cc(20, 0, 127) == [0.5, 1.0]


@pytest.mark.parametrize("takeover", ["pickup", "scale"])
def test_a_knob_loses_its_target_to_another_that_moves_it(takeover):
    player = Player({"number": 20, "takeover": takeover}, {"number": 21})
    assert player.cc(20, 0, 64) == [0.0, 64 / 127]
    assert player.cc(21, 127) == [1.0]
    assert player.cc(20, 63)[0] > 0.9


@given(PART, st.floats(0.2, 5), st.lists(BYTE, min_size=2, max_size=30))
def test_scaled_takeover_never_goes_against_the_knob_and_meets_it_at_both_ends(present, curve, values):
    player = Player({"number": 20, "takeover": "scale", "curve": curve}, present={"x": present})
    path = [present, *player.cc(20, values[0])]
    for before, value in itertools.pairwise(values):
        path += player.cc(20, value)
        assert (path[-1] - path[-2]) * (value - before) >= 0
        assert 0 <= path[-1] <= 1
    if values[-1] != values[-2] and values[-1] in (0, 127):
        assert path[-1] == values[-1] / 127
        assert player.cc(20, 77) == [knob(77, 0.0, 1.0, curve)]


@given(st.floats(0.01, 0.99), BYTE, BYTE)
def test_scaled_takeover_covers_the_part_of_its_way_that_the_knob_covers_of_its_own(present, first, second):
    player = Player({"number": 20, "takeover": "scale"}, present={"x": present})
    found = player.cc(20, first, second)[-1]
    if second > first:
        expected = present + (1 - present) * (second - first) / (127 - first)
    else:
        expected = present * second / first if first else present
    assert found == pytest.approx(expected, abs=1e-12)


@given(st.floats(0.01, 0.99), BYTE, BYTE)
def test_scaled_takeover_of_a_knob_that_counts_down_covers_the_same_part_of_its_way(present, first, second):
    up, down = (
        Player({"number": 20, "takeover": "scale", "low": low, "high": 1.0 - low}, present={"x": value})
        for low, value in ((0.0, present), (1.0, 1.0 - present))
    )
    assert down.cc(20, first, second) == pytest.approx([1.0 - value for value in up.cc(20, first, second)], abs=1e-12)


def test_a_knob_that_steps_have_moved_stands_where_it_moved_its_target():
    player = Player({"nrpn": 300, "takeover": "pickup"})
    player.nrpn(300, (6, 64))
    stepped = player.nrpn(300, (96, 0), (96, 0))
    assert 0 < stepped < 0.1
    assert player.nrpn(300, (6, 100)) == 100 / 127


def test_a_knob_waits_from_its_first_word_until_it_meets_its_target_and_says_where_it_stands():
    player = Player({"number": 20, "takeover": "pickup"}, {"number": 21}, present={"x": 0.5})
    waits = []
    for number, value in [(21, 0), (20, 127), (20, 0), (21, 127), (20, 0), (20, 127)]:
        player.cc(number, value)
        waits.append(player.mapper.waiting())
    stands = {("x", "CC 20"): 1.0}
    assert waits == [{}, stands, {}, {("x", "CC 20"): 0.0}, {("x", "CC 20"): 0.0}, {}]


@given(VALUE, VALUE, VALUE, st.floats(0.1, 8), st.lists(BYTE, max_size=20), st.sampled_from(["pickup", "scale"]))
def test_no_takeover_leaves_the_span_of_its_range_and_the_value_it_began_at(low, high, present, curve, values, how):
    entry = {"number": 20, "takeover": how, "low": low, "high": high, "curve": curve}
    player = Player(entry, present={"x": present})
    for after in player.cc(20, *values):
        assert min(low, high, present) <= after <= max(low, high, present)


@given(PART, BYTE, BYTE)
def test_a_knob_that_waits_to_pass_waits_again_after_a_turn(place, first, second):
    player = Player({"number": 20, "takeover": "pickup"})
    assert player.cc(20, 0, 127) == [0.0, 1.0]
    assert player.hear(ParameterChange(7, 3, "x", place)) == [place]
    passes = min(127, first) / 127 <= place <= max(127, first) / 127 and first != 127
    assert player.cc(20, first) == [first / 127 if passes or place == 1.0 else place]
    assert player.cc(20, second)[0] in (place, second / 127)


def test_what_was_turned_stands_for_the_next_player_and_what_was_pressed_alone_does_not():
    player = Player({"number": 20}, {"pressure": "channel", "target": "y"})
    assert player.mapper.standing() == {}
    player.hear(ChannelPressure(0, 0, 127), ParameterChange(1, 0, "y", 0.5), ParameterChange(2, 0, "z", 0.5))
    assert player.mapper.standing() == {}  # beyond its reach
    player.hear(
        ParameterChange(2, 0, "x", 5.0), ParameterChange(2, 0, "w", 0.5)
    )  # a map's target, and one that no map has
    assert player.mapper.standing() == {"w": 0.5, "x": 2.0}


HEAD = 'format = 1\nmodel = "m.onnx"\n'
CC = HEAD + "[[cc]]\nnumber = 20\ntarget = 'gain'\nlow = -6\nhigh = 0\n"
MORE = "[[cc]]\ntarget = 'gain'\nlow = -6\nhigh = 0\n"
WRONG = {
    CC.replace("number = 20", ""): "[[cc]] 1: nothing to listen to; give one of number, nrpn, pressure",
    CC + "nrpn = 3": "number and nrpn to listen to; give one",
    CC + "pressure = 'key'": "number and pressure to listen to; give one",
    CC.replace("number = 20", "pressure = 'poly'"): "= 'poly' should be 'channel' or 'key'",
    CC.replace("number = 20", "nrpn = 16384"): "[[cc]] 1: nrpn",
    CC.replace("number = 20", "nrpn = 16383"): "NRPN 16383 selects nothing in MIDI; use 0 to 16382",
    CC.replace("number = 20", "nrpn = 5\nbits = 14"): "bits = 14 goes with number 1 to 31",
    CC.replace("20", "74\nbits = 14"): "whose fine half is 32 above, not with CC 74",
    CC.replace("20", "32\nbits = 14"): "CC 32 has a fixed meaning in MIDI",
    CC.replace("20", "6\nbits = 14"): "CC 6 has a fixed meaning in MIDI",
    CC + "bits = 8": "= 8 should be 7 or 14",
    CC + "channel = 0": "[[cc]] 1: channel",
    CC + "channel = 17": "[[cc]] 1: channel",
    CC + "takeover = 'catch'": "= 'catch' should be 'jump', 'pickup' or 'scale'",
    CC + "takover = 'jump'": "[[cc]] 1: unknown key 'takover'; did you mean 'takeover'?",
    CC + MORE + "number = 20\nchannel = 3": "CC 20 is mapped to 'gain' twice",
    CC + "bits = 14\n" + MORE + "number = 52": "CC 52 is the fine half of CC 20, which has bits = 14; use another",
    HEAD + 2 * (MORE + "nrpn = 7\n"): "NRPN 7 is mapped to 'gain' twice",
    HEAD + 2 * (MORE + "pressure = 'key'\n"): "key pressure is mapped to 'gain' twice",
}


@pytest.mark.parametrize("text", WRONG, ids=range(len(WRONG)))
def test_a_wrong_map_is_refused_with_what_is_allowed(tmp_path, text):
    path = tmp_path / "made.toml"
    path.write_text(text)
    with pytest.raises(UserError) as caught:
        read_preset(path)
    assert WRONG[text] in str(caught.value)
    assert "\n" not in str(caught.value)


def test_maps_that_never_meet_may_share_a_number(make_preset):
    entry = {"number": 20, "target": "gain", "low": -6.0, "high": 0.0}
    make_preset(cc=[entry | {"channel": 1, "bits": 14}, entry | {"channel": 2}, entry | {"channel": 3, "number": 52}])


@pytest.mark.parametrize("takeover", ["pickup", "scale"])
def test_takeover_of_an_effect_asks_for_the_value_that_it_starts_at(make_instrument, takeover):
    entry = {"number": 20, "target": "effects.0.room_size", "low": 0.0, "high": 1.0, "takeover": takeover}
    with pytest.raises(UserError, match=rf"takeover = '{takeover}' needs .*; set room_size in \[\[effects\]\] 1"):
        make_instrument(cc=[entry], effects=[{"plugin": "Reverb"}])
    make_instrument(cc=[entry], effects=[{"plugin": "Reverb", "room_size": 0.3}])


def test_a_map_out_of_range_is_named_by_its_source(make_instrument):
    entry = {"nrpn": 300, "target": "pan", "low": -2.0, "high": 1.0}
    with pytest.raises(UserError, match=r"NRPN 300 to 'pan': low = -2 is out of range \[-1, 1\]"):
        make_instrument(cc=[entry])


@pytest.mark.parametrize(
    ("relative", "up", "down", "fast"), [("65/63", 65, 63, 74), ("1/127", 1, 127, 10), ("1/65", 1, 65, 10)]
)
def test_an_encoder_moves_its_target_from_wherever_it_is(relative, up, down, fast):
    player = Player({"number": 20, "relative": relative}, present={"x": 0.5})
    step = 1 / 127
    assert player.cc(20, up, up, down, fast) == pytest.approx([0.5 + count * step for count in (1, 2, 1, 11)])
    assert player.taken
    player.hear(ParameterChange(7, 0, "x", 0.2))
    assert player.cc(20, down) == pytest.approx([0.2 - step])
    assert player.cc(20, *[down] * 40)[-1] == 0.0
    assert player.mapper.standing() == {"x": 0.0}


def test_an_encoder_and_a_knob_of_one_number_go_by_their_channels():
    player = Player({"number": 20, "relative": "65/63", "channel": 1}, {"number": 20, "channel": 2})
    assert player.cc(20, 66) == pytest.approx([2 / 127])
    assert player.cc(20, 127, channel=1) == [1.0]


@pytest.mark.parametrize("entry", [{"nrpn": 3}, {"pressure": "key"}, {"number": 16, "bits": 14}])
def test_relative_goes_with_a_controller_of_seven_bits(entry):
    with pytest.raises(ValueError, match="relative = '1/65' goes with number and 7 bits"):
        CCMap.model_validate({"target": "x", "relative": "1/65"} | entry)
