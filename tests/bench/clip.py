"""The engine of clips: live, with a knob that never rests, and offline against its floor.

Live: 16 voices at 48 kHz in blocks of 128, at the pace of a card, while one latent's knob moves all the time. Twice: a
kit of 16 keys, each with a code of its own, and keys that transpose one clip. The load is what rendering takes of a
block, at its median, 99 % and 99.9 %, by the clock and by the thread's own time; beside it, by the clock, that of a
`Bare` machine in the same process, for what the machine itself does. A knob is turned at once to see how long it takes
until the key that was struck last has the new sound, and until all keys have it. Offline: notes of which twelve sound
at a time, each of a code of its own; the floor decodes the same clips, one by one, and adds them up with numpy. Models
have random weights and take as long as WaveGAN's with d = 16; their clips are 16000 samples at 48 kHz, and 64000 as
the DCGAN's. Live the shipped kits of `tuned-clip` too, whose decoders find phases.
"""

import os

os.environ["OMP_NUM_THREADS"] = "1"

import argparse
import dataclasses
import itertools
import json
import multiprocessing
import statistics
import tempfile
import time
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper
from timbrel.host.audio.sound_card import NullSink
from timbrel.host.events import ControlChange, NoteOn
from timbrel.host.live.render_loop import RenderLoop
from timbrel.host.midi.ports import Timed
from timbrel.host.model.card import METADATA_KEY
from timbrel.host.model.model import Model
from timbrel.host.play.player import Player
from timbrel.host.play.rack import Rack
from timbrel.host.preset.library import Patch, open_patch
from timbrel.host.preset.preset import Preset
from timbrel.host.preset.validation import fitted
from timbrel.host.ramps import RAMP_SECONDS
from timbrel.host.session.meters import RenderLoad
from timbrel.host.session.realtime import BESIDES, SOUND, hurry

RATE, BLOCK, DEPTH = 48000, 128, 2
LATENTS = 16
HIDDEN = {16000: 1024, 64000: 256}  # by the clip's length
VOICES = 16
SECONDS, SETTLING_SECONDS = 10.0, 1.0
TURNS = 40  # of the knob, to see how long its sound takes
NOTES, AT_A_TIME = 400, 12  # offline
ROUNDS = 5
PERCENTILES = 50, 99, 99.9
TAPS, TERMS = 48, 8  # of a sample between others, as engines read it


def network(length, folder):
    """A model of random weights, whose clips fade."""
    rng = np.random.default_rng(0)
    fading = np.exp(-np.arange(length) / (length / 5))
    sizes = [LATENTS, HIDDEN[length], length]
    nodes, weights, last = [], [], "latent"
    for layer, (rows, columns) in enumerate(itertools.pairwise(sizes)):
        values = {f"w{layer}": rng.normal(size=(rows, columns)) / np.sqrt(rows), f"b{layer}": rng.normal(size=columns)}
        if columns == length:
            values = {name: value * 0.1 * fading for name, value in values.items()}
        weights += [numpy_helper.from_array(value.astype(np.float32), name) for name, value in values.items()]
        nodes.append(helper.make_node("Gemm", [last, *values], [f"x{layer}"]))
        nodes.append(helper.make_node("Tanh", [f"x{layer}"], [last := f"y{layer}"]))
    nodes[-1] = helper.make_node("Tanh", [nodes[-1].input[0]], ["frame"])
    ends = [
        helper.make_tensor_value_info(name, TensorProto.FLOAT, ["voice", size])
        for name, size in (("latent", LATENTS), ("frame", length))
    ]
    made = helper.make_model(
        helper.make_graph(nodes, "bench", ends[:1], ends[1:], weights),
        opset_imports=[helper.make_opsetid("", 17)],
        ir_version=8,
    )
    latent = {"low": -4.0, "high": 4.0, "default": 0.0, "mean": 0.0, "std": 1.0}
    fields = {
        "format": 1,
        **dict.fromkeys(("name", "description", "license", "credits", "created"), "bench"),
        "kind": "clip",
        "domain": "samples",
        "sample_rate": RATE,
        "frame_length": length,
        "hop_length": length,
        "window": "rectangular",
        "latents": [{"name": f"{number}", **latent} for number in range(LATENTS)],
        "prior": None,
        "chroma": None,
        "loudness_lufs": -20.0,
        "landmarks": [],
        "training": {"steps": 0, "seed": 0, "clips": 0, "seconds": 0.0, "validation": {}, "versions": {}}
        | dict.fromkeys(("recipe", "corpus", "hardware"), "none"),
        "parity": {"absolute": 0.0, "relative": 0.0, "batch_sizes": [1]},
        "reference": {"latent": [[0.0] * LATENTS], "chroma": None, "points": [0], "frame": [[0.0]], "tolerance": 9.0},
    }
    helper.set_model_props(made, {METADATA_KEY: json.dumps(fields)})
    path = Path(folder, f"{length}.onnx")
    onnx.save(made, path)
    return Model(path)


def patch_of(model, kit=False, **keys):
    """A preset of the model with a knob on its first latent."""
    if kit:
        codes = np.random.default_rng(1).uniform(-2, 2, (VOICES, LATENTS)).round(3).tolist()
        keys["keys"] = [{"key": 36 + number, "code": code} for number, code in enumerate(codes)]
    fields = {"format": 1, "model": "bench", "knobs": [20], "play": {"voices": VOICES}, **keys}
    preset = fitted(Preset.model_validate(fields), model.card, Path())
    return Patch("clips", preset, model, Path())


def ready(rack):
    """Wait until it can sound."""
    while not rack.ready:
        time.sleep(0.001)


class Hands:
    """Strikes a key whenever one of 16 voices is over, and turns the knob fifty times a second, by the clock."""

    def __init__(self, clip_seconds, keys, knob):
        self._between, self._keys, self._knob = clip_seconds / VOICES, keys, knob
        self._began = time.perf_counter()
        self._struck = self._moves = 0

    def poll(self):
        now = time.perf_counter() - self._began
        events = []
        while self._struck * self._between < now:
            events.append(NoteOn(0, 0, self._keys[5 * self._struck % len(self._keys)], 100))
            self._struck += 1
        if now * 50 > self._moves:
            self._moves = int(now * 50) + 1
            events.append(ControlChange(0, 0, self._knob, round(63.5 + 63 * np.sin(self._moves / 30))))
        return [Timed(time.perf_counter(), event) for event in events]


PATCHES = {
    "kit of 16": lambda path: patch_of(Model(path), kit=True),
    "transposed": lambda path: patch_of(Model(path)),
    "held, looped": lambda path: patch_of(Model(path), clip={"loop": True}),
    "drum-kit": lambda _: of_16_voices(open_patch("drum-kit")),
    "digits-keys": lambda _: of_16_voices(open_patch("digits-keys")),
    "your own": lambda path: of_16_voices(open_patch(path)),
}
OWN = 3  # of these are of a model of random weights


def of_16_voices(patch):
    """A patch with as many voices as the others have."""
    play = patch.preset.play.model_copy(update={"voices": VOICES})
    return dataclasses.replace(patch, preset=patch.preset.model_copy(update={"play": play}))


class Bare:
    """A machine that does nothing but gather taps for 16 voices and multiply them, at steady paces."""

    listens, ready, age_ms, played, latency_samples, sounding = False, True, None, 0, 0, VOICES

    def __init__(self):
        self.knobs = {}
        rng = np.random.default_rng(0)
        samples = rng.normal(size=1 << 20).astype(np.float32)
        self._windows = np.lib.stride_tricks.sliding_window_view(samples, TAPS)
        self._weights = rng.normal(size=(VOICES, TAPS, TERMS)).astype(np.float32)
        paces = 2 ** (np.arange(-7, VOICES - 7)[:, np.newaxis] / 12)
        self._places = (np.arange(BLOCK) * paces).astype(np.int64) + 60000 * np.arange(VOICES)[:, np.newaxis]
        self._blocks = 0

    def current_latents(self, channel):
        return []

    def modulated_values(self, channel):
        return {}

    def shed(self, time):
        return False

    def prepare(self):
        pass

    def process(self, events, count):
        self._blocks += 1
        taps = self._windows[self._places + BLOCK * (self._blocks % 400)]
        mix = np.matmul(taps, self._weights).sum(axis=2).sum(axis=0)
        return np.stack([mix, mix]), {}


def loads(machine, hands=None, heard=lambda: None):
    """Return percentiles of the load and of the thread's own time, as parts of a block, and underruns.

    A clock empties the ring. ``heard`` is called after each block in which a key was struck, once all has settled.
    """
    player, sink, worked = Player(machine, RATE), NullSink(RATE, BLOCK, DEPTH), []
    began, made = time.perf_counter(), player.block
    counted = None

    def block(count):
        before = time.thread_time()
        done = made(count)
        worked.append((time.thread_time() - before) * RATE / BLOCK)
        return done

    def watch(sound, events):
        nonlocal counted
        now = time.perf_counter() - began
        if counted is not None and any(isinstance(event, NoteOn) for event in events):
            heard()
        if counted is None and now > SETTLING_SECONDS:
            loop.meters.load, counted = RenderLoad(), sink.underruns
            worked.clear()
        if now > SETTLING_SECONDS + SECONDS:
            loop.stop()

    player.block = block
    loop = RenderLoop(player, sink, [] if hands is None else [hands], on_block=watch)
    hurry(SOUND)
    loop.run()
    return loop.meters.load.percentiles(*PERCENTILES), np.percentile(worked, PERCENTILES), sink.underruns - counted


def live(pipe, path, name):
    """Send `loads` of a patch and of `Bare`, ages of notes' sounds in ms, and the times that `to_new_sound` finds.

    In a process of its own, which goes before others as that does which plays.
    """
    hurry(BESIDES)
    patch = PATCHES[name](path)
    card = patch.model.card
    rack = Rack({0: patch}, RATE, omni=True, live=True)
    ready(rack)
    keys = [entry.key for entry in patch.preset.keys] or list(range(53, 53 + VOICES))
    hands, ages = Hands(card.frame_length / card.sample_rate, keys, patch.preset.cc[0].number), []
    ours = loads(rack, hands, lambda: ages.append(rack.age_ms))
    pipe.send((ours, loads(Bare()), ages, to_new_sound(patch)))


def to_new_sound(patch):
    """Seconds from a turn of the knob to the block after which notes have the new sound, for each turn.

    Of the key that was struck last, and of any key: [turns, 2].
    """
    rack = Rack({0: patch}, RATE, omni=True, live=True)
    ready(rack)
    (instrument,) = rack._instruments.values()
    engine, taken, due = instrument._synthesis._engine, [], time.perf_counter()
    for turn in range(TURNS):
        turned, first = time.perf_counter(), None
        events = [ControlChange(rack.played, 0, patch.preset.cc[0].number, (40, 90)[turn % 2])]
        while True:
            due = max(due + BLOCK / RATE, time.perf_counter() - 0.01)
            time.sleep(max(0.0, due - time.perf_counter()))
            rack.process(events, BLOCK)
            events = []
            since = time.perf_counter() - turned
            code = np.array(instrument.current_latents(), np.float32)
            wants = engine._wants(code, [engine._label_of(slot, 0) for slot in engine._slots], 0)
            there = [
                any(kept.name == want.name for kept in engine._prefetch_cache.ready_clips(want.slot)) for want in wants
            ]
            if since < RAMP_SECONDS:  # the knob is on its way
                continue
            if first is None and there[0]:
                first = since
            if all(there):
                break
        taken.append((first, since))
        rack.process([], 20 * BLOCK)
    return taken


def offline(patch):
    """Seconds that the host takes for notes of codes of their own, and those of the floor."""
    model, length = patch.model, patch.model.card.frame_length
    between = length // AT_A_TIME
    events, codes, kit = [], [], [entry.code for entry in patch.preset.keys]
    span = model.card.latents[0]
    for number in range(NOTES):
        value = 1 + number % 126
        events += [
            ControlChange(number * between, 0, 20, value),
            NoteOn((number + 1) * between - 1, 0, 36 + number % VOICES, 100),
        ]
        moved = span.low + (span.high - span.low) * value / 127
        codes.append([kit[number % VOICES][0] + moved, *kit[number % VOICES][1:]])
    total = NOTES * between + length
    codes = np.clip(np.array(codes, np.float32), span.low, span.high)
    rack = Rack({0: patch}, RATE)
    began = time.perf_counter()
    for start in range(0, total, 16384):
        count = min(16384, total - start)
        rack.process([event for event in events if start <= event.time < start + count], count)
    ours = time.perf_counter() - began
    mix, nothing = np.zeros((2, total), np.float32), np.zeros(1, np.intp)
    began = time.perf_counter()
    for number, code in enumerate(codes):
        on = (number + 1) * between - 1
        mix[:, on : on + length] += 0.5 * model.decode(code[np.newaxis], nothing)[0]
    return ours, time.perf_counter() - began


def row(path, name):
    """Print how one patch of `PATCHES` is played."""
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=live, args=(theirs, path, name))
    process.start()
    (load, worked, underruns), (bare, _, _), ages, taken = ours.recv()
    process.join()
    first, every = (np.array(column) * 1000 for column in zip(*taken, strict=True))
    told = [" ".join(f"{part:4.0%}" for part in parts) for parts in (load, worked, bare)]
    print(
        f"  {name:<13}load {told[0]}   own time {told[1]}   bare {told[2]}   underruns {underruns}   "
        f"age of notes p50 {np.median(ages):.0f} ms, most {max(ages):.0f}   "
        f"knob to sound p50 {np.median(first):.0f} ms, most {first.max():.0f}; all keys {np.median(every):.0f} ms, "
        f"most {every.max():.0f}"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("instrument", nargs="?", help="a kit to play live, beside the shipped ones")
    instrument, (*names, own) = parser.parse_args().instrument, PATCHES
    with tempfile.TemporaryDirectory() as folder:
        for length in (16000, 64000):
            model = network(length, folder)
            print(f"clips of {length} samples, {VOICES} voices, blocks of {BLOCK} at {RATE} Hz, a knob moves")
            for name in names[:OWN]:
                row(model.path, name)
            rounds = [offline(patch_of(model, kit=True)) for _ in range(ROUNDS)]
            ours, floors = (statistics.median(column) for column in zip(*rounds, strict=True))
            ratio = statistics.median(one / other for one, other in rounds)
            print(f"  offline, {NOTES} notes: {ours:.2f} s   floor {floors:.2f} s   {ratio:5.2f} x floor")
    print("shipped")
    for name in names[OWN:]:
        row(None, name)
    if instrument is not None:
        row(instrument, own)


if __name__ == "__main__":
    main()
