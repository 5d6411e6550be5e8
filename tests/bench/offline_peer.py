"""Offline beside FluidSynth: both write the same minute of eight voices to a file, in turns.

`offline_peer.py [--preset gm-keys] [--rounds 5] [--knobs]`. With `--knobs`, eight controllers move 50 times a second
each. Each round runs the whole commands: on one processor, where processor time counts, and on all, where time counts.
A file of one short note gives the time of the start, of the interpreter or of the soundfont, which is taken off.
FluidSynth plays with its reverb and chorus, as it does by itself, and without.
"""

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import mido
import numpy as np
from jack_rig import need
from peer import CONTROL, KNOBS, OFF, ON, PROGRAM, SOUNDFONT

SECONDS, VOICES, RATE = 60, 8, 48000
TICKS = 960  # a second: mido's 480 a beat, at its 120 beats a minute


def write_midi(path, seconds, has_knobs=False):
    """Eight voices, each of which takes another key every second."""
    events = [(0, [0xC0, PROGRAM])]
    for voice in range(VOICES if seconds > 1 else 1):
        for turn in range(max(1, round(seconds))):
            key, begin = 48 + (7 * voice + 3 * turn) % 36, turn * TICKS + voice * TICKS // VOICES
            end = min(round(seconds * TICKS), begin + TICKS)
            events += [(begin, [ON, key, 100]), (end, [OFF, key, 0])]
    for turn in range(round(seconds * 50) if has_knobs else 0):
        for place, number in enumerate(KNOBS):
            value = round(63.5 + 63.5 * np.sin(turn / 50 * (1 + place / 3)))
            events.append((turn * TICKS // 50, [CONTROL, number, value]))
    track, now = mido.MidiTrack(), 0
    for tick, data in sorted(events):
        track.append(mido.Message.from_bytes(data).copy(time=tick - now))
        now = tick
    file = mido.MidiFile(ticks_per_beat=TICKS // 2)
    file.tracks.append(track)
    file.save(path)


def commands(preset, midi, sound):
    fluidsynth = ["fluidsynth", "-ni", "-g", "0.5", "-r", str(RATE), "-F", sound]
    return {
        "fluidsynth": [*fluidsynth, SOUNDFONT, midi],
        "without effects": [*fluidsynth, "-R", "0", "-C", "0", SOUNDFONT, midi],
        "timbrel": [sys.executable, "-m", "timbrel", "render", preset, midi, "-o", sound, "--overwrite"],
    }


def seconds_of(command, processors):
    """Run a command on some processors; return the seconds that it took, and those of the processor."""
    began, before = time.perf_counter(), os.times()
    subprocess.run(
        command,
        check=True,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        preexec_fn=lambda: os.sched_setaffinity(0, processors),
    )
    after = os.times()
    used = after.children_user + after.children_system - before.children_user - before.children_system
    return time.perf_counter() - began, used


def main():
    parser = argparse.ArgumentParser(description="timbrel beside FluidSynth, offline.")
    parser.add_argument("--preset", default="gm-keys")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--knobs", action="store_true")
    options = parser.parse_args()
    need("fluidsynth")
    if not Path(SOUNDFONT).exists():
        print(f"left out: {SOUNDFONT} is missing; install fluid-soundfont-gm")
        return
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)  # an interpreter that compiles at each start is nobody's
    every = os.sched_getaffinity(0)
    one = {min(every)}
    with tempfile.TemporaryDirectory() as folder:
        sound, whole, short = f"{folder}/sound.wav", f"{folder}/whole.mid", f"{folder}/short.mid"
        write_midi(whole, SECONDS, options.knobs)
        write_midi(short, 0.1)
        rows = {name: [] for name in commands("", "", "")}
        for turn in range(-1, options.rounds):
            for name in rows:
                words, start = (commands(options.preset, midi, sound)[name] for midi in (whole, short))
                row = [seconds_of(words, one)[1], seconds_of(start, one)[1]]
                row += [seconds_of(words, every)[0], seconds_of(start, every)[0]]
                if turn >= 0:
                    rows[name].append(row)
    print(f"{options.preset}, {SECONDS} s of {VOICES} voices, medians of {options.rounds} rounds, times real time")
    print(f"{'':<16}  one processor  less its start  {len(every)} processors  less their start")
    for name, row in rows.items():
        used, used_at_start, waited, waited_at_start = (statistics.median(each) for each in zip(*row, strict=True))
        figures = [used, used - used_at_start, waited, waited - waited_at_start]
        print(f"{name:<16}" + "".join(f"{SECONDS / each:15.0f}" for each in figures))


if __name__ == "__main__":
    main()
