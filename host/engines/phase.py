"""Phases for spectra that a decoder gives without any."""

import functools

import numpy as np
import numpy.typing as npt

from ..dsp import stft

Array = npt.NDArray[np.float32]
Spectrum = npt.NDArray[np.complex64]

LOOP_FRAMES = 64  # 1.5 s at 44.1 kHz and hop 1024: longer than a loop can be heard as one
SEED = 2020
STRIDE = 29  # frames between the places where successive voices begin; odd, so 64 voices begin at 64 places


def white_noise(count: int) -> Array:
    """Uniform noise on [-1, 1), [count], the same for ever and everywhere: no library's generator may change it.

    SplitMix64 (Steele, Lea and Flood, OOPSLA 2014): a counter, mixed.
    """
    value = np.arange(SEED, SEED + count, dtype=np.uint64) * np.uint64(0x9E3779B97F4A7C15)
    for shift, factor in ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB)):
        value = (value ^ (value >> np.uint64(shift))) * np.uint64(factor)
    value ^= value >> np.uint64(31)
    return (value.astype(np.float64) / 2.0**63 - 1.0).astype(np.float32)


@functools.lru_cache(maxsize=4)  # presets that are loaded while others sound find it made
def _phases(frame_length: int, hop_length: int) -> Spectrum:
    """Spectra of the loop of noise, all magnitudes 1, [frames, bins]."""
    loop = white_noise(LOOP_FRAMES * hop_length)
    wrapped = np.concatenate([loop, np.resize(loop, frame_length - hop_length)])
    spectra = stft(wrapped, frame_length, hop_length)
    table: Spectrum = (spectra / np.maximum(np.abs(spectra), 1e-20)).astype(np.complex64)
    table.setflags(write=False)
    return table


class PhaseState:
    """Where one voice is in its phases."""

    __slots__ = ("frame",)

    def __init__(self, frame: int) -> None:
        self.frame = frame


class NoisePhase:
    """The phase of stored white noise (Colonel & Keene 2020, section VI).

    The noise is a loop, transformed around its seam, so that successive frames fit each other for ever. Each voice
    enters the loop elsewhere: two voices with the same spectrum do not add up to one twice as loud.
    """

    def __init__(self, frame_length: int, hop_length: int) -> None:
        self._table = _phases(frame_length, hop_length)
        self._begun = 0

    def begin(self) -> PhaseState:
        """State of a new voice."""
        self._begun += 1
        return PhaseState(self._begun * STRIDE % LOOP_FRAMES)

    def apply(self, magnitudes: Array, states: list[PhaseState]) -> Spectrum:
        """Give each row the phases of its voice's next frame.

        Args:
            magnitudes: [rows, bins].
            states: one a row; a voice that stands in several rows has them in order of time.

        Returns:
            [rows, bins].
        """
        indices = np.empty(len(states), np.intp)
        for row, state in enumerate(states):
            indices[row] = state.frame
            state.frame = (state.frame + 1) % LOOP_FRAMES
        spectra: Spectrum = self._table[indices]
        spectra *= magnitudes
        return spectra
