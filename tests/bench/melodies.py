"""Notes that are found in melodies: `melodies.py [PHRASES]`.

Melodies are rendered through a soundfont from notes that are known, three an instrument; a note counts if it is found
within 30 ms and 30 cents. Slurred notes begin where the note before is let go, and its release sounds on. With the
folder of recorded phrases, their notes are compared with `phrases.json`, a list made by eye from pictures of pitch,
spectrum and level: a note counts if its key is right within 60 ms.
"""

import argparse
import itertools
import json
import os
import subprocess
import tempfile
from pathlib import Path

import mido
import numpy as np
import soundfile
from timbrel.host.units import PITCH_CLASSES
from timbrel.train.corpus.fluidsynth import fluidsynth
from timbrel.train.corpus.note_segmentation import segment_notes

SOUNDFONT = Path("/usr/share/sounds/sf2/FluidR3_GM.sf2")
# General MIDI's programs from 0, and the lowest and highest key; the attacks of the last two take a tenth of a second
INSTRUMENTS = {
    "flute": (73, 60, 90),
    "oboe": (68, 58, 86),
    "clarinet": (71, 50, 84),
    "alto sax": (65, 50, 76),
    "trumpet": (56, 54, 80),
    "violin": (40, 55, 88),
    "guitar": (24, 40, 76),
    "piano": (0, 36, 90),
    "cello": (42, 36, 66),
    "voice": (53, 48, 76),
}
MELODIES, SECONDS, RATE = 3, 20.0, 44100
FIRST = 5000  # seed: the settings were chosen on melodies of others
LENGTHS = (0.125, 0.1875, 0.25, 0.25, 0.375, 0.5, 0.5, 0.75, 1.0)
STEPS = (-12, -7, -5, -4, -3, -2, -2, -1, -1, 0, 1, 1, 2, 2, 3, 4, 5, 7, 12)
TIME_SECONDS, PITCH = 0.03, 0.3
BY_EYE_SECONDS = 0.06


def melody(seed, low, high):
    """Return notes (onset and end in seconds, key, velocity)."""
    rng = np.random.default_rng(seed)
    at, key, notes = 0.3, int(rng.integers(low + 5, high - 5)), []
    slurs = rng.choice([0.0, 0.5, 1.0])
    while at < SECONDS:
        length = float(rng.choice(LENGTHS) * rng.uniform(0.95, 1.05))
        held = length if rng.random() < slurs else max(0.08, length * float(rng.uniform(0.5, 0.85)))
        notes.append((at, at + held, key, int(rng.integers(60, 111))))
        at += length + (float(rng.uniform(0.2, 0.6)) if rng.random() < 0.08 else 0.0)
        step = int(rng.choice(STEPS))
        key = min(max(key + (step if low <= key + step <= high else -step), low), high)
    return notes


def rendered(notes, program):
    """Return mono samples of notes."""
    track = mido.MidiTrack([mido.Message("program_change", program=program)])
    ends = [(off, 0, key, 0) for _, off, key, _ in notes]
    last = 0
    for seconds, on, key, velocity in sorted([(on, 1, key, velocity) for on, _, key, velocity in notes] + ends):
        tick = round(1000 * seconds)
        kind = "note_on" if on else "note_off"
        track.append(mido.Message(kind, note=key, velocity=velocity, time=tick - last))
        last = tick
    track.append(mido.MetaMessage("end_of_track", time=1000))
    with tempfile.TemporaryDirectory() as folder:
        midi, wav = Path(folder) / "notes.mid", Path(folder) / "notes.wav"
        mido.MidiFile(type=0, ticks_per_beat=500, tracks=[track]).save(midi)
        options = ["-n", "-i", "-q", "-f", os.devnull, "-R", "0", "-C", "0", "-g", "1", "-r", str(RATE)]
        subprocess.run(
            [fluidsynth(), *options, "-T", "wav", "-O", "float", "-F", str(wav), str(SOUNDFONT), str(midi)],
            check=True,
            capture_output=True,
        )
        return soundfile.read(wav, dtype="float32", always_2d=True)[0].mean(1)


def matched(asked, found, seconds, semitones):
    """Return which of the asked (onset, key) are found, each once, and how many of those found are none of them."""
    left, hits = list(found), []
    for onset, key in asked:
        near = [one for one in left if abs(one[0] - onset) <= seconds and abs(one[1] - key) <= semitones]
        hits.append(bool(near))
        if near:
            left.remove(min(near, key=lambda one: abs(one[0] - onset)))
    return np.array(hits), len(left)


def notes_of(sound, rate):
    return [(note.start / rate, note.pitch) for note in segment_notes(sound, rate)]


def rendered_rows():
    """Print shares for each instrument, of notes with a gap before them and slurred ones."""
    print(f"{'rendered':<12}{'detached':>16}{'slurred':>16}{'false':>8}")
    totals = np.zeros(5, int)
    for place, (name, (program, low, high)) in enumerate(INSTRUMENTS.items()):
        row = np.zeros(5, int)
        for number in range(MELODIES):
            notes = melody(FIRST + 100 * place + number, low, high)
            hits, false = matched(
                [(on, key) for on, _, key, _ in notes], notes_of(rendered(notes, program), RATE), TIME_SECONDS, PITCH
            )
            slurred = np.array([False] + [after[0] - note[1] < 0.01 for note, after in itertools.pairwise(notes)])
            row += hits[~slurred].sum(), (~slurred).sum(), hits[slurred].sum(), slurred.sum(), false
        print(line(name, row))
        totals += row
    print(line("all", totals))


def line(name, row):
    shares = [f"{100 * hit / max(count, 1):4.0f} % of {count:4}" for hit, count in (row[:2], row[2:4])]
    return f"{name:<12}{shares[0]:>16}{shares[1]:>16}{row[4]:>8}"


def number(name):
    return 12 * (int(name[-1]) + 1) + PITCH_CLASSES.index(name[:-1])


def phrase_rows(folder):
    lists = json.loads((Path(__file__).parent / "phrases.json").read_text(encoding="utf-8"))
    print(f"{'recorded':<48}{'found':>12}{'false':>8}")
    for name, notes in lists.items():
        sound, rate = soundfile.read(folder / name, dtype="float32", always_2d=True)
        asked = [(seconds, number(key)) for seconds, key in notes]
        hits, false = matched(asked, notes_of(sound.mean(1), rate), BY_EYE_SECONDS, 0.5)
        print(f"{name:<48}{f'{hits.sum()} of {len(hits)}':>12}{false:>8}")


def main():
    """Print both tables."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("phrases", nargs="?", type=Path, help="a folder of recorded phrases")
    options = parser.parse_args()
    rendered_rows()
    if options.phrases is not None:
        phrase_rows(options.phrases)


if __name__ == "__main__":
    main()
