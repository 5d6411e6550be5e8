"""Engine of kind ``stream``: crossfades frames, each predicted from those before; first frames come before note-ons."""

import functools
import math
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from ...arrays import Array
from ...kinds.card_fields import ImageBand
from ...kinds.kind import IMAGE
from ...kinds.stream import MOST_TRIMMED, PLACE, PREVIOUS_FRAME, StreamSettings, followed_grid
from ...model.model import Model, States
from ...ramps import RAMP_SECONDS, Ramp
from ...signal import normals
from ...units import MIDDLE_C
from ...velocity import LOUDEST
from ..engine import Engine, EngineRequest, Motion, VoiceSound, image_target
from .frames import FrameInputs, FrameMaker, MadeFrame, Seed, StreamDecodeWorker, seeds_of

MAX_FIRST_FRAMES = 32  # cached first frames


class FirstFrame(NamedTuple):
    slot: int
    pitch: float
    samples: float  # from its step of the music to the next
    step: FrameInputs

    @property
    def name(self) -> tuple[int, float, int, bytes]:
        return self.slot, self.pitch, self.step.length, np.append(self.step.code, self.step.image).tobytes()


@dataclass(slots=True)
class _CachedFrame:
    first: FirstFrame
    future: "Future[MadeFrame]"
    current_time: int  # the last sample at which it was current


class FirstFrameCache:
    """Requests first frames one at a time, to not delay frames already due."""

    def __init__(self, aside: StreamDecodeWorker) -> None:
        self.aside = aside
        self._frames: dict[tuple[int, float, int, bytes], _CachedFrame] = {}
        self._list_key: object = ()
        self._requested: list[_CachedFrame] = []  # already requested of the list

    @property
    def any_ready(self) -> bool:
        return any(cached.future.done() for cached in self._frames.values())

    @property
    def idle(self) -> bool:
        return all(cached.future.done() for cached in self._frames.values())

    def want(self, list_key: object, frame_makers: Sequence[Callable[[], FirstFrame]], time: int) -> None:
        """Request the next missing frame; mark requested ones as current at sample ``time``.

        A new value of ``list_key`` restarts the list.
        """
        if list_key != self._list_key:
            self._list_key, self._requested = list_key, []
        for cached_frame in self._requested:
            cached_frame.current_time = time
        while len(self._requested) < len(frame_makers) and self.idle:
            first_frame = frame_makers[len(self._requested)]()
            if first_frame.name not in self._frames:
                self._keep(first_frame, time)
            self._requested.append(self._frames[first_frame.name])

    def take_frame(self, first: FirstFrame, time: int) -> "tuple[FirstFrame, Future[MadeFrame], int]":
        """A note's first frame, or the newest ready one of its key, and its age in samples.

        A key without one gets a late frame.
        """
        if first.name not in self._frames:
            candidates = [
                cached_frame
                for frame_name, cached_frame in self._frames.items()
                if frame_name[:2] == first.name[:2] and cached_frame.future.done()
            ]
            if candidates:
                newest_frame = max(candidates, key=lambda cached_frame: cached_frame.current_time)
                return newest_frame.first, newest_frame.future, max(0, time - newest_frame.current_time)
            self._keep(first, time)
        cached_frame = self._frames[first.name]
        return cached_frame.first, cached_frame.future, 0

    def _keep(self, first_frame: FirstFrame, time: int) -> None:
        """Request a first frame; forget the oldest."""
        self._frames[first_frame.name] = _CachedFrame(first_frame, self.aside.ask(first_frame.step), time)
        while len(self._frames) > MAX_FIRST_FRAMES:
            del self._frames[next(iter(self._frames))]


LOOK_SECONDS = 0.03  # interval of live requests for first frames: each takes 7 ms from frames that are due
LATE_SECONDS = 0.003  # fade-in of a late frame
# Keys whose first frames are made ahead, live: at first the white ones of the two octaves around middle C, which are
# played first, then those last struck. The first frame of any other key is late by its decoding.
FIRST_KEYS = (60, 62, 59, 64, 57, 65, 55, 67, 53, 69, 52, 71, 50, 72, 48)
PULL = 0.25  # of a step: maximum correction of a frame's timing
SWITCH_THRESHOLD = 0.5


class Plan(NamedTuple):
    """A frame starts at sample ``begin`` and fades in over ``fade`` samples; ``exact_end`` is a fractional sample."""

    begin: int
    fade: int
    exact_end: float

    @property
    def end(self) -> int:
        return math.ceil(self.exact_end)

    @property
    def step_time(self) -> int:
        """Sample of its musical step."""
        return self.begin + self.fade


@dataclass(slots=True)
class Frame:
    plan: Plan
    pending: "Future[MadeFrame] | MadeFrame"
    decoded: MadeFrame | None = None
    late: int | None = None  # first audible sample if it was late

    def ready(self) -> MadeFrame | None:
        if self.decoded is None:
            if isinstance(self.pending, MadeFrame):
                self.decoded = self.pending
            elif self.pending.done():
                self.decoded = self.pending.result()
        return self.decoded


@dataclass(slots=True, kw_only=True)
class StreamSound(VoiceSound):
    """A voice's frames; ``history`` holds past decoder inputs."""

    note: int
    slot: int
    first_beat: float = 0.0
    looked: tuple[int, float] = (0, 0.0)  # sample and beat of the last look
    count: int = 0  # requested frames
    now: Frame | None = None
    next: Frame | None = None
    switches: tuple[bool, bool] = (False, False)  # reset and trim, at the last frame
    history: deque[States] = field(default_factory=lambda: deque(maxlen=MOST_TRIMMED))


class StreamEngine(Engine[StreamSound]):
    """Plays successive frames, each predicted one frame ahead.

    A note-on requests two frames; others are requested at the last one's step, with the parameters of that moment.
    Magnitudes of a model with a grid are time-stretched to the beat, if the preset follows the tempo. Live, another
    process makes frames, and ahead of time the first ones of the last struck keys; a late frame is silent until ready.
    """

    def __init__(
        self,
        model: Model,
        settings: StreamSettings,
        seeds: Sequence[Seed],
        rest_latents: Sequence[float],
        live: bool,
        image: float = 1.0,
        image_bands: Sequence[ImageBand] | None = None,
    ) -> None:
        card = model.card
        assert card.stream is not None
        self._rate, self._settings, self._seeds = card.sample_rate, settings, list(seeds)
        self._length, self._step, self._noise = card.frame_length, card.stream.step_length, card.stream.noise
        self._overlap = self._length - self._step
        self._of_magnitudes = card.domain == "magnitude"  # each frame has new phases, and can be stretched
        self._steps_per_beat = followed_grid(settings, card)
        self._rest_code = np.array(rest_latents, np.float32)
        low_ends, high_ends = np.array(card.spans, np.float32).T
        seed_codes = [self._rest_code + seed.offset for seed in seeds]
        self._low, self._high = (
            np.minimum(low_ends, np.min(seed_codes, 0)),
            np.maximum(high_ends, np.max(seed_codes, 0)),
        )
        ramp_samples = round(RAMP_SECONDS * self._rate)
        self.targets = {name: Ramp(value, ramp_samples) for name, value in settings.values().items()}
        self.targets |= image_target(image, card, image_bands)
        self._note_count = 0
        self._maker = FrameMaker(model, restore=settings.restore_scaling, limit=settings.limit, image_bands=image_bands)
        self._first_frames = FirstFrameCache(StreamDecodeWorker(self._maker)) if live else None
        self._look_samples, self._next_look = max(1, round(LOOK_SECONDS * self._rate)), 0
        self._late_samples = max(1, round(LATE_SECONDS * self._rate))
        self._struck = [(float(key), self._slot(key)) for key in FIRST_KEYS]  # pitches and slots, the last first
        self._last_bend = 0.0  # semitones, at the last look
        self._age_ms = 0.0
        if self._first_frames is not None:
            self._first_frames.want(
                None, [functools.partial(self._first, MIDDLE_C, 0, self._rest_code, self._step, self._image(0))], 0
            )

    @property
    def channels(self) -> int:
        return 2 if IMAGE in self.targets else 1

    @property
    def ready(self) -> bool:
        return self._first_frames is None or self._first_frames.any_ready

    @property
    def age_ms(self) -> float | None:
        return None if self._first_frames is None else self._age_ms

    @property
    def idle(self) -> bool:
        return self._first_frames is None or self._first_frames.idle

    def start_stream(self, pitch: float, time: int, key: int, velocity: int = LOUDEST) -> StreamSound:
        self._note_count += 1
        slot = self._slot(key)
        if (pitch, slot) in self._struck:
            self._struck.remove((pitch, slot))
        self._struck.insert(0, (pitch, slot))
        del self._struck[len(FIRST_KEYS) :]
        return StreamSound(key=pitch, on=time, note=self._note_count, slot=slot)

    def number_next(self, number: int) -> None:
        self._note_count = number - 1

    def render(self, streams: Sequence[StreamSound], motion: Motion, start: int, count: int) -> list[Array]:
        block_end = start + count
        if self._first_frames is not None and block_end >= self._next_look:
            self._next_look = block_end + self._look_samples
            self._look(self._first_frames, motion, max(0, len(streams) - 1), block_end - 1)
        sounds = []
        for voice_index, stream in enumerate(streams):
            output = np.zeros((self.channels, count), np.float32)
            first_sample, end_sample = max(start, stream.on), min(block_end, stream.end or block_end)
            if first_sample < end_sample:
                self._play(voice_index, stream, motion, first_sample, end_sample, output[:, first_sample - start :])
            sounds.append(output)
        for ramp in self.targets.values():
            ramp.forget(block_end)
        return sounds

    def _play(
        self, voice_index: int, stream: StreamSound, motion: Motion, first_sample: int, end_sample: int, output: Array
    ) -> None:
        """Add a stream's frames to ``output``, from its first to its end sample in a block."""
        if stream.now is None:
            self._start(voice_index, stream, motion, first_sample)
        position = first_sample
        while position < end_sample:
            current_frame = stream.now
            assert current_frame is not None
            if stream.next is None and position >= current_frame.plan.step_time and current_frame.ready() is not None:
                stream.next = self._ask(
                    voice_index, stream, motion, max(current_frame.plan.step_time, first_sample), current_frame
                )
            piece_end = min(end_sample, current_frame.plan.end)
            if stream.next is None and position < current_frame.plan.step_time:
                piece_end = min(piece_end, current_frame.plan.step_time)
            self._add(
                current_frame,
                stream.next,
                position,
                piece_end,
                output[:, position - first_sample : piece_end - first_sample],
            )
            if stream.next is not None and piece_end > stream.next.plan.begin:
                next_start = max(position, stream.next.plan.begin)
                self._add(
                    stream.next,
                    None,
                    next_start,
                    piece_end,
                    output[:, next_start - first_sample : piece_end - first_sample],
                )
            if piece_end == current_frame.plan.end:
                if stream.next is not None:
                    stream.now, stream.next = stream.next, None
                else:  # live, a whole frame late: delay all later frames equally
                    current_frame.plan = Plan(
                        current_frame.plan.end,
                        0,
                        current_frame.plan.end + current_frame.plan.end - current_frame.plan.step_time,
                    )
                    current_frame.late = None
            position = piece_end

    def _start(self, voice_index: int, stream: StreamSound, motion: Motion, time: int) -> None:
        """Request a note's first frame."""
        stream.first_beat = motion.beat(time)
        stream.looked = time, stream.first_beat
        pitch, code = self._pitch(stream, motion, voice_index, time), self._code(motion, voice_index, time)
        step_samples = self._samples(motion, stream, time, time, pitch)
        first_frame = self._first(pitch, stream.slot, code, step_samples, self._image(time))
        if self._first_frames is None:
            pending_frame: Future[MadeFrame] | MadeFrame = self._maker.make(first_frame.step)
        else:
            first_frame, pending_frame, age_samples = self._first_frames.take_frame(first_frame, time)
            self._age_ms = age_samples / self._rate * 1000
        stream.history.append(_recurrent_inputs(first_frame.step.state))
        stream.count, stream.switches = 1, self._switches(time)
        stream.now = Frame(Plan(time, 0, time + first_frame.samples), pending_frame)

    def _ask(self, voice_index: int, stream: StreamSound, motion: Motion, time: int, current_frame: Frame) -> Frame:
        """Request the frame after the current one."""
        decoded_frame = current_frame.ready()
        assert decoded_frame is not None
        step_time, pitch = current_frame.plan.end, self._pitch(stream, motion, voice_index, time)
        ratio, step_samples = self._ratio(pitch), self._samples(motion, stream, time, step_time, pitch)
        exact_end = current_frame.plan.exact_end + step_samples
        fade_samples = min(self._fade(ratio, step_samples), current_frame.plan.end - current_frame.plan.begin)
        stream.history.append(_recurrent_inputs(decoded_frame.state))
        inputs = FrameInputs(
            state=decoded_frame.state,
            code=self._coded(self._code(motion, voice_index, time), stream.slot),
            noise=self._noise_of(stream.note, stream.count, time),
            keeps=self.targets["stream.freeze"].value(time) >= SWITCH_THRESHOLD,
            history=self._history(stream, time),
            first=0.0
            if self._of_magnitudes
            else self._overlap - (fade_samples + current_frame.plan.exact_end - step_time) * ratio,
            length=fade_samples + math.ceil(exact_end) - step_time,
            ratio=ratio,
            image=self._image(time),
            before=None if decoded_frame.ending is None else decoded_frame.ending[: -fade_samples or None],
        )
        stream.count += 1
        pending_frame = self._maker.make(inputs) if self._first_frames is None else self._first_frames.aside.ask(inputs)
        return Frame(Plan(step_time - fade_samples, fade_samples, exact_end), pending_frame)

    def _first(self, pitch: float, slot: int, code: Array, step_samples: float, image: float) -> FirstFrame:
        """Without noise, so that it can be made ahead."""
        ratio, seed = self._ratio(pitch), self._seeds[slot]
        fade_samples = self._fade(ratio, step_samples)
        first_position = 0.0 if self._of_magnitudes else self._overlap - fade_samples * ratio
        inputs = FrameInputs(
            seed.state,
            self._coded(code, slot),
            None,
            False,
            None,
            first_position,
            fade_samples + math.ceil(step_samples),
            ratio,
            image,
        )
        return FirstFrame(slot, pitch, step_samples, inputs)

    def _slot(self, key: int) -> int:
        """Index of a key's seed."""
        return (key - MIDDLE_C) % len(self._seeds)

    def _samples(self, motion: Motion, stream: StreamSound, time: int, step_time: int, pitch: float) -> float:
        """Samples from a frame's step to the next, corrected towards the beat."""
        if self._steps_per_beat is None:
            return self._own_samples(pitch)
        grid_samples, beat = motion.beat_samples(time) / self._steps_per_beat, motion.beat(time)
        (last_time, last_beat), stream.looked = stream.looked, (time, beat)
        if beat == last_beat and time > last_time:  # the clock has stopped
            return max(1, round(grid_samples))
        if beat < last_beat:  # it has started from the beginning
            stream.first_beat = 0.0
        passed_steps = (beat - stream.first_beat) * self._steps_per_beat + (step_time - time) / grid_samples
        lead_steps = passed_steps - round(passed_steps)
        return max(1, round(grid_samples * (1.0 - min(max(lead_steps, -PULL), PULL))))

    def _own_samples(self, pitch: float) -> float:
        """Samples of a step without a beat."""
        return self._step / (1.0 if self._of_magnitudes else self._ratio(pitch))

    def _fade(self, ratio: float, step_samples: float) -> int:
        """Samples of the fade between frames, which is stretched as their steps are."""
        return int(self._overlap * step_samples / self._step if self._of_magnitudes else self._overlap / ratio)

    def _ratio(self, pitch: float) -> float:
        """Frequency ratio of a pitch."""
        if self._settings.keys == "seed":
            return 1.0
        return float(2.0 ** ((pitch - MIDDLE_C) / 12))

    def _pitch(self, stream: StreamSound, motion: Motion, voice_index: int, time: int) -> float:
        return stream.pitch_at(time) + float(motion.bend_semitones([voice_index], np.array([time], np.int64))[0])

    def _code(self, motion: Motion, voice_index: int, time: int) -> Array:
        return motion.latents([voice_index], np.array([time], np.int64))[0]

    def _coded(self, latent_code: Array, slot: int) -> Array:
        """A seed's code, moved like the latents' code."""
        return np.minimum(np.maximum(latent_code + self._seeds[slot].offset, self._low), self._high)

    def _image(self, time: int) -> float:
        """Amount of the stereo image; 0 without one."""
        return self.targets[IMAGE].value(time) if IMAGE in self.targets else 0.0

    def _noise_of(self, note_number: int, frame_number: int, time: int) -> Array | None:
        heat = self.targets["stream.heat"].value(time)
        if not self._noise or heat <= 0:
            return None
        return normals(self._settings.seed, note_number, frame_number, self._noise) * np.float32(heat)

    def _switches(self, time: int) -> tuple[bool, bool]:
        """Return whether reset and trim are on."""
        is_reset, is_trimmed = (
            self.targets[f"stream.{name}"].value(time) >= SWITCH_THRESHOLD for name in ("reset", "trim")
        )
        return is_reset, is_trimmed

    def _history(self, stream: StreamSound, time: int) -> list[States] | None:
        """The history that rebuilds the memory, if reset or trim has just been switched on."""
        previous_switches, stream.switches = stream.switches, self._switches(time)
        is_reset, is_trimmed = (
            is_on and not was_on for is_on, was_on in zip(stream.switches, previous_switches, strict=True)
        )
        if is_reset:
            stream.history.clear()
            return []
        return list(stream.history)[-self._settings.trim_frames :] if is_trimmed else None

    def _add(self, frame: Frame, next_frame: Frame | None, piece_start: int, piece_end: int, output: Array) -> None:
        """Add a part of a frame, faded in and out, to ``output``."""
        decoded, plan = frame.ready(), frame.plan
        if decoded is None:
            frame.late = piece_end
            return
        offset = decoded.sound.shape[1] - (plan.end - plan.begin)  # skips the part of a first frame before its note-on
        piece = decoded.sound[:, offset + piece_start - plan.begin : offset + piece_end - plan.begin]
        if plan.fade and piece_start < plan.step_time:
            piece = piece * self._rising(np.arange(piece_start, piece_end), plan.begin, plan.fade)
        if next_frame is not None and piece_end > next_frame.plan.begin:
            piece = piece * self._rising(
                np.arange(piece_start, piece_end), next_frame.plan.step_time, -next_frame.plan.fade
            )
        if frame.late is not None and piece_start < frame.late + self._late_samples:
            fade_share = (np.arange(piece_start, piece_end) - frame.late + 1) / self._late_samples
            piece = piece * np.clip(fade_share, 0.0, 1.0).astype(np.float32)
        output[:, : piece.shape[1]] += piece

    def _rising(self, times: npt.NDArray[np.int64], fade_start: int, samples: int) -> Array:
        """Gains of a fade in from ``fade_start``, or out to it if ``samples`` < 0."""
        fade_shares = np.clip((times - fade_start + 0.5) / samples, 0.0, 1.0)
        return (np.sin(fade_shares * (math.pi / 2)) if self._of_magnitudes else fade_shares).astype(np.float32)

    def _look(self, first_frames: FirstFrameCache, motion: Motion, voice_index: int, now: int) -> None:
        """Request the struck keys' first frames at the present code and bend, unless the bend moves."""
        code, image, bend = self._code(motion, voice_index, now), self._image(now), motion.next_bend(now)
        last_bend, self._last_bend = self._last_bend, bend
        if bend != last_bend:  # frames of each moment would push out those that stay
            return
        grid_samples = None if self._steps_per_beat is None else round(motion.beat_samples(now) / self._steps_per_beat)
        first_frames.want(
            (code.tobytes(), image, grid_samples, bend, tuple(self._struck)),
            [
                functools.partial(
                    self._first,
                    pitch + bend,
                    slot,
                    code,
                    self._own_samples(pitch + bend) if grid_samples is None else grid_samples,
                    image,
                )
                for pitch, slot in self._struck
            ],
            now,
        )


def _recurrent_inputs(state: States) -> States:
    return {name: state[name] for name in (PREVIOUS_FRAME, PLACE) if name in state}


def make_engine(model: Model, request: EngineRequest) -> StreamEngine:
    settings = request.kind_settings or StreamSettings()
    seeds = seeds_of(model, settings, request.sound, request.rest_latents)
    return StreamEngine(
        model, settings, seeds, request.rest_latents, request.live, request.play.image, request.play.image_bands
    )
