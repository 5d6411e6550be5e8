"""One preset on a MIDI channel or MPE zone: synthesis, resampling and effects."""

from collections.abc import Sequence

from ..arrays import Array
from ..audio.effects import EffectChain
from ..audio.output import Output
from ..events import Event, StealVoice
from ..patch.library import Patch
from ..patch.validation import check
from .controller_mapping import Mapper
from .event_processor import engine_and_processor
from .synthesis import Elsewhere, Synthesis, share


class ChannelInstrument:
    def __init__(self, patch: Patch, sample_rate: int, elsewhere: Sequence[Elsewhere] = (), live: bool = False) -> None:
        """``sample_rate`` is the output's, in Hz.

        Raises:
            UserError: the preset does not fit the model or its effects.
        """
        card = patch.model.card
        effects = EffectChain(patch.preset.effects, sample_rate, patch.folder, patch.kept)
        check(patch.preset, card, effects.targets())
        self._elsewhere, self._samples_read = elsewhere, 0
        self.moves = any(motion.start == "play" for motion in patch.preset.motion)  # also while no note sounds
        self._output = Output(card.sample_rate, sample_rate, effects)
        turned = (effects.targets(), effects.values(), self._output.set_effect)
        self._engine, self._processor = engine_and_processor(patch, *turned, live)
        parts = share(0, 1 + len(elsewhere))
        self._synthesis = Synthesis(self._engine, self._processor, parts=parts, elsewhere=elsewhere)

    @property
    def latency_samples(self) -> int:
        return self._output.latency_samples

    @property
    def pause_seconds(self) -> float:
        return self._output.pause_seconds

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
        return {voice.key for voice in tuple(self._processor.voices)}

    @property
    def knobs(self) -> Mapper:
        return self._processor.knobs

    def latent_values(self) -> list[float]:
        return self._processor.latent_values()

    def current_latents(self) -> list[float]:
        return self._synthesis.current_latents()

    def moved(self) -> dict[str, float]:
        return self._processor.moved(self._synthesis.now)

    def spare(self) -> tuple[bool, float] | None:
        return self._processor.spare(self._synthesis.now)

    def shed(self, time: int) -> None:
        """Steal a voice at output sample ``time``."""
        self._processor.expect_shedding()
        self._output.schedule(StealVoice(time, 0))

    def schedule(self, events: Sequence[Event], until: int) -> None:
        """As `Rack.schedule`."""
        scheduled = [self._output.schedule(event) for event in events]
        for other in self._elsewhere:
            other.schedule(scheduled, self._output.source_time(until))

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

    def process(self, events: Sequence[Event], count: int) -> Array:
        self.schedule(events, self._samples_read + count)
        return self.read(count)
