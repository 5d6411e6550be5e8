"""Models with gestures by formula."""

import json

import numpy as np
import onnx
from onnx import helper
from timbrel.host.model.card import METADATA_KEY
from timbrel.host.model.gesture import GESTURE_KEY, packed
from timbrel.host.model.model import Model
from timbrel.host.preset.shipped import MODELS

RATE, HOP = 22050, 256  # of the smallest model
GRID = {
    "levels": [0.0, 0.1, 0.2, 0.5],
    "codes": [0.0, 0.2],
    "release_levels": [0.0, 0.1, 0.3],
    "release_codes": [0.0, 0.2],
}
WANDER = {"level_db": 0.0, "level_hz": 4.0, "codes": [0.0, 0.0], "codes_hz": [3.0, 5.0]}
MOVING = {"level_db": 2.0, "level_hz": 6.0, "codes": [0.05, 0.05], "codes_hz": [3.0, 5.0]}


def note(key=60.0, velocity=100, **changes):
    """A note that rises by 40 dB in 0.1 s, stays, and falls by 200 dB a second; its code goes from 0.2 to -0.1."""
    return {
        "key": key,
        "velocity": velocity,
        "held_seconds": 0.5,
        "code": [0.5, 0.5],
        "levels": [-40.0, 0.0, 0.0, 0.0],
        "codes": [[0.2, 0.0], [-0.1, 0.1]],
        "release_levels": [0.0, -20.0, -60.0],
        "release_codes": [[-0.1, 0.1], [-0.3, 0.0]],
    } | changes


def gestures(*notes, wander=WANDER, grid=GRID, **changes):
    """The metadata of notes on two latents, whose directions are the latents themselves; home is in the middle."""
    instrument = {"label": "", "home": [0.5, 0.5], "notes": list(notes or [note()])}
    fields = {"format": 1, "grid": grid, "directions": [[1.0, 0.0], [0.0, 1.0]], "wander": wander}
    return fields | {"instruments": [instrument]} | changes


def with_gestures(path, target, fields):
    """Write a model's file again with gestures: fields, or text as it is; and open it."""
    made = onnx.load(path)
    known = {entry.key: entry.value for entry in made.metadata_props}
    text = fields if isinstance(fields, str) else json.dumps(fields)
    helper.set_model_props(made, {METADATA_KEY: known[METADATA_KEY], GESTURE_KEY: text})
    onnx.save(made, target)
    return Model(target)


BANDS_HZ = [200.0, 1000.0, 5000.0]


def residual(mean, moments):
    """A residual of a mean, [3], and of a movement, [moments, 3], in dB."""
    return packed(np.round(2 * np.concatenate([[mean], moments])).astype(np.int8))


def banded(*notes, takes=None):
    """Gestures of these notes with residuals every 10 ms; takes differ by level and bands, [pairs, 4], in dB."""
    made = gestures(*notes, bands_hz=BANDS_HZ, residual_seconds=0.01)
    if takes is not None:
        made["instruments"][0]["takes"] = packed(np.round(2 * np.array(takes)).astype(np.int8))
    return made


def partials_with(path, *notes, takes=None, wander=WANDER):
    """The shipped model of partials with gestures of notes that keep their code, as a new file; open it."""
    made = onnx.load(MODELS / "gm-partials-8.onnx")
    known = {entry.key: entry.value for entry in made.metadata_props}
    latents = len(json.loads(known[GESTURE_KEY])["directions"][0])
    still = {"code": [0.5] * latents, "codes": [[0.0] * 2] * 2, "release_codes": [[0.0] * 2] * 2}
    fields = banded(*(one | still for one in notes), takes=takes)
    fields["directions"] = [[0.1] + [0.0] * (latents - 1), [0.0] * (latents - 1) + [0.1]]
    fields["instruments"][0]["home"] = [0.5] * latents
    fields["wander"] = wander
    helper.set_model_props(made, known | {GESTURE_KEY: json.dumps(fields)})
    onnx.save(made, path)
    return Model(path)
