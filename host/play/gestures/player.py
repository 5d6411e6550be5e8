"""Gesture player: creates notes' gestures and adds their codes to the common motion."""

from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

import numpy as np

from ...arrays import Array, Doubles, Times
from ...contract.card import Card, in_deviations
from ...contract.gesture import Gestures
from ...contract.model import Model
from ...engines.protocol import Beginnings, Motion, Residual
from ...kinds.spectrum.kind import CONTROLS, VIBRATO, GestureSettings
from ...ramps import Ramp
from ...units import MIDDLE_C
from ..motions.motion import OffsetMotion
from .blend import TrajectoryBlender
from .code_distance import decibels
from .note_offsets import Note
from .trajectory import PHASES, Gesture, GestureGrid, TrajectoryPace, phase_samples

VELOCITY = 100  # of likely future notes, whose velocity is unknown
EXPECTED = sorted(range(28, 92), key=lambda key: abs(key - MIDDLE_C))  # keys of likely future notes: five octaves
BEGINS = 1.25  # hops after a note-on whose codes its first block reads


class GestureBlend(NamedTuple):
    ways: TrajectoryBlender
    common: GestureGrid

    @classmethod
    def of(cls, model: Model, gestures: Gestures, settings: GestureSettings, rest: Sequence[float]) -> "GestureBlend":
        """``rest``: knob values, [n_latents]; they select the instrument if ``settings`` does not."""
        ways = TrajectoryBlender(gestures, np.array(rest, np.float64), in_deviations(model.card), settings.instrument)
        return cls(ways, GestureGrid.of(gestures, decibels(model, ways.codes), ways.takes))


class GesturePlayer:
    """Holds no voices, to avoid reference cycles."""

    def __init__(
        self,
        card: Card,
        blend: GestureBlend,
        settings: GestureSettings,
        lead: int,
        own: tuple[bool, bool],
        velocities: Mapping[Note, int],
    ) -> None:
        """``lead`` as in `TrajectoryPace`, ``velocities`` as in `NoteValues`.

        ``own``: whether trajectories replace the preset's attack, and its release.
        """
        self._rate, self._hop, self._lead, self._own = card.sample_rate, card.hop_length, lead, own
        self._ways, self._common = blend
        rests = {target: getattr(settings, target.removeprefix("gesture.")) for target in CONTROLS}
        self.targets: Mapping[str, Ramp] = {target: Ramp(value, 1) for target, value in rests.items()}
        self._velocities = velocities
        self._begun = 0

    def start_gesture(self, time: int, note: Note, pitch: float, added: Mapping[str, float]) -> Gesture | None:
        """None without effect; ``pitch`` is 69.0 for 440 Hz."""
        self._begun += 1
        pace = self._pace(*(self._value(name, time, added.get(name, 0.0)) for name in CONTROLS if name != VIBRATO))
        if pace.codes == pace.loudness == pace.intonation == 0:
            return None
        mix = self._ways.mix(pitch, self._velocities.get(note, VELOCITY))
        return Gesture(time, mix, self._common, pace, self._begun, added.get(VIBRATO, 0.0))

    def vibrato(self, time: int, added: float) -> float:
        """Return the depth of the vibrato at a sample, of that of the recordings."""
        return self._value(VIBRATO, time, added)

    def _pace(
        self, amount: float, codes: float, loudness: float, speed: float, intonation: float, variety: float
    ) -> TrajectoryPace:
        return TrajectoryPace(
            amount * codes, amount * loudness, speed, intonation, variety, self._rate, self._hop, self._lead, *self._own
        )

    def heading(self) -> tuple[float, ...]:
        return tuple(ramp.target for target, ramp in self.targets.items() if target != VIBRATO)

    def first_codes(self) -> Iterator[tuple[float, Doubles]]:
        """Yield pitches and initial offsets of likely notes, [rows, n_latents], at `VELOCITY` and every phase."""
        pace, phase = self._pace(*self.heading()), phase_samples(self._hop)
        begin = -(-2 * self._lead // self._hop) * self._hop
        for key in EXPECTED:
            found: dict[bytes, Doubles] = {}
            mix = self._ways.mix(key, VELOCITY)
            for on in range(begin, begin + PHASES * phase, phase):
                gesture = Gesture(on, mix, self._common, pace, 0)
                last = on - self._lead + round(BEGINS * self._hop)
                for time in range((on - self._lead) // self._hop * self._hop, last + 1, self._hop):
                    code = gesture.code(time)
                    found[code.tobytes()] = code
            decoded = key if mix.decoded_key is None else mix.decoded_key
            yield float(decoded), np.array(list(found.values()))

    @property
    def moves(self) -> bool:
        """Return whether new notes have own codes."""
        return all(self.targets[f"gesture.{name}"].target > 0 for name in ("amount", "codes"))

    def _value(self, target: str, time: int, added: float) -> float:
        value = self.targets[target].value(time)
        return CONTROLS[target].within(value + added) if added else value

    def forget(self, time: int) -> None:
        for ramp in self.targets.values():
            ramp.forget(time)


class GestureMotion(OffsetMotion):
    def __init__(
        self,
        common: Motion,
        gestures: Sequence[Gesture | None],
        spans: Sequence[tuple[float, float]],
        gesturing: GesturePlayer,
    ) -> None:
        super().__init__(common, spans)
        self._gestures, self._gesturing = gestures, gesturing

    def latents(self, voices: Sequence[int], times: Times, own_times: Times | None = None) -> Array:
        codes = self._common.latents(voices, times, own_times)
        added = np.zeros(codes.shape)
        read = times if own_times is None else own_times
        last: tuple[int, int] | None = None
        for row, asked in enumerate(zip(voices, read.tolist(), strict=True)):
            if asked == last:  # the usual case at a note-on
                added[row] = added[row - 1]
            elif (gesture := self._gestures[asked[0]]) is not None:
                added[row] = gesture.code(asked[1])
            last = asked
        return self._within(codes, added)

    def bend_semitones(self, voices: Sequence[int], times: Times) -> Doubles:
        off = [0.0 if (gesture := self._gestures[voice]) is None else gesture.semitones for voice in voices]
        bends: Doubles = self._common.bend_semitones(voices, times) + np.array(off)
        return bends

    def residual(self, voices: Sequence[int], times: Times, ahead: int) -> Residual | None:
        bands = next((one.bands for one in self._gestures if one is not None and one.bands), 0)
        if not bands:
            return self._common.residual(voices, times, ahead)
        gains = np.zeros((len(voices), bands), np.float32)
        modes: list[Doubles | None] = [None] * len(voices)
        vibrato = np.zeros(len(voices))
        for row, (voice, time) in enumerate(zip(voices, times.tolist(), strict=True)):
            if (gesture := self._gestures[voice]) is not None and gesture.bands:
                gains[row], modes[row] = gesture.band_gains(time, ahead), gesture.modes
                if off_key := gesture.vibrato(time, ahead):
                    vibrato[row] = off_key * self._gesturing.vibrato(max(time, gesture.begin), gesture.deeper)
        return Residual(gains, modes, vibrato)

    def decoded_keys(self, voices: Sequence[int]) -> Sequence[int | None]:
        return [None if (gesture := self._gestures[voice]) is None else gesture.decoded_key for voice in voices]

    def beginnings(self, time: int) -> Beginnings | None:
        """Initial codes of middle keys if only gestures move notes."""
        if self._common.own_codes or not self._gesturing.moves:
            return None
        rest = self._common.latents([0], np.array([time], np.int64))
        first = self._gesturing.first_codes()
        codes = ((pitch, self._within(np.repeat(rest, len(added), axis=0), added)) for pitch, added in first)
        return Beginnings((rest.tobytes(), self._gesturing.heading()), codes)
