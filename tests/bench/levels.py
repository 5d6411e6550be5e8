"""Prints how loud instruments are as they play: the shipped presets, and those given, presets or folders of `make`.

    python tests/bench/levels.py [INSTRUMENT...]

Loudness (ITU-R BS.1770) is that of the kind's demo at velocity 100 and at 32; peaks are the highest of a single key at
velocity 127. All are taken before the limiter. Of presets with pitched keys every fourth key from 24 to 108 is tried.
"""

import sys

from timbrel.export.first_preset import demo_loudness_lufs, keys_of, peaks_dbfs
from timbrel.host.preset.library import Patch, open_patch
from timbrel.host.preset.shipped import shipped_presets

EVERY = range(24, 109, 4)


def peak_of(patch: Patch) -> tuple[int, float]:
    """The key that peaks highest at full velocity, and its peak in dBFS."""
    pitched = not patch.preset.keys and keys_of(patch)
    return max(peaks_dbfs(patch, EVERY if pitched else ()).items(), key=lambda entry: entry[1])


def main(given: list[str]) -> None:
    """Print a line for each instrument, and the spread of all."""
    found = []
    for name in [*shipped_presets(), *given]:
        patch = open_patch(name)
        loud, soft, (key, peak) = demo_loudness_lufs(patch), demo_loudness_lufs(patch, 32), peak_of(patch)
        found.append((loud, peak))
        print(
            f"{name:20} {loud:7.2f} LUFS at velocity 100  {soft:7.2f} at 32  single key {peak:6.2f} dBFS (key {key})",
            flush=True,
        )
    levels, peaks = zip(*found, strict=True)
    print(f"spread {max(levels) - min(levels):.2f} LU, highest single key {max(peaks):.2f} dBFS")


main(sys.argv[1:])
