"""Processor time of many voices and of chords, of a commit and of the checkout by turns: `voices.py COMMIT`.

gm-keys at 48 kHz in blocks of 128: 64 voices held while all knobs move, and the two blocks where a chord of 8 begins
(a short block begins four notes), of 16 voices. Each run has a process of its own, by the script of its own commit.
"""

import argparse
import gc
import os
import statistics
import subprocess
import sys
import time

import numpy as np
from same_bytes import checkout, tree
from timbrel.host.events import ControlChange, NoteOff, NoteOn
from timbrel.host.play.player import Player
from timbrel.host.play.rack import Rack
from timbrel.host.preset.library import open_patch

RATE, BLOCK, ROUNDS = 48000, 128, 5
MANY, FEW = 64, 16  # voices
BLOCKS, CHORDS = 500, 60
APART = 108  # blocks from chord to chord
SETTLING = 4  # chords that do not count


def player(voices):
    """A player of gm-keys, and its knobs' controllers."""
    patch = open_patch("gm-keys")
    vars(patch.preset.play)["voices"] = voices
    return Player(Rack({0: patch}, RATE), RATE), list(patch.preset.knobs)


def make(player, blocks):
    """Make blocks; returns the processor time of each, in ms."""
    took = []
    for _ in range(blocks):
        began = time.thread_time()
        player.block(BLOCK)
        player.prepare()
        took.append(1000 * (time.thread_time() - began))
    return took


def many_voices():
    """Milliseconds a block of `MANY` voices."""
    played, knobs = player(MANY)
    for number in range(MANY):
        played.schedule(NoteOn(2 * BLOCK * number, 0, 24 + number, 100))
    make(played, 2 * MANY + 375)
    took = []
    for block in range(BLOCKS):
        for place, number in enumerate(knobs):
            played.schedule(ControlChange(played.now, 0, number, (3 * block + 17 * place) % 128))
        took += make(played, 1)
    assert played.sounding == MANY
    return statistics.mean(took)


def chords():
    """Milliseconds of the blocks where a chord of eight begins."""
    played, _ = player(FEW)
    rng, held, took = np.random.default_rng(1), [], []
    make(played, 1125)
    for _ in range(CHORDS):
        for key in held:
            played.schedule(NoteOff(played.now, 0, key))
        held = rng.choice(np.arange(36, 88), 8, replace=False).tolist()
        for key in held:
            played.schedule(NoteOn(played.now, 0, key, int(rng.integers(40, 121))))
        took.append(sum(make(played, 2)))
        make(played, APART)
    return statistics.median(took[SETTLING:])


def measured(package):
    """The two figures with the package in a folder, by its own script: names of modules change."""
    environment = os.environ | {"PYTHONPATH": str(package), "OMP_NUM_THREADS": "1"}
    found = subprocess.run(
        [sys.executable, package / "timbrel/tests/bench/voices.py", "--here"],
        env=environment,
        capture_output=True,
        text=True,
        check=True,
    )
    return [float(word) for word in found.stdout.split()]


def main():
    """Print both trees' figures and their ratios."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("commit", nargs="?", help="the commit to compare with")
    parser.add_argument("--here", action="store_true", help="print the figures of the package on the path alone")
    options = parser.parse_args()
    if options.here:
        gc.disable()
        print(many_voices(), chords())
        return
    if options.commit is None:
        parser.error("name a commit to compare with")
    with tree(options.commit) as old, checkout() as new:
        rounds = [[measured(package) for package in (old, new)] for _ in range(ROUNDS)]
    for place, name in enumerate((f"{MANY} voices, knobs moving, a block", "a chord of 8 begins")):
        before, after = ([one[side][place] for one in rounds] for side in (0, 1))
        ratio = statistics.median(b / a for a, b in zip(before, after, strict=True))
        print(f"{name:<36}{statistics.median(before):6.2f} {statistics.median(after):6.2f} ms   ratio {ratio:.2f}")


if __name__ == "__main__":
    main()
