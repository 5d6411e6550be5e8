"""Variants of loops, which steering codes learn to tell apart: off-beats that come late, or not at all."""

import numpy as np
import numpy.typing as npt

from ...metrics.groove import groove
from .features import octaves
from .network import LATEST

Array = npt.NDArray[np.float32]

THIN = 1.0  # of a step: off-beats come so late that they are left out
THINNER = 3.0  # and so are off-beat eighths
LATE = (0.0, 0.15, 0.3, THIN, THINNER)  # how late off-beats come in each variant, in steps
NEAR = 0.05  # of a step: a loop whose off-beats come as late as they should, but for this, stays as it is
ATTACK_SECONDS = 0.004  # by which a hit may begin before its place
FADE_SECONDS = 0.003  # of what is cut off
LEAST = 1e-12  # power: nothing is divided by less
FALL = 1e-2  # by which what goes on for a step falls
TILTS_DB = (-3.0, 2.0)  # an octave, between which sequences are tilted: drums have most of their spectrum on high


def retimed(sound: Array, rate: int, step: int, late: float) -> Array:
    """Return a loop [samples] whose off-beat steps come late by a share of a step.

    What was between a beat and its off-beat is cut short, or goes on as its own echo, played backwards, that falls.
    """
    if late == THINNER:
        return retimed(retimed(sound, rate, step, THIN), rate, 2 * step, THIN)
    own = min(max(float(np.nan_to_num(groove(sound, rate, step, 2).swing)), 0.0), LATEST)
    if abs(own - late) < NEAR:
        return sound
    here, there = (round(step * (1 + share)) for share in (own, late))
    early, fade = round(ATTACK_SECONDS * rate), max(1, round(FADE_SECONDS * rate))
    rolled = np.roll(sound, early)
    made = rolled.copy()
    for first in range(0, len(sound) - 2 * step + 1, 2 * step):
        pair = rolled[first : first + 2 * step]
        made[first : first + there] = _lasting(pair[:here], there, step, fade)
        made[first + there : first + 2 * step] = _lasting(pair[here:], 2 * step - there, step, fade)
    return np.roll(made, -early)


def _lasting(part: Array, length: int, step: int, fade: int) -> Array:
    """Return a part of a loop, cut or gone on with to a length; its end fades, where it is not as long."""
    if length == len(part):
        return part
    more = length - len(part)
    made = part[:length].copy() if more < 0 else np.concatenate([part, _echo(part, more, step)])
    end = min(fade, length)
    made[length - end :] *= np.linspace(1, 0, end, dtype=np.float32)
    return made


def _echo(part: Array, count: int, step: int) -> Array:
    """Return what goes on after a part: the part backwards, and forwards again, falling."""
    there_and_back = np.concatenate([part[::-1], part])
    falling = FALL ** (np.arange(count) / step)
    return np.asarray(np.resize(there_and_back, count) * falling, np.float32)


def tilted(sound: Array, rate: int, db_per_octave: float) -> Array:
    """Return a loop [samples] whose spectrum is tilted, as loud as it was."""
    gains = 10 ** (octaves(np.fft.rfftfreq(len(sound), 1 / rate)) * db_per_octave / 20)
    made = np.fft.irfft(np.fft.rfft(sound) * gains, len(sound))
    power = [float(np.mean(np.square(part, dtype=np.float64))) for part in (sound, made)]
    return np.asarray(made * np.sqrt(power[0] / max(power[1], LEAST)), np.float32)
