"""Several instruments side by side, one a MIDI channel or MPE zone, mixed and limited."""

import contextlib
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from ..dsp import limit
from ..errors import UserError
from ..events import Event
from ..patch.library import Patch
from .instrument import Instrument
from .mapping import Mapper
from .mpe import Zones
from .synthesis import Elsewhere

if TYPE_CHECKING:
    from .worker import Crew

Array = npt.NDArray[np.float32]


class Rack:
    """The patches that play together: events of any channel in, the mix out."""

    listens = False

    def __init__(
        self,
        patches: Mapping[int, Patch],
        sample_rate: int,
        processes: int = 1,
        omni: bool = False,
        live: bool = False,
    ) -> None:
        """Make its instruments ready.

        Args:
            patches: by MIDI channel 0-15.
            processes: the number of processes that share the voices, 1 to `PARTS`; with 2 or more, the rack is for
                offline use, and must be closed. They do not change the sound, and leave where other work wants the
                processors.
            omni: the first patch hears channels that have none; else these are heard only if an MPE zone has them.
            live: the rack is played in real time: an engine sounds the newest that is ready, and waits for nothing.

        Raises:
            UserError: a preset, which is named, does not fit its model or its effects, or leaves no channel to others.
        """
        self._omni_channel = next(iter(patches)) if omni else None  # the instrument that hears channels without one
        self._zones = Zones(
            {channel: patch.preset.mpe.enabled for channel, patch in patches.items()}, self._omni_channel
        )
        self._samples_given = 0
        self._crew: Crew | None = None
        try:
            if processes > 1:
                from . import worker  # imported late: neither live playing nor short performances need it

                self._crew = worker.Crew(patches, sample_rate, processes)
            self._instruments = {
                channel: _instrument(patch, sample_rate, self._crew.of(channel) if self._crew else [], live)
                for channel, patch in patches.items()
            }
        except BaseException:
            self.close()
            raise
        self._latency = max((i.latency_samples for i in self._instruments.values()), default=0)

    @property
    def latency_samples(self) -> int:
        """Return the output samples between an event and its sound, the same for all channels."""
        return self._latency

    @property
    def played(self) -> int:
        """Return the number of samples given so far."""
        return self._samples_given

    @property
    def pause_seconds(self) -> float:
        """Return how long effects may be silent before they sound again, as `EffectChain.pause_seconds`."""
        return max((instrument.pause_seconds for instrument in self._instruments.values()), default=0.0)

    @property
    def ready(self) -> bool:
        """Return whether all of it can sound, as `Engine.ready`."""
        return all(instrument.ready for instrument in self._instruments.values())

    @property
    def age_ms(self) -> float | None:
        """Return how far the sounds of the last notes were behind their knobs, of all the most, as `Engine.age_ms`."""
        return max((age for i in self._instruments.values() if (age := i.age_ms) is not None), default=None)

    @property
    def sounding(self) -> int:
        """Return the number of voices that sound."""
        return sum(instrument.sounding for instrument in self._instruments.values())

    @property
    def knobs(self) -> dict[int, Mapper]:
        """Return the maps of each channel's instrument."""
        return {channel: instrument.knobs for channel, instrument in self._instruments.items()}

    def latent_values(self, channel: int) -> list[float]:
        """Return where the knobs of a channel's instrument are heading."""
        return self._instruments[channel].latent_values()

    def current_latents(self, channel: int) -> list[float]:
        """Return where the latents of a channel's instrument are after the last block, with all that moves them."""
        return self._instruments[channel].current_latents()

    def shed(self, time: int) -> bool:
        """Steal one voice at output sample ``time``: that released longest ago, else the oldest; it fades in 5 ms.

        Args:
            time: not before the block that is processed next.

        Returns:
            Whether there was one.
        """
        spare = {channel: cost for channel, i in self._instruments.items() if (cost := i.spare()) is not None}
        if not spare:
            return False
        chosen = self._instruments[min(spare, key=lambda channel: spare[channel])]
        chosen.shed(time + self._latency - chosen.latency_samples)
        return True

    def close(self) -> None:
        """End the processes that shared the work."""
        if self._crew:
            self._crew.close()

    def hear(self, events: Sequence[Event], until: int) -> None:
        """Take events, in order of time, in output samples; before sample ``until`` none will follow.

        Processes that share the voices work ahead as far as that.
        """
        heard: dict[int, list[Event]] = {channel: [] for channel in self._instruments}
        for event in events:
            for channel, message in self._zones.route(event):
                for listener in heard if channel is None else (channel if channel in heard else self._omni_channel,):
                    if listener is not None:
                        heard[listener].append(message)
        for channel, instrument in self._instruments.items():
            late = self._latency - instrument.latency_samples
            mine = [replace(e, time=e.time + late) for e in heard[channel]] if late else heard[channel]
            instrument.hear(mine, until + late)

    def process(self, events: Sequence[Event], count: int) -> tuple[Array, dict[int, Array]]:
        """Hear the events of the next ``count`` samples, and make these.

        Returns:
            The limited mix [2, count], and each channel before the limiter.
        """
        with self._crew.working() if self._crew else contextlib.nullcontext():
            return self._process(events, count)

    def prepare(self) -> None:
        """Do a step of what the next samples will need; see `Engine.prepare`."""
        for instrument in self._instruments.values():
            instrument.prepare()

    def _process(self, events: Sequence[Event], count: int) -> tuple[Array, dict[int, Array]]:
        self._samples_given += count
        self.hear(events, self._samples_given)
        parts: dict[int, Array] = {}
        mix = np.zeros((2, count), np.float32)
        for channel, instrument in self._instruments.items():
            parts[channel] = instrument.read(count)
            mix += parts[channel]
        return limit(mix), parts


def as_played(default: Patch, others: Mapping[int, Patch]) -> dict[int, Patch]:
    """Return patches by channel for a rack with ``omni``: the default is first, on a channel that has no other."""
    free = [channel for channel in range(16) if channel not in others]
    return dict.fromkeys(free[:1], default) | dict(others)


def _instrument(patch: Patch, sample_rate: int, elsewhere: Sequence[Elsewhere], live: bool) -> Instrument:
    try:
        return Instrument(patch, sample_rate, elsewhere, live)
    except UserError as error:
        raise UserError(*(f"preset {patch.name!r}: {line}" for line in error.args)) from None
