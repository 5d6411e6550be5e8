"""Measures the pitch and inharmonicity of a note by its partials.

Partial n of a string of stiffness B has n f sqrt(1 + B n^2) (`host.model.partials.stretched`), so (f_n / n)^2 is a
line in n^2, fitted to spectral peaks.
"""

import math
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from ...host.arrays import Doubles
from ...host.kinds.card_fields import KEYS, MOST_STRETCHED
from ...host.model.partials import stretched
from ...host.signal import window
from ...host.units import midi_to_hz
from .pitch import Samples, Sliceable, single_note
from .store import Corpus

LONGEST, SHORTEST = 32768, 4096  # samples of a spectrum: bins of 1.3 Hz at 44.1 kHz, where notes are long enough
SEARCHED_SAMPLES = 1 << 19  # samples of a clip to search, 12 s at 44.1 kHz
AFTER_SECONDS = 0.05  # after the loudest moment: attacks are out of tune
PARTIALS = 24  # at most; higher ones are faint, and these suffice for B
NEAR_CENTS = 25.0  # around the frequency that the current fit predicts for a partial
FIRST_CENTS = 60.0  # around the pitch track's frequency, for the first partial
CLEAR_DB, LOUD_DB = 15.0, -60.0  # over the surrounding level, and under the highest peak; other peaks are no partials
MISFIT_CENTS = 6.0  # from the line: such a peak has another source
FEWEST_PARTIALS = 3  # partials for a pitch
STIFFNESS_PARTIALS = 12  # partials for a stiffness
STIFF_CENTS = 2.0  # median rise of the tenth partial in stiff strings
SHARP_CENTS = 4.0  # rise of the tenth partial that makes the period a wrong measure of pitch
LARGEST_LOG_B = math.log(MOST_STRETCHED) - 1e-3  # of ln B, which is rounded
LEAST_B = 1e-6  # a lower value counts as none, and its logarithm means nothing
MOST_NOTES = 160  # that are measured in a corpus, at most
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
    steady_samples = steady(samples, rate)
    if steady_samples is None:
        return None
    spectrum_length, levels_db = len(steady_samples), spectrum_db(steady_samples)
    floor_db, bin_hz = float(levels_db.max()) + LOUD_DB, rate / spectrum_length
    peak_numbers: list[int] = []
    peaks_hz: list[float] = []
    fundamental_hz, inharmonicity = midi_to_hz(note), 0.0
    for n in range(1, PARTIALS + 1):
        predicted_hz = fundamental_hz * float(stretched(np.array(n), inharmonicity))
        search_cents = FIRST_CENTS if not peaks_hz else NEAR_CENTS
        if predicted_hz * 2 ** (search_cents / 1200) > 0.45 * rate:
            break
        peak_bin = _peak(
            levels_db,
            predicted_hz / bin_hz,
            predicted_hz / bin_hz * (2 ** (search_cents / 1200) - 1),
            fundamental_hz / bin_hz / 3,
            floor_db,
        )
        if peak_bin is None:
            continue
        peak_numbers.append(n)
        peaks_hz.append(peak_bin * bin_hz)
        fundamental_hz, inharmonicity = _fit_string(np.array(peak_numbers), np.array(peaks_hz))
    partial_numbers, partials_hz = np.array(peak_numbers), np.array(peaks_hz)
    if len(partial_numbers) >= FEWEST_PARTIALS:
        fitted_hz = fundamental_hz * stretched(partial_numbers, inharmonicity)
        is_fitting = np.abs(1200 * np.log2(partials_hz / fitted_hz)) < MISFIT_CENTS
        partial_numbers, partials_hz = partial_numbers[is_fitting], partials_hz[is_fitting]
    if len(partial_numbers) < FEWEST_PARTIALS:
        return None
    fundamental_hz, inharmonicity = _fit_string(partial_numbers, partials_hz)
    return StiffString(69 + 12 * math.log2(fundamental_hz / 440), inharmonicity, len(partial_numbers))


def by_partials(samples: Sliceable, rate: int, track: Samples) -> Samples:
    """Move a stiff string's pitch track, [frames], to its first partial.

    Its period is sharp, by 17 cents on some pianos.
    """
    note = single_note(track)
    string = None if note is None else stiffness(samples, rate, note)
    if (
        note is None
        or string is None
        or string.partials < STIFFNESS_PARTIALS
        or raised_cents(string.inharmonicity) < SHARP_CENTS
    ):
        return track
    return track + np.float32(string.pitch - note)


def stretch_of(corpus: Corpus) -> tuple[float, float] | None:
    """Return a corpus's stiffness, ln B = first + second * key; None for flexible strings.

    Theil and Sen's line, the median slope of pairs, stays flat enough for the outermost keys.
    """
    clips = corpus.clips()
    clip_notes = [
        (clip_index, note)
        for clip_index, clip in enumerate(clips)
        if (note := single_note(corpus.pitch(clip))) is not None
    ]
    thinned_notes = clip_notes[:: max(1, -(-len(clip_notes) // MOST_NOTES))]
    strings = [stiffness(corpus.samples(clips[clip_index]), corpus.rate, note) for clip_index, note in thinned_notes]
    clear_strings = [string for string in strings if string is not None and string.partials >= STIFFNESS_PARTIALS]
    if (
        len(clear_strings) < FEWEST_NOTES
        or np.median([raised_cents(string.inharmonicity) for string in clear_strings]) < STIFF_CENTS
    ):
        return None
    stiff_strings = [string for string in clear_strings if string.inharmonicity > LEAST_B]
    keys, log_b = (
        np.array([string.pitch for string in stiff_strings]),
        np.log([string.inharmonicity for string in stiff_strings]),
    )
    first_indices, second_indices = np.triu_indices(len(keys), 1)
    key_distances = keys[second_indices] - keys[first_indices]
    slopes = (log_b[second_indices] - log_b[first_indices])[np.abs(key_distances) > 0.5] / key_distances[
        np.abs(key_distances) > 0.5
    ]
    slope = float(np.median(slopes)) if len(slopes) else 0.0
    middle_key = float(np.median(keys))
    middle_log_b = min(float(np.median(log_b - slope * (keys - middle_key))), LARGEST_LOG_B)
    # The line stays under the largest ln B on the lowest and on the highest key.
    slope = min(
        max(slope, (middle_log_b - LARGEST_LOG_B) / middle_key),
        (LARGEST_LOG_B - middle_log_b) / (KEYS - 1 - middle_key),
    )
    return round(middle_log_b - slope * middle_key, 5), round(slope, 6)


def raised_cents(inharmonicity: float, partial: int = 10) -> float:
    """Return the cents by which stiffness raises a partial."""
    return 600 * math.log2((1 + inharmonicity * partial * partial) / (1 + inharmonicity))


def steady(samples: Sliceable, rate: int) -> Samples | None:
    """Return a power of two samples after the loudest moment; None if too short."""
    hop, searched_samples = SHORTEST // 4, samples[: min(len(samples), SEARCHED_SAMPLES)]
    if len(searched_samples) < SHORTEST:
        return None
    mean_squares = np.square(searched_samples[: len(searched_samples) // hop * hop]).reshape(-1, hop).mean(1)
    steady_start = min(int(mean_squares.argmax()) * hop + round(AFTER_SECONDS * rate), len(searched_samples) - SHORTEST)
    steady_length = min(LONGEST, 1 << (len(searched_samples) - steady_start).bit_length() - 1)
    return searched_samples[steady_start : steady_start + steady_length]


def spectrum_db(samples: Samples) -> Doubles:
    magnitudes = np.abs(np.fft.rfft(samples * window("hann", len(samples))))
    return np.asarray(20 * np.log10(np.maximum(magnitudes, 1e-9)))


def _peak(
    levels_db: Doubles,
    predicted_bin: float,
    search_half_width_bins: float,
    surround_half_width_bins: float,
    floor_db: float,
) -> float | None:
    """Return the bin, with fraction, of a clear peak near the predicted one; None without."""
    low_bin, high_bin = (
        math.floor(predicted_bin - max(search_half_width_bins, 1.5)),
        math.ceil(predicted_bin + max(search_half_width_bins, 1.5)),
    )
    if low_bin < 1 or high_bin >= len(levels_db) - 1:
        return None
    peak_bin = low_bin + int(levels_db[low_bin : high_bin + 1].argmax())
    left_db, peak_db, right_db = levels_db[peak_bin - 1 : peak_bin + 2]
    surround_db = levels_db[
        max(0, round(predicted_bin - surround_half_width_bins)) : round(predicted_bin + surround_half_width_bins) + 1
    ]
    if (
        peak_db < floor_db
        or peak_db < np.median(surround_db) + CLEAR_DB
        or not (peak_db > left_db and peak_db >= right_db)
    ):
        return None
    curve = left_db - 2 * peak_db + right_db
    return peak_bin + 0.5 * float((left_db - right_db) / curve)


def _fit_string(partial_numbers: npt.NDArray[np.int64], partials_hz: Doubles) -> tuple[float, float]:
    """Return the first partial in Hz and the inharmonicity of a line through partials."""
    n_squared = np.square(partial_numbers, dtype=np.float64)
    squared_ratios = np.square(partials_hz / partial_numbers)
    if len(partial_numbers) < FEWEST_PARTIALS:
        return float(np.sqrt(np.mean(squared_ratios))), 0.0
    weights = n_squared  # an error of a bin is an error of 1 / n of the fundamental
    mean_square, mean_ratio = np.average(n_squared, weights=weights), np.average(squared_ratios, weights=weights)
    slope = np.sum(weights * (n_squared - mean_square) * (squared_ratios - mean_ratio)) / np.sum(
        weights * np.square(n_squared - mean_square)
    )
    slope = max(slope, 0.0)
    intercept = mean_ratio - slope * mean_square
    if intercept <= 0:
        return float(np.sqrt(mean_ratio)), 0.0
    return float(np.sqrt(intercept + slope)), float(slope / intercept)
