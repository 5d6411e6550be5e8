"""Renders a preset into a folder of samples, with an SFZ and a DecentSampler instrument."""

import itertools
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from ...host.audio.sound_files import sound_writer
from ...host.errors import UserError, nearest
from ...host.files import check_new_folder, replacing_folder
from ...host.kinds.table import kind_of
from ...host.patch.library import Patch
from ...host.play.instrument import ChannelInstrument
from ...host.session.preset_view import ControlView
from ...host.session.preset_view_builder import controls
from .layers import MIDDLE_C, KeyZone, KnobLayer, VelocityZone, key_zones, knob_layers, velocity_zones
from .strikes import HELD_SECONDS, RATE, TEXTURE_SECONDS, release_seconds, strikes, takes_of
from .texts import Layout, Region, dspreset, sfz

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
        UserError: the model cannot be sampled, an unknown knob, or the folder exists.
        Failure: a file cannot be written.
    """
    if reason := kind_of(patch.model.card).not_sampled:
        raise UserError(f"{patch.name} cannot be sampled: {reason}")
    check_new_folder(output)
    turned = _turned(patch, knobs)
    zones = key_zones(patch, every, _keys_alike(patch))
    speeds, layers = velocity_zones(velocities), knob_layers([_position(control) for control, _ in turned])
    name, regions = output.resolve().name, list[Region]()
    with replacing_folder(output) as folder:
        (folder / "samples").mkdir()
        asked = list(itertools.product(layers, zones, speeds))
        for done, (layer, zone, speed) in enumerate(asked):
            regions += _sampled(patch, folder / "samples", zone, speed, takes, layer, [one for one, _ in turned])
            if progress is not None:
                progress((done + 1) / len(asked))
        layout = Layout(
            name,
            _about(patch),
            regions,
            takes,
            release_seconds(patch, zones[len(zones) // 2].key, 127),
            bool(patch.preset.keys),
            2 * patch.preset.play.velocity_curve,
            patch.preset.play.bend_range_semitones,
            [(control.title, cc, _position(control)) for control, cc in turned],
            sum(file.stat().st_size for file in (folder / "samples").iterdir()) < LARGEST_IN_MEMORY,
        )
        (folder / f"{name}.sfz").write_text(sfz(layout), encoding="utf-8")
        (folder / f"{name}.dspreset").write_text(dspreset(layout), encoding="utf-8")
        size = sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())
    looped = sum(region.loop is not None for region in regions)
    spread = f"{len(zones)} keys, {len(speeds)} velocities, {takes} takes"
    spread += "".join(f", {control.title} on CC {cc}" for control, cc in turned)
    return f"{output / name}.sfz and .dspreset: {len(regions)} samples ({spread}), {looped} looped, {size / 1e6:.0f} MB"


def _sampled(
    patch: Patch,
    folder: Path,
    zone: KeyZone,
    speed: VelocityZone,
    takes: int,
    layer: KnobLayer,
    turned: Sequence[ControlView],
) -> list[Region]:
    knobs = [
        (control.target, control.low + at * (control.high - control.low))
        for control, at in zip(turned, layer.positions, strict=True)
    ]
    regions, held = [], HELD_SECONDS if zone.tracked else TEXTURE_SECONDS
    for take, found in enumerate(takes_of(patch, zone.key, speed.high, takes, held, knobs), 1):
        file = f"{zone.key:03d}-v{speed.high:03d}-{take}{layer.suffix}.flac"
        with sound_writer(folder / file, RATE, len(found.sound)) as writer:
            writer.write(found.sound)
        regions.append(Region(file, len(found.sound), zone, speed, take, layer, found.loop))
    return regions


def _turned(patch: Patch, names: Sequence[str]) -> list[tuple[ControlView, int]]:
    """Return the knobs and their controllers."""
    if len(names) > MOST_KNOBS:
        raise UserError(f"--knobs {','.join(names)}: layers of {len(names)} knobs are too many; give one or two")
    known = list(controls(patch.preset, patch.model, ChannelInstrument(patch, RATE).knobs))
    found: list[tuple[ControlView, int]] = []
    for name in names:
        control = next((one for one in known if name in (one.title, one.target)), None)
        if control is None:
            raise UserError(f"no knob is named {name!r}{nearest(name, [one.title for one in known])}")
        mapped = [entry.number for entry in patch.preset.cc if entry.target == control.target and entry.number]
        free = [cc for cc in FREE_CCS if cc not in [taken for _, taken in found]]
        found.append((control, mapped[0] if mapped else free[0]))
    return found


def _position(control: ControlView) -> float:
    return (control.rest - control.low) / (control.high - control.low)


def _keys_alike(patch: Patch) -> bool:
    first, second = (strikes(patch, key, 127, 1, ALIKE_SECONDS)[0] for key in (MIDDLE_C, MIDDLE_C + 1))
    return bool(np.array_equal(first, second))


def _about(patch: Patch) -> list[str]:
    card = patch.model.card
    lines = [f"{patch.name}, sampled by timbrel", patch.preset.description or card.description]
    lines += [f"licence of the model: {card.license}"] if card.license else []
    return [line for line in [*lines, card.credits] if line]
