"""A model's file holds the recordings it learned from: cut where they are silent, as 16-bit FLAC, as many as fit."""

import logging

import numpy as np
import pytest
from timbrel.export import recordings as module
from timbrel.export.recordings import FADE_SECONDS, RecordedClip, holding, packed
from timbrel.host.audio.sound_files import flac_samples, flac_shape
from timbrel.host.model.model import Model
from timbrel.host.units import db_to_gain

RATE = 8000


def clip(name, sides, label="", code=(0.0,), gain=1.0):
    return RecordedClip(name, label, "", None, np.array(code, np.float32), lambda: np.asarray(sides, np.float32), gain)


def unpacked(flac):
    assert flac_shape(flac, RATE) == flac_samples(flac).shape
    return flac_samples(flac)


def noise(seed, length=2000, channels=2):
    return np.random.default_rng(seed).uniform(-0.5, 0.5, (channels, length))


def test_16_bit_samples_are_kept_as_they_are():
    sides = np.round(noise(1) * 32768) / 32768
    (recording,), (flac,) = packed([clip("a", sides, gain=2.0)], RATE)
    assert np.array_equal(unpacked(flac), sides)
    assert recording.gain_db == pytest.approx(20 * np.log10(2), abs=1e-3)


@pytest.mark.parametrize("peak", [1e-3, 0.4, 3.0])
def test_others_fill_16_bits_and_come_back_at_their_level(peak):
    sides = noise(2) * 2 * peak
    (recording,), (flac,) = packed([clip("a", sides, gain=0.5)], RATE)
    found = unpacked(flac) * db_to_gain(recording.gain_db)
    assert np.abs(found - 0.5 * sides).max() < 0.5 * peak * 2e-4


def test_a_recording_ends_where_it_has_fallen_by_60_db_and_the_end_is_faded():
    sides = noise(3, 8000)
    sides[:, 4000:] *= 10 ** (-66 / 20)
    (recording,), (flac,) = packed([clip("a", sides)], RATE)
    found, fade = unpacked(flac) * db_to_gain(recording.gain_db), round(FADE_SECONDS * RATE)
    assert abs(found.shape[1] - 4000 - fade) < 4
    assert found[:, -1] == pytest.approx([0.0, 0.0], abs=1e-4)
    assert np.abs(found[:, :3990] - sides[:, :3990]).max() < 1e-4


def test_a_long_one_is_cut(monkeypatch):
    monkeypatch.setattr(module, "MOST_SECONDS", 0.1)
    (_,), (flac,) = packed([clip("a", noise(4, 8000))], RATE)
    assert unpacked(flac).shape == (2, 800)


def test_as_many_as_fit_are_kept_the_medoids_of_labels_first_and_the_others_are_counted(monkeypatch, caplog):
    codes = {"a": 0.0, "b": 1.0, "c": 5.0, "d": 0.0, "e": 2.0, "f": 2.1}
    clips = [clip(name, noise(5), "xy"[name > "c"], [code]) for name, code in codes.items()]
    flac_length = len(packed(clips[:1], RATE)[1][0])
    monkeypatch.setattr(module, "MOST_BYTES", 3.5 * flac_length)
    with caplog.at_level(logging.WARNING):
        recordings, flacs = packed(clips, RATE)
    assert [recording.name for recording in recordings] == ["b", "e", "a"]
    assert len(flacs) == 3
    assert "3 of 6 recordings are in the file" in caplog.text


def test_the_exported_model_plays_them_as_loud_as_its_own_clips(hit_model):
    model = Model(hit_model(True))
    assert {recording.label for recording in model.card.recordings} == {"hat", "tom"}
    assert "it contains the 24 recordings it learned from (licence: none is stated)" in holding(model.card)
    levels = []
    for index, recording in enumerate(model.card.recordings):
        label = np.array([model.card.labels.index(recording.label)])
        frame = model.decode(np.array([recording.latent], np.float32), label)[0]
        decoded = np.square(frame[-model.card.envelope_points :]).mean() * model.card.frame_length
        levels.append(10 * np.log10(np.square(model.recordings.sides(index)).mean(0).sum() / decoded))
    assert abs(np.median(levels)) < 1.5


def test_recordings_can_be_left_out(hit_run, tmp_path, timbrel):
    said = timbrel("export", hit_run(True).folder, "-o", tmp_path / "m.onnx", "--no-recordings")
    assert said.status == 0, said.err
    model = Model(tmp_path / "m.onnx")
    assert model.recordings is None
    assert not model.card.recordings
    assert "contains" not in said.out
