"""Release lengths by velocity: one curve of an instrument whose corpus has the moments of its note-offs."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from ...host.spectra import MOMENT_SECONDS, envelope_db
from ..fidelity.notes import RecordedNote, SingleNote

FALLEN_DB = 20.0  # below the level at the note-off: audible, and above the noise of most notes
FEWEST_KEYS = 3  # with a velocity and the loudest one
LEAST_DIFFERENCE = 0.1  # of a release's length: less is no difference


class Release(NamedTuple):
    single: SingleNote
    seconds: float


def release_of(note: RecordedNote, rate: int) -> Release | None:
    """Return the time in which a note falls by `FALLEN_DB` after a known release; None if it does not."""
    if note.single.clip.held_seconds is None:
        return None
    levels_db = envelope_db(note.sound[np.newaxis], rate)[0][round(note.held_seconds / MOMENT_SECONDS) :]
    fallen_steps = np.flatnonzero(levels_db < levels_db[0] - FALLEN_DB) if len(levels_db) else np.zeros(0, np.intp)
    return Release(note.single, float(fallen_steps[0]) * MOMENT_SECONDS) if len(fallen_steps) else None


def release_lengths(releases: Sequence[Release]) -> list[tuple[int, float]]:
    """Return lengths by rising velocity, 1 for the loudest one; empty if all velocities are alike, or unknown.

    A velocity's length is the median, over keys that have both, of its release's part of the loudest one's. Of several
    recordings of a key and velocity, the mean counts.
    """
    seconds_by_place: dict[tuple[int, int], list[float]] = {}
    for single, seconds in releases:
        if single.clip.velocity is not None:
            seconds_by_place.setdefault((max(1, single.clip.velocity), single.key), []).append(seconds)
    mean_seconds = {place: float(np.mean(seconds)) for place, seconds in seconds_by_place.items()}
    velocities = sorted({velocity for velocity, _ in mean_seconds})
    lengths: list[tuple[int, float]] = []
    for velocity in velocities:
        shares = [
            seconds / max(mean_seconds[velocities[-1], key], MOMENT_SECONDS)
            for (other_velocity, key), seconds in mean_seconds.items()
            if other_velocity == velocity and (velocities[-1], key) in mean_seconds
        ]
        if len(shares) >= FEWEST_KEYS:
            lengths.append((velocity, round(float(np.clip(np.median(shares), 0.01, 100.0)), 3)))
    return lengths if any(abs(length - 1) > LEAST_DIFFERENCE for _, length in lengths) else []
