"""Loop variants for steering codes: off-beats delayed or removed, spectra tilted."""

import numpy as np

from ....host.arrays import Array
from ...metrics.groove import groove
from .features import octaves
from .network import LATEST

THIN = 1.0  # of a step: a full step's delay removes the off-beats
THINNER = 3.0  # removes the off-beat eighths too
LATE = (0.0, 0.15, 0.3, THIN, THINNER)  # off-beat delay of each variant, in steps
NEAR = 0.05  # of a step: loops within this tolerance of the wanted delay stay unchanged
ATTACK_SECONDS = 0.004  # a hit may begin this much before its grid position
FADE_SECONDS = 0.003  # fade-out at a cut
LEAST = 1e-12  # smallest divisor of powers
FALL = 1e-2  # decay of an extension over one step
TILTS_DB = (-3.0, 2.0)  # an octave, range of tilts: drums have most of their energy at high frequencies


def retimed(sound: Array, rate: int, step: int, late: float) -> Array:
    """Set the delay of off-beats in steps, [samples].

    Beats and off-beats are cut, or extended by their decaying, time-reversed echo.
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
    if length == len(part):
        return part
    more = length - len(part)
    made = part[:length].copy() if more < 0 else np.concatenate([part, _echo(part, more, step)])
    end = min(fade, length)
    made[length - end :] *= np.linspace(1, 0, end, dtype=np.float32)
    return made


def _echo(part: Array, count: int, step: int) -> Array:
    there_and_back = np.concatenate([part[::-1], part])
    falling = FALL ** (np.arange(count) / step)
    return np.asarray(np.resize(there_and_back, count) * falling, np.float32)


def tilted(sound: Array, rate: int, db_per_octave: float) -> Array:
    """Tilt a spectrum at unchanged power, [samples]."""
    gains = 10 ** (octaves(np.fft.rfftfreq(len(sound), 1 / rate)) * db_per_octave / 20)
    made = np.fft.irfft(np.fft.rfft(sound) * gains, len(sound))
    power = [float(np.mean(np.square(part, dtype=np.float64))) for part in (sound, made)]
    return np.asarray(made * np.sqrt(power[0] / max(power[1], LEAST)), np.float32)
