"""Notes that one engine computes together, beside each of them alone."""

from pathlib import Path

import numpy as np
import pytest
import timbrel
from timbrel.host.play.separate_notes import SeparateNote, render_notes
from timbrel.host.preset.library import open_patch
from timbrel.host.preset.shipped import PRESETS

RATE = 44_100


def together(name: str, notes: list[SeparateNote], seconds: float, rate: int = RATE) -> list[np.ndarray]:
    found = sorted(render_notes(open_patch(name), notes, round(seconds * rate), rate), key=lambda one: one[0])
    return [np.broadcast_to(sound.samples, (2, sound.samples.shape[1])) for _, sound in found]


def alone(name: str, note: SeparateNote, seconds: float, rate: int = RATE, **knobs: float) -> np.ndarray:
    struck = timbrel.Note(note.key, 0.5 if knobs else 0, note.held_seconds, note.velocity)  # a knob moves for a while
    sound = np.asarray(timbrel.open(name).render(struck, rate, knobs=knobs or None))
    sound = sound[:, round(struck.start * rate) :]
    full = np.zeros((2, round(seconds * rate)), np.float32)
    count = min(full.shape[1], sound.shape[1])
    full[:, :count] = sound[:, :count]
    return full


def levels_db(sound: np.ndarray) -> np.ndarray:
    frames = sound[:, : sound.shape[1] // 2205 * 2205].reshape(2, -1, 2205)
    return np.asarray(10 * np.log10(np.square(frames).mean(axis=(0, 2)) + 1e-7))


@pytest.mark.parametrize(
    ("name", "key", "rate"),
    [
        ("gm-oboe", 62, RATE),
        ("gm-oboe", 62, 48_000),  # resampled
        ("gm-hall", 62, RATE),  # effects, and voices in stereo
        ("drum-kit", 38, RATE),  # a clip that ends by itself
        ("drum-loops", 60, RATE),
    ],
)
def test_the_first_note_has_the_samples_that_it_has_alone(name: str, key: int, rate: int) -> None:
    note = SeparateNote(key, 101, 0.7, {})
    both = together(name, [note, note._replace(key=key + 1)], 1.5, rate)
    expected = alone(name, note, 1.5, rate)
    assert np.abs(expected).max() > 0.01
    assert np.abs(both[0] - expected).max() < 1e-6


def test_all_notes_have_the_samples_that_they_have_alone() -> None:
    notes = [SeparateNote(key, velocity, 0.7, {}) for key, velocity in ((50, 60), (60, 127), (70, 90))]
    for note, sound in zip(notes, together("gm-strings", notes, 1.5), strict=True):
        assert np.abs(sound - alone("gm-strings", note, 1.5)).max() < 1e-6


@pytest.mark.parametrize("name", ["gm-strings", "gm-hall", "lakeside-soundscape", "drum-loops"])
def test_numbers_change_phases_and_chance_alone(name: str) -> None:
    notes = [SeparateNote(60, 100, 0.7, {}, number) for number in (7, 20_000, 7)]
    first, second, again = together(name, notes, 1.5)
    assert np.array_equal(first, again)
    assert np.abs(first - second).max() > 0.01
    if name.startswith("gm"):
        assert np.median(np.abs(levels_db(first) - levels_db(second))) < 0.5


def test_pitches_are_those_of_the_played_keys() -> None:
    notes = [SeparateNote(key, 100, 0.5, {}) for key in (45, 69, 81)]
    for note, sound in zip(notes, together("gm-lead", notes, 1.0), strict=True):
        spectrum = np.abs(np.fft.rfft(sound[0, :22050] * np.hanning(22050), 1 << 19))
        hertz = 440 * 2 ** ((note.key - 69) / 12)
        near = slice(round(hertz * 0.97 / RATE * (1 << 19)), round(hertz * 1.03 / RATE * (1 << 19)))
        found = (near.start + spectrum[near].argmax()) * RATE / (1 << 19)
        assert abs(1200 * np.log2(found / hertz)) < 2


def test_each_note_has_the_knobs_of_its_own() -> None:
    high = timbrel.open("gm-oboe").knobs["latent 1"].high
    turned = SeparateNote(60, 100, 0.5, {"latent.1": high, "gain": -6.0})
    plain, other = together("gm-oboe", [SeparateNote(60, 100, 0.5, {}), turned], 0.8)
    assert np.abs(plain - alone("gm-oboe", SeparateNote(60, 100, 0.5, {}), 0.8)).max() < 1e-6
    gain = timbrel.open("gm-oboe").knobs["gain"]
    positions = {"latent.1": 1.0, "gain": (-6.0 - gain.low) / (gain.high - gain.low)}
    expected = alone("gm-oboe", turned, 0.8, **positions)
    assert np.median(np.abs(levels_db(other) - levels_db(expected))) < 0.5
    assert np.median(np.abs(levels_db(other) - levels_db(plain))) > 3


def test_notes_that_move_the_engine_are_computed_apart() -> None:
    notes = [SeparateNote(38, 100, 0.5, {"clip.pitch": pitch}) for pitch in (0.0, 7.0, 0.0)]
    plain, higher, again = together("drum-kit", notes, 0.6)
    assert np.array_equal(plain, again)
    assert np.abs(plain - higher).max() > 0.01
    assert np.abs(plain - together("drum-kit", [SeparateNote(38, 100, 0.5, {})], 0.6)[0]).max() < 1e-6


def test_a_latched_texture_ends_with_its_note() -> None:
    held, longer = together("lakeside-soundscape", [SeparateNote(60, 100, s, {}) for s in (0.5, 3.0)], 3.0)
    assert np.abs(longer[:, -4410:]).max() > 0.01
    assert levels_db(held)[-5:].max() < levels_db(longer)[-5:].min() - 10


def test_notes_whose_macro_moves_the_engine_are_computed_apart(tmp_path: Path) -> None:
    text = (PRESETS / "drum-kit.toml").read_text(encoding="utf-8")
    macro = '[[macro]]\nname = "tune"\ntargets = [{target = "clip.pitch", low = 0.0, high = 7.0}]\n'
    (tmp_path / "kit.toml").write_text(f"{text}\n{macro}", encoding="utf-8")
    notes = [SeparateNote(38, 100, 0.5, {"macro.0": turned}) for turned in (0.0, 1.0, 0.0)]
    plain, higher, again = together(str(tmp_path / "kit.toml"), notes, 0.6)
    assert np.array_equal(plain, again)
    assert np.abs(plain - higher).max() > 0.01
    for sound, note in ((plain, notes[0]), (higher, notes[1])):
        assert np.abs(sound - together(str(tmp_path / "kit.toml"), [note], 0.6)[0]).max() < 1e-6
