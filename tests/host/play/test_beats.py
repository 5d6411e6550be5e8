"""The beat follows the MIDI clock, without ever going back or making a latent step."""

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from timbrel.host.events import Clock, Tempo
from timbrel.host.play.motion_sources import Beats

from .motions import PATH, RAMP, RATE, SHAPES, lfo, path_of, ticks


@given(st.floats(20, 400), st.floats(0.125, 64), st.integers(0, 10**7))
def test_without_a_clock_beats_pass_at_the_presets_tempo(make_latents, tempo, beats, time):
    latents = make_latents(lfo(rate_hz=None, beats=beats), tempo_bpm=tempo)
    cycles = time / RATE * tempo / 60 / beats
    assert latents.row(time)[0] == pytest.approx(0.5 + 0.25 * np.sin(2 * np.pi * cycles), abs=1e-6)


def heard(messages, tempo=120.0):
    beats = Beats(tempo, RATE)
    for message in messages:
        beats.apply(message)
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
        beats.apply(message)
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
def test_no_clock_message_makes_a_latent_step(make_latents, messages, shape, begin):
    moving = {"rate_hz": None, "beats": 4.0}
    latents = make_latents(lfo(shape, **moving), lfo("sine", target="latent.1", depth=0.2, **moving))
    for message in [Clock(begin, "tick"), *timed([(wait + begin, what) for wait, what in messages])]:
        if message.time < begin:
            continue
        before = np.array(latents.row(message.time))
        latents.keep_time(message)
        assert np.array(latents.row(message.time)) == pytest.approx(before, abs=1e-9)


def test_a_start_glides_to_the_beginning_as_a_knob_would(make_latents):
    latents = make_latents({"path": PATH, "beats": 8.0})
    before = np.array(latents.row(40_000))
    latents.keep_time(Clock(40_000, "start"))
    halfway = np.array(latents.row(40_000 + RAMP // 2))
    assert halfway == pytest.approx((before + PATH[0]) / 2, abs=0.01)
    assert latents.row(40_000 + RAMP) == tuple(PATH[0])


def test_a_motion_in_hertz_does_not_hear_the_clock(make_latents):
    free, clocked = make_latents(lfo()), make_latents(lfo())
    for message in [*ticks(0, 300, 30), Clock(9000, "start"), Clock(9001, "stop")]:
        clocked.keep_time(message)
    assert np.array_equal(path_of(free, range(0, 30_000, 99)), path_of(clocked, range(0, 30_000, 99)))


def test_a_tempo_holds_from_where_it_is_told_and_how_long_a_beat_is_is_known():
    beats = Beats(120.0, RATE)
    beats.apply(Tempo(RATE, 60.0))
    beats.apply(Tempo(3 * RATE, 240.0))
    assert [beats.value(second * RATE) for second in (0, 1, 2, 3, 4)] == pytest.approx([0, 2, 3, 4, 8])
    assert [beats.samples(time) for time in (0, RATE - 1, RATE, 3 * RATE)] == [RATE / 2, RATE / 2, RATE, RATE / 4]


def test_a_clock_that_was_heard_knows_the_tempo_better():
    clock = ticks(0, 60 * RATE / 90 / 24, 49)
    beats = heard(clock)
    before = beats.value(10 * RATE)
    beats.apply(Tempo(clock[-1].time, 200.0))
    assert beats.value(10 * RATE) == before
    assert beats.samples(10 * RATE) == pytest.approx(60 * RATE / 90, rel=1e-3)
