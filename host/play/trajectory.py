"""Trajectory of one sounding note, from its blend of recorded notes: level, code, gains of bands, vibrato, release."""

import functools
import math
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from ..arrays import Array, Doubles
from ..model.gesture import RESIDUAL_DB, VIBRATO_CENTS, Gestures
from ..signal import normals_of_notes, uniforms, uniforms_of_notes
from .blended_trajectory import OPENING, BlendedTrajectory, Steps
from .envelope import SHORTEST_SECONDS

STEP = 64  # samples between computed levels: 1.5 ms at 44.1 kHz; linear in between
CHUNK = 64  # steps computed at a time
CHUNK_SAMPLES = CHUNK * STEP
PARTS_OF_STEP = np.arange(STEP) / STEP
HOPS = 16  # codes computed at a time
# Possible starts of a note's codes within a hop: within 3 ms of the note, while a frame lasts 93 ms. A key's notes then
# start with one of a few codes, which can be decoded in advance.
PHASES = 4
STILL_DB = 0.5  # spectral error before a note is decoded again: 1 dB is hardly audible
SINES = 5  # summed for wander: enough for no audible period, few enough to be cheap
SPREAD = (0.3, 1.5)  # range of their frequencies, relative to the wander's rate
JOINS = 0.5  # fade-in of wander after the recorded length, as a part of it
JOINED_SECONDS = 0.1  # crossfade from codes at the note-off to those of the release
TAKE = 1  # seed of takes
DRAWN = 32  # notes whose takes are drawn at once
LOUDEST_TAKE_DB = 1.0  # above the first note: the most that levels of instruments leave room for
SOFTEST_TAKE_DB = -6.0
LONG = 2 * OPENING  # moments of a movement that other notes may have
ONSET_FADE = 6  # moments of an onset that fade into the movement
LOOPED = 0.25  # of a movement: a note that is held for longer goes back and forth in the rest
VIBRATO = VIBRATO_CENTS / 100  # semitones of a step
QUIET_DB = -60.0  # end of a release
SLOWEST_DB_SECOND = 6.0  # least slope after a release's last point, so that it ends
STRIDE = 27  # chunk offset between successive notes: of sixteen, few start a new chunk in one block


class TrajectoryPace(NamedTuple):
    """Amounts, 0 to 1, and speed."""

    codes: float
    loudness: float
    speed: float
    intonation: float
    variety: float
    rate: int  # Hz
    hop: int  # samples between code reads
    lead: int  # samples from a code read to its sound
    rises: bool  # the attack replaces the preset's
    releases: bool  # so does the release


class GestureGrid(NamedTuple):
    levels: Doubles  # times, in seconds, as the next three
    codes: Doubles
    release_levels: Doubles
    release_codes: Doubles
    directions: Doubles
    hertz: Doubles
    wander_deviations: Doubles  # amplitudes of each of its sines, in dB, then along directions
    decibels: Doubles  # of codes
    residual_seconds: float  # between a movement's moments
    onset_seconds: float  # between those of onsets
    takes: Array  # differences of level and gains in dB, [pairs, 1 + bands]

    @classmethod
    def of(cls, gestures: Gestures, decibels: Doubles, takes: Array) -> "GestureGrid":
        grid, wander = gestures.grid, gestures.wander
        return cls(
            np.array(grid.levels),
            np.array(grid.codes),
            np.array(grid.release_levels),
            np.array(grid.release_codes),
            np.array(gestures.directions),
            np.array([wander.level_hz, *wander.codes_hz]),
            np.array([wander.level_db, *wander.codes]) * np.sqrt(2 / SINES),
            np.ascontiguousarray(decibels),
            gestures.residual_seconds,
            gestures.onset_seconds,
            takes,
        )


class Gesture:
    """Computes in fixed chunks, so that block sizes do not change it."""

    def __init__(
        self,
        on: int,
        mix: BlendedTrajectory,
        common: GestureGrid,
        pace: TrajectoryPace,
        note: int,
        deeper: float = 0.0,
        release_length: float = 1.0,
    ) -> None:
        """Start at sample ``on``; ``note`` seeds the wander and the take: the first plays the nearest recording.

        ``deeper`` is added to the depth of the vibrato. ``release_length`` is that of the note's velocity, as in
        `InstrumentNotes`.
        """
        self.mix, self.common, self.pace, self.note = mix, common, pace, note
        self.begin = on
        self._band_place: tuple[int, int] | None = None  # the last place of gains of bands, and within the onset
        self._place_gains, self.ending = mix.gains, mix.opening[:0]
        self.louder, self.gains, self.opening, self.movement = 0.0, mix.gains, mix.opening, mix.movements[0]
        self.onset = mix.onset
        if pace.variety > 0 and note > 1:
            self._differ()
        phase = phase_samples(pace.hop)
        self.codes_begin = (on + phase // 2) // phase * phase  # start of its codes
        self.moves = pace.codes > 0  # whether it changes codes at all
        self.semitones = mix.off * pace.intonation  # deviation from its key
        self.modes = mix.modes
        self.deeper = deeper
        self.release_length = release_length / mix.release_length  # of the recorded release
        self.decoded_key = mix.decoded_key if pace.codes > 0 else None
        self._place = note * STRIDE
        self._held = _Curve(on, pace.rate, self._place)
        self._release: _Curve | None = None
        self.off: int | None = None
        self.stretch = 1.0  # recorded seconds of a release per second
        self._ahead: tuple[int, Doubles, Doubles] | None = None  # a chunk's number, codes, and codes in dB
        self.first_hop = (on - 2 * pace.lead) // pace.hop  # of its first code: no frame is read earlier
        self._hop = self.first_hop  # of the first stored code
        self._codes: list[Doubles] = []  # hop by hop
        self._sounding = np.zeros(0)  # the last of them, in dB

    def _differ(self) -> None:
        takes, variety, movements = self.common.takes, self.pace.variety, self.mix.movements
        long_movements = [movement for movement in movements if len(movement.bands) >= LONG] or list(movements[:1])
        choice_count = math.ceil(variety * len(long_movements))
        choice, weights = drawn_take(self.note, len(takes))
        self.movement = long_movements[int(choice * choice_count)]
        self.opening, self.onset = np.zeros((0, 0), np.float32), self.movement.onset
        if len(takes):  # a sum of differences with normal weights has their covariance
            weights = weights * np.float32(variety / math.sqrt(2 * len(takes)))
            self.louder = min(max(float(weights @ takes[:, 0]), SOFTEST_TAKE_DB), variety * LOUDEST_TAKE_DB)
            self.gains = self.gains + (weights @ takes[:, 1:]).astype(np.float32)

    def gain(self, start: int, count: int) -> np.float32 | Array:
        if self.pace.loudness == 0:
            return np.float32(1.0)
        if self.off is None or self.off >= start + count:
            return self._held.block(start, count, self._level)
        held_count = min(max(self.off - start, 0), count)
        gain = np.empty(count, np.float32)
        if held_count:
            gain[:held_count] = self._held.block(start, held_count, self._level)
        gain[held_count:] = self._gain_at_off()
        if self._release is not None:
            gain[held_count:] *= self._release.block(start + held_count, count - held_count, self._release_level)
        return gain

    def _gain_at_off(self) -> np.float32:
        """The gain at the note-off."""
        assert self.off is not None
        return self._held.block(self.off, 1, self._level)[0]

    @property
    def bands(self) -> int:
        """Bands with gains, 0 without effect."""
        return len(self.gains) if self.moves else 0

    def band_gains(self, time: int, ahead: int) -> Array:
        """Gains of bands in dB, [bands], for a frame from ``time`` with its middle ``ahead``.

        They are those of the nearest moment, as frames overlap. A frame that begins before the note-off is held.
        """
        off_time, pace = self.off, self.pace
        moments = pace.speed / (pace.rate * self.common.residual_seconds)  # per sample
        elapsed = max(time + ahead - self.begin, 0)
        place, early = int(elapsed * moments + 0.5), -1
        if off_time is not None and time >= off_time:
            place = ~int((time + ahead - off_time) * moments + 0.5)  # negative after the note-off
        elif (moment := int(elapsed * (pace.speed / (pace.rate * self.common.onset_seconds)) + 0.5)) < len(self.onset):
            early = moment
        if (place, early) != self._band_place:
            deviation = (
                self._movement_at(place, early)
                if off_time is None or place >= 0
                else self._movement_after(~place, off_time, moments)
            )
            self._band_place, self._place_gains = (place, early), (self.gains + deviation) * np.float32(pace.codes)
        return self._place_gains

    def _movement_at(self, place: int, early: int = -1) -> Array:
        """Movement at a moment; ``early``: the onset's, -1 after it."""
        opening, bands, last_place = self.opening, self.movement.bands, len(self.movement.bands) - 1
        if last_place < 0:
            return np.zeros_like(self.gains)
        span = last_place - round(LOOPED * last_place)
        movement: Array
        if place > last_place and span < OPENING:  # back and forth, a short movement would be a tremolo
            movement = bands[last_place] * np.float32(RESIDUAL_DB * max(0.0, 1 - (place - last_place) / OPENING))
            return movement
        if place > last_place:
            movement = self.movement.fast[-1 - abs(span - (place - last_place + span) % (2 * span))]
            return movement
        movement = bands[place] * np.float32(RESIDUAL_DB)
        own_share = np.float32(min(max(2 * place / OPENING - 1, 0.0), 1.0))
        if place < len(opening):
            movement = movement * own_share + opening[place] * (1 - own_share)
        if early >= 0:
            onset_share = np.float32(min((len(self.onset) - early) / (ONSET_FADE + 1), 1.0))
            movement = movement * (1 - onset_share) + self.onset[early] * onset_share
        if self.pace.loudness < 1:  # an attack's noise goes with its level, or would be as loud as the tone
            movement = movement * (own_share + (1 - own_share) * np.float32(self.pace.loudness))
        return movement

    def _movement_after(self, place: int, off_time: int, moments: float) -> Array:
        """The difference to the movement at the note-off fades."""
        fade = np.float32(max(1.0 - place * self.common.residual_seconds / JOINED_SECONDS, 0.0))
        movement = np.zeros_like(self.gains)
        if len(self.ending):
            movement += self.ending[min(place, len(self.ending) - 1)]
        if fade > 0:
            held_movement = self._movement_at(int(max(off_time - self.begin, 0) * moments + 0.5))
            movement += (held_movement - self.ending[0] if len(self.ending) else held_movement) * fade
        return movement

    def vibrato(self, time: int, ahead: int) -> float:
        """Return the deviation of the pitch in semitones for a frame as in `band_gains`.

        A note that is held for longer goes back and forth in its recorded vibrato; a short one's fades.
        """
        steps, pace = self.movement.vibrato, self.pace
        if not len(steps):
            return 0.0
        moments = pace.speed / (pace.rate * self.common.residual_seconds)
        place, part = divmod(max(time + ahead - self.begin, 0) * moments, 1.0)
        first, second = (self._pitch_at(steps, int(place) + offset) for offset in (0, 1))
        return VIBRATO * pace.codes * (first + (second - first) * part)

    @staticmethod
    def _pitch_at(steps: Steps, place: int) -> float:
        last_place = len(steps) - 1
        if place <= last_place:
            return float(steps[place])
        span = last_place - round(LOOPED * last_place)
        if span < OPENING:
            return float(steps[last_place]) * max(0.0, 1 - (place - last_place) / OPENING)
        return float(steps[last_place - abs(span - (place - last_place + span) % (2 * span))])

    @property
    def releases(self) -> bool:
        """Return whether its level falls as recorded after the note-off."""
        return self._release is not None

    def attack(self, attack: int) -> int:
        if not self.pace.rises:
            return attack
        shortest, loudness = SHORTEST_SECONDS * self.pace.rate, self.pace.loudness
        return max(1, round((1 - loudness) * attack + loudness * shortest))

    def release(self, time: int, release: int) -> tuple[int, bool]:
        """Release the note; return its release in samples, and whether its trajectory falls during it."""
        self.off = time
        self.ending = self.mix.ending()
        self._ahead = None
        recorded_seconds, loudness = self._release_seconds(), self.pace.loudness
        if recorded_seconds is None or loudness == 0 or not self.pace.releases:
            return release, False
        lasting_samples = recorded_seconds * self.release_length * self.pace.rate / self.pace.speed
        samples = max(1, round((1 - loudness) * release + loudness * lasting_samples))
        self.stretch = recorded_seconds / samples * self.pace.rate
        self._release = _Curve(time, self.pace.rate, self._place)
        return samples, True

    def code(self, time: int) -> Doubles:
        """Offset to the knobs' code at a sample, [n_latents].

        Stays until its change is audible, since equal codes are decoded once. A later note-off does not change it.
        """
        place = max(time // self.pace.hop - self._hop, 0)
        while len(self._codes) <= place:
            self._codes.append(self._next(self._hop + len(self._codes)))
        return self._codes[place]

    def forget(self, time: int) -> None:
        expired_count = min(time // self.pace.hop - self._hop, len(self._codes) - 1)
        if expired_count > 0:
            del self._codes[:expired_count]
            self._hop += expired_count

    def _next(self, hop: int) -> Doubles:
        chunk, place = divmod(hop + self._place, HOPS)
        if self._ahead is None or self._ahead[0] != chunk:
            hops = np.arange(HOPS) + (chunk * HOPS - self._place)
            codes = self._codes_at(hops * self.pace.hop)
            self._ahead = chunk, codes, codes @ self.common.decibels
        _, codes, sounding = self._ahead
        if self._codes:
            change = sounding[place] - self._sounding
            if change @ change < STILL_DB**2:
                return self._codes[-1]
        self._sounding = sounding[place]
        code: Doubles = codes[place]
        return code

    def _codes_at(self, times: npt.NDArray[np.int64]) -> Doubles:
        held_codes, off_time = self._held_codes_at(times), self.off
        if off_time is not None and times[-1] >= off_time and len(self.mix.release_codes):
            seconds = self._recorded_seconds(times, off_time)
            release_codes = self.mix.release_codes
            fade = np.maximum(1.0 - seconds / JOINED_SECONDS, 0.0)[:, np.newaxis]
            faded_codes = _between(self.common.release_codes, release_codes, seconds)
            faded_codes += (self._held_codes_at(np.array([off_time])) - release_codes[0]) * fade
            held_codes = np.where((times < off_time)[:, np.newaxis], held_codes, faded_codes)
        codes: Doubles = (self.mix.offset + held_codes) * self.pace.codes
        return codes

    def _held_codes_at(self, times: npt.NDArray[np.int64]) -> Doubles:
        seconds = self._recorded_seconds(times, self.codes_begin)
        held_codes = _between(self.common.codes, self.mix.codes, seconds)
        if seconds[-1] > self.mix.held:
            swing = self._wander(seconds, slice(1, None)) @ self.common.directions
            held_codes += self._wander_amount(seconds)[:, np.newaxis] * swing
        return held_codes

    def _recorded_seconds(self, times: npt.NDArray[np.int64], begin: int) -> Doubles:
        return (times - begin + self.pace.lead).astype(np.float64) * (self.pace.speed / self.pace.rate)

    def _level(self, seconds: Doubles) -> Doubles:
        mix, grid, recorded_seconds = self.mix, self.common.levels, seconds * self.pace.speed
        levels = np.interp(recorded_seconds, grid, mix.levels)
        levels -= mix.fall * np.maximum(recorded_seconds - grid[-1], 0.0)
        if len(loudness := self.movement.loudness):
            levels += np.interp(recorded_seconds / self.common.residual_seconds, np.arange(len(loudness)), loudness)
            np.minimum(levels, mix.levels.max() + LOUDEST_TAKE_DB - max(self.louder, 0.0), out=levels)
        if recorded_seconds[-1] > mix.held:
            levels += self._wander_amount(recorded_seconds) * self._wander(recorded_seconds, slice(0, 1))[:, 0]
        return (levels + self.louder) * self.pace.loudness

    def _release_level(self, seconds: Doubles) -> Doubles:
        recorded_seconds, grid, levels = seconds * self.stretch, self.common.release_levels, self.mix.release_levels
        seconds_beyond = np.maximum(recorded_seconds - grid[-1], 0.0)
        release_levels: Doubles = np.interp(recorded_seconds, grid, levels) - seconds_beyond * _last_slope(grid, levels)
        return release_levels

    def _release_seconds(self) -> float | None:
        """Recorded, until -60 dB."""
        grid, levels = self.common.release_levels, self.mix.release_levels
        if not len(levels):
            return None
        quiet_points = np.flatnonzero(levels <= QUIET_DB)
        if not len(quiet_points):
            return float(grid[-1] + (levels[-1] - QUIET_DB) / _last_slope(grid, levels))
        quiet_point = int(quiet_points[0])
        if quiet_point == 0:
            return float(grid[0])
        part = (QUIET_DB - levels[quiet_point - 1]) / (levels[quiet_point] - levels[quiet_point - 1])
        return float(grid[quiet_point - 1] + part * (grid[quiet_point] - grid[quiet_point - 1]))

    def _wander_amount(self, seconds: Doubles) -> Doubles:
        parts = np.minimum(np.maximum((seconds / self.mix.held - 1) / JOINS, 0.0), 1.0)
        amounts: Doubles = parts * parts * (3 - 2 * parts)
        return amounts

    def _wander(self, seconds: Doubles, columns: slice) -> Doubles:
        """[moments, columns]: in dB, then along each direction."""
        hertz, phases = self._sines
        turns = seconds[:, np.newaxis, np.newaxis] * hertz[columns] + phases[columns]
        swing: Doubles = np.sin(2 * np.pi * turns).sum(axis=2) * self.common.wander_deviations[columns]
        return swing

    @functools.cached_property
    def _sines(self) -> tuple[Doubles, Doubles]:
        hertz = self.common.hertz
        numbers = uniforms(0, self.note, 0, 2 * SINES, len(hertz)).T.reshape(len(hertz), 2, SINES)
        return hertz[:, np.newaxis] * (SPREAD[0] + (SPREAD[1] - SPREAD[0]) * numbers[:, 0]), numbers[:, 1]


@functools.lru_cache(maxsize=8)
def _drawn_takes(group: int, pairs: int) -> list[tuple[float, Array]]:
    notes = np.arange(group * DRAWN, (group + 1) * DRAWN)
    choices = uniforms_of_notes(TAKE, notes, 0, 1)[:, 0].tolist()
    return list(zip(choices, normals_of_notes(TAKE, notes, 1, pairs), strict=True))


def drawn_take(note: int, pairs: int) -> tuple[float, Array]:
    """A note's random choice of a movement, 0 to 1, and its weights of differences between takes, [pairs]."""
    return _drawn_takes(note // DRAWN, pairs)[note % DRAWN]


def phase_samples(hop: int) -> int:
    return max(1, hop // PHASES)


def _between(grid: Doubles, values: Doubles, seconds: Doubles) -> Doubles:
    if len(grid) == 1:
        return np.repeat(values, len(seconds), axis=0)
    upper = grid[1:-1].searchsorted(seconds, side="right") + 1
    first = grid[upper - 1]
    parts = np.minimum(np.maximum((seconds - first) / (grid[upper] - first), 0.0), 1.0)[:, np.newaxis]
    interpolated: Doubles = values[upper - 1] * (1.0 - parts) + values[upper] * parts
    return interpolated


def _last_slope(grid: Doubles, levels: Doubles) -> float:
    if len(grid) < 2:
        return SLOWEST_DB_SECOND
    return max(SLOWEST_DB_SECOND, float(levels[-2] - levels[-1]) / float(grid[-1] - grid[-2]))


class _Curve:
    """Callers pass the function, to avoid a reference cycle."""

    def __init__(self, begin: int, rate: int, place: int) -> None:
        self._rate = rate
        self._origin = begin - place % CHUNK * STEP
        self._skipped_steps = place % CHUNK
        self._begin: int | None = None  # first sample of the cached chunk
        self._chunk = np.zeros(0, np.float32)

    def block(self, start: int, count: int, levels: Callable[[Doubles], Doubles]) -> Array:
        """``levels`` returns dB at seconds >= 0 since the start."""
        if self._begin is not None and self._begin <= start <= self._begin + CHUNK_SAMPLES - count:  # the usual case
            return self._chunk[start - self._begin : start - self._begin + count]
        first, offset = divmod(start - self._origin, CHUNK_SAMPLES)
        if offset + count <= CHUNK_SAMPLES:
            return self._gains(first, levels)[offset : offset + count]
        chunks = range(first, first - -(offset + count) // CHUNK_SAMPLES)
        return np.concatenate([self._gains(chunk, levels) for chunk in chunks])[offset : offset + count]

    def _gains(self, number: int, levels: Callable[[Doubles], Doubles]) -> Array:
        begin = self._origin + number * CHUNK_SAMPLES
        if begin != self._begin:
            moments = np.arange(CHUNK + 1) + (number * CHUNK - self._skipped_steps)
            gains = 10 ** (levels(np.maximum(moments, 0) * (STEP / self._rate)) / 20)
            ramps = np.multiply.outer(np.diff(gains), PARTS_OF_STEP)
            ramps += gains[:-1, np.newaxis]
            self._begin, self._chunk = begin, ramps.reshape(-1).astype(np.float32)
        return self._chunk
