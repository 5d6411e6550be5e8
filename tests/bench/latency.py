"""From a MIDI byte to the first sample over JACK's dummy driver: timbrel, each depth of its ring, and FluidSynth.

All stand in the same rig at the same block size, and a note's first sample is told in the same way.
"""

import argparse
import contextlib
import os
import subprocess
import tempfile
from pathlib import Path

import numpy as np
from jack_rig import CARD, RATE, Rig, Sounding, jack_server, need
from timbrel.host.messages import Setup

BLOCK = 128
DEPTHS = (1, 2, 3, 4)
SOUNDFONT = Path("/usr/share/sounds/sf2/FluidR3_GM.sf2")
FLUIDSYNTH = "reference"  # its name in JACK
SQUARE = 80  # a General MIDI program, counted from 0, that sounds from its first sample on, as timbrel does
FIRST = 5 * RATE  # the frame of the first note: FluidSynth offers its ports before its sounds are loaded
HELD, APART, JITTER = 1200, 2880, 960  # samples: of a key, from key to key, and at random on top
SILENCE = 1e-5  # -100 dB: what is louder is a note
PRESET = """format = 1
model = "gm-chroma-8"
[play]
voices = 4
[envelope]
attack_seconds = 0.001
release_seconds = 0.01
"""


def notes(count):
    """Frames of note-ons that fall anywhere in a block, and all events."""
    jitter = np.random.default_rng(0).integers(0, JITTER, count)
    frames = FIRST + np.cumsum(APART + jitter)
    events = [(FIRST - RATE, bytes([0xC0, SQUARE]))]
    for index, frame in enumerate(frames.tolist()):
        key = 60 + index % 12
        events += [(frame, bytes([0x90, key, 100])), (frame + HELD, bytes([0x80, key, 0]))]
        events.append((frame + HELD + 1, bytes([0xB0, 120, 0])))  # all sound off: the next note begins from silence
    return frames, events


def delays(count, audio, midi):
    """Samples from each note to its first sample, NaN where none came out of silence; and the rig's xruns."""
    frames, events = notes(count)
    end = int(frames[-1]) + APART
    with Rig(events, end / RATE + 1) as rig:
        rig.start(audio, midi)
        rig.wait_for(end)
        level, xruns = np.abs(rig.sound), rig.xruns
    found = np.full(count, np.nan)
    for index, frame in enumerate(frames.tolist()):
        heard = np.flatnonzero(level[frame : frame + HELD] > SILENCE)
        if level[frame] <= SILENCE and len(heard):
            found[index] = heard[0]
    return found, xruns


def timbrel(count, folder, depth, lowest):
    """Delays of the process that sounds, and its underruns."""
    preset = Path(folder) / "short.toml"
    preset.write_text(PRESET, encoding="utf-8")
    setup = Setup(
        preset=str(preset),
        device=CARD,
        block=BLOCK,
        depth=depth,
        midi_ports=("virtual",),
        midi_api="jack",
        lowest_latency=lowest,
    )
    sounding = Sounding(setup, folder)
    found, xruns = delays(count, "timbrel", "timbrel-midi-in")
    underruns = sounding.watch(0.3).underruns
    sounding.end()
    return found, xruns, underruns


@contextlib.contextmanager
def fluidsynth():
    """A native synthesiser, its effects off."""
    server = os.environ["JACK_DEFAULT_SERVER"]
    options = {
        "audio.jack.id": FLUIDSYNTH,
        "midi.jack.id": FLUIDSYNTH,
        "audio.jack.server": server,
        "midi.jack.server": server,
        "synth.reverb.active": 0,
        "synth.chorus.active": 0,
    }
    command = ["fluidsynth", "-a", "jack", "-m", "jack", "-r", str(RATE), "-z", str(BLOCK), "-i", "-s"]
    command += [part for name, value in options.items() for part in ("-o", f"{name}={value}")]
    quiet = {"stdin": subprocess.DEVNULL, "stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    with subprocess.Popen([*command, str(SOUNDFONT)], **quiet) as process:
        try:
            yield
        finally:
            process.terminate()


def line(name, found, xruns, against=None, underruns=None):
    """Print a row; the median's difference from ``against`` in blocks."""
    middle, p99, p999 = np.nanpercentile(found, (50, 99, 99.9))
    text = f"{name:<34}median {middle:5.0f}  p99 {p99:5.0f}  p99.9 {p999:5.0f} samples"
    if against is not None:
        text += f"   {(middle - np.nanmedian(against)) / BLOCK:+.2f} blocks"
    if underruns is not None:
        text += f"   underruns {underruns}"
    print(f"{text}   missing {np.isnan(found).sum()}   JACK's xruns {xruns}", flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--notes", type=int, default=500, help="to each")
    count = parser.parse_args().notes
    need("jackd", "jack_wait")
    with tempfile.TemporaryDirectory() as folder, jack_server(BLOCK):
        native = None
        try:
            with fluidsynth():
                native, xruns = delays(count, FLUIDSYNTH, FLUIDSYNTH)
            line("FluidSynth", native, xruns)
        except FileNotFoundError:
            print("FluidSynth is left out: it is not installed (Debian: apt install fluidsynth fluid-soundfont-gm)")
        for depth in DEPTHS:
            found, xruns, underruns = timbrel(count, folder, depth, lowest=False)
            line(f"timbrel, ring of {depth}{' (the default)' * (depth == 2)}", found, xruns, native, underruns)
        found, xruns, underruns = timbrel(count, folder, 1, lowest=True)
        line("timbrel --lowest-latency", found, xruns, native, underruns)


if __name__ == "__main__":
    main()
