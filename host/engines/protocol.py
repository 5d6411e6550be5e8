"""Protocols of engines, and of the parameter values that they read."""

from collections.abc import Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol, TypeVar

import numpy as np
import numpy.typing as npt

from ..arrays import Array, Doubles, Times
from ..ramps import Ramp


@dataclass(slots=True, kw_only=True)
class VoiceSound:
    """One voice's sound, extended by each engine. ``key``: 69.0 for 440 Hz.

    ``over``, the end of a sound that ends by itself, is set at note-on, in every process that shares the voices.
    """

    key: float
    on: int
    end: int | None = None  # first silent sample, once known
    over: int | None = None  # first silent sample of a sound that ends by itself; None: it continues
    pitch: Ramp | None = None  # glide; None: constant
    chord: Ramp | None = None  # pitch classes of a chord, bit n for class n; None: that of the pitch

    def pitch_at(self, time: int) -> float:
        return self.key if self.pitch is None else self.pitch.value(time)


Kept = TypeVar("Kept", bound=VoiceSound)


class Beginnings(NamedTuple):
    """Initial codes of future notes while no parameter moves; ``of`` identifies the set.

    ``codes``: pitches, 69.0 for 440 Hz, likely ones first, with the codes, [rows, n_latents], that a note may read
    within its first hop.
    """

    of: Hashable
    codes: Iterator[tuple[float, Array]]


class Residual(NamedTuple):
    """Recorded differences to decoded frames of partials."""

    gains: Array  # of the gestures' bands in dB, [rows, bands]
    modes: Sequence[Doubles | None]  # as in `NoteWay`, [modes, 3] a row; None without
    vibrato: Doubles  # deviation of the pitch in semitones, [rows]


class Motion(Protocol):
    """Parameter values of voices; a row is a voice at a sample.

    Voices with ``own_codes`` share none with each other, nor with future notes.
    """

    @property
    def own_codes(self) -> bool: ...

    def latents(self, voices: Sequence[int], times: Times, own_times: Times | None = None) -> Array:
        """Codes, [rows, n_latents]; ``times`` are not before the hop of a note-on.

        ``own_times``: samples where a note's own modulation is read, also before its note-on; None: ``times``.
        """

    def beginnings(self, time: int) -> Beginnings | None:
        """Codes of notes after a sample; None if unknown."""

    def bend_semitones(self, voices: Sequence[int], times: Times) -> npt.NDArray[np.float64]:
        """[rows]."""

    def residual(self, voices: Sequence[int], times: Times, ahead: int) -> Residual | None:
        """Residual of frames that begin at ``times``; their middles lie ``ahead`` samples later."""

    def decoded_keys(self, voices: Sequence[int]) -> Sequence[int | None]:
        """Key that the decoder gets for each row; None: the one that sounds."""

    def bend_of(self, voice: int, start: int, count: int) -> np.float32 | Array:
        """Semitones over a block: a scalar if constant, else [count]."""

    def morph(self, time: int) -> float:
        """Position, 0 to 1; 0 without a morph."""

    def beat(self, time: int) -> float: ...

    def beat_samples(self, time: int) -> float:
        """A quarter note's length, as known at ``time``."""


class Engine(Protocol[Kept]):
    """Synthesizes voices block by block."""

    @property
    def channels(self) -> int:
        """1, or 2 for stereo."""

    @property
    def lookback(self) -> int:
        """Samples before a block where parameters are read."""

    @property
    def ready(self) -> bool:
        """False while a model process lacks frames. Live, the engine plays ready frames only; offline, it waits."""

    @property
    def age_ms(self) -> float | None:
        """Age of the last note's code at its note-on; None if codes are never old."""

    @property
    def targets(self) -> Mapping[str, Ramp]: ...

    def start_stream(self, pitch: float, time: int, key: int) -> Kept:
        """Stream of a note-on at sample ``time``; ``pitch`` is 69.0 for 440 Hz."""

    def number_next(self, number: int) -> None:
        """Number the next stream, from 1, for its random phases and numbers; others count on."""

    def render(self, streams: Sequence[Kept], motion: Motion, start: int, count: int) -> list[Array]:
        """Each stream's sound, [channels, count]; silence before its note-on.

        Valid until the next call.
        """

    def prepare(self, streams: Sequence[Kept], motion: Motion, now: int) -> None:
        """Do one step of work due after ``now``, the end of the rendered sound; no sample depends on it.

        Live, it runs after a block's delivery.
        """
