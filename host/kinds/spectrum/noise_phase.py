"""Noise phases: adds a white noise loop's phases to decoded magnitudes."""

import functools
import math
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from ...arrays import Array, Indices, Spectrum
from ...contract.model import Model
from ...engines.protocol import Residual
from ...noise import white_noise
from ...stft import stft, window
from ...units import INAUDIBLE_HZ
from .frame_cache import MovedSpectra

LOOP_FRAMES = 64  # 1.5 s at 44.1 kHz and hop 1024: too long to be heard as a loop
LOSS_DB = 1.4  # loss of a partial by these phases; the loudness in cards includes it
STRIDE = 29  # frames between the starts of successive voices; odd, so 64 voices have 64 starts


@functools.lru_cache(maxsize=4)  # presets loaded while others play share it
def noise_phases(frame_length: int, hop_length: int) -> Spectrum:
    """Unit phasors of the noise loop, [`LOOP_FRAMES`, bins]."""
    loop = white_noise(LOOP_FRAMES * hop_length)
    wrapped = np.concatenate([loop, np.resize(loop, frame_length - hop_length)])
    spectra = stft(wrapped, frame_length, hop_length)
    table: Spectrum = (spectra / np.maximum(np.abs(spectra), 1e-20)).astype(np.complex64)
    table.setflags(write=False)
    return table


class PhaseState:
    __slots__ = ("frame",)

    def __init__(self, frame: int) -> None:
        self.frame = frame


class NoisePhase:
    """The phase of stored white noise (Colonel & Keene 2020, section VI).

    A seamless loop: successive frames stay consistent. Each voice enters elsewhere, so that equal spectra do not add
    coherently.
    """

    def __init__(self, frame_length: int, hop_length: int) -> None:
        self._table = noise_phases(frame_length, hop_length)
        self._voices_begun = 0

    def start_state(self) -> PhaseState:
        self._voices_begun += 1
        return PhaseState(self._voices_begun * STRIDE % LOOP_FRAMES)

    def number_next(self, number: int) -> None:
        self._voices_begun = number - 1

    def apply(self, magnitudes: Array | Spectrum, states: list[PhaseState]) -> Spectrum:
        """Add the next phases of each row's voice; rows of one voice in time order.

        ``magnitudes``, [rows, bins], may be complex to avoid a conversion.
        """
        indices = []
        for state in states:
            indices.append(state.frame)
            state.frame = (state.frame + 1) % LOOP_FRAMES
        spectra: Spectrum = self._table[indices]
        spectra *= magnitudes
        return spectra


class NoiseVoicing:
    """Shifts decoded spectra and adds stored noise phases.

    Attributes:
        window: for overlap-add, [frame_length].
        leakage: the part of bin 1 that the window spreads to 0 Hz.
    """

    delay = 0
    channels = 1
    together = 4  # from four rows on, a decoder row costs the same in any batch
    # Successive moments are as far apart as possible; latents are read at 0, when no voice is due.
    moments: tuple[int, ...] = (1, 5, 3, 7, 2, 6, 4, 8)
    parts = 9

    def __init__(self, model: Model) -> None:
        card = model.card
        self.frame_length, self.hop_length = card.frame_length, card.hop_length
        self._spectra = MovedSpectra(model)
        self._phase = NoisePhase(self.frame_length, self.hop_length)
        shape = window(card.window, self.frame_length)
        overlap = np.square(shape).sum() / self.hop_length
        self.window: Array = (shape / np.float32(overlap)).astype(np.float32)
        turn = 2 * np.pi * np.arange(self.frame_length) / self.frame_length
        self.leakage = -2 * float(shape @ np.cos(turn) / shape.sum())
        self._lowest_bin = math.ceil(INAUDIBLE_HZ * self.frame_length / card.sample_rate)

    def start_state(self) -> PhaseState:
        return self._phase.start_state()

    def number_next(self, number: int) -> None:
        self._phase.number_next(number)

    def prepare(self, latents: Array, chroma: Indices | Array) -> bool:
        return self._spectra.prepare(latents, chroma)

    def keep(self, latents: Array, chroma: Indices | Array) -> None:
        self._spectra.keep(latents, chroma)

    def let_go(self) -> None:
        self._spectra.let_go()

    def make(
        self,
        latents: Array,
        chroma: Indices | Array,
        ratios: npt.NDArray[np.float64],
        states: Sequence[PhaseState],
        residual: Residual | None = None,
    ) -> Array:
        spectra = self._phase.apply(self._spectra.spectra(latents, chroma, ratios), list(states))
        spectra[:, : self._lowest_bin] = 0
        if self._lowest_bin == 1:
            spectra[:, 0] = self.leakage * spectra[:, 1].real  # cancels the window's leakage from bin 1 to 0 Hz
        frames: Array = np.fft.irfft(spectra, self.frame_length, axis=-1).astype(np.float32, copy=False)
        frames *= self.window
        return frames[:, np.newaxis]
