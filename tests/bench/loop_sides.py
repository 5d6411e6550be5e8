"""Measures errors of the filters of stereo loops on recorded loops, and their effect on attacks.

    python tests/bench/loop_sides.py FOLDER

Each stereo sound of the folder is mixed to mono, and filtered with its own image. Printed are distances of the mean
spectra of left, right, mid and side, and their mean, in dB, as reports on textures have them; the mean error of 32
bands' correlations; the steepest twenty attacks: how much their level rises in 6 ms, in dB, in the mono mix and beyond
that in the recording and in ours; and a click's energy before it, in dB, and the milliseconds with 99 % of it. Then the
lowest level of the side at joins of steady noise, in dB of that elsewhere: with filters that begin in silence at each
slice, and as loops play it.
"""

import argparse
from pathlib import Path

import numpy as np
from timbrel.export.fidelity.textures import mean_sides_distance
from timbrel.host.audio.mono_mix import mix_to_mono
from timbrel.host.audio.sound_files import read_sound
from timbrel.host.engines.stream.side_filters import SideFilters
from timbrel.host.model.image import measured_image

ATTACKS, RISE_SECONDS, APART_SECONDS = 20, 0.006, 0.1
RATE, JOINS, BIN = 44100, 1500, 44  # bins of a millisecond


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


def dip_db(remembers: bool) -> float:
    """Lowest level of the side, in milliseconds around the joins of slices of noise, in dB of its level elsewhere."""
    slice_length, fade = RATE // 8, 512  # of sixteenths at 120 beats a minute
    rng, filters = np.random.default_rng(0), SideFilters(np.tile([0.0, 0.0], (32, 1)), 1.0, RATE)
    fade_in = np.sin(np.pi / 2 * (np.arange(fade) + 0.5) / fade)
    powers, last, last_side = np.zeros(slice_length), np.zeros(slice_length + fade), np.zeros(slice_length + fade)
    for _ in range(JOINS):
        mono = rng.standard_normal(slice_length + fade).astype(np.float32)
        left, right = filters(mono, last[:slice_length].astype(np.float32) if remembers else None)
        side = (left - right) * np.sqrt(0.5)
        joined = side[:slice_length].copy()
        joined[:fade] = joined[:fade] * fade_in + last_side[slice_length:] * fade_in[::-1]
        powers, last, last_side = powers + np.square(joined), mono, side
    levels = 10 * np.log10(powers[: slice_length // BIN * BIN].reshape(-1, BIN).mean(1))
    return float(levels[: 2 * fade // BIN].min() - 10 * np.log10(powers[slice_length // 2 :].mean()))


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
    print(f"side at joins of noise, dB: {dip_db(False):.1f} from silence, {dip_db(True):.1f} as played")


def line(row: list[float]) -> str:
    return "{:6.1f}{:6.1f}{:6.1f}{:6.1f}{:6.1f}{:7.3f}{:8.1f}{:9.1f}{:6.1f}{:8.0f}{:9.1f}".format(*row)


if __name__ == "__main__":
    main()
