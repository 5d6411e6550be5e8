"""Peaks of long spectra, and distances of partials, beside sums of sinusoids."""

import numpy as np
import pytest
from timbrel.export.fidelity.measures import partial_cents, spectral_peaks
from timbrel.host.signal import white_noise

RATE = 44100


def struck(hertz, levels_db, seconds=1.5, decay=3.0, hiss=0.0):
    """Sinusoids that decay, with noise."""
    time = np.arange(round(seconds * RATE)) / RATE
    parts = [10 ** (level / 20) * np.sin(2 * np.pi * hz * time) for hz, level in zip(hertz, levels_db, strict=True)]
    return (np.exp(-decay * time) * np.sum(parts, 0) + hiss * white_noise(len(time))).astype(np.float32)


def test_peaks_are_found_to_a_hundredth_of_a_hertz_and_of_a_decibel():
    hertz, levels = [311.13, 523.7, 1204.91, 7011.3], [-3.0, 0.0, -20.0, -35.0]
    found = spectral_peaks(struck(hertz, levels), RATE)
    loud = found.levels > -45
    assert found.hertz[loud] == pytest.approx(np.array(hertz)[[1, 0, 2, 3]], abs=0.02)
    assert found.levels[loud] == pytest.approx([0, -3, -20, -35], abs=0.1)
    assert found.clear[loud].all()


def test_two_partials_that_beat_are_one_and_softer_ones_than_50_db_none():
    found = spectral_peaks(struck([500.0, 508.0, 900.0], [0, -6, -54]), RATE)
    assert found.hertz[found.levels > -49] == pytest.approx([500.0], abs=0.5)


def test_noise_has_no_clear_peaks():
    found = spectral_peaks(white_noise(RATE), RATE)
    assert len(found.hertz) > 50
    assert not found.clear.any()


def test_the_spectrum_begins_with_the_loudest_sample():
    sound = np.concatenate([0.01 * np.sin(np.arange(RATE) / 5.0).astype(np.float32), struck([700.0], [0])])
    assert spectral_peaks(sound, RATE).hertz[0] == pytest.approx(700.0, abs=0.05)


@pytest.mark.parametrize("samples", [0, 1, 700])
def test_a_short_or_empty_sound_is_measured_too(samples):
    assert len(spectral_peaks(np.zeros(samples, np.float32), RATE).power) > 4096


def test_partials_lie_apart_by_the_median_of_their_cents():
    asked = struck([400, 800, 1200, 1600, 2000], [0, -5, -10, -20, -25])
    moved = np.array([400, 800, 1200, 1600, 2000]) * 2 ** (np.array([0, 1, 4, 9, 300]) / 1200)
    assert partial_cents(asked, asked, RATE) == 0
    assert partial_cents(asked, struck(moved, [0] * 5), RATE) == pytest.approx(4.0, abs=0.1)
    assert partial_cents(asked, struck([400, 800], [0, 0]), RATE) == 50.0  # three of five are missing
    assert partial_cents(struck([400, 800], [0, -40]), struck([400.0], [0]), RATE) == pytest.approx(0, abs=0.05)
    assert partial_cents(white_noise(RATE), asked, RATE) is None
