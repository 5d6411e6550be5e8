"""Chooses recorded notes' ways for a key and a velocity, and blends them into one."""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from ...contract.card import Card
from ...contract.gesture import Gestures, Instrument, NoteWay

Doubles = npt.NDArray[np.float64]

# The distances at which a recorded note counts for 0.6 of one of the same key and velocity. Of six, tried on the
# very notes of docs/fidelity.md, they are one of three that differ by less than 0.2 dB of envelope.
KEY_SEMITONES, VELOCITY_STEPS = 3.0, 12.0
BLENDED = 8
QUIET_DB = -60.0  # where a release has ended


class Mix(NamedTuple):
    """One way: of several notes', each by its weight.

    ``offset`` [n_latents] from the knobs, ``levels`` [points] in dB, ``codes`` [points, directions]; ``fall`` in dB a
    second after the last level; ``held`` for how many seconds notes were recorded. ``release_levels`` [points] and
    ``release_codes`` [points, directions] are empty where notes ring out.
    """

    offset: Doubles
    levels: Doubles
    codes: Doubles
    fall: float
    held: float
    release_levels: Doubles
    release_codes: Doubles


class Ways:
    """The ways of the instrument of a file whose home is nearest to the code at which a preset's knobs rest."""

    def __init__(self, gestures: Gestures, rest: Doubles, scale: Doubles) -> None:
        """Take the instrument's notes apart into arrays.

        Args:
            gestures: of the model's file.
            rest: the preset's code, [n_latents].
            scale: what codes are multiplied by to be compared, [n_latents].
        """
        instrument = nearest_instrument(gestures, rest, scale)
        notes = instrument.notes
        directions = len(gestures.directions)
        self._keys = np.array([note.key for note in notes])
        self._velocities = np.array([float(note.velocity) for note in notes])
        self._offsets = np.array([note.code for note in notes]) - np.array(instrument.home)
        self._levels = np.array([note.levels for note in notes])
        self._codes = np.array([note.codes for note in notes]).reshape(len(notes), -1, directions)
        self._falls = np.array([note.fall_db_second for note in notes])
        self._held = np.array([note.held_seconds for note in notes])
        self._let_go = np.array([bool(note.release_levels) for note in notes])
        self._release_levels, self._release_codes = _releases(notes, gestures)

    def mix(self, pitch: float, velocity: int) -> Mix:
        """Return the way of a note: of the recorded notes that are nearest, each the less the farther it is."""
        apart = np.square((self._keys - pitch) / KEY_SEMITONES)
        apart += np.square((self._velocities - velocity) / VELOCITY_STEPS)
        near, weights = _nearest(apart)
        offset, levels = weights @ self._offsets[near], weights @ self._levels[near]
        codes = np.einsum("i,ipk->pk", weights, self._codes[near])
        fall, held = float(weights @ self._falls[near]), float(weights @ self._held[near])
        rings = weights @ (self._falls[near] > 0) > 0.5
        if rings or not self._let_go.any():
            return Mix(offset, levels, codes, fall, held, np.zeros(0), np.zeros((0, codes.shape[1])))
        near, weights = _nearest(np.where(self._let_go, apart, np.inf))  # others were cut off before they had ended
        release = np.einsum("i,ipk->pk", weights, self._release_codes[near])
        return Mix(offset, levels, codes, fall, held, weights @ self._release_levels[near], release)


def _nearest(apart: Doubles) -> tuple[npt.NDArray[np.intp], Doubles]:
    """Return the nearest notes of those whose squared distances are given, and the weight of each; they sum to 1."""
    near = np.argsort(apart, kind="stable")[:BLENDED]
    weights = np.exp((apart[near[0]] - apart[near]) / 2)
    return near, weights / weights.sum()


def nearest_instrument(gestures: Gestures, rest: Doubles, scale: Doubles) -> Instrument:
    """Return the instrument of a file whose home is nearest to a code, [n_latents]; ``scale`` as `Ways` has it."""
    return min(gestures.instruments, key=lambda one: float(np.square((np.array(one.home) - rest) * scale).sum()))


def scale_of(card: Card) -> Doubles:
    """Return what codes are multiplied by to be counted in deviations of training, [n_latents]."""
    return np.array([1.0 / latent.std if latent.std > 0 else 0.0 for latent in card.latents])


def _releases(notes: list[NoteWay], gestures: Gestures) -> tuple[Doubles, Doubles]:
    """Return the releases of notes, zeros of those that ring out: [notes, points], [notes, points, directions]."""
    grid, directions = gestures.grid, len(gestures.directions)
    levels = np.zeros((len(notes), len(grid.release_levels)))
    codes = np.zeros((len(notes), len(grid.release_codes), directions))
    for row, note in enumerate(notes):
        if note.release_levels:
            levels[row] = note.release_levels
            codes[row] = note.release_codes
    return levels, codes
