"""Modulations of a patch: sources besides knobs, and their ranges."""

from collections.abc import Iterable, Iterator, Sequence
from typing import Literal, NamedTuple

import numpy as np

from ..errors import printable
from ..kinds.spectrum import GestureSettings
from ..model.card import in_deviations
from ..model.gesture import instrument_of
from ..units import Range
from .library import Patch
from .motions import MotionSettings

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
    by_target: dict[str, list[Modulation]] = {}
    for target, name, verb, ends in _target_sources(patch):
        by_target.setdefault(target, []).append(Modulation(printable(name), verb, min(ends), max(ends)))
    return by_target


_TargetSource = tuple[str, str, Verb, Sequence[float]]


def _target_sources(patch: Patch) -> Iterator[_TargetSource]:
    preset, card = patch.preset, patch.model.card
    for motion in preset.motion:
        yield from _motion_sources(motion, card.spans)
    if patch.morph is not None:
        for target, end in zip(card.latent_targets, patch.morph.end, strict=True):
            yield target, "morph", "leads", (end,)
    for macro in preset.macro:
        for macro_target in macro.targets:
            yield (
                macro_target.target,
                macro.name,
                "adds",
                [macro_target.added(place, macro.value) for place in (0.0, 1.0)],
            )
    for note in preset.note:
        yield note.target, note.source, "adds", (note.low, note.high)
    if patch.model.gestures is not None:
        yield from _gesture_sources(patch)
    for source in ("pressure", "slide"):
        target, latents = getattr(preset.mpe, source), card.latent_targets
        if target in latents:
            yield target, f"finger's {source}", "sets", card.spans[latents.index(target)]
    for entry in preset.cc:
        if entry.pressure is not None:
            yield entry.target, entry.source, "sets", entry.ends


def _motion_sources(motion: MotionSettings, spans: Sequence[Range]) -> Iterator[_TargetSource]:
    if motion.target is not None:
        pace = f"{motion.rate_hz:g} Hz" if motion.beats is None else f"of {motion.beats:g} beats"
        yield motion.target, f"{motion.shape} {pace}", "adds", motion.offsets
        return
    latent_ends: Iterable[Sequence[float]] = spans if motion.path is None else zip(*motion.path, strict=True)
    for index, ends in enumerate(latent_ends):
        yield f"latent.{index}", "walk" if motion.path is None else "path", "sets", ends


def _gesture_sources(patch: Patch) -> Iterator[_TargetSource]:
    preset, model = patch.preset, patch.model
    assert model.gestures is not None
    settings, rest_code = preset.gesture or GestureSettings(), np.array(preset.latent_values(model.card))
    instrument = instrument_of(model.gestures, rest_code, in_deviations(model.card), settings.instrument)
    directions = np.array(model.gestures.directions)
    note_codes = [
        np.array(note.code) + path @ directions
        for note in instrument.notes
        for path in (note.codes, note.release_codes)
        if len(path)
    ]
    offsets = (np.concatenate(note_codes) - np.array(instrument.home)) * (settings.amount * settings.codes)
    for target, column in zip(model.card.latent_targets, offsets.T, strict=True):
        if column.any():
            yield target, "gesture", "adds", (float(column.min()), float(column.max()))
