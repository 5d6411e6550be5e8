"""Blends recorded notes near a key and velocity into one trajectory: code offset, gain, intonation, vibrato."""

import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from ..arrays import Array, Doubles
from ..model.gesture import RESIDUAL_DB, Gestures, NoteWay, instrument_of

Steps = npt.NDArray[np.int8]

# The key distance equal to `InstrumentNotes.velocity_steps` in velocity. Weights are Shepard's (1968, "A
# two-dimensional interpolation function for irregularly-spaced data"): at a recorded note they reproduce that note.
KEY_SEMITONES = 1.5
SAME = 1e-3  # squared distance below which notes count as equal
BLENDED = 8
AROUND_SEMITONES = 3.0  # radius for the velocity range, extended to at least `BLENDED` notes
OPENING = 16  # moments of a movement that notes have in common: its attack
SLOW = 26  # moments, 0.3 s at 44.1 kHz, of the mean that is a movement's slow course
REMEMBERED = 128  # cached trajectories and velocity ranges: enough for one per key


@dataclass(frozen=True, eq=False)
class Movement:
    bands: Steps  # while the note is held, [moments, bands], in steps of `RESIDUAL_DB`
    onset: Array  # its beginning in short windows, in dB, [moments, bands]
    vibrato: Steps  # as in `NoteWay`
    loudness: Doubles  # in dB, fading beyond the last moment

    @functools.cached_property
    def fast(self) -> Array:
        """The movement in dB without its slow course, [moments, bands]: back and forth, a decay would swell."""
        band_levels = self.bands.astype(np.float32) * np.float32(RESIDUAL_DB)
        sums = np.concatenate([np.zeros((1, band_levels.shape[1]), np.float32), band_levels.cumsum(axis=0)])
        moments = np.arange(len(band_levels))
        low, high = np.maximum(moments - SLOW // 2, 0), np.minimum(moments + SLOW // 2 + 1, len(band_levels))
        slow = (sums[high] - sums[low]) / (high - low)[:, np.newaxis].astype(np.float32)
        fast: Array = band_levels - slow + slow[-1]
        return fast


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
    release_length: float  # of the notes' velocities, as in `InstrumentNotes`
    gains: Array  # mean residual in dB, [bands]
    opening: Array  # its movement in dB after the note-on, [moments, bands]
    onset: Array  # the same in short windows
    ending: Callable[[], Array]  # the same after the note-off
    movements: tuple[Movement, ...]  # while held, of the nearest notes, nearest first
    modes: Doubles | None  # of the nearest note, as in `NoteWay`
    decoded_key: int | None  # as in `Motion.decoded_keys`
    image: Doubles | None  # as in `image_curves`; None: the model's


class TrajectoryBlender:
    def __init__(self, gestures: Gestures, rest: Doubles, scale: Doubles, label: str | None = None) -> None:
        """Arguments as in `instrument_of`."""
        instrument = instrument_of(gestures, rest, scale, label)
        notes, grid = instrument.notes, gestures.grid
        self._steps, self._transposed = instrument.velocity_steps, instrument.transposed
        self._keys = instrument.in_tune  # [notes]
        self._velocities = np.array([float(note.velocity) for note in notes])
        self._rings = np.array([note.fall_db_second > 0 and not len(note.release_levels) for note in notes])
        self._let_go = np.array([bool(len(note.release_levels)) for note in notes])
        self.release_length = instrument.release_length  # by velocity
        self._release_lengths = np.array([instrument.release_length(note.velocity) for note in notes])
        count, directions = len(notes), np.array(gestures.directions)
        self.codes = np.array([note.code for note in notes])  # [notes, n_latents]
        self.takes = RESIDUAL_DB * instrument.takes.reshape(-1, 1 + len(gestures.bands_hz)).astype(np.float32)
        deviations = np.array([note.key for note in notes]) - np.rint(self._keys)
        ends = np.array([(note.fall_db_second, note.held_seconds) for note in notes])
        ends = np.column_stack([ends, deviations])
        offsets = self.codes - np.array(instrument.home)
        levels = np.array([note.levels for note in notes])
        codes = np.array([note.codes for note in notes]) @ directions
        release_levels, release_codes = _releases(notes, gestures)
        bands = len(gestures.bands_hz)
        nothing = np.zeros((1, bands), np.int8)
        residuals = [note.residual.reshape(-1, bands) if len(note.residual) else nothing for note in notes]
        onsets = [note.onset.reshape(-1, max(bands, 1)) for note in notes]
        means = np.array([movement_steps[0] for movement_steps in residuals]) * RESIDUAL_DB
        self._movements = [
            Movement(movement_steps[1:], np.float32(RESIDUAL_DB) * onset, note.vibrato, _fading(note.loudness))
            for movement_steps, onset, note in zip(residuals, onsets, notes, strict=True)
        ]
        is_stereo = all(len(note.image) for note in notes)
        self._images = [note.stereo_image for note in notes] if is_stereo else []  # engines keep each one's curves
        self._usual_image: Doubles | None = np.median(self._images, axis=0) if is_stereo else None
        self._modes = [note.modes if len(note.modes) else None for note in notes]
        self._openings = _of_one_length([movement_steps.bands[:OPENING] for movement_steps in self._movements], bands)
        self._onsets = _of_one_length(onsets, bands)
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
        clamped_velocity = min(max(float(velocity), softest), loudest)
        blend = self._mixes.get((pitch, clamped_velocity))
        if blend is None:
            _drop_first(self._mixes)
            blend = self._mixes[pitch, clamped_velocity] = self._mix(pitch, clamped_velocity)
        return blend

    def _range(self, pitch: float) -> tuple[float, float]:
        velocity_range = self._ranges.get(pitch)
        if velocity_range is None:
            distances = np.abs(self._keys - pitch)
            near_velocities = self._velocities[distances <= max(AROUND_SEMITONES, np.sort(distances)[:BLENDED][-1])]
            _drop_first(self._ranges)
            velocity_range = self._ranges[pitch] = float(near_velocities.min()), float(near_velocities.max())
        return velocity_range

    def _mix(self, pitch: float, velocity: float) -> BlendedTrajectory:
        keys = np.rint(self._keys)
        decoded = int(keys[np.abs(keys - pitch).argmin()]) if self._transposed else None
        key_offsets = self._keys - (pitch if decoded is None else decoded)
        distances = np.square(key_offsets / KEY_SEMITONES) + np.square((self._velocities - velocity) / self._steps)
        notes, weights = nearest(distances if decoded is None else np.where(keys == decoded, distances, np.inf))
        row, n = weights @ self._held[notes], self._latents
        fall, length, deviation = row[:3].tolist()
        codes = 3 + n + self._levels  # first code of a row
        end = len(row) - self._bands
        held_parts = row[3 : 3 + n], row[3 + n : codes], row[codes:end].reshape(-1, n), fall, length, deviation
        gains, opening = row[end:].astype(np.float32), _mean(self._openings, notes, weights)
        onset = _mean(self._onsets, notes, weights)
        movements = tuple(self._movements[place] for place in notes[weights > 0].tolist())
        modes, image = self._modes[notes[0]], self._image(pitch, distances)
        if weights @ self._rings[notes] > 0.5 or not self._let_go.any():
            release_parts = np.zeros(0), np.zeros((0, n)), 1.0
        else:
            if not self._let_go[notes[weights > 0]].all():
                distances[~self._let_go] = np.inf  # exclude notes recorded without a release
                notes, weights = nearest(distances)
            row, codes = weights @ self._releases[notes], self._release_levels
            release_length = float(weights @ self._release_lengths[notes])
            release_parts = row[:codes], row[codes:].reshape(-1, n), release_length
        ending = functools.cache(functools.partial(_mean, self._endings, notes, weights))
        parts = *held_parts, *release_parts, gains, opening, onset, ending, movements
        return BlendedTrajectory(*parts, modes, decoded, image)

    def _image(self, pitch: float, distances: Doubles) -> Doubles | None:
        """Image of a key's own nearest note, else the median of all; None if recordings have none."""
        is_own = np.abs(self._keys - pitch) < 0.5
        if not self._images or not is_own.any():
            return self._usual_image
        return self._images[int(np.where(is_own, distances, np.inf).argmin())]


def _fading(steps: Steps) -> Doubles:
    moves = RESIDUAL_DB * steps.astype(np.float64)
    fade = np.linspace(1, 0, OPENING + 1)[1:]
    return np.concatenate([moves, moves[-1] * fade]) if len(moves) else moves


def _of_one_length(movements: Sequence[Steps], bands: int) -> Steps:
    """Short ones keep their last moment, empty ones are 0."""
    result = np.zeros((len(movements), max(map(len, movements)), bands), np.int8)
    for row, movement in zip(result, movements, strict=True):
        if len(movement):
            row[: len(movement)], row[len(movement) :] = movement, movement[-1]
    return result


def _mean(steps: Steps, notes: npt.NDArray[np.intp], weights: Doubles) -> Array:
    rows = steps[notes].reshape(len(notes), -1).astype(np.float32)
    return ((weights * RESIDUAL_DB).astype(np.float32) @ rows).reshape(steps.shape[1:])


def _drop_first(cache: dict[Any, Any]) -> None:
    if len(cache) >= REMEMBERED:
        del cache[next(iter(cache))]


def nearest(squared_distances: Doubles) -> tuple[npt.NDArray[np.intp], Doubles]:
    """Nearest notes, [..., 8 at most], for squared distances, [..., notes], and weights that sum to 1."""
    notes = squared_distances.argsort(axis=-1, kind="stable")[..., :BLENDED]
    weights: Doubles = 1.0 / (np.take_along_axis(squared_distances, notes, axis=-1) + SAME)
    return notes, weights / weights.sum(axis=-1, keepdims=True)


def _releases(notes: list[NoteWay], gestures: Gestures) -> tuple[Doubles, Doubles]:
    grid, directions = gestures.grid, len(gestures.directions)
    levels = np.zeros((len(notes), len(grid.release_levels)))
    codes = np.zeros((len(notes), len(grid.release_codes), directions))
    for row, note in enumerate(notes):
        if len(note.release_levels):
            levels[row] = note.release_levels
            codes[row] = note.release_codes
    return levels, codes
