"""Measures errors of the filters of stereo loops on recorded loops, and their effect on attacks.

    python tests/bench/loop_sides.py FOLDER

Each stereo sound of the folder is mixed to mono, and filtered with its own image. Printed are distances of the mean
spectra of left, right, mid and side, and their mean, in dB, as reports on textures have them; the mean error of 32
bands' correlations; the steepest twenty attacks: how much their level rises in 6 ms, in dB, in the mono mix and beyond
that in the recording and in ours; and a click's energy before it, in dB, and the milliseconds with 99 % of it.
"""

import argparse
from pathlib import Path

import numpy as np
from timbrel.export.fidelity.textures import mean_sides_distance
from timbrel.host.audio.sound_files import read_sound
from timbrel.host.engines.stream.side_filters import SideFilters
from timbrel.host.model.image import measured_image
from timbrel.train.corpus.mono_mix import mix_to_mono

ATTACKS, RISE_SECONDS, APART_SECONDS = 20, 0.006, 0.1


def rises_db(sides: np.ndarray, rate: int) -> np.ndarray:
    """Level of the 6 ms after each sample over that of the 6 ms before, both sides' power, [samples]."""
    span = round(RISE_SECONDS * rate)
    sums = np.concatenate([[0.0], np.cumsum(np.square(sides, dtype=np.float64).sum(0))])
    powers = sums[span:] - sums[:-span] + 1e-6 * sums[-1] / len(sums) * span
    return 10 * np.log10(powers[span:] / powers[:-span])


def steepest(rises: np.ndarray, rate: int) -> list[int]:
    """Samples of the steepest rises, a tenth of a second and more from each other."""
    samples, remaining = [], rises.copy()
    for _ in range(ATTACKS):
        samples.append(int(remaining.argmax()))
        near = round(APART_SECONDS * rate)
        remaining[max(0, samples[-1] - near) : samples[-1] + near] = -np.inf
    return [sample for sample in samples if rises[sample] > 6]


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", type=Path)
    print(f"{'':<24}  left right   mid  side  mean  corr.  attack recorded  ours  before 99 %, ms")
    rows = []
    for path in sorted(parser.parse_args().folder.iterdir()):
        recording, rate = read_sound(path)
        if len(recording) != 2:
            continue
        image, mix = measured_image(recording, rate), mix_to_mono(recording, rate)
        filters = SideFilters(image, 1.0, rate)
        sides = filters(mix)
        correlation_error = np.abs(measured_image(sides, rate) - image)[:, 1].mean()
        mono_rises, recorded_rises, our_rises = (rises_db(sound, rate) for sound in (mix[np.newaxis], recording, sides))
        attacks = steepest(mono_rises, rate)
        rises = [mono_rises[attacks].mean(), *((r - mono_rises)[attacks].mean() for r in (recorded_rises, our_rises))]
        click = np.zeros(rate // 4, np.float32)
        click[rate // 8] = 1.0
        energy = np.cumsum(np.square(filters(click), dtype=np.float64).sum(0))
        before_db = 10 * np.log10(energy[rate // 8 - 1] / energy[-1] + 1e-15)
        most_ms = 1000 * (np.searchsorted(energy, 0.99 * energy[-1]) - rate // 8) / rate
        rows.append([*mean_sides_distance(recording, sides, rate), correlation_error, *rises, before_db, most_ms])
        print(f"{path.stem:<24}" + line(rows[-1]))
    print(f"{'mean':<24}" + line(np.mean(rows, axis=0)))


def line(row: list[float]) -> str:
    return "{:6.1f}{:6.1f}{:6.1f}{:6.1f}{:6.1f}{:7.3f}{:8.1f}{:9.1f}{:6.1f}{:8.0f}{:9.1f}".format(*row)


if __name__ == "__main__":
    main()
