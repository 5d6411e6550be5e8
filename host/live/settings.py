"""Settings that pages change in a session: card, block, MIDI ports and channel."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from ..session.messages import SessionView, Setup
from ..session.takes import Takes

# of a setup
FIELDS = ("device", "null", "card_fault", "block", "depth", "lowest_latency", "midi", "midi_ports", "only")


def changed(setup: Setup, changes: Mapping[str, Any]) -> Setup:
    """Setup with other ``device``, ``block``, ``lowest_latency``, ``ports`` or ``channel``."""
    fields = {name: changes[name] for name in ("device", "block", "lowest_latency") if name in changes}
    if "device" in changes:
        fields |= {"null": False, "card_fault": ""}
    if "lowest_latency" in changes:
        fields["depth"] = 1 if changes["lowest_latency"] else 2
    if "ports" in changes:
        fields |= {"midi": changes["ports"] is not None, "midi_ports": tuple(changes["ports"] or ())}
    if "channel" in changes:
        fields["only"] = changes["channel"]
    return replace(setup, **fields)


def with_settings_of(setup: Setup, other: Setup) -> Setup:
    return replace(setup, **{name: getattr(other, name) for name in FIELDS})


def session_view(setup: Setup, takes: Takes, restarting: bool = False) -> SessionView:
    return SessionView(
        ports=setup.midi_ports if setup.midi else None,
        midi_api=setup.midi_api,
        channel=setup.only,
        block=setup.block,
        lowest_latency=setup.lowest_latency,
        card_fault=setup.card_fault,
        restarting=restarting,
        recording=takes.state,
        since=takes.since,
        files=takes.files,
    )
