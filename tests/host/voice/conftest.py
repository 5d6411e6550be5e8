"""Models with recordings, in mono and in stereo, for the core and the numpy voice."""

import numpy as np
import pytest
from timbrel.host.model.gesture import packed
from timbrel.host.model.model import Model

from ..play.gestures import MOVING, note, partials_with, residual


@pytest.fixture(scope="session")
def recorded(tmp_path_factory):
    """The shipped model of partials with made-up recordings: residuals, vibrato, takes, modes, releases, wander."""
    rng = np.random.default_rng(0)
    vibrato = packed(np.round(40 * np.sin(np.arange(80) / 3)).astype(np.int8))
    notes = []
    for number in range(6):
        moves = 6 * rng.standard_normal((60, 3)).cumsum(0) / 8
        more = {
            "residual": residual([number - 2.0, 0.0, 2.0], moves * (number % 2 * 2 - 1)),
            "release_residual": packed(np.round(8 * rng.standard_normal((20, 3))).astype(np.int8).ravel()),
            "loudness": packed(np.round(3 * rng.standard_normal(60)).astype(np.int8)),
            "onset": packed(np.round(16 * rng.standard_normal((33, 3))).astype(np.int8).ravel()),
            "vibrato": vibrato,
            "held_seconds": 0.2,
            "fall_db_second": 3.0,
        }
        if number % 2:
            more["modes"] = [[0.62, 0, 0.9], [2.07, 2, 0.0], [2.93, 3, 0.5], [5.43, 0, 0.6]]
        notes.append(note(48.3 + 6 * number, **more))
    path = tmp_path_factory.mktemp("recorded") / "recorded.onnx"
    return partials_with(path, *notes, takes=[[1.0, 2.0, -2.0, 1.0]], wander=MOVING)


@pytest.fixture(scope="session")
def in_stereo():
    """A function that gives a model with gestures an image, and each recording its own."""

    def make(path):
        rng, model = np.random.default_rng(1), Model(path)
        image = np.stack([6 * rng.standard_normal(32), rng.uniform(-1, 1, 32)], axis=1)
        model.card = model.card.model_copy(update={"image": [tuple(band) for band in image.tolist()]})
        for instrument in model.gestures.instruments:
            for recording in instrument.notes:
                recording.image = rng.integers(-127, 128, 64).astype(np.int8)
        return model

    return make
