"""Clip engine: plays decoded clips, resampled to keys' pitches."""

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from ...arrays import Array
from ...kinds.clip import LABEL, ClipSettings, Hit, hits, strikes
from ...model.model import Model
from ...ramps import RAMP_SECONDS, Ramp
from ...units import MIDDLE_C
from ...velocity import LOUDEST
from ..engine import Engine, EngineRequest, Motion, VoiceSound
from .clip_cache import (
    FLOAT_BYTES,
    NEWEST,
    BlockingClipCache,
    ClipDecodeWorker,
    ClipRequest,
    Label,
    Name,
    PrefetchClipCache,
    Recorded,
    RecordingMorph,
    SingleClipDecoder,
    label_between,
)
from .recorded import code_between
from .resampling import BITS, ONE, ClipSegment, Places, Request, ResampledClip, Stretch, kernels, read, steady, steps

Codes = Mapping[int, Array]  # [voices, n_latents] by sample

LOOK_SECONDS = 0.005  # interval of live code prediction
MORPH_SECONDS = 0.05  # crossfade between clips of a gated sound whose code moves
SPREAD_SECONDS = 0.02  # spread of the crossfades' starts by key, to distribute their load over blocks
APART = 977  # samples between the starts of adjacent keys, modulo that spread
FADE_SECONDS = 0.005  # fade-out of a segment that ends before the clip
CHUNK_SAMPLES = 2048  # samples of a voice: their taps fit the CPU cache
PLAYING_CLIPS = 16  # clips still playing after newer ones replaced them
KNOBS = -1  # slot of the clips that all keys share, at the code of the latents
TAKES = 1 << 8  # slots of a key's hits are this many apart, from the key on
MORPH_STEPS = 127  # between two recordings: a controller's


class ClipPlaySettings(NamedTuple):
    settings: ClipSettings
    kit: Mapping[int, Sequence[Hit]]  # clips by key; empty if all keys play the latents' code
    rest_latents: Sequence[float]
    gated: bool  # clips follow their code and may sustain
    lowest: float  # downward bend range in semitones
    glides: bool  # pitch may glide from any key
    morph_label: int | None = None


class PendingRead(NamedTuple):
    """A read whose samples times ``weight``, [n], are added to each row of ``output``, [channels, n]."""

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


class ClipEngine(Engine[ClipStream]):
    """Plays a clip a note. Offline, it waits for the clip of its code. Live, a worker decodes ahead, last struck key
    first, at the code predicted for completion; a note plays the newest ready clip, or an older one of exactly its
    code.

    Gated clips look up their code's clip on a grid of `MORPH_SECONDS`, common to all voices so that they share
    clips. They crossfade to it, at the same position, up to `SPREAD_SECONDS` later. Other parameters are read at
    note-on: a note's latest end is known before decoding, also in processes that do not compute it.
    """

    def __init__(self, model: Model, playing: ClipPlaySettings, live: bool) -> None:
        card = model.card
        self._rate, self._playing = card.sample_rate, playing
        self._ramp_samples = round(RAMP_SECONDS * self._rate)
        self.targets = {name: Ramp(value, self._ramp_samples) for name, value in playing.settings.values().items()}
        default_label = playing.settings.label
        self._label_ramp = Ramp(0.0 if default_label is None else card.labels.index(default_label), 1)
        if len(card.labels) > 1:
            self.targets[LABEL] = self._label_ramp
        self._hits = {
            key + TAKES * take: hit for key, key_hits in playing.kit.items() for take, hit in enumerate(key_hits)
        } or {KNOBS: Hit(None, None)}
        self._strikes: Counter[int] = Counter()  # of each key's layers, by the slot of their first take
        self._slots = list(self._hits)  # last struck first
        self._rest_code = np.array(playing.rest_latents, np.float32)
        latent_lows, latent_highs = np.array(card.spans, np.float32).T
        kit_hits = list(self._hits.values())
        self._rows = {slot: row for row, slot in enumerate(self._slots)}  # of `_slot_codes`, by slot
        self._slot_codes = np.array(
            [playing.rest_latents if hit.code is None else hit.code for hit in kit_hits], np.float32
        )
        # by row of `_slot_codes`: codes of the recordings at the morph's end
        self._end_codes = {
            row: np.array(hit.end.code, np.float32) for row, hit in enumerate(kit_hits) if hit.end is not None
        }
        self._bare_rows = [row for row, hit in enumerate(kit_hits) if hit.code is None]  # rows of keys without a code
        self._low, self._high = np.minimum(latent_lows, self._slot_codes), np.maximum(latent_highs, self._slot_codes)
        for row, end_code in self._end_codes.items():
            self._low[row], self._high[row] = (
                np.minimum(self._low[row], end_code),
                np.maximum(self._high[row], end_code),
            )
        self._fade_samples = max(1, round(FADE_SECONDS * self._rate))
        self._grid_samples = max(1, round(MORPH_SECONDS * self._rate))
        self._spread_samples = max(1, round(SPREAD_SECONDS * self._rate))
        self._coming_shares = (0.5 - 0.5 * np.cos(np.arange(self._grid_samples) * (np.pi / self._grid_samples))).astype(
            np.float32
        )
        # latents and position of the morph, and the codes of all slots at them
        self._cached_codes: tuple[tuple[bytes, float], Array] = (b"", 0.0), self._slot_codes
        self._look_samples, self._next_look = max(1, round(LOOK_SECONDS * self._rate)), 0
        decoder = SingleClipDecoder(model)
        clip_shapes = {slot: decoder.shape(_recorded(hit, 0.0)) for slot, hit in self._hits.items()}
        self._lengths = {slot: length for slot, (_, length) in clip_shapes.items()}
        # of the recordings at both ends of the morph
        self._audible_lengths = {
            slot: tuple(decoder.audible_length(end_hit.recording) for end_hit in (hit, hit.end or hit))
            for slot, hit in self._hits.items()
        }
        self._channels = max(channel_count for channel_count, _ in clip_shapes.values())
        longest = max(self._lengths.values())
        self._blocking_cache = None if live else BlockingClipCache(decoder, FLOAT_BYTES * self._channels * longest)
        sounds_at_once = sum(channel_count for channel_count, _ in clip_shapes.values()) * (NEWEST + 1)
        self._prefetch_cache = (
            PrefetchClipCache(ClipDecodeWorker(decoder, longest, sounds_at_once + PLAYING_CLIPS * self._channels))
            if live
            else None
        )
        # of the last look: latents, labels and slot order
        self._requested: tuple[bytes, tuple[Label, ...], tuple[int, ...]] | None = None
        self._age_ms = 0.0
        if self._prefetch_cache is not None:
            kernels()  # here, not at the first note of another pitch
            self._prefetch_cache.ask(
                self._wants(self._rest_code, [self._label_of(slot, 0) for slot in self._slots], 0.0, 0)
            )

    @property
    def channels(self) -> int:
        return self._channels

    @property
    def ready(self) -> bool:
        return self._prefetch_cache is None or all(self._prefetch_cache.ready_clips(slot) for slot in self._slots)

    @property
    def idle(self) -> bool:
        return self._prefetch_cache is None or self._prefetch_cache.idle

    @property
    def age_ms(self) -> float | None:
        return None if self._prefetch_cache is None else self._age_ms

    def start_stream(self, pitch: float, time: int, key: int, velocity: int = LOUDEST) -> ClipStream:
        playing, slot = self._playing, self._slot(key, velocity)
        segment = self._segment(slot, max(self._audible_lengths[slot]), time)
        shift_semitones = self.targets["clip.pitch"].value(time) - MIDDLE_C
        self._slots.remove(slot)
        self._slots.insert(0, slot)
        stream = ClipStream(
            key=pitch,
            on=time,
            slot=slot,
            label=self._label_of(slot, time),
            shift=shift_semitones,
            part=segment,
            turn=key * APART % self._spread_samples,
        )
        if not segment.period:
            slowest_step = steady(
                float(np.float32((0.0 if playing.glides else pitch) + shift_semitones - playing.lowest))
            )
            stream.over = time + math.ceil((segment.length * ONE) / slowest_step) + 1 + self._fade_samples
        return stream

    def _segment(self, slot: int, audible_length: int, time: int) -> ClipSegment:
        """The part of a slot's clips that a note-on at ``time`` plays."""
        parameter_values = {name: ramp.value(time) for name, ramp in self.targets.items()}
        loops = self._playing.settings.loop
        segment = ClipSegment.from_values(audible_length, parameter_values, loops, self._rate, self._fade_samples)
        if segment.is_whole(audible_length):  # with room for the decoder's tail behind a recording
            length = self._lengths[slot]
            return ClipSegment.from_values(length, parameter_values, loops, self._rate, self._fade_samples)
        return segment

    def _slot(self, key: int, velocity: int) -> int:
        """Slot of a key's hit nearest in velocity; equally near ones take turns."""
        key_hits = self._playing.kit.get(key)
        if key_hits is None:
            return KNOBS
        distances = [abs(hit.velocity - velocity) for hit in key_hits]
        takes = [key + TAKES * take for take, distance in enumerate(distances) if distance == min(distances)]
        self._strikes[takes[0]] += 1
        return takes[(self._strikes[takes[0]] - 1) % len(takes)]

    def render(self, streams: Sequence[ClipStream], motion: Motion, start: int, count: int) -> list[Array]:
        block_end = start + count
        # A note-on makes its block expensive, so the look moves to the next block unless it is overdue.
        is_struck = any(stream.on >= start for stream in streams)
        if self._prefetch_cache is not None and block_end >= self._next_look + (self._look_samples if is_struck else 0):
            self._next_look = block_end + self._look_samples
            self._look(self._prefetch_cache, motion, max(0, len(streams) - 1), block_end)
        codes = self._codes_at(motion, len(streams), start, block_end)
        sounds = np.zeros((len(streams), self._channels, count), np.float32)
        pending_reads: list[PendingRead] = []
        fade_outs: list[tuple[Array, Array]] = []
        for voice_index, stream in enumerate(streams):
            if not codes and self._goes_on(voice_index, stream, motion, start, block_end):
                straight_reads = self._straight(stream, stream.step, start, sounds[voice_index], stream.position)
                assert straight_reads is not None
                stream.position = stream.part.wrapped(stream.position + stream.step * count)
                pending_reads += straight_reads
                continue
            first_sample, end_sample = (
                max(start, stream.on),
                min(block_end, stream.end or block_end, stream.over or block_end),
            )
            if not stream.finished and first_sample < end_sample:
                output = sounds[voice_index, :, first_sample - start : end_sample - start]
                self._play(voice_index, stream, motion, first_sample, end_sample, codes, output, pending_reads)
                if stream.over is not None and end_sample > stream.over - self._fade_samples:
                    remaining_shares = (stream.over - np.arange(first_sample, end_sample)) / self._fade_samples
                    fade_outs.append((output, np.clip(remaining_shares, 0.0, 1.0).astype(np.float32)))
        for pending_read, sound in zip(
            pending_reads, read([pending_read.request for pending_read in pending_reads]), strict=True
        ):
            pending_read.output[:] += sound if pending_read.weight is None else sound * pending_read.weight
        for output, fade_shares in fade_outs:
            output *= fade_shares
        for ramp in self.targets.values():
            ramp.forget(block_end)
        return list(sounds)

    def _goes_on(self, voice_index: int, stream: ClipStream, motion: Motion, start: int, end: int) -> bool:
        """Return whether a stream's step stays constant through a block."""
        if end > stream.steady_until or start <= stream.on or (stream.end is not None and end > stream.end):
            return False
        bend = motion.bend_of(voice_index, start, end - start)
        return bend.ndim == 0 and bend == stream.bend

    def _codes_at(self, motion: Motion, voice_count: int, start: int, end: int) -> Codes:
        """Codes of all voices at the grid's points in a block."""
        grid_times = (
            range(start + -start % self._grid_samples, end, self._grid_samples)
            if self._playing.gated and voice_count
            else ()
        )
        if not grid_times:
            return {}
        voice_times = [(voice_index, grid_time) for grid_time in grid_times for voice_index in range(voice_count)]
        code_rows = motion.latents(
            [voice_index for voice_index, _ in voice_times],
            np.array([grid_time for _, grid_time in voice_times], np.int64),
        )
        return dict(zip(grid_times, code_rows.reshape(len(grid_times), voice_count, -1), strict=True))

    def _play(
        self,
        voice_index: int,
        stream: ClipStream,
        motion: Motion,
        first_sample: int,
        end_sample: int,
        codes_by_time: Codes,
        output: Array,
        pending_reads: list[PendingRead],
    ) -> None:
        """Read a stream from its first to its end sample in a block, clip by clip."""
        if first_sample == stream.on:
            code = motion.latents([voice_index], np.array([first_sample], np.int64))[0]
            stream.clip, stream.name = self._clip_for(stream, code, motion, first_sample)
            first_length, last_length = self._audible_lengths[stream.slot]
            if last_length != first_length:  # start, length and reverse count within the morph's own length
                share = _rounded_share(motion.morph(first_sample))
                audible_length = round((1 - share) * first_length + share * last_length)
                stream.part = self._segment(stream.slot, audible_length, first_sample)
        if stream.clip is None:  # nothing was ready
            stream.finished = True
            return
        turn_samples = (
            range(first_sample + (stream.turn - first_sample) % self._grid_samples, end_sample, self._grid_samples)
            if self._playing.gated
            else ()
        )
        if not (codes_by_time or turn_samples):
            self._piece(voice_index, stream, motion, first_sample, output, pending_reads)
            return
        look_times = [time for time in codes_by_time if stream.on < time < end_sample]
        piece_starts = sorted({first_sample, *turn_samples})
        for piece_start, piece_end in zip(piece_starts, [*piece_starts[1:], end_sample], strict=True):
            while look_times and look_times[0] <= piece_start:
                self._look_for(stream, codes_by_time[look_times[0]][voice_index], motion, look_times.pop(0))
            if piece_start in turn_samples:
                self._go_over(stream, piece_start)
            self._piece(
                voice_index,
                stream,
                motion,
                piece_start,
                output[:, piece_start - first_sample : piece_end - first_sample],
                pending_reads,
            )
            if stream.finished:
                return
        for time in look_times:
            self._look_for(stream, codes_by_time[time][voice_index], motion, time)

    def _look_for(self, stream: ClipStream, code: Array, motion: Motion, time: int) -> None:
        """Set the clip to which the stream's next crossfade leads."""
        clip, clip_name = self._clip_for(stream, code, motion, time)
        if clip is not None:
            stream.next = clip, clip_name

    def _go_over(self, stream: ClipStream, time: int) -> None:
        """Begin the stream's crossfade to its next clip."""
        if stream.coming is not None:
            stream.clip, stream.coming = stream.coming, None
        if stream.next is not None:
            clip, clip_name = stream.next
            if clip_name != stream.name:
                stream.coming, stream.name, stream.fade_start = clip, clip_name, time
            stream.next = None

    def _clip_for(
        self, stream: ClipStream, latent_code: Array, motion: Motion, time: int
    ) -> tuple[ResampledClip | None, Name | None]:
        """Return the best clip for a code, and its name; None if none is ready."""
        position = motion.morph(time)
        code = self._codes(latent_code, position)[self._rows[stream.slot]]
        morphed_label = self._morphed_label(stream.slot, stream.label, motion, time)
        clip_name = Name(morphed_label, code.tobytes(), _recorded(self._hits[stream.slot], position))
        if self._blocking_cache is not None:
            return self._blocking_cache.clip(morphed_label, code, clip_name.recording), clip_name
        assert self._prefetch_cache is not None
        ready_clips = self._prefetch_cache.ready_clips(stream.slot)
        # Prefer the exact code, then the newest clip of the label, then the newest clip.
        best_clip = max(
            ready_clips,
            key=lambda best_clip: (
                best_clip.name == clip_name,
                best_clip.name.label == morphed_label,
                best_clip.number,
            ),
            default=None,
        )
        if best_clip is None:
            return None, None
        if time == stream.on:
            self._age_ms = (
                0.0 if best_clip.name == clip_name else max(0, time - best_clip.current_time) / self._rate * 1000
            )
        return best_clip.clip, best_clip.name

    def _piece(
        self,
        voice_index: int,
        stream: ClipStream,
        motion: Motion,
        piece_start: int,
        output: Array,
        pending_reads: list[PendingRead],
    ) -> None:
        """Read a stream's clip, chunk by chunk; note how long its step is constant."""
        piece_length = output.shape[1]
        pitch = stream.key if stream.pitch is None else stream.pitch.block(piece_start, piece_length)
        bend = motion.bend_of(voice_index, piece_start, piece_length)
        semitones = np.float64(stream.shift) + pitch + bend
        step = steady(float(semitones)) if semitones.ndim == 0 else steps(semitones)
        stream.steady_until = 0
        if isinstance(step, int) and stream.pitch is None:
            stream.step, stream.bend = step, float(bend)
            stream.steady_until = piece_start + stream.part.count_straight(stream.position, step)
            if stream.over is not None:
                stream.steady_until = min(stream.steady_until, stream.over - self._fade_samples)
            if self._playing.gated:
                stream.steady_until = min(
                    stream.steady_until, piece_start + 1 + (stream.turn - piece_start - 1) % self._grid_samples
                )
        for chunk_start in range(0, piece_length, CHUNK_SAMPLES):
            chunk_step = step if isinstance(step, int) else step[chunk_start : chunk_start + CHUNK_SAMPLES]
            self._ask(
                stream,
                chunk_step,
                piece_start + chunk_start,
                output[:, chunk_start : chunk_start + CHUNK_SAMPLES],
                pending_reads,
            )

    def _ask(
        self, stream: ClipStream, step: int | Places, chunk_start: int, output: Array, pending_reads: list[PendingRead]
    ) -> None:
        """Add reads of a chunk to ``pending_reads``, and move the stream on."""
        segment, position, inside_count = stream.part, stream.position, output.shape[1]
        if isinstance(step, int):
            next_position = position + step * inside_count
            inside_count = segment.count_inside(position, step, inside_count)
        else:
            positions = position + np.concatenate([np.zeros(1, np.int64), np.cumsum(step)])
            next_position = int(positions[-1])
            inside_count = (
                inside_count if segment.period else int(np.searchsorted(positions[:-1], segment.length << BITS))
            )
        stream.position, stream.finished = segment.wrapped(next_position), inside_count < output.shape[1]
        if inside_count == 0:
            return
        if isinstance(step, int):
            straight_reads = self._straight(stream, step, chunk_start, output[:, :inside_count], position)
            if straight_reads is not None:
                pending_reads += straight_reads
                return
            positions, step = position + step * np.arange(inside_count), np.array([step])
        else:
            positions, step = positions[:inside_count], step[:inside_count]
        coming_shares = self._share(stream, chunk_start, inside_count)
        for clip, coming, channels in _sides(stream, output):
            for request, first_index, weights in segment.requests(clip, coming, coming_shares, positions, step):
                last_index = first_index + len(request.places)
                pending_reads.append(PendingRead(request, channels[:, first_index:last_index], weights))

    def _straight(
        self, stream: ClipStream, step: int, chunk_start: int, output: Array, position: int
    ) -> list[PendingRead] | None:
        """Return the reads of a chunk at a constant step; None if it is not straight."""
        count = output.shape[1]
        position_and_step = stream.part.straight(position, step, count)
        if position_and_step is None:
            return None
        coming_shares = self._share(stream, chunk_start, count)
        return [
            PendingRead(Stretch(clip, *position_and_step, count, coming, coming_shares), channels)
            for clip, coming, channels in _sides(stream, output)
        ]

    def _share(self, stream: ClipStream, chunk_start: int, count: int) -> Array | None:
        """Gains of the clip that fades in; None without one."""
        if stream.coming is None:
            return None
        return self._coming_shares[chunk_start - stream.fade_start : chunk_start - stream.fade_start + count]

    def _look(self, cache: PrefetchClipCache, motion: Motion, voice_index: int, now: int) -> None:
        """Request all slots' clips at the code predicted for their completion."""
        lead_samples = max(self._ramp_samples, round(cache.seconds * self._rate))
        current_code, future_code = motion.latents(
            [voice_index, voice_index], np.array([now, now + lead_samples], np.int64)
        )
        position, future_position = motion.morph(now), motion.morph(now + lead_samples)
        cache.mark_current(_knobs(current_code, position), now)
        slot_labels = [
            self._morphed_label(slot, self._label_of(slot, now + lead_samples), motion, now + lead_samples)
            for slot in self._slots
        ]
        request_key = _knobs(future_code, future_position), tuple(slot_labels), tuple(self._slots)
        if request_key != self._requested:
            self._requested = request_key
            cache.ask(self._wants(future_code, slot_labels, future_position, now + lead_samples))

    def _wants(self, latent_code: Array, slot_labels: Sequence[Label], position: float, time: int) -> list[ClipRequest]:
        """Requests of all slots' clips at a ``position`` of the morph."""
        codes, knobs = self._codes(latent_code, position), _knobs(latent_code, position)
        labelled_slots = zip(self._slots, slot_labels, strict=True)
        return [
            ClipRequest(slot, label, codes[self._rows[slot]], knobs, time, _recorded(self._hits[slot], position))
            for slot, label in labelled_slots
        ]

    def _codes(self, latent_code: Array, position: float) -> Array:
        """Codes of all slots, [slots, n_latents], at the latents' code and a position of the morph."""
        cache_key = latent_code.tobytes(), _rounded_share(position)
        if cache_key != self._cached_codes[0]:
            rest_codes = self._slot_codes.copy()
            for row, end_code in self._end_codes.items():
                rest_codes[row] = code_between(self._slot_codes[row], end_code, _rounded_share(position))
            codes = np.minimum(np.maximum(rest_codes + (latent_code - self._rest_code), self._low), self._high)
            codes[self._bare_rows] = latent_code
            self._cached_codes = cache_key, codes
        return self._cached_codes[1]

    def _label_of(self, slot: int, time: int) -> int:
        """A slot's label, or the knob's."""
        kit_label = self._hits[slot].label
        return round(self._label_ramp.value(time)) if kit_label is None else kit_label

    def _morphed_label(self, slot: int, label_index: int, motion: Motion, time: int) -> Label:
        """Labels of [[keys]] do not morph."""
        end_label = self._playing.morph_label
        if end_label is None or self._hits[slot].label is not None:
            return label_index
        return label_between(label_index, end_label, motion.morph(time))


def _rounded_share(position: float) -> float:
    return round(position * MORPH_STEPS) / MORPH_STEPS


def _recorded(hit: Hit, position: float) -> Recorded:
    """A hit's recording at a position of the morph."""
    if hit.recording is None or hit.end is None or hit.end.recording is None:
        return hit.recording
    return RecordingMorph(hit.recording, hit.end.recording, _rounded_share(position))


def _knobs(latent_code: Array, position: float) -> bytes:
    """Bytes of the knobs that move all clips."""
    return latent_code.tobytes() + np.float64(position).tobytes()


def _sides(stream: ClipStream, output: Array) -> Sequence[tuple[ResampledClip, ResampledClip | None, Array]]:
    """Clip, coming clip and channels of ``output``, [channels, n], for each side that differs from the other."""
    clip, coming = stream.clip, stream.coming
    assert clip is not None
    if clip.right is None and (coming is None or coming.right is None):
        return [(clip, coming, output)]
    return [
        (clip, coming, output[:1]),
        (clip.right or clip, coming and (coming.right or coming), output[1:]),
    ]


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
    return ClipEngine(model, playing, request.live)
