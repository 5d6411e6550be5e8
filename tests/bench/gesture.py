"""Notes with gestures beside notes without: 16 voices in blocks of 128 samples at 48 kHz, side by side in one run.

`gesture.py [MODEL]`: a model with gestures, or a shipped one whose ways are made by formula, as many and as long as an
exported file's. All play the same keys, a second each, one of them anew every sixteenth of a second; `held` are never
let go, and wander. The floor is the bare decoder run with as many rows as there are voices, once a hop of the model.
Times are the processor's, as other work on the machine must not count; loads are parts of the block's time, ratios to
voices that share moving knobs, and to those of a preset at rest. Last, what a block costs in which 16 notes begin.
"""

import os

os.environ["OMP_NUM_THREADS"] = "1"

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from statistics import median

import numpy as np
import onnx
from onnx import helper
from timbrel.host.events import ControlChange, Event, NoteOff, NoteOn
from timbrel.host.model.card import METADATA_KEY
from timbrel.host.model.gesture import GESTURE_KEY
from timbrel.host.model.model import Model
from timbrel.host.play.rack import ChannelInstrument
from timbrel.host.preset.library import Patch
from timbrel.host.preset.preset import Preset
from timbrel.host.preset.shipped import shipped_models

RATE, BLOCK, VOICES = 48000, 128, 16
TURN = 94  # blocks, a quarter of a second: a machine whose speed drifts slows all
SETTLING, TURNS = 8, 40
BURSTS, AFTER = 40, 7  # chords, and the blocks after each that count
CHORD_APART = 200  # blocks: the last one has faded

QUICK = {"attack_seconds": 0.005, "release_seconds": 0.03}  # as good as no voice sounds beside the sixteen
MOVES = [{"target": "latent.0", "shape": "sine", "depth": 0.2, "rate_hz": 1.0}]
NONE = {"gesture": {"amount": 0.0}, "envelope": QUICK}
WAYS = {
    "knobs at rest": NONE,
    "shared knobs": NONE | {"motion": MOVES},
    "own codes": NONE | {"motion": MOVES, "mpe": {"enabled": True, "slide": "latent.1"}},
    "gestures": {"envelope": QUICK},
    "gestures, held": {"envelope": QUICK},
    "gestures of loudness": {"envelope": QUICK, "gesture": {"codes": 0.0}},
    "gestures, shared knobs": {"envelope": QUICK, "motion": MOVES},
}
POINTS = [0.0, 0.02, 0.04, 0.07, 0.1, 0.15, 0.2, 0.3, 0.45, 0.7, 1.0, 1.5, 2.2]
RELEASE = [0.0, 0.05, 0.1, 0.2, 0.4]


def by_formula(card) -> dict:
    """The gestures of 72 notes of chance, which quieten down from a code that is a deviation away."""
    rng = np.random.default_rng(0)
    n, k = len(card.latents), 6
    directions = rng.normal(size=(k, n)) * [latent.std for latent in card.latents] / np.sqrt(n)
    levels = np.linspace(0, 2.5, 30)
    home = [latent.default for latent in card.latents]
    notes = [
        {
            "key": 40 + number / 2,
            "velocity": 30 + 24 * (number % 4),
            "held_seconds": 0.7,
            "code": list(home + 0.5 * rng.normal(size=k) @ directions),
            "levels": list(-30 * np.exp(-levels / 0.05)),
            "codes": [list(row) for row in np.exp(-np.array(POINTS) / 0.3)[:, np.newaxis] * rng.normal(size=k)],
            "release_levels": [0.0, -20.0, -60.0],
            "release_codes": rng.normal(size=(len(RELEASE), k)).tolist(),
        }
        for number in range(72)
    ]
    return {
        "format": 1,
        "grid": {
            "levels": list(levels),
            "codes": POINTS,
            "release_levels": [0.0, 0.1, 0.3],
            "release_codes": RELEASE,
        },
        "directions": directions.tolist(),
        "wander": {"level_db": 0.5, "level_hz": 5.0, "codes": [0.1] * k, "codes_hz": [5.0] * k},
        "instruments": [{"label": "", "home": home, "notes": notes}],
    }


def shipped(folder: Path) -> Model:
    """A model that ships, with gestures."""
    path = shipped_models()["gm-chroma-8"]
    model, made = Model(path), onnx.load(path)
    known = {entry.key: entry.value for entry in made.metadata_props}
    ways = {METADATA_KEY: known[METADATA_KEY], GESTURE_KEY: json.dumps(by_formula(model.card))}
    helper.set_model_props(made, ways)
    onnx.save(made, folder / "model.onnx")
    return Model(folder / "model.onnx")


class Player:
    """An instrument under sixteen keys."""

    def __init__(self, model: Model, name: str) -> None:
        self.mpe = name == "own codes"
        keys = {"format": 1, "model": "bench", "play": {"voices": 2 * VOICES}} | WAYS[name]
        self._instrument = ChannelInstrument(Patch(name, Preset.model_validate(keys), model, Path()), RATE)
        self._now = 0
        self._begins = (self.strike(voice) for voice in range(VOICES))
        if name != "gestures, held":
            self._begins = self._anew()

    def strike(self, voice: int) -> list[Event]:
        """The events with which a voice's note begins: at velocities, and with MPE at slides, of its own."""
        channel, slide = voice % 15 + 1, 8 * voice % 128
        note = NoteOn(self._now, channel if self.mpe else 0, 48 + 2 * voice, 40 + 5 * voice)
        return [ControlChange(self._now, channel, 74, slide), note] if self.mpe else [note]

    def lift(self, voice: int) -> list[Event]:
        return [NoteOff(self._now, voice % 15 + 1 if self.mpe else 0, 48 + 2 * voice)]

    def _anew(self) -> Iterator[list[Event]]:
        """All notes, then one after the other let go and struck again, evenly over a second."""
        for voice in range(VOICES):
            yield self.strike(voice)
        struck = 0
        while True:
            due = self._now * VOICES // RATE > struck
            struck += due
            yield [*self.lift(struck % VOICES), *self.strike(struck % VOICES)] if due else []

    def block(self, events: list[Event] | None = None) -> float:
        """Play a block; return its seconds."""
        events = next(self._begins, []) if events is None else events
        began = time.thread_time()
        self._instrument.process(events, BLOCK)
        took = time.thread_time() - began
        self._now += BLOCK
        return took


def floor(model: Model) -> float:
    """Seconds of a bare run of the decoder for all voices, a block's part of a hop of the model."""
    rng = np.random.default_rng(0)
    latents = rng.random((VOICES, len(model.card.latents)), dtype=np.float32)
    began = time.thread_time()
    model.decode(latents, np.arange(VOICES) % 12)
    return (time.thread_time() - began) * BLOCK / model.card.hop_length * model.card.sample_rate / RATE


def loads(model: Model) -> None:
    players = {name: Player(model, name) for name in WAYS}
    turns: dict[str, list[list[float]]] = {name: [] for name in [*WAYS, "floor"]}
    for number in range(-SETTLING, TURNS):
        for name in turns:
            took = [players[name].block() if name in players else floor(model) for _ in range(TURN)]
            if number >= 0:
                turns[name].append(took)
    block = BLOCK / RATE
    for name, rows in turns.items():
        every = np.concatenate(rows) / block
        shares = [
            median(np.mean(row) / np.mean(other) for row, other in zip(rows, turns[beside], strict=True))
            for beside in ("shared knobs", "knobs at rest")
        ]
        p99, p999 = np.percentile(every, (99, 99.9))
        print(
            f"{name:<23}{median(np.mean(row) for row in rows) / block:7.3f} of a core   block p50 {median(every):5.3f} "
            f" p99 {p99:5.3f}  p99.9 {p999:5.3f}   {shares[0]:5.2f} x shared knobs   {shares[1]:5.2f} x at rest",
            flush=True,
        )


def bursts(model: Model) -> None:
    """Chords: the block in which sixteen notes begin at once, and the dearest of those after it."""
    names = ("shared knobs", "own codes", "gestures")
    players = {name: Player(model, name) for name in names}
    found: dict[str, list[tuple[float, float]]] = {name: [] for name in names}
    for number in range(-2, BURSTS):
        for name, player in players.items():
            for _ in range(CHORD_APART):
                player.block([])
            first = player.block([event for voice in range(VOICES) for event in player.strike(voice)])
            after = max(player.block([]) for _ in range(AFTER))
            player.block([event for voice in range(VOICES) for event in player.lift(voice)])
            if number >= 0:
                found[name].append((first, after))
    for name, chords in found.items():
        first, after = np.array(chords).T * RATE / BLOCK
        ratio = median(a / b for (a, _), (b, _) in zip(chords, found["shared knobs"], strict=True))
        print(
            f"{name:<24}16 notes begin: {median(first):5.2f} blocks, slowest {max(first):5.2f}; dearest of the {AFTER} "
            f"blocks after it {median(after):5.2f}   {ratio:5.2f} x shared knobs"
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model", nargs="?", type=Path, help="a model with gestures")
    path = parser.parse_args().model
    with tempfile.TemporaryDirectory() as folder:
        model = shipped(Path(folder)) if path is None else Model(path)
        if model.gestures is None:
            sys.exit(f"{path} has no gestures")
        loads(model)
        bursts(model)


if __name__ == "__main__":
    main()
