"""Data sets of notes by several processes: notes a second of 1, 2 and 4 workers, and of a Ray cluster of two nodes.

Each count begins after a quarter of the notes, when all processes have started. `workers.py` takes three minutes, and
needs a quiet machine; a ratio counts against one worker of the same run.
"""

import os
import sys
import tempfile
import time
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")
sys.path.append(str(Path(__file__).parents[1] / "export"))

from clusters import cluster
from timbrel.export.samples.dataset import make_dataset
from timbrel.export.samples.drawing import DatasetSettings

PRESET, NOTES = "gm-oboe", 64 * 48


def notes_a_second(folder: Path, workers: int = 1, ray: str | None = None) -> float:
    times: list[float] = []
    make_dataset(
        [PRESET],
        folder,
        DatasetSettings(),
        NOTES,
        workers=workers,
        ray=ray,
        progress=lambda done: times.append(time.perf_counter()),
    )
    first = len(times) // 4
    return 64 * (len(times) - 1 - first) / (times[-1] - times[first])


def main() -> None:
    print(f"| {PRESET}, {os.cpu_count()} processors | notes a second | times one worker |")
    print("|---|---|---|")
    with tempfile.TemporaryDirectory() as folder:
        one = 0.0
        for workers in (1, 2, 4):
            found = notes_a_second(Path(folder, str(workers)), workers)
            one = one or found
            print(f"| {workers} worker{'s' * (workers > 1)} | {found:.0f} | {found / one:.2f} |", flush=True)
        with cluster() as (address, _):
            found = notes_a_second(Path(folder, "ray"), ray=address)
        print(f"| Ray, two nodes of one processor | {found:.0f} | {found / one:.2f} |")


if __name__ == "__main__":
    main()
