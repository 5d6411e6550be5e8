"""The core and the numpy voice, side by side."""

import numpy as np
import pytest
from timbrel.host.events import (
    AllOff,
    ChannelPressure,
    ControlChange,
    DataEntry,
    MasterTuning,
    NoteOff,
    NoteOn,
    PitchBend,
    StealVoice,
    Tempo,
)
from timbrel.host.midi.controllers import BEND_RANGE
from timbrel.host.play import rack as rack_module
from timbrel.host.play.rack import Rack
from timbrel.host.voice_library import load_library

needs_core = pytest.mark.skipif(load_library() is None, reason="the core is not compiled")

COUNT = 40_000  # samples of a performance
KNOBS = [{"number": 70 + index, "target": f"latent.{index}", "low": 0.0, "high": 1.0} for index in range(8)]
PRESSED = [{"pressure": "channel", "target": "latent.3", "low": 0.0, "high": 1.0}]
SWELL = {"envelope": {"attack_seconds": 0.2, "decay_seconds": 0.1, "sustain": 0.4, "release_seconds": 0.3}}
PRESETS = {
    "plain": {},
    "knobs": {"cc": KNOBS},
    "envelope": SWELL,
    "unison": {"play": {"unison": 3, "width": 0.7, "detune_cents": 15.0}},
    "wide": {"play": {"width": 1.0}},
    "formants": {"play": {"keep_formants": True}},
    "silent noise": {"play": {"noise": 0.0}},
    "soft noise": {"play": {"noise": 0.3}},
    "stealing": {"cc": KNOBS, "play": {"voices": 3}},
    "mono": {"play": {"mode": "mono", "legato": True, "glide_seconds": 0.1}},
    "chord": {"cc": KNOBS, "play": {"mode": "chord"}},
    "wide chord": {"play": {"mode": "chord", "unison": 2, "width": 1.0}},
    "mpe": {"mpe": {"enabled": True, "pressure": "gain", "slide": "latent.1"}},
    "pressure": {"cc": PRESSED},
    "path": {"motion": [{"target": "latent.2", "shape": "sine", "depth": 0.3, "beats": 0.5}]},
    "velocity": {"note": [{"source": "velocity", "target": "latent.0", "low": -0.3, "high": 0.3}]},
}


def performance(seed, zones=False):
    """Notes, bends and controllers, some at one sample; on channels 2 to 5 where there are zones."""
    rng, events = np.random.default_rng(seed), []
    for number in range(16):
        begin, key = int(rng.integers(0, COUNT - 9000)), int(rng.integers(21, 108))
        channel = 1 + number % 4 if zones else 0
        events.append(NoteOn(begin, channel, key, int(rng.integers(1, 128))))
        events.append(NoteOff(begin + int(rng.integers(200, 12_000)), channel, key))
    for number in range(30):
        time, channel = int(rng.integers(0, COUNT)), 1 + number % 4 if zones else 0
        events.append(PitchBend(time, channel, int(rng.integers(-8192, 8192))))
        events.append(ChannelPressure(time, channel, int(rng.integers(0, 128))))
        events.append(ControlChange(time, channel, 74, int(rng.integers(0, 128))))
        events += [ControlChange(time, 0, 70 + index, int(rng.integers(0, 128))) for index in range(8) if index != 4]
        events.append(ControlChange(time, 0, (7, 10, 11)[number % 3], int(rng.integers(0, 128))))
    events += [ControlChange(9000, 0, 64, 127), ControlChange(20_000, 0, 64, 0), StealVoice(15_000, 0)]
    events += [ControlChange(500, 0, 5, 60), ControlChange(500, 0, 65, 127), MasterTuning(12_000, "coarse", 66)]
    events += [DataEntry(4000, 0, True, BEND_RANGE, "coarse", 12), Tempo(3000, 90.0), AllOff(30_000, 0, cut=True)]
    return sorted(events, key=lambda event: event.time)


def rack_of(voice, patches, rate, **options):
    """A rack whose instruments are played by this voice, "core" or "numpy"."""
    chosen = rack_module.core_for
    if voice == "numpy":
        rack_module.core_for = lambda patch: None
    try:
        rack = Rack(patches, rate, **options)
    finally:
        rack_module.core_for = chosen
    for channel in patches if voice == "core" else ():
        assert type(rack._instruments[channel]._synthesis).__name__ == "CoreSynthesis"
    return rack


def sound_of(rack, events, count, sizes=(512,), prepares=False):
    """The sum before the limiter, [2, count], in blocks of these sizes in turn."""
    parts, at, turn = [], 0, 0
    while at < count:
        size = min(sizes[turn % len(sizes)], count - at)
        _, channels = rack.process([event for event in events if at <= event.time < at + size], size)
        parts.append(sum(channels.values()))
        if prepares:
            rack.prepare()
        at, turn = at + size, turn + 1
    return np.concatenate(parts, axis=1)
