"""Caches of clips, decoded on request offline, and ahead in a process live."""

import contextlib
import functools
import time
import weakref
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from multiprocessing.heap import Arena
from typing import NamedTuple

import numpy as np

from ...arrays import Array
from ...model.model import Model
from ..model_process import Away, ModelProcess
from .recorded import RecordedClips
from .resampling import ClipMemory, ResampledClip
from .synthesis import sound_of

MOST_CACHED_BYTES = 1 << 26  # of cached clips beside playing ones: more than a minute of a model's sound
NEWEST = 4  # cached clips per key, live: codes ahead of a moving parameter, and codes behind it
SETTLING = 0.2  # weight of the newest decode in the mean duration
STEPS = 64  # between two labels


class Between(NamedTuple):
    """A label between two, in `STEPS` from ``first`` to ``second``."""

    first: int
    second: int
    steps: int

    def shares(self, labels: int) -> Array:
        """Weights, [1, labels]."""
        weights = np.zeros((1, labels), np.float32)
        weights[0, [self.first, self.second]] = 1 - self.steps / STEPS, self.steps / STEPS
        return weights


Label = int | Between  # a label number, 0 if the model has none


class RecordingMorph(NamedTuple):
    """A morph of two recordings, ``share`` of the way from the first to the second."""

    first: int
    second: int
    share: float


Recorded = int | RecordingMorph | None  # the number of the recording that a code bends; None: the decoder's own sound


class Name(NamedTuple):
    """The decoder's inputs, and the recording that they bend."""

    label: Label
    code: bytes
    recording: Recorded


def label_between(first: int, second: int, share: float) -> Label:
    """Interpolate labels; ``share`` 0 and 1 return plain numbers."""
    steps = round(share * STEPS)
    if first == second or steps == 0:
        return first
    return second if steps == STEPS else Between(first, second, steps)


class ClipRequest(NamedTuple):
    """A clip to decode for a key slot; latents ``knobs`` selected it at sample ``current_time``."""

    slot: int
    label: Label
    code: Array
    knobs: bytes
    current_time: int
    recording: Recorded = None

    @property
    def name(self) -> Name:
        return Name(self.label, self.code.tobytes(), self.recording)


@dataclass(slots=True)
class ReadyClip:
    """A decoded clip; ``knobs`` were last current at sample ``current_time``; later requests have larger numbers."""

    name: Name
    number: int
    knobs: bytes
    current_time: int
    clip: ResampledClip


class SingleClipDecoder:
    def __init__(self, model: Model) -> None:
        self.model, self._sound = model, sound_of(model.card)
        self._recorded = None if model.recordings is None else RecordedClips(model)

    def shape(self, recording: Recorded) -> tuple[int, int]:
        """Channels and samples of a recording's clips; None: of decoded ones."""
        if recording is None or self._recorded is None:
            return 1, self.model.card.frame_length
        if isinstance(recording, RecordingMorph):
            return self._recorded.morph_shape(recording.first, recording.second)
        return self._recorded.shape(recording)

    def audible_length(self, recording: int | None) -> int:
        """Samples of a recording itself; None: of decoded clips."""
        if recording is None or self.model.recordings is None:
            return self.model.card.frame_length
        return self.model.recordings.shape(recording)[1]

    def clip(self, label: Label, code: Array, recording: Recorded = None) -> ResampledClip:
        """The clip of a ``code``, [n_latents], or the ``recording`` moved to it.

        The recordings of a morph have their own labels.
        """
        if recording is None or self._recorded is None:
            return ResampledClip(self._sound(self._frame(label, code)[np.newaxis])[0])
        if isinstance(recording, RecordingMorph):
            first, second = (self._decoder_of(index) for index in (recording.first, recording.second))
            sides = self._recorded.morph(*recording, code, (first, second))
        else:
            sides = self._recorded.bent(recording, code, functools.partial(self._frame, label))
        return ResampledClip(sides[0], ResampledClip(sides[1]) if len(sides) > 1 else None)

    def _decoder_of(self, recording: int) -> Callable[[Array], Array]:
        """The decoder under a recording's label, the first one if the model has none."""
        card = self.model.card
        label = card.recordings[recording].label
        return functools.partial(self._frame, card.labels.index(label) if label in card.labels else 0)

    def _frame(self, label: Label, code: Array) -> Array:
        """[frame_width]."""
        label_conditions = (
            label.shares(self.model.card.conditions) if isinstance(label, Between) else np.array([label], np.intp)
        )
        frame: Array = self.model.decode(code[np.newaxis], label_conditions)[0]
        return frame


class BlockingClipCache:
    def __init__(self, decoder: SingleClipDecoder, clip_bytes: int) -> None:
        self._decoder, self._max_clips = decoder, max(NEWEST, MOST_CACHED_BYTES // clip_bytes)
        self._clips: dict[Name, ResampledClip] = {}

    def clip(self, label: Label, code: Array, recording: Recorded) -> ResampledClip:
        name = Name(label, code.tobytes(), recording)
        clip = self._clips.pop(name, None)
        if clip is None:
            clip = self._decoder.clip(label, code, recording)
        self._clips[name] = clip
        while len(self._clips) > self._max_clips:
            del self._clips[next(iter(self._clips))]
        return clip


class PrefetchClipCache:
    """Decodes on a thread, which exits with the last reference; methods raise its errors."""

    def __init__(self, decoder: "ClipDecodeWorker") -> None:
        self._work, self._thread = _Work(decoder), ThreadPoolExecutor(1, "clips")
        self._requested_names: list[Name] = []
        self._last_future: Future[None] | None = None

    @property
    def seconds(self) -> float:
        """Running mean of decoding times."""
        return self._work.seconds

    @property
    def idle(self) -> bool:
        return self._last_future is None or self._last_future.done()

    def ask(self, wants: Sequence[ClipRequest]) -> None:
        """Replace the pending requests.

        The thread decodes one per key before any key's next: moving codes starve no key.
        """
        clip_names = [want.name for want in wants]
        if clip_names != self._requested_names:
            self._requested_names, self._work.newest = clip_names, wants
            self._last_future = self._thread.submit(self._work.decode_all, wants)

    def mark_current(self, knobs: bytes, now: int) -> None:
        self._check()
        for clips in list(self._work.ready.values()):  # copied: the thread may add a key meanwhile
            for clip in clips:
                if clip.knobs == knobs:
                    clip.current_time = now

    def ready_clips(self, slot: int) -> Sequence[ReadyClip]:
        """A key's ready clips, newest last."""
        self._check()
        return self._work.ready.get(slot, ())

    def _check(self) -> None:
        if self._work.problem is not None:
            raise self._work.problem


class _Work:
    """Has no reference to `PrefetchClipCache`, so that the thread can exit."""

    def __init__(self, decoder: "ClipDecodeWorker") -> None:
        self._decoder = decoder
        self._served_slots: set[int] = set()  # keys already decoded in this round
        self.newest: Sequence[ClipRequest] = ()
        self.ready: dict[int, tuple[ReadyClip, ...]] = {}
        self.seconds, self._request_count = 0.0, 0
        self.problem: Exception | None = None

    def decode_all(self, clip_requests: Sequence[ClipRequest]) -> None:
        """Decode what is not ready, until newer requests come."""
        try:
            for clip_request in clip_requests:
                self._renew(clip_request)
            while self.newest is clip_requests and (
                missing_requests := [clip_request for clip_request in clip_requests if not self._is_ready(clip_request)]
            ):
                unserved_requests = [
                    clip_request for clip_request in missing_requests if clip_request.slot not in self._served_slots
                ]
                if not unserved_requests:
                    self._served_slots.clear()
                clip_request = (unserved_requests or missing_requests)[0]
                self._make(clip_request)
                self._served_slots.add(clip_request.slot)
        except Exception as error:  # the next call from the player raises it
            self.problem = error.with_traceback(None)

    def _is_ready(self, clip_request: ClipRequest) -> bool:
        return any(clip.name == clip_request.name for clip in self.ready.get(clip_request.slot, ()))

    def _renew(self, clip_request: ClipRequest) -> None:
        """Count a ready clip as the newest."""
        for clip in self.ready.get(clip_request.slot, ()):
            if clip.name == clip_request.name:
                self._request_count += 1
                clip.number, clip.knobs, clip.current_time = (
                    self._request_count,
                    clip_request.knobs,
                    clip_request.current_time,
                )

    def _make(self, clip_request: ClipRequest) -> None:
        """Decode a clip, or take another slot's, as the newest of its slot."""
        clip = next(
            (
                ready_clip.clip
                for clips in self.ready.values()
                for ready_clip in clips
                if ready_clip.name == clip_request.name
            ),
            None,
        )
        if clip is None:
            start_seconds = time.perf_counter()
            clip = self._decoder.clip(clip_request.label, clip_request.code, clip_request.recording)
            clip.prepare()
            decode_seconds = time.perf_counter() - start_seconds
            self.seconds += (decode_seconds - self.seconds) * (SETTLING if self.seconds else 1.0)
        self._request_count += 1
        ready_clip = ReadyClip(
            clip_request.name, self._request_count, clip_request.knobs, clip_request.current_time, clip
        )
        older_clips = sorted(self.ready.get(clip_request.slot, ()), key=lambda older_clip: older_clip.number)
        self.ready[clip_request.slot] = (*older_clips, ready_clip)[-NEWEST:]


MOST_SHARED_BYTES = 1 << 28  # of shared clip memory
FLOAT_BYTES = 4


class ClipDecodeWorker:
    """Decodes in its own process; in the caller's while it starts, and when memory is full."""

    def __init__(self, decoder: SingleClipDecoder, length: int, sounds: int) -> None:
        """Reserve memory for as many ``sounds`` of at most ``length`` samples; a stereo clip has two."""
        self._decoder, self._room_size = decoder, ResampledClip.size(length)
        room_count = max(1, min(sounds, MOST_SHARED_BYTES // (self._room_size * FLOAT_BYTES)))
        arena = Arena(room_count * self._room_size * FLOAT_BYTES)
        self._memory = ClipMemory(_rooms(arena, self._room_size).ravel())
        self._free_rooms = list(range(room_count))
        self._server = ModelProcess("clips", decoder.model, decoder, _put, arena, self._room_size)

    def clip(self, label: Label, code: Array, recording: Recorded = None) -> ResampledClip:
        channel_count, length = self._decoder.shape(recording)
        if len(self._free_rooms) >= channel_count:
            room_indices = [self._free_rooms.pop() for _ in range(channel_count)]
            clip: ResampledClip | None = None
            for room_index in reversed(room_indices):
                clip = ResampledClip.stored(self._memory, room_index * self._room_size, length, clip)
                weakref.finalize(clip, self._free_rooms.append, room_index)
            assert clip is not None
            with contextlib.suppress(Away):
                self._server.ask((room_indices, label, code, recording))
                return clip
        clip = self._decoder.clip(label, code, recording)
        clip.prepare()
        return clip


def _put(
    decoder: SingleClipDecoder, question: tuple[list[int], Label, Array, Recorded], arena: Arena, room_size: int
) -> None:
    """Decode a clip into the rooms of its sides, in the process."""
    room_indices, label, code, recording = question
    sides = decoder.clip(label, code, recording).sides
    for room_index, side in zip(room_indices, sides, strict=True):
        side.put(_rooms(arena, room_size)[room_index])


def _rooms(arena: Arena, room_size: int) -> Array:
    """Shared memory as equal rooms, [rooms, size]."""
    rooms: Array = np.frombuffer(arena.buffer, np.float32)
    return rooms[: len(rooms) // room_size * room_size].reshape(-1, room_size)
