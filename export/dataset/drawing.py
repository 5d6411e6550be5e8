"""Draws the notes of a data set: note i depends on the seed and i alone."""

import functools
import hashlib
import math
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from ...host.arrays import Doubles
from ...host.errors import UserError, nearest
from ...host.noise import uniforms
from ...host.patch.library import Patch
from ...host.play.instrument import ChannelInstrument
from ...host.play.separate_notes import SeparateNote
from ...host.session.preset_view_builder import controls
from ..instrument.range import recorded_keys
from .settings import Choice, DatasetSettings

PRESET, KEY, VELOCITY, HELD, ONSET, LANDMARK, NUMBER, COLUMNS = range(8)  # of a note's random numbers
WIDE = 8192  # columns of a row: more than any model has latents
PHASES = 1 << 15  # numbers of random phases and noise


class KnobRange(NamedTuple):
    target: str
    low: float
    high: float


class DrawnNote(NamedTuple):
    """A note of a data set.

    Attributes:
        preset: its place in the list.
        onset_samples: from the file's start.
        latents: those set before the note, or None.
        landmark: the label of a landmark's code, or None.
        positions: of knobs, 0 to 1, by name.
    """

    number: int
    preset: int
    note: SeparateNote
    onset_samples: int
    latents: Doubles | None
    landmark: str | None
    positions: Mapping[str, float]


class DatasetPreset:
    def __init__(self, patch: Patch, settings: DatasetSettings) -> None:
        """Raise UserError if no key can be played, or a knob is unknown."""
        self.patch = patch
        self.keys = _keys(patch, settings)
        self.knobs = _knobs(patch, list(settings.knobs)) if settings.knobs else {}
        self.landmarks = patch.model.card.landmarks
        if settings.latents != "preset" and patch.preset.keys:
            raise UserError(f"the keys of {patch.name} have codes of their own; leave --latents out, or turn knobs")
        if settings.latents == "landmarks" and not self.landmarks:
            raise UserError(f"the model of {patch.name} has no landmarks; draw latents uniform or from grid:STEPS")
        turned = settings.latents != "preset" or any(knob.target.startswith("latent.") for knob in self.knobs.values())
        if turned and any(motion.target is None for motion in patch.preset.motion):
            raise UserError(f"a path or walk of {patch.name} moves all latents; leave --latents and their knobs out")
        if settings.latents != "preset" and len(patch.model.card.latents) > WIDE:
            raise UserError(f"the model of {patch.name} has more than {WIDE} latents; leave them as the preset's")


def draw(number: int, presets: Sequence[DatasetPreset], settings: DatasetSettings) -> DrawnNote:
    places = uniforms(settings.seed, number, 0, 1, COLUMNS)[0].tolist()
    which = math.floor(places[PRESET] * len(presets))
    preset = presets[which]
    key = preset.keys[math.floor(places[KEY] * len(preset.keys))]
    onset = round(_choice(settings.onset_seconds).draw(places[ONSET]) * settings.sample_rate)
    held = 0.75 * settings.seconds
    if settings.held_seconds is not None:
        held = _choice(settings.held_seconds).draw(places[HELD])
    velocity = round(_choice(settings.velocities, whole=True).draw(places[VELOCITY]))
    latents, landmark = _latents(number, preset, settings, places[LANDMARK])
    knobs = {} if latents is None else {f"latent.{place}": value for place, value in enumerate(latents.tolist())}
    positions = {}
    for name, text in settings.knobs.items():
        place = float(uniforms(settings.seed, number, _column(name), 1, 1)[0, 0])
        knob, position = preset.knobs[name], _choice(text).draw(place)
        positions[name] = position
        knobs[knob.target] = knob.low + position * (knob.high - knob.low)
    note = SeparateNote(key, velocity, held, knobs, 1 + math.floor(places[NUMBER] * PHASES))
    return DrawnNote(number, which, note, onset, latents, landmark, positions)


@functools.lru_cache(maxsize=256)
def _column(name: str) -> int:
    """By name alone: other knobs do not change it."""
    return WIDE**2 + int.from_bytes(hashlib.sha256(name.encode()).digest()[:6], "big")


@functools.lru_cache(maxsize=256)
def _choice(text: str, whole: bool = False) -> Choice:
    return Choice(text, whole)


def _latents(
    number: int, preset: DatasetPreset, settings: DatasetSettings, place: float
) -> tuple[Doubles | None, str | None]:
    low, high = np.array(preset.patch.model.card.spans).T
    if settings.latents == "uniform":
        places = uniforms(settings.seed, number, 1, 1, WIDE)[0, : len(low)]
    elif settings.latents == "landmarks":
        mark = preset.landmarks[math.floor(place * len(preset.landmarks))]
        return np.array(mark.latent, np.float64), mark.label
    elif settings.latents == "preset":
        return None, None
    else:
        steps, rest, digits = int(settings.latents.removeprefix("grid:")), number, []
        for _ in low:
            rest, digit = divmod(rest, steps)
            digits.append(digit / (steps - 1))
        places = np.array(digits)
    return low + places * (high - low), None


def _keys(patch: Patch, settings: DatasetSettings) -> list[int]:
    kit = [entry.key for entry in patch.preset.keys]
    low, high = (-math.inf, math.inf) if kit or settings.keys is not None else recorded_keys(patch)
    keys = kit or [key for key, pitch in sorted(patch.tuning.items()) if low - 0.5 <= pitch <= high + 0.5]
    if settings.keys is not None:
        keys = _choice(settings.keys, whole=True).among(keys)
    if not keys:
        raise UserError(f"{patch.name} has no key among {settings.keys}; give others, or leave --keys out")
    return keys


def _knobs(patch: Patch, names: Sequence[str]) -> dict[str, KnobRange]:
    known: dict[str, list[KnobRange]] = {}
    for control in controls(patch.preset, patch.model, ChannelInstrument(patch, 44100).knobs):
        for name in {control.title, control.target}:
            known.setdefault(name, []).append(KnobRange(control.target, control.low, control.high))
    found = dict[str, KnobRange]()
    for name in names:
        if name not in known:
            raise UserError(f"{patch.name} has no knob named {name!r}{nearest(name, known)}")
        targets = [knob.target for knob in known[name]]
        if len(targets) > 1:
            raise UserError(f"{patch.name} has several knobs named {name!r}; name one of {', '.join(targets)}")
        if twice := next((other for other, knob in found.items() if knob.target == targets[0]), None):
            raise UserError(f"knobs {twice!r} and {name!r} of {patch.name} are one; name it once")
        found[name] = known[name][0]
    return found
