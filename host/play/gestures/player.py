"""Gives each note that begins its gesture, and voices the codes that theirs ask for."""

from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt

from ...contract.gesture import Gestures
from ...contract.model import Model
from ...controls import Ramp
from ...engines.protocol import Motion
from ...kinds.spectrum import CONTROLS, GestureSettings
from ..motions.motion import Beside
from .blend import Ways, scale_of
from .heard import decibels
from .way import Common, Gesture, Pace

Array = npt.NDArray[np.float32]
Times = npt.NDArray[np.int64]
Note = tuple[int, int]

VELOCITY = 100  # of a note whose velocity was not told: of none that keys play


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
        amount, codes, loudness, speed = (self._value(name, time, added) for name in CONTROLS)
        if amount * codes == 0 and amount * loudness == 0:
            return None
        mix = self._ways.mix(pitch, self._velocities.get(note, VELOCITY))
        pace = Pace(amount * codes, amount * loudness, speed, self._rate, self._hop, self._lead, *self._own)
        return Gesture(time, mix, self._common, pace, self._begun)

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


class GestureMotion(Beside):
    """The common motion, with the codes that each voice's gesture adds."""

    def __init__(
        self, common: Motion, gestures: Sequence[Gesture | None], spans: Sequence[tuple[float, float]]
    ) -> None:
        """``gestures`` are by voice; ``spans`` are low and high of each latent: gestures do not leave them."""
        super().__init__(common)
        self.own_codes = True
        self._gestures = gestures
        self._low, self._high = np.array(spans, np.float64).T

    def latents(self, voices: Sequence[int], times: Times, own_times: Times | None = None) -> Array:
        """Return codes, [rows, n_latents]; a knob that stands outside its span is not brought back."""
        codes = self._common.latents(voices, times, own_times)
        added = np.zeros(codes.shape)
        read = times if own_times is None else own_times
        for row, (voice, time) in enumerate(zip(voices, read.tolist(), strict=True)):
            if (gesture := self._gestures[voice]) is not None:
                added[row] = gesture.code(time)
        moved: Array = np.clip(codes + added, np.minimum(codes, self._low), np.maximum(codes, self._high)).astype(
            np.float32
        )
        return moved
