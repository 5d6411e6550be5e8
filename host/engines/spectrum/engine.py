"""Overlap-add engine of kinds ``spectrum`` and ``partials``."""

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from ...arrays import Array, Doubles, Indices, Times
from ...kinds.card_fields import KEYS, PITCH_CLASSES
from ...kinds.kind import IMAGE
from ...model.card import Card
from ...model.model import Model
from ...ramps import Ramp
from ...units import MIDDLE_C
from ...velocity import LOUDEST
from ..engine import MAX_BLOCK, Engine, EngineRequest, MixedSound, Motion, Residual, image_target
from .beginnings import FirstRows
from .chord_voicing import ChordVoicing
from .coherent_voicing import CoherentVoicing
from .frames import AHEAD, BATCH, PLAIN, VoicingSettings
from .magnitude_voicing import CausalVoicing, NoiseVoicing
from .phase_retrieval import GriffinLimVoicing

# Initial samples of a stream's buffer beyond a frame. At live block sizes it seldom moves up; room for the longest
# block would be 140 kB, allocated page by page at each note-on.
ROOM = 8192
SOONEST = 2 * AHEAD  # rows checked at a time before they are due: many may be cached


def condition_of(card: Card, pitch: float) -> int:
    """The decoder's condition of a note: its key, its pitch class, or 0; ``pitch``: 69.0 for 440 Hz."""
    key = min(max(math.floor(pitch + 0.5), 0), KEYS - 1)
    return key if card.partials is not None else 0 if card.chroma is None else key % PITCH_CLASSES


class Voicing(Protocol):
    """Converts decoded rows to frames."""

    frame_length: int  # samples
    hop_length: int  # samples
    channels: int
    delay: int  # samples from a latent's reading to the first frame that uses it
    together: int  # voices per group, due at one moment
    moments: tuple[int, ...]  # of successive groups, in units of a hop / ``parts``
    parts: int
    image: Array | None  # curves of the model's, if frames have one

    def start_state(self) -> Any: ...

    def number_next(self, number: int) -> None: ...

    def prepare(self, latents: Array, chroma: Indices | Array) -> bool:
        """Do one step of the next `make`; return whether another remains."""

    def keep(self, latents: Array, chroma: Indices | Array) -> None:
        """Keep prepared rows until `let_go`."""

    def let_go(self) -> None: ...

    def make(
        self,
        latents: Array,
        chroma: Indices | Array,
        ratios: npt.NDArray[np.float64],
        states: Sequence[Any],
        residual: Residual | None = None,
        amounts: Doubles | None = None,
    ) -> Array:
        """Next frame of each row's voice, [rows, channels, frame_length].

        Args:
            latents: [rows, n_latents].
            chroma: pitch classes, [rows], or weights, [rows, 12]; of partials keys, [rows], or a mask, [rows, 128].
            ratios: frequency ratios to the decoded pitch, [rows].
            states: one per row; rows of one voice in time order.
            residual: only models of partials have any.
            amounts: of the image, 0 to 2, [rows]; None: the preset's.
        """


@dataclass(slots=True, kw_only=True)
class SpectrumStream(MixedSound):
    next_frame: int
    state: Any
    prepared: int | None = None  # the sample of its last decoded codes


Due = tuple[int, SpectrumStream, int]  # voice number, stream and first sample of a frame


class SpectrumEngine(Engine[SpectrumStream]):
    """Overlap-adds decoded frames. A note-on computes all that overlap it, as in `GrainEngine`.

    Groups of voices are due at different moments of a hop. After short blocks the engine decodes ahead. All voices read
    latents together, once per hop of the model: shared ones need at most twelve decoder rows per hop.
    """

    def __init__(self, model: Model, max_block: int, character: VoicingSettings = PLAIN) -> None:
        """Raise UserError if the model does not support ``character``'s phase."""
        card = model.card
        self._voicing = _voicing(model, character)
        amount = None if self._voicing.image is None else character.image
        self.targets: Mapping[str, Ramp] = image_target(amount, card, character.image_bands)
        self._image = self.targets.get(IMAGE)
        self._frame_length, self._hop = self._voicing.frame_length, self._voicing.hop_length
        self._knob_hop, self._delay = card.hop_length, self._voicing.delay
        self._max_block = max_block
        self._card = card
        self._octave = card.chroma.octave if card.chroma is not None else None
        self._keyed = card.partials is not None
        self._voices_begun = 0
        self._spare = False  # time remains after the last block
        self._was_due = False  # frames were due in the last block
        self._prepared_hop = -1  # hop of the latents decoded for all pitch classes except `_classes`
        self._classes: list[int] = []
        self._unfinished: tuple[Array, Indices | Array] | None = None  # partly prepared rows
        self._first_rows = FirstRows()

    ready = True
    age_ms = None

    @property
    def channels(self) -> int:
        return self._voicing.channels

    @property
    def lookback(self) -> int:
        return self._knob_hop + self._delay

    def start_stream(self, pitch: float, time: int, key: int = MIDDLE_C, velocity: int = LOUDEST) -> SpectrumStream:
        voicing = self._voicing
        place = voicing.moments[self._voices_begun // voicing.together % len(voicing.moments)]
        moment = place * self._hop // voicing.parts
        self._voices_begun += 1
        silent = time - self._frame_length  # a frame from here ends before the note
        first = silent + self._hop - (silent - moment) % self._hop
        pending = np.zeros((self.channels, self._frame_length + ROOM), np.float32)
        return SpectrumStream(
            key=pitch, on=time, next_frame=first, origin=first, pending=pending, state=voicing.start_state()
        )

    def number_next(self, number: int) -> None:
        self._voicing.number_next(number)

    def render(self, streams: Sequence[SpectrumStream], motion: Motion, start: int, count: int) -> list[Array]:
        """As `Engine.render`; a spectrum with maximum 1 yields the partials of a full-scale frame's transform / N."""
        assert count <= self._max_block
        due: list[Due] = []
        for voice, stream in enumerate(streams):
            # Frames before a note-on are still due.
            stream.make_room(min(start, stream.next_frame), start + count + self._frame_length + self._hop)
            end = start + count if stream.end is None else min(start + count, stream.end)
            while stream.next_frame < end:
                due.append((voice, stream, stream.next_frame))
                stream.next_frame += self._hop
        if due:
            self._add(due, motion)
        # If frames are due in every block, no later block has more time.
        crowded = 2 * count > self._hop or len(streams) > self._voicing.together or self._was_due
        self._spare = count < self._knob_hop and (not due or (self._delay > 0 and crowded))
        self._was_due = bool(due)
        return [stream.block(start, count) for stream in streams]

    def prepare(self, streams: Sequence[SpectrumStream], motion: Motion, now: int) -> None:
        """Decode the rows due next, if their latents are known.

        All pitch classes at the first voice's latents come first, even in silence, for the next note-on.
        """
        if not self._spare:
            return
        if self._unfinished is not None:
            rows, self._unfinished = self._unfinished, None
            self._advance(*rows)
            return
        hop = now - 1 - (now - 1) % self._knob_hop
        if hop != self._prepared_hop:
            self._prepared_hop = hop
            shared = not motion.own_codes and self._knobs_shared(streams, motion, hop)
            self._classes = self._all_classes(streams) if shared else []
        elif motion.own_codes:  # changed within the hop: voices no longer share the first one's latents
            self._classes = []
        if self._classes:
            classes, self._classes = self._classes[:AHEAD], self._classes[AHEAD:]
            latents = motion.latents([0] * len(classes), np.full(len(classes), self._prepared_hop))
            self._advance(latents, np.array(classes, np.intp))
            return
        waiting: list[tuple[int, int, SpectrumStream, int]] = []
        frames = [max(stream.next_frame, hop + self._delay) for stream in streams]
        read_times = self._read_at(np.array(frames, np.int64)).tolist()
        for voice, (stream, frame, read) in enumerate(zip(streams, frames, read_times, strict=True)):
            if read < now and read != stream.prepared:
                waiting.append((frame, voice, stream, read))
        if not waiting:
            self._prepare_beginnings(motion, hop)
            return
        soonest = sorted(waiting, key=lambda entry: entry[:2])[:SOONEST]
        pitches = np.array([max(min(frame, now - 1), stream.on) for frame, _, stream, _ in soonest], np.int64)
        times = np.array([read for *_, read in soonest], np.int64)
        streams = [stream for _, _, stream, _ in soonest]
        voices = [voice for _, voice, _, _ in soonest]
        chroma, _ = self._places(streams, pitches, motion.decoded_keys(voices))
        self._advance(motion.latents(voices, self._knobs_at(streams, times), times), chroma)
        for _, _, stream, read in soonest:
            stream.prepared = read

    def _prepare_beginnings(self, motion: Motion, hop: int) -> None:
        rows = self._first_rows.take(motion, hop, self._voicing, self._condition)
        if rows is not None:
            self._advance(*rows)

    def _all_classes(self, streams: Sequence[SpectrumStream]) -> list[int]:
        soon = [self._condition(stream.key) for stream in sorted(streams, key=lambda stream: stream.next_frame)]
        other_classes = [] if self._keyed else range(1 if self._octave is None else 12)
        return list(dict.fromkeys([*soon, *other_classes]))

    def _condition(self, pitch: float) -> int:
        return condition_of(self._card, pitch)

    def _knobs_shared(self, streams: Sequence[SpectrumStream], motion: Motion, time: int) -> bool:
        """If two voices share latents, all others may."""
        if len(streams) < 2:
            return True
        first, second = motion.latents([0, 1], np.array([time, time]))
        return np.array_equal(first, second)

    def _advance(self, latents: Array, chroma: Indices | Array) -> None:
        if self._voicing.prepare(latents, chroma):
            self._unfinished = latents, chroma

    def _read_at(self, frames: Times) -> Times:
        latest = frames - self._delay
        read: Times = latest - latest % self._knob_hop
        return read

    def _knobs_at(self, streams: Sequence[SpectrumStream], read: Times) -> Times:
        onsets = np.array([stream.on for stream in streams], np.int64)
        knobs: Times = np.maximum(read, onsets - onsets % self._knob_hop)
        return knobs

    def _add(self, due: Sequence[Due], motion: Motion) -> None:
        size = BATCH * max(1, self._knob_hop // self._hop)  # frames of about `BATCH` decoded rows
        for batch in (due[first : first + size] for first in range(0, len(due), size)):
            voices, streams, times = zip(*batch, strict=True)
            begins = np.array(times, np.int64)
            onsets = np.array([stream.on for stream in streams], np.int64)
            read = self._read_at(begins)
            bends = np.maximum(begins, onsets)  # not before the note-on: its bend may not have arrived
            chroma, semitones = self._places(streams, bends, motion.decoded_keys(voices))
            residual = motion.residual(voices, begins, self._frame_length // 2)
            bend = motion.bend_semitones(voices, bends)
            if residual is not None:
                bend = bend + residual.vibrato
            ratios = np.exp2((semitones + bend) / 12.0)
            states = [stream.state for stream in streams]
            codes = motion.latents(voices, self._knobs_at(streams, read), read)
            amounts = None if self._image is None else self._image.values(bends)
            sound = self._voicing.make(codes, chroma, ratios, states, residual, amounts)
            self._overlap_add(voices, streams, times, sound)

    def _overlap_add(
        self, voices: Sequence[int], streams: Sequence[SpectrumStream], times: Sequence[int], frames: Array
    ) -> None:
        first = 0
        for _, rows in itertools.groupby(voices):
            count = len(list(rows))
            if count == 1:  # the usual case in short blocks
                start = times[first] - streams[first].origin
                sum_so_far = streams[first].pending[:, start : start + self._frame_length]
                sum_so_far += frames[first]
            else:
                self._add_successive(streams[first], times[first], frames[first : first + count])
            first += count

    def _add_successive(self, stream: SpectrumStream, time: int, frames: Array) -> None:
        """Last hops first: each sample sums its frames in time order."""
        start = time - stream.origin
        length = len(frames) * self._hop
        for begin in reversed(range(0, self._frame_length, self._hop)):
            end = min(begin + self._hop, self._frame_length)
            hops = stream.pending[:, start + begin : start + begin + length].reshape(
                self.channels, len(frames), self._hop
            )
            hops[:, :, : end - begin] += frames[:, :, begin:end].swapaxes(0, 1)

    def _places(
        self, streams: Sequence[SpectrumStream], times: Times, decoded: Sequence[int | None]
    ) -> tuple[Indices | Array, npt.NDArray[np.float64]]:
        """Chroma of the nearest key, and shift in semitones; another key's chroma would shift formants in a glide."""
        pitches = np.array(
            [stream.pitch_at(time) for stream, time in zip(streams, times.tolist(), strict=True)], np.float64
        )
        if self._keyed:
            keys = np.clip(np.floor(pitches + 0.5), 0, KEYS - 1).astype(np.intp)
            if streams[0].chord is None:
                decoded_keys = [
                    key if fixed_key is None else fixed_key
                    for key, fixed_key in zip(keys.tolist(), decoded, strict=True)
                ]
                return np.array(decoded_keys, np.intp), pitches - decoded_keys
            rows, classes = np.nonzero(_classes(streams, times))
            key_masks = np.zeros((len(streams), KEYS), np.float32)
            key_masks[rows, np.minimum(keys[rows] + (classes - keys[rows]) % 12, KEYS - 1)] = 1.0
            return key_masks, pitches - keys
        if self._octave is None:
            return np.zeros(len(streams), np.intp), pitches - MIDDLE_C
        keys = np.floor(pitches + 0.5).astype(np.intp)
        semitones = 12 * (keys // 12 - 1 - self._octave) + (pitches - keys)
        return (keys % 12 if streams[0].chord is None else _classes(streams, times)), semitones


def _classes(streams: Sequence[SpectrumStream], times: Times) -> Array:
    sets = np.array(
        [
            0 if stream.chord is None else int(stream.chord.value(time))
            for stream, time in zip(streams, times.tolist(), strict=True)
        ]
    )
    return (sets[:, np.newaxis] >> np.arange(12) & 1).astype(np.float32)


def _voicing(model: Model, character: VoicingSettings) -> Voicing:
    if model.card.partials is not None:
        return ChordVoicing(model, character)
    match character.phase:
        case "noise":
            return NoiseVoicing(model)
        case "causal":
            return CausalVoicing(model)
        case "best":
            return GriffinLimVoicing(model, character)
    return CoherentVoicing(model, character)


def make_engine(model: Model, request: EngineRequest) -> SpectrumEngine:
    return SpectrumEngine(model, MAX_BLOCK, VoicingSettings.of(request.play))
