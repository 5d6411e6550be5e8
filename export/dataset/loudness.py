"""Loudness of short sounds (ITU-R BS.1770-4) by weighted spectra, not a filter sample by sample."""

import functools
import math

import numpy as np
import numpy.typing as npt

from ...host.arrays import Array, Doubles

PARTS = 4  # of a block of 400 ms: blocks overlap by three of them
PART_SECONDS = 0.1
ABSOLUTE_LUFS, RELATIVE_LU = -70.0, -10.0  # gates
OFFSET_DB = -0.691
# The analogue filters behind the standard's coefficients for 48 kHz (De Man, "Evaluation of implementations of the EBU
# R128 loudness measurement", AES 145, 2018): a shelf that raises the treble, and a high pass.
SHELF_HZ, SHELF_Q, SHELF_DB = 1681.974450955533, 0.7071752369554196, 3.999843853973347
PASS_HZ, PASS_Q = 38.13547087602444, 0.5003270373238773
SHELF_SLOPE = 0.4996667741545416


def loudness_lufs(sound: Array, rate: int) -> float | None:
    """Return the integrated loudness of [channels, n] in LUFS; None below the gate, or under 400 ms."""
    size = round(PART_SECONDS * rate)
    count = sound.shape[1] // size
    if count < PARTS:
        return None
    spectra = np.fft.rfft(sound[:, : count * size].reshape(len(sound), count, size))
    powers = np.square(spectra.real) + np.square(spectra.imag)
    energies = (powers * _weights(rate, size)).sum(axis=(0, 2), dtype=np.float64)  # mean squares of both channels
    sums = np.concatenate([[0.0], np.cumsum(energies)])
    blocks = (sums[PARTS:] - sums[:-PARTS]) / PARTS
    loud = blocks[blocks > _mean_square(ABSOLUTE_LUFS)]
    if not len(loud):
        return None
    gated = loud[loud > loud.mean() * 10 ** (RELATIVE_LU / 10)]
    return float(OFFSET_DB + 10 * np.log10(gated.mean()))


def _mean_square(lufs: float) -> float:
    return float(10 ** ((lufs - OFFSET_DB) / 10))


@functools.lru_cache(maxsize=8)
def _weights(rate: int, size: int) -> Array:
    gain = np.square(np.abs(_response(np.arange(size // 2 + 1) * rate / size, rate)))
    sides = np.full(size // 2 + 1, 2.0)
    sides[0] = 1.0
    if size % 2 == 0:
        sides[-1] = 1.0
    weights: Array = (gain * sides / size**2).astype(np.float32)
    return weights


def _response(hertz: Doubles, rate: int) -> npt.NDArray[np.complex128]:
    z = np.exp(-2j * np.pi * hertz / rate)
    k, high = math.tan(math.pi * SHELF_HZ / rate), 10 ** (SHELF_DB / 20)
    middle = high**SHELF_SLOPE
    shelf = _biquad(
        z,
        (high + middle * k / SHELF_Q + k * k, 2 * (k * k - high), high - middle * k / SHELF_Q + k * k),
        (1 + k / SHELF_Q + k * k, 2 * (k * k - 1), 1 - k / SHELF_Q + k * k),
    )
    k = math.tan(math.pi * PASS_HZ / rate)
    scale = 1 + k / PASS_Q + k * k
    passed = _biquad(z, (scale, -2 * scale, scale), (scale, 2 * (k * k - 1), 1 - k / PASS_Q + k * k))
    return shelf * passed


def _biquad(
    z: npt.NDArray[np.complex128], above: tuple[float, float, float], below: tuple[float, float, float]
) -> npt.NDArray[np.complex128]:
    over = above[0] + above[1] * z + above[2] * z * z
    under = below[0] + below[1] * z + below[2] * z * z
    ratio: npt.NDArray[np.complex128] = over / under
    return ratio
