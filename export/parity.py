"""Makes a model's reference: inputs, and the file's outputs for them.

``python -m timbrel.export.parity MODEL.onnx …`` updates reference, recordings' levels and knob names of older files.
"""

import sys
from pathlib import Path

import numpy as np
import onnx

from ..host.errors import Failure
from ..host.files import replacing
from ..host.kinds.card_fields import Reference, pack_peaks
from ..host.model.card import METADATA_KEY
from ..host.model.model import Model
from .graphs import save
from .knobs.naming import explained
from .recordings import with_path_levels

TOLERANCE = 1e-3  # of a frame whose maximum is near 1: the largest rounding difference between processors
ROWS = 12  # inputs: one for each pitch class
POINTS = 8  # outputs of each row in plain numbers, for hosts that do not read peaks
STEPS = 16  # of a stateful model: several cycles that still differ by rounding alone


def reference(model: Model) -> Reference:
    """Return outputs at seeded codes within knobs' spans, and largest magnitudes."""
    rng = np.random.default_rng(1)
    low = [latent.low for latent in model.card.latents]
    high = [latent.high for latent in model.card.latents]
    codes = np.round(rng.uniform(low, high, (ROWS, len(low))), 4).astype(np.float32)
    step_count = STEPS if model.card.state else 1
    condition_count = model.card.conditions
    row_conditions = np.arange(ROWS) % max(1, condition_count)
    if (partials := model.card.partials) is not None:
        row_conditions = np.linspace(partials.low, partials.high, ROWS).round().astype(np.intp)
    frames = model.after(step_count, codes, row_conditions)
    point_indices = np.unique(np.argsort(frames.max(0))[-POINTS:])
    peak_rows = np.abs(frames).argmax(0)
    peaks = frames[peak_rows, np.arange(frames.shape[1])]
    return Reference(
        latent=[[round(float(v), 4) for v in row] for row in codes],
        chroma=row_conditions.tolist() if model.card.chroma is not None else None,
        label=row_conditions.tolist() if model.card.labels else None,
        key=row_conditions.tolist() if model.card.partials is not None else None,
        points=[int(p) for p in point_indices],
        frame=[[round(float(v), 6) for v in row[point_indices]] for row in frames],
        tolerance=round(TOLERANCE * max(1.0, float(frames.max())), 6),
        steps=step_count,
        peaks=pack_peaks(peak_rows.astype(np.uint8).tobytes(), peaks.astype("<f2").tobytes()),
    )


def update_reference(path: Path) -> None:
    """Update an older model's reference, unless it covers all outputs, its recordings' levels and its knob names.

    Raises:
        Failure: the model's outputs differ from its reference.
    """
    model = Model(path)
    verdict = model.verify()
    if not verdict.passed:
        raise Failure(f"{path} does not give its own reference (off by {verdict.difference:.2g}); export it again")
    full_reference = model.card.reference if verdict.points == verdict.width else reference(model)
    updates = {"reference": full_reference, "latents": explained(model), "recordings": with_path_levels(model)}
    card = model.card.model_copy(update=updates)
    graph = onnx.load(path)
    metadata = {entry.key: entry.value for entry in graph.metadata_props}
    with replacing(path, overwrite=True) as file:
        save(graph, file, metadata | {METADATA_KEY: card.model_dump_json()})


if __name__ == "__main__":
    for name in sys.argv[1:]:
        update_reference(Path(name))
        print(f"{name}: SHA-256 {Model(Path(name)).sha256}")
