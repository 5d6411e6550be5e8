"""Morphs of two recordings: from one to the other, with their onsets together.

Each recording's spectra are multiplied by the ratio of both magnitudes, so that its magnitudes move in decibels toward
the other's; phases stay. The two results, whose magnitudes are alike, are crossfaded, and the loudness of ten
milliseconds moves in decibels as well. Both ends are the recordings to the bit, and equal steps of the position are
equal distances. ``tests/bench/recording_morph.py`` compares it with the ratios of a network, and with a crossfade.
"""

import math
from collections.abc import Callable

import numpy as np

from ...arrays import Array, Doubles, Spectrum
from ...spectra import log_mel
from .synthesis import POOLED, SpectraSound

FLOOR = np.float32(1e-4)  # of the largest magnitude or level, -80 dB, added to both: silence has no ratio
TINY = np.float32(1e-20)  # keeps logarithms finite, also of silence
ONSET_SECONDS = 0.003  # of loudness: a half period of most kicks, shorter than an audible delay
ONSET_DB = -24.0  # below the loudest moment
FADE_SECONDS = 0.005  # at most, of the beginning of a recording that is cut before its onset
PACE_SECTIONS = 10  # of a morph, between sounds whose distances are measured
RANGE_DB = -40.0  # below the loudest cell: softer ones are masked, and do not count


def onset_samples(sides: Array, sample_rate: int) -> int:
    """Return the first sample of a recording, [channels, samples], within `ONSET_DB` of its loudest moment."""
    window_length = max(1, round(ONSET_SECONDS * sample_rate))
    power = np.square(sides, dtype=np.float64).sum(0)
    sums = np.cumsum(np.pad(power, (window_length, 0)))
    window_powers = sums[window_length:] - sums[:-window_length]  # of the samples up to each
    return int((window_powers >= window_powers.max() * 10 ** (ONSET_DB / 10)).argmax())


def morph_length(lengths: tuple[int, int], onsets: tuple[int, int]) -> int:
    """Return the samples that hold both recordings at every common onset between theirs."""
    (first_length, second_length), delay = lengths, onsets[1] - onsets[0]
    return max(first_length + max(0, delay), second_length + max(0, -delay))


def morph_sides(
    synthesis: SpectraSound,
    recordings: tuple[Array, Array],
    onsets: tuple[int, int],
    share: float,
    shape: tuple[int, int],
    fade_length: int,
) -> Array:
    """Morph two recordings, [channels, samples] each: an array of this ``shape``.

    Args:
        synthesis: has spectra of its hops; ``shape`` has whole ones.
        onsets: in samples; the morph's lies between them.
        share: 0, the first recording, to 1, the second.
        fade_length: samples, at most, of the fade-in of a recording that is cut.
    """
    onset = round((1 - share) * onsets[0] + share * onsets[1])
    first, second = (
        delay_recording(recorded, onset - recorded_onset, shape, fade_length)
        for recorded, recorded_onset in zip(recordings, onsets, strict=True)
    )
    if share in (0, 1):
        return second if share else first
    first_spectra, second_spectra = (
        np.stack([synthesis.transformed(side) for side in recorded]) for recorded in (first, second)
    )
    log_ratios = _floored_log(_magnitudes(second_spectra)) - _floored_log(_magnitudes(first_spectra))
    first_filtered = synthesis.added(first_spectra * np.exp(np.float32(share) * log_ratios))
    second_filtered = synthesis.added(second_spectra * np.exp(np.float32(share - 1) * log_ratios))
    angle = share * math.pi / 2
    sound = np.float32(math.cos(angle)) * first_filtered + np.float32(math.sin(angle)) * second_filtered
    if not synthesis.has_levels:
        return sound
    first_levels, second_levels = (_floored_log(synthesis.levels(recorded)) for recorded in (first, second))
    levels = np.exp(np.float32(1 - share) * first_levels + np.float32(share) * second_levels)
    return synthesis.levelled(sound, levels, POOLED)


def even_shares(morph: Callable[[float], Array], sample_rate: int) -> Doubles:
    """Positions at which a ``morph`` by share, [channels, samples], has even shares, [PACE_SECTIONS + 1], from 0 to 1.

    Between two of them lies the part of all log-mel distances that lies between their sounds.
    """
    sounds = np.stack([morph(share)[0] for share in np.linspace(0, 1, PACE_SECTIONS + 1).tolist()])
    levels = log_mel(sounds, sample_rate)
    is_audible = (levels[1:] > RANGE_DB) | (levels[:-1] > RANGE_DB)
    squares = np.square(np.diff(levels, axis=0), where=is_audible, out=np.zeros(is_audible.shape))
    distances = np.sqrt(squares.sum((1, 2)) / np.maximum(is_audible.sum((1, 2)), 1))
    positions = np.cumsum(np.pad(distances, (1, 0)))
    if positions[-1] == 0:  # equal recordings
        return np.linspace(0, 1, PACE_SECTIONS + 1)
    rounded: Doubles = np.round(positions / positions[-1], 3)  # equal in all processes, however sums are rounded
    return rounded


def delay_recording(recorded: Array, delay: int, shape: tuple[int, int], fade_length: int) -> Array:
    """Return a recording ``delay`` samples later, or earlier and cut, as an array of this ``shape``."""
    delayed = np.zeros(shape, np.float32)
    if delay >= 0:
        delayed[:, delay : delay + recorded.shape[1]] = recorded
        return delayed
    delayed[:, : recorded.shape[1] + delay] = recorded[:, -delay:]
    fade_length = min(fade_length, -delay)
    delayed[:, :fade_length] *= np.arange(fade_length, dtype=np.float32) / np.float32(fade_length)
    return delayed


def _magnitudes(spectra: Spectrum) -> Array:
    """Root of the channels' mean power, [spectra, bins]."""
    magnitudes: Array = np.sqrt(np.square(np.abs(spectra)).mean(0))
    return magnitudes


def _floored_log(values: Array) -> Array:
    """Logarithms of magnitudes or levels, whose floor is `FLOOR` of the largest."""
    logarithms: Array = np.log(values + max(FLOOR * values.max(), TINY))
    return logarithms
