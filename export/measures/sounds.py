"""Measures recordings and continued sound: events, pitch, onsets, level, clicks and mel-band levels."""

import functools
from typing import Any

import librosa
import numpy as np

from ...host.arrays import Array, Doubles
from ...host.signal import window
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
    pitched, total = pitched_frames(corpus)
    notes = np.concatenate([corpus.pitch(clip) for clip in clips])
    notes = notes[np.isfinite(notes)]
    return {
        "event_seconds": sum(seconds for seconds, _ in clip_events) / sum(events for _, events in clip_events),
        "pitched": pitched / max(total, 1),
        "note": float(np.median(notes)) if len(notes) else None,
    }


def silence_message(corpus: Corpus, noun: str, remedy: str = "add longer or louder sounds") -> str:
    return f"corpus {corpus.folder} has no {noun} that sounds; {remedy}"


def _events(samples: Array, rate: int) -> tuple[float, int]:
    step = round(STEP_SECONDS * rate)
    steps = samples[: len(samples) // step * step].reshape(-1, step)
    power = np.convolve(np.square(steps, dtype=np.float64).mean(1), np.ones(3) / 3, "same")
    level = np.pad(10 * np.log10(power + 1e-12), (RISE_STEPS, 0), constant_values=-np.inf)  # silence before the clip
    loud = level > level.max() - LOUD_DB
    rises = np.flatnonzero(loud[RISE_STEPS:] & (level[RISE_STEPS:] > level[:-RISE_STEPS] + RISE_DB))
    onset_count = np.sum(np.diff(rises, prepend=-APART_STEPS - 1) > APART_STEPS)
    return float(loud.sum() * STEP_SECONDS), max(1, int(onset_count))


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
    length = ONSET_WINDOW * hop
    padded = np.pad(sound, (length, length))
    pieces = np.lib.stride_tricks.sliding_window_view(padded, length)[::hop] * window("hann", length)
    magnitudes = np.abs(np.fft.rfft(pieces))
    levels = np.log1p(COMPRESSED * magnitudes / max(float(magnitudes.max()), LEAST))
    rise = np.maximum(levels[1:] - levels[:-1], 0).sum(1)
    reach = round(WITHIN_SECONDS / ONSET_HOP_SECONDS)
    neighbourhood_peak = np.lib.stride_tricks.sliding_window_view(np.pad(rise, reach), 2 * reach + 1).max(1)
    peaks = np.flatnonzero((rise >= neighbourhood_peak) & (rise > SHARPEST * max(float(rise.max()), LEAST)))
    # The window after a rise is centered half a window later, and the first window is one window before the sound.
    times: Doubles = ((peaks + 1) * hop - length / 2) / rate
    return times


def onset_measure(recording: Array, continuation: Array, rate: int) -> float:
    """Return the F-measure of onsets, 0 to 1."""
    return f_measure(onsets(recording, rate), onsets(continuation, rate))


def edges_db(sound: Array, rate: int, hop: int, overlap: int) -> float:
    """Return the level above 10 kHz at frame boundaries relative to inside frames, in dB.

    Boundaries are ``overlap`` samples before multiples of ``hop``, and a click's length around.
    """
    spectrum = np.fft.rfft(sound.astype(np.float64))
    spectrum[np.fft.rfftfreq(len(sound), 1 / rate) < HIGH_HZ] = 0
    power = np.square(np.fft.irfft(spectrum, len(sound)))
    click = max(1, round(rate / HIGH_HZ))
    place = (np.arange(len(sound)) + overlap + click) % hop
    meets = place < overlap + 2 * click
    return 10 * float(np.log10((power[meets].mean() + LEAST) / (power[~meets].mean() + LEAST)))


def rms_db(sound: Array) -> float:
    """Return the RMS level in dBFS, -120 at least."""
    return 10 * float(np.log10(np.square(sound, dtype=np.float64).mean() + LEAST))


MEL_BANDS = 40
QUIETEST = 1e-6  # of the maximum's power: 60 dB below is masked, and irrelevant for likeness


@functools.cache
def mel(sample_rate: int, n_fft: int) -> Doubles:
    """Return the mel filter bank, [bins, bands], each band of sum 1."""
    weights = librosa.filters.mel(sr=sample_rate, n_fft=n_fft, n_mels=MEL_BANDS, norm=None, dtype=np.float64).T
    shares: Doubles = weights / np.maximum(weights.sum(0), 1e-12)  # a band too narrow for a bin stays empty
    return shares


def mel_levels(spectra: Array, sample_rate: int) -> Doubles:
    """Return 40 mel bands of magnitudes [frames, bins], in dB below a frame's maximum, -60 or more: [frames, 40]."""
    power = np.square(spectra / np.maximum(spectra.max(1, keepdims=True), 1e-12), dtype=np.float64)
    levels: Doubles = 10 * np.log10(np.maximum(power @ mel(sample_rate, 2 * (spectra.shape[1] - 1)), QUIETEST))
    return levels
