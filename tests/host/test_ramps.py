"""Ramps and knobs, by properties: what they reach, how far they step, and that division into blocks changes nothing."""

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from timbrel.host.events import RESERVED_CC
from timbrel.host.preset.preset import PLAY_CONTROLS
from timbrel.host.ramps import Ramp, knob, nudge

VALUES = st.floats(-1000, 1000, allow_subnormal=False)
MOVES = st.lists(st.tuples(st.integers(0, 60), VALUES), max_size=8)  # samples since the move before, and where to
LENGTHS = st.integers(1, 100)


def moved(value, length, moves):
    """A ramp after its moves, and the time of each."""
    ramp, time, times = Ramp(value, length), 0, []
    for wait, target in moves:
        time += wait
        ramp.move(time, target)
        times.append(time)
    return ramp, times


@given(VALUES, LENGTHS, MOVES)
def test_a_ramp_rests_at_its_last_target_exactly(value, length, moves):
    ramp, times = moved(value, length, moves)
    last = moves[-1][1] if moves else value
    end = (times[-1] if times else 0) + length
    assert ramp.target == last
    assert np.all(ramp.values(np.arange(end, end + 5)) == last)


@given(VALUES, LENGTHS, MOVES)
def test_a_ramp_never_steps_further_than_its_range_over_its_length(value, length, moves):
    ramp, times = moved(value, length, moves)
    spread = np.ptp([value, *(target for _, target in moves)])
    path = ramp.values(np.arange(0, (times[-1] if times else 0) + length + 5))
    assert np.abs(np.diff(path)).max() <= spread / length + 1e-9
    assert path.min() >= min([value, *(t for _, t in moves)]) - 1e-9
    assert path.max() <= max([value, *(t for _, t in moves)]) + 1e-9


@given(VALUES, LENGTHS, VALUES)
def test_one_move_is_a_straight_line(value, length, target):
    ramp, _ = moved(value, length, [(7, target)])
    time = np.arange(0, length + 20)
    assert ramp.values(time) == pytest.approx(np.interp(time, [7, 7 + length], [value, target]), abs=1e-9)


@given(VALUES, LENGTHS, MOVES)
def test_moves_do_not_change_what_was_before_them(value, length, moves):
    ramp, time = Ramp(value, length), 0
    for wait, target in moves:
        time += wait
        before = ramp.values(np.arange(0, time + 1))
        ramp.move(time, target)
        assert np.array_equal(ramp.values(np.arange(0, time + 1)), before)


@given(VALUES, LENGTHS, MOVES, st.lists(st.integers(1, 70), min_size=1, max_size=10))
def test_blocks_give_the_samples_of_the_whole_to_the_bit(value, length, moves, sizes):
    whole, times = moved(value, length, moves)
    end = (times[-1] if times else 0) + length + 50
    expected = whole.values(np.arange(end)).astype(np.float32)
    ramp, at, turn, blocks = Ramp(value, length), 0, 0, []
    pending = list(zip(times, [target for _, target in moves], strict=True))
    while at < end:
        size = min(sizes[turn % len(sizes)], end - at)
        while pending and pending[0][0] < at + size:
            ramp.move(*pending.pop(0))
        blocks.append(np.broadcast_to(ramp.block(at, size), size))
        ramp.forget(at + size)
        at, turn = at + size, turn + 1
    joined = np.concatenate(blocks)
    assert joined.dtype == np.float32
    assert np.array_equal(joined, expected)


@given(st.lists(VALUES, min_size=1, max_size=6))
def test_of_moves_at_one_sample_the_last_counts(targets):
    ramp, straight = Ramp(0.25, 40), Ramp(0.25, 40)
    for target in targets:
        ramp.move(10, target)
    straight.move(10, targets[-1])
    assert ramp.values(np.arange(60)) == pytest.approx(straight.values(np.arange(60)), abs=1e-12)


def test_a_ramp_that_rests_gives_one_number_a_block():
    ramp = Ramp(0.5, 10)
    ramp.move(100, 1.0)
    assert np.ndim(ramp.block(100, 20)) == 1
    ramp.forget(120)
    assert np.ndim(ramp.block(120, 20)) == 0


@given(
    st.floats(-1e6, 1e6, allow_subnormal=False),
    st.floats(-1e6, 1e6, allow_subnormal=False),
    st.floats(0.001, 16),
    st.integers(0, 127),
)
def test_a_knob_hits_both_ends_exactly_and_never_leaves_its_range(low, high, curve, value):
    assert knob(0, low, high, curve) == low
    assert knob(127, low, high, curve) == high
    assert min(low, high) <= knob(value, low, high, curve) <= max(low, high)


@given(st.floats(-100, 100, allow_subnormal=False), st.floats(0.1, 100), st.floats(0.1, 8))
@example(low=-24.6875, span=0.125, curve=7.6875)  # where two steps are as far apart as rounding
def test_a_knob_that_is_turned_up_never_goes_down_but_for_rounding(low, span, curve):
    steps = [knob(value, low, low + span, curve) for value in range(128)]
    assert np.all(np.diff(steps) >= -4 * np.spacing(abs(low) + span))


def test_the_curve_bends_a_knob_as_its_formula_says():
    assert knob(64, 0.0, 1.0, 1.0) == pytest.approx(64 / 127)
    assert knob(64, 10.0, 20.0, 2.0) == pytest.approx(10 + 10 * (64 / 127) ** 2)
    assert knob(64, 20.0, 10.0, 0.5) == pytest.approx(20 - 10 * (64 / 127) ** 0.5)


def test_controllers_with_a_fixed_meaning_are_reserved_and_the_usual_knobs_are_free():
    fixed = {0, 32, 6, 38, 64, 96, 97, 98, 99, 100, 101, 120, 121, 122, 123, 124, 125, 126, 127}
    assert fixed <= RESERVED_CC
    assert not RESERVED_CC & {1, 2, 4, 7, 10, 11, *range(16, 20), *range(70, 80)}


def test_every_play_control_has_a_range_and_a_unit():
    assert all(control.low < control.high and control.unit for control in PLAY_CONTROLS.values())
    assert all(name == control.name for name, control in PLAY_CONTROLS.items())


def test_a_move_at_every_sample_is_followed_as_fast_as_the_ramp_allows():
    ramp = Ramp(0.0, 100)
    for time in range(3000):
        ramp.move(time, float(time % 2))
    path = ramp.block(0, 3200)
    assert np.abs(np.diff(path)).max() <= 0.01 + 1e-6
    assert path[-1] == ramp.target == 1.0


@given(VALUES, LENGTHS, MOVES, st.integers(0, 300))
def test_one_value_is_to_the_bit_what_an_array_of_times_gives(value, length, moves, forgotten):
    ramp, times = moved(value, length, moves)
    ramp.forget(forgotten)
    ahead = np.arange(forgotten, (times[-1] if times else 0) + forgotten + length + 5)
    assert [ramp.value(int(time)) for time in ahead] == ramp.values(ahead).tolist()


@given(VALUES, LENGTHS, MOVES, VALUES)
def test_a_jump_is_there_at_once_and_a_move_after_it_begins_there(value, length, moves, target):
    ramp, times = moved(value, length, moves)
    time = (times[-1] if times else 0) + 3
    before = ramp.values(np.arange(time))
    ramp.jump(time, target)
    assert ramp.value(time) == ramp.value(time + 1000) == ramp.target == target
    ramp.move(time, target + 10.0)
    assert ramp.value(time) == target
    assert np.array_equal(ramp.values(np.arange(time)), before)


def test_a_move_may_take_a_time_of_its_own():
    ramp = Ramp(0.0, 10)
    ramp.move(5, 1.0, 400.5)
    assert ramp.value(105) == 100 / 400.5
    assert ramp.value(406) == 1.0


@given(st.integers(0, 16383), st.floats(0.1, 8))
def test_a_finer_knob_goes_the_same_way_as_a_coarse_one(value, curve):
    assert knob(value, 2.0, 5.0, curve, 16383) == pytest.approx(2.0 + 3.0 * (value / 16383) ** curve)


@given(st.floats(-50, 50, allow_subnormal=False), st.integers(-200, 200), st.floats(0.2, 5))
def test_a_nudge_never_leaves_the_knobs_range(value, steps, curve):
    assert -1.0 <= nudge(value, steps, -1.0, 1.0, curve) <= 1.0
    assert -1.0 <= nudge(value, steps, 1.0, -1.0, curve) <= 1.0


@pytest.mark.parametrize("curve", [0.5, 1.0, 2.0])
@pytest.mark.parametrize(("value", "steps", "end"), [(7.0, 0, 5.0), (5.0, 9, 5.0), (-9.0, 0, 1.0), (1.0, -9, 1.0)])
def test_a_nudge_from_beyond_an_end_or_past_it_comes_to_that_end(value, steps, end, curve):
    assert nudge(value, steps, 1.0, 5.0, curve) == end
    assert nudge(value, -1, 1.0, 5.0, 1.0) == pytest.approx(min(max(value, 1.0), 5.0) - 4 / 127 * (value > 1.0))


@given(st.integers(1, 126), st.integers(-1, 1), st.floats(0.5, 5))  # a smaller curve makes rounding at 0 large
def test_a_nudge_is_a_step_of_the_knob(value, steps, curve):
    found = nudge(knob(value, 3.0, -4.0, curve), steps, 3.0, -4.0, curve)
    assert found == pytest.approx(knob(value + steps, 3.0, -4.0, curve), abs=1e-6)
