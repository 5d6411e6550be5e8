"""Connections of ALSA's sequencer, which RtMidi does not report."""

import re
from pathlib import Path

LISTING = Path("/proc/asound/seq/clients")
PORT_LINE = re.compile(r' +Port +\d+ : "(?P<name>.*)" \(')
ADDRESS = re.compile(r"\b\d+:\d+\b")  # client and port; flags of a connection are in brackets: [r:0]
FROM = "Connected From:"


def is_connected(sender: str, receiver: str) -> bool | None:
    """Return whether a port sends to ports of a name; None if the system does not say.

    Args:
        sender: as RtMidi lists it; it ends with the port's address.
        receiver: the receiving ports' name, without their clients'.
    """
    address = re.search(r"\d+:\d+$", sender)
    try:
        lines = LISTING.read_text(errors="replace").splitlines()
    except OSError:
        return None
    is_listed = is_ours = False
    senders: set[str] = set()
    for line in lines:
        if port := PORT_LINE.match(line):
            is_ours = port["name"] == receiver
            is_listed |= is_ours
        elif is_ours and line.strip().startswith(FROM):
            senders.update(ADDRESS.findall(line))
    return address[0] in senders if address and is_listed else None
