"""Builds live status reports: latency, load, levels, latents, last controller."""

import statistics
from collections.abc import Sequence

from ..events import ControlChange
from ..kinds.table import kind_of
from ..patch.library import Patch
from ..patch.preset import CCMap
from ..patch.validation import named, titled
from ..play.mapping import Mapper
from ..ramps import knob
from ..units import gain_to_db
from .messages import LiveStatus
from .render_loop import RenderLoop
from .session_state import SessionState

USUAL = {
    5: "glide time",
    7: "volume",
    10: "pan",
    11: "expression",
    64: "sustain pedal",
    65: "glide",
    66: "sostenuto pedal",
}  # of unmapped controllers


def report(stage: SessionState) -> LiveStatus:
    loop = stage.loop
    assert loop is not None
    sink, player = loop.sink, loop.player
    peak, loop.peak = loop.peak, 0.0
    parts = {
        "card": sink.latency_seconds + (0.0 if stage.ear is None else stage.ear.latency_seconds),
        "ring": loop.ring_blocks * sink.block / sink.rate,
        "timing": max(0, loop.delay_samples - loop.ring_blocks * sink.block) / sink.rate,
        "instrument": player.rack.latency_samples / sink.rate,
    }
    if stage.ear is not None:  # latency from input to output
        del parts["timing"]
    p50, p99 = loop.load.percentiles(50, 99)
    place, patch = stage.cast.heard_by(stage.cast.place)
    names, knobs = named(patch.preset, patch.model.card), player.rack.knobs.get(place)
    return LiveStatus(
        device=stage.device,
        rate=sink.rate,
        block=sink.block,
        latency_ms={name: 1000 * seconds for name, seconds in parts.items()},
        measured_ms=_measured_ms(loop),
        load=(p50, p99),
        underruns=sink.underruns,
        voices=player.sounding,
        shed=player.shed,
        held=player.held,
        latents=loop.latents,
        spans=[(latent.low, latent.high) for latent in patch.model.card.latents],
        names=[names.get(f"latent.{number}", "") for number in range(len(patch.model.card.latents))],
        macros=_macros(patch, knobs),
        peak_db=gain_to_db(peak),
        limited=loop.limited,
        presets={slot: patch.name for slot, patch in stage.cast.patches.items()},
        digests=stage.cast.digests,
        ports=stage.inputs.open if stage.inputs is not None else [],
        last=last_moved(stage, loop),
        age_ms=player.rack.age_ms,
        ahead_ms=ahead_ms(patch),
        channel=place,
        values={} if knobs is None else knobs.values(),
        waiting={} if knobs is None else knobs.waiting(),
    )


def _macros(patch: Patch, knobs: Mapper | None) -> list[tuple[str, float]]:
    if knobs is None:
        return []
    return [(macro.name, knobs.at(f"macro.{number}")) for number, macro in enumerate(patch.preset.macro)]


def ahead_ms(patch: Patch) -> float | None:
    """Return the lookahead of a patch's frames; None if they are independent."""
    card, preset = patch.model.card, patch.preset
    kind = kind_of(card)
    seconds = kind.ahead_seconds(preset.of_kind(kind), card, preset.tempo_bpm)
    return None if seconds is None else 1000 * seconds


def _measured_ms(loop: RenderLoop) -> float | None:
    if not loop.measured:
        return None
    # The clock marks the card's next sample to read: a sample plays a block later.
    samples = statistics.fmean(list(loop.measured)) + loop.sink.block
    return 1000 * (samples / loop.sink.rate + loop.sink.latency_seconds)


def last_moved(stage: SessionState, loop: RenderLoop) -> str:
    """Describe the last controller move and its effect."""
    moved = (timed.event for timed in reversed(tuple(loop.heard)) if isinstance(timed.event, ControlChange))
    stage.last = next(moved, stage.last)
    if stage.last is None:
        return ""
    place, patch = stage.cast.heard_by(stage.last.channel)
    return what_it_did(stage.last, patch, loop.player.rack.latent_values(place))


def what_it_did(event: ControlChange, patch: Patch, values: Sequence[float]) -> str:
    """Describe a controller's effect; ``values`` are the latents' target values."""
    did = [
        _effect(entry, event, values, titled(entry.target, patch.preset, patch.model.card))
        for entry in patch.preset.cc
        if event.number in (entry.number, (entry.number or 0) + 32 if entry.bits == 14 else None)
        and entry.channel in (None, event.channel + 1)
    ]
    return f"CC {event.number} = {event.value} -> {', '.join(did) or USUAL.get(event.number, 'nothing')}"


def _effect(entry: CCMap, event: ControlChange, latents: Sequence[float], name: str) -> str:
    """Return the target's name, and its value if the controller alone sets it."""
    kind, _, rest = entry.target.partition(".")
    if kind == "latent" and int(rest) < len(latents):  # else a preset swap is in progress
        return f"{name} = {latents[int(rest)]:.3g}"
    if entry.takeover == "jump" and entry.bits == 7:
        return f"{name} = {knob(event.value, *entry.ends, entry.curve):.3g}"
    return name
