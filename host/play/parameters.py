"""Parameters of a preset over time: knob targets, volume, pan, expression and envelope settings."""

from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt

from ..arrays import Array, Times
from ..engines.protocol import Beginnings, Residual
from ..patch.preset import PLAY_CONTROLS
from ..ramps import RAMP_SECONDS, Ramp
from ..units import db_to_gain
from .envelope import SHORTEST_SECONDS, Envelope
from .motions.motion import Latents
from .preset_controls import Move, ParameterSet

DEFAULT_VOLUME = 100  # CC 7 before a first message (MIDI 1.0, General MIDI level 1)


class CommonMotion:
    """A `Motion` common to all notes."""

    own_codes = False

    def __init__(self, codes: Latents, gains: tuple[float, float], sample_rate: int) -> None:
        ramp = round(RAMP_SECONDS * sample_rate)
        self.codes = codes
        self.bend = Ramp(0.0, ramp)
        self.left, self.right = (Ramp(gain, ramp) for gain in gains)

    def latents(self, voices: Sequence[int], times: Times, own_times: Times | None = None) -> Array:
        return self.codes.at(times)

    def beginnings(self, time: int) -> Beginnings | None:
        """Notes share one code."""
        return None

    def bend_semitones(self, voices: Sequence[int], times: Times) -> npt.NDArray[np.float64]:
        return self.bend.at(times)

    def residual(self, voices: Sequence[int], times: Times, ahead: int) -> Residual | None:
        return None

    def decoded_keys(self, voices: Sequence[int]) -> Sequence[int | None]:
        return [None] * len(voices)

    def bend_of(self, voice: int, start: int, count: int) -> np.float32 | Array:
        return self.bend.block(start, count)

    def morph(self, time: int) -> float:
        return self.codes.morph(time)

    def beat(self, time: int) -> float:
        return self.codes.beat(time)

    def beat_samples(self, time: int) -> float:
        return self.codes.beat_samples(time)

    def forget(self, time: int) -> None:
        self.codes.forget(time)
        for ramp in (self.bend, self.left, self.right):
            ramp.forget(time)


class Parameters(ParameterSet):
    def __init__(
        self,
        rests: Mapping[str, float],
        codes: Latents,
        engine: Mapping[str, Ramp],
        move_effect: Move,
        sample_rate: int,
        sharpest_seconds: float | None = None,
    ) -> None:
        """``rests``: initial values of all targets of [play], [envelope] and effects.

        ``sharpest_seconds``: shortest attack; None: `SHORTEST_SECONDS`.
        """
        super().__init__(codes, engine, rests, move_effect)
        self._rate = sample_rate
        self._sharpest = SHORTEST_SECONDS if sharpest_seconds is None else sharpest_seconds
        self._volume, self._expression, self._balance = DEFAULT_VOLUME, 127, 0.0
        self.motion = CommonMotion(codes, self._gains(), sample_rate)

    def turn(self, time: int, target: str, value: float) -> None:
        super().turn(time, target, value)
        if target in ("gain", "pan"):
            self._set_gain(time)

    def volume(self, time: int, value: int) -> None:
        """CC 7, 0-127."""
        self._volume = value
        self._set_gain(time)

    def pan(self, time: int, value: int) -> None:
        """CC 10, 0-127; adds to the preset's pan."""
        self._balance = max(-1.0, (value - 64) / 63)
        self._set_gain(time)

    def expression(self, time: int, value: int) -> None:
        """CC 11, 0-127."""
        self._expression = value
        self._set_gain(time)

    def shape(self, time: int, added: Mapping[str, float]) -> Envelope:
        """Envelope of a new note; ``added``: its offsets by target."""

        def samples(name: str, shortest: float = SHORTEST_SECONDS) -> int:
            return round(max(shortest, self._with(added, name)) * self._rate)

        return Envelope(
            on=time,
            attack=samples("envelope.attack_seconds", self._sharpest),
            decay=samples("envelope.decay_seconds"),
            sustain=self._with(added, "envelope.sustain"),
            release=samples("envelope.release_seconds"),
        )

    def release_samples(self, added: Mapping[str, float]) -> int:
        return round(max(SHORTEST_SECONDS, self._with(added, "envelope.release_seconds")) * self._rate)

    def _with(self, added: Mapping[str, float], name: str) -> float:
        value = self._values[name]
        return PLAY_CONTROLS[name].within(value + added[name]) if name in added else value

    def _set_gain(self, time: int) -> None:
        left, right = self._gains()
        self.motion.left.move(time, left)
        self.motion.right.move(time, right)

    def _gains(self) -> tuple[float, float]:
        """Equal power pan, volume and expression squared (General MIDI: 40 log10)."""
        level_db = self._values["gain"]
        gain = 0.0 if level_db <= PLAY_CONTROLS["gain"].low else db_to_gain(level_db)
        gain *= (self._volume / DEFAULT_VOLUME) ** 2 * (self._expression / 127) ** 2
        angle = (np.clip(self._values["pan"] + self._balance, -1.0, 1.0) + 1.0) * np.pi / 4
        return gain * float(np.cos(angle)), gain * float(np.sin(angle))
