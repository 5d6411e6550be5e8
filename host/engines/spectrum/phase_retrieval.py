"""Phase retrieval: causal for live playing, and iterative (accelerated Griffin-Lim) for offline rendering.

The log magnitude determines the phase gradient over time and frequency (exactly for a Gaussian window, else
approximately: Prusa, Balazs and Soendergaard, "A noniterative method for reconstruction of phase from STFT magnitude",
IEEE/ACM TASLP 25:5, 2017, equations 5 and 6). Each peak advances in time and fills its basin outward, between valleys.
Changing basins are then fitted to the sound so far, as Griffin and Lim do with all frames (Zhu, Beauregard and Wyse,
"Real-time signal estimation from modified STFT magnitude spectra", IEEE TASLP 15:5, 2007).
"""

import itertools
import math
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from ...arrays import Array, Doubles, Indices, Spectrum
from ...model.model import Model
from ...signal import FrameShape, from_middle, overlapped_hops, white_noise, window
from ..engine import Residual
from .coherent_voicing import CoherentState, CoherentVoicing
from .frames import VoicingSettings

GAUSSIAN = 0.25645  # a Hann window of length N is most like a Gaussian exp(-pi t^2 / (GAUSSIAN N^2)) (Prusa, table 1)
FARTHEST = 2.0  # maximum bins from a peak to its frequency: half the width of a Hann lobe
FITS = 2  # iterations that fit a frame to the sound so far
RESTLESS = 0.8  # nepers per frame: below this change a partial is steady, and fitting would harm it
OWN_WEIGHT = np.float32(2)  # of the new frame against the sound so far, which does not reach its end
DEEPEST = np.float32(1e-7)  # of the loudest magnitude so far: floor of all magnitudes


class CausalPhaseState:
    """A voice's last two frames, and their samples still to play."""

    __slots__ = ("change", "frequency", "level", "loudest", "phase", "sounding")

    def __init__(self, phase: Doubles, frame_length: int) -> None:
        self.phase = phase  # around the middle of the frame, [bins]
        self.sounding = np.zeros(frame_length, np.float32)
        self.loudest = np.float32(0)
        self.level: Array | None = None  # logarithms, [bins]
        self.change: Array | None = None  # of the level in the last hop
        self.frequency: Array | None = None  # in bins, from each bin to its frequency


class CausalPhase:
    """Adds phases to Hann-window magnitudes of any number of voices."""

    def __init__(self, frame_length: int, hop_length: int) -> None:
        """``frame_length`` is even, at least twice ``hop_length``."""
        self._frame, self._hop = frame_length, hop_length
        self._bins = frame_length // 2 + 1
        self._window = window("hann", frame_length)
        share = hop_length / frame_length

        # The level change is known at the middle of the last hop and needed at its end. Shorter hops allow farther
        # extrapolation, with a slope nearer to a Gaussian's. Tuned on bowed strings.
        self._extrapolation = np.float32(max(0.0, 0.7 - 3.2 * share))
        self._slope = -max(0.2, 0.312 - 0.9 * share) * frame_length / hop_length
        energy = np.square(self._window)
        cover = OWN_WEIGHT * energy
        for later in range(hop_length, frame_length, hop_length):
            cover[:-later] += energy[later:]
        self._fit_window = (self._window / np.maximum(cover, 1e-6 * energy.sum())).astype(np.float32)
        self._middle = from_middle(self._bins)
        self._voices_begun = 0

    def start_state(self) -> CausalPhaseState:
        self._voices_begun += 1
        noise = white_noise(self._voices_begun + self._bins)[self._voices_begun :]
        return CausalPhaseState(np.pi * noise.astype(np.float64), self._frame)

    def number_next(self, number: int) -> None:
        self._voices_begun = number - 1

    def apply(self, magnitudes: Array, states: list[CausalPhaseState], away: Array | Doubles | None = None) -> Spectrum:
        """Add phases to the next frame of each row's voice; return [rows, bins].

        Args:
            magnitudes: [rows, bins].
            states: one per row; rows of one voice in time order.
            away: as from `HarmonicShift.apply`.
        """
        spectra = np.empty(magnitudes.shape, np.complex64)
        waiting = list(range(len(states)))
        while waiting:
            now = list({id(states[row]): row for row in reversed(waiting)}.values())
            known = None if away is None else away[now]
            spectra[now] = self._next_frames(magnitudes[now].astype(np.float32), [states[row] for row in now], known)
            waiting = [row for row in waiting if row not in set(now)]
        return spectra

    def _next_frames(
        self, magnitudes: Array, states: list[CausalPhaseState], known: Array | Doubles | None
    ) -> Spectrum:
        loudest = np.maximum([state.loudest for state in states], magnitudes.max(axis=1))
        floor = np.maximum(DEEPEST * loudest, np.float32(1e-30))[:, np.newaxis]
        level = np.log(np.maximum(magnitudes, floor))
        frequency = np.zeros_like(level)
        frequency[:, 1:-1] = (level[:, 2:] - level[:, :-2]) / np.float32(4 * math.pi * GAUSSIAN)
        np.clip(frequency, -FARTHEST, FARTHEST, out=frequency)
        if known is not None:
            frequency = np.where(np.isnan(known), frequency, known.astype(np.float32))

        before = np.stack([level[row] if s.level is None else s.level for row, s in enumerate(states)])
        change = level - before
        last = np.stack([change[row] if s.change is None else s.change for row, s in enumerate(states)])
        slope = self._slope * (change + self._extrapolation * (change - last)).astype(np.float64)
        was = np.stack([frequency[row] if s.frequency is None else s.frequency for row, s in enumerate(states)])
        step = 2 * np.pi * self._hop / self._frame * (np.arange(self._bins) + (frequency + was) / 2.0)
        started = np.array([s.level is not None for s in states])[:, np.newaxis]
        owner, peaks = find_basins(magnitudes)
        phase = _fill_basins(np.stack([s.phase for s in states]) + started * step, slope, owner, peaks)

        spectra: Spectrum = (magnitudes * np.exp(1j * phase) * self._middle).astype(np.complex64)
        sounding = np.stack([s.sounding for s in states])
        restless = _basin_changes(magnitudes, change, owner) > RESTLESS * self._hop / self._frame
        for _ in range(FITS):
            together = (sounding + OWN_WEIGHT * self._windowed(spectra)) * self._fit_window
            fitted = np.fft.rfft(together, axis=-1)
            size = np.abs(fitted)
            turned = magnitudes * fitted / np.maximum(size, np.float32(1e-30))
            spectra = np.where(restless & (size > 0), turned, spectra)
        sounding += self._windowed(spectra)
        phase = np.angle(spectra * self._middle).astype(np.float64)
        for row, state in enumerate(states):
            state.phase, state.level, state.frequency = phase[row], level[row], frequency[row]
            state.change = change[row] if state.change is not None or started[row] else None
            state.loudest = loudest[row]
            state.sounding = np.concatenate([sounding[row, self._hop :], np.zeros(self._hop, np.float32)])
        return spectra

    def _windowed(self, spectra: Spectrum) -> Array:
        frames: Array = np.fft.irfft(spectra, self._frame, axis=-1).astype(np.float32, copy=False)
        return frames * self._window


def find_basins(magnitudes: Array) -> tuple[Indices, Indices]:
    """Basin of each bin, and peak of each basin, counted through all rows."""
    falls = np.ones(magnitudes.shape, bool)  # to the right
    falls[:, :-1] = magnitudes[:, 1:] < magnitudes[:, :-1]
    peak = falls.copy()
    peak[:, 1:] &= ~falls[:, :-1]
    # A bin's peak lies uphill: the previous one where the spectrum falls, else the next.
    return np.cumsum(peak) - 1 + ~falls.ravel(), np.flatnonzero(peak)


def _fill_basins(phase: Doubles, slope: Doubles, owner: Indices, peaks: Indices) -> Doubles:
    way = np.zeros(phase.shape)
    np.cumsum((slope[:, 1:] + slope[:, :-1]) / 2, axis=1, out=way[:, 1:])
    offset = phase.ravel()[peaks] - way.ravel()[peaks]
    filled: Doubles = way + offset[owner].reshape(phase.shape)
    return filled


def _basin_changes(magnitudes: Array, change: Array, owner: Indices) -> Doubles:
    """Energy-weighted means, in nepers."""
    energy = np.square(magnitudes, dtype=np.float64).ravel()
    whole = np.bincount(owner, energy)
    mean: Doubles = np.bincount(owner, energy * np.abs(change).ravel()) / np.maximum(whole, 1e-60)
    return mean[owner].reshape(magnitudes.shape)


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
    image: Array | None = None
    together = 4
    moments: tuple[int, ...] = (1,)
    parts = 2

    def __init__(self, model: Model, character: VoicingSettings) -> None:
        length = model.card.frame_length - model.card.frame_length % OVERLAP
        character = character._replace(image=None)
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
        amounts: npt.NDArray[np.float64] | None = None,
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
