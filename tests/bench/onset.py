"""Chords whose notes begin on one sample: what the block costs in which they begin, and how many chords come late.

First in processor time, with a clock that is counted: each block of the rack of `timbrel play` and of the plugin takes
the time that the thread spent on it, so that other work on the machine hardly counts. A chord is late if one of its
blocks, up to the next chord, ends after the time that the plugin's latency gives it. Then through the plugin's own core
and its server, as time passes. Chords come at any sample of a block, in keys and velocities as they fall.
"""

import argparse
import gc
import sys
import tempfile
import time
from pathlib import Path
from statistics import median

import numpy as np
from jack_rig import SERVER_PRIORITY, may_hurry, need
from plugin import Bundle, is_ready, row, wait_for
from timbrel.host.events import NoteOff, NoteOn
from timbrel.host.play.player import Player
from timbrel.host.plugin.patch_loader import Mode, rack_of, warm_up_for
from timbrel.host.preset.library import open_patch
from timbrel.host.session.realtime import hurry, hurry_no_more

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT / "tests" / "host" / "plugin"))
from native import library, make, opened  # noqa: E402

PRESET = "gm-keys"
ASKED = ((48000, 128), (48000, 256), (96000, 256))  # where a chord of a thousand may be late
ASKED_NOTES = (4, 8)
RATES, BLOCKS, NOTES = (44100, 48000, 96000, 192000), (64, 128, 256, 512, 1024), (1, 4, 8, 16)
APART_SECONDS = 0.3  # from chord to chord
BRIEFLY = 40  # chords of each of the many
SETTLING = 3  # chords that do not count
REST_SECONDS = 3.0  # before the first chord: a musician has opened the project by then
KEYS = np.arange(36, 88)
VELOCITIES = (40, 121)
SHORT_SECONDS = 256 / 48000  # as native/sound.c has it
FLOOR = np.ones((64, 513), np.complex64)
FLOORS = 40


def ahead(rate, block):
    """The blocks of latency that the plugin takes."""
    blocks = 1 if block >= SHORT_SECONDS * rate else 2
    while blocks * block < SHORT_SECONDS / 2 * rate:
        blocks += 1
    return blocks


def floor():
    """The processor time, in seconds, of 64 short frames that are transformed: what engines do, and nothing else."""

    def once():
        began = time.thread_time()
        np.fft.irfft(FLOOR, 1024, axis=-1)
        return time.thread_time() - began

    return median(once() for _ in range(FLOORS))


class Clocked:
    """A player that makes blocks as the plugin's server does, in time that its own processor time moves on."""

    def __init__(self, preset, rate, block):
        patch, mode = open_patch(preset), Mode(rate, False)
        warm_up_for(patch, mode)
        self.player = Player(rack_of(patch, mode), rate)
        self._block, self._period, self._time = block, block / rate, ahead(rate, block) * block / rate
        self._now = 0.0  # seconds, of the thread that makes sound
        self.took = self.late = 0

    def make(self):
        """Make what has been asked for: count what is late, and keep what the last call took."""
        asked = self.player.now // self._block  # the number of the first block that is not made
        self._now = max(self._now, asked * self._period)
        count = max(1, int(self._now / self._period + 1e-9) + 1 - asked)
        self.took = self._spend(lambda: self.player.block(count * self._block))
        due = np.arange(asked, asked + count) * self._period + self._time
        self.late += int(np.count_nonzero(due < self._now))
        if self._now >= (asked + count) * self._period:
            self.player.put_off()
        else:
            self._spend(self.player.prepare)

    def _spend(self, work):
        began = time.thread_time()
        work()
        took = time.thread_time() - began
        self._now += took
        return took


def counted(preset, rate, block, notes, chords):
    """Count the late chords in processor time; print a row."""
    rng, played = np.random.default_rng(notes), Clocked(preset, rate, block)
    player, held, took, late, blocks = played.player, [], [], 0, 0
    gc.collect()
    gc.disable()
    while player.now < REST_SECONDS * rate:
        played.make()
    for number in range(-SETTLING, chords):
        at = player.now + int(rng.integers(block))
        keys = rng.choice(KEYS, notes, replace=False).tolist()
        for event in (*(NoteOff(at, 0, key) for key in held), *(NoteOn(at, 0, key, velocity(rng)) for key in keys)):
            player.schedule(event)
        held, end, before = keys, at + APART_SECONDS * rate, played.late
        played.make()
        dearest = played.took
        while player.now < end:
            played.make()
        if number >= 0:
            took.append(dearest)
            late += played.late > before
            blocks += played.late - before
    gc.enable()
    shares = np.array(took) / (ahead(rate, block) * block / rate)
    at = ", ".join(f"p{one} {np.percentile(shares, one):.0%}" for one in (50, 99, 100))
    name = f"{preset}, {rate / 1000:g} kHz, {block}: {notes}"
    asked = "1 in 1000" if (rate, block) in ASKED and notes in ASKED_NOTES else ""
    row(
        f"{name:<36}",
        f"{at} of its time, {median(took) / floor():.1f} x floor   late {late} of {chords}, {blocks} blocks",
        asked,
    )


def velocity(rng):
    """A velocity, as it falls."""
    return int(rng.integers(*VELOCITIES))


def in_time(lib, bundle, rate, block, notes, chords):
    """Play chords through the plugin's core as time passes; print how many were late."""
    rng = np.random.default_rng(notes)
    with opened(lib, bundle) as core:
        wait_for(lambda: is_ready(core), "an instance ready")
        core.load_preset(PRESET.encode())
        core.activate(float(rate), block)
        if may_hurry():
            hurry(SERVER_PRIORITY)  # as a host's thread of sound has it
        due, late, blocks, held = time.perf_counter(), 0, 0, []
        for number in range(-SETTLING, chords):
            before = core.late()
            offset, keys = int(rng.integers(block)), rng.choice(KEYS, notes, replace=False).tolist()
            for key in held:
                core.midi(offset, bytes([0x80, key, 0]), 3)
            for key in keys:
                core.midi(offset, bytes([0x90, key, velocity(rng)]), 3)
            held = keys
            seconds = REST_SECONDS if number == -SETTLING else APART_SECONDS
            for _ in range(round(seconds * rate / block)):
                core.run(block)
                due = max(due + block / rate, time.perf_counter() - block / rate)
                time.sleep(max(0.0, due - time.perf_counter()))
            if number >= 0:
                late += core.late() > before
                blocks += core.late() - before
    hurry_no_more()
    name = f"in time, {rate / 1000:g} kHz, {block}: {notes}"
    row(f"{name:<36}", f"late {late} of {chords}, {blocks} blocks", "1 in 1000")


def main():
    """Run it all."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--chords", type=int, default=200, help="of each row for which a figure is asked")
    parser.add_argument("--presets", nargs="*", help="those to count; by default all that ship")
    parser.add_argument("--asked", action="store_true", help=f"{PRESET} alone, where a figure is asked")
    options = parser.parse_args()
    for rate, block in ASKED:
        for notes in ASKED_NOTES:
            counted(PRESET, rate, block, notes, options.chords)
    if not options.asked:
        for rate in RATES:
            for block in BLOCKS:
                for notes in NOTES:
                    counted(PRESET, rate, block, notes, BRIEFLY)
        for preset in options.presets or shipped():
            for rate, block in ASKED:
                for notes in ASKED_NOTES:
                    counted(preset, rate, block, notes, BRIEFLY)
    need("cc", "make")
    with tempfile.TemporaryDirectory(prefix="timbrel-") as name:
        folder = Path(name)
        make("core", folder / "build")
        lib, bundle = library(folder / "build" / "core" / "libcore.so"), Bundle(folder / "plugin")
        for rate, block in ASKED:
            for notes in ASKED_NOTES:
                in_time(lib, bundle, rate, block, notes, options.chords)


def shipped():
    """The names of the presets that ship."""
    return sorted(path.stem for path in (ROOT / "presets").glob("*.toml"))


if __name__ == "__main__":
    main()
