"""Status of a playing preset: latents, levels, load, latency, last controller."""

import math
from collections.abc import Sequence
from dataclasses import replace

from ..events import ControlChange
from ..kinds.table import kind_of
from ..patch.library import Patch
from ..patch.preset import CCMap
from ..patch.validation import named, titled
from ..play.player import Player
from ..ramps import knob
from .messages import LiveStatus
from .meters import Meters

USUAL = {
    5: "glide time",
    7: "volume",
    10: "pan",
    11: "expression",
    64: "sustain pedal",
    65: "glide",
    66: "sostenuto pedal",
}  # of unmapped controllers


def status_at_rest(patch: Patch, channel: int, device: str) -> LiveStatus:
    """Before the first block; ``channel``: of the rack, 0 to 15."""
    latents, names = patch.model.card.latents, named(patch.preset, patch.model.card)
    return LiveStatus(
        device=device,
        rate=0,
        block=0,
        latency_ms={},
        measured_ms=None,
        load=(0.0, 0.0),
        underruns=0,
        voices=0,
        shed=0,
        held=[],
        latents=patch.preset.latent_values(patch.model.card),
        spans=patch.model.card.spans,
        names=[names.get(f"latent.{number}", "") for number in range(len(latents))],
        peaks_db=(-math.inf, -math.inf),
        limited=0.0,
        presets={None: patch.name},
        ports=[],
        last="",
        ahead_ms=ahead_ms(patch),
        channel=channel,
    )


def status(rest: LiveStatus, patch: Patch, player: Player, meters: Meters, sample_rate: int, block: int) -> LiveStatus:
    """After a block; ``rest``: from `status_at_rest`."""
    knobs = player.rack.knobs.get(rest.channel)
    p50, p99 = meters.load.percentiles(50, 99)
    playing = replace(
        rest,
        rate=sample_rate,
        block=block,
        latency_ms={"instrument": 1000 * player.rack.latency_samples / sample_rate},
        load=(p50, p99),
        voices=player.sounding,
        shed=player.shed,
        held=player.held,
        sounding=player.sounding_keys,
        latents=meters.latents or rest.latents,  # none before the first block
        moved=meters.moved,
        peaks_db=meters.peaks_db(),
        limited=meters.limited,
        age_ms=player.rack.age_ms,
    )
    if knobs is None:
        return playing
    macros = [(macro.name, knobs.at(f"macro.{number}")) for number, macro in enumerate(patch.preset.macro)]
    return replace(playing, macros=macros, values=knobs.values(), waiting=knobs.waiting())


def ahead_ms(patch: Patch) -> float | None:
    """Lookahead; None if frames are independent."""
    card, preset = patch.model.card, patch.preset
    kind = kind_of(card)
    seconds = kind.ahead_seconds(preset.of_kind(kind), card, preset.tempo_bpm)
    return None if seconds is None else 1000 * seconds


def last_moved(event: ControlChange, patch: Patch, values: Sequence[float]) -> str:
    """A controller's move and effect; ``values``: latents' targets."""
    did = [
        _effect(entry, event, values, titled(entry.target, patch.preset, patch.model.card))
        for entry in patch.preset.cc
        if event.number in (entry.number, (entry.number or 0) + 32 if entry.bits == 14 else None)
        and entry.channel in (None, event.channel + 1)
    ]
    return f"CC {event.number} = {event.value} -> {', '.join(did) or USUAL.get(event.number, 'nothing')}"


def _effect(entry: CCMap, event: ControlChange, latents: Sequence[float], name: str) -> str:
    kind, _, rest = entry.target.partition(".")
    if kind == "latent" and int(rest) < len(latents):  # else a preset swap is in progress
        return f"{name} = {latents[int(rest)]:.3g}"
    if entry.takeover == "jump" and entry.bits == 7:
        return f"{name} = {knob(event.value, *entry.ends, entry.curve):.3g}"
    return name
