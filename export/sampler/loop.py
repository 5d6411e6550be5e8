"""Loops of held notes: two alike places of a sound, joined by a crossfade that keeps its power."""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from ...host.arrays import Array

SETTLED_SECONDS = 0.8  # the attack, before which no loop begins
SHORTEST_SECONDS = 1.0  # a shorter loop is heard to repeat
WINDOW_SECONDS = 0.1  # compared at both places: some periods of the lowest keys
FADE_SECONDS = 0.25
ENDS = 24  # places tried
END_SECONDS = 0.6  # before the end of the sound, within which loops end
LEVEL_WEIGHT = 0.05  # of likeness, per dB between the places
TOO_QUIET = 1e-5


class Loop(NamedTuple):
    """Repeats samples ``start`` to ``end`` - 1; ``likeness`` is the correlation of the joined places."""

    start: int
    end: int
    likeness: float


def find_loop(sound: Array, rate: int) -> Loop | None:
    """Return the loop of the most alike places of a held note, [channels, n]; None if it is too short or silent.

    Likeness is the normalised cross-correlation of samples before, less a term for levels.
    """
    mono = sound.mean(axis=0, dtype=np.float64)
    window, first = round(WINDOW_SECONDS * rate), round(SETTLED_SECONDS * rate)
    shortest = round(SHORTEST_SECONDS * rate)
    best: Loop | None = None
    best_score = -np.inf
    for end in np.linspace(len(mono) - END_SECONDS * rate, len(mono), ENDS).astype(int):
        if end - shortest < first + window:
            continue
        pattern, region = mono[end - window : end], mono[first : end - shortest]
        likeness, level = _likeness(pattern, region)
        score = likeness - LEVEL_WEIGHT * np.abs(level)
        place = int(score.argmax())
        if score[place] > best_score:
            best_score = float(score[place])
            best = Loop(first + place + window, int(end), float(likeness[place]))
    return best


def joined(sound: Array, loop: Loop, rate: int) -> Array:
    """Return the sound up to the loop's end, crossfaded into the samples before the loop's start.

    By the parts' correlation, alike ones fade by amplitude, unlike ones by power.
    """
    fade = min(round(FADE_SECONDS * rate), loop.start, loop.end - loop.start)
    looped = sound[:, : loop.end].copy()
    out, back = looped[:, -fade:], sound[:, loop.start - fade : loop.start]
    powers = float(np.square(out).sum()), float(np.square(back).sum())
    alike = float((out * back).sum()) / max(np.sqrt(powers[0] * powers[1]), TOO_QUIET**2)
    rise = 0.5 - 0.5 * np.cos(np.pi * (np.arange(fade) + 1) / fade)
    fall = 1 - rise
    scale = np.sqrt(rise**2 + fall**2 + 2 * rise * fall * np.clip(alike, 0, 1))
    looped[:, -fade:] = ((fall * out + rise * back) / scale).astype(np.float32)
    return looped


def _likeness(pattern: npt.NDArray[np.float64], region: npt.NDArray[np.float64]) -> tuple[Array, Array]:
    size = 1 << int(np.ceil(np.log2(len(region) + len(pattern))))
    products = np.fft.irfft(np.fft.rfft(region, size) * np.conj(np.fft.rfft(pattern, size)), size)
    products = products[: len(region) - len(pattern) + 1]
    sums = np.concatenate([[0.0], np.cumsum(np.square(region))])
    energies = np.maximum(sums[len(pattern) :] - sums[: -len(pattern)], TOO_QUIET**2)
    own = max(float(np.square(pattern).sum()), TOO_QUIET**2)
    return (products / np.sqrt(energies * own)).astype(np.float32), (10 * np.log10(energies / own)).astype(np.float32)
