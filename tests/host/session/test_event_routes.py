"""Each event does the same in a rendered file, live, in an effect and in a plugin."""

import functools
from dataclasses import replace
from types import SimpleNamespace
from typing import NamedTuple

import numpy as np
import pytest
from timbrel.host.events import (
    ChannelPressure,
    Clock,
    ControlChange,
    KeyPressure,
    NoteOn,
    ParameterChange,
    PitchBend,
    ProgramChange,
    Tempo,
)
from timbrel.host.live import audio_process
from timbrel.host.live.audio_process import ProcessState
from timbrel.host.live.render_loop import RenderLoop
from timbrel.host.midi.ports import Timed
from timbrel.host.play.player import Player, Succession
from timbrel.host.play.rack import Rack
from timbrel.host.play.render import programmed
from timbrel.host.plugin.audio_thread import FROM_THE_BEGINNING, AudioThread
from timbrel.host.plugin.patch_loader import LoadedRack, Mode, OpenedPatch, make_loaded_patch, rack_of
from timbrel.host.plugin.wire import EventKind, Position, ReceivedEvent
from timbrel.host.preset.library import open_patch
from timbrel.host.resynthesis.process import _Effects
from timbrel.host.session.messages import Setup

from ..fake_card import FakeSink, FakeSource
from ..plugin.bounces import message

RATE, BLOCK = 48000, 4096
BEAT = 0.6  # seconds at the preset's tempo
FIRST, APART = 4800, 480  # samples to the first event, and from one to the next

PRESET = """
format = 1
model = "gm-chroma-8"
tempo_bpm = 100
[latent]
values = [0.1, 0.1, 0.1, 0.1, 0.1, 0.1, {last}, 0.1]
[mpe]
pressure = "latent.6"
[[macro]]
name = "bright"
value = 0.0
targets = [{{target = "latent.5", low = 0.0, high = 0.4}}]
[[motion]]
target = "latent.7"
shape = "sine"
depth = 0.05
beats = 2
"""
MAPS = {
    "number = 20": "latent.0",
    "number = 1": "latent.1",
    'pressure = "channel"': "latent.2",
    "nrpn = 5": "latent.3",
    'number = 21\ntakeover = "pickup"': "latent.4",
    "number = 22": "macro.0",
    'pressure = "key"': "latent.7",
}


class Heard(NamedTuple):
    """The state after the last event."""

    values: dict[str, float]
    beat: float
    beat_seconds: float


@pytest.fixture(scope="module")
def presets(tmp_path_factory):
    """Two presets of one model: the set that program changes choose from."""
    folder = tmp_path_factory.mktemp("set")
    maps = "".join(f'[[cc]]\n{source}\ntarget = "{target}"\nlow = 0.0\nhigh = 1.0\n' for source, target in MAPS.items())
    for name, last in (("first", 0.2), ("second", 0.7)):
        (folder / f"{name}.toml").write_text(PRESET.format(last=last) + maps)
    return [str(folder / "first.toml"), str(folder / "second.toml")]


def heard_in(rack, codes, rate, time):
    return Heard(rack.knobs[0].values(), codes.beat(time), codes.beat_samples(time) / rate)


def of_synthesizer(rack):
    synthesis = rack._instruments[0]._synthesis
    codes = synthesis._processor.codes
    return heard_in(rack, codes, codes._rate, synthesis.now)


def rendered(presets, events, hours, monkeypatch):
    first, later = programmed({0: open_patch(presets[0])}, events, presets, print, open_patch)
    make = functools.partial(Rack, sample_rate=RATE)
    played = Succession(make(first), later, RATE, make)
    played.schedule(events, 10**9)
    while played.played < events[-1].time + APART:
        played.process([], BLOCK)
    return of_synthesizer(played._player.rack)


def played(presets, events, hours, monkeypatch):
    monkeypatch.setattr(audio_process, "SETTLE_SECONDS", 0.0)
    state = ProcessState(Setup(presets[0], programs=tuple(presets)), None, rate=RATE)
    patches = state.presets.opened({None: presets[0]})
    state.presets.activate({None: presets[0]}, patches)

    def serve(sound, played):
        if wanted := audio_process._programs(state):
            audio_process._load(state, wanted)

    sink = FakeSink(hours, RATE, 128, blocks=(events[-1].time + APART) // 128 + 8)
    timed = [Timed(hours.now + event.time / RATE, event) for event in events]
    state.loop = RenderLoop(Player(audio_process._rack(patches, RATE, None), RATE), sink, [FakeSource(hours, timed)])
    state.loop._on_block = serve
    state.loop.run()
    return of_synthesizer(state.loop.player.rack)


def processed(presets, events, hours, monkeypatch):
    effects = _Effects(open_patch(presets[0]), events, presets, RATE, 1, None, open_patch, print)
    noise = np.random.default_rng(1).uniform(-0.1, 0.1, events[-1].time + APART).astype(np.float32)
    effects.process(events, noise[np.newaxis])
    rack = effects.succession._player.rack
    codes = rack.processor.codes.knobs
    return heard_in(rack, codes, codes._rate, round(len(noise) * codes._rate / RATE))


class Memory:
    """A plugin's memory: an epoch in which samples are asked for."""

    def __init__(self):
        self.complete = Position(1, 0)
        self.events = [ReceivedEvent(0, RATE, EventKind.RESET, 0, 1, 0, 0, 0, 0)]

    def read_events(self):
        events, self.events = self.events, []
        return events

    def put(self, at, sound):
        pass

    write_latency = write_made = lambda self, told: None


class Loader:
    """The presets of a plugin, which are loaded when they are asked for."""

    def __init__(self, presets):
        self.mode, self.requests = Mode(RATE, offline=False), self
        patches = [(name, open_patch(name)) for name in presets]
        self.all = [make_loaded_patch(OpenedPatch(patch, name), rack_of(patch, self.mode)) for name, patch in patches]

    def loaded_after(self, loads):
        return self.all[0]

    def put(self, request):
        for chosen in self.all[request.number - 1 : request.number]:
            self.audio.offer(LoadedRack(self.mode, chosen, rack_of(chosen.patch, self.mode)))


def plugged(presets, events, hours, monkeypatch):
    monkeypatch.setattr("timbrel.host.plugin.audio_thread.hurry", lambda priority: None)
    monkeypatch.setattr("timbrel.host.plugin.audio_thread.warm_up_for", lambda patch, mode: None)
    memory, loader = Memory(), Loader(presets)
    audio = loader.audio = AudioThread(memory, loader)
    audio.work()
    rest = [
        SimpleNamespace(time=events[-1].time + APART * part // 4) for part in (1, 2, 3, 4)
    ]  # a preset is swapped in
    for event in [*events, *rest]:
        memory.complete = Position(1, event.time)
        while audio.work():
            pass
        if isinstance(event, ParameterChange):
            audio.play([event])
        elif not isinstance(event, SimpleNamespace):
            memory.events.append(received(event))
    return of_synthesizer(audio.player.rack)


def received(event):
    """The wire's form of an event; a host's transport stands for MIDI clock."""
    match event:
        case Tempo(time, bpm):
            return ReceivedEvent(time, bpm, EventKind.TEMPO, 0, 1, 0, 0, 0, 0)
        case Clock(time, "start"):
            return ReceivedEvent(time, 0.0, EventKind.TRANSPORT, FROM_THE_BEGINNING, 1, 0, 0, 0, 0)
    status, first, second = [*message(event), 0][:3]
    return ReceivedEvent(event.time, 0.0, EventKind.MIDI, 0, 1, status, first, second, 0)


def cc(number, value, channel=0):
    return ControlChange(0, channel, number, value)


def parameter(coarse, fine, value, channel=0, registered=True):
    numbers = (101, 100) if registered else (99, 98)
    return [cc(numbers[0], coarse, channel), cc(numbers[1], fine, channel), cc(6, value, channel)]


ZONE = parameter(0, 6, 15)  # all channels but the first are members
THIRD = pytest.approx(43 / 127)
TABLE = {
    "a knob": ([cc(20, 43)], {"latent.0": THIRD}),
    "an NRPN": (parameter(0, 5, 127, registered=False), {"latent.3": 1.0}),
    "data entry without a parameter": ([*parameter(127, 127, 127)], {"latent.3": 0.1}),
    "channel pressure": ([ChannelPressure(0, 0, 43)], {"latent.2": THIRD}),
    "pressure of a key that is up": ([KeyPressure(0, 0, 60, 127)], {"latent.7": 0.1}),
    "a knob that has yet to pick up": ([cc(21, 127)], {"latent.4": 0.1}),
    "a knob that picks up": ([cc(21, 0), cc(21, 43)], {"latent.4": THIRD}),
    "a macro's knob": ([cc(22, 127)], {"macro.0": 1.0}),
    "a parameter": ([ParameterChange(0, 0, "latent.0", 0.25)], {"latent.0": 0.25}),
    "reset all controllers": (
        [cc(1, 100), ChannelPressure(0, 0, 90), cc(20, 43), cc(121, 0)],
        {"latent.1": 0.0, "latent.2": 0.0, "latent.0": THIRD},
    ),
    "a reset before any move": ([cc(121, 0)], {"latent.1": 0.1, "latent.2": 0.1}),
    "a member of an MPE zone": (
        [*ZONE, NoteOn(0, 3, 60, 100), ChannelPressure(0, 3, 90), cc(20, 43, 3), cc(74, 9, 3), PitchBend(0, 3, 900)],
        {"latent.2": 0.1, "latent.0": 0.1},
    ),
    "the master of an MPE zone": (
        [*ZONE, ChannelPressure(0, 0, 43), cc(20, 43)],
        {"latent.2": THIRD, "latent.0": THIRD},
    ),
    "the end of an MPE zone": ([*ZONE, *parameter(0, 6, 0), ChannelPressure(0, 0, 43)], {"latent.2": THIRD}),
    "a member's reset": ([*ZONE, cc(1, 100), cc(121, 0, 3)], {"latent.1": pytest.approx(100 / 127)}),
    "a program": ([ProgramChange(0, 0, 1)], {"latent.6": 0.7}),
    "a program that is not there": ([ProgramChange(0, 0, 5)], {"latent.6": 0.2}),
    "a program of another bank": ([cc(0, 1), ProgramChange(0, 0, 1)], {"latent.6": 0.2}),
    "a program and its bank": ([cc(0, 1), cc(0, 0), ProgramChange(0, 0, 1)], {"latent.6": 0.7}),
    "knobs before a program": ([cc(20, 43), ProgramChange(0, 0, 1)], {"latent.0": 0.1, "latent.6": 0.7}),
    "knobs after a program": ([ProgramChange(0, 0, 1), cc(20, 43)], {"latent.0": THIRD, "latent.6": 0.7}),
    "tempo": ([Tempo(0, 200.0)], {"beat_seconds": BEAT / 2}),
    "the preset's tempo": ([cc(20, 43)], {"beat_seconds": BEAT}),
    "tempo of a program": ([ProgramChange(0, 0, 1), Tempo(0, 150.0)], {"beat_seconds": pytest.approx(BEAT * 2 / 3)}),
    "the clock's start": ([*[cc(20, 43)] * 60, Clock(0, "start")], {"beat": pytest.approx(0, abs=0.1)}),
    "no clock": ([*[cc(20, 43)] * 60], {"beat": pytest.approx(0.01 * 60 / BEAT + 0.15, abs=0.15)}),
}


@pytest.mark.parametrize("route", [rendered, played, processed, plugged])
@pytest.mark.parametrize("name", TABLE)
def test_an_event_does_the_same_on_each_route(presets, hours, monkeypatch, name, route):
    asked, expected = TABLE[name]
    events = [replace(event, time=FIRST + APART * number) for number, event in enumerate(asked)]
    heard = route(presets, events, hours, monkeypatch)
    found = heard.values | {"beat": heard.beat, "beat_seconds": heard.beat_seconds}
    assert {target: found[target] for target in expected} == expected
