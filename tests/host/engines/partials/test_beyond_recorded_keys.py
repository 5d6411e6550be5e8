"""Beyond the recorded keys a voice of partials keeps its formants and its noise."""

from types import SimpleNamespace

import numpy as np
import pytest
from timbrel.host.units import midi_to_hz

from ..spectrum.coherent import LEVEL, PURE, RATE, Knobs, amplitudes, one
from .voices import HEIGHTS, chord_of, density_db, tonal


def test_noise_stays_beyond_the_recorded_keys(partials_of):
    model = partials_of(lambda latent, key: np.concatenate([np.zeros(12), [0, 0, 0.05, 0, 0]]), low=48, high=60)
    inside, beyond = (one(model, key, 6 * RATE)[RATE:] for key in (60, 76))
    for low, high in ((300, 500), (700, 1100), (2500, 3500)):
        assert density_db(beyond, low, high) == pytest.approx(density_db(inside, low, high), abs=1.0)


@pytest.mark.parametrize("keep", [False, True])
@pytest.mark.parametrize("key", [38, 69.3, 76])
def test_a_voice_keeps_its_formants_beyond_the_recorded_keys(partials_of, key, keep):
    def vowel(hertz):
        return np.exp(-(((hertz - 700) / 500) ** 2)) + 0.5 * np.exp(-(((hertz - 2600) / 700) ** 2)) + 0.02

    def frame(latent, key):
        return np.concatenate([vowel(midi_to_hz(key) * np.arange(1, 25)), np.zeros(5)])

    asked = []
    model = partials_of(lambda latent, key: asked.append(key) or frame(latent, key), harmonics=24, low=48, high=60)
    hz = midi_to_hz(key) * np.arange(1, 25)
    heard = np.flatnonzero((hz > 150) & (hz < 2900))
    found = amplitudes(one(model, key, RATE, keep_formants=keep, **PURE)[RATE // 4 :], hz)[0][heard]
    last = 48 if key < 48 else 60
    assert set(asked) == {last}
    by_number = frame(None, last)[heard] / vowel(hz[heard])
    assert np.std(20 * np.log10(found / vowel(hz[heard]))) < min(4.0, 0.6 * np.std(20 * np.log10(by_number)))


def test_a_chord_beyond_the_recorded_keys_is_decoded_from_the_last_one(partials_of):
    asked = []

    def frame(latent, key):
        asked.append(key)
        return tonal(latent, key)

    model = partials_of(frame, low=48, high=60)
    together = chord_of(model, {0: {2, 7}}, 74, RATE).ravel()[RATE // 4 :]
    assert set(asked) == {60}
    for key in (74, 79):
        hz = midi_to_hz(key) * np.arange(1, 7)
        found = amplitudes(together, hz)[0]
        alone = amplitudes(one(model, key, RATE, **PURE)[RATE // 4 :], hz)[0]
        assert found / found[0] == pytest.approx(alone / alone[0], rel=0.05)


@pytest.mark.parametrize("bend", [0.4, 2.0])
def test_a_bend_beyond_the_recorded_keys_does_not_jump(partials_of, bend):
    """Half a semitone above the last key harmonics begin to stay under the envelope."""
    model, knobs = partials_of(tonal, low=48, high=60), Knobs(bend=lambda times: np.full(len(times), bend))
    found, _ = amplitudes(one(model, 60, RATE, knobs, **PURE)[RATE // 4 :], midi_to_hz(60 + bend) * np.arange(1, 13))
    beyond = 2 ** (max(bend - 0.5, 0.0) / 12)
    asked = 20 * np.log10(0.8) * beyond * np.arange(9)
    assert 20 * np.log10(found[:9] / found[0]) == pytest.approx(asked, abs=0.3 if bend > 0.5 else 0.05)


def test_a_bell_beyond_the_recorded_keys_moves_as_a_whole(partials_of):
    model = partials_of(tonal, low=48, high=60)
    model.gestures = SimpleNamespace(bands_hz=(), instruments=[SimpleNamespace(transposed=True)])
    found, _ = amplitudes(one(model, 72, RATE, **PURE)[RATE // 4 :], midi_to_hz(72) * np.arange(1, 13))
    assert found == pytest.approx(LEVEL * HEIGHTS, rel=0.01)
