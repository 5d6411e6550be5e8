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

    comments: Sequence[str]
    regions: Sequence[Region]
    takes: int
    release_seconds: float
    one_shot: bool
    mono: bool
    velocity_gain: Callable[[int], float]
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
    for velocity_zone in dict.fromkeys(region.velocity for region in layout.regions):
        lines += [
            "",
            "<group>",
            f"lovel={velocity_zone.low} hivel={velocity_zone.high} {_curve(velocity_zone, layout.velocity_gain)}",
        ]
        for region in layout.regions:
            if region.velocity == velocity_zone:
                lines.append(_region(region, layout))
    return "\n".join(lines) + "\n"


def dspreset(layout: Layout) -> str:
    """Return the preset: groups of a velocity zone and a position of the first knob, the others at rest.

    A controller sets a group's volume: two cannot multiply.
    """
    resting_values = [resting_value for *_, resting_value in layout.knobs]
    resting_regions = [region for region in layout.regions if list(region.layer.cc_values[1:]) == resting_values[1:]]
    region_layers = list(dict.fromkeys(region.layer for region in resting_regions))
    zones = list(dict.fromkeys(region.velocity for region in resting_regions))
    layer_zone_pairs = [(layer, zone) for layer in region_layers for zone in zones]
    envelope_attributes = {"attack": 0.0, "decay": 0.0, "sustain": 1.0, "release": round(layout.release_seconds, 3)}
    group_attributes = envelope_attributes | {"ampVelTrack": float(len(zones) == 1)}
    round_robin_text = ' seqMode="round_robin"' if layout.takes > 1 else ""
    lines = ['<?xml version="1.0" encoding="UTF-8"?>']
    comments = [*layout.comments, *(f"key {key}: {name}" for key, name in _names(layout.regions).items())]
    lines += [f"<!-- {re.sub('-{2,}', '-', line)} -->" for line in comments]
    lines += ["<DecentSampler>", f"  <groups {_attributes(group_attributes)}>"]
    for layer, zone in layer_zone_pairs:
        is_audible = list(layer.cc_values) == resting_values
        lines.append(f'    <group loVel="{zone.low}" hiVel="{zone.high}" volume="{is_audible:.1f}"{round_robin_text}>')
        group_regions = [region for region in resting_regions if (region.layer, region.velocity) == (layer, zone)]
        lines += [f"      <sample {_sample(region, layout)}/>" for region in group_regions]
        lines.append("    </group>")
    lines.append("  </groups>")
    for _, cc, _ in layout.knobs[:1]:
        lines += ["  <midi>", *_bindings(cc, [layer for layer, _ in layer_zone_pairs]), "  </midi>"]
    return "\n".join([*lines, "</DecentSampler>"]) + "\n"


def _names(regions: Sequence[Region]) -> dict[int, str]:
    """Return names by key, without the characters of SFZ's syntax."""
    return {region.key.key: re.sub(r"[^\w .,+()'&-]+", "-", region.key.name) for region in regions if region.key.name}


def _curve(zone: VelocityZone, velocity_gain: Callable[[int], float]) -> str:
    """Return the opcodes of the level over a zone's velocities."""
    velocity_step = max(1, (zone.high - zone.low) // CURVE_POINTS)
    curve_velocities = [*range(zone.low, zone.high, velocity_step), zone.high]
    return " ".join(
        f"amp_velcurve_{velocity}={velocity_gain(velocity) / velocity_gain(zone.high):.4f}"
        for velocity in curve_velocities
    )


def _region(region: Region, layout: Layout) -> str:
    """Return the SFZ line of a region."""
    key_zone, loop = region.key, region.loop
    opcodes = [
        f"<region> sample=samples/{region.file} lokey={key_zone.low} hikey={key_zone.high} "
        f"pitch_keycenter={key_zone.key}"
    ]
    if region.channels != 1:
        opcodes.append(f"volume={PLAYER_DB[region.channels]:g}")
    if not key_zone.tracked:
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


def _sample(region: Region, layout: Layout) -> str:
    """Return the DecentSampler attributes of a region."""
    key_zone, loop = region.key, region.loop
    attributes: dict[str, object] = {
        "path": f"samples/{region.file}",
        "rootNote": key_zone.key,
        "loNote": key_zone.low,
        "hiNote": key_zone.high,
        "seqPosition": region.take,
    }
    if not key_zone.tracked:
        attributes["pitchKeyTrack"] = "0.0"
    if layout.one_shot:  # without an envelope, a sample sounds to its end
        attributes["ampEnvEnabled"] = "false"
    if region.choke is not None and not layout.knobs:  # layers of one note would cut each other
        tag = f"choke-{region.choke}"
        attributes |= {"tags": tag, "silencedByTags": tag, "silencingMode": "fast"}
    if loop is not None:
        attributes |= {"loopEnabled": "true", "loopStart": loop.start, "loopEnd": loop.end - 1}
    return _attributes(attributes)


def _attributes(attributes: Mapping[str, object]) -> str:
    return " ".join(f"{name}={quoteattr(str(value))}" for name, value in attributes.items())


def _bindings(cc: int, layers: Sequence[KnobLayer]) -> Iterator[str]:
    """Yield the lines by which a controller fades the groups of layers."""
    yield f'    <cc number="{cc}">'
    for group_index, layer in enumerate(layers):
        level_stops = ((layer.lower_cc_values[0], 0.0), (layer.cc_values[0], 1.0), (layer.upper_cc_values[0], 0.0))
        table_text = ";".join(f"{cc_value},{level:g}" for cc_value, level in level_stops if cc_value is not None)
        yield (
            f'      <binding type="amp" level="group" position="{group_index}" parameter="AMP_VOLUME" '
            f'translation="table" translationTable="{table_text}"/>'
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
    if reason_text := kind_of(patch.model.card).not_sampled:
        raise UserError(f"{patch.name} cannot be sampled: {reason_text}")
    check_new_folder(output)
    if output.resolve() == Path.cwd():
        raise UserError(f"-o {output} is the folder that you are in; give the name of a new one")
    knob_controls, card = _map_knobs(patch, knobs), patch.model.card
    sampled_zones = key_zones(patch, every, _keys_alike(patch))
    velocity_layers, layers_of_knobs = (
        velocity_zones(velocities),
        knob_layers([_position(control) for control, _ in knob_controls]),
    )
    release_length_seconds = release_seconds(patch, sampled_zones[len(sampled_zones) // 2].key, 127)
    is_one_for_all = len(sampled_zones) == 1 and not (card.keyed or patch.preset.keys)
    hold_seconds = TEXTURE_SECONDS if is_one_for_all else HELD_SECONDS
    name, regions = output.resolve().name, list[Region]()
    with building_folder(output) as folder:
        (folder / "samples").mkdir()
        combinations = list(itertools.product(layers_of_knobs, sampled_zones, velocity_layers))
        for combination_index, (knob_layer, key_zone, velocity_zone) in enumerate(combinations):
            knob_values = [
                (control.target, control.low + position * (control.high - control.low))
                for (control, _), position in zip(knob_controls, knob_layer.positions, strict=True)
            ]
            strike = Strike(
                patch, key_zone.key, velocity_zone.high, knob_values, max(REST_SECONDS, release_length_seconds)
            )
            take_samples = takes_of(strike, takes, hold_seconds)
            regions += _written(folder / "samples", key_zone, velocity_zone, knob_layer, take_samples, _chokes(patch))
            if progress is not None:
                progress((combination_index + 1) / len(combinations))
        play_settings = patch.preset.play
        layout = Layout(
            _header_lines(patch),
            regions,
            takes,
            release_length_seconds,
            one_shot=bool(patch.preset.keys),
            mono=play_settings.mode == "mono",
            velocity_gain=play_settings.velocity_gain,
            bend_semitones=play_settings.bend_range_semitones,
            knobs=[(control.title, cc, controller_value(_position(control))) for control, cc in knob_controls],
            in_memory=sum(file.stat().st_size for file in (folder / "samples").iterdir()) < LARGEST_IN_MEMORY,
        )
        (folder / f"{name}.sfz").write_text(sfz(layout), encoding="utf-8")
        (folder / f"{name}.dspreset").write_text(dspreset(layout), encoding="utf-8")
        total_bytes = sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())
    loop_count = sum(region.loop is not None for region in regions)
    spread_text = f"{len(sampled_zones)} keys, {len(velocity_layers)} velocities, {takes} takes"
    spread_text += "".join(f", {control.title} on CC {cc}" for control, cc in knob_controls)
    return (
        f"{output / name}.sfz and .dspreset: {len(regions)} samples ({spread_text}), {loop_count} looped, "
        f"{total_bytes / 1e6:.0f} MB"
    )


def _written(
    folder: Path,
    key_zone: KeyZone,
    velocity_zone: VelocityZone,
    knob_layer: KnobLayer,
    take_samples: Sequence[Sample],
    choke_groups: Mapping[int, int],
) -> list[Region]:
    """Write the files of takes, and return their regions."""
    regions = []
    for take_number, take_sample in enumerate(take_samples, 1):
        file_name = f"{key_zone.key:03d}-v{velocity_zone.high:03d}-{take_number}{knob_layer.suffix}.flac"
        with sound_writer(folder / file_name, RATE, len(take_sample.sound)) as writer:
            writer.write(take_sample.sound)
        regions.append(
            Region(
                file_name,
                len(take_sample.sound),
                key_zone,
                velocity_zone,
                take_number,
                knob_layer,
                take_sample.loop,
                choke_groups.get(key_zone.key),
            )
        )
    return regions


def _chokes(patch: Patch) -> dict[int, int]:
    """Return choke groups, counted from 1, by key."""
    kind = kind_of(patch.model.card)
    names_by_key = kind.keying(kind.select_section(patch.preset), patch.preset.play).chokes
    group_names = sorted(set(names_by_key.values()))
    return {key: 1 + group_names.index(name) for key, name in names_by_key.items()}


def _map_knobs(patch: Patch, knob_names: Sequence[str]) -> list[tuple[ControlView, int]]:
    """Return the controls of the named knobs, each with its controller."""
    if len(set(knob_names)) < len(knob_names):
        raise UserError(f"--knobs {','.join(knob_names)}: a knob is named twice; name each once")
    if len(knob_names) > MOST_KNOBS:
        raise UserError(
            f"--knobs {','.join(knob_names)}: layers of {len(knob_names)} knobs are too many; give one or two"
        )
    all_controls = list(controls(patch.preset, patch.model, ChannelInstrument(patch, RATE).knobs))
    chosen_controls: list[ControlView] = []
    for knob_name in knob_names:
        control = next(
            (candidate for candidate in all_controls if knob_name in (candidate.title, candidate.target)), None
        )
        if control is None:
            raise UserError(
                f"no knob is named {knob_name!r}{nearest(knob_name, [candidate.title for candidate in all_controls])}"
            )
        chosen_controls.append(control)
    if len({control.target for control in chosen_controls}) < len(chosen_controls):
        raise UserError(f"--knobs {','.join(knob_names)}: both are {chosen_controls[0].target}; name another")
    cc_by_target = {
        entry.target: entry.number for entry in reversed(patch.preset.cc) if entry.number
    }  # the first map counts
    ccs = [cc_by_target.get(control.target) for control in chosen_controls]
    ccs = [None if cc in ccs[:knob_index] else cc for knob_index, cc in enumerate(ccs)]
    free_ccs = iter([cc for cc in FREE_CCS if cc not in ccs])
    return [(control, next(free_ccs) if cc is None else cc) for control, cc in zip(chosen_controls, ccs, strict=True)]


def _position(control: ControlView) -> float:
    """Return where a knob rests, 0 to 1 of its range."""
    return (control.rest - control.low) / (control.high - control.low)


def _keys_alike(patch: Patch) -> bool:
    """Return whether two neighbouring keys sound the same."""
    lower_sound, upper_sound = (
        strikes(Strike(patch, key, 127), 1, ALIKE_SECONDS)[0] for key in (MIDDLE_C, MIDDLE_C + 1)
    )
    return bool(np.array_equal(lower_sound, upper_sound))


def _header_lines(patch: Patch) -> list[str]:
    """Return what the files say of the instrument."""
    card = patch.model.card
    lines = [f"{patch.name}, sampled by timbrel", patch.preset.description or card.description]
    lines += [f"licence of the model: {card.license}"] if card.license else []
    return [printable(line) for line in [*lines, card.credits] if line]
