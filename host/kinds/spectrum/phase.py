"""Gives phases to decoded spectra, which have none."""

import functools
import math
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from ...contract.model import Model
from ...dsp import stft, white_noise, window
from ...units import INAUDIBLE_HZ
from .frames import Indices, MovedSpectra, Spectrum

Array = npt.NDArray[np.float32]

LOOP_FRAMES = 64  # 1.5 s at 44.1 kHz and hop 1024: too long to be heard as a loop
LOSS_DB = 1.4  # by which a partial with these phases is softer than its frame says; cards state loudness with them
STRIDE = 29  # frames between the places where successive voices begin; odd, so 64 voices begin at 64 places


@functools.lru_cache(maxsize=4)  # presets that are loaded while others sound share it
def noise_phases(frame_length: int, hop_length: int) -> Spectrum:
    """Return the spectra of the loop of noise, all magnitudes 1, [`LOOP_FRAMES`, bins]."""
    loop = white_noise(LOOP_FRAMES * hop_length)
    wrapped = np.concatenate([loop, np.resize(loop, frame_length - hop_length)])
    spectra = stft(wrapped, frame_length, hop_length)
    table: Spectrum = (spectra / np.maximum(np.abs(spectra), 1e-20)).astype(np.complex64)
    table.setflags(write=False)
    return table


class PhaseState:
    """The place of one voice in the loop of phases."""

    __slots__ = ("frame",)

    def __init__(self, frame: int) -> None:
        self.frame = frame


class NoisePhase:
    """The phase of stored white noise (Colonel & Keene 2020, section VI).

    The noise is a loop, transformed around its seam, so that successive frames fit each other for ever. Each voice
    enters the loop elsewhere: two voices with the same spectrum do not add up to one twice as loud.
    """

    def __init__(self, frame_length: int, hop_length: int) -> None:
        self._table = noise_phases(frame_length, hop_length)
        self._voices_begun = 0

    def begin(self) -> PhaseState:
        """Return the state of a new voice."""
        self._voices_begun += 1
        return PhaseState(self._voices_begun * STRIDE % LOOP_FRAMES)

    def apply(self, magnitudes: Array | Spectrum, states: list[PhaseState]) -> Spectrum:
        """Give each row the phases of its voice's next frame.

        Args:
            magnitudes: [rows, bins]; as complex numbers they need no conversion.
            states: one a row; a voice that stands in several rows has them in order of time.

        Returns:
            [rows, bins].
        """
        indices = []
        for state in states:
            indices.append(state.frame)
            state.frame = (state.frame + 1) % LOOP_FRAMES
        spectra: Spectrum = self._table[indices]
        spectra *= magnitudes
        return spectra


class NoiseVoicing:
    """Makes frames for the engine: spectra as they are decoded, moved as a whole, with stored noise phases.

    Attributes:
        window: by which frames are multiplied, [frame_length]; overlapped, they add up to the sound.
        leakage: the part of bin 1 that the window spreads to 0 Hz.
    """

    delay = 0
    channels = 1
    together = 4  # from four rows on, a decoder row costs the same in any batch
    # Successive moments are as far apart as possible; the knobs are read at 0, when no voice is due.
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

    def begin(self) -> PhaseState:
        """Return the state of a new voice."""
        return self._phase.begin()

    def prepare(self, latents: Array, chroma: Indices | Array) -> bool:
        """Do one step towards what `make` will soon be asked for; return whether another is left."""
        return self._spectra.prepare(latents, chroma)

    def keep(self, latents: Array, chroma: Indices | Array) -> None:
        """Keep what is prepared until `let_go`, whatever is made meanwhile."""
        self._spectra.keep(latents, chroma)

    def let_go(self) -> None:
        """Forget what is kept."""
        self._spectra.let_go()

    def make(
        self,
        latents: Array,
        chroma: Indices | Array,
        ratios: npt.NDArray[np.float64],
        states: Sequence[PhaseState],
    ) -> Array:
        """Return the next frame of each row's voice, [rows, 1, frame_length]; see `CoherentVoicing.make`."""
        spectra = self._phase.apply(self._spectra.spectra(latents, chroma, ratios), list(states))
        spectra[:, : self._lowest_bin] = 0
        if self._lowest_bin == 1:
            spectra[:, 0] = self.leakage * spectra[:, 1].real  # takes back what the window spreads from bin 1 to 0 Hz
        frames: Array = np.fft.irfft(spectra, self.frame_length, axis=-1).astype(np.float32, copy=False)
        frames *= self.window
        return frames[:, np.newaxis]
