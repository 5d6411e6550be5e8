"""The way of one note, in its own time: what it adds to the knobs' code, and by how much it is softer or louder."""

from bisect import bisect_right
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from ...contract.gesture import Gestures
from ...dsp import uniforms
from ..envelope import SHORTEST_SECONDS
from .blend import QUIET_DB, Mix

Array = npt.NDArray[np.float32]
Doubles = npt.NDArray[np.float64]

STEP = 64  # samples between the moments at which loudness is computed: 1.5 ms at 44.1 kHz; straight lines between them
CHUNK = 64  # such moments at a time
PARTS_OF_STEP = np.arange(STEP) / STEP
SINES = 5  # of which wandering is the sum: enough to have no period, few enough to be cheap
SPREAD = (0.3, 1.5)  # times its pace, in which their frequencies lie
JOINS = 0.5  # of its recorded length, over which a note that is held longer comes to wander
JOINED_SECONDS = 0.1  # in which a release's codes take over from those at the note-off
SLOWEST_DB_SECOND = 6.0  # of a release that is followed beyond its last point: it ends


class Pace(NamedTuple):
    """How a note follows its way: parts of codes and of loudness, 0 to 1, and how many times as fast as recorded.

    ``lead`` is by how many samples codes are read before they are heard, and ``rate`` in Hz. Where it ``rises``, the
    way's own attack takes the place of the preset's, and where it ``releases``, so does its release, if it has one.
    """

    codes: float
    loudness: float
    speed: float
    rate: int
    lead: int
    rises: bool
    releases: bool


class Gesture:
    """The way of one note, as a function of time."""

    def __init__(self, on: int, mix: Mix, gestures: Gestures, pace: Pace, note: int) -> None:
        """Begin at sample ``on``; ``note`` is the note's number, of which its wandering alone depends."""
        self._on, self._mix, self._pace = on, mix, pace
        self._grid = gestures.grid
        self._directions = np.array(gestures.directions)
        wander = gestures.wander
        deviations = np.array([wander.level_db, *wander.codes])
        hertz = np.array([wander.level_hz, *wander.codes_hz])
        drawn = uniforms(0, note, 0, 2 * SINES, len(hertz)).T.reshape(len(hertz), 2, SINES)
        self._swing = deviations * np.sqrt(2 / SINES)
        self._hertz = hertz[:, np.newaxis] * (SPREAD[0] + (SPREAD[1] - SPREAD[0]) * drawn[:, 0])
        self._phases = drawn[:, 1]
        self._held = _Curve(on, pace.rate)
        self._release: _Curve | None = None
        self._off: int | None = None
        self._stretch = 1.0  # recorded seconds of a release that go by in one
        self._at_off: Doubles | None = None
        self._known: dict[int, Doubles] = {}

    def gain(self, start: int, count: int) -> np.float32 | Array:
        """Return by what the note is multiplied at samples ``start`` to ``start + count``: one number, or [count]."""
        if self._pace.loudness == 0:
            return np.float32(1.0)
        if self._off is None or self._off >= start + count:
            return self._held.block(start, count, self._level)
        held = min(max(self._off - start, 0), count)
        gain = np.empty(count, np.float32)
        gain[:held] = self._held.block(start, held, self._level)
        gain[held:] = self._held.block(self._off, 1, self._level)
        if self._release is not None:
            gain[held:] *= self._release.block(start + held, count - held, self._released)
        return gain

    def attack(self, attack: int) -> int:
        """Return the length of the note's attack beside its way, in samples; ``attack`` is that of the preset."""
        if not self._pace.rises:
            return attack
        shortest, loudness = SHORTEST_SECONDS * self._pace.rate, self._pace.loudness
        return max(1, round((1 - loudness) * attack + loudness * shortest))

    def let_go(self, time: int, release: int) -> tuple[int, bool]:
        """Leave the held way at sample ``time``.

        Args:
            release: length of the release that the preset's envelope has, in samples.

        Returns:
            The length of this note's, and whether it falls by itself until then.
        """
        self._off = time
        recorded, loudness = self._release_seconds(), self._pace.loudness
        if recorded is None or loudness == 0 or not self._pace.releases:
            return release, False
        samples = max(1, round((1 - loudness) * release + loudness * recorded * self._pace.rate / self._pace.speed))
        self._stretch = recorded / samples * self._pace.rate
        self._release = _Curve(time, self._pace.rate)
        return samples, True

    def code(self, time: int) -> Doubles:
        """Return what the note adds to the knobs' code as it is read at a sample, [n_latents].

        A note-off counts from its sample on, and what is read before knows nothing of it.
        """
        known = self._known.get(time)
        if known is None:
            along = self._along(time) @ self._directions
            known = self._known[time] = (self._mix.offset + along) * self._pace.codes
        return known

    def forget(self, time: int) -> None:
        """Drop what only matters before ``time``."""
        for known in [known for known in self._known if known < time]:
            del self._known[known]
        for curve in (self._held, self._release):
            if curve is not None:
                curve.forget(time if self._off is None else min(time, self._off))

    def _along(self, time: int) -> Doubles:
        """Return how far it is along each direction, [directions]."""
        pace, grid = self._pace, self._grid
        per_second = pace.speed / pace.rate
        if self._off is None or time < self._off or not len(self._mix.release_codes):
            return self._held_at((time - self._on + pace.lead) * per_second)
        if self._at_off is None:
            self._at_off = self._held_at((self._off - self._on + pace.lead) * per_second)
        seconds = (time - self._off + pace.lead) * per_second
        way = self._mix.release_codes
        left = max(0.0, 1.0 - seconds / JOINED_SECONDS)
        along: Doubles = _between(grid.release_codes, way, seconds) + (self._at_off - way[0]) * left
        return along

    def _held_at(self, seconds: float) -> Doubles:
        way = _between(self._grid.codes, self._mix.codes, seconds)
        part = self._wanders(seconds)
        return way if part == 0 else way + part * self._wander(np.array([seconds]), slice(1, None))[0]

    def _level(self, seconds: Doubles) -> Doubles:
        """Return levels in dB while it is held, [moments]; ``seconds`` are since the note-on, as they pass."""
        mix, recorded = self._mix, seconds * self._pace.speed
        levels = np.interp(recorded, self._grid.levels, mix.levels)
        levels -= mix.fall * np.maximum(recorded - self._grid.levels[-1], 0.0)
        parts = np.clip((recorded / mix.held - 1) / JOINS, 0.0, 1.0)
        levels += parts * parts * (3 - 2 * parts) * self._wander(recorded, slice(0, 1))[:, 0]
        return levels * self._pace.loudness

    def _released(self, seconds: Doubles) -> Doubles:
        """Return levels in dB under that at the note-off, [moments]."""
        recorded, grid, levels = seconds * self._stretch, self._grid.release_levels, self._mix.release_levels
        beyond = np.maximum(recorded - grid[-1], 0.0)
        return np.interp(recorded, grid, levels) - beyond * _last_slope(grid, levels)

    def _release_seconds(self) -> float | None:
        """Return when a release has fallen by 60 dB, in recorded seconds; None where the note has none."""
        grid, levels = self._grid.release_levels, self._mix.release_levels
        if not len(levels):
            return None
        under = np.flatnonzero(levels <= QUIET_DB)
        if not len(under):
            return float(grid[-1] + (levels[-1] - QUIET_DB) / _last_slope(grid, levels))
        last = int(under[0])
        if last == 0:
            return float(grid[0])
        part = (QUIET_DB - levels[last - 1]) / (levels[last] - levels[last - 1])
        return float(grid[last - 1] + part * (grid[last] - grid[last - 1]))

    def _wanders(self, seconds: float) -> float:
        """Return how much of its wandering is heard: more and more, the longer it is held than it was recorded."""
        part = min(max((seconds / self._mix.held - 1) / JOINS, 0.0), 1.0)
        return part * part * (3 - 2 * part)

    def _wander(self, seconds: Doubles, which: slice) -> Doubles:
        """Return how far it wanders, [moments, columns]: in dB, then along each direction."""
        turns = seconds[:, np.newaxis, np.newaxis] * self._hertz[which] + self._phases[which]
        swing: Doubles = np.sin(2 * np.pi * turns).sum(axis=2) * self._swing[which]
        return swing


def _between(grid: Sequence[float], way: Doubles, seconds: float) -> Doubles:
    """Return a way, [points, directions], at a moment: [directions]."""
    after = max(bisect_right(grid, seconds), 1)
    if after == len(grid):
        last: Doubles = way[-1]
        return last
    part = (seconds - grid[after - 1]) / (grid[after] - grid[after - 1])
    between: Doubles = way[after - 1] + (way[after] - way[after - 1]) * part
    return between


def _last_slope(grid: Sequence[float], levels: Doubles) -> float:
    """Return by how many dB a second levels fall at their end."""
    if len(grid) < 2:
        return SLOWEST_DB_SECOND
    return max(SLOWEST_DB_SECOND, float(levels[-2] - levels[-1]) / (grid[-1] - grid[-2]))


class _Curve:
    """Gains along a function of time that is asked at even moments, always as many at once: the same in any block.

    The function is given with each question: kept here, it would lead back to who keeps this.
    """

    def __init__(self, begin: int, rate: int) -> None:
        self._begin, self._rate = begin, rate
        self._chunks: dict[int, Doubles] = {}

    def block(self, start: int, count: int, levels: Callable[[Doubles], Doubles]) -> Array:
        """Return gains at samples ``start`` to ``start + count``, [count]; before its beginning, as there.

        Args:
            levels: gives levels in dB, [moments], at seconds since the beginning, [moments].
        """
        if not count:
            return np.zeros(0, np.float32)
        early = min(max(self._begin - start, 0), count)
        first = max(start - self._begin, 0)
        moment, last = first // STEP, (first + count - early - 1) // STEP + 1
        chunks = range(moment // CHUNK, max(last, moment + 1) // CHUNK + 1)
        known = self._chunk(chunks.start, levels)
        if len(chunks) > 1:
            known = np.concatenate([self._chunk(chunk, levels) for chunk in chunks])
        known = known[moment - chunks.start * CHUNK : max(last, moment + 1) - chunks.start * CHUNK + 1]
        ramps = known[:-1, np.newaxis] + (known[1:] - known[:-1])[:, np.newaxis] * PARTS_OF_STEP
        gains: Array = ramps.reshape(-1)[first - moment * STEP :][: count - early].astype(np.float32)
        return gains if not early else np.concatenate([np.full(early, known[0], np.float32), gains])

    def forget(self, time: int) -> None:
        """Drop what only matters before ``time``."""
        for chunk in [chunk for chunk in self._chunks if (chunk + 1) * CHUNK * STEP <= time - self._begin]:
            del self._chunks[chunk]

    def _chunk(self, number: int, levels: Callable[[Doubles], Doubles]) -> Doubles:
        if number not in self._chunks:
            seconds = np.arange(number * CHUNK, (number + 1) * CHUNK) * STEP / self._rate
            self._chunks[number] = 10 ** (levels(seconds) / 20)
        return self._chunks[number]
