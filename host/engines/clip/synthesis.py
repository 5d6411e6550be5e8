"""Decoded frames to clips: phase retrieval that fits magnitudes and a loudness curve.

Initial phase slopes come from the gradient of the log magnitude (Prusa, Balazs and Soendergaard 2017, as in
`phase_retrieval`), integrated over bins in the loudest spectrum and from there over time. Iterations alternate between
the loudness curve, which keeps attacks sharp, and magnitudes (Griffin and Lim, "Signal estimation from modified
short-time Fourier transform", IEEE TASSP 32:2, 1984), with momentum (Perraudin, Balazs and Soendergaard, "A fast
Griffin-Lim algorithm", WASPAA 2013). The final pass corrects loudness over ten milliseconds, half a period of the
lowest kicks: finer corrections would distort them.
"""

from typing import Protocol

import numpy as np

from ...arrays import Array, Spectrum
from ...model.card import Card
from ...signal import overlapped_hops, window
from ..spectrum.phase_retrieval import GAUSSIAN

TURNS = 10  # iterations: kicks and words are then 1 to 2 dB from their recordings; twelve bring no gain
MOMENTUM = np.float32(0.9)  # without it, short kicks are 3 dB farther off after the same iterations
AUDIBLE = np.float32(3e-4)  # relative to the loudest magnitude, -70 dB: networks output about -80 dB for silence
FEWEST = 2  # spectra: the sound lies between their middles
LEAST_COVER = np.float32(1e-3)  # minimum sum of squared windows: they do not overlap at the ends
POOLED = 5  # parts of the loudness curve: about ten milliseconds
DEEPEST = np.float32(1e-6)  # relative to the loudest magnitude: softer ones carry no phase information
QUIETEST = np.float32(1e-7)  # root mean square of a part that the gain can still correct
MOST_GAIN = np.float32(4.0)  # 12 dB: per iteration


class SpectraSound:
    """Deterministic: equal frames yield equal bytes."""

    def __init__(self, length: int, transform: int, hop: int, points: int, turns: int = TURNS) -> None:
        """Allocate tables for clips of ``length`` samples, a multiple of ``hop`` and ``points``.

        Args:
            transform: FFT samples; even, a multiple of ``hop``, at least four hops.
            points: of the loudness curve; 0 for none.
            turns: iterations, at least 1.
        """
        self._turns = turns
        self._transform, self._hop, self._length = transform, hop, length
        self._count, self._points = length // hop + 1, points
        self._bins = self._transform // 2 + 1
        self._window = window("hann", self._transform)
        self._part = length // points if points else length
        self._trims = self._hop % self._part == 0  # the loudness curve ends where a spectrum does

    def __call__(self, frames: Array) -> Array:
        """Clips, [clips, length], of magnitudes and then loudness, [clips, frame_width]."""
        return np.stack([self._sound(frame) for frame in frames])

    def _sound(self, frame: Array) -> Array:
        magnitudes, levels = self._audible(frame)
        sound = np.zeros(self._length, np.float32)
        levelled = self._levelled(self._added(magnitudes * self._fitted(magnitudes, levels)), levels, POOLED)
        sound[: len(levelled)] = levelled
        return sound

    def at_phasors(self, frames: Array, phasors: Spectrum) -> Array:
        """Clips, [clips, length], at fixed ``phasors``, [spectra, bins]: smooth in ``frames``."""
        bins, count = self._bins * self._count, len(phasors)
        magnitudes = frames[:, :bins].reshape(len(frames), self._count, self._bins)[:, :count]
        sounds = np.zeros((len(frames), self._length), np.float32)
        for sound, overlapped, levels in zip(sounds, self._added(magnitudes * phasors), frames[:, bins:], strict=True):
            sound[: len(overlapped)] = self._levelled(overlapped, levels[: len(overlapped) // self._part], POOLED)
        return sounds

    def phasors(self, frame: Array) -> Spectrum:
        """Phasors of a frame, [audible spectra, bins]."""
        return self._fitted(*self._audible(frame))

    def own_phasors(self, sound: Array) -> Spectrum:
        """Unit phasors of a clip, [spectra, bins]."""
        spectra = self._transformed(sound)
        phasors: Spectrum = (spectra / np.maximum(np.abs(spectra), np.float32(1e-12))).astype(np.complex64, copy=False)
        return phasors

    def _audible(self, frame: Array) -> tuple[Array, Array]:
        spectra = self._bins * self._count
        magnitudes, levels = frame[:spectra].reshape(self._count, self._bins), frame[spectra:]
        if self._trims:
            audible_spectra = np.flatnonzero(magnitudes.max(1) > AUDIBLE * magnitudes.max())
            count = max(int(audible_spectra[-1]) + 1 if len(audible_spectra) else 0, FEWEST)
            magnitudes, levels = magnitudes[:count], levels[: (count - 1) * self._hop // self._part]
        return magnitudes, levels

    def _fitted(self, magnitudes: Array, levels: Array) -> Spectrum:
        fitted: Spectrum = magnitudes * self._first_phases(magnitudes)
        previous: Spectrum | None = None
        for _ in range(self._turns):
            spectra = self._transformed(self._levelled(self._added(fitted), levels))
            accelerated = spectra if previous is None else spectra + MOMENTUM * (spectra - previous)
            phasors = (accelerated / np.maximum(np.abs(accelerated), np.float32(1e-12))).astype(
                np.complex64, copy=False
            )
            fitted, previous = magnitudes * phasors, spectra
        return phasors

    def _first_phases(self, magnitudes: Array) -> Spectrum:
        level = np.log(np.maximum(magnitudes, max(magnitudes.max() * DEEPEST, np.float32(1e-20))))
        width = GAUSSIAN * self._transform * self._transform
        across = np.zeros_like(level)
        across[:, 1:-1] = (level[:, 2:] - level[:, :-2]) / 2
        along = np.gradient(level, axis=0)
        bins = np.arange(self._bins)
        step = self._hop * self._transform / width * across + 2 * np.pi * self._hop / self._transform * bins
        slope = -width / (self._hop * self._transform) * along
        loudest = int(np.square(magnitudes).sum(1).argmax())
        phase = np.zeros(magnitudes.shape)
        phase[loudest, 1:] = np.cumsum((slope[loudest, 1:] + slope[loudest, :-1]) / 2)
        steps = (step[1:] + step[:-1]) / 2
        phase[loudest + 1 :] = phase[loudest] + np.cumsum(steps[loudest:], 0)
        phase[:loudest] = phase[loudest] - np.cumsum(steps[:loudest][::-1], 0)[::-1]
        at_start = phase + np.pi * (bins % 2)  # of the window
        phasors: Spectrum = np.exp(1j * at_start).astype(np.complex64)
        return phasors

    def _added(self, spectra: Spectrum) -> Array:
        pieces = np.fft.irfft(spectra, self._transform).astype(np.float32, copy=False) * self._window
        count = spectra.shape[-2]
        cover = overlapped_hops(np.broadcast_to(np.square(self._window), pieces.shape[-2:]), self._hop)
        rows = overlapped_hops(pieces, self._hop)
        rows /= np.maximum(cover, LEAST_COVER)
        first = self._transform // 2
        sound: Array = rows.reshape(*spectra.shape[:-2], -1)[..., first : first + (count - 1) * self._hop]
        return sound

    def _transformed(self, sound: Array) -> Spectrum:
        padded = np.pad(sound, self._transform // 2)
        pieces = np.lib.stride_tricks.sliding_window_view(padded, self._transform)[:: self._hop]
        return np.fft.rfft(pieces * self._window).astype(np.complex64, copy=False)

    def _levelled(self, sound: Array, levels: Array, pooled: int = 1) -> Array:
        """Scale parts to their root mean squares, averaged over ``pooled`` parts, an odd number."""
        if not self._points:
            return sound
        current_levels = np.sqrt(np.square(sound).reshape(len(levels), self._part).mean(1))
        if pooled > 1:
            kernel = np.ones(pooled) / pooled
            current_levels, levels = (
                np.sqrt(np.convolve(np.square(level), kernel, "same")) for level in (current_levels, levels)
            )
        gains = np.log(np.clip(levels / np.maximum(current_levels, QUIETEST), 1 / MOST_GAIN, MOST_GAIN))
        middles = (np.arange(len(levels)) + 0.5) * self._part
        raised: Array = sound * np.exp(np.interp(np.arange(len(sound)), middles, gains)).astype(np.float32)
        return raised


class ClipSound(Protocol):
    """May be slow: live, no rendering thread calls it."""

    def __call__(self, frames: Array) -> Array:
        """Sounds at the model's rate, [rows, frame_length], of frames, [rows, frame_width].

        A row depends on its frame alone, to the bit; the caller owns the result.
        """


def sound_of(card: Card) -> ClipSound:
    if card.transform_length is None:
        return _samples
    return SpectraSound(card.frame_length, card.transform_length, card.hop_length, card.envelope_points)


def _samples(frames: Array) -> Array:
    return frames
