"""Modes of recorded notes: partials that decay, at frequencies of their own.

A long spectrum gives their frequencies, and with the free partials of short frames the share of a band's noise that is
theirs: noise has peaks too, but low ones, and none that stays.
"""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from ...host.arrays import Array, Doubles, Indices
from ...host.contract.card import Card
from ...host.contract.modes import NO_MODES, band_energy
from ...host.contract.partials import in_bins, orders
from ...train.families.partials.batches import split_frames
from ..fidelity.measures import RINGING_DB_SECOND, course, fall_db_second
from ..fidelity.notes import RecordedNote, tuned
from ..fidelity.spectral_peaks import SpectralPeaks, spectral_peaks
from ..fidelity.stored_partials import frames_of

MOST = 40  # modes of a note
STRUCK = 0.2  # of a held note: a struck one is loudest before
LOBE, SAME = 2.5, 1.0  # bins of a frame: a peak so near to a harmonic is heard as that, and as that alone
BESIDE = 1.5  # bins of a frame on either side of a mode that hold its energy
NEAR = 0.15  # of the fundamental, from a harmonic
APART = 2.0  # bins of a frame between a mode and its free partials
STEADY = 0.2  # least share of a band's noise for a mode without a harmonic
IN_TUNE_CENTS = 0.5  # a harmonic so near to its place stays
FREE_CENTS = 20.0  # from the nearest harmonic
FRAMES = 32  # short frames of a note


class NoteModes(NamedTuple):
    """A note's modes.

    Attributes:
        modes: as in `NoteWay`, [modes, 3].
        free: share of its partials' power that is far off harmonics.
        struck: whether it is loudest in its first fifth, and fades.
    """

    modes: Doubles = NO_MODES
    free: float = 0.0
    struck: bool = False


def modes_of(note: RecordedNote, card: Card) -> NoteModes:
    """Return the modes of a note at the card's rate; none unless it is struck."""
    layout, rate = card.partials, card.sample_rate
    sound, key = tuned(note, rate).sound[: round(note.held_seconds * rate)], np.array([note.single.key])
    if layout is None or frames_of(card) is None or len(sound) < card.frame_length:
        return NoteModes()
    heard = course(sound, rate)
    if fall_db_second(heard, rate) < RINGING_DB_SECOND or heard.levels.argmax() > STRUCK * len(heard.levels):
        return NoteModes()
    peaks = spectral_peaks(sound, rate)
    places = peaks.hertz * card.frame_length / rate
    first, comb = in_bins(key, card)[0], (in_bins(key, card) * orders(layout, key))[0]
    harmonics = _harmonics(places, peaks.clear, comb)
    own = comb[np.maximum(harmonics, 1) - 1]
    free_shares, shares = _free_shares(sound, key[0], places, card), _shares(peaks, places, own[harmonics > 0], card)
    shares = np.maximum(free_shares, shares)
    shares[(shares < STEADY) | ((harmonics > 0) & (np.abs(places - own) < SAME))] = 0.0
    mistuned = np.abs(1200 * np.log2(places / own)) >= IN_TUNE_CENTS
    kept = np.flatnonzero((shares > 0) | ((harmonics > 0) & mistuned))[:MOST]
    nearest = comb[np.abs(comb - places[:, np.newaxis]).argmin(1)]
    free, power = np.abs(1200 * np.log2(places / nearest)) > FREE_CENTS, 10 ** (peaks.levels / 10)
    modes = np.stack([places[kept] / first, harmonics[kept], shares[kept]], axis=1)
    return NoteModes(modes, float(power[free].sum() / power.sum()), struck=True)


def _harmonics(places: Doubles, clear: npt.NDArray[np.bool_], comb: Doubles) -> Indices:
    """Return the harmonic, counted from 1, that each peak is decoded as, or 0, [peaks]; ``comb`` in bins.

    A peak in a harmonic's lobe comes first. The next one is that harmonic at lower keys, where lobes are wider.
    """
    found = np.zeros(len(places), np.intp)
    away = np.abs(comb - places[:, np.newaxis])
    nearest = away.argmin(1)
    for reach in (LOBE, max(LOBE, NEAR * comb[0])):
        for peak in np.flatnonzero(clear & (found == 0) & (away.min(1) <= reach)).tolist():
            if nearest[peak] + 1 not in found:
                found[peak] = nearest[peak] + 1
    return found


def _free_shares(sound: Array, key: int, peaks: Doubles, card: Card) -> Doubles:
    """Return the share of free partials at each peak in the noise of its band, [peaks]."""
    frames = frames_of(card)
    assert frames is not None
    begin = min(int(np.abs(sound).argmax()), len(sound) - card.frame_length)
    pieces = np.lib.stride_tricks.sliding_window_view(sound[begin:], card.frame_length)[:: card.hop_length][:FRAMES]
    apart, layout, levels = split_frames(pieces, np.full(len(pieces), float(key)), frames)
    weights = np.square(pieces.std(axis=1, dtype=np.float64))[:, np.newaxis]
    places, strengths = layout.free(apart)
    power = np.square(strengths, dtype=np.float64) * weights
    noise = (10 ** (levels[:, layout.harmonics :] / 10) * weights).sum(0) * band_energy(card)
    owner = np.abs(places[:, :, np.newaxis] - peaks).argmin(2)
    near = np.abs(places - peaks[owner]) <= APART
    energy = np.bincount(owner[near], power[near], len(peaks))
    shares: Doubles = np.minimum(energy / np.maximum(noise[_bands(peaks, card)], 1e-20), 1.0)
    return shares


def _shares(peaks: SpectralPeaks, places: Doubles, harmonics: Doubles, card: Card) -> Doubles:
    """Return the share of clear peaks in the long spectrum of their bands, without ``harmonics``, [peaks]."""
    bins = np.arange(len(peaks.power)) * peaks.bin_hz * card.frame_length / card.sample_rate
    noise = peaks.power.copy()
    for place in harmonics:
        noise[np.abs(bins - place) <= LOBE] = 0.0
    bands = _bands(bins, card)
    whole = np.bincount(bands, noise, bands.max() + 1)[_bands(places, card)]
    energy = np.array([noise[np.abs(bins - place) <= BESIDE].sum() for place in places])
    shares: Doubles = np.where(peaks.clear, np.minimum(energy / np.maximum(whole, 1e-20), 1.0), 0.0)
    return shares


def _bands(places: Doubles, card: Card) -> Indices:
    assert card.partials is not None
    bands = np.searchsorted(card.partials.edges_hz, places * card.sample_rate / card.frame_length, side="right") - 1
    return np.clip(bands, 0, card.partials.bands - 1)
