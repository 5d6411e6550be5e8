"""Clips given as spectra and a loudness curve become the sounds that these were taken of, as scipy takes them."""

import numpy as np
import pytest
import scipy.signal
from timbrel.host.engines.clip.synthesis import SpectraSound, sound_of
from timbrel.host.events import NoteOn
from timbrel.host.model.model import Model
from timbrel.host.play.rack import Rack
from timbrel.host.preset.library import open_patch
from timbrel.host.resynthesis.distance import distance_db
from timbrel.host.spectra import envelope_db, log_mel
from timbrel.train.metrics.clips import attack_seconds

from ...clips import RATE as MODEL_RATE
from ...clips import save_clips

RATE, LENGTH, TRANSFORM, HOP, POINTS = 44100, 32768, 2048, 512, 512
HANN = scipy.signal.get_window("hann", TRANSFORM)
FRAMED = {"window": HANN, "nperseg": TRANSFORM, "noverlap": TRANSFORM - HOP}
TIME = np.arange(LENGTH) / RATE


def spectra(sound):
    """Return a sound's spectra, [spectra, bins], a hop apart from the first sample on; no part is the window's."""
    found = scipy.signal.stft(sound, boundary="zeros", padded=False, **FRAMED)[2]
    return HANN.sum() * found.T


def frame(sound, points=POINTS):
    """What a decoder would give of a sound: its magnitudes, and the root mean squares of its parts."""
    levels = np.sqrt(np.square(sound).reshape(points, -1).mean(1)) if points else []
    return np.concatenate([np.abs(spectra(sound)).ravel(), levels]).astype(np.float32)


def decaying(hz=220.0, seconds=0.125):
    return 0.5 * np.exp(-TIME / seconds) * np.sin(2 * np.pi * hz * TIME)


def kick():
    return 0.8 * np.exp(-6 * TIME) * np.sin(2 * np.pi * (50 * TIME + 6 * (1 - np.exp(-30 * TIME))))


def late():
    return np.concatenate([np.zeros(9000), decaying()[:-9000]])


def clicks():
    found = np.zeros(LENGTH)
    found[CLICKS] = 0.9
    return found


def bursts():
    rng, found = np.random.default_rng(0), np.zeros(LENGTH)
    for first in BURSTS:
        found[first : first + 3000] = 0.3 * rng.standard_normal(3000) * np.exp(-np.arange(3000) / 800)
    return found


CLICKS, BURSTS = np.arange(3000, LENGTH, 6000), (2000, 12000, 22000)
SOUNDS = {"tone": decaying, "kick": kick, "late tone": late, "clicks": clicks, "bursts": bursts}


@pytest.fixture(scope="module")
def sounds():
    """What is made of the frames of `SOUNDS`, all in one batch, by name: (asked, given)."""
    asked = {name: make().astype(np.float32) for name, make in SOUNDS.items()}
    given = SpectraSound(LENGTH, TRANSFORM, HOP, POINTS)(np.stack([frame(sound) for sound in asked.values()]))
    return {name: (asked[name][None], row[None]) for name, row in zip(asked, given, strict=True)}


# ---- transforms


def test_spectra_are_scipys():
    sound = np.random.default_rng(1).standard_normal(LENGTH).astype(np.float32)
    found = SpectraSound(LENGTH, TRANSFORM, HOP, 0).transformed(sound)
    assert found.shape == (LENGTH // HOP + 1, TRANSFORM // 2 + 1)
    assert np.abs(found - spectra(sound)).max() < 1e-3  # of magnitudes around 30


@pytest.mark.parametrize(("transform", "hop"), [(2048, 512), (512, 128), (1024, 128)])
def test_sounds_added_of_any_spectra_are_scipys(transform, hop):
    rng, count = np.random.default_rng(2), 4096 // hop + 1
    given = rng.standard_normal((count, transform // 2 + 1)) + 1j * rng.standard_normal((count, transform // 2 + 1))
    hann = scipy.signal.get_window("hann", transform)
    expected = scipy.signal.istft(given.T / hann.sum(), window=hann, nperseg=transform, noverlap=transform - hop)[1]
    found = SpectraSound(4096, transform, hop, 0).added(given.astype(np.complex64))
    assert np.abs(found - expected[:4096]).max() < 1e-5 * np.abs(expected).max()


# ---- first phases


def test_first_phases_of_a_steady_sine_go_on_as_its_own_do():
    """Between two bins, where a bin's own frequency would be .5 and 1 radian a hop off."""
    own = spectra(np.sin(2 * np.pi * 100.3 / TRANSFORM * np.arange(LENGTH)))
    found = SpectraSound(LENGTH, TRANSFORM, HOP, 0)._first_phases(np.abs(own).astype(np.float32))
    steps = [np.angle(part[21:40, 100:102] / part[20:39, 100:102]) for part in (own, found)]
    assert np.abs(np.angle(np.exp(1j * (steps[0] - steps[1])))).max() < 0.15


@pytest.mark.parametrize("beside", [-300, 0, 170])
def test_first_phases_of_a_click_tell_where_in_the_window_it_lies(beside):
    click = np.zeros(LENGTH)
    click[20 * HOP + beside] = 1.0
    own = spectra(click)
    found = SpectraSound(LENGTH, TRANSFORM, HOP, 0)._first_phases(np.abs(own).astype(np.float32))
    for near in (20, 21):
        slopes = [np.angle(part[near, 101:900] / part[near, 100:899]) for part in (own, found)]
        assert np.abs(np.angle(np.exp(1j * (slopes[0] - slopes[1])))).max() < 0.1  # 33 samples


# ---- sounds


@pytest.mark.parametrize(
    ("name", "bound"), [("tone", 1.5), ("kick", 1.7), ("late tone", 1.2), ("clicks", 2.5), ("bursts", 3.0)]
)
def test_what_sounds_is_near_to_what_was_given_and_begins_when_it_did(sounds, name, bound):
    asked, given = sounds[name]
    assert distance_db(log_mel(asked, RATE), log_mel(given, RATE))[0] < bound
    assert abs(attack_seconds(asked, RATE) - attack_seconds(given, RATE))[0] <= 0.0011


@pytest.mark.parametrize(("name", "bound"), [("tone", 0.3), ("kick", 0.3), ("late tone", 0.4), ("bursts", 1.0)])
def test_loudness_from_moment_to_moment_is_as_given(sounds, name, bound):
    """Where it lies 30 dB under the loudest moment at most."""
    asked, given = (envelope_db(part, RATE)[0] for part in sounds[name])
    loud = asked > asked.max() - 30
    assert np.sqrt(np.square(asked - given)[loud].mean()) < bound


def test_clicks_stand_where_they_stood_though_a_window_holds_46_ms(sounds):
    given = np.square(sounds["clicks"][1][0])
    near = np.zeros(LENGTH, bool)
    for at in CLICKS:
        near[at - 88 : at + 89] = True  # 2 ms
    assert given[near].sum() > 0.9 * given.sum()


def test_without_a_curve_magnitudes_alone_are_fitted():
    asked = decaying()[None].astype(np.float32)
    given = SpectraSound(LENGTH, TRANSFORM, HOP, 0)(frame(asked[0], 0)[None])
    assert distance_db(log_mel(asked, RATE), log_mel(given, RATE))[0] < 0.8


def test_a_frame_gives_the_same_bytes_in_any_batch_and_at_any_time(sounds):
    frames = np.stack([frame(SOUNDS[name]().astype(np.float32)) for name in ("bursts", "kick")])
    again = SpectraSound(LENGTH, TRANSFORM, HOP, POINTS)
    kept = frames.copy()
    for row, name in ((1, "kick"), (0, "bursts"), (1, "kick")):
        assert again(frames[row : row + 1]).tobytes() == sounds[name][1].tobytes()
    assert np.array_equal(frames, kept)


def test_what_is_given_half_as_loud_sounds_half_as_loud(sounds):
    halved = SpectraSound(LENGTH, TRANSFORM, HOP, POINTS)(0.5 * frame(kick().astype(np.float32))[None])
    assert np.abs(2 * halved - sounds["kick"][1]).max() < 1e-3


def test_silence_is_silence():
    found = SpectraSound(LENGTH, TRANSFORM, HOP, POINTS)(0 * frame(kick())[None])
    assert np.abs(found).max() < 1e-6


def test_a_model_of_spectra_plays_the_sound_of_its_frame(tmp_path):
    length = 8192
    asked = np.exp(-np.arange(length) / 900) * np.sin(2 * np.pi * 300 * np.arange(length) / MODEL_RATE)
    magnitudes = np.abs(scipy.signal.stft(asked, nperseg=512, noverlap=384, padded=False)[2].T) * 256
    levels = np.sqrt(np.square(asked).reshape(256, -1).mean(1))
    given = 0.3 * np.concatenate([magnitudes.ravel(), levels])
    shape = {"frame_length": length, "hop_length": 128, "transform_length": 512, "envelope_points": 256}
    path = save_clips(tmp_path / "m.onnx", given, domain="magnitude", window="hann", **shape)
    model = Model(path)
    decoded = model.decode(np.zeros((1, 2), np.float32), np.zeros(1, np.intp))
    expected = sound_of(model.card)(decoded)[0]
    played = Rack({0: open_patch(str(path))}, MODEL_RATE).process([NoteOn(0, 0, 60, 127)], length)[0][0]
    assert np.corrcoef(played, expected)[0, 1] > 0.9999
    assert distance_db(*(log_mel(part[None].astype(np.float32), MODEL_RATE) for part in (asked, played)))[0] < 1.0
