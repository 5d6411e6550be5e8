"""A processor in a rack's place: what an input hears goes through a model."""

from collections.abc import Sequence
from typing import Protocol

import numpy as np
import numpy.typing as npt

from ..controls import RAMP_SECONDS
from ..errors import UserError
from ..events import Event
from ..patch.library import Patch
from ..play.mapping import Mapper
from .processor import Processor

Array = npt.NDArray[np.float32]


class Listening(Protocol):
    """A listener to the sound that comes in."""

    heard: Array  # the block that is under way


class Insert:
    """A `Processor` in a rack's place: what is heard goes through it, and fades in when it begins."""

    listens = True
    sounding = 0  # it has no voices
    ready = True
    age_ms = None

    def __init__(self, patch: Patch, sample_rate: int, ear: Listening) -> None:
        """Make it ready, as `Processor`.

        Raises:
            UserError: as `Processor`; the preset is named.
        """
        try:
            self._processor = Processor(patch, sample_rate)
        except UserError as error:
            raise UserError(*(f"preset {patch.name!r}: {line}" for line in error.args)) from None
        self._ear = ear
        self._fade, self._now = max(1, round(RAMP_SECONDS * sample_rate)), 0

    @property
    def played(self) -> int:
        """Samples that it has given."""
        return self._now

    @property
    def latency_samples(self) -> int:
        """Samples between what is heard and what comes out."""
        return self._processor.latency_samples

    @property
    def knobs(self) -> dict[int, Mapper]:
        """Return what knobs turn, under the first channel."""
        return {0: self._processor.knobs}

    def latent_values(self, channel: int) -> list[float]:
        """Return where each knob of a latent is heading."""
        return self._processor.latent_values()

    def current_latents(self, channel: int) -> list[float]:
        """Return the code that was decoded last."""
        return self._processor.current_latents()

    def shed(self, time: int) -> bool:
        """Return False: there is nothing to give up."""
        return False

    def prepare(self) -> None:
        """Do nothing: what comes next has not been heard yet."""

    def process(self, events: Sequence[Event], count: int) -> tuple[Array, dict[int, Array]]:
        """Return the next ``count`` samples, [2, count], and the same as the part of the first channel."""
        sound = self._ear.heard
        assert len(sound) == count
        if self._now < self._fade:
            sound = sound * np.clip(np.arange(self._now, self._now + count) / self._fade, 0, 1).astype(np.float32)
        self._now += count
        given = self._processor.process(events, sound)
        return given, {0: given}
