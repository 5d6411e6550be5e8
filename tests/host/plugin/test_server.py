"""A server's life: how it begins, goes on in real time, and ends."""

import os
from pathlib import Path

import numpy as np
import pytest
from timbrel.host.errors import UserError
from timbrel.host.events import NoteOff, NoteOn
from timbrel.host.play.player import Player
from timbrel.host.play.rack import Rack
from timbrel.host.plugin.patch_loader import Mode, rack_of
from timbrel.host.plugin.wire import Position, ToServer, WireMessage
from timbrel.host.preset.library import open_patch

from ...patience import PATIENCE_SECONDS, until
from .fake import FakePlugin

RATE = 48000


def played(events, length, block, primed=8 * 128):
    """What `timbrel play` makes of gm-keys in blocks, its rack primed."""
    rack = Rack({0: open_patch("gm-keys")}, RATE, omni=True, live=True)
    rack.process([], primed)
    player = Player(rack, RATE)
    for event in events:
        player.schedule(event)
    return np.concatenate([player.block(block)[0] for _ in range(length // block)], axis=1)


def test_live_sound_is_that_of_play(plugin):
    events = [NoteOn(300, 0, 60, 100), NoteOn(5000, 0, 64, 100), NoteOff(9000, 0, 60)]
    plugin.load("gm-keys")
    sound = plugin.bounce(events, 16 * 1024, [256], offline=False)
    np.testing.assert_array_equal(sound, played(events, 16 * 1024, 256))


def test_a_preset_that_comes_in_live_takes_new_notes_and_held_ones_ring_on(plugin):
    plugin.load("gm-keys")
    plugin.bounce([NoteOn(0, 0, 60, 100)], 9600, [256], offline=False)
    plugin.choose(plugin.position, plugin.presets.index("gm-pad") + 1)
    plugin.block(256)
    plugin.settle()
    assert "brighter" not in [name for name, _ in plugin.parameters]  # a macro of gm-keys, where gm-pad has none
    ringing = plugin.block(4800)
    assert np.abs(ringing).max() > 0.01
    np.testing.assert_allclose(ringing, played([NoteOn(0, 0, 60, 100)], 16384, 256)[:, 9856 : 9856 + 4800], atol=0.01)
    plugin.midi(plugin.position, 0x80, 60, 0)
    for _ in range(40):
        plugin.block(2048)
    assert np.abs(plugin.block(1024)).max() < 1e-3
    plugin.midi(plugin.position, 0x90, 72, 100)
    assert np.abs(plugin.block(9600)).max() > 0.01


def test_sound_that_is_far_behind_leaves_out_what_has_passed_and_keeps_its_place(plugin):
    """A second is asked for at once: it is silent; what is held begins after it, and later notes are on time."""
    plugin.load("gm-keys")
    plugin.settle()
    plugin.reset(offline=False)
    plugin.midi(100, 0x90, 40, 127)  # this ends before the gap does
    plugin.midi(9000, 0x80, 40, 0)
    plugin.midi(20000, 0x90, 60, 100)
    late = plugin.block(RATE)
    assert not late.any()
    plugin.midi(RATE + 20000, 0x90, 67, 100)
    now = np.concatenate([plugin.block(256) for _ in range(100)], axis=1)
    expected = played([NoteOn(0, 0, 60, 100), NoteOn(20000, 0, 67, 100)], 25600, 256)
    np.testing.assert_array_equal(now, expected)


def test_an_epoch_that_goes_on_where_another_was_left_is_not_confused_with_it(plugin):
    plugin.load("gm-keys")
    for _ in range(5):
        plugin.reset(offline=False)
        plugin.ask(512)
    plugin.reset(offline=True)
    plugin.midi(0, 0x90, 60, 100)
    sound = plugin.block(4096)
    assert np.abs(sound[:, 1000:]).max() > 0.01
    assert Position.from_number(plugin.memory.made) == Position(plugin.epoch, 4096)


def test_many_events_that_mean_nothing_are_passed_over(plugin):
    """Kinds, numbers, values and bytes at random: what is played after them sounds."""
    chance = np.random.default_rng(22)
    plugin.load("gm-keys")
    plugin.reset(rate=float("nan"))
    for _ in range(300):
        kind = int(chance.choice([0, 1, 2, 3, 4, 6, 999]))
        number = int(chance.choice([0, 15, 16, 19, 500, 65535]))
        value = float(chance.choice([0.0, -1.0, 1e30, np.nan, np.inf, 0.5]))
        plugin.put(0, kind, number, value, chance.integers(0, 256, 3).tolist())
    assert np.isfinite(plugin.block(4096)).all()
    plugin.load("gm-keys")  # some of the bytes were program changes
    plugin.reset()
    plugin.midi(0, 0x90, 60, 100)
    assert np.abs(plugin.block(4096)).max() > 0.01
    plugin.settle()


def test_whatever_path_a_project_names_nothing_of_the_file_is_said(plugin, tmp_path):
    secret, scale = "hunter2", tmp_path / "scale.scl"
    scale.write_text(f"{secret}\n{secret}\n{secret}\n")
    texts = {
        "notes.txt": f"{secret}\n",
        "notes.toml": f"{secret}\n",
        "other.toml": f'{secret} = "{secret}"\n',
        "scaled.toml": f'format = 1\nmodel = "gm-chroma-8"\n[tuning]\nscale = "{scale}"\n',
        "model.onnx": secret,
    }
    plugin.settle()
    for name, text in texts.items():
        (tmp_path / name).write_text(text)
        plugin.load(tmp_path / name)
    os.mkfifo(tmp_path / "pipe.toml")
    for path in ("/dev/zero", tmp_path / "pipe.toml", tmp_path):
        plugin.load(path)
    plugin.listen(lambda: len(plugin.said) == len(texts) + 3)
    assert not [line for line in plugin.said if secret in line]
    assert plugin.said[0].startswith(f"{tmp_path}/notes.txt is no preset; give a .toml file")
    assert all(f"'timbrel play {tmp_path}/" in line for line in plugin.said[1 : len(texts)])
    assert all("is no regular file" in line for line in plugin.said[len(texts) : len(texts) + 2])
    plugin.settle()


def test_where_macros_rest_is_told_again_where_a_state_cannot_be_played(plugin):
    plugin.load("gm-keys")
    plugin.settle()
    expected, plugin.parameters = plugin.parameters, []
    plugin.load(b"no state")
    plugin.settle()
    assert plugin.parameters == expected


def test_a_preset_that_takes_its_time_is_refused():
    best = open_patch("gm-keys")
    preset = best.preset.model_copy(update={"play": best.preset.play.model_copy(update={"phase": "best"})})
    object.__setattr__(best, "preset", preset)
    with pytest.raises(UserError, match="'best' takes its time; set 'coherent'"):
        rack_of(best, Mode(RATE, True))


def test_a_server_ends_when_its_plugin_does_in_the_middle_of_a_bounce_and_while_it_loads():
    plugin = FakePlugin()
    plugin.listen(lambda: plugin.ready)
    plugin.load("drum-loops")  # this has a process beside it
    plugin.reset()
    plugin.midi(0, 0x90, 60, 100)
    plugin.block(4096)
    plugin.load("digits-keys")
    plugin.ask(16384)
    assert plugin.close() == 0

    def gone():
        try:
            os.killpg(plugin.process.pid, 0)
        except ProcessLookupError:
            return True
        return False

    until(gone, "the end of each process of its group")


def test_a_message_that_is_cut_off_or_too_long_ends_the_server_as_the_end_does():
    plugin = FakePlugin()
    plugin.listen(lambda: plugin.ready)
    plugin.say(77, 5, b"what a newer plugin says")
    plugin.settle()
    plugin.socket.sendall(bytes(WireMessage(ToServer.LOAD_PRESET, 1, 0xFFFFFFFF)))
    assert plugin.process.wait(PATIENCE_SECONDS) == 0
    assert plugin.close() == 0
    assert plugin.logged() == ""


def test_a_server_needs_neither_card_nor_ports_nor_what_serves_a_panel():
    plugin = FakePlugin()
    plugin.listen(lambda: plugin.presets)
    libraries = Path(f"/proc/{plugin.process.pid}/maps").read_text()
    assert "onnxruntime" in libraries
    for other in ("libportaudio", "rtmidi", "libjack", "torch"):
        assert other not in libraries
    assert plugin.close() == 0
