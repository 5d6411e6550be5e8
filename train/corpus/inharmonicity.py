"""Measures the pitch and inharmonicity of a note by its partials.

Partial n of a string of stiffness B has n f sqrt(1 + B n^2) (`host.model.partials.stretched`), so (f_n / n)^2 is a
line in n^2, fitted to spectral peaks.
"""

import math
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from ...host.arrays import Doubles
from ...host.model.card import KEYS, MOST_STRETCHED
from ...host.model.partials import stretched
from ...host.signal import window
from ...host.units import midi_to_hz
from .pitch import Samples, Sliceable, single_note
from .store import Corpus

LONGEST, SHORTEST = 32768, 4096  # samples of a spectrum: bins of 1.3 Hz at 44.1 kHz, where notes are long enough
LISTENED = 1 << 19  # samples of a clip to search, 12 s at 44.1 kHz
AFTER_SECONDS = 0.05  # after the loudest moment: attacks are out of tune
PARTIALS = 24  # at most; higher ones are faint, and these suffice for B
NEAR_CENTS = 25.0  # around the frequency that the current fit predicts for a partial
FIRST_CENTS = 60.0  # around the pitch track's frequency, for the first partial
CLEAR_DB, LOUD_DB = 15.0, -60.0  # over the surrounding level, and under the highest peak; other peaks are no partials
MISFIT_CENTS = 6.0  # from the line: such a peak has another source
FEWEST = 3  # partials for a pitch
ENOUGH = 12  # partials for a stiffness
STIFF_CENTS = 2.0  # median rise of the tenth partial in stiff strings
SHARP_CENTS = 4.0  # rise of the tenth partial that makes the period a wrong measure of pitch
MOST = math.log(MOST_STRETCHED) - 1e-3  # of ln B, which is rounded
FLEXIBLE = 1e-6  # of B: a lower value counts as none, and its logarithm means nothing
NOTES = 160  # measured in a corpus, at most
FEWEST_NOTES = 4  # for a line


class StiffString(NamedTuple):
    """``pitch`` is the first partial's, a MIDI note; ``partials`` counts fitted ones."""

    pitch: float
    inharmonicity: float
    partials: int


def stiffness(samples: Sliceable, rate: int, note: float) -> StiffString | None:
    """Measure a note, mono [n]; None for fewer than three clear partials.

    ``note`` is its MIDI note, to half a semitone.
    """
    part = steady(samples, rate)
    if part is None:
        return None
    length, levels = len(part), spectrum_db(part)
    floor, a_bin = float(levels.max()) + LOUD_DB, rate / length
    number: list[int] = []
    found: list[float] = []
    first, stiff = midi_to_hz(note), 0.0
    for n in range(1, PARTIALS + 1):
        wanted = first * float(stretched(np.array(n), stiff))
        cents = FIRST_CENTS if not found else NEAR_CENTS
        if wanted * 2 ** (cents / 1200) > 0.45 * rate:
            break
        place = _peak(levels, wanted / a_bin, wanted / a_bin * (2 ** (cents / 1200) - 1), first / a_bin / 3, floor)
        if place is None:
            continue
        number.append(n)
        found.append(place * a_bin)
        first, stiff = _fitted(np.array(number), np.array(found))
    kept, places = np.array(number), np.array(found)
    if len(kept) >= FEWEST:
        asked = first * stretched(kept, stiff)
        right = np.abs(1200 * np.log2(places / asked)) < MISFIT_CENTS
        kept, places = kept[right], places[right]
    if len(kept) < FEWEST:
        return None
    first, stiff = _fitted(kept, places)
    return StiffString(69 + 12 * math.log2(first / 440), stiff, len(kept))


def by_partials(samples: Sliceable, rate: int, track: Samples) -> Samples:
    """Move a stiff string's pitch track, [frames], to its first partial.

    Its period is sharp, by 17 cents on some pianos.
    """
    note = single_note(track)
    found = None if note is None else stiffness(samples, rate, note)
    if note is None or found is None or found.partials < ENOUGH or raised_cents(found.inharmonicity) < SHARP_CENTS:
        return track
    return track + np.float32(found.pitch - note)


def stretch_of(corpus: Corpus) -> tuple[float, float] | None:
    """Return a corpus's stiffness, ln B = first + second * key; None for flexible strings.

    Theil and Sen's line, the median slope of pairs, stays flat enough for the outermost keys.
    """
    clips = corpus.clips()
    notes = [(row, note) for row, clip in enumerate(clips) if (note := single_note(corpus.pitch(clip))) is not None]
    few = notes[:: max(1, -(-len(notes) // NOTES))]
    measured = [stiffness(corpus.samples(clips[row]), corpus.rate, note) for row, note in few]
    told = [one for one in measured if one is not None and one.partials >= ENOUGH]
    if len(told) < FEWEST_NOTES or np.median([raised_cents(one.inharmonicity) for one in told]) < STIFF_CENTS:
        return None
    stiff = [one for one in told if one.inharmonicity > FLEXIBLE]
    keys, values = np.array([one.pitch for one in stiff]), np.log([one.inharmonicity for one in stiff])
    above, below = np.triu_indices(len(keys), 1)
    apart = keys[below] - keys[above]
    slopes = (values[below] - values[above])[np.abs(apart) > 0.5] / apart[np.abs(apart) > 0.5]
    slope = float(np.median(slopes)) if len(slopes) else 0.0
    middle = float(np.median(keys))
    value = min(float(np.median(values - slope * (keys - middle))), MOST)
    slope = min(max(slope, (value - MOST) / middle), (MOST - value) / (KEYS - 1 - middle))
    return round(value - slope * middle, 5), round(slope, 6)


def raised_cents(inharmonicity: float, partial: int = 10) -> float:
    return 600 * math.log2((1 + inharmonicity * partial * partial) / (1 + inharmonicity))


def steady(samples: Sliceable, rate: int) -> Samples | None:
    """Return a power of two samples after the loudest moment; None if too short."""
    hop, beginning = SHORTEST // 4, samples[: min(len(samples), LISTENED)]
    if len(beginning) < SHORTEST:
        return None
    squares = np.square(beginning[: len(beginning) // hop * hop]).reshape(-1, hop).mean(1)
    start = min(int(squares.argmax()) * hop + round(AFTER_SECONDS * rate), len(beginning) - SHORTEST)
    length = min(LONGEST, 1 << (len(beginning) - start).bit_length() - 1)
    return beginning[start : start + length]


def spectrum_db(samples: Samples) -> Doubles:
    magnitudes = np.abs(np.fft.rfft(samples * window("hann", len(samples))))
    return np.asarray(20 * np.log10(np.maximum(magnitudes, 1e-9)))


def _peak(levels: Doubles, wanted: float, near: float, around: float, floor: float) -> float | None:
    low, high = math.floor(wanted - max(near, 1.5)), math.ceil(wanted + max(near, 1.5))
    if low < 1 or high >= len(levels) - 1:
        return None
    at = low + int(levels[low : high + 1].argmax())
    below, here, above = levels[at - 1 : at + 2]
    beside = levels[max(0, round(wanted - around)) : round(wanted + around) + 1]
    if here < floor or here < np.median(beside) + CLEAR_DB or not (here > below and here >= above):
        return None
    curve = below - 2 * here + above
    return at + 0.5 * float((below - above) / curve)


def _fitted(number: npt.NDArray[np.int64], places: Doubles) -> tuple[float, float]:
    square = np.square(number, dtype=np.float64)
    ratio = np.square(places / number)
    if len(number) < FEWEST:
        return float(np.sqrt(np.mean(ratio))), 0.0
    weight = square  # an error of a bin is an error of 1 / n of the fundamental
    mean, level = np.average(square, weights=weight), np.average(ratio, weights=weight)
    slope = np.sum(weight * (square - mean) * (ratio - level)) / np.sum(weight * np.square(square - mean))
    slope = max(slope, 0.0)
    base = level - slope * mean
    if base <= 0:
        return float(np.sqrt(level)), 0.0
    return float(np.sqrt(base + slope)), float(slope / base)
