"""Measures a recorded note's trajectory: levels and codes from onset and from release.

Times are those of the recording; encoding may resample it.
"""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import scipy

from ...host.arrays import Array, Doubles
from ...host.contract.card import Card, in_deviations
from ...host.medoid import medoid
from ...host.resynthesis.code_track import QUIET
from ...host.units import INAUDIBLE_HZ
from ...train.metrics.loudness import SILENT_DB, STEP_SECONDS, envelope_db
from ..fidelity.notes import RecordedNote
from .code_fitting import CodeFitter

# Fine grid at onset and release, then ever coarser: later details of 10 ms are inaudible.
LEVELS = (0, 2, 4, 6, 8, 10, 13, 16, 20, 25, 32, 40, 50, 64, 80, 100, 128, 160, 200, 250, 320, 400, 500, 640, 800)
LEVELS_MS = (*LEVELS, 1000, 1280, 1600, 2000, 2560)
CODES_MS = (0, 20, 40, 70, 100, 150, 200, 300, 450, 700, 1000, 1500, 2200)
RELEASE_LEVELS_MS = (0, 10, 20, 30, 45, 60, 80, 100, 130, 170, 220, 300, 400, 550, 750, 1000)
RELEASE_CODES_MS = (0, 50, 100, 200, 400)
LEVELS_AT, CODES_AT, RELEASE_LEVELS_AT, RELEASE_CODES_AT = (
    np.array(grid) / 1000 for grid in (LEVELS_MS, CODES_MS, RELEASE_LEVELS_MS, RELEASE_CODES_MS)
)
SHARP_SECONDS = 0.02  # up to here levels are those of 10 ms windows, later ones means around each moment
RINGS_DB = -30.0  # relative to the maximum, at release: a softer note rang out and was not released
SHORTEST_RELEASE = 0.08  # seconds: a shorter recording says nothing about the release
STEEPEST_DB_SECOND = 300.0  # limit for extrapolated releases
STEADY = (0.5, 0.9)  # the part of a held note that continues under a longer key: ends before the player stops
SILENT = 1e-6  # of full scale: a note with a softer loudest frame has no codes
STEADY_SECONDS = 0.25  # shortest steady part to measure wander
SMOOTH_SECONDS = 0.046  # smoothing of power for wander: two periods of the lowest bass, which are not wander


class NoteTrajectory(NamedTuple):
    """A note's levels, and the frames to encode under ``condition``.

    Attributes:
        levels: in dB relative to the maximum, [LEVELS_AT].
        course: while held, smooth, `STEP_SECONDS` apart.
        fall: in dB a second, after ``levels``.
        fading: ``levels`` and ``fall`` if the held note goes on fading, as a struck one does.
        release_levels: in dB relative to the release, [RELEASE_LEVELS_AT]; None if the note rang out or was cut off.
        frames: [points, frame_length]: the note's own, the first ``held`` of `CODES_AT`, and the first of
            `RELEASE_CODES_AT`.
        steady_levels: in dB, a millisecond apart.
        steady_frames: [frames, frame_length], ``frame_seconds`` apart.
    """

    note: RecordedNote
    condition: float
    levels: Doubles
    course: Doubles
    fall: float
    fading: tuple[Doubles, float]
    release_levels: Doubles | None
    frames: Array
    held: int
    steady_levels: Doubles
    steady_frames: Array
    frame_seconds: float


class NoteCodes(NamedTuple):
    """A note's own code, [n_latents], and offsets from it at `CODES_AT` and `RELEASE_CODES_AT`, [times, n_latents]."""

    own: Doubles
    held: Doubles
    released: Doubles | None


def measured_trajectory(note: RecordedNote, coder: CodeFitter) -> NoteTrajectory | None:
    """Measure a note at the model's sample rate; None if it is silent."""
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
    decay = _fall(levels[: held + 1])
    fall = decay if rings else 0.0
    released = not rings and (len(levels) - 1 - held) * STEP_SECONDS >= SHORTEST_RELEASE
    inside = CODES_AT[(note.held_seconds > CODES_AT) | (CODES_AT == 0)]
    after = note.held_seconds + RELEASE_CODES_AT[seconds[sounding][-1] - note.held_seconds >= RELEASE_CODES_AT]
    points = np.concatenate([inside, after if released else after[:0]])
    moments = _inside(np.arange(len(levels), dtype=np.float64) * STEP_SECONDS, note.held_seconds)
    return NoteTrajectory(
        note=note,
        condition=condition,
        levels=_held_levels(levels[: held + 1], fall),
        course=_smooth(levels[: held + 1]),
        fall=fall,
        fading=(_held_levels(levels[: held + 1], decay), decay),
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
    """Build a note's codes from its frames' codes, [points, n_latents].

    Beyond the recording, a held note has its own code, a release its last.
    """
    own, held, released = found[0], found[1 : 1 + course.held], found[1 + course.held :]
    rest = np.broadcast_to(own, (len(CODES_AT) - len(held), len(own)))
    way = None
    if course.release_levels is not None:
        there = released if len(released) else held[-1:]
        last = np.broadcast_to(there[-1], (len(RELEASE_CODES_AT) - len(there), len(own)))
        way = np.concatenate([there, last]) - own
    return NoteCodes(own, np.concatenate([held, rest]) - own, way)


def _frames(sound: Array, middles: Doubles, card: Card) -> Array:
    half = card.frame_length // 2
    padded = np.pad(sound, (half, card.frame_length))
    starts = np.clip(np.round(middles * card.sample_rate).astype(np.int64), 0, len(sound))
    frames: Array = np.lib.stride_tricks.sliding_window_view(padded, card.frame_length)[starts]
    return frames


def _levels(note: RecordedNote, rate: int) -> Doubles:
    heard = scipy.signal.sosfilt(scipy.signal.butter(2, INAUDIBLE_HZ, "highpass", fs=rate, output="sos"), note.sound)
    levels = envelope_db(heard[np.newaxis].astype(np.float32), rate)[0].astype(np.float64)
    under: Doubles = np.maximum(levels - levels.max(), SILENT_DB)
    return under


def _held_levels(levels: Doubles, fall: float) -> Doubles:
    """Return levels at `LEVELS_AT`; beyond the recording the steady level, or a fall."""
    end = (len(levels) - 1) * STEP_SECONDS
    first, last = (round(part * (len(levels) - 1)) for part in STEADY)
    steady = _decibels(levels[first : last + 1])
    beyond = levels[-1] - fall * (LEVELS_AT - end) if fall else np.full(len(LEVELS_AT), steady)
    found: Doubles = np.where(end >= LEVELS_AT, _means(levels, LEVELS_AT), beyond)
    return found


def _release_levels(levels: Doubles) -> Doubles:
    """Return levels at `RELEASE_LEVELS_AT`, from 0 down, extrapolated beyond the recording."""
    end = (len(levels) - 1) * STEP_SECONDS
    under = np.minimum.accumulate(levels - levels[0])  # a later rise is room noise
    slope = min(max(-under[-1] / end, 1.0), STEEPEST_DB_SECOND)
    beyond = under[-1] - slope * (RELEASE_LEVELS_AT - end)
    found: Doubles = np.where(end >= RELEASE_LEVELS_AT, _means(under, RELEASE_LEVELS_AT), beyond)
    return np.minimum.accumulate(np.minimum(found, 0.0))


def _means(levels: Doubles, moments: Doubles) -> Doubles:
    """Return the mean power around moments in seconds, up to halfway between them, in dB."""
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
    later = levels[len(levels) // 2 :]
    times = np.arange(len(later)) - (len(later) - 1) / 2
    return max(0.0, float(-(times @ later) / max(float(times @ times), 1.0)) / STEP_SECONDS)


def _smooth(levels: Doubles) -> Doubles:
    width = round(SMOOTH_SECONDS / STEP_SECONDS)
    power = scipy.ndimage.uniform_filter1d(10 ** (levels / 10), width, mode="nearest", origin=width % 2 - 1)
    smooth: Doubles = 10 * np.log10(np.maximum(power, 1e-20))
    return smooth


def _inside(seconds: Doubles, held: float) -> npt.NDArray[np.bool_]:
    inside: npt.NDArray[np.bool_] = (seconds >= STEADY[0] * held) & (seconds <= STEADY[1] * held)
    return inside


def _decibels(levels: Doubles) -> float:
    return float(10 * np.log10(np.mean(10 ** (levels / 10))))
