"""Measures dynamics: level range of recordings, and brightness of soft and loud notes, recorded and rendered.

If notes of a key differ in level by more than one dynamic varies, their level is the velocity, and an instrument with
gestures selects codes by it. Otherwise the recordings may be normalized, and no measure says which were soft.
"""

import contextlib
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import soxr

from ...host.arrays import Array, Doubles, Times
from ...host.audio.mono_mix import mix_to_mono
from ...host.events import Event, NoteOff, NoteOn
from ...host.kinds.card_fields import PITCH_CLASSES
from ...host.kinds.spectrum import GestureSettings
from ...host.midi.files import Performance
from ...host.model.card import Card, in_deviations
from ...host.model.encoder import Encoder, encoder_path
from ...host.play.rack import Rack
from ...host.play.render import blocks
from ...host.preset.library import Patch
from ...host.preset.preset import LatentSettings, Preset
from ...host.resynthesis.codes import QUIET_FRAME
from ...host.resynthesis.frame_stream import FrameStream, latency_of
from ...host.signal import medoid, window
from ...host.spectra import centred_frames, centroids
from ...host.units import gain_to_db, midi_to_hz, semitones_to_ratio
from ...host.velocity import VelocityLevel, velocity_gain
from ...train.corpus.store import Corpus
from ..reports.report import Figures
from .measures import FRAME, HOP
from .notes import RecordedNote, SingleNote, loudest_db, note_of, spread, velocity

VELOCITY = 100  # of a note of unknown level


def played(patch: Patch, key: int, velocity: int, held_seconds: float, length: int) -> Array:
    """Render a key to mono, [length] at the model's rate; the note starts at sample 0."""
    return in_mono(played_sides(patch, key, velocity, held_seconds, length), patch.model.card.sample_rate)


def in_mono(sides: Array, rate: int) -> Array:
    """Return the sound that has the power of both sides, [2, samples], as a corpus has recordings: [samples]."""
    return mix_to_mono(sides[:1] if np.array_equal(*sides) else sides, rate)


def played_sides(patch: Patch, key: int, velocity: int, held_seconds: float, length: int) -> Array:
    """Render a key, [2, length] at the model's rate; the note starts at sample 0."""
    held_samples = max(1, round(held_seconds * patch.model.card.sample_rate))
    sides = performed_sides(patch, [NoteOn(0, 0, key, velocity), NoteOff(held_samples, 0, key)], length)[:, :length]
    return np.pad(sides, ((0, 0), (0, length - sides.shape[1])))


def performed_sides(patch: Patch, events: list[Event], length: int) -> Array:
    """Render events, [2, length] at most at the model's rate; silence at the end is left out."""
    rate = patch.model.card.sample_rate
    performance = Performance(events=events, length=length, channels=[0], warnings=[])
    with contextlib.closing(Rack({0: patch}, rate)) as rack:
        block_mixes = [mix for _, mix, _ in blocks(rack, performance, 0.0, rate)]
    return np.concatenate([np.zeros((2, 0), np.float32), *block_mixes], axis=1)


class CodedNotes:
    """Resynthesizes notes from their codes: the decoder's best result, given the right codes."""

    def __init__(self, patch: Patch) -> None:
        """Open the encoder, or raise UserError."""
        self._model, self._folder = patch.model, patch.folder
        self._encoder = Encoder(patch.model)

    def transpose(self, sound: Array, pitch: float) -> "TransposedNote":
        """Transpose a note to its key, in the octave of training if there is one, and encode it.

        Its code is the frame's nearest to the median of all frames' codes, as in `timbrel recover --method network`.
        """
        card = self._model.card
        key = encoded_note = int(np.floor(pitch + 0.5))
        if card.chroma is not None:
            encoded_note = PITCH_CLASSES * (card.chroma.octave + 1) + key % PITCH_CLASSES
        speed_ratio = semitones_to_ratio(encoded_note - pitch)
        transposed_sound = soxr.resample(sound, card.sample_rate * speed_ratio, card.sample_rate).astype(np.float32)
        loud_frames = _frames(transposed_sound, card)
        frame_pitches = None if card.partials is None else np.full(len(loud_frames), float(encoded_note))
        frame_codes = self._encoder.encode(loud_frames, frame_pitches).astype(np.float64)
        return TransposedNote(
            transposed_sound,
            encoded_note,
            key,
            frame_codes[medoid(frame_codes * in_deviations(card))],
            speed_ratio,
            len(sound),
        )

    def resynthesize(self, transposed: "TransposedNote", code: Doubles | None = None) -> Array:
        """Encode and decode each frame with the original phases and levels, at the original pitch: [samples].

        All frames are decoded from ``code``, if it is given.
        """
        latency_samples = latency_of(self._model.card)
        stream = FrameStream(self._model, _FixedPitch(transposed.note, code), "original", note=transposed.note)
        sound = stream.process(np.pad(transposed.sound, (0, latency_samples))[np.newaxis])[0, latency_samples:]
        rate = self._model.card.sample_rate
        restored_sound = soxr.resample(sound, rate, rate * transposed.ratio)[: transposed.length].astype(np.float32)
        return np.pad(restored_sound, (0, transposed.length - len(restored_sound)))

    def played(self, transposed: "TransposedNote", length: int) -> Array:
        """Play the note's key at its code with default settings, [length]."""
        latents_table = LatentSettings(values=transposed.code.tolist())
        gesture_settings = GestureSettings(amount=0.0)
        preset = Preset(format=1, model=self._model.path.name, latent=latents_table, gesture=gesture_settings)
        patch = Patch("plain", preset, self._model, self._folder)
        return played(patch, transposed.key, VELOCITY, length / self._model.card.sample_rate, length)


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


class _FixedPitch:
    """Fixes the pitch, and the code if given."""

    def __init__(self, note: int, code: Doubles | None) -> None:
        self._note, self._code = note, code

    def codes(self, codes: Array, sounding: npt.NDArray[np.bool_], times: Times) -> Array:
        return codes if self._code is None else np.tile(self._code, (len(codes), 1)).astype(np.float32)

    def pitches(self, detected_pitches: Doubles, times: Times) -> Doubles:
        return np.full(len(detected_pitches), float(self._note))


def has_encoder(patch: Patch) -> bool:
    return encoder_path(patch.model.path).exists() and patch.model.card.keyed


def _frames(sound: Array, card: Card) -> Array:
    """Return the loud frames of a sound: [frames, frame_length]."""
    padded_sound = np.pad(sound, (0, max(0, card.frame_length - len(sound))))
    frames = np.lib.stride_tricks.sliding_window_view(padded_sound, card.frame_length)[:: card.hop_length]
    frame_levels = frames.std(axis=1)
    loud_frames: Array = frames[frame_levels >= QUIET_FRAME * frame_levels.max()]
    return loud_frames


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


class _MeasuredNote(NamedTuple):
    """A training note; ``gain`` is its level relative to full velocity, ``hz`` the centroid of its held part."""

    note: RecordedNote
    velocity: int
    gain: float
    hz: float
    peak_db: float

    @property
    def key(self) -> int:
        return self.note.single.key


def dynamics(
    patch: Patch,
    corpus: Corpus,
    training_notes: Sequence[SingleNote],
    seed: int,
    progress: Callable[[float], None] = lambda part: None,
) -> Figures | None:
    """Compare soft and loud training notes with a patch's renditions; None without training notes.

    Args:
        patch: as in `comparison.compare_notes`. The velocity_levels of its [play] table, if there are any, are the
            recorded levels of labelled velocities.
        training_notes: the single notes of the training split.

    Returns:
        ``levelled``: whether all recordings are equally loud. ``apart_db``: median level difference of soft and loud
            notes of a key, None if no key has two. ``soft``, ``loud``: mean velocity, and geometric means of spectral
            centroids, ``recorded_hz`` (None without dynamics) and ``played_hz`` at the same keys and velocities.
    """
    if not training_notes:
        return None
    picked_notes = spread(training_notes, NOTES, np.random.default_rng(seed))
    loudest_moment_db = loudest_db(corpus, training_notes)
    velocity_levels = patch.preset.play.velocity_levels
    measured_notes = [_measure_note(corpus, single, loudest_moment_db, velocity_levels) for single in picked_notes]
    note_pairs = _pairs(measured_notes)
    gaps_db = [_level_gap_db(loud, soft) for soft, loud in note_pairs]
    level_gap_db = float(np.median(gaps_db)) if gaps_db else None
    has_dynamics = level_gap_db is not None and level_gap_db >= DYNAMIC_DB
    play_requests: list[tuple[_MeasuredNote, int, float | None, int]]  # velocity, recorded brightness, 1 for loud
    if has_dynamics:
        play_requests = [
            (measured_note, measured_note.velocity, measured_note.hz, is_loud)
            for note_pair in note_pairs
            for is_loud, measured_note in enumerate(note_pair)
        ]
    else:
        spaced_indices = np.linspace(0, len(measured_notes) - 1, min(PAIRS, len(measured_notes))).round()
        play_requests = [
            (measured_notes[int(i)], note_velocity, None, is_loud)
            for i in spaced_indices
            for is_loud, note_velocity in enumerate((SOFT, LOUD))
        ]
    rendition_rows = []
    for request_index, (measured_note, note_velocity, recorded_hz, is_loud) in enumerate(play_requests):
        progress(request_index / len(play_requests))
        note_row = _play_note(patch, corpus.rate, measured_note, note_velocity)
        rendition_rows.append(note_row | {"recorded_hz": recorded_hz, "loud": bool(is_loud)})
    return {
        "dynamics": has_dynamics,
        "levelled": _are_levelled(measured_notes),
        "notes": len(measured_notes),
        "apart_db": level_gap_db,
        "softest": min(measured_note.velocity for measured_note in measured_notes),
        "loudest": max(measured_note.velocity for measured_note in measured_notes),
        "soft": _mean([row for row in rendition_rows if not row["loud"]]),
        "loud": _mean([row for row in rendition_rows if row["loud"]]),
        "each": rendition_rows,
    }


def centroid_hz(sound: Array, rate: int, pitch: float) -> float:
    """Return the spectral centroid of a held note, [samples]: geometric mean over loud frames.

    Power instead of magnitude: room noise, stronger in soft recordings, is faint in each bin, and there are a thousand.
    """
    windowed_frames = centred_frames(sound, FRAME, HOP) * window("hann", FRAME)
    bins_hz = np.linspace(0, rate / 2, FRAME // 2 + 1)
    bin_powers = np.square(np.abs(np.fft.rfft(windowed_frames)), dtype=np.float64) * (
        bins_hz > LOWEST * midi_to_hz(pitch)
    )
    frame_powers = bin_powers.sum(1)
    is_loud = frame_powers > frame_powers.max() * 10 ** (-SOUNDING_DB / 10)
    if not is_loud.any():
        return 0.0
    return _geometric(centroids(bin_powers[is_loud], bins_hz))


def in_words(figures: Figures) -> str:
    """Return a sentence on the dynamics of recordings and renditions."""
    soft_figures, loud_figures = figures["soft"], figures["loud"]
    if figures["dynamics"]:
        level_alone_text = (
            " differ in level alone" if _alike(soft_figures["recorded_hz"], loud_figures["recorded_hz"]) else ""
        )
        return (
            f"recordings from velocity {figures['softest']} to {figures['loudest']}{level_alone_text}; soft notes "
            f"average {soft_figures['recorded_hz']:.0f} Hz, loud ones {loud_figures['recorded_hz']:.0f}; it plays "
            f"{soft_figures['played_hz']:.0f} and {loud_figures['played_hz']:.0f}"
        )
    if figures["levelled"]:
        cause_text = "all recordings were made as loud as each other"
    elif figures["apart_db"] is None:
        cause_text = "no key was recorded twice"
    else:
        cause_text = f"all recordings of a key are about as loud as each other (within {figures['apart_db']:.0f} dB)"
    if _alike(soft_figures["played_hz"], loud_figures["played_hz"]):
        return f"{cause_text}: velocity changes the loudness of notes, not their brightness"
    return (
        f"{cause_text}; yet velocity changes brightness too: notes average "
        f"{soft_figures['played_hz']:.0f} Hz at velocity {SOFT}, {loud_figures['played_hz']:.0f} Hz at {LOUD}"
    )


def _alike(first_hz: float, second_hz: float) -> bool:
    """Return whether two centroids count as equal."""
    return 1 / ALIKE < second_hz / max(first_hz, 1.0) < ALIKE


def _measure_note(
    corpus: Corpus, single: SingleNote, loudest: float, velocity_levels: Sequence[VelocityLevel]
) -> _MeasuredNote:
    recorded_note = note_of(corpus, single)
    note_velocity = velocity(recorded_note, loudest)
    is_labelled = single.clip.velocity is not None  # else the level gave the velocity, by the square
    peak_amplitude = float(np.abs(recorded_note.sound).max(initial=0.0))
    return _MeasuredNote(
        recorded_note,
        note_velocity,
        velocity_gain(note_velocity, velocity_levels if is_labelled else [], curve=1.0),
        centroid_hz(recorded_note.sound[: _held_samples(recorded_note, corpus.rate)], corpus.rate, single.pitch),
        20 * float(np.log10(max(peak_amplitude, 1e-9))),
    )


def _held_samples(note: RecordedNote, rate: int) -> int:
    """Return how many samples of a note's held part are measured."""
    return max(FRAME, round(min(note.held_seconds, LONGEST_SECONDS) * rate))


def _level_gap_db(loud: _MeasuredNote, soft: _MeasuredNote) -> float:
    return gain_to_db(loud.gain / soft.gain)


def _pairs(measured_notes: Sequence[_MeasuredNote]) -> list[tuple[_MeasuredNote, _MeasuredNote]]:
    """Return pairs of a soft and a loud note, of nearby keys, spaced over the keys."""
    candidate_pairs = [
        (soft, loud)
        for soft in measured_notes
        for loud in measured_notes
        if soft is not loud and soft.velocity <= loud.velocity and abs(soft.key - loud.key) <= NEAR_KEYS
    ]
    candidate_pairs.sort(key=lambda pair: KEY_DB * abs(pair[0].key - pair[1].key) - _level_gap_db(pair[1], pair[0]))
    spaced_pairs: list[tuple[_MeasuredNote, _MeasuredNote]] = []
    for pair in candidate_pairs:
        middle_key = sum(measured_note.key for measured_note in pair) / 2
        if len(spaced_pairs) < PAIRS and all(
            abs(sum(measured_note.key for measured_note in accepted_pair) / 2 - middle_key) > NEAR_KEYS
            for accepted_pair in spaced_pairs
        ):
            spaced_pairs.append(pair)
    return spaced_pairs


def _are_levelled(measured_notes: Sequence[_MeasuredNote]) -> bool:
    """Return whether all notes have the same loudness or the same peak."""
    levels_and_peaks_db = np.array([(measured.note.level_db, measured.peak_db) for measured in measured_notes])
    return len(measured_notes) > 1 and bool(levels_and_peaks_db.std(0).min() < LEVELLED_DB)


def _play_note(patch: Patch, rate: int, measured: _MeasuredNote, note_velocity: int) -> Figures:
    """Play a measured note's key, and measure its brightness."""
    held_samples = _held_samples(measured.note, rate)
    sound = played(patch, measured.key, note_velocity, held_samples / rate, held_samples)
    return {
        "recording": measured.note.single.clip.name,
        "key": measured.key,
        "velocity": note_velocity,
        "played_hz": centroid_hz(sound, rate, measured.key),
    }


def _mean(rows: Sequence[Figures]) -> Figures:
    """Return mean velocity and brightness of soft or loud notes."""
    recorded_hz = [row["recorded_hz"] for row in rows]
    return {
        "velocity": float(np.mean([row["velocity"] for row in rows])),
        "recorded_hz": None if None in recorded_hz else _geometric(recorded_hz),
        "played_hz": _geometric([row["played_hz"] for row in rows]),
    }


def _geometric(values: Sequence[float] | npt.NDArray[np.float64]) -> float:
    """Return the geometric mean of values, at least 1 each."""
    return float(np.exp(np.log(np.maximum(values, 1.0)).mean()))
