"""The whole machine: events in, a block of sound out, at any rate and through effects."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from ..audio.effects import EffectChain
from ..audio.output import Output
from ..events import Event, StealVoice
from ..patch.library import Patch
from ..patch.validation import check
from .event_processor import engine_and_hands
from .mapping import Mapper
from .synthesis import Elsewhere, Synthesis, share

Array = npt.NDArray[np.float32]


class Instrument:
    """One preset, played on one MIDI channel, or on those of an MPE zone."""

    def __init__(self, patch: Patch, sample_rate: int, elsewhere: Sequence[Elsewhere] = (), live: bool = False) -> None:
        """Make it ready to sound.

        Args:
            sample_rate: of the output, Hz.
            elsewhere: other processes that compute some of its voices.
            live: the instrument is played in real time, and must not wait for what its engine computes elsewhere.

        Raises:
            UserError: the preset does not fit the model or its effects.
        """
        card = patch.model.card
        effects = EffectChain(patch.preset.effects, sample_rate, patch.folder, patch.kept)
        check(patch.preset, card, effects.targets())
        self._elsewhere, self._samples_read = elsewhere, 0
        self._output = Output(card.sample_rate, sample_rate, effects)
        turned = (effects.targets(), effects.values(), self._output.set_effect)
        engine, self._hands = engine_and_hands(patch, *turned, live)
        parts = share(0, 1 + len(elsewhere))
        self._synthesis = Synthesis(engine, self._hands, parts=parts, elsewhere=elsewhere)

    @property
    def latency_samples(self) -> int:
        """Return the output samples from an event's time to its effect, constant: rate conversion, effect quanta."""
        return self._output.latency_samples

    @property
    def pause_seconds(self) -> float:
        """Return how long its effects may be silent before they sound again, as `EffectChain.pause_seconds`."""
        return self._output.pause_seconds

    @property
    def ready(self) -> bool:
        """Return whether it can sound, as `Engine.ready`."""
        return self._synthesis.ready

    @property
    def age_ms(self) -> float | None:
        """Return how far the sound of its last note was behind its knobs, as `Engine.age_ms`."""
        return self._synthesis.age_ms

    @property
    def sounding(self) -> int:
        """Return the number of voices that sound."""
        return len(self._hands.voices)

    @property
    def knobs(self) -> Mapper:
        """Return the maps of its knobs."""
        return self._hands.knobs

    def latent_values(self) -> list[float]:
        """Return where each latent's knob is heading."""
        return self._hands.latent_values()

    def current_latents(self) -> list[float]:
        """Return the code of the sample that is computed next, without what fingers do to single notes."""
        return self._synthesis.current_latents()

    def spare(self) -> tuple[bool, float] | None:
        """Return the cost of the voice that `shed` would steal: whether it is held, and since when, in seconds < 0.

        None if there is none to steal.
        """
        return self._synthesis.spare()

    def shed(self, time: int) -> None:
        """Steal a voice at output sample ``time``: that released longest ago, else the oldest; it fades in 5 ms."""
        self._hands.expect_shedding()
        self._output.schedule(StealVoice(time, 0))

    def hear(self, events: Sequence[Event], until: int) -> None:
        """Take events, in order of time, in output samples; before sample ``until`` none will follow."""
        scheduled = [self._output.schedule(event) for event in events]
        for other in self._elsewhere:
            other.hear(scheduled, self._output.source_time(until))

    def read(self, count: int) -> Array:
        """Return the next ``count`` samples, [2, count], not limited yet; events before their end have been heard."""
        self._samples_read += count
        return self._output.read(count, self._synthesis.process)

    def prepare(self) -> None:
        """Do a step of what the samples after those that were read will need; see `Engine.prepare`."""
        self._synthesis.prepare()

    def process(self, events: Sequence[Event], count: int) -> Array:
        """Hear the events of the next ``count`` samples, and read these."""
        self.hear(events, self._samples_read + count)
        return self.read(count)
