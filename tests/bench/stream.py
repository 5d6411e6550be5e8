"""The engine of streams: what a frame costs, what carrying the state saves, and eight voices live.

Live: eight held keys at 48 kHz in blocks of 128 at the pace of a card, while a latent's knob moves all the time, first
with a clock in the card's place, then over JACK's dummy driver. The load is what rendering takes of a block. The state:
the time of a step that carries it, beside running the whole sequence again for its last frame.

    python tests/bench/stream.py [PRESET]
"""

import os

os.environ["OMP_NUM_THREADS"] = "1"

import multiprocessing
import statistics
import sys
import tempfile
import time

import numpy as np
from jack_rig import jack_server, may_hurry, need
from live import held
from timbrel.host.audio.sound_card import NullSink
from timbrel.host.engines.stream.frames import FrameInputs, FrameMaker
from timbrel.host.events import ControlChange, NoteOn
from timbrel.host.live.render_loop import RenderLoop
from timbrel.host.midi.ports import Timed
from timbrel.host.play.player import Player
from timbrel.host.play.rack import Rack
from timbrel.host.preset.library import open_patch
from timbrel.host.session.meters import RenderLoad
from timbrel.host.session.realtime import BESIDES, SOUND, hurry

PRESET = "drum-loops"
RATE, BLOCK, DEPTH, VOICES = 48000, 128, 2, 8
SECONDS, SETTLING_SECONDS = 20.0, 2.0
BACK = (10, 100, 1000)  # frames of a sequence that is run again
ROUNDS = 9


class Hands:
    """Holds eight keys, and turns the first knob fifty times a second, by the clock."""

    def __init__(self, knob):
        self._knob, self._began, self._moves, self._held = knob, time.perf_counter(), 0, 0

    def poll(self):
        now, events = time.perf_counter() - self._began, []
        while self._held < VOICES and now > 0.1 * self._held:
            events.append(NoteOn(0, 0, 60 - VOICES // 2 + self._held, 100))
            self._held += 1
        if now * 50 > self._moves:
            self._moves = int(now * 50) + 1
            events.append(ControlChange(0, 0, self._knob, round(63.5 + 63 * np.sin(self._moves / 30))))
        return [Timed(time.perf_counter(), event) for event in events]


def live(pipe, name):
    """Send the load's percentiles, underruns, and frames in all and that were late."""
    hurry(BESIDES)
    patch = open_patch(name)
    rack = Rack({0: patch}, RATE, omni=True, live=True)
    while not rack.ready:
        time.sleep(0.001)
    sink, began, counted = NullSink(RATE, BLOCK, DEPTH), time.perf_counter(), None
    (instrument,) = rack._instruments.values()
    late, seen = set(), set()

    def watch(sound, events):
        nonlocal counted
        now = time.perf_counter() - began
        if counted is None and now > SETTLING_SECONDS:
            loop.meters.load, counted = RenderLoad(), sink.underruns
        if counted is not None:
            frames = [(voice.stream.note, voice.stream.now) for voice in instrument._processor.voices]
            seen.update((note, frame.plan.begin) for note, frame in frames if frame)
            late.update((note, frame.plan.begin) for note, frame in frames if frame and frame.late is not None)
        if now > SETTLING_SECONDS + SECONDS:
            loop.stop()

    loop = RenderLoop(Player(rack, RATE), sink, [Hands(patch.preset.cc[0].number)], on_block=watch)
    hurry(SOUND)
    loop.run()
    pipe.send((loop.meters.load.percentiles(50, 99, 99.9), sink.underruns - counted, len(seen), len(late)))


def clocked(name):
    """Print how eight voices are played."""
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=live, args=(theirs, name))
    process.start()
    (p50, p99, p999), underruns, frames, late = ours.recv()
    process.join()
    print(
        f"{VOICES} voices, a knob moves, a clock:  load p50 {p50:4.0%}  p99 {p99:4.0%}  p99.9 {p999:4.0%}   "
        f"underruns {underruns}   late frames {late} of {frames}"
    )


def timed(work):
    """The median seconds of some work, and its 99th percentile."""
    taken = []
    for _ in range(200):
        began = time.perf_counter()
        work()
        taken.append(time.perf_counter() - began)
    return statistics.median(taken), float(np.percentile(taken, 99))


def frames(patch):
    """Print what one frame costs."""
    model, card = patch.model, patch.model.card
    code = np.array(patch.preset.latent_values(card), np.float32)
    step = FrameInputs(model.at_rest(1), code, None, False, None, 0.0, card.stream.step_length, 1.0)
    maker, nothing = FrameMaker(model), np.zeros(1, np.intp)
    whole, worst = timed(lambda: maker.make(step))
    bare, _ = timed(lambda: model.step(code[np.newaxis], nothing, step.state))
    print(
        f"a frame: {1000 * whole:.2f} ms (p99 {1000 * worst:.2f}), its step of the decoder {1000 * bare:.2f} ms: "
        f"{whole / bare:.2f} x bare; "
        f"it sounds for {1000 * card.stream.step_length / card.sample_rate:.0f} ms"
    )


def carried(patch):
    """Print how much longer the whole sequence takes than a step that carries the state."""
    model = patch.model
    code = np.array(patch.preset.latent_values(model.card), np.float32)[np.newaxis]
    nothing = np.zeros(1, np.intp)
    for count in BACK:
        ratios = []
        for _ in range(ROUNDS):
            state = model.at_rest(1)
            began = time.perf_counter()
            for _ in range(count):
                _, state = model.step(code, nothing, state)
            again = time.perf_counter() - began
            began = time.perf_counter()
            model.step(code, nothing, state)
            ratios.append(again / (time.perf_counter() - began))
        print(f"{count:5} frames run again: {statistics.median(ratios):7.1f} x a step that carries its state")


def main() -> None:
    name = sys.argv[1] if len(sys.argv) > 1 else PRESET
    patch = open_patch(name)
    frames(patch)
    carried(patch)
    clocked(name)
    need("jackd", "jack_wait")
    with tempfile.TemporaryDirectory() as folder, jack_server(BLOCK, may_hurry()):
        held(BLOCK, VOICES, SECONDS, folder, name)


if __name__ == "__main__":
    main()
