"""Modes of recorded notes: those of a bell and of a stiff string, and none of winds and noise."""

from types import SimpleNamespace

import numpy as np
import pytest
from timbrel.export.export import export
from timbrel.export.fidelity.notes import RecordedNote
from timbrel.export.gestures import build
from timbrel.export.gestures.trajectory import NoteModes, modes_of
from timbrel.host.kinds.card_fields import PartialsLayout
from timbrel.host.model.gesture import VIBRATO_CENTS
from timbrel.host.model.model import Model
from timbrel.host.preset.shipped import MODELS
from timbrel.host.signal import white_noise
from timbrel.host.units import midi_to_hz
from timbrel.train.corpus.store import writing
from timbrel.train.families.recipes import load_recipe
from timbrel.train.launch import start
from timbrel.train.loop import RunOptions
from timbrel.train.run import Run

RATE, KEY = 44100, 60
BELL = [0.62, 1.98, 2.92, 4.02, 5.24, 6.38, 8.02, 9.54]
BELL_DB = [-20, -12, -3, 0, -6, -18, -25, -30]


@pytest.fixture(scope="module")
def card():
    known = Model(MODELS / "gm-partials-8.onnx").card
    frames = load_recipe("tuned-partials").frames
    layout = PartialsLayout(harmonics=frames.harmonics, edges_hz=frames.edges_hz, low=36, high=96)
    sizes = {"sample_rate": RATE, "frame_length": frames.frame_length, "hop_length": frames.hop_length}
    return known.model_copy(update=sizes | {"partials": layout})


def modes(card, ratios, levels_db, key=KEY, decay=4.0, hiss=0.0, seconds=1.4):
    """Modes of a note of sinusoids that decay, of noise that does so too, or of both."""
    time = np.arange(round(seconds * RATE)) / RATE
    level = np.minimum(time / 0.003, 1) * np.exp(-decay * time)
    parts = [
        10 ** (db / 20) * np.sin(2 * np.pi * midi_to_hz(key) * ratio * time + ratio)
        for ratio, db in zip(ratios, levels_db, strict=True)
    ]
    sound = 0.05 * level * (np.sum(parts, 0) + hiss * white_noise(len(time)))
    note = RecordedNote(SimpleNamespace(pitch=float(key), key=key), sound.astype(np.float32), seconds - 0.1, -10.0)
    return modes_of(note, card)


@pytest.mark.parametrize("key", [48, 60, 76])
def test_a_bells_modes_have_its_ratios_and_its_noise_is_theirs(card, key):
    found = modes(card, BELL, BELL_DB, key, hiss=0.003)
    assert np.sort(found.modes[:, 0]) == pytest.approx(BELL, abs=2e-3)
    by_ratio = {round(ratio, 2): (int(harmonic), share) for ratio, harmonic, share in found.modes}
    assert by_ratio[4.02][0] == 4
    assert by_ratio[2.92][0] == 3
    if key == 48:  # a quarter of a bin away: it is that harmonic alone
        assert by_ratio[4.02][1] == 0
    for ratio in (0.62, 9.54):
        assert by_ratio[ratio][0] == 0
        assert by_ratio[ratio][1] > 0.8
    assert found.free > 0.1


def test_a_harmonic_moves_to_one_mode_alone_at_every_key(card):
    for key in range(40, 90, 7):
        harmonics = modes(card, [*BELL, 3.88, 4.13], [*BELL_DB, -8, -9], key).modes[:, 1]
        harmonics = harmonics[harmonics > 0]
        assert len({*harmonics.tolist()}) == len(harmonics)


def test_a_stiff_strings_harmonics_move_and_none_is_free(card):
    number = np.arange(1.0, 9.0)
    ratios = number * np.sqrt((1 + 4e-4 * number**2) / (1 + 4e-4))
    found = modes(card, ratios, -4 * number, 48)
    assert found.modes[:, 0] == pytest.approx(ratios[found.modes[:, 1].astype(int) - 1], rel=2e-5)
    assert {*found.modes[:, 1].tolist()} >= {4, 5, 6, 7, 8}  # those off by half a cent or more
    assert found.modes[found.modes[:, 1] < 8, 2] == pytest.approx(0.0)  # the eighth is over a bin away, partly noise
    assert found.free < 0.01


def test_harmonics_noise_and_sustained_notes_have_no_modes(card):
    number = np.arange(1.0, 20.0)
    assert not len(modes(card, number, -3 * number).modes)
    assert not len(modes(card, [1.0], [0.0], hiss=1.0).modes)
    assert not len(modes(card, BELL, BELL_DB, decay=0.3).modes)
    assert not len(modes(card, BELL, BELL_DB, seconds=0.15).modes)
    assert modes(card, number, -3 * number).free == pytest.approx(0, abs=0.01)


def test_a_blown_note_that_fades_late_has_none(card):
    time = np.arange(round(1.4 * RATE)) / RATE
    swell = np.minimum(time / 0.5, np.exp(-3 * np.maximum(time - 0.5, 0)))
    sound = (0.05 * swell * np.sin(2 * np.pi * 300.0 * time)).astype(np.float32)
    note = RecordedNote(SimpleNamespace(pitch=60.0, key=KEY), sound, 1.3, -10.0)
    assert not modes_of(note, card).struck
    assert modes(card, [1.0], [0.0]).struck


def test_a_card_of_other_frames_has_none(card):
    assert not len(modes(Model(MODELS / "gm-chroma-8.onnx").card, BELL, BELL_DB).modes)


def instrument_of(folder, ratios, levels_db, fades, cents=0.0):
    """The gestures of a small model of notes with these partials, which waver by so many cents."""
    folder.mkdir()
    with writing(folder / "corpus", RATE) as writer:
        for key in (57, 60, 63, 66):
            time = np.arange(round(0.8 * RATE)) / RATE
            level = np.exp(-4 * time) if fades else np.ones(len(time))
            turns = midi_to_hz(key) * np.cumsum(2 ** (cents * np.sin(2 * np.pi * 5 * time) / 1200)) / RATE
            parts = [
                10 ** (db / 20) * np.sin(2 * np.pi * ratio * turns) for ratio, db in zip(ratios, levels_db, strict=True)
            ]
            sound = (0.05 * level * np.sum(parts, 0)).astype(np.float32)
            writer.append(sound, np.full(-(-len(sound) // 1024), key, np.float32), name=f"{key}", group=f"{key}")
        writer.finish({clip.name: "train" for clip in writer.clips}, name="bells")
    changes = ["training.steps=20", "network.encoder=[16]", "network.decoder=[16,16]", "frames.harmonics=24"]
    start(load_recipe("tuned-partials", changes), folder / "corpus", folder / "run", RunOptions("cpu"))
    export(Run.open(folder / "run"), folder / "bells.onnx")
    gestures = Model(folder / "bells.onnx").gestures
    return gestures.instruments[0]


def test_an_exported_bell_is_transposed_and_a_string_is_not(tmp_path, traced_once):
    bell = instrument_of(tmp_path / "bell", BELL, BELL_DB, fades=True)
    assert bell.transposed
    for note in bell.notes:
        assert {0.62, 2.92, 4.02, 5.24} <= {*np.round(note.modes[:, 0], 2).tolist()}
    number = np.arange(1.0, 9.0)
    string = instrument_of(
        tmp_path / "string", number * np.sqrt(1 + 4e-4 * number**2), -4 * number, fades=True, cents=5
    )
    assert not string.transposed
    assert all(len(note.modes) >= 4 for note in string.notes)
    blown = instrument_of(tmp_path / "blown", [1.0, 2.0, 3.0], [0, -6, -12], fades=False, cents=20)
    assert not blown.transposed
    assert not any(len(note.modes) for note in blown.notes)
    assert not any(note.fall_db_second for note in blown.notes)
    for note in blown.notes:
        assert VIBRATO_CENTS * np.abs(note.vibrato.astype(float)).max() == pytest.approx(20, abs=3)
    assert not any(len(note.vibrato) for note in [*bell.notes, *string.notes])  # their partials beat
    for note in [*bell.notes, *string.notes]:  # held for longer than recorded, it fades on
        assert note.fall_db_second == pytest.approx(20 * 4 / np.log(10), rel=0.1)


def test_one_struck_note_among_blown_ones_has_no_modes(tmp_path, traced_once, monkeypatch):
    struck = NoteModes(np.array([[2.76, 0, 0.9]]), 0.5, struck=True)
    given = iter([struck, NoteModes(), NoteModes(), NoteModes()])
    monkeypatch.setattr(build, "modes_of", lambda note, card: next(given))
    found = instrument_of(tmp_path / "mixed", [1.0, 2.0], [0, -6], fades=False)
    assert not found.transposed
    assert not any(len(note.modes) for note in found.notes)
