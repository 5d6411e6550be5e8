"""Voicing of decoded magnitudes as they are: shifts them to a key's pitch and adds phases frame by frame."""

import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from ...arrays import Array, Indices, Spectrum
from ...errors import UserError
from ...model.model import Model
from ...signal import window
from ...units import INAUDIBLE_HZ
from ..engine import Residual
from .frames import MovedSpectra, RowCache, check_window, row_keys
from .lobe_shift import shift_lobes
from .noise_voicing import LOSS_DB, NoisePhase
from .phase_retrieval import CausalPhase


class MagnitudeVoicing(ABC):
    """Frames of the model's own length, of one channel.

    Attributes:
        window: for overlap-add, [frame_length].
        leakage: the part of bin 1 that the window spreads to 0 Hz.
    """

    delay = 0
    channels = 1
    image: Array | None = None
    together = 4  # from four rows on, a decoder row costs the same in any batch
    # Successive moments are as far apart as possible; latents are read at 0, when no voice is due.
    moments: tuple[int, ...] = (1, 5, 3, 7, 2, 6, 4, 8)
    parts = 9

    def __init__(self, model: Model, phase: NoisePhase | CausalPhase, gain: float = 1.0) -> None:
        card = model.card
        self.frame_length, self.hop_length = card.frame_length, card.hop_length
        self._spectra, self._phase = MovedSpectra(model), phase
        shape = window(card.window, self.frame_length)
        overlap = np.square(shape).sum() / self.hop_length
        self.window: Array = (shape * np.float32(gain) / np.float32(overlap)).astype(np.float32)
        turn = 2 * np.pi * np.arange(self.frame_length) / self.frame_length
        self.leakage = -2 * float(shape @ np.cos(turn) / shape.sum())
        self._lowest_bin = math.ceil(INAUDIBLE_HZ * self.frame_length / card.sample_rate)

    def start_state(self) -> Any:
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
        states: Sequence[Any],
        residual: Residual | None = None,
        amounts: npt.NDArray[np.float64] | None = None,
    ) -> Array:
        spectra = self._with_phases(latents, chroma, ratios, list(states))
        spectra[:, : self._lowest_bin] = 0
        if self._lowest_bin == 1:
            spectra[:, 0] = self.leakage * spectra[:, 1].real  # cancels the window's leakage from bin 1 to 0 Hz
        frames: Array = np.fft.irfft(spectra, self.frame_length, axis=-1).astype(np.float32, copy=False)
        frames *= self.window
        return frames[:, np.newaxis]

    @abstractmethod
    def _with_phases(
        self, latents: Array, chroma: Indices | Array, ratios: npt.NDArray[np.float64], states: list[Any]
    ) -> Spectrum:
        """Arguments as for `make`; [rows, bins]."""


class NoiseVoicing(MagnitudeVoicing):
    """Stretches spectra to the key's pitch and adds the publication's stored noise phase."""

    _phase: NoisePhase

    def __init__(self, model: Model) -> None:
        super().__init__(model, NoisePhase(model.card.frame_length, model.card.hop_length))

    def _with_phases(
        self, latents: Array, chroma: Indices | Array, ratios: npt.NDArray[np.float64], states: list[Any]
    ) -> Spectrum:
        return self._phase.apply(self._spectra.spectra(latents, chroma, ratios), states)


class CausalVoicing(MagnitudeVoicing):
    """Moves the peaks of spectra to the key's pitch and finds phases from frame to frame."""

    _phase: CausalPhase

    def __init__(self, model: Model) -> None:
        """Raise UserError for frames of another window than Hann's, odd ones, or with too little overlap."""
        card = model.card
        check_window(card, "causal")
        if card.frame_length % 2 or 2 * card.hop_length > card.frame_length:
            raise UserError(
                f"play.phase = 'causal' needs even frames, at least half of which overlap; those of {card.name!r} have "
                f"{card.frame_length} samples and a hop of {card.hop_length}; set phase = 'noise'"
            )
        phase = CausalPhase(card.frame_length, card.hop_length)
        super().__init__(model, phase, 10 ** (-LOSS_DB / 20))  # a partial is as loud as with the stored phase
        self._bins, self._moved = card.frame_length // 2 + 1, RowCache()

    def _with_phases(
        self, latents: Array, chroma: Indices | Array, ratios: npt.NDArray[np.float64], states: list[Any]
    ) -> Spectrum:
        def move(new: list[int]) -> Array:
            decoded = self._spectra.spectra(latents[new], chroma[new], np.ones(len(new))).real
            return np.concatenate(shift_lobes(decoded, ratios[new]), axis=1)

        keys = list(zip(row_keys(latents, chroma), ratios.tolist(), strict=True))
        frames, places = np.split(self._moved.rows(keys, move), [self._bins], axis=1)
        return self._phase.apply(frames, states, places)
