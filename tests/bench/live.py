"""Live playing over JACK's dummy driver: load, voices that hold, block sizes, the start, memory, and rest.

Everything goes the way of `timbrel play`: MIDI by JACK into the process that sounds, sound back into JACK. All knobs
move all the time.
"""

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from statistics import median

import numpy as np
import psutil
from jack_rig import CARD, RATE, Rig, Sounding, Stalls, beside, in_words, jack_server, may_hurry, moving_knobs, need
from timbrel.host.session.messages import Setup

MODEL = "gm-partials-8"
BLOCK, VOICES = 128, 16
SWEEP = (32, 64, 128, 256, 512, 1024, 2048)
COUNTS = (16, 24, 32, 40, 48, 56, 64)
TRIES = 2  # of a number of voices: a busy machine drops a block of its own accord
LOWEST_KEY = 36
KEY_SAMPLES = 480  # between the keys that are pressed first
BRIEF_SECONDS = 5.0
SETTLING_SECONDS = 1.0  # after the last key, before anything counts
STARTS = 9
IDLE_SECONDS = 15.0
IDLE_BLOCKS = (128, 256)
LOADING_SECONDS = 15.0  # of a command, until it rests; on a busy machine
PEERS = {"FluidSynth": ["fluidsynth", "-a", "jack", "-m", "jack", "-r", str(RATE), "-s", "-i"]}
BARE = "jack_simple_client"  # sends a tone and does nothing else: the least that JACK asks of a client
REST_SECONDS = 3.0  # between starts: a server that has just lost a client lets the next one wait half a second


@dataclass
class Held:
    """What holding keys took: the load of each block, what was missed, and memory in MB before and after."""

    load: np.ndarray
    underruns: int
    given_up: int
    memory: tuple[dict[str, float], dict[str, float]]

    @property
    def holds(self):
        return self.underruns == self.given_up == 0


def preset_of(model, phase, folder):
    """The path of a preset of a model, with a phase if it has spectra."""
    path = Path(folder, "preset.toml")
    play = "" if phase is None else f'[play]\nphase = "{phase}"\n'
    path.write_text(f'format = 1\nmodel = "{model}"\n{play}', encoding="utf-8")
    return str(path)


def held(block, voices, seconds, folder, preset):
    """Hold keys while knobs move, on a server that runs; print a line of it."""
    keys = [(RATE // 10 + KEY_SAMPLES * n, bytes([0x90, LOWEST_KEY + n, 80])) for n in range(voices)]
    settling = SETTLING_SECONDS + keys[-1][0] / RATE
    setup = Setup(
        preset=preset,
        device=CARD,
        block=block,
        voices=voices,
        midi_ports=("virtual",),
        midi_api="jack",
    )
    sounding, stalls = Sounding(setup, folder), Stalls(block / RATE)
    with Rig([*keys, *moving_knobs(RATE // 10, settling + seconds)]) as rig:
        rig.start("timbrel", "timbrel-midi-in")
        missed, early, xruns = sounding.watch(settling).underruns, sounding.memory(), rig.xruns
        told = len(sounding.missed)
        report = sounding.watch(seconds)
        late, xruns = sounding.memory(), rig.xruns - xruns
        load = sounding.end()[-round(seconds * RATE / block) :]
    stood = stalls.end()
    excused = beside(sounding.missed[told:], stood)
    done = Held(load, report.underruns - missed, report.shed, (early, late))
    p50, p99, p999 = np.percentile(load, (50, 99, 99.9))
    print(
        f"blocks of {block:<5}{voices:>3} voices {seconds:5g} s   load p50 {p50:4.0%}  p99 {p99:4.0%}  "
        f"p99.9 {p999:4.0%}  mean {load.mean():4.0%}   underruns {done.underruns}, "
        f"{in_words(done.underruns, excused, len(stood), may_hurry())}  given up {done.given_up}  JACK's xruns {xruns}",
        flush=True,
    )
    return done


def start(model):
    """Seconds from the command to the first sound of a key that is pressed again and again, on a server that runs."""
    time.sleep(REST_SECONDS)
    with Rig([(frame, bytes([0x90, 60, 100])) for frame in range(0, 10 * RATE, RATE // 50)]) as rig:
        began = time.perf_counter()
        command = [sys.executable, "-m", "timbrel", "play", model, "--device", CARD, "--midi-api", "jack", "--plain"]
        # Libraries are compiled when they are installed, and timbrel is when it first runs.
        compiling = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
        with subprocess.Popen(command, stdout=subprocess.DEVNULL, env=compiling) as play:
            try:
                rig.start("timbrel", "timbrel-midi-in")
                while rig.heard is None:
                    time.sleep(0.005)
                return rig.heard - began
            finally:
                play.terminate()


def processor_share(command):
    """Shares of a core that an unplayed command and its JACK server take, on a server that runs."""
    time.sleep(REST_SECONDS)
    [server] = [process for process in psutil.Process().children() if process.name() == "jackd"]
    quiet = {"stdin": subprocess.DEVNULL, "stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    with subprocess.Popen(command, **quiet) as started:
        time.sleep(LOADING_SECONDS)
        client = psutil.Process(started.pid)
        groups = [[client, *client.children(recursive=True)], [server]]

        def used():
            times = [[process.cpu_times() for process in group] for group in groups]
            return np.array([sum(one.user + one.system for one in group) for group in times])

        before = used()
        time.sleep(IDLE_SECONDS)
        shares = (used() - before) / IDLE_SECONDS
        started.terminate()
    return shares


def idle(model):
    """Print the processor time of an idle instrument, beside a bare client and others, for some block sizes."""
    ours = [sys.executable, "-m", "timbrel", "play", model, "--device", "JACK", "--midi-api", "jack", "--plain"]
    for block in IDLE_BLOCKS:
        commands = {"bare client": [BARE], "timbrel": [*ours, "--block", str(block)], **PEERS}
        with jack_server(block, may_hurry()):
            for name, command in commands.items():
                if shutil.which(command[0]) is None:
                    print(f"left out: {command[0]} is missing")
                    continue
                client, server = processor_share(command)
                print(f"idle, blocks of {block:<5}{name:<12} {client:.3f} of a core, and {server:.3f} of JACK's server")


def most_voices(seconds, folder, preset):
    """The largest of `COUNTS` that holds, as do all smaller ones, each in one of `TRIES`."""
    most = 0
    for voices in COUNTS:
        if not any(held(BLOCK, voices, seconds, folder, preset).holds for _ in range(TRIES)):
            break
        most = voices
    return most


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=40.0, help=f"of 16 voices; other runs take {BRIEF_SECONDS:g}")
    parser.add_argument("--model", default=MODEL)
    parser.add_argument("--idle", action="store_true", help="measure an idle instrument alone")
    parser.add_argument("--phase", choices=("coherent", "noise"), help="of a model of spectra")
    asked = parser.parse_args()
    seconds = asked.seconds
    need("jackd", "jack_wait")
    idle(asked.model)
    if asked.idle:
        return
    with tempfile.TemporaryDirectory() as folder:
        preset = preset_of(asked.model, asked.phase, folder)
        with jack_server(BLOCK, may_hurry()):
            done = held(BLOCK, VOICES, seconds, folder, preset)
            for when, memory in zip(("before", "after"), done.memory, strict=True):
                print(f"memory {when}: " + "  ".join(f"{kind} {size:.0f} MB" for kind, size in memory.items()))
            print(f"{most_voices(BRIEF_SECONDS, folder, preset)} voices hold, of those tried\n")
            starts = [start(asked.model) for _ in range(STARTS)]
            print(f"from the command to a key that sounds: {median(starts):.2f} s, slowest {max(starts):.2f} s\n")
        means = []
        for block in SWEEP:
            with jack_server(block, may_hurry()):
                means.append(float(held(block, VOICES, BRIEF_SECONDS, folder, preset).load.mean()))
    rising = [f"{b} to {c}" for (b, c), (m, n) in zip(pairwise(SWEEP), pairwise(means), strict=True) if n > m]
    print(
        f"mean load rises from blocks of {', of '.join(rising)}" if rising else "mean load never rises with the block"
    )


if __name__ == "__main__":
    main()
