"""Modulations of a patch: sources besides knobs, and their ranges."""

from collections.abc import Iterable, Iterator, Sequence
from typing import Literal, NamedTuple

import numpy as np

from ..errors import printable
from ..kinds.spectrum import GestureSettings
from ..model.card import in_deviations
from ..model.gesture import Gestures, InstrumentNotes, instrument_of
from ..model.model import Model
from ..units import Range
from .library import Patch
from .motions import MotionSettings
from .preset import Preset

Verb = Literal["adds", "sets", "leads"]


class Modulation(NamedTuple):
    """It ``adds`` low to high to the knob's value, ``sets`` a value from low to high, or ``leads`` from the knob to
    them.
    """

    name: str
    way: Verb
    low: float
    high: float


def modulations(patch: Patch) -> dict[str, list[Modulation]]:
    """By target: motions, morph, macros, notes, gestures and pressure."""
    modulations_by_target: dict[str, list[Modulation]] = {}
    for target, name, verb, ends in _target_sources(patch):
        modulations_by_target.setdefault(target, []).append(Modulation(printable(name), verb, min(ends), max(ends)))
    return modulations_by_target


_TargetSource = tuple[str, str, Verb, Sequence[float]]


def _target_sources(patch: Patch) -> Iterator[_TargetSource]:
    """Yield a target, the modulation's name and verb, and the ends of its range."""
    preset, card = patch.preset, patch.model.card
    for motion in preset.motion:
        yield from _motion_sources(motion, card.spans)
    if patch.morph is not None and patch.morph.end is not None:
        for target, end in zip(card.latent_targets, patch.morph.end, strict=True):
            yield target, "morph", "leads", (end,)
    for macro in preset.macro:
        for macro_target in macro.targets:
            yield (
                macro_target.target,
                macro.name,
                "adds",
                [macro_target.added(macro_position, macro.value) for macro_position in (0.0, 1.0)],
            )
    for note in preset.note:
        yield note.target, note.source, "adds", (note.low, note.high)
    if patch.model.gestures is not None:
        yield from _gesture_sources(patch)
    for finger_source in ("pressure", "slide"):
        target, latent_targets = getattr(preset.mpe, finger_source), card.latent_targets
        if target in latent_targets:
            yield target, f"finger's {finger_source}", "sets", card.spans[latent_targets.index(target)]
    for cc_map in preset.cc:
        if cc_map.pressure is not None:
            yield cc_map.target, cc_map.source, "sets", cc_map.ends


def _motion_sources(motion: MotionSettings, spans: Sequence[Range]) -> Iterator[_TargetSource]:
    """As `_target_sources`, of one motion."""
    if motion.target is not None:
        pace_text = f"{motion.rate_hz:g} Hz" if motion.beats is None else f"of {motion.beats:g} beats"
        yield motion.target, f"{motion.shape} {pace_text}", "adds", motion.offsets
        return
    latent_ends: Iterable[Sequence[float]] = spans if motion.path is None else zip(*motion.path, strict=True)
    source_name = "walk" if motion.walk is not None else "path" if motion.learned is None else "learned path"
    for index, ends in enumerate(latent_ends):
        yield f"latent.{index}", source_name, "sets", ends


def _gesture_sources(patch: Patch) -> Iterator[_TargetSource]:
    """Range of each latent's offsets in the recorded notes of the instrument."""
    preset, model = patch.preset, patch.model
    assert model.gestures is not None
    gesture_settings, instrument = preset.gesture or GestureSettings(), played_instrument(preset, model, model.gestures)
    directions = np.array(model.gestures.directions)
    note_codes = [
        np.array(note.code) + code_path @ directions
        for note in instrument.notes
        for code_path in (note.codes, note.release_codes)
        if len(code_path)
    ]
    offsets = (np.concatenate(note_codes) - np.array(instrument.home)) * (
        gesture_settings.amount * gesture_settings.codes
    )
    for target, latent_offsets in zip(model.card.latent_targets, offsets.T, strict=True):
        if latent_offsets.any():
            yield target, "gesture", "adds", (float(latent_offsets.min()), float(latent_offsets.max()))


def played_instrument(preset: Preset, model: Model, gestures: Gestures) -> InstrumentNotes:
    """Return the instrument of a model's gestures that a preset plays."""
    rest_code, label = np.array(preset.latent_values(model.card)), (preset.gesture or GestureSettings()).instrument
    return instrument_of(gestures, rest_code, in_deviations(model.card), label)
