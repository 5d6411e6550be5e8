"""Live audio input: plays a `Processor` in a rack's place."""

from collections.abc import Sequence
from typing import Protocol

import numpy as np
import numpy.typing as npt

from ..errors import UserError
from ..events import Event
from ..patch.library import Patch
from ..play.mapping import Mapper
from ..ramps import RAMP_SECONDS
from .processor import Processor

Array = npt.NDArray[np.float32]


class Listening(Protocol):
    """An audio input."""

    heard: Array  # the current block


class LiveEffect:
    """A `Processor` of the audio input, with a rack's interface; fades in."""

    listens = True
    sounding = 0  # it has no voices
    ready = True
    age_ms = None

    def __init__(self, patch: Patch, sample_rate: int, ear: Listening) -> None:
        """Create the processor.

        Raises:
            UserError: as `Processor`; the message names the preset.
        """
        try:
            self._processor = Processor(patch, sample_rate)
        except UserError as error:
            raise UserError(*(f"preset {patch.name!r}: {line}" for line in error.args)) from None
        self._ear = ear
        self._fade, self._now = max(1, round(RAMP_SECONDS * sample_rate)), 0

    @property
    def played(self) -> int:
        return self._now

    @property
    def latency_samples(self) -> int:
        return self._processor.latency_samples

    @property
    def knobs(self) -> dict[int, Mapper]:
        return {0: self._processor.knobs}

    def latent_values(self, channel: int) -> list[float]:
        return self._processor.latent_values()

    def current_latents(self, channel: int) -> list[float]:
        return self._processor.current_latents()

    def shed(self, time: int) -> bool:
        """Return False: there are no voices."""
        return False

    def prepare(self) -> None:
        """Do nothing."""

    def process(self, events: Sequence[Event], count: int) -> tuple[Array, dict[int, Array]]:
        """Return the next ``count`` samples, [2, count], and the same for channel 0."""
        sound = self._ear.heard
        assert len(sound) == count
        if self._now < self._fade:
            sound = sound * np.clip(np.arange(self._now, self._now + count) / self._fade, 0, 1).astype(np.float32)
        self._now += count
        given = self._processor.process(events, sound)
        return given, {0: given}
