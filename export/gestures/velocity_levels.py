"""How loud recordings are by velocity: one curve of an instrument, if names or labels say the velocities."""

from collections import Counter
from collections.abc import Sequence

import numpy as np
import scipy

from ...host.arrays import Doubles, Indices
from ...host.velocity import LOUDEST, SQUARED_DB
from ..fidelity.notes import RecordedNote

LEAST_RANGE_DB = 6.0  # from the softest velocity to the loudest: less may have been levelled
FEWEST_NOTES = 3  # of a velocity: one odd note of three does not move their median far
LEAST_LABELLED = 0.75  # share of the notes: fewer labels may be chance words in file names
ROUNDS = 16  # of medians over keys and velocities in turn


def velocity_levels(notes: Sequence[RecordedNote]) -> list[tuple[int, float]]:
    """Return levels in dB by rising velocity, 0 dB at 127; empty with too few labels, or if all velocities sound alike.

    A note's level is the sum of its key's level and its velocity's level (median polish: Tukey, Exploratory Data
    Analysis, 1977); levels of velocities rise (isotonic regression). Velocities of fewer than `FEWEST_NOTES` notes are
    left out. Above the loudest velocity, the level follows the square of the velocity.
    """
    labelled = [note for note in notes if note.single.clip.velocity is not None]
    note_counts = Counter(note.single.clip.velocity for note in labelled)
    fitted = [note for note in labelled if note_counts[note.single.clip.velocity] >= FEWEST_NOTES]
    velocities, velocity_places, counts = np.unique(
        [note.single.clip.velocity for note in fitted], return_inverse=True, return_counts=True
    )
    if len(velocities) < 2 or len(labelled) < LEAST_LABELLED * len(notes):
        return []
    _, key_places = np.unique([note.single.key for note in fitted], return_inverse=True)
    residuals = np.array([note.level_db for note in fitted])
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
