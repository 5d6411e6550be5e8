"""The loudness of a model is that of its notes by the broadcasters' measure, and levels its voices."""

import numpy as np
import pytest
from timbrel.export.loudness import loudness
from timbrel.host.engines.table import VOICE_LUFS
from timbrel.host.events import NoteOn
from timbrel.host.patch.library import Patch
from timbrel.host.patch.preset import Preset
from timbrel.host.play.instrument import Instrument

RATE = 48000
# ITU-R BS.1770-4, Tables 1 and 2: the two filters at 48 kHz, numerator and denominator.
SHELF = [1.53512485958697, -2.69169618940638, 1.19839281085285], [1.0, -1.69065929318241, 0.73248077421585]
HIGH_PASS = [1.0, -2.0, 1.0], [1.0, -1.99004745483398, 0.99007225036621]


def weighted_lufs(sound):
    """Loudness of a steady stereo sound [2, samples], from its spectrum: no blocks, no gates, nobody's meter."""
    spectrum = np.abs(np.fft.rfft(sound.astype(np.float64), axis=1)) ** 2
    z = np.exp(-1j * np.linspace(0, np.pi, spectrum.shape[1]))
    for numerator, denominator in (SHELF, HIGH_PASS):
        spectrum *= np.abs(np.polyval(numerator[::-1], z) / np.polyval(denominator[::-1], z)) ** 2
    return -0.691 + 10 * np.log10(2 * np.sum(spectrum) / sound.shape[1] ** 2)


def note(model, key, phase="coherent"):
    """The steady part of a note at full velocity."""
    preset = Preset(format=1, model=str(model.path), play={"phase": phase})
    instrument = Instrument(Patch("loud", preset, model, model.path.parent), RATE)
    seconds = 4
    return instrument.process([NoteOn(0, 0, key, 127)], seconds * RATE)[:, RATE // 2 :]


def test_the_meter_of_these_tests_reads_a_full_scale_sine_of_997_hz_as_minus_3():
    """As BS.1770-4, annex 1 has it for one channel."""
    sine = np.sin(2 * np.pi * 997 * np.arange(10 * RATE) / RATE)
    assert weighted_lufs(np.stack([sine, 0 * sine])) == pytest.approx(-3.01, abs=0.02)


@pytest.mark.parametrize("octave", [2, 4, 6])
def test_loudness_is_that_of_bs_1770(analytic, octave):
    model = analytic(octave)
    lowest = 12 * (octave + 1)
    heard = np.mean([weighted_lufs(note(model, lowest + step, "noise")) for step in range(12)])
    assert loudness(model) == pytest.approx(heard, abs=0.3)


def test_twice_the_amplitude_is_6_db_louder(analytic):
    """The default code of one model doubles the other's frames."""
    plain, loud = analytic(name="plain"), analytic(name="loud")
    knob = loud.card.latents[0].model_copy(update={"default": 1.0})
    loud.card = loud.card.model_copy(update={"latents": [knob]})
    assert loudness(loud) - loudness(plain) == pytest.approx(20 * np.log10(2), abs=0.01)


@pytest.mark.parametrize("phase", ["noise", "coherent"])
def test_a_card_with_its_loudness_makes_a_voice_sound_at_the_hosts_level(analytic, phase):
    model = analytic(lufs=round(loudness(analytic(name="bare")), 2))
    level = np.mean([weighted_lufs(note(model, key, phase)) for key in range(60, 72)])
    assert level == pytest.approx(VOICE_LUFS, abs=0.3)


def test_an_exported_model_sounds_at_the_hosts_level(small_model):
    """At 44.1 kHz the filters' corners are 9 % lower, which moves nothing by more than a few tenths of a dB."""
    from timbrel.host.contract.model import Model

    model = Model(small_model)
    assert np.mean([weighted_lufs(note(model, key)) for key in range(60, 72)]) == pytest.approx(VOICE_LUFS, abs=1.5)


def test_a_model_that_is_silent_has_a_finite_loudness(analytic, monkeypatch):
    model = analytic()
    monkeypatch.setattr(model, "decode", lambda latent, chroma: np.zeros((len(latent), 2049), np.float32))
    assert loudness(model) == -120
