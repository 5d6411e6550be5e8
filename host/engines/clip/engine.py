"""Clip engine: plays decoded clips, resampled to keys' pitches."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from ...arrays import Array
from ...kinds.clip import LABEL, ClipSettings, Hit, hits, strikes
from ...model.model import Model
from ...ramps import RAMP_SECONDS, Ramp
from ...units import MIDDLE_C
from ..engine import EngineRequest, Motion, VoiceSound
from .clip_cache import (
    NEWEST,
    BlockingClipCache,
    ClipDecodeWorker,
    ClipRequest,
    Label,
    Name,
    PrefetchClipCache,
    SingleClipDecoder,
    label_between,
)
from .resampling import BITS, ONE, ClipSegment, Places, Request, ResampledClip, Stretch, read, steady, steps
from .synthesis import ClipSound, sound_of

Codes = Mapping[int, Array]  # [voices, n_latents] by sample

LOOK_SECONDS = 0.005  # interval of live code prediction
MORPH_SECONDS = 0.05  # crossfade between clips of a gated sound whose code moves
SPREAD_SECONDS = 0.02  # spread of the crossfades' starts by key, to distribute their load over blocks
APART = 977  # samples between the starts of adjacent keys, modulo that spread
FADE_SECONDS = 0.005  # fade-out of a segment that ends before the clip
CHUNK_SAMPLES = 2048  # samples of a voice: their taps fit the CPU cache
PLAYING_CLIPS = 16  # clips still playing after newer ones replaced them
KNOBS = -1  # slot of the clips that all keys share, at the code of the latents


class ClipPlaySettings(NamedTuple):
    settings: ClipSettings
    kit: Mapping[int, Hit]  # clips by key; empty if all keys play the latents' code
    rest_latents: Sequence[float]
    gated: bool  # clips follow their code and may sustain
    lowest: float  # downward bend range in semitones
    glides: bool  # pitch may glide from any key
    morph_label: int | None = None


class PendingRead(NamedTuple):
    """A read whose samples times ``weight``, [n], are added to ``output``, [n]."""

    request: Request | Stretch
    output: Array
    weight: Array | None = None


@dataclass(slots=True, kw_only=True)
class ClipStream(VoiceSound):
    """A voice's clip; its step is constant before sample ``steady_until``, if bend and code are."""

    slot: int
    label: int
    shift: float  # semitones added to its pitch
    part: ClipSegment
    turn: int  # samples after a grid point, when ``next`` takes over
    position: int = 0  # fixed-point position of the next sample, `ONE` a sample
    step: int = 0  # of its last samples if constant, as is the bend
    bend: float = 0.0
    steady_until: int = 0  # first sample that needs a new step
    clip: ResampledClip | None = None
    name: Name | None = None
    coming: ResampledClip | None = None  # crossfades in from sample ``fade_start`` on, then ``next``
    fade_start: int = 0
    next: tuple[ResampledClip, Name | None] | None = None
    finished: bool = False


class ClipEngine:
    """Plays a clip a note. Offline, it waits for the clip of its code. Live, a worker decodes ahead, last struck key
    first, at the code predicted for completion; a note plays the newest ready clip, or an older one of exactly its
    code.

    Gated clips look up their code's clip on a grid of `MORPH_SECONDS`, common to all voices so that they share
    clips. They crossfade to it, at the same position, up to `SPREAD_SECONDS` later. Other parameters are read at
    note-on: a note's latest end is known before decoding, also in processes that do not compute it.
    """

    channels = 1
    lookback = 0

    def __init__(self, model: Model, sound: ClipSound, playing: ClipPlaySettings, live: bool) -> None:
        card = model.card
        self._rate, self._clip_length, self._playing = card.sample_rate, card.frame_length, playing
        self._ramp = round(RAMP_SECONDS * self._rate)
        self.targets = {name: Ramp(value, self._ramp) for name, value in playing.settings.values().items()}
        label = playing.settings.label
        self._label = Ramp(0.0 if label is None else card.labels.index(label), 1)
        if len(card.labels) > 1:
            self.targets[LABEL] = self._label
        self._slots = list(playing.kit) or [KNOBS]  # last struck first
        self._rest = np.array(playing.rest_latents, np.float32)
        low, high = (np.array([getattr(latent, end) for latent in card.latents], np.float32) for end in ("low", "high"))
        hits = list(playing.kit.values()) or [Hit(None, None)]
        self._rows = {slot: row for row, slot in enumerate(self._slots)}  # of `_slot_codes`, by slot
        self._slot_codes = np.array(
            [playing.rest_latents if hit.code is None else hit.code for hit in hits], np.float32
        )
        self._bare = [row for row, hit in enumerate(hits) if hit.code is None]  # rows of keys without a code
        self._low, self._high = np.minimum(low, self._slot_codes), np.maximum(high, self._slot_codes)
        self._fade = max(1, round(FADE_SECONDS * self._rate))
        self._grid = max(1, round(MORPH_SECONDS * self._rate))
        self._spread = max(1, round(SPREAD_SECONDS * self._rate))
        self._shares = (0.5 - 0.5 * np.cos(np.arange(self._grid) * (np.pi / self._grid))).astype(np.float32)
        self._cached_codes = b"", self._slot_codes  # latents, and the codes of all slots at them
        self._look_samples, self._next_look = max(1, round(LOOK_SECONDS * self._rate)), 0
        decoder = SingleClipDecoder(model, sound)
        self._blocking_cache = None if live else BlockingClipCache(decoder, 4 * self._clip_length)
        self._ahead = (
            PrefetchClipCache(
                ClipDecodeWorker(decoder, self._clip_length, (NEWEST + 1) * len(self._slots) + PLAYING_CLIPS)
            )
            if live
            else None
        )
        # of the last look: latents, labels and slot order
        self._requested: tuple[bytes, tuple[Label, ...], tuple[int, ...]] | None = None
        self._age_ms = 0.0
        if self._ahead is not None:
            self._ahead.ask(self._wants(self._rest, [self._label_of(slot, 0) for slot in self._slots], 0))

    @property
    def ready(self) -> bool:
        return self._ahead is None or all(self._ahead.ready_clips(slot) for slot in self._slots)

    @property
    def idle(self) -> bool:
        return self._ahead is None or self._ahead.idle

    @property
    def age_ms(self) -> float | None:
        return None if self._ahead is None else self._age_ms

    def start_stream(self, pitch: float, time: int, key: int) -> ClipStream:
        playing, values = self._playing, {name: ramp.value(time) for name, ramp in self.targets.items()}
        part = ClipSegment.from_values(self._clip_length, values, playing.settings.loop, self._rate, self._fade)
        shift = values["clip.pitch"] - MIDDLE_C
        slot = key if key in playing.kit else KNOBS
        self._slots.remove(slot)
        self._slots.insert(0, slot)
        stream = ClipStream(
            key=pitch,
            on=time,
            slot=slot,
            label=self._label_of(slot, time),
            shift=shift,
            part=part,
            turn=key * APART % self._spread,
        )
        if not part.period:
            slowest = steady(float(np.float32((0.0 if playing.glides else pitch) + shift - playing.lowest)))
            stream.over = time + math.ceil((part.length * ONE) / slowest) + 1 + self._fade
        return stream

    def number_next(self, number: int) -> None:
        """Do nothing: clips have no random numbers."""

    def render(self, streams: Sequence[ClipStream], motion: Motion, start: int, count: int) -> list[Array]:
        end = start + count
        # A note-on makes its block expensive, so the look moves to the next block unless it is overdue.
        struck = any(stream.on >= start for stream in streams)
        if self._ahead is not None and end >= self._next_look + (self._look_samples if struck else 0):
            self._next_look = end + self._look_samples
            self._look(self._ahead, motion, max(0, len(streams) - 1), end)
        codes = self._codes_at(motion, len(streams), start, end)
        sounds = np.zeros((len(streams), 1, count), np.float32)
        asks: list[PendingRead] = []
        fades: list[tuple[Array, Array]] = []
        for voice, stream in enumerate(streams):
            if not codes and self._goes_on(voice, stream, motion, start, end):
                request = self._straight(stream, stream.step, start, count, stream.position)
                assert request is not None
                stream.position = stream.part.wrapped(stream.position + stream.step * count)
                asks.append(PendingRead(request, sounds[voice, 0]))
                continue
            first, last = max(start, stream.on), min(end, stream.end or end, stream.over or end)
            if not stream.finished and first < last:
                output = sounds[voice, 0, first - start : last - start]
                self._play(voice, stream, motion, first, last, codes, output, asks)
                if stream.over is not None and last > stream.over - self._fade:
                    remaining = (stream.over - np.arange(first, last)) / self._fade
                    fades.append((output, np.clip(remaining, 0.0, 1.0).astype(np.float32)))
        for ask, sound in zip(asks, read([ask.request for ask in asks]), strict=True):
            ask.output[:] += sound if ask.weight is None else sound * ask.weight
        for output, share in fades:
            output *= share
        for ramp in self.targets.values():
            ramp.forget(end)
        return list(sounds)

    def prepare(self, streams: Sequence[ClipStream], motion: Motion, now: int) -> None:
        """Do nothing."""

    def _goes_on(self, voice: int, stream: ClipStream, motion: Motion, start: int, end: int) -> bool:
        if end > stream.steady_until or start <= stream.on or (stream.end is not None and end > stream.end):
            return False
        bend = motion.bend_of(voice, start, end - start)
        return bend.ndim == 0 and bend == stream.bend

    def _codes_at(self, motion: Motion, voices: int, start: int, end: int) -> Codes:
        times = range(start + -start % self._grid, end, self._grid) if self._playing.gated and voices else ()
        if not times:
            return {}
        pairs = [(voice, time) for time in times for voice in range(voices)]
        rows = motion.latents([voice for voice, _ in pairs], np.array([time for _, time in pairs], np.int64))
        return dict(zip(times, rows.reshape(len(times), voices, -1), strict=True))

    def _play(
        self,
        voice: int,
        stream: ClipStream,
        motion: Motion,
        first: int,
        last: int,
        codes: Codes,
        output: Array,
        asks: list[PendingRead],
    ) -> None:
        if first == stream.on:
            code = motion.latents([voice], np.array([first], np.int64))[0]
            stream.clip, stream.name = self._clip_for(stream, code, motion, first)
        if stream.clip is None:  # nothing was ready
            stream.finished = True
            return
        turns = range(first + (stream.turn - first) % self._grid, last, self._grid) if self._playing.gated else ()
        if not (codes or turns):
            self._piece(voice, stream, motion, first, output, asks)
            return
        looks = [time for time in codes if stream.on < time < last]
        begins = sorted({first, *turns})
        for begin, stop in zip(begins, [*begins[1:], last], strict=True):
            while looks and looks[0] <= begin:
                self._look_for(stream, codes[looks[0]][voice], motion, looks.pop(0))
            if begin in turns:
                self._go_over(stream, begin)
            self._piece(voice, stream, motion, begin, output[begin - first : stop - first], asks)
            if stream.finished:
                return
        for time in looks:
            self._look_for(stream, codes[time][voice], motion, time)

    def _look_for(self, stream: ClipStream, code: Array, motion: Motion, time: int) -> None:
        clip, name = self._clip_for(stream, code, motion, time)
        if clip is not None:
            stream.next = clip, name

    def _go_over(self, stream: ClipStream, time: int) -> None:
        if stream.coming is not None:
            stream.clip, stream.coming = stream.coming, None
        if stream.next is not None:
            clip, name = stream.next
            if name != stream.name:
                stream.coming, stream.name, stream.fade_start = clip, name, time
            stream.next = None

    def _clip_for(
        self, stream: ClipStream, knobs: Array, motion: Motion, time: int
    ) -> tuple[ResampledClip | None, Name | None]:
        code = self._codes(knobs)[self._rows[stream.slot]]
        label = self._morphed_label(stream.slot, stream.label, motion, time)
        name = label, code.tobytes()
        if self._blocking_cache is not None:
            return self._blocking_cache.clip(label, code), name
        assert self._ahead is not None
        ready = self._ahead.ready_clips(stream.slot)
        # Prefer the exact code, then the newest clip of the label, then the newest clip.
        ready_clip = max(
            ready,
            key=lambda ready_clip: (ready_clip.name == name, ready_clip.name[0] == label, ready_clip.number),
            default=None,
        )
        if ready_clip is None:
            return None, None
        if time == stream.on:
            self._age_ms = (
                0.0 if ready_clip.name == name else max(0, time - ready_clip.current_time) / self._rate * 1000
            )
        return ready_clip.clip, ready_clip.name

    def _piece(
        self, voice: int, stream: ClipStream, motion: Motion, begin: int, output: Array, asks: list[PendingRead]
    ) -> None:
        count = len(output)
        pitch = stream.key if stream.pitch is None else stream.pitch.block(begin, count)
        bend = motion.bend_of(voice, begin, count)
        semitones = np.float64(stream.shift) + pitch + bend
        step = steady(float(semitones)) if semitones.ndim == 0 else steps(semitones)
        stream.steady_until = 0
        if isinstance(step, int) and stream.pitch is None:
            stream.step, stream.bend = step, float(bend)
            stream.steady_until = begin + stream.part.count_straight(stream.position, step)
            if stream.over is not None:
                stream.steady_until = min(stream.steady_until, stream.over - self._fade)
            if self._playing.gated:
                stream.steady_until = min(stream.steady_until, begin + 1 + (stream.turn - begin - 1) % self._grid)
        for first in range(0, count, CHUNK_SAMPLES):
            chunk_step = step if isinstance(step, int) else step[first : first + CHUNK_SAMPLES]
            self._ask(stream, chunk_step, begin + first, output[first : first + CHUNK_SAMPLES], asks)

    def _ask(self, stream: ClipStream, step: int | Places, begin: int, output: Array, asks: list[PendingRead]) -> None:
        part, position, inside_count = stream.part, stream.position, len(output)
        if isinstance(step, int):
            after = position + step * inside_count
            inside_count = part.count_inside(position, step, inside_count)
        else:
            places = position + np.concatenate([np.zeros(1, np.int64), np.cumsum(step)])
            after = int(places[-1])
            inside_count = inside_count if part.period else int(np.searchsorted(places[:-1], part.length << BITS))
        stream.position, stream.finished = part.wrapped(after), inside_count < len(output)
        if inside_count == 0:
            return
        if isinstance(step, int):
            if (straight := self._straight(stream, step, begin, inside_count, position)) is not None:
                asks.append(PendingRead(straight, output[:inside_count]))
                return
            places, step = position + step * np.arange(inside_count), np.array([step])
        else:
            places, step = places[:inside_count], step[:inside_count]
        assert stream.clip is not None
        share = self._share(stream, begin, inside_count)
        for request, first, weight in part.requests(stream.clip, stream.coming, share, places, step):
            asks.append(PendingRead(request, output[first : first + len(request.places)], weight))

    def _straight(self, stream: ClipStream, step: int, begin: int, count: int, position: int) -> Stretch | None:
        straight = stream.part.straight(position, step, count)
        if straight is None:
            return None
        assert stream.clip is not None
        return Stretch(stream.clip, *straight, count, stream.coming, self._share(stream, begin, count))

    def _share(self, stream: ClipStream, begin: int, count: int) -> Array | None:
        if stream.coming is None:
            return None
        share: Array = self._shares[begin - stream.fade_start : begin - stream.fade_start + count]
        return share

    def _look(self, cache: PrefetchClipCache, motion: Motion, voice: int, now: int) -> None:
        lead = max(self._ramp, round(cache.seconds * self._rate))
        current_code, future_code = motion.latents([voice, voice], np.array([now, now + lead], np.int64))
        cache.mark_current(current_code.tobytes(), now)
        labels = [
            self._morphed_label(slot, self._label_of(slot, now + lead), motion, now + lead) for slot in self._slots
        ]
        request_key = future_code.tobytes(), tuple(labels), tuple(self._slots)
        if request_key != self._requested:
            self._requested = request_key
            cache.ask(self._wants(future_code, labels, now + lead))

    def _wants(self, base: Array, labels: Sequence[Label], time: int) -> list[ClipRequest]:
        codes, knobs = self._codes(base), base.tobytes()
        slots = zip(self._slots, labels, strict=True)
        return [ClipRequest(slot, label, codes[self._rows[slot]], knobs, time) for slot, label in slots]

    def _codes(self, base: Array) -> Array:
        knobs = base.tobytes()
        if knobs != self._cached_codes[0]:
            codes = np.minimum(np.maximum(self._slot_codes + (base - self._rest), self._low), self._high)
            codes[self._bare] = base
            self._cached_codes = knobs, codes
        return self._cached_codes[1]

    def _label_of(self, slot: int, time: int) -> int:
        label = None if slot == KNOBS else self._playing.kit[slot].label
        return round(self._label.value(time)) if label is None else label

    def _morphed_label(self, slot: int, label: int, motion: Motion, time: int) -> Label:
        """Labels of [[keys]] do not morph."""
        end = self._playing.morph_label
        if end is None or (slot != KNOBS and self._playing.kit[slot].label is not None):
            return label
        return label_between(label, end, motion.morph(time))


def make_engine(model: Model, request: EngineRequest) -> ClipEngine:
    kind_settings, play = request.kind_settings, request.play
    playing = ClipPlaySettings(
        kind_settings.clip or ClipSettings(),
        hits(kind_settings.keys, model.card),
        request.rest_latents,
        gated=not strikes(kind_settings, play),
        lowest=request.bend,
        glides=play.mode != "poly",
        morph_label=None if request.morph_label is None else model.card.labels.index(request.morph_label),
    )
    return ClipEngine(model, sound_of(model.card), playing, request.live)
