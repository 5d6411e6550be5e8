"""What moves by itself: shapes in closed form, the beat of the clock by properties, and the sound of both in blocks."""

import itertools
import math
import pickle
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import scipy.signal
from hypothesis import given, settings
from hypothesis import strategies as st
from timbrel.host.contract.card import Card
from timbrel.host.controls import RAMP_SECONDS
from timbrel.host.dsp import white_noise
from timbrel.host.errors import UserError
from timbrel.host.events import ChannelPressure, Clock, ControlChange, KeyPressure, NoteOff, NoteOn
from timbrel.host.patch.agreement import check
from timbrel.host.patch.reading import read_preset
from timbrel.host.play.beats import Beats
from timbrel.host.play.motion import Latents

RATE = 22050
RAMP = round(RAMP_SECONDS * RATE)
PART = st.floats(0, 0.5, allow_subnormal=False)
SHAPES = ["sine", "triangle", "saw", "square", "random"]
PATH = [[0.1, 0.9], [0.8, 0.2], [0.5, 0.5]]


@pytest.fixture(scope="session")
def make_latents(make_preset, tiny):
    """A function that makes the latents of a preset with these motions on the smallest model, whose span is 0 to 1."""

    def make(*motions, **keys):
        return Latents(make_preset(motion=list(motions), **keys), tiny().card, RATE)

    return make


def path_of(latents, times):
    """Latents at times, [times, n_latents], one at a time."""
    return np.array([latents.row(int(time)) for time in times])


def lfo(shape="sine", **keys):
    return {"target": "latent.0", "shape": shape, "depth": 0.25, "rate_hz": 2.0} | keys


TIMED_PATH = {"path": PATH, "times": [0.1, 0.2, 0.45, 0.5], "loop": True, "legs": "spherical"}
WALKING = {"walk": {"speed": 4.0, "bound": 0.8, "seed": 3}}
MOTIONS = [
    {"path": PATH, "beats": 2.0, "phase": 0.3},
    lfo("random", rate_hz=6.0),
    lfo("saw", rate_hz=None, beats=0.5, target="latent.1"),
    lfo("square", rate_hz=None, beats=1.5, depth=0.1),
]


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


SPAN = (-2.0, 3.0)


def walking_card(analytic, marks, deviations):
    """A card whose latents span -2 to 3, with landmarks [marks, n] and the deviations of its latents."""
    fields = analytic(latents=len(deviations)).card(
        landmarks=[{"latent": mark, "chroma": 0, "label": "a mark"} for mark in np.asarray(marks).tolist()]
    )
    for latent, deviation in zip(fields["latents"], deviations, strict=True):
        latent |= {"low": SPAN[0], "high": SPAN[1], "std": deviation}
    return Card.model_validate(fields)


@pytest.fixture(scope="session")
def make_walk(analytic, make_preset):
    """A function that makes the latents of a walk around landmarks, and how far codes are from these, in deviations."""

    def make(marks, deviations, start=None, **walk):
        card, marks = walking_card(analytic, marks, deviations), np.asarray(marks)
        start = marks[0].tolist() if start is None else start
        latents = Latents(make_preset(motion=[{"walk": walk}], latent={"values": start}), card, RATE)

        def strays(codes):
            return np.linalg.norm((codes[:, None] - marks) / deviations, axis=2).min(axis=1)

        return latents, strays

    return make


def spread_marks(count, latents, seed):
    return np.random.default_rng(seed).uniform(*SPAN, (count, latents))


@given(st.integers(1, 4), st.integers(1, 12), st.floats(0.05, 2), st.floats(0.01, 10), st.integers(0, 9999))
@settings(max_examples=30)
def test_a_walk_never_strays_beyond_its_bound_nor_out_of_the_spans(make_walk, latents, count, bound, speed, seed):
    deviations = np.random.default_rng(seed).uniform(0.1, 3, latents)
    made, strays = make_walk(spread_marks(count, latents, seed), deviations, bound=bound, speed=speed, seed=seed)
    codes = path_of(made, range(0, 10 * RATE, 499))
    assert strays(codes).max() <= bound * (1 + 1e-9)
    assert codes.min() >= SPAN[0]
    assert codes.max() <= SPAN[1]


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("latents", [2, 10])
def test_a_walk_goes_at_its_speed_without_a_step_and_gets_far(make_walk, latents, seed):
    deviations = np.linspace(0.2, 0.6, latents)
    made, _ = make_walk(spread_marks(256, latents, 1), deviations, speed=1.0, bound=5.0, seed=seed)
    every = RATE // 100
    codes = path_of(made, range(0, 60 * RATE, every)) / deviations
    moves = np.linalg.norm(np.diff(codes, axis=0), axis=1)
    assert moves.sum() / 60 == pytest.approx(1.0, rel=0.1)
    assert moves.max() <= 1.001 * every / RATE  # nowhere faster than its speed
    apart = np.linalg.norm(codes[::50, None] - codes[::50], axis=2)
    assert apart.max() > 4
    headings = np.diff(codes[::25], axis=0)
    headings /= np.linalg.norm(headings, axis=1, keepdims=True)
    assert np.median(np.sum(headings[1:] * headings[:-1], axis=1)) > 0.9  # the cosine of 25 degrees: turns are gentle


def test_a_walk_goes_from_training_code_to_training_code_where_its_bounds_touch(make_walk):
    marks = np.array([[x, 0.0] for x in np.arange(-1.5, 2.6, 0.2)])
    made, strays = make_walk(marks, np.array([0.5, 0.5]), speed=1.0, bound=0.4)
    codes = path_of(made, range(0, 300 * RATE, RATE // 10))
    assert np.ptp(codes[:, 0]) > 3.0
    assert np.ptp(codes[:, 1]) <= 2 * 0.4 * 0.5
    assert strays(codes).max() > 0.35  # the bound is used


def test_a_walk_begins_at_the_presets_code_and_comes_home_from_beyond_its_bound(make_walk):
    made, strays = make_walk([[0.0, 0.0]], np.array([0.5, 0.5]), start=[2.0, 0.0], speed=1.0, bound=1.0)
    codes = path_of(made, range(0, 10 * RATE, RATE // 10))
    assert made.row(0) == (2.0, 0.0)
    away = strays(codes)
    assert away[:31] == pytest.approx(4.0 - 0.1 * np.arange(31), abs=0.01)
    assert away[31:].max() <= 1.0 + 1e-9


def test_a_latent_that_never_varied_in_training_stays_where_the_preset_has_it(make_walk):
    made, _ = make_walk([[0.0, 1.0, 0.5]], np.array([0.5, 0.0, 0.5]), start=[0.0, 0.7, 0.5], speed=1.0, bound=1.0)
    codes = path_of(made, range(0, 10 * RATE, 999))
    assert np.all(codes[:, 1] == 0.7)
    assert np.all(np.ptp(codes, axis=0)[[0, 2]] > 0.1)


def test_a_walk_is_the_same_whenever_and_however_it_is_asked_for(make_walk):
    walks = [make_walk(spread_marks(20, 3, 0), np.ones(3), speed=2.0, bound=1.0, seed=seed)[0] for seed in (1, 1, 2)]
    times = np.arange(0, 30 * RATE, 777)
    seen = walks[0].at(times)
    walks[1].row(40 * RATE)
    assert np.array_equal(walks[1].at(times[::-1])[::-1], seen)
    assert np.abs(walks[2].at(times) - seen).max() > 0.5


def test_a_walk_is_the_same_in_two_threads(make_walk):
    def asked_by(ask):
        made = make_walk(spread_marks(256, 10, 0), np.ones(10), speed=10.0, bound=1.0)[0]
        return np.concatenate(list(ask(made.at, np.array_split(np.arange(0, 20 * RATE, 99), 40))))

    with ThreadPoolExecutor(2) as threads:
        for _ in range(3):
            assert np.array_equal(asked_by(threads.map), asked_by(map))


def test_a_walk_of_an_hour_needs_no_more_memory_than_one_of_a_minute(make_walk):
    made, _ = make_walk(spread_marks(20, 3, 0), np.ones(3), speed=1.0, bound=2.0)
    sizes, codes = [], []
    for time in range(0, 3600 * RATE, 5 * RATE):
        made.forget(time - RATE)
        codes.append(made.row(time))
        sizes.append(len(pickle.dumps(made)))
    assert max(sizes[6:]) <= max(sizes[:6]) + 100
    assert len(set(codes)) == len(codes)  # and it never comes back to the same code


def test_a_walk_on_a_card_without_training_codes_is_refused(make_preset, analytic):
    preset = make_preset(motion=[{"walk": {"speed": 1.0, "bound": 1.0}}])
    for marks, deviations in ((np.zeros((0, 2)), [1.0, 1.0]), (np.zeros((3, 2)), [0.0, 0.0])):
        with pytest.raises(UserError, match=r"\[\[motion\]\] 1: a walk .* 'analytic' holds none .* export it again"):
            check(preset, walking_card(analytic, marks, deviations), {})


@given(st.floats(20, 400), st.floats(0.125, 64), st.integers(0, 10**7))
def test_without_a_clock_beats_pass_at_the_presets_tempo(make_latents, tempo, beats, time):
    latents = make_latents(lfo(rate_hz=None, beats=beats), tempo_bpm=tempo)
    cycles = time / RATE * tempo / 60 / beats
    assert latents.row(time)[0] == pytest.approx(0.5 + 0.25 * np.sin(2 * np.pi * cycles), abs=1e-6)


def ticks(first, interval, count):
    return [Clock(first + round(interval * index), "tick") for index in range(count)]


def heard(messages, tempo=120.0):
    beats = Beats(tempo, RATE)
    for message in messages:
        beats.clock(message)
    return beats


@pytest.mark.parametrize("tempo", [30, 97.3, 240])
def test_a_steady_clock_is_followed_exactly_from_its_second_beat_on(tempo):
    interval = RATE * 60 / tempo / 24
    beats = heard([Clock(500, "start"), *ticks(1000, interval, 480)])
    for time in range(round(1000 + 24 * interval), round(1000 + 470 * interval), 311):
        assert beats.value(time) == pytest.approx((time - 1000) / interval / 24, abs=2 / interval / 24)


def test_jitter_of_the_clock_moves_the_beat_by_no_more_than_itself():
    rng, interval = np.random.default_rng(3), 459.375  # 120 BPM
    late = rng.integers(0, 30, 480)  # up to 1.4 ms, as USB ports have it
    beats = heard([Clock(0, "start"), *(Clock(round(100 + interval * i) + int(late[i]), "tick") for i in range(480))])
    for time in range(20_000, 200_000, 77):
        assert abs(beats.value(time) - (time - 100) / interval / 24) < 40 / interval / 24


def test_a_clock_that_changes_its_tempo_is_never_more_than_two_ticks_off():
    fast, slow = ticks(0, 200, 240), ticks(240 * 200, 600, 240)
    again = ticks(240 * 800, 200, 240)
    messages = [Clock(0, "start"), *fast, *slow, *again]
    beats = heard(messages)
    for number, tick in enumerate([*fast, *slow, *again]):
        assert number - 2 <= beats.value(tick.time) * 24 <= number + 1e-9


MESSAGES = st.lists(
    st.tuples(st.integers(0, 2000), st.sampled_from(["tick"] * 8 + ["start", "stop", "continue"])), max_size=40
)


def timed(messages):
    times = itertools.accumulate(wait for wait, _ in messages)
    return [Clock(time, message) for time, (_, message) in zip(times, messages, strict=True)]


@given(MESSAGES)
def test_the_beat_never_goes_back_nor_steps_but_to_0_and_its_past_stays_as_it_was(messages):
    beats, before, past = Beats(120.0, RATE), 0.0, np.zeros(0)
    for message in timed(messages):
        times = range(max(0, message.time - 50), message.time)
        past = np.array([beats.value(time) for time in times])
        before = beats.value(message.time)
        beats.clock(message)
        assert np.array_equal(past, [beats.value(time) for time in times])
        assert beats.value(message.time) == (0.0 if message.message == "start" else pytest.approx(before, abs=1e-9))
        after = np.array([beats.value(message.time + ahead) for ahead in range(0, 3000, 100)])
        assert np.all(np.diff(after) >= 0)


def test_a_start_waits_at_0_for_its_first_tick_and_a_stop_holds_where_it_is():
    beats = heard([Clock(1000, "start")])
    assert beats.value(999) > 0
    assert [beats.value(time) for time in (1000, 5000)] == [0.0, 0.0]
    beats = heard([Clock(0, "start"), *ticks(0, 400, 25), Clock(9700, "stop"), *ticks(10_000, 400, 9)])
    held = beats.value(9700)
    assert held == pytest.approx(9700 / 400 / 24, abs=1e-9)
    assert beats.value(20_000) == held


def test_a_continued_clock_goes_on_with_the_next_tick():
    messages = [Clock(0, "start"), *ticks(0, 400, 25), Clock(9700, "stop"), Clock(50_000, "continue")]
    beats = heard([*messages, *ticks(50_100, 400, 24)])
    assert beats.value(50_100) == pytest.approx(9700 / 400 / 24, abs=1e-9)
    for number in range(2, 24):
        assert beats.value(50_100 + 400 * number) * 24 == pytest.approx(25 + number, abs=1e-6)


def test_ticks_without_a_start_go_on_from_the_presets_tempo():
    beats = heard(ticks(22_050, 918.75, 48))  # 60 BPM, where the preset said 120: beat 2 after a second
    assert beats.value(22_050) == pytest.approx(2.0)
    assert beats.value(22_050 + round(918.75 * 47)) == pytest.approx(2.0 + 47 / 24, abs=1e-3)


def test_a_clock_that_ceases_holds_the_beat_and_a_pause_is_no_tempo():
    messages = [Clock(0, "start"), *ticks(0, 400, 25)]
    assert heard(messages).value(10**6) * 24 == pytest.approx(25)
    beats = heard([*messages, *ticks(10**6, 400, 3)])
    assert beats.value(10**6 + 800) * 24 == pytest.approx(27, abs=1e-6)


@given(MESSAGES, st.sampled_from(SHAPES), st.integers(0, 1000))
@settings(max_examples=30)
def test_no_clock_message_makes_a_latent_step(make_latents, messages, shape, begin):
    moving = {"rate_hz": None, "beats": 4.0}
    latents = make_latents(lfo(shape, **moving), lfo("sine", target="latent.1", depth=0.2, **moving))
    for message in [Clock(begin, "tick"), *timed([(wait + begin, what) for wait, what in messages])]:
        if message.time < begin:
            continue
        before = np.array(latents.row(message.time))
        latents.clock(message)
        assert np.array(latents.row(message.time)) == pytest.approx(before, abs=1e-9)


def test_a_start_glides_to_the_beginning_as_a_knob_would(make_latents):
    latents = make_latents({"path": PATH, "beats": 8.0})
    before = np.array(latents.row(40_000))
    latents.clock(Clock(40_000, "start"))
    halfway = np.array(latents.row(40_000 + RAMP // 2))
    assert halfway == pytest.approx((before + PATH[0]) / 2, abs=0.01)
    assert latents.row(40_000 + RAMP) == tuple(PATH[0])


def test_a_motion_in_hertz_does_not_hear_the_clock(make_latents):
    free, clocked = make_latents(lfo()), make_latents(lfo())
    for message in [*ticks(0, 300, 30), Clock(9000, "start"), Clock(9001, "stop")]:
        clocked.clock(message)
    assert np.array_equal(path_of(free, range(0, 30_000, 99)), path_of(clocked, range(0, 30_000, 99)))


def test_who_looks_at_the_latents_early_does_not_keep_them_from_moving(make_latents):
    latents = make_latents(lfo(rate_hz=None, beats=1.0))
    ahead = np.arange(1000, 4000, 100)
    seen = latents.at(ahead)
    for act in (lambda: latents.turn(1000, "latent.0", 0.9), lambda: latents.clock(Clock(1500, "start"))):
        act()
        assert not np.array_equal(latents.at(ahead), seen)
        seen = latents.at(ahead)
        assert seen.dtype == np.float32
        assert np.array_equal(seen, path_of(latents, ahead).astype(np.float32))


@pytest.mark.parametrize("motions", [MOTIONS, [lfo(), WALKING]], ids=["cycles", "walk"])
def test_what_is_past_takes_no_memory_and_changes_nothing_to_come(make_latents, motions):
    kept, forgetful = make_latents(*motions), make_latents(*motions)
    sizes = []
    for tick in ticks(100, 300.5, 2000):
        for latents in (kept, forgetful):
            latents.turn(tick.time, "latent.0", tick.time % 7 / 7)
            latents.clock(tick)
        assert np.array_equal(forgetful.at(np.array([tick.time + 100])), kept.at(np.array([tick.time + 100])))
        forgetful.forget(tick.time)
        sizes.append(len(pickle.dumps(forgetful)))
    assert max(sizes[100:]) < 1.1 * max(sizes[:100])


MAPS = [
    {"number": 16, "bits": 14, "target": "latent.0", "low": 0.0, "high": 1.0, "takeover": "scale"},
    {"nrpn": 300, "target": "effects.0.cutoff_frequency_hz", "low": 300.0, "high": 8000.0, "takeover": "pickup"},
    {"pressure": "channel", "target": "gain", "low": 0.0, "high": -20.0},
    {"pressure": "key", "target": "latent.1", "low": 0.0, "high": 1.0},
    {"number": 20, "target": "pan", "low": -1.0, "high": 1.0, "takeover": "pickup", "channel": 1},
]
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


@pytest.mark.parametrize("rate", [RATE, 48000])
@pytest.mark.parametrize("motions", [[], MOTIONS, [TIMED_PATH], [WALKING]], ids=["still", "moving", "times", "walk"])
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


HEAD = 'format = 1\nmodel = "m.onnx"\n'
TIMED = HEAD + "[[motion]]\npath = [[0.1], [0.2]]\ntimes = [1.0, 1.5]\n"
WALK = HEAD + "[[motion]]\nwalk = { speed = 0.5, bound = 1.0 }\n"
LFO = HEAD + "[[motion]]\ntarget = 'latent.0'\ndepth = 0.1\nrate_hz = 1\n"
WRONG = {
    LFO.replace(
        "target = 'latent.0'", ""
    ): "[[motion]] 1: give one of target (a latent), path (a list of codes) and walk",
    LFO + "path = [[0.1], [0.2]]": "give one of target (a latent), path (a list of codes) and walk",
    LFO + "walk = { speed = 1, bound = 1 }": "give one of target (a latent), path (a list of codes) and walk",
    LFO + "legs = 'linear'": "a target has no legs; leave it out",
    LFO + "times = [1, 2]": "a target has no times; leave it out",
    LFO.replace("rate_hz = 1", ""): "give one of rate_hz (cycles a second) and beats",
    LFO + "beats = 4": "give one of rate_hz (cycles a second) and beats",
    LFO.replace("depth = 0.1", ""): "give depth, or low and high",
    LFO.replace("depth = 0.1", "low = 0.1"): "give depth, or low and high",
    LFO + "low = 0.1\nhigh = 0.2": "give depth, or low and high",
    LFO + "shape = 'sin'": "[[motion]] 1: shape",
    LFO + "phase = 1.5": "[[motion]] 1: phase",
    LFO + "rate = 1": "[[motion]] 1: unknown key 'rate'; did you mean",
    LFO.replace("rate_hz = 1", "rate_hz = 21"): "[[motion]] 1: rate_hz",
    LFO.replace("rate_hz = 1", "rate_hz = 0"): "[[motion]] 1: rate_hz",
    LFO.replace("rate_hz = 1", "beats = 0.1"): "[[motion]] 1: beats",
    LFO.replace("depth = 0.1", "depth = nan"): "[[motion]] 1: depth",
    HEAD + "[[motion]]\npath = [[0.1]]\nbeats = 4": "[[motion]] 1: path",
    HEAD + "[[motion]]\npath = [[0.1], [0.2]]": "and beats (quarter notes a cycle), or times (seconds, one a code)",
    HEAD + "[[motion]]\npath = [[0.1], [0.2]]\nbeats = 4\nshape = 'sine'": "a path without times has no shape",
    HEAD + "[[motion]]\npath = [[0.1], [0.2]]\nbeats = 4\ndepth = 1": "a path without times has no depth",
    HEAD + "[[motion]]\npath = [[0.1], [0.2]]\nbeats = 4\nloop = true": "a path without times has no loop",
    HEAD + 2 * "[[motion]]\npath = [[0.1], [0.2]]\nbeats = 4\n": "two motions have a path or a walk",
    TIMED.replace("[0.2]", ""): "[[motion]] 1: path",
    TIMED + "beats = 4": "a path with times has no beats; leave it out",
    TIMED + "phase = 0.5\nrate_hz = 1": "a path with times has no phase and no rate_hz; leave it out",
    TIMED.replace("1.5", "1.5, 2"): "times has 3 numbers, path has 2 codes; give 2, one a code",
    TIMED + "loop = true": "times has 2 numbers, path has 2 codes; give 3, one a code, and one when the loop is back",
    TIMED.replace("1.5", "1.0"): "number 2 of times, 1, does not come after the one before, 1; give seconds that rise",
    TIMED.replace("1.5", "0.5, -1") + "loop = true": "[[motion]] 1: times, number 3 = -1",
    TIMED.replace("1.5", "2, 1.5") + "loop = true": "number 3 of times, 1.5, does not come after the one before, 2",
    TIMED.replace("1.5", "inf"): "[[motion]] 1: times, number 2",
    TIMED.replace("1.5", "1e9"): "[[motion]] 1: times, number 2",
    WALK.replace(", bound = 1.0", ""): "[[motion]] 1: walk: a walk needs a bound",
    WALK.replace("0.5", "0"): "[[motion]] 1: walk.speed",
    WALK.replace("0.5", "-1"): "[[motion]] 1: walk.speed",
    WALK.replace("0.5", "nan"): "[[motion]] 1: walk.speed",
    WALK.replace("speed = 0.5, ", ""): "[[motion]] 1: walk.speed",
    WALK.replace("1.0", "0"): "[[motion]] 1: walk.bound",
    WALK.replace("1.0", "inf"): "[[motion]] 1: walk.bound",
    WALK.replace("1.0", "1.0, sede = 3"): "[[motion]] 1: unknown key 'walk.sede'; did you mean 'seed'?",
    WALK.replace("{ speed = 0.5, bound = 1.0 }", "0.5"): "[[motion]] 1: walk",
    WALK + "rate_hz = 1": "a walk has no rate_hz; leave it out",
    WALK + "legs = 'spherical'\nphase = 0.1": "a walk has no legs and no phase; leave it out",
    WALK + WALK.removeprefix(HEAD): "two motions have a path or a walk",
    WALK + TIMED.removeprefix(HEAD): "two motions have a path or a walk",
    "tempo_bpm = 10\n" + HEAD: "tempo_bpm",
    "tempo_bpm = 401\n" + HEAD: "tempo_bpm",
}


@pytest.mark.parametrize("text", WRONG, ids=range(len(WRONG)))
def test_a_wrong_motion_is_refused_with_what_is_allowed(tmp_path, text):
    path = tmp_path / "made.toml"
    path.write_text(text)
    with pytest.raises(UserError) as caught:
        read_preset(path)
    assert WRONG[text] in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("motion", "words"),
    [
        (
            lfo(target="latent.2"),
            "[[motion]] 1: target 'latent.2' is no latent of model 'analytic'; did you mean 'latent.",
        ),
        (lfo(target="gain"), "target 'gain' is no latent of model 'analytic'"),
        (
            {"path": [[0.1, 0.2], [0.3]], "beats": 1.0},
            "code 2 of path has 1 numbers, model 'analytic' has 2 latents; give 2",
        ),
        (
            {"path": [[0.1, 0.2], [0.3]], "times": [0, 1]},
            "code 2 of path has 1 numbers, model 'analytic' has 2 latents; give 2",
        ),
    ],
)
def test_a_motion_that_does_not_fit_the_model_is_refused(make_instrument, motion, words):
    with pytest.raises(UserError) as caught:
        make_instrument(motion=[motion])
    assert words in str(caught.value)


@pytest.mark.parametrize("motions", [MOTIONS, [TIMED_PATH], [lfo(), WALKING]], ids=["cycles", "times", "walk"])
def test_a_preset_with_motion_reads_back_as_it_was_written(make_preset, tmp_path, motions):
    preset = make_preset(motion=motions, cc=MAPS, tempo_bpm=97.5)
    path = tmp_path / "made.toml"
    path.write_text(preset.to_toml("moves"))
    assert read_preset(path) == preset
