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
from ...kinds.stream import MOST_TRIMMED, PLACE, PREVIOUS_FRAME, StreamSettings, followed_grid
from ...model.model import Model, States
from ...ramps import RAMP_SECONDS, Ramp
from ...signal import normals
from ...units import MIDDLE_C
from ..engine import EngineRequest, Motion, VoiceSound
from .frames import FrameInputs, FrameMaker, MadeFrame, Seed, StreamDecodeWorker, seeds_of

MAX_FIRST_FRAMES = 32  # cached first frames


class FirstFrame(NamedTuple):
    slot: int
    pitch: float
    samples: float  # from its step of the music to the next
    step: FrameInputs

    @property
    def name(self) -> tuple[int, float, int, bytes]:
        return self.slot, self.pitch, self.step.length, self.step.code.tobytes()


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

    def want(self, list_key: object, firsts: Sequence[Callable[[], FirstFrame]], time: int) -> None:
        """Request the next missing frame; mark requested ones as current at sample ``time``.

        A new value of ``list_key`` restarts the list.
        """
        if list_key != self._list_key:
            self._list_key, self._requested = list_key, []
        for cached in self._requested:
            cached.current_time = time
        while len(self._requested) < len(firsts) and self.idle:
            first = firsts[len(self._requested)]()
            if first.name not in self._frames:
                self._keep(first, time)
            self._requested.append(self._frames[first.name])

    def take_frame(self, first: FirstFrame, time: int) -> "tuple[FirstFrame, Future[MadeFrame], int]":
        """A note's first frame, or the newest ready one of its key, and its age in samples.

        A key without one gets a late frame.
        """
        if first.name not in self._frames:
            candidates = [
                cached for name, cached in self._frames.items() if name[:2] == first.name[:2] and cached.future.done()
            ]
            if candidates:
                newest = max(candidates, key=lambda cached: cached.current_time)
                return newest.first, newest.future, max(0, time - newest.current_time)
            self._keep(first, time)
        cached = self._frames[first.name]
        return cached.first, cached.future, 0

    def _keep(self, first: FirstFrame, time: int) -> None:
        self._frames[first.name] = _CachedFrame(first, self.aside.ask(first.step), time)
        while len(self._frames) > MAX_FIRST_FRAMES:
            del self._frames[next(iter(self._frames))]


LOOK_SECONDS = 0.01  # interval of live requests for first frames
LATE_SECONDS = 0.003  # fade-in of a late frame
PREFETCHED_KEYS = 8  # last struck keys whose first frames are made ahead, live
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
    count: int = 0  # requested frames
    now: Frame | None = None
    next: Frame | None = None
    switches: tuple[bool, bool] = (False, False)  # reset and trim, at the last frame
    history: deque[States] = field(default_factory=lambda: deque(maxlen=MOST_TRIMMED))


class StreamEngine:
    """Plays successive frames, each predicted one frame ahead.

    A note-on requests two frames; others are requested at the last one's step, with the parameters of that moment.
    Magnitudes of a model with a grid are time-stretched to the beat, if the preset follows the tempo. Live, another
    process makes frames, and ahead of time the first ones of the last struck keys; a late frame is silent until ready.
    """

    channels = 1
    lookback = 0

    def __init__(
        self, model: Model, settings: StreamSettings, seeds: Sequence[Seed], rest_latents: Sequence[float], live: bool
    ) -> None:
        card = model.card
        assert card.stream is not None
        self._rate, self._settings, self._seeds = card.sample_rate, settings, list(seeds)
        self._length, self._step, self._noise = card.frame_length, card.stream.step_length, card.stream.noise
        self._overlap = self._length - self._step
        self._of_magnitudes = card.domain == "magnitude"  # each frame has new phases, and can be stretched
        self._grid = followed_grid(settings, card)
        self._low, self._high = (
            np.array([getattr(latent, end) for latent in card.latents], np.float32) for end in ("low", "high")
        )
        codes = [np.array(rest_latents, np.float32) + seed.offset for seed in seeds]
        self._low, self._high = np.minimum(self._low, np.min(codes, 0)), np.maximum(self._high, np.max(codes, 0))
        ramp = round(RAMP_SECONDS * self._rate)
        self.targets = {name: Ramp(value, ramp) for name, value in settings.values().items()}
        self._notes = 0
        self._maker = FrameMaker(model, restore=settings.restore_scaling, limit=settings.limit)
        self._firsts = FirstFrameCache(StreamDecodeWorker(self._maker)) if live else None
        self._look_samples, self._next_look = max(1, round(LOOK_SECONDS * self._rate)), 0
        self._late_samples = max(1, round(LATE_SECONDS * self._rate))
        self._struck_pitches = [float(MIDDLE_C)]  # the last first
        self._age_ms = 0.0
        self._rest = np.array(rest_latents, np.float32)
        if self._firsts is not None:
            self._firsts.want(None, [functools.partial(self._first, MIDDLE_C, 0, self._rest, self._step)], 0)

    @property
    def ready(self) -> bool:
        return self._firsts is None or self._firsts.any_ready

    @property
    def age_ms(self) -> float | None:
        return None if self._firsts is None else self._age_ms

    @property
    def idle(self) -> bool:
        return self._firsts is None or self._firsts.idle

    def start_stream(self, pitch: float, time: int, key: int) -> StreamSound:
        self._notes += 1
        if pitch in self._struck_pitches:
            self._struck_pitches.remove(pitch)
        self._struck_pitches.insert(0, pitch)
        del self._struck_pitches[PREFETCHED_KEYS:]
        return StreamSound(key=pitch, on=time, note=self._notes, slot=self._slot(key))

    def number_next(self, number: int) -> None:
        self._notes = number - 1

    def render(self, streams: Sequence[StreamSound], motion: Motion, start: int, count: int) -> list[Array]:
        end = start + count
        if self._firsts is not None and end >= self._next_look:
            self._next_look = end + self._look_samples
            self._look(self._firsts, motion, max(0, len(streams) - 1), end - 1)
        sounds = []
        for voice, stream in enumerate(streams):
            output = np.zeros((1, count), np.float32)
            first, last = max(start, stream.on), min(end, stream.end or end)
            if first < last:
                self._play(voice, stream, motion, first, last, output[0, first - start :])
            sounds.append(output)
        for ramp in self.targets.values():
            ramp.forget(end)
        return sounds

    def prepare(self, streams: Sequence[StreamSound], motion: Motion, now: int) -> None:
        """Do nothing."""

    def _play(self, voice: int, stream: StreamSound, motion: Motion, first: int, last: int, output: Array) -> None:
        if stream.now is None:
            self._start(voice, stream, motion, first)
        position = first
        while position < last:
            now = stream.now
            assert now is not None
            if stream.next is None and position >= now.plan.step_time and now.ready() is not None:
                stream.next = self._ask(voice, stream, motion, max(now.plan.step_time, first), now)
            stop = min(last, now.plan.end)
            if stream.next is None and position < now.plan.step_time:
                stop = min(stop, now.plan.step_time)
            self._add(now, stream.next, position, stop, output[position - first : stop - first])
            if stream.next is not None and stop > stream.next.plan.begin:
                begin = max(position, stream.next.plan.begin)
                self._add(stream.next, None, begin, stop, output[begin - first : stop - first])
            if stop == now.plan.end:
                if stream.next is not None:
                    stream.now, stream.next = stream.next, None
                else:  # live, a whole frame late: delay all later frames equally
                    now.plan = Plan(now.plan.end, 0, now.plan.end + now.plan.end - now.plan.step_time)
                    now.late = None
            position = stop

    def _start(self, voice: int, stream: StreamSound, motion: Motion, time: int) -> None:
        stream.first_beat = motion.beat(time)
        pitch, code = self._pitch(stream, motion, voice, time), self._code(motion, voice, time)
        step = self._samples(motion, stream, time, time, pitch)
        first_frame = self._first(pitch, stream.slot, code, step)
        if self._firsts is None:
            pending: Future[MadeFrame] | MadeFrame = self._maker.make(first_frame.step)
        else:
            first_frame, pending, age = self._firsts.take_frame(first_frame, time)
            self._age_ms = age / self._rate * 1000
        stream.history.append(_recurrent_inputs(first_frame.step.state))
        stream.count, stream.switches = 1, self._switches(time)
        stream.now = Frame(Plan(time, 0, time + first_frame.samples), pending)

    def _ask(self, voice: int, stream: StreamSound, motion: Motion, time: int, now: Frame) -> Frame:
        frame = now.ready()
        assert frame is not None
        step_time, pitch = now.plan.end, self._pitch(stream, motion, voice, time)
        ratio, exact_end = (
            self._ratio(pitch),
            now.plan.exact_end + self._samples(motion, stream, time, step_time, pitch),
        )
        fade = min(self._fade(ratio), now.plan.end - now.plan.begin)
        stream.history.append(_recurrent_inputs(frame.state))
        inputs = FrameInputs(
            state=frame.state,
            code=self._coded(self._code(motion, voice, time), stream.slot),
            noise=self._noise_of(stream.note, stream.count, time),
            keeps=self.targets["stream.freeze"].value(time) >= SWITCH_THRESHOLD,
            history=self._history(stream, time),
            first=0.0 if self._of_magnitudes else self._overlap - (fade + now.plan.exact_end - step_time) * ratio,
            length=fade + math.ceil(exact_end) - step_time,
            ratio=ratio,
        )
        stream.count += 1
        pending = self._maker.make(inputs) if self._firsts is None else self._firsts.aside.ask(inputs)
        return Frame(Plan(step_time - fade, fade, exact_end), pending)

    def _first(self, pitch: float, slot: int, code: Array, samples: float) -> FirstFrame:
        """Without noise, so that it can be made ahead."""
        ratio, seed = self._ratio(pitch), self._seeds[slot]
        fade = self._fade(ratio)
        first = 0.0 if self._of_magnitudes else self._overlap - fade * ratio
        inputs = FrameInputs(
            seed.state, self._coded(code, slot), None, False, None, first, fade + math.ceil(samples), ratio
        )
        return FirstFrame(slot, pitch, samples, inputs)

    def _slot(self, key: int) -> int:
        return (key - MIDDLE_C) % len(self._seeds)

    def _samples(self, motion: Motion, stream: StreamSound, time: int, step_time: int, pitch: float) -> float:
        if self._grid is None:
            return self._own_samples(pitch)
        steps = motion.beat_samples(time) / self._grid
        passed = (motion.beat(time) - stream.first_beat) * self._grid + (step_time - time) / steps
        lead = passed - round(passed)
        return max(1, round(steps * (1.0 - min(max(lead, -PULL), PULL))))

    def _own_samples(self, pitch: float) -> float:
        return self._step / (1.0 if self._of_magnitudes else self._ratio(pitch))

    def _fade(self, ratio: float) -> int:
        return int(self._overlap / (1.0 if self._of_magnitudes else ratio))

    def _ratio(self, pitch: float) -> float:
        if self._settings.keys == "seed":
            return 1.0
        return float(2.0 ** ((pitch - MIDDLE_C) / 12))

    def _pitch(self, stream: StreamSound, motion: Motion, voice: int, time: int) -> float:
        return stream.pitch_at(time) + float(motion.bend_semitones([voice], np.array([time], np.int64))[0])

    def _code(self, motion: Motion, voice: int, time: int) -> Array:
        code: Array = motion.latents([voice], np.array([time], np.int64))[0]
        return code

    def _coded(self, knobs: Array, slot: int) -> Array:
        code: Array = np.minimum(np.maximum(knobs + self._seeds[slot].offset, self._low), self._high)
        return code

    def _noise_of(self, note: int, frame: int, time: int) -> Array | None:
        heat = self.targets["stream.heat"].value(time)
        if not self._noise or heat <= 0:
            return None
        return normals(self._settings.seed, note, frame, self._noise) * np.float32(heat)

    def _switches(self, time: int) -> tuple[bool, bool]:
        reset, trim = (self.targets[f"stream.{name}"].value(time) >= SWITCH_THRESHOLD for name in ("reset", "trim"))
        return reset, trim

    def _history(self, stream: StreamSound, time: int) -> list[States] | None:
        previous, stream.switches = stream.switches, self._switches(time)
        reset, trim = (now and not past for now, past in zip(stream.switches, previous, strict=True))
        if reset:
            stream.history.clear()
            return []
        return list(stream.history)[-self._settings.trim_frames :] if trim else None

    def _add(self, frame: Frame, next_frame: Frame | None, begin: int, end: int, output: Array) -> None:
        decoded, plan = frame.ready(), frame.plan
        if decoded is None:
            frame.late = end
            return
        offset = len(decoded.sound) - (plan.end - plan.begin)  # skips the part of a first frame before its note-on
        piece = decoded.sound[offset + begin - plan.begin : offset + end - plan.begin]
        if plan.fade and begin < plan.step_time:
            piece = piece * self._rising(np.arange(begin, end), plan.begin, plan.fade)
        if next_frame is not None and end > next_frame.plan.begin:
            piece = piece * self._rising(np.arange(begin, end), next_frame.plan.step_time, -next_frame.plan.fade)
        if frame.late is not None and begin < frame.late + self._late_samples:
            fade_share = (np.arange(begin, end) - frame.late + 1) / self._late_samples
            piece = piece * np.clip(fade_share, 0.0, 1.0).astype(np.float32)
        output[: len(piece)] += piece

    def _rising(self, times: npt.NDArray[np.int64], fade_start: int, samples: int) -> Array:
        """From ``fade_start``, or out to it if ``samples`` < 0."""
        share = np.clip((times - fade_start + 0.5) / samples, 0.0, 1.0)
        return (np.sin(share * (math.pi / 2)) if self._of_magnitudes else share).astype(np.float32)

    def _look(self, firsts: FirstFrameCache, motion: Motion, voice: int, now: int) -> None:
        code = self._code(motion, voice, now)
        step = None if self._grid is None else round(motion.beat_samples(now) / self._grid)
        firsts.want(
            (code.tobytes(), step, tuple(self._struck_pitches)),
            [
                functools.partial(
                    self._first,
                    pitch,
                    self._slot(round(pitch)),
                    code,
                    self._own_samples(pitch) if step is None else step,
                )
                for pitch in self._struck_pitches
            ],
            now,
        )


def _recurrent_inputs(state: States) -> States:
    return {name: state[name] for name in (PREVIOUS_FRAME, PLACE) if name in state}


def make_engine(model: Model, request: EngineRequest) -> StreamEngine:
    settings = request.kind_settings or StreamSettings()
    seeds = seeds_of(model, settings, request.sound, request.rest_latents)
    return StreamEngine(model, settings, seeds, request.rest_latents, request.live)
