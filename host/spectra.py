"""Spectra and levels of sounds: mel bands, centroids, and the course of loudness."""

import functools
from typing import Any

import numpy as np
import numpy.typing as npt

from .arrays import Array, Doubles, Indices, Spectrum
from .signal import window

KNEE_HZ, MEL_HZ, MEL_STEP = 1000.0, 200 / 3, np.log(6.4) / 27  # Slaney's scale: Hz per mel, then log step
LEAST = 1e-12  # smallest divisor: the sum of magnitudes of a silent frame
WEAK = np.float32(0.01)  # of the level of both sides, -40 dB: the phase of a weaker mean is that of rounding and noise


def mel_edges_hz(rate: int, band_count: int) -> Doubles:
    """Edges of mel bands from 0 Hz to half the rate, [bands + 2]; a band spans three, its middle is the second.

    (Slaney, "Auditory Toolbox", 1998: linear up to 1 kHz, logarithmic above.)
    """
    knee_mels, highest_hz = KNEE_HZ / MEL_HZ, rate / 2
    highest_mels = min(highest_hz, KNEE_HZ) / MEL_HZ + np.log(max(highest_hz, KNEE_HZ) / KNEE_HZ) / MEL_STEP
    mels = np.linspace(0.0, float(highest_mels), band_count + 2)
    edges_hz: Doubles = np.minimum(mels, knee_mels) * MEL_HZ * np.exp(MEL_STEP * np.maximum(mels - knee_mels, 0))
    return edges_hz


@functools.lru_cache(maxsize=16)  # of two megabytes each, at most, for rates and lengths of today's models
def mel_triangles(rate: int, frame_length: int, band_count: int) -> Doubles:
    """Mel filters of height 1, [bands, bins], as librosa's without a norm; a narrow band may contain no bin."""
    triangles = _triangles(mel_edges_hz(rate, band_count), np.fft.rfftfreq(frame_length, 1 / rate))
    triangles.setflags(write=False)
    return triangles


def mel_filters(rate: int, frame_length: int, band_count: int) -> Array:
    """Mel filters of area 1, [bands, bins], as librosa's."""
    edges_hz = mel_edges_hz(rate, band_count)
    heights = 2 / (edges_hz[2:] - edges_hz[:-2])
    return (mel_triangles(rate, frame_length, band_count).astype(np.float32) * heights[:, None]).astype(np.float32)


def _triangles(edges_hz: Doubles, bin_hz: npt.NDArray[np.floating[Any]]) -> Doubles:
    """Triangles of height 1 over three edges each, [bands, bins], also in the signs of zeros as librosa's."""
    low_hz, middle_hz, high_hz = edges_hz[:-2, None], edges_hz[1:-1, None], edges_hz[2:, None]
    slopes = np.minimum(-(low_hz - bin_hz) / (middle_hz - low_hz), (high_hz - bin_hz) / (high_hz - middle_hz))
    triangles: Doubles = np.maximum(0, slopes)
    return triangles


def centred_frames(sounds: Array, frame_length: int, hop: int) -> Array:
    """Frames of [..., samples], [..., frames, frame_length], ``hop`` apart, the first centred on the first sample.

    Zero-padded: ``1 + samples // hop`` frames of an even length.
    """
    padded_sounds = np.pad(sounds, [(0, 0)] * (sounds.ndim - 1) + [(frame_length // 2,) * 2])
    return np.lib.stride_tricks.sliding_window_view(padded_sounds, frame_length, axis=-1)[..., ::hop, :]


def mix_spectra(left: Spectrum, right: Spectrum) -> Spectrum:
    """Mix the spectra of two sides, [frames, bins], to mono with the power of both.

    A bin has the root of the sides' mean power, with the phase of their mean, or of the louder side where the mean is
    weaker by 40 dB.
    """
    mean, left_level, right_level = (left + right) / 2, np.abs(left), np.abs(right)
    level = np.hypot(left_level, right_level) * np.float32(0.5**0.5)
    louder = np.where(left_level >= right_level, left, right)
    phase_source = np.where(np.abs(mean) < WEAK * level, louder, mean)
    source_level = np.abs(phase_source)
    gain = np.divide(level, source_level, out=np.zeros_like(level), where=source_level > 0)
    return np.asarray(gain * phase_source, np.complex64)


def centroids(magnitudes: Array | Doubles, positions: npt.NDArray[np.float64]) -> Doubles:
    """Centroids of spectra, [frames], in the unit of ``positions`` [bins]; 0 for silence."""
    spectral_centroids: Doubles = magnitudes @ positions / np.maximum(magnitudes.sum(1), LEAST)
    return spectral_centroids


def peak_bins(levels: Doubles, least: float) -> Indices:
    """Bins of a spectrum's peaks above ``least``, [peaks], without its ends."""
    inner_levels = levels[1:-1]
    is_peak = (inner_levels > levels[:-2]) & (inner_levels >= levels[2:]) & (inner_levels > least)
    return np.flatnonzero(is_peak) + 1


CLIP_BANDS = 64
CLIP_FRAME, CLIP_HOP = 1024, 256  # samples, at the clip's own rate
LOWEST_DB = -90.0  # below a clip's loudest cell, the floor of levels: lower ones are inaudible
SILENT = 1e-10  # power of the loudest cell, -100 dB: quieter clips count as silent
TOGETHER = 16  # clips whose spectra are in memory at once: 140 MB for four seconds at 44.1 kHz


@functools.cache
def clip_mel_filters(rate: int) -> Array:
    """Mel filters of area 1, [bins, bands], as `mel_filters` but for the last bit, which is rounded once."""
    edges_hz = mel_edges_hz(rate, CLIP_BANDS)
    triangles = _triangles(edges_hz, np.arange(CLIP_FRAME // 2 + 1) * rate / CLIP_FRAME).T
    filter_weights: Array = (triangles * 2 / (edges_hz[2:] - edges_hz[:-2])).astype(np.float32, order="C")
    filter_weights.setflags(write=False)
    return filter_weights


def log_mel(clips: Array, rate: int) -> Array:
    """Levels of [clips, samples], in dB from each clip's loudest cell, 0 to -90: [clips, frames, bands].

    Power of periodic Hann windows of 1024 samples, centred every 256 from the first sample on, zero-padded: ``1 +
    samples // 256`` frames. Silent clips are -90 dB. Above a ``rate`` of 60 kHz the lowest bands contain no bin, and
    stay at -90 dB.
    """
    level_chunks = [_levels(clips[first : first + TOGETHER], rate) for first in range(0, len(clips), TOGETHER)]
    no_levels = np.zeros((0, 1 + clips.shape[1] // CLIP_HOP, CLIP_BANDS), np.float32)
    return np.concatenate([no_levels, *level_chunks])


def _levels(clips: Array, rate: int) -> Array:
    """As `log_mel`, of clips computed at once."""
    frames = centred_frames(clips.astype(np.float32, copy=False), CLIP_FRAME, CLIP_HOP)
    power = _clip_powers(frames).astype(np.float32) @ clip_mel_filters(rate)
    loudest_power = power.max((1, 2), keepdims=True)
    power_shares = np.where(loudest_power < SILENT, 0, power / np.maximum(loudest_power, SILENT))
    levels_db: Array = 10 * np.log10(np.maximum(power_shares, 10 ** (LOWEST_DB / 10))).astype(np.float32)
    return np.maximum(levels_db, np.float32(LOWEST_DB))


def _clip_powers(frames: Array) -> Array:
    spectra = np.fft.rfft(frames * window("hann", CLIP_FRAME))
    return np.square(spectra.real) + np.square(spectra.imag)


LOWEST_FRAME_DB = -80.0  # of full scale, the floor: drums mask softer sound
FRAMES_TOGETHER = 4096  # spectra in memory at once: 32 MB


def mel_frames(sound: Array, rate: int, hop: int) -> Array:
    """Mel levels of a sound [samples] in dB of full scale, -80 at least: [1 + samples // hop, 64].

    Hann windows of 1024 samples are centred from the first sample on. A full-scale sine has about 0 dB in its band.
    """
    frames = centred_frames(sound.astype(np.float32, copy=False), CLIP_FRAME, hop)
    mel_weights = clip_mel_filters(rate) / np.maximum(clip_mel_filters(rate).max(0), LEAST)
    levels_db = np.empty((len(frames), CLIP_BANDS), np.float32)
    sine_power = (2 / window("hann", CLIP_FRAME).sum()) ** 2
    for first_frame in range(0, len(frames), FRAMES_TOGETHER):
        power = _clip_powers(frames[first_frame : first_frame + FRAMES_TOGETHER]) @ mel_weights * sine_power
        levels_db[first_frame : first_frame + FRAMES_TOGETHER] = 10 * np.log10(
            np.maximum(power, 10 ** (LOWEST_FRAME_DB / 10))
        )
    return levels_db


ENVELOPE_SECONDS = 0.01  # a half period at 50 Hz, so that a kick's own wave does not count as its loudness
MOMENT_SECONDS = 0.001  # from one to the next: a third of the tolerance of attacks
SILENT_DB = -100.0  # of full scale


def envelope_db(clips: Array, rate: int) -> Array:
    """RMS of 10 ms windows of clips [clips, samples], a millisecond apart: [clips, moments].

    In dB of full scale, -100 at least; the first window is centred on the first sample.
    """
    window_length = max(1, round(ENVELOPE_SECONDS * rate))
    padded_squares = np.pad(np.square(clips, dtype=np.float64), ((0, 0), (window_length // 2 + 1, window_length)))
    running_sums = np.cumsum(padded_squares, axis=1)  # the first window is summed from its second place on
    window_middles = np.arange(0, clips.shape[1] / rate, MOMENT_SECONDS) * rate
    first_samples = window_middles.astype(np.int64)
    power = (
        np.maximum(running_sums[:, first_samples + window_length] - running_sums[:, first_samples], 0) / window_length
    )
    return _decibels(power).astype(np.float32)


def step_powers(sound: Array, step_length: int) -> Doubles:
    """Mean squares of a sound's whole steps, [steps]."""
    steps = sound[: len(sound) // step_length * step_length].reshape(-1, step_length)
    mean_squares: Doubles = np.square(steps, dtype=np.float64).mean(1)
    return mean_squares


def step_levels_db(sound: Array, step_length: int) -> Doubles:
    """RMS of a sound's whole steps in dB of full scale, -100 at least: [steps]."""
    return _decibels(step_powers(sound, step_length))


def step_levels_to_end_db(sound: Array, step_length: int) -> Doubles:
    """RMS of a sound's steps in dB of full scale, [steps], the last step of as many samples as there are.

    Padded, it would seem to die. Sums run from sample to sample, other than those of whole steps.
    """
    step_starts = np.arange(0, len(sound), step_length)
    sample_counts = np.diff(step_starts, append=len(sound))
    mean_squares = np.add.reduceat(np.square(sound, dtype=np.float64), step_starts) / sample_counts
    levels_db: Doubles = 10 * np.log10(mean_squares + LEAST)
    return levels_db


def _decibels(power: Doubles) -> Doubles:
    levels_db: Doubles = 10 * np.log10(np.maximum(power, 10 ** (SILENT_DB / 10)))
    return levels_db
