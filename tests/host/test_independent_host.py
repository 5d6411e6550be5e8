"""Any host can play a model from its card alone: a second host, which knows nothing of this one, does."""

import json

import numpy as np
import onnxruntime
import pytest
from timbrel.host.library import shipped_models
from timbrel.host.pitch import sounding_note


def play_note(path, key, seconds=1.0):
    """One note at the default code, with random phases: numpy, json and onnxruntime, nothing else."""
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    card = json.loads(session.get_modelmeta().custom_metadata_map["timbrel.card"])
    assert (card["format"], card["kind"], card["domain"]) == (1, "spectrum", "magnitude")
    n, hop, rate = card["frame_length"], card["hop_length"], card["sample_rate"]
    latent = np.array([[knob["default"] for knob in card["latents"]]], np.float32)
    chroma = np.eye(12, dtype=np.float32)[[key % 12]]
    frame = session.run(["frame"], {"latent": latent, "chroma": chroma})[0][0]
    octaves = key // 12 - 1 - card["chroma"]["octave"]
    moved = np.interp(np.arange(len(frame)) / 2.0**octaves, np.arange(len(frame)), frame, right=0)
    frame = moved * np.sqrt(np.sum(frame**2) / np.sum(moved**2))
    window = np.hanning(n + 1)[:n]
    noise = np.random.default_rng(0).standard_normal(round(seconds * rate) + n)
    sound = np.zeros(len(noise))
    for start in range(0, len(noise) - n, hop):
        phase = np.angle(np.fft.rfft(window * noise[start : start + n]))
        sound[start : start + n] += window * np.fft.irfft(frame * np.exp(1j * phase))
    return sound * 10 ** ((-20 - card["loudness_lufs"]) / 20) * hop / np.sum(window**2), rate, card


def check(path, key):
    sound, rate, card = play_note(path, key)
    assert np.all(np.isfinite(sound))
    assert sounding_note(sound, rate) == pytest.approx(key, abs=0.5)
    level_db = 10 * np.log10(np.mean(sound[rate // 4 : -rate // 4] ** 2))
    assert level_db == pytest.approx(-20, abs=8)  # LUFS are not RMS, but near
    assert card["license"]


@pytest.mark.parametrize("key", [60, 64, 69, 71, 76])
def test_a_second_host_plays_the_right_note_from_the_card_alone(tiny_path, key):
    check(tiny_path(sample_rate=44100, frame_length=4096, hop_length=1024), key)


@pytest.mark.parametrize("key", range(60, 73))
def test_a_second_host_plays_every_shipped_model_from_its_card_alone(key):
    for path in shipped_models().values():
        check(path, key)


@pytest.mark.parametrize("key", [52, 64, 76])
def test_both_hosts_sound_alike(tiny, tiny_path, make_instrument, key):
    from timbrel.host.events import NoteOn

    large = {"sample_rate": 44100, "frame_length": 4096, "hop_length": 1024}
    theirs, rate, _ = play_note(tiny_path(**large), key, 2.0)
    ours = make_instrument(rate, tiny(**large), play={"phase": "noise"}).process([NoteOn(0, 0, key, 127)], 2 * rate)
    inside = slice(rate // 4, 2 * rate - rate // 4)
    power = [np.mean(np.square(sound[inside])) for sound in (theirs, np.sqrt(np.sum(np.square(ours), axis=0)))]
    assert 10 * np.log10(power[0] / power[1]) == pytest.approx(0, abs=2.0)
    spectra = []
    for sound in (theirs, ours[0]):
        pieces = sound[inside][: len(sound[inside]) // 4096 * 4096].reshape(-1, 4096) * np.hanning(4096)
        spectrum = np.sqrt(np.mean(np.abs(np.fft.rfft(pieces)) ** 2, axis=0))
        spectra.append(spectrum / np.linalg.norm(spectrum))
    assert spectra[0] @ spectra[1] > 0.95
