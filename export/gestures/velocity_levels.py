"""How loud recordings are by velocity: one curve of an instrument, if names or labels say the velocities."""

from collections.abc import Sequence

import numpy as np
import scipy

from ...host.arrays import Doubles, Indices
from ...host.velocity import LOUDEST, SQUARED_DB
from ..fidelity.notes import RecordedNote

LEAST_RANGE_DB = 6.0  # from the softest velocity to the loudest: less may have been levelled
FEWEST_NOTES = 3  # of a velocity
ROUNDS = 16  # of medians over keys and velocities in turn


def velocity_levels(notes: Sequence[RecordedNote]) -> list[tuple[int, float]]:
    """Return levels in dB by rising velocity, 0 dB at 127; empty without labels, or if velocities are equally loud.

    A note's level is the sum of one of its key and one of its velocity (median polish: Tukey, Exploratory Data
    Analysis, 1977); those of velocities rise (isotonic regression). Above the loudest, the square of the velocity
    counts.
    """
    labelled = [note for note in notes if note.single.clip.velocity is not None]
    velocities, velocity_places = np.unique([note.single.clip.velocity for note in labelled], return_inverse=True)
    _, key_places = np.unique([note.single.key for note in labelled], return_inverse=True)
    counts = np.bincount(velocity_places, minlength=len(velocities))
    if len(velocities) < 2 or len(labelled) < len(notes) or counts.min() < FEWEST_NOTES:
        return []
    residuals = np.array([note.level_db for note in labelled])
    levels_db = np.zeros(len(velocities))
    for _ in range(ROUNDS):
        residuals -= _medians(residuals, key_places)[key_places]
        steps_db = _medians(residuals, velocity_places)
        residuals -= steps_db[velocity_places]
        levels_db += steps_db
    levels_db = scipy.optimize.isotonic_regression(levels_db, weights=counts).x
    if levels_db[-1] - levels_db[0] < LEAST_RANGE_DB:
        return []
    levels_db += SQUARED_DB * np.log10(velocities[-1] / LOUDEST) - levels_db[-1]
    pairs = list(zip(np.maximum(velocities, 1).tolist(), np.round(levels_db, 1).tolist(), strict=True))
    return pairs if pairs[-1][0] == LOUDEST else [*pairs, (LOUDEST, 0.0)]


def _medians(values: Doubles, places: Indices) -> Doubles:
    return np.array([np.median(values[places == place]) for place in range(places.max() + 1)])
