"""Synthesis by the compiled core: Python allocates voices and sends changes, the core computes samples."""

import ctypes
import math
from collections.abc import Sequence

import numpy as np

from ..arrays import Array, address_of
from ..engines.spectrum.frames import VoicingSettings
from ..events import Event
from ..kinds.spectrum import CONTROLS, VIBRATO
from ..model.gesture import VIBRATO_CENTS
from ..preset.library import Patch
from ..ramps import Ramp
from ..unattended import UnattendedRun
from ..voice.core_voices import AHEAD, HOPS, CoreEngine, CoreStream, SentRamp, core_engine_of
from ..voice_library import MASTERS, NEVER, CoreBus, CoreGesture
from .blended_trajectory import REMEMBERED, BlendedTrajectory
from .events import EventProcessor
from .trajectory import LOUDEST_TAKE_DB, Gesture, GestureGrid
from .voice import Voice

MOST_BUSES = 16


def core_for(patch: Patch) -> CoreEngine | None:
    """The core's engine for a patch; None where the numpy voice plays it.

    Raises:
        UserError: as `voice_library`.
    """
    play = patch.preset.play
    return core_engine_of(patch.model, VoicingSettings.of(play), play.mode == "chord")


class CoreSynthesis:
    """As `Synthesis`, with all voices in the core."""

    def __init__(self, engine: CoreEngine, processor: EventProcessor) -> None:
        self._engine, self._processor, self._voices = engine, processor, processor.voices
        self.now = 0  # the next sample
        self._shared: dict[int, SentRamp] = {}  # by the ramp's id: those of buses, wheels and the vibrato
        self._known: list[Voice] = []  # the voices of the last block
        self._streams: list[CoreStream] = []  # theirs
        self._led: list[Voice] = []  # those with ramps of their own that move
        self._places = np.zeros(0, np.uintp)  # addresses of the streams
        self._parts: list[int] = []  # of the voices
        self._core_buses, self._bus_ramps = (CoreBus * MOST_BUSES)(), list[SentRamp]()
        self._buses: list[int] = []
        self._bus_places: dict[int, tuple[int, int]] = {}  # by bus: its number, and the address of its bend
        self._blends: dict[int, tuple[BlendedTrajectory, CoreGesture]] = {}  # by the blend's id
        depth = processor.vibrato_depth
        self._depth = None if depth is None else self._sent(depth).at
        self._next_hop = 0  # of the first codes that a voice lacks
        self._next_end: float = 0.0  # the first sample at which a voice may have ended
        self._endings = 0  # releases and steals that the core knows
        self._ahead_hop, self._ahead = -1, False
        self._knobs = [SentRamp(ramp) for ramp in processor.codes.knobs]
        self._knob_places = np.array([knob.at for knob in self._knobs], np.uintp)

    def process(self, events: Sequence[Event], count: int) -> Array:
        """Next ``count`` samples, [2, count]; ``events``: all of the block, in order of time."""
        for event in events:
            self._processor.apply(event)
        self._send()
        sound = np.empty((2, count), np.float32)
        if self._known:
            self._mix(self.now, sound)
        else:
            sound[:] = 0.0
        self.now += count
        self._end_block()
        return sound

    @property
    def lends(self) -> bool:
        """Return whether the core needs no decoder of Python's for now."""
        return self._engine.decodes_alone or not self._ahead

    def lend(self, run: UnattendedRun, events: Sequence[Event], count: int) -> None:
        """Let the core render for a while; ``events``: of its first ``count`` samples."""
        engine, fields = self._engine, run.fields
        for event in events:
            self._processor.apply(event)
        self._send()
        self._send_codes(engine.hop_of(self.now + count - 1))
        fields.core, fields.voices, fields.voice_count = engine.core, address_of(self._places), len(self._places)
        fields.buses = ctypes.addressof(self._core_buses)
        run.take_parts(len(self._buses), engine.channels)
        fields.decodes_ahead, fields.ahead_rows, fields.now = self._ahead, AHEAD, self.now
        fields.knobs, fields.needed_at = self._sent_knobs() if engine.decodes_alone else None, NEVER
        if not fields.knobs and (self._known or not engine.decodes_alone):
            # The next hop's codes are known then, and decoded before they sound.
            fields.needed_at = (self._ahead_hop + 1) * engine.knob_hop + 1
        if self._known:
            fields.needed_at = int(min(self._next_end, fields.needed_at))
        fields.codes_end = engine.frame_of(self._next_hop)

    def take_back(self, run: UnattendedRun) -> None:
        """Go on where the core stopped."""
        self.now, self._ahead = run.fields.now, bool(run.fields.decodes_ahead)
        if run.fields.knobs:
            self._ahead_hop = (self.now - 1) // self._engine.knob_hop
            self._next_hop = self._ahead_hop + 1
            for stream in self._streams:
                stream.next_hop = max(stream.next_hop, self._next_hop)
        self._end_block()

    def _sent_knobs(self) -> int | None:
        """Send the ramps that alone make the codes; return the address of theirs, None where more moves codes."""
        if not self._processor.knobs_make_codes(self.now - self._engine.lookback):
            return None
        for knob in self._knobs:
            knob.send()
        return address_of(self._knob_places)

    def _end_block(self) -> None:
        if self.now >= self._next_end:
            self._voices.retire(self.now)
        self._processor.forget(self.now - self._engine.lookback)

    def fill_caches(self) -> None:
        """Compute what likely notes share, so that the first chord costs no more than later ones; no sample changes."""
        for mix, common in self._processor.likely_blends():
            self._blend(mix, common)
            self._engine.image_curves(mix.image)

    def prepare(self) -> None:
        """Decode codes that are known, before they sound."""
        engine = self._engine
        if not self._streams and engine.decodes_alone:
            return
        hop = (self.now - 1) // engine.knob_hop
        if hop != self._ahead_hop:
            self._ahead_hop, self._ahead = hop, True
            self._send_codes(hop)
        if self._ahead:
            self._ahead = engine.decode_ahead(self._places, self.now)
        if not self._ahead and not engine.decodes_alone:
            self._ahead = engine.prepare_notes(self._processor.motion_of(self._known), hop * engine.knob_hop)

    def _mix(self, start: int, sound: Array) -> None:
        count, span = sound.shape[1], HOPS * self._engine.knob_hop
        address = ctypes.addressof(self._core_buses)
        for first in range(0, count, span):
            span_count = min(span, count - first)
            self._send_codes(self._engine.hop_of(start + first + span_count - 1))
            part = sound if span_count == count else np.empty((2, span_count), np.float32)
            self._engine.mix(self._places, self._parts, address, len(self._buses), start + first, part)
            if part is not sound:
                sound[:, first : first + span_count] = part

    def _send_codes(self, last_hop: int) -> None:
        if self._next_hop > last_hop:
            return
        self._next_hop = last_hop + 1
        lacking = [voice for voice in self._known if _stream(voice).next_hop <= last_hop]
        if lacking:
            in_core = not self._processor.fingers_move_codes
            motion = self._processor.motion_of(lacking, gestures=not in_core)
            self._engine.send_codes([_stream(voice) for voice in lacking], motion, last_hop)

    def _send(self) -> None:
        """Send new voices and changes since the last block to the core."""
        has_changed = self._voices.endings != self._endings
        voices = list(self._voices)
        if voices != self._known:
            self._send_voices(voices)
            has_changed = True
        if has_changed:
            self._endings = self._voices.endings
            self._send_changes()
        for voice in self._led:
            self._send_lead(voice)
        for ramp in self._bus_ramps:
            ramp.send()

    def _send_voices(self, voices: list[Voice]) -> None:
        self._known, self._streams = voices, [_stream(voice) for voice in voices]
        self._places = np.array([stream.at for stream in self._streams], np.uintp)
        self._parts = [voice.part for voice in voices]
        if (buses := sorted({voice.bus for voice in voices})) != self._buses:
            self._send_buses(buses)
            new = list(zip(voices, self._streams, strict=True))  # all have another place
        else:
            new = [(voice, stream) for voice, stream in zip(voices, self._streams, strict=True) if not stream.sent]
        for voice, stream in new:
            if not stream.sent:
                self._begin(voice, stream)
                self._next_hop = min(self._next_hop, stream.next_hop)
            stream.voice.bus, stream.voice.bend = self._bus_places[voice.bus]
        self._led = [voice for voice in voices if voice.touch is not None or voice.stream.pitch is not None]

    def _send_buses(self, buses: list[int]) -> None:
        self._buses, self._bus_places, self._bus_ramps = buses, {}, []
        for number, bus in enumerate(buses):
            level, bend = self._processor.level(bus), self._sent(self._processor.bend(bus))
            left, right = self._sent(level.left), self._sent(level.right)
            self._core_buses[number].left, self._core_buses[number].right = left.at, right.at
            self._bus_ramps += [left, right, bend]
            self._bus_places[bus] = number, bend.at
        self._bus_ramps += self._engine.sent_targets  # all notes follow them, and the vibrato
        if self._processor.vibrato_depth is not None:
            self._bus_ramps.append(self._sent(self._processor.vibrato_depth))

    def _send_changes(self) -> None:
        """Releases and steals, and when the first voice ends."""
        steal, self._next_end = self._voices.steal_samples, math.inf
        for voice, stream in zip(self._known, self._streams, strict=True):
            core, envelope = stream.voice, voice.envelope
            if envelope.off is not None and not stream.released:
                stream.released = True
                core.off, core.release, core.closes = envelope.off, envelope.release, envelope.closes
                if voice.gesture is not None:
                    self._release(voice.gesture, stream)
            if voice.stolen_at is not None:
                core.stolen_at = voice.stolen_at
            end = voice.end(steal)
            if end is not None and end < self._next_end:
                self._next_end = end

    def _send_lead(self, voice: Voice) -> None:
        """Ramps of a melody's voice, or of one with a touch."""
        stream = _stream(voice)
        for ramp in stream.ramps:
            ramp.send()
        if voice.touch is not None:
            masters = voice.touch.masters[-MASTERS:]
            stream.voice.master_count = len(masters)
            for place, (start, bend) in enumerate(masters):
                sent_bend = self._sent(bend)
                sent_bend.send()
                stream.voice.masters[place].since, stream.voice.masters[place].bend = start, sent_bend.at

    def _sent(self, ramp: Ramp) -> SentRamp:
        sent_ramp = self._shared.get(id(ramp))
        if sent_ramp is None:
            sent_ramp = self._shared[id(ramp)] = SentRamp(ramp)
        return sent_ramp

    def _begin(self, voice: Voice, stream: CoreStream) -> None:
        core, envelope = stream.voice, voice.envelope
        core.attack, core.decay, core.release = envelope.attack, envelope.decay, envelope.release
        core.sustain, core.part, core.steal = envelope.sustain, voice.part, self._voices.steal_samples
        stream.send_ramp("gain", voice.gain)
        for name, ramp in (("pitch", stream.pitch), ("chord", stream.chord)):
            if ramp is not None:
                stream.send_ramp(name, ramp)
        if voice.touch is not None:
            stream.send_ramp("touch_bend", voice.touch.bend)
            stream.send_ramp("touch_level", voice.touch.level)
        if voice.gesture is not None:
            stream.gesture = self._core_gesture(voice.gesture, stream)
            core.gesture = ctypes.addressof(stream.gesture)
        stream.sent = True

    def _core_gesture(self, gesture: Gesture, stream: CoreStream) -> CoreGesture:
        pace, movement = gesture.pace, gesture.movement
        core = CoreGesture.from_buffer_copy(self._blend(gesture.mix, gesture.common))
        curves = self._engine.image_curves(gesture.mix.image)
        stream.kept = [gesture.gains, gesture.opening, gesture.onset, movement, gesture.mix, curves]
        core.image = None if curves is None else address_of(curves)
        core.begin, core.off, core.note = gesture.begin, NEVER, gesture.note
        core.rate, core.speed, core.loudness, core.codes = pace.rate, pace.speed, pace.loudness, pace.codes
        core.semitones, core.louder = gesture.semitones, gesture.louder
        core.ceiling += LOUDEST_TAKE_DB - max(gesture.louder, 0.0)
        core.loudness_moments = len(movement.loudness)
        core.loudness_moves = address_of(movement.loudness)
        core.bands = gesture.bands
        if not gesture.moves:
            core.decoded_key, core.code_points = -1, 0
        elif self._processor.fingers_move_codes:
            core.code_points = 0  # Python adds them, before fingers move the sum
        core.codes_begin, core.first_hop, core.lead = gesture.codes_begin, gesture.first_hop, pace.lead
        if gesture.bands:
            core.opening_moments, core.held_moments = len(gesture.opening), len(movement.bands)
            core.onset_moments, core.onset = len(gesture.onset), address_of(gesture.onset)
            core.gains, core.opening = address_of(gesture.gains), address_of(gesture.opening)
            core.fast, core.movement = address_of(movement.fast), address_of(movement.bands)
            core.vibrato_moments, core.vibrato = len(movement.vibrato), address_of(movement.vibrato)
            core.depth, core.deeper = self._depth, gesture.deeper
        return core

    def _blend(self, mix: BlendedTrajectory, common: GestureGrid) -> CoreGesture:
        """The part that all notes of a blend share."""
        shared_part = self._blends.get(id(mix))
        if shared_part is not None and shared_part[0] is mix:
            return shared_part[1]
        if len(self._blends) >= REMEMBERED:
            del self._blends[next(iter(self._blends))]
        core, span = CoreGesture(), CONTROLS[VIBRATO]
        core.residual_seconds, core.fall, core.held = common.residual_seconds, mix.fall, mix.held
        core.onset_seconds = common.onset_seconds
        core.ceiling = float(mix.levels.max())
        core.wander_db, core.wander_hz = common.wander_deviations[0], common.hertz[0]
        core.wander_columns = len(common.hertz)
        core.vibrato_semitones, core.depth_low, core.depth_high = VIBRATO_CENTS / 100, span.low, span.high
        core.decoded_key = -1 if mix.decoded_key is None else mix.decoded_key
        core.level_points, core.code_points = len(mix.levels), len(mix.codes)
        core.release_code_points = len(mix.release_codes)
        for name, array in (
            ("level_times", common.levels),
            ("levels", mix.levels),
            ("code_times", common.codes),
            ("codes_way", mix.codes),
            ("release_code_times", common.release_codes),
            ("release_codes", mix.release_codes),
            ("offset", mix.offset),
            ("directions", common.directions),
            ("deviations", common.wander_deviations),
            ("hertz", common.hertz),
            ("decibels", common.decibels),
        ):
            assert array.flags.c_contiguous
            setattr(core, name, address_of(array))
        if mix.modes is not None:
            core.modes, core.mode_rows = len(mix.modes), address_of(mix.modes)
        self._blends[id(mix)] = mix, core
        return core

    @staticmethod
    def _release(gesture: Gesture, stream: CoreStream) -> None:
        core, common, mix = stream.gesture, gesture.common, gesture.mix
        core.off = gesture.off
        if gesture.ending.size:
            stream.kept.append(gesture.ending)
            core.ending_moments, core.ending = len(gesture.ending), address_of(gesture.ending)
        if gesture.releases:
            core.stretch, core.release_points = gesture.stretch, len(mix.release_levels)
            core.release_times, core.release_levels = address_of(common.release_levels), address_of(mix.release_levels)


def _stream(voice: Voice) -> CoreStream:
    assert isinstance(voice.stream, CoreStream)
    return voice.stream
