"""Recognises sounds that make poor notes: chords, speech, notes that change colour."""

import numpy as np
import numpy.typing as npt

from ...host.arrays import Doubles
from ..sampling import thinned
from .pitch import Samples, is_silent
from .store import Corpus

MOST_CLIPS = 40  # evenly spaced: a tenth of a second each
FRAMES = 8  # of a clip, evenly spaced over its loud part
WINDOW_SECONDS = 0.186  # separates partials 20 Hz apart
LOUD_DB = 20.0  # below a clip's loudest frame
PEAK_DB, STRONG_DB = 30.0, 20.0  # below a frame's highest peak: partials, and those that may belong to a fundamental
LOWEST_HZ, HIGHEST_HZ = 30.0, 4000.0  # partials above are weak or too close together
FUNDAMENTALS = 4  # strong partials that may be a note's first, second or third
PARTIALS = {1: 24, 2: 16, 3: 12}  # by that number: many partials of a low fundamental would explain a chord
TUNING_CENTS, STRETCH_CENTS = 35.0, 1.5  # of a partial, and more for each of its number: strings are stiff
ONE_NOTE = 0.8  # median share of amplitudes in the partials of one note: notes .92 to 1, triads and sevenths .67
GLIDE_SEMITONES = 0.25  # from frame to frame, 23 ms: wide vibrato moves less
GLIDING = 0.2  # share of pitched frames that glide: speech .22 to .54, phrases up to .10, a double bass .14
SYLLABLES = 2.0  # pitched stretches a second: speech 3 to 5
SPOKEN_SECONDS = 2.0  # a shorter sound is a word
COLOUR_OCTAVES = 2.0  # of the spectral centroid: more than a struck note loses while it is loud


def unsuited_notes(corpus: Corpus) -> str:
    """Return a warning with a better way, if most training clips are speech or several notes at once; else ""."""
    clips = thinned(corpus.clips("train"), MOST_CLIPS)
    if np.mean([_is_spoken(corpus.pitch(clip), clip.length / corpus.rate) for clip in clips]) > 0.5:
        return (
            "the sounds are like speech: their pitch glides from syllable to syllable, and one key plays it all; give "
            "--family grain for a texture of it, or cut it into files of a word each for a kit"
        )
    shares = [share for clip in clips if (share := one_note_share(corpus.samples(clip), corpus.rate)) is not None]
    if shares and np.median(shares) < ONE_NOTE:
        return (
            "the sounds are several notes at once, as chords, or have no fundamental, as bells, and a key plays them "
            "as one note; record single notes and play chords on the keys, or give --family clip for a kit of them"
        )
    return ""


def _is_spoken(track: Samples, seconds: float) -> bool:
    voiced = np.isfinite(track)
    stretches = np.sum(voiced[1:] & ~voiced[:-1]) + voiced[0]
    steps = np.abs(np.diff(track))
    steps = steps[np.isfinite(steps)]
    if seconds < SPOKEN_SECONDS or not len(steps):
        return False
    return bool(stretches >= SYLLABLES * seconds and np.mean(steps > GLIDE_SEMITONES) >= GLIDING)


def one_note_share(samples: Samples, rate: int) -> float | None:
    """Return the median share of amplitudes that the partials of one note explain, 0 to 1; None without partials."""
    length = 2 * round(WINDOW_SECONDS * rate / 2)
    shares = [_explained(frame, rate) for frame in _loud_frames(samples, length, FRAMES)]
    known = [share for share in shares if share is not None]
    return float(np.median(known)) if known else None


def _loud_frames(samples: Samples, length: int, most: int) -> list[Samples]:
    starts = range(0, max(1, len(samples) - length + 1), length // 2)
    levels = [float(np.square(samples[start : start + length], dtype=np.float64).mean()) for start in starts]
    loud = [start for start, level in zip(starts, levels, strict=True) if level > max(levels) * 10 ** (-LOUD_DB / 10)]
    frames = [samples[start : start + length] for start in thinned(loud, most)]
    return [np.pad(frame, (0, length - len(frame))) for frame in frames]


def _explained(frame: Samples, rate: int) -> float | None:
    step = rate / len(frame)  # Hz a bin
    sizes = np.abs(np.fft.rfft(frame * np.hanning(len(frame))))[: round(HIGHEST_HZ / step)].astype(np.float64)
    sizes[: round(LOWEST_HZ / step)] = 0
    middle = sizes[1:-1]
    top = (middle > sizes[:-2]) & (middle >= sizes[2:]) & (middle > sizes.max() * 10 ** (-PEAK_DB / 20))
    peaks = np.flatnonzero(top) + 1
    if not len(peaks):
        return None
    below, here, above = (np.log(sizes[peaks + aside] + 1e-12) for aside in (-1, 0, 1))
    bend = np.minimum(below - 2 * here + above, -1e-9)
    hertz, amplitudes = (peaks + (below - above) / (2 * bend)) * step, sizes[peaks]
    strong = hertz[amplitudes > amplitudes.max() * 10 ** (-STRONG_DB / 20)][:FUNDAMENTALS]
    shares = [
        amplitudes[_belongs(hertz, partial / number, most, step)].sum()
        for partial in strong
        for number, most in PARTIALS.items()
        if partial / number >= LOWEST_HZ
    ]
    return float(max(shares, default=0.0) / amplitudes.sum())


def _belongs(hertz: Doubles, fundamental: float, most: int, step: float) -> npt.NDArray[np.bool_]:
    numbers = np.maximum(1, np.round(hertz / fundamental))
    cents = np.abs(1200 * np.log2(hertz / (numbers * fundamental)))
    tolerance = np.maximum(TUNING_CENTS, 1200 * np.log2(1 + step / hertz)) + STRETCH_CENTS * numbers
    near: npt.NDArray[np.bool_] = (cents < tolerance) & (numbers <= most)
    return near


def changes_colour(samples: Samples, rate: int) -> bool:
    """Return whether the spectral centroid of a sound moves by two octaves or more while it is loud."""
    if is_silent(samples):
        return False
    length = 2 * round(WINDOW_SECONDS * rate / 2)
    sizes = np.abs(np.fft.rfft(np.stack(_loud_frames(samples, length, 100)) * np.hanning(length)))
    centroids = sizes @ np.arange(sizes.shape[1]) / np.maximum(sizes.sum(1), 1e-12)
    low, high = np.quantile(centroids, (0.05, 0.95))
    return bool(high >= low * 2**COLOUR_OCTAVES)
