import struct
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType

import numpy as np
import pytest
import soundfile
from timbrel.host.units import note_name
from timbrel.train.corpus.build import build
from timbrel.train.corpus.pitch import single_note
from timbrel.train.corpus.store import Corpus

RATE = 16_000
CHURCH = (0.5, 1, 1.183, 1.506, 2, 2.514, 2.662, 3.011, 4.166)  # of a church bell; its period lies 31 semitones lower
BELL = (1, 1.5933, 2.1355, 2.2954, 2.6531, 2.9173, 3.1555, 3.5001)  # of a membrane


def bell(key: int, seconds: float = 1.0, ratios: Sequence[float] = BELL) -> np.ndarray:
    times = np.arange(round(seconds * RATE)) / RATE
    hz = 440 * 2 ** ((key - 69) / 12)
    return 0.05 * np.sum([np.sin(2 * np.pi * ratio * hz * times + ratio) for ratio in ratios], axis=0) * np.exp(-times)


def hiss(seed: int) -> np.ndarray:
    return np.random.default_rng(seed).normal(0, 0.1, RATE) * np.exp(-np.arange(RATE) / 4000)


def write_root(path: Path, key: int) -> None:
    content = path.read_bytes() + b"smpl" + struct.pack("<10I", 36, 0, 0, 0, key, 0, 0, 0, 0, 0)
    path.write_bytes(content[:4] + struct.pack("<I", len(content) - 8) + content[8:])


def heard(
    tmp_path: Path, sounds: dict[str, np.ndarray], roots: Mapping[str, int] = MappingProxyType({})
) -> dict[str, float | None]:
    folder = tmp_path / "sounds"
    folder.mkdir()
    for name, sound in sounds.items():
        soundfile.write(folder / f"{name}.wav", sound, RATE)
        if name in roots:
            write_root(folder / f"{name}.wav", roots[name])
    report = build([folder], tmp_path / "corpus", rate=RATE, split="1/0/0")
    corpus = Corpus.open(tmp_path / "corpus")
    tracks = {clip.name.removesuffix(".wav"): corpus.pitch(clip) for clip in corpus.clips("train")}
    pitched = sum(np.isfinite(track).mean() * len(sounds[name]) / RATE for name, track in tracks.items())
    assert report.pitched_seconds == pytest.approx(pitched, abs=0.05)
    assert set(report.named) <= {f"{name}.wav" for name in sounds}
    return {name: single_note(track) for name, track in tracks.items()}


def test_bells_take_the_notes_of_their_names(tmp_path: Path) -> None:
    notes = {"bell C4": 60, "bell Ds4": 63, "bell F#4": 66, "bell A4": 69, "bell c5": 72}
    assert heard(tmp_path, {name: bell(key) for name, key in notes.items()}) == notes


def test_syllables_are_names_too(tmp_path: Path) -> None:
    notes = {"do4": 60, "mi4": 64, "sol4": 67, "si4": 71, "do5": 72}
    assert heard(tmp_path, {name: bell(key) for name, key in notes.items()}) == notes


KEYS = range(60, 72, 2)
SPELLINGS = {
    "trackers": lambda key: f"bell {note_name(key)[0]}{'#' if '#' in note_name(key) else '-'}{note_name(key)[-1]}",
    "velocities": lambda key: f"bell_{note_name(key)}_v{key}",
    "middle C is C4": lambda key: f"bell{note_name(key)}",
    "keys": lambda key: f"bell_{key:03}_100",
}


@pytest.mark.parametrize("spelling", SPELLINGS)
def test_bells_with_a_wrong_period_take_the_notes_of_their_names(tmp_path: Path, spelling: str) -> None:
    notes = {SPELLINGS[spelling](key): key for key in KEYS}
    assert heard(tmp_path, {name: bell(key, ratios=CHURCH) for name, key in notes.items()}) == notes


def test_layers_of_bells_take_the_notes_of_their_names(tmp_path: Path) -> None:
    notes = {f"bell {note_name(key)}v{layer}": key for key in range(60, 68, 2) for layer in (1, 2, 3)}
    sounds = {name: bell(key, 0.5 + 0.1 * int(name[-1]), CHURCH) for name, key in notes.items()}
    assert heard(tmp_path, sounds) == notes


def test_bells_take_the_root_keys_of_their_files_before_their_names(tmp_path: Path) -> None:
    notes = {f"bell {letter}4": key for letter, key in zip("CDEFGA", KEYS, strict=True)}
    assert heard(tmp_path, {name: bell(key, ratios=CHURCH) for name, key in notes.items()}, notes) == notes


def test_a_root_key_that_an_editor_gave_to_all_files_says_nothing(tmp_path: Path) -> None:
    notes = {f"bell {note_name(key)}": key for key in KEYS}
    sounds = {name: bell(key, ratios=CHURCH) for name, key in notes.items()}
    assert heard(tmp_path, sounds, dict.fromkeys(notes, 60)) == notes


def test_bells_take_the_octaves_that_others_of_their_folder_have(tmp_path: Path) -> None:
    """Names that count from middle C, C3; of most bells the period is the note's, though their partials deny it."""
    notes = {f"bell {note_name(key - 12)}": key for key in range(60, 76, 2)}
    sounds = {name: bell(key, ratios=BELL if key < 64 else (1, 1.97, 2.94, 4.09)) for name, key in notes.items()}
    assert heard(tmp_path, sounds) == {name: pytest.approx(key, abs=0.2) for name, key in notes.items()}
    assert Corpus.open(tmp_path / "corpus").report.named == {"bell C3.wav": "C4", "bell D3.wav": "D4"}


def test_names_that_sure_pitches_deny_say_nothing(tmp_path: Path) -> None:
    notes = {f"bell {note_name(key)}": key for key in KEYS}
    sounds = {name: bell(key, ratios=CHURCH) for name, key in notes.items()}
    sounds |= {f"bell {note_name(key)}": bell(key + 3, ratios=(1, 2, 3, 4)) for key in (60, 62)}
    found = heard(tmp_path, sounds)
    assert {name for name, note in found.items() if note == notes[name]} == set()


@pytest.mark.parametrize("count", [1, 4], ids=["a melody a note", "several melodies a note"])
def test_melodies_keep_their_notes(tmp_path: Path, count: int) -> None:
    """Phrases of the Philharmonia Orchestra are named by their first notes."""
    rise = np.linspace(0, 1, 200)
    notes = {
        (key, take): [bell(key + step + take, 0.5, (1, 2, 3)) for step in (0, 4, 7, 5, 2)]
        for key in range(60, 68, 2)
        for take in range(count)
    }
    for part in (part for parts in notes.values() for part in parts):
        part[:200] *= rise
        part[-200:] *= rise[::-1]
    names = {f"flute_{note_name(key)}_phrase_{take}": np.concatenate(parts) for (key, take), parts in notes.items()}
    assert set(heard(tmp_path, names).values()) == {None}


def test_bells_whose_period_jumps_are_no_melodies(tmp_path: Path) -> None:
    notes = {f"bell {note_name(key)}": key for key in KEYS}
    ratios = (1, 1.97, 2.94, 4.09)
    sounds = {
        name: np.concatenate([bell(key + jump, 0.5, ratios) for jump in (0, 7, 2)]) for name, key in notes.items()
    }
    assert heard(tmp_path, sounds) == notes


def test_a_bell_whose_pitch_is_sure_keeps_it(tmp_path: Path) -> None:
    """One file's name says another note than its partials."""
    notes = {f"bell {note_name(key)}": key for key in KEYS}
    sounds = {name: bell(key, ratios=CHURCH) for name, key in notes.items()}
    found = heard(tmp_path, {**sounds, "bell D5": bell(76, ratios=(1, 2, 3, 4))})
    assert found.pop("bell D5") == pytest.approx(76, abs=0.1)
    assert found == notes


@pytest.mark.parametrize(
    "names",
    [
        ["bell 1", "bell 2", "bell 3", "bell 4", "bell 5"],
        ["bell 60", "bell 62", "bell 64", "bell 65", "bell 67"],  # numbers may be takes
        ["bell C4 a", "bell C4 b", "bell C4 c", "bell C4 d", "bell D4"],
        ["bell C4 D4", "bell E4 F4", "bell G4 A4", "bell C5 D5", "bell E5 F5"],
        ["bell C4", "bell", "chime", "ring", "bell D4"],
        ["bell C4", "bell D4", "bell E4"],
    ],
)
def test_other_names_say_nothing(tmp_path: Path, names: list[str]) -> None:
    found = heard(tmp_path, {name: bell(60 + 2 * place) for place, name in enumerate(names)})
    assert set(found.values()) == {None}


def test_noises_keep_no_pitch(tmp_path: Path) -> None:
    names = ["C4", "D4", "E4", "F4", "G4"]
    assert set(heard(tmp_path, {name: hiss(place) for place, name in enumerate(names)}).values()) == {None}


def test_a_folder_of_heard_notes_is_left_as_it_is(tmp_path: Path) -> None:
    times = np.arange(RATE) / RATE
    tones = {
        f"tone {name}": 0.2 * np.sin(2 * np.pi * 440 * 2 ** ((key - 69) / 12) * times) * (1 + np.exp(-9 * times))
        for name, key in (("C4", 60), ("D4", 62), ("E4", 64), ("F4", 65))
    }
    found = heard(tmp_path, {**tones, "tone G4": bell(67)})
    assert found.pop("tone G4") is None
    assert [round(note) for note in found.values() if note] == [60, 62, 64, 65]
