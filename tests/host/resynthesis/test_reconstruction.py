"""The files of a recovered sound."""

import json
from types import SimpleNamespace

import numpy as np
import pytest
import soundfile
from timbrel.host.errors import UserError
from timbrel.host.model.model import Model
from timbrel.host.preset.preset import Preset
from timbrel.host.preset.shipped import shipped_models
from timbrel.host.resynthesis.codes import follow
from timbrel.host.resynthesis.distance import measures
from timbrel.host.resynthesis.reconstruction import Outputs, Reconstruction, reconstruct

PRESET = Preset(format=1, model="model.onnx")


def part(rate, seconds=0.2):
    sound = np.sin(2 * np.pi * 400 * np.arange(round(rate * seconds)) / rate).astype(np.float32)
    return Reconstruction(sound, 0.1 * sound[np.newaxis], measures(sound, 0.1 * sound, rate))


@pytest.mark.parametrize(("rate", "written"), [(4000, 6000), (384000, 192000)])
def test_the_sound_is_written_at_a_rate_that_files_have_and_as_loud_as_any(tmp_path, rate, written):
    outputs = Outputs.beside_preset(tmp_path / "a.toml", tmp_path / "sound.wav")
    card = SimpleNamespace(name="model", sample_rate=rate)
    assert outputs.write(PRESET, [part(rate), part(rate)], card, {"format": 1}, overwrite=False) == []
    sound, found = soundfile.read(outputs.sound)
    assert found == written
    assert len(sound) == pytest.approx(0.4 * written, abs=written / 1000)
    assert np.abs(sound).max() == pytest.approx(0.5, abs=0.05)
    assert json.loads(outputs.figures.read_text()) == {"format": 1}
    assert outputs.picture.stat().st_size > 10_000
    assert outputs.preset.read_text() == PRESET.to_toml()


def test_the_image_of_a_model_is_in_the_sound_and_the_mix_of_its_sides_is_compared(sound_of, make_tone, tmp_path):
    model = Model(shipped_models()["gm-partials-8"])
    card, sound = model.card, sound_of(make_tone(60, 1.0, model.card.sample_rate), model.card.sample_rate)
    track = follow(sound, model)
    [mono], [left, right] = (
        reconstruct(sound, track, PRESET, model, tmp_path / "a.toml").rendition
        for model.card in (card, card.model_copy(update={"image": [[6.0, -0.9]] * 32}))
    )
    assert 20 * np.log10(left.std() / right.std()) == pytest.approx(6, abs=0.5)
    assert np.sqrt((left.var() + right.var()) / 2) == pytest.approx(mono.std(), rel=0.05)
    distances = []
    for model.card in (card, card.model_copy(update={"image": [[0.0, -0.9]] * 8 + [[0.0, 1.0]] * 24})):
        distances.append(reconstruct(sound, track, PRESET, model, tmp_path / "a.toml").measures.log_mel_db)
    assert distances[1] == pytest.approx(distances[0], abs=0.5)


def test_a_note_that_sounds_to_its_end_fades_out_there_without_a_click(sound_of, make_tone, tmp_path):
    model = Model(shipped_models()["gm-partials-8"])
    sound = sound_of(make_tone(60, 1.0, model.card.sample_rate), model.card.sample_rate)
    [rendition] = reconstruct(sound, follow(sound, model), PRESET, model, tmp_path / "a.toml").rendition
    assert np.abs(rendition[-20:]).max() < 0.1 * np.abs(rendition[-2000:-400]).max()
    assert rendition[-1] == 0


def test_a_sound_with_two_sides_is_written_with_both(tmp_path):
    outputs, mono = Outputs.beside_preset(tmp_path / "a.toml", tmp_path / "sound.wav"), part(16000)
    sides = np.concatenate([mono.rendition, -0.5 * mono.rendition])
    card = SimpleNamespace(name="model", sample_rate=16000)
    outputs.write(PRESET, [mono._replace(rendition=sides)] * 2, card, {"format": 1}, overwrite=False)
    written, _ = soundfile.read(outputs.sound, dtype="float32")
    assert pytest.approx(np.tile(np.stack([mono.target, -0.5 * mono.target]) / 2, 2), abs=1e-3) == written.T


def test_the_sound_that_is_given_keeps_its_place(tmp_path):
    given = tmp_path / "kick.wav"
    assert Outputs.beside_preset(tmp_path / "kick.toml", given).sound == tmp_path / "kick-recovered.wav"
    assert Outputs.beside_preset(tmp_path / "other.toml", given).sound == tmp_path / "other.wav"


@pytest.mark.parametrize("suffix", [".toml", ".wav", ".png", ".json"])
def test_nothing_is_written_where_one_of_the_files_exists(tmp_path, suffix):
    outputs = Outputs.beside_preset(tmp_path / "a.toml", tmp_path / "sound.wav")
    (tmp_path / f"a{suffix}").write_text("old", encoding="utf-8")
    with pytest.raises(UserError, match=f"a{suffix} exists"):
        outputs.check(overwrite=False)
    outputs.check(overwrite=True)
    card = SimpleNamespace(name="model", sample_rate=16000)
    with pytest.raises(UserError, match=f"a{suffix} exists"):
        outputs.write(PRESET, [part(16000)], card, {}, overwrite=False)
    assert [path.name for path in tmp_path.iterdir()] == [f"a{suffix}"]
    assert (tmp_path / f"a{suffix}").read_text() == "old"
