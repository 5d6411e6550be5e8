"""Speeds before and after: what a commit and the checkout take for the same work, in turns on this machine.

`both_trees.py COMMIT` runs commands with both, and the benches of engines that both have, each against its own floor.
"""

import argparse
import os
import re
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import soundfile
from same_bytes import RATE, checkout, inputs, tree, tune

ROUNDS = 5
BENCHES = ("engine", "grain", "clip", "stream", "startup", "offline", "process", "training")
TURNS = 3  # of each bench
# A row of a bench: its name, and its time as a multiple of the bare work's, or its speed as a share of it.
ROW = re.compile(
    r"(?P<name>.+?)(?:: | {2,}| +(?=[\d.]+ )).*?(?:(?P<times>[\d.]+) x (?:floor|bare)|(?P<share>[\d.]+) of it)"
)
WORSE = 1.05  # what no median may be


def commands(shared: Path, out: Path) -> dict[str, list[str]]:
    """Return the commands to run, by name."""
    long = str(shared / "long.mid")
    found = {"start": ["presets"]}
    for name in ("gm-keys", "gm-hall", "lakeside-soundscape"):
        found[f"render {name}"] = ["render", name, long, "-o", str(out / f"{name}.wav"), "--overwrite"]
    for phase in ("original", "own"):
        found[f"process, {phase} phase"] = [
            *("process", str(shared / "low.wav"), "--preset", "gm-keys", "--phase", phase),
            *("-o", str(out / f"{phase}.wav"), "--overwrite"),
        ]
    found["train, 80 steps"] = [
        *("train", "tuned-8", "--corpus", str(shared / "corpus"), "-o", "RUN", "--set", "training.steps=80"),
        *("--set", "frames.rows=20000"),
    ]
    return found


def tones(folder: Path) -> Path:
    """Write a scale of harmonic tones to train on; returns the folder."""
    folder.mkdir()
    times = np.arange(RATE) / RATE
    for note in range(57, 69):
        hz = 440 * 2 ** ((note - 69) / 12)
        tone = sum(0.6**k * np.sin(2 * np.pi * k * hz * times) for k in range(1, 20))
        soundfile.write(folder / f"{note}.wav", 0.2 * tone, RATE)
    return folder


def seconds(package: Path, out: Path, arguments: list[str], number: int) -> float:
    """Return how long a command takes with the package in a folder."""
    environment = os.environ | {"PYTHONPATH": str(package)}
    environment.pop("PYTHONDONTWRITEBYTECODE", None)  # an installed package has its bytecode
    own = [str(out / f"run-{package.name}-{number}") if word == "RUN" else word for word in arguments]
    began = time.perf_counter()
    done = subprocess.run([sys.executable, "-m", "timbrel", *own], env=environment, cwd=out, capture_output=True)
    if done.returncode:
        sys.exit(f"{' '.join(own)}\n{done.stderr.decode()}")
    return time.perf_counter() - began


def against_floors(package: Path, bench: str) -> dict[str, float]:
    """Return what a bench of a tree prints, by row: times its floor; nothing where it does not run."""
    environment = os.environ | {"PYTHONPATH": str(package), "OMP_NUM_THREADS": "1"}
    script = package / "timbrel" / "tests" / "bench" / f"{bench}.py"
    done = subprocess.run([sys.executable, str(script)], env=environment, capture_output=True, text=True)
    if done.returncode:
        print(f"left out: {bench} does not run in {package} ({done.stderr.strip().splitlines()[-1]})")
        return {}
    found: dict[str, float] = {}
    for line in done.stdout.splitlines():
        if row := ROW.match(line):
            name = f"{bench}, row {len(found) + 1}: {row['name']}"
            found[name] = float(row["times"]) if row["times"] else 1 / float(row["share"])
    return found


def told(name: str, before: list[float], after: list[float], unit: str) -> bool:
    """Print a row; return whether its median is no worse than allowed."""
    ratio = statistics.median(b / a for a, b in zip(before, after, strict=True))
    medians = f"{statistics.median(before):8.2f} {statistics.median(after):8.2f} {unit}"
    print(f"{name:<70}{medians}   {ratio:5.2f}{'' if ratio <= WORSE else '   WORSE'}", flush=True)
    return ratio <= WORSE


def main() -> None:
    parser = argparse.ArgumentParser(description="Time a commit and the checkout side by side.")
    parser.add_argument("commit", help="the commit to compare with")
    parser.add_argument("benches", nargs="*", default=BENCHES, help=f"by default {' '.join(BENCHES)}")
    options = parser.parse_args()
    commit, fine = options.commit, []
    with tempfile.TemporaryDirectory() as name, tree(commit) as old, checkout() as new:
        shared, out = Path(name) / "shared", Path(name) / "out"
        shared.mkdir()
        out.mkdir()
        inputs(shared)
        tune(shared / "long.mid", 5, count=1200)
        seconds(old, out, [*("corpus", "build", str(tones(shared / "tones"))), "-o", str(shared / "corpus")], 0)
        print(f"{'':<70}  before    after     after / before, median of {ROUNDS} rounds")
        for what, arguments in commands(shared, out).items():
            rounds = [[seconds(tree, out, arguments, n) for tree in (old, new)] for n in range(-1, ROUNDS)][1:]
            fine.append(told(what, *map(list, zip(*rounds, strict=True)), "s"))
        for bench in options.benches:
            runs = [[against_floors(tree, bench) for tree in (old, new)] for _ in range(TURNS)]
            for row in runs[0][0].keys() & runs[0][1].keys():
                fine.append(told(row, *([pair[side][row] for pair in runs] for side in (0, 1)), "x floor"))
    sys.exit(not all(fine))


if __name__ == "__main__":
    main()
