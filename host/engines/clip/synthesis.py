"""Decoded frames to clips: phase retrieval that fits magnitudes and a loudness curve.

Initial phase slopes come from the gradient of the log magnitude (Prusa, Balazs and Soendergaard 2017, as in
`phase_retrieval`), integrated over bins in the loudest spectrum and from there over time. Iterations alternate between
the loudness curve, which keeps attacks sharp, and magnitudes (Griffin and Lim, "Signal estimation from modified
short-time Fourier transform", IEEE TASSP 32:2, 1984), with momentum (Perraudin, Balazs and Soendergaard, "A fast
Griffin-Lim algorithm", WASPAA 2013). The final pass corrects loudness over ten milliseconds, half a period of the
lowest kicks: finer corrections would distort them.
"""

from collections.abc import Callable

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
MOST_GAIN = np.float32(4.0)  # 12 dB: per iteration, and of amplification at the end


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
        self._spectrum_count, self._point_count = length // hop + 1, points
        self._bin_count = self._transform // 2 + 1
        self._window = window("hann", self._transform)
        self._part_samples = length // points if points else length
        self._trims_silence = self._hop % self._part_samples == 0  # the loudness curve ends where a spectrum does

    @property
    def has_levels(self) -> bool:
        return self._point_count > 0

    def __call__(self, frames: Array) -> Array:
        """Clips, [clips, length], of magnitudes and then loudness, [clips, frame_width]."""
        return np.stack([self._sound(frame) for frame in frames])

    def _sound(self, frame: Array) -> Array:
        """The clip of a frame, [length]."""
        magnitudes, levels = self._audible(frame)
        sound = np.zeros(self._length, np.float32)
        levelled_sound = self.levelled(self.added(magnitudes * self._fitted(magnitudes, levels)), levels, POOLED)
        sound[: len(levelled_sound)] = levelled_sound
        return sound

    def at_phasors(self, frames: Array, phasors: Spectrum) -> Array:
        """Clips, [clips, length], at fixed ``phasors``, [spectra, bins]: smooth in ``frames``."""
        magnitude_count, spectrum_count = self._bin_count * self._spectrum_count, len(phasors)
        magnitudes = frames[:, :magnitude_count].reshape(len(frames), self._spectrum_count, self._bin_count)[
            :, :spectrum_count
        ]
        sounds = np.zeros((len(frames), self._length), np.float32)
        for sound, overlapped_sound, levels in zip(
            sounds, self.added(magnitudes * phasors), frames[:, magnitude_count:], strict=True
        ):
            sound[: len(overlapped_sound)] = self.levelled(
                overlapped_sound, levels[: len(overlapped_sound) // self._part_samples], POOLED
            )
        return sounds

    def phasors(self, frame: Array) -> Spectrum:
        """Phasors of a frame, [audible spectra, bins]."""
        return self._fitted(*self._audible(frame))

    def own_phasors(self, sound: Array) -> Spectrum:
        """Unit phasors of a clip, [spectra, bins]."""
        spectra = self.transformed(sound)
        return (spectra / np.maximum(np.abs(spectra), np.float32(1e-12))).astype(np.complex64, copy=False)

    def _audible(self, frame: Array) -> tuple[Array, Array]:
        """Split a frame into magnitudes and levels, without the silence at its end."""
        magnitude_count = self._bin_count * self._spectrum_count
        magnitudes, levels = (
            frame[:magnitude_count].reshape(self._spectrum_count, self._bin_count),
            frame[magnitude_count:],
        )
        if self._trims_silence:
            audible_indices = np.flatnonzero(magnitudes.max(1) > AUDIBLE * magnitudes.max())
            spectrum_count = max(int(audible_indices[-1]) + 1 if len(audible_indices) else 0, FEWEST)
            magnitudes, levels = (
                magnitudes[:spectrum_count],
                levels[: (spectrum_count - 1) * self._hop // self._part_samples],
            )
        return magnitudes, levels

    def _fitted(self, magnitudes: Array, levels: Array) -> Spectrum:
        """Phasors that fit magnitudes, [spectra, bins], and levels."""
        fitted_spectra: Spectrum = magnitudes * self._first_phases(magnitudes)
        previous_spectra: Spectrum | None = None
        for _ in range(self._turns):
            spectra = self.transformed(self.levelled(self.added(fitted_spectra), levels))
            accelerated_spectra = (
                spectra if previous_spectra is None else spectra + MOMENTUM * (spectra - previous_spectra)
            )
            phasors = (accelerated_spectra / np.maximum(np.abs(accelerated_spectra), np.float32(1e-12))).astype(
                np.complex64, copy=False
            )
            fitted_spectra, previous_spectra = magnitudes * phasors, spectra
        return phasors

    def _first_phases(self, magnitudes: Array) -> Spectrum:
        """Unit phasors, [spectra, bins], by integrated phase slopes."""
        log_magnitudes = np.log(np.maximum(magnitudes, max(magnitudes.max() * DEEPEST, np.float32(1e-20))))
        gaussian_width = GAUSSIAN * self._transform * self._transform
        bin_gradient = np.zeros_like(log_magnitudes)
        bin_gradient[:, 1:-1] = (log_magnitudes[:, 2:] - log_magnitudes[:, :-2]) / 2
        time_gradient = np.gradient(log_magnitudes, axis=0)
        bin_indices = np.arange(self._bin_count)
        hop_phases = (
            self._hop * self._transform / gaussian_width * bin_gradient
            + 2 * np.pi * self._hop / self._transform * bin_indices
        )
        bin_slopes = -gaussian_width / (self._hop * self._transform) * time_gradient
        loudest_index = int(np.square(magnitudes).sum(1).argmax())
        phases = np.zeros(magnitudes.shape)
        phases[loudest_index, 1:] = np.cumsum((bin_slopes[loudest_index, 1:] + bin_slopes[loudest_index, :-1]) / 2)
        mean_hop_phases = (hop_phases[1:] + hop_phases[:-1]) / 2
        phases[loudest_index + 1 :] = phases[loudest_index] + np.cumsum(mean_hop_phases[loudest_index:], 0)
        phases[:loudest_index] = phases[loudest_index] - np.cumsum(mean_hop_phases[:loudest_index][::-1], 0)[::-1]
        start_phases = phases + np.pi * (bin_indices % 2)  # of the window
        return np.exp(1j * start_phases).astype(np.complex64)

    def added(self, spectra: Spectrum) -> Array:
        """Overlap-add spectra to sounds."""
        windowed_pieces = np.fft.irfft(spectra, self._transform).astype(np.float32, copy=False) * self._window
        spectrum_count = spectra.shape[-2]
        hop_cover = overlapped_hops(np.broadcast_to(np.square(self._window), windowed_pieces.shape[-2:]), self._hop)
        hop_rows = overlapped_hops(windowed_pieces, self._hop)
        hop_rows /= np.maximum(hop_cover, LEAST_COVER)
        first_sample = self._transform // 2
        return hop_rows.reshape(*spectra.shape[:-2], -1)[
            ..., first_sample : first_sample + (spectrum_count - 1) * self._hop
        ]

    def transformed(self, sound: Array) -> Spectrum:
        """Spectra, [spectra, bins], of a sound of whole hops."""
        padded_sound = np.pad(sound, self._transform // 2)
        sound_windows = np.lib.stride_tricks.sliding_window_view(padded_sound, self._transform)[:: self._hop]
        return np.fft.rfft(sound_windows * self._window).astype(np.complex64, copy=False)

    def levels(self, sound: Array) -> Array:
        """Root mean squares of parts, [parts], of a sound of [..., samples], over all its channels."""
        part_squares = np.square(sound).reshape(-1, sound.shape[-1] // self._part_samples, self._part_samples)
        root_mean_squares: Array = np.sqrt(part_squares.mean(2).mean(0))
        return root_mean_squares

    def levelled(self, sound: Array, levels: Array, pooled: int = 1) -> Array:
        """Scale parts of [..., samples] to their root mean squares, averaged over ``pooled`` parts, an odd number."""
        if not self._point_count:
            return sound
        current_levels = self.levels(sound)
        if pooled > 1:
            kernel = np.ones(pooled) / pooled
            current_levels, levels = (
                np.sqrt(np.convolve(np.square(level), kernel, "same")) for level in (current_levels, levels)
            )
        least = QUIETEST if pooled > 1 else 1 / MOST_GAIN  # between two sounds, spectra may be far above the levels
        log_gains = np.log(np.clip(levels / np.maximum(current_levels, QUIETEST), least, MOST_GAIN))
        part_middles = (np.arange(len(levels)) + 0.5) * self._part_samples
        return sound * np.exp(np.interp(np.arange(sound.shape[-1]), part_middles, log_gains)).astype(np.float32)


def sound_of(card: Card) -> Callable[[Array], Array]:
    """Return the function from a model's frames, [rows, frame_width], to sounds at its rate, [rows, frame_length].

    A row depends on its frame alone, to the bit. It may be slow: live, no rendering thread calls it.
    """
    if card.transform_length is None:
        return _samples
    return SpectraSound(card.frame_length, card.transform_length, card.hop_length, card.envelope_points)


def _samples(frames: Array) -> Array:
    return frames
