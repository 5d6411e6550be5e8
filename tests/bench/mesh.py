"""The mesh of the study of chroma against the bare file: 350 x 350 points with twelve chromas, as batches of rows.

The bare time is that of onnxruntime alone, which runs as many rows in batches of the same size and drops the frames.
Parts of the mesh and of the bare work take turns, so that both meet the same machine.
"""

import os
import statistics
import time
from collections.abc import Callable

os.environ["OMP_NUM_THREADS"] = "1"

import numpy as np
from timbrel.export.study.chroma_measures import ROWS, mesh, strongest
from timbrel.host.model.model import ONE_HOT, Model
from timbrel.host.preset.library import find_model

SIDE, ALLOWED = 350, 1.3


def bare(model: Model, points: np.ndarray, asked: int) -> None:
    for first in range(0, len(points), ROWS):
        part = points[first : first + ROWS]
        model.session.run(["frame"], {"latent": part, "chroma": np.tile(ONE_HOT[asked], (len(part), 1))})


def timed(work: Callable[..., object], *arguments: object) -> float:
    began = time.perf_counter()
    work(*arguments)
    return time.perf_counter() - began


def main() -> None:
    model = Model(find_model("gm-chroma-2"))
    points = mesh(SIDE, 2)
    bare(model, points[:ROWS], 0)
    pairs = []
    for asked in range(12):
        ours = timed(strongest, model, points, asked, lambda share: None)
        pairs.append((ours, timed(bare, model, points, asked)))
    ours, floor = map(sum, zip(*pairs, strict=True))
    ratio = statistics.median(a / b for a, b in pairs)
    rows = 12 * len(points)
    print(f"{rows} rows: {ours:.1f} s, bare {floor:.1f} s; ratio {ratio:.2f} (median of twelve), {ALLOWED} allowed")


if __name__ == "__main__":
    main()
