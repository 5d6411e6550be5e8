"""Data sets of notes: notes a second of one process, beside `render` one by one and the floor; bytes of a note.

`notes.py PRESET...` takes a minute a preset. The floor is the bare decoder, one code a hop, and the inverse transforms
of the frames that the engine adds up: no partials, no noise, no envelopes, no files.
"""

import argparse
import functools
import os
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
from timbrel.export.samples.dataset import Batch, Job, render_batch
from timbrel.export.samples.drawing import BATCH, DatasetPreset, DatasetSettings, draw
from timbrel.host.events import NoteOff, NoteOn
from timbrel.host.midi.files import Performance
from timbrel.host.play.events import engine_for
from timbrel.host.play.render import render
from timbrel.host.preset.library import Patch, open_patch

RATE, SECONDS, HELD = 44_100, 4.0, 3.0
ONE_BY_ONE = 32  # notes
ROWS = 128  # of a decoder run
ROUNDS = 5


def seconds_each(work: Callable[[], object], notes: int) -> float:
    """Processor seconds of a note: a machine may do other work too."""
    since = time.process_time()
    work()
    return (time.process_time() - since) / notes


def one_by_one(patch: Patch, folder: Path) -> None:
    settings = DatasetSettings()
    preset = [DatasetPreset(patch, settings)]
    for number in range(ONE_BY_ONE):
        note = draw(number, preset, settings).note
        events = [NoteOn(0, 0, note.key, note.velocity), NoteOff(round(HELD * RATE), 0, note.key)]
        performance = Performance(events, round(HELD * RATE), [0], [])
        render(
            {0: patch}, performance, folder / "note.wav", sample_rate=RATE, tail_seconds=SECONDS - HELD, overwrite=True
        )


def floor(patch: Patch) -> None:
    card, engine = patch.model.card, engine_for(patch)
    voicing = engine._voicing
    codes = np.random.default_rng(1).uniform(0.3, 0.7, (ROWS, len(card.latents))).astype(np.float32)
    keys = np.full(ROWS, 60 if card.partials is not None else 0, np.intp)
    for _ in range(round(BATCH * SECONDS * card.sample_rate / card.hop_length / ROWS)):
        patch.model.decode(codes, keys)
    frames = np.ones((4 * ROWS, voicing.channels, voicing.frame_length // 2 + 1), np.complex64)
    for _ in range(round(BATCH * SECONDS * card.sample_rate / voicing.hop_length / len(frames))):
        np.fft.irfft(frames, voicing.frame_length)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("presets", nargs="*", default=["gm-keys", "gm-oboe", "gm-pad", "drum-kit", "digits-keys"])
    asked = parser.parse_args()
    print("| preset | `render` | data set | times as many | floor | times the floor | a note |")
    print("|---|---|---|---|---|---|---|")
    for name in asked.presets:
        print(row(name), flush=True)


def row(name: str) -> str:
    patch = open_patch(name)
    job = Job.for_patches([name], [patch], DatasetSettings(), BATCH * (ROUNDS + 1))
    size = sum(len(member.data) for member in render_batch(job, Batch(0))) / BATCH
    spectra = hasattr(engine_for(patch), "_voicing")
    rounds = []
    with tempfile.TemporaryDirectory() as folder:
        for number in range(1, ROUNDS + 1):
            single = seconds_each(functools.partial(one_by_one, patch, Path(folder)), ONE_BY_ONE)
            batch = seconds_each(functools.partial(render_batch, job, Batch(number)), BATCH)
            least = seconds_each(functools.partial(floor, patch), BATCH) if spectra else float("nan")
            rounds.append((single, batch, least))
    single, batch, least = (1000 * median(column) for column in zip(*rounds, strict=True))
    more, over = median(a / b for a, b, _ in rounds), median(b / c for _, b, c in rounds)
    bare = f"{least:.1f} ms | {over:.1f}" if spectra else "| "
    return f"| {name} | {single:.1f} ms | {batch:.1f} ms | {more:.2f} | {bare} | {size / 1000:.0f} kB |"


if __name__ == "__main__":
    main()
