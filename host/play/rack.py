"""Rack: instruments in parallel, one per MIDI channel or MPE zone, with effects, mixed and limited."""

import contextlib
import math
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from ..arrays import Array
from ..audio.effects import EffectChain
from ..audio.output import Output, limit
from ..engines.engine import VoiceMaker
from ..errors import UserError
from ..events import Event, NoteOn, StealVoice, nearest_key, retimed
from ..midi.controllers import Zones
from ..preset.library import Patch
from ..preset.validation import check
from ..unattended import UnattendedRun
from ..voice.core_voices import CoreEngine
from .controllers import Mapper
from .core_synthesis import CoreSynthesis, core_for
from .events import EventProcessor, engine_and_processor
from .synthesis import Elsewhere, Synthesis, share


class ChannelInstrument:
    def __init__(
        self,
        patch: Patch,
        sample_rate: int,
        elsewhere: Sequence[Elsewhere] = (),
        live: bool = False,
        core: CoreEngine | None = None,
    ) -> None:
        """``sample_rate`` is the output's, in Hz. ``core``: of `core_for`.

        Raises:
            UserError: the preset does not fit the model or its effects.
        """
        card = patch.model.card
        effects = EffectChain(patch.preset.effects, sample_rate, patch.folder, patch.draft_files)
        check(patch.preset, card, effects.targets())
        self._elsewhere, self._samples_read = elsewhere, 0
        self.moves = any(motion.start == "play" for motion in patch.preset.motion)  # also while no note sounds
        self._output = Output(card.sample_rate, sample_rate, effects)
        effect_controls = (effects.targets(), effects.values(), self._output.set_effect)
        self._engine: VoiceMaker[Any]
        self._synthesis: CoreSynthesis | Synthesis
        if core is not None:
            self._engine, self._processor = core, EventProcessor(patch, core, *effect_controls)
            self._synthesis = CoreSynthesis(core, self._processor)
            if live:
                self._synthesis.fill_caches()
            return
        engine, self._processor = engine_and_processor(patch, *effect_controls, live)
        self._engine, parts = engine, share(0, 1 + len(elsewhere))
        self._synthesis = Synthesis(engine, self._processor, parts=parts, elsewhere=elsewhere)

    @property
    def latency_samples(self) -> int:
        return self._output.latency_samples

    @property
    def pause_seconds(self) -> float:
        return self._output.effects.pause_seconds

    @property
    def ready(self) -> bool:
        return self._engine.ready

    @property
    def age_ms(self) -> float | None:
        return self._engine.age_ms

    @property
    def sounding(self) -> int:
        return len(self._processor.voices)

    @property
    def sounding_keys(self) -> set[int]:
        return {nearest_key(voice.key) for voice in tuple(self._processor.voices)}

    @property
    def knobs(self) -> Mapper:
        return self._processor.knobs

    def latent_values(self) -> list[float]:
        return self._processor.latent_values()

    def current_latents(self) -> list[float]:
        return self._processor.latents_at(self._synthesis.now)

    def modulated_values(self) -> dict[str, float]:
        return self._processor.modulated_values(self._synthesis.now)

    def spare(self) -> tuple[bool, float] | None:
        return self._processor.spare(self._synthesis.now)

    def shed(self, time: int) -> None:
        """Steal a voice at output sample ``time``."""
        self._processor.expect_shedding()
        self._output.schedule(StealVoice(time, 0))

    def latches(self, press: NoteOn) -> bool:
        """As `Rack.latches`."""
        return self._processor.voices.latches(press.key, press.channel)

    def schedule(self, events: Sequence[Event], until: int) -> None:
        """As `Rack.schedule`."""
        scheduled = [self._output.schedule(event) for event in events]
        for process in self._elsewhere:
            process.schedule(scheduled, self._output.source_time(until))

    def read(self, count: int) -> Array:
        """Next ``count`` samples, [2, count], before the limiter; schedule their events first."""
        self._samples_read += count
        return self._output.read(count, self._synthesis.process)

    def prepare(self) -> None:
        self._synthesis.prepare()

    def rest(self, count: int) -> None:
        """As `read` after silence, with less resampling."""
        self._samples_read += count
        self._output.read(count, self._synthesis.process, silent=True)

    @property
    def lends(self) -> bool:
        """Return whether the core can render for a while."""
        return isinstance(self._synthesis, CoreSynthesis) and self._synthesis.lends and self._output.lends

    def lend(self, run: UnattendedRun) -> None:
        """Let the core render for a while; schedule the events of its first block first."""
        assert isinstance(self._synthesis, CoreSynthesis)
        self._synthesis.lend(run, *self._output.lend(run))

    def take_back(self, run: UnattendedRun) -> None:
        """As `Rack.take_back`."""
        assert isinstance(self._synthesis, CoreSynthesis)
        self._samples_read += run.samples
        self._output.take_back(run, run.fields.now - self._synthesis.now)
        self._synthesis.take_back(run)

    def process(self, events: Sequence[Event], count: int) -> Array:
        self.schedule(events, self._samples_read + count)
        return self.read(count)


REST_SECONDS = 1.0  # without sound or events: ramps have ended, and decoders know the notes that may come

if TYPE_CHECKING:
    from .voice_worker import WorkerPool


class Rack:
    listens = False

    def __init__(
        self,
        patches: Mapping[int, Patch],
        sample_rate: int,
        processes: int = 1,
        omni: bool = False,
        live: bool = False,
        latency: int = 0,
    ) -> None:
        """Create the instruments.

        Args:
            patches: by MIDI channel, 0 to 15.
            processes: number that shares the voices, 1 to `PARTS`; with 2 or more, play offline only, and close the
                rack.
            omni: the first patch receives the channels without one.
            latency: the least, in samples: events are delayed to reach it.

        Raises:
            UserError: a preset does not fit its model or effects, or leaves no channel to others.
        """
        self._omni_channel = next(iter(patches)) if omni else None  # its instrument receives channels without one
        self._zones = Zones(
            {channel: patch.preset.mpe.enabled for channel, patch in patches.items()}, self._omni_channel
        )
        self.played = 0
        self._crew: WorkerPool | None = None
        try:
            cores = {channel: core_for(patch) for channel, patch in patches.items()}
            shared = {channel: patch for channel, patch in patches.items() if cores[channel] is None}
            for core in cores.values():
                if core is not None:
                    core.share(processes)
            if processes > 1 and shared:
                from . import voice_worker  # imported late: live playing and short files do not need it

                self._crew = voice_worker.WorkerPool(shared, sample_rate, processes)
            self._instruments = {
                channel: _instrument(
                    patch,
                    sample_rate,
                    self._crew.of(channel) if self._crew and channel in shared else [],
                    live,
                    cores[channel],
                )
                for channel, patch in patches.items()
            }
        except BaseException:
            self.close()
            raise
        # Output samples from event to sound, equal for all channels.
        self.latency_samples = max([latency, *(i.latency_samples for i in self._instruments.values())])

    @property
    def pause_seconds(self) -> float:
        """As `EffectChain.pause_seconds`."""
        return max((instrument.pause_seconds for instrument in self._instruments.values()), default=0.0)

    @property
    def rest_seconds(self) -> float:
        moves = any(instrument.moves for instrument in self._instruments.values())
        return math.inf if moves else REST_SECONDS + self.pause_seconds

    @property
    def ready(self) -> bool:
        return all(instrument.ready for instrument in self._instruments.values())

    @property
    def age_ms(self) -> float | None:
        return max((age for i in self._instruments.values() if (age := i.age_ms) is not None), default=None)

    @property
    def sounding(self) -> int:
        return sum(instrument.sounding for instrument in self._instruments.values())

    @property
    def sounding_keys(self) -> set[int]:
        return {key for instrument in self._instruments.values() for key in instrument.sounding_keys}

    @property
    def knobs(self) -> dict[int, Mapper]:
        return {channel: instrument.knobs for channel, instrument in self._instruments.items()}

    def latent_values(self, channel: int) -> list[float]:
        return self._instruments[channel].latent_values()

    def current_latents(self, channel: int) -> list[float]:
        """A channel's latents after the last block."""
        return self._instruments[channel].current_latents()

    def modulated_values(self, channel: int) -> dict[str, float]:
        """Modulated targets of a channel after the last block, in its newest voice."""
        return self._instruments[channel].modulated_values()

    def shed(self, time: int) -> bool:
        """Steal a voice at output sample ``time``, not before the next block; return whether there was one."""
        spare = {channel: cost for channel, i in self._instruments.items() if (cost := i.spare()) is not None}
        if not spare:
            return False
        instrument = self._instruments[min(spare, key=lambda channel: spare[channel])]
        instrument.shed(time + self.latency_samples - instrument.latency_samples)
        return True

    def latches(self, press: NoteOn) -> bool:
        """Return whether a key is latched, so that this press ends it."""
        return any(
            self._instruments[listener].latches(message)
            for channel, message in self._zones.route(press)
            if isinstance(message, NoteOn) and (listener := self._listener(channel)) is not None
        )

    def close(self) -> None:
        if self._crew:
            self._crew.close()

    def schedule(self, events: Sequence[Event], until: int) -> None:
        """Schedule all events before ``until``, in order, in output samples; workers render ahead to it."""
        if not events and self._crew is None:
            return
        channel_events: dict[int, list[Event]] = {channel: [] for channel in self._instruments}
        for event in events:
            for channel, message in self._zones.route(event):
                for listener in channel_events if channel is None else (self._listener(channel),):
                    if listener is not None:
                        channel_events[listener].append(message)
        for channel, instrument in self._instruments.items():
            late = self.latency_samples - instrument.latency_samples
            own_events = [retimed(event, event.time + late) for event in channel_events[channel]]
            instrument.schedule(own_events, until + late)

    def _listener(self, channel: int | None) -> int | None:
        """Return the channel of the instrument that receives a channel; None for none."""
        return channel if channel in self._instruments else self._omni_channel

    def process(self, events: Sequence[Event], count: int) -> tuple[Array, dict[int, Array]]:
        """Limited mix of the next ``count`` samples, [2, count], and channels before the limiter."""
        if self._crew is None:
            return self._process(events, count)
        with self._crew.working():
            return self._process(events, count)

    def prepare(self) -> None:
        for instrument in self._instruments.values():
            instrument.prepare()

    @property
    def lends(self) -> bool:
        """Return whether the core can render for a while: a single instrument of its own, without effects."""
        instruments = tuple(self._instruments.values())
        return self._crew is None and len(instruments) == 1 and instruments[0].lends

    def lend(self, run: UnattendedRun, events: Sequence[Event]) -> None:
        """Let the core render for a while; ``events``: of its first block."""
        self.schedule(events, self.played + run.fields.block)
        for instrument in self._instruments.values():
            instrument.lend(run)

    def take_back(self, run: UnattendedRun) -> None:
        """Go on where the core stopped."""
        self.played += run.samples
        for instrument in self._instruments.values():
            instrument.take_back(run)

    def rest(self, count: int) -> None:
        self.played += count
        for instrument in self._instruments.values():
            instrument.rest(count)

    def _process(self, events: Sequence[Event], count: int) -> tuple[Array, dict[int, Array]]:
        self.played += count
        self.schedule(events, self.played)
        parts = {channel: instrument.read(count) for channel, instrument in self._instruments.items()}
        first, *other_parts = parts.values() or [np.zeros((2, count), np.float32)]
        mix = first.copy()
        for part in other_parts:
            mix += part
        return limit(mix), parts


def latency_of(patch: Patch, sample_rate: int) -> int:
    """Output samples from an event to its sound; errors as `Rack`."""
    with _naming(patch):
        effects = EffectChain(patch.preset.effects, sample_rate, patch.folder, patch.draft_files)
        return Output(patch.model.card.sample_rate, sample_rate, effects).latency_samples


def as_played(default: Patch, others: Mapping[int, Patch]) -> dict[int, Patch]:
    """Patches by channel for an ``omni`` rack: the default first, on a free channel."""
    free = [channel for channel in range(16) if channel not in others]
    return dict.fromkeys(free[:1], default) | dict(others)


def _instrument(
    patch: Patch, sample_rate: int, elsewhere: Sequence[Elsewhere], live: bool, core: CoreEngine | None
) -> ChannelInstrument:
    with _naming(patch):
        return ChannelInstrument(patch, sample_rate, elsewhere, live, core)


@contextlib.contextmanager
def _naming(patch: Patch) -> Iterator[None]:
    """Name the preset in errors."""
    try:
        yield
    except UserError as error:
        raise UserError(*(f"preset {patch.name!r}: {line}" for line in error.args)) from None
