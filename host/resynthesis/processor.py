"""Audio processor: streams sound through a model at any sample rate, with controllable parameters."""

import math
from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt

from ..audio.effects import EffectChain, Resampler
from ..audio.output import ROUNDING, Output
from ..dsp import limit
from ..errors import UserError
from ..events import AllOff, Clock, Event, NoteOff, NoteOn, ParameterTouch, Tempo
from ..kinds.table import kind_of
from ..patch.library import Patch
from ..patch.macros import macro_targets
from ..patch.validation import check, reach
from ..play.controller_state import ControllerReader
from ..play.mapping import Macros, Mapper
from ..ramps import RAMP_SECONDS, Ramp
from .code_transform import WET, CodeTransform
from .frame_stream import Fit, FrameStream, latency_of

Array = npt.NDArray[np.float32]


class _Dials:
    """The parameters that controllers move; times are at the output's rate.

    Apart from `Processor`, which owns the maps: reference cycles would delay freeing memory where no collector runs.
    """

    def __init__(
        self,
        patch: Patch,
        codes: CodeTransform,
        wet: Ramp,
        output: Output,
        effects: Mapping[str, float],
        rate: int,
        delays: tuple[int, int],
    ) -> None:
        """Start with the preset's values.

        Args:
            effects: effect parameters' values, by target.
            rate: of the output, Hz.
            delays: from input to dry/wet mix, in output samples, and from input to effects, in model samples.
        """
        self._codes, self._wet, self._output, self._effects = codes, wet, output, dict(effects)
        self._rates, self._delays = (patch.model.card.sample_rate, rate), delays

    def present(self, target: str) -> float:
        if target == WET:
            return self._wet.target
        for ramps in (self._codes.ramps, self._codes.knobs.targets):
            if target in ramps:
                return ramps[target].target
        return self._effects[target]

    def turn(self, time: int, target: str, value: float) -> None:
        own = round(time * self._rates[0] / self._rates[1])
        if target == WET:
            self._wet.move(time + self._delays[0], value)
        elif target in self._codes.ramps:
            self._codes.ramps[target].move(own, value)
        elif target in self._codes.knobs.targets:
            self._codes.knobs.turn(own, target, value)
        else:
            self._effects[target] = value
            self._output.set_effect(own + self._delays[1], target, value)


class Processor:
    """Audio in, audio out, at any rate; events move parameters, and keys choose the chroma.

    An event applies to the input at its time, and is audible `latency_samples` later.
    """

    def __init__(self, patch: Patch, sample_rate: int, freeze_seconds: float | None = None) -> None:
        """Open the model and the effects.

        Args:
            sample_rate: of input and output, Hz.
            freeze_seconds: start of the freeze; None: never.

        Raises:
            UserError: the model has no encoder or cannot process sound, or the preset does not fit it.
        """
        preset, model = patch.preset, patch.model
        if reason := kind_of(model.card).takes_no_sound:
            raise UserError(f"{model.path}: no sound can be sent through a model of kind {model.card.kind!r}: {reason}")
        effects = EffectChain(preset.effects, sample_rate, patch.folder, patch.kept)
        check(preset, model.card, effects.targets())
        self._card = model.card
        self._rate, self._own_rate = sample_rate, model.card.sample_rate
        self._resampler = Resampler(sample_rate, self._own_rate, 1) if sample_rate != self._own_rate else None
        self._output = Output(self._own_rate, sample_rate, effects)
        self._codes = CodeTransform(patch, freeze_seconds)
        self._silence_samples, late = self._line_up(self._output.latency_samples - effects.latency_samples)
        self._through = FrameStream(model, self._codes, preset.process.phase, -self._silence_samples)
        self.latency_samples = late + effects.latency_samples
        self._wet = Ramp(preset.process.wet, round(RAMP_SECONDS * sample_rate))
        self._waiting = np.zeros(self._silence_samples, np.float32)
        self._dry = np.zeros(self.latency_samples, np.float32)
        self._now, self._reader = 0, ControllerReader()
        delays = (self.latency_samples, self._silence_samples + latency_of(model.card))
        stand = effects.values() | preset.effect_values()
        dials = _Dials(patch, self._codes, self._wet, self._output, stand, sample_rate, delays)
        known = {WET, *self._codes.ramps, *self._codes.knobs.targets, *effects.targets(), *macro_targets(preset.macro)}
        spans = reach(preset, model.card, effects.targets())
        spans = {target: span for target, span in spans.items() if target in known}
        macros = Macros(preset.macro, spans, dials.present, dials.turn)
        self.knobs = Mapper([entry for entry in preset.cc if entry.target in known], spans, macros.present, macros.turn)

    @property
    def pause_seconds(self) -> float:
        """As `EffectChain.pause_seconds`."""
        return self._output.pause_seconds

    @property
    def heard_any(self) -> bool:
        """Whether any frame was sounding."""
        return self._through.heard_any

    def measure(self) -> Fit:
        """Return a `Fit` that accumulates from now on."""
        self._through.fit = Fit()
        return self._through.fit

    def latent_values(self) -> list[float]:
        """Return the target value of each latent."""
        return [knob.target for knob in self._codes.knobs.knobs]

    def current_latents(self) -> list[float]:
        """Return the code decoded last."""
        return self._codes.last

    def process(self, events: Sequence[Event], sound: Array) -> Array:
        """Return the next block, [2, count]; the wet sound is limited.

        Args:
            events: of this block, in order of time, in samples from the start.
            sound: [count].
        """
        for event in events:
            if (heard := self._reader.read(event)) is not None:
                self._apply(heard)
        start, count = self._now, len(sound)
        self._now += count
        taken = sound if self._resampler is None else self._resampler.process(sound[np.newaxis])[0]
        self._waiting = np.concatenate([self._waiting, taken])
        wet = limit(self._output.read(count, self._synthesize))
        self._codes.forget(max(0, self._through.earliest))
        self._dry = np.concatenate([self._dry, sound])
        dry, self._dry = self._dry[:count], self._dry[count:]
        share = self._wet.block(start, count)
        self._wet.forget(self._now)
        mixed: Array = dry + share * (wet - dry)
        return mixed

    def _line_up(self, pulled: int) -> tuple[int, int]:
        """Return the silence before the sound, in model samples, and the latency without effects, in output samples.

        The silence covers the ``pulled`` samples that the output reads ahead. It makes the latency nearly a whole
        number of output samples, which aligns dry and wet.
        """
        ratio, late, after = self._own_rate / self._rate, float(latency_of(self._card)), 0.0
        held = pulled * ratio
        if self._resampler is not None:
            held += self._resampler.latency * ratio + ROUNDING
            late += self._resampler.late
            after = Resampler(self._own_rate, self._rate, 1).late
        least = math.ceil(held)
        step = self._own_rate // math.gcd(self._own_rate, self._rate)
        totals = (least + np.arange(step) + late) / ratio + after
        best = int(np.abs(totals - np.round(totals)).argmin())
        return least + best, round(totals[best])

    def _synthesize(self, events: Sequence[Event], count: int) -> Array:
        assert count <= len(self._waiting)
        sound, self._waiting = self._waiting[:count], self._waiting[count:]
        wet = self._through.process(sound)
        return np.stack([wet, wet])

    def _apply(self, event: Event) -> None:
        time = round(event.time * self._own_rate / self._rate)
        match event:
            case NoteOn(_, _, key) | NoteOff(_, _, key):
                self._codes.press(time, key, isinstance(event, NoteOn))
            case AllOff():
                self._codes.release_all(time)
            case Clock():
                self._codes.knobs.clock(Clock(time, event.message))
            case Tempo(_, bpm):
                self._codes.knobs.tempo(time, bpm)
            case ParameterTouch(_, _, target, down):
                self._codes.knobs.hold(time, target, down)
        self.knobs.hear(event)
