"""Vibrato: the movement of a recorded note's pitch around its key, from the phases of its partials."""

import numpy as np
import numpy.typing as npt
import scipy

from ...host.arrays import Doubles
from ...host.model.gesture import MOST_POINTS, VIBRATO_CENTS
from ...host.units import midi_to_hz
from ..fidelity.measures import HOP
from ..fidelity.notes import RecordedNote, tuned
from .code_fitting import LONGEST_SECONDS

Steps = npt.NDArray[np.int8]

STEP = HOP // 4  # samples between phases
WINDOW_SECONDS = 0.03  # of the phases: a fifth of a fast vibrato's period
FEWEST_PERIODS, MOST_PERIODS = 5, 40  # in a window: partials apart, and a lobe that holds the vibrato
LOBE_SHARE = 0.75  # of half a lobe: the most that a partial may move; higher ones are not measured
TONAL_SHARE = 0.5  # share of the power up to the highest of them; less is noise without a pitch
LOUD_DB = 15.0  # below the loudest window; softer ones are an attack or the room
MOST_CENTS = 60.0  # of vibrato: more is another note, or a jump between registers
STEADY_CENTS = 0.5  # standard deviation: less is no movement
FEWEST_PITCHED = 8  # moments with a pitch


def vibrato_of(note: RecordedNote, rate: int) -> Steps:
    """Return the movement of a note's pitch while held, in steps of `VIBRATO_CENTS`, one each `HOP` samples.

    It is 0 in the median. Moments without a pitch have that of the nearest ones. Empty without movement.
    """
    tuned_note = tuned(note, rate)
    held_samples = min(round(min(tuned_note.held_seconds, LONGEST_SECONDS) * rate), (MOST_POINTS - 1) * HOP)
    cents, is_pitched = _pitches(tuned_note.sound[:held_samples].astype(np.float64), midi_to_hz(note.single.key), rate)
    if is_pitched.sum() < FEWEST_PITCHED:
        return np.zeros(0, np.int8)
    cents = cents - np.median(cents[is_pitched])
    is_pitched &= np.abs(cents) < MOST_CENTS
    moment_indices = np.arange(len(cents))
    # The filter removes single slips.
    cents = scipy.ndimage.median_filter(np.interp(moment_indices, moment_indices[is_pitched], cents[is_pitched]), 3)
    if cents.std() < STEADY_CENTS:
        return np.zeros(0, np.int8)
    steps: Steps = np.round(cents / VIBRATO_CENTS).astype(np.int8)
    return steps


def _pitches(sound: Doubles, hertz: float, rate: int) -> tuple[Doubles, npt.NDArray[np.bool_]]:
    """Return cents off a pitch at multiples of `HOP`, and a mask of pitched moments, [moments] both.

    Each partial's phase turns by its frequency; means weight squares of amplitudes. Constant offsets, as of stiff
    strings, do not count.
    """
    window_size = round(np.clip(WINDOW_SECONDS, FEWEST_PERIODS / hertz, MOST_PERIODS / hertz) * rate)
    highest_hz = LOBE_SHARE * 2 * rate / window_size / (2 ** (MOST_CENTS / 1200) - 1)
    partial_numbers = np.arange(1, 1 + max(1, int(highest_hz / hertz)))
    sample_offsets = np.arange(window_size) - window_size // 2
    window = np.hanning(window_size)
    padded = np.pad(sound, (window_size // 2, window_size))
    short_frames = np.lib.stride_tricks.sliding_window_view(padded, window_size)[: len(sound) + 1 : STEP]
    phasors = short_frames @ (window[:, np.newaxis] * _turns(sample_offsets, hertz * partial_numbers / rate))
    phasors *= _turns(np.arange(len(short_frames)) * STEP, hertz * partial_numbers / rate)
    power_spectra = np.square(np.abs(np.fft.rfft(short_frames * window)))[
        :, : round((partial_numbers[-1] + 0.5) * hertz * window_size / rate)
    ]
    window_power = 2 * power_spectra.sum(1) / window_size
    phase_steps = phasors[1:] * phasors[:-1].conj()
    phase_steps *= np.exp(-1j * np.angle(phase_steps.sum(0)))
    weights = np.abs(phase_steps) * partial_numbers
    relative_offsets = np.angle(phase_steps) / (2 * np.pi * hertz * STEP / rate)
    kernel = np.ones(HOP // STEP)
    mean_offsets = np.convolve((weights * relative_offsets).sum(1), kernel) / np.maximum(
        np.convolve((weights * partial_numbers).sum(1), kernel), 1e-30
    )
    tonal_power = 2 * np.square(np.abs(phasors)).sum(1) * np.square(window).sum() / np.square(window.sum())
    is_pitched = (tonal_power > TONAL_SHARE * window_power) & (
        window_power > window_power.max() * 10 ** (-LOUD_DB / 10)
    )
    # Windows at the ends are not full.
    is_pitched[: window_size // 2 // STEP] = is_pitched[(len(sound) - window_size // 2) // STEP :] = False
    moment_slice = slice(HOP // STEP // 2 - 1, None, HOP // STEP)
    cents = 1200 * np.log2(np.maximum(1 + mean_offsets[moment_slice], 0.5))
    return cents[: len(is_pitched[:: HOP // STEP])], is_pitched[:: HOP // STEP][: len(cents)]


def _turns(times: npt.NDArray[np.intp], frequencies: Doubles) -> npt.NDArray[np.complex128]:
    """Return phasors that turn back by frequencies, in cycles a sample, [times, frequencies]."""
    turns: npt.NDArray[np.complex128] = np.exp(-2j * np.pi * np.outer(times, frequencies))
    return turns
