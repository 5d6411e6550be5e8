"""Measures dynamics: level range of recordings, and brightness of soft and loud notes, recorded and rendered.

If notes of a key differ in level by more than one dynamic varies, their level is the velocity, and an instrument with
gestures selects codes by it. Otherwise the recordings may be normalized, and no measure says which were soft.
"""

import contextlib
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import soxr

from ...host.arrays import Array, Doubles, Times
from ...host.events import Event, NoteOff, NoteOn
from ...host.kinds.spectrum import GestureSettings
from ...host.midi.files import Performance
from ...host.model.card import PITCH_CLASSES, Card, in_deviations
from ...host.model.encoder import Encoder, encoder_path
from ...host.play.rack import Rack
from ...host.play.render import blocks
from ...host.preset.library import Patch
from ...host.preset.preset import LatentSettings, Preset
from ...host.resynthesis.codes import QUIET_FRAME
from ...host.resynthesis.frame_stream import FrameStream, latency_of
from ...host.signal import medoid, window
from ...host.units import midi_to_hz, semitones_to_ratio
from ...train.corpus.store import Corpus
from .measures import FRAME, HOP
from .notes import SQUARED_DB, RecordedNote, SingleNote, loudest_db, note_of, spread, velocity

VELOCITY = 100  # of a note of unknown level


def played(patch: Patch, key: int, velocity: int, held_seconds: float, length: int) -> Array:
    """Render a key to mono, [length] at the model's rate; the note starts at sample 0."""
    rate = patch.model.card.sample_rate
    events: list[Event] = [NoteOn(0, 0, key, velocity), NoteOff(max(1, round(held_seconds * rate)), 0, key)]
    performance = Performance(events=events, length=length, channels=[0], warnings=[])
    with contextlib.closing(Rack({0: patch}, rate)) as rack:
        parts = [mix for _, mix, _ in blocks(rack, performance, 0.0, rate)]
    sound = np.concatenate([np.zeros((2, 0), np.float32), *parts], axis=1).mean(0)[:length]
    return np.pad(sound, (0, length - len(sound)))


class CodedNotes:
    """Resynthesizes notes from their codes: the decoder's best result, given the right codes."""

    def __init__(self, patch: Patch) -> None:
        """Open the encoder, or raise UserError."""
        self._model, self._folder = patch.model, patch.folder
        self._encoder = Encoder(patch.model)

    def moved(self, sound: Array, pitch: float) -> "TransposedNote":
        """Transpose a note to its key, in the octave of training if there is one, and encode it.

        Its code is the frame's nearest to the median of all frames' codes, as in `timbrel recover --method network`.
        """
        card = self._model.card
        key = note = int(np.floor(pitch + 0.5))
        if card.chroma is not None:
            note = PITCH_CLASSES * (card.chroma.octave + 1) + key % PITCH_CLASSES
        ratio = semitones_to_ratio(note - pitch)
        there = soxr.resample(sound, card.sample_rate * ratio, card.sample_rate).astype(np.float32)
        frames = _frames(there, card)
        told = None if card.partials is None else np.full(len(frames), float(note))
        codes = self._encoder.encode(frames, told).astype(np.float64)
        return TransposedNote(there, note, key, codes[medoid(codes * in_deviations(card))], ratio, len(sound))

    def each(self, moved: "TransposedNote") -> Array:
        """Encode and decode each frame with the original phases and levels, at the original pitch: [samples]."""
        return self._through(moved, None)

    def one(self, moved: "TransposedNote") -> Array:
        """Decode all frames from the note's single code, else as `each`."""
        return self._through(moved, moved.code)

    def played(self, moved: "TransposedNote", length: int) -> Array:
        """Play the note's key at its code with default settings, [length]."""
        latent = LatentSettings(values=moved.code.tolist())
        still = GestureSettings(amount=0.0)
        preset = Preset(format=1, model=self._model.path.name, latent=latent, gesture=still)
        patch = Patch("plain", preset, self._model, self._folder)
        return played(patch, moved.key, VELOCITY, length / self._model.card.sample_rate, length)

    def _through(self, moved: "TransposedNote", code: Doubles | None) -> Array:
        latency = latency_of(self._model.card)
        through = FrameStream(self._model, _Held(moved.note, code), "original", note=moved.note)
        sound = through.process(np.pad(moved.sound, (0, latency)))[latency:]
        rate = self._model.card.sample_rate
        back = soxr.resample(sound, rate, rate * moved.ratio)[: moved.length].astype(np.float32)
        return np.pad(back, (0, moved.length - len(back)))


class TransposedNote(NamedTuple):
    """A transposed note, [samples].

    ``key`` and ``length``, in samples, are the original's; ``ratio`` is the change of speed.
    """

    sound: Array
    note: int
    key: int
    code: Doubles
    ratio: float
    length: int


class _Held:
    """Fixes the pitch, and the code if given."""

    def __init__(self, note: int, code: Doubles | None) -> None:
        self._note, self._code = note, code

    def codes(self, codes: Array, sounding: npt.NDArray[np.bool_], times: Times) -> Array:
        return codes if self._code is None else np.tile(self._code, (len(codes), 1)).astype(np.float32)

    def pitches(self, heard: Doubles, times: Times) -> Doubles:
        return np.full(len(heard), float(self._note))


def has_encoder(patch: Patch) -> bool:
    return encoder_path(patch.model.path).exists() and patch.model.card.keyed


def _frames(sound: Array, card: Card) -> Array:
    """Return the loud frames of a sound: [frames, frame_length]."""
    padded = np.pad(sound, (0, max(0, card.frame_length - len(sound))))
    frames = np.lib.stride_tricks.sliding_window_view(padded, card.frame_length)[:: card.hop_length]
    levels = frames.std(axis=1)
    loud: Array = frames[levels >= QUIET_FRAME * levels.max()]
    return loud


Figures = dict[str, Any]

NOTES = 144  # training notes to measure: all of most instruments
PAIRS = 8  # pairs of a soft and a loud note of nearby keys, with as many keys between pairs as within
NEAR_KEYS = 2  # semitones between nearby keys: changes brightness little
KEY_DB = 2.0  # level difference that a pair may lose per semitone of nearness
# Level difference of the softest and the loudest note of a key, median over keys. Single dynamics of real players reach
# 7 dB (a flute's forte, 27 notes); pianissimo to fortissimo is 9 dB (a trombone) or 16 dB (a flute).
DYNAMIC_DB = 8.0
LEVELLED_DB = 0.5  # deviation of peaks or of loudest moments over all keys: smaller after normalization only
SOFT, LOUD = 32, 127  # velocities played if the recordings have no dynamics: 24 dB apart
ALIKE = 1.05  # ratio of two centroids that count as equal: a fourteenth of an octave; dynamics cover up to an octave
LONGEST_SECONDS = 1.0  # of a held part: the rest is as bright
SOUNDING_DB = 20.0  # below its loudest frame, where the held note is above the room
LOWEST = 0.75  # of the fundamental: below it are rumble and hum, which soft notes do not mask


class _Heard(NamedTuple):
    """A training note; ``hz`` is the centroid of its held part."""

    note: RecordedNote
    velocity: int
    hz: float
    peak_db: float

    @property
    def key(self) -> int:
        return self.note.single.key


def dynamics(
    patch: Patch,
    corpus: Corpus,
    known: Sequence[SingleNote],
    seed: int,
    say: Callable[[float], None] = lambda part: None,
) -> Figures | None:
    """Compare soft and loud training notes with a patch's renditions; None without training notes.

    Args:
        patch: as in `comparison.beside`.
        known: the single notes of the training split.

    Returns:
        ``levelled``: whether all recordings are equally loud. ``apart_db``: median level difference of soft and loud
            notes of a key, None if no key has two. ``soft``, ``loud``: mean velocity, and geometric means of spectral
            centroids, ``recorded_hz`` (None without dynamics) and ``played_hz`` at the same keys and velocities.
    """
    if not known:
        return None
    chosen = spread(known, NOTES, np.random.default_rng(seed))
    loudest = loudest_db(corpus, known)
    heard = [_heard(corpus, single, loudest) for single in chosen]
    pairs = _pairs(heard)
    gaps = [_apart_db(loud, soft) for soft, loud in pairs]
    apart = float(np.median(gaps)) if gaps else None
    dynamic = apart is not None and apart >= DYNAMIC_DB
    asked: list[tuple[_Heard, int, float | None, str]]
    if dynamic:
        asked = [(one, one.velocity, one.hz, side) for pair in pairs for side, one in zip("sl", pair, strict=True)]
    else:
        few = [heard[int(i)] for i in np.linspace(0, len(heard) - 1, min(PAIRS, len(heard))).round()]
        asked = [(one, speed, None, side) for one in few for side, speed in (("s", SOFT), ("l", LOUD))]
    each = []
    for place, (one, speed, hz, side) in enumerate(asked):
        say(place / len(asked))
        each.append(_asked(patch, corpus.rate, one, speed) | {"recorded_hz": hz, "loud": side == "l"})
    return {
        "dynamics": dynamic,
        "levelled": _are_levelled(heard),
        "notes": len(heard),
        "apart_db": apart,
        "softest": min(one.velocity for one in heard),
        "loudest": max(one.velocity for one in heard),
        "soft": _mean([row for row in each if not row["loud"]]),
        "loud": _mean([row for row in each if row["loud"]]),
        "each": each,
    }


def centroid_hz(sound: Array, rate: int, pitch: float) -> float:
    """Return the spectral centroid of a held note, [samples]: geometric mean over loud frames.

    Power instead of magnitude: room noise, stronger in soft recordings, is faint in each bin, and there are a thousand.
    """
    shape = window("hann", FRAME)
    frames = np.lib.stride_tricks.sliding_window_view(np.pad(sound, FRAME // 2), FRAME)[::HOP] * shape
    hertz = np.linspace(0, rate / 2, FRAME // 2 + 1)
    power = np.square(np.abs(np.fft.rfft(frames)), dtype=np.float64) * (hertz > LOWEST * midi_to_hz(pitch))
    whole = power.sum(1)
    counts = whole > whole.max() * 10 ** (-SOUNDING_DB / 10)
    if not counts.any():
        return 0.0
    return _geometric(power[counts] @ hertz / whole[counts])


def in_words(found: Figures) -> str:
    soft, loud = found["soft"], found["loud"]
    if found["dynamics"]:
        level_alone = " differ in level alone" if _alike(soft["recorded_hz"], loud["recorded_hz"]) else ""
        return (
            f"recordings from velocity {found['softest']} to {found['loudest']}{level_alone}; soft notes average "
            f"{soft['recorded_hz']:.0f} Hz, loud ones {loud['recorded_hz']:.0f}; it plays {soft['played_hz']:.0f} and "
            f"{loud['played_hz']:.0f}"
        )
    if found["levelled"]:
        why = "all recordings were made as loud as each other"
    elif found["apart_db"] is None:
        why = "no key was recorded twice"
    else:
        why = f"all recordings of a key are about as loud as each other (within {found['apart_db']:.0f} dB)"
    if _alike(soft["played_hz"], loud["played_hz"]):
        return f"{why}: velocity changes the loudness of notes, not their brightness"
    return (
        f"{why}; yet velocity changes brightness too: notes average {soft['played_hz']:.0f} Hz at velocity {SOFT}, "
        f"{loud['played_hz']:.0f} Hz at {LOUD}"
    )


def _alike(first_hz: float, second_hz: float) -> bool:
    return 1 / ALIKE < second_hz / max(first_hz, 1.0) < ALIKE


def _heard(corpus: Corpus, single: SingleNote, loudest: float) -> _Heard:
    note = note_of(corpus, single)
    peak = float(np.abs(note.sound).max(initial=0.0))
    return _Heard(
        note,
        velocity(note, loudest),
        centroid_hz(note.sound[: _held_samples(note, corpus.rate)], corpus.rate, single.pitch),
        20 * float(np.log10(max(peak, 1e-9))),
    )


def _held_samples(note: RecordedNote, rate: int) -> int:
    return max(FRAME, round(min(note.held_seconds, LONGEST_SECONDS) * rate))


def _apart_db(loud: _Heard, soft: _Heard) -> float:
    """Return the level difference of two velocities, in dB of the host's gain."""
    return SQUARED_DB * float(np.log10(loud.velocity / soft.velocity))


def _pairs(heard: Sequence[_Heard]) -> list[tuple[_Heard, _Heard]]:
    near = [
        (soft, loud)
        for soft in heard
        for loud in heard
        if soft is not loud and soft.velocity <= loud.velocity and abs(soft.key - loud.key) <= NEAR_KEYS
    ]
    near.sort(key=lambda pair: KEY_DB * abs(pair[0].key - pair[1].key) - _apart_db(pair[1], pair[0]))
    kept: list[tuple[_Heard, _Heard]] = []
    for pair in near:
        middle = sum(one.key for one in pair) / 2
        if len(kept) < PAIRS and all(abs(sum(one.key for one in other) / 2 - middle) > NEAR_KEYS for other in kept):
            kept.append(pair)
    return kept


def _are_levelled(heard: Sequence[_Heard]) -> bool:
    levels = [[one.note.level_db for one in heard], [one.peak_db for one in heard]]
    return len(heard) > 1 and min(float(np.std(values)) for values in levels) < LEVELLED_DB


def _asked(patch: Patch, rate: int, one: _Heard, speed: int) -> Figures:
    samples = _held_samples(one.note, rate)
    sound = played(patch, one.key, speed, samples / rate, samples)
    return {
        "recording": one.note.single.clip.name,
        "key": one.key,
        "velocity": speed,
        "played_hz": centroid_hz(sound, rate, one.key),
    }


def _mean(rows: Sequence[Figures]) -> Figures:
    recorded = [row["recorded_hz"] for row in rows]
    return {
        "velocity": float(np.mean([row["velocity"] for row in rows])),
        "recorded_hz": None if None in recorded else _geometric(recorded),
        "played_hz": _geometric([row["played_hz"] for row in rows]),
    }


def _geometric(values: Sequence[float] | npt.NDArray[np.float64]) -> float:
    return float(np.exp(np.log(np.maximum(values, 1.0)).mean()))
