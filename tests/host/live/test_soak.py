"""Random playing for long: what is kept does not grow."""

import gc
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from timbrel.host.events import ChannelPressure, Clock, ControlChange, KeyPressure, NoteOff, NoteOn, PitchBend
from timbrel.host.live import audio_process
from timbrel.host.live import render_loop as live
from timbrel.host.live.audio_process import ProcessState, report
from timbrel.host.live.render_loop import RenderLoop
from timbrel.host.midi import ports
from timbrel.host.play.player import Player
from timbrel.host.play.rack import Rack
from timbrel.host.preset.library import Patch
from timbrel.host.session.messages import Setup
from timbrel.host.session.view_builder import view_of

RATE = 48000
CC = [
    {"number": 70, "target": "latent.0", "low": 0.0, "high": 1.0},
    {"pressure": "key", "target": "pan", "low": -1.0, "high": 1.0},
]


# `timbrel learn` in another terminal: a knob is turned, then at rest.
LEARN = """
import sys
from timbrel.host.events import ControlChange
from timbrel.host.preset.learn import learn
turned = [(0.1 * n, ControlChange(0, 0, 70 + int(sys.argv[2]), n * 5)) for n in range(20)] + [(9.0, None), (99.0, None)]
assert len(learn(sys.argv[1], f"latent.{sys.argv[2]}", turned, lambda line: None)) == 1
"""


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


@pytest.mark.slow
def test_a_minute_of_random_playing_keeps_no_more_than_half_a_minute(tiny, make_preset):
    patch = Patch("tiny", make_preset(play={"voices": 8}, cc=CC), tiny(), Path())
    player, rng = Player(Rack({0: patch}, RATE, omni=True), RATE), np.random.default_rng(3)
    play(player, rng, 30, 512)
    before = kept()
    play(player, rng, 30, 512)
    assert kept() - before < 0.02 * before


class Passing:
    """A clock that only sleeping moves on."""

    now = 0.0

    def perf_counter(self):
        return self.now

    thread_time = monotonic = perf_counter

    def sleep(self, seconds):
        self.now += seconds


class Card:
    """A sink that takes a block each period of a clock."""

    # Long blocks: an hour of them takes minutes.
    rate, block, depth, underruns, alive, latency_seconds, written = RATE, 2048, 2, 0, True, 0.0, 0
    ring_address = None

    def __init__(self, clock):
        self.clock = clock

    @property
    def taken(self):
        return min(int(self.clock.now * RATE / self.block) * self.block, self.written)

    def start(self):
        """Nothing to open."""

    def write(self, sound):
        assert np.abs(sound).max() <= 1.0  # false for NaN too
        self.written += self.block


class Rtmidi:
    """RtMidi, with controllers that are plugged in and out, and are played without rest."""

    API_LINUX_ALSA, API_UNIX_JACK, API_MACOSX_CORE, API_WINDOWS_MM = range(4)

    class SystemError(Exception):
        """None comes."""

    RtMidiError = SystemError

    def __init__(self, clock, programs):
        self.clock, self.programs, self.rng = clock, programs, np.random.default_rng(4)

    def get_compiled_api(self):
        return [self.API_MACOSX_CORE]

    def MidiIn(self, api, name, queue_size_limit):
        return RtmidiIn(self)


class RtmidiIn:
    """One of its inputs: what is played since the last look, some 40 messages a second."""

    def __init__(self, system):
        self.system, self.opened, self.looked, self.asked = system, None, 0.0, 0.0

    def get_ports(self):
        """One is always there; another is away for a second, in ten, and a third for ten in a minute."""
        now = self.system.clock.now
        return ["keys", *(["pad"] if not 4 <= now % 10 < 5 else []), *(["wind"] if now % 60 < 50 else [])]

    def ignore_types(self, **types):
        """It sends none of them."""

    def open_port(self, index, name):
        self.opened, self.looked = self.get_ports()[index], self.system.clock.now

    def open_virtual_port(self, name):
        """Nobody connects to it."""

    def close_port(self):
        self.opened = None

    def get_message(self):
        now, rng = self.system.clock.now, self.system.rng
        asked, self.asked = self.asked, now
        if self.opened is None or rng.random() >= 40 * (now - asked):
            return None
        since, self.looked = now - self.looked, now
        channel, number, value = int(rng.integers(16)), int(rng.integers(33, 96)), int(rng.integers(128))
        return self.messages(rng, channel, number, value), since

    def messages(self, rng, channel, number, value):
        """Anything, now and then a program change, an MPE zone, a bend range or a system reset."""
        if rng.random() < 1 / 400:
            return bytes([0xC0, value % self.system.programs])
        if rng.random() < 1 / 200:
            zone, reset = (bytes([0xB0 | master, 101, 0, 100, 6, 6, value % 16]) for master in (0, 15)), b"\xff"
            return [*zone, bytes([0xB0 | channel, 101, 0, 100, 0, 6, value % 49]), reset][int(rng.integers(4))]
        status = [0x90, 0x80, 0x80, 0xA0, 0xB0, 0xB0, 0xD0, 0xE0][int(rng.integers(8))]
        return bytes([status | channel, *([number] if status != 0xD0 else []), value])


def soaked(tmp_path, monkeypatch, names, moments, measure):
    """What is measured at so many seconds of play, as `timbrel play --set` does it, in time that passes at once.

    A player never rests, asks for programs, plugs controllers in and out, and learns knobs for a preset that may be the
    one that plays; no collector runs. Renders on this thread, and does what the others do between blocks.
    """
    clock = Passing()
    for module in (live, ports, audio_process):
        monkeypatch.setattr(module, "time", clock)
    mine = tmp_path / "mine.toml"
    mine.write_text('format = 1\nmodel = "gm-chroma-8"\n', encoding="utf-8")
    programs = [*names, str(mine)]
    rtmidi = Rtmidi(clock, len(programs))
    monkeypatch.setattr(ports, "_load", lambda: rtmidi)
    state = ProcessState(Setup(programs[0], voices=4, programs=tuple(programs)), None, rate=RATE)
    first = {None: programs[0]}
    patches = state.presets.opened(first)
    state.presets.activate(first, patches)
    state.inputs = ports.Inputs()
    second = RATE // Card.block
    found, done, times = [], {"load": 0, "learn": 0, "rescan": 0}, iter([*moments, np.inf])
    due = next(times)

    def look(sound, events):
        nonlocal due
        blocks = state.loop.meters.load.count
        if blocks % second == 0:
            done["rescan"] += sum("is here" in line for line in state.inputs.rescan())
            report(state)
        if blocks % (30 * second) == 8 * second:
            knob = blocks // (30 * second) % 8
            subprocess.run([sys.executable, "-c", LEARN, str(mine), str(knob)], check=True)
            done["learn"] += 1
        wanted = audio_process._programs(state)
        if blocks % (3 * second) == 0:
            wanted = wanted or state.presets.edited()
        if wanted:
            audio_process._load(state, wanted)
            done["load"] += 1
        state.outbox.clear()
        if clock.now >= due:
            found.append(measure())
            due = next(times)
            if due == np.inf:
                state.loop.stop()

    monkeypatch.setattr(audio_process, "SETTLE_SECONDS", 0.0)
    rack = audio_process._rack(patches, RATE, None)
    state.view, player = view_of(first, patches, rack.knobs), Player(rack, RATE)
    state.loop = RenderLoop(player, Card(clock), [state.inputs], on_block=look)
    state.loop.run()
    return found, done


def test_twenty_seconds_of_live_playing_keep_little_more_than_ten(tmp_path, monkeypatch):
    seen = []

    def held():
        seen.append(gc.isenabled())
        return sys.getallocatedblocks()

    found, done = soaked(tmp_path, monkeypatch, ["gm-keys", "lakeside-knobs"], [10, 20], held)
    assert seen == [False, False]
    assert min(done.values()) > 0
    assert found[1] - found[0] < 0.04 * found[0]


@pytest.mark.slow
@pytest.mark.timeout(7200)
@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="this system does not tell how much memory is used")
def test_an_hour_of_live_playing_takes_no_more_memory_than_its_first_half(tmp_path, monkeypatch):
    """In the first half caches fill, and holes of the C library's memory: 20 MB. A class kept with each preset took 8
    in the second."""
    names = ["gm-hall", "gm-keys", "gm-lead", "gm-pad", "gm-strings", "lakeside-knobs", "lakeside-soundscape"]
    (first, half, late), done = soaked(tmp_path, monkeypatch, names, [180, 1800, 3600], resident)
    print(
        f"{first / 1e6:.1f} MB after three minutes, {half / 1e6:.1f} after thirty, {late / 1e6:.1f} after sixty; {done}"
    )
    assert min(done.values()) > 100
    assert late - half < 5e6
