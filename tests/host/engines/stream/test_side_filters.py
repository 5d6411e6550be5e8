"""Filters give a loop's sides the levels and correlations of an image, and nothing sounds before an attack."""

import numpy as np
import pytest
from timbrel.host.engines.stream.side_filters import SideFilters
from timbrel.host.spectra import mel_edges_hz

from ...sides import by_band

RATE = 44100
MIDDLES_HZ = mel_edges_hz(RATE, 32)[1:-1]


def filters(level, correlation, amount=1.0):
    image = np.column_stack([np.broadcast_to(level, 32), np.broadcast_to(correlation, 32)]).astype(float)
    return SideFilters(image, amount, RATE)


def noise(seconds=4.0):
    return np.random.default_rng(0).standard_normal(round(seconds * RATE)).astype(np.float32)


@pytest.mark.parametrize("amount", [0.5, 1.0, 2.0])
@pytest.mark.parametrize(("level", "correlation"), [(0.0, 0.3), (6.0, 1.0), (-9.0, -0.4), (3.0, 0.0)])
def test_sides_have_the_level_and_the_correlation_of_the_image_and_together_the_power_of_mono(
    level, correlation, amount
):
    sound = noise()
    sides = filters(level, correlation, amount)(sound)
    for low_hz, high_hz in ((500, 1500), (1500, 5000), (5000, 15_000)):
        side_level, side_correlation = by_band(sides, low_hz, high_hz, RATE, 2048)
        assert side_level == pytest.approx(amount * level, abs=1.0)
        assert side_correlation == pytest.approx(np.cos(min(amount * np.arccos(correlation), np.pi)), abs=0.08)
    assert 10 * np.log10(np.square(sides).mean() / np.square(sound).mean()) == pytest.approx(0, abs=0.3)


def test_bands_differ():
    share = np.interp(np.log(MIDDLES_HZ), np.log([800, 4000]), [0, 1])
    sides = filters(12 * share - 6, 1 - share)(noise())
    low_level, low_correlation = by_band(sides, 300, 800, RATE, 2048)
    high_level, high_correlation = by_band(sides, 4500, 9000, RATE, 2048)
    assert (low_level, high_level) == pytest.approx((-6, 6), abs=0.7)
    assert (low_correlation, high_correlation) == pytest.approx((1.0, 0.0), abs=0.1)


@pytest.mark.parametrize("level", [0.0, 9.0])
@pytest.mark.parametrize("correlation", [1.0, 0.5, 0.0])
def test_an_attack_stays_where_it_is(level, correlation):
    """Nothing comes before it; the part that both sides share comes at once, the rest within 15 ms."""
    click = np.zeros(8192, np.float32)
    click[2000] = 1.0
    powers = np.square(filters(np.linspace(-level, level, 32), correlation)(click), dtype=np.float64).sum(0)
    assert powers[:2000].sum() < 1e-9 * powers.sum()
    at_once = powers[2000 : 2000 + RATE // 1000].sum() / powers.sum()
    assert at_once > 0.9 * (1 + correlation) / 2
    assert powers[: 2000 + 15 * RATE // 1000].sum() > 0.99 * powers.sum()


@pytest.mark.parametrize("place", [1, 200, 5000])
def test_a_sound_that_follows_another_has_the_sides_of_both_in_one(place):
    sound, make_sides = noise(0.3), filters(4.0, 0.1)
    followed = make_sides(sound[place:], sound[:place])
    assert followed == pytest.approx(make_sides(sound)[:, place:], abs=1e-5)
    assert np.abs(make_sides(sound[place:])[:, :50] - followed[:, :50]).max() > 1e-3  # without a memory
