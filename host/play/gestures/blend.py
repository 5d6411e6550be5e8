"""Blends trajectories of recorded notes near a key and velocity."""

import functools
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from ...arrays import Array, Doubles
from ...contract.gesture import RESIDUAL_DB, Gestures, NoteWay, instrument_of

Steps = npt.NDArray[np.int8]

# The key distance equal to `InstrumentNotes.velocity_steps` in velocity. Weights are Shepard's (1968, "A
# two-dimensional interpolation function for irregularly-spaced data"): at a recorded note they reproduce that note.
KEY_SEMITONES = 1.5
SAME = 1e-3  # squared distance below which notes count as equal
BLENDED = 8
AROUND_SEMITONES = 3.0  # radius for the velocity range, extended to at least `BLENDED` notes
QUIET_DB = -60.0  # end of a release
OPENING = 16  # moments of a movement that notes have in common: its attack
REMEMBERED = 128  # cached trajectories and velocity ranges: enough for one per key


class Movement(NamedTuple):
    bands: Steps  # while the note is held, [moments, bands], in steps of `RESIDUAL_DB`
    vibrato: Steps  # as in `NoteWay`
    loudness: Doubles  # in dB, fading beyond the last moment


class BlendedTrajectory(NamedTuple):
    """Weighted mean of trajectories; ``movements`` are not mixed, since a mean of random ones would hardly move."""

    offset: Doubles  # to the knobs, [n_latents]
    levels: Doubles  # dB, [points]
    codes: Doubles  # to ``offset``, [points, n_latents]
    fall: float  # dB a second, after the last level
    held: float  # recorded length in seconds
    off: float  # semitones from the key
    release_levels: Doubles  # [points]; empty if the notes ring out, as ``release_codes``
    release_codes: Doubles  # [points, n_latents]
    gains: Array  # mean residual in dB, [bands]
    opening: Array  # its movement in dB after the note-on, [moments, bands]
    ending: Callable[[], Array]  # the same after the note-off
    movements: tuple[Movement, ...]  # while held, of the nearest notes, nearest first
    modes: Doubles | None  # of the nearest note, as in `NoteWay`
    decoded_key: int | None  # as in `Motion.decoded_keys`


class TrajectoryBlender:
    def __init__(self, gestures: Gestures, rest: Doubles, scale: Doubles, label: str | None = None) -> None:
        """Arguments as in `instrument_of`."""
        instrument = instrument_of(gestures, rest, scale, label)
        notes, grid = instrument.notes, gestures.grid
        self._steps, self._transposed = instrument.velocity_steps, instrument.transposed
        self._keys = np.array([note.key for note in notes])
        self._velocities = np.array([float(note.velocity) for note in notes])
        self._rings = np.array([note.fall_db_second > 0 and not len(note.release_levels) for note in notes])
        self._let_go = np.array([bool(len(note.release_levels)) for note in notes])
        count, directions = len(notes), np.array(gestures.directions)
        self.codes = np.array([note.code for note in notes])  # [notes, n_latents]
        self.takes = RESIDUAL_DB * instrument.takes.reshape(-1, 1 + len(gestures.bands_hz)).astype(np.float32)
        ends = np.array([(note.fall_db_second, note.held_seconds, note.key - round(note.key)) for note in notes])
        offsets = self.codes - np.array(instrument.home)
        levels = np.array([note.levels for note in notes])
        codes = np.array([note.codes for note in notes]) @ directions
        release_levels, release_codes = _releases(notes, gestures)
        bands = len(gestures.bands_hz)
        nothing = np.zeros((1, bands), np.int8)
        residuals = [note.residual.reshape(-1, bands) if len(note.residual) else nothing for note in notes]
        means = np.array([one[0] for one in residuals]) * RESIDUAL_DB
        self._movements = [
            Movement(one[1:], note.vibrato, _fading(note.loudness)) for one, note in zip(residuals, notes, strict=True)
        ]
        self._modes = [note.modes if len(note.modes) else None for note in notes]
        self._openings = _of_one_length([one.bands[:OPENING] for one in self._movements], bands)
        self._endings = _of_one_length([note.release_residual.reshape(-1, max(bands, 1)) for note in notes], bands)
        # One row per note, so that an onset blends all with one product: a block may have many onsets.
        self._held = np.concatenate([ends, offsets, levels, codes.reshape(count, -1), means], axis=1)
        self._releases = np.concatenate([release_levels, (release_codes @ directions).reshape(count, -1)], axis=1)
        self._latents, self._levels, self._release_levels, self._bands = (
            directions.shape[1],
            len(grid.levels),
            len(grid.release_levels),
            bands,
        )
        self._mixes: dict[tuple[float, float], BlendedTrajectory] = {}  # by pitch and velocity
        self._ranges: dict[float, tuple[float, float]] = {}  # of velocities, by pitch

    def mix(self, pitch: float, velocity: int) -> BlendedTrajectory:
        """Blend the nearest recorded notes.

        The velocity is clamped to nearby keys' velocities: louder distant keys have another timbre.
        """
        softest, loudest = self._range(pitch)
        asked = min(max(float(velocity), softest), loudest)
        known = self._mixes.get((pitch, asked))
        if known is None:
            _drop_first(self._mixes)
            known = self._mixes[pitch, asked] = self._mix(pitch, asked)
        return known

    def _range(self, pitch: float) -> tuple[float, float]:
        known = self._ranges.get(pitch)
        if known is None:
            away = np.abs(self._keys - pitch)
            around = self._velocities[away <= max(AROUND_SEMITONES, np.sort(away)[:BLENDED][-1])]
            _drop_first(self._ranges)
            known = self._ranges[pitch] = float(around.min()), float(around.max())
        return known

    def _mix(self, pitch: float, asked: float) -> BlendedTrajectory:
        keys = np.rint(self._keys)
        decoded = int(keys[np.abs(keys - pitch).argmin()]) if self._transposed else None
        away = self._keys - (pitch if decoded is None else decoded)
        apart = np.square(away / KEY_SEMITONES) + np.square((self._velocities - asked) / self._steps)
        near, weights = nearest(apart if decoded is None else np.where(keys == decoded, apart, np.inf))
        row, n = weights @ self._held[near], self._latents
        fall, length, off = row[:3].tolist()
        codes = 3 + n + self._levels  # first code of a row
        end = len(row) - self._bands
        held = row[3 : 3 + n], row[3 + n : codes], row[codes:end].reshape(-1, n), fall, length, off
        gains, opening = row[end:].astype(np.float32), _mean(self._openings, near, weights)
        movements = tuple(self._movements[place] for place in near[weights > 0].tolist())
        modes = self._modes[near[0]]
        if weights @ self._rings[near] > 0.5 or not self._let_go.any():
            released = np.zeros(0), np.zeros((0, n))
        else:
            if not self._let_go[near[weights > 0]].all():
                apart[~self._let_go] = np.inf  # exclude notes recorded without a release
                near, weights = nearest(apart)
            row, codes = weights @ self._releases[near], self._release_levels
            released = row[:codes], row[codes:].reshape(-1, n)
        ending = functools.partial(_mean, self._endings, near, weights)
        return BlendedTrajectory(*held, *released, gains, opening, ending, movements, modes, decoded)


def _fading(steps: Steps) -> Doubles:
    moves = RESIDUAL_DB * steps.astype(np.float64)
    left = np.linspace(1, 0, OPENING + 1)[1:]
    return np.concatenate([moves, moves[-1] * left]) if len(moves) else moves


def _of_one_length(movements: Sequence[Steps], bands: int) -> Steps:
    """Short ones keep their last moment, empty ones are 0."""
    result = np.zeros((len(movements), max(map(len, movements)), bands), np.int8)
    for row, one in zip(result, movements, strict=True):
        if len(one):
            row[: len(one)], row[len(one) :] = one, one[-1]
    return result


def _mean(steps: Steps, near: npt.NDArray[np.intp], weights: Doubles) -> Array:
    rows = steps[near].reshape(len(near), -1).astype(np.float32)
    return ((weights * RESIDUAL_DB).astype(np.float32) @ rows).reshape(steps.shape[1:])


def _drop_first(known: dict[Any, Any]) -> None:
    if len(known) >= REMEMBERED:
        del known[next(iter(known))]


def nearest(apart: Doubles) -> tuple[npt.NDArray[np.intp], Doubles]:
    """Nearest notes, [..., 8 at most], for squared distances, [..., notes], and weights that sum to 1."""
    near = apart.argsort(axis=-1, kind="stable")[..., :BLENDED]
    weights: Doubles = 1.0 / (np.take_along_axis(apart, near, axis=-1) + SAME)
    return near, weights / weights.sum(axis=-1, keepdims=True)


def _releases(notes: list[NoteWay], gestures: Gestures) -> tuple[Doubles, Doubles]:
    grid, directions = gestures.grid, len(gestures.directions)
    levels = np.zeros((len(notes), len(grid.release_levels)))
    codes = np.zeros((len(notes), len(grid.release_codes), directions))
    for row, note in enumerate(notes):
        if len(note.release_levels):
            levels[row] = note.release_levels
            codes[row] = note.release_codes
    return levels, codes
