"""Measures the way of one recorded note: its loudness and its codes, from where it begins and from where it was let go.

Times are those of the recording, whose frames are encoded where training has them, maybe faster or slower.
"""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from scipy import signal

from ...host.contract.card import Card, in_deviations
from ...host.dsp import medoid
from ...host.resynthesis.code_track import QUIET
from ...host.units import INAUDIBLE_HZ
from ...train.metrics.loudness import SILENT_DB, STEP_SECONDS, envelope_db
from ..fidelity.notes import RecordedNote
from .fit import Coder

Array = npt.NDArray[np.float32]
Doubles = npt.NDArray[np.float64]

# Fine where notes rise and where they are let go, then ever wider: nothing there is heard to a hundredth of a second.
LEVELS = (0, 2, 4, 6, 8, 10, 13, 16, 20, 25, 32, 40, 50, 64, 80, 100, 128, 160, 200, 250, 320, 400, 500, 640, 800)
LEVELS_MS = (*LEVELS, 1000, 1280, 1600, 2000, 2560)
CODES_MS = (0, 20, 40, 70, 100, 150, 200, 300, 450, 700, 1000, 1500, 2200)
RELEASE_LEVELS_MS = (0, 10, 20, 30, 45, 60, 80, 100, 130, 170, 220, 300, 400, 550, 750, 1000)
RELEASE_CODES_MS = (0, 50, 100, 200, 400)
LEVELS_AT, CODES_AT, RELEASE_LEVELS_AT, RELEASE_CODES_AT = (
    np.array(grid) / 1000 for grid in (LEVELS_MS, CODES_MS, RELEASE_LEVELS_MS, RELEASE_CODES_MS)
)
SHARP_SECONDS = 0.02  # to here each level is one of 10 ms; later ones are means of what lies around them
RINGS_DB = -30.0  # under its loudest moment where it was let go: it was not, it rang out
SHORTEST_RELEASE = 0.08  # seconds: what is cut off sooner tells nothing of how it was let go
STEEPEST_DB_SECOND = 300.0  # of a release beyond what was recorded of it
STEADY = (0.5, 0.9)  # the part of what is held that goes on where a key is held longer: before the player stops
SILENT = 1e-6  # of full scale: a note whose loudest frame is softer has no codes
STEADY_SECONDS = 0.25  # the shortest such part of which the wandering is measured
SMOOTH_SECONDS = 0.046  # means of power for wandering: two periods of the lowest bass are no wandering


class NoteTrajectory(NamedTuple):
    """The way of a note, but for its codes, whose frames are here; ``condition`` is the networks' other input.

    ``levels`` [LEVELS_AT] in dB under its loudest moment, and ``fall`` by how many dB a second it goes on falling after
    them. ``release_levels`` [RELEASE_LEVELS_AT] in dB under the level where it was let go; None where it rang out, or
    was cut off.

    ``frames`` [points, frame_length] are those of its code, then those at the first ``held`` of `CODES_AT`, then those
    at the first of RELEASE_CODES_AT after it was let go. ``steady_levels`` [moments] in dB and ``steady_frames``
    [frames, frame_length] are of its steady part, a millisecond and ``frame_seconds`` apart.
    """

    note: RecordedNote
    condition: float
    levels: Doubles
    fall: float
    release_levels: Doubles | None
    frames: Array
    held: int
    steady_levels: Doubles
    steady_frames: Array
    frame_seconds: float


class NoteCodes(NamedTuple):
    """The codes of a note: its own, [n_latents]; and those from it: [CODES_AT, n_latents], [RELEASE_CODES_AT, ...].

    The last are None where it rang out or was cut off.
    """

    own: Doubles
    held: Doubles
    released: Doubles | None


def course_of(note: RecordedNote, coder: Coder) -> NoteTrajectory | None:
    """Measure a note, whose sound has the model's rate; None where it is silent."""
    card = coder.card
    moved, ratio = coder.moved(note.sound, note.single)
    condition = coder.condition(note.single)
    apart = card.hop_length / card.sample_rate * ratio
    seconds = np.arange(0.0, max(len(note.sound) / card.sample_rate, apart), apart)
    frames = _frames(moved, seconds / ratio, card)
    loud = frames.std(axis=1)
    sounding = loud >= QUIET * loud.max()
    if loud.max() < SILENT:
        return None
    levels = _levels(note, card.sample_rate)
    held = min(len(levels) - 1, round(note.held_seconds / STEP_SECONDS))
    own = np.flatnonzero(sounding & ((seconds <= note.held_seconds) | (seconds == seconds[sounding][0])))
    codes = coder.encoded(frames[own], np.full(len(own), condition)).astype(np.float64)
    rings = levels[held] <= RINGS_DB
    fall = _fall(levels[: held + 1]) if rings else 0.0
    released = not rings and (len(levels) - 1 - held) * STEP_SECONDS >= SHORTEST_RELEASE
    inside = CODES_AT[(note.held_seconds > CODES_AT) | (CODES_AT == 0)]
    after = note.held_seconds + RELEASE_CODES_AT[seconds[sounding][-1] - note.held_seconds >= RELEASE_CODES_AT]
    points = np.concatenate([inside, after if released else after[:0]])
    moments = _inside(np.arange(len(levels), dtype=np.float64) * STEP_SECONDS, note.held_seconds)
    return NoteTrajectory(
        note=note,
        condition=condition,
        levels=_held_levels(levels[: held + 1], fall),
        fall=fall,
        release_levels=_release_levels(levels[held:]) if released else None,
        frames=np.concatenate(
            [frames[own[medoid(codes * in_deviations(card))]][np.newaxis], _frames(moved, points / ratio, card)]
        ),
        held=len(inside),
        steady_levels=_smooth(levels)[moments],
        steady_frames=frames[sounding & _inside(seconds, note.held_seconds)],
        frame_seconds=apart,
    )


def codes_of(course: NoteTrajectory, found: Doubles) -> NoteCodes:
    """Return a note's codes of those of its frames, [points, n_latents]: beyond what was recorded it stays."""
    own, held, released = found[0], found[1 : 1 + course.held], found[1 + course.held :]
    rest = np.broadcast_to(own, (len(CODES_AT) - len(held), len(own)))
    way = None
    if course.release_levels is not None:
        there = released if len(released) else held[-1:]
        last = np.broadcast_to(there[-1], (len(RELEASE_CODES_AT) - len(there), len(own)))
        way = np.concatenate([there, last]) - own
    return NoteCodes(own, np.concatenate([held, rest]) - own, way)


def _frames(sound: Array, middles: Doubles, card: Card) -> Array:
    """Return the frames of a sound whose middles lie at these seconds, [frames, frame_length]; around it is silence."""
    half = card.frame_length // 2
    padded = np.pad(sound, (half, card.frame_length))
    starts = np.clip(np.round(middles * card.sample_rate).astype(np.int64), 0, len(sound))
    frames: Array = np.lib.stride_tricks.sliding_window_view(padded, card.frame_length)[starts]
    return frames


def _levels(note: RecordedNote, rate: int) -> Doubles:
    """Return a note's levels a millisecond apart, in dB under its loudest moment: [moments]; offsets are not heard."""
    heard = signal.sosfilt(signal.butter(2, INAUDIBLE_HZ, "highpass", fs=rate, output="sos"), note.sound)
    levels = envelope_db(heard[np.newaxis].astype(np.float32), rate)[0].astype(np.float64)
    under: Doubles = np.maximum(levels - levels.max(), SILENT_DB)
    return under


def _held_levels(levels: Doubles, fall: float) -> Doubles:
    """Return the levels of what is held, [moments], at `LEVELS_AT`; beyond it those of its steady part, or falling."""
    end = (len(levels) - 1) * STEP_SECONDS
    first, last = (round(part * (len(levels) - 1)) for part in STEADY)
    steady = _decibels(levels[first : last + 1])
    beyond = levels[-1] - fall * (LEVELS_AT - end) if fall else np.full(len(LEVELS_AT), steady)
    found: Doubles = np.where(end >= LEVELS_AT, _means(levels, LEVELS_AT), beyond)
    return found


def _release_levels(levels: Doubles) -> Doubles:
    """Return levels from where it was let go on, [moments], at `RELEASE_LEVELS_AT`, from 0 on; beyond it falling on."""
    end = (len(levels) - 1) * STEP_SECONDS
    under = np.minimum.accumulate(levels - levels[0])  # what is louder again is the room's noise
    slope = min(max(-under[-1] / end, 1.0), STEEPEST_DB_SECOND)
    beyond = under[-1] - slope * (RELEASE_LEVELS_AT - end)
    found: Doubles = np.where(end >= RELEASE_LEVELS_AT, _means(under, RELEASE_LEVELS_AT), beyond)
    return np.minimum.accumulate(np.minimum(found, 0.0))


def _means(levels: Doubles, moments: Doubles) -> Doubles:
    """Return levels, a millisecond apart, at moments: each is the mean power up to half way to its neighbours."""
    power = np.concatenate([[0.0], np.cumsum(10 ** (levels / 10))])
    halves = (moments[1:] + moments[:-1]) / 2
    begins, ends = (np.concatenate(edges) for edges in (([0.0], halves), (halves, moments[-1:])))
    first, last = (np.clip(np.round(edge / STEP_SECONDS).astype(int), 0, len(levels)) for edge in (begins, ends))
    at = np.clip(np.round(moments / STEP_SECONDS).astype(int), 0, len(levels) - 1)
    wide = (moments > SHARP_SECONDS) & (last > first)
    mean = (power[last] - power[first]) / np.maximum(last - first, 1)
    found: Doubles = np.where(wide, 10 * np.log10(np.maximum(mean, 1e-20)), levels[at])
    return found


def _fall(levels: Doubles) -> float:
    """Return by how many dB a second what rings falls in its second half."""
    later = levels[len(levels) // 2 :]
    times = np.arange(len(later)) - (len(later) - 1) / 2
    return max(0.0, float(-(times @ later) / max(float(times @ times), 1.0)) / STEP_SECONDS)


def _smooth(levels: Doubles) -> Doubles:
    """Return means of power over some hundredths of a second, in dB: [moments]."""
    width = round(SMOOTH_SECONDS / STEP_SECONDS)
    power = np.convolve(10 ** (levels / 10), np.ones(width) / width)[width // 2 : width // 2 + len(levels)]
    smooth: Doubles = 10 * np.log10(np.maximum(power, 1e-20))
    return smooth


def _inside(seconds: Doubles, held: float) -> npt.NDArray[np.bool_]:
    """Return which moments lie in the steady part of a note."""
    inside: npt.NDArray[np.bool_] = (seconds >= STEADY[0] * held) & (seconds <= STEADY[1] * held)
    return inside


def _decibels(levels: Doubles) -> float:
    return float(10 * np.log10(np.mean(10 ** (levels / 10))))
