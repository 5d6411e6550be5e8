"""Does an independent program hear a tune's notes where they were played, as it does those of the source?

    pip install --no-deps --target FOLDER basic-pitch==0.4.0
    PYTHONPATH=FOLDER python tests/bench/heard_onsets.py [PRESET ...] [--piano RECORDINGS] [--velocity N]

A tune of 48 single notes is played by each preset, and by its source: by fluidsynth with the program of the soundfont
that the preset learned, or for the grand piano with its recordings (each note from the nearest layer and key).
Basic Pitch transcribes them (Bittner et al., "A lightweight instrument-agnostic model for polyphonic note transcription
and multipitch estimation", ICASSP 2022): its ONNX model, and its own note creation with its published thresholds, .5
for onsets and .3 for frames, notes of 128 ms at least. Printed are the F-measure of onsets within 50 ms, of those whose
key is right too, precision and recall of the former, the median milliseconds from the note-on to the onset, and how
many of the superfluous onsets are a partial of a note that is heard too.
"""

import argparse
import importlib.util
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import NamedTuple
from unittest.mock import MagicMock

import librosa
import mido
import numpy as np
import scipy.signal
import soundfile
from scipy.sparse import csr_array
from scipy.sparse.csgraph import maximum_bipartite_matching
from timbrel.host.events import Event, NoteOff, NoteOn
from timbrel.host.play.rack import Rack
from timbrel.host.preset.library import open_patch

# Presets, and the programs of General MIDI from 0 whose notes they learned; the grand piano learned recordings.
PROGRAMS: dict[str, int | None] = {
    "electric-piano": 4,
    "solo-oboe": 68,
    "string-ensemble": 48,
    "grand-piano": None,
    "gm-keys": 4,
    "gm-oboe": 68,
    "gm-strings": 48,
}
RATE = 44100
NOTES, LOWEST, HIGHEST = 48, 60, 81  # the oboe and a violin have these keys
SCALE = (0, 2, 4, 5, 7, 9, 11)
BEATS_SECONDS = (0.25, 0.375, 0.5)
SOUNDING, REST_SECONDS = 0.9, 1.0  # of the time to the next note; before and after the tune
WITHIN_SECONDS = 0.05
ONSET_THRESHOLD, FRAME_THRESHOLD, LEAST_FRAMES = 0.5, 0.3, 11  # the program's defaults: 11 frames are 128 ms
PARTIALS = (12, 19, 24, 28)  # semitones above a key that is heard too: its second to fifth partial
LAYERS = {"piano": 48, "mezzo-forte": 80, "fortissimo": 112}  # by velocity, as corpora read these marks
RELEASE = RATE // 5  # samples
TICKS_A_SECOND = 960  # at mido's 480 a beat and 120 beats a minute


class Note(NamedTuple):
    seconds: float
    end_seconds: float
    key: int
    velocity: int


def tune() -> list[Note]:
    """A walk on C major, the same in each call."""
    rng = np.random.default_rng(69)
    keys = [key for key in range(LOWEST, HIGHEST + 1) if key % 12 in SCALE]
    place, seconds, notes = len(keys) // 2, REST_SECONDS, []
    for _ in range(NOTES):
        steps = rng.choice([-4, -3, -2, -1, 1, 2, 3, 4])  # no key twice in a row
        place += steps if 0 <= place + steps < len(keys) else -steps
        length = float(rng.choice(BEATS_SECONDS))
        notes.append(Note(seconds, seconds + SOUNDING * length, keys[place], int(rng.integers(64, 113))))
        seconds += length
    return notes


def by_preset(name: str, notes: list[Note]) -> np.ndarray:
    """The tune in mono, [samples]."""
    rack, count = Rack({0: open_patch(name)}, RATE), round((notes[-1].end_seconds + REST_SECONDS) * RATE)
    events: list[Event] = [NoteOn(round(note.seconds * RATE), 0, note.key, note.velocity) for note in notes]
    events += [NoteOff(round(note.end_seconds * RATE), 0, note.key) for note in notes]
    blocks = []
    for start in range(0, count, 4096):
        size = min(4096, count - start)
        due = sorted((event for event in events if start <= event.time < start + size), key=lambda event: event.time)
        blocks.append(rack.process(due, size)[0].mean(0))
    rack.close()
    return np.concatenate(blocks)


def by_fluidsynth(program: int, soundfont: Path, notes: list[Note], folder: Path) -> np.ndarray:
    """The tune in mono, [samples], without reverb and chorus."""
    track = mido.MidiTrack([mido.Message("program_change", program=program)])
    moments = [(note.seconds, 1, note) for note in notes] + [(note.end_seconds, 0, note) for note in notes]
    ticks = 0
    for seconds, is_on, note in sorted(moments, key=lambda moment: moment[:2]):
        step, ticks = round(seconds * TICKS_A_SECOND) - ticks, round(seconds * TICKS_A_SECOND)
        velocity = note.velocity if is_on else 0
        track.append(mido.Message("note_on", note=note.key, velocity=velocity, time=step))
    mido.MidiFile(tracks=[track]).save(folder / "tune.mid")
    command = ["fluidsynth", "-ni", "-q", "-R", "0", "-C", "0", "-g", "0.6", "-r", str(RATE)]
    subprocess.run([*command, "-F", folder / "tune.wav", soundfont, folder / "tune.mid"], check=True)
    sound, _ = soundfile.read(folder / "tune.wav")
    return sound.mean(1)


def by_recordings(files: Path, notes: list[Note]) -> np.ndarray:
    """The tune in mono, [samples], of files such as piano_Ds4_fortissimo.flac: the nearest layer and key."""
    keys = {int(librosa.note_to_midi(path.stem.split("_")[1].replace("s", "#"))): path.stem for path in files.iterdir()}
    tune = np.zeros(round((notes[-1].end_seconds + REST_SECONDS) * RATE))
    for note in notes:
        key = min(keys, key=lambda key: abs(key - note.key))
        layer = min(LAYERS, key=lambda layer: abs(LAYERS[layer] - note.velocity))
        path = files / f"{keys[key].rpartition('_')[0]}_{layer}.flac"
        recording, rate = soundfile.read(path, frames=3 * RATE, always_2d=True)
        count = round(len(recording) * RATE / rate / 2 ** ((note.key - key) / 12))
        sound = scipy.signal.resample(recording.mean(1), count)
        start, held = round(note.seconds * RATE), round((note.end_seconds - note.seconds) * RATE)
        sound = sound[: min(held + RELEASE, len(tune) - start)]
        sound[held:] *= np.linspace(1, 0, len(sound) - held)
        tune[start : start + len(sound)] += sound
    return tune


def heard(sound: np.ndarray, folder: Path) -> list[tuple[float, int]]:
    """Onsets in seconds and keys of the notes that the program hears."""
    for missing in ("mir_eval", "pretty_midi", "resampy"):  # for files that are not written here
        sys.modules.setdefault(missing, MagicMock())
    import basic_pitch
    from basic_pitch.inference import run_inference
    from basic_pitch.note_creation import model_frames_to_time, output_to_notes_polyphonic

    soundfile.write(folder / "heard.wav", sound / max(np.abs(sound).max(), 1e-9), RATE)
    model = Path(basic_pitch.__file__).parent / "saved_models" / "icassp_2022" / "nmp.onnx"
    output = run_inference(folder / "heard.wav", model)
    times = model_frames_to_time(len(output["note"]))
    events = output_to_notes_polyphonic(
        output["note"], output["onset"], ONSET_THRESHOLD, FRAME_THRESHOLD, LEAST_FRAMES, True, None, None
    )
    return [(float(times[start]), int(key)) for start, _, key, _ in events]


def matches(notes: list[Note], found: list[tuple[float, int]], *, keys: bool) -> list[tuple[Note, float]]:
    """The most pairs of notes and heard onsets within 50 ms, each in one pair."""
    near = np.array(
        [[abs(seconds - note.seconds) <= WITHIN_SECONDS and (not keys or key == note.key) for seconds, key in found]
         for note in notes]
    )  # fmt: skip
    if not near.size:
        return []
    partners = maximum_bipartite_matching(csr_array(near.astype(int)), perm_type="column")
    return [(note, found[at][0]) for note, at in zip(notes, partners.tolist(), strict=True) if at >= 0]


def line(name: str, notes: list[Note], found: list[tuple[float, int]]) -> str:
    of_onsets, of_notes = (matches(notes, found, keys=keys) for keys in (False, True))
    f_onsets, f_notes = (2 * len(pairs) / (len(notes) + len(found)) for pairs in (of_onsets, of_notes))
    late_ms = 1000 * np.median([seconds - note.seconds for note, seconds in of_onsets] or [np.nan])
    precision, recall = len(of_onsets) / max(1, len(found)), len(of_onsets) / len(notes)
    heard_keys = {(note.seconds, note.key) for note, _ in of_notes}
    partials = [
        (seconds, key)
        for seconds, key in found
        if any(
            abs(seconds - note.seconds) <= WITHIN_SECONDS
            and key - note.key in PARTIALS
            and (note.seconds, note.key) in heard_keys
            for note in notes
        )
    ]
    return (
        f"{name:<22}{f_onsets:5.2f}{f_notes:7.2f}{precision:11.2f}{recall:8.2f}{late_ms:5.0f}"
        f"{len(partials):6} of {len(found) - len(of_onsets)}"
    )


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("presets", nargs="*", default=list(PROGRAMS))
    parser.add_argument("--soundfont", type=Path, default=Path("/usr/share/sounds/sf2/FluidR3_GM.sf2"))
    parser.add_argument("--piano", type=Path)
    parser.add_argument("--velocity", type=int, help="of all notes, in place of 64 to 112")
    arguments = parser.parse_args()
    if importlib.util.find_spec("basic_pitch") is None:
        sys.exit(
            "basic-pitch is missing: pip install --no-deps --target FOLDER basic-pitch==0.4.0, then PYTHONPATH=FOLDER"
        )
    if shutil.which("fluidsynth") is None or not arguments.soundfont.is_file():
        sys.exit(f"fluidsynth or {arguments.soundfont} is missing: apt install fluidsynth fluid-soundfont-gm")
    notes = [note._replace(velocity=arguments.velocity or note.velocity) for note in tune()]
    print(f"{'':<22}    F  F, key  precision  recall   ms  partials")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for program in dict.fromkeys(PROGRAMS[preset] for preset in arguments.presets):
            if program is not None:
                source = by_fluidsynth(program, arguments.soundfont, notes, folder)
                print(line(f"{arguments.soundfont.stem}, {program}", notes, heard(source, folder)), flush=True)
            elif arguments.piano is not None:
                print(line("its recordings", notes, heard(by_recordings(arguments.piano, notes), folder)), flush=True)
            for preset in arguments.presets:
                if PROGRAMS[preset] == program:
                    print(line(f"  {preset}", notes, heard(by_preset(preset, notes), folder)), flush=True)


if __name__ == "__main__":
    main()
