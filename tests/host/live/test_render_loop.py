"""The loop keeps the ring full: the card is followed, waits end in time, and what it tells is true."""

import bisect
import gc
import os
import platform
import subprocess
import sys
import threading
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from timbrel.host.events import (
    Clock,
    ControlChange,
    NoteOff,
    NoteOn,
    ProgramChange,
)
from timbrel.host.live.render_loop import RenderLoop, Timeline
from timbrel.host.midi.ports import Timed
from timbrel.host.play.player import Player
from timbrel.host.play.rack import Rack
from timbrel.host.session.load_shedding import REMEMBERED, RenderLoad
from timbrel.host.session.realtime import SWITCH_SECONDS

from ...examples import few
from ...patience import until
from ..fake_card import FakeSink, FakeSource

RATE = 22050


def player_of(make_patch, rate=RATE, **keys):
    return Player(Rack({0: make_patch(**keys)}, rate, omni=True), rate)


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
        timeline.saw(taken, now)
        assert taken - 1 <= timeline.sample(now) <= taken + block + 1
        now += random.uniform(0, 1.5) * block / 48000


def test_the_timeline_tells_moments_apart_that_lie_in_one_block():
    random = np.random.default_rng(2)
    card = Card(48000, 128, 1e-4, random.uniform(0, 0.02, 4500), {})  # twelve seconds: it forgets after ten
    timeline, offsets, now = Timeline(48000, 128), [], 1e-9
    while now < card.begins[-1]:
        timeline.saw(card.taken(now), now)
        offsets.append(timeline.sample(now) - card.rate * now)
        now += random.uniform(0, 0.9) * 128 / 48000
    settled = np.array(offsets[len(offsets) // 2 :])
    assert np.ptp(settled) < 8  # samples; a block's start alone would leave 128


def test_the_timeline_follows_a_card_that_is_slower_though_it_is_only_seen_just_after_it_took_a_block():
    """Then the bounds alone leave room for most of a block, into which the clocks drift apart."""
    rate, block, drift = 48000, 128, 5e-5
    timeline, period = Timeline(rate, block), 128 / 48000 / (1 - drift)
    for index in range(round(60 / period)):
        timeline.saw(block * (index + 1), index * period + 0.05 * period)
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


def test_load_keeps_what_came_last_and_is_nothing_at_first():
    load = RenderLoad()
    assert load.percentiles(50, 99) == [0.0, 0.0]
    load.add(0.5)
    assert load.percentiles(50, 100) == [0.5, 0.5]
    for _ in range(REMEMBERED):
        load.add(0.25)
    assert load.percentiles(0, 50, 100) == [0.25] * 3


def looped(make_patch, hours, timed, lowest=False, **settings):
    sink, told = FakeSink(hours, **settings), []
    player = player_of(make_patch, 48000)
    loop = RenderLoop(
        player, sink, [FakeSource(hours, timed)], lowest, lambda sound, events: told.append((sound, events))
    )
    return loop, sink, told


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
        assert np.ptp(late) <= 1
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


def test_a_loop_gives_the_samples_of_its_player_and_tells_each_block(make_patch, hours):
    timed = [Timed(100.05, NoteOn(0, 0, 60, 100)), Timed(100.3, NoteOff(0, 0, 60))]
    loop, sink, told = looped(make_patch, hours, timed)
    loop.run()
    sound = np.concatenate(sink.sounds, axis=1)
    events = [event for _, events in told for event in events]
    player = player_of(make_patch, 48000)
    for event in events:
        player.schedule(event)
    expected = player.block(sound.shape[1])[0]
    assert np.abs(sound).max() > 0.01
    assert np.array_equal(sound, expected)
    assert np.array_equal(sound, np.concatenate([block for block, _ in told], axis=1))
    assert loop.meters.load.count == len(sink.sounds)
    assert max(loop.meters.peaks_db()) == pytest.approx(20 * np.log10(np.abs(sound).max()))


def test_a_block_is_handed_over_before_the_next_one_is_prepared(make_patch, hours, monkeypatch):
    loop, sink, _ = looped(make_patch, hours, [])
    written = []
    monkeypatch.setattr(loop.player, "prepare", lambda: written.append(len(sink.sounds)))
    loop.run()
    assert written == list(range(1, 401))


class LettingGo(FakeSink):
    """Lets go of its ring where that is empty, and takes from it again once a block is written, as rtmixer does."""

    def __init__(self, hours, **settings):
        super().__init__(hours, **settings)
        self.ahead, self.periods, self.takes = 0, 0, False

    @property
    def taken(self):
        periods = int((self.hours.now - self.began) * self.rate / self.block)
        for _ in range(self.periods, periods):
            self.takes &= self.ahead > 0
            self.ahead -= self.takes
        self.periods = periods
        return self.written - self.ahead * self.block

    def write(self, sound):
        self.underruns += self.taken >= 0 and not self.takes and self.written > 0
        super().write(sound)
        self.ahead, self.takes = self.ahead + 1, True


@pytest.mark.parametrize("pause", [1.3, 2.0, 2.6, 3.4])  # blocks
@pytest.mark.parametrize("where", ["block", "prepare"])
def test_a_pause_costs_no_more_than_itself_on_a_machine_that_has_little_time(make_patch, hours, pause, where):
    sink = LettingGo(hours, blocks=150)
    loop, period = RenderLoop(player_of(make_patch, 48000), sink, []), 128 / 48000
    costs, counts, pauses, ahead = {"block": 0.55, "prepare": 0.4}, {"block": 0, "prepare": 0}, [], []

    def costly(what, work):
        def do(*given):
            counts[what] += 1
            if what == where and counts[what] % 40 == 20:
                pauses.append(hours.now)
                hours.now += pause * period
            hours.now += costs[what] * period
            ahead.append(sink.written - sink.taken)
            return work(*given)

        return do

    loop.player.block, loop.player.prepare = (costly(what, getattr(loop.player, what)) for what in costs)
    loop.run()
    assert sink.underruns <= len(pauses)
    full = np.array(ahead) >= 128
    assert np.diff(np.flatnonzero(full)).max() < 8  # blocks and preparations until the ring is full again


def test_a_loop_ends_when_told_and_when_its_card_has_gone(make_patch, hours):
    loop, sink, _ = looped(make_patch, hours, [], blocks=7)
    loop.run()
    assert len(sink.sounds) == 7
    loop, sink, told = looped(make_patch, hours, [])
    loop.stop()
    loop.run()
    assert told == []


def test_program_changes_and_bank_selects_are_left_to_who_loads(make_patch, hours):
    asked = [ControlChange(0, 0, 0, 1), ControlChange(0, 0, 32, 2), ProgramChange(0, 0, 5)]
    others = [Clock(0, "tick"), ControlChange(0, 0, 70, 9)]
    loop, _, _ = looped(make_patch, hours, [Timed(100.02, event) for event in [*others, *asked]])
    loop.run()
    assert [replace(event, time=0) for event in loop.programs] == asked


def test_while_a_loop_runs_nothing_is_collected_and_afterwards_all_is_as_before(make_patch, hours):
    seen = []
    loop, _, _ = looped(make_patch, hours, [], blocks=3)
    loop._on_block = lambda sound, events: seen.append((gc.isenabled(), sys.getswitchinterval()))
    before = gc.isenabled(), sys.getswitchinterval()
    loop.run()
    assert [collects for collects, _ in seen] == [False] * 3
    assert all(interval == pytest.approx(SWITCH_SECONDS) for _, interval in seen)
    assert (gc.isenabled(), sys.getswitchinterval()) == before


PAGES = """
import resource
import numpy as np
from timbrel.host.session.realtime import undisturbed

def taken():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(100):
        arrays = [np.ones(size, np.float32) for size in (80000, 50000)]
        del arrays
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

taken()
before = taken()
with undisturbed():
    taken()
    print(before, taken())
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="what is freed is glibc's to keep")
def test_arrays_that_come_and_go_with_each_block_find_their_memory_kept():
    tuned = ("GLIBC_TUNABLES", "MALLOC_")  # by which a machine may keep memory anyway
    plain = {name: value for name, value in os.environ.items() if not name.startswith(tuned)}
    run = subprocess.run([sys.executable, "-c", PAGES], capture_output=True, text=True, check=True, env=plain)
    before, meanwhile = map(int, run.stdout.split())
    assert before > 1000
    assert meanwhile < 100


def test_blocks_that_take_longer_than_they_last_cost_voices_until_they_do_not(make_patch, hours):
    loop, _, _ = looped(make_patch, hours, [Timed(100.01, NoteOn(0, 0, 50 + i, 90)) for i in range(6)])
    block = loop.player.block

    def slow(count):
        hours.now += (0.3 + 0.2 * loop.player.sounding) * count / 48000
        return block(count)

    loop.player.block = slow
    loop.run()
    assert loop.player.shed >= 3
    assert loop.player.sounding >= 1


def test_a_machine_that_stands_still_costs_an_underrun_and_no_voice(make_patch, hours):
    loop, _, _ = looped(make_patch, hours, [Timed(100.01, NoteOn(0, 0, 60, 90))])
    block, blocks = loop.player.block, iter(range(10_000))

    def stalled(count):
        hours.now += (50.0 if next(blocks) % 60 == 59 else 0.4) * count / 48000
        return block(count)

    loop.player.block = stalled
    loop.run()
    assert (loop.player.shed, loop.player.sounding) == (0, 1)


def test_what_a_loop_shows_is_read_while_it_plays_and_never_disturbs_it(make_patch, hours):
    motion = [{"target": "latent.0", "shape": "sine", "depth": 0.3, "rate_hz": 3.0}]
    knob = {"number": 70, "target": "latent.1", "low": 0.0, "high": 1.0}
    timed = [Timed(100 + i / 500, ControlChange(0, 0, 70, i % 128)) for i in range(200)]
    timed += [Timed(100.01 + i / 100, NoteOn(0, 0, 40 + i, 100)) for i in range(20)]
    sink = FakeSink(hours, blocks=160)
    player = player_of(make_patch, 48000, motion=motion, cc=[knob])
    loop = RenderLoop(player, sink, [FakeSource(hours, sorted(timed, key=lambda one: one.seconds))])
    problems, looks, ended = [], [], threading.Event()

    def look():
        try:
            while not ended.is_set():
                looks.append((loop.meters.latents, player.held, player.sounding, loop.meters.load.percentiles(50)))
        except Exception as error:
            problems.append(error)

    def meet(sound, events):
        if player.now % (20 * 128) == 0:
            seen = len(looks)
            until(lambda: len(looks) > seen + 1 or problems, "a look")

    loop._on_block = meet
    other = threading.Thread(target=look)
    other.start()
    try:
        loop.run()
    finally:
        ended.set()
        other.join()
    assert problems == []
    assert len({tuple(latents) for latents, *_ in looks}) > 2
    assert all(len(latents) in (0, 2) for latents, *_ in looks)  # 0 before the first block


def test_the_limiters_work_of_late_is_told_as_the_share_of_samples_that_are_over_its_knee(make_patch, hours):
    timed = [Timed(100 + i / 1000, NoteOn(0, 0, 40 + i, 127)) for i in range(24)]
    sink = FakeSink(hours, blocks=900)  # 2.4 s, five times what is averaged over
    loop = RenderLoop(
        player_of(make_patch, 48000, play={"gain_db": 12.0, "voices": 24}), sink, [FakeSource(hours, timed)]
    )
    loop.run()
    late = np.concatenate(sink.sounds[-190:], axis=1)
    assert 0.3 < np.mean(np.abs(late) > 0.7) < 1.0
    assert loop.meters.limited == pytest.approx(np.mean(np.abs(late) > 0.7), abs=0.03)
    soft, _, _ = looped(make_patch, hours, [Timed(100, NoteOn(0, 0, 60, 100))])
    soft.run()
    assert soft.meters.limited == 0


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
        loop._timeline.saw(0, hours.now)
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


@pytest.mark.parametrize(("waiting", "kept"), [(0.3, 6), (0.0, 0)])
def test_a_deeper_ring_gives_up_no_voice_that_is_in_time(make_patch, hours, waiting, kept):
    loop, _, _ = looped(make_patch, hours, [Timed(100.3, NoteOn(0, 0, 50 + i, 90)) for i in range(6)])
    block = loop.player.block

    def slow(count):
        hours.now += (0.9 - waiting) * count / 48000
        hours.wait(waiting * count / 48000)
        return block(count)

    loop.player.block = slow
    loop.run()
    assert loop.player.sounding == kept


@pytest.mark.parametrize(
    ("share", "stolen", "lowest", "deepest"),
    [
        (0.3, False, False, 4),
        (0.3, True, False, 2),
        (0.3, False, True, 2),
        (0.05, False, False, 2),
        (0, True, False, 2),
    ],
)
def test_the_ring_is_deeper_while_other_threads_keep_rendering_waiting(
    make_patch, hours, share, stolen, lowest, deepest
):
    loop, sink, _ = looped(make_patch, hours, [], lowest)
    block, depths, ahead = loop.player.block, [], []

    def kept(count):
        disturbed = 100 < len(sink.sounds) < 200
        hours.now += 0.0005
        hours.wait(0.0005 * share / (1 - share) if disturbed else 0.0, for_processor=stolen)
        depths.append(loop.ring_blocks)
        ahead.append((sink.written - sink.taken) // 128 + 1)  # with the block that is just made
        return block(count)

    loop.player.block = kept
    loop.run()
    depths, ahead = np.array(depths), np.array(ahead)
    assert set(depths[:100]) == {2}
    assert set(depths[150:200]) == {deepest}
    assert set(depths[300:]) == {2}
    assert np.array_equal(ahead[150:200], depths[150:200])
    assert np.array_equal(ahead[350:], depths[350:])
    assert sink.underruns == 0
