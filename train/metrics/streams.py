"""Faults of endless sound: runaway loudness, constant or repeated frames, and stretches that copy a recording."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import scipy

from ...host.arrays import Array, Doubles
from .clips import mel_frames
from .rhythm import cosine

COPY_CORRELATION = 0.95  # normalised correlation of a copy, at least
PARTS = 16  # of a beat, the unit of stretches
BLOCK = 8  # parts of a block that aligns: half a beat, so that any copy of a beat holds a whole one
ALIGNED_CORRELATION = 0.8  # correlation of such a block, which may be less than that of a longer stretch around it
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
    factor = max(1, rate // RATE)
    part = max(1, round(beat_length / PARTS / factor))
    low_sound, *low_clips = (_downsampled(wave, factor) for wave in (sound, *clips))
    waveform = max((_longest_waveform_copy(low_sound, clip, part) for clip in low_clips), default=0)
    hop = max(1, round(beat_length / PARTS / HOPS))
    levels = max((_longest_level_copy(sound, clip, rate, hop) for clip in clips), default=0)
    return CopiedPassages(waveform * part * factor / beat_length, levels * hop * HOPS / beat_length)


def _downsampled(wave: Array, factor: int) -> Doubles:
    return np.asarray(
        scipy.signal.resample_poly(wave.astype(np.float64), 1, factor) if factor > 1 else wave, np.float64
    )


def _longest_waveform_copy(sound: Doubles, clip: Doubles, part: int) -> int:
    sound = sound[: len(sound) // part * part]
    positions, longest = np.arange(len(sound)), 0
    for alignment in sorted(_alignments(sound, clip, BLOCK * part)):
        aligned_clip = clip[(positions + alignment) % len(clip)]
        products = (sound * sound, aligned_clip * aligned_clip, sound * aligned_clip)
        longest = max(longest, _longest_match(*(values.reshape(-1, part).sum(1) for values in products)))
    return longest


def _alignments(sound: Doubles, clip: Doubles, block: int) -> set[int]:
    """Folding makes the correlation circular."""
    length = len(clip)
    spectrum = scipy.fft.rfft(clip)
    sums = np.concatenate([[0.0], np.cumsum(np.square(np.concatenate([clip, clip])))])
    rounds, remainder = divmod(block, length)
    energy = rounds * sums[length] + sums[remainder : remainder + length] - sums[:length]
    alignments: set[int] = set()
    for first in range(0, len(sound) - block + 1, block):
        piece = sound[first : first + block]
        folded = np.pad(piece, (0, -block % length)).reshape(-1, length).sum(0)
        products = scipy.fft.irfft(np.conj(scipy.fft.rfft(folded)) * spectrum, length)
        correlation = products / np.sqrt(np.maximum(energy * (piece @ piece), 1e-12))
        peaks, properties = scipy.signal.find_peaks(np.pad(correlation, 1, mode="wrap"), height=ALIGNED_CORRELATION)
        best = peaks[np.argsort(properties["peak_heights"])[-ALIGNMENTS:]] - 1
        alignments |= {int((place - first) % length) for place in best}
    return alignments


def _longest_level_copy(sound: Array, clip: Array, rate: int, hop: int) -> int:
    frames = len(clip) // hop
    clip_levels = mel_frames(np.concatenate([clip, clip]), rate, hop)[frames // 2 :][:frames]  # away from silence
    mean_level = clip_levels.mean(0)
    sound_levels = mel_frames(sound, rate, hop)[: len(sound) // hop // HOPS * HOPS] - mean_level
    clip_levels = np.roll(clip_levels, frames // 2, axis=0) - mean_level
    products = sound_levels @ clip_levels.T
    sound_power, clip_power = np.square(sound_levels).sum(1).reshape(-1, HOPS).sum(1), np.square(clip_levels).sum(1)
    longest, positions = 0, np.arange(len(sound_levels))
    for alignment in range(frames):
        clip_positions = (positions + alignment) % frames
        part_products = products[positions, clip_positions].reshape(-1, HOPS).sum(1)
        longest = max(
            longest, _longest_match(sound_power, clip_power[clip_positions].reshape(-1, HOPS).sum(1), part_products)
        )
    return longest


def _longest_match(sound_power: Doubles, clip_power: Doubles, products: Doubles) -> int:
    copied_parts = np.flatnonzero(
        (products >= COPY_CORRELATION * np.sqrt(sound_power * clip_power)) & (sound_power > 1e-9) & (clip_power > 1e-9)
    )
    if not len(copied_parts):
        return 0
    sums = [
        np.concatenate([[0.0], np.cumsum(values, dtype=np.float64)]) for values in (sound_power, clip_power, products)
    ]
    # Differences of running sums are the sums of every stretch from a first to a last part.
    first, last = copied_parts[:, np.newaxis], copied_parts[np.newaxis] + 1
    sound_sum, clip_sum, product_sum = (values[last] - values[first] for values in sums)
    copied = (product_sum >= COPY_CORRELATION * np.sqrt(np.maximum(sound_sum * clip_sum, 0))) & (last > first)
    return int(np.max(np.where(copied, last - first, 0)))


SILENT_DB = -100.0  # of full scale
CONSTANT_DB = 0.5  # deviation of a band's levels in a constant sound, a median over bands
STRETCH = 8  # frames a stretch: a fault repeats more than once or twice
REPEAT_CORRELATION = 0.99  # correlation of a stretch with itself a frame later
TONE_CORRELATION = 0.9  # at most, at other lags, or it is a tone


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
    repeating = [
        cosine(piece[:-frame_length], piece[frame_length:]) >= REPEAT_CORRELATION
        and max(cosine(piece[:-lag], piece[lag:]) for lag in range(part, frame_length - part + 1, part))
        < TONE_CORRELATION
        for piece in stretches.astype(np.float64)
    ]
    return float(np.mean(repeating)) if repeating else 0.0
