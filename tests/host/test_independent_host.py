"""Any host can play a model from its card alone: a second host, which knows nothing of this one, does."""

import json

import numpy as np
import onnxruntime
import pytest
import scipy.signal
from timbrel.host.events import NoteOn
from timbrel.host.model.model import Model
from timbrel.host.play.rack import ChannelInstrument
from timbrel.host.preset.library import open_patch
from timbrel.host.preset.shipped import shipped_models
from timbrel.host.signal import sounding_note

from .cover import cover


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


def test_a_second_host_plays_every_shipped_model_from_its_card_alone():
    paths = [path for path in shipped_models().values() if Model(path).card.kind == "spectrum"]
    for path, key in cover(max(13, len(paths)), paths, range(60, 73)):
        check(path, key)


def play_texture(path, seconds=2.0):
    """A texture of the default code: onnxruntime, json, and grains of noise half over one another."""
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    card = json.loads(session.get_modelmeta().custom_metadata_map["timbrel.card"])
    length, rate = card["frame_length"], card["sample_rate"]
    latent = np.array([[knob["default"] for knob in card["latents"]]], np.float32)
    frame = session.run(["frame"], {"latent": latent})[0][0]
    magnitudes, envelope = frame[: length // 2 + 1], frame[length // 2 + 1 :]
    stretched = np.interp(np.arange(length), np.linspace(0, length - 1, len(envelope)), envelope)
    rng, window = np.random.default_rng(0), np.sqrt(np.hanning(length + 1)[:-1])
    sound = np.zeros(round(seconds * rate) + length)
    for start in range(0, round(seconds * rate), length // 2):
        noise = rng.standard_normal((2, len(magnitudes)))
        grain = np.fft.irfft(magnitudes * (noise[0] + 1j * noise[1]) / np.sqrt(2), length)
        sound[start : start + length] += grain * stretched * window
    return sound * 10 ** ((-20 - card["loudness_lufs"]) / 20), rate


def test_a_second_host_plays_the_shipped_texture_and_both_sound_alike():
    for name, path in shipped_models().items():
        patch = open_patch(name)
        if patch.model.card.kind != "grain":
            continue
        theirs, rate = play_texture(path, 8.0)
        instrument = ChannelInstrument(patch, rate)
        blocks = [instrument.process([NoteOn(0, 0, 60, 127)], rate), instrument.process([], 8 * rate)]
        ours = np.concatenate(blocks, 1)[:, rate:]
        hz, power = scipy.signal.welch(theirs[rate:-rate], rate, nperseg=1024)
        _, ours_power = scipy.signal.welch(ours.sum(0) / np.sqrt(2), rate, nperseg=1024)
        apart = 10 * np.log10(ours_power / power)[(hz > 200) & (hz < 0.45 * rate)]
        assert abs(np.median(apart)) < 1
        assert np.percentile(np.abs(apart), 90) < 2


@pytest.mark.parametrize("key", [52, 64, 76])
def test_both_hosts_sound_alike(tiny, tiny_path, make_instrument, key):
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
