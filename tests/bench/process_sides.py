"""Measures errors of the sides of sounds through models: level differences and correlations by band, beside the input.

`process_sides.py SOUND.wav …` takes stereo sounds. The first row is a mono output. Sounds are not bent.
"""

import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import soundfile
from timbrel.host.signal import stft
from timbrel.host.spectra import mel_triangles

FRAME, BANDS = 4096, 32
AUDIBLE = 1e-5  # of the power of the strongest band
PRESETS = {
    "gm-chroma-8, original phases": ["--preset", "gm-chroma-8"],
    "gm-chroma-8, own phases": ["--preset", "gm-chroma-8", "--phase", "own"],
    "gm-partials-8, original phases": ["--preset", "gm-partials-8"],
    "lakeside-10": ["--preset", "lakeside-10"],
}


def by_band(sides, rate):
    """Level of the left over the right side in dB, correlation and power, [bands] each."""
    left, right = (stft(np.ascontiguousarray(side, np.float32), FRAME, FRAME // 4) for side in sides)
    products = (left * left.conj(), right * right.conj(), left * right.conj())
    left_power, right_power, cross_power = (
        product.real.sum(0) @ mel_triangles(rate, FRAME, BANDS).T for product in products
    )
    levels_db = 10 * np.log10(np.maximum(left_power, 1e-20) / np.maximum(right_power, 1e-20))
    correlations = cross_power / np.sqrt(np.maximum(left_power * right_power, 1e-20))
    return levels_db, correlations, left_power + right_power


def tell(name, given, found, rate):
    (levels, correlations, power), (found_levels, found_correlations, _) = by_band(given, rate), by_band(found, rate)
    audible = power > AUDIBLE * power.max()
    level_error = np.abs(levels - found_levels)[audible].mean()
    correlation_error = np.abs(correlations - found_correlations)[audible].mean()
    print(f"  {name:<32} {level_error:5.2f} dB   {correlation_error:5.3f}")


def main():
    for path in sys.argv[1:]:
        samples, rate = soundfile.read(path, dtype="float32")
        print(f"{path}: mean error of levels, of correlations")
        tell("the mean of both sides", samples.T, np.tile(samples.mean(1), (2, 1)), rate)
        with tempfile.TemporaryDirectory() as folder:
            for name, options in PRESETS.items():
                output = Path(folder) / "output.wav"
                command = [sys.executable, "-m", "timbrel", "process", path, "-o", output, "--overwrite", *options]
                subprocess.run(command, check=True, capture_output=True)
                tell(name, samples.T, soundfile.read(output, dtype="float32")[0].T[:, : len(samples)], rate)


if __name__ == "__main__":
    main()
