"""Small studies of chroma: their corpora, options, runs and reports."""

import json

import numpy as np
from timbrel.export.study import chroma
from timbrel.export.study.chroma import study
from timbrel.host.progress import Display
from timbrel.host.units import midi_to_hz
from timbrel.train.corpus.store import writing

RATE, FRAME, HOP = 8000, 1024, 512
SMALL = [
    f"frames.sample_rate={RATE}",
    f"frames.frame_length={FRAME}",
    f"frames.hop_length={HOP}",
    "frames.rows=1000",
    "network.hidden=[24,12]",
    "training.batch_size=16",
]
C_MAJOR = (60, 62, 64, 65, 67, 69, 71, 72)
SIDES = {2: 6, 3: 3, 8: 2}


def write_corpus(folder, splits=("train", "train", "val", "test"), notes=C_MAJOR, rate=RATE, pitched=True):
    """A patch a part: harmonic tones of another brightness, each a clip of its own."""
    with writing(folder, rate) as writer:
        parts = {}
        for patch, split in enumerate(splits):
            for note in notes:
                hz, time = midi_to_hz(note), np.arange(rate // 2) / rate
                orders = range(1, int(0.45 * rate / hz) + 1)
                sound = 0.2 * sum((0.3 + 0.1 * patch) ** k * np.sin(2 * np.pi * k * hz * time + k) for k in orders)
                track = np.full(-(-len(time) // 1024), note if pitched else np.nan, np.float32)
                name = f"{patch}/{note}"
                parts[name] = split
                writer.append(sound.astype(np.float32), track, name=name, group=f"patch {patch}")
        writer.finish(parts, name=folder.name)
    return folder


def study_options(corpora, folder, tables, seeds=1, epochs=1, changes=(), **others):
    changes = [*SMALL, *changes]
    return chroma.ChromaStudyOptions(
        corpora,
        folder,
        tables=tables,
        seeds=seeds,
        epochs=epochs,
        changes=changes,
        sides=SIDES,
        accelerator="cpu",
        **others,
    )


def make(options):
    with Display() as display:
        return study(options, display)


def report_of(folder):
    return json.loads((folder / "report" / "report.json").read_text(encoding="utf-8"))


def floor(value, rises=False):
    """Figures of the one floor of a measure."""
    return {"label": "", "form": "", "rises": rises, "numbers": 2, "floors": {"mean": value}, "references": {}}
