"""Measures of stereo sounds."""

import numpy as np
from scipy.signal import csd, welch


def by_band(sides, low_hz, high_hz, rate, window_length):
    """Return the level of the left side over the right one in dB, and the correlation, between two frequencies."""
    hz, left = welch(sides[0], rate, nperseg=window_length)
    inside = (hz > low_hz) & (hz < high_hz)
    right, cross = welch(sides[1], rate, nperseg=window_length)[1], csd(*sides, rate, nperseg=window_length)[1].real
    left_power, right_power, cross_power = (power[inside].sum() for power in (left, right, cross))
    return 10 * np.log10(left_power / right_power), cross_power / np.sqrt(left_power * right_power)
