"""Layers of a sampled instrument: zones of keys, velocities and knob positions."""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from ...host.patch.library import Patch
from ..instrument.range import recorded_keys

MIDDLE_C = 60
LAST_CC = 127
SAME_SEMITONES = 1e-4


class KeyZone(NamedTuple):
    """Keys ``low`` to ``high`` play the sample of ``key``, transposed if ``tracked``; ``name`` is a kit's clip's."""

    key: int
    low: int
    high: int
    tracked: bool = True
    name: str = ""


class VelocityZone(NamedTuple):
    """Velocities ``low`` to ``high`` play the sample of ``high`` at their level."""

    low: int
    high: int


@dataclass(frozen=True)
class KnobLayer:
    """A sample at ``positions``, 0 to 1 of each knob.

    It sounds where controllers are ``at``, and fades towards its neighbours, ``before`` and ``after``.
    """

    positions: tuple[float, ...] = ()
    at: tuple[int, ...] = ()
    before: tuple[int | None, ...] = ()
    after: tuple[int | None, ...] = ()

    @property
    def suffix(self) -> str:
        return "".join(f"-{value:03d}" for value in self.at)


def key_zones(patch: Patch, every: int, alike: bool) -> list[KeyZone]:
    """Return zones of ``every`` semitones; of a kit each key alone, of a sound that keys do not change one.

    They span recorded notes, where known, and half a zone around. Without equal semitones, each key is sampled.
    """
    if patch.preset.keys:
        return [KeyZone(entry.key, entry.key, entry.key, False, entry.label or "") for entry in patch.preset.keys]
    if alike:
        return [KeyZone(MIDDLE_C, 0, 127, tracked=False)]
    low, high = recorded_keys(patch)
    if not _is_equal(patch):
        return [KeyZone(key, key, key, tracked=False) for key in range(low, high + 1) if key in patch.tuning]
    keys = list(range(low, high + 1, every))
    if keys[-1] != high and high - keys[-1] > every // 2:
        keys.append(high)
    middles = [(before + after) // 2 for before, after in itertools.pairwise(keys)]
    lows = [max(0, low - every // 2), *(middle + 1 for middle in middles)]
    return [KeyZone(*zone) for zone in zip(keys, lows, [*middles, min(127, high + every // 2)], strict=True)]


def velocity_zones(count: int) -> list[VelocityZone]:
    """Return zones of about equal width up to 127."""
    tops = [round(127 * number / count) for number in range(1, count + 1)]
    return [VelocityZone(low + 1, high) for low, high in zip([0, *tops[:-1]], tops, strict=True)]


def knob_layers(rests: Sequence[float]) -> list[KnobLayer]:
    """Return layers at the ends and rest of each knob, in all combinations; a rest near an end is that end."""
    layers = [KnobLayer()]
    for rest in rests:
        stops = {0: 0.0, LAST_CC: 1.0, controller_value(rest): rest}
        values = sorted(stops)
        layers = [
            KnobLayer(
                (*layer.positions, stops[value]),
                (*layer.at, value),
                (*layer.before, values[place - 1] if place else None),
                (*layer.after, values[place + 1] if place + 1 < len(values) else None),
            )
            for layer in layers
            for place, value in enumerate(values)
        ]
    return layers


def controller_value(position: float) -> int:
    return round(LAST_CC * position)


def _is_equal(patch: Patch) -> bool:
    """Return whether all keys are semitones apart, as samplers transpose them."""
    offsets = [pitch - key for key, pitch in patch.tuning.items()]
    return max(offsets) - min(offsets) < SAME_SEMITONES
