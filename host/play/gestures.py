"""What each note adds to its preset: offsets from velocity and key, and gestures of recorded notes."""

from collections.abc import Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import NamedTuple

import numpy as np

from ..arrays import Doubles
from ..kinds.card_fields import PITCH_CLASSES
from ..kinds.spectrum import CONTROLS, VIBRATO, GestureSettings
from ..model.card import Card, in_deviations
from ..model.gesture import Gestures
from ..model.model import Model
from ..preset.controls import NoteSettings
from ..ramps import Ramp
from ..units import MIDDLE_C
from .blended_trajectory import BlendedTrajectory, TrajectoryBlender
from .trajectory import PHASES, Gesture, GestureGrid, TrajectoryPace, phase_samples

AROUND = 8  # most codes to evaluate; the result is their mean
PART = 1 / 40  # step to either side, of a latent's span: a tenth of a standard deviation of training
QUIETEST = 1e-3  # of a spectrum's strongest bin, which masks softer ones
TINY = 1e-12


def decibels(model: Model, codes: Doubles) -> Doubles:
    """Matrix from code differences to distances in dB, [n_latents, n_latents]; takes ten milliseconds.

    Root mean square over audible bins, to first order, around ``codes``, [codes, n_latents].
    """
    n, partials = codes.shape[1], model.card.partials
    keys = np.arange(PITCH_CLASSES) * 5 % PITCH_CLASSES
    if partials is not None:
        keys = np.linspace(partials.low, partials.high, AROUND).round().astype(np.intp)
    steps = PART * np.diag([latent.high - latent.low for latent in model.card.latents])
    squares = np.zeros((n, n))
    sample_codes = codes[:: -(-len(codes) // AROUND)]
    for number, code in enumerate(sample_codes):
        rows = np.concatenate([[code], code + steps, code - steps]).astype(np.float32)
        frames = model.decode(rows, np.full(len(rows), keys[number % len(keys)]))
        is_audible = frames[0] > QUIETEST * frames[0].max()
        levels = 20 * np.log10(np.maximum(frames[1:, is_audible], TINY))
        change = (levels[:n] - levels[n:]) / (2 * np.diag(steps))[:, np.newaxis]
        squares += change @ change.T / max(np.count_nonzero(is_audible), 1)
    values, axes = np.linalg.eigh(squares / len(sample_codes))
    matrix: Doubles = axes * np.sqrt(np.maximum(values, 0.0))
    return matrix


Note = tuple[int, float]  # channel and key: with MPE, one key may be down on two channels

LATENT = "latent."


class NoteOffsets(NamedTuple):
    """A note's offsets: to its ``code``, [n_latents], and to other targets."""

    code: Doubles | None = None
    by_target: Mapping[str, float] = MappingProxyType({})


NO_OFFSETS = NoteOffsets()


class NoteValues:
    """A preset's note offsets. Holds no voices, to avoid reference cycles."""

    def __init__(self, settings: Sequence[NoteSettings], card: Card, velocities: Mapping[Note, int]) -> None:
        """``settings`` must fit the card's model; ``velocities``: of struck keys, 1 to 127."""
        self._settings, self._latents, self._velocities = settings, len(card.latents), velocities
        self.moves_codes = any(entry.target.startswith(LATENT) for entry in settings)

    def offsets(self, note: Note) -> NoteOffsets:
        code, target_offsets = np.zeros(self._latents), dict[str, float]()
        for entry in self._settings:
            added = entry.added(self._velocities[note], note[1])
            if entry.target.startswith(LATENT):
                code[int(entry.target.removeprefix(LATENT))] += added
            else:
                target_offsets[entry.target] = target_offsets.get(entry.target, 0.0) + added
        return NoteOffsets(code if self.moves_codes else None, target_offsets)


VELOCITY = 100  # of likely future notes, whose velocity is unknown
EXPECTED = sorted(range(28, 92), key=lambda key: abs(key - MIDDLE_C))  # keys of likely future notes: five octaves
BEGINS = 1.25  # hops after a note-on whose codes its first block reads


class GestureBlend(NamedTuple):
    blender: TrajectoryBlender
    common: GestureGrid

    @classmethod
    def of(cls, model: Model, gestures: Gestures, settings: GestureSettings, rest: Sequence[float]) -> "GestureBlend":
        """``rest``: knob values, [n_latents]; they select the instrument if ``settings`` does not."""
        blender = TrajectoryBlender(
            gestures, np.array(rest, np.float64), in_deviations(model.card), settings.instrument
        )
        return cls(blender, GestureGrid.of(gestures, decibels(model, blender.codes), blender.takes))


class GesturePlayer:
    """Holds no voices, to avoid reference cycles."""

    def __init__(
        self,
        card: Card,
        blend: GestureBlend,
        settings: GestureSettings,
        lead: int,
        replaces_envelope: tuple[bool, bool],
        velocities: Mapping[Note, int],
    ) -> None:
        """``lead`` as in `TrajectoryPace`, ``velocities`` as in `NoteValues`.

        ``replaces_envelope``: whether trajectories replace the preset's attack, and its release.
        """
        self._rate, self._hop, self._lead, self._replaces_envelope = (
            card.sample_rate,
            card.hop_length,
            lead,
            replaces_envelope,
        )
        self._blender, self._common = blend
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
        velocity = self._velocities.get(note, VELOCITY)
        mix, release_length = self._blender.mix(pitch, velocity), self._blender.release_length(velocity)
        return Gesture(time, mix, self._common, pace, self._begun, added.get(VIBRATO, 0.0), release_length)

    def likely_blends(self) -> list[tuple[BlendedTrajectory, GestureGrid]]:
        """Return the blends of likely notes, and compute the movements that they play."""
        blends = [self._blender.mix(float(key), VELOCITY) for key in EXPECTED]
        for blend in blends:
            for movement in blend.movements:
                if len(movement.bands):
                    _ = movement.fast
        return [(blend, self._common) for blend in blends]

    def vibrato(self, time: int, added: float) -> float:
        """Return the depth of the vibrato at a sample, of that of the recordings."""
        return self._value(VIBRATO, time, added)

    def _pace(
        self, amount: float, codes: float, loudness: float, speed: float, intonation: float, variety: float
    ) -> TrajectoryPace:
        return TrajectoryPace(
            amount * codes,
            amount * loudness,
            speed,
            intonation,
            variety,
            self._rate,
            self._hop,
            self._lead,
            *self._replaces_envelope,
        )

    def heading(self) -> tuple[float, ...]:
        return tuple(ramp.target for target, ramp in self.targets.items() if target != VIBRATO)

    def first_codes(self) -> Iterator[tuple[float, Doubles]]:
        """Yield pitches and initial offsets of likely notes, [rows, n_latents], at `VELOCITY` and every phase."""
        pace, phase = self._pace(*self.heading()), phase_samples(self._hop)
        begin = -(-2 * self._lead // self._hop) * self._hop
        for key in EXPECTED:
            codes: dict[bytes, Doubles] = {}
            mix = self._blender.mix(key, VELOCITY)
            for onset in range(begin, begin + PHASES * phase, phase):
                gesture = Gesture(onset, mix, self._common, pace, 0)
                last = onset - self._lead + round(BEGINS * self._hop)
                for time in range((onset - self._lead) // self._hop * self._hop, last + 1, self._hop):
                    code = gesture.code(time)
                    codes[code.tobytes()] = code
            decoded = key if mix.decoded_key is None else mix.decoded_key
            yield float(decoded), np.array(list(codes.values()))

    @property
    def moves(self) -> bool:
        """Return whether new notes have own codes."""
        return all(self.targets[f"gesture.{name}"].target > 0 for name in ("amount", "codes"))

    def _value(self, target: str, time: int, added: float) -> float:
        value = self.targets[target].value(time)
        return CONTROLS[target].clamp(value + added) if added else value
