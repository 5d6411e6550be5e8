"""Status of a live session: its displayed preset, card, ports and latency."""

import statistics
from dataclasses import replace

from ..session.messages import LiveStatus
from ..session.status import last_moved, status, status_at_rest
from .audio_process_state import ProcessState
from .render_loop import RenderLoop


def report(state: ProcessState) -> LiveStatus:
    loop = state.loop
    assert loop is not None
    sink, rack = loop.sink, loop.player.rack
    place, patch = state.presets.patch_of(state.presets.first_channel)
    playing = status(status_at_rest(patch, place, state.device), patch, loop.player, loop.meters, sink.rate, sink.block)
    parts = {
        "card": sink.latency_seconds + (0.0 if state.ear is None else state.ear.latency_seconds),
        "ring": loop.ring_blocks * sink.block / sink.rate,
        "timing": max(0, loop.delay_samples - loop.ring_blocks * sink.block) / sink.rate,
        "instrument": rack.latency_samples / sink.rate,
    }
    if state.ear is not None:  # latency from input to output
        del parts["timing"]
    return replace(
        playing,
        latency_ms={name: 1000 * seconds for name, seconds in parts.items()},
        measured_ms=_measured_ms(loop),
        underruns=sink.underruns,
        presets={slot: patch.name for slot, patch in state.presets.patches.items()},
        digests=state.presets.digests,
        ports=state.inputs.open if state.inputs is not None else [],
        last=_last(state, loop),
        spectrum_db=loop.meters.spectrum_db() if state.setup.panel else (),
    )


def _measured_ms(loop: RenderLoop) -> float | None:
    if not loop.measured:
        return None
    # The clock marks the card's next sample to read: a sample plays a block later.
    samples = statistics.fmean(list(loop.measured)) + loop.sink.block
    return 1000 * (samples / loop.sink.rate + loop.sink.latency_seconds)


def _last(state: ProcessState, loop: RenderLoop) -> str:
    if (event := loop.meters.last) is None:
        return ""
    place, patch = state.presets.patch_of(event.channel)
    return last_moved(event, patch, loop.player.rack.latent_values(place))
