"""A machine with little time costs as few voices and gaps as it must; the ring deepens while rendering waits."""

import numpy as np
import pytest
from timbrel.host.events import NoteOn
from timbrel.host.live.render_loop import RenderLoop
from timbrel.host.midi.ports import Timed
from timbrel.host.session.meters import REMEMBERED, RenderLoad

from ..fake_card import FakeSink
from .playing import looped, player_of


def test_load_keeps_what_came_last_and_is_nothing_at_first():
    load = RenderLoad()
    assert load.percentiles(50, 99) == [0.0, 0.0]
    load.add(0.5)
    assert load.percentiles(50, 100) == [0.5, 0.5]
    for _ in range(REMEMBERED):
        load.add(0.25)
    assert load.percentiles(0, 50, 100) == [0.25] * 3


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


@pytest.mark.parametrize(("waiting", "lowest", "kept"), [(0.3, False, 6), (0.0, False, 6), (0.0, True, 0)])
def test_a_deeper_ring_gives_up_no_voice_that_is_in_time(make_patch, hours, waiting, lowest, kept):
    notes = [Timed(100.3, NoteOn(0, 0, 50 + i, 90)) for i in range(6)]
    loop, _, _ = looped(make_patch, hours, notes, lowest)
    block = loop.player.block

    def slow(count):
        hours.now += (0.9 - waiting) * count / 48000
        hours.wait(waiting * count / 48000)
        return block(count)

    loop.player.block = slow
    loop.run()
    assert loop.player.sounding == kept


@pytest.mark.parametrize(("lowest", "late"), [(False, 0), (True, 15)])
def test_chords_that_take_longer_than_a_block_leave_no_gap_once_they_come_often(make_patch, hours, lowest, late):
    loop, sink, _ = looped(make_patch, hours, [], lowest, blocks=1300)
    block, blocks, depths, starved = loop.player.block, iter(range(10_000)), [], []

    def chords(count):
        number = next(blocks)
        is_chord = 100 <= number < 400 and number % 10 < 2
        hours.now += (1.7 if is_chord else 0.3) * count / 48000
        depths.append(loop.ring_blocks)
        periods = (hours.now - sink.began) * sink.rate / sink.block
        starved.append(periods > sink.written / sink.block + sink.depth)
        return block(count)

    loop.player.block = chords
    loop.run()
    assert set(depths[:100]) == {2}
    assert set(depths[200:400]) == {2 if lowest else 4}
    assert sum(starved[200:400]) >= late if late else not any(starved[200:400])
    assert set(depths[1200:]) == {2}


def test_slow_blocks_that_come_as_often_as_counts_change_the_ring_once(make_patch, hours):
    loop, _, _ = looped(make_patch, hours, [], blocks=1600)
    block, blocks, depths = loop.player.block, iter(range(10_000)), []

    def slow(count):
        hours.now += (0.9 if next(blocks) % 20 == 0 else 0.1) * count / 48000
        depths.append(loop.ring_blocks)
        return block(count)

    loop.player.block = slow
    loop.run()
    assert (depths[0], depths[-1], np.count_nonzero(np.diff(depths))) == (2, 4, 1)


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
