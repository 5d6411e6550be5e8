"""Live beside FluidSynth: both play the same events over JACK, in turns; gaps, onsets, processor time, memory.

`peer.py [--preset NAME] [--held 16] [--period 128] [--seconds 60] [--pairs 5] [--busy N]`. Chords of half as many notes
as are held, alone; then these are held (struck again every 15 s) while eight controllers move 50 times a second each,
with chords over them. A gap is whole periods of zeros while voices are held, outside periods that JACK lost; so is the
silence of a sound that ends and begins at a period's edge. Pairs in which FluidSynth gaps are repeated once.
"""

import argparse
import os
import random
import re
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import psutil
from jack_rig import RATE, Rig, jack_server, may_hurry, need
from scipy.signal import butter, sosfilt

SOUNDFONT = "/usr/share/sounds/sf2/FluidR3_GM.sf2"
PROGRAM = 4  # FluidR3's electric piano
HELD = [28, 31, 33, 35, 36, 38, 40, 41, 43, 45, 47, 48, 50, 52, 53, 55]
MOST_HELD = len(HELD)
KNOBS = range(70, 78)
STRUCK_AGAIN = 15 * RATE  # samples: FluidSynth's held notes die away, and silence counts as a gap
SETTLING_SECONDS = 4.0
ON, OFF, CONTROL, CHANGE = 0x90, 0x80, 0xB0, 0xC0


class Performance:
    """``events``: (frame, bytes); ``chords``: (frame, over held notes); ``held``: the frames of the held notes."""

    def __init__(self, seconds, seed, held=MOST_HELD):
        rng, keys = random.Random(seed), HELD[MOST_HELD - held :]
        self.events, self.chords = [(10, bytes([CHANGE, PROGRAM]))], []
        frame, end = RATE // 2, round(seconds * RATE)
        while frame < end // 4:
            self._chord(frame + rng.randrange(2048), rng.sample(range(60, 96), held // 2), RATE // 8, over_held=False)
            frame += round(0.6 * RATE)
        for number, key in enumerate(keys):
            for begin in range(frame + 1200 * number, end - RATE // 2, STRUCK_AGAIN):
                self._note(begin, key, 70, min(begin + STRUCK_AGAIN, end - RATE // 2))
        frame += RATE
        self.held = range(frame, end - RATE // 2)
        for turn, moment in enumerate(range(frame, end - RATE, RATE // 50)):
            for place, number in enumerate(KNOBS):
                phase = 2 * np.pi * (moment - frame) / RATE * (0.3 + 0.1 * place)
                value = round(64 + 60 * np.sin(phase))
                self.events.append((moment + 7 * place, bytes([CONTROL, number, value])))
            if turn % 20 == 12:
                self._chord(
                    moment + rng.randrange(900), rng.sample(range(84, 104), held // 2), RATE // 10, over_held=True
                )
        self.events.sort(key=lambda event: event[0])

    def _chord(self, frame, keys, length, over_held):
        self.chords.append((frame, over_held))
        for key in keys:
            self._note(frame, key, 110, frame + length)

    def _note(self, frame, key, velocity, end):
        self.events += [(frame, bytes([ON, key, velocity])), (end, bytes([OFF, key, 0]))]


def command(synth, preset, period, held=MOST_HELD):
    if synth == "fluidsynth":
        return [
            *("fluidsynth", "-i", "-s", "-a", "jack", "-m", "jack", "-R", "0", "-C", "0", "-r", str(RATE), "-g", "0.5"),
            *(
                "-o",
                "midi.autoconnect=0",
                "-o",
                "audio.jack.autoconnect=0",
                "-o",
                f"audio.period-size={period}",
                SOUNDFONT,
            ),
        ]
    play = ["play", preset, "--device", "system (JACK", "--block", str(period), "--plain", "--voices", str(2 * held)]
    return [sys.executable, "-m", "timbrel", *play]


def family(process):
    """A process and its descendants that live."""
    return [one for one in (process, *process.children(recursive=True)) if one.is_running()]


def processor_seconds(process):
    return sum(sum(one.cpu_times()[:2]) for one in family(process))


def played(synth, options, seed):
    """A synth's row: gaps and more, by name."""
    performance = Performance(options.seconds, seed, options.held)
    with tempfile.TemporaryDirectory() as folder, jack_server(options.period, realtime=may_hurry()):
        log = Path(folder) / "log"
        with log.open("w") as output, Rig(performance.events, options.seconds) as rig:
            client = f"{synth}[^:]*"  # FluidSynth names its client after its MIDI driver
            words = command(synth, options.preset, options.period, options.held)
            program = subprocess.Popen(words, stdin=subprocess.DEVNULL, stdout=output, stderr=output, cwd=folder)
            busy = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(options.busy)]
            try:
                rig.ports(client, is_audio=True, is_output=True)
                rig.ports(client, is_midi=True, is_input=True)
                time.sleep(SETTLING_SECONDS)
                process = psutil.Process(program.pid)
                rig.start(client, client)
                before, began = processor_seconds(process), time.monotonic()
                rig.wait_for(len(rig.sound))
                used = (processor_seconds(process) - before) / (time.monotonic() - began) * 60
                memory = sum(one.memory_full_info().pss for one in family(process)) / 1e6
            finally:
                program.send_signal(signal.SIGTERM if synth == "fluidsynth" else signal.SIGINT)
                try:
                    program.wait(10)
                except subprocess.TimeoutExpired:
                    program.kill()
                for each in busy:
                    each.kill()
                    each.wait()
        shed = re.findall(r"shed (\d+)", log.read_text())
        row = measured(rig, performance, options.period) | {"processor": used, "memory": memory}
        return row | {"shed": float(shed[-1]) if shed else 0.0}


def measured(rig, performance, period):
    sound, lost = rig.sound, np.zeros(len(rig.sound), bool)
    for begin, end in rig.lost:
        lost[begin:end] = True
    high = sosfilt(butter(4, 900, "high", fs=RATE, output="sos"), sound)
    onsets = {False: [], True: []}
    for frame, over_held in performance.chords:
        if lost[max(0, frame - 300) : frame + 1500].any():
            continue
        heard = np.abs(high if over_held else sound)
        loud = np.flatnonzero(heard[frame : frame + 6000] > max(3 * heard[max(0, frame - 400) : frame].max(), 2e-4))
        onsets[over_held].append(loud[0] if len(loud) else 6000)
    part = slice(performance.held.start, performance.held.stop)
    silent = np.concatenate([[False], (sound[part] == 0) & ~lost[part], [False]])
    edges = np.flatnonzero(np.diff(silent.astype(int)))
    starts, ends = edges[::2] + part.start, edges[1::2] + part.start
    # A card that gets no sound plays whole periods of silence; that of sounds which end seldom begins and ends so.
    gaps = [end - start for start, end in zip(starts, ends, strict=True) if start % period == 0 and end % period == 0]
    over = onsets[True]
    return {
        "gaps": float(len(gaps)),
        "gap_ms": sum(gaps) * 1000 / RATE,
        "alone": statistics.median(onsets[False]),
        "over": statistics.median(over),
        "spread": max(over) - statistics.median(over),
        "lost": float(len(rig.lost)),
    }


COLUMNS = {
    "gaps": "gaps",
    "gap_ms": "ms silent",
    "shed": "shed",
    "alone": "onset, alone",
    "over": "over held",
    "spread": "spread",
    "processor": "processor s / min",
    "memory": "PSS MB",
    "lost": "lost by JACK",
}


def line(name, row):
    return f"{name:<12}" + "  ".join(f"{row[key]:>{len(words) + 1}.1f}" for key, words in COLUMNS.items())


def main():
    parser = argparse.ArgumentParser(description="timbrel beside FluidSynth, over JACK.")
    parser.add_argument("--preset", default="gm-keys")
    parser.add_argument("--held", type=int, default=MOST_HELD, choices=range(2, MOST_HELD + 1), metavar="N")
    parser.add_argument("--period", type=int, default=128)
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--pairs", type=int, default=5)
    parser.add_argument("--busy", type=int, default=0)
    options = parser.parse_args()
    need("jackd", "jack_wait", "fluidsynth")
    if not Path(SOUNDFONT).exists():
        print(f"left out: {SOUNDFONT} is missing; install fluid-soundfont-gm")
        return
    os.environ["OMP_NUM_THREADS"] = "1"
    print(
        f"{options.preset}, periods of {options.period}, {options.pairs} pairs of {options.seconds:g} s, beside",
        end=" ",
    )
    print(
        f"{options.busy} busy processes\n{'':<12}"
        + "  ".join(f"{words:>{len(words) + 1}}" for words in COLUMNS.values())
    )
    rows = {"fluidsynth": [], "timbrel": []}
    for pair in range(options.pairs):
        peer = played("fluidsynth", options, pair + 1)
        if peer["gaps"]:
            peer = played("fluidsynth", options, pair + 1)
        for name, row in (("fluidsynth", peer), ("timbrel", played("timbrel", options, pair + 1))):
            rows[name].append(row)
            print(line(name, row), flush=True)
    medians = {
        name: {key: statistics.median(row[key] for row in some) for key in COLUMNS} for name, some in rows.items()
    }
    for name, row in medians.items():
        print(line(f"{name[:5]}, median"[:12], row))
    times = medians["timbrel"]["processor"] / max(medians["fluidsynth"]["processor"], 0.1)
    print(f"processor time: {times:.1f} times FluidSynth's")


if __name__ == "__main__":
    main()
