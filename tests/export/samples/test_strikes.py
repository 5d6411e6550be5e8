"""Sounds that last are looped, sounds that fade are not."""

import numpy as np
import pytest
from timbrel.export.samples.strikes import RATE, _lasts


def note(level_db: np.ndarray) -> np.ndarray:
    """Noise of levels [n] in dB, at equal distances in five seconds, on two channels."""
    times = np.linspace(0, 1, 5 * RATE)
    gains = 10 ** (np.interp(times, np.linspace(0, 1, len(level_db)), level_db) / 20)
    return (gains * np.random.default_rng(0).standard_normal((2, 5 * RATE)) / 4).astype(np.float32)


@pytest.mark.parametrize(
    ("level_db", "lasts"),
    [
        ([0, 0], True),
        ([0, -4], True),  # under 3 dB in the two seconds that are compared
        ([0, -12], False),
        ([0, -25, -25, -25, -25, -25], True),  # a strike, and the tone after it
        ([0, -36, -36, -36, -36, -36], False),  # a strike, and the room after it
    ],
)
def test_a_sound_lasts_if_it_hardly_falls_and_is_no_rest_of_a_strike(level_db: list[float], lasts: bool) -> None:
    assert _lasts(note(np.array(level_db))) is lasts
