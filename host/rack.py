"""Several instruments side by side, one a MIDI channel, mixed and limited."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
import numpy.typing as npt

from .dsp import limit
from .errors import UserError
from .events import Clock, Event
from .instrument import Instrument
from .library import Patch

Array = npt.NDArray[np.float32]


class Rack:
    """What live playing and rendering drive: events of any channel in, the mix out."""

    def __init__(self, patches: Mapping[int, Patch], sample_rate: int, threads: int = 1) -> None:
        """``patches``: by MIDI channel 0-15; events of other channels are not heard.

        Raises:
            UserError: a preset, which is named, does not fit its model or its effects.
        """
        self._instruments = {channel: _instrument(patch, sample_rate, threads) for channel, patch in patches.items()}
        self._latency = max((i.latency_samples for i in self._instruments.values()), default=0)

    @property
    def latency_samples(self) -> int:
        """Output samples between an event and its sound, the same for all channels."""
        return self._latency

    @property
    def sounding(self) -> int:
        """Voices that sound."""
        return sum(instrument.sounding for instrument in self._instruments.values())

    def latent_values(self, channel: int) -> list[float]:
        """Where the knobs of a channel's instrument are heading."""
        return self._instruments[channel].latent_values()

    def process(self, events: Sequence[Event], count: int) -> tuple[Array, dict[int, Array]]:
        """The next ``count`` samples: the limited mix [2, count], and each channel before the limiter."""
        parts: dict[int, Array] = {}
        mix = np.zeros((2, count), np.float32)
        for channel, instrument in self._instruments.items():
            late = self._latency - instrument.latency_samples
            mine = [
                e if not late else replace(e, time=e.time + late)
                for e in events
                if isinstance(e, Clock) or e.channel == channel
            ]
            parts[channel] = instrument.process(mine, count)
            mix += parts[channel]
        return limit(mix), parts


def _instrument(patch: Patch, sample_rate: int, threads: int) -> Instrument:
    try:
        return Instrument(patch.preset, patch.model, patch.folder, sample_rate, threads)
    except UserError as error:
        raise UserError(f"preset {patch.name!r}: {error}") from None
