"""Integrated loudness of a note, ITU-R BS.1770-4, by power spectra of its parts of 100 ms."""

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
    part_length = round(PART_SECONDS * rate)
    part_count = sound.shape[1] // part_length
    if part_count < PARTS:
        return None
    spectra = np.fft.rfft(sound[:, : part_count * part_length].reshape(len(sound), part_count, part_length))
    powers = np.square(spectra.real) + np.square(spectra.imag)
    # mean squares of both channels
    part_energies = (powers * _weights(rate, part_length)).sum(axis=(0, 2), dtype=np.float64)
    cumulative_energies = np.concatenate([[0.0], np.cumsum(part_energies)])
    block_energies = (cumulative_energies[PARTS:] - cumulative_energies[:-PARTS]) / PARTS
    loud_energies = block_energies[block_energies > _mean_square(ABSOLUTE_LUFS)]
    if not len(loud_energies):
        return None
    gated_energies = loud_energies[loud_energies > loud_energies.mean() * 10 ** (RELATIVE_LU / 10)]
    return float(OFFSET_DB + 10 * np.log10(gated_energies.mean()))


def _mean_square(lufs: float) -> float:
    return float(10 ** ((lufs - OFFSET_DB) / 10))


@functools.lru_cache(maxsize=8)
def _weights(rate: int, size: int) -> Array:
    """Return each bin's weight in the mean square of ``size`` filtered samples."""
    power_gain = np.square(np.abs(_response(np.arange(size // 2 + 1) * rate / size, rate)))
    side_counts = np.full(size // 2 + 1, 2.0)
    side_counts[0] = 1.0
    if size % 2 == 0:
        side_counts[-1] = 1.0
    weights: Array = (power_gain * side_counts / size**2).astype(np.float32)
    return weights


def _response(hertz: Doubles, rate: int) -> npt.NDArray[np.complex128]:
    """Return the response of the standard's two filters."""
    z = np.exp(-2j * np.pi * hertz / rate)
    k, shelf_gain = math.tan(math.pi * SHELF_HZ / rate), 10 ** (SHELF_DB / 20)
    middle_gain = shelf_gain**SHELF_SLOPE
    shelf_response = _biquad(
        z,
        (
            shelf_gain + middle_gain * k / SHELF_Q + k * k,
            2 * (k * k - shelf_gain),
            shelf_gain - middle_gain * k / SHELF_Q + k * k,
        ),
        (1 + k / SHELF_Q + k * k, 2 * (k * k - 1), 1 - k / SHELF_Q + k * k),
    )
    k = math.tan(math.pi * PASS_HZ / rate)
    scale = 1 + k / PASS_Q + k * k
    high_pass_response = _biquad(z, (scale, -2 * scale, scale), (scale, 2 * (k * k - 1), 1 - k / PASS_Q + k * k))
    return shelf_response * high_pass_response


def _biquad(
    z: npt.NDArray[np.complex128], feedforward: tuple[float, float, float], feedback: tuple[float, float, float]
) -> npt.NDArray[np.complex128]:
    """Return the response of a filter of second order."""
    numerator = feedforward[0] + feedforward[1] * z + feedforward[2] * z * z
    denominator = feedback[0] + feedback[1] * z + feedback[2] * z * z
    response: npt.NDArray[np.complex128] = numerator / denominator
    return response
