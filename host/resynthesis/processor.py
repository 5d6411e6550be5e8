"""Audio processor: streams sound through a model at any rate, and transforms its codes; behind a rack's interface live.

Codes are scaled, shifted, smoothed and frozen before decoding, by settings, controllers and keys.
"""

import math
from bisect import bisect_right
from collections.abc import Sequence
from typing import NamedTuple, Protocol

import numpy as np
import numpy.typing as npt

from ..arrays import Array, Doubles, Times
from ..audio.effects import EffectChain
from ..audio.output import ROUNDING, Output, limit
from ..audio.resampling import Resampler
from ..engines.engine import hop_of
from ..errors import UserError
from ..events import ControlChange, DataEntry, Event, NoteOff, NoteOn, PitchBend, retimed
from ..kinds.table import kind_of
from ..midi.controllers import Zones
from ..model.card import Card
from ..play.controllers import Mapper, make_mapper
from ..play.dispatcher import EventDispatcher
from ..play.motions import Latents
from ..play.mpe import NoteExpression, mpe_channels_of
from ..play.parameters import ParameterSet
from ..preset.controls import macro_targets
from ..preset.library import Patch
from ..preset.tuning import pitch_of
from ..preset.validation import check
from ..ramps import RAMP_SECONDS, Ramp
from ..unattended import UnattendedRun
from .frame_stream import Fit, FrameStream, latency_of

WET = "process.wet"
FREEZE_THRESHOLD = 0.5  # position of the freeze knob that starts the freeze
CHANNEL = 0  # of the one instrument


class HeldKey(NamedTuple):
    channel: int  # 0 to 15
    key: float  # 0 to 127
    pitch: float  # 69.0 for 440 Hz
    touch: NoteExpression | None  # inside MPE zones
    tuning: Ramp | None  # in semitones, outside

    def bend(self, time: int) -> float:
        """Semitones."""
        if self.touch is not None:
            return self.touch.bent(time)
        return 0.0 if self.tuning is None else self.tuning.value(time)


class CodeTransform:
    """A `Bend` by [process] settings and controllers; times are in samples at the model's rate."""

    def __init__(self, patch: Patch, freeze_seconds: float | None = None) -> None:
        """Raise UserError if the preset's [process] does not fit the model."""
        preset, card = patch.preset, patch.model.card
        process_settings, rate = preset.process, card.sample_rate
        ramp_samples = round(RAMP_SECONDS * rate)
        rest_values = preset.latent_values(card)
        self.knobs = Latents(rest_values, card, preset.motion, preset.tempo_bpm, patch.morph, patch.path)
        self.ramps = {
            name: Ramp(value, ramp_samples) for name, value in process_settings.values().items() if name != WET
        }
        self._rest_code = np.array(rest_values)
        self._centre_code = np.array([latent.mean for latent in card.latents])
        if preset.latent.values is not None:
            self._centre_code = self._rest_code
        self._scales = _per_latent(process_settings.scales, "scales", card, 1.0)
        self._shift = _per_latent(process_settings.shift, "shift", card, 0.0)
        self._end_code = None if patch.process_end is None else np.array(patch.process_end)
        self._low, self._high = np.array(card.spans).T
        self._hop_seconds = hop_of(card) / rate
        self._freeze_time = math.inf if freeze_seconds is None else freeze_seconds * rate
        self._smoothed_code: Doubles | None = None  # the sound's own code, smoothed or frozen
        self._pitch_by_key = patch.tuning
        self.mpe = mpe_channels_of(preset.mpe, card, preset.play.bend_range_semitones, channel_semitones=0.0)
        # The newest pressed key, each from its sample on; without one, the detected pitch counts.
        self._played: list[tuple[int, HeldKey | None]] = [(-(1 << 62), None)]
        self.down: list[HeldKey] = []  # the newest last
        self.last: list[float] = self._rest_code.tolist()  # the code decoded last

    def codes(self, codes: Array, sounding: npt.NDArray[np.bool_], times: Times) -> Array:
        sample_times = np.maximum(times, 0)
        smoothed_codes = np.empty(codes.shape)
        for row, (time, is_sounding) in enumerate(zip(sample_times.tolist(), sounding.tolist(), strict=True)):
            smoothed_codes[row] = self._follow(codes[row].astype(np.float64), is_sounding, time)
        latent_scales = self.ramps["process.scale"].values(sample_times)[:, np.newaxis] * self._scales
        bent_codes = (
            self._centre_code
            + latent_scales * (smoothed_codes - self._centre_code)
            + self._shift
            + (self.knobs.codes_at(sample_times) - self._rest_code)
        )
        if self._end_code is not None:
            bent_codes += self.ramps["process.amount"].values(sample_times)[:, np.newaxis] * (
                self._end_code - bent_codes
            )
        if any(key is not None and key.touch is not None for _, key in self._played):
            keys = map(self._key_at, sample_times.tolist())
            self.mpe.express(bent_codes, [None if key is None else key.touch for key in keys], sample_times)
        # The transform never leaves the span; a sound that lies beyond it may stay there.
        bent_codes = np.clip(bent_codes, np.minimum(self._low, smoothed_codes), np.maximum(self._high, smoothed_codes))
        self.last = bent_codes[-1].tolist()
        return bent_codes.astype(np.float32)

    def pitches(self, detected_pitches: Doubles, times: Times) -> Doubles:
        if len(self._played) == 1 and self._played[0][1] is None:
            return detected_pitches
        pitches = detected_pitches.copy()
        for row, time in enumerate(times.tolist()):
            if (key := self._key_at(time)) is not None:
                pitches[row] = key.pitch + key.bend(time)
        return pitches

    def press(self, time: int, channel: int, key: float, touch: NoteExpression | None) -> None:
        """Times never decrease; ``key`` has a pitch."""
        tuning_ramp = self.mpe.channel_wheels.of(channel).bend if touch is None else None
        pitch = pitch_of(key, self._pitch_by_key)
        assert pitch is not None
        self.down.append(HeldKey(channel, key, pitch, touch, tuning_ramp))
        self._note_key(time)

    def release(self, time: int, channel: int, key: float) -> None:
        self.down = [pressed for pressed in self.down if (pressed.channel, pressed.key) != (channel, key)]
        self._note_key(time)

    def release_all(self, time: int, group_channel: int) -> None:
        """Release the keys of a zone, named by its master, or of a channel."""
        self.down = [key for key in self.down if self.mpe.group(key.channel) != group_channel]
        self._note_key(time)

    def touches(self, channel: int) -> list[NoteExpression]:
        return [key.touch for key in self.down if key.channel == channel and key.touch is not None]

    def forget(self, time: int) -> None:
        """Discard the history before ``time``."""
        self.knobs.forget(time)
        self.mpe.forget(time)
        for _, key in self._played:
            if key is not None and key.touch is not None:
                key.touch.forget(time)
        for parameter_ramp in self.ramps.values():
            parameter_ramp.forget(time)
        while len(self._played) > 1 and self._played[1][0] <= time:
            del self._played[0]

    def _key_at(self, time: int) -> HeldKey | None:
        """The key that plays at a sample, if any."""
        return self._played[bisect_right(self._played, time, key=lambda entry: entry[0]) - 1][1]

    def _note_key(self, time: int) -> None:
        """Record the newest pressed key, which plays from ``time`` on."""
        self._played.append((time, self.down[-1] if self.down else None))

    def _follow(self, code: Doubles, is_sounding: bool, time: int) -> Doubles:
        """Smooth or freeze the sound's own code; in silence, return the last one."""
        if self._smoothed_code is None:
            if is_sounding:
                self._smoothed_code = code
            return code
        if is_sounding and time < self._freeze_time and self.ramps["process.freeze"].value(time) < FREEZE_THRESHOLD:
            smoothing_seconds = self.ramps["process.smooth_seconds"].value(time)
            decay = math.exp(-self._hop_seconds / smoothing_seconds) if smoothing_seconds > 0 else 0.0
            self._smoothed_code = decay * self._smoothed_code + (1.0 - decay) * code
        return self._smoothed_code


def _per_latent(values: list[float] | None, setting_key: str, card: Card, default: float) -> Doubles:
    """A setting's numbers, [n_latents], or the default for all."""
    latent_count = len(card.latents)
    if values is not None and len(values) != latent_count:
        raise UserError(
            f"process.{setting_key} has {len(values)} numbers, model {card.name!r} has {latent_count} latents; "
            f"give {latent_count}"
        )
    return np.full(latent_count, default) if values is None else np.array(values)


class _MixRamp(Ramp):
    """Moves in model samples, mixes ``delay`` output samples later. Holds no `Processor`, to avoid reference cycles."""

    def __init__(self, value: float, sample_rate: int, delay: int) -> None:
        super().__init__(value, round(RAMP_SECONDS * sample_rate))
        self._delay = delay
        self.event_time = 0  # of the event that moves it, in output samples

    def move(self, time: int, value: float, samples: float | None = None) -> None:
        super().move(self.event_time + self._delay, value, samples)


class _LateEffects:
    """By ``delay`` model samples, when an event's sound reaches the effects."""

    def __init__(self, output: Output, delay: int) -> None:
        self._output, self._delay = output, delay

    def move(self, time: int, target: str, value: float) -> None:
        self._output.set_effect(time + self._delay, target, value)


class Processor(EventDispatcher):
    """Events move parameters, and keys choose the pitch.

    An event applies to the input at its time, and is audible `latency_samples` later.
    """

    def __init__(
        self, patch: Patch, sample_rate: int, input_channels: int = 1, freeze_seconds: float | None = None
    ) -> None:
        """The freeze starts at ``freeze_seconds``, or never (None).

        Args:
            input_channels: 1, or 2 for a left and a right side, whose image the output keeps.

        Raises:
            UserError: the model has no encoder or cannot process sound, or the preset does not fit it.
        """
        preset, model = patch.preset, patch.model
        if reason := kind_of(model.card).takes_no_sound:
            raise UserError(f"{model.path}: no sound can be sent through a model of kind {model.card.kind!r}: {reason}")
        self.effects = effects = EffectChain(preset.effects, sample_rate, patch.folder, patch.draft_files)
        check(preset, model.card, effects.targets())
        self._card = model.card
        self._rate, self._model_rate = sample_rate, model.card.sample_rate
        self._resampler = (
            Resampler(sample_rate, self._model_rate, input_channels) if sample_rate != self._model_rate else None
        )
        self._output = Output(self._model_rate, sample_rate, effects)
        self.codes = CodeTransform(patch, freeze_seconds)
        self._silence_samples, stream_latency = self._line_up(self._output.latency_samples - effects.latency_samples)
        self.stream = FrameStream(model, self.codes, preset.process.phase, -self._silence_samples, input_channels)
        self.latency_samples = stream_latency + effects.latency_samples
        self._wet = _MixRamp(preset.process.wet, sample_rate, self.latency_samples)
        self._waiting = np.zeros((input_channels, self._silence_samples), np.float32)
        self._dry = np.zeros((input_channels, self.latency_samples), np.float32)
        self._now = 0
        # One instrument on all channels; MPE zones are routed as in a rack.
        self._zones = Zones({CHANNEL: preset.mpe.enabled}, CHANNEL)
        late_effects = _LateEffects(self._output, self._silence_samples + latency_of(model.card))
        latents, effect_values = self.codes.knobs, effects.values() | preset.effect_values()
        parameters = ParameterSet(latents, {WET: self._wet, **self.codes.ramps}, effect_values, late_effects.move)
        macro_names = macro_targets(preset.macro)
        cc_entries = [entry for entry in preset.cc if entry.target in parameters or entry.target in macro_names]
        knobs = make_mapper(preset, model.card, effects.targets(), parameters, cc_entries)
        super().__init__(self.codes.mpe, patch.tuning, knobs, latents)

    def measure(self) -> Fit:
        """Start to measure the fit, and return it."""
        self.stream.fit = Fit()
        return self.stream.fit

    def latent_values(self) -> list[float]:
        return [knob.target for knob in self.codes.knobs.knobs]

    def process(self, events: Sequence[Event], sound: Array) -> Array:
        """Next block, [2, count], for ``sound``, [input_channels, count]; the wet sound is limited."""
        for event in events:
            for _, routed_event in self._zones.route(event):
                self._wet.event_time = routed_event.time
                self.apply(retimed(routed_event, round(routed_event.time * self._model_rate / self._rate)))
        block_start, count = self._now, sound.shape[1]
        self._now += count
        resampled_sound = sound if self._resampler is None else self._resampler.process(sound)
        self._waiting = np.concatenate([self._waiting, resampled_sound], axis=1)
        wet_sound = limit(self._output.read(count, self._synthesize))
        self.codes.forget(max(0, self.stream.earliest))
        self._dry = np.concatenate([self._dry, sound], axis=1)
        dry_sound, self._dry = self._dry[:, :count], self._dry[:, count:]
        wet_shares = self._wet.block(block_start, count)
        self._wet.forget(self._now)
        return dry_sound + wet_shares * (wet_sound - dry_sound)

    def _line_up(self, pulled_samples: int) -> tuple[int, int]:
        """Silence in model samples covers those ``pulled_samples``, and makes the latency whole output samples: dry
        and wet align.
        """
        rate_ratio, model_latency = self._model_rate / self._rate, float(latency_of(self._card))
        lead_samples = pulled_samples * rate_ratio
        if self._resampler is not None:
            lead_samples += self._resampler.latency * rate_ratio + ROUNDING
            model_latency += self._resampler.late
        least_silence = math.ceil(lead_samples)
        # After so many model samples the two rates' grids meet again: one of these latencies is nearest to whole.
        grid_period = self._model_rate // math.gcd(self._model_rate, self._rate)
        latencies = (least_silence + np.arange(grid_period) + model_latency) / rate_ratio
        extra_samples = int(np.abs(latencies - np.round(latencies)).argmin())
        return least_silence + extra_samples, round(latencies[extra_samples])

    def _synthesize(self, events: Sequence[Event], count: int) -> Array:
        """Return the wet sound, [2, count], of the waiting input."""
        assert count <= self._waiting.shape[1]
        sound, self._waiting = self._waiting[:, :count], self._waiting[:, count:]
        return np.repeat(self.stream.process(sound), 2 // len(sound), axis=0)

    def _start_note(self, event: NoteOn) -> None:
        self.codes.press(event.time, event.channel, event.key, self._mpe.touch(event.channel))

    def _end_note(self, event: NoteOff) -> None:
        self.codes.release(event.time, event.channel, event.key)

    def _end_notes(self, time: int, group: int, cut: bool) -> None:
        self.codes.release_all(time, group)

    def _touches(self, channel: int) -> list[NoteExpression]:
        return self.codes.touches(channel)

    def _control(self, event: ControlChange) -> None:
        """Do nothing: input sound has neither pedals nor a glide, and its level is its own."""

    def _reset_switches(self, time: int, group: int, bus: int) -> None:
        """Do nothing, as in `_control`."""

    def _steal_voice(self, time: int) -> None:
        """Do nothing: input sound has no voices."""

    def _turn_wheel(self, event: PitchBend | DataEntry) -> None:
        """No wheel bends keys outside zones."""
        if isinstance(event, DataEntry) or self._mpe.zone(event.channel) is not None:
            super()._turn_wheel(event)


class InputSound(Protocol):
    heard: Array  # the current block, [channels, n]; mono or two sides, for all blocks alike


class EffectRack:
    listens = True
    sounding, sounding_keys = 0, ()  # it has no voices
    ready = True
    lends = False
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
            self.processor = Processor(patch, sample_rate, len(source.heard), freeze_seconds)
        except UserError as error:
            raise UserError(*(f"preset {patch.name!r}: {line}" for line in error.args)) from None
        self._source = source
        self._fade_samples, self.played = max(1, round(RAMP_SECONDS * sample_rate)) if fades else 0, 0
        late_samples = max(0, latency - self.processor.latency_samples)
        self._late_sound = np.zeros((len(source.heard), late_samples), np.float32)

    @property
    def latency_samples(self) -> int:
        return self.processor.latency_samples + self._late_sound.shape[1]

    @property
    def pause_seconds(self) -> float:
        return self.processor.effects.pause_seconds

    @property
    def knobs(self) -> dict[int, Mapper]:
        return {CHANNEL: self.processor.knobs}

    def latent_values(self, channel: int) -> list[float]:
        return self.processor.latent_values()

    def current_latents(self, channel: int) -> list[float]:
        return self.processor.codes.last

    def modulated_values(self, channel: int) -> dict[str, float]:
        """Input sound has no voices."""
        return {}

    def shed(self, time: int) -> bool:
        return False

    def latches(self, press: NoteOn) -> bool:
        return False

    def prepare(self) -> None:
        """Do nothing."""

    def rest(self, count: int) -> None:
        """Do nothing: input sound never rests."""

    def lend(self, run: UnattendedRun, events: Sequence[Event]) -> None:
        """Do nothing: the core does not process sound."""

    def take_back(self, run: UnattendedRun) -> None:
        """Do nothing: it lends nothing."""

    def process(self, events: Sequence[Event], count: int) -> tuple[Array, dict[int, Array]]:
        """Next block, [2, count], also as channel 0's."""
        sound = self._source.heard
        assert sound.shape[1] == count
        if self.played < self._fade_samples:
            sound = sound * np.clip(np.arange(self.played, self.played + count) / self._fade_samples, 0, 1).astype(
                np.float32
            )
        self.played += count
        if delay_samples := self._late_sound.shape[1]:
            sound = np.concatenate([self._late_sound, sound], axis=1)
            sound, self._late_sound = sound[:, :count], sound[:, count:]
            events = [retimed(event, event.time + delay_samples) for event in events]
        mix = self.processor.process(events, sound)
        return mix, {CHANNEL: mix}
