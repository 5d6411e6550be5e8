"""Live beside FluidSynth: both play the same events over JACK, in turns; gaps, onsets, processor time, memory.

`peer.py [--preset NAME] [--held 16] [--period 128] [--seconds 60] [--pairs 5] [--busy N] [--changing]`. Chords of half
as many notes as are held, alone; then these are held (struck again every 15 s) while eight controllers move 50 times a
second each, with chords over them. Held notes are soft, so that they do not hide the beginnings of chords. With
`--changing`, each striking begins with a program change. A gap is whole periods of zeros outside periods that JACK
lost, where the preset, rendered offline, is not silent itself, as a kit is between its notes. Pairs in which FluidSynth
gaps are repeated once.
A synth that computes in JACK's own thread loses a period where one with a ring plays a gap, if the machine stops it. So
"broken" counts both, gaps and losses, in the same part.

An onset is the moment at which a chord is three times as loud as the sound before, and so includes the preset's attack.
Chords that slow or masked attacks hide are unseen. "later than offline" is the live onset over held notes less that of
the same chord rendered offline, in samples: the median, and the latest. FluidSynth has no such rendering.
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
from timbrel.host.commands.options import presets_in
from timbrel.host.midi import files
from timbrel.host.midi.decode import channel_event
from timbrel.host.play.rack import Rack
from timbrel.host.play.render import blocks
from timbrel.host.preset.library import open_patch
from timbrel.host.preset.shipped import PRESETS

SOUNDFONT = "/usr/share/sounds/sf2/FluidR3_GM.sf2"
PROGRAM = 4  # FluidR3's electric piano
CHANGED = {"electric-piano": 4, "grand-piano": 0, "jazz-vibraphone": 11, "string-ensemble": 48}  # FluidR3's
HELD = [28, 31, 33, 35, 36, 38, 40, 41, 43, 45, 47, 48, 50, 52, 53, 55]
MOST_HELD = len(HELD)
HELD_VELOCITY, CHORD_VELOCITY = 20, 110
KNOBS = range(70, 78)
LONGEST_ALONE = 60 * RATE  # samples of chords alone
STRUCK_AGAIN = 15 * RATE  # samples: FluidSynth's held notes die away, and silence counts as a gap
SETTLING_SECONDS = 4.0
LONGEST = 6000  # samples in which a chord's onset is looked for
LATEST = RATE // 20  # samples that live sound comes later than offline, at most
OWN_SILENCE = 0.9  # the share of a gap in which a preset may be silent by itself
ON, OFF, CONTROL, CHANGE = 0x90, 0x80, 0xB0, 0xC0


class Performance:
    """``events``: (frame, bytes); ``chords``: (frame, over held notes); ``held``: the frames of the held notes."""

    def __init__(self, seconds, seed, held=MOST_HELD, programs=()):
        """``programs``: those that the strikings of held notes change to, by turns."""
        rng, keys = random.Random(seed), HELD[MOST_HELD - held :]
        self.events, self.chords = [(10, bytes([CHANGE, PROGRAM]))], []
        frame, end = RATE // 2, round(seconds * RATE)
        while frame < min(end // 4, LONGEST_ALONE):
            self._chord(frame + rng.randrange(2048), rng.sample(range(60, 96), held // 2), RATE // 8, over_held=False)
            frame += round(0.6 * RATE)
        for turn, moment in enumerate(range(frame, end - RATE // 2, STRUCK_AGAIN) if programs else ()):
            self.events.append((moment - 100, bytes([CHANGE, programs[turn % len(programs)]])))
        for number, key in enumerate(keys):
            for begin in range(frame + 1200 * number, end - RATE // 2, STRUCK_AGAIN):
                self._note(begin, key, HELD_VELOCITY, min(begin + STRUCK_AGAIN, end - RATE // 2))
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
            self._note(frame, key, CHORD_VELOCITY, frame + length)

    def _note(self, frame, key, velocity, end):
        self.events += [(frame, bytes([ON, key, velocity])), (end, bytes([OFF, key, 0]))]


def command(synth, preset, period, held=MOST_HELD, changing=False):
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
    programs = ["--set", str(PRESETS)] if changing else []
    return [sys.executable, "-m", "timbrel", *play, *programs]


def family(process):
    """A process and its descendants that live."""
    return [one for one in (process, *process.children(recursive=True)) if one.is_running()]


def processor_seconds(process):
    return sum(sum(one.cpu_times()[:2]) for one in family(process))


def programs_of(synth):
    """The programs of `CHANGED`, counted from 0 as in MIDI."""
    if synth == "fluidsynth":
        return list(CHANGED.values())
    names = [Path(path).stem for path in presets_in(PRESETS)]
    return [names.index(name) for name in CHANGED]


def memory_of(process):
    """Proportional set size of a process and its descendants, in MB."""
    return sum(one.memory_full_info().pss for one in family(process)) / 1e6


def played(synth, options, seed):
    """A synth's row: gaps and more, by name."""
    performance = Performance(options.seconds, seed, options.held, programs_of(synth) if options.changing else ())
    with tempfile.TemporaryDirectory() as folder, jack_server(options.period, realtime=may_hurry()):
        log = Path(folder) / "log"
        with log.open("w") as output, Rig(performance.events, options.seconds) as rig:
            client = f"{synth}[^:]*"  # FluidSynth names its client after its MIDI driver
            words = command(synth, options.preset, options.period, options.held, options.changing)
            program = subprocess.Popen(words, stdin=subprocess.DEVNULL, stdout=output, stderr=output, cwd=folder)
            busy = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(options.busy)]
            try:
                rig.ports(client, is_audio=True, is_output=True)
                rig.ports(client, is_midi=True, is_input=True)
                time.sleep(SETTLING_SECONDS)
                process = psutil.Process(program.pid)
                rig.start(client, client)
                before, began = processor_seconds(process), time.monotonic()
                rig.wait_for(len(rig.sound) // 4)
                early = memory_of(process)
                rig.wait_for(len(rig.sound))
                used = (processor_seconds(process) - before) / (time.monotonic() - began) * 60
                memory = memory_of(process)
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
        compared = synth == "timbrel" and not options.changing  # offline, program changes have no presets
        offline = rendered(options.preset, performance, len(rig.sound)) if compared else None
        row = measured(rig, performance, options.period, offline)
        row |= {"processor": used, "memory": memory, "grown": memory - early}
        return row | {"shed": float(shed[-1]) if shed else 0.0}


def rendered(preset, performance, length):
    """Render a performance as `timbrel render` does; return its left side, [length]."""
    events = [channel_event(frame, *message.ljust(3, b"\0")) for frame, message in performance.events]
    rack = Rack({0: open_patch(preset)}, RATE, omni=True)
    made = blocks(rack, files.Performance(events, length, [0], []), 1.0, RATE)
    sound = np.concatenate([mix[0] for _, mix, _ in made])[:length]
    return np.pad(sound, (0, length - len(sound)))


def is_silent_itself(offline, begin, end):
    """Return whether a sound is silent from one sample to another, at any of the times that live sound may be late."""
    counts = np.concatenate([[0], np.cumsum(offline == 0)])
    lags = np.arange(LATEST)
    return np.max(counts[end - lags] - counts[begin - lags]) >= OWN_SILENCE * (end - begin)


def onsets_of(sound, chords):
    """Samples from each chord's events to three times the level before, [chords]; NaN where it does not get there."""
    high, onsets = sosfilt(butter(4, 900, "high", fs=RATE, output="sos"), sound), []
    for frame, over_held in chords:
        begin = max(0, frame - 400)
        level = np.abs((high if over_held else sound)[begin : frame + LONGEST])
        before, after = np.split(level, [frame - begin])
        loud = np.flatnonzero(after > max(3 * before.max(), 2e-4))
        onsets.append(loud[0] if len(loud) else np.nan)
    return np.array(onsets)


def measured(rig, performance, period, offline=None):
    """``offline``: the same without a card; None if the synth holds all keys that it is given."""
    sound, lost = rig.sound, np.zeros(len(rig.sound), bool)
    for begin, end in rig.lost:
        lost[begin:end] = True
    chords = [chord for chord in performance.chords if not lost[max(0, chord[0] - 300) : chord[0] + 1500].any()]
    onsets, is_over = onsets_of(sound, chords), np.array([over_held for _, over_held in chords], bool)
    part = slice(performance.held.start, performance.held.stop)
    silent = np.concatenate([[False], (sound[part] == 0) & ~lost[part], [False]])
    edges = np.flatnonzero(np.diff(silent.astype(int)))
    starts, ends = edges[::2] + part.start, edges[1::2] + part.start
    # A card that gets no sound plays whole periods of silence; that of sounds which end seldom begins and ends so.
    gaps = [
        end - start
        for start, end in zip(starts, ends, strict=True)
        if start % period == 0 and end % period == 0 and (offline is None or not is_silent_itself(offline, start, end))
    ]
    losses = [end - begin for begin, end in rig.lost if part.start <= begin < part.stop]
    alone, over = _seen(onsets[~is_over]), _seen(onsets[is_over])
    late = np.zeros(1) if offline is None else _seen((onsets - onsets_of(offline, chords))[is_over])
    return {
        "gaps": float(len(gaps)),
        "gap_ms": sum(gaps) * 1000 / RATE,
        "broken": float(len(gaps) + len(losses)),
        "broken_ms": (sum(gaps) + sum(losses)) * 1000 / RATE,
        "alone": float(np.median(alone)),
        "alone_spread": float(alone.max() - np.median(alone)),
        "over": float(np.median(over)),
        "spread": float(over.max() - np.median(over)),
        "unseen": float(np.isnan(onsets).sum()),
        "late": float(np.median(late)),
        "latest": float(late.max()),
        "lost": float(len(rig.lost)),
    }


def _seen(onsets):
    """Onsets that were found, at least one: JACK may lose periods at all of few chords."""
    found = onsets[~np.isnan(onsets)]
    return found if len(found) else np.array([np.nan])


def played_in_turn(options, seed):
    """Return the rows of both, FluidSynth first and once more where it gaps."""
    peer = played("fluidsynth", options, seed)
    if peer["gaps"]:
        peer = played("fluidsynth", options, seed)
    return {"fluidsynth": peer, "timbrel": played("timbrel", options, seed)}


def processor_ratio(rows):
    """Return timbrel's processor time as a multiple of FluidSynth's."""
    return rows["timbrel"]["processor"] / max(rows["fluidsynth"]["processor"], 0.1)


COLUMNS = {
    "gaps": "gaps",
    "gap_ms": "ms silent",
    "broken": "broken",
    "broken_ms": "ms broken",
    "shed": "shed",
    "alone": "onset, alone",
    "alone_spread": "spread",
    "over": "over held",
    "spread": "spread",
    "unseen": "unseen",
    "late": "later than offline",
    "latest": "latest",
    "processor": "processor s / min",
    "memory": "PSS MB",
    "grown": "since a quarter",
    "lost": "lost by JACK",
}


def line(name, row):
    return f"{name:<12}" + "  ".join(f"{row[key]:>{len(words) + 1}.1f}" for key, words in COLUMNS.items())


def need_both():
    """Leave, with a line, where a program or FluidSynth's sounds are missing; else prepare for `played`."""
    need("jackd", "jack_wait", "fluidsynth")
    if not Path(SOUNDFONT).exists():
        print(f"left out: {SOUNDFONT} is missing; install fluid-soundfont-gm")
        sys.exit(0)
    os.environ["OMP_NUM_THREADS"] = "1"


def main():
    parser = argparse.ArgumentParser(description="timbrel beside FluidSynth, over JACK.")
    parser.add_argument("--preset", default="gm-keys")
    parser.add_argument("--held", type=int, default=MOST_HELD, choices=range(2, MOST_HELD + 1), metavar="N")
    parser.add_argument("--period", type=int, default=128)
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--pairs", type=int, default=5)
    parser.add_argument("--busy", type=int, default=0)
    parser.add_argument("--changing", action="store_true", help=f"program changes: {', '.join(CHANGED)}")
    options = parser.parse_args()
    need_both()
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
        for name, row in played_in_turn(options, pair + 1).items():
            rows[name].append(row)
            print(line(name, row), flush=True)
    medians = {
        name: {key: statistics.median(row[key] for row in some) for key in COLUMNS} for name, some in rows.items()
    }
    for name, row in medians.items():
        print(line(f"{name[:5]}, median"[:12], row))
    print(f"processor time: {processor_ratio(medians):.1f} times FluidSynth's")


if __name__ == "__main__":
    main()
