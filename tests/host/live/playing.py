"""A player without a device, performances in blocks of any size, and loops that play to a stand-in for a card."""

import numpy as np
from timbrel.host.live.render_loop import RenderLoop
from timbrel.host.play.player import Player
from timbrel.host.play.rack import Rack

from ..fake_card import FakeSink, FakeSource

RATE = 22050
PLAYED = {
    "play": {"voices": 6},
    "tempo_bpm": 100.0,
    "cc": [
        {"number": 70, "target": "latent.0", "low": 0.0, "high": 1.0},
        {"number": 71, "target": "envelope.release_seconds", "low": 0.01, "high": 0.3},
        {"number": 91, "target": "effects.1.wet_level", "low": 0.0, "high": 0.6},
        {"number": 93, "target": "effects.0.mix", "low": 0.0, "high": 0.6},
    ],
    "motion": [{"target": "latent.1", "shape": "sine", "depth": 0.3, "beats": 1.0}],
    "effects": [{"plugin": "Chorus", "mix": 0.3}, {"plugin": "Reverb", "room_size": 0.3}],
}


def perform(player, events, count, sizes):
    """Drive a player live: each event is scheduled before the block in which it is due, as it would arrive."""
    sounds, played, at, turn = [], [], 0, 0
    waiting = list(events)
    while at < count:
        size = min(sizes[turn % len(sizes)], count - at)
        while waiting and waiting[0].time < at + size:
            player.schedule(waiting.pop(0))
        sound, due = player.block(size)
        assert sound.shape == (2, size)
        sounds.append(sound.copy())
        player.prepare()
        played += due
        at, turn = at + size, turn + 1
    return np.concatenate(sounds, axis=1), played


def player_of(make_patch, rate=RATE, **keys):
    return Player(Rack({0: make_patch(**keys)}, rate, omni=True), rate)


def looped(make_patch, hours, timed, lowest=False, **settings):
    sink, told = FakeSink(hours, **settings), []
    player = player_of(make_patch, 48000)
    loop = RenderLoop(
        player, sink, [FakeSource(hours, timed)], lowest, lambda sound, events: told.append((sound, events))
    )
    return loop, sink, told


LONG_RELEASE = {"envelope": {"attack_seconds": 0.0, "release_seconds": 0.1}}
