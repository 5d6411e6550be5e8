"""Faults of endless sound: runaway loudness, constant or repeated frames, and stretches that copy a recording."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import scipy

from ...host.arrays import Array, Doubles
from ...host.spectra import mel_frames, step_levels_db
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
    decimation_factor = max(1, rate // RATE)
    part_length = max(1, round(beat_length / PARTS / decimation_factor))
    decimated_sound, *decimated_clips = (_downsampled(wave, decimation_factor) for wave in (sound, *clips))
    waveform_parts = max(
        (_longest_waveform_copy(decimated_sound, clip, part_length) for clip in decimated_clips), default=0
    )
    hop = max(1, round(beat_length / PARTS / HOPS))
    level_parts = max((_longest_level_copy(sound, clip, rate, hop) for clip in clips), default=0)
    return CopiedPassages(
        waveform_parts * part_length * decimation_factor / beat_length, level_parts * hop * HOPS / beat_length
    )


def _downsampled(wave: Array, factor: int) -> Doubles:
    return np.asarray(
        scipy.signal.resample_poly(wave.astype(np.float64), 1, factor) if factor > 1 else wave, np.float64
    )


def _longest_waveform_copy(sound: Doubles, clip: Doubles, part_length: int) -> int:
    """Return the parts of the longest copy of a clip's waveform."""
    sound = sound[: len(sound) // part_length * part_length]
    positions, longest_parts = np.arange(len(sound)), 0
    for alignment in sorted(_alignments(sound, clip, BLOCK * part_length)):
        aligned_clip = clip[(positions + alignment) % len(clip)]
        sample_products = (sound * sound, aligned_clip * aligned_clip, sound * aligned_clip)
        longest_parts = max(
            longest_parts, _longest_match(*(values.reshape(-1, part_length).sum(1) for values in sample_products))
        )
    return longest_parts


def _alignments(sound: Doubles, clip: Doubles, block_length: int) -> set[int]:
    """Return shifts of a clip by which a block of the sound matches it. Folding makes the correlation circular."""
    clip_length = len(clip)
    clip_spectrum = scipy.fft.rfft(clip)
    energy_sums = np.concatenate([[0.0], np.cumsum(np.square(np.concatenate([clip, clip])))])
    whole_rounds, remainder = divmod(block_length, clip_length)
    block_energies = (
        whole_rounds * energy_sums[clip_length]
        + energy_sums[remainder : remainder + clip_length]
        - energy_sums[:clip_length]
    )
    alignments: set[int] = set()
    for block_start in range(0, len(sound) - block_length + 1, block_length):
        sound_block = sound[block_start : block_start + block_length]
        folded_block = np.pad(sound_block, (0, -block_length % clip_length)).reshape(-1, clip_length).sum(0)
        products = scipy.fft.irfft(np.conj(scipy.fft.rfft(folded_block)) * clip_spectrum, clip_length)
        correlation = products / np.sqrt(np.maximum(block_energies * (sound_block @ sound_block), 1e-12))
        peak_indices, peak_properties = scipy.signal.find_peaks(
            np.pad(correlation, 1, mode="wrap"), height=ALIGNED_CORRELATION
        )
        best_positions = peak_indices[np.argsort(peak_properties["peak_heights"])[-ALIGNMENTS:]] - 1
        alignments |= {int((position - block_start) % clip_length) for position in best_positions}
    return alignments


def _longest_level_copy(sound: Array, clip: Array, rate: int, hop: int) -> int:
    """Return the parts of the longest copy of a clip's mel levels."""
    frame_count = len(clip) // hop
    # Away from silence.
    clip_levels = mel_frames(np.concatenate([clip, clip]), rate, hop)[frame_count // 2 :][:frame_count]
    band_means = clip_levels.mean(0)
    sound_levels = mel_frames(sound, rate, hop)[: len(sound) // hop // HOPS * HOPS] - band_means
    clip_levels = np.roll(clip_levels, frame_count // 2, axis=0) - band_means
    frame_products = sound_levels @ clip_levels.T
    sound_power, clip_power = np.square(sound_levels).sum(1).reshape(-1, HOPS).sum(1), np.square(clip_levels).sum(1)
    longest_parts, sound_frame_indices = 0, np.arange(len(sound_levels))
    for alignment in range(frame_count):
        clip_frame_indices = (sound_frame_indices + alignment) % frame_count
        part_products = frame_products[sound_frame_indices, clip_frame_indices].reshape(-1, HOPS).sum(1)
        longest_parts = max(
            longest_parts,
            _longest_match(sound_power, clip_power[clip_frame_indices].reshape(-1, HOPS).sum(1), part_products),
        )
    return longest_parts


def _longest_match(sound_power: Doubles, clip_power: Doubles, products: Doubles) -> int:
    """Return the parts of the longest copied stretch, from each part's power in both, and their product."""
    copied_parts = np.flatnonzero(
        (products >= COPY_CORRELATION * np.sqrt(sound_power * clip_power)) & (sound_power > 1e-9) & (clip_power > 1e-9)
    )
    if not len(copied_parts):
        return 0
    running_sums = [
        np.concatenate([[0.0], np.cumsum(values, dtype=np.float64)]) for values in (sound_power, clip_power, products)
    ]
    # Differences of running sums are the sums of every stretch from a first to a last part.
    first_parts, end_parts = copied_parts[:, np.newaxis], copied_parts[np.newaxis] + 1
    sound_sum, clip_sum, product_sum = (values[end_parts] - values[first_parts] for values in running_sums)
    is_copied = (product_sum >= COPY_CORRELATION * np.sqrt(np.maximum(sound_sum * clip_sum, 0))) & (
        end_parts > first_parts
    )
    return int(np.max(np.where(is_copied, end_parts - first_parts, 0)))


CONSTANT_DB = 0.5  # deviation of a band's levels in a constant sound, a median over bands
STRETCH = 8  # frames a stretch: a fault repeats more than once or twice
REPEAT_CORRELATION = 0.99  # correlation of a stretch with itself a frame later
TONE_CORRELATION = 0.9  # at most, at other lags, or it is a tone


def loudness_range(clips: Sequence[Array], frame_length: int) -> tuple[float, float]:
    """Return the lowest and the highest level of the clips' frames in dB."""
    levels_db = np.concatenate([step_levels_db(clip, frame_length) for clip in clips])
    return float(levels_db.min()), float(levels_db.max())


def share_in_range(sound: Array, frame_length: int, lowest_db: float, highest_db: float) -> float:
    levels_db = step_levels_db(sound, frame_length)
    return float(np.mean((levels_db >= lowest_db) & (levels_db <= highest_db)))


def constant_share(sound: Array, rate: int, frame_length: int) -> float:
    """Return the share of stretches of eight frames whose mel powers hardly vary, as in silence or a held tone."""
    quarter_powers = 10 ** (mel_frames(sound, rate, max(1, frame_length // 4)).astype(np.float64) / 10)
    stretch_quarters = 4 * STRETCH
    frame_powers = (
        quarter_powers[: len(quarter_powers) // stretch_quarters * stretch_quarters]
        .reshape(-1, STRETCH, 4, quarter_powers.shape[1])
        .mean(2)
    )
    band_deviations_db = (10 * np.log10(frame_powers)).std(1)
    return float(np.mean(np.median(band_deviations_db, axis=1) < CONSTANT_DB)) if len(band_deviations_db) else 0.0


def repeating_share(sound: Array, frame_length: int) -> float:
    """Return the share of stretches of eight frames that repeat one.

    They correlate with themselves a frame later, but, unlike tones, not eighths of a frame later.
    """
    stretch_length, lag_step = STRETCH * frame_length, max(1, frame_length // 8)
    stretches = sound[: len(sound) // stretch_length * stretch_length].reshape(-1, stretch_length)
    are_repeating = [
        cosine(stretch[:-frame_length], stretch[frame_length:]) >= REPEAT_CORRELATION
        and max(cosine(stretch[:-lag], stretch[lag:]) for lag in range(lag_step, frame_length - lag_step + 1, lag_step))
        < TONE_CORRELATION
        for stretch in stretches.astype(np.float64)
    ]
    return float(np.mean(are_repeating)) if are_repeating else 0.0
