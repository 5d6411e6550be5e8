"""A published WaveGAN's generator of size 1: its variables, TensorFlow's clips of it, and its dump for browsers."""

import json
from pathlib import Path

import numpy as np

FILTER = "G/pp_filt/conv1d/kernel"


def tensorflow_arrays():
    """Arrays that `wavegan_fixture.py` made with TensorFlow, by name."""
    with np.load(Path(__file__).with_name("wavegan.npz")) as file:
        return dict(file)


def generator_variables(arrays):
    """A generator's variables by name, without a filter."""
    return {name: value for name, value in arrays.items() if name.startswith("G/") and name != FILTER}


def dump(folder, variables):
    """Write variables as the published demo's files, with a variable that is no generator's."""
    folder.mkdir()
    manifest = {}
    for name, value in {**variables, "cherries": np.zeros((2, 3), np.float32)}.items():
        file_name = name.replace("/", "_")
        manifest[name] = {"filename": file_name, "shape": list(value.shape)}
        (folder / file_name).write_bytes(value.astype("<f4").tobytes())
    (folder / "manifest.json").write_text(json.dumps(manifest))
    return folder
