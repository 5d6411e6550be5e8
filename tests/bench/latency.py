"""From a MIDI byte to the first sample over JACK's dummy driver: timbrel and FluidSynth, in turns.

All stand in the same rig at the same block size, and a note's first sample is told in the same way. Turns are short, so
that a machine whose speed drifts slows all. Notes near an xrun of the server are left out, of each, and counted: it
then hands on no block. A note that comes later than it is looked for, or not out of silence, is missing: later than
any. Where the machine has ALSA's sequencer, it brings notes too, from the moment at which they are sent.
"""

import argparse
import contextlib
import os
import subprocess
import sys
import tempfile
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from jack_rig import CARD, PATIENCE_SECONDS, RATE, Rig, Sounding, beside, jack_server, may_hurry, need
from timbrel.host.midi.ports import SEQUENCER
from timbrel.host.session.messages import Setup

BLOCK = 128
NOTE_ON = 0x90
TURN = 500  # notes
SOUNDFONT = Path("/usr/share/sounds/sf2/FluidR3_GM.sf2")
FLUIDSYNTH = "reference"  # its name in JACK
SQUARE = 80  # a General MIDI program, counted from 0, that sounds from its first sample on, as timbrel does
FIRST = 5 * RATE  # the frame of the first note: FluidSynth offers its ports before its sounds are loaded
HELD, APART, JITTER = 960, 1920, 640  # samples: of a key, from key to key, and at random on top
NEAR = 2 * APART  # samples from an xrun: the server tells of it a little later
SILENCE = 1e-5  # -100 dB: what is louder is a note
PRESET = """format = 1
model = "gm-chroma-8"
[play]
voices = 4
[envelope]
attack_seconds = 0.001
release_seconds = 0.01
"""


@dataclass
class Way:
    """A way to play, and what it took: samples of each note that counts, infinite where it is missing."""

    name: str
    depth: int = 0  # of timbrel's ring; 0 is FluidSynth
    lowest: bool = False
    part: float = 1.0  # of the notes
    midi: str = "jack"
    delays: list = field(default_factory=list)
    left_out: int = 0
    xruns: int = 0
    underruns: int = 0
    excused: int = 0  # of these, near an xrun

    def percentile(self, which):
        return float(np.percentile(self.delays, which, method="higher"))


WAYS = (
    Way("FluidSynth"),
    Way("timbrel, ring of 2 (the default)", 2),
    Way("timbrel --lowest-latency", 1, lowest=True),
    Way("timbrel, ring of 3", 3, part=0.1),
    Way("timbrel, ring of 4", 4, part=0.1),
)
SEQUENCED = (Way("FluidSynth, by ALSA", midi="alsa"), Way("timbrel, by ALSA", 2, midi="alsa"))


def notes(count, seed):
    """Frames of note-ons that fall anywhere in a block, and all events."""
    jitter = np.random.default_rng(seed).integers(0, JITTER, count)
    frames = FIRST + np.cumsum(APART + jitter)
    events = [(FIRST - RATE, bytes([0xC0, SQUARE]))]
    for index, frame in enumerate(frames.tolist()):
        key = 60 + index % 12
        events += [(frame, bytes([NOTE_ON, key, 100])), (frame + HELD, bytes([0x80, key, 0]))]
        events.append((frame + HELD + 1, bytes([0xB0, 120, 0])))  # all sound off: the next note begins from silence
    return frames, events


def play(way, audio, midi, count, seed, watch=time.sleep):
    """Play notes to the clients of these names, and keep what came of them; when xruns were told."""
    frames, events = notes(count, seed)
    end = int(frames[-1]) + APART
    with Rig(events if way.midi == "jack" else [], end / RATE + 1) as rig:
        rig.start(audio, midi if way.midi == "jack" else None)
        if way.midi == "alsa":
            sequencer = Sequencer(midi)
            frames = sequencer.play(rig, events)
        while rig.frame < end:
            watch(0.05)
        level, told = np.abs(rig.sound), rig.missed
    xruns = np.array([frame for frame, _ in told if frame >= FIRST])
    way.xruns += len(xruns)
    for frame in map(int, frames):
        if np.any((frame - NEAR <= xruns) & (xruns <= frame + NEAR)):
            way.left_out += 1
            continue
        heard = np.flatnonzero(level[frame : frame + HELD] > SILENCE)
        way.delays.append(heard[0] if len(heard) and level[frame] <= SILENCE else np.inf)
    return [moment for _, moment in told]


class Sequencer:
    """Sends by ALSA's sequencer, on a thread of its own."""

    def __init__(self, port):
        """``port``: a part of the name of the port to send to."""
        import rtmidi

        self._out = rtmidi.MidiOut(rtmidi.API_LINUX_ALSA)
        until = time.monotonic() + PATIENCE_SECONDS
        while not (found := [index for index, name in enumerate(self._out.get_ports()) if port in name]):
            if time.monotonic() > until:
                sys.exit(f"no port of ALSA's sequencer is named {port!r}")
            time.sleep(0.05)
        self._out.open_port(found[0])

    def play(self, rig, events):
        """Begin; the frames at which note-ons were sent, as they are."""
        frames = []

        def send():
            for frame, message in events:
                while (ahead := frame - rig.now) > 0:
                    time.sleep(ahead / RATE)
                if message[0] == NOTE_ON:
                    frames.append(rig.now)
                self._out.send_message(message)

        threading.Thread(target=send, daemon=True).start()
        return frames


def timbrel(way, folder, count, seed):
    """A turn of the process that sounds."""
    preset = Path(folder) / "short.toml"
    preset.write_text(PRESET, encoding="utf-8")
    setup = Setup(
        preset=str(preset),
        device=CARD,
        block=BLOCK,
        depth=way.depth,
        midi_ports=("virtual",),
        midi_api=way.midi,
        lowest_latency=way.lowest,
    )
    sounding = Sounding(setup, folder)
    xruns = play(way, "timbrel", "timbrel-midi-in", count, seed, sounding.watch)
    way.underruns += sounding.watch(0.3).underruns
    way.excused += beside(sounding.missed, xruns)
    sounding.end()


@contextlib.contextmanager
def fluidsynth(way):
    """A native synthesiser, its effects off."""
    server = os.environ["JACK_DEFAULT_SERVER"]
    options = {
        "audio.jack.id": FLUIDSYNTH,
        "midi.jack.id": FLUIDSYNTH,
        "audio.jack.server": server,
        "midi.jack.server": server,
        "midi.portname": FLUIDSYNTH,
        "synth.reverb.active": 0,
        "synth.chorus.active": 0,
    }
    driver = {"jack": "jack", "alsa": "alsa_seq"}[way.midi]
    command = ["fluidsynth", "-a", "jack", "-m", driver, "-r", str(RATE), "-z", str(BLOCK), "-i", "-s"]
    command += [part for name, value in options.items() for part in ("-o", f"{name}={value}")]
    quiet = {"stdin": subprocess.DEVNULL, "stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    with subprocess.Popen([*command, str(SOUNDFONT)], **quiet) as process:
        try:
            yield
        finally:
            process.terminate()


def line(way, native):
    """Print a row; what is more than ``native``, in blocks."""
    text = f"{way.name:<34}{len(way.delays):5} notes"
    for name, which in (("median", 50), ("p99", 99), ("p99.9", 99.9)):
        if not way.delays:
            break
        text += f"   {name} {way.percentile(which):4.0f}"
        if native not in (None, way):
            text += f" ({(way.percentile(which) - native.percentile(which)) / BLOCK:+.2f})"
    if way.depth > 0:
        text += f"   underruns {way.underruns}, {way.excused} near an xrun"
    print(f"{text}   missing {np.isinf(way.delays).sum()}   left out {way.left_out} near {way.xruns} xruns", flush=True)


def turn(ways, folder, count, seed):
    """Play some notes each way; the ways that are there."""
    left = []
    for way in ways:
        some = round(count * way.part)
        try:
            if way.depth > 0:
                timbrel(way, folder, some, seed)
            else:
                with fluidsynth(way):
                    play(way, FLUIDSYNTH, FLUIDSYNTH, some, seed)
            left.append(way)
        except FileNotFoundError:
            print(f"{way.name} is left out: install it (Debian: apt install fluidsynth fluid-soundfont-gm)")
    return left


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--notes", type=int, default=500, help="to each; rings that nobody has by default get a tenth")
    count = parser.parse_args().notes
    need("jackd", "jack_wait")
    realtime = may_hurry()
    print(f"blocks of {BLOCK}, the server with{'' if realtime else 'out'} realtime priority")
    print("samples, and in brackets how many blocks more than FluidSynth")
    for ways in (WAYS, SEQUENCED if SEQUENCER.exists() else ()):
        with tempfile.TemporaryDirectory() as folder, jack_server(BLOCK, realtime):
            for done in range(0, count, TURN):
                ways = turn(ways, folder, min(TURN, count - done), done)
        native = next((way for way in ways if way.depth == 0 and way.delays), None)
        for way in ways:
            line(way, native)
    if not SEQUENCER.exists():
        print(f"ALSA's sequencer is unmeasured: this machine has none ({SEQUENCER} is missing)")


if __name__ == "__main__":
    main()
