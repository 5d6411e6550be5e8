"""The protocols between engines and the rest of an instrument."""

from collections.abc import Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol, TypeVar

import numpy as np
import numpy.typing as npt

from ..controls import Ramp

Array = npt.NDArray[np.float32]
Times = npt.NDArray[np.int64]

MIDDLE_C = 60  # the key at which a model without chroma sounds as it was trained


@dataclass(slots=True, kw_only=True)
class VoiceSound:
    """One voice's sound; each engine keeps more in a class of its own. ``key`` is a pitch, 69.0 for 440 Hz.

    ``over`` is known from the note-on on, of a sound that ends by itself: whoever shares the voices knows it too.
    """

    key: float
    on: int
    end: int | None = None  # set once it is known from which sample on nothing is heard
    over: int | None = None  # the sample from which on it is silent of itself; None: it goes on
    pitch: Ramp | None = None  # where the key goes; None: it stays
    chord: Ramp | None = None  # pitch classes that sound together, bit n for class n; None: that of the pitch

    def pitch_at(self, time: int) -> float:
        """Return the pitch at one sample."""
        return self.key if self.pitch is None else self.pitch.value(time)


Kept = TypeVar("Kept", bound=VoiceSound)


class Beginnings(NamedTuple):
    """The codes that notes will begin with while nothing moves.

    ``of`` tells it from others; ``codes`` are pitches, 69.0 for 440 Hz, the likely ones first, and the codes,
    [rows, n_latents], that a note of that pitch may read until its first hop is over.
    """

    of: Hashable
    codes: Iterator[tuple[float, Array]]


class Motion(Protocol):
    """The values that move voices, as an engine reads them: one row for each pair of a voice and a sample time.

    Voices that have ``own_codes`` share none with each other, nor with notes to come.
    """

    @property
    def own_codes(self) -> bool: ...

    def latents(self, voices: Sequence[int], times: Times, own_times: Times | None = None) -> Array:
        """Return the codes, [rows, n_latents].

        Args:
            voices: one a row.
            times: the samples at which knobs are read: not before the hop in which a voice begins.
            own_times: those at which what a note itself brings is read, from before its beginning on; None: ``times``.
        """
        ...

    def beginnings(self, time: int) -> Beginnings | None:
        """Return what notes to come begin with as knobs stand at one sample; None where nobody can know."""
        ...

    def bend_semitones(self, voices: Sequence[int], times: Times) -> npt.NDArray[np.float64]:
        """Return the bends in semitones, [rows]."""
        ...

    def bend_of(self, voice: int, start: int, count: int) -> np.float32 | Array:
        """Return a voice's bend in semitones over a block: one number where it stands, else [count]."""
        ...

    def morph(self, time: int) -> float:
        """Return how far a preset's morph is at one sample, 0 to 1; 0 if it has none."""
        ...

    def beat(self, time: int) -> float:
        """Return the quarter notes since the start, at one sample."""
        ...

    def beat_samples(self, time: int) -> float:
        """Return how long a quarter note is, in samples, as far as is known at one."""
        ...


class Engine(Protocol[Kept]):
    """An engine: it gives the sound of voices, block by block."""

    @property
    def channels(self) -> int:
        """Return the number of channels: 1, or 2 where left and right differ."""
        ...

    @property
    def lookback(self) -> int:
        """Return how many samples before a block the knobs may still be read."""
        ...

    @property
    def ready(self) -> bool:
        """Return whether it can sound; an engine that decodes elsewhere may not be ready at first.

        Live, it then sounds the newest frames that are ready; offline, it waits for those that are asked for.
        """
        ...

    @property
    def age_ms(self) -> float | None:
        """Return how long before the last note its knobs stood where its sound was decoded; None: it never waits."""
        ...

    @property
    def targets(self) -> Mapping[str, Ramp]:
        """Return the ramps of what knobs can turn in it, by target."""
        ...

    def begin(self, pitch: float, time: int, key: int) -> Kept:
        """Return a stream for a note-on at sample ``time``: its ``pitch``, 69.0 for 440 Hz, and the MIDI ``key``."""
        ...

    def render(self, streams: Sequence[Kept], motion: Motion, start: int, count: int) -> list[Array]:
        """Return the sound of each stream from sample ``start`` on, [channels, count]; silence before its note-on.

        What is returned is good until the next call.
        """
        ...

    def prepare(self, streams: Sequence[Kept], motion: Motion, now: int) -> None:
        """Do a step of what will be due after sample ``now``, before which all is rendered; it changes no sample.

        Live, this is the time after a block was handed over: what is done in it keeps no sound waiting.
        """
        ...
