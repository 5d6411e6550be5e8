"""Seamless loops of white noise: their phases for decoded magnitudes, and their transforms as noise."""

import functools
import itertools

import numpy as np

from ...arrays import Array, Spectrum
from ...signal import FrameShape, from_middle, stft, white_noise, window_of

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


LOOP_SAMPLES = 65536  # at least: 1.5 s at 44.1 kHz, too long to be heard as a loop


@functools.lru_cache(maxsize=4)
def white_frames(shape: FrameShape) -> Spectrum:
    """Transforms of noise of variance 1, [frames, bins], with phases at frames' middles."""
    return _transforms(white_loop(shape), shape)


@functools.lru_cache(maxsize=4)
def low_frames(shape: FrameShape, edges: tuple[float, ...]) -> Spectrum:
    """Transforms of low bands of the same noise, [frames, bands, nonzero bins].

    With the noise that `tapered` keeps above the last edge, bands of equal level sum to white noise. ``edges``, in
    bins, are one more than bands; the last band extends to the taper's end.
    """
    loop, left = white_loop(shape), _left(round(edges[-1]))
    last = len(left) - 1
    places = np.arange(len(loop) // 2 + 1) * shape.length / len(loop)
    whole = np.fft.rfft(loop) * (1 - np.interp(places, np.arange(last + 1), left))
    bands = [
        np.fft.irfft(np.where((places >= low) & (places < high), whole, 0), len(loop)).astype(np.float32)
        for low, high in itertools.pairwise((*edges[:-1], last))
    ]
    bins = last + shape.taps + 1
    spectra = np.stack([_transforms(band, shape)[:, :bins] for band in bands], axis=1)
    spectra.setflags(write=False)
    return spectra


@functools.lru_cache(maxsize=4)
def planar_white_frames(shape: FrameShape) -> Array:
    """`white_frames`, real parts and imaginary ones apart, [frames, 2, bins]."""
    return _planar(white_frames(shape))


@functools.lru_cache(maxsize=4)
def planar_low_frames(shape: FrameShape, edges: tuple[float, ...]) -> Array:
    """`low_frames`, real parts and imaginary ones apart, [frames, bands, 2, nonzero bins]."""
    return _planar(low_frames(shape, edges))


def _planar(spectra: Spectrum) -> Array:
    planes = np.stack([spectra.real, spectra.imag], axis=-2)
    planes.setflags(write=False)
    return planes


def _left(first: int) -> Array:
    left: Array = tapered((np.arange(4 * first) >= first).astype(np.float32)[np.newaxis])[0]
    until = int(np.argmax(left > 1 - 1e-6)) + 1
    return left[:until]


def white_loop(shape: FrameShape) -> Array:
    """White noise of variance 1, a whole number of hops."""
    hop = shape.length // shape.overlap
    loop: Array = np.sqrt(np.float32(3)) * white_noise(-(-max(LOOP_SAMPLES, shape.loop, 2 * shape.length) // hop) * hop)
    return loop


def _transforms(loop: Array, shape: FrameShape) -> Spectrum:
    hop = shape.length // shape.overlap
    wrapped = np.concatenate([loop, loop[: shape.length - hop]])
    frames = np.lib.stride_tricks.sliding_window_view(wrapped, shape.length)[::hop] * window_of(shape)
    spectra: Spectrum = np.fft.rfft(frames, axis=-1).astype(np.complex64)
    spectra *= from_middle(spectra.shape[1]) / np.float32(shape.overlap * shape.terms[0])
    spectra.setflags(write=False)
    return spectra


def tapered(level: Array) -> Array:
    """Smooth noise levels, [rows, bins]: filters decay within half a frame, so that ringing does not wrap.

    Twice averages bins by 1/4, 1/2, 1/4: a filter times the square of a Hann window.
    """
    for _ in range(2):
        quarter = level * np.float32(0.25)
        level = level * np.float32(0.5)
        level[:, 1:] += quarter[:, :-1]
        level[:, 0] += quarter[:, 1]  # mirrored beyond either end
        level[:, :-1] += quarter[:, 1:]
        level[:, -1] += quarter[:, -2]
    return level
