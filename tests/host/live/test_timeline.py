"""The timeline follows the card's clock, and events come by the reported delay."""

import bisect

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from timbrel.host.events import ControlChange
from timbrel.host.live.render_loop import RenderLoop, Timeline
from timbrel.host.midi.ports import Timed

from ...examples import few
from ..fake_card import FakeSink, FakeSource
from .playing import looped, player_of


class Card:
    """A clock that takes blocks: late by up to ``jitter`` of a block, of its own rate, and asleep now and then."""

    def __init__(self, rate, block, drift, jitters, stalls):
        period = block / rate * (1 + drift)
        self.block, self.rate, self.begins = block, rate * (1 - drift), []
        at, asleep = 0.0, 0.0
        for index, jitter in enumerate(jitters):
            asleep += stalls.get(index, 0.0)
            at = index * period + asleep
            self.begins.append(at + jitter * period)

    def taken(self, seconds):
        return self.block * bisect.bisect_right(self.begins, seconds)


@few
@given(
    seed=st.integers(0, 2**32 - 1),
    block=st.sampled_from([16, 128, 512]),
    drift=st.integers(-300, 300),
    stalls=st.dictionaries(st.integers(20, 900), st.integers(1, 500), max_size=3),
)
def test_the_timeline_is_within_a_block_of_a_card_that_jitters_drifts_and_stalls(seed, block, drift, stalls):
    random = np.random.default_rng(seed)
    stalls = {index: milliseconds / 1000 for index, milliseconds in stalls.items()}
    card = Card(48000, block, drift / 1e6, random.uniform(0, 0.9, 1000), stalls)
    timeline, now = Timeline(48000, block), 1e-9
    while now < card.begins[-1]:
        taken = card.taken(now)
        timeline.observe(taken, now)
        assert taken - 1 <= timeline.sample(now) <= taken + block + 1
        now += random.uniform(0, 1.5) * block / 48000


def test_the_timeline_tells_moments_apart_that_lie_in_one_block():
    random = np.random.default_rng(2)
    card = Card(48000, 128, 1e-4, random.uniform(0, 0.02, 4500), {})  # twelve seconds: it forgets after ten
    timeline, offsets, now = Timeline(48000, 128), [], 1e-9
    while now < card.begins[-1]:
        timeline.observe(card.taken(now), now)
        offsets.append(timeline.sample(now) - card.rate * now)
        now += random.uniform(0, 0.9) * 128 / 48000
    settled = np.array(offsets[len(offsets) // 2 :])
    assert np.ptp(settled) < 8  # samples; a block's start alone would leave 128


def test_the_timeline_follows_a_card_that_is_slower_though_it_is_only_seen_just_after_it_took_a_block():
    """Then the bounds alone leave room for most of a block, into which the clocks drift apart."""
    rate, block, drift = 48000, 128, 5e-5
    timeline, period = Timeline(rate, block), 128 / 48000 / (1 - drift)
    for index in range(round(60 / period)):
        timeline.observe(block * (index + 1), index * period + 0.05 * period)
    now = index * period + 0.05 * period
    place = block * (index + 1) + 0.05 * block
    assert abs(timeline.sample(now) - place) < 40  # what it drifts in the ten seconds after which it forgets: 24


def test_a_loop_keeps_the_delay_of_events_though_the_cards_clock_is_another(make_patch, hours):
    moments = [100.1 + 0.25 * i for i in range(20)]
    timed = [Timed(moment, ControlChange(0, 0, 1, i)) for i, moment in enumerate(moments)]
    slower = 1 - 2e-3
    loop, sink, told = looped(make_patch, hours, timed, blocks=1900)
    sink.clock = slower
    loop.run()
    played = [event for _, events in told for event in events]
    assert len(played) == 20
    heard = [(event.time + 128 * 2) / (48000 * slower) for event in played]
    late = np.array([at - (moment - 100.0) for at, moment in zip(heard, moments, strict=True)]) * 48000
    assert np.ptp(late) <= 128  # in five seconds the clocks are 480 samples apart


@pytest.mark.parametrize("depth", [1, 2, 3])
@pytest.mark.parametrize("lowest", [False, True])
def test_an_event_is_late_by_the_delay_that_is_told_and_without_lowest_latency_by_no_less(
    make_patch, hours, depth, lowest
):
    moments = [100.1 + 0.0071 * i for i in range(100)]
    timed = [Timed(moment, ControlChange(0, 0, 1, i)) for i, moment in enumerate(moments)]
    loop, _, told = looped(make_patch, hours, timed, lowest, depth=depth)
    loop.run()
    played = [event for _, events in told for event in events]
    assert [event.value for event in played] == list(range(100))
    # A sample that is written when `depth` blocks wait in the ring is taken that much later.
    heard = [(event.time + 128 * depth) / 48000 for event in played]
    late = np.array([at - (moment - 100.0) for at, moment in zip(heard, moments, strict=True)]) * 48000
    assert late.max() <= loop.delay_samples + 1
    if not lowest:
        assert np.ptp(late) <= 1 + 1e-6
        assert late.min() >= loop.delay_samples - 128 - 1


class SetBack(FakeSink):
    """A card that said for a moment that it was 20 ms further than it was."""

    @property
    def taken(self):
        return super().taken + 960 * (0.5 <= self.hours.now - self.began < 0.501)


def test_events_keep_their_order_though_the_cards_clock_is_set_back_between_them(make_patch, hours):
    timed = [Timed(100.45 + 0.0003 * i, ControlChange(0, 0, 1, i % 128)) for i in range(400)]
    sink, told = SetBack(hours), []
    player = player_of(make_patch, 48000)
    loop = RenderLoop(player, sink, [FakeSource(hours, timed)], on_block=lambda sound, events: told.extend(events))
    loop.run()
    assert [event.value for event in told] == [i % 128 for i in range(400)]
    late = [event.time + 256 - (moment.seconds - 100.0) * 48000 for event, moment in zip(told, timed, strict=True)]
    assert late[-1] <= loop.delay_samples + 1  # what was told wrongly is forgotten


@pytest.mark.parametrize("lowest", [False, True])
@pytest.mark.parametrize("depth", [1, 2, 3])
def test_events_stamped_with_whole_blocks_take_effect_with_the_block_after_theirs(make_patch, hours, depth, lowest):
    sink, told = FakeSink(hours, depth=depth), []
    began = [100.0 + 128 * index / 48000 for index in range(20, 300, 3)]
    late = np.random.default_rng(depth).uniform(0.0001, 0.0004, len(began))  # their stamps, and when they come
    timed = [
        Timed(moment + after, ControlChange(0, 0, 1, i))
        for i, (moment, after) in enumerate(zip(began, late, strict=True))
    ]
    loop = RenderLoop(
        player_of(make_patch, 48000),
        sink,
        [FakeSource(hours, timed)],
        lowest,
        on_block=lambda sound, events: told.extend(events),
        whole_blocks=True,
    )
    assert loop.delay_samples == depth * 128
    loop.run()
    taken = np.array([round((moment - 100.0) * 48000) for moment in began])
    heard = np.array([event.time + 128 * depth for event in told])
    assert set(heard - taken) == {loop.delay_samples - 128}  # the card takes a block while its events are sent


def test_a_loop_that_is_behind_does_not_wait_for_events(make_patch, hours):
    sink = FakeSink(hours, depth=3)
    loop = RenderLoop(player_of(make_patch, 48000), sink, [], whole_blocks=True)
    moments, write = [], sink.write

    def late(sound):
        write(sound)
        if len(sink.sounds) == 50:
            hours.now += 1.9 * 128 / 48000
        moments.append(hours.now)

    sink.write = late
    loop.run()
    waits = np.diff(moments) * 48000
    assert waits[49] < 1  # two blocks are lacking, and the card has just taken the second
    assert waits[20:48].min() > 100


def test_a_loop_that_is_kept_waiting_does_not_wait_for_events(make_patch, hours):
    loop = RenderLoop(player_of(make_patch, 48000), FakeSink(hours, depth=1), [], whole_blocks=True)

    def waits(late):
        loop._timeline = Timeline(48000, 128)
        loop._timeline.observe(0, hours.now)
        hours.now += late / 48000
        before = hours.now
        loop._settle(0)
        return round((hours.now - before) * 48000)

    assert [waits(4), waits(16), waits(24), waits(100)] == [20, 8, 0, 0]
    for seconds in (0.1, 0.001, 0.1):
        loop._notice(seconds, 0.001, True)
    assert waits(4) == 20  # a machine that stood still
    for _ in range(15):
        loop._notice(0.0013, 0.001, True)
    assert waits(4) == 0
    for _ in range(200):
        loop._notice(0.001, 0.001, False)
    assert waits(4) == 20
