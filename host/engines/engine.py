"""Engines: their base class, the request that makes one, the choice of a model's engine, a voice's loudness.

A kind whose models take sounds has a codec beside its engine, with the steps of resynthesis.
"""

import importlib
import importlib.util
from abc import ABC, abstractmethod
from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Generic, NamedTuple, Protocol, TypeVar

import numpy as np
import numpy.typing as npt

from .. import extensions
from ..arrays import Array, Doubles, Indices, Spectrum, Times
from ..errors import UserError
from ..kinds.card_fields import ImageBand
from ..kinds.kind import IMAGE, Kind
from ..kinds.table import kind_of, known_kinds
from ..model.card import Card
from ..model.model import Model
from ..preset.preset import PlaySettings
from ..ramps import RAMP_SECONDS, Ramp
from ..units import db_to_gain
from ..velocity import LOUDEST

LEAST_COVER = 1e-3  # of the largest overlap: at the windows' zeros, division would amplify noise
TINY = np.float32(1e-20)  # keeps divisors above 0


@dataclass(slots=True, kw_only=True)
class VoiceSound:
    """One voice's sound, extended by each engine. ``key``: 69.0 for 440 Hz.

    ``over``, the end of a sound that ends by itself, is set at note-on, in every process that shares the voices.
    """

    key: float
    on: int
    end: int | None = None  # first silent sample, once known
    over: int | None = None  # first silent sample of a sound that ends by itself; None: it continues
    pitch: Ramp | None = None  # glide; None: constant
    chord: Ramp | None = None  # pitch classes of a chord, bit n for class n; None: that of the pitch

    def pitch_at(self, time: int) -> float:
        return self.key if self.pitch is None else self.pitch.value(time)


Kept = TypeVar("Kept", bound=VoiceSound)


class Beginnings(NamedTuple):
    """Initial codes of future notes while no parameter moves; ``identity`` identifies the set.

    ``codes``: pitches, 69.0 for 440 Hz, likely ones first, with the codes, [rows, n_latents], that a note may read
    within its first hop.
    """

    identity: Hashable
    codes: Iterator[tuple[float, Array]]


class Residual(NamedTuple):
    """Recorded differences to decoded frames of partials."""

    gains: Array  # of the gestures' bands in dB, [rows, bands]
    modes: Sequence[Doubles | None]  # as in `NoteWay`, [modes, 3] a row; None without
    vibrato: Doubles  # deviation of the pitch in semitones, [rows]
    images: Sequence[Doubles | None] = ()  # as in `image_curves`, [32, 2] a row; None, as without: the model's

    def of_rows(self, rows: Sequence[int]) -> "Residual":
        modes, images = ([each[row] for row in rows] if each else () for each in (self.modes, self.images))
        return Residual(self.gains[rows], modes, self.vibrato[rows], images)


class Motion(Protocol):
    """Parameter values of voices; a row is a voice at a sample.

    Voices with ``own_codes`` share none with each other, nor with future notes.
    """

    @property
    def own_codes(self) -> bool: ...

    def latents(self, voices: Sequence[int], times: Times, own_times: Times | None = None) -> Array:
        """Codes, [rows, n_latents]; ``times`` are not before the hop of a note-on.

        ``own_times``: samples where a note's own modulation is read, also before its note-on; None: ``times``.
        """

    def beginnings(self, time: int) -> Beginnings | None:
        """Codes of notes after a sample; None if unknown."""

    def bend_semitones(self, voices: Sequence[int], times: Times) -> npt.NDArray[np.float64]:
        """[rows]."""

    def residual(self, voices: Sequence[int], times: Times, ahead: int) -> Residual | None:
        """Residual of frames that begin at ``times``; their middles lie ``ahead`` samples later."""

    def decoded_keys(self, voices: Sequence[int]) -> Sequence[int | None]:
        """Key that the decoder gets for each row; None: the one that sounds."""

    def bend_of(self, voice: int, start: int, count: int) -> np.float32 | Array:
        """Semitones over a block: a scalar if constant, else [count]."""

    def next_bend(self, time: int) -> float:
        """Semitones of a note that begins at ``time`` on the channel of the last one, without a finger's own."""

    def morph(self, time: int) -> float:
        """Position, 0 to 1; 0 without a morph."""

    def beat(self, time: int) -> float: ...

    def beat_samples(self, time: int) -> float:
        """A quarter note's length, as known at ``time``."""


class VoiceMaker(ABC, Generic[Kept]):
    """Begins voices; as it stands here in mono, without a model process."""

    targets: Mapping[str, Ramp]

    @property
    def channels(self) -> int:
        """1, or 2 for stereo."""
        return 1

    @property
    def lookback(self) -> int:
        """Samples before a block where parameters are read."""
        return 0

    @property
    def ready(self) -> bool:
        """False while a model process lacks frames. Live, the engine plays ready frames only; offline, it waits."""
        return True

    @property
    def age_ms(self) -> float | None:
        """Age of the last note's code at its note-on; None if codes are never old."""
        return None

    @abstractmethod
    def start_stream(self, pitch: float, time: int, key: int, velocity: int = LOUDEST) -> Kept:
        """Stream of a note-on at sample ``time``; ``pitch`` is 69.0 for 440 Hz, ``velocity`` from 1 to 127."""

    def number_next(self, number: int) -> None:
        """Number the next stream, from 1, for its random phases and numbers; others count on."""


class Engine(VoiceMaker[Kept]):
    """Begins voices and synthesizes them block by block; as it stands here without work ahead."""

    @abstractmethod
    def render(self, streams: Sequence[Kept], motion: Motion, start: int, count: int) -> list[Array]:
        """Each stream's sound, [channels, count]; silence before its note-on.

        Valid until the next call.
        """

    def prepare(self, streams: Sequence[Kept], motion: Motion, now: int) -> None:
        """Do one step of work due after ``now``, the end of the rendered sound; no sample depends on it.

        Live, it runs after a block's delivery.
        """


MAX_BLOCK = 16384  # samples per computation: 16 hops of 1024 make the largest batches worthwhile


class EngineRequest(NamedTuple):
    rest_latents: Sequence[float]  # for decoding ahead
    play: PlaySettings
    kind_settings: Any  # from `Kind.select_section`
    bend: float  # semitones either way, for which streams reserve their time; `VoiceFactory.lengthen` adds the rest
    live: bool = False  # the engine must not block on other processes
    sound: npt.NDArray[np.float32] | None = None  # seed at the model's rate, [samples]
    morph_label: str | None = None  # at the morph's end; None: unchanged


def recordings_off(model: Model) -> list[str]:
    """Play a model's recordings as keys do, at rest and along a seeded path of codes; return the names of faulty ones.

    On the path they have the levels that their card states; older cards state none.

    Raises:
        UserError: a recording is damaged.
    """
    if model.recordings is None:
        return []
    return list(_function_of(kind_of(model.card), "recorded_path", "recordings_off")(model))


def engines_of(kind: Kind) -> str:
    """Package of a kind's engine, relative to that of the engines unless it is another package's."""
    return kind.engines or f".{kind.name}"


def _function_of(kind: Kind, module: str, name: str) -> Callable[..., Any]:
    """Return a function of a module of a kind's engine, imported on first use.

    Raises:
        UserError: it is another package's, and cannot be loaded.
    """
    with extensions.loading(extensions.KINDS, kind.name):
        function: Callable[..., Any] = getattr(
            importlib.import_module(f"{engines_of(kind)}.{module}", __package__), name
        )
        return function


def engine_of(model: Model, request: EngineRequest) -> Engine[Any]:
    """Imports the engine's module on first use.

    Raises:
        UserError: the engine refuses the request, or cannot be loaded.
    """
    engine: Engine[Any] = _function_of(kind_of(model.card), "engine", "make_engine")(model, request)
    return engine


def image_target(amount: float | None, card: Card, image_bands: Sequence[ImageBand] | None = None) -> dict[str, Ramp]:
    """The ramp of a model's or preset's image, by its target; none without an image, or where ``amount`` is None."""
    if amount is None or not (image_bands or card.image):
        return {}
    return {IMAGE: Ramp(amount, round(RAMP_SECONDS * card.sample_rate))}


VOICE_LUFS = -20.0  # of a voice at full velocity: peaks of eight voices just reach the limiter's knee


def voice_gain(loudness_lufs: float) -> float:
    """Return the gain of a model with this loudness."""
    return db_to_gain(VOICE_LUFS - loudness_lufs)


@dataclass(slots=True, kw_only=True)
class MixedSound(VoiceSound):
    """``pending`` is the sum of future samples, [channels, samples] from ``origin`` on."""

    origin: int
    pending: Array

    def make_room(self, now: int, end: int) -> None:
        """Extend the sum by silence to sample ``end``; drop samples before ``now``."""
        if end - self.origin <= self.pending.shape[1]:
            return
        expired_count = max(0, now - self.origin)
        self.origin += expired_count
        remaining_sound, new_length = self.pending[:, expired_count:].copy(), end - self.origin
        if new_length > self.pending.shape[1]:
            self.pending = np.empty((len(self.pending), 2 * new_length), np.float32)  # it seldom grows
        self.pending[:, : remaining_sound.shape[1]] = remaining_sound
        self.pending[:, remaining_sound.shape[1] :] = 0

    def block(self, start: int, count: int) -> Array:
        """[channels, count], silent before the note-on."""
        offset = start - self.origin
        if self.on <= start:
            return self.pending[:, offset : offset + count]
        silent_count = min(self.on - start, count)
        sound = np.zeros((len(self.pending), count), np.float32)
        sound[:, silent_count:] = self.pending[:, offset + silent_count : offset + count]
        return sound


class FrameAnalysis(NamedTuple):
    sounding: npt.NDArray[np.bool_]  # [rows]
    level: Array  # [rows, 1]: the largest magnitude; the RMS for grains
    spectra: Spectrum  # [rows, bins], of the windowed frames
    magnitudes: Array  # of these
    strongest: Indices  # [rows]: pitch classes
    codes: Array  # [rows, n_latents], bent
    pitches: Doubles  # [rows]: MIDI notes with fractions, NaN where no pitch was detected or needed
    octaves_down: Indices  # [rows]: octaves of downward transposition before encoding
    encoder_pitches: Doubles  # [rows]: gap-free pitches, as the encoder of a partials model received them


class FrameCodec(Protocol):
    def level(self, frames: Array, magnitudes: Array) -> Array:
        """Target levels, [rows, 1]."""

    def make(self, decoded: Array, analysis: FrameAnalysis, bin_offsets: Doubles | None) -> Array:
        """Frames, [rows, frame_length]; ``bin_offsets`` as from `HarmonicShift.apply`."""

    def fade(self, frames: Array, filtered: bool) -> Array:
        """Window frames, [..., frame_length], to overlap-add. ``filtered``: since `make`, so they end abruptly."""

    def compare(self, decoded: Array, frames: Array, analysis: FrameAnalysis) -> tuple[Array, float]:
        """Magnitudes, [rows, bins], and summed mean squared errors at a maximum of 1."""


def codec_of(card: Card, phase: str) -> FrameCodec:
    """Codec of a model's kind for ``phase``, ``original`` or ``own``.

    Raises:
        UserError: the kind has none, or the codec refuses frames or phase.
    """
    if not _has_codec(kind_of(card)):
        supported_kinds = [name for name, kind in known_kinds().items() if _has_codec(kind)]
        raise UserError(
            f"no sound can be sent through model {card.name!r} of kind {card.kind!r} yet; give one of kind "
            f"{' or '.join(map(repr, supported_kinds))}"
        )
    codec: FrameCodec = _function_of(kind_of(card), "frame_codec", "make_codec")(card, phase)
    return codec


def _has_codec(kind: Kind) -> bool:
    """Raises as `_function_of`."""
    with extensions.loading(extensions.KINDS, kind.name):
        return importlib.util.find_spec(f"{engines_of(kind)}.frame_codec", __package__) is not None


def hop_of(card: Card) -> int:
    return kind_of(card).hop_through(card)


def window_cover(weights: Array, hop: int) -> Array:
    """Overlapped sum of weights at each sample of a frame, [frame_length]."""
    hop_cover = np.pad(weights, (0, -len(weights) % hop)).reshape(-1, hop).sum(axis=0)
    return np.resize(np.maximum(hop_cover, LEAST_COVER * hop_cover.max()), len(weights))
