"""Renders a recorded note with a model: by its key, from all frames' codes, and from one code."""

import contextlib
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import soxr

from ...host.arrays import Array, Doubles, Times
from ...host.contract.card import PITCH_CLASSES, Card, in_deviations
from ...host.contract.encoder import Encoder, encoder_path
from ...host.events import Event, NoteOff, NoteOn
from ...host.kinds.spectrum.kind import GestureSettings
from ...host.medoid import medoid
from ...host.midi.performance import Performance
from ...host.patch.library import Patch
from ...host.patch.preset import LatentSettings, Preset
from ...host.play.rack import Rack
from ...host.render import blocks
from ...host.resynthesis.code_track import QUIET
from ...host.resynthesis.frame_stream import FrameStream, latency_of
from ...host.units import semitones_to_ratio

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
    loud: Array = frames[levels >= QUIET * levels.max()]
    return loud
