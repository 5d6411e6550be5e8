"""Reproducible random numbers and noise."""

import functools

import numpy as np
import numpy.typing as npt

from .arrays import Array

SEED = 2020  # of reproducible noise


def splitmix64(counters: npt.NDArray[np.uint64]) -> npt.NDArray[np.uint64]:
    """Hash counters to random numbers (Steele, Lea and Flood, OOPSLA 2014)."""
    value = counters * np.uint64(0x9E3779B97F4A7C15)
    for shift, factor in ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB)):
        value = (value ^ (value >> np.uint64(shift))) * np.uint64(factor)
    return value ^ (value >> np.uint64(31))


def white_noise(count: int) -> Array:
    """Uniform noise on [-1, 1), [count], independent of library versions."""
    value = splitmix64(np.arange(SEED, SEED + count, dtype=np.uint64))
    return (value.astype(np.float64) / 2.0**63 - 1.0).astype(np.float32)


@functools.lru_cache(maxsize=4)
def gaussian_noise(count: int) -> npt.NDArray[np.complex64]:
    """Complex Gaussian noise, E|z|^2 = 1, [count]; longer ones start with shorter ones (Box and Muller 1958)."""
    first, then = _uniform(splitmix64(np.arange(SEED, SEED + 2 * count, dtype=np.uint64))).reshape(count, 2).T
    noise: npt.NDArray[np.complex64] = (np.sqrt(-np.log1p(-first)) * np.exp(2j * np.pi * then)).astype(np.complex64)
    noise.setflags(write=False)
    return noise


def uniforms(seed: int, note: int, first: int, count: int, columns: int) -> npt.NDArray[np.float64]:
    """Random numbers on [0, 1), [count, columns], from row ``first`` on; a row depends on its index only."""
    key = splitmix64(splitmix64(np.array([seed], np.uint64)) + np.uint64(note))
    places = np.arange(first * columns, (first + count) * columns, dtype=np.uint64)
    return _uniform(splitmix64(key + places)).reshape(count, columns)


def normals(seed: int, note: int, frame: int, count: int) -> Array:
    """[count] numbers (Box and Muller 1958)."""
    pairs = -(-count // 2)
    first, then = uniforms(seed, note, frame, 1, 2 * pairs).reshape(2, pairs)
    radius, angle = np.sqrt(-2.0 * np.log1p(-first)), 2.0 * np.pi * then
    return np.concatenate([radius * np.cos(angle), radius * np.sin(angle)])[:count].astype(np.float32)


def _uniform(bits: npt.NDArray[np.uint64]) -> npt.NDArray[np.float64]:
    return (bits >> np.uint64(11)).astype(np.float64) / 2.0**53
