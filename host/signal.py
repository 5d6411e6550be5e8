"""Windows, STFT, chroma, tuning, noise, pitch detection and medoids."""

import functools
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from .arrays import Array, Doubles, Integers
from .units import A4_HZ, midi_to_hz

LOWEST_HZ = 27.5  # A0, the lowest note of the publication's chromagram
HIGHEST_HZ = 4186.01  # C8, its highest


def mean_deviation(pitches: Doubles) -> tuple[float, float]:
    """Return how far pitches in semitones lie off whole ones, -0.5 to 0.5, and how much they agree, 0 to 1.

    The mean is circular, since a tuning repeats every semitone; its length is the agreement.
    """
    mean_phasor = np.exp(2j * np.pi * pitches).mean()
    return float(np.angle(mean_phasor) / (2 * np.pi)), float(abs(mean_phasor))


@functools.cache
def window(name: str, length: int) -> Array:
    """Periodic, [length]."""
    phases = 2.0 * np.pi * np.arange(length) / length
    windows_by_name = {
        "hann": 0.5 - 0.5 * np.cos(phases),
        "blackman": 0.42 - 0.5 * np.cos(phases) + 0.08 * np.cos(2 * phases),
        "rectangular": np.ones(length),
    }
    named_window = windows_by_name[name].astype(np.float32)
    named_window.setflags(write=False)
    return named_window


def stft(signal: Array, frame_length: int, hop_length: int, window_name: str = "hann") -> npt.NDArray[np.complex64]:
    """Short-time Fourier transform, [frames, frame_length // 2 + 1], of [samples].

    Without padding: frame ``i`` starts at sample ``i * hop_length``.
    """
    frames = np.lib.stride_tricks.sliding_window_view(signal, frame_length)[::hop_length]
    return np.fft.rfft(frames * window(window_name, frame_length), axis=-1).astype(np.complex64)


@functools.cache
def from_middle(bins: int) -> Array:
    """Signs, [bins], that move a spectrum's time origin between the frame's middle and start."""
    signs = np.where(np.arange(bins) % 2 == 0, np.float32(1), np.float32(-1))
    signs.setflags(write=False)
    return signs


@functools.cache
def chroma_bins(sample_rate: int, frame_length: int) -> Array:
    """Pitch class of each bin, one-hot from A0 to C8, else zero: [bins, 12].

    Colonel & Keene 2020, section III-B: sums energy over bands around 88 notes.
    """
    bin_hz = np.fft.rfftfreq(frame_length, 1.0 / sample_rate)
    half_semitone = 2.0 ** (1 / 24)
    is_in_range = (bin_hz > LOWEST_HZ / half_semitone) & (bin_hz < HIGHEST_HZ * half_semitone)
    bin_notes = np.round(69 + 12 * np.log2(np.where(is_in_range, bin_hz, A4_HZ) / A4_HZ)).astype(int)
    one_hot = np.zeros((len(bin_hz), 12), np.float32)
    one_hot[is_in_range, bin_notes[is_in_range] % 12] = 1.0
    one_hot.setflags(write=False)
    return one_hot


def chroma(magnitudes: Array, sample_rate: int, frame_length: int) -> Array:
    """Pitch class energies, [..., 12], C first, of magnitudes, [..., bins]."""
    return np.square(magnitudes) @ chroma_bins(sample_rate, frame_length)


def overlapped_hops(frames: Array, hop: int) -> Array:
    """Overlap-add [..., n, length] to [..., hops, hop], all first hops of frames before all second ones."""
    frame_count, frame_length = frames.shape[-2:]
    hops = np.zeros((*frames.shape[:-2], frame_count - 1 - -frame_length // hop, hop), np.float32)
    for hop_index, begin_sample in enumerate(range(0, frame_length, hop)):
        hop_parts = frames[..., begin_sample : begin_sample + hop]
        hops[..., hop_index : hop_index + frame_count, : hop_parts.shape[-1]] += hop_parts
    return hops


def overlap_add(pieces: npt.NDArray[np.floating[Any]], hop: int) -> Array:
    """[n, length] to [(n - 1) * hop + length]."""
    piece_count, piece_length = pieces.shape
    overlapped_sum = np.zeros((piece_count - 1) * hop + piece_length, np.float32)
    for piece_index, piece in enumerate(pieces):
        overlapped_sum[piece_index * hop : piece_index * hop + piece_length] += piece
    return overlapped_sum


def fast_length(length: int, primes: Sequence[int], step: int = 1) -> int:
    """First multiple of ``step`` from ``length`` on without other prime factors."""
    candidate = -(-length // step) * step
    while _divide_out(primes, candidate) > 1:
        candidate += step
    return candidate


def _divide_out(primes: Sequence[int], number: int) -> int:
    """Divide a number by the primes as often as they divide it."""
    for prime in primes:
        while number % prime == 0:
            number //= prime
    return number


SEED = 2020  # of reproducible noise


def splitmix64(counters: npt.NDArray[np.uint64]) -> npt.NDArray[np.uint64]:
    """Hash counters to random numbers (Steele, Lea and Flood, OOPSLA 2014)."""
    hashes = counters * np.uint64(0x9E3779B97F4A7C15)
    for shift, factor in ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB)):
        hashes = (hashes ^ (hashes >> np.uint64(shift))) * np.uint64(factor)
    return hashes ^ (hashes >> np.uint64(31))


def white_noise(count: int) -> Array:
    """Uniform noise on [-1, 1), [count], independent of library versions."""
    hashes = splitmix64(np.arange(SEED, SEED + count, dtype=np.uint64))
    return (hashes.astype(np.float64) / 2.0**63 - 1.0).astype(np.float32)


@functools.lru_cache(maxsize=4)
def gaussian_noise(count: int) -> npt.NDArray[np.complex64]:
    """Complex Gaussian noise, E|z|^2 = 1, [count]; longer ones start with shorter ones (Box and Muller 1958)."""
    radius_uniform, angle_uniform = (
        _uniform(splitmix64(np.arange(SEED, SEED + 2 * count, dtype=np.uint64))).reshape(count, 2).T
    )
    noise: npt.NDArray[np.complex64] = (
        np.sqrt(-np.log1p(-radius_uniform)) * np.exp(2j * np.pi * angle_uniform)
    ).astype(np.complex64)
    noise.setflags(write=False)
    return noise


def uniforms(seed: int, note: int, first: int, count: int, columns: int) -> npt.NDArray[np.float64]:
    """Random numbers on [0, 1), [count, columns], from row ``first`` on; a row depends on its index only."""
    hashed_seed = splitmix64(splitmix64(np.array([seed], np.uint64)) + np.uint64(note))
    number_indices = np.arange(first * columns, (first + count) * columns, dtype=np.uint64)
    return _uniform(splitmix64(hashed_seed + number_indices)).reshape(count, columns)


def uniforms_of_notes(seed: int, notes: Integers, row: int, columns: int) -> Doubles:
    """Row ``row`` of each note's `uniforms`, [notes, columns]."""
    hashed_seeds = splitmix64(splitmix64(np.array([seed], np.uint64)) + notes.astype(np.uint64))
    number_indices = np.arange(row * columns, (row + 1) * columns, dtype=np.uint64)
    return _uniform(splitmix64(hashed_seeds[:, np.newaxis] + number_indices))


def normals(seed: int, note: int, frame: int, count: int) -> Array:
    """[count] numbers (Box and Muller 1958)."""
    return normals_of_notes(seed, np.array([note]), frame, count)[0]


def normals_of_notes(seed: int, notes: Integers, frame: int, count: int) -> Array:
    """Each note's `normals`, [notes, count]."""
    pair_count = -(-count // 2)
    drawn = uniforms_of_notes(seed, notes, frame, 2 * pair_count)
    radius, angle = np.sqrt(-2.0 * np.log1p(-drawn[:, :pair_count])), 2.0 * np.pi * drawn[:, pair_count:]
    return np.concatenate([radius * np.cos(angle), radius * np.sin(angle)], axis=1)[:, :count].astype(np.float32)


def _uniform(bits: npt.NDArray[np.uint64]) -> npt.NDArray[np.float64]:
    """Map random bits to numbers on [0, 1)."""
    return (bits >> np.uint64(11)).astype(np.float64) / 2.0**53


FRAME = 8192  # samples: at 44.1 kHz two bins fit between neighbouring semitones from C3 up
HARMONICS = 16
DECAY = 0.84  # weight of each harmonic against the one below (Hermes 1988, subharmonic summation)
LOWEST, HIGHEST = 24, 108  # MIDI notes searched, C1 to C8
STEPS = 10  # a semitone


def sounding_note(sound: Array, sample_rate: int) -> float:
    """MIDI note of a sound, [samples], to a tenth of a semitone; NaN for silence.

    Subharmonic summation (Hermes, JASA 83, 1988) over the compressed mean power spectrum, minus the levels half-way
    between harmonics: a sub-octave has gaps at its harmonics, an octave has harmonics in its gaps.
    """
    if len(sound) < FRAME:
        sound = np.pad(sound, (0, FRAME - len(sound)))
    frame_starts = range(0, len(sound) - FRAME + 1, FRAME // 4)
    hann_window = np.hanning(FRAME)
    power_spectrum = np.mean(
        [
            np.square(np.abs(np.fft.rfft(sound[frame_start : frame_start + FRAME] * hann_window)))
            for frame_start in frame_starts
        ],
        axis=0,
    )
    if power_spectrum.max() <= 0:
        return float("nan")
    # square root of magnitude: weak harmonics count too
    compressed_spectrum = (power_spectrum / power_spectrum.max()) ** 0.25
    harmonic_bins, gap_bins, weights = _combs(sample_rate)
    note_scores = (
        _interpolate_levels(compressed_spectrum, harmonic_bins) - _interpolate_levels(compressed_spectrum, gap_bins)
    ) @ weights
    return LOWEST + float(np.argmax(note_scores)) / STEPS


@functools.cache
def _combs(sample_rate: int) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Return harmonics and the gaps below them in bins, [notes, HARMONICS], and the harmonics' weights."""
    candidate_notes = np.arange((HIGHEST - LOWEST) * STEPS) / STEPS + LOWEST
    fundamental_bins = np.array([midi_to_hz(note) for note in candidate_notes]) * FRAME / sample_rate
    harmonic_numbers = np.arange(1.0, HARMONICS + 1)
    return (
        fundamental_bins[:, None] * harmonic_numbers,
        fundamental_bins[:, None] * (harmonic_numbers - 0.5),
        np.power(DECAY, harmonic_numbers - 1.0),
    )


def _interpolate_levels(level: npt.NDArray[np.float64], bins: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    return np.interp(bins, np.arange(len(level)), level, right=0.0)


def medoid(rows: npt.NDArray[np.float64]) -> int:
    """Index of the row nearest to the rows' median, [n, length]."""
    return int(np.square(rows - np.median(rows, axis=0)).sum(axis=1).argmin())


BLACKMAN_HARRIS = (0.35875, 0.48829, 0.14128, 0.01168)  # side lobes below -92 dB (Harris 1978)
LOBE_STEPS = 1024  # table entries of a lobe per bin


class FrameShape(NamedTuple):
    length: int  # samples, even; a multiple of ``overlap``
    overlap: int  # frames per frame length
    terms: tuple[float, ...]  # of the window, a sum of cosines
    taps: int  # bins of a lobe beside its center
    loop: int = 0  # least samples of its noise loop


@functools.lru_cache(maxsize=4)  # presets loaded while others play share it
def lobes(shape: FrameShape) -> Array:
    """The window's lobe at each fraction of a bin, [STEPS + 1, 2 * taps + 1].

    A sinusoid's positive-frequency transform per sample of a frame, for frames that overlap-add to amplitude 1.
    """
    bin_offsets = np.arange(-shape.taps, shape.taps + 1) - np.linspace(-0.5, 0.5, LOBE_STEPS + 1)[:, np.newaxis]
    lobe_table = shape.terms[0] * np.sinc(bin_offsets)
    for term_number, term_share in enumerate(shape.terms[1:], start=1):
        lobe_table += term_share / 2 * (np.sinc(bin_offsets - term_number) + np.sinc(bin_offsets + term_number))
    return (lobe_table / (2 * shape.overlap * shape.terms[0])).astype(np.float32)


def window_of(shape: FrameShape) -> Array:
    """Return the window, [length]."""
    phases = 2 * np.pi * np.arange(shape.length) / shape.length
    cosine_sum: Array = sum(
        (-1) ** term_number * term_share * np.cos(term_number * phases)
        for term_number, term_share in enumerate(shape.terms)
    )
    return cosine_sum.astype(np.float32)
