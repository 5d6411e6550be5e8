"""Modes of a note: which partials they move, and how much power they take from which band."""

import numpy as np
import pytest
from timbrel.host.kinds.card_fields import PartialsLayout
from timbrel.host.model.gesture import NO_MODES, band_energy, placed_modes
from timbrel.host.model.model import Model
from timbrel.host.preset.shipped import MODELS
from timbrel.host.units import midi_to_hz

EDGES = [20.0, 100.0, 400.0, 1000.0, 4000.0]
ORDERS = np.arange(1.0, 7.0)


@pytest.fixture(scope="module")
def card():
    known = Model(MODELS / "gm-partials-8.onnx").card
    layout = PartialsLayout(harmonics=6, edges_hz=EDGES, low=30, high=90)
    return known.model_copy(update={"sample_rate": 40960, "frame_length": 4096, "partials": layout})


def test_no_modes_change_nothing(card):
    placed = placed_modes(NO_MODES, ORDERS, card, 60)
    heights, power = np.ones((2, 6), np.float32), np.ones((2, 4), np.float32)
    assert placed.orders == pytest.approx(ORDERS)
    for given, found in zip((heights, power), placed.applied(heights, power), strict=True):
        assert found == pytest.approx(given)


def test_a_mode_moves_its_harmonic_and_others_come_after_them(card):
    modes = np.array([[2.1, 2, 0.0], [0.5, 0, 1.0], [5.9, 6, 0.0], [2.5, 0, 0.5]])
    placed = placed_modes(modes, ORDERS, card, 60)
    assert placed.orders == pytest.approx([1, 2.1, 3, 4, 5, 5.9, 0.5, 2.5])
    assert placed.takers.tolist() == [6, 7]
    hertz = midi_to_hz(60) * np.array([0.5, 2.5])
    assert placed.bands.tolist() == (np.searchsorted(EDGES, hertz) - 1).tolist() == [1, 2]


def test_power_that_a_mode_takes_is_gone_from_its_band(card):
    modes = np.array([[1.0, 1, 0.25], [1.2, 0, 0.5], [60.0, 0, 1.0], [9.0, 0, 0.0]])
    heights, power = np.full((1, 6), 0.5, np.float32), np.array([[1.0, 2.0, 3.0, 4.0]], np.float32)
    partials, left = placed_modes(modes, ORDERS, card, 60).applied(heights, power)
    assert left[0] == pytest.approx([1.0, 0.25 * 2.0, 3.0, 4.0])  # the third is beyond all bands
    widths = 300 / 10.0  # bins
    assert partials[0, 0] == pytest.approx(np.sqrt(0.25 + 0.25 * 2.0 * widths / 1.5))
    assert partials[0, 6] == pytest.approx(np.sqrt(0.5 * 2.0 * widths / 1.5))
    assert partials[0, [7, 8]] == pytest.approx([0, 0])


def test_shares_of_a_band_are_1_together_at_most(card):
    placed = placed_modes(np.array([[1.1, 0, 0.9], [1.2, 0, 0.6]]), ORDERS, card, 60)
    assert placed.noise_shares[1] == 0
    assert placed.energy == pytest.approx(np.array([0.6, 0.4]) * 20.0)


def test_a_band_narrower_than_a_bin_has_the_energy_of_one(card):
    narrow = card.partials.model_copy(update={"edges_hz": [20.0, 25.0, 400.0]})
    assert band_energy(card.model_copy(update={"partials": narrow})) == pytest.approx([1 / 1.5, 37.5 / 1.5])
