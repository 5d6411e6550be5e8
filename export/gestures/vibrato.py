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
    cents, pitched = _pitches(tuned_note.sound[:held_samples].astype(np.float64), midi_to_hz(note.single.key), rate)
    if pitched.sum() < FEWEST_PITCHED:
        return np.zeros(0, np.int8)
    cents = cents - np.median(cents[pitched])
    pitched &= np.abs(cents) < MOST_CENTS
    moments = np.arange(len(cents))
    cents = scipy.ndimage.median_filter(np.interp(moments, moments[pitched], cents[pitched]), 3)  # no single slip
    if cents.std() < STEADY_CENTS:
        return np.zeros(0, np.int8)
    steps: Steps = np.round(cents / VIBRATO_CENTS).astype(np.int8)
    return steps


def _pitches(sound: Doubles, hertz: float, rate: int) -> tuple[Doubles, npt.NDArray[np.bool_]]:
    """Return cents off a pitch at multiples of `HOP`, and a mask of pitched moments, [moments] both.

    Each partial's phase turns by its frequency; means weight squares of amplitudes. Constant offsets, as of stiff
    strings, do not count.
    """
    size = round(np.clip(WINDOW_SECONDS, FEWEST_PERIODS / hertz, MOST_PERIODS / hertz) * rate)
    highest = LOBE_SHARE * 2 * rate / size / (2 ** (MOST_CENTS / 1200) - 1)
    partials = np.arange(1, 1 + max(1, int(highest / hertz)))
    times = np.arange(size) - size // 2
    window = np.hanning(size)
    padded = np.pad(sound, (size // 2, size))
    pieces = np.lib.stride_tricks.sliding_window_view(padded, size)[: len(sound) + 1 : STEP]
    phasors = pieces @ (window[:, np.newaxis] * _turns(times, hertz * partials / rate))
    phasors *= _turns(np.arange(len(pieces)) * STEP, hertz * partials / rate)
    spectra = np.square(np.abs(np.fft.rfft(pieces * window)))[:, : round((partials[-1] + 0.5) * hertz * size / rate)]
    power = 2 * spectra.sum(1) / size
    steps = phasors[1:] * phasors[:-1].conj()
    steps *= np.exp(-1j * np.angle(steps.sum(0)))
    weights = np.abs(steps) * partials
    offsets = np.angle(steps) / (2 * np.pi * hertz * STEP / rate)
    kernel = np.ones(HOP // STEP)
    ratios = np.convolve((weights * offsets).sum(1), kernel) / np.maximum(
        np.convolve((weights * partials).sum(1), kernel), 1e-30
    )
    tonal = 2 * np.square(np.abs(phasors)).sum(1) * np.square(window).sum() / np.square(window.sum())
    pitched = (tonal > TONAL_SHARE * power) & (power > power.max() * 10 ** (-LOUD_DB / 10))
    pitched[: size // 2 // STEP] = pitched[(len(sound) - size // 2) // STEP :] = False  # windows that are not full
    middles = slice(HOP // STEP // 2 - 1, None, HOP // STEP)
    cents = 1200 * np.log2(np.maximum(1 + ratios[middles], 0.5))
    return cents[: len(pitched[:: HOP // STEP])], pitched[:: HOP // STEP][: len(cents)]


def _turns(times: npt.NDArray[np.intp], frequencies: Doubles) -> npt.NDArray[np.complex128]:
    turns: npt.NDArray[np.complex128] = np.exp(-2j * np.pi * np.outer(times, frequencies))
    return turns
