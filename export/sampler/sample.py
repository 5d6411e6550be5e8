"""Renders a preset into samples, an SFZ (ARIA's opcodes) and a DecentSampler instrument."""

import itertools
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from xml.sax.saxutils import quoteattr

import numpy as np

from ...host.audio.sound_files import sound_writer
from ...host.errors import UserError, nearest, printable
from ...host.files import building_folder, check_new_folder
from ...host.kinds.table import kind_of
from ...host.play.rack import ChannelInstrument
from ...host.preset.library import Patch
from ...host.session.view import ControlView
from ...host.session.view_builder import controls
from .strikes import (
    HELD_SECONDS,
    MIDDLE_C,
    RATE,
    REST_SECONDS,
    TEXTURE_SECONDS,
    KeyZone,
    KnobLayer,
    Loop,
    Sample,
    Strike,
    VelocityZone,
    controller_value,
    key_zones,
    knob_layers,
    release_seconds,
    strikes,
    takes_of,
    velocity_zones,
)

# By which sfizz plays samples of one and two channels softer than they are: CC 7 at 100, 7.35 dB as in ARIA, and pan.
PLAYER_DB = {1: 11.5124, 2: 11.5228}
CURVE_POINTS = 4  # of a velocity zone's level


@dataclass(frozen=True)
class Region:
    """A sample file of a ``take``, from 1, and its zones."""

    file: str
    channels: int
    key: KeyZone
    velocity: VelocityZone
    take: int
    layer: KnobLayer
    loop: Loop | None
    choke: int | None = None  # a group whose regions cut each other


@dataclass(frozen=True)
class Layout:
    """``knobs``: name, controller and its value at rest."""

    name: str
    comments: Sequence[str]
    regions: Sequence[Region]
    takes: int
    release_seconds: float
    one_shot: bool
    mono: bool
    velocity_power: float  # of the level over the velocity
    bend_semitones: float
    knobs: Sequence[tuple[str, int, int]] = ()
    in_memory: bool = True  # small enough to be loaded as a whole, which no disk can interrupt


def sfz(layout: Layout) -> str:
    lines = [f"// {line}" for line in layout.comments]
    lines += ["<control>", *(["hint_ram_based=1"] if layout.in_memory else [])]
    lines += [f"set_cc{cc}={resting_value}" for _, cc, resting_value in layout.knobs]
    lines += [f"label_cc{cc}={name}" for name, cc, _ in layout.knobs]
    lines += [f"label_key{key}={name}" for key, name in _names(layout.regions).items()]
    lines += [
        "<global>",
        f"volume={PLAYER_DB[1]:g} // samples sound at their own level, by CC 7 at its default of 100",
        f"ampeg_release={layout.release_seconds:.3f}",
        f"bend_up={round(100 * layout.bend_semitones)} bend_down={-round(100 * layout.bend_semitones)}",
    ]
    if layout.one_shot:
        lines.append("loop_mode=one_shot")
    if layout.mono and not layout.knobs:  # layers of one note are voices too
        lines.append("polyphony=1")
    if layout.takes > 1:
        lines.append(f"seq_length={layout.takes}")
    if layout.knobs:
        lines.append("xf_cccurve=gain")
    for zone in dict.fromkeys(region.velocity for region in layout.regions):
        lines += ["", "<group>", f"lovel={zone.low} hivel={zone.high} {_curve(zone, layout.velocity_power)}"]
        for region in layout.regions:
            if region.velocity == zone:
                lines.append(_region(region, layout))
    return "\n".join(lines) + "\n"


def dspreset(layout: Layout) -> str:
    """Return the preset: groups of a velocity zone and a position of the first knob, the others at rest.

    A controller sets a group's volume: two cannot multiply.
    """
    resting_values = [resting_value for *_, resting_value in layout.knobs]
    regions = [region for region in layout.regions if list(region.layer.cc_values[1:]) == resting_values[1:]]
    layers = list(dict.fromkeys(region.layer for region in regions))
    zones = list(dict.fromkeys(region.velocity for region in regions))
    groups = [(layer, zone) for layer in layers for zone in zones]
    envelope = {"attack": 0.0, "decay": 0.0, "sustain": 1.0, "release": round(layout.release_seconds, 3)}
    group_attributes = envelope | {"ampVelTrack": float(len(zones) == 1)}
    robin = ' seqMode="round_robin"' if layout.takes > 1 else ""
    lines = ['<?xml version="1.0" encoding="UTF-8"?>']
    comments = [*layout.comments, *(f"key {key}: {name}" for key, name in _names(layout.regions).items())]
    lines += [f"<!-- {re.sub('-{2,}', '-', line)} -->" for line in comments]
    lines += ["<DecentSampler>", f"  <groups {_attributes(group_attributes)}>"]
    for layer, zone in groups:
        is_audible = list(layer.cc_values) == resting_values
        lines.append(f'    <group loVel="{zone.low}" hiVel="{zone.high}" volume="{is_audible:.1f}"{robin}>')
        group_regions = [region for region in regions if (region.layer, region.velocity) == (layer, zone)]
        lines += [f"      <sample {_sample(region)}/>" for region in group_regions]
        lines.append("    </group>")
    lines.append("  </groups>")
    for _, cc, _ in layout.knobs[:1]:
        lines += ["  <midi>", *_bindings(cc, [layer for layer, _ in groups]), "  </midi>"]
    return "\n".join([*lines, "</DecentSampler>"]) + "\n"


def _names(regions: Sequence[Region]) -> dict[int, str]:
    """Return names by key, without the characters of SFZ's syntax."""
    return {region.key.key: re.sub(r"[^\w .,+()'&-]+", "-", region.key.name) for region in regions if region.key.name}


def _curve(zone: VelocityZone, power: float) -> str:
    step = max(1, (zone.high - zone.low) // CURVE_POINTS)
    points = [*range(zone.low, zone.high, step), zone.high]
    return " ".join(f"amp_velcurve_{point}={(point / zone.high) ** power:.4f}" for point in points)


def _region(region: Region, layout: Layout) -> str:
    key, loop = region.key, region.loop
    opcodes = [f"<region> sample=samples/{region.file} lokey={key.low} hikey={key.high} pitch_keycenter={key.key}"]
    if region.channels != 1:
        opcodes.append(f"volume={PLAYER_DB[region.channels]:g}")
    if not key.tracked:
        opcodes.append("pitch_keytrack=0")
    if region.choke is not None:
        opcodes.append(f"group={region.choke} off_by={region.choke}")
    if layout.takes > 1:
        opcodes.append(f"seq_position={region.take}")
    if loop is not None:  # the end is the last sample
        opcodes.append(f"loop_mode=loop_continuous loop_start={loop.start} loop_end={loop.end - 1}")
    for (_, cc, _), full_value, lower_value, upper_value in zip(
        layout.knobs, region.layer.cc_values, region.layer.lower_cc_values, region.layer.upper_cc_values, strict=True
    ):
        if lower_value is not None:
            opcodes.append(f"xfin_locc{cc}={lower_value} xfin_hicc{cc}={full_value}")
        if upper_value is not None:
            opcodes.append(f"xfout_locc{cc}={full_value} xfout_hicc{cc}={upper_value}")
    opcodes += [f"region_label={name}" for name in _names([region]).values()]
    return " ".join(opcodes)


def _sample(region: Region) -> str:
    key, loop = region.key, region.loop
    attributes: dict[str, object] = {
        "path": f"samples/{region.file}",
        "rootNote": key.key,
        "loNote": key.low,
        "hiNote": key.high,
        "seqPosition": region.take,
    }
    if not key.tracked:
        attributes["pitchKeyTrack"] = "0.0"
    if loop is not None:
        attributes |= {"loopEnabled": "true", "loopStart": loop.start, "loopEnd": loop.end - 1}
    return _attributes(attributes)


def _attributes(attributes: Mapping[str, object]) -> str:
    return " ".join(f"{name}={quoteattr(str(value))}" for name, value in attributes.items())


def _bindings(cc: int, layers: Sequence[KnobLayer]) -> Iterator[str]:
    yield f'    <cc number="{cc}">'
    for number, layer in enumerate(layers):
        stops = ((layer.lower_cc_values[0], 0.0), (layer.cc_values[0], 1.0), (layer.upper_cc_values[0], 0.0))
        text = ";".join(f"{value},{level:g}" for value, level in stops if value is not None)
        yield (
            f'      <binding type="amp" level="group" position="{number}" parameter="AMP_VOLUME" '
            f'translation="table" translationTable="{text}"/>'
        )
    yield "    </cc>"


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
    knob_controls, card = _map_knobs(patch, knobs), patch.model.card
    zones = key_zones(patch, every, _keys_alike(patch))
    speeds, layers = velocity_zones(velocities), knob_layers([_position(control) for control, _ in knob_controls])
    release = release_seconds(patch, zones[len(zones) // 2].key, 127)
    one_for_all = len(zones) == 1 and not (card.keyed or patch.preset.keys)
    hold_seconds = TEXTURE_SECONDS if one_for_all else HELD_SECONDS
    name, regions = output.resolve().name, list[Region]()
    with building_folder(output) as folder:
        (folder / "samples").mkdir()
        combinations = list(itertools.product(layers, zones, speeds))
        for number, (layer, zone, speed) in enumerate(combinations):
            values = [
                (control.target, control.low + position * (control.high - control.low))
                for (control, _), position in zip(knob_controls, layer.positions, strict=True)
            ]
            strike = Strike(patch, zone.key, speed.high, values, max(REST_SECONDS, release))
            samples = takes_of(strike, takes, hold_seconds)
            regions += _written(folder / "samples", zone, speed, layer, samples, _chokes(patch))
            if progress is not None:
                progress((number + 1) / len(combinations))
        play = patch.preset.play
        layout = Layout(
            name,
            _header_lines(patch),
            regions,
            takes,
            release,
            one_shot=bool(patch.preset.keys),
            mono=play.mode == "mono",
            velocity_power=2 * play.velocity_curve,
            bend_semitones=play.bend_range_semitones,
            knobs=[(control.title, cc, controller_value(_position(control))) for control, cc in knob_controls],
            in_memory=sum(file.stat().st_size for file in (folder / "samples").iterdir()) < LARGEST_IN_MEMORY,
        )
        (folder / f"{name}.sfz").write_text(sfz(layout), encoding="utf-8")
        (folder / f"{name}.dspreset").write_text(dspreset(layout), encoding="utf-8")
        size = sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())
    looped = sum(region.loop is not None for region in regions)
    spread = f"{len(zones)} keys, {len(speeds)} velocities, {takes} takes"
    spread += "".join(f", {control.title} on CC {cc}" for control, cc in knob_controls)
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
    for take, take_sample in enumerate(takes, 1):
        file = f"{zone.key:03d}-v{speed.high:03d}-{take}{layer.suffix}.flac"
        with sound_writer(folder / file, RATE, len(take_sample.sound)) as writer:
            writer.write(take_sample.sound)
        regions.append(
            Region(file, len(take_sample.sound), zone, speed, take, layer, take_sample.loop, chokes.get(zone.key))
        )
    return regions


def _chokes(patch: Patch) -> dict[int, int]:
    kind = kind_of(patch.model.card)
    chokes = kind.keying(patch.preset.of_kind(kind), patch.preset.play).chokes
    names = sorted(set(chokes.values()))
    return {key: 1 + names.index(name) for key, name in chokes.items()}


def _map_knobs(patch: Patch, names: Sequence[str]) -> list[tuple[ControlView, int]]:
    if len(set(names)) < len(names):
        raise UserError(f"--knobs {','.join(names)}: a knob is named twice; name each once")
    if len(names) > MOST_KNOBS:
        raise UserError(f"--knobs {','.join(names)}: layers of {len(names)} knobs are too many; give one or two")
    all_controls = list(controls(patch.preset, patch.model, ChannelInstrument(patch, RATE).knobs))
    chosen_controls: list[ControlView] = []
    for name in names:
        control = next((candidate for candidate in all_controls if name in (candidate.title, candidate.target)), None)
        if control is None:
            raise UserError(
                f"no knob is named {name!r}{nearest(name, [candidate.title for candidate in all_controls])}"
            )
        chosen_controls.append(control)
    if len({control.target for control in chosen_controls}) < len(chosen_controls):
        raise UserError(f"--knobs {','.join(names)}: both are {chosen_controls[0].target}; name another")
    cc_by_target = {
        entry.target: entry.number for entry in reversed(patch.preset.cc) if entry.number
    }  # the first map counts
    ccs = [cc_by_target.get(control.target) for control in chosen_controls]
    ccs = [None if cc in ccs[:place] else cc for place, cc in enumerate(ccs)]
    free_ccs = iter([cc for cc in FREE_CCS if cc not in ccs])
    return [(control, next(free_ccs) if cc is None else cc) for control, cc in zip(chosen_controls, ccs, strict=True)]


def _position(control: ControlView) -> float:
    return (control.rest - control.low) / (control.high - control.low)


def _keys_alike(patch: Patch) -> bool:
    first, second = (strikes(Strike(patch, key, 127), 1, ALIKE_SECONDS)[0] for key in (MIDDLE_C, MIDDLE_C + 1))
    return bool(np.array_equal(first, second))


def _header_lines(patch: Patch) -> list[str]:
    card = patch.model.card
    lines = [f"{patch.name}, sampled by timbrel", patch.preset.description or card.description]
    lines += [f"licence of the model: {card.license}"] if card.license else []
    return [printable(line) for line in [*lines, card.credits] if line]
