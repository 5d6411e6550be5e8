"""Gives each note that begins its gesture, and voices the codes that theirs ask for."""

from collections.abc import Iterator, Mapping, Sequence

import numpy as np
import numpy.typing as npt

from ...contract.gesture import Gestures
from ...contract.model import Model
from ...controls import Ramp
from ...engines.protocol import MIDDLE_C, Beginnings, Motion
from ...kinds.spectrum.kind import CONTROLS, GestureSettings
from ..motions.motion import MotionWrapper
from .blend import Ways, scale_of
from .code_distance import decibels
from .trajectory import PHASES, Common, Gesture, TrajectoryPace, phase_samples

Array = npt.NDArray[np.float32]
Doubles = npt.NDArray[np.float64]
Times = npt.NDArray[np.int64]
Note = tuple[int, int]

VELOCITY = 100  # of a note whose velocity was not told: of none that keys play, but of those that may be played soon
EXPECTED = sorted(range(28, 92), key=lambda key: abs(key - MIDDLE_C))  # keys that may be played soon: five octaves
BEGINS = 1.25  # hops from a note's beginning, in which the first block that it is heard in reads its codes


class Gesturing:
    """The gestures of one preset's notes. It knows no voices, so that these may keep a way to it."""

    def __init__(
        self,
        model: Model,
        gestures: Gestures,
        settings: GestureSettings,
        rest: Sequence[float],
        lead: int,
        own: tuple[bool, bool],
    ) -> None:
        """Begin.

        Args:
            gestures: of the model's file.
            settings: the preset's [gesture].
            rest: where the preset's knobs rest, one number a latent: it chooses the instrument if [gesture] does not.
            lead: by how many samples codes are read before they are heard.
            own: whether notes have their own attacks, and their own releases, in place of the preset's.
        """
        card = model.card
        self._rate, self._hop, self._lead, self._own = card.sample_rate, card.hop_length, lead, own
        self._ways = Ways(gestures, np.array(rest, np.float64), scale_of(card), settings.instrument)
        self._common = Common.of(gestures, decibels(model, self._ways.codes))
        rests = {target: getattr(settings, target.removeprefix("gesture.")) for target in CONTROLS}
        self.targets: Mapping[str, Ramp] = {target: Ramp(value, 1) for target, value in rests.items()}
        self._velocities: dict[Note, int] = {}
        self._begun = 0

    def strike(self, note: Note, velocity: int) -> None:
        """Know the velocity of a key that goes down, 1 to 127; a note of it may begin later too."""
        self._velocities[note] = velocity

    def begin(self, time: int, note: Note, pitch: float, added: Mapping[str, float]) -> Gesture | None:
        """Return the gesture of a note of a pitch, 69.0 for 440 Hz, that begins; None where it is to have none.

        ``added`` is what the note itself adds to targets, by name.
        """
        self._begun += 1
        pace = self._pace(*(self._value(name, time, added) for name in CONTROLS))
        if pace.codes == pace.loudness == pace.intonation == 0:
            return None
        mix = self._ways.mix(pitch, self._velocities.get(note, VELOCITY))
        return Gesture(time, mix, self._common, pace, self._begun)

    def _pace(self, amount: float, codes: float, loudness: float, speed: float, intonation: float) -> TrajectoryPace:
        """Return the pace of a note for which targets stand so, in the order of `CONTROLS`."""
        return TrajectoryPace(
            amount * codes, amount * loudness, speed, intonation, self._rate, self._hop, self._lead, *self._own
        )

    def heading(self) -> tuple[float, ...]:
        """Return where its targets are heading, of which the codes of notes to come depend."""
        return tuple(ramp.target for ramp in self.targets.values())

    def first_codes(self) -> Iterator[tuple[float, Doubles]]:
        """Return what notes to come add to the knobs' code as they begin, [rows, n_latents], each with its pitch.

        They are those of a note of `VELOCITY`, at every phase, as targets are heading.
        """
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
            yield float(key), np.array(list(found.values()))

    @property
    def moves(self) -> bool:
        """Return whether notes that begin now will have codes of their own."""
        return all(self.targets[f"gesture.{name}"].target > 0 for name in ("amount", "codes"))

    def _value(self, target: str, time: int, added: Mapping[str, float]) -> float:
        value = self.targets[target].value(time)
        return CONTROLS[target].within(value + added[target]) if target in added else value

    def forget(self, time: int) -> None:
        """Drop what only matters before ``time``."""
        for ramp in self.targets.values():
            ramp.forget(time)


class GestureMotion(MotionWrapper):
    """The common motion, with the codes that each voice's gesture adds."""

    def __init__(
        self,
        common: Motion,
        gestures: Sequence[Gesture | None],
        spans: Sequence[tuple[float, float]],
        gesturing: Gesturing,
    ) -> None:
        """Join them.

        Args:
            gestures: by voice.
            spans: low and high of each latent: gestures do not leave them.
            gesturing: that gives notes to come theirs.
        """
        super().__init__(common)
        self.own_codes = True
        self._gestures, self._gesturing = gestures, gesturing
        self._low, self._high = np.array(spans, np.float64).T

    def latents(self, voices: Sequence[int], times: Times, own_times: Times | None = None) -> Array:
        """Return codes, [rows, n_latents]; a knob that stands outside its span is not brought back."""
        codes = self._common.latents(voices, times, own_times)
        added = np.zeros(codes.shape)
        read = times if own_times is None else own_times
        last: tuple[int, int] | None = None
        for row, asked in enumerate(zip(voices, read.tolist(), strict=True)):
            if asked == last:  # as most frames of a note that begins
                added[row] = added[row - 1]
            elif (gesture := self._gestures[asked[0]]) is not None:
                added[row] = gesture.code(asked[1])
            last = asked
        return self._within(codes, added)

    def bend_semitones(self, voices: Sequence[int], times: Times) -> Doubles:
        """See `Motion.bend_semitones`: with what each note is off its key as recorded."""
        off = [0.0 if (gesture := self._gestures[voice]) is None else gesture.semitones for voice in voices]
        bends: Doubles = self._common.bend_semitones(voices, times) + np.array(off)
        return bends

    def beginnings(self, time: int) -> Beginnings | None:
        """See `Motion.beginnings`: of keys in the middle, if nothing but their gestures moves notes."""
        if self._common.own_codes or not self._gesturing.moves:
            return None
        rest = self._common.latents([0], np.array([time], np.int64))
        first = self._gesturing.first_codes()
        codes = ((pitch, self._within(np.repeat(rest, len(added), axis=0), added)) for pitch, added in first)
        return Beginnings((rest.tobytes(), self._gesturing.heading()), codes)

    def _within(self, codes: Array, added: Doubles) -> Array:
        """Return codes of knobs with what is added, [rows, n_latents], as far as their spans allow."""
        highest, lowest = np.maximum(codes, self._high), np.minimum(codes, self._low)
        moved: Array = np.minimum(np.maximum(codes + added, lowest), highest).astype(np.float32)
        return moved
