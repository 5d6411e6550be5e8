"""A walk goes at its speed, stays inside its bound and the spans, and is the same whenever it is asked for."""

import pickle
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from timbrel.host.errors import UserError
from timbrel.host.model.card import Card
from timbrel.host.play.motions import Latents
from timbrel.host.preset.validation import check

from .motions import RATE, path_of

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
        latents = Latents(start, card, make_preset(motion=[{"walk": walk}]).motion)

        def strays(codes):
            return np.linalg.norm((codes[:, None] - marks) / deviations, axis=2).min(axis=1)

        return latents, strays

    return make


def spread_marks(count, latents, seed):
    return np.random.default_rng(seed).uniform(*SPAN, (count, latents))


@settings(max_examples=settings().max_examples // 2)
@given(st.integers(1, 4), st.integers(1, 12), st.floats(0.05, 2), st.floats(0.01, 10), st.integers(0, 9999))
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
    seen = walks[0].codes_at(times)
    walks[1].row(40 * RATE)
    assert np.array_equal(walks[1].codes_at(times[::-1])[::-1], seen)
    assert np.abs(walks[2].codes_at(times) - seen).max() > 0.5


def test_a_walk_is_the_same_in_two_threads(make_walk):
    def asked_by(ask):
        made = make_walk(spread_marks(256, 10, 0), np.ones(10), speed=10.0, bound=1.0)[0]
        return np.concatenate(list(ask(made.codes_at, np.array_split(np.arange(0, 20 * RATE, 99), 40))))

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
