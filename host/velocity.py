"""Levels of notes by velocity."""

import itertools
import math
from collections.abc import Sequence
from typing import Annotated

import numpy as np
from pydantic import AfterValidator, Field, Strict

from .settings import AS_WHOLE
from .units import db_to_gain

LOUDEST = 127
SQUARED_DB = 40.0  # per factor of ten in velocity: the level is its square

VelocityLevel = Annotated[
    tuple[Annotated[int, Field(ge=1, le=LOUDEST), *AS_WHOLE], Annotated[float, Field(ge=-60, le=12)]], Strict(False)
]


def _rising(pairs: list[VelocityLevel]) -> list[VelocityLevel]:
    for (velocity, level_db), (next_velocity, next_level_db) in itertools.pairwise(pairs):
        if next_velocity <= velocity or next_level_db < level_db:
            raise ValueError("velocities must rise from pair to pair, and levels must not fall")
    return pairs


VelocityLevels = Annotated[list[VelocityLevel], Field(max_length=LOUDEST), AfterValidator(_rising)]


def velocity_gain(velocity: int, levels: Sequence[VelocityLevel], curve: float) -> float:
    """Return the gain of a velocity, 1 to 127: ``(velocity / 127) ** (2 * curve)``, or by ``levels`` if there are any.

    ``levels`` are pairs of velocity and dB, joined by lines. Below the first, the square of the velocity counts; above
    the last, the level stays.
    """
    if not levels:
        gain: float = (velocity / LOUDEST) ** (2 * curve)
        return gain
    velocities, levels_db = zip(*levels, strict=True)
    below_db = SQUARED_DB * math.log10(min(velocity / velocities[0], 1.0))
    return db_to_gain(float(np.interp(velocity, velocities, levels_db)) + below_db)
