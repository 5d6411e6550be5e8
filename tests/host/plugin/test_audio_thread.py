"""The thread that sounds, without a plugin: what it does when."""

from types import SimpleNamespace

import pytest
from timbrel.host.errors import UserError
from timbrel.host.events import NoteOn
from timbrel.host.play.player import Player
from timbrel.host.plugin.audio_thread import AudioThread
from timbrel.host.plugin.patch_loader import LoadedRack, Mode, OpenedPatch, make_loaded_patch, rack_of
from timbrel.host.plugin.wire import OFFLINE, EventKind, Position, ReceivedEvent
from timbrel.host.preset.library import open_patch


class Memory:
    """A plugin's memory in which samples have been asked for, and notes of what is done."""

    def __init__(self, offline, loads=0):
        self.complete, self.done = Position(1, 0), []
        self.reset(offline, loads)

    def reset(self, offline, loads=0):
        number = OFFLINE if offline else 0
        self._events = [ReceivedEvent(0, 48000.0, EventKind.RESET, number, 1, 0, 0, 0, loads)]

    def read_events(self):
        events, self._events = self._events, []
        return events

    def put(self, at, sound):
        self.done.append(("put", at))

    def write_latency(self, samples):
        pass

    def write_made(self, position):
        self.done.append(("made", position.samples))


class Loader:
    """Has the first of its presets loaded, and one more after each message to load."""

    def __init__(self, *names):
        mode = Mode(48000, offline=True)
        opened = [OpenedPatch(open_patch(name), name, name) for name in names]
        self.loaded = [make_loaded_patch(each, rack_of(each.patch, mode)) for each in opened]

    def loaded_after(self, loads):
        return self.loaded[loads]


@pytest.fixture(autouse=True)
def unhurried(monkeypatch):
    """Keeps the test process's priority: a realtime one that computes for ten seconds without a pause is killed."""
    monkeypatch.setattr("timbrel.host.plugin.audio_thread.hurry", lambda priority: None)


@pytest.mark.parametrize("offline", [False, True])
def test_live_what_comes_is_prepared_once_a_block_is_handed_over_and_in_a_bounce_it_is_not(monkeypatch, offline):
    memory = Memory(offline)
    sounding = AudioThread(memory, Loader("gm-keys"))
    monkeypatch.setattr(Player, "prepare", lambda player: memory.done.append(("prepared", player.now)))
    for end in (256, 512):
        memory.complete = Position(1, end)
        assert sounding.work()
    per_block = [[("put", end - 256), ("made", end), ("prepared", end)] for end in (256, 512)]
    expected = [("made", 0)] + [step for steps in per_block for step in steps if step[0] != "prepared" or not offline]
    assert memory.done == expected


@pytest.mark.parametrize("offline", [False, True])
def test_live_notes_are_put_off_and_nothing_is_prepared_where_the_next_block_is_asked_for_by_then(monkeypatch, offline):
    memory = Memory(offline)
    sounding = AudioThread(memory, Loader("gm-keys"))
    monkeypatch.setattr(Player, "prepare", lambda player: memory.done.append("prepared"))
    monkeypatch.setattr(Player, "put_off", lambda player: memory.done.append("put off"))
    told = Memory.write_made

    def write_made(_, position):
        told(memory, position)
        if position.samples:
            memory.complete = Position(1, position.samples + 128)

    monkeypatch.setattr(Memory, "write_made", write_made)
    memory.complete = Position(1, 128)
    assert sounding.work()
    assert memory.done == [("made", 0), ("put", 0), ("made", 128), *([] if offline else ["put off"])]


def test_a_patch_is_played_unheard_before_it_sounds_live_for_the_first_time(monkeypatch):
    played = []
    monkeypatch.setattr("timbrel.host.plugin.audio_thread.warm_up_for", lambda patch, mode: played.append(patch.name))
    loader = Loader("gm-keys", "gm-pad")
    sounding = AudioThread(memory := Memory(offline=False), loader)
    for offline, loads in ((False, 0), (False, 0), (True, 1), (False, 1)):
        memory.reset(offline, loads)
        sounding.work()
    assert played == ["gm-keys", "gm-pad"]


@pytest.mark.parametrize("loads", [0, 1, 2])
def test_an_epoch_begins_with_what_the_host_has_loaded_before_it(loads):
    memory, loader = Memory(offline=True, loads=loads), Loader("gm-keys", "gm-pad", "gm-hall")
    sounding = AudioThread(memory, loader)
    memory.complete = Position(1, 64)
    assert sounding.work()
    assert sounding.playing is loader.loaded[loads]


def test_notes_keep_their_samples_where_a_patch_is_there_only_after_some_of_an_epoch(monkeypatch):
    """The first patch cannot be used at the host's rate."""
    memory, loader = Memory(offline=False), Loader("gm-keys", "gm-pad")
    loader.requests = SimpleNamespace(put=memory.done.append)
    played, schedule = [], Player.schedule

    def refuse(patch, mode):
        raise UserError("this rate cannot be")

    monkeypatch.setattr("timbrel.host.plugin.audio_thread.warm_up_for", refuse)
    sounding = AudioThread(memory, loader)
    memory.complete = Position(1, 512)
    assert sounding.work()
    assert "this rate cannot be; nothing is heard" in memory.done

    def note(player, event):
        played.append(event)
        schedule(player, event)

    monkeypatch.setattr(Player, "schedule", note)
    later = loader.loaded[1]
    sounding.offer(LoadedRack(loader.mode, later, rack_of(later.patch, loader.mode)))
    memory._events = [ReceivedEvent(600, 0.0, EventKind.MIDI, 0, 1, 0x90, 60, 100, 0)]
    memory.complete = Position(1, 768)
    assert sounding.work()
    assert [event for event in played if isinstance(event, NoteOn)] == [NoteOn(88, 0, 60, 100)]
