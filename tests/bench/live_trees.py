"""Processor time of live playing, of a commit and of the checkout by turns: `live_trees.py COMMIT [--stress]`.

`timbrel play gm-chroma-8` over JACK's dummy driver at 48 kHz in blocks of 128, as its users start it: a held note, then
forty notes one after the other. The checkout plays them as it does, and without gestures and with phases of noise, the
sound of the first trees. Processor time is that of the command and all its processes. ``--stress`` plays beside a busy
process a processor; underruns are those that the command reports.
"""

import argparse
import contextlib
import os
import re
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from jack_rig import CARD, RATE, Rig, jack_server, may_hurry, need
from same_bytes import checkout, tree

MODEL, BLOCK = "gm-chroma-8", 128
FIRST_SOUND = f'format = 1\nmodel = "{MODEL}"\n[play]\nphase = "noise"\n[gesture]\namount = 0.0\n'
SETTLING_SECONDS = 3.0  # from the command's ports to its first note: libraries still load
HELD_SECONDS, NOTES, APART_SECONDS, LENGTH_SECONDS = 10.0, 40, 0.25, 0.2
TICK_SECONDS = 1 / os.sysconf("SC_CLK_TCK")


def events():
    """A key held, silence, and the notes: (frame, bytes) each."""
    yield 0, bytes([0x90, 60, 80])
    yield round(HELD_SECONDS * RATE), bytes([0x80, 60, 0])
    for note in range(NOTES):
        begins = HELD_SECONDS + 1 + note * APART_SECONDS
        key = 48 + 7 * note % 36
        yield round(begins * RATE), bytes([0x90, key, 80])
        yield round((begins + LENGTH_SECONDS) * RATE), bytes([0x80, key, 0])


def processes(parent):
    """Return the ids of a process and of all that it started, directly or not."""
    found = [parent]
    for one in found:
        for task in Path(f"/proc/{one}/task").glob("*/children"):
            found += map(int, task.read_text().split())
    return found


def processor_seconds(parent):
    """Return the processor time of a process and of all that it started, in seconds."""
    ticks = 0
    for one in processes(parent):
        fields = Path(f"/proc/{one}/stat").read_text().rpartition(")")[2].split()
        ticks += int(fields[11]) + int(fields[12])
    return ticks * TICK_SECONDS


def played(package, preset):
    """Return the processor time of a second of the held note and of the notes, in ms, and the underruns of both."""
    environment = os.environ | {"PYTHONPATH": str(package), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "timbrel", "play", preset, "--device", CARD, "--midi-api", "jack", "--plain"]
    first = SETTLING_SECONDS * RATE
    moved = [(round(first) + frame, data) for frame, data in events()]
    with (
        tempfile.TemporaryFile("w+") as told,
        Rig(moved) as rig,
        subprocess.Popen([*command, "--block", str(BLOCK)], stdout=told, stderr=told, env=environment) as play,
    ):
        try:
            rig.start("timbrel", "timbrel-midi-in")
            spent, underruns = [], []
            for seconds in (0, 0.5, HELD_SECONDS - 0.5, HELD_SECONDS + 1, HELD_SECONDS + 1 + NOTES * APART_SECONDS):
                rig.wait_for(first + seconds * RATE)
                spent.append(processor_seconds(play.pid))
                told.seek(0)
                underruns.append(int((re.findall(r"underruns (\d+)", told.read()) or ["0"])[-1]))
        finally:
            play.terminate()
    held = (spent[2] - spent[1]) / (HELD_SECONDS - 1)
    notes = (spent[4] - spent[3]) / (NOTES * APART_SECONDS)
    return 1000 * held, 1000 * notes, underruns[4] - underruns[0]


@contextlib.contextmanager
def busy(wanted):
    """One process a processor that never waits, if wanted."""
    started = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(wanted)]
    try:
        yield
    finally:
        for process in started:
            process.kill()
            process.wait()


def main():
    """Print both trees' figures and their ratios."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("commit", help="the commit to compare with")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--stress", action="store_true", help="beside one busy process a processor")
    asked = parser.parse_args()
    need("jackd", "jack_wait")
    took = []
    with (
        tree(asked.commit) as old,
        checkout() as new,
        tempfile.TemporaryDirectory() as folder,
        jack_server(BLOCK, may_hurry()),
        busy(len(os.sched_getaffinity(0)) if asked.stress else 0),
    ):
        first = Path(folder, "first.toml")
        first.write_text(FIRST_SOUND, encoding="utf-8")
        sides = {"commit": (old, MODEL), "its sound now": (new, str(first)), "now": (new, MODEL)}
        for _ in range(asked.rounds):
            took.append([])
            for package, preset in sides.values():
                took[-1].append(played(package, preset))
                time.sleep(2)  # a server that has just lost a client lets the next one wait
    print(f"{'':<16}held note, ms/s    ratio   {NOTES} notes, ms/s    ratio   underruns")
    for side, name in enumerate(sides):
        held, notes, underruns = zip(*(one[side] for one in took), strict=True)
        ratios = [statistics.median(one[side][part] / one[0][part] for one in took) for part in (0, 1)]
        row = f"{statistics.median(held):15.0f}{ratios[0]:9.2f}{statistics.median(notes):18.0f}{ratios[1]:9.2f}"
        print(f"{name:<16}{row}   {list(underruns)}")


if __name__ == "__main__":
    main()
