"""Measures how far grains lie from those that were asked for: as waveforms, by band, and as a texture."""

import itertools
from typing import Any

import numpy as np
import numpy.typing as npt

from .frames import decibels, pooled
from .likeness import mel

Array = npt.NDArray[np.float32]
Double = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

EDGES_HZ = (0.0, 500.0, 1000.0, 3000.0, 6000.0)  # of the bands; the last reaches the highest frequency
ABOVE_HZ = 3000.0  # and a row for all above: where the post's noise lay bare
PIECE_HZ = 100.0  # of a band: as fine as spectra of a clip are compared, so that chance averages out
QUIETEST = 1e-10  # power of a sample, -100 dB: below the noise of 16 bits
LEAST_DB = -40.0  # of what is added: what it is added to covers less
FEWEST_BINS = 2048  # samples that a window is filled up to: its narrowest mel band then holds a bin


def powers(sounds: Array) -> Double:
    """Spectra of Hann windows of grains: white noise of power 1 has a mean of 1 in each bin.

    Args:
        sounds: [grains, frame_length].

    Returns:
        [grains, bins], of a transform of the length `transform_length` of frame_length.
    """
    length = sounds.shape[1]
    window = np.hanning(length + 1)[:-1]
    spectra = np.fft.rfft(sounds * window, transform_length(length))
    power: Double = (np.square(spectra.real) + np.square(spectra.imag)) / np.square(window).sum()
    return power


def transform_length(length: int) -> int:
    """Return the power of two that is not below a window's length, at least `FEWEST_BINS`."""
    return max(FEWEST_BINS, 1 << (length - 1).bit_length())


def log_mel(sounds: Array, sample_rate: int) -> Double:
    """Levels of 40 mel bands of grains, in dB against the power of full scale a sample, -100 or more: [grains, 40]."""
    return 10 * np.log10(np.maximum(powers(sounds) @ mel(sample_rate, transform_length(sounds.shape[1])), QUIETEST))


def reconstruction(asked: Array, given: Array, clips: Ints, sample_rate: int) -> dict[str, dict[str, float]]:
    """Return the distances between grains, each over all (``value``) and as mean and deviation of the clips' own.

    ``sample_mean_square`` compares waveforms, and ``sample_error_db`` is it against the energy asked for: 0 dB is what
    silence has, 3 dB what other noise of the same level has, so that both say nothing of networks that decode a filter
    for noise. ``spectral_convergence_db`` compares magnitudes of Hann windows, the energy of the difference against the
    energy asked for; ``log_spectral_distance_db`` is the root mean square difference of `log_mel` bands, a mean over
    grains.

    Args:
        asked, given: samples, [grains, frame_length].
        clips: which clip each grain comes from, [grains].
        sample_rate: in Hz.
    """
    squares = np.square(asked - given, dtype=np.float64).sum(1)
    count = np.ones(len(asked))
    sought, found = np.sqrt(powers(asked)), np.sqrt(powers(given))
    apart = np.square(log_mel(asked, sample_rate) - log_mel(given, sample_rate)).mean(1)
    return {
        "sample_mean_square": pooled(squares, count * asked.shape[1], clips),
        "sample_error_db": pooled(squares, np.square(asked, dtype=np.float64).sum(1), clips, decibels),
        "spectral_convergence_db": pooled(np.square(sought - found).sum(1), np.square(sought).sum(1), clips, decibels),
        "log_spectral_distance_db": pooled(np.sqrt(apart), count, clips),
    }


def bands(asked: Array, given: Array, clips: Ints, sample_rate: int, same_waveform: bool) -> list[dict[str, Any]]:
    """Return what grains have more, or less, than those asked for, by band, the last one all above 3 kHz.

    Mean spectra of each clip are compared, which is fair to waveforms and to noise alike. ``level_db`` is the power
    given against the power asked for. ``excess_db`` is what is added: in pieces of 100 Hz, the power given beyond that
    asked for, summed over the band, against the power asked for in the band; -40 or more. ``noise_db`` is the power
    given that is no filtered copy of the waveform asked for (1 - coherence, over the windows of a clip), against the
    power asked for, -40 or more; None where the network does not follow waveforms. Each is the mean and the deviation
    of the clips' values.

    Args:
        asked, given: samples, [grains, frame_length].
        clips: which clip each grain comes from, [grains].
        sample_rate: in Hz.
        same_waveform: whether the network is meant to give the waveform itself.
    """
    window = np.hanning(asked.shape[1] + 1)[:-1]
    scale = 1 / np.square(window).sum()
    n_fft = transform_length(asked.shape[1])
    hz = np.fft.rfftfreq(n_fft, 1 / sample_rate)
    sums = []
    for clip in np.unique(clips):
        sought, found = (np.fft.rfft(x[clips == clip] * window, n_fft) for x in (asked, given))
        before, after = (scale * np.square(np.abs(x)).mean(0) + QUIETEST for x in (sought, found))
        shared = scale * np.square(np.abs((sought.conj() * found).mean(0))) * scale / before
        sums.append(_by_piece(np.stack([before, after, np.maximum(after - shared, 0)]), hz))
    pieces = np.stack(sums)  # [clips, (asked, given, noise), pieces]
    edges = [*(edge for edge in EDGES_HZ if edge < sample_rate / 2), sample_rate / 2]
    starts = np.arange(pieces.shape[2]) * PIECE_HZ
    found_bands = []
    for low, high in [*itertools.pairwise(edges), (ABOVE_HZ, sample_rate / 2)]:
        before, after, noise = np.moveaxis(pieces[..., (starts >= low) & (starts < high)], 1, 0)
        asked_for = before.sum(1)
        added = np.maximum(after - before, 0).sum(1) / asked_for
        rest = noise.sum(1) / asked_for
        found_bands.append(
            {
                "low_hz": low,
                "high_hz": high,
                "level_db": _spread(decibels(after.sum(1) / asked_for)),
                "excess_db": _spread(np.maximum(decibels(added), LEAST_DB)),
                "noise_db": _spread(np.maximum(decibels(rest), LEAST_DB)) if same_waveform else None,
            }
        )
    return found_bands


def _by_piece(spectra: Double, hz: npt.NDArray[Any]) -> Double:
    """Sums of spectra [..., bins] over pieces of 100 Hz, [..., pieces]."""
    starts = np.searchsorted(hz, np.arange(0, hz[-1], PIECE_HZ))
    sums: Double = np.add.reduceat(spectra, starts, axis=-1)
    return sums


def _spread(values: Double) -> dict[str, float]:
    return {"mean": float(values.mean()), "deviation": float(values.std())}
