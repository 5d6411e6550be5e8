"""Separate notes: each as its preset plays it alone, computed together."""

import itertools
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from ..arrays import Array, Doubles, Times
from ..audio.effects import EffectChain
from ..audio.output import Output, limit
from ..engines.engine import Beginnings, Engine, Motion, Residual
from ..events import AllOff, Event, NoteOff, NoteOn, ParameterChange
from ..preset.library import Patch
from ..preset.preset import MORPH
from .envelope import envelope_levels
from .events import EventProcessor, blend_of, engine_for
from .voices import Latch

SETTLING_SECONDS = 0.05  # from the knobs to the note: their ramps end before it
BLOCK = 16384  # samples at a time: long blocks decode in large batches
SPARE = 64  # samples at the model's rate, beyond those that the output needs


class SeparateNote(NamedTuple):
    key: int
    velocity: int  # 1 to 127
    held_seconds: float
    knobs: Mapping[str, float]  # values by target, set before the note
    number: int = 1  # of its random phases and numbers, from 1, as of a note after a start


class NoteSound(NamedTuple):
    samples: Array  # from the note-on, [2, n], or [1, n] where both sides are alike
    pitch: float  # at the middle of the held part, 69.0 for 440 Hz; NaN if nothing sounds


def render_notes(
    patch: Patch, notes: Sequence[SeparateNote], length: int, sample_rate: int
) -> Iterator[tuple[int, NoteSound]]:
    """Yield each note's place and sound, as `render` plays it alone: to the bit, if its number is 1.

    Latched notes end at their release. Motions of the preset began `SETTLING_SECONDS` before the note. Notes that set a
    knob of the engine, which all its notes share, are computed apart. ``length``: samples at ``sample_rate``.

    Raises:
        UserError: the preset does not fit the model or its effects.
    """
    shared = _shared(patch, engine_for(patch))
    batches: dict[tuple[tuple[str, float], ...], list[int]] = {}
    for place, note in enumerate(notes):
        set_for_all = tuple(sorted(item for item in note.knobs.items() if item[0] in shared))
        batches.setdefault(set_for_all, []).append(place)
    for places in batches.values():
        batch = _Batch(patch, engine_for(patch), [notes[place] for place in places], length, sample_rate)
        yield from zip(places, batch.sounds(), strict=True)


def _shared(patch: Patch, engine: Engine[Any]) -> set[str]:
    shared_targets = {*engine.targets, MORPH}
    macros = {
        f"macro.{number}"
        for number, macro in enumerate(patch.preset.macro)
        if any(entry.target in shared_targets for entry in macro.targets)
    }
    return shared_targets | macros


@dataclass
class _Playing:
    """``off``: release, in samples."""

    note: SeparateNote
    processor: EventProcessor
    output: Output
    off: int
    pitch: float = math.nan


class _Batch:
    def __init__(
        self, patch: Patch, engine: Engine[Any], notes: Sequence[SeparateNote], length: int, sample_rate: int
    ) -> None:
        card = patch.model.card
        self._engine, self._length = engine, length
        hops = math.ceil(SETTLING_SECONDS * card.sample_rate / card.hop_length)
        self._origin = hops * card.hop_length  # whole hops, as frames lie after sample 0
        self._blend = blend_of(patch)
        self._rests = {target: ramp.target for target, ramp in engine.targets.items()}
        self._playing = [self._prepared(patch, note, sample_rate) for note in notes]
        output = self._playing[0].output
        self._on = self._origin + output.source_time(0)
        self._end = self._origin + output.source_time(length + output.latency_samples) + SPARE
        # One array each: the allocator reuses freed memory of this size.
        self._mixes = [np.zeros((engine.channels, self._end - self._origin), np.float32) for _ in notes]

    def _prepared(self, patch: Patch, note: SeparateNote, sample_rate: int) -> _Playing:
        effects = EffectChain(patch.preset.effects, sample_rate, patch.folder, patch.draft_files)
        output = Output(patch.model.card.sample_rate, sample_rate, effects)

        def move_effect(time: int, target: str, value: float) -> None:
            output.set_effect(0, target, value)

        # From here each note's macros move the engine that all share.
        for target, resting_value in self._rests.items():
            self._engine.targets[target].move(0, resting_value)
        processor = EventProcessor(patch, self._engine, effects.targets(), effects.values(), move_effect, self._blend)
        for target, value in note.knobs.items():
            processor.apply(ParameterChange(0, 0, target, value))
        off_time = self._origin + max(
            output.source_time(0) + 1, output.source_time(round(note.held_seconds * sample_rate))
        )
        return _Playing(note, processor, output, off_time)

    def sounds(self) -> Iterator[NoteSound]:
        for start in range(0, self._origin, BLOCK):
            self._engine.render([], SeparateMotions([]), start, min(BLOCK, self._origin - start))
        for playing in self._playing:
            self._strike(playing)
        for start in range(self._origin, self._end, BLOCK):
            self._compute(start, min(BLOCK, self._end - start))
        for playing, mix in zip(self._playing, self._mixes, strict=True):
            yield NoteSound(self._through_output(playing, mix), playing.pitch)

    def _strike(self, playing: _Playing) -> None:
        processor, note = playing.processor, playing.note
        self._engine.number_next(note.number)
        processor.apply(NoteOn(self._on, 0, note.key, note.velocity))
        for voice in processor.voices:
            middle = (self._on + playing.off) // 2
            bend = processor.motion_of([voice]).bend_semitones([0], np.array([middle], np.int64))
            playing.pitch = voice.stream.pitch_at(middle) + float(bend[0])

    def _compute(self, start: int, count: int) -> None:
        sounding = []
        for row, playing in enumerate(self._playing):
            processor = playing.processor
            if start <= playing.off < start + count:
                latched = isinstance(processor.voices, Latch)
                processor.apply(AllOff(playing.off, 0, False) if latched else NoteOff(playing.off, 0, playing.note.key))
            sounding += [(row, processor, voice) for voice in processor.voices]
        for _, processor, voice in sounding:
            voice.stream.end = voice.end(processor.voices.steal_samples)
        motions = SeparateMotions([processor.motion_of([voice]) for _, processor, voice in sounding])
        streams = self._engine.render([voice.stream for *_, voice in sounding], motions, start, count)
        levels = envelope_levels([voice.envelope for *_, voice in sounding], start, count)
        for (row, processor, voice), level, stream in zip(sounding, levels, streams, strict=True):
            voice.shape(level, start, processor.voices.steal_samples)
            np.multiply(stream, level, out=self._mixes[row][:, start - self._origin : start - self._origin + count])
            processor.voices.retire(start + count)

    def _through_output(self, playing: _Playing, mix: Array) -> Array:
        level, output = playing.processor.level(0), playing.output
        gains = np.array([[level.left.value(self._on)], [level.right.value(self._on)]], np.float32)
        if output.latency_samples == 0:  # neither effects nor another rate
            alike = len(mix) == 1 and gains[0] == gains[1]
            return limit(mix[:, : self._length] * (gains[:1] if alike else gains))
        read = 0

        def source(events: Sequence[Event], count: int) -> Array:
            nonlocal read
            part, read = mix[:, read : read + count], read + count
            return np.multiply(np.pad(part, ((0, 0), (0, count - part.shape[1]))), gains)

        latency = output.latency_samples
        return limit(output.read(latency + self._length, source)[:, latency:])


class SeparateMotions:
    """Each voice has a `Motion` of its own, in which it is voice 0."""

    own_codes = True

    def __init__(self, motions: Sequence[Motion]) -> None:
        self._motions = motions

    def latents(self, voices: Sequence[int], times: Times, own_times: Times | None = None) -> Array:
        read = times if own_times is None else own_times
        notes = np.asarray(voices)
        changed = (notes[1:] != notes[:-1]) | (times[1:] != times[:-1]) | (read[1:] != read[:-1])
        starts = np.flatnonzero(np.concatenate([[True], changed]))  # several frames read at one time
        run_times, run_own_times = times[starts], None if own_times is None else own_times[starts]
        codes = [
            motion.latents(
                [0] * (rows.stop - rows.start), run_times[rows], None if run_own_times is None else run_own_times[rows]
            )
            for motion, rows in self._runs(notes[starts])
        ]
        return np.repeat(np.concatenate(codes), np.diff(starts, append=len(notes)), axis=0)

    def beginnings(self, time: int) -> Beginnings | None:
        """Nothing is prepared for later notes."""
        return None

    def bend_semitones(self, voices: Sequence[int], times: Times) -> Doubles:
        return np.concatenate(
            [motion.bend_semitones([0] * (rows.stop - rows.start), times[rows]) for motion, rows in self._runs(voices)]
        )

    def residual(self, voices: Sequence[int], times: Times, ahead: int) -> Residual | None:
        runs = list(self._runs(voices))
        parts = [motion.residual([0] * (rows.stop - rows.start), times[rows], ahead) for motion, rows in runs]
        bands = next((part.gains.shape[1] for part in parts if part is not None), None)
        if bands is None:
            return None
        gains, modes = np.zeros((len(voices), bands), np.float32), list[Doubles | None]()
        images = list[Doubles | None]()
        vibrato = np.zeros(len(voices))
        for (_, rows), part in zip(runs, parts, strict=True):
            if part is not None:
                gains[rows], vibrato[rows] = part.gains, part.vibrato
            modes += [None] * (rows.stop - rows.start) if part is None else part.modes
            images += [None] * (rows.stop - rows.start) if part is None else part.images
        return Residual(gains, modes, vibrato, images)

    def decoded_keys(self, voices: Sequence[int]) -> Sequence[int | None]:
        return [
            key for motion, rows in self._runs(voices) for key in motion.decoded_keys([0] * (rows.stop - rows.start))
        ]

    def bend_of(self, voice: int, start: int, count: int) -> np.float32 | Array:
        return self._motions[voice].bend_of(0, start, count)

    def next_bend(self, time: int) -> float:
        return self._motions[0].next_bend(time)

    def morph(self, time: int) -> float:
        return self._motions[0].morph(time)

    def beat(self, time: int) -> float:
        return self._motions[0].beat(time)

    def beat_samples(self, time: int) -> float:
        return self._motions[0].beat_samples(time)

    def _runs(self, voices: Sequence[int] | npt.NDArray[np.intp]) -> Iterator[tuple[Motion, slice]]:
        notes = np.asarray(voices)
        starts = [0, *(np.flatnonzero(notes[1:] != notes[:-1]) + 1).tolist()] if len(notes) else []
        for first, end in itertools.pairwise([*starts, len(notes)]):
            yield self._motions[voices[first]], slice(first, end)
