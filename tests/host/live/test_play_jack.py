"""`timbrel play` from key to sound, over a JACK server without a card.

Most of these want the machine for themselves. One short performance, whose ring outlasts a busy machine, does not.
"""

import importlib
import re
import signal
import subprocess
import sys
import textwrap
import time
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import soundfile

from ...patience import until
from ..jack_server import Process
from .jack_play import PRESET, Played, control, off, on, play, realtime

pytestmark = pytest.mark.usefixtures("portaudio")

try:
    import jack
except (ImportError, OSError):  # the package, or the system's library; the server's fixture skips
    jack = None

BLOCK = 128
STEP = 2.0**-22  # of 24-bit sound, twice
DISTURBED = 2400  # frames beside a moment at which the server itself was late: they say nothing of us
MOST_LOST = 0.3  # of a held tone, or the machine is too busy to tell: a run on such a one has shown nothing
TOGETHER = 0.2  # seconds between the server's being late and the ring's running empty for that
ROUNDS = 4


def gaps(sound):
    """Where a tone is not whole: blocks of silence, however short, and blocks that came twice."""
    silent = np.all(sound == 0, axis=0)
    edges = np.flatnonzero(np.diff(np.concatenate([[0], silent.view(np.int8), [0]])))
    found = [int(a) for a, b in zip(edges[::2], edges[1::2], strict=True) if b - a >= 16]
    whole = sound.shape[1] // BLOCK
    for shift in range(0, BLOCK, 16):
        rows = sound[0, shift : shift + (whole - 1) * BLOCK].reshape(-1, BLOCK)
        again = np.flatnonzero(np.all(rows[1:] == rows[:-1], axis=1))
        found += [int(shift + (row + 1) * BLOCK) for row in again]
    return found


def near_a_loss(rig, frames):
    """Which frames lie beside moments at which the server itself was late."""
    lost = np.array([-(10**9), *rig.lost])
    beside: np.ndarray = np.abs(np.asarray(frames)[:, None] - lost).min(axis=1) <= DISTURBED
    return beside


def disturbed(rig, frames):
    """As `near_a_loss`; fails where they are too many."""
    beside = near_a_loss(rig, frames)
    assert beside.mean() <= MOST_LOST, f"JACK itself was late {len(rig.lost)} times: this machine is too busy to tell"
    return beside


def unaccounted(player, before, rig):
    """Underruns since a count for which the server was not late at that time: each of its xruns accounts for one.

    The player says now and then how many there were, so each must have its xrun since it last said so.
    """
    lost, left = sorted(rig.lost_seconds()), 0
    for (earlier, count), (later, more) in pairwise(player.counts):
        if count >= before:
            there = [moment for moment in lost if earlier - TOGETHER <= moment <= later]
            left += max(0, more - count - len(there))
            lost = [moment for moment in lost if moment not in there[: more - count]]
    return left


@pytest.fixture(scope="module")
def stalls(jack_server):
    """A virtual machine is not always given its processors; what is lost then says nothing of us, and is counted."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(Path(__file__).parents[2] / "bench")
        watch = importlib.import_module("jack_rig").Stalls(BLOCK / jack_server.rate)
        yield watch
        watch.end()


def held_without_a_gap(rig, player, stalls, seconds, keys=(60,), during=lambda: None):
    """Hold keys and look at the sound from the first tenth of a second on."""
    rig.begin_to_watch()
    before, length = player.underruns(), round(seconds * 48000)
    start = rig.play([*(on(0, key) for key in keys), *(off(length, key) for key in keys)])
    during()
    rig.wait(start + length + 9600)
    underruns = player.underruns() - before
    rig.stood_still(stalls.so_far())
    beside = disturbed(rig, np.arange(start, start + length, BLOCK))
    found = gaps(rig.sound[:, start + 4800 : start + length])
    assert [gap for gap in found if not beside[(gap + 4800) // BLOCK]] == [], f"{underruns} underruns, {rig.lost} lost"
    assert unaccounted(player, before, rig) == 0, f"{underruns} underruns, {rig.lost} lost"


@pytest.fixture(scope="class")
def player(jack_server, preset):
    with play(preset) as played:
        played.wait_line(1)
        yield played


def onsets(sound, starts, most=1900):
    """Frames from each start to its sound, at most so many; None where there is none."""
    late = []
    level = np.abs(sound).max(axis=0)
    for start in starts:
        quiet = level[start - 100 : start + 100].max()
        heard = np.flatnonzero(level[start + 100 : start + most] > max(1e-5, 4 * quiet))
        late.append(int(heard[0]) + 100 if len(heard) else None)
    return late


def played_notes(rig, player, stalls, starts, sides, numbers):
    """Play notes on alternate sides, and give each one's frames from its start to its sound.

    All that are looked at must sound, in order, on their side; -1 for those beside which the server itself was late.
    """
    rig.begin_to_watch()
    if not len(starts):
        return np.zeros(0, int)
    events = []
    for start, side, number in zip(starts.tolist(), sides.tolist(), numbers.tolist(), strict=True):
        key = 60 + number % 12
        events += [control(start - 1050, 10, 127 * side), control(start - 1050, 70, number % 128)]
        events += [on(start, key), off(start + 500, key)]
        events += [off(start + 1000, key)]  # where the server was late, the first may be lost
    before = player.underruns()
    begin = rig.play(events)
    rig.wait(begin + int(starts[-1]) + 4800)
    player.underruns()
    rig.stood_still(stalls.so_far())
    assert unaccounted(player, before, rig) == 0
    late = np.array([-1 if found is None else found for found in onsets(rig.sound, starts + begin)])
    sure = ~near_a_loss(rig, begin + starts)
    assert np.all(late[sure] >= 0)
    places = (begin + starts + late)[sure]
    heard = [np.square(rig.sound[:, place : place + 400]).sum(axis=1) for place in places]
    assert [int(right > left) for left, right in heard] == sides[sure].tolist()
    return np.where(sure, late, -1)


@realtime
class TestOnePlayer:
    """One process for all of these, which has ended before others begin: they would share names."""

    def test_500_notes_sound_in_order_at_one_delay_within_a_block(self, jack_rig, player, stalls):
        random = np.random.default_rng(1)
        starts = np.cumsum(random.integers(1950, 2250, 500))
        sides = random.integers(0, 2, 500)
        late = np.full(500, -1)
        with jack_rig(90) as rig:
            rig.connect()
            for _ in range(ROUNDS):  # a note beside which the server itself was late is played again
                asked = np.flatnonzero(late < 0)
                late[asked] = played_notes(rig, player, stalls, starts[: len(asked)], sides[asked], asked)
        assert np.all(late >= 0), f"JACK itself was late beside {np.sum(late < 0)} of 500 notes, {ROUNDS} times"
        away = np.abs(late - np.median(late))
        assert np.percentile(away, 99) <= BLOCK
        assert away.max() <= 3 * BLOCK

    def test_a_held_tone_has_no_gap(self, jack_rig, player, stalls):
        with jack_rig(30) as rig:
            rig.connect()
            held_without_a_gap(rig, player, stalls, 3)

    def test_all_128_keys_at_once_leave_no_gap(self, jack_rig, player, stalls):
        with jack_rig(30) as rig:
            rig.connect()
            held_without_a_gap(rig, player, stalls, 2, range(128))

    def test_a_preset_that_is_edited_while_a_note_is_held_leaves_no_gap(self, jack_rig, player, stalls, preset):
        def edit():
            for turn in range(4):
                time.sleep(0.9)
                preset.write_text(PRESET.replace("0.001", f"0.00{2 + turn}"))

        with jack_rig(12) as rig:
            rig.connect()
            held_without_a_gap(rig, player, stalls, 4.5, during=edit)

    def test_a_preset_that_is_edited_to_nonsense_is_refused_with_the_reason_and_the_old_one_plays_on(
        self, jack_rig, player, stalls, preset
    ):
        with jack_rig(12) as rig:
            rig.connect()
            try:
                held_without_a_gap(rig, player, stalls, 1.5, during=lambda: preset.write_text(PRESET + "\n[play"))
                player.wait_said("live.toml.*the preset before plays on")
            finally:
                preset.write_text(PRESET)
            held_without_a_gap(rig, player, stalls, 0.5)


def test_keys_sound_one_after_the_other_and_the_command_ends_when_asked(jack_server, jack_rig, preset):
    """From the command line to the card, each when the one before has died away. Gaps are for tests in real time."""
    with play(preset, "--block", 512) as played, jack_rig(10) as rig:
        played.wait_line(1)
        rig.connect()
        for key in (60, 64, 67):

            def sounds(key=key):  # again and again: a JACK server that is kept waiting drops what is sent
                rig.rewind()
                start = rig.play([on(0, key)])
                rig.wait(start + 24_000)
                return rig.sound[:, start : start + 24_000].any()

            def is_silent(key=key):
                rig.rewind()
                start = rig.play([off(0, key)])
                rig.wait(start + 24_000)
                return not rig.sound[:, start + 12_000 : start + 24_000].any()

            until(sounds, f"key {key}")
            until(is_silent, f"the end of key {key}")
        played.end(signal.SIGINT)
        assert played.process.returncode == 0


HOGGED = """
import gc, sys, threading, multiprocessing
from timbrel.host.live import audio_process
from timbrel.host.session.messages import Report, Setup

def spin():
    count = 0
    while True:
        count += 1

def storm():
    while True:
        rings = [[] for _ in range(2000)]
        for ring in rings:
            ring.append(ring)
        del rings, ring
        gc.collect()

def tell(pipe):
    while True:
        message = pipe.recv()
        if isinstance(message, Report):
            print("underruns", message.status.underruns, flush=True)

ours, theirs = multiprocessing.Pipe()
threading.Thread(target={work}, daemon=True).start()
threading.Thread(target=tell, args=(ours,), daemon=True).start()
audio_process.run(theirs, Setup({preset!r}, midi_ports=("virtual",)))
"""


@realtime
@pytest.mark.parametrize("work", ["spin", "storm"])
def test_a_thread_that_wants_the_interpreter_for_itself_leaves_no_gap(
    jack_server, jack_rig, stalls, preset, tmp_path, work
):
    script = tmp_path / "hogged.py"
    script.write_text(textwrap.dedent(HOGGED.replace("{work}", work).replace("{preset!r}", repr(str(preset)))))
    with Played(script) as played, jack_rig(12) as rig:
        try:
            rig.connect(seconds=30)
            held_without_a_gap(rig, played, stalls, 3, (48, 55, 60, 64))
        finally:
            played.process.kill()  # it is deaf to signals, as the process that sounds is


@realtime
@pytest.mark.parametrize(
    ("number", "options"),
    [(signal.SIGINT, []), (signal.SIGTERM, ["--controller", "nanokontrol2", "--voices", "3"])],
    ids=["SIGINT", "SIGTERM, controller"],
)
def test_a_recording_renders_to_the_sound_that_was_recorded_and_heard(
    jack_server, jack_rig, preset, tmp_path, number, options
):
    sound, midi, again = (tmp_path / name for name in ("take.wav", "take.mid", "again.wav"))
    random = np.random.default_rng(5)
    events = [control(0, 10, 30)]
    for index in range(40):
        at, key = 2000 * index + int(random.integers(0, 900)), int(random.integers(36, 84))
        events += [on(at, key, int(random.integers(30, 127))), off(at + int(random.integers(20, 9000)), key)]
        events += [control(at + 40, 70, int(random.integers(0, 128))), (at + 70, bytes([0xE0, 0, index]))]
        events += [control(at + 90, 16 + index % 8, int(random.integers(0, 128)))]
    with play(preset, "--record", sound, "--record-midi", midi, *options) as played, jack_rig(20) as rig:
        rig.connect()
        start = rig.play(events)
        rig.wait(start + 2000 * 40 + 12_000)
        assert played.end(number) < 1.0
        assert played.process.returncode == 0
        heard = rig.sound[:, start : start + 2000 * 40]
    # A recording does not know of voices that are given up for want of time: this machine must not need that.
    assert not re.search(r"shed [1-9]", "".join(played.lines)), played.lines
    command = [sys.executable, "-m", "timbrel", "render", preset, midi, "-o", again, "--rate", "48000"]
    subprocess.run(list(map(str, command)), check=True, capture_output=True)
    recorded, rendered = (soundfile.read(path, dtype="float32")[0].T for path in (sound, again))
    length = min(recorded.shape[1], rendered.shape[1])
    assert length > 2 * 48000
    assert np.array_equal(recorded[:, :length], rendered[:, :length])
    assert np.all(recorded[:, length:] == 0)
    if not rig.lost:
        loud = int(np.argmax(np.abs(heard[0])))
        starts = np.flatnonzero(np.abs(recorded[0] - heard[0, loud]) < STEP) - loud
        ends = starts + heard.shape[1]
        takes = [recorded[:, a:b] for a, b in zip(starts, ends, strict=True) if a >= 0 and b <= recorded.shape[1]]
        assert any(np.allclose(take, heard, rtol=0, atol=STEP) for take in takes)


class Speaker:
    """A JACK client that plays a sound, and records what comes back, by the server's own frames."""

    def __init__(self, sound):
        self._client = jack.Client("speaker", no_start_server=True)
        self._mouth = self._client.outports.register("out")
        self._ear = self._client.inports.register("in")
        self.sound, self.heard = sound, np.zeros(len(sound), np.float32)
        self.now, self.lost = 0, []
        self._begin = None
        self._calls = Process(self._client, self._process)
        self._moments = []
        self._client.set_xrun_callback(self._late)

    def _late(self, delay):
        self.lost.append(self.now)
        self._moments.append(time.perf_counter())

    def lost_seconds(self):
        """When the server was late, by time.perf_counter."""
        return self._moments

    def __enter__(self):
        self._client.activate()
        return self

    def __exit__(self, *error):
        self._calls.end()
        self._client.deactivate()
        self._client.close()

    def _process(self, count):
        block = self._mouth.get_array()
        block[:] = 0
        if self._begin is None:
            return
        self.now = now = self._client.last_frame_time - self._begin
        if 0 <= now <= len(self.sound) - count:
            block[:] = self.sound[now : now + count]
            self.heard[now : now + count] = self._ear.get_array()

    def connect(self, seconds=20):
        names, until = ("timbrel:in_0", "timbrel:in_1", "timbrel:out_0"), time.monotonic() + seconds
        while not {port.name for port in self._client.get_ports()} >= set(names):
            assert time.monotonic() < until, [port.name for port in self._client.get_ports()]
            time.sleep(0.02)
        for name in names[:2]:
            self._client.connect(self._mouth, name)
        self._client.connect(names[2], self._ear)
        time.sleep(1)

    def play(self):
        self.lost.clear()
        self._begin = self._client.frame_time // BLOCK * BLOCK + 10 * BLOCK
        while self.now < len(self.sound) - BLOCK:
            time.sleep(0.01)


@realtime
def test_a_sound_that_comes_in_goes_out_whole_and_late_by_the_latency_shown(jack_server, make_allpass, tmp_path):
    model = make_allpass(sample_rate=48000, frame_length=1024, hop_length=256)
    preset = tmp_path / "live.toml"
    preset.write_text(f'format = 1\nmodel = "{model.path}"\n')
    sound = np.random.default_rng(3).uniform(-0.5, 0.5, 6 * 48000).astype(np.float32)
    with play(preset, "--input", "system") as played, Speaker(sound) as speaker:
        played.wait_line(1)
        speaker.connect()
        before = played.underruns()
        speaker.play()
        played.underruns()
        stated = 48 * float(re.search(r"latency ([\d.]+) ms", played.lines[-1])[1])
        assert played.end(signal.SIGINT) < 1.0
    fits = np.correlate(speaker.heard[48_000:120_000], sound[48_000:96_000], "valid")
    late = int(np.argmax(fits))
    blocks = np.arange(4800, len(sound) - 9600, BLOCK)
    sure = blocks[~disturbed(speaker, blocks)]
    away = [np.abs(speaker.heard[at + late : at + late + BLOCK] - sound[at : at + BLOCK]).max() for at in sure]
    assert np.max(away) < 1e-3
    assert abs(late - stated) <= 2 * BLOCK  # what the driver says of itself is not to the sample
    assert unaccounted(played, before, speaker) == 0
