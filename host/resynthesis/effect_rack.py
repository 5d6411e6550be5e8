"""Effect rack: processes input sound with a `Processor` behind a rack's interface."""

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Protocol

import numpy as np

from ..arrays import Array
from ..errors import UserError
from ..events import Event
from ..patch.library import Patch
from ..play.controller_mapping import Mapper
from ..ramps import RAMP_SECONDS
from .processor import CHANNEL, Processor


class InputSound(Protocol):
    heard: Array  # the current block


class EffectRack:
    listens = True
    sounding, sounding_keys = 0, ()  # it has no voices
    ready = True
    age_ms = None
    rest_seconds = math.inf

    def __init__(
        self,
        patch: Patch,
        sample_rate: int,
        source: InputSound,
        *,
        fades: bool = True,
        latency: int = 0,
        freeze_seconds: float | None = None,
    ) -> None:
        """Errors name the preset.

        Args:
            fades: fade the input in.
            latency: the least, in samples: sound and events are delayed to reach it.

        Raises:
            UserError: as `Processor`.
        """
        try:
            self.processor = Processor(patch, sample_rate, freeze_seconds)
        except UserError as error:
            raise UserError(*(f"preset {patch.name!r}: {line}" for line in error.args)) from None
        self._source = source
        self._fade, self.played = max(1, round(RAMP_SECONDS * sample_rate)) if fades else 0, 0
        self._late = np.zeros(max(0, latency - self.processor.latency_samples), np.float32)

    @property
    def latency_samples(self) -> int:
        return self.processor.latency_samples + len(self._late)

    @property
    def pause_seconds(self) -> float:
        return self.processor.pause_seconds

    @property
    def knobs(self) -> dict[int, Mapper]:
        return {CHANNEL: self.processor.knobs}

    def latent_values(self, channel: int) -> list[float]:
        return self.processor.latent_values()

    def current_latents(self, channel: int) -> list[float]:
        return self.processor.current_latents()

    def moved(self, channel: int) -> dict[str, float]:
        """Input sound has no voices."""
        return {}

    def shed(self, time: int) -> bool:
        return False

    def prepare(self) -> None:
        """Do nothing."""

    def rest(self, count: int) -> None:
        """Do nothing: input sound never rests."""

    def process(self, events: Sequence[Event], count: int) -> tuple[Array, dict[int, Array]]:
        """Next block, [2, count], also as channel 0's."""
        sound = self._source.heard
        assert len(sound) == count
        if self.played < self._fade:
            sound = sound * np.clip(np.arange(self.played, self.played + count) / self._fade, 0, 1).astype(np.float32)
        self.played += count
        if delay := len(self._late):
            sound = np.concatenate([self._late, sound])
            sound, self._late = sound[:count], sound[count:]
            events = [replace(event, time=event.time + delay) for event in events]
        given = self.processor.process(events, sound)
        return given, {CHANNEL: given}
