"""Faults of endless sound: runaway loudness, constant or repeated frames, and stretches that copy a recording."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import scipy

from ...host.arrays import Array, Doubles
from .clips import mel_frames
from .rhythm import cosine

SAME = 0.95  # normalised correlation of a copy, at least
PARTS = 16  # of a beat, the unit of stretches
BLOCK = 8  # parts of a block that aligns: half a beat, so that any copy of a beat holds a whole one
LIKELY = 0.8  # correlation of such a block, which may be less than that of a longer stretch around it
ALIGNMENTS = 4  # of a block in a clip: a kick is alike on each of its beats
RATE = 11025  # Hz at least, for waveforms: copies show below 5 kHz too, and the search is four times as fast
HOPS = 2  # frames in a part, for levels


class CopiedPassages(NamedTuple):
    """The longest copies in beats: of the waveform, and of mel levels relative to each band's mean.

    Levels find equal sound with other phases.
    """

    waveform: float
    levels: float


def longest_verbatim(sound: Array, clips: Sequence[Array], rate: int, beat_length: float) -> CopiedPassages:
    """Return the longest stretches of a sound that match one clip at one alignment, with correlation 0.95.

    ``sound`` and ``clips`` are [samples]; clips are loops of half a beat or more; ``beat_length`` is in samples.
    Stretches may wrap around. Their first and last sixteenth match alone, so that no loud hit extends them.
    """
    down = max(1, rate // RATE)
    part = max(1, round(beat_length / PARTS / down))
    lower, *others = (_lowered(wave, down) for wave in (sound, *clips))
    waveform = max((_of_waveform(lower, clip, part) for clip in others), default=0)
    hop = max(1, round(beat_length / PARTS / HOPS))
    levels = max((_of_levels(sound, clip, rate, hop) for clip in clips), default=0)
    return CopiedPassages(waveform * part * down / beat_length, levels * hop * HOPS / beat_length)


def _lowered(wave: Array, down: int) -> Doubles:
    return np.asarray(scipy.signal.resample_poly(wave.astype(np.float64), 1, down) if down > 1 else wave, np.float64)


def _of_waveform(sound: Doubles, clip: Doubles, part: int) -> int:
    sound = sound[: len(sound) // part * part]
    found, longest = np.arange(len(sound)), 0
    for alignment in sorted(_alignments(sound, clip, BLOCK * part)):
        there = clip[(found + alignment) % len(clip)]
        products = (sound * sound, there * there, sound * there)
        longest = max(longest, _longest(*(values.reshape(-1, part).sum(1) for values in products)))
    return longest


def _alignments(sound: Doubles, clip: Doubles, block: int) -> set[int]:
    """Folding makes the correlation circular."""
    length = len(clip)
    spectrum = scipy.fft.rfft(clip)
    sums = np.concatenate([[0.0], np.cumsum(np.square(np.concatenate([clip, clip])))])
    rounds, rest = divmod(block, length)
    energy = rounds * sums[length] + sums[rest : rest + length] - sums[:length]
    found: set[int] = set()
    for first in range(0, len(sound) - block + 1, block):
        piece = sound[first : first + block]
        folded = np.pad(piece, (0, -block % length)).reshape(-1, length).sum(0)
        products = scipy.fft.irfft(np.conj(scipy.fft.rfft(folded)) * spectrum, length)
        alike = products / np.sqrt(np.maximum(energy * (piece @ piece), 1e-12))
        peaks, kinds = scipy.signal.find_peaks(np.pad(alike, 1, mode="wrap"), height=LIKELY)
        best = peaks[np.argsort(kinds["peak_heights"])[-ALIGNMENTS:]] - 1
        found |= {int((place - first) % length) for place in best}
    return found


def _of_levels(sound: Array, clip: Array, rate: int, hop: int) -> int:
    frames = len(clip) // hop
    there = mel_frames(np.concatenate([clip, clip]), rate, hop)[frames // 2 :][:frames]  # away from the ends' silence
    middle = there.mean(0)
    here = mel_frames(sound, rate, hop)[: len(sound) // hop // HOPS * HOPS] - middle
    there = np.roll(there, frames // 2, axis=0) - middle
    products = here @ there.T
    own, its = np.square(here).sum(1).reshape(-1, HOPS).sum(1), np.square(there).sum(1)
    longest, now = 0, np.arange(len(here))
    for alignment in range(frames):
        places = (now + alignment) % frames
        both = products[now, places].reshape(-1, HOPS).sum(1)
        longest = max(longest, _longest(own, its[places].reshape(-1, HOPS).sum(1), both))
    return longest


def _longest(own: Doubles, its: Doubles, both: Doubles) -> int:
    alike = np.flatnonzero((both >= SAME * np.sqrt(own * its)) & (own > 1e-9) & (its > 1e-9))
    if not len(alike):
        return 0
    sums = [np.concatenate([[0.0], np.cumsum(values, dtype=np.float64)]) for values in (own, its, both)]
    first, last = alike[:, np.newaxis], alike[np.newaxis] + 1
    one, other, shared = (values[last] - values[first] for values in sums)
    same = (shared >= SAME * np.sqrt(np.maximum(one * other, 0))) & (last > first)
    return int(np.max(np.where(same, last - first, 0)))


SILENT_DB = -100.0  # of full scale
CONSTANT_DB = 0.5  # deviation of a band's levels in a constant sound, a median over bands
STRETCH = 8  # frames a stretch: a fault repeats more than once or twice
REPEATED = 0.99  # correlation of a stretch with itself a frame later
OTHERWISE = 0.9  # at most, at other lags, or it is a tone


def loudness_db(sound: Array, frame_length: int) -> Doubles:
    """Return frames' RMS in dB of full scale, -100 at least."""
    frames = sound[: len(sound) // frame_length * frame_length].reshape(-1, frame_length)
    power = np.square(frames, dtype=np.float64).mean(1)
    levels: Doubles = 10 * np.log10(np.maximum(power, 10 ** (SILENT_DB / 10)))
    return levels


def loudness_range(clips: Sequence[Array], frame_length: int) -> tuple[float, float]:
    levels = np.concatenate([loudness_db(clip, frame_length) for clip in clips])
    return float(levels.min()), float(levels.max())


def share_in_range(sound: Array, frame_length: int, lowest_db: float, highest_db: float) -> float:
    levels = loudness_db(sound, frame_length)
    return float(np.mean((levels >= lowest_db) & (levels <= highest_db)))


def constant_share(sound: Array, rate: int, frame_length: int) -> float:
    """Return the share of stretches of eight frames whose mel powers hardly vary, as in silence or a held tone."""
    quarters = 10 ** (mel_frames(sound, rate, max(1, frame_length // 4)).astype(np.float64) / 10)
    size = 4 * STRETCH
    frames = quarters[: len(quarters) // size * size].reshape(-1, STRETCH, 4, quarters.shape[1]).mean(2)
    moving = (10 * np.log10(frames)).std(1)
    return float(np.mean(np.median(moving, axis=1) < CONSTANT_DB)) if len(moving) else 0.0


def repeating_share(sound: Array, frame_length: int) -> float:
    """Return the share of stretches of eight frames that repeat one.

    They correlate with themselves a frame later, but, unlike tones, not eighths of a frame later.
    """
    size, part = STRETCH * frame_length, max(1, frame_length // 8)
    stretches = sound[: len(sound) // size * size].reshape(-1, size)
    stuck = [
        cosine(piece[:-frame_length], piece[frame_length:]) >= REPEATED
        and max(cosine(piece[:-lag], piece[lag:]) for lag in range(part, frame_length - part + 1, part)) < OTHERWISE
        for piece in stretches.astype(np.float64)
    ]
    return float(np.mean(stuck)) if stuck else 0.0
