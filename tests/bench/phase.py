"""How well phases fit magnitudes: timbrel's methods and their peers, from the magnitudes of notes.

    python tests/bench/phase.py [FOLDER] [--notes N]

FOLDER holds ``NAME_{MIDI note}_{velocity}.flac``; without it, violin notes are rendered by FluidSynth, as those of the
other instruments are. N notes of each instrument, as far apart as they can be, make it faster; pghipy is measured where
it is installed.

First table, an instrument each: the spectral convergence of every frame that lies wholly inside its note (no
padding), so that attack and end count; the sound is the one whose spectra are nearest. ``4 x 256``: of the frames of
hop 256 every fourth is given and the others are interpolated, held against the true ones; ``as given``, against what
the method was given. Second table: the middle frame of a note for three seconds: how far the level swings, the
strongest line at multiples of the hop's rate beside the strongest partial, and what the frame itself holds there.
Third: noise, beside the noise itself; ``held``, its mean magnitudes in every frame, as a decoder whose latents stand
still gives them.
"""

import argparse
import os
import tempfile
import time
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path

os.environ["OMP_NUM_THREADS"] = "1"

import numpy as np
import soundfile
from phase_methods import (
    METHODS,
    Method,
    convergence_db,
    flatness_db,
    frame_lines_db,
    hop_lines_db,
    interpolated,
    kurtosis,
    log_distance_db,
    modulation_db,
    sound_of,
)
from timbrel.host.signal import stft
from timbrel.host.units import midi_to_hz
from timbrel.train.corpus.soundfont import render_soundfont
from timbrel.train.corpus.store import Corpus

SOUNDFONT = Path("/usr/share/sounds/sf2/FluidR3_GM.sf2")
VIOLIN, PIANO, FLUTE, APPLAUSE = 40, 0, 73, 126  # General MIDI, counted from 0
RATE, FRAME, HOP = 44100, 4096, 256
HOPS = (256, 512, 1024)
STEP = 4  # hop 1024 decoded, hop 256 sounded
HELD_SECONDS, HELD_NOTES = 3.0, 8
SETTLED = 0.5  # seconds of a held note that are left out at either end: a method may need some frames to begin
NOISE_SECONDS = 5.0


@dataclass(frozen=True)
class Note:
    key: int
    sound: np.ndarray


def read_notes(folder: Path) -> list[Note]:
    """Notes by key and velocity; the key stands before the last underscore of a file's name."""
    files = sorted(folder.glob("*.flac"))
    if not files:
        raise SystemExit(f"{folder} holds no .flac files; give a folder of notes, or none")
    return [Note(int(file.stem.split("_")[-2]), soundfile.read(file, dtype="float32")[0]) for file in files]


def rendered(program: int, keys: range, seconds: float = 1.2) -> list[Note]:
    with tempfile.TemporaryDirectory(prefix="timbrel-") as folder:
        target = Path(folder) / "corpus"
        render_soundfont(SOUNDFONT, target, programs=[program], notes=keys, seconds=seconds, channels=1, rate=RATE)
        corpus = Corpus.open(target)
        return [Note(clip.key or 0, np.array(corpus.samples(clip))) for clip in corpus.clips()]


def thinned(notes: list[Note], count: int) -> list[Note]:
    return [notes[i] for i in np.unique(np.linspace(0, len(notes) - 1, min(count, len(notes))).astype(int))]


def present() -> dict[str, Method]:
    """Methods that can be used here, each called once, so that what compiles has compiled."""
    found = {}
    frames = np.abs(stft(np.random.default_rng(0).standard_normal(8 * FRAME).astype(np.float32), FRAME, FRAME // 4))
    for name, method in METHODS.items():
        try:
            method(frames, FRAME, FRAME // 4)
        except ImportError as error:
            print(f"{name} is left out, not installed: {error.msg.splitlines()[0]}")
        else:
            found[name] = method
    return found


def convergence(method: Method, sound: np.ndarray) -> dict[str, float]:
    """What the first table says about one note."""
    said = {f"hop {hop}": 0.0 for hop in HOPS}
    for hop in HOPS:
        wanted = np.abs(stft(sound, FRAME, hop))
        began = time.perf_counter()
        spectra = method(wanted, FRAME, hop)
        spent = time.perf_counter() - began
        heard = np.abs(stft(sound_of(spectra, FRAME, hop), FRAME, hop))
        said[f"hop {hop}"] = convergence_db(wanted, heard)
        if hop == HOP:
            said["LSD"] = log_distance_db(wanted, heard)
            said["ms/frame"] = 1000 * spent / len(wanted)
            given = interpolated(wanted, STEP)
            heard = np.abs(stft(sound_of(method(given, FRAME, hop), FRAME, hop), FRAME, hop))
            said[f"{STEP} x {HOP}"] = convergence_db(wanted[: len(given)], heard)
            said["as given"] = convergence_db(given, heard)
            said[f"LSD {STEP} x"] = log_distance_db(wanted[: len(given)], heard)
    return said


def held(method: Method, note: Note) -> dict[str, float]:
    """What the second table says about one note."""
    frame = middle_frame(note)
    magnitudes = np.repeat(frame[np.newaxis], round(HELD_SECONDS * RATE / HOP), axis=0)
    sound = sound_of(method(magnitudes, FRAME, HOP), FRAME, HOP)
    settled = sound[round(SETTLED * RATE) : -round(SETTLED * RATE)]
    lines = hop_lines_db(settled, RATE, HOP, midi_to_hz(note.key))
    return {"swing": modulation_db(settled, RATE), "lines": lines}


def middle_frame(note: Note) -> np.ndarray:
    start = (len(note.sound) - FRAME) // 2
    return np.abs(stft(note.sound[start : start + FRAME], FRAME, HOP))[0]


def noises() -> dict[str, np.ndarray]:
    """Sounds that are noise: [samples] each."""
    white = 0.1 * np.random.default_rng(1).standard_normal(round(NOISE_SECONDS * RATE)).astype(np.float32)
    spectrum = np.fft.rfft(white)
    spectrum[1:] /= np.sqrt(np.arange(1, len(spectrum)))
    pink = np.fft.irfft(spectrum, len(white)).astype(np.float32)
    applause = rendered(APPLAUSE, range(60, 61), NOISE_SECONDS)[0].sound
    return {"white": white, "pink": pink * np.float32(0.1 / pink.std()), "applause": applause}


def print_table(title: str, rows: dict[str, dict[str, float]]) -> None:
    columns = list(next(iter(rows.values())))
    print(f"\n{title:<34}" + "".join(f"{column:>14}" for column in columns))
    for name, row in rows.items():
        print(f"{name:<34}" + "".join(f"{row[column]:>14.{2 if 'ms' in column else 1}f}" for column in columns))


def averages(many: list[dict[str, float]]) -> dict[str, float]:
    """Means over notes; of times the median."""
    return {key: float((np.median if "ms" in key else np.mean)([one[key] for one in many])) for key in many[0]}


def convergence_table(instrument: str, notes: list[Note], methods: dict[str, Method]) -> None:
    rows = {name: averages([convergence(method, note.sound) for note in notes]) for name, method in methods.items()}
    print_table(f"{instrument}, {len(notes)} notes, dB", rows)
    bound = []
    for note in notes:
        wanted = np.abs(stft(note.sound, FRAME, HOP))
        given = interpolated(wanted, STEP)
        bound.append(convergence_db(wanted[: len(given)], given))
    print(f"interpolated magnitudes themselves against the true ones: {np.mean(bound):.1f} dB")


def held_table(instrument: str, notes: list[Note], methods: dict[str, Method]) -> None:
    rows = {}
    for name, method in methods.items():
        many = [held(method, note) for note in notes]
        rows[name] = {
            f"{what} {kind}": float(of([one[what] for one in many]))
            for what in ("swing", "lines")
            for kind, of in (("mean", np.mean), ("worst", np.max))
        }
    print_table(f"{instrument}, {len(notes)} held, dB", rows)
    asked = [frame_lines_db(middle_frame(note), RATE, HOP, midi_to_hz(note.key)) for note in notes]
    print(f"in the frames themselves at the lines' places: mean {np.mean(asked):.1f}, worst {np.max(asked):.1f} dB")


def noise_table(methods: dict[str, Method]) -> None:
    rows: dict[str, dict[str, float]] = defaultdict(dict)
    for what, sound in noises().items():
        moving = np.abs(stft(sound, FRAME, HOP))
        still = np.repeat(np.sqrt(np.mean(np.square(moving), axis=0, keepdims=True)), len(moving), axis=0)
        rows["the noise itself"] |= {f"{what} flat": flatness_db(sound), f"{what} kurt": kurtosis(sound)}
        for name, method in methods.items():
            for how, magnitudes in (("", moving), (", held", still)):
                heard = sound_of(method(magnitudes, FRAME, HOP), FRAME, HOP)[FRAME:-FRAME]
                rows[name + how] |= {f"{what} flat": flatness_db(heard), f"{what} kurt": kurtosis(heard)}
    print_table("noise: flatness in dB, kurtosis", rows)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", nargs="?", type=Path)
    parser.add_argument("--notes", type=int, default=1000, help="of each instrument")
    asked = parser.parse_args()
    violin = read_notes(asked.folder) if asked.folder else rendered(VIOLIN, range(55, 92))
    instruments = {"violin": violin, "piano": rendered(PIANO, range(60, 73)), "flute": rendered(FLUTE, range(60, 73))}
    methods = present()
    for instrument, notes in instruments.items():
        convergence_table(instrument, thinned(notes, asked.notes), methods)
    for instrument, notes in instruments.items():
        held_table(instrument, thinned(notes, min(asked.notes, HELD_NOTES)), methods)
    noise_table(methods)


if __name__ == "__main__":
    main()
