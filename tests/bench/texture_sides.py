"""Measures distances of a texture's sides from those of its recordings.

    python tests/bench/texture_sides.py RECORDINGS STEREO [MEAN]

STEREO is an instrument that timbrel make made of the stereo sounds in RECORDINGS, MEAN one of the same sounds' means of
both sides. Each plays along the codes of these; the distances are those of mean spectra over thirds of octaves, as in
reports, of left, right, mid and side, and their mean.
"""

import argparse
from pathlib import Path

import numpy as np
import soundfile
import soxr
from timbrel.export.fidelity.textures import along, mean_sides_distance
from timbrel.host.audio.mono_mix import mix_to_mono
from timbrel.host.audio.sound_files import read_sound
from timbrel.host.preset.library import open_patch


def sides_of(folder: Path, rate: int) -> np.ndarray:
    """A folder's recordings, joined, [2, samples]."""
    pieces = []
    for path in sorted(folder.iterdir()):
        if path.suffix.lower().strip(".").upper() in soundfile.available_formats():
            sound, its_rate = read_sound(path)
            pieces.append(soxr.resample(np.broadcast_to(sound, (2, sound.shape[1])).T, its_rate, rate).T)
    return np.concatenate(pieces, axis=1)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("recordings", type=Path)
    parser.add_argument("stereo", type=Path)
    parser.add_argument("mean", type=Path, nargs="?")
    options = parser.parse_args()
    stereo = open_patch(str(options.stereo))
    rate = stereo.model.card.sample_rate
    recording = sides_of(options.recordings, rate)
    mix = mix_to_mono(recording, rate)
    played = {"stereo": along(stereo, mix), "its image 0": along(stereo, mix, image=0.0)}
    if options.mean is not None:
        played["of means"] = along(open_patch(str(options.mean)), recording.mean(0))
    print(f"{'dB':<12}   left  right    mid   side   mean")
    for name, sides in played.items():
        print(f"{name:<12}" + "".join(f"{value:7.1f}" for value in mean_sides_distance(recording, sides, rate)))


if __name__ == "__main__":
    main()
