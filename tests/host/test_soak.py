"""Random playing for long: what is kept does not grow."""

import gc
import sys
from pathlib import Path

import numpy as np
import pytest
from timbrel.host.events import (
    ChannelPressure,
    Clock,
    ControlChange,
    KeyPressure,
    NoteOff,
    NoteOn,
    PitchBend,
)
from timbrel.host.library import Patch, open_patch
from timbrel.host.live import Player
from timbrel.host.rack import Rack

RATE = 48000
CC = [
    {"number": 70, "target": "latent.0", "low": 0.0, "high": 1.0},
    {"pressure": "key", "target": "pan", "low": -1.0, "high": 1.0},
]


def random_events(rng, time, count):
    """What a restless player does in a block: any message, on any channel, at any moment of it."""
    events = []
    for _ in range(rng.poisson(2 * count / 1000)):
        at, channel, key = time + int(rng.integers(count)), int(rng.integers(16)), int(rng.integers(24, 100))
        value = int(rng.integers(128))
        events.append(
            [
                NoteOn(at, channel, key, max(1, value)),
                NoteOff(at, channel, key),
                NoteOff(at, channel, key),
                ControlChange(at, channel, value, int(rng.integers(128))),
                ControlChange(at, channel, 70 + value % 8, int(rng.integers(128))),
                PitchBend(at, channel, value * 128 - 8192),
                ChannelPressure(at, channel, value),
                KeyPressure(at, channel, key, value),
                Clock(at, ["tick", "tick", "start", "stop", "continue"][value % 5]),
            ][int(rng.integers(9))]
        )
    return events


def play(player, rng, seconds, block):
    """So many seconds of random playing; every sample must be finite and within full scale."""
    for _ in range(round(seconds * RATE / block)):
        for event in random_events(rng, player.now, block):
            player.schedule(event)
        sound, _ = player.block(block)
        assert np.abs(sound).max() <= 1.0  # false for NaN too


def kept():
    """Memory blocks that Python holds, rubbish collected."""
    gc.collect()
    return sys.getallocatedblocks()


def resident():
    """Bytes of memory that this process has in use."""
    pages = Path("/proc/self/statm").read_text(encoding="ascii").split()[1]
    return int(pages) * 4096


def test_a_minute_of_random_playing_keeps_no_more_than_half_a_minute(tiny, make_preset):
    patch = Patch("tiny", make_preset(play={"voices": 8}, cc=CC), tiny(), Path())
    player, rng = Player(Rack({0: patch}, RATE, omni=True), RATE), np.random.default_rng(3)
    play(player, rng, 30, 512)
    before = kept()
    play(player, rng, 30, 512)
    assert kept() - before < 0.02 * before


@pytest.mark.slow
@pytest.mark.timeout(3600)
@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="this system does not tell how much memory is used")
def test_an_hour_of_random_playing_takes_no_more_memory_than_its_first_minutes():
    player, rng = Player(Rack({0: open_patch("gm-hall")}, RATE, omni=True), RATE), np.random.default_rng(4)
    play(player, rng, 180, 512)
    before = resident()
    play(player, rng, 3420, 512)
    assert resident() - before < 10e6
