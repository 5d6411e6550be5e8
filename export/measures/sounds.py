"""Measures recordings and continued sound: events, pitch, onsets, level, clicks and mel-band levels."""

import functools
from typing import Any

import numpy as np

from ...host.arrays import Array, Doubles
from ...host.signal import window
from ...host.spectra import mel_triangles, step_powers
from ...train.corpus.store import Corpus
from ...train.frames import pitched_frames
from ...train.metrics.rhythm import f_measure

LOOKED_AT_SECONDS = 600.0  # of the training clips: more would not change a mean
STEP_SECONDS = 0.01
LOUD_DB = 20.0  # below a clip's loudest moment: the audible part of a sound before the next onset
RISE_DB, RISE_STEPS = 6.0, 5  # within 50 ms: an onset, as of a drum or a syllable
APART_STEPS = 10  # between two onsets


def recordings(corpus: Corpus) -> dict[str, Any]:
    """Measure the training clips.

    ``event_seconds`` is the mean time that a sound stays loud: 0.05 to 0.4 s for drums and words, from 0.6 s for
    orchestral notes. ``note`` is the median MIDI pitch, None without any.
    """
    clips = corpus.clips("train")
    sampled_clips = clips[:: max(1, round(corpus.seconds("train") / LOOKED_AT_SECONDS))]
    clip_events = [_events(corpus.samples(clip), corpus.rate) for clip in sampled_clips]
    pitched_count, frame_count = pitched_frames(corpus)
    frame_pitches = np.concatenate([corpus.pitch(clip) for clip in clips])
    frame_pitches = frame_pitches[np.isfinite(frame_pitches)]
    return {
        "event_seconds": sum(loud_seconds for loud_seconds, _ in clip_events)
        / sum(event_count for _, event_count in clip_events),
        "pitched": pitched_count / max(frame_count, 1),
        "note": float(np.median(frame_pitches)) if len(frame_pitches) else None,
    }


def silence_message(corpus: Corpus, noun: str, remedy: str = "add longer or louder sounds") -> str:
    return f"corpus {corpus.folder} has no {noun} that sounds; {remedy}"


def _events(samples: Array, rate: int) -> tuple[float, int]:
    """Return the seconds that a clip is loud, and how many events it has."""
    step_samples = round(STEP_SECONDS * rate)
    smoothed_powers = np.convolve(step_powers(samples, step_samples), np.ones(3) / 3, "same")
    # silence before the clip
    levels_db = np.pad(10 * np.log10(smoothed_powers + 1e-12), (RISE_STEPS, 0), constant_values=-np.inf)
    is_loud = levels_db > levels_db.max() - LOUD_DB
    rise_steps = np.flatnonzero(is_loud[RISE_STEPS:] & (levels_db[RISE_STEPS:] > levels_db[:-RISE_STEPS] + RISE_DB))
    onset_count = np.sum(np.diff(rise_steps, prepend=-APART_STEPS - 1) > APART_STEPS)
    return float(is_loud.sum() * STEP_SECONDS), max(1, int(onset_count))


ONSET_HOP_SECONDS, ONSET_WINDOW = 0.005, 4  # of spectra; window length in hops
WITHIN_SECONDS = 0.03  # of an onset: closer than two hits of a fast roll
SHARPEST = 0.1  # of the largest rise: smaller ones are no onsets
COMPRESSED = 100.0  # scales magnitudes before the logarithm: levels 40 dB below the loudest count little
HIGH_HZ = 10_000.0  # above it are mostly attacks, and clicks between frames
LEAST = 1e-12


def onsets(sound: Array, rate: int) -> Doubles:
    """Return onset times of a sound [samples] in seconds: peaks of spectral flux within `WITHIN_SECONDS`.

    The flux sums rises of log magnitudes over bins (Bello et al., IEEE TSAP 13:5, 2005).
    """
    hop = max(1, round(ONSET_HOP_SECONDS * rate))
    window_samples = ONSET_WINDOW * hop
    padded_sound = np.pad(sound, (window_samples, window_samples))
    windowed_frames = np.lib.stride_tricks.sliding_window_view(padded_sound, window_samples)[::hop] * window(
        "hann", window_samples
    )
    magnitudes = np.abs(np.fft.rfft(windowed_frames))
    log_magnitudes = np.log1p(COMPRESSED * magnitudes / max(float(magnitudes.max()), LEAST))
    spectral_flux = np.maximum(log_magnitudes[1:] - log_magnitudes[:-1], 0).sum(1)
    reach_hops = round(WITHIN_SECONDS / ONSET_HOP_SECONDS)
    largest_nearby_flux = np.lib.stride_tricks.sliding_window_view(
        np.pad(spectral_flux, reach_hops), 2 * reach_hops + 1
    ).max(1)
    peak_hops = np.flatnonzero(
        (spectral_flux >= largest_nearby_flux) & (spectral_flux > SHARPEST * max(float(spectral_flux.max()), LEAST))
    )
    # The window after a rise is centered half a window later, and the first window is one window before the sound.
    return ((peak_hops + 1) * hop - window_samples / 2) / rate


def onset_measure(recording: Array, continuation: Array, rate: int) -> float:
    """Return the F-measure of onsets, 0 to 1."""
    return f_measure(onsets(recording, rate), onsets(continuation, rate))


def edges_db(sound: Array, rate: int, hop: int, overlap: int) -> float:
    """Return the level above 10 kHz at frame boundaries relative to inside frames, in dB.

    Boundaries are ``overlap`` samples before multiples of ``hop``, and a click's length around.
    """
    spectrum = np.fft.rfft(sound.astype(np.float64))
    spectrum[np.fft.rfftfreq(len(sound), 1 / rate) < HIGH_HZ] = 0
    sample_powers = np.square(np.fft.irfft(spectrum, len(sound)))
    click_samples = max(1, round(rate / HIGH_HZ))
    hop_positions = (np.arange(len(sound)) + overlap + click_samples) % hop
    is_boundary = hop_positions < overlap + 2 * click_samples
    return 10 * float(
        np.log10((sample_powers[is_boundary].mean() + LEAST) / (sample_powers[~is_boundary].mean() + LEAST))
    )


def rms_db(sound: Array) -> float:
    """Return the RMS level in dBFS, -120 at least."""
    return 10 * float(np.log10(np.square(sound, dtype=np.float64).mean() + LEAST))


MEL_BANDS = 40
QUIETEST = 1e-6  # of the maximum's power: 60 dB below is masked, and irrelevant for likeness


@functools.cache
def mel(sample_rate: int, n_fft: int) -> Doubles:
    """Return the mel filter bank, [bins, bands], each band of sum 1."""
    weights = mel_triangles(sample_rate, n_fft, MEL_BANDS).T
    normalised_weights: Doubles = weights / np.maximum(weights.sum(0), 1e-12)  # a band too narrow for a bin stays empty
    return normalised_weights


def mel_levels(spectra: Array, sample_rate: int) -> Doubles:
    """Return 40 mel bands of magnitudes [frames, bins], in dB below a frame's maximum, -60 or more: [frames, 40]."""
    bin_powers = np.square(spectra / np.maximum(spectra.max(1, keepdims=True), 1e-12), dtype=np.float64)
    levels: Doubles = 10 * np.log10(np.maximum(bin_powers @ mel(sample_rate, 2 * (spectra.shape[1] - 1)), QUIETEST))
    return levels
