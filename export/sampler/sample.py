"""Renders a preset into samples, an SFZ and a DecentSampler instrument."""

import itertools
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np

from ...host.audio.sound_files import sound_writer
from ...host.errors import UserError, nearest, printable
from ...host.files import building_folder, check_new_folder
from ...host.kinds.table import kind_of
from ...host.patch.library import Patch
from ...host.play.instrument import ChannelInstrument
from ...host.session.preset_view import ControlView
from ...host.session.preset_view_builder import controls
from .layers import MIDDLE_C, KeyZone, KnobLayer, VelocityZone, controller_value, key_zones, knob_layers, velocity_zones
from .sfz_and_dspreset import Layout, Region, dspreset, sfz
from .strikes import (
    HELD_SECONDS,
    RATE,
    REST_SECONDS,
    TEXTURE_SECONDS,
    Sample,
    Strike,
    release_seconds,
    strikes,
    takes_of,
)

MOST_KNOBS = 2
FREE_CCS = (74, 71)  # brightness and timbre (MIDI 1.0), for knobs that the preset maps to none
ALIKE_SECONDS = 0.5
LARGEST_IN_MEMORY = 200_000_000  # bytes of FLAC, some three times as many in memory


def sample(
    patch: Patch,
    output: Path,
    *,
    knobs: Sequence[str] = (),
    every: int = 3,
    velocities: int = 4,
    takes: int = 3,
    progress: Callable[[float], None] | None = None,
) -> str:
    """Write ``samples/`` of 24-bit FLAC files, ``NAME.sfz`` and ``NAME.dspreset`` into a new folder; return a summary.

    Args:
        knobs: up to two, by name or target, as layers on a controller.
        every: semitones between sampled keys.
        velocities: layers of velocity.
        takes: strikes of each, in turn.

    Raises:
        UserError: the model or a knob cannot be sampled, or the folder exists.
        Failure: a file cannot be written.
    """
    if reason := kind_of(patch.model.card).not_sampled:
        raise UserError(f"{patch.name} cannot be sampled: {reason}")
    check_new_folder(output)
    if output.resolve() == Path.cwd():
        raise UserError(f"-o {output} is the folder that you are in; give the name of a new one")
    turned, card = _turned(patch, knobs), patch.model.card
    zones = key_zones(patch, every, _keys_alike(patch))
    speeds, layers = velocity_zones(velocities), knob_layers([_position(control) for control, _ in turned])
    release = release_seconds(patch, zones[len(zones) // 2].key, 127)
    one_for_all = len(zones) == 1 and not (card.keyed or patch.preset.keys)
    held = TEXTURE_SECONDS if one_for_all else HELD_SECONDS
    name, regions = output.resolve().name, list[Region]()
    with building_folder(output) as folder:
        (folder / "samples").mkdir()
        asked = list(itertools.product(layers, zones, speeds))
        for done, (layer, zone, speed) in enumerate(asked):
            values = [
                (control.target, control.low + at * (control.high - control.low))
                for (control, _), at in zip(turned, layer.positions, strict=True)
            ]
            strike = Strike(patch, zone.key, speed.high, values, max(REST_SECONDS, release))
            found = takes_of(strike, takes, held)
            regions += _written(folder / "samples", zone, speed, layer, found, _chokes(patch))
            if progress is not None:
                progress((done + 1) / len(asked))
        play = patch.preset.play
        layout = Layout(
            name,
            _about(patch),
            regions,
            takes,
            release,
            one_shot=bool(patch.preset.keys),
            mono=play.mode == "mono",
            velocity_power=2 * play.velocity_curve,
            bend_semitones=play.bend_range_semitones,
            knobs=[(control.title, cc, controller_value(_position(control))) for control, cc in turned],
            in_memory=sum(file.stat().st_size for file in (folder / "samples").iterdir()) < LARGEST_IN_MEMORY,
        )
        (folder / f"{name}.sfz").write_text(sfz(layout), encoding="utf-8")
        (folder / f"{name}.dspreset").write_text(dspreset(layout), encoding="utf-8")
        size = sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())
    looped = sum(region.loop is not None for region in regions)
    spread = f"{len(zones)} keys, {len(speeds)} velocities, {takes} takes"
    spread += "".join(f", {control.title} on CC {cc}" for control, cc in turned)
    return f"{output / name}.sfz and .dspreset: {len(regions)} samples ({spread}), {looped} looped, {size / 1e6:.0f} MB"


def _written(
    folder: Path,
    zone: KeyZone,
    speed: VelocityZone,
    layer: KnobLayer,
    takes: Sequence[Sample],
    chokes: Mapping[int, int],
) -> list[Region]:
    regions = []
    for take, found in enumerate(takes, 1):
        file = f"{zone.key:03d}-v{speed.high:03d}-{take}{layer.suffix}.flac"
        with sound_writer(folder / file, RATE, len(found.sound)) as writer:
            writer.write(found.sound)
        regions.append(Region(file, len(found.sound), zone, speed, take, layer, found.loop, chokes.get(zone.key)))
    return regions


def _chokes(patch: Patch) -> dict[int, int]:
    kind = kind_of(patch.model.card)
    chokes = kind.keying(patch.preset.of_kind(kind), patch.preset.play).chokes
    names = sorted(set(chokes.values()))
    return {key: 1 + names.index(name) for key, name in chokes.items()}


def _turned(patch: Patch, names: Sequence[str]) -> list[tuple[ControlView, int]]:
    if len(set(names)) < len(names):
        raise UserError(f"--knobs {','.join(names)}: a knob is named twice; name each once")
    if len(names) > MOST_KNOBS:
        raise UserError(f"--knobs {','.join(names)}: layers of {len(names)} knobs are too many; give one or two")
    known = list(controls(patch.preset, patch.model, ChannelInstrument(patch, RATE).knobs))
    found: list[ControlView] = []
    for name in names:
        control = next((one for one in known if name in (one.title, one.target)), None)
        if control is None:
            raise UserError(f"no knob is named {name!r}{nearest(name, [one.title for one in known])}")
        found.append(control)
    if len({control.target for control in found}) < len(found):
        raise UserError(f"--knobs {','.join(names)}: both are {found[0].target}; name another")
    numbers = {
        entry.target: entry.number for entry in reversed(patch.preset.cc) if entry.number
    }  # the first map counts
    ccs = [numbers.get(control.target) for control in found]
    ccs = [None if cc in ccs[:place] else cc for place, cc in enumerate(ccs)]
    free = iter([cc for cc in FREE_CCS if cc not in ccs])
    return [(control, next(free) if cc is None else cc) for control, cc in zip(found, ccs, strict=True)]


def _position(control: ControlView) -> float:
    return (control.rest - control.low) / (control.high - control.low)


def _keys_alike(patch: Patch) -> bool:
    first, second = (strikes(Strike(patch, key, 127), 1, ALIKE_SECONDS)[0] for key in (MIDDLE_C, MIDDLE_C + 1))
    return bool(np.array_equal(first, second))


def _about(patch: Patch) -> list[str]:
    card = patch.model.card
    lines = [f"{patch.name}, sampled by timbrel", patch.preset.description or card.description]
    lines += [f"licence of the model: {card.license}"] if card.license else []
    return [printable(line) for line in [*lines, card.credits] if line]
