"""Drawn notes: each by the seed and its number alone."""

from pathlib import Path

import numpy as np
import pytest
from timbrel.export.samples.drawing import DatasetPreset, DatasetSettings, draw
from timbrel.host.errors import UserError
from timbrel.host.preset.library import open_patch


def drawn(count: int, *names: str, **given: object) -> list:
    settings = DatasetSettings(**given)
    presets = [DatasetPreset(open_patch(name), settings) for name in names]
    return [draw(number, presets, settings) for number in range(count)]


def test_notes_spread_evenly_over_presets_keys_and_velocities() -> None:
    notes = drawn(4000, "gm-oboe", "gm-pad", keys="60-67", velocities="1-100")
    presets, keys, velocities = (
        np.array(column) for column in zip(*((n.preset, n.note.key, n.note.velocity) for n in notes), strict=True)
    )
    assert abs(presets.mean() - 0.5) < 0.03
    assert np.abs(np.bincount(keys, minlength=68)[60:] / 500 - 1).max() < 0.2
    assert (velocities.min(), velocities.max()) == (1, 100)
    assert abs(np.corrcoef(np.array([presets, keys, velocities]))[np.triu_indices(3, 1)]).max() < 0.05


def test_a_note_does_not_depend_on_the_others_or_on_more_knobs() -> None:
    plain = drawn(20, "gm-oboe", keys="60-67")
    more = drawn(10, "gm-oboe", keys="60-67", knobs={"gain": "0-1"})
    assert [note.note.key for note in plain[:10]] == [note.note.key for note in more]
    both = drawn(10, "gm-oboe", keys="60-67", knobs={"brightness": "0-1", "gain": "0-1"})
    assert [note.positions["gain"] for note in both] == [note.positions["gain"] for note in more]
    assert len({note.note.number for note in plain}) > 15
    assert [note.note.key for note in plain] != [note.note.key for note in drawn(20, "gm-oboe", keys="60-67", seed=2)]


def test_knobs_are_positions_of_their_range() -> None:
    notes = drawn(300, "gm-oboe", knobs={"gain": "0.5-1", "pan": "0.25"})
    gains = np.array([note.note.knobs["gain"] for note in notes])
    assert -24 <= gains.min() < -23
    assert 11 < gains.max() <= 12
    assert {note.note.knobs["pan"] for note in notes} == {-0.5}


def test_uniform_latents_fill_their_ranges() -> None:
    card = open_patch("gm-oboe").model.card
    codes = np.array([note.latents for note in drawn(500, "gm-oboe", latents="uniform")])
    low, high = np.array(card.spans).T
    places = (codes - low) / (high - low)
    assert places.min() >= 0
    assert places.max() < 1
    assert np.abs(places.mean(axis=0) - 0.5).max() < 0.06
    assert np.abs(np.corrcoef(places.T) - np.eye(len(low))).max() < 0.2


def test_a_grid_holds_each_point_once() -> None:
    codes = {tuple(note.latents) for note in drawn(256, "gm-oboe", latents="grid:2")}
    low, high = np.array(open_patch("gm-oboe").model.card.spans).T
    assert len(codes) == 2 ** len(low)
    assert all(value in (a, b) for code in codes for value, a, b in zip(code, low, high, strict=True))


def test_landmarks_are_those_of_the_model() -> None:
    marks = {(mark.label, tuple(mark.latent)) for mark in open_patch("gm-oboe").model.card.landmarks}
    notes = drawn(50, "gm-oboe", latents="landmarks")
    assert len({note.landmark for note in notes}) > 20
    assert all((note.landmark, tuple(note.latents.tolist())) in marks for note in notes)


def test_a_kit_has_the_keys_of_its_sounds() -> None:
    kit = {entry.key for entry in open_patch("drum-kit").preset.keys}
    assert {note.note.key for note in drawn(300, "drum-kit")} == kit
    assert {note.note.key for note in drawn(50, "drum-kit", keys="0-40")} == {key for key in kit if key <= 40}
    with pytest.raises(UserError, match="drum-kit has no key among 0-10; give others, or leave --keys out"):
        drawn(1, "drum-kit", keys="0-10")


def test_onsets_and_lengths_are_drawn() -> None:
    notes = drawn(200, "gm-oboe", onset_seconds="0-0.5", held_seconds="0.2,0.4", sample_rate=16000)
    assert {note.note.held_seconds for note in notes} == {0.2, 0.4}
    assert max(note.onset_samples for note in notes) > 7500
    assert max(note.onset_samples for note in notes) <= 8000


def test_unknown_knobs_and_missing_landmarks_are_refused() -> None:
    with pytest.raises(UserError, match="gm-oboe has no knob named 'brightnes'; did you mean 'brightness'"):
        drawn(1, "gm-oboe", knobs={"brightnes": "0-1"})


@pytest.mark.parametrize(
    ("name", "given", "said"),
    [
        ("lakeside-walk", {"latents": "uniform"}, "a path or walk of lakeside-walk moves all latents"),
        ("lakeside-walk", {"knobs": {"latent.0": "1"}}, "a path or walk of lakeside-walk moves all latents"),
        ("drum-kit", {"latents": "landmarks"}, "the keys of drum-kit have codes of their own"),
        (
            "gm-oboe",
            {"knobs": {"latent.0": "1", "brightness": "0"}},
            "knobs 'brightness' and 'latent.0' of gm-oboe are",
        ),
        (
            "gm-hall",
            {"knobs": {"rate": "1"}},
            "gm-hall has several knobs named 'rate'; name one of gesture.rate, effects",
        ),
    ],
)
def test_settings_without_effect_or_of_two_meanings_are_refused(name: str, given: dict, said: str) -> None:
    with pytest.raises(UserError) as told:
        drawn(1, name, **given)
    assert str(told.value).startswith(said)


def test_recorded_keys_are_those_of_recorded_pitches(tmp_path: Path) -> None:
    (tmp_path / "five.scl").write_text("! five\nfive equal steps\n 5\n!\n 240.\n 480.\n 720.\n 960.\n 2/1\n")
    preset = tmp_path / "five.toml"
    preset.write_text('format = 1\nmodel = "gm-partials-8"\n[tuning]\nscale = "five.scl"\n')
    patch = open_patch(str(preset))
    plain = {note.note.key for note in drawn(300, "gm-partials-8")}
    pitches = [patch.tuning[note.note.key] for note in drawn(300, str(preset))]
    assert min(plain) - 0.5 <= min(pitches)
    assert max(pitches) <= max(plain) + 0.5
