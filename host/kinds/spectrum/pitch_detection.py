"""Pitch detection in single frames, from their spectra.

The period is the lag of the best peak in the frame's autocorrelation, divided by the window's (P. Boersma, "Accurate
short-term analysis of the fundamental frequency and the harmonics-to-noise ratio of a sampled sound", Proc. Institute
of Phonetic Sciences 17, Amsterdam 1993). The window centers it on the frame, so it follows speech better than YIN.
Spectral peaks refine it by cents.
"""

import functools
import math

import numpy as np

from ...arrays import Array, Doubles, Indices
from ...stft import window
from ...units import A4_HZ

LOWEST_HZ = 40.0  # a flat E1, the double bass's lowest; three periods must fit into a frame
HIGHEST_HZ = 4500.0  # a sharp C8, the piano's last key
RUMBLE_HZ = 20.0  # inaudible below, so no pitch
VOICED = 0.5  # minimum periodic energy: noise as strong as the tone (Boersma's 0.45, rounded)
OCTAVE_COST = 0.02  # per octave: of equal peaks the shorter period wins (Boersma's 0.01 fails more often here)
HARMONICS = 8  # whose peaks count: higher ones are weak or inharmonic
REACH = 3  # search range of a harmonic's peak, in bins on either side
FARTHEST = 0.03  # of a harmonic's frequency, half a semitone: peaks further away belong to others
TINY = 1e-30  # keeps divisors above 0


def fundamentals(magnitudes: Array, rate: int) -> Doubles:
    """Fractional MIDI notes, [rows]; NaN if unpitched.

    Args:
        magnitudes: of Hann-windowed frames, [rows, frame_length // 2 + 1].
        rate: Hz.
    """
    return sharpened(_by_autocorrelation(magnitudes, rate), magnitudes, rate)


@functools.cache
def _window_autocorrelation(length: int) -> Doubles:
    recurs: Doubles = np.fft.irfft(np.square(np.abs(np.fft.rfft(window("hann", length)))), length)
    return recurs


@functools.cache
def _lowpass(bins: int) -> Doubles:
    place = np.clip(np.linspace(-1.0, 3.0, bins), 0.0, 1.0)
    return np.square(np.cos(np.pi / 2 * place))


def _by_autocorrelation(magnitudes: Array, rate: int) -> Doubles:
    length = 2 * (magnitudes.shape[1] - 1)
    longest = min(math.ceil(rate / LOWEST_HZ), length // 3)
    power = np.square(magnitudes, dtype=np.float64)
    power[:, : math.ceil(RUMBLE_HZ * length / rate)] = 0
    power *= _lowpass(power.shape[1])
    recurs = np.fft.irfft(power, length, axis=1)[:, : longest + 2] / _window_autocorrelation(length)[: longest + 2]
    recurs /= np.maximum(recurs[:, :1], TINY)
    before, at, after = recurs[:, :-2], recurs[:, 1:-1], recurs[:, 2:]
    lags = np.arange(1, longest + 1)
    top = (at > before) & (at >= after) & (lags >= rate / HIGHEST_HZ - 1)
    curve = np.where(top, before - 2 * at + after, -1.0)
    heights = np.where(top, at - np.square(before - after) / (8 * curve), 0.0)
    chosen = np.arange(len(recurs)), np.argmax(heights - OCTAVE_COST * np.log2(lags), axis=1)
    periods = lags[chosen[1]] + ((before - after) / (2 * curve))[chosen]
    notes: Doubles = 69 + 12 * np.log2(rate / periods / A4_HZ)
    return np.where(heights[chosen] > VOICED, notes, np.nan)


def sharpened(notes: Doubles, magnitudes: Array, rate: int) -> Doubles:
    """Refine notes, [rows], by near peaks of their harmonics; NaN stays NaN.

    From peaks at f(k) with energies w, the fundamental is the least-squares fit, sum(w k f(k)) / sum(w k k); exact for
    steady sinusoids. Other arguments: as `fundamentals`.
    """
    exact = notes.copy()
    rows = np.flatnonzero(np.isfinite(notes))
    if not len(rows):
        return exact
    heard, last = magnitudes[rows].astype(np.float64), magnitudes.shape[1] - 2
    first = A4_HZ * np.exp2((exact[rows, np.newaxis] - 69) / 12) * 2 * (last + 1) / rate  # bins
    order, row = np.arange(1, HARMONICS + 1), np.arange(len(rows))[:, np.newaxis]
    wanted = order * first
    peak = _peaks(heard, wanted, np.maximum(first / 4, 1.0))
    below, here, above = (heard[row, peak + step] for step in (-1, 0, 1))
    ratio = np.maximum(below, above) / np.maximum(here, TINY)
    shift = np.clip((2 * ratio - 1) / (ratio + 1), 0.0, 0.5)  # of a Hann lobe
    found = peak + np.where(above > below, shift, -shift)
    kept = (here >= below) & (here >= above) & (np.abs(found - wanted) < FARTHEST * wanted) & (wanted < last)
    weight = kept * np.square(here)
    fit = (weight * order * found).sum(axis=1) / np.maximum((weight * np.square(order)).sum(axis=1), TINY)
    right = fit > 0
    exact[rows[right]] += 12 * np.log2(fit[right] / first[right, 0])
    return exact


def _peaks(heard: Doubles, wanted: Doubles, near: Doubles) -> Indices:
    around = np.rint(wanted)[:, :, np.newaxis] + np.arange(-REACH, REACH + 1)
    inside = np.abs(around - wanted[:, :, np.newaxis]) <= near[:, :, np.newaxis]
    bins = np.clip(around, 1, heard.shape[1] - 2).astype(np.intp)
    levels = np.where(inside, heard[np.arange(len(heard))[:, np.newaxis, np.newaxis], bins], 0.0)
    best: Indices = np.take_along_axis(bins, levels.argmax(axis=2)[:, :, np.newaxis], axis=2)[:, :, 0]
    return best
