"""Measures the sides of recovered stereo sounds, with the image that the preset has and without.

python tests/bench/recover_sides.py MODEL SOUND...
"""

import argparse
import contextlib
import io
import tempfile
from pathlib import Path

import numpy as np
from timbrel.export.fidelity.images import sides_distance
from timbrel.host.model.model import Model
from timbrel.host.preset.library import find_model
from timbrel.host.preset.loading import read_preset
from timbrel.host.preset.preset import PlaySettings
from timbrel.host.resynthesis.codes import follow, sides_of
from timbrel.host.resynthesis.reconstruction import reconstruct, rendered_span
from timbrel.host.resynthesis.recover import recover


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model")
    parser.add_argument("sounds", nargs="+", type=Path)
    arguments = parser.parse_args()
    model = Model(find_model(arguments.model))
    rows = []
    for sound in arguments.sounds:
        with tempfile.TemporaryDirectory() as folder:
            output = Path(folder, "recovered.toml")
            with contextlib.redirect_stdout(io.StringIO()):
                recover(sound, model, output)
            preset, track = read_preset(output), follow(sound, model)
            recorded = sides_of(sound, model.card, *rendered_span(track, model.card))
            found = []
            for play in (preset.play, PlaySettings()):
                rendition = reconstruct(sound, track, preset.model_copy(update={"play": play}), model, output).rendition
                both = np.broadcast_to(rendition, (2, rendition.shape[1]))
                found.append(sides_distance(recorded, both, model.card.sample_rate))
        rows.append(found)
        print(sound.name)
        for name, distance in zip(("with", "without"), found, strict=True):
            figures = "  ".join(f"{side.removesuffix('_db')} {db:5.2f}" for side, db in distance._asdict().items())
            print(f"  {name:<8} {figures} dB")
    for name, means in zip(("with", "without"), np.array(rows).transpose(1, 0, 2), strict=True):
        print(f"median, {name}: left, right, mid, side, mean {np.median(means, axis=0).round(2).tolist()} dB")


if __name__ == "__main__":
    main()
