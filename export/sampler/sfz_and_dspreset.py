"""The text files of a sampled instrument: SFZ (ARIA's opcodes) and DecentSampler's XML."""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from xml.sax.saxutils import quoteattr

from .layers import KeyZone, KnobLayer, VelocityZone
from .loop import Loop

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
    about: Sequence[str]
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
    lines = [f"// {line}" for line in layout.about]
    lines += ["<control>", *(["hint_ram_based=1"] if layout.in_memory else [])]
    lines += [f"set_cc{cc}={rest}" for _, cc, rest in layout.knobs]
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
    rests = [rest for *_, rest in layout.knobs]
    regions = [region for region in layout.regions if list(region.layer.at[1:]) == rests[1:]]
    layers = list(dict.fromkeys(region.layer for region in regions))
    zones = list(dict.fromkeys(region.velocity for region in regions))
    groups = [(layer, zone) for layer in layers for zone in zones]
    envelope = {"attack": 0.0, "decay": 0.0, "sustain": 1.0, "release": round(layout.release_seconds, 3)}
    given = envelope | {"ampVelTrack": float(len(zones) == 1)}
    robin = ' seqMode="round_robin"' if layout.takes > 1 else ""
    lines = ['<?xml version="1.0" encoding="UTF-8"?>']
    about = [*layout.about, *(f"key {key}: {name}" for key, name in _names(layout.regions).items())]
    lines += [f"<!-- {re.sub('-{2,}', '-', line)} -->" for line in about]
    lines += ["<DecentSampler>", f"  <groups {_attributes(given)}>"]
    for layer, zone in groups:
        heard = list(layer.at) == rests
        lines.append(f'    <group loVel="{zone.low}" hiVel="{zone.high}" volume="{heard:.1f}"{robin}>')
        own = [region for region in regions if (region.layer, region.velocity) == (layer, zone)]
        lines += [f"      <sample {_sample(region)}/>" for region in own]
        lines.append("    </group>")
    lines.append("  </groups>")
    for _, cc, _ in layout.knobs[:1]:
        lines += ["  <midi>", *_bindings(cc, [layer for layer, _ in groups]), "  </midi>"]
    return "\n".join([*lines, "</DecentSampler>"]) + "\n"


def _names(regions: Sequence[Region]) -> dict[int, str]:
    """Return names by key, without the characters of SFZ's syntax."""
    return {one.key.key: re.sub(r"[^\w .,+()'&-]+", "-", one.key.name) for one in regions if one.key.name}


def _curve(zone: VelocityZone, power: float) -> str:
    step = max(1, (zone.high - zone.low) // CURVE_POINTS)
    points = [*range(zone.low, zone.high, step), zone.high]
    return " ".join(f"amp_velcurve_{point}={(point / zone.high) ** power:.4f}" for point in points)


def _region(region: Region, layout: Layout) -> str:
    key, loop = region.key, region.loop
    parts = [f"<region> sample=samples/{region.file} lokey={key.low} hikey={key.high} pitch_keycenter={key.key}"]
    if region.channels != 1:
        parts.append(f"volume={PLAYER_DB[region.channels]:g}")
    if not key.tracked:
        parts.append("pitch_keytrack=0")
    if region.choke is not None:
        parts.append(f"group={region.choke} off_by={region.choke}")
    if layout.takes > 1:
        parts.append(f"seq_position={region.take}")
    if loop is not None:  # the end is the last sample
        parts.append(f"loop_mode=loop_continuous loop_start={loop.start} loop_end={loop.end - 1}")
    for (_, cc, _), at, before, after in zip(
        layout.knobs, region.layer.at, region.layer.before, region.layer.after, strict=True
    ):
        if before is not None:
            parts.append(f"xfin_locc{cc}={before} xfin_hicc{cc}={at}")
        if after is not None:
            parts.append(f"xfout_locc{cc}={at} xfout_hicc{cc}={after}")
    parts += [f"region_label={name}" for name in _names([region]).values()]
    return " ".join(parts)


def _sample(region: Region) -> str:
    key, loop = region.key, region.loop
    given: dict[str, object] = {
        "path": f"samples/{region.file}",
        "rootNote": key.key,
        "loNote": key.low,
        "hiNote": key.high,
        "seqPosition": region.take,
    }
    if not key.tracked:
        given["pitchKeyTrack"] = "0.0"
    if loop is not None:
        given |= {"loopEnabled": "true", "loopStart": loop.start, "loopEnd": loop.end - 1}
    return _attributes(given)


def _attributes(given: Mapping[str, object]) -> str:
    return " ".join(f"{name}={quoteattr(str(value))}" for name, value in given.items())


def _bindings(cc: int, layers: Sequence[KnobLayer]) -> Iterator[str]:
    yield f'    <cc number="{cc}">'
    for number, layer in enumerate(layers):
        stops = ((layer.before[0], 0.0), (layer.at[0], 1.0), (layer.after[0], 0.0))
        text = ";".join(f"{value},{level:g}" for value, level in stops if value is not None)
        yield (
            f'      <binding type="amp" level="group" position="{number}" parameter="AMP_VOLUME" '
            f'translation="table" translationTable="{text}"/>'
        )
    yield "    </cc>"
