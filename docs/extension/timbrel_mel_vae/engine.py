"""The engine of the kind mel: harmonics of the note, as loud as the decoded bands are."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from timbrel.host.arrays import Array
from timbrel.host.engines.engine import Engine, EngineRequest, MixedSound, Motion
from timbrel.host.model.model import Model
from timbrel.host.ramps import RAMP_SECONDS, Ramp
from timbrel.host.spectra import mel_edges_hz
from timbrel.host.units import midi_to_hz

from .kind import MelSettings

HARMONICS = np.arange(1, 65)


@dataclass(slots=True, kw_only=True)
class MelSound(MixedSound):
    """``made``: the first sample without a frame; ``amplitudes`` and ``step``, radians a sample, hold there."""

    made: int
    phase: float = 0.0
    step: float = 0.0
    amplitudes: Array | None = None


class MelEngine(Engine[MelSound]):
    """Adds a frame's harmonics hop by hop from a note-on, so that blocks of any size have the same samples."""

    def __init__(self, model: Model, settings: MelSettings) -> None:
        card, self._model = model.card, model
        self._rate, self._hop = card.sample_rate, card.hop_length
        self._centres_hz = mel_edges_hz(card.sample_rate, card.frame_width)[1:-1]
        self.targets = {"mel.tilt_db": Ramp(settings.tilt_db, round(RAMP_SECONDS * card.sample_rate))}

    def start_stream(self, pitch: float, time: int, key: int, velocity: int = 127) -> MelSound:
        return MelSound(key=pitch, on=time, origin=time, pending=np.zeros((1, 0), np.float32), made=time)

    def render(self, streams: Sequence[MelSound], motion: Motion, start: int, count: int) -> list[Array]:
        while rows := [row for row, stream in enumerate(streams) if stream.made < start + count]:
            times = np.array([streams[row].made for row in rows])
            frames = self._model.decode(motion.latents(rows, times), np.zeros(len(rows), np.intp))
            for row, frame, bend in zip(rows, frames, motion.bend_semitones(rows, times), strict=True):
                self._add(streams[row], frame, float(bend), start)
        return [stream.block(start, count) for stream in streams]

    def _add(self, stream: MelSound, frame: Array, bend: float, now: int) -> None:
        """Add a hop: amplitudes and pitch go from the last frame's to this one's."""
        hertz = midi_to_hz(stream.pitch_at(stream.made) + bend)
        levels = np.interp(HARMONICS * hertz, self._centres_hz, frame)
        levels += self.targets["mel.tilt_db"].value(stream.made) * np.log2(HARMONICS)
        amplitudes = np.where(HARMONICS * hertz < self._rate / 2, 10 ** (levels / 20), 0.0)
        step, share = 2 * np.pi * hertz / self._rate, (np.arange(self._hop) + 1) / self._hop
        before = amplitudes if stream.amplitudes is None else stream.amplitudes
        steps = step + ((stream.step or step) - step) * (1 - share)
        phases = stream.phase + np.cumsum(steps)
        heights = before[:, None] + (amplitudes - before)[:, None] * share
        sound = (heights * np.sin(HARMONICS[:, None] * phases)).sum(0)
        stream.phase, stream.step, stream.amplitudes = phases[-1] % (2 * np.pi), step, amplitudes
        stream.make_room(now, stream.made + self._hop)
        offset = stream.made - stream.origin
        stream.pending[0, offset : offset + self._hop] = sound
        stream.made += self._hop


def make_engine(model: Model, request: EngineRequest) -> MelEngine:
    return MelEngine(model, request.kind_settings or MelSettings())
