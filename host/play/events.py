"""Event processor: applies MIDI and parameter events to a preset's voices and controls."""

import functools
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, NamedTuple

import numpy as np

from ..engines.engine import Engine, EngineRequest, VoiceMaker, engine_of, voice_gain
from ..events import (
    ControlChange,
    ControllersReset,
    DataEntry,
    Event,
    LatchEnd,
    MasterTuning,
    NoteOff,
    NoteOn,
    PitchBend,
    SystemReset,
    nearest_key,
)
from ..kinds.spectrum import VIBRATO, GestureSettings
from ..kinds.table import kind_of
from ..midi.controllers import PRESSED
from ..preset.library import Patch
from ..preset.modulation import modulations
from ..preset.preset import MORPH, PROCESS_CONTROLS
from ..ramps import Ramp, knob
from ..units import Range, db_to_gain
from .blended_trajectory import BlendedTrajectory
from .controllers import CHANNELS, make_mapper
from .dispatcher import EventDispatcher
from .gestures import GestureBlend, GesturePlayer, Note, NoteValues
from .motions import Latents, MotionLayers, NotePath, VoiceMotion
from .mpe import NoteExpression, mpe_channels_of
from .parameters import Level, Move, Parameters
from .trajectory import GestureGrid
from .voice import Voice
from .voices import Latch, MonoAssignment, VoiceFactory, keyed

LONGEST_GLIDE_SECONDS = 5.0  # at CC 5 = 127
GLIDE_CURVE = 3.0  # exponent of CC 5: half of its range is for glides of up to 0.6 s, the most common
FORGETTING_SAMPLES = 1024  # interval between cleanups


class Glide(NamedTuple):
    seconds: float
    on: bool

    def samples(self, rate: int) -> int:
        return round(self.seconds * rate) if self.on else 0


class EventProcessor(EventDispatcher):
    """Plays events with a preset's voices."""

    def __init__(
        self,
        patch: Patch,
        engine: VoiceMaker[Any],
        effects: Mapping[str, Range],
        rests: Mapping[str, float],
        move_effect: Move,
        blend: GestureBlend | None = None,
    ) -> None:
        """Arguments and errors as in `engine_and_processor`; ``blend``: of the same patch, made here if None."""
        preset, card = patch.preset, patch.model.card
        rate, play, kind = card.sample_rate, preset.play, kind_of(card)
        self._rate = rate
        mpe = mpe_channels_of(preset.mpe, card, play.bend_range_semitones, play.bend_range_semitones)
        note_paths = [motion for motion in preset.motion if motion.start == "note"]
        common = [motion for motion in preset.motion if motion.start == "play"]
        self.codes = Latents(preset.latent_values(card), card, common, preset.tempo_bpm, patch.morph, patch.path)
        note_path = NotePath(note_paths[0], card, engine.lookback) if note_paths else None
        rests = {**rests, **play.values(), **preset.envelope.values(), **preset.effect_values()}
        if kind.attack_seconds is not None and "attack_seconds" not in preset.envelope.model_fields_set:
            rests["envelope.attack_seconds"] = kind.attack_seconds
        self._velocities: dict[Note, int] = {}  # of all struck keys; their notes may begin later
        self._gesturing = gesturing_of(patch, engine.lookback, self._velocities, blend)
        targets = dict(engine.targets)
        if self._gesturing is not None:
            targets |= self._gesturing.targets
        self._parameters = Parameters(rests, self.codes, targets, move_effect, rate, mpe.bus, kind.attack_seconds)
        entries = [entry for entry in preset.cc if entry.target not in PROCESS_CONTROLS]
        knobs = make_mapper(preset, card, effects, self._parameters, entries)
        super().__init__(mpe, patch.tuning, knobs, self.codes)
        note_values = NoteValues(preset.note, card, self._velocities) if preset.note else None
        factory = VoiceFactory(
            engine,
            self._parameters,
            self._mpe,
            self._tuning,
            self._velocities,
            note_values,
            self._gesturing,
            play.bend_range_semitones,
        )
        low, high = np.array(card.spans, np.float64).T
        self._layers = MotionLayers(self.codes, self._mpe, low, high, note_path, note_values, self._gesturing)
        keying = kind.keying(kind.select_section(preset), play)
        self.voices = keyed(play, keying, rate, factory)
        modulated = modulations(patch)
        self._modulated = {target: span for target, span in self.knobs.ranges.items() if target in modulated}
        self._voice_gain = voice_gain(card.loudness_lufs)
        self._key_gains = {key: db_to_gain(level_db) for key, level_db in keying.gains_db.items()}
        self._velocity_gain = functools.cache(play.velocity_gain)
        self._rest_glide = Glide(play.glide_seconds, play.glide_seconds > 0)
        self._glides: dict[int, Glide] = {}  # by bus, since a message
        if isinstance(self.voices, MonoAssignment):
            self.voices.glide_samples = self._rest_glide.samples(rate)
        self._next_forgetting = 0  # sample
        self._expected_sheds = 0  # scheduled `StealVoice` events

    def apply(self, event: Event) -> None:
        """As its base; where nothing sounds, values are set at once, as the first note of a file needs them."""
        if isinstance(event, LatchEnd):
            if isinstance(self.voices, Latch):
                self.voices.unlatch(event.time, event.key, event.channel)
        else:
            super().apply(event)
        if isinstance(event, PitchBend | DataEntry | MasterTuning | ControllersReset | SystemReset):
            self.voices.follow_bends(event.time)
        if (since := self.voices.silent_since(event.time)) is not None:
            self._parameters.settle(event.time, since)
            self._mpe.settle(event.time)
        elif (channel := getattr(event, "channel", None)) is not None:
            bus = self._mpe.bus(channel)
            if self.voices.silent_since(event.time, bus) is not None:
                self._parameters.settle_level(event.time, bus)
                self.bend(bus).settle(event.time)

    def level(self, bus: int) -> Level:
        return self._parameters.level(bus)

    def bend(self, bus: int) -> Ramp:
        """Bend of a bus's notes outside MPE zones, in semitones."""
        return self._mpe.channel_wheels.of(bus).bend

    @property
    def vibrato_depth(self) -> Ramp | None:
        """None without gestures."""
        return None if self._gesturing is None else self._gesturing.targets[VIBRATO]

    def likely_blends(self) -> list[tuple[BlendedTrajectory, GestureGrid]]:
        """As `GesturePlayer.likely_blends`; empty without gestures."""
        return [] if self._gesturing is None else self._gesturing.likely_blends()

    def latents_at(self, time: int) -> list[float]:
        """Code at a sample, without what single notes add."""
        return [float(value) for value in self.codes.codes_at(np.array([time], np.int64))[0]]

    def latent_values(self) -> list[float]:
        return [ramp.target for ramp in self.codes.knobs]

    def modulated_values(self, time: int) -> dict[str, float]:
        """Values of modulated targets at sample ``time``, in the voice that began last."""
        if not self._modulated:
            return {}
        newest = max(self.voices, key=lambda voice: voice.stream.on, default=None)
        times = np.array([time], np.int64)
        code = self.codes.codes_at(times)[0] if newest is None else self.motion_of([newest]).latents([0], times)[0]
        values = {f"latent.{index}": float(value) for index, value in enumerate(code)}
        values[MORPH] = self.codes.morph(time)
        added = {} if newest is None else newest.offsets.by_target
        for target, (low, high) in self._modulated.items():
            if target not in values:
                values[target] = min(max(self._parameters.present(target) + added.get(target, 0.0), low), high)
        return {target: values[target] for target in self._modulated}

    @property
    def fingers_move_codes(self) -> bool:
        """Return whether pressure or slide of MPE may move latents of single notes."""
        return self._mpe.moves_codes

    def knobs_make_codes(self, time: int) -> bool:
        """Return whether notes have the codes of the latents' ramps from a sample on, but for those of gestures."""
        return not self.fingers_move_codes and self._layers.are_common and self.codes.follow_knobs(time)

    def motion_of(self, voices: list[Voice], gestures: bool = True) -> VoiceMotion:
        """As `VoiceMotion`."""
        return VoiceMotion(self._layers, voices, gestures)

    def spare(self, now: int) -> tuple[bool, float] | None:
        """Return whether the voice to steal is held, and since when, in seconds <= 0; None without a voice."""
        voice = self.voices.victim(now)
        if voice is None or self.voices.count(now) <= self._expected_sheds:
            return None
        spare_time = voice.spare_since
        return spare_time is None, ((voice.envelope.on if spare_time is None else spare_time) - now) / self._rate

    def expect_shedding(self) -> None:
        """Count a scheduled `StealVoice`: its voice is not spare."""
        self._expected_sheds += 1

    def forget(self, time: int) -> None:
        """Forget values before sample ``time``, once in `FORGETTING_SAMPLES`: each ramp costs a look."""
        if time < self._next_forgetting:
            return
        self._next_forgetting = time + FORGETTING_SAMPLES
        self._parameters.forget(time)
        self._mpe.forget(time)
        self.voices.forget(time)

    def _start_note(self, event: NoteOn) -> None:
        time, channel, key, velocity = event.time, event.channel, event.key, event.velocity
        gain = self._voice_gain * self._key_gains.get(nearest_key(key), 1.0) * self._velocity_gain(velocity)
        self._velocities[channel, key] = velocity
        self.voices.note_on(time, key, gain, channel)

    def _end_note(self, event: NoteOff) -> None:
        self.voices.note_off(event.time, event.key, event.channel)

    def _end_notes(self, time: int, group: int, cut: bool) -> None:
        (self.voices.silence if cut else self.voices.release_all)(time, group)

    def _touches(self, channel: int) -> list[NoteExpression]:
        return self.voices.touches(channel)

    def _steal_voice(self, time: int) -> None:
        self._expected_sheds -= 1
        self.voices.shed(time)

    def _control(self, event: ControlChange) -> None:
        time, value, group, bus = event.time, event.value, self._mpe.group(event.channel), self._mpe.bus(event.channel)
        match event.number:
            case 5:
                seconds = knob(value, 0.0, LONGEST_GLIDE_SECONDS, GLIDE_CURVE)
                self._set_glide(bus, self._glide(bus)._replace(seconds=seconds))
            case 7:
                self._parameters.volume(time, bus, value)
            case 10:
                self._parameters.pan(time, bus, value)
            case 11:
                self._parameters.expression(time, bus, value)
            case 64:
                self.voices.pedal(time, value >= PRESSED, group)
            case 65:
                self._set_glide(bus, self._glide(bus)._replace(on=value >= PRESSED))
            case 66:
                self.voices.sostenuto(time, value >= PRESSED, group)

    def _reset_system(self, time: int) -> None:
        for channel in CHANNELS:
            self._set_glide(channel, self._rest_glide)
        super()._reset_system(time)
        self._parameters.reset_levels(time)

    def _reset_switches(self, time: int, group: int, bus: int) -> None:
        self.voices.pedal(time, False, group)
        self.voices.sostenuto(time, False, group)
        self._parameters.expression(time, bus, 127)
        self._set_glide(bus, self._glide(bus)._replace(on=self._rest_glide.on))

    def _glide(self, bus: int) -> Glide:
        return self._glides.get(bus, self._rest_glide)

    def _set_glide(self, bus: int, glide: Glide) -> None:
        self._glides[bus] = glide
        if isinstance(self.voices, MonoAssignment):
            self.voices.glide(bus, glide.samples(self._rate))


def blend_of(patch: Patch) -> GestureBlend | None:
    preset, model = patch.preset, patch.model
    if model.gestures is None:
        return None
    settings, knob_codes = preset.gesture or GestureSettings(), preset.latent_values(model.card)
    return GestureBlend.of(model, model.gestures, settings, knob_codes)


def gesturing_of(
    patch: Patch, lead: int, velocities: Mapping[Note, int], blend: GestureBlend | None = None
) -> GesturePlayer | None:
    preset = patch.preset
    blend = blend or blend_of(patch)
    if blend is None:
        return None
    preset_targets = {f"envelope.{name}" for name in preset.envelope.model_fields_set} | preset.macro_targets
    preset_targets |= {entry.target for entry in preset.cc} | {entry.target for entry in preset.note}
    replaces_envelope = (
        "envelope.attack_seconds" not in preset_targets,
        "envelope.release_seconds" not in preset_targets,
    )
    return GesturePlayer(
        patch.model.card, blend, preset.gesture or GestureSettings(), lead, replaces_envelope, velocities
    )


def _no_effect(time: int, target: str, value: float) -> None: ...


def engine_and_processor(
    patch: Patch,
    effects: Mapping[str, Range] = MappingProxyType({}),
    rests: Mapping[str, float] = MappingProxyType({}),
    move_effect: Move = _no_effect,
    live: bool = False,
) -> tuple[Engine[Any], EventProcessor]:
    """Engine and event processor of a patch, for a `Synthesis`.

    Args:
        effects: ranges of effect parameters, by target.
        rests: their default values.
        move_effect: called with sample, target and value.
        live: as in `EngineRequest`.

    Raises:
        UserError: the preset does not fit the model.
    """
    engine = engine_for(patch, live)
    return engine, EventProcessor(patch, engine, effects, rests, move_effect)


def engine_for(patch: Patch, live: bool = False) -> Engine[Any]:
    """Arguments and errors as in `engine_and_processor`."""
    preset, card = patch.preset, patch.model.card
    section = kind_of(card).select_section(preset)
    label = patch.morph and patch.morph.label
    bend_range = preset.play.bend_range_semitones
    request = EngineRequest(preset.latent_values(card), preset.play, section, bend_range, live, patch.sound, label)
    return engine_of(patch.model, request)
