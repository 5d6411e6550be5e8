"""Notes that are found in melodies: `melodies.py [PHRASES]`.

Melodies are rendered through a soundfont from notes that are known, three an instrument; a note counts if it is found
within 30 ms and 30 cents. Slurred notes begin where the note before is let go, and its release sounds on.

Notes are compared twice. "As played" are the times and keys of the MIDI notes. "As sounding" are those of each note
rendered alone: samples begin late, attack slowly and deviate from their keys. A note alone begins where it first comes
within 20 dB of its peak; its pitch has the strongest partials within a semitone of its key.

With the folder of recorded phrases, their notes are compared with `phrases.json`, a list made by eye from pictures of
pitch, spectrum and level: a note counts if its key is right within 60 ms.
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
from timbrel.train.corpus.note_segmentation import segment_notes
from timbrel.train.corpus.soundfont import fluidsynth

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
BEGUN = 0.1  # of a note's peak, -20 dB, where it begins to be audible
REST_SECONDS = 2.0  # between notes alone: releases have died away
HELD_SECONDS = 0.08  # of the shortest part whose pitch is measured
CENTS = np.arange(-100, 101)  # a sample's deviation from its key
PARTIALS = 6


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


def sounding(notes, program):
    """Return (onset in seconds, MIDI note with fractions) of notes as they sound alone."""
    length = [off - on for on, off, *_ in notes]
    begins = np.cumsum([0.3] + [seconds + REST_SECONDS for seconds in length])
    alone = [(at, at + held, *note[2:]) for at, held, note in zip(begins, length, notes, strict=False)]
    sound, found = rendered(alone, program), []
    for (at, off, key, _), (on, *_) in zip(alone, notes, strict=True):
        first, last = round(at * RATE), round((off + REST_SECONDS - 0.1) * RATE)
        begun = first + int(np.argmax(np.abs(sound[first:last]) >= BEGUN * np.abs(sound[first:last]).max()))
        held = sound[begun : max(round(off * RATE), begun + round(HELD_SECONDS * RATE))]
        found.append((on + (begun - first) / RATE, sounding_pitch(held, key)))
    return found


def sounding_pitch(sound, key):
    """Return the MIDI note within a semitone of ``key`` whose partials are strongest."""
    spectrum = np.abs(np.fft.rfft(sound * np.hanning(len(sound)), 4 * RATE))  # bins of a quarter hertz
    hertz = 440 * 2 ** ((key + CENTS / 100 - 69) / 12)
    partials = [number * hertz for number in range(1, PARTIALS + 1) if number * hertz.max() < RATE / 2]
    return key + CENTS[np.argmax(np.sum([spectrum[np.round(4 * at).astype(int)] for at in partials], axis=0))] / 100


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
    print(f"{'':<12}{'as played':<40}{'as sounding':<40}")
    print(f"{'rendered':<12}" + 2 * f"{'detached':>16}{'slurred':>16}{'false':>8}")
    totals = np.zeros(10, int)
    for place, (name, (program, low, high)) in enumerate(INSTRUMENTS.items()):
        row = np.zeros(10, int)
        for number in range(MELODIES):
            row += counts(melody(FIRST + 100 * place + number, low, high), program)
        print(line(name, row))
        totals += row
    print(line("all", totals))


def counts(notes, program):
    """Return found and all detached notes, found and all slurred ones, false ones: as played, then as sounding."""
    slurred = np.array([False] + [after[0] - note[1] < 0.01 for note, after in itertools.pairwise(notes)])
    found, row = notes_of(rendered(notes, program), RATE), []
    for asked in [(on, key) for on, _, key, _ in notes], sounding(notes, program):
        hits, false = matched(asked, found, TIME_SECONDS, PITCH)
        row += [hits[~slurred].sum(), (~slurred).sum(), hits[slurred].sum(), slurred.sum(), false]
    return np.array(row)


def line(name, row):
    text = f"{name:<12}"
    for hits, detached, joined, slurred, false in row.reshape(2, 5):
        for hit, count in (hits, detached), (joined, slurred):
            text += f"{f'{100 * hit / max(count, 1):4.0f} % of {count:4}':>16}"
        text += f"{false:>8}"
    return text


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
