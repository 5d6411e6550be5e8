"""Pitch tracks of clips by YIN, with a voicing decision for each frame.

(De Cheveigné and Kawahara, J. Acoust. Soc. Am. 111(4), 2002, steps 2 to 5.) The dip's depth decides voicing;
`librosa.yin` does not return it, and `librosa.pyin` is many times slower. Both need the whole clip in memory.
"""

from typing import Protocol

import numpy as np
import numpy.typing as npt

from ...host.units import midi_to_hz

HOP = 1024
WINDOW = 4096
LOWEST_HZ = 31.0  # a flat C1; YIN needs two periods in the window
HIGHEST_HZ = 4500.0  # a sharp C8, the piano's last key
SILENT_DB = -70.0  # full scale; a 16-bit recording's own noise lies below -84 dB
FADED_DB = -60.0  # below the clip's peak, where a note has died away
NOISE_RATIO = 1.1  # of a frame's level to the noise's: a sound 6 dB below the noise raises it so far, noise does not

Samples = npt.NDArray[np.float32]

_DIP = 0.1  # YIN's step 4: the first dip this deep is the period (publication's value)
VOICED = 0.3  # depth: rain and surf dip this deep in under 0.1 % of their windows, sustained notes in over 99 %
_PIECE = 256  # frames at once, 6 s at 44.1 kHz: bounds the memory of a long clip, and is fastest
_MEDIAN = 5  # frames, 0.12 s at 44.1 kHz: shorter than a note, longer than a slip
_PITCHED, _STEADY = 0.5, 0.8  # of a clip's moments have a pitch, of these within half a semitone: it is one note
_TUNING = 0.5  # semitones; further off, another pitch class is nearer
DETUNED = 0.75  # semitones: a larger difference is another note
_JUMP = 6.0  # semitones from its neighbours' median: a slip of the estimate, no melody moves so in 23 ms


class Sliceable(Protocol):
    def __len__(self) -> int: ...

    def __getitem__(self, part: slice, /) -> Samples: ...


def frame_count(length: int) -> int:
    """Return the frames of ``length`` samples, the first centred on the first sample."""
    return -(-length // HOP)


def silence_level(peak: float) -> float:
    """Return the amplitude up to which sound is silent."""
    return max(10 ** (SILENT_DB / 20), peak * 10 ** (FADED_DB / 20))


def is_silent(samples: Samples) -> bool:
    return not len(samples) or float(np.ptp(samples)) / 2 <= silence_level(0.0)


def pitch_track(samples: Sliceable, rate: int, noise: float = 0.0) -> Samples:
    """Return MIDI notes with fractions around every `HOP`-th sample: float32 [ceil(n / HOP)].

    Silent and unpitched frames are NaN, and those no louder than the recording's ``noise`` (root of the mean square).
    ``samples`` are mono [n], full scale ±1. The search spans `LOWEST_HZ`, or two periods in `WINDOW`, to `HIGHEST_HZ`.
    """
    notes, _ = _measure(samples, rate, LOWEST_HZ, noise)
    return notes


def labelled_track(samples: Sliceable, rate: int, key: int) -> Samples:
    """Return the label ``key`` in non-silent frames, moved down by measured octaves (organ stops).

    Shapes are as in `pitch_track`. It stays if another pitch class is measured, or a higher octave: plucked strings
    have weak odd partials there.
    """
    notes, is_sounding = _measure(samples, rate, min(LOWEST_HZ, midi_to_hz(key - 1)), 0.0)
    voiced_notes = notes[np.isfinite(notes)]
    return np.where(is_sounding, key + min(_octaves_away(voiced_notes, key, int(is_sounding.sum())), 0), np.nan).astype(
        np.float32
    )


def track_at_key(track: Samples, samples: Sliceable, rate: int, key: int, noise: float = 0.0) -> Samples:
    """Return a pitch ``track`` in the octave of a surely known ``key``; the key where another note or none is measured.

    Shapes are as in `pitch_track`. A bell's period may be two octaves and more below its note, so it moves no key.
    """
    note = single_note(track)
    octave_shift = 0 if note is None else round((key - note) / 12)
    if note is not None and abs(note + 12 * octave_shift - key) < DETUNED:
        return (track + np.float32(12 * octave_shift)).astype(np.float32)
    _, is_sounding = _measure(samples, rate, LOWEST_HZ, noise)
    return np.where(is_sounding, key, np.nan).astype(np.float32)


def single_note(track: Samples, steady: float = _STEADY) -> float | None:
    """Return the fractional MIDI note of a clip that is a single note; else None.

    At least half of its ``track`` [frames] is pitched, the share ``steady`` of it within half a semitone of the median.
    """
    voiced_notes = track[np.isfinite(track)]
    if not len(voiced_notes) or len(voiced_notes) < _PITCHED * len(track):
        return None
    median_pitch = float(np.median(voiced_notes))
    return median_pitch if np.mean(np.abs(voiced_notes - median_pitch) < _TUNING) >= steady else None


def _octaves_away(voiced_notes: Samples, key: int, sounding_count: int) -> int:
    """Return the semitones, in whole octaves, from a key to measured notes; 0 if they do not agree."""
    if 2 * len(voiced_notes) < max(sounding_count, 1):
        return 0
    interval = float(np.median(voiced_notes)) - key
    nearest_interval = 12 * round(interval / 12)
    return nearest_interval if abs(interval - nearest_interval) <= _TUNING else 0


def _measure(samples: Sliceable, rate: int, lowest_hz: float, noise: float) -> tuple[Samples, npt.NDArray[np.bool_]]:
    """Return MIDI notes, NaN where none is clear, and which frames sound, [frames] each."""
    track_length = frame_count(len(samples))
    notes = np.empty(track_length, np.float32)
    frame_rms = np.empty(track_length, np.float32)
    peak = 0.0
    longest_lag = min(int(np.ceil(rate / lowest_hz)) + 1, WINDOW // 2)
    for first_frame in range(0, track_length, _PIECE):
        end_frame = min(first_frame + _PIECE, track_length)
        # YIN compares a window's head with later samples; half the longest lag ahead, the head is centred.
        piece_windows = windows(samples, first_frame * HOP + longest_lag // 2, end_frame - first_frame, HOP, WINDOW)
        peak = max(peak, float(np.abs(piece_windows).max()))
        frame_rms[first_frame:end_frame] = np.sqrt(np.mean(piece_windows**2, axis=1))
        piece_notes, depths = yin(piece_windows, rate, longest_lag)
        notes[first_frame:end_frame] = np.where(depths < VOICED, piece_notes, np.nan)
    is_sounding = frame_rms > max(silence_level(peak), NOISE_RATIO * noise)
    notes[~is_sounding] = np.nan
    return _without_jumps(notes), is_sounding


def windows(samples: Sliceable, centre: int, count: int, hop: int, width: int) -> Samples:
    """Return windows without mean, [count, width], ``hop`` apart, the first around ``centre``."""
    start_sample = centre - width // 2
    stop_sample = start_sample + (count - 1) * hop + width
    available_samples = samples[max(start_sample, 0) : min(stop_sample, len(samples))]
    padded_samples = np.pad(available_samples, (max(-start_sample, 0), max(stop_sample - len(samples), 0)), mode="edge")
    frames = np.lib.stride_tricks.sliding_window_view(padded_samples, width)[::hop]
    return np.asarray(frames - frames.mean(axis=1, keepdims=True))


def yin(windows: Samples, rate: int, longest: int) -> tuple[Samples, Samples]:
    """Return MIDI notes and the depths of dips, below `VOICED` for a pitch: [frames] both.

    Args:
        windows: [frames, width].
        longest: lag in samples, at most half of the width.
    """
    depth_by_lag = _normalised_difference(windows, longest)
    left_depth, centre_depth, right_depth = depth_by_lag[:, :-2], depth_by_lag[:, 1:-1], depth_by_lag[:, 2:]
    is_dip = (centre_depth < left_depth) & (centre_depth <= right_depth)
    is_dip[:, : max(int(rate / HIGHEST_HZ) - 1, 0)] = False
    # YIN's step 5: a parabola through each dip; in the top octaves the samples around it alone miss its depth.
    slope, curve = left_depth - right_depth, np.where(is_dip, left_depth - 2 * centre_depth + right_depth, 1)
    dip_depths = np.where(is_dip, centre_depth - slope**2 / (8 * curve), np.inf)
    first_dip = np.argmax(dip_depths <= np.maximum(dip_depths.min(axis=1, keepdims=True), _DIP), axis=1)
    dip_index = np.arange(len(depth_by_lag)), first_dip
    periods = 1 + first_dip + slope[dip_index] / (2 * curve[dip_index])
    notes = 69 + 12 * np.log2(rate / periods / 440)
    return notes.astype(np.float32), dip_depths[dip_index]


def _normalised_difference(windows: Samples, longest: int) -> Samples:
    """YIN's equation 8 for lags 0 to ``longest``: [frames, longest + 1]."""
    window_length = windows.shape[1]
    head_length = window_length - longest
    spectrum = np.fft.rfft(windows, axis=1)
    head_spectrum = np.fft.rfft(windows[:, :head_length], n=window_length, axis=1)
    # No lag wraps around: the head ends ``longest`` samples before the window does.
    correlation = np.fft.irfft(spectrum * head_spectrum.conj(), axis=1)[:, : longest + 1]
    energies = np.cumsum(np.pad(windows.astype(np.float64) ** 2, ((0, 0), (1, 0))), axis=1)
    energies = energies[:, head_length : head_length + longest + 1] - energies[:, : longest + 1]
    difference = np.maximum(energies[:, :1] + energies - 2 * correlation, 0)
    mean_difference = np.cumsum(difference[:, 1:], axis=1) / np.arange(1, longest + 1)
    normalised: Samples = np.ones_like(difference)
    np.divide(difference[:, 1:], mean_difference, out=normalised[:, 1:], where=mean_difference > 0)
    return normalised


def _without_jumps(notes: Samples) -> Samples:
    """Replace notes far from their neighbours by the neighbours' median."""
    padded_notes = np.pad(notes, _MEDIAN // 2, constant_values=np.nan)
    # NaN sorts last.
    sorted_neighbours = np.sort(np.lib.stride_tricks.sliding_window_view(padded_notes, _MEDIAN), axis=1)
    voiced_counts = np.isfinite(sorted_neighbours).sum(axis=1)
    median_notes = sorted_neighbours[np.arange(len(notes)), np.maximum(voiced_counts - 1, 0) // 2]
    return np.where(np.abs(notes - median_notes) > _JUMP, median_notes, notes)
