"""The thread that sounds, without a plugin: what it does when."""

import pytest
from timbrel.host.patch.library import open_patch
from timbrel.host.play.player import Player
from timbrel.host.plugin.loaded import Mode, loaded, rack_of
from timbrel.host.plugin.sounding import Sounding
from timbrel.host.plugin.wire import OFFLINE, EventKind, Position, Told


class Memory:
    """A plugin's memory in which samples have been asked for, and notes of what is done."""

    def __init__(self, offline, loads=0):
        number = OFFLINE if offline else 0
        self._events = [Told(0, 48000.0, EventKind.RESET, number, 1, 0, 0, 0, loads)]
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
    """Has the first of its presets loaded, and one more after each message to load."""

    def __init__(self, *names):
        mode = Mode(48000, offline=True)
        patches = [open_patch(name) for name in names]
        self.loaded = [loaded(patch, rack_of(patch, mode), patch.name, patch.name, {}) for patch in patches]

    def loaded_after(self, loads):
        return self.loaded[loads]


@pytest.mark.parametrize("offline", [False, True])
def test_live_what_comes_is_prepared_once_a_block_is_handed_over_and_in_a_bounce_it_is_not(monkeypatch, offline):
    memory = Memory(offline)
    sounding = Sounding(memory, Keeper("gm-keys"))
    monkeypatch.setattr(Player, "prepare", lambda player: memory.done.append(("prepared", player.now)))
    for end in (256, 512):
        memory.complete = Position(1, end)
        assert sounding.work()
    per_block = [[("put", end - 256), ("made", end), ("prepared", end)] for end in (256, 512)]
    expected = [("made", 0)] + [step for steps in per_block for step in steps if step[0] != "prepared" or not offline]
    assert memory.done == expected


@pytest.mark.parametrize("loads", [0, 1, 2])
def test_an_epoch_begins_with_what_the_host_has_loaded_before_it(loads):
    memory, keeper = Memory(offline=True, loads=loads), Keeper("gm-keys", "gm-pad", "gm-hall")
    sounding = Sounding(memory, keeper)
    memory.complete = Position(1, 64)
    assert sounding.work()
    assert sounding.playing is keeper.loaded[loads]
