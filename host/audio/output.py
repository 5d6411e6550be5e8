"""Output stage: the model's rate to the output's, effects, limiter and peak normalisation."""

import ctypes
import math
import tempfile
from bisect import bisect_left
from collections.abc import Callable, Iterator, Sequence
from types import TracebackType
from typing import Self

import numpy as np

from ..arrays import Array, address_of
from ..events import Event, retimed
from ..unattended import LARGEST_RATIO, UnattendedRun
from ..voice_library import NEVER, voice_library
from .effects import EffectChain
from .rate_conversion import RateConversion
from .resampling import Resampler

Source = Callable[[Sequence[Event], int], Array]

QUANTUM = 128  # samples between parameter changes of effects, 2.7 ms at 48 kHz
LONGEST = 16384  # samples at a time
SPARE = 1  # source samples beyond a block's own: one pull suffices then, and each costs time
ROUNDING = 4  # source samples that may be pulled beyond what a block needs


class Output:
    """Pulls sound at one rate, returns it at another, through effects, with constant latency.

    Effects run in quanta from sample 0: parameters change at the same samples for any block size.
    """

    def __init__(self, source_rate: int, rate: int, effects: EffectChain) -> None:
        self._source_rate, self._rate = source_rate, rate
        self.effects = effects
        self._conversion = None if source_rate == rate else RateConversion(source_rate, rate)
        common_rate = math.gcd(source_rate, rate)
        self._period, self._source_period = rate // common_rate, source_rate // common_rate  # of the resampler's phase
        self._events: list[Event] = []
        self._effect_moves: list[tuple[int, str, float]] = []
        self._pulled_count = 0  # source samples
        self._converted_sound: Array = np.zeros((2, 0), np.float32)
        self._ready_sound: Array = np.zeros((2, 0), np.float32)
        self._processed_count = 0  # output samples processed by the effects

    @property
    def latency_samples(self) -> int:
        latency = 0
        if self._conversion is not None:
            latency += self._conversion_delay()
        if self.effects:
            latency += QUANTUM + self.effects.latency_samples
        return latency

    def schedule(self, event: Event) -> Event:
        """Schedule an event of the next block or later; return it in source samples."""
        event = retimed(event, self.source_time(event.time))
        self._events.append(event)
        return event

    def source_time(self, time: int) -> int:
        """Source sample of an output time; no output before ``time`` pulls it."""
        if self.effects:
            time += QUANTUM
        if self._conversion is not None:
            time = round((time + self._conversion_delay()) * self._source_rate / self._rate)
        return time

    def set_effect(self, time: int, target: str, value: float) -> None:
        """Set a parameter from source sample ``time`` on."""
        self._effect_moves.append((round(time * self._rate / self._source_rate), target, value))

    def read(self, count: int, synthesize: Source, silent: bool = False) -> Array:
        """Output samples, [2, count]; ``synthesize(events, count)`` returns source samples, [2, count].

        ``silent``: they are 0, as those before them. Resampling leaves out whole periods of its phase.
        """
        if not self.effects and not self._ready_sound.shape[1] and count <= LONGEST:
            return self._convert(count, synthesize, silent)
        while self._ready_sound.shape[1] < count:
            needed_count = min(count - self._ready_sound.shape[1], LONGEST)
            if self.effects:
                needed_count = -(-needed_count // QUANTUM) * QUANTUM
            self._ready_sound = np.concatenate(
                [self._ready_sound, self._affect(self._convert(needed_count, synthesize, silent))], axis=1
            )
        block, self._ready_sound = self._ready_sound[:, :count], self._ready_sound[:, count:]
        return block

    @property
    def lends(self) -> bool:
        """Return whether the core can read and convert for a while: without effects, where its memory suffices."""
        return not self.effects and self._source_rate <= LARGEST_RATIO * self._rate

    def lend(self, run: UnattendedRun) -> tuple[list[Event], int]:
        """Let the core read and convert for a while, if it `lends`; return the first block's events and samples."""
        block, pull_count = run.fields.block, run.fields.block
        run.fields.table, run.fields.converted_count = None, self._converted_sound.shape[1]
        if self._conversion is not None:
            self._conversion.lend(run)
            run.converted[:, : run.fields.converted_count] = self._converted_sound
            pull_count = self._pull_count(block - run.fields.converted_count)
        events = self._due_events(self._pulled_count + pull_count)
        run.fields.known_end = self._events[0].time if self._events else NEVER
        return events, pull_count

    def take_back(self, run: UnattendedRun, pulled_count: int) -> None:
        """Go on where the core stopped; ``pulled_count``: source samples that it has made."""
        self._pulled_count += pulled_count
        if self._conversion is not None:
            self._conversion.take_back(run)
            self._converted_sound = run.converted[:, : run.fields.converted_count].copy()

    def _conversion_delay(self) -> int:
        assert self._conversion is not None
        return round((self._conversion.latency + ROUNDING) * self._rate / self._source_rate)

    def _convert(self, count: int, synthesize: Source, silent: bool) -> Array:
        """Return the next samples at the output's rate, [2, count]."""
        if self._conversion is None:
            return self._pull(count, synthesize)
        if silent and (periods := count // self._period):
            pull_periods = LONGEST // self._source_period
            for first_period in range(0, periods, pull_periods):
                self._pull(min(pull_periods, periods - first_period) * self._source_period, synthesize)
            omitted_silence = np.zeros((2, periods * self._period), np.float32)
            return np.concatenate(
                [omitted_silence, self._convert(count - omitted_silence.shape[1], synthesize, silent=False)], axis=1
            )
        while self._converted_sound.shape[1] < count:
            source_count = min(LONGEST, self._pull_count(count - self._converted_sound.shape[1]))
            converted_sound = self._conversion.process(self._pull(source_count, synthesize))
            if self._converted_sound.shape[1]:
                converted_sound = np.concatenate([self._converted_sound, converted_sound], axis=1)
            self._converted_sound = converted_sound
        block, self._converted_sound = self._converted_sound[:, :count], self._converted_sound[:, count:]
        return block

    def _pull(self, count: int, synthesize: Source) -> Array:
        """Synthesize the next source samples, [2, count]."""
        self._pulled_count += count
        return synthesize(self._due_events(self._pulled_count), count)

    def _pull_count(self, lacking_count: int) -> int:
        """Source samples that give the outputs which a block lacks."""
        return math.ceil(lacking_count * self._source_rate / self._rate) + SPARE if lacking_count > 0 else 0

    def _due_events(self, source_end: int) -> list[Event]:
        """Take the events before a source sample."""
        event_end_index = bisect_left(self._events, source_end, key=lambda event: event.time)
        events, self._events = self._events[:event_end_index], self._events[event_end_index:]
        return events

    def _affect(self, audio: Array) -> Array:
        """Run the effects on whole quanta, [2, n], with their moves."""
        if not self.effects:
            return audio
        if not np.isfinite(audio).all():  # filters would ring with it for good
            audio = np.nan_to_num(audio, nan=0.0, posinf=0.0, neginf=0.0)
        piece_start, audio_end = self._processed_count, self._processed_count + audio.shape[1]
        processed_pieces: list[Array] = []
        while self._effect_moves and self._effect_moves[0][0] < audio_end:
            quantum_start = max(piece_start, -(-self._effect_moves[0][0] // QUANTUM) * QUANTUM)
            if quantum_start >= audio_end:
                break
            if quantum_start > piece_start:
                processed_pieces.append(
                    self.effects.process(
                        audio[:, piece_start - self._processed_count : quantum_start - self._processed_count]
                    )
                )
                piece_start = quantum_start
            _, target, value = self._effect_moves.pop(0)
            self.effects.set(target, value)
        processed_pieces.append(self.effects.process(audio[:, piece_start - self._processed_count :]))
        self._processed_count = audio_end
        return np.concatenate(processed_pieces, axis=1)


OVERSAMPLING = 4  # for the true peak (ITU-R BS.1770-5, annex 2)
PIECE = 1 << 16  # samples read back at once


class KeptSound:
    """Keeps sound in a temporary file, and measures its true peak."""

    def __init__(self, sample_rate: int) -> None:
        self._file = tempfile.TemporaryFile()  # noqa: SIM115  # closed with this
        self._oversampler = Resampler(sample_rate, OVERSAMPLING * sample_rate)
        self._peak = 0.0

    def write(self, block: Array) -> None:
        """Append samples, [2, n].

        Raises:
            OSError: the disk is full.
        """
        self._file.write(np.ascontiguousarray(block.T).tobytes())
        for sound in (block, self._oversampler.process(block)):
            self._track_peak(sound)

    def true_peak(self) -> float:
        """Oversampled; write nothing afterwards."""
        self._track_peak(self._oversampler.flush())
        return self._peak

    def blocks(self, gain: float) -> Iterator[Array]:
        """Amplified sound, [2, n]."""
        self._file.seek(0)
        while piece_bytes := self._file.read(PIECE * 8):
            yield np.float32(gain) * np.frombuffer(piece_bytes, np.float32).reshape(-1, 2).T

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()

    def _track_peak(self, sound: Array) -> None:
        if sound.size:
            self._peak = max(self._peak, float(np.abs(sound).max()))


def peaks_of(audio: Array) -> Array:
    """Largest magnitude of each channel, [channels], of [channels, n]; NaN where one of its samples is NaN."""
    library = voice_library()
    if library is None or not audio.flags.c_contiguous:
        return np.maximum(audio.max(axis=1, initial=0.0), -audio.min(axis=1, initial=0.0))
    peaks = np.empty(len(audio), np.float32)
    library.core_peaks(address_of(audio), len(audio), audio.shape[1], address_of(peaks))
    return peaks


LIMIT_KNEE = 0.7  # -3 dB: below this the output is bit-exact
LOUDEST = np.float32(1e6)  # beyond this, the knee would overflow float32


def limit(audio: Array) -> Array:
    """Limit to ±1 without memory: bit-exact up to -3 dB, then a smooth knee; NaN becomes 0."""
    if peaks_of(np.atleast_2d(audio)).max() <= LIMIT_KNEE:  # false where there is NaN
        return audio
    library = voice_library()
    return _limit_by_numpy(audio) if library is None else _limit_by_core(library, audio)


def _limit_by_core(library: ctypes.CDLL, audio: Array) -> Array:
    limited_audio = np.array(audio, np.float32, order="C")
    library.core_limit(address_of(limited_audio), limited_audio.size)
    return limited_audio


def _limit_by_numpy(audio: Array) -> Array:
    audio = np.clip(np.nan_to_num(audio, nan=0.0), -LOUDEST, LOUDEST)
    magnitudes = np.abs(audio)
    knee_room = np.float32(1.0 - LIMIT_KNEE)
    excess = np.maximum(magnitudes - np.float32(LIMIT_KNEE), 0)
    bent_magnitudes = np.float32(LIMIT_KNEE) + excess / (excess / knee_room + np.float32(1))
    limited_audio: Array = np.where(magnitudes <= np.float32(LIMIT_KNEE), audio, np.copysign(bent_magnitudes, audio))
    return limited_audio


def limited(audio: Array) -> float:
    """Share, 0 to 1, of samples that `limit` bent in its output."""
    return float(np.mean(np.abs(audio) > LIMIT_KNEE))
