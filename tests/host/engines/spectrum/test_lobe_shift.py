"""Spectra moved peak by peak, beside the spectra of the moved partials themselves."""

import numpy as np
import pytest
import scipy.signal
from timbrel.host.engines.spectrum.frames import shift_spectra
from timbrel.host.engines.spectrum.lobe_shift import shift_lobes

FRAME = 2048
WINDOW = scipy.signal.get_window("hann", FRAME)
PLACES = np.array([11.3, 40.0, 77.62, 150.5, 301.17])  # bins
HEIGHTS = np.array([0.5, 1.0, 0.3, 0.2, 0.05])


def spectrum(places, noise=0.0):
    """Magnitudes of sinusoids under the window, a lobe of each HEIGHTS high, [bins]."""
    turns = np.outer(places, np.arange(FRAME)) / FRAME
    sound = 4 / FRAME * HEIGHTS @ np.cos(2 * np.pi * turns + np.arange(len(places))[:, np.newaxis])
    sound += noise * np.random.default_rng(5).normal(size=FRAME)
    return np.abs(np.fft.rfft(sound * WINDOW)).astype(np.float32)


def error_db(found, expected):
    return 20 * np.log10(np.linalg.norm(found - expected) / np.linalg.norm(expected))


@pytest.mark.parametrize("ratio", [0.25, 0.5, 0.944, 1.0001, 1.06, 1.5, 2.0, 3.0])
def test_moved_partials_have_the_lobes_that_they_have_at_their_new_place(ratio):
    places = PLACES + 60 * (ratio < 1)  # lobes apart
    given = spectrum(places)
    frames, distances = shift_lobes(given[np.newaxis], np.array([ratio]))
    expected = spectrum(places * ratio)
    assert error_db(frames[0], expected) < -24
    stretched = error_db(shift_spectra(given[np.newaxis], np.array([ratio]))[0], expected)
    if abs(np.log2(ratio)) >= 0.5:
        assert stretched > error_db(frames[0], expected) + 12
    for place in places * ratio:
        bin_number = round(place)
        assert distances[0, bin_number] == pytest.approx(place - bin_number, abs=0.02)
    assert np.isnan(distances[0, -10:]).all()


def test_energy_is_that_of_the_stretched_spectrum():
    given = spectrum(PLACES, noise=1e-4)[np.newaxis]
    for ratio in (0.4, 1.2, 2.5):
        moved, _ = shift_lobes(given, np.array([ratio]))
        stretched = shift_spectra(given, np.array([ratio]))
        assert np.square(moved).sum() == pytest.approx(np.square(stretched).sum(), rel=1e-4)


def test_an_unmoved_row_keeps_its_values_and_each_row_is_as_alone():
    rows = np.stack([spectrum(PLACES), spectrum(PLACES + 7, noise=1e-3), np.zeros(FRAME // 2 + 1, np.float32)])
    ratios = np.array([1.0, 1.7, 0.5])
    frames, distances = shift_lobes(rows, ratios)
    assert np.array_equal(frames[0], rows[0])
    assert distances[0, 40] == pytest.approx(PLACES[1] - 40, abs=0.02)
    assert not frames[2].any()
    alone, places = shift_lobes(rows[1:2], ratios[1:2])
    assert np.array_equal(frames[1], alone[0])
    assert np.array_equal(distances[1], places[0], equal_nan=True)
