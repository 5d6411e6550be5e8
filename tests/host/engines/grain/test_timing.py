"""Grains begin when their density, their overlap and their jitter say, from the first sample of a note."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from timbrel.host.engines.grain.engine import FILL, STEP, GrainClock, GrainEngine
from timbrel.host.kinds.grain import CONTROLS as GRAIN_CONTROLS
from timbrel.host.kinds.grain import GrainSettings
from timbrel.host.ramps import Ramp

from .grains import LATENTS, LENGTH, RATE, Still, level_db, onsets, sound


@pytest.mark.parametrize("density", [100.0, 50.0, 333.3, 7.0])
def test_grains_without_jitter_begin_each_period_to_the_sample(ones, density):
    found = onsets(sound(ones, 1.0, on=1001, density=density, length=0.002, shape=0.0, jitter=0.0)[0])
    places = 1001 + np.arange(1000) * RATE / density
    places = places[places < RATE - 0.5]
    assert len(found) == len(places)
    assert np.all(np.abs(found - places) < 0.5 + 1e-6)


def test_grains_with_jitter_are_late_by_up_to_a_period_and_evenly_so(ones):
    density = 50.0
    found = onsets(sound(ones, 40.0, density=density, length=0.002, shape=0.0, jitter=1.0)[0])
    assert found[0] == 0
    late = found[1:] - np.floor(found[1:] * density / RATE) * RATE / density
    count = np.histogram(late, 10, (0, RATE / density))[0]
    assert len(found) == pytest.approx(40 * density, rel=0.02)  # two that touch are counted once
    assert np.all(np.abs(count - len(late) / 10) < 5 * np.sqrt(len(late) / 10))
    gaps = np.diff(found)
    assert gaps.max() <= 2 * RATE / density + 1
    assert gaps.std() > 0.2 * RATE / density


@given(st.lists(st.tuples(st.integers(1, 3000), st.floats(0.1, 2000)), min_size=1, max_size=8))
def test_the_pace_is_the_integral_of_the_density(moves):
    density = Ramp(100.0, 441)
    pace = GrainClock({"grain.density": density}, RATE, 1)
    now, steps = 0, [0.0]
    for length, value in moves:
        density.move(now, value)
        pace.advance(now + length)
        steps += [density.value(time) / RATE for time in range(now + 1, now + length + 1)]
        now += length
        assert pace.time_of(pace.count_at(now - 1)[0])[0] == pytest.approx(now - 1, abs=1e-3)
    count, _ = pace.count_at(now - 1)
    taken = np.cumsum(steps)[now - 1]
    most = max(100.0, *(value for _, value in moves)) / RATE
    assert abs(count - taken) <= STEP * most * len(moves) + 1e-6  # a step is as its beginning is


def test_a_knob_that_is_turned_up_is_heard_before_the_grain_that_was_to_come(ones):
    engine = GrainEngine(ones, GrainSettings(density=0.1, length=0.002, jitter=0.0))
    stream = engine.start_stream(60, 0)
    engine.render([stream], Still(), 0, RATE // 2)
    engine.targets["grain.density"].move(RATE // 2, 100.0)
    heard = engine.render([stream], Still(), RATE // 2, RATE // 2)[0][0]
    assert 45 <= len(onsets(heard)) <= 51


@pytest.mark.parametrize("overlap", [0.0, 0.5, 0.9])
def test_an_overlap_is_a_density_by_the_length(ones, overlap):
    length = 0.02
    sounds = [
        sound(ones, 0.5, length=length, jitter=0.5, **pace)
        for pace in ({"overlap": overlap}, {"density": 1 / ((1 - overlap) * length)})
    ]
    assert np.abs(sounds[0] - sounds[1]).max() < 1e-3


def test_an_overlap_asks_for_no_more_grains_than_a_density_can(ones):
    engine = GrainEngine(ones, GrainSettings(overlap=0.99, length=0.002))
    assert engine._clock.count_at(0)[1] * RATE == GRAIN_CONTROLS["grain.density"].high


def test_a_sparse_note_begins_with_a_whole_grain(ones):
    heard = sound(ones, 0.2, on=300, density=5.0, length=0.04, shape=0.5)[0]
    window = 0.5 - 0.5 * np.cos(2 * np.pi * (np.arange(882) + 0.5) / 882)
    assert np.all(heard[:300] == 0)
    assert np.allclose(heard[300:1182], window, atol=1e-6)


def test_a_dense_texture_is_full_from_its_first_sample(noise):
    first, later = [], []
    for seed in range(60):
        heard = sound(noise, 0.25, density=300.0, length=0.04, seed=seed)[0]
        first.append(heard[:200])
        later.append(heard[3000:5000])
    assert abs(level_db(first) - level_db(later)) < 1.0


def test_a_very_dense_texture_begins_with_few_grains_that_are_as_loud(noise):
    engine = GrainEngine(noise, GrainSettings(density=2000.0, length=0.5))
    calls = []
    decode, noise.decode = noise.decode, lambda codes, chroma: calls.append(len(codes)) or decode(codes, chroma)
    motion = Still()
    motion.latents = lambda voices, times: np.random.default_rng(0).random((len(voices), LATENTS), np.float32)
    try:
        engine.render([engine.start_stream(60, 0)], motion, 0, 1)
    finally:
        noise.decode = decode
    assert calls == [FILL + 1]
    heard = [sound(noise, 0.6, density=1000.0, length=0.1, seed=seed, block=4096)[0] for seed in range(40)]
    first, later = np.array(heard)[:, :400], np.array(heard)[:, 5000:]
    assert abs(level_db(first) - level_db(later)) < 1.5


def test_grains_that_overtake_each_other_and_those_before_a_note_do_not_depend_on_blocks(grain_model):
    rng = np.random.default_rng(6)
    model = grain_model(rng.normal(size=LENGTH), rng.normal(size=(LATENTS, LENGTH)))

    def rendered(sizes):
        engine = GrainEngine(model, GrainSettings(density=300.0, spread=1.0))
        engine.render([], Still(), 0, 1000)
        engine.targets["grain.pitch"].move(900, 7.0)
        stream, blocks, now = engine.start_stream(60, 1100), [], 1000
        for size in sizes:
            blocks.append(engine.render([stream], Still(), now, size)[0].copy())
            now += size
        return np.concatenate(blocks, axis=1)

    whole = rendered([9000])
    assert np.array_equal(whole, rendered([50] * 180))
    assert np.array_equal(whole, rendered([101, 899, 7, 1993, 3000, 3000]))


def test_grains_before_a_note_are_as_the_knobs_are_when_it_begins(noise):
    read = []
    motion = Still()
    motion.latents = lambda voices, times: read.extend(times) or Still().latents(voices, times)
    engine = GrainEngine(noise, GrainSettings(density=300.0))
    engine.render([engine.start_stream(60, 1100)], motion, 0, 1101)
    assert len(read) > 3
    assert set(read) == {1100}
