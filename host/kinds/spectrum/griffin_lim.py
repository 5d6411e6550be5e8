"""Accelerated Griffin-Lim: iterative phase retrieval for offline rendering."""

import itertools
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from ...arrays import Array, Indices, Spectrum
from ...contract.model import Model
from ...engines.protocol import Residual
from ...stft import from_middle, overlapped_hops, window
from .coherent_voicing import CoherentState, CoherentVoicing
from .frame_cache import VoicingSettings
from .frame_shape import FrameShape

ROUNDS = 24  # from coherent phases, 16 reach a spectral convergence of -33 dB (tests/bench/phase.py)
OVERLAP = 8  # overlapping frames: with four, each constrains the others' phases too little
HANN = (0.5, 0.5)  # terms of the window, a sum of cosines
LOBE_TAPS = 12  # bins on either side of a Hann lobe's center: beyond them it is below -80 dB


# Alpha, beta and gamma of the publication, tuned on violin notes: from coherent phases, 24 rounds converge further
# than 32 of fast Griffin-Lim (0.99, 0.99, 1). With 1.3 and 1.4 for the last two it diverges.
SEEN, KEPT, STEP = np.float32(0.95), np.float32(1.1), np.float32(1.25)
LEAST_SHARE = 1e-4  # of the full overlap: with less, division would amplify noise


def refine(
    magnitudes: Array, start: Spectrum, window: Array, hop_length: int, rounds: int, past: Array | None = None
) -> Spectrum:
    """Iterate phases toward consistency at fixed magnitudes; return spectra, [frames, bins].

    The accelerated Griffin-Lim algorithm (Nenov, Nguyen, Balazs and Bot, arXiv 2306.12504, 2023), after the fast one
    (Perraudin, Balazs and Soendergaard, WASPAA 2013): a round restores the magnitudes, synthesizes the nearest sound
    (Griffin and Lim 1984, equation 6), and extrapolates along its last steps. The publication extrapolates spectra;
    extrapolating sounds is equivalent, and less work.

    Args:
        magnitudes: [frames, bins], ``bins = frame_length // 2 + 1``.
        start: initial phases, [frames, bins], on which the result depends; its magnitudes are ignored.
        window: of analysis and synthesis, [frame_length], periodic.
        hop_length: samples, at most ``frame_length``.
        rounds: 0 returns the phases of ``start``.
        past: unnormalized sum of earlier frames' inverse transforms times ``window``, from the first sample of frame 0
            on, [frame_length - hop_length]. None: the sound before frame 0 is unknown.
    """
    frame_length = len(window)
    energy = np.square(window)
    cover = _overlap_add(np.broadcast_to(energy, (len(magnitudes), frame_length)), hop_length)
    before = np.zeros_like(cover)
    if past is not None:
        before[: len(past)] = past
        for earlier in range(hop_length, frame_length, hop_length):
            cover[: frame_length - earlier] += energy[earlier:]
    cover = np.maximum(cover, LEAST_SHARE * energy.sum() / hop_length)
    found = _with_magnitudes(start, magnitudes)
    kept: Array | None = None
    for _ in range(rounds):
        sounding = np.fft.irfft(found, frame_length, axis=-1).astype(np.float32, copy=False)
        sounding *= window
        nearest = (before + _overlap_add(sounding, hop_length)) / cover
        if kept is None:
            last = kept = nearest
        now = kept + STEP * (nearest - kept)
        kept = now + KEPT * (now - last)
        seen = now + SEEN * (now - last)
        last = now
        frames = np.lib.stride_tricks.sliding_window_view(seen, frame_length)[::hop_length]
        spectra: Spectrum = np.fft.rfft(frames * window, axis=-1).astype(np.complex64, copy=False)
        found = _with_magnitudes(spectra, magnitudes)
    return found


def _with_magnitudes(spectra: Spectrum, magnitudes: Array) -> Spectrum:
    """A bin of 0 has no phase and stays 0."""
    turned: Spectrum = spectra * (magnitudes / np.maximum(np.abs(spectra), np.float32(1e-20)))
    return turned


def _overlap_add(frames: Array, hop_length: int) -> Array:
    count, frame_length = frames.shape
    return overlapped_hops(frames, hop_length).reshape(-1)[: (count - 1) * hop_length + frame_length]


class GriffinLimState:
    """A voice's coherent state, and its earlier frames' sum, [channels, samples]."""

    __slots__ = ("past", "voice")

    def __init__(self, voice: CoherentState, past: Array) -> None:
        self.voice, self.past = voice, past


class GriffinLimVoicing:
    """Restores the magnitudes of long coherent frames, offline: their noise makes these fluctuate."""

    delay = 0
    together = 4
    moments: tuple[int, ...] = (1,)
    parts = 2

    def __init__(self, model: Model, character: VoicingSettings) -> None:
        length = model.card.frame_length - model.card.frame_length % OVERLAP
        self._voice = CoherentVoicing(model, character, FrameShape(length, OVERLAP, HANN, LOBE_TAPS))
        self.frame_length, self.hop_length = length, length // OVERLAP
        self.channels = self._voice.channels
        self._window = window("hann", length)
        energy = np.square(self._window).sum()
        self._overlap = np.float32(energy / self.hop_length)
        self._tone_scale = np.float32(OVERLAP * HANN[0])  # from overlap-added frames to spectra of their sum
        self._noise_scale = np.float32(np.sqrt(energy))
        self._middle = from_middle(length // 2 + 1)

    def start_state(self) -> GriffinLimState:
        past = np.zeros((self.channels, self.frame_length - self.hop_length), np.float32)
        return GriffinLimState(self._voice.start_state(), past)

    def number_next(self, number: int) -> None:
        self._voice.number_next(number)

    def prepare(self, latents: Array, chroma: Indices | Array) -> bool:
        return self._voice.prepare(latents, chroma)

    def keep(self, latents: Array, chroma: Indices | Array) -> None:
        self._voice.keep(latents, chroma)

    def let_go(self) -> None:
        self._voice.let_go()

    def make(
        self,
        latents: Array,
        chroma: Indices | Array,
        ratios: npt.NDArray[np.float64],
        states: Sequence[GriffinLimState],
        residual: Residual | None = None,
    ) -> Array:
        tones, noise, level = self._voice.parts_of(latents, chroma, ratios, [state.voice for state in states])
        whole = tones + noise * level[:, np.newaxis]
        start: Spectrum = (whole * (self._tone_scale * self._middle)).astype(np.complex64, copy=False)
        hiss = np.square(level * self._noise_scale)[:, np.newaxis]
        magnitudes = np.sqrt(np.square(np.abs(tones) * self._tone_scale) + hiss)
        made = np.empty((len(states), self.channels, self.frame_length), np.float32)
        for _, group in itertools.groupby(range(len(states)), key=lambda row: id(states[row])):
            rows = list(group)
            past = states[rows[0]].past
            for channel in range(self.channels):
                wanted, given = magnitudes[rows, channel], start[rows, channel]
                spectra = refine(wanted, given, self._window, self.hop_length, ROUNDS, past[channel])
                sounds = np.fft.irfft(spectra, self.frame_length, axis=-1).astype(np.float32, copy=False)
                sounds *= self._window
                together = _overlap_add(sounds, self.hop_length)
                together[: past.shape[1]] += past[channel]
                past[channel] = together[len(rows) * self.hop_length :]
                made[rows, channel] = sounds / self._overlap
        return made
