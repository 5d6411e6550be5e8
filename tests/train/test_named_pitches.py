from pathlib import Path

import numpy as np
import pytest
import soundfile
from timbrel.train.corpus.build import build
from timbrel.train.corpus.pitch import single_note
from timbrel.train.corpus.store import Corpus

RATE = 16_000
BELL = (1, 1.5933, 2.1355, 2.2954, 2.6531, 2.9173, 3.1555, 3.5001)  # of a membrane


def bell(key: int, seconds: float = 1.0) -> np.ndarray:
    times = np.arange(round(seconds * RATE)) / RATE
    hz = 440 * 2 ** ((key - 69) / 12)
    return 0.05 * np.sum([np.sin(2 * np.pi * ratio * hz * times + ratio) for ratio in BELL], axis=0) * np.exp(-times)


def hiss(seed: int) -> np.ndarray:
    return np.random.default_rng(seed).normal(0, 0.1, RATE) * np.exp(-np.arange(RATE) / 4000)


def heard(tmp_path: Path, sounds: dict[str, np.ndarray]) -> dict[str, float | None]:
    folder = tmp_path / "sounds"
    folder.mkdir()
    for name, sound in sounds.items():
        soundfile.write(folder / f"{name}.wav", sound, RATE)
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
