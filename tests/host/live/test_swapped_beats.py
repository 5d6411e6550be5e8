"""Presets that come while a clock, or a tempo from outside, runs go on with its beat."""

import numpy as np
import pytest
from timbrel.host.events import Clock, Tempo
from timbrel.host.play.motion_sources import Beats
from timbrel.host.play.player import Player
from timbrel.host.play.rack import Rack

RATE, SLOW_RATE, SIZE = 48000, 22050, 100
MOTION = {"motion": [{"target": "latent.0", "shape": "triangle", "depth": 0.25, "beats": 5.0}]}
TICK = 60 * RATE / 97 / 24  # samples


def ticks(first, count):
    return [Clock(first + round(TICK * index), "tick") for index in range(count)]


CLOCK = [Clock(900, "start"), *ticks(1000, 120)]
STORIES = {
    "clock": CLOCK,
    "clock without a start": CLOCK[1:],
    "start that no tick has followed yet": [Clock(30_000, "start"), *ticks(43_000, 40)],
    "stopped": [*CLOCK[:30], Clock(35_500, "stop"), *ticks(36_500, 20), Clock(70_000, "continue"), *ticks(70_500, 60)],
    "late tick": [*CLOCK[:25], *ticks(CLOCK[25].time + 4000, 60)],
    "tempo": [Tempo(0, 97.0), Tempo(12_000, 150.0), Tempo(60_000, 80.0)],
    "a host that starts": [Clock(5000, "start"), Tempo(5000, 97.0)],
    "a clock before a host's tempo": [*CLOCK[:40], Tempo(41_000, 200.0), *ticks(CLOCK[40].time, 40)],
}
SWAP = 40_000


@pytest.mark.parametrize("story", STORIES.values(), ids=STORIES)
def test_a_beat_goes_on_at_another_rate(story):
    beats = Beats(120.0, RATE)
    follower = Beats(33.0, SLOW_RATE)
    for event in story:
        if event.time < SWAP:
            beats.apply(event)
    follower.apply(type(sync := beats.sync(SWAP))(0, *[getattr(sync, name) for name in sync.__slots__]))
    for time in range(SWAP, 100_000, 77):
        for event in story:
            if max(SWAP, time - 77) <= event.time < time:
                beats.apply(event)
                follower.apply(type(event)(later(event.time), *[getattr(event, name) for name in event.__slots__]))
        # Half a tick, and more of the tempo: the average of ticks begins anew, and differs after an uneven clock.
        assert follower.value(later(time)) == pytest.approx(beats.value(time), abs=1 / 48)
        assert follower.samples(later(time)) / SLOW_RATE == pytest.approx(beats.samples(time) / RATE, rel=0.15)


def later(time):
    """A sample of `RATE` at `SLOW_RATE`, from the swap on."""
    return round((time - SWAP) * SLOW_RATE / RATE)


def latents(make_patch, story, swapped, second=MOTION, size=SIZE):
    """The latents at the ends of blocks, [blocks], where another rack takes the first one's place at `SWAP`."""
    player = Player(Rack({0: make_patch(**MOTION)}, RATE, omni=True), RATE)
    values, waiting = [], list(story)
    while player.now < 100_000:
        if swapped and player.now == SWAP:
            player.swap(Rack({0: make_patch(**second)}, RATE, omni=True))
        while waiting and waiting[0].time < player.now + size:
            player.schedule(waiting.pop(0))
        player.block(size)
        values.append(player.rack.current_latents(0)[0])
    return np.array(values)


@pytest.mark.parametrize("name", ["clock", "stopped", "tempo", "a host that starts"])
def test_a_new_preset_goes_on_with_the_running_beat(make_patch, name):
    swapped, alone = (latents(make_patch, STORIES[name], swap) for swap in (True, False))
    assert np.ptp(alone[SWAP // SIZE :]) > 0.1
    assert swapped == pytest.approx(alone, abs=2e-3)


def test_blocks_do_not_matter_to_the_beat_of_a_new_preset(make_patch):
    few, many = latents(make_patch, CLOCK, True, size=4000), latents(make_patch, CLOCK, True)
    assert np.array_equal(few, many[39::40])


def test_without_a_clock_a_new_preset_begins_at_its_own_beginning_and_tempo(make_patch):
    second = MOTION | {"tempo_bpm": 200.0}
    swapped, alone = latents(make_patch, [], True, second), latents(make_patch, [], False)
    fast = latents(make_patch, [Tempo(0, 200.0)], False)
    after = SWAP // SIZE
    assert swapped[:after] == pytest.approx(alone[:after], abs=1e-6)
    assert swapped[after:] == pytest.approx(fast[: len(swapped) - after], abs=2e-3)
