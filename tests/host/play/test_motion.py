"""Shapes and paths in closed form, and the sound of both in blocks."""

import math
import pickle

import numpy as np
import pytest
import scipy.signal
from hypothesis import given
from hypothesis import strategies as st
from timbrel.host.events import ChannelPressure, Clock, ControlChange, KeyPressure, NoteOff, NoteOn
from timbrel.host.ramps import RAMP_SECONDS
from timbrel.host.signal import white_noise

from .motions import MAPS, MOTIONS, PATH, RAMP, RATE, SHAPES, TIMED_PATH, WALKING, lfo, path_of, ticks

PART = st.floats(0, 0.5, allow_subnormal=False)


@given(st.floats(0.01, 20), PART, PART, st.lists(st.integers(0, 10**8), min_size=1))
def test_a_sine_goes_around_its_knob(make_latents, rate_hz, phase, depth, times):
    found = path_of(make_latents(lfo(rate_hz=rate_hz, phase=phase, depth=depth)), times)
    cycles = rate_hz * np.array(times) / RATE + phase
    assert found[:, 0] == pytest.approx(0.5 + depth * np.sin(2 * np.pi * cycles), abs=1e-6)
    assert np.all(found[:, 1] == 0.5)


REFERENCES = {
    "triangle": lambda angle: scipy.signal.sawtooth(angle + np.pi / 2, 0.5),
    "saw": scipy.signal.sawtooth,
    "square": scipy.signal.square,
}


@pytest.mark.parametrize("shape", REFERENCES)
def test_a_shape_is_the_textbooks_but_for_its_edges(make_latents, shape):
    times = np.arange(3, 3 * RATE, 37)
    found = path_of(make_latents(lfo(shape, rate_hz=1.0, depth=0.5)), times)[:, 0]
    part = times / RATE % 1.0
    far = np.minimum.reduce([np.abs(part - edge) for edge in (0.0, 0.5, 1.0)]) > RAMP_SECONDS
    expected = 0.5 + 0.5 * REFERENCES[shape](2 * np.pi * times / RATE)
    assert found[far] == pytest.approx(expected[far], abs=0.025 if shape == "saw" else 1e-6)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("speed", [{"rate_hz": 1.0}, {"rate_hz": 20.0}, {"rate_hz": None, "beats": 0.125}], ids=str)
def test_no_shape_goes_faster_than_a_knob_or_a_sine_of_its_rate(make_latents, shape, speed):
    found = path_of(make_latents(lfo(shape, depth=0.5, **speed)), range(RATE))[:, 0]
    fastest_hz = 20.0
    assert np.abs(np.diff(found)).max() <= max(1 / RAMP, np.pi * fastest_hz / RATE) * 1.01
    assert np.ptp(found) > 0.15


def test_low_and_high_are_added_to_the_knob(make_latents):
    latents = make_latents(lfo(depth=None, low=-0.1, high=0.4, rate_hz=1.0))
    found = path_of(latents, range(0, RATE, 10))[:, 0]
    assert found.min() == pytest.approx(0.4, abs=1e-6)
    assert found.max() == pytest.approx(0.9, abs=1e-6)


def test_a_random_motion_goes_straight_from_one_stored_value_to_the_next(make_latents):
    found = path_of(make_latents(lfo("random", rate_hz=1.0, depth=0.5)), range(0, 5 * RATE, RATE // 2))[:, 0]
    values = 0.5 + 0.5 * white_noise(5).astype(np.float64)
    assert found[::2] == pytest.approx(values, abs=1e-6)
    assert found[1:-1:2] == pytest.approx((values[:-1] + values[1:]) / 2, abs=1e-6)


def test_two_random_motions_go_two_ways(make_latents):
    latents = make_latents(lfo("random"), lfo("random", target="latent.1"))
    found = path_of(latents, range(0, 60 * RATE, 999))
    assert abs(np.corrcoef(found.T)[0, 1]) < 0.3


def test_motions_of_one_latent_add_up_and_stay_in_the_span_of_the_card(make_latents):
    motions = [lfo(depth=0.3, rate_hz=1.0), lfo("triangle", depth=0.4, rate_hz=3.0)]
    times = range(0, RATE, 50)
    both = path_of(make_latents(*motions), times)[:, 0]
    apart = [path_of(make_latents(motion), times)[:, 0] - 0.5 for motion in motions]
    assert both == pytest.approx(np.clip(0.5 + apart[0] + apart[1], 0.0, 1.0), abs=1e-12)
    assert both.max() == 1.0


def test_a_latent_that_nothing_moves_may_be_turned_beyond_its_span(make_latents):
    latents = make_latents(lfo())
    latents.turn(0, "latent.1", 3.0)
    latents.turn(0, "latent.0", 3.0)
    assert latents.row(RAMP) == (1.0, 3.0)


def test_a_path_visits_its_codes_in_turn_by_straight_lines_and_returns(make_latents):
    latents = make_latents({"path": PATH, "rate_hz": 1.0})
    times = np.arange(0, 2 * RATE, 50)
    corners = np.array([*PATH, *PATH, PATH[0]])
    expected = [np.interp(times, np.arange(7) * RATE / 3, corners[:, latent]) for latent in (0, 1)]
    assert path_of(latents, times) == pytest.approx(np.array(expected).T, abs=1e-9)


def test_a_path_takes_the_place_of_the_knobs_and_a_shape_is_added_to_it(make_latents):
    still = {"path": [[0.3, 0.6]] * 2, "rate_hz": 1.0}
    latents = make_latents(lfo(rate_hz=1.0), still)  # in any order
    latents.turn(0, "latent.0", 0.9)
    assert latents.row(RATE // 4)[0] == pytest.approx(0.3 + 0.25, abs=1e-6)
    assert latents.row(RATE // 4)[1] == 0.6


TIMES = st.lists(st.floats(0.001, 5), min_size=2, max_size=8).map(lambda waits: np.cumsum(waits).tolist())


@given(TIMES, st.booleans(), st.lists(st.integers(0, 60 * RATE), min_size=1))
def test_a_path_with_times_is_at_each_code_at_its_time_and_rests_or_goes_round(make_latents, times, loop, asked):
    codes = np.random.default_rng(len(times)).uniform(0, 1, (len(times) - loop, 2))
    if len(codes) < 2:
        return
    latents = make_latents({"path": codes.tolist(), "times": times, "loop": loop})
    corners = np.array([*codes, codes[0]]) if loop else codes
    seconds = np.array(asked) / RATE
    if loop:
        late = seconds > times[-1]
        seconds[late] = times[0] + (seconds[late] - times[0]) % (times[-1] - times[0])
    expected = [np.interp(seconds, times, corners[:, latent]) for latent in (0, 1)]
    assert path_of(latents, asked) == pytest.approx(np.array(expected).T, abs=1e-6)


def test_the_legs_of_a_path_with_times_may_be_great_circles(make_latents):
    ends = [[1.0, 0.5], [0.5, 1.0]]  # a quarter of the circle around the middle of the spans
    latents = make_latents({"path": ends, "times": [0, 1], "legs": "spherical"})
    assert latents.row(RATE // 2) == pytest.approx([0.5 + math.sqrt(0.125)] * 2, abs=1e-4)
    assert [latents.row(time) for time in (0, RATE, 9 * RATE)] == [(1.0, 0.5), (0.5, 1.0), (0.5, 1.0)]


def test_who_looks_at_the_latents_early_does_not_keep_them_from_moving(make_latents):
    latents = make_latents(lfo(rate_hz=None, beats=1.0))
    ahead = np.arange(1000, 4000, 100)
    seen = latents.codes_at(ahead)
    for act in (lambda: latents.turn(1000, "latent.0", 0.9), lambda: latents.keep_time(Clock(1500, "start"))):
        act()
        assert not np.array_equal(latents.codes_at(ahead), seen)
        seen = latents.codes_at(ahead)
        assert seen.dtype == np.float32
        assert np.array_equal(seen, path_of(latents, ahead).astype(np.float32))


@pytest.mark.parametrize("motions", [MOTIONS, [lfo(), WALKING]], ids=["cycles", "walk"])
def test_what_is_past_takes_no_memory_and_changes_nothing_to_come(make_latents, motions):
    kept, forgetful = make_latents(*motions), make_latents(*motions)
    sizes = []
    for tick in ticks(100, 300.5, 800):
        for latents in (kept, forgetful):
            latents.turn(tick.time, "latent.0", tick.time % 7 / 7)
            latents.keep_time(tick)
        assert np.array_equal(
            forgetful.codes_at(np.array([tick.time + 100])), kept.codes_at(np.array([tick.time + 100]))
        )
        forgetful.forget(tick.time)
        sizes.append(len(pickle.dumps(forgetful)))
    assert max(sizes[100:]) < 1.1 * max(sizes[:100])


EFFECTS = [{"plugin": "LowpassFilter", "cutoff_frequency_hz": 2000.0}, {"plugin": "Chorus"}]


def performance(seed, count, motions):
    """Notes, every source that a map can hear, and a clock that starts, stops and wavers."""
    rng = np.random.default_rng(seed)
    events = []
    for _ in range(12):
        on, key = int(rng.integers(count)), int(rng.integers(48, 80))
        events += [NoteOn(on, 0, key, 100), NoteOff(on + int(rng.integers(200, 6000)), 0, key)]
        events += [KeyPressure(on + wait, 0, key, int(rng.integers(128))) for wait in (5, 300, 1200)]
    for _ in range(60):
        time = int(rng.integers(count))
        events.append(ControlChange(time, 0, int(rng.choice([16, 48, 20, 6, 38, 96, 97])), int(rng.integers(128))))
        events.append(ChannelPressure(int(rng.integers(count)), 0, int(rng.integers(128))))
    events += [ControlChange(50, 0, 99, 2), ControlChange(50, 0, 98, 44), ControlChange(count // 2, 0, 121, 0)]
    if motions:
        events += [Clock(int(rng.integers(count)), what) for what in ("start", "start", "stop", "continue")]
        events += [Clock(time, "tick") for time in np.cumsum(rng.integers(150, 400, 40)).tolist()]
    return sorted((event for event in events if event.time < count), key=lambda event: event.time)


@pytest.mark.parametrize(
    ("motions", "rate"),
    [([], RATE), (MOTIONS, 48000), ([TIMED_PATH], RATE), ([WALKING], 48000)],
    ids=["still", "moving", "times", "walk"],
)
def test_maps_and_motion_sound_the_same_in_blocks_of_any_size(make_instrument, play, rate, motions):
    keys = {"cc": MAPS, "effects": EFFECTS, "motion": motions}
    events = performance(5, 14_000, motions)
    expected = play(make_instrument(rate, **keys), events, 14_000)
    assert np.abs(expected).max() > 0.01
    for sizes in ([64], [128], [999], [8193], [1, 7, 500, 64, 3000, 128]):
        assert np.array_equal(play(make_instrument(rate, **keys), events, 14_000, sizes), expected)


def test_motion_is_heard(make_instrument, play):
    note = [NoteOn(0, 0, 60, 100)]
    still = play(make_instrument(), note, 10_000)
    assert not np.array_equal(play(make_instrument(motion=[lfo()]), note, 10_000), still)
    held = {"path": [[0.5, 0.5], [0.5, 0.5]], "rate_hz": 1.0}
    assert np.array_equal(play(make_instrument(motion=[held]), note, 10_000), still)


def test_voices_that_move_together_share_decodes(make_instrument, tiny, monkeypatch):
    model, rows = tiny(), []
    decode = model.decode
    monkeypatch.setattr(model, "decode", lambda latents, *rest: rows.append(len(latents)) or decode(latents, *rest))
    instrument = make_instrument(model=model, motion=MOTIONS)
    hop = model.card.hop_length
    instrument.process([NoteOn(0, 0, 12 * octave, 100) for octave in range(2, 10)], hop)
    rows.clear()
    for _ in range(40):
        instrument.process([], hop)
    assert sum(rows) <= 41


def test_a_pickup_starts_at_what_the_preset_sets_of_its_effect(make_instrument, play):
    keys = {"effects": EFFECTS, "cc": MAPS}
    low = [NoteOn(0, 0, 60, 100), *(ControlChange(i, 0, n, v) for i, (n, v) in enumerate([(99, 2), (98, 44), (6, 0)]))]
    untouched = play(make_instrument(**keys), low[:1], 8000)
    assert np.array_equal(play(make_instrument(**keys), [*low, ControlChange(9, 0, 6, 10)], 8000), untouched)
    assert not np.array_equal(play(make_instrument(**keys), [*low, ControlChange(9, 0, 6, 90)], 8000), untouched)
