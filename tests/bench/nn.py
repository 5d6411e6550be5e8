"""Files for nn~ of shipped models, played as nn~ plays them: how near to the host's sound, and what a block takes.

One note of five seconds, all knobs moving. `apart` is the largest difference from the host's voice, of spectra with
noise phases, `seams` the largest one from the same file in one block: what a division into blocks changes. `first` is
the first block, in which TorchScript is compiled. Times of later blocks are the median and the 99th percentile.
"""

import os

os.environ["OMP_NUM_THREADS"] = "1"

import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from timbrel.export.nn import Backend, note, write
from timbrel.host.model.model import Model
from timbrel.host.preset.library import find_model

MODELS = ("gm-chroma-8", "gm-partials-8", "gm-partials-9", "lakeside-10")
BLOCKS = (64, 256, 1024, 2048, 8192)
SECONDS = 5.0


def play(file: Path, signals: np.ndarray, block: int) -> tuple[np.ndarray, list[float]]:
    """Return the sound and the seconds that each block took."""
    backend, made, taken = Backend(file), [], []
    for start in range(0, signals.shape[2], block):
        began = time.perf_counter()
        made.append(backend.perform(signals[:, :, start : start + block]))
        taken.append(time.perf_counter() - began)
    return np.concatenate(made, axis=2)[0], taken


def report(model: Model, file: Path) -> None:
    write(model, file)
    print(f"{model.path.stem}: {file.stat().st_size / 1e6:.1f} MB")
    signals, expected = note(model, SECONDS)
    whole, _ = play(file, signals, signals.shape[2])
    for block in BLOCKS:
        sound, taken = play(file, signals, block)
        later = 1000 * np.array(taken[8:])
        share = later.sum() / (1000 * len(later) * block / model.card.sample_rate)
        apart, seams = (np.abs(sound - other).max() for other in (expected, whole))
        print(
            f"  blocks of {block:<5} apart {apart:.1e}   seams {seams:.1e}   first {1000 * taken[0]:.0f} ms"
            f"   later {np.median(later):.2f}, p99 {np.quantile(later, 0.99):.2f} ms   {100 * share:.1f} % of real time"
        )


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder:
        for name in sys.argv[1:] or MODELS:
            report(Model(find_model(name)), Path(folder) / f"{Path(name).stem}.ts")
