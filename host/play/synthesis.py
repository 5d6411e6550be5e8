"""The sounding half of an instrument, all at the model's rate: events in, voices out.

It knows no device and no clock. Events take effect on their sample, because everything that moves is a function of
time: a block first lets all its events write into those functions, then computes them. So the division into blocks
changes nothing, and live playing and rendering share every sample. Voices are added up in parts, and the parts to the
mix: whoever computes a part, the sums are the same to the bit.
"""

from bisect import bisect_left
from collections.abc import Callable, Collection, Mapping, Sequence
from types import MappingProxyType
from typing import Protocol

import numpy as np
import numpy.typing as npt

from ..controls import knob
from ..engines.protocol import VoiceSound
from ..engines.table import VOICE_LUFS, engine_of
from ..events import (
    AllOff,
    Clock,
    ControlChange,
    ControllersReset,
    DataEntry,
    Event,
    NoteOff,
    NoteOn,
    PitchBend,
    Shed,
    Turn,
    ZoneSize,
)
from ..kinds.table import kind_of
from ..patch.agreement import reach
from ..patch.preset import PROCESS_CONTROLS
from ..patch.resolve import Patch
from ..settings import Range
from ..units import db_to_gain
from .desk import BEND_RANGE
from .dials import Dials
from .keying import Solo, keyed
from .mapping import Mapper
from .motion import Latents
from .mpe import Wheel, fingers_of
from .voices import PARTS

Array = npt.NDArray[np.float32]
Times = npt.NDArray[np.int64]
LONGEST_GLIDE_SECONDS = 5.0  # what CC 5 reaches
GLIDE_CURVE = 3.0  # of CC 5: half of its way are glides of up to 0.6 s, which are played most


def share(number: int, processes: int) -> range:
    """Return the parts that one of some processes computes."""
    return range(number, PARTS, processes)


class Elsewhere(Protocol):
    """Another process that plays the same events and computes other parts."""

    @property
    def end(self) -> int | None:
        """The sample from which on it computes nothing any more, once that is known."""
        ...

    def hear(self, events: Sequence[Event], until: int) -> None:
        """Have it compute all samples before ``until``; these are their last events, in order of time."""
        ...

    def sums(self, start: int, count: int, sides: int) -> dict[int, Array]:
        """Wait for its parts of samples that it was to compute, [sides, count], 1 or 2 sides as the engine has."""
        ...

    def hand_over(self) -> tuple[Collection[int], list[VoiceSound]]:
        """Wait for its parts' numbers, and their voices' streams as they are at its end, in the order of the voices."""
        ...


def _unmoved(time: int, target: str, value: float) -> None:
    """Where there are no effects, nothing moves."""


class Synthesis:
    """The voices of one preset, before its effects."""

    def __init__(
        self,
        patch: Patch,
        *,
        parts: Collection[int] = range(PARTS),
        elsewhere: Sequence[Elsewhere] = (),
        effects: Mapping[str, Range] = MappingProxyType({}),
        move_effect: Callable[[int, str, float], None] = _unmoved,
        live: bool = False,
    ) -> None:
        """Make it ready to sound.

        Args:
            parts: of the voices, those that are computed here.
            elsewhere: who computes the others.
            effects: the ranges of what can be turned in them, by target.
            move_effect: told the sample, the target and the value when a knob moves an effect.
            live: as `engine_of`.

        Raises:
            UserError: the model's kind has no engine, or the preset does not fit the model.
        """
        preset, model = patch.preset, patch.model
        card = model.card
        self._parts, self._elsewhere = set(parts), list(elsewhere)
        self._rate = card.sample_rate
        play = preset.play
        self._engine = engine_of(model, preset, live)
        self._fingers = fingers_of(preset, card)
        self._tuning = patch.tuning
        codes = Latents(preset, card, self._rate, patch.morph_end)
        self._dials = Dials(preset, codes, self._engine.targets, move_effect, self._rate)
        self._motion = self._dials.motion
        # Whoever is given something to call must not lead back here: what has no cycle ends with its last holder, and
        # no collector runs while live sound is made.
        fingers = (self._fingers.touch, self._fingers.zone)
        makers = (self._engine.begin, self._dials.shape, self._dials.release_samples, *fingers, self._tuning)
        self._voices = keyed(preset, kind_of(card), self._rate, *makers)
        self._velocity_exponent = 2 * play.velocity_curve
        self._glide_seconds, self._gliding = play.glide_seconds, play.glide_seconds > 0
        self._always_gliding = self._gliding
        self._set_glide()
        self._shedding = 0  # voices that will be given up once their sample comes
        self._voice_gain = db_to_gain(VOICE_LUFS - card.loudness_lufs)
        self._bend_range = play.bend_range_semitones
        self._now = 0
        self._wheel = Wheel(self._bend_range, self._motion.bend)  # of channels outside MPE's zones
        spans = reach(preset, card, effects)
        self.knobs = Mapper(
            [entry for entry in preset.cc if entry.target not in PROCESS_CONTROLS],
            {target: span for target, span in spans.items() if target not in PROCESS_CONTROLS},
            self._dials.present,
            self._dials.turn,
        )

    @property
    def ready(self) -> bool:
        """As `Engine.ready`."""
        return self._engine.ready

    @property
    def sounding(self) -> int:
        """Voices that sound."""
        return len(self._voices)

    def latent_values(self) -> list[float]:
        """Return where each knob is heading."""
        return [ramp.target for ramp in self._motion.codes.knobs]

    @property
    def keys_down(self) -> list[int]:
        """Keys that are pressed, lowest first."""
        return self._voices.keys_down

    def current_latents(self) -> list[float]:
        """Return the code of the sample that is computed next, without what fingers do to single notes."""
        return [float(value) for value in self._motion.latents([0], np.array([self._now], np.int64))[0]]

    def spare(self) -> tuple[bool, float] | None:
        """How dear the voice is that `shed` would take: whether it is held, and since when, in seconds before now.

        None if there is none to take.
        """
        voice = self._voices.victim(self._now)
        if voice is None or self._voices.count(self._now) <= self._shedding:
            return None
        off = voice.envelope.off
        return off is None, ((voice.envelope.on if off is None else off) - self._now) / self._rate

    def expect_shedding(self) -> None:
        """A voice will be given up, by a `Shed` that is on its way."""
        self._shedding += 1

    def process(self, events: Sequence[Event], count: int) -> Array:
        """Return the next ``count`` samples, [2, count].

        Args:
            events: those that fall into this block, in order of time, in samples from the very beginning; whoever
                computes other parts has heard them.
        """
        start = self._now
        if any(other.end is not None and other.end < start + count for other in self._elsewhere):
            return self._process_across_an_end(events, count)
        sums = self.sums(events, count)
        for other in self._elsewhere:
            sums |= other.sums(start, count, self._engine.channels)
        mix = np.zeros((self._engine.channels, count), np.float32)
        for part in sorted(sums):
            mix += sums[part]
        sides = self._motion.left.block(start, count), self._motion.right.block(start, count)
        stereo = np.stack([mix[0] * sides[0], mix[-1] * sides[1]])
        self.forget()
        return stereo

    def _process_across_an_end(self, events: Sequence[Event], count: int) -> Array:
        """As `process`, where another process leaves its parts to this one within the block."""
        end = min(other.end for other in self._elsewhere if other.end is not None)
        before = end - self._now
        due = bisect_left(events, end, key=lambda event: event.time)
        first = [self.process(events[:due], before)] if before else []
        for other in [other for other in self._elsewhere if other.end == end]:
            self._elsewhere.remove(other)
            parts, streams = other.hand_over()
            for voice, stream in zip((v for v in self._voices if v.part in parts), streams, strict=True):
                voice.stream = stream
            self._parts.update(parts)
        return np.concatenate([*first, self.process(events[due:], count - before)], axis=1)

    def streams(self) -> list[VoiceSound]:
        """Those of the voices of its own parts, as they are at the next sample."""
        return [voice.stream for voice in self._voices if voice.part in self._parts]

    def sums(self, events: Sequence[Event], count: int) -> dict[int, Array]:
        """As `process`, but each of its own parts that sounds, before volume and pan: [channels, count].

        To be followed by `forget`.
        """
        start = self._now
        for event in events:
            self._apply(event)
        steal = self._voices.steal_samples
        for voice in self._voices:
            voice.stream.end = voice.end(steal)
        voices = [voice for voice in self._voices if voice.part in self._parts]
        touches = [voice.touch for voice in voices]
        motion = self._fingers.motion(self._motion, touches) if any(touches) else self._motion
        streams = self._engine.render([v.stream for v in voices], motion, start, count)
        sums: dict[int, Array] = {}
        for voice, stream in zip(voices, streams, strict=True):
            sound = stream * voice.level(start, count, steal)
            if voice.part in sums:
                sums[voice.part] += sound
            else:
                sums[voice.part] = sound
        self._now = start + count
        self._voices.retire(self._now)
        return sums

    def forget(self) -> None:
        """Drop what only matters before the next sample."""
        self._motion.forget(self._now - self._engine.lookback)
        self._fingers.forget(self._now - self._engine.lookback)
        self._voices.forget(self._now - self._engine.lookback)

    def _apply(self, event: Event) -> None:
        match event:
            case Turn():
                self.knobs.hear(event)
            case NoteOn(_, _, key) if key not in self._tuning:
                pass
            case NoteOn(time, channel, key, velocity):
                gain = self._voice_gain * (velocity / 127) ** self._velocity_exponent
                self._voices.note_on(time, key, gain, channel)
                self.knobs.hear(event)
            case NoteOff(time, channel, key):
                self._voices.note_off(time, key, channel)
                self.knobs.hear(event)
            case Clock():
                self._motion.codes.clock(event)
            case Shed(time):
                self._shedding -= 1
                self._voices.shed(time)
            case ZoneSize(time, master, members):
                self._begin_zone(time, master, members)
            case _ if self._fingers.is_member(event.channel):
                self._fingers.move(event, self._voices.touches)
            case _:
                if not self.knobs.hear(event):
                    self._move(event)

    def _move(self, event: Event) -> None:
        """Do what is not a note's, on the master of a zone or outside of zones, where no map has it."""
        assert not isinstance(event, Clock)
        zone = self._fingers.zone(event.channel)
        match event:
            case PitchBend(time, _, value):
                self._wheel_of(zone).turn(time, value)
            case DataEntry(time, _, True, parameter) if parameter == BEND_RANGE:
                self._wheel_of(zone).set_range(time, event)
            case AllOff(time, _, cut):
                (self._voices.silence if cut else self._voices.release_all)(time, zone)
            case ControllersReset(time):
                self._reset_controllers(time, zone)
            case ControlChange(time, _, number, value):
                self._control(time, zone, number, value)

    def _control(self, time: int, zone: int | None, number: int, value: int) -> None:
        match number:
            case 5:
                self._glide_seconds = knob(value, 0.0, LONGEST_GLIDE_SECONDS, GLIDE_CURVE)
                self._set_glide()
            case 7:
                self._dials.volume(time, value)
            case 10:
                self._dials.pan(time, value)
            case 11:
                self._dials.expression(time, value)
            case 64:
                self._voices.pedal(time, value >= 64, zone)
            case 65:
                self._gliding = value >= 64
                self._set_glide()
            case 66:
                self._voices.sostenuto(time, value >= 64, zone)

    def _reset_controllers(self, time: int, zone: int | None) -> None:
        """What a reset takes back: bends, expression, pedals, glide; not volume, pan and bend range (MIDI RP-015)."""
        if zone is None:
            self._wheel.turn(time, 0)
        else:
            self._fingers.wheel(zone).turn(time, 0)
            self._fingers.rest(time, zone, self._voices.touches)
        self._voices.pedal(time, False, zone)
        self._voices.sostenuto(time, False, zone)
        self._dials.expression(time, 127)
        self._gliding = self._always_gliding
        self._set_glide()

    def _begin_zone(self, time: int, master: int, members: int) -> None:
        """An MPE zone begins or ends: all notes off and controllers reset, where it was and where it is."""
        if self._fingers.zone(master) == master:
            self._reset_controllers(time, master)
            self._voices.release_all(time, master)
        self._fingers.begin(master, members)
        self._voices.release_all(time, master)
        self._reset_controllers(time, None)
        self._wheel.reset(time, self._bend_range)

    def _wheel_of(self, zone: int | None) -> Wheel:
        """Return the pitch wheel of a zone's master, or of all channels outside of zones."""
        return self._wheel if zone is None else self._fingers.wheel(zone)

    def _set_glide(self) -> None:
        if isinstance(self._voices, Solo):
            self._voices.glide_samples = round(self._glide_seconds * self._rate) if self._gliding else 0
