"""Envelopes against their own definition written with plain numbers, and by properties over wild lengths."""

import dataclasses

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from timbrel.host.play.envelope import Envelope, envelope_levels

LENGTH = st.integers(1, 300)
SUSTAIN = st.one_of(st.just(0.0), st.just(1.0), st.floats(0, 1, width=32, allow_subnormal=False))
ENVELOPES = st.builds(
    Envelope,
    on=st.integers(0, 50),
    attack=LENGTH,
    decay=LENGTH,
    sustain=SUSTAIN,
    release=LENGTH,
)
HELD = st.one_of(st.none(), st.integers(0, 900))  # samples from on to off


def released(envelope, held):
    return envelope if held is None else dataclasses.replace(envelope, off=envelope.on + held)


def plainly(envelope, time):
    """The level at one sample, by the definition."""
    if time < envelope.on:
        return 0.0
    at = time if envelope.off is None else min(time, envelope.off)
    done = at - envelope.on
    if done < envelope.attack:
        level = done / envelope.attack
    else:
        left = max(0.0, 1 - (done - envelope.attack) / envelope.decay)
        level = envelope.sustain + (1 - envelope.sustain) * left**3
    if envelope.off is not None and time > envelope.off:
        level *= max(0.0, 1 - (time - envelope.off) / envelope.release) ** 3
    return level


def levels(envelope, start, count):
    return envelope_levels([envelope], start, count)[0]


def level(envelope, time):
    return levels(envelope, time, 1)[0]


@given(ENVELOPES, HELD)
def test_levels_are_those_of_the_definition(envelope, held):
    envelope = released(envelope, held)
    assert levels(envelope, 0, 1500) == pytest.approx([plainly(envelope, t) for t in range(1500)], abs=1e-6)


@given(ENVELOPES, HELD, st.lists(st.integers(1, 200), min_size=1, max_size=12))
def test_division_into_blocks_changes_no_bit(envelope, held, sizes):
    envelope = released(envelope, held)
    whole = levels(envelope, 0, 1500)
    at, turn = 0, 0
    while at < 1500:
        size = min(sizes[turn % len(sizes)], 1500 - at)
        block = levels(envelope, at, size)
        assert block.dtype == np.float32
        assert np.array_equal(block, whole[at : at + size])
        at, turn = at + size, turn + 1


@given(st.lists(st.tuples(ENVELOPES, HELD, st.booleans()), min_size=1, max_size=8), st.integers(0, 1200))
def test_each_of_many_has_the_levels_that_it_has_alone(several, start):
    envelopes = [dataclasses.replace(released(one, held), closes=closes) for one, held, closes in several]
    for count in (1, 16, 400):
        together = envelope_levels(envelopes, start, count)
        assert np.array_equal(together, [levels(one, start, count) for one in envelopes])


def test_a_release_that_closes_follows_the_fourth_root_of_what_remains():
    envelope = Envelope(on=0, attack=1, decay=1, sustain=0.5, release=160, off=100, closes=True)
    assert levels(envelope, 99, 162) == pytest.approx([0.5, *0.5 * ((160 - np.arange(161)) / 160) ** 0.25], abs=1e-6)


@given(ENVELOPES, HELD)
def test_one_sample_alone_has_the_level_it_has_in_a_block(envelope, held):
    envelope = released(envelope, held)
    whole = levels(envelope, 0, 400)
    assert [level(envelope, time) for time in range(0, 400, 7)] == whole[::7].tolist()


@given(ENVELOPES, HELD)
def test_levels_stay_between_nothing_and_one(envelope, held):
    whole = levels(released(envelope, held), 0, 1500)
    assert whole.min() >= 0
    assert whole.max() <= 1


@given(ENVELOPES, HELD)
def test_no_step_is_steeper_than_the_steepest_slope(envelope, held):
    envelope = released(envelope, held)
    whole = levels(envelope, 0, 1500).astype(np.float64)
    steepest = max(1 / envelope.attack, 3 * (1 - envelope.sustain) / envelope.decay, 3 / envelope.release)
    assert np.abs(np.diff(whole)).max() <= steepest + 1e-6


@given(ENVELOPES, HELD)
def test_an_envelope_is_exactly_nothing_from_its_end_on_and_not_before(envelope, held):
    envelope = released(envelope, held)
    if envelope.end is None:
        assert envelope.off is None
        assert level(envelope, 100_000) == pytest.approx(envelope.sustain)
        assert envelope.sustain > 0
        return
    assert np.all(levels(envelope, envelope.end, 500) == 0)
    ended_in_decay = envelope.end == envelope.on + envelope.attack + envelope.decay and envelope.sustain == 0
    if held is not None and held > 0 and not ended_in_decay and held < envelope.attack:
        assert level(envelope, envelope.end - 1) > 0


@given(ENVELOPES, st.integers(0, 900))
def test_a_note_that_has_died_away_by_itself_is_not_revived_by_its_release(envelope, held):
    dying = dataclasses.replace(envelope, sustain=0.0)
    if held >= dying.attack + dying.decay:
        assert released(dying, held).end == dying.end


@given(ENVELOPES)
def test_an_attack_is_nothing_at_note_on_and_full_at_its_end(envelope):
    assert level(envelope, envelope.on) == 0
    assert level(envelope, envelope.on + envelope.attack) == 1


def test_an_attack_of_two_milliseconds_reaches_one_at_its_end():
    envelope = Envelope(on=1000, attack=96, decay=100, sustain=0.5, release=100)  # 2 ms at 48 kHz
    whole = levels(envelope, 1000, 97)
    assert whole[-1] == 1
    assert whole[-2] < 1
    assert np.diff(whole) == pytest.approx(np.full(96, 1 / 96), abs=1e-6)


def test_a_release_falls_by_half_in_a_fifth_of_its_length():
    envelope = Envelope(on=0, attack=1, decay=1, sustain=1.0, release=1000, off=100)
    assert level(envelope, 100 + 206) == pytest.approx(0.5, abs=0.002)  # 1 - 0.5 ** (1 / 3)


def test_a_release_begins_at_the_level_that_the_attack_had_reached():
    envelope = Envelope(on=0, attack=100, decay=10, sustain=1.0, release=50, off=40)
    assert level(envelope, 40) == pytest.approx(0.4)
    assert level(envelope, 39) == pytest.approx(0.39)
    assert levels(envelope, 0, 100).max() == pytest.approx(0.4)


def test_an_attack_of_no_samples_is_full_at_note_on_and_any_division_gives_the_same():
    sharp = Envelope(on=10, attack=0, decay=20, sustain=0.5, release=5, off=50)
    whole = levels(sharp, 0, 70)
    assert not whole[:10].any()
    assert whole[10] == 1.0
    assert whole[30] == 0.5
    assert np.array_equal(np.concatenate([levels(sharp, s, 7) for s in range(0, 70, 7)]), whole)
