"""Latent motion: combines knobs, morph, modulation and touch into codes over time, then what each voice adds."""

from collections.abc import Callable, Collection, Mapping, Sequence
from types import MappingProxyType
from typing import NamedTuple

import numpy as np

from ..arrays import Array, Doubles, Times
from ..engines.engine import Beginnings, Residual
from ..events import BeatSync, Clock, Tempo
from ..model.card import Card
from ..model.learned_path import LearnedPath
from ..preset.motions import TEMPO_BPM, MorphTarget, MotionSettings
from ..preset.preset import MORPH
from ..ramps import RAMP_SECONDS, Ramp
from .gestures import GesturePlayer, NoteValues
from .motion_sources import WAYS, Beats, Code, MotionSource, TimedPath, make_mover, straight
from .mpe import MpeChannels
from .voice import Voice

RETURN_SECONDS = 0.5  # glide back to the motion: a knob's 20 ms would be an audible jump


class TouchedParameters:
    """Holds a touched value until the knob turns, then glides to the knob; on release, to the motion."""

    def __init__(self, sample_rate: int) -> None:
        ramp = round(RAMP_SECONDS * sample_rate)
        self._return = round(RETURN_SECONDS * sample_rate)
        self._back = 0  # first sample without effect, after a release
        self._down = Ramp(0.0, ramp)
        self._left = Ramp(0.0, ramp)
        self.share = Ramp(0.0, ramp)  # of the knob, 0 to 1, against note paths

    @property
    def holds(self) -> bool:
        return self._down.target == 1.0

    def over(self, time: int) -> bool:
        return not self.holds and time >= self._back

    def hold_value(self, time: int, value: float, knob: float) -> None:
        self._down.jump(time, 1.0)
        self._left.jump(time, value - knob)
        self.share.move(time, 1.0)

    def turn(self, time: int) -> None:
        if self.holds:
            self._left.move(time, 0.0)

    def release(self, time: int, value: float, motion_value: float) -> None:
        """End a touch at ``value``."""
        self._down.jump(time, 0.0)
        self._left.jump(time, value - motion_value)
        self._left.move(time, 0.0, self._return)
        self.share.move(time, 0.0, self._return)
        self._back = time + self._return

    def value(self, time: int, knob: float, motion_value: float) -> float:
        return (knob if self._down.value(time) else motion_value) + self._left.value(time)

    def forget(self, time: int) -> None:
        for ramp in (self._down, self._left, self.share):
            ramp.forget(time)


class NotePath:
    def __init__(self, settings: MotionSettings, card: Card, lead: int) -> None:
        """``lead``: as in `TrajectoryPace`."""
        self._course = TimedPath(settings, settings.times or [], card.sample_rate, card.spans)
        self._low, self._high = np.array(card.spans).T
        self.lead = lead

    def codes(self, elapsed_samples: Times) -> Array:
        """Codes at samples since note-ons, [rows, n_latents], clamped to latent ranges."""
        places = np.maximum(elapsed_samples, 0).tolist()
        return np.clip([self._course.at(place) for place in places], self._low, self._high).astype(np.float32)


class Latents:
    """The latents of a preset, as functions of time in samples at its model's rate.

    A morph leads from the knobs to another code, or has a position alone. A path or walk replaces knobs and code; other
    motions are added, within latent ranges. A touched target follows its knob only.
    """

    def __init__(
        self,
        rest: Code,
        card: Card,
        motion: Sequence[MotionSettings] = (),
        tempo_bpm: float = TEMPO_BPM,
        morph: MorphTarget | None = None,
        path: LearnedPath | None = None,
    ) -> None:
        """Start at the code ``rest``; ``tempo_bpm`` applies without a MIDI clock; ``path``: of a learned motion."""
        ramp = round(RAMP_SECONDS * card.sample_rate)
        self.knobs = [Ramp(value, ramp) for value in rest]
        self.targets = {f"latent.{index}": knob for index, knob in enumerate(self.knobs)}  # controllable targets
        self._places = {target: index for index, target in enumerate(self.targets)}  # of the latents
        self._morphs, self._morph_end = morph is not None, None if morph is None else morph.end
        self._way = straight
        if morph is not None:
            self.targets[MORPH] = Ramp(morph.position, ramp)
            self._way = WAYS[morph.shape]
        self._spans = card.spans
        # Whether no knob has been beyond its latent's range.
        self._knobs_in_spans = all(low <= value <= high for value, (low, high) in zip(rest, card.spans, strict=True))
        movers = [make_mover(settings, number, rest, tempo_bpm, card, path) for number, settings in enumerate(motion)]
        movers.sort(key=lambda mover: mover.target is not None)  # motions of all latents first: others add to them
        # After a beat restart, each mover's offset to its old value fades out.
        self._movers = [(mover, [Ramp(0.0, ramp) for _ in mover.at(0.0)]) for mover in movers]
        # Pressure moves a latent for the notes of its bus: the ramps of other buses, and of each bus with pressure.
        self._unpressed: dict[str, Ramp] = {}
        self._pressed: dict[int, dict[str, Ramp]] = {}
        self._grips: dict[str, TouchedParameters] = {}  # of touched targets
        self._beats, self._rate = Beats(tempo_bpm, card.sample_rate), card.sample_rate
        mover_targets = {mover.target for mover in movers}
        everything = self._morph_end is not None or None in mover_targets
        self._clipped = [i for i in range(len(self.knobs)) if everything or f"latent.{i}" in mover_targets]
        self._rows: dict[int, tuple[float, ...]] = {}
        self._latest_row = -1  # latest time of any computed row
        self._ramp, self._hop = ramp, card.hop_length
        self._settled = 0  # first sample at which no knob moves any more
        self._rest: Array | None = None  # [1, n_latents], of knobs that do not move

    def codes_at(self, times: Times) -> Array:
        """Codes at sample times, [times, n_latents], none before the last ``forget``."""
        samples = times.tolist()
        if not self._movers and not self._grips and min(samples, default=0) >= self._settled:
            if self._rest is None:
                self._rest = np.array([self.row(self._settled)], np.float32)
            return np.repeat(self._rest, len(samples), axis=0)
        rows = self._rows  # all voices ask for the same times
        for time in samples:
            if time not in rows:
                rows[time] = self.row(time)
                self._latest_row = max(self._latest_row, time)
        return np.array([rows[time] for time in samples], np.float32)

    def follow_knobs(self, time: int) -> bool:
        """Return whether codes from sample ``time`` on are the values of `knobs`: nothing else moves them for any bus.

        Without motions a touched target has its knob's value too. A morph that rests at 0 changes no knob within its
        latent's range.
        """
        return not (self._movers or self._pressed) and (not self._morphs or self._morph_rests(time))

    def _morph_rests(self, time: int) -> bool:
        morph = self.targets[MORPH]
        return morph.target == 0.0 and morph.has_settled(time) and self._knobs_in_spans

    def differ(self, buses: Collection[int]) -> bool:
        """Return whether notes of these buses may have codes other than `codes_at`'s."""
        return len(self._pressed) > 1 or (len(self._pressed) == 1 and not self._pressed.keys() >= set(buses))

    def bus_codes_at(self, times: Times, bus: int) -> Array:
        """As `codes_at`, for the notes of a bus."""
        ramps = self._unpressed | self._pressed.get(bus, {})
        return np.array([self.row(time, ramps) for time in times.tolist()], np.float32)

    def row(self, time: int, ramps: Mapping[str, Ramp] = MappingProxyType({})) -> tuple[float, ...]:
        """``ramps`` replaces knobs."""
        knobs = self._by_knobs(time, ramps)
        values = self._by_motion(knobs, time) if self._movers else knobs
        if self._grips:
            values = [
                values[index] if grip is None else grip.value(time, knobs[index], values[index])
                for index, grip in enumerate(map(self._grips.get, self._places))
            ]
        for index in self._clipped:
            low, high = self._spans[index]
            values[index] = min(max(values[index], low), high)
        return tuple(values)

    def _by_knobs(self, time: int, ramps: Mapping[str, Ramp] = MappingProxyType({})) -> list[float]:
        values = [ramps.get(target, self.knobs[place]).value(time) for target, place in self._places.items()]
        if self._morph_end is not None:
            values = self._way(values, self._morph_end, self.morph(time), self._spans)
        return values

    def _by_motion(self, knobs: list[float], time: int) -> list[float]:
        values = list(knobs)
        for mover, left in self._movers:
            if mover.target is None:
                values = self._offsets(mover, left, time)
            elif mover.target != MORPH:
                values[self._places[mover.target]] += self._offsets(mover, left, time)[0]
        return values

    def turn(self, time: int, target: str, value: float, bus: int | None = None) -> None:
        """``bus``: of the pressure that turns a latent; None turns it for all notes."""
        if bus is not None and target in self._places:
            unpressed = self._unpressed.setdefault(target, self.targets[target].copy())
            self._pressed.setdefault(bus, {}).setdefault(target, unpressed.copy()).move(time, value)
        elif target in self._unpressed:
            for ramps in (self._unpressed, *self._pressed.values()):
                if target in ramps:
                    ramps[target].move(time, value)
        self.targets[target].move(time, value)
        if target in self._places:
            low, high = self._spans[self._places[target]]
            self._knobs_in_spans = self._knobs_in_spans and low <= value <= high
        self._settled, self._rest = max(self._settled, time + self._ramp), None
        if target in self._grips:
            self._grips[target].turn(time)
        if time <= self._latest_row:
            self._drop(lambda sample: sample >= time)

    def settle(self, time: int, since: int) -> None:
        """End all glides but those of pressure: from sample ``time`` on, notes have the codes of the knobs' targets.

        Nothing sounds ``since`` a sample. If that was before the hop's begin, where a note reads its codes, from there.
        """
        if time >= self._settled:
            return
        begin = time - time % self._hop
        if since > begin:
            begin = time
        for target, ramp in self.targets.items():
            if target not in self._unpressed:
                ramp.settle(begin)
        self._rest = None
        if not self._unpressed:
            self._settled = begin
        self._drop(lambda sample: sample >= begin)

    def hold(self, time: int, target: str, down: bool) -> None:
        if target not in self.targets:
            return
        grip = self._grips.get(target) or TouchedParameters(self._rate)
        if grip.holds == down:
            return
        self._grips[target] = grip
        if target == MORPH:
            now, knob, motion_value = self.morph(time), self.targets[MORPH].value(time), self._moved_morph(time)
        else:
            place, knobs = self._places[target], self._by_knobs(time)
            now, knob, motion_value = self.row(time)[place], knobs[place], self._by_motion(knobs, time)[place]
        if down:
            grip.hold_value(time, now, knob)
        else:
            grip.release(time, now, motion_value)
        self._drop(lambda sample: sample >= time)

    def shares(self, times: Times) -> Doubles | None:
        """Share of touch in note paths, 0 to 1, [times, n_latents]; None without touch."""
        if not self._grips:
            return None
        parts = np.zeros((len(times), len(self.knobs)))
        for target, grip in self._grips.items():
            if target in self._places:
                parts[:, self._places[target]] = grip.share.values(times)
        return parts

    def keep_time(self, event: Clock | Tempo | BeatSync) -> None:
        """A clock's start resets the beat to 0, and motions glide there."""
        is_start = isinstance(event, Clock) and event.message == "start"
        followers = [(mover, left) for mover, left in self._movers if mover.in_beats and is_start]
        offsets_before = [self._offsets(mover, left, event.time) for mover, left in followers]
        self._beats.apply(event)
        for (mover, left), was in zip(followers, offsets_before, strict=True):
            for ramp, old, new in zip(left, was, mover.at(self._beats.value(event.time)), strict=True):
                ramp.jump(event.time, old - new)
                ramp.move(event.time, 0.0)
        self._drop(lambda sample: sample >= event.time)

    def morph(self, time: int) -> float:
        if not self._morphs:
            return 0.0
        amount = self._moved_morph(time)
        if MORPH in self._grips:
            amount = self._grips[MORPH].value(time, self.targets[MORPH].value(time), amount)
        return min(max(amount, 0.0), 1.0)

    def _moved_morph(self, time: int) -> float:
        amount = self.targets[MORPH].value(time)
        for mover, left in self._movers:
            if mover.target == MORPH:
                amount += self._offsets(mover, left, time)[0]
        return amount

    def beat(self, time: int) -> float:
        return self._beats.value(time)

    def beat_samples(self, time: int) -> float:
        return self._beats.samples(time)

    def forget(self, time: int) -> None:
        self._beats.forget(time)
        ramp_groups = (ramps.values() for ramps in (self._unpressed, *self._pressed.values()))
        for ramps in (self.targets.values(), *ramp_groups, *(left for _, left in self._movers)):
            for ramp in ramps:
                ramp.forget(time)
        for mover, _ in self._movers:
            mover.forget(time)
        self._grips = {target: grip for target, grip in self._grips.items() if not grip.over(time)}
        for grip in self._grips.values():
            grip.forget(time)
        self._drop(lambda sample: sample < time)

    def _drop(self, is_dropped: Callable[[int], bool]) -> None:
        for sample in [sample for sample in self._rows if is_dropped(sample)]:
            del self._rows[sample]

    def _offsets(self, mover: MotionSource, left: Sequence[Ramp], time: int) -> list[float]:
        place = self._beats.value(time) if mover.in_beats else time
        return [value + ramp.value(time) for value, ramp in zip(mover.at(place), left, strict=True)]


class MotionLayers(NamedTuple):
    """Sources of a preset's codes and bends, in the order in which `VoiceMotion` applies them."""

    codes: Latents
    mpe: MpeChannels
    low: Doubles  # end of each latent's range, [n_latents]
    high: Doubles
    note_path: NotePath | None = None
    note_values: NoteValues | None = None
    gestures: GesturePlayer | None = None

    @property
    def are_common(self) -> bool:
        """Return whether all notes have the codes of `codes` before gestures and fingers move them."""
        return self.note_path is None and (self.note_values is None or not self.note_values.moves_codes)


class VoiceMotion:
    """The `Motion` of voices: what they have in common, then what each has of its own, in layers."""

    def __init__(self, layers: MotionLayers, voices: Sequence[Voice], gestures: bool = True) -> None:
        """``gestures`` False leaves out their codes, for a caller that adds them."""
        self._layers, self._voices = layers, voices
        wheels, values, player = layers.mpe.channel_wheels, layers.note_values, layers.gestures
        buses = [voice.bus for voice in voices]
        self._bends = [wheels.of(bus).bend for bus in buses]
        self._bends_alike = all(bend is self._bends[0] for bend in self._bends)
        self._buses_differ = layers.codes.differ(buses)
        self._offsets: Doubles | None = None  # of note values, [voices, n_latents]
        if values is not None and values.moves_codes:
            zero = np.zeros(len(layers.low))
            self._offsets = np.array([zero if (code := voice.offsets.code) is None else code for voice in voices])
        self._gestures: GesturePlayer | None = None
        if gestures and player is not None and (player.moves or any(_is_moved(voice) for voice in voices)):
            self._gestures = player
        self._touched = any(voice.touch is not None for voice in voices)
        self._path_or_offsets = layers.note_path is not None or self._offsets is not None
        self.own_codes = self._buses_differ or self._path_or_offsets or self._gestures is not None

    def latents(self, voices: Sequence[int], times: Times, own_times: Times | None = None) -> Array:
        """Each layer changes the codes of those above it; without changes, they are equal to the bit.

        1. Knobs, morph, common motions and the pressure of a bus, or a path from the note-on.
        2. Offsets from velocity and key.
        3. Gestures of recorded notes.
        4. Pressure and slide of MPE.
        """
        if self._layers.note_path is None:
            codes = self._common_codes(voices, times)
        else:
            codes = self._path_codes(self._layers.note_path, voices, times, own_times)
        if self._offsets is not None:
            codes = self._add(codes, self._offsets[list(voices)])
        if self._gestures is not None:
            codes = self._add(codes, self._gesture_codes(voices, times if own_times is None else own_times))
        if self._touched:
            self._layers.mpe.express(codes, [self._voices[voice].touch for voice in voices], times)
        return codes

    def _common_codes(self, voices: Sequence[int], times: Times) -> Array:
        common = self._layers.codes
        if not self._buses_differ:
            return common.codes_at(times)
        buses = np.array([self._voices[voice].bus for voice in voices])
        codes = np.empty((len(times), len(common.knobs)), np.float32)
        for bus in set(buses.tolist()):
            codes[buses == bus] = common.bus_codes_at(times[buses == bus], bus)
        return codes

    def _path_codes(self, path: NotePath, voices: Sequence[int], times: Times, own_times: Times | None) -> Array:
        """The path's codes; touched knobs keep theirs."""
        onsets = np.array([self._voices[voice].stream.on for voice in voices], np.int64)
        path_codes = path.codes(times - onsets if own_times is None else own_times - onsets + path.lead)
        touch_shares = self._layers.codes.shares(times)
        if touch_shares is None:
            return path_codes
        knob_codes = self._common_codes(voices, times)
        mixed: Array = (path_codes * (1.0 - touch_shares) + knob_codes * touch_shares).astype(np.float32)
        return mixed

    def _gesture_codes(self, voices: Sequence[int], times: Times) -> Doubles:
        offsets = np.zeros((len(voices), len(self._layers.low)))
        last: tuple[int, int] | None = None
        for row, voice_time in enumerate(zip(voices, times.tolist(), strict=True)):
            if voice_time == last:  # the usual case at a note-on
                offsets[row] = offsets[row - 1]
            elif (gesture := self._voices[voice_time[0]].gesture) is not None:
                offsets[row] = gesture.code(voice_time[1])
            last = voice_time
        return offsets

    def _add(self, codes: Array, offsets: Doubles) -> Array:
        """Clamp sums to latent ranges; knob values outside stay."""
        highest, lowest = np.maximum(codes, self._layers.high), np.minimum(codes, self._layers.low)
        sums: Array = np.minimum(np.maximum(codes + offsets, lowest), highest).astype(np.float32)
        return sums

    def beginnings(self, time: int) -> Beginnings | None:
        """Initial codes of middle keys if only gestures move notes."""
        player = self._gestures
        if player is None or not player.moves or self._buses_differ or self._path_or_offsets or self._touched:
            return None
        knob_codes = self._layers.codes.codes_at(np.array([time], np.int64))
        codes = (
            (pitch, self._add(np.repeat(knob_codes, len(offsets), axis=0), offsets))
            for pitch, offsets in player.first_codes()
        )
        return Beginnings((knob_codes.tobytes(), player.heading()), codes)

    def bend_semitones(self, voices: Sequence[int], times: Times) -> Doubles:
        """The channel's wheel and the gesture's intonation; in MPE zones, the note's and its master's wheels alone."""
        if self._bends_alike and self._bends:
            bends = self._bends[0].values(times)
        else:
            rows = zip(voices, times.tolist(), strict=True)
            bends = np.array([self._bends[voice].value(time) for voice, time in rows])
        if self._gestures is not None:
            gestures = [self._voices[voice].gesture for voice in voices]
            bends = bends + np.array([0.0 if gesture is None else gesture.semitones for gesture in gestures])
        if self._touched:
            for row, (voice, time) in enumerate(zip(voices, times.tolist(), strict=True)):
                if (touch := self._voices[voice].touch) is not None:
                    bends[row] = touch.bent(time)
        return bends

    def bend_of(self, voice: int, start: int, count: int) -> np.float32 | Array:
        touch = self._voices[voice].touch
        return self._bends[voice].block(start, count) if touch is None else touch.bend_block(start, count)

    def residual(self, voices: Sequence[int], times: Times, ahead: int) -> Residual | None:
        player = self._gestures
        gestures = [voice.gesture for voice in self._voices]
        bands = next((gesture.bands for gesture in gestures if gesture is not None and gesture.bands), 0)
        if player is None or not bands:
            return None
        gains = np.zeros((len(voices), bands), np.float32)
        modes: list[Doubles | None] = [None] * len(voices)
        images: list[Doubles | None] = [None] * len(voices)
        vibrato = np.zeros(len(voices))
        for row, (voice, time) in enumerate(zip(voices, times.tolist(), strict=True)):
            if (gesture := gestures[voice]) is not None and gesture.bands:
                gains[row], modes[row] = gesture.band_gains(time, ahead), gesture.modes
                images[row] = gesture.mix.image
                if off_key := gesture.vibrato(time, ahead):
                    vibrato[row] = off_key * player.vibrato(max(time, gesture.begin), gesture.deeper)
        return Residual(gains, modes, vibrato, images)

    def decoded_keys(self, voices: Sequence[int]) -> Sequence[int | None]:
        if self._gestures is None:
            return [None] * len(voices)
        gestures = [self._voices[voice].gesture for voice in voices]
        return [None if gesture is None else gesture.decoded_key for gesture in gestures]

    def next_bend(self, time: int) -> float:
        return self._layers.mpe.next_bend(time)

    def morph(self, time: int) -> float:
        return self._layers.codes.morph(time)

    def beat(self, time: int) -> float:
        return self._layers.codes.beat(time)

    def beat_samples(self, time: int) -> float:
        return self._layers.codes.beat_samples(time)


def _is_moved(voice: Voice) -> bool:
    """Return whether a gesture moves the voice's code or pitch."""
    gesture = voice.gesture
    return gesture is not None and (gesture.moves or gesture.semitones != 0)
