"""Reads clips at any place between their samples, without what a higher pitch would fold back.

Places and steps are whole numbers of parts of a sample, `ONE` a sample: their sums are exact, so that no division of a
sound into blocks shows. A place that lies on a sample gives that very sample, as long as the pitch is not raised.
"""

import functools
import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float32]
Places = npt.NDArray[np.int64]

BITS = 32
ONE = 1 << BITS  # parts of a sample
TAPS = 48  # samples from which one between them is made: clean up to 0.83 of half the rate, see `_kernel`
DECAY = 8.0  # of Kaiser's window: what is folded back or mirrored is 80 dB down, beyond the edge of the band
DEGREE = 7  # of the polynomials of a tap's weight over the way from sample to sample: they err by less, -100 dB
ROWS = 32  # sounds are made in pieces of so many samples from a note-on: products of equal sizes are equal to the bit
AN_OCTAVE = 24  # low-passes in an octave of pitch
BANDS = AN_OCTAVE + 1  # low-passes of a copy, from that for its own rate to that for twice the pitch
OCTAVES = 6  # of pitch, at most: 72 semitones
TAPER = 0.9  # of the band of a copy an octave lower: from there on it fades


class Clip:
    """A sound, [samples], and its copies an octave and more lower, each at half the rate of the one before.

    A copy is made when it is first read, or by `prepare`.
    """

    __slots__ = ("_copies", "samples")

    def __init__(self, samples: Array) -> None:
        """Keep the samples, which must not be written to from now on; what is not finite becomes silence."""
        if not np.isfinite(samples).all():
            samples = np.nan_to_num(samples, nan=0.0, posinf=0.0, neginf=0.0)
        self.samples = samples
        self._copies: list[Array] = []

    def __reduce__(self) -> tuple[type["Clip"], tuple[Array]]:
        """A copy in another process makes its own copies."""
        return Clip, (self.samples,)

    def prepare(self) -> None:
        """Make all copies now."""
        if len(self._copies) <= OCTAVES - 1:
            self._copies = [_windows(self.samples), *map(_windows, _octaves(self.samples))]

    def windows(self, octave: int) -> Array:
        """Return the samples around each place of a copy, [places, TAPS]; row 0 is `TAPS` samples before the first."""
        if octave == 0 and not self._copies:
            self._copies = [_windows(self.samples)]
        elif octave >= len(self._copies):
            self.prepare()
        return self._copies[octave]


class Request(NamedTuple):
    """What is to be read of a clip: its ``places``, [n], and how fast they move there, ``step``, [n] or [1] for all.

    ``row`` is that of the first place: samples since the note-on.
    """

    clip: Clip
    places: Places
    step: Places
    row: int


def steps(semitones: npt.ArrayLike) -> Places:
    """Return the parts of a sample from one sample to the next at these transpositions, [1] for one number, or [n]."""
    octaves = np.atleast_1d(np.asarray(semitones, np.float64)) / 12.0
    paces: Places = np.rint(np.exp2(np.clip(octaves, -OCTAVES, OCTAVES)) * ONE).astype(np.int64)
    return paces


@functools.lru_cache(maxsize=1024)  # keys come again and again
def steady(semitones: float) -> Places:
    """Return `steps` of one number, [1]; not to be written to."""
    return steps(semitones)


class Reader:
    """Reads clips: all voices' at once, for most of what it costs is by the call."""

    def __init__(self) -> None:
        self._room: Array = np.zeros((ROWS, TAPS), np.float32)
        self._places: Places = np.zeros(ROWS, np.int64)

    def read(self, requests: Sequence[Request]) -> list[Array]:
        """Return what clips have at the places of each request, [n] each."""
        found: list[Array] = [np.zeros(0, np.float32)] * len(requests)
        between: list[tuple[int, Request, int]] = []
        for number, request in enumerate(requests):
            clip, places, step, _ = request
            if len(step) == 1:
                if step[0] == ONE and not places[0] & (ONE - 1):
                    found[number] = clip.samples[places >> BITS]
                else:
                    between.append((number, request, _band(int(step[0]))))
                continue
            bands = _bands(step)
            found[number] = np.zeros(len(places), np.float32)
            between += [(number, request, band) for band in np.unique(bands).tolist()]
        if between:
            for (number, request, band), sound in zip(between, self._between(between), strict=True):
                step = request.step
                found[number] = sound if len(step) == 1 else np.where(_bands(step) == band, sound, found[number])
        return found

    def _between(self, requests: Sequence[tuple[int, Request, int]]) -> list[Array]:
        """Return what copies have at the places of each request through its low-pass, [n] each."""
        pieces = [-(-(request.row % ROWS + len(request.places)) // ROWS) for _, request, _ in requests]
        rows = sum(pieces) * ROWS
        if rows > len(self._room):
            self._room, self._places = np.zeros((rows, TAPS), np.float32), np.zeros(rows, np.int64)
        room, places = self._room[:rows], self._places[:rows]
        mine, at = [], 0
        for (_, request, band), count in zip(requests, pieces, strict=True):
            first = at + request.row % ROWS
            mine.append(slice(first, first + len(request.places)))
            at += count * ROWS
            places[mine[-1]] = request.places >> band // BANDS
        firsts = (places >> BITS) + (TAPS // 2 + 1)
        for (_, request, band), where in zip(requests, mine, strict=True):
            room[where] = request.clip.windows(band // BANDS)[firsts[where]]
        kernels = _kernels()[np.repeat([band % BANDS for _, _, band in requests], pieces)]
        terms = np.matmul(room.reshape(-1, ROWS, TAPS), kernels).reshape(rows, -1).T
        way = (places & (ONE - 1)).astype(np.float32)
        exact = way == 0.0
        way *= np.float32(1.0 / ONE)
        way -= np.float32(0.5)
        sound = terms[DEGREE] * way
        for power in range(DEGREE - 1, 0, -1):
            sound += terms[power]
            sound *= way
        sound += terms[0]
        for (_, request, band), where in zip(requests, mine, strict=True):
            if not band and (there := exact[where]).any():
                sound[where][there] = request.clip.samples[request.places[there] >> BITS]
        return [sound[where] for where in mine]


@functools.lru_cache(maxsize=256)
def _band(step: int) -> int:
    """Return `_bands` of one step."""
    return int(_bands(np.array([step], np.int64))[0])


def _bands(step: Places) -> Places:
    """Return which copy is read at steps, times low-passes of an octave, and through which of these."""
    octaves = np.log2(step / ONE)
    copies = np.maximum(np.ceil(octaves) - 1, 0).astype(np.int64)
    lows = np.clip(np.ceil((octaves - copies) * AN_OCTAVE), 0, AN_OCTAVE).astype(np.int64)
    bands: Places = copies * BANDS + lows
    return bands


@functools.cache
def _kernels() -> Array:
    """Return the kernels of all low-passes, [BANDS, TAPS, DEGREE + 1]."""
    return np.stack([_kernel(low) for low in range(BANDS)])


def _kernel(low: int) -> Array:
    """Return the polynomials of the taps' weights, [TAPS, DEGREE + 1], lowest power first.

    They are of a sinc under Kaiser's window, whose cutoff lies ``low`` / `AN_OCTAVE` octaves below half the rate. The
    variable is the way from the middle tap to the next, less a half: -0.5 to 0.5.
    """
    cutoff = 2.0 ** (-low / AN_OCTAVE)  # of half the rate
    ways = np.cos(np.pi * (np.arange(64) + 0.5) / 64) / 2  # where polynomials that fit there fit evenly between
    away = np.arange(TAPS)[:, np.newaxis] - (TAPS // 2 - 1) - (ways + 0.5)
    shape = np.i0(DECAY * np.sqrt(np.maximum(0.0, 1.0 - (away / (TAPS / 2)) ** 2))) / np.i0(DECAY)
    weights = cutoff * np.sinc(cutoff * away) * shape
    powers = np.vander(ways, DEGREE + 1, increasing=True)
    fitted: npt.NDArray[np.float64] = np.linalg.lstsq(powers, weights.T, rcond=None)[0]
    return np.ascontiguousarray(fitted.T.astype(np.float32))


def _windows(samples: Array) -> Array:
    """Return views of as many successive samples as there are taps; beyond the ends there is silence."""
    padded = np.zeros(len(samples) + 2 * TAPS, np.float32)
    padded[TAPS:-TAPS] = samples
    return np.lib.stride_tricks.sliding_window_view(padded, TAPS)


def _octaves(samples: Array) -> list[Array]:
    """Return copies at a half of the rate, a quarter and so on."""
    whole = 1 << OCTAVES
    padded = _fast_length(math.ceil((len(samples) + TAPS * whole) / whole)) * whole
    spectrum = np.fft.rfft(samples, padded)
    copies = []
    for octave in range(1, OCTAVES):
        length = padded >> octave
        bins = length // 2 + 1
        fading = np.clip((np.arange(bins) / (bins - 1) - TAPER) / (1 - TAPER), 0.0, 1.0)
        part = spectrum[:bins] * (np.cos(np.pi * fading) + 1.0) * (0.5 / (1 << octave))
        copies.append(np.fft.irfft(part, length)[: (len(samples) >> octave) + TAPS].astype(np.float32))
    return copies


def _fast_length(length: int) -> int:
    """Return the least number from ``length`` on without a prime factor beyond 5."""
    while True:
        rest = length
        for prime in (2, 3, 5):
            while rest % prime == 0:
                rest //= prime
        if rest == 1:
            return length
        length += 1
