"""What is dropped is gone at once: while live sound is made no collector runs, so whatever leads in a circle stays."""

import gc
import weakref
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from timbrel.host.events import Clock, ControlChange, NoteOff, NoteOn, PitchBend
from timbrel.host.live import audio_process
from timbrel.host.live.audio_process import ProcessState
from timbrel.host.play import player as live
from timbrel.host.play.player import Player
from timbrel.host.play.rack import Rack
from timbrel.host.preset.library import read_controller
from timbrel.host.resynthesis.processor import EffectRack
from timbrel.host.session.messages import Setup

from ..cover import cover
from ..play.gestures import gestures, note, with_gestures

RATE = 22050
KNOB = {"number": 20, "target": "latent.0", "low": 0.0, "high": 1.0}
MOVED = {
    "cc": [KNOB, {"number": 91, "target": "effects.0.wet_level", "low": 0.0, "high": 0.6}],
    "motion": [{"target": "latent.1", "shape": "sine", "depth": 0.3, "beats": 1.0}],
    "effects": [{"plugin": "Reverb", "room_size": 0.3}],
}
KINDS = {
    "plain": {},
    "moved": MOVED,
    "mono": {"play": {"mode": "mono", "legato": True, "glide_seconds": 0.1}},
    "chord": {"play": {"mode": "chord"}},
    "noise": {"play": {"phase": "noise"}},
    "unison": {"play": {"unison": 3, "width": 0.5}},
    "zone": {"mpe": {"enabled": True, "pressure": "latent.0", "slide": "gain"}},
    "note": {"note": [{"source": "velocity", "target": "latent.0", "low": -0.4, "high": 0.4}]},
    "morph": {"morph": {"values": [0.1, 0.9]}, "cc": [KNOB | {"number": 1, "target": "morph"}]},
}


@pytest.fixture
def uncollected():
    """Switch the collector off; return a function that lists the garbage made since."""
    gc.freeze()
    gc.disable()

    def found():
        gc.set_debug(gc.DEBUG_SAVEALL)
        gc.collect()
        names = [(type(thing).__module__, type(thing).__name__) for thing in gc.garbage]
        # Each loading of a C library defines a class of functions.
        kinds = [name for module, name in names if module.startswith("timbrel") or name == "PyCFuncPtrType"]
        gc.set_debug(0)
        gc.garbage.clear()
        return kinds

    yield found
    gc.set_debug(0)
    gc.garbage.clear()
    gc.enable()


def play(player, blocks=20):
    """Notes, knobs, bends and a clock, for so many blocks."""
    for block in range(blocks):
        for event in (
            NoteOn(player.now, 0, 40 + block, 100),
            ControlChange(player.now, 0, 20, block),
            ControlChange(player.now, 0, 91, block),
            PitchBend(player.now, block % 3, 99 * block),
            Clock(player.now, "tick"),
            NoteOff(player.now + 200, 0, 40 + block),
        ):
            player.schedule(event)
        player.block(256)


@pytest.mark.parametrize(("kind", "rate"), cover(8, list(KINDS), [RATE, 48000]))
def test_a_rack_that_is_no_longer_heard_is_gone_without_a_collector(make_patch, uncollected, monkeypatch, kind, rate):
    leave_a_rack(lambda: Rack({0: make_patch(**KINDS[kind])}, rate, omni=True), rate, uncollected, monkeypatch)


def test_a_rack_whose_notes_have_gestures_is_gone_without_a_collector(
    tiny, make_patch, uncollected, monkeypatch, tmp_path
):
    model = with_gestures(tiny().path, tmp_path / "moving.onnx", gestures(note()))
    leave_a_rack(lambda: Rack({0: make_patch(model, **KINDS["note"])}, RATE), RATE, uncollected, monkeypatch)


def leave_a_rack(make_rack, rate, uncollected, monkeypatch):
    """Play a rack, swap it for another, and play until it has rung out."""
    monkeypatch.setattr(live, "RING_SECONDS", 0.05)
    player = Player(make_rack(), rate)
    play(player)
    gone = weakref.ref(player.rack)
    player.swap(make_rack())
    play(player)
    assert gone() is not None  # it rings on
    for _ in range(120):
        player.block(256)
    assert gone() is None
    assert uncollected() == []


@pytest.mark.parametrize("rate", [RATE, 48000])
def test_what_sound_went_through_is_gone_without_a_collector_even_while_frames_are_made(
    make_allpass, make_patch, uncollected, rate
):
    def insert():
        patch = make_patch(make_allpass(frame_length=1024, hop_length=256), cc=[KNOB], effects=MOVED["effects"])
        return EffectRack(patch, rate, SimpleNamespace(heard=np.full((1, 256), 0.1, np.float32)))

    player = Player(insert(), rate)
    play(player)
    gone, through = weakref.ref(player.rack), player.rack.processor.stream
    while not through._jobs:
        player.block(256)
    del through
    player.swap(insert())
    for _ in range(60):
        player.block(256)
    assert gone() is None
    assert uncollected() == []


@pytest.fixture
def state(monkeypatch, make_patch, uncollected):
    """A state whose player plays nothing in particular."""
    monkeypatch.setattr(audio_process, "SETTLE_SECONDS", 0.0)
    monkeypatch.setattr(live, "RING_SECONDS", 0.0)
    player = Player(Rack({0: make_patch()}, 48000, omni=True), 48000)
    sink = SimpleNamespace(block=128)
    loop = SimpleNamespace(player=player, brace=lambda blocks: None, sink=sink, recording=False)
    setup = Setup("gm-keys", controller=read_controller("nanokontrol2"))
    made = ProcessState(setup=setup, pipe=None, loop=loop, rate=48000)
    made.presets.activate({None: "gm-keys"}, made.presets.opened({None: "gm-keys"}))
    return made


def test_presets_that_come_and_go_leave_nothing_for_a_collector(state, uncollected, tmp_path):
    wrong = tmp_path / "wrong.toml"
    Path(wrong).write_text('format = 1\nmodel = "gm-chroma-8"\n[play]\nvoices = 900\n', encoding="utf-8")
    for name in ("gm-hall", "gm-lead", str(wrong), "lakeside-soundscape", "none-such", "gm-keys"):
        audio_process._load(state, {None: name})
        play(state.loop.player, 4)
    for _ in range(20):
        state.loop.player.block(512)
    assert len(state.loop.player._seats) == 1
    assert uncollected() == []
