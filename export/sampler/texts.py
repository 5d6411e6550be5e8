"""The text files of a sampled instrument: SFZ (ARIA's opcodes) and DecentSampler's XML."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from xml.sax.saxutils import quoteattr

from .layers import KeyZone, KnobLayer, VelocityZone
from .loop import Loop

# By which sfizz plays samples of one and two channels softer than they are: CC 7 at 100, 7.35 dB as in ARIA, and pan.
PLAYER_DB = {1: 11.5124, 2: 11.5228}
CURVE_POINTS = 4  # of a velocity zone's level


@dataclass(frozen=True)
class Region:
    """A sample file of a ``take``, from 1, and the zones that it sounds in."""

    file: str
    channels: int
    key: KeyZone
    velocity: VelocityZone
    take: int
    layer: KnobLayer
    loop: Loop | None


@dataclass(frozen=True)
class Layout:
    """What both files say of an instrument; ``knobs``: name, controller and rest, 0 to 1."""

    name: str
    about: Sequence[str]
    regions: Sequence[Region]
    takes: int
    release_seconds: float
    one_shot: bool
    velocity_power: float  # of the level over the velocity
    bend_semitones: float
    knobs: Sequence[tuple[str, int, float]] = ()
    in_memory: bool = True  # small enough to be loaded as a whole, which no disk can interrupt


def sfz(layout: Layout) -> str:
    lines = [f"// {line}" for line in layout.about]
    lines += ["<control>", *(["hint_ram_based=1"] if layout.in_memory else [])]
    lines += [f"set_cc{cc}={round(127 * rest)}" for _, cc, rest in layout.knobs]
    lines += [f"label_cc{cc}={name}" for name, cc, _ in layout.knobs]
    lines += [
        "<global>",
        f"volume={PLAYER_DB[1]:g} // samples sound at their own level, by CC 7 at its default of 100",
        f"ampeg_release={layout.release_seconds:.3f}",
        f"bend_up={round(100 * layout.bend_semitones)} bend_down={-round(100 * layout.bend_semitones)}",
    ]
    if layout.one_shot:
        lines.append("loop_mode=one_shot")
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
    kept = " ".join(f'{name}="0.0"' for name in ("attack", "decay"))
    lines = [
        '<?xml version="1.0" encoding="UTF-8"?>',
        *(f"<!-- {line.replace('--', '- -')} -->" for line in layout.about),
    ]
    lines += ["<DecentSampler>"]
    layers = list(dict.fromkeys(region.layer for region in layout.regions))
    groups: list[tuple[KnobLayer, VelocityZone]] = [
        (layer, zone) for layer in layers for zone in dict.fromkeys(region.velocity for region in layout.regions)
    ]
    lines.append(f'  <groups {kept} sustain="1.0" release="{layout.release_seconds:.3f}" ampVelTrack="0.0">')
    robin = ' seqMode="round_robin"' if layout.takes > 1 else ""
    for layer, zone in groups:
        lines.append(f'    <group loVel="{zone.low}" hiVel="{zone.high}"{robin}>')
        lines += [
            f"      <sample {_sample(region)}/>"
            for region in layout.regions
            if (region.layer, region.velocity) == (layer, zone)
        ]
        lines.append("    </group>")
    lines.append("  </groups>")
    if layout.knobs:
        lines += ["  <midi>", *_bindings(layout, [layer for layer, _ in groups]), "  </midi>"]
    return "\n".join([*lines, "</DecentSampler>"]) + "\n"


def _curve(zone: VelocityZone, power: float) -> str:
    """Return the level at some velocities, 1 at the zone's top."""
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
    if layout.takes > 1:
        parts.append(f"seq_position={region.take}")
    if loop is not None:  # the end is the last sample
        parts.append(f"loop_mode=loop_continuous loop_start={loop.start} loop_end={loop.end - 1}")
    for (_, cc, _), at, before, after in zip(
        layout.knobs, region.layer.positions, region.layer.before, region.layer.after, strict=True
    ):
        if before is not None:
            parts.append(f"xfin_locc{cc}={round(127 * before)} xfin_hicc{cc}={round(127 * at)}")
        if after is not None:
            parts.append(f"xfout_locc{cc}={round(127 * at)} xfout_hicc{cc}={round(127 * after)}")
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
    return " ".join(f"{name}={quoteattr(str(value))}" for name, value in given.items())


def _bindings(layout: Layout, layers: Sequence[KnobLayer]) -> Iterable[str]:
    for place, (_, cc, _) in enumerate(layout.knobs):
        yield f'    <cc number="{cc}">'
        for number, layer in enumerate(layers):
            at, before, after = layer.positions[place], layer.before[place], layer.after[place]
            table = [(0.0, 0.0)] if before is not None else []
            table += [(stop, level) for stop, level in ((before, 0.0), (at, 1.0), (after, 0.0)) if stop is not None]
            text = ";".join(f"{round(127 * stop)},{level:g}" for stop, level in dict(table).items())
            yield (
                f'      <binding type="amp" level="group" position="{number}" parameter="AMP_VOLUME" '
                f'translation="table" translationTable="{text}"/>'
            )
        yield "    </cc>"
