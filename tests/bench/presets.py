"""Measures the shipped presets: notes beside their recordings, levels, first knobs, how fast each opens, gaps live.

`presets.py --gm CORPUS --piano CORPUS --gaps SECONDS [PRESET...]`, with the corpora of presets/models/README.md. Each
recorded key and velocity is played and compared: dB of the held part (median, worst), of the first 46 ms, the change
from frame to frame as a share of the recording's, and the distance of left, right, mid and side; the share of notes
that begin and end in time; and, in thirds of the keys, the distance of the preset that it succeeds. Peaks are those of
single keys, and of chords of eight, at full velocity before the limiter. With `--gaps` each plays for so long over
JACK, after FluidSynth has played the same as an electric piano (see `peer.py`): gaps and their silence outside periods
that JACK lost, both together, voices shed, processor time. A kit plays the keys that it has.
"""

import argparse
import subprocess
import sys
import warnings
from pathlib import Path
from typing import NamedTuple

import numpy as np
from peer import MOST_HELD, need_both, played_in_turn, processor_ratio
from timbrel.export.fidelity.dynamics import in_mono, played_sides
from timbrel.export.fidelity.images import sides_distance
from timbrel.export.fidelity.measures import change_db, course, late_ms, onset_db, sustain_db
from timbrel.export.fidelity.notes import note_of, singles
from timbrel.export.first_preset import FULL_VELOCITY, demo_loudness_lufs, keys_of, peaks_dbfs, played
from timbrel.export.kinds.kind import RATE
from timbrel.host.events import NoteOn
from timbrel.host.play.rack import ChannelInstrument
from timbrel.host.plugin.wire import slots_of
from timbrel.host.preset.library import open_patch
from timbrel.host.preset.shipped import SUCCESSORS, current_presets
from timbrel.host.session.view_builder import controls
from timbrel.host.spectra import MOMENT_SECONDS, envelope_db
from timbrel.train.corpus.store import Corpus
from timbrel.train.metrics.clips import attack_seconds

FIRST = 6  # knobs
CHORD = (0, 4, 7, 12, 16, 19, 24, 28)  # semitones over the root
ROOTS = (36, 48, 60)
CHORD_SECONDS = 2
PERIOD = 128  # samples, live
FEW_HELD = 8  # notes of textures and loops, which nobody plays in larger chords
SPLITS = ("train", "val", "test")  # `make` learns all in the end
LEAST_RING = 0.1  # seconds after the note-off: a shorter rest is the end of a file
THIRDS = 3
FALLEN_DB = 20.0  # below the level at the note-off: a release has ended
LATE_MS, LATE_SHARE = 10.0, 0.1  # the larger is allowed; the share is of the recording's attack
RELEASE_SECONDS, RELEASE_SHARE = 0.020, 0.2  # the same of the release
OPENING = """
import time, psutil
began = time.perf_counter()
from timbrel.host.preset.library import open_patch
from timbrel.host.play.rack import Rack
from timbrel.host.events import NoteOn
rack = Rack({{0: open_patch({name!r})}}, 48000)
rack.process([NoteOn(0, 0, {key}, 100)], 4800)
print(time.perf_counter() - began, psutil.Process().memory_full_info().uss / 1e6)
"""


class Row(NamedTuple):
    """A note's figures; ``late`` and ``release`` are multiples of the tolerance."""

    key: int
    held_db: float
    onset_db: float
    change: float
    sides_db: list[float]
    late: float
    release: float


def release_seconds(sound, rate, held_seconds):
    """Seconds from the note-off until the level has fallen by `FALLEN_DB`; infinite if it does not."""
    levels = envelope_db(sound[np.newaxis], rate)[0]
    off = min(round(held_seconds / MOMENT_SECONDS), len(levels) - 1)
    fallen = np.flatnonzero(levels[off:] < levels[off] - FALLEN_DB)
    return fallen[0] * MOMENT_SECONDS if len(fallen) else np.inf


def release_share(recording, rendition, rate, held_seconds):
    recorded, rendered = (release_seconds(sound, rate, held_seconds) for sound in (recording, rendition))
    if len(recording) / rate - held_seconds < LEAST_RING or np.isinf(recorded):
        return np.nan
    return abs(rendered - recorded) / max(RELEASE_SECONDS, RELEASE_SHARE * recorded)


def measured(patch, corpus, single, whole=True):
    """Play a recorded note; without ``whole`` only the distance of its held part."""
    rate, note, velocity = corpus.rate, note_of(corpus, single), single.clip.velocity or 100
    recording, recorded_sides = (channels[..., note.start :] for channels in sounds(corpus, single.clip))
    sides = played_sides(patch, single.key, velocity, note.held_seconds, len(recording))
    rendition = in_mono(sides, rate)
    held_db = sustain_db(recording, rendition, rate)
    if not whole:
        return held_db
    attack_ms = 1000 * float(attack_seconds(recording[np.newaxis], rate)[0])
    is_stereo = corpus.channels(single.clip) == 2
    return Row(
        single.key,
        held_db,
        onset_db(course(recording, rate), course(rendition, rate), rate),
        (change_db(rendition, rate) or np.nan) / (change_db(recording, rate) or np.nan),
        list(sides_distance(recorded_sides, sides, rate))[:4] if is_stereo else [np.nan] * 4,
        abs(late_ms(recording, rendition, rate)) / max(LATE_MS, LATE_SHARE * attack_ms),
        release_share(recording, rendition, rate, note.held_seconds),
    )


def sounds(corpus, clip):
    """Return the mono mix, [samples], and both sides, [2, samples]."""
    return np.array(corpus.samples(clip)), corpus.sides(clip)


def within(shares):
    """Return the share of notes within the tolerance; a dash without a figure of any."""
    shares = shares[~np.isnan(shares)]
    return f"{np.mean(shares <= 1):.0%}" if len(shares) else "–"


def fidelity(name, corpus, label):
    patch = open_patch(name)
    notes = [single for split in SPLITS for single in singles(corpus, split) if label in ("", single.clip.label)]
    rows = [measured(patch, corpus, single) for single in notes]
    columns = {field: np.array([getattr(row, field) for row in rows]) for field in Row._fields}
    held, sides = columns["held_db"], np.nanmedian(columns["sides_db"], axis=0)
    print(
        f"{name:<18}{len(rows):>4} notes  held {np.median(held):4.1f} ({held.max():4.1f})  "
        f"46 ms {np.median(columns['onset_db']):4.1f}  change {np.nanmedian(columns['change']):4.2f}  "
        f"L R M S {' '.join(f'{db:3.1f}' for db in sides)}  "
        f"in time: begin {within(columns['late'])}, end {within(columns['release'])}",
        flush=True,
    )
    for earlier in (old for old, new in SUCCESSORS.items() if new == name):
        old_patch = open_patch(earlier)
        old = np.array([measured(old_patch, corpus, single, whole=False) for single in notes])
        thirds = np.array_split(np.argsort(columns["key"], kind="stable"), THIRDS)
        told = ", ".join(f"{np.median(held[third]):.1f} beside {np.median(old[third]):.1f}" for third in thirds)
        print(f"{'':<18}{earlier}, by thirds of the keys: {told}", flush=True)


def chord_peak_dbfs(patch):
    """The highest peak before the limiter of chords of eight at full velocity; None without pitched keys."""
    if patch.preset.keys or not keys_of(patch):
        return None
    chords = [[NoteOn(0, 0, root + each, FULL_VELOCITY) for each in CHORD] for root in ROOTS]
    return max(20 * np.log10(np.abs(played(patch, chord, CHORD_SECONDS * RATE)).max()) for chord in chords)


def sound(name):
    patch = open_patch(name)
    keys = keys_of(patch)
    loud, soft = demo_loudness_lufs(patch), demo_loudness_lufs(patch, 32)
    peak, chord_peak = max(peaks_dbfs(patch, keys[:: max(1, len(keys) // 8)]).values()), chord_peak_dbfs(patch)
    chord = "" if chord_peak is None else f"  of chords {chord_peak:5.1f}"
    command = [sys.executable, "-c", OPENING.format(name=name, key=keys[0] if keys else 60)]
    opened, memory = map(float, subprocess.run(command, check=True, capture_output=True, text=True).stdout.split())
    view = controls(patch.preset, patch.model, ChannelInstrument(patch, RATE).knobs)
    shown = [slot.name for slot in slots_of(patch.preset, view)][:FIRST]
    print(
        f"{name:<18}{loud:7.1f} LUFS, soft {soft:6.1f}  peak {peak:5.1f} dBFS{chord}  opens {opened:4.2f} s, "
        f"{memory:4.0f} MB  {', '.join(shown)}",
        flush=True,
    )


def live(name, seconds):
    held = FEW_HELD if open_patch(name).model.card.kind in ("grain", "stream") else MOST_HELD
    options = argparse.Namespace(preset=name, seconds=seconds, held=held, period=PERIOD, busy=0, changing=False)
    rows = played_in_turn(options, seed=1)
    ours, peer = rows["timbrel"], rows["fluidsynth"]
    print(
        f"{name:<18}{ours['gaps']:4.0f} gaps (FluidSynth {peer['gaps']:.0f})  {ours['gap_ms']:6.1f} ms silent  "
        f"broken {ours['broken']:2.0f} times (FluidSynth {peer['broken']:.0f})  {held} held, {ours['shed']:.0f} shed  "
        f"processor {ours['processor']:5.1f} s a minute, {processor_ratio(rows):4.1f} times FluidSynth's",
        flush=True,
    )


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--gm", type=Path, help="the corpus of gm-partials-9")
    parser.add_argument("--piano", type=Path, help="the corpus of the grand piano")
    parser.add_argument("--gaps", type=float, metavar="SECONDS", help="play each live for so long, beside FluidSynth")
    parser.add_argument("presets", nargs="*")
    options = parser.parse_args()
    warnings.simplefilter("ignore", RuntimeWarning)  # means of no sides
    names = options.presets or [*current_presets()]
    for name in names:
        sound(name)
    if options.gaps:
        need_both()
        for name in names:
            live(name, options.gaps)
    for name in names:
        gesture = open_patch(name).preset.gesture
        label = "" if gesture is None or gesture.instrument is None else gesture.instrument
        folder = options.piano if name == "grand-piano" else options.gm if label else None
        if folder:
            fidelity(name, Corpus.open(folder), label)


if __name__ == "__main__":
    main()
