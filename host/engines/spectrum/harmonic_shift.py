"""Moves harmonics of decoded frames, and places decoded partials, at a processed sound's pitches.

A model covers one octave. In others, each harmonic reads its strength at its own frequency in the decoded frame:
formants stay. Above the model's octave it sums all decoded harmonics around it; below, it interpolates two.
"""

import functools

import numpy as np

from ...arrays import Array, Doubles, Indices
from ...model.card import Card
from ...model.partials import HANN_ENERGY, in_bins, orders, spectra
from ...units import A4_HZ
from .partial_analysis import sharpened

FEWEST = 64  # minimum samples of a lowered frame: fewer carry only a level
LOBE = 2  # bins on either side of a Hann lobe's center
STEPS = 512  # table entries of the lobe per bin: exact to a thousandth of its height


class HarmonicShift:
    """For models with chroma and a Hann window."""

    def __init__(self, card: Card) -> None:
        assert card.chroma is not None
        self._octave = card.chroma.octave
        self._rate = card.sample_rate
        self._bins_of_a_hz = card.frame_length / card.sample_rate
        self._bins = np.arange(card.frame_length // 2 + 1)

    def apply(self, frames: Array, pitches: Doubles, moved: Indices | None = None) -> tuple[Array, Doubles]:
        """Shift frames, decoded for the keys nearest to ``pitches``, to these pitches.

        Args:
            frames: magnitudes, [rows, bins].
            pitches: fractional MIDI notes, [rows]; NaN: unchanged.
            moved: octaves that frames were lowered before encoding, [rows]. None: 0.

        Returns:
            Frames of maximum 1, unchanged if empty at the read positions, and bins' distance in bins to their harmonic
                or NaN, [rows, bins] both.
        """
        result: Array = frames.copy()
        down = np.zeros(len(frames), np.intp) if moved is None else moved
        places = np.full(frames.shape, np.nan)
        rows = np.flatnonzero(np.isfinite(pitches))
        if len(rows):
            made, away = self._at_pitches(frames[rows], pitches[rows, np.newaxis], down[rows, np.newaxis])
            largest = made.max(axis=1)
            there = np.flatnonzero(largest > 0)
            result[rows[there]] = made[there] / largest[there, np.newaxis]
            places[rows[there]] = np.where(np.abs(away) < LOBE, -away, np.nan)[there]
        return result, places

    def _at_pitches(self, frames: Array, pitches: Doubles, moved: Indices) -> tuple[Doubles, Doubles]:
        keys = np.floor(pitches + 0.5)
        octaves = keys // 12 - 1 - self._octave
        # A sound between two keys decodes roughly between them, so the decoded peaks refine the pitch.
        heard = sharpened((keys - 12 * octaves)[:, 0], frames, self._rate)
        decoded = self._fundamental(heard[:, np.newaxis])
        octaves = octaves - moved
        sounding = self._fundamental(pitches)
        nearest = np.maximum(np.rint(self._bins / sounding), 1)
        away = self._bins - nearest * sounding  # bins from the nearest harmonic
        order = nearest * np.exp2(octaves)
        below = np.maximum(np.floor(order), 1)
        share = np.clip(order - below, 0.0, 1.0)  # an octave down, every other harmonic lies between two decoded ones
        # The lobe is added below; the spectrum beside it, up to half-way to the next, is read here.
        beside = np.where(away < 0, -1, 1) * np.clip(np.abs(away), LOBE + 1, np.maximum(decoded / 2, LOBE + 1))
        rest = _magnitudes_at(frames, below * decoded + beside)
        if share.any():
            rest += share * (_magnitudes_at(frames, (below + 1) * decoded + beside) - rest)
        power = _powers(frames, decoded)
        strength = np.where(octaves > 0, _gathered(power, nearest, octaves), _between(np.sqrt(power), below, share))
        made: Doubles = np.sqrt(np.square(rest) + np.square(strength * lobe(away)))
        return made, away

    def _fundamental(self, notes: Doubles) -> Doubles:
        bins: Doubles = A4_HZ * np.exp2((notes - 69) / 12) * self._bins_of_a_hz
        return bins


def octaves_above(pitches: Doubles, card: Card) -> Indices:
    """Octaves to lower frames by before encoding, [rows], for models that fold sounds into one octave.

    ``pitches``: fractional MIDI notes; NaN returns 0.
    """
    assert card.chroma is not None
    most = max(0, int(np.log2(card.frame_length / FEWEST)))
    octaves = np.floor((np.nan_to_num(pitches, nan=-1e3) + 0.5) / 12) - 1 - card.chroma.octave
    found: Indices = np.clip(octaves, 0, most if card.chroma.folded else 0).astype(np.intp)
    return found


def moved_down(frames: Array, octaves: Indices) -> Array:
    """Transpose frames, [rows, frame_length], down by octaves.

    Interpolates the spectrum of each frame's middle; wrap-around falls where windows are 0.
    """
    result: Array = frames.copy()
    length = frames.shape[1]
    for down in sorted(set(octaves.tolist()) - {0}):
        rows = np.flatnonzero(octaves == down)
        part = length >> down
        first = (length - part) // 2
        spectra = np.fft.rfft(frames[rows, first : first + part])
        result[rows] = np.fft.irfft(spectra, length) * (length / part)
    return result


def _powers(frames: Array, fundamentals: Doubles) -> Doubles:
    """Less the level beside them, [rows, 1 + harmonics + 1]; 0 at both ends."""
    count = max(1, int(frames.shape[1] / fundamentals.min()))
    centres = np.rint(np.arange(1, count + 1) * fundamentals)[:, :, np.newaxis]
    around: Doubles = centres + np.arange(-LOBE - 1.0, LOBE + 2)
    power = np.square(_magnitudes_at(frames, around.reshape(len(frames), -1))).reshape(around.shape)
    inside, outside = power[:, :, 1:-1], (power[:, :, 0] + power[:, :, -1]) / 2
    energy = inside.sum(axis=2) - inside.shape[2] * outside
    nothing = np.zeros((len(frames), 1))
    powers: Doubles = np.concatenate([nothing, np.maximum(energy, 0.0) / HANN_ENERGY, nothing], axis=1)
    return powers


def _gathered(powers: Doubles, nearest: Doubles, octaves: Doubles) -> Doubles:
    sums, row = np.cumsum(powers, axis=1), np.arange(len(powers))[:, np.newaxis]
    ends = np.minimum(np.floor((nearest + 0.5) * np.exp2(octaves)), powers.shape[1] - 1).astype(np.intp)
    starts = np.where(nearest > 1, np.floor((nearest - 0.5) * np.exp2(octaves)), 0)
    starts = np.minimum(starts, powers.shape[1] - 1).astype(np.intp)
    strengths: Doubles = np.sqrt(sums[row, ends] - sums[row, starts])
    return strengths


def _between(strengths: Doubles, below: Doubles, share: Doubles) -> Doubles:
    row, last = np.arange(len(strengths))[:, np.newaxis], strengths.shape[1] - 1
    low, high = (np.minimum(below + step, last).astype(np.intp) for step in (0, 1))
    given: Doubles = (1 - share) * strengths[row, low] + share * strengths[row, high]
    return given


@functools.cache
def _lobes() -> Doubles:
    away = np.arange(-LOBE * STEPS, LOBE * STEPS + 1) / STEPS
    shape: Doubles = np.sinc(away) + (np.sinc(away - 1) + np.sinc(away + 1)) / 2
    shape[[0, -1]] = 0
    return shape


def lobe(away: Doubles) -> Doubles:
    lobes = _lobes()
    shape: Doubles = lobes.take(np.rint((away + LOBE) * STEPS).astype(np.intp), mode="clip")
    return shape


def _magnitudes_at(frames: Array, places: Doubles) -> Doubles:
    last = frames.shape[1] - 1
    low = np.clip(np.floor(places), 0, last - 1).astype(np.intp)
    row = np.arange(len(frames))[:, np.newaxis]
    first, second = frames[row, low], frames[row, low + 1]
    between: Doubles = np.where(places <= last, first + (places - low) * (second - first), 0.0)
    return np.maximum(between, 0.0)


PARTIAL_LOBE = 2.0  # bins, half the width of a harmonic's lobe


class PartialSpectra:
    def __init__(self, card: Card) -> None:
        assert card.partials is not None
        self._card, self._layout = card, card.partials
        self._last = middle_of(card)

    def filled_pitches(self, pitches: Doubles) -> Doubles:
        """Pitches, [rows], `filled` from the last call's on."""
        found = filled(pitches, self._last)
        if len(found):
            self._last = float(found[-1])
        return found

    def apply(self, frames: Array, pitches: Doubles, told: Doubles) -> tuple[Array, Doubles]:
        """Magnitudes of energy 1, and bins' distance to their harmonic in bins or NaN, [rows, bins] both.

        Args:
            frames: [rows, frame_width].
            pitches: fractional MIDI notes, [rows]; NaN spreads the partials' power evenly between them.
            told: pitches used for decoding, [rows]; never NaN.
        """
        partials = frames.copy()
        unpitched = np.flatnonzero(np.isnan(pitches))
        partials[unpitched, : self._layout.harmonics] = 0.0
        power = np.square(spectra(self._card, partials, told), dtype=np.float64)
        places = in_bins(told, self._card)[:, np.newaxis] * orders(self._layout, told)
        bins = np.arange(power.shape[1], dtype=np.float64)
        away = np.full(power.shape, np.nan)
        for row in range(len(frames)):
            at = places[row]
            if np.isnan(pitches[row]):
                density = HANN_ENERGY * np.square(frames[row, : len(at)], dtype=np.float64) / at[0]
                power[row] += np.interp(bins, at, density, left=0.0, right=0.0)
            else:
                nearest = at[np.clip(np.rint(bins / at[0]).astype(np.intp), 1, len(at)) - 1] - bins
                away[row] = np.where(np.abs(nearest) < PARTIAL_LOBE, nearest, np.nan)
        power /= np.maximum(power.sum(1, keepdims=True), np.finfo(np.float64).tiny)
        given: Array = np.sqrt(power).astype(np.float32)
        return given, away


def middle_of(card: Card) -> float:
    """Middle pitch, a fractional MIDI note."""
    assert card.partials is not None
    return (card.partials.low + card.partials.high) / 2


def filled(pitches: Doubles, before: float) -> Doubles:
    """Replace NaN in pitches, [rows], by the last known one, first ``before``."""
    known = np.where(np.isnan(pitches), 0, np.arange(1, len(pitches) + 1))
    found: Doubles = np.concatenate([[before], pitches])[np.maximum.accumulate(known)] if len(pitches) else pitches
    return found
