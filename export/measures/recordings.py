"""Measures recordings for reports: event length, pitched share and median note."""

from typing import Any

import numpy as np

from ...host.arrays import Array
from ...train.batches.frames import pitched_frames
from ...train.corpus.store import Corpus

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
    few = clips[:: max(1, round(corpus.seconds("train") / LOOKED_AT_SECONDS))]
    found = [_events(corpus.samples(clip), corpus.rate) for clip in few]
    pitched, total = pitched_frames(corpus)
    notes = np.concatenate([corpus.pitch(clip) for clip in clips])
    notes = notes[np.isfinite(notes)]
    return {
        "event_seconds": sum(seconds for seconds, _ in found) / sum(events for _, events in found),
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
    begun = np.sum(np.diff(rises, prepend=-APART_STEPS - 1) > APART_STEPS)
    return float(loud.sum() * STEP_SECONDS), max(1, int(begun))
