"""The thread that sounds, without a plugin: what it does when."""

import pytest
from timbrel.host.patch.library import open_patch
from timbrel.host.play.player import Player
from timbrel.host.plugin.loaded import Mode, loaded, rack_of
from timbrel.host.plugin.sounding import Sounding
from timbrel.host.plugin.wire import OFFLINE, EventKind, Position, Told


class Memory:
    """A plugin's memory in which samples have been asked for, and notes of what is done."""

    def __init__(self, offline):
        number = OFFLINE if offline else 0
        self._events = [Told(0, 48000.0, EventKind.RESET, number, 1, 0, 0, 0, 0)]
        self.complete, self.done = Position(1, 0), []

    def take(self):
        events, self._events = self._events, []
        return events

    def put(self, at, sound):
        self.done.append(("put", at))

    def tell_latency(self, samples):
        pass

    def tell_made(self, position):
        self.done.append(("made", position.samples))


class Keeper:
    """Has gm-keys loaded."""

    def __init__(self):
        patch = open_patch("gm-keys")
        self._loaded = loaded(patch, rack_of(patch, Mode(48000, offline=True)), "gm-keys", "gm-keys", {})

    def loaded_after(self, loads):
        return self._loaded


@pytest.mark.parametrize("offline", [False, True])
def test_live_what_comes_is_prepared_once_a_block_is_handed_over_and_in_a_bounce_it_is_not(monkeypatch, offline):
    memory = Memory(offline)
    sounding = Sounding(memory, Keeper())
    monkeypatch.setattr(Player, "prepare", lambda player: memory.done.append(("prepared", player.now)))
    for end in (256, 512):
        memory.complete = Position(1, end)
        assert sounding.work()
    per_block = [[("put", end - 256), ("made", end), ("prepared", end)] for end in (256, 512)]
    expected = [("made", 0)] + [step for steps in per_block for step in steps if step[0] != "prepared" or not offline]
    assert memory.done == expected
